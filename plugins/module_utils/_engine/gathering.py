# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes objects that a backup holds, read page by page: never more of a kind in memory than one page.

What users made on the platform (custom resources of its kinds, profiles, what lies in their namespaces), the claims for
volumes, and our own record with its revisions. What a release brings is not among them: ``site`` makes it anew.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, Mapping, Optional, Sequence

from .api import Api, Discovery, Resource
from .applying import CRDS
from .objects import COMPONENT_LABEL, OUR_NAMESPACE, KubeObject, canonical
from .record import SECRETS
from .usage import PROFILE as _PROFILE
from .usage import readable_version

# Objects with a status of a megabyte each (Argo keeps a whole run in one) come a hundred at a time.
PAGE = 100
# What tenants' namespaces hold beside custom resources and is not made anew by a controller.
TENANT_KINDS = (
    Resource("v1", "ConfigMap", "configmaps", True),
    SECRETS,
    Resource("v1", "ServiceAccount", "serviceaccounts", True),
    Resource("rbac.authorization.k8s.io/v1", "Role", "roles", True),
    Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", True),
    Resource("v1", "LimitRange", "limitranges", True),
    Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", True),
)
# The server writes these into every object, another one in every cluster; finalizers are set by whoever cares for the object.
_OF_THE_SERVER = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "selfLink",
    "managedFields",
    "deletionTimestamp",
    "finalizers",
)
_TOKEN = "kubernetes.io/service-account-token"
# Written into every namespace by Kubernetes and by the mesh.
_EVERYWHERE = {
    "ConfigMap": ("kube-root-ca.crt", "istio-ca-root-cert"),
    "ServiceAccount": ("default",),
}


@dataclass(frozen=True)
class Kind:
    """One kind to be saved.

    :ivar has_status: whether its status is written apart from the object.
    :ivar namespaces: only what lies in these; None for everywhere.
    """

    resource: Resource
    has_status: bool = False
    namespaces: Optional[FrozenSet[str]] = None

    @property
    def name(self) -> str:
        """``notebooks.kubeflow.org``, or the plural alone for the core group."""
        return "%s.%s" % (self.resource.plural, self.resource.group) if self.resource.group else self.resource.plural

    @property
    def is_profile(self) -> bool:
        """Whether its controller makes a namespace for each."""
        return (self.resource.group, self.resource.kind) == _PROFILE


@dataclass
class Count:
    """What was read of one kind; the digest does not depend on the order.

    :ivar per_namespace: "" stands for cluster-wide objects.
    """

    objects: int = 0
    bytes: int = 0
    per_namespace: Dict[str, int] = field(default_factory=dict)
    _sum: int = 0

    def add(self, obj: KubeObject, size: int) -> None:
        """One object more."""
        namespace = obj["metadata"].get("namespace", "")
        self.objects += 1
        self.bytes += size
        self.per_namespace[namespace] = self.per_namespace.get(namespace, 0) + 1
        self._sum = (self._sum + int(digest(obj), 16)) % (1 << 256)

    @property
    def digest(self) -> str:
        """One number for the content of them all."""
        return "%064x" % self._sum


def comparable(obj: KubeObject) -> KubeObject:
    """The object without what differs from cluster to cluster although nobody changed it."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _OF_THE_SERVER}
    owners = metadata.get("ownerReferences")
    if owners:
        metadata["ownerReferences"] = [{key: value for key, value in owner.items() if key != "uid"} for owner in owners]
    return {**obj, "metadata": metadata}


def digest(obj: KubeObject) -> str:
    """SHA-256 of what :func:`comparable` leaves."""
    return hashlib.sha256(canonical(comparable(obj))).hexdigest()


def custom_kinds(api: Api, discovery: Discovery) -> List[Kind]:
    """Every kind that a definition of ours makes and the API server serves: one LIST of definitions."""
    kinds = []
    for crd in api.list(CRDS, selector=COMPONENT_LABEL)[0]:
        resource = readable_version(crd, discovery)
        if resource is None:
            continue
        version = next(item for item in crd["spec"]["versions"] if item["name"] == resource.group_version.rsplit("/", 1)[1])
        kinds.append(Kind(resource, "status" in (version.get("subresources") or {})))
    return sorted(kinds, key=lambda kind: not kind.is_profile)  # a profile makes its namespace


def tenant_kinds(tenants: FrozenSet[str], secrets: bool) -> List[Kind]:
    """The built-in kinds of the tenants' namespaces; Secrets only if they may be saved."""
    return [Kind(resource, namespaces=tenants) for resource in TENANT_KINDS if secrets or resource is not SECRETS]


def record_kinds() -> List[Kind]:
    """Our own record, its revisions and generated keys: all of them Secrets."""
    return [Kind(SECRETS, namespaces=frozenset((OUR_NAMESPACE,)))]


def is_users(obj: KubeObject) -> bool:
    """Whether an object is neither of a release (``site`` makes it anew) nor of Kubernetes or the mesh themselves."""
    metadata = obj["metadata"]
    if COMPONENT_LABEL in (metadata.get("labels") or {}) or metadata.get("deletionTimestamp"):
        return False
    if obj["kind"] == "Secret" and obj.get("type") == _TOKEN:
        return False
    return metadata["name"] not in _EVERYWHERE.get(obj["kind"], ())


def read(api: Api, kind: Kind, keep: Callable[[KubeObject], bool] = is_users) -> Iterator[KubeObject]:
    """Every object of a kind that is kept, one page in memory."""
    spaces: Sequence[str] = sorted(kind.namespaces) if kind.namespaces is not None else ("",)
    # A few namespaces are asked one by one; with a thousand of them one LIST of the whole kind is less.
    if len(spaces) > PAGE:
        spaces = ("",)
    for namespace in spaces:
        for page in api.pages(kind.resource, namespace=namespace, limit=PAGE):
            for obj in page:
                inside = kind.namespaces is None or obj["metadata"].get("namespace") in kind.namespaces
                if inside and keep(obj):
                    obj["metadata"].pop("managedFields", None)
                    yield obj


def json_line(obj: KubeObject) -> bytes:
    """An object as a line of JSON."""
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def lines(objects: Iterator[KubeObject], count: Count, told: Callable[[Count], None]) -> Iterator[bytes]:
    """Each object as a line of JSON, counted as it goes by.

    :param told: is called after every object.
    """
    for obj in objects:
        line = json_line(obj)
        count.add(obj, len(line))
        told(count)
        yield line


def parsed(chunks: Iterator[bytes]) -> Iterator[KubeObject]:
    """The objects of such lines, one at a time.

    :raises ValueError: a line is not JSON.
    """
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield json.loads(line)
    if rest:
        yield json.loads(rest)


def summary(counts: Mapping[str, Count]) -> Dict[str, Any]:
    """What a manifest says of the kinds: numbers and digests, no names of objects."""
    return {
        name: {
            "objects": count.objects,
            "bytes": count.bytes,
            "digest": count.digest,
            "per_namespace": dict(sorted(count.per_namespace.items())),
        }
        for name, count in sorted(counts.items())
    }
