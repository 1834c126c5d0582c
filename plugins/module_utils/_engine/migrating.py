# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage versions: objects that are still stored in an older version of their kind are written again in today's.

A CustomResourceDefinition lists in ``status.storedVersions`` every version in which an object may lie in etcd. As long as
an old one is listed there, no later release may drop it. Once every object was written again the list is cut down to
today's version [Kubernetes, "Versions in CustomResourceDefinitions", upgrade existing objects to a new stored version].
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Iterable, List, Tuple

from .api import Api, ApiError, Resource
from .applying import CRDS
from .objects import COMPONENT_LABEL, KubeObject, ObjectRef, ref_of
from .progress import Progress

MERGE = "application/merge-patch+json"
WRITERS = 4


@dataclass(frozen=True)
class Move:
    """One kind whose objects may be stored in several versions: from which to which."""

    ref: ObjectRef
    resource: Resource
    stored: Tuple[str, ...]
    storage: str

    def __str__(self) -> str:
        return "%s: %s -> %s" % (self.ref.name, ", ".join(item for item in self.stored if item != self.storage), self.storage)


@dataclass(frozen=True)
class Moved:
    """What was done for one kind: how many objects were written again, and how many somebody else wrote meanwhile."""

    move: Move
    written: int
    overtaken: int


def due(definitions: Iterable[KubeObject]) -> List[Move]:
    """The kinds whose definition lists another stored version than today's."""
    moves = []
    for crd in definitions:
        stored: List[str] = (crd.get("status") or {}).get("storedVersions") or []
        storage = next(version["name"] for version in crd["spec"]["versions"] if version.get("storage"))
        served = [version["name"] for version in crd["spec"]["versions"] if version.get("served")]
        if stored and stored != [storage] and served:
            spec = crd["spec"]
            group_version = "%s/%s" % (spec["group"], storage if storage in served else served[0])
            resource = Resource(group_version, spec["names"]["kind"], spec["names"]["plural"], spec["scope"] == "Namespaced")
            moves.append(Move(ref_of(crd), resource, tuple(stored), storage))
    return sorted(moves, key=lambda move: move.ref)


def ours(api: Api) -> List[KubeObject]:
    """Every CustomResourceDefinition that we wrote: one LIST."""
    return api.list(CRDS, selector=COMPONENT_LABEL)[0]


def migrate(api: Api, move: Move, progress: Progress) -> Moved:
    """Write every object of a kind again, unchanged, and then cut the list of stored versions down.

    An empty patch is enough: the server stores what it stores in today's version, and does so although nothing changed
    when the stored bytes differ. Who else wrote the object since our list has moved it as well. One page is in memory.

    :raises ApiError: an object could not be written; the list of stored versions stays as it was, and nothing is lost.
    """
    written = overtaken = 0
    with ThreadPoolExecutor(WRITERS) as pool:
        for page in api.pages(move.resource):
            for ours_now in pool.map(lambda obj: _write_again(api, move.resource, obj), page):
                written += ours_now
                overtaken += not ours_now
                text = "storage version of %s: %d objects written again" % (move.ref.name, written + overtaken)
                progress.waiting("", text)
    api.patch(CRDS, "", move.ref.name, {"status": {"storedVersions": [move.storage]}}, content_type=MERGE, subresource="status")
    return Moved(move, written, overtaken)


def _write_again(api: Api, resource: Resource, obj: KubeObject) -> bool:
    """Store one object anew as it is; False if somebody else wrote or removed it since it was listed."""
    metadata = obj["metadata"]
    same = {"metadata": {"resourceVersion": metadata["resourceVersion"]}}
    try:
        api.patch(resource, metadata.get("namespace", ""), metadata["name"], same, content_type=MERGE)
    except ApiError as error:
        if error.status not in (404, 409):
            raise
        return False
    return True
