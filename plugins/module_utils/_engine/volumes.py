# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what is to be written fits on a volume, asked before the first byte of it is written.

The kubelet of the node that has the volume mounted knows what is free [Kubernetes, node metrics: ``/stats/summary``]. Where it
may not be asked or does not tell, the size that the volume was made with is the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, Optional

from .api import Api
from .errors import EngineError
from .objects import KubeObject, ObjectRef, get_path
from .usage import CLAIMS, PODS

# A program that is not there, or a node that does not answer, must not hold up a run.
PATIENCE, TIMEOUT = 2.0, 10.0
MAKE_ROOM = "make the volume larger (spec.resources.requests.storage of the claim, where its StorageClass allows that)"


@dataclass(frozen=True)
class Room:
    """What a volume has room for, in bytes.

    :ivar size: how large it is. :ivar free: what is not used of it; None if nobody says.
    """

    claim: ObjectRef
    size: int
    free: Optional[int] = None

    @property
    def most(self) -> int:
        """More than this does certainly not fit."""
        return self.size if self.free is None else self.free

    def __str__(self) -> str:
        if self.free is None:
            return "a volume of %s" % megabytes(self.size)
        return "%s free of %s" % (megabytes(self.free), megabytes(self.size))


def megabytes(size: int) -> str:
    """As a person reads it."""
    return "%.1f MB" % (size / 1e6)


def requested(claim: Optional[KubeObject]) -> int:
    """The size that a claim asks for, in bytes; 0 if it does not say."""
    return _bytes(get_path(claim, "spec.resources.requests.storage"))


def room_on(api: Api, claim: ObjectRef) -> Optional[Room]:
    """What there is on a claim's volume; None if there is no such claim, or nothing is known of its size."""
    found = api.get(CLAIMS, claim.namespace, claim.name)
    size = _bytes(get_path(found, "status.capacity.storage")) or requested(found)
    if not size:
        return None
    for volume in _measured(api, claim):
        return Room(claim, int(volume.get("capacityBytes") or size), int(volume["availableBytes"]))
    return Room(claim, size)


def lacking(room: Optional[Room], need: int) -> str:
    """Why so many bytes do not fit, fit to be shown; "" if they do, or nobody can tell."""
    if room is None or need <= room.most:
        return ""
    return "%s do not fit on %s: %s" % (megabytes(need), room.claim, room)


def _bytes(quantity: Any) -> int:
    from kubernetes.utils.quantity import parse_quantity  # who has asked the API server has the library

    try:
        return int(parse_quantity(quantity)) if quantity else 0
    except ValueError:
        return 0


def _measured(api: Api, claim: ObjectRef) -> Iterator[KubeObject]:
    """What kubelets say of the volume."""
    pods, _version = api.list(PODS, namespace=claim.namespace)
    nodes = {str(get_path(pod, "spec.nodeName")) for pod in pods if _mounts(pod, claim.name) and get_path(pod, "spec.nodeName")}
    for node in sorted(nodes):
        try:
            path = "/api/v1/nodes/%s/proxy/stats/summary" % node
            answer = api.send("GET", path, subject="node %s" % node, patience=PATIENCE, timeout=TIMEOUT)
        except EngineError:  # not allowed, not reachable, or no kubelet: the size is known all the same
            continue
        for pod in answer.get("pods") or ():
            for volume in pod.get("volume") or ():
                if volume.get("pvcRef") == {"name": claim.name, "namespace": claim.namespace} and "availableBytes" in volume:
                    yield volume


def _mounts(pod: KubeObject, claim: str) -> bool:
    volumes = get_path(pod, "spec.volumes") or ()
    return any(get_path(volume, "persistentVolumeClaim.claimName") == claim for volume in volumes)
