# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release a cluster holds that we did not install: every known one compared with what is there, the best first.

Names tell most of it, and images tell releases of the same names apart. Fields are not compared here: the plan of the best
match with ``adopt: [all]`` says of every object what the server would change.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Dict, Iterator, Mapping, Sequence, Tuple

from .api import Api, Resource
from .objects import KubeObject, ObjectRef, get_path, ref_of

READERS = 4
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True)
class Match:
    """How far a cluster is one release.

    :ivar objects: how many the release has; :ivar present: how many of them are there.
    :ivar images: how many containers the release's workloads have; :ivar same: how many of them have the same image there.
    :ivar missing: objects that are not there; :ivar other_images: workload -> (the release's image, the cluster's).
    """

    release: str
    objects: int
    present: int
    images: int
    same: int
    missing: Tuple[ObjectRef, ...]
    other_images: Mapping[ObjectRef, Tuple[Tuple[str, str], ...]]

    @property
    def score(self) -> float:
        """From 0 to 1: the share of objects that are there and of images that are the same, each counting for half."""
        return (self.present / self.objects if self.objects else 0.0) / 2 + (self.same / self.images if self.images else 0.0) / 2


def match(api: Api, renders: Mapping[str, Mapping[ObjectRef, KubeObject]]) -> Tuple[Match, ...]:
    """Every release compared with the cluster, the best match first: discovery and one LIST per kind, whatever the number of releases."""
    wanted = [obj for objects in renders.values() for obj in objects.values()]
    there = _read(api, wanted)
    found = [compared(name, objects, there) for name, objects in renders.items()]
    return tuple(sorted(found, key=lambda one: -one.score))


def _read(api: Api, wanted: Sequence[KubeObject]) -> Dict[ObjectRef, KubeObject]:
    """Everything of the kinds of these objects that the cluster has."""
    discovery = api.discover()
    resources: Dict[Tuple[str, str], Resource] = {}
    for obj in wanted:
        resource = discovery.get(obj["apiVersion"], obj["kind"])
        if resource is not None:  # one of the versions of a kind is enough
            resources.setdefault((resource.group, resource.kind), resource)
    there: Dict[ObjectRef, KubeObject] = {}
    with ThreadPoolExecutor(READERS) as pool:
        for items, _version in pool.map(api.list, resources.values()):
            there.update((ref_of(item), item) for item in items)
    return there


def compared(release: str, objects: Mapping[ObjectRef, KubeObject], there: Mapping[ObjectRef, KubeObject]) -> Match:
    """One release beside what is there."""
    images = same = 0
    others: Dict[ObjectRef, Tuple[Tuple[str, str], ...]] = {}
    for ref, obj in objects.items():
        if ref.kind not in WORKLOADS:
            continue
        live = dict(_images(there.get(ref, {})))
        pairs = [(image, live.get(name, "")) for name, image in _images(obj)]
        images += len(pairs)
        same += sum(1 for ours, theirs in pairs if ours == theirs)
        differing = tuple((ours, theirs) for ours, theirs in pairs if ours != theirs)
        if differing and ref in there:
            others[ref] = differing
    missing = tuple(sorted(ref for ref in objects if ref not in there))
    return Match(release, len(objects), len(objects) - len(missing), images, same, missing, others)


def _images(workload: Mapping[str, Any]) -> Iterator[Tuple[str, str]]:
    """(container, image) of a workload's pods."""
    for kind in ("initContainers", "containers"):
        for container in get_path(workload, "spec.template.spec." + kind) or []:
            yield container["name"], container.get("image", "")
