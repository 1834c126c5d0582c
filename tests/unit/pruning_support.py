# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded objects that are wanted no more, and clusters that have them, for the tests of what becomes of them."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, KubeObject, ObjectRef, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ComponentRecord, Entry, Record

VERSIONS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "StorageClass": "storage.k8s.io/v1",
    "Profile": "kubeflow.org/v1",
    "Thing": "example.org/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
}
# What data goes with.
PRECIOUS = ("PersistentVolumeClaim", "PersistentVolume", "Namespace", "Profile", "StorageClass")
CLUSTER_WIDE = (
    "Namespace",
    "PersistentVolume",
    "StorageClass",
    "Profile",
    "CustomResourceDefinition",
    "ValidatingWebhookConfiguration",
)


def obj(kind: str, name: str, namespace: str = "kubeflow", **fields: Any) -> KubeObject:
    """A live object that we wrote: with our label, and a uid made of its name."""
    metadata: Dict[str, Any] = {"name": name, "labels": {COMPONENT_LABEL: "c"}}
    if kind not in CLUSTER_WIDE:
        metadata["namespace"] = namespace
    metadata["uid"] = "uid of %s %s %s" % (kind, metadata.get("namespace", ""), name)
    metadata.update(fields.pop("metadata", {}))
    return {"apiVersion": VERSIONS.get(kind, "v1"), "kind": kind, "metadata": metadata, **fields}


def workload(name: str, *claims: str, kind: str = "Deployment", labels: Optional[Dict[str, str]] = None, **spec: Any) -> KubeObject:
    """A workload that mounts claims."""
    volumes = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims]
    pod = {"metadata": {"labels": labels or {}}, "spec": {"volumes": volumes, **spec}}
    return obj(kind, name, spec={"template": pod})


def webhook(name: str, service: str, policy: Optional[str] = "Fail", **fields: Any) -> KubeObject:
    """A webhook configuration with one webhook."""
    hook: Dict[str, Any] = {"name": "hook", "clientConfig": {"service": {"namespace": "kubeflow", "name": service}}}
    if policy is not None:
        hook["failurePolicy"] = policy
    return obj("ValidatingWebhookConfiguration", name, webhooks=[hook], **fields)


def definition(**fields: Any) -> KubeObject:
    """The definition of kind Thing."""
    spec = {"group": "example.org", "names": {"kind": "Thing", "plural": "things"}, "scope": "Namespaced", "versions": []}
    return obj("CustomResourceDefinition", "things.example.org", spec={**spec, **fields})


def record_of(*objects: KubeObject, component: str = "c", uids: Optional[Mapping[ObjectRef, str]] = None) -> Record:
    """A record that says that we wrote these, with the uids that they have unless told otherwise."""
    entries = {ref_of(one): Entry(one["apiVersion"], (uids or {}).get(ref_of(one), one["metadata"]["uid"]), "d", "l") for one in objects}
    return Record({component: ComponentRecord("kubeflow", "1", True, entries)}, b"k", "1")
