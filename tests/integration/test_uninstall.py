# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uninstalling: in order, with the data kept, nothing left behind, and to be gone on with after a kill."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Set, Tuple

import jsonschema
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import (
    COMPONENT_LABEL,
    OUR_NAMESPACE,
    KubeObject,
    ObjectRef,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import load
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.survey import LEADER, Survey
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.uninstalling import UninstallOutcome
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.kube import Client
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import Sandboxes, client_of, wait_until
from .platform_fixtures import Installed
from .support import (
    EXHAUSTIVE,
    FEW,
    REPO,
    Audit,
    Call,
    Cluster,
    converge,
    healthy,
    inventory,
    playbook,
    recap,
    run_playbook,
    verdicts,
)
from .uninstall_support import killed_after, listed, look, of_kind, ours_left, settled, terminating, uninstall
from .upgrade_support import new_tenant, still_there, work_of

Install = Callable[[str], Installed]
Clone = Callable[..., Sandbox]
SCHEMA = REPO / "plugins" / "plugin_utils" / "schemas" / "uninstall.json"
EVERYTHING = ("volumes", "custom_resources", "profiles", "namespaces")
DOORS = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations", "apiservices")
TENANT = "team-a"
# What every cluster has.
KUBERNETES = {"default", "kube-system", "kube-public", "kube-node-lease"}
HOLD = "example.com/hold"
RUNTIME = "/apis/serving.kserve.io/v1alpha1/clusterservingruntimes/kserve-sklearnserver"
EXPERIMENTS = "/apis/kubeflow.org/v1beta1/namespaces/%s/experiments"


# ------------------------------------------------------------------ the whole platform, with users in it


def _leftovers(client: Client, pods: Sequence[KubeObject]) -> List[str]:
    """What programs that only run outside of the sandbox leave behind at run time, as they write it."""
    istiod = next(pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"].startswith("istiod-"))
    made: List[str] = []

    def make(path: str, obj: KubeObject) -> None:
        client.create(path, obj)
        namespace = obj["metadata"].get("namespace")
        made.append("%s %s" % (obj["kind"], "/".join(filter(None, (namespace, obj["metadata"]["name"])))))

    def config(namespace: str, name: str, **metadata: Any) -> None:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, **metadata}}
        make("/api/v1/namespaces/%s/configmaps" % namespace, body)

    for namespace in ("default", "kube-system", "kubeflow", "istio-system", TENANT):
        config(namespace, "istio-ca-root-cert")
    config("istio-system", "istio-leader", annotations={LEADER: json.dumps({"holderIdentity": istiod})})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "istio-ca-secret", "namespace": "istio-system"}}
    make("/api/v1/namespaces/istio-system/secrets", secret)
    make(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "refreshtokens.dex.coreos.com"},
            "spec": {
                "group": "dex.coreos.com",
                "names": {"kind": "RefreshToken", "plural": "refreshtokens", "listKind": "RefreshTokenList", "singular": "refreshtoken"},
                "scope": "Namespaced",
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}],
            },
        },
    )
    session = {"apiVersion": "dex.coreos.com/v1", "kind": "AuthCode", "metadata": {"name": "session", "namespace": "auth"}}
    make("/apis/dex.coreos.com/v1/namespaces/auth/authcodes", session)
    return made


@dataclass(frozen=True)
class Uninstalled:
    """A whole platform with users on it, uninstalled without naming data.

    :ivar before: what was there before; ``survey``: what is there now.
    :ivar users: users' objects -> uid; ``made``: what programs had left behind.
    :ivar calls: our writes, from the audit log; ``held``: when the finalizer on one of our custom resources was removed.
    """

    sandbox: Sandbox
    before: Survey
    survey: Survey
    outcome: UninstallOutcome
    users: Mapping[str, str]
    made: Sequence[str]
    calls: Sequence[Call]
    held: float


@pytest.fixture(name="uninstalled", scope="module")
def _uninstalled(built: Install, sandboxes: Sandboxes) -> Iterator[Uninstalled]:
    """A tenant with work on it, leftovers of programs, and a custom resource of ours that a finalizer holds for a while."""
    done = built("26.03")
    sandbox = sandboxes.make("uninstalled", release="26.03", real=True, snapshot=done.snapshot)
    client, cluster = client_of(sandbox), Cluster(sandbox)
    new_tenant(sandbox, TENANT)
    users = work_of(TENANT, "26.03", cluster.api)
    # What controllers make of it is there before anything is counted: one that comes later finds its kind going.
    wait_until(client, "/apis/serving.knative.dev/v1/namespaces/%s/routes" % TENANT, lambda _route: True)
    client.patch(RUNTIME, {"metadata": {"finalizers": [HOLD]}})
    made = _leftovers(client, cluster.pods())
    before = look(sandbox)
    audit, released = Audit(sandbox), threading.Event()
    moments: List[float] = []

    def clean_up() -> None:
        while not released.wait(0.05):
            obj = client.get(RUNTIME)
            if obj["metadata"].get("deletionTimestamp"):
                time.sleep(2.0)
                moments.append(time.time())
                client.patch(RUNTIME, {"metadata": {"finalizers": []}})
                return

    controller = threading.Thread(target=clean_up, daemon=True)
    controller.start()
    begin = time.monotonic()
    try:
        outcome = uninstall(sandbox)
    finally:
        released.set()
        controller.join()
    print("the whole platform is uninstalled in %.1f s: %s" % (time.monotonic() - begin, outcome.clock.seconds), file=sys.stderr)
    survey = settled(sandbox, lambda one: not terminating(one) and not of_kind(one, "ReplicaSet"))
    yield Uninstalled(sandbox, before, survey, outcome, users, made, audit.writes(), moments[0])
    sandboxes.remove(sandbox.name)


class TestWholePlatform:
    """One uninstall of everything, looked at from all sides; the tests run in this order."""

    def test_ac_33_what_stands_at_the_door_goes_before_any_controller(self, uninstalled: Uninstalled) -> None:
        """From the audit log: no webhook configuration is left when the first other object is deleted, and none was refused."""
        deletions = [call for call in uninstalled.calls if call.verb == "delete"]
        doors = [call.path.split("/")[4] in DOORS for call in deletions]
        assert sum(doors) == len(of_kind(uninstalled.before, "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")) > 20
        assert doors == sorted(doors, reverse=True)
        assert [str(call) for call in uninstalled.calls if call.code >= 400] == []

    def test_ac_33_custom_resources_go_before_what_cleans_up_after_them(self, uninstalled: Uninstalled) -> None:
        """Of every component; and where a finalizer holds one, its controllers are deleted only when it is gone."""
        at = {call.path: call.at.timestamp() for call in uninstalled.calls if call.verb == "delete"}
        components = {str(line.ref): line.component for line in uninstalled.outcome.plan.removals}
        custom: Dict[str, List[float]] = {}
        works: Dict[str, List[float]] = {}
        for line in uninstalled.outcome.plan.going:
            assert line.resource is not None
            when = at[line.resource.path(line.ref.namespace, line.ref.name)]
            if line.ref.kind in ("Deployment", "StatefulSet", "DaemonSet"):
                works.setdefault(components[str(line.ref)], []).append(when)
            elif "." in line.ref.group and not line.ref.group.endswith(".k8s.io"):
                custom.setdefault(components[str(line.ref)], []).append(when)
        both = set(custom) & set(works)
        assert len(both) > 10
        assert {name for name in both if max(custom[name]) > min(works[name])} == set()
        assert min(works["serving"]) > uninstalled.held > max(custom["serving"])

    def test_ac_33_components_go_in_the_reverse_order_of_their_needs(self, uninstalled: Uninstalled) -> None:
        """Istio's controllers run until those that need them are deleted, cert-manager's too."""
        order = {call.path: number for number, call in enumerate(uninstalled.calls) if call.verb == "delete"}

        def works(component: str) -> List[int]:
            lines_ = [line for line in uninstalled.outcome.plan.going if line.component == component and line.ref.kind == "Deployment"]
            return [order["/apis/apps/v1/namespaces/%s/deployments/%s" % (line.ref.namespace, line.ref.name)] for line in lines_]

        for needed, others in (
            ("istio", ("katib", "knative", "pipelines")),
            ("cert_manager", ("katib", "serving")),
            ("knative", ("serving",)),
        ):
            assert all(max(works(other)) < min(works(needed)) for other in others)

    def test_ac_33_data_is_kept_with_its_kinds_and_namespaces(self, uninstalled: Uninstalled) -> None:
        """Users' work is the same objects as before and readable, volumes are bound; what keeps them says why."""
        api = Cluster(uninstalled.sandbox).api
        assert len(uninstalled.users) >= 4
        assert still_there(api, dict(uninstalled.users)) == uninstalled.users
        now = {ref: thing.uid for ref, thing in uninstalled.survey.things.items()}
        for thing in of_kind(uninstalled.before, "PersistentVolumeClaim", "PersistentVolume", "Profile"):
            assert now.get(thing.ref) == thing.uid
        for namespace in ("kubeflow", TENANT):
            assert ObjectRef("", "Namespace", "", namespace) in now
        definitions = {name.rsplit(" ", 1)[1] for name in map(str, now) if name.startswith("CustomResourceDefinition")}
        assert {"notebooks.kubeflow.org", "inferenceservices.serving.kserve.io", "profiles.kubeflow.org"} <= definitions
        assert "sparkapplications.sparkoperator.k8s.io" not in definitions
        reasons = {str(line.ref): line.reason for line in uninstalled.outcome.kept}
        assert "Notebook.kubeflow.org team-a/of-26-03" in reasons["CustomResourceDefinition.apiextensions.k8s.io notebooks.kubeflow.org"]
        assert reasons["PersistentVolumeClaim kubeflow/mysql-pv-claim"] == "it holds data"

    def test_ac_33_nothing_else_of_ours_is_left(self, uninstalled: Uninstalled) -> None:
        """No label, no webhook, nothing that is being deleted, no pod, and nothing that programs wrote at run time."""
        survey = uninstalled.survey
        assert ours_left(survey) == []
        assert terminating(survey) == []
        assert of_kind(survey, "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration") == []
        assert [str(thing.ref) for thing in of_kind(survey, "Deployment", "DaemonSet", "Secret") if thing.ref.namespace == "kubeflow"] == []
        assert len(uninstalled.made) == 9
        left = {"%s %s" % (ref.kind, ref.path) for ref in survey.things} & set(uninstalled.made)
        assert left <= {"ConfigMap %s/istio-ca-root-cert" % TENANT}  # a pod of the tenant may mount it

    def test_the_second_run_has_nothing_to_do(self, uninstalled: Uninstalled) -> None:
        """It writes nothing, takes no lock, and says again what is kept."""
        audit = Audit(uninstalled.sandbox)
        outcome = uninstall(uninstalled.sandbox)
        assert not outcome.changed and audit.writes() == []
        assert {line.ref for line in outcome.kept} >= {line.ref for line in uninstalled.outcome.kept if line.component}

    def test_an_install_afterwards_takes_the_data_up_again(self, uninstalled: Uninstalled) -> None:
        """It recognises its own objects, adopts nothing, becomes healthy, and users' work is what it was."""
        healthy(converge(uninstalled.sandbox))
        again = converge(uninstalled.sandbox)
        assert verdicts(again) == {} and not again.changed
        survey = look(uninstalled.sandbox)
        for thing in of_kind(uninstalled.before, "PersistentVolumeClaim", "Profile"):
            assert survey.things[thing.ref].uid == thing.uid
        claims = [thing for thing in of_kind(survey, "PersistentVolumeClaim") if thing.ref.namespace == "kubeflow"]
        assert len(claims) == 3 and all(COMPONENT_LABEL in thing.labels for thing in claims)
        assert still_there(Cluster(uninstalled.sandbox).api, dict(uninstalled.users)) == uninstalled.users


@pytest.mark.parametrize("release", ("v1.9.1", "v1.10.2", "v1.11.0", "26.03") if EXHAUSTIVE else ("26.03",))
def test_an_uninstall_leaves_the_cluster_as_it_was(release: str, sandboxes: Sandboxes) -> None:
    """The API server's list of all objects, of every kind and in every namespace, is the one from before the install: without the
    data at first, and with it when that is named."""
    sandbox = sandboxes.make("round-trip-" + release.replace(".", "-"), release=release, real=True)
    born = {"%s/%s" % (namespace, name) for namespace in KUBERNETES for name in ("default", "kube-root-ca.crt")}
    before = listed(settled(sandbox, lambda one: born <= {ref.path for ref in one.things}))
    healthy(converge(sandbox, release))
    installed = look(sandbox)
    assert len(listed(installed)) > len(before) + 700
    uninstall(sandbox)
    data = {str(thing.ref) for thing in of_kind(installed, "PersistentVolume", "PersistentVolumeClaim")}
    for namespace in ("kubeflow", OUR_NAMESPACE):
        data |= {"Namespace " + namespace, "ServiceAccount %s/default" % namespace, "ConfigMap %s/kube-root-ca.crt" % namespace}
    data.add("Secret %s/record" % OUR_NAMESPACE)
    allowed = before | data
    now = listed(settled(sandbox, lambda one: listed(one) <= allowed | _ours(one)))
    assert {name for name in now - allowed if OUR_NAMESPACE not in name} == set()
    assert before <= now and data <= now
    outcome = uninstall(sandbox, data=["volumes"])
    assert outcome.changed and outcome.kept == ()
    survey = settled(sandbox, lambda one: listed(one) == before)
    assert listed(survey) == before
    assert terminating(survey) == [] and ours_left(survey) == []
    assert not uninstall(sandbox).changed
    sandboxes.remove(sandbox.name)


def _ours(survey: Survey) -> Set[str]:
    """What is in our own namespace."""
    return {str(thing.ref) for thing in survey.inside.get(OUR_NAMESPACE, ())}


def test_everything_goes_when_everything_is_named(built: Install, clone: Clone) -> None:
    """Users' objects, profiles with their namespaces, volumes, what else was put into our namespaces: while the controllers that clean
    up after them still run."""
    sandbox = clone(built("26.03").snapshot, release="26.03", real=True)
    client, cluster = client_of(sandbox), Cluster(sandbox)
    new_tenant(sandbox, TENANT)
    work_of(TENANT, "26.03", cluster.api)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "users", "namespace": "istio-system"}}
    client.create("/api/v1/namespaces/istio-system/secrets", secret)
    outcome = uninstall(sandbox, data=EVERYTHING)
    assert outcome.kept == ()
    survey = settled(sandbox, lambda one: not of_kind(one, "PersistentVolume", "ReplicaSet"))
    namespaces = {thing.ref.name for thing in of_kind(survey, "Namespace")}
    assert namespaces == KUBERNETES
    assert of_kind(survey, "CustomResourceDefinition", "PersistentVolume") == []
    assert ours_left(survey) == [] and terminating(survey) == []


# ------------------------------------------------------------------ a few components


@pytest.fixture(name="few", scope="module")
def _few(sandboxes: Sandboxes, snapshot_of: Callable[[Sandbox], Path]) -> Path:
    """A snapshot of a sandbox with some components, simulated throughout."""
    sandbox = sandboxes.make("few")
    healthy(converge(sandbox, components=FEW))
    path = snapshot_of(sandbox)
    sandboxes.remove(sandbox.name)
    return path


def test_ac_40_a_component_that_others_need_is_refused(few: Path, clone: Clone) -> None:
    """With all that need it, directly or through others, and before anything is written."""
    sandbox = clone(few)
    audit = Audit(sandbox)
    for name, dependants in (("common", set(FEW) - {"common", "cert_manager"}), ("cert_manager", {"admission_webhook", "katib"})):
        with pytest.raises(EngineError) as refused:
            uninstall(sandbox, name)
        assert set(refused.value.found.split(": ")[1].split(", ")) == dependants
    with pytest.raises(EngineError, match="others need"):
        uninstall(sandbox, "istio", "katib", "oauth2_proxy")
    assert audit.writes() == []


def test_a_component_goes_alone(few: Path, clone: Clone) -> None:
    """What others have stays untouched, its volume stays, and it can be installed again."""
    sandbox = clone(few)
    before = look(sandbox)
    outcome = uninstall(sandbox, "katib")
    assert [str(line.ref) for line in outcome.kept] == ["PersistentVolumeClaim kubeflow/katib-mysql"]
    assert not uninstall(sandbox, "katib").changed
    others = tuple(name for name in FEW if name != "katib")
    left = converge(sandbox, components=others)
    assert verdicts(left) == {} and not left.changed
    survey = settled(sandbox, lambda one: not any("katib" in ref.name for ref in one.things if ref.kind == "ReplicaSet"))
    katib = {ref for ref, thing in before.things.items() if thing.labels.get(COMPONENT_LABEL) == "katib"}
    assert len(katib) > 25 and {str(ref) for ref in katib if ref in survey.things} == {"PersistentVolumeClaim kubeflow/katib-mysql"}
    gone = {ref for ref, thing in before.things.items() if ref not in survey.things and COMPONENT_LABEL in thing.labels}
    assert gone <= katib
    assert ObjectRef("", "Secret", "kubeflow", "katib-webhook-cert") not in survey.things
    healthy(converge(sandbox, components=FEW))
    claim = ObjectRef("", "PersistentVolumeClaim", "kubeflow", "katib-mysql")
    assert look(sandbox).things[claim].uid == before.things[claim].uid


def test_what_nobody_lets_go_ends_in_an_error_that_names_it(few: Path, clone: Clone) -> None:
    """An object with a finalizer that nobody removes: object, finalizer, who looks after the kind. Its controller still runs; when
    the finalizer is gone the next run goes on."""
    sandbox = clone(few)
    client = client_of(sandbox)
    certificate = "/apis/cert-manager.io/v1/namespaces/kubeflow/certificates/katib-webhook-cert"
    client.patch(certificate, {"metadata": {"finalizers": [HOLD]}})
    with pytest.raises(EngineError) as stuck:
        uninstall(sandbox, timeout=4.0)
    error = stuck.value
    assert error.subject == "Certificate.cert-manager.io kubeflow/katib-webhook-cert"
    assert HOLD in error.expected and "component cert_manager (Deployment.apps cert-manager/cert-manager" in error.expected
    assert "deleted at 20" in error.found and "run this again" in error.next_step
    survey = look(sandbox)
    assert ObjectRef("apps", "Deployment", "kubeflow", "katib-controller") in survey.things
    assert of_kind(survey, "ValidatingWebhookConfiguration") == []
    client.patch(certificate, {"metadata": {"finalizers": []}})
    outcome = uninstall(sandbox, data=["volumes"])
    assert outcome.kept == ()
    assert ours_left(look(sandbox)) == []


def test_a_user_who_puts_something_into_our_namespace_keeps_it(few: Path, clone: Clone) -> None:
    """A Secret in the namespace of Istio and a workload in that of the platform: both namespaces stay and are named."""
    sandbox = clone(few)
    client = client_of(sandbox)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "users", "namespace": "istio-system"}}
    client.create("/api/v1/namespaces/istio-system/secrets", secret)
    outcome = uninstall(sandbox, data=["volumes"])
    assert {str(line.ref): line.reason for line in outcome.kept} == {"Namespace istio-system": "it holds Secret istio-system/users"}
    survey = look(sandbox)
    assert ObjectRef("", "Secret", "istio-system", "users") in survey.things
    assert ours_left(survey) == [] and ObjectRef("", "Namespace", "", "kubeflow") not in survey.things
    assert set(load(Api.connect(str(sandbox.kubeconfig))).components) == {"istio"}
    with pytest.raises(EngineError, match="neither installed nor in this run"):
        converge(sandbox, components=FEW, scope=("katib",))


def test_without_a_record_nothing_is_deleted(few: Path, clone: Clone) -> None:
    """What carries our label and is in no record was ours: an uninstall says so, and how to get the record back."""
    sandbox = clone(few)
    client_of(sandbox).delete("/api/v1/namespaces/%s/secrets/record" % OUR_NAMESPACE)
    audit = Audit(sandbox)
    with pytest.raises(EngineError, match="the record does not know them") as lost:
        uninstall(sandbox)
    assert "kubeflow_adopt: [all]" in lost.value.next_step and audit.writes() == []


# ------------------------------------------------------------------ killed and resumed

# An uninstall of FEW deletes about so many objects: the moments are spread over them, with those around its beginning and its end.
WRITES = 226
MOMENTS: Tuple[int, ...] = (1, 2, 3, WRITES, *(random.Random(seed).randrange(4, WRITES) for seed in range(16))) if EXHAUSTIVE else (30,)


@pytest.mark.parametrize("writes", MOMENTS)
def test_a_killed_run_is_resumed_by_running_it_again(writes: int, few: Path, clone: Clone) -> None:
    """At any write: the next run takes away the rest, also what only the killed one knew of."""
    sandbox = clone(few)
    assert killed_after(sandbox, writes)
    uninstall(sandbox, data=["volumes"])
    survey = settled(sandbox, lambda one: not of_kind(one, "PersistentVolume", "ReplicaSet"))
    assert {thing.ref.name for thing in of_kind(survey, "Namespace")} == KUBERNETES
    assert of_kind(survey, "CustomResourceDefinition", "ValidatingWebhookConfiguration") == []
    assert ours_left(survey) == [] and terminating(survey) == []
    assert not uninstall(sandbox).changed


# ------------------------------------------------------------------ the playbook


def test_an_empty_cluster_is_left_alone(sandboxes: Any) -> None:
    """Nothing was installed: all is well, nothing changes, nothing is written."""
    sandbox = sandboxes.make("untouched")
    audit = Audit(sandbox)
    outcome = uninstall(sandbox)
    assert not outcome.changed and outcome.plan.removals == () and audit.writes() == []
    sandboxes.remove(sandbox.name)


def test_the_playbook_looks_first_and_keeps_what_is_not_confirmed(few: Path, clone: Clone, tmp_path: Path) -> None:
    """--check writes nothing and tells the plan; data without the cluster's name is refused; tags are components; the results file is
    what its schema says."""
    sandbox = clone(few)
    where = inventory(tmp_path, [sandbox], kubeflow_components=list(FEW), kubeflow_progress="always")
    results = tmp_path / "results" / sandbox.name / "uninstall.json"
    audit = Audit(sandbox)

    def document() -> Any:
        found = json.loads(results.read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(found)
        return found

    output = run_playbook("uninstall", where, "--check")
    assert recap(output)[sandbox.name]["changed"] == 1 and "it holds data" in output
    assert document()["check"] is True and document()["counts"]["delete"] > 200 and document()["counts"]["deleted"] == 0
    process = playbook("uninstall", where, "--extra-vars", json.dumps({"kubeflow_delete_data": ["volumes"]}))
    output = process.communicate(timeout=120)[0]
    assert process.returncode != 0 and "kubeflow_confirm: %s" % sandbox.name in output
    assert document()["state"] == "failed"
    for tags in (("--tags", "istio"), ("--skip-tags", "katib")):
        process = playbook("uninstall", where, *tags)
        output = process.communicate(timeout=120)[0]
        assert process.returncode != 0 and "others need what is to be removed" in output
    assert audit.writes() == []
    output = run_playbook("uninstall", where, "--tags", "katib")
    assert recap(output)[sandbox.name]["changed"] == 1
    found = document()
    assert found["components"] == ["katib"] and found["counts"]["deleted"] > 25
    assert [one["object"] for one in found["kept"]] == ["PersistentVolumeClaim kubeflow/katib-mysql"]
    told = {"kubeflow_delete_data": ["volumes"], "kubeflow_confirm": sandbox.name}
    output = run_playbook("uninstall", where, "--extra-vars", json.dumps(told))
    assert "0 kept" in output and document()["state"] == "ok"
    assert recap(run_playbook("uninstall", where))[sandbox.name]["changed"] == 0
