# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays whoever fills the caBundle of webhook configurations and CRDs: cert-manager's cainjector, istiod, and others.

A configuration that is served by a real program is left to that program.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Callable, List, Mapping, Optional, Tuple

from ...module_utils._engine.objects import KubeObject, get_path
from .certmanager import NAMESPACE, ready
from .kube import ApiStatus, Client
from .pki import Authority
from .view import View, path_of

INJECTOR = "cert-manager-cainjector"
FROM_CERTIFICATE = "cert-manager.io/inject-ca-from"
FROM_SECRET = "cert-manager.io/inject-ca-from-secret"
INJECTOR_MANAGER = "sandbox-cainjector"
STANDIN_MANAGER = "sandbox-stand-in"
EMPTY = ("", "Cg==", "Cgo=")  # what manifests hold before somebody fills it (KServe, Katib: a line end)

KNATIVE_RULES: Mapping[str, Tuple[KubeObject, ...]] = {
    # Knative's controllers write the rules of their configurations; they all read the same kinds of objects.
    "serving.knative.dev": (
        {
            "apiGroups": ["serving.knative.dev", "autoscaling.internal.knative.dev", "networking.internal.knative.dev"],
            "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["*"],
            "scope": "*",
        },
    ),
    "config": (
        {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["configmaps"],
            "scope": "*",
        },
    ),
}


@dataclass(frozen=True)
class Source:
    """Which CA a configuration gets, and who writes it."""

    ca: str
    manager: str


class Injection:
    """The controllers.

    :param is_real: whether the pod of this namespace and name is run for real.
    """

    def __init__(self, client: Client, view: View, authority: Authority, is_real: Callable[[str, str], bool]) -> None:
        self._client = client
        self._view = view
        self._ca = _encoded(authority.certificate)
        self._is_real = is_real

    def configuration(self, kind: str, name: str) -> None:
        """Fill what a webhook configuration lacks."""
        obj = self._view.get(kind, "", name)
        if obj is None:
            return
        changes: List[KubeObject] = []
        manager = ""
        for index, hook in enumerate(obj.get("webhooks") or []):
            source = self._source(obj, hook["clientConfig"])
            if source is None:
                continue
            place = "/webhooks/%d" % index
            found = _fill(place, hook["clientConfig"], source.ca)
            if source.manager == STANDIN_MANAGER:
                found += _played(place, kind, hook)
            if found:
                manager = source.manager
                changes += [{"op": "test", "path": place + "/name", "value": hook["name"]}, *found]
        if changes:
            self._client.patch(path_of(kind, "", name), changes, "json", manager)

    def definition(self, name: str) -> None:
        """Fill the caBundle of a CRD's conversion webhook."""
        known = self._view.get("CustomResourceDefinition", "", name)
        annotations = (known or {"metadata": {}})["metadata"].get("annotations") or {}
        if FROM_CERTIFICATE not in annotations and FROM_SECRET not in annotations:
            return
        try:
            obj = self._client.get(path_of("CustomResourceDefinition", "", name))
        except ApiStatus as error:
            if error.code == 404:
                return
            raise
        config = get_path(obj, "spec.conversion.webhook.clientConfig")
        source = self._source(obj, config) if config else None
        changes = _fill("/spec/conversion/webhook", config, source.ca) if source else []
        if source and changes:
            self._client.patch(path_of("CustomResourceDefinition", "", name), changes, "json", source.manager)

    def _source(self, obj: KubeObject, config: KubeObject) -> Optional[Source]:
        """The CA that it should have now; None while nobody would write one."""
        annotations = obj["metadata"].get("annotations") or {}
        wanted = annotations.get(FROM_CERTIFICATE, "")
        namespace, _slash, name = wanted.partition("/")
        if self._view.get("Certificate", namespace, name):
            return self._injected(self._certificate_secret(namespace, name))
        wanted = annotations.get(FROM_SECRET, "")
        if wanted:
            namespace, _slash, name = wanted.partition("/")
            return self._injected(self._view.get("Secret", namespace, name))
        service = config.get("service")
        if not service or config.get("caBundle", "") not in (*EMPTY, self._ca):
            return None
        endpoint = self._view.endpoint(service["namespace"], service["name"])
        if endpoint is None or self._is_real(endpoint.namespace, endpoint.pod):
            return None
        return Source(self._ca, STANDIN_MANAGER)

    def _certificate_secret(self, namespace: str, name: str) -> Optional[KubeObject]:
        certificate = self._view.get("Certificate", namespace, name)
        if certificate is None or not ready(certificate):
            return None
        return self._view.get("Secret", namespace, certificate["spec"]["secretName"])

    def _injected(self, secret: Optional[KubeObject]) -> Optional[Source]:
        if secret is None or not self._view.runs(NAMESPACE, INJECTOR):
            return None
        ca = (secret.get("data") or {}).get("ca.crt", "")
        return Source(ca, INJECTOR_MANAGER) if ca else None


def _fill(place: str, config: KubeObject, ca: str) -> List[KubeObject]:
    if config.get("caBundle") == ca:
        return []
    return [{"op": "add", "path": place + "/clientConfig/caBundle", "value": ca}]


def _played(place: str, kind: str, hook: KubeObject) -> List[KubeObject]:
    """What the program would write besides the CA."""
    changes: List[KubeObject] = []
    service = hook["clientConfig"]["service"]
    if service["name"] == "istiod" and kind.startswith("Validating") and hook.get("failurePolicy") != "Fail":
        changes.append({"op": "add", "path": place + "/failurePolicy", "value": "Fail"})
    if not hook.get("rules") and "knative.dev" in hook["name"]:
        rules = KNATIVE_RULES["config" if hook["name"].startswith("config.") else "serving.knative.dev"]
        changes.append({"op": "add", "path": place + "/rules", "value": list(rules)})
    return changes


def _encoded(certificate: bytes) -> str:
    return base64.b64encode(certificate).decode()
