# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays Kubeflow's profile controller, as far as others depend on it: the namespace, its accounts, its quota."""

from __future__ import annotations

from typing import List, Tuple

from ...module_utils._engine.objects import KubeObject, get_path
from .kube import Client
from .view import View, path_of

DEPLOYMENT = ("kubeflow", "profiles-deployment")
MANAGER = "sandbox-profiles"
LABELS = {"app.kubernetes.io/part-of": "kubeflow-profile", "istio-injection": "enabled"}
FINALIZER = "profile-finalizer"
ROLES = {"default-editor": "kubeflow-edit", "default-viewer": "kubeflow-view"}


class Profiles:
    """The controller."""

    def __init__(self, client: Client, view: View) -> None:
        self._client = client
        self._view = view

    def profile(self, name: str) -> None:
        """Have a profile's namespace with what belongs into it."""
        obj = self._view.get("Profile", "", name)
        if obj is None or not self._view.runs(*DEPLOYMENT):
            return
        finalizers = obj["metadata"].get("finalizers") or []
        if obj["metadata"].get("deletionTimestamp"):
            if FINALIZER in finalizers:  # its namespace goes with it, as its owner
                self._finalizers(name, [item for item in finalizers if item != FINALIZER])
            return
        if FINALIZER in finalizers and any(c.get("type") == "Successful" for c in get_path(obj, "status.conditions") or []):
            return
        for path, child in _children(obj):
            self._client.patch("%s/%s" % (path, child["metadata"]["name"]), child, "apply", MANAGER)
        status = {"status": {"conditions": [{"type": "Successful", "status": "True", "message": ""}]}}
        self._client.patch(path_of("Profile", "", name) + "/status", status, "merge", MANAGER)
        if FINALIZER not in finalizers:  # the real controller's last step
            self._finalizers(name, [*finalizers, FINALIZER])

    def _finalizers(self, name: str, wanted: List[str]) -> None:
        self._client.patch(path_of("Profile", "", name), {"metadata": {"finalizers": wanted}}, "merge", MANAGER)


def _children(profile: KubeObject) -> List[Tuple[str, KubeObject]]:
    """The collection's path and the object, in the order in which they are written."""
    name = profile["metadata"]["name"]
    owner = get_path(profile, "spec.owner.name", "")
    found = [("/api/v1/namespaces", _object("v1", "Namespace", name, labels=LABELS, annotations={"owner": owner}))]
    core = "/api/v1/namespaces/" + name
    bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/rolebindings" % name
    for account, role in ROLES.items():
        found.append((core + "/serviceaccounts", _object("v1", "ServiceAccount", account)))
        subject = {"kind": "ServiceAccount", "name": account, "namespace": name}
        found.append((bindings, _binding(account, role, subject)))
    user = {"kind": "User", "name": owner, "apiGroup": "rbac.authorization.k8s.io"}
    found.append((bindings, _binding("namespaceAdmin", "kubeflow-admin", user)))
    quota = get_path(profile, "spec.resourceQuotaSpec") or {}
    if quota.get("hard"):
        found.append((core + "/resourcequotas", dict(_object("v1", "ResourceQuota", "kf-resource-quota"), spec=quota)))
    reference = {
        "apiVersion": profile["apiVersion"],
        "kind": "Profile",
        "name": name,
        "uid": profile["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    for _path, child in found:
        child["metadata"]["ownerReferences"] = [reference]
    return found


def _object(version: str, kind: str, name: str, **metadata: object) -> KubeObject:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **metadata}}


def _binding(name: str, role: str, subject: KubeObject) -> KubeObject:
    return dict(
        _object("rbac.authorization.k8s.io/v1", "RoleBinding", name),
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        subjects=[subject],
    )
