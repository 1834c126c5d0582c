# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The live cluster as one plan sees it: one LIST per kind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Dict, FrozenSet, List, Mapping, Optional, Sequence, Tuple

from .api import Api, Discovery, Resource, resource_of_crd
from .health_rules import binding_modes, ready_services
from .moves import unserved
from .objects import COMPONENT_LABEL, KubeObject, ObjectRef, ref_of
from .record import Record

READERS = 4
# Up to so many objects that we do not know of are looked for one by one, more by listing the whole kind.
FEW = 3
ENDPOINT_SLICES = Resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", True)
STORAGE_CLASSES = Resource("storage.k8s.io/v1", "StorageClass", "storageclasses", False)


@dataclass(frozen=True)
class Snapshot:
    """What was there when we looked.

    :ivar objects: live objects by identity: those that we want or have recorded.
    :ivar discovery: what the server serves, and what the CustomResourceDefinitions of the render will add.
    :ivar served: what it serves now.
    :ivar versions: per kind the resourceVersion of its LIST, from which a watch goes on.
    :ivar endpoint_slices: every EndpointSlice, and the resourceVersion of their LIST.
    :ivar binding_modes: StorageClass -> volumeBindingMode.
    """

    objects: Mapping[ObjectRef, KubeObject]
    discovery: Discovery
    served: Discovery
    versions: Mapping[Resource, str]
    endpoint_slices: Sequence[KubeObject]
    endpoint_version: str
    binding_modes: Mapping[str, str]

    @property
    def endpoints(self) -> FrozenSet[str]:
        """Services ("namespace/name") that have a ready endpoint."""
        return ready_services(self.endpoint_slices)


def resources_of(objects: List[KubeObject], discovery: Discovery) -> Discovery:
    """What is served plus what the CustomResourceDefinitions among the objects define."""
    coming: List[Resource] = []
    for obj in objects:
        if obj["kind"] == "CustomResourceDefinition":
            coming.extend(resource_of_crd(obj))
    return discovery.with_resources(coming)


def take(api: Api, wanted: Mapping[ObjectRef, KubeObject], record: Record) -> Snapshot:
    """Read what the plan needs: discovery, one LIST per kind, one GET for what a labelled LIST lacks."""
    served = api.discover()
    discovery = resources_of(list(wanted.values()), served)
    by_resource: Dict[Resource, List[ObjectRef]] = {}
    for ref, obj in wanted.items():
        resource = discovery.get(obj["apiVersion"], obj["kind"])
        if resource is None:
            raise unserved(ref, obj["apiVersion"])
        if served.get(obj["apiVersion"], obj["kind"]):
            by_resource.setdefault(resource, []).append(ref)
    objects: Dict[ObjectRef, KubeObject] = {}
    versions: Dict[Resource, str] = {}
    with ThreadPoolExecutor(READERS) as pool:
        slices = pool.submit(api.list, ENDPOINT_SLICES)
        classes = pool.submit(api.list, STORAGE_CLASSES)
        heavy_first = sorted(by_resource.items(), key=lambda item: item[0].kind != "CustomResourceDefinition")
        reads = {resource: pool.submit(_read_kind, api, resource, refs, record) for resource, refs in heavy_first}
        for resource, future in reads.items():
            found, versions[resource] = future.result()
            objects.update(found)
        ends, end_version = slices.result()
        modes = binding_modes(classes.result()[0])
    return Snapshot(objects, discovery, served, versions, ends, end_version, modes)


def _read_kind(api: Api, resource: Resource, refs: List[ObjectRef], record: Record) -> Tuple[Dict[ObjectRef, KubeObject], str]:
    """The wanted objects of one kind that are there."""
    entries = {ref: record.entry(ref) for ref in refs}
    unknown = [ref for ref, entry in entries.items() if entry is None or not entry.live]
    labelled = len(unknown) <= FEW
    items, version = api.list(resource, selector=COMPONENT_LABEL if labelled else "")
    there = {ref_of(item): item for item in items}
    found = {ref: there[ref] for ref in refs if ref in there}
    for ref in refs if labelled else ():
        if ref not in found:
            single: Optional[KubeObject] = api.get(resource, ref.namespace, ref.name)
            if single is not None:
                found[ref] = single
    return found, version
