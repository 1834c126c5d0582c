# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays cert-manager's controller: issuers and certificates become Ready, Secrets get a key pair.

Conditions and annotations are those that cert-manager writes; every certificate is signed by the sandbox's authority.
"""

from __future__ import annotations

import base64
from datetime import datetime, timezone
from typing import List, Mapping, Optional

from ...module_utils._engine.objects import KubeObject, get_path
from .kube import Client
from .pki import Authority, Pair, validity
from .view import View, path_of

NAMESPACE = "cert-manager"
CONTROLLER = "cert-manager"
WEBHOOK = "cert-manager-webhook"
WEBHOOK_CA = "cert-manager-webhook-ca"
MANAGER = "sandbox-cert-manager"


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def ready(obj: KubeObject) -> bool:
    """Whether it is Ready in the generation that it is in."""
    for condition in get_path(obj, "status.conditions") or []:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return bool(condition.get("observedGeneration", 0) == obj["metadata"]["generation"])
    return False


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


class CertManager:
    """The controller."""

    def __init__(self, client: Client, view: View, authority: Authority) -> None:
        self._client = client
        self._view = view
        self._authority = authority

    def issuer(self, kind: str, namespace: str, name: str) -> None:
        """Make an Issuer or ClusterIssuer Ready."""
        obj = self._view.get(kind, namespace, name)
        if obj is None or ready(obj) or not self._view.runs(NAMESPACE, CONTROLLER):
            return
        condition = self._condition(obj, "IsReady", "")
        self._status(kind, obj, {"conditions": [condition]})

    def certificate(self, namespace: str, name: str) -> None:
        """Write a Certificate's Secret and make it Ready, once its issuer is."""
        obj = self._view.get("Certificate", namespace, name)
        if obj is None or not self._view.runs(NAMESPACE, CONTROLLER):
            return
        secret = self._view.get("Secret", namespace, obj["spec"]["secretName"])
        if ready(obj) and _fits(secret, obj):
            return
        reference = obj["spec"]["issuerRef"]
        kind = reference.get("kind") or "Issuer"
        issuer = self._view.get(kind, namespace if kind == "Issuer" else "", reference["name"])
        if issuer is None or not ready(issuer):
            return  # its event brings us back
        if secret is None or not _fits(secret, obj):
            pair = self._authority.issue(_names(obj))
            self._write_secret(namespace, obj["spec"]["secretName"], pair, _annotations(obj, kind))
        else:
            pair = Pair(base64.b64decode(secret["data"]["tls.crt"]), b"")
        before, after = validity(pair.certificate)
        self._status(
            "Certificate",
            obj,
            {
                "conditions": [self._condition(obj, "Ready", "Certificate is up to date and has not expired")],
                "notBefore": before,
                "notAfter": after,
                "renewalTime": after,
                "revision": int(get_path(obj, "status.revision", 0)) + 1,
            },
        )

    def webhook_authority(self) -> None:
        """The Secret in which cert-manager's own webhook keeps its authority."""
        if self._view.get("Secret", NAMESPACE, WEBHOOK_CA) or not self._view.runs(NAMESPACE, WEBHOOK):
            return
        annotations = {"cert-manager.io/allow-direct-injection": "true"}
        pair = self._authority.issue(["cert-manager-webhook-ca"])
        self._write_secret(NAMESPACE, WEBHOOK_CA, pair, annotations, "Opaque")

    def _write_secret(self, namespace: str, name: str, pair: Pair, annotations: Mapping[str, str], kind: str = "kubernetes.io/tls") -> None:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "annotations": dict(annotations),
                "labels": {"controller.cert-manager.io/fao": "true"},
            },
            "type": kind,
            "data": {
                "tls.crt": _encode(pair.certificate),
                "tls.key": _encode(pair.key),
                "ca.crt": _encode(self._authority.certificate),
            },
        }
        self._client.patch(path_of("Secret", namespace, name), secret, "apply", MANAGER)

    @staticmethod
    def _condition(obj: KubeObject, reason: str, message: str) -> KubeObject:
        return {
            "type": "Ready",
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now(),
            "observedGeneration": obj["metadata"]["generation"],
        }

    def _status(self, kind: str, obj: KubeObject, status: KubeObject) -> None:
        metadata = obj["metadata"]
        path = path_of(kind, metadata.get("namespace", ""), metadata["name"]) + "/status"
        self._client.patch(path, {"status": status}, "merge", MANAGER)


def _names(certificate: KubeObject) -> List[str]:
    spec = certificate["spec"]
    common = [spec["commonName"]] if spec.get("commonName") else []
    return list(dict.fromkeys([*(spec.get("dnsNames") or []), *common])) or [certificate["metadata"]["name"]]


def _annotations(certificate: KubeObject, kind: str) -> Mapping[str, str]:
    return {
        "cert-manager.io/certificate-name": certificate["metadata"]["name"],
        "cert-manager.io/issuer-name": certificate["spec"]["issuerRef"]["name"],
        "cert-manager.io/issuer-kind": kind,
        "cert-manager.io/issuer-group": "cert-manager.io",
        "cert-manager.io/common-name": certificate["spec"].get("commonName", ""),
        "cert-manager.io/alt-names": ",".join(certificate["spec"].get("dnsNames") or []),
    }


def _fits(secret: Optional[KubeObject], certificate: KubeObject) -> bool:
    """Whether a Secret holds what this Certificate asks for."""
    if secret is None or not (secret.get("data") or {}).get("tls.crt"):
        return False
    annotations = secret["metadata"].get("annotations") or {}
    names = ",".join(certificate["spec"].get("dnsNames") or [])
    return bool(annotations.get("cert-manager.io/alt-names") == names)
