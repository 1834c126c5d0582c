# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan between two releases without a cluster. The real releases are compared in tests/integration."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, Dict, List, Optional

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue, Hop, ObjectMatch, Release, Row
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.comparing import assumed, compare, newest_kubernetes
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Item, Plan, Policy
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rendering import Render, RenderedObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import Verdict

COMPONENT = "katib"
SECRET = "correct-horse-battery"


def obj(kind: str, name: str, version: str = "v1", **fields: Any) -> KubeObject:
    """A rendered object."""
    metadata = {"name": name, "namespace": "kubeflow", "labels": {"mlplatform.kubeflow/component": COMPONENT}}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def release(name: str, hop: Optional[Hop] = None) -> Release:
    """A release with one component, and no special treatment of anything."""
    base = Catalogue.load().release("26.03")
    return replace(base, name=name, hop=hop, modes=(), components={COMPONENT: replace(base.components[COMPONENT], version=name)})


def rendered(name: str, *objects: KubeObject) -> Render:
    """Its render."""
    return Render(name, {ref_of(one): RenderedObject(COMPONENT, one, False) for one in objects}, "d", 0.0, 0)


def compared(old: List[KubeObject], new: List[KubeObject], hop: Optional[Hop] = None, policy: Policy = Policy()) -> Plan:  # noqa: B008
    """The plan from "one" to "two"."""
    return compare(release("one"), rendered("one", *old), release("two", hop), rendered("two", *new), policy)


def items(plan: Plan) -> Dict[str, Item]:
    """By name."""
    return {str(item.ref): item for item in plan.items if item.verdict is not Verdict.RESTART}


def test_the_older_render_stands_for_the_cluster() -> None:
    """New, changed, the same, and gone."""
    old = [obj("ConfigMap", "same", data={"a": "1"}), obj("Service", "changed", spec={"ports": [{"port": 1}]}), obj("ConfigMap", "gone")]
    new = [obj("ConfigMap", "same", data={"a": "1"}), obj("Service", "changed", spec={"ports": [{"port": 2}]}), obj("ConfigMap", "new")]
    plan = compared(old, new)
    assert {name: (item.verdict, item.reason) for name, item in items(plan).items()} == {
        "ConfigMap kubeflow/same": (Verdict.UNCHANGED, ""),
        "Service kubeflow/changed": (Verdict.UPDATE, "one has it otherwise"),
        "ConfigMap kubeflow/new": (Verdict.CREATE, "one does not have it"),
    }
    assert items(plan)["Service kubeflow/changed"].changes == (("spec.ports", '[{"port": 1}]', '[{"port": 2}]'),)
    assert [(str(one.ref), one.verdict) for one in plan.removals] == [("ConfigMap kubeflow/gone", Verdict.PRUNE_SAFE)]
    assert not plan.stops and not plan.leftovers


def test_what_only_the_server_fills_in_is_no_change() -> None:
    """Both sides are compared in the form in which they are sent."""
    old, new = obj("ConfigMap", "c", data={"a": "1"}), obj("ConfigMap", "c", data={"a": "1"}, status={})
    new["metadata"]["creationTimestamp"] = None
    assert items(compared([old], [new]))["ConfigMap kubeflow/c"].verdict is Verdict.UNCHANGED


def binding(role: str) -> KubeObject:
    """A RoleBinding."""
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role}
    return obj("RoleBinding", "b", "rbac.authorization.k8s.io/v1", roleRef=reference)


ROW = Row(ObjectMatch("rbac.authorization.k8s.io", "RoleBinding", "", "b"), "its role changes")


@pytest.mark.parametrize(
    ("hop", "policy", "allowed"),
    [
        (None, Policy(), False),
        (Hop("one", "two", replace=(ROW,)), Policy(), True),
        (Hop("another", "two", replace=(ROW,)), Policy(), False),
        (None, Policy(replace=("RoleBinding.rbac.authorization.k8s.io kubeflow/b",)), True),
    ],
    ids=["nobody says so", "the hop says so", "another hop says so", "the user says so"],
)
def test_what_cannot_be_changed_is_made_anew_if_somebody_says_so(hop: Optional[Hop], policy: Policy, allowed: bool) -> None:
    """Else the plan stops for it, before anything is written."""
    plan = compared([binding("admin")], [binding("view")], hop, policy)
    (item,) = plan.items
    assert (item.verdict, item.reason, item.allowed) == (Verdict.REPLACE, "roleRef cannot be changed: admin -> view", allowed)
    assert bool(plan.stops) is not allowed


def test_a_workload_whose_configuration_changes_under_its_name_restarts() -> None:
    """As in a plan on a cluster."""
    pod = {"spec": {"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "config"}}]}]}}
    web = obj("Deployment", "web", "apps/v1", spec={"selector": {}, "template": pod})
    plan = compared([web, obj("ConfigMap", "config", data={"a": "1"})], [web, obj("ConfigMap", "config", data={"a": "2"})])
    assert [str(item.ref) for item in plan.items if item.verdict is Verdict.RESTART] == ["Deployment.apps kubeflow/web"]


def test_no_secret_is_in_a_comparison() -> None:
    """Neither of the older release nor of the newer, wherever it stands."""
    data = {"password": base64.b64encode(SECRET.encode()).decode()}
    command = {"template": {"spec": {"containers": [{"name": "c", "args": ["--old"]}]}}}
    leaking = {"template": {"spec": {"containers": [{"name": "c", "args": ["--" + SECRET]}]}}}
    old = [obj("Secret", "s", data={}), obj("Deployment", "d", "apps/v1", spec=command)]
    new = [obj("Secret", "s", data=data), obj("Deployment", "d", "apps/v1", spec=leaking)]
    shown = repr([item.changes for plan in (compared(old, new), compared(new, old)) for item in plan.items])
    assert SECRET not in shown and data["password"] not in shown and "***" in shown


def crd(storage: str) -> KubeObject:
    """A definition of two versions."""
    versions = [{"name": name, "served": True, "storage": name == storage} for name in ("v1beta1", "v1")]
    spec = {"group": "example.org", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"}, "versions": versions}
    definition = obj("CustomResourceDefinition", "things.example.org", "apiextensions.k8s.io/v1", spec=spec)
    del definition["metadata"]["namespace"]
    return definition


def test_ac_08_a_storage_version_that_moves_is_seen_without_a_cluster() -> None:
    """Both definitions say enough; nobody knows how many objects there are."""
    (notice,) = compared([crd("v1beta1")], [crd("v1")]).notices
    assert (notice.verdict, dict(notice.counts)) == (Verdict.STORAGE_MOVE, {})


def test_ac_06_without_a_cluster_a_definition_is_dangerous_to_remove() -> None:
    """It may have custom resources; a release's own kept rows are kept."""
    (one,) = compared([crd("v1"), obj("ConfigMap", "stays")], [obj("ConfigMap", "stays")]).removals
    assert one.verdict is Verdict.PRUNE_DANGEROUS and "without a cluster" in one.reason
    keep = Hop("one", "two", keep=(Row(ObjectMatch("", "CustomResourceDefinition", "", ""), "users need it"),))
    (one,) = compared([crd("v1")], [obj("ConfigMap", "new")], keep).removals
    assert (one.verdict, one.reason) == (Verdict.KEEP, "users need it")


def test_ac_12_an_api_that_kubernetes_took_away_is_seen_without_a_cluster() -> None:
    """On the newest Kubernetes that the release was tested on."""
    old = obj("PodDisruptionBudget", "b", "policy/v1beta1", spec={})
    (notice,) = compared([], [old]).notices
    assert notice.verdict is Verdict.NOT_SERVED and "1.25" in notice.reason and newest_kubernetes(release("two")) in notice.reason


def test_the_newest_tested_kubernetes_is_newer_than_any_other() -> None:
    """1.9 is older than 1.10."""
    tested = replace(release("x"), kubernetes_tested=("1.9", "1.10"), kubernetes_minimum="1.8")
    assert newest_kubernetes(tested) == "1.10"
    assert newest_kubernetes(replace(tested, kubernetes_tested=())) == "1.8"


def test_custom_kinds_are_addressed_as_their_definition_says() -> None:
    """Only built-in kinds are guessed."""
    discovery = assumed([crd("v1"), obj("Thing", "t", "example.org/v1"), obj("NetworkPolicy", "n", "networking.k8s.io/v1")])
    found = [discovery.get("example.org/v1", "Thing"), discovery.get("networking.k8s.io/v1", "NetworkPolicy")]
    assert [one.plural for one in found if one] == ["things", "networkpolicies"]
