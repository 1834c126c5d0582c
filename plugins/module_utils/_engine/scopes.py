# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kinds live in a namespace: the built-in ones from a table, custom ones from their definitions."""

from __future__ import annotations

from typing import Dict, Iterable, Optional, Tuple

from .objects import KubeObject

# API groups whose kinds are all known (Kubernetes 1.28-1.36); what is not in the table below is namespaced.
_BUILT_IN_GROUPS = frozenset(
    (
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    )
)
_CLUSTER_WIDE = frozenset(
    (
        "APIService",
        "CSIDriver",
        "CSINode",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterTrustBundle",
        "CustomResourceDefinition",
        "DeviceClass",
        "FlowSchema",
        "IPAddress",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "ResourceSlice",
        "RuntimeClass",
        "ServiceCIDR",
        "StorageClass",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
        "VolumeAttributesClass",
    )
)


class Scopes:
    """The scope of every kind that can be known from a set of objects.

    :param objects: may hold CustomResourceDefinitions, which say the scope of their kinds.
    """

    def __init__(self, objects: Iterable[KubeObject]) -> None:
        self._custom: Dict[Tuple[str, str], bool] = {}
        for obj in objects:
            if obj.get("kind") == "CustomResourceDefinition":
                spec = obj["spec"]
                self._custom[(spec["group"], spec["names"]["kind"])] = spec["scope"] == "Namespaced"

    def namespaced(self, group: str, kind: str) -> Optional[bool]:
        """True for a namespaced kind, False for a cluster-wide one, None where it cannot be known."""
        if group in _BUILT_IN_GROUPS:
            return kind not in _CLUSTER_WIDE
        return self._custom.get((group, kind))
