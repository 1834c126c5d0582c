# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plan says about a cluster that others change, and what a run makes of it."""

from __future__ import annotations

import copy
import json
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.forms import differences, own_entry, without_noise
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import (
    COMPONENT_LABEL,
    KubeObject,
    ObjectRef,
    get_path,
    ref_of,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Item, Policy, Verdict, referenced_config
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Outcome, Session
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.writing import LAST_APPLIED, RESTARTED_AT
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import Sandboxes, client_of
from .platform_fixtures import Installed
from .support import Audit, Cluster, converge, differing, healthy, killed_after, lines, plan, request_for, verdicts

Install = Callable[[str], Installed]
Clone = Callable[..., Sandbox]
OURS = Policy(conflicts="ours")
SEED = 20260
EDITOR = "kubectl-edit"


# ---------------------------------------------------------------- the server's own opinion


def _server_differs(api: Api, item: Item) -> bool:
    """Whether the server's own dry run would change an object in anything but bookkeeping."""
    if item.live is None:
        return True
    if item.wanted.once:
        return False
    after = api.apply(item.wanted.resource, item.wanted.obj, dry=True, force=True)
    return bool(differences(without_noise(item.live), without_noise(after))) or own_entry(item.live) is None


def _server_says(sandbox: Sandbox, outcome: Outcome) -> Set[str]:
    """Every object that the server would change, asked one by one."""
    api = Cluster(sandbox).api
    assert outcome.plan is not None
    items = [item for item in outcome.plan.items if item.verdict is not Verdict.RESTART]
    with ThreadPoolExecutor(4) as pool:
        return {str(item.ref) for item, differs in zip(items, pool.map(lambda one: _server_differs(api, one), items)) if differs}


# ---------------------------------------------------------------- edits

Patch = Mapping[str, Any]


def _image(obj: KubeObject) -> Patch:
    containers = copy.deepcopy(obj["spec"]["template"]["spec"]["containers"])
    containers[0]["image"] = "example.invalid/other:1"
    return {"spec": {"template": {"spec": {"containers": containers}}}}


def _label(obj: KubeObject) -> Patch:
    return {"metadata": {"labels": {COMPONENT_LABEL: "somebody-elses"}}}


def _no_label(obj: KubeObject) -> Patch:
    return {"metadata": {"labels": {COMPONENT_LABEL: None}}}


def _data(obj: KubeObject) -> Patch:
    return {"data": {sorted(obj["data"])[0]: "edited"}}


def _rules(obj: KubeObject) -> Patch:
    return {"rules": [*obj["rules"][1:], {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}


def _failure_policy(obj: KubeObject) -> Patch:
    hooks = copy.deepcopy(obj["webhooks"])
    hooks[0]["failurePolicy"] = "Ignore" if hooks[0].get("failurePolicy") != "Ignore" else "Fail"
    return {"webhooks": hooks}


def _ports(obj: KubeObject) -> Patch:
    ports = copy.deepcopy(obj["spec"]["ports"])
    ports[0]["targetPort"] = 9
    return {"spec": {"ports": ports}}


# (kind, what an object of it must have to be chosen, the edit; None: it is deleted)
EDITS: Tuple[Tuple[str, str, Optional[Callable[[KubeObject], Patch]]], ...] = (
    ("Deployment", "spec.template.spec", _image),
    ("Deployment", "spec.replicas", lambda obj: {"spec": {"replicas": obj["spec"]["replicas"] + 1}}),
    ("Deployment", "spec", None),
    ("Service", "spec.ports", _ports),
    ("Service", "spec", None),
    ("ConfigMap", "data", _data),
    ("ConfigMap", "data", None),
    ("ClusterRole", "rules", _rules),
    ("ServiceAccount", "metadata", _label),
    ("CustomResourceDefinition", "spec", _no_label),
    ("ValidatingWebhookConfiguration", "webhooks", _failure_policy),
    ("RoleBinding", "subjects", None),
    ("NetworkPolicy", "spec", _no_label),
    ("VirtualService", "spec.hosts", lambda obj: {"spec": {"hosts": ["example.invalid"]}}),
)
# Their controllers or webhooks would act on the edit itself.
UNTOUCHED = ("ClusterRole kubeflow-", "ConfigMap knative-serving/", "aggregat")


def _choose(objects: Mapping[ObjectRef, KubeObject], seed: int) -> List[Tuple[ObjectRef, Optional[Patch]]]:
    """One object for each row of EDITS, none twice."""
    chance = random.Random(seed)
    chosen: Dict[ObjectRef, Optional[Patch]] = {}
    for kind, needs, edit in EDITS:
        fitting = [
            ref
            for ref, obj in sorted(objects.items())
            if ref.kind == kind
            and get_path(obj, needs)
            and ref not in chosen
            and not obj.get("aggregationRule")
            and not any(word in str(ref) for word in UNTOUCHED)
            and not (edit in (_rules,) and not obj.get("rules"))
        ]
        ref = chance.choice(fitting)
        chosen[ref] = edit(objects[ref]) if edit else None
    return list(chosen.items())


def _carry_out(sandbox: Sandbox, objects: Mapping[ObjectRef, KubeObject], edits: List[Tuple[ObjectRef, Optional[Patch]]]) -> None:
    """Do them as kubectl does."""
    client = client_of(sandbox)
    discovery = Cluster(sandbox).discovery
    for ref, patch in edits:
        resource = discovery.get(objects[ref]["apiVersion"], ref.kind)
        assert resource is not None
        path = resource.path(ref.namespace, ref.name)
        if patch is None:
            client.delete(path)
        else:
            client.patch(path, patch, manager=EDITOR)


def _recreate(sandbox: Sandbox, obj: KubeObject) -> None:
    """Delete an object and make the same again, as somebody who restores a backup does."""
    client = client_of(sandbox)
    resource = Cluster(sandbox).discovery.get(obj["apiVersion"], obj["kind"])
    assert resource is not None
    namespace = obj["metadata"].get("namespace", "")
    client.delete(resource.path(namespace, obj["metadata"]["name"]))
    metadata = {key: obj["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in obj["metadata"]}
    client.create(resource.path(namespace), {**obj, "metadata": metadata})


def test_the_plan_names_exactly_what_was_edited_and_the_server_agrees(built: Install, clone: Clone) -> None:
    """No difference in the server's dry run <=> unchanged, on every object, before and after edits of many kinds."""
    done = built("26.03")
    sandbox = clone(done.snapshot, release="26.03", real=True)
    before = plan(sandbox)
    assert verdicts(before) == {}
    assert _server_says(sandbox, before) == set()
    edits = _choose(done.objects, SEED)
    _carry_out(sandbox, done.objects, edits)
    taken = {ref for ref, _patch in edits}
    recreated = next(ref for ref in sorted(done.objects) if ref.kind == "ServiceAccount" and ref not in taken)
    _recreate(sandbox, done.objects[recreated])
    expected = {str(ref): "create" if patch is None else "drift" for ref, patch in edits}
    expected[str(recreated)] = "drift"
    after = plan(sandbox, policy=OURS)
    assert after.plan is not None
    found = {str(item.ref): item.verdict.value for item in after.plan.writes if item.verdict is not Verdict.RESTART}
    assert found == expected
    assert _server_says(sandbox, after) == set(expected)
    healthy(converge(sandbox, policy=OURS))
    assert verdicts(plan(sandbox)) == {}
    restarted = {str(item.ref) for item in after.plan.writes if item.verdict is Verdict.RESTART}
    different = differing(done.objects, Cluster(sandbox).of(after))
    assert {name for name, text in different.items() if RESTARTED_AT in text} == restarted  # they read an edited ConfigMap
    assert set(different) == restarted, different


# ---------------------------------------------------------------- conflicts


def _scaled(done: Installed) -> Tuple[ObjectRef, ObjectRef]:
    """Two Deployments whose number of replicas upstream sets."""
    assert done.outcome.render is not None
    fitting = [
        ref
        for ref, item in sorted(done.outcome.render.objects.items())
        if ref.kind == "Deployment" and ref.namespace == "kubeflow" and get_path(item.obj, "spec.replicas") == 1
    ]
    return fitting[0], fitting[-1]


def _path(ref: ObjectRef) -> str:
    return "/apis/apps/v1/namespaces/%s/deployments/%s" % (ref.namespace, ref.name)


def _replicas(sandbox: Sandbox, ref: ObjectRef) -> int:
    return int(client_of(sandbox).get(_path(ref))["spec"]["replicas"])


def test_ac_37_a_field_that_another_manager_took_is_a_persons_decision(built: Install, clone: Clone) -> None:
    """``fail`` names object, field and manager and writes nothing; ``theirs`` leaves it, ``ours`` takes it back."""
    first, second = _scaled(built("26.03"))
    sandbox = clone(built("26.03").snapshot)
    client = client_of(sandbox)
    for ref in (first, second):
        client.patch(_path(ref), {"spec": {"replicas": 2}}, manager="scaler")
    audit = Audit(sandbox)
    with pytest.raises(EngineError) as refused:
        converge(sandbox)
    text = str(refused.value)
    assert str(first) in text and "scaler" in text and ".spec.replicas" in text
    assert str(second) in text
    assert not audit.writes()

    mixed = Policy(conflicts="ours", conflicts_by_object={str(first): "theirs"})
    healthy(converge(sandbox, policy=mixed))
    assert (_replicas(sandbox, first), _replicas(sandbox, second)) == (2, 1)
    again = converge(sandbox)
    assert not again.changed and verdicts(again) == {}
    client.patch(_path(first), {"spec": {"replicas": 3}}, manager="scaler")
    assert verdicts(plan(sandbox)) == {}


# ---------------------------------------------------------------- adoption


def _kubectl(tools: Mapping[str, Path], sandbox: Sandbox, *arguments: str, text: str) -> None:
    """Run kubectl on a sandbox with objects on its standard input."""
    done = subprocess.run(
        [str(tools["kubectl"]), "--kubeconfig", str(sandbox.kubeconfig), *arguments],
        input=text,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _as_upstream(obj: KubeObject) -> KubeObject:
    """An object as somebody else applied it earlier: without our label, with a field that is wanted no more."""
    plain = copy.deepcopy(obj)
    del plain["metadata"]["labels"][COMPONENT_LABEL]
    plain["metadata"].setdefault("annotations", {})["stale"] = "yes"
    if plain["kind"] == "Deployment":
        plain["spec"]["template"]["spec"]["containers"][0].setdefault("env", []).append({"name": "STALE", "value": "yes"})
    return plain


@pytest.mark.parametrize("how", ["--server-side", "--server-side=false"])
def test_what_kubectl_applied_is_refused_then_taken_over_whole(how: str, sandboxes: Sandboxes, tools: Mapping[str, Path]) -> None:
    """Nothing is written unless kubeflow_adopt names the component; then stale fields of the earlier tool go, too."""
    sandbox = sandboxes.make("adopt" + how.replace("--", "-").replace("=", "-"))
    base = ("common", "istio")
    wanted = (*base, "dashboard")
    healthy(converge(sandbox, components=base))
    session = Session(request_for(sandbox, components=wanted), lines(sandbox.name))
    rendered = session.plan().render
    assert rendered is not None
    mine = [item.obj for item in rendered.objects.values() if item.component == "dashboard"]
    earlier = {"apiVersion": "v1", "kind": "List", "items": [_as_upstream(obj) for obj in mine]}
    _kubectl(tools, sandbox, "apply", how, "-f", "-", text=json.dumps(earlier))
    audit = Audit(sandbox)
    with pytest.raises(EngineError, match="did not write it") as refused:
        converge(sandbox, components=wanted)
    assert "kubeflow_adopt" in str(refused.value)
    assert not audit.writes()

    outcome = healthy(converge(sandbox, components=wanted, policy=Policy(adopt=("dashboard",))))
    assert outcome.plan is not None
    assert {item.ref for item in outcome.plan.writes} == {ref_of(obj) for obj in mine}
    assert not [item for item in outcome.plan.writes if item.verdict is Verdict.RESTART]
    for obj in Cluster(sandbox).of(outcome).values():
        annotations = obj["metadata"].get("annotations") or {}
        assert "stale" not in annotations and LAST_APPLIED not in annotations
        if obj["kind"] == "Deployment":
            assert "STALE" not in json.dumps(obj["spec"])
    audit = Audit(sandbox)
    assert verdicts(converge(sandbox, components=wanted)) == {}
    assert not audit.writes()
    sandboxes.remove(sandbox.name)


# ---------------------------------------------------------------- restarts


def _reader_of_config(objects: Mapping[ObjectRef, KubeObject]) -> Tuple[ObjectRef, ObjectRef]:
    """A ConfigMap with a plain name and the one Deployment that reads it."""
    readers: Dict[ObjectRef, List[ObjectRef]] = {}
    for ref, obj in sorted(objects.items()):
        if ref.kind in ("Deployment", "StatefulSet", "DaemonSet"):
            for kind, name in referenced_config(obj["spec"]["template"]):
                readers.setdefault(ObjectRef("", kind, ref.namespace, name), []).append(ref)
    for config, found in sorted(readers.items()):
        if config.kind == "ConfigMap" and len(found) == 1 and objects.get(config, {}).get("data") and found[0].kind == "Deployment":
            return config, found[0]
    raise AssertionError("no ConfigMap with one reader")


def _rolls(sandbox: Sandbox, reader: ObjectRef) -> Tuple[str, int]:
    """The time stamp of the last restart, and how many templates the Deployment has had."""
    obj = client_of(sandbox).get(_path(reader))
    revision = obj["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    return get_path(obj, "spec.template.metadata.annotations", {}).get(RESTARTED_AT, ""), int(revision)


@pytest.fixture(name="config_change", scope="module")
def _config_change(built: Install) -> Tuple[ObjectRef, ObjectRef, Dict[str, Any]]:
    """(a ConfigMap, its reader, the declarations that change it)."""
    done = built("26.03")
    config, reader = _reader_of_config(done.objects)
    assert done.outcome.render is not None
    component = done.outcome.render.objects[config].component
    patch = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": config.name, "namespace": config.namespace}}
    return config, reader, {component: {"patches": [{**patch, "data": {"changed-by-a-test": "yes"}}]}}


def test_a_changed_config_map_restarts_its_reader_once(
    built: Install, clone: Clone, config_change: Tuple[ObjectRef, ObjectRef, Dict[str, Any]]
) -> None:
    """Who reads a ConfigMap without a hash in its name is restarted, as a line of the plan, once."""
    config, reader, declarations = config_change
    sandbox = clone(built("26.03").snapshot)
    stamp, revision = _rolls(sandbox, reader)
    assert stamp == ""
    outcome = healthy(converge(sandbox, declarations=declarations))
    assert outcome.plan is not None
    assert [(item.ref, item.verdict) for item in outcome.plan.writes] == [(config, Verdict.UPDATE), (reader, Verdict.RESTART)]
    stamp, rolled = _rolls(sandbox, reader)
    assert stamp and rolled == revision + 1
    assert verdicts(converge(sandbox, declarations=declarations)) == {}


def test_a_run_killed_between_config_map_and_restart_is_resumed(
    built: Install, clone: Clone, config_change: Tuple[ObjectRef, ObjectRef, Dict[str, Any]]
) -> None:
    """Killed at each of its writes in turn, the run is finished by the next one; the pods roll exactly once."""
    config, reader, declarations = config_change
    sandbox = clone(built("26.03").snapshot)
    revision = _rolls(sandbox, reader)[1]
    request = request_for(sandbox, declarations=declarations)
    for writes in range(1, 5):
        assert killed_after(request, writes)
    healthy(converge(sandbox, declarations=declarations))
    stamp, rolled = _rolls(sandbox, reader)
    assert stamp and rolled == revision + 1
    live = client_of(sandbox).get("/api/v1/namespaces/%s/configmaps/%s" % (config.namespace, config.name))
    assert live["data"]["changed-by-a-test"] == "yes"
    assert verdicts(converge(sandbox, declarations=declarations)) == {}
