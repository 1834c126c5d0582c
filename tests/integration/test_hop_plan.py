# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of the hop that loses most, on a cluster in which two teams work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError, sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.hop_plan import widen
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Plan, Policy, Wanted, make_plan
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.pruning import allowed
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import Record, load
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request, choose, render_chosen, want
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.snapshot import Snapshot, take
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import Removal, Verdict
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .support import Audit, lines, request_for
from .upgrade_support import admitted, new_tenant

OLD, NEW = "v1.10.2", "v1.11.0"
JOBS = Resource("kubeflow.org/v1", "PyTorchJob", "pytorchjobs", True)
PODS = Resource("v1", "Pod", "pods", True)
CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", False)
KINDS = ("jaxjobs", "mpijobs", "paddlejobs", "pytorchjobs", "tfjobs", "xgboostjobs")
OLD_PROXY = "docker.io/istio/proxyv2:1.22.1"


def definition(plural: str) -> str:
    """The full name of a job's definition."""
    return "CustomResourceDefinition.apiextensions.k8s.io %s.kubeflow.org" % plural


def job(namespace: str, name: str) -> KubeObject:
    """A PyTorchJob."""
    pod = {"spec": {"containers": [{"name": "pytorch", "image": "example.invalid/user:1"}]}}
    return {
        "apiVersion": JOBS.group_version,
        "kind": "PyTorchJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"pytorchReplicaSpecs": {"Master": {"replicas": 1, "template": pod}}},
    }


def pod_with_sidecar(namespace: str, image: str) -> KubeObject:
    """A pod as the injector of an older Istio left it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "old", "namespace": namespace, "labels": {"security.istio.io/tlsMode": "istio"}},
        "spec": {"containers": [{"name": "main", "image": "example.invalid/user:1"}, {"name": "istio-proxy", "image": image}]},
    }


# What release data keeps: it lets nobody but the platform's own accounts reach MinIO, which stays.
GUARD = "AuthorizationPolicy.security.istio.io kubeflow/minio-service"


@dataclass
class Teams:
    """A cluster with the older release on which two teams work, and what a hop is planned from.

    :ivar requests: how many requests the widening sent.
    """

    sandbox: Sandbox
    api: Api
    request: Request
    requests: int = 0

    def plan(self, policy: Policy) -> Plan:
        """The plan of the hop, as the engine makes it before it asks the server about changes."""
        chosen = choose(self.request)
        rendered = render_chosen(self.request, chosen, lines(self.sandbox.name))
        record: Record = load(self.api)
        snapshot: Snapshot = take(self.api, {ref: item.obj for ref, item in rendered.objects.items()}, record)
        wanted: Mapping[ObjectRef, Wanted] = want(rendered, chosen.release, snapshot)
        plan = make_plan(wanted, record, snapshot, policy)
        before = self.api.traffic.total
        wide = widen(self.api, plan, record, snapshot, wanted, sure(chosen.release.hop), policy)
        self.requests = self.api.traffic.total - before
        return wide

    def removals(self, **policy: Any) -> Dict[str, Removal]:
        """What becomes of the leftovers, by full name."""
        return {str(one.ref): one for one in self.plan(Policy(**policy)).removals}


@pytest.fixture(name="teams", scope="module")
def _teams(installed: Callable[[str], Path], sandboxes: Any) -> Iterator[Teams]:
    """Two jobs in one namespace, one in another; in one of them a pod with an older sidecar."""
    sandbox = sandboxes.make("hop-plan", snapshot=installed(OLD), release=OLD, real=True)
    api = Api.connect(str(sandbox.kubeconfig))
    for team in ("team-a", "team-b"):
        new_tenant(sandbox, team)
    for namespace, name in (("team-a", "one"), ("team-a", "two"), ("team-b", "three")):
        admitted(api, JOBS, job(namespace, name))
    api.create(PODS, pod_with_sidecar("team-b", OLD_PROXY))
    yield Teams(sandbox, api, request_for(sandbox, NEW, components="default"))
    sandboxes.remove(sandbox.name)


def test_ac_06_jobs_are_counted_and_their_definitions_stay(teams: Teams) -> None:
    """Those that have jobs; the others may go. MinIO's volume stays with the workload that reads it; the webhook goes first."""
    audit = Audit(teams.sandbox)
    found = teams.removals(prune="all")
    torch = found[definition("pytorchjobs")]
    assert (torch.verdict, dict(torch.counts)) == (Verdict.PRUNE_DANGEROUS, {"team-a": 2, "team-b": 1})
    assert {found[definition(plural)].verdict for plural in KINDS if plural != "pytorchjobs"} == {Verdict.PRUNE_SAFE}
    claim, deployment = found["PersistentVolumeClaim kubeflow/minio-pvc"], found["Deployment.apps kubeflow/minio"]
    assert claim.verdict is deployment.verdict is Verdict.PRUNE_DANGEROUS
    assert "mounted by Deployment.apps kubeflow/minio" in claim.reason
    orphans = [name for name, one in found.items() if one.verdict is Verdict.ORPHAN_WEBHOOK]
    assert orphans == ["ValidatingWebhookConfiguration.admissionregistration.k8s.io validator.training-operator.kubeflow.org"]
    going = {str(one.ref) for one in allowed(tuple(found.values()), Policy(prune="all"))}
    assert not going & {definition("pytorchjobs"), str(claim.ref), str(deployment.ref)}
    assert len(going) == len(found) - 4  # the three, and what guards MinIO
    assert all(one.live is not None and one.uid == one.live["metadata"]["uid"] and one.resource for one in found.values())
    assert not audit.writes()


def test_ac_06_a_person_may_name_what_is_dangerous(teams: Teams) -> None:
    """One by one; the workload follows the volume that it would have stayed for."""
    names = (definition("pytorchjobs"), "PersistentVolumeClaim kubeflow/minio-pvc")
    found = teams.removals(prune_named=names)
    going = {str(one.ref) for one in allowed(tuple(found.values()), Policy(prune_named=names))}
    assert going == set(found) - {GUARD}
    assert {name for name, one in found.items() if one.named} == set(names)
    report = teams.removals(prune="report", prune_named=names)
    assert not allowed(tuple(report.values()), Policy(prune="report", prune_named=names))


def test_ac_08_storage_moves_are_told_with_the_number_of_objects(teams: Teams) -> None:
    """Ten definitions, all of Istio's; of each as many objects as there are, whoever made them."""
    plan = teams.plan(Policy())
    moves = {one.ref.name: one for one in plan.notices if one.verdict is Verdict.STORAGE_MOVE}
    assert len(moves) == 10
    for name, move in moves.items():
        crd = sure(teams.api.get(CRDS, "", name))
        resource = Resource("%s/v1" % crd["spec"]["group"], crd["spec"]["names"]["kind"], crd["spec"]["names"]["plural"], True)
        assert move.counts == {"": len(teams.api.list(resource)[0])}, name
    assert moves["authorizationpolicies.security.istio.io"].counts[""] > 10


def test_tenants_pods_with_an_older_sidecar_are_told(teams: Teams) -> None:
    """They go on with it until somebody restarts them; platform pods are not the tenants' matter."""
    told = [one for one in teams.plan(Policy()).notices if one.verdict is Verdict.OLD_SIDECAR]
    assert [(dict(one.counts), one.component) for one in told if OLD_PROXY in one.reason] == [({"team-b": 1}, "istio")]
    assert all(set(one.counts) <= {"team-a", "team-b"} for one in told)


def test_a_hop_has_nothing_to_replace_here_and_asks_little(teams: Teams) -> None:
    """One LIST per kind of leftover, one per definition that may go, one small request per move; never one per object."""
    plan = teams.plan(Policy())
    assert not plan.stops and not plan.leftovers
    assert not [item for item in plan.items if item.verdict is Verdict.REPLACE]
    kinds = {one.ref.kind_group for one in plan.removals}
    # Namespaces, pods with a sidecar, and of the claim's namespace pods and three kinds of workloads.
    assert teams.requests == len(kinds) + len(KINDS) + 10 + 2 + 4


def edited(api: Api, resource: Resource, ref: ObjectRef, patch: Dict[str, Any]) -> None:
    """Change an object as somebody else would."""
    api.patch(resource, ref.namespace, ref.name, patch, content_type="application/merge-patch+json")


def test_what_somebody_took_over_stays(teams: Teams) -> None:
    """An object made anew by somebody, one without our label, one with a keep annotation; nobody's jobs are left: all definitions go."""
    api = teams.api
    (rule,) = [ref for ref in load(api).components["pipelines"].entries if (ref.kind, ref.name) == ("DestinationRule", "ml-pipeline-minio")]
    rules = Resource("networking.istio.io/v1", "DestinationRule", "destinationrules", True)
    live = sure(api.get(rules, rule.namespace, rule.name))
    api.delete(rules, rule.namespace, rule.name, uid=live["metadata"]["uid"])
    anew = {key: live[key] for key in ("apiVersion", "kind", "spec")}
    api.create(rules, {**anew, "metadata": {"name": rule.name, "namespace": rule.namespace, "labels": live["metadata"]["labels"]}})
    account = Resource("v1", "ServiceAccount", "serviceaccounts", True)
    edited(
        api, account, ObjectRef("", "ServiceAccount", "kubeflow", "training-operator"), {"metadata": {"labels": {COMPONENT_LABEL: None}}}
    )
    roles = Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", False)
    keep = {"metadata": {"annotations": {"mlplatform.kubeflow/keep": "true"}}}
    edited(api, roles, ObjectRef(roles.group, "ClusterRole", "", "kubeflow-training-view"), keep)
    for one in api.list(JOBS)[0]:
        api.delete(JOBS, one["metadata"]["namespace"], one["metadata"]["name"], uid=one["metadata"]["uid"])
    found = teams.removals(prune="safe")
    stays: List[Tuple[str, str]] = [(name, one.reason) for name, one in found.items() if one.verdict is Verdict.KEEP]
    reasons = dict(stays)
    assert set(reasons) == {
        GUARD,
        str(rule),
        "ServiceAccount kubeflow/training-operator",
        "ClusterRole.rbac.authorization.k8s.io kubeflow-training-view",
    }
    assert "made it anew" in reasons[str(rule)] and "label" in reasons["ServiceAccount kubeflow/training-operator"]
    assert {found[definition(plural)].verdict for plural in KINDS} == {Verdict.PRUNE_SAFE}


def test_a_hop_to_a_handful_of_components_is_refused(teams: Teams) -> None:
    """A wrong list of components must not become a list of deletions."""
    few = Teams(teams.sandbox, teams.api, request_for(teams.sandbox, NEW, components=("common", "cert_manager")))
    with pytest.raises(EngineError) as caught:
        few.plan(Policy())
    assert "less than half" in caught.value.cause and "kubeflow_components" in caught.value.next_step


def test_ac_12_an_object_whose_api_is_not_served_is_refused(teams: Teams) -> None:
    """By name, with the version of Kubernetes that took its API away; nothing was written."""
    audit = Audit(teams.sandbox)
    budget = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "b", "namespace": "kubeflow"}, "spec": {}}
    ref = ObjectRef("policy", "PodDisruptionBudget", "kubeflow", "b")
    with pytest.raises(EngineError) as caught:
        take(teams.api, {ref: budget}, load(teams.api))
    text = str(caught.value)
    assert "PodDisruptionBudget.policy kubeflow/b" in text and "Kubernetes 1.25 took it away, use policy/v1" in text
    assert not audit.writes()
