# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent knows of the cluster: one watch per kind, and the questions that are asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Iterator, Mapping, Optional, Tuple

from ...module_utils._engine.objects import KubeObject, get_path
from .backends import deployment_of
from .kube import Client, Watch, key_of

WATCHED: Mapping[str, str] = {
    "Service": "/api/v1/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
    "Pod": "/api/v1/pods",
    "Secret": "/api/v1/secrets",
    "ConfigMap": "/api/v1/configmaps",
    "PersistentVolumeClaim": "/api/v1/persistentvolumeclaims",
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "Certificate": "/apis/cert-manager.io/v1/certificates",
    "Issuer": "/apis/cert-manager.io/v1/issuers",
    "ClusterIssuer": "/apis/cert-manager.io/v1/clusterissuers",
    "Profile": "/apis/kubeflow.org/v1/profiles",
}
CUSTOM: Mapping[str, str] = {  # the CRD that has to be there before a kind can be watched
    "certificates.cert-manager.io": "Certificate",
    "issuers.cert-manager.io": "Issuer",
    "clusterissuers.cert-manager.io": "ClusterIssuer",
    "profiles.kubeflow.org": "Profile",
}
METADATA_ONLY = ("CustomResourceDefinition",)  # 12 MB of schemas that nobody here reads


def path_of(kind: str, namespace: str, name: str) -> str:
    """The path of one object of a watched kind."""
    collection = WATCHED[kind]
    if namespace:
        head, _slash, plural = collection.rpartition("/")
        return "%s/namespaces/%s/%s/%s" % (head, namespace, plural, name)
    return "%s/%s" % (collection, name)


def is_ready(pod: KubeObject) -> bool:
    """Whether a pod's Ready condition is true."""
    conditions = get_path(pod, "status.conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@dataclass(frozen=True)
class Endpoint:
    """A ready endpoint of a Service: the pod behind it and its ports by name."""

    namespace: str
    pod: str
    ports: Mapping[str, int]


class View:
    """All watches.

    :param on_event: called with kind, event and object, by the thread of that kind.
    """

    def __init__(self, client: Client, on_event: Callable[[str, str, KubeObject], None]) -> None:
        self._on_event = on_event
        self._watches: Dict[str, Watch] = {
            kind: Watch(client, path, self._handler(kind), kind in METADATA_ONLY) for kind, path in WATCHED.items()
        }

    def _handler(self, kind: str) -> Callable[[str, KubeObject], None]:
        def handle(event: str, obj: KubeObject) -> None:
            if kind == "CustomResourceDefinition" and obj["metadata"]["name"] in CUSTOM:
                self._watches[CUSTOM[obj["metadata"]["name"]]].served()
            self._on_event(kind, event, obj)

        return handle

    def wait(self, seconds: float) -> None:
        """Wait until every kind that is served has been listed once."""
        for kind, watch in self._watches.items():
            if kind not in CUSTOM.values() and not watch.synced.wait(seconds):
                raise TimeoutError("no list of %s within %.0f s" % (kind, seconds))

    def get(self, kind: str, namespace: str, name: str) -> Optional[KubeObject]:
        """One object, or None."""
        return self._watches[kind].objects.get((namespace, name))

    def all(self, kind: str) -> Iterator[Tuple[Tuple[str, str], KubeObject]]:
        """Every object of a kind with its key."""
        return iter(list(self._watches[kind].objects.items()))

    def runs(self, namespace: str, deployment: str) -> bool:
        """Whether a Deployment has a ready pod."""
        return any(key[0] == namespace and deployment_of(pod) == deployment and is_ready(pod) for key, pod in self.all("Pod"))

    def service_at(self, address: str) -> Optional[KubeObject]:
        """The Service with this cluster IP."""
        for _key, service in self.all("Service"):
            if address in (get_path(service, "spec.clusterIPs") or [get_path(service, "spec.clusterIP")]):
                return service
        return None

    def pod_at(self, address: str) -> Optional[KubeObject]:
        """The pod with this address."""
        for _key, pod in self.all("Pod"):
            if get_path(pod, "status.podIP") == address:
                return pod
        return None

    def endpoint(self, namespace: str, service: str) -> Optional[Endpoint]:
        """A ready endpoint of a Service, or None."""
        for key, piece in self.all("EndpointSlice"):
            labels = piece["metadata"].get("labels") or {}
            if key[0] != namespace or labels.get("kubernetes.io/service-name") != service:
                continue
            ports = {port.get("name") or "": int(port.get("port") or 0) for port in piece.get("ports") or []}
            for found in piece.get("endpoints") or []:
                if (found.get("conditions") or {}).get("ready") is not False and found.get("targetRef"):
                    return Endpoint(namespace, found["targetRef"]["name"], ports)
        return None


def service_of(piece: KubeObject) -> Tuple[str, str]:
    """The Service that an EndpointSlice belongs to: namespace and name."""
    return key_of(piece)[0], (piece["metadata"].get("labels") or {}).get("kubernetes.io/service-name", "")
