# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users have put on the platform: custom resources of each kind, what mounts a volume, whose namespaces there are.

Read with metadata-only, paged LISTs: one per kind, never a request per object.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from .api import METADATA_LIST, Api, ApiError, Discovery, Resource
from .objects import KubeObject, ObjectRef, get_path, ref_of
from .record import NAMESPACES

READERS = 4
CLAIM = "PersistentVolumeClaim"
PROFILE = ("kubeflow.org", "Profile")
PODS = Resource("v1", "Pod", "pods", True)
CLAIMS = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims", True)
WORKLOADS = (
    Resource("apps/v1", "Deployment", "deployments", True),
    Resource("apps/v1", "StatefulSet", "statefulsets", True),
    Resource("apps/v1", "DaemonSet", "daemonsets", True),
)
# Where the pod of each kind is that has one.
POD_SPECS = {
    "Pod": "spec",
    "Deployment.apps": "spec.template.spec",
    "StatefulSet.apps": "spec.template.spec",
    "DaemonSet.apps": "spec.template.spec",
    "ReplicaSet.apps": "spec.template.spec",
    "Job.batch": "spec.template.spec",
    "CronJob.batch": "spec.jobTemplate.spec.template.spec",
}


@dataclass(frozen=True)
class Usage:
    """What would be lost, as far as anybody knows.

    :ivar known: whether a cluster was asked; offline it is False, and what is not counted may be anything.
    :ivar instances: CustomResourceDefinition -> its custom resources.
    :ivar uncounted: CustomResourceDefinition -> why its custom resources could not be counted.
    :ivar totals: CustomResourceDefinition -> how many custom resources it has, where nobody asked which.
    :ivar mounts: PersistentVolumeClaim -> names of the workloads and pods that mount it.
    :ivar tenants: the namespaces that belong to a Profile.
    """

    known: bool = False
    instances: Mapping[ObjectRef, Tuple[ObjectRef, ...]] = field(default_factory=dict)
    uncounted: Mapping[ObjectRef, str] = field(default_factory=dict)
    totals: Mapping[ObjectRef, int] = field(default_factory=dict)
    mounts: Mapping[ObjectRef, Tuple[str, ...]] = field(default_factory=dict)
    tenants: FrozenSet[str] = frozenset()


def per_namespace(refs: Iterable[ObjectRef]) -> Dict[str, int]:
    """How many objects are in each namespace; "" for cluster-wide ones."""
    counts: Dict[str, int] = {}
    for ref in sorted(refs):
        counts[ref.namespace] = counts.get(ref.namespace, 0) + 1
    return counts


def mounted_claims(obj: KubeObject) -> FrozenSet[str]:
    """Names of the PersistentVolumeClaims that the pods of a workload mount, in its own namespace."""
    place = POD_SPECS.get(ref_of(obj).kind_group)
    volumes = (get_path(obj, place + ".volumes") if place else None) or []
    names = (get_path(volume, "persistentVolumeClaim.claimName") for volume in volumes)
    return frozenset(str(name) for name in names if name)


def expected(objects: Sequence[KubeObject]) -> Usage:
    """What can be told without a cluster: from the objects of a render."""
    workloads = [obj for obj in objects if obj["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job")]
    profiles = [ref_of(obj) for obj in objects if obj["kind"] == PROFILE[1]]
    return Usage(False, mounts=_mounts(workloads, []), tenants=frozenset(ref.name for ref in profiles if ref.group == PROFILE[0]))


# ------------------------------------------------------------------ reading


def look(
    api: Api,
    definitions: Iterable[KubeObject],
    claims: Iterable[ObjectRef],
    discovery: Discovery,
    numbers: Iterable[KubeObject] = (),
) -> Usage:
    """Ask the cluster.

    :param definitions: live CustomResourceDefinitions whose custom resources are named one by one.
    :param claims: PersistentVolumeClaims of which it is asked what mounts them.
    :param discovery: what the API server serves.
    :param numbers: live CustomResourceDefinitions of which just the number of custom resources is asked.
    :raises ApiError: namespaces, pods or workloads cannot be read. Custom resources that cannot be read are ``uncounted``.
    """
    with ThreadPoolExecutor(READERS) as pool:
        tenants = pool.submit(tenants_of, api)
        named = {ref_of(crd): pool.submit(_counted, _instances, api, crd, discovery) for crd in definitions}
        totals = {ref_of(crd): pool.submit(_counted, _total, api, crd, discovery) for crd in numbers}
        spaces = sorted({ref.namespace for ref in claims})
        mounts = [pool.submit(_mounts_in, api, namespace) for namespace in spaces]
        instances = {ref: future.result() for ref, future in named.items()}
        return Usage(
            known=True,
            instances={ref: found for ref, (found, _problem) in instances.items() if found is not None},
            uncounted={ref: problem for ref, (found, problem) in instances.items() if found is None},
            totals={ref: number for ref, number in ((ref, future.result()[0]) for ref, future in totals.items()) if number is not None},
            mounts={claim: names for future in mounts for claim, names in future.result().items()},
            tenants=tenants.result(),
        )


def tenants_of(api: Api) -> FrozenSet[str]:
    """The namespaces that belong to a Profile: one LIST of names and owners."""
    found: Set[str] = set()
    for obj in api.list(NAMESPACES, names=True)[0]:
        owners = obj["metadata"].get("ownerReferences") or []
        if any(owner.get("kind") == PROFILE[1] and str(owner.get("apiVersion")).startswith(PROFILE[0] + "/") for owner in owners):
            found.add(obj["metadata"]["name"])
    return frozenset(found)


def readable_version(crd: KubeObject, discovery: Discovery) -> Optional[Resource]:
    """The version in which custom resources are read: the stored one if it is served, as that needs no conversion webhook."""
    spec = crd["spec"]
    versions = sorted((item for item in spec["versions"] if item.get("served")), key=lambda item: not item.get("storage"))
    for version in versions:
        resource = discovery.get("%s/%s" % (spec["group"], version["name"]), spec["names"]["kind"])
        if resource is not None:
            return resource
    return None


def _counted(read: Any, api: Api, crd: KubeObject, discovery: Discovery) -> Tuple[Optional[Any], str]:
    """(what ``read`` finds, ""), or (None, why it cannot be read)."""
    resource = readable_version(crd, discovery)
    if resource is None:
        return None, "the API server serves no version of it"
    try:
        return read(api, resource), ""
    except ApiError as error:
        return None, error.message


def _instances(api: Api, resource: Resource) -> Tuple[ObjectRef, ...]:
    return tuple(ref_of(obj) for obj in api.list(resource, names=True)[0])


def _total(api: Api, resource: Resource) -> int:
    """The number of objects from a page of one: the server says how many more there are."""
    page = api.send("GET", resource.path(), query={"limit": "1"}, accept=METADATA_LIST, subject="list of %s" % resource.plural)
    rest = page["metadata"].get("remainingItemCount")
    if rest is None and page["metadata"].get("continue"):
        return len(api.list(resource, names=True)[0])
    return len(page.get("items") or []) + int(rest or 0)


def _mounts_in(api: Api, namespace: str) -> Dict[ObjectRef, Tuple[str, ...]]:
    workloads = [obj for resource in WORKLOADS for obj in api.list(resource, namespace=namespace)[0]]
    return _mounts(workloads, api.list(PODS, namespace=namespace)[0])


def _mounts(workloads: Sequence[KubeObject], pods: Sequence[KubeObject]) -> Dict[ObjectRef, Tuple[str, ...]]:
    """Claim -> who mounts it: workloads by name, pods only where none of the workloads made them."""
    found: Dict[ObjectRef, List[str]] = {}
    names = {(ref.namespace, ref.kind, ref.name) for ref in map(ref_of, workloads)}
    for obj in [*workloads, *(pod for pod in pods if not _maker(pod) & names)]:
        ref = ref_of(obj)
        for claim in mounted_claims(obj):
            found.setdefault(ObjectRef("", CLAIM, ref.namespace, claim), []).append(str(ref))
    return {claim: tuple(sorted(users)) for claim, users in found.items()}


def _maker(pod: KubeObject) -> Set[Tuple[str, str, str]]:
    """What may have made a pod: (namespace, kind, name); of a ReplicaSet its Deployment."""
    metadata = pod["metadata"]
    suffix = "-" + str((metadata.get("labels") or {}).get("pod-template-hash"))
    found = set()
    for owner in metadata.get("ownerReferences") or []:
        kind, name = str(owner.get("kind")), str(owner.get("name"))
        if kind == "ReplicaSet" and name.endswith(suffix):
            kind, name = "Deployment", name[: -len(suffix)]
        found.add((str(metadata.get("namespace")), kind, name))
    return found
