# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters as a survey sees them, made of a few words: for the tests of what an uninstall decides."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, FIELD_MANAGER, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ComponentRecord, Entry, Record
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.survey import Survey, Thing
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.uninstall_plan import (
    Ask,
    UninstallPlan,
    plan_uninstall,
    read_choice,
)

VERSIONS = {
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "Lease": "coordination.k8s.io/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "Profile": "kubeflow.org/v1",
    "Thing": "example.org/v1",
    "Certificate": "cert-manager.io/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
}
CLUSTER_WIDE = ("Namespace", "ClusterRole", "PersistentVolume", "Profile", "CustomResourceDefinition", "ValidatingWebhookConfiguration")
APPLIED = {"manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:metadata": {"f:annotations": {}}}}


def thing(
    kind: str, name: str = "x", namespace: str = "kubeflow", *, owner: Optional[Thing] = None, holder: str = "", **metadata: Any
) -> Thing:
    """Somebody's object."""
    version = VERSIONS.get(kind, "v1")
    where = {} if kind in CLUSTER_WIDE else {"namespace": namespace}
    owners = [{"uid": owner.uid, "kind": owner.ref.kind, "name": owner.ref.name, "controller": True}] if owner else []
    uid = "uid of %s %s/%s" % (kind, where.get("namespace", ""), name)
    live = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "uid": uid, **where, **({"ownerReferences": owners} if owners else {}), **metadata},
    }
    resource = Resource(version, kind, kind.lower() + "s", bool(where))
    return Thing(ObjectRef(resource.group, kind, where.get("namespace", ""), name), resource, live, holder)


def ours(kind: str, name: str = "x", namespace: str = "kubeflow", **metadata: Any) -> Thing:
    """An object that we wrote: with our label and our fields."""
    owner, labels = metadata.pop("owner", None), metadata.pop("labels", {COMPONENT_LABEL: "c"})
    managed = metadata.pop("managedFields", [APPLIED])
    return thing(kind, name, namespace, owner=owner, labels=labels, managedFields=managed, **metadata)


def record_of(
    *components: Tuple[str, Sequence[Thing]], kept: Sequence[Thing] = (), uids: Optional[Mapping[ObjectRef, str]] = None
) -> Record:
    """A record in which these are, with their uids; ``kept``: those that an earlier uninstall kept."""

    def entry(one: Thing) -> Entry:
        return Entry(one.live["apiVersion"], (uids or {}).get(one.ref, one.uid), "" if one in kept else "desired", "live")

    return Record(
        {name: ComponentRecord("kubeflow", "26.03", True, {one.ref: entry(one) for one in things}) for name, things in components},
        b"key",
        "1",
    )


def decide(record: Record, *things: Thing, data: Sequence[str] = (), **asked: Any) -> UninstallPlan:
    """The plan for all of the record."""
    names = asked.pop("components", tuple(record.components))
    told: Dict[str, Any] = {"components": names, "whole": names == tuple(record.components), "choice": read_choice(data), **asked}
    return plan_uninstall(record, Survey(things), Ask(**told))


def goes(plan: UninstallPlan) -> List[str]:
    """The names of what goes."""
    return [str(line.ref) for line in plan.going]


def stays(plan: UninstallPlan) -> Dict[str, str]:
    """What stays -> why."""
    return {str(line.ref): line.reason for line in plan.kept}


SPACE = ours("Namespace", "kubeflow")
DEFINITION = ours("CustomResourceDefinition", "things.example.org")
