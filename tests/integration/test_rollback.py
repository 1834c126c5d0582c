# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revisions are kept, and what a change did is undone by going back to one, field by field."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import lzma
import os
import re
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

import jsonschema
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import load
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.revisions import RevisionStore
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rollback_rules import STAY
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rolling_back import Return, RollBack
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.writing import RESTARTED_AT
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._rollback_operation import run_revisions_info
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import Sandboxes, client_of
from .platform_fixtures import Installed
from .support import (
    COLLECTIONS,
    FEW,
    REPO,
    Audit,
    Cluster,
    converge,
    differing,
    healthy,
    inventory,
    killed_after,
    lines,
    playbook,
    recap,
    request_for,
    run_playbook,
    verdicts,
)

Install = Callable[[str], Installed]
Clone = Callable[..., Sandbox]
Objects = Mapping[ObjectRef, KubeObject]
SECRETS = "/api/v1/namespaces/mlplatform-kubeflow/secrets"
HASH = re.compile(r"-[bcdfghkmt2456789]{10}$")
NEWEST = Catalogue.load().release("26.03")


def store(sandbox: Sandbox) -> RevisionStore:
    """The revisions of a sandbox."""
    return RevisionStore(Api.connect(str(sandbox.kubeconfig)))


def go_back(sandbox: Sandbox, to: object, *scope: str, accept: Tuple[str, ...] = (), **settings: Any) -> Return:
    """A rollback in this process.

    :raises EngineError: it was refused.
    """
    request = request_for(sandbox, scope=scope, **settings)
    return RollBack(request, str(to), accept, lines(sandbox.name)).run()


def arrived(journey: Return) -> Return:
    """The rollback itself, if all went well; else the test fails with what did not."""
    for step in journey.steps:
        assert step.outcome is not None
        healthy(step.outcome)
    assert not journey.errors and journey.arrived, [str(error) for error in journey.errors]
    return journey


# ---------------------------------------------------------------- revisions


def test_an_install_leaves_a_revision_and_a_run_without_changes_none(built: Install, clone: Clone) -> None:
    """One revision holds every object; the next run asks for its head and writes nothing."""
    done = built("26.03")
    sandbox = clone(done.snapshot)
    (head,) = store(sandbox).list()
    assert head.release == "26.03" and head.run == done.outcome.request.run_id
    assert done.outcome.chosen is not None and done.outcome.render is not None
    assert set(head.components) == {component.name for component in done.outcome.chosen.desired}
    loaded = store(sandbox).load(head.number)
    assert set(loaded.objects) == set(done.outcome.render.objects)
    assert sum(one.objects for one in head.components.values()) == len(loaded.objects)
    secret = client_of(sandbox).get(SECRETS + "/revision-1")
    assert len(base64.b64decode(secret["data"]["objects.xz"])) < 300_000  # of a MiB that a Secret may hold
    audit = Audit(sandbox)
    again = healthy(converge(sandbox))
    assert verdicts(again) == {} and not again.changed
    assert not audit.writes() and again.traffic["requests"] <= 60
    assert store(sandbox).list() == (head,)


# ---------------------------------------------------------------- every component


def component_of(obj: KubeObject) -> str:
    """By its label."""
    return str(obj["metadata"]["labels"][COMPONENT_LABEL])


@dataclass
class Patched:
    """A platform in which something of every component was changed by a patch.

    :ivar versions: every object that is wanted before or after the change, and the version to read it in.
    :ivar before: all of them before the change; :ivar after: after it.
    """

    sandbox: Sandbox
    declarations: Mapping[str, Mapping[str, Any]]
    versions: Mapping[ObjectRef, str]
    before: Objects
    after: Objects

    def now(self) -> Objects:
        """All of them as they are."""
        return Cluster(self.sandbox).objects(self.versions, self.versions)


def going(objects: Objects, component: str) -> Dict[ObjectRef, KubeObject]:
    """Those of a component that go back, without the marks of restarts."""
    return without_restarts({ref: obj for ref, obj in objects.items() if component_of(obj) == component and ref.kind_group not in STAY})


def patches_of(objects: Mapping[ObjectRef, KubeObject]) -> List[Dict[str, Any]]:
    """An annotation on everything; texts of ConfigMaps, replicas, arguments and labels of workloads, values of Secrets."""
    found: List[Dict[str, Any]] = []
    for kind in sorted({ref.kind for ref in objects}):
        found.append({"target": {"kind": kind}, "patch": {"metadata": {"annotations": {"changed": "by-a-test"}}}})
    for ref, obj in sorted(objects.items()):
        name = HASH.sub("", ref.name)  # kustomize adds the hash of what is in it after the patch
        head = {"apiVersion": obj["apiVersion"], "kind": ref.kind, "metadata": {"name": name}}
        if ref.namespace:
            head["metadata"]["namespace"] = ref.namespace
        if ref.kind == "ConfigMap" and obj.get("data") and "_example" not in obj["data"]:  # whose text Knative has a checksum of
            key = sorted(obj["data"])[0]
            found.append({**head, "data": {key: obj["data"][key] + "\n", "added-by-a-test": "a longer text"}})
        elif ref.kind in ("Deployment", "StatefulSet"):
            container = {"name": obj["spec"]["template"]["spec"]["containers"][0]["name"], "env": [{"name": "ADDED", "value": "by-a-test"}]}
            template = {"metadata": {"labels": {"changed": "by-a-test"}}, "spec": {"containers": [container]}}
            found.append({**head, "spec": {"replicas": 2, "template": template}})
        elif ref.kind == "Secret" and obj.get("data"):
            found.append({**head, "stringData": {"added-by-a-test": "some-value"}})
    return found


def without_restarts(given: Objects) -> Dict[ObjectRef, KubeObject]:
    """The objects without what counts how often their pods were rolled."""
    objects = copy.deepcopy(dict(given))
    for obj in objects.values():
        (obj["metadata"].get("annotations") or {}).pop("deprecated.daemonset.template.generation", None)
        template = obj.get("spec", {}).get("template", {}) if isinstance(obj.get("spec"), dict) else {}
        annotations = template.get("metadata", {}).get("annotations") if isinstance(template, dict) else None
        if annotations and annotations.pop(RESTARTED_AT, None) and not annotations:
            del template["metadata"]["annotations"]
    return objects


@pytest.fixture(name="patched", scope="module")
def _patched(built: Install, sandboxes: Sandboxes) -> Iterator[Patched]:
    """The platform of all tests below, which go back with one component each."""
    done = built("26.03")
    sandbox = sandboxes.make("patched", snapshot=done.snapshot, release="26.03", real=True)
    render = done.outcome.render
    assert render is not None
    names = sorted({item.component for item in render.objects.values()})
    rendered = {name: {ref: item.obj for ref, item in render.objects.items() if item.component == name} for name in names}
    declarations = {name: {"patches": patches_of(objects)} for name, objects in rendered.items()}
    before = Cluster(sandbox).of(done.outcome)
    change = healthy(converge(sandbox, declarations=declarations))
    assert change.render is not None
    versions = {ref: item.obj["apiVersion"] for one in (render, change.render) for ref, item in one.objects.items()}
    patched = Patched(sandbox, declarations, versions, before, {})
    yield replace(patched, after=patched.now())
    sandboxes.remove("patched")


@pytest.mark.parametrize("component", [name for name, one in NEWEST.components.items() if one.default])
def test_each_component_goes_back_field_by_field(patched: Patched, component: str) -> None:
    """All that a change did to it is undone and nothing else is touched; Secrets and definitions stay; again is nothing."""
    before, after = going(patched.before, component), going(patched.after, component)
    assert differing(before, after), "the patches were to change something"
    then = patched.now()
    journey = arrived(go_back(patched.sandbox, 1, component, declarations=patched.declarations, revisions=99))
    assert journey.changed and not journey.steps[0].kept
    now = patched.now()
    assert differing(before, going(now, component)) == {}
    for ref, obj in now.items():
        if component_of(obj) != component:
            assert (
                obj["metadata"]["resourceVersion"] == then[ref]["metadata"]["resourceVersion"]
                or differing({ref: then[ref]}, {ref: obj}) == {}
            )
        elif ref.kind_group in STAY:
            assert differing({ref: then[ref]}, {ref: obj}) == {} and obj.get("data") == then[ref].get("data"), str(ref)
    assert {ref for ref in then if component_of(then[ref]) != component} <= set(now)
    heads = store(patched.sandbox).list()
    assert heads[-1].components[component] == heads[0].components[component]
    audit = Audit(patched.sandbox)
    again = arrived(go_back(patched.sandbox, 1, component, declarations=patched.declarations, revisions=99))
    assert not again.changed and not audit.writes()


# ---------------------------------------------------------------- a few components


@pytest.fixture(name="few", scope="module")
def _few(sandboxes: Sandboxes, snapshot_of: Callable[[Sandbox], Path]) -> Path:
    """A snapshot of a cluster with two revisions: in the first there is no Katib."""
    sandbox = sandboxes.make("few")
    healthy(converge(sandbox, components=tuple(name for name in FEW if name != "katib")))
    healthy(converge(sandbox, components=FEW))
    assert [head.number for head in store(sandbox).list()] == [1, 2]
    snapshot = snapshot_of(sandbox)
    sandboxes.remove("few")
    return snapshot


CONTROLLER = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "katib-controller", "namespace": "kubeflow"}}


def scaled(count: int) -> Dict[str, Dict[str, Any]]:
    """Declarations with which Katib's controller has so many replicas."""
    return {"katib": {"patches": [{**CONTROLLER, "spec": {"replicas": count}}]}}


def replicas(sandbox: Sandbox) -> int:
    """How many it has."""
    return int(client_of(sandbox).get("/apis/apps/v1/namespaces/kubeflow/deployments/katib-controller")["spec"]["replicas"])


def test_only_the_last_are_kept_and_a_scoped_run_takes_the_others_over(few: Path, clone: Clone) -> None:
    """Each of them is of the whole platform; numbers go on."""
    sandbox = clone(few)
    for count in (2, 3, 4):
        healthy(converge(sandbox, components=FEW, scope=("katib",), declarations=scaled(count), revisions=2))
    heads = store(sandbox).list()
    assert [head.number for head in heads] == [4, 5]
    assert all(set(head.components) == set(FEW) for head in heads)
    assert heads[0].components["dex"] == heads[1].components["dex"]
    assert heads[0].components["katib"] != heads[1].components["katib"]
    loaded = store(sandbox).load(5).objects
    assert {item.component for item in loaded.values()} == set(FEW)
    again = healthy(converge(sandbox, components=FEW, declarations=scaled(4), revisions=2))
    assert not again.changed and [head.number for head in store(sandbox).list()] == [4, 5]
    arrived(go_back(sandbox, 4, "katib", components=FEW, revisions=2))
    assert replicas(sandbox) == 3
    told = run_revisions_info({"kubeconfig": str(sandbox.kubeconfig)}, sandbox.name, False, Silent(), None)
    assert [(one["number"], one["rollback_to"]) for one in told["revisions"]] == [(5, None), (6, 4)]
    assert told["msg"].splitlines()[1].endswith("back to 4: katib")


def test_what_a_revision_does_not_have_is_removed_and_data_stays(few: Path, clone: Clone) -> None:
    """The whole platform goes back to before Katib: its objects go, its definitions, Secrets and volume stay."""
    sandbox = clone(few)
    api = Api.connect(str(sandbox.kubeconfig))
    before = load(api).components
    journey = arrived(go_back(sandbox, 1, components=FEW))
    (step,) = journey.steps
    assert {ref.kind for ref in step.removed} >= {"Deployment", "Service", "ConfigMap", "ValidatingWebhookConfiguration"}
    assert "PersistentVolumeClaim kubeflow/katib-mysql" in {str(ref) for ref in step.kept}
    record = load(api).components
    katib = before["katib"].entries
    left = set(record["katib"].entries)
    assert left == set(katib) - set(step.removed) and {ref for ref in katib if ref.kind_group in STAY} <= left
    versions = {ref: entry.api_version for ref, entry in katib.items()}
    assert set(Cluster(sandbox).objects(katib, versions)) == left
    assert {name: one.entries for name, one in record.items() if name != "katib"} == {
        name: one.entries for name, one in before.items() if name != "katib"
    }
    head = store(sandbox).list()[-1]
    assert head.number == 3 and head.components == store(sandbox).list()[0].components
    audit = Audit(sandbox)
    assert not arrived(go_back(sandbox, 1, components=FEW)).changed
    assert not arrived(go_back(sandbox, "previous", components=FEW)).changed
    assert not audit.writes()
    healthy(converge(sandbox, components=FEW))  # and forward again
    assert Cluster(sandbox).get("apps/v1", "Deployment", "kubeflow", "katib-controller") is not None


_KILLED = """
import json, os, signal, sys
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rolling_back import RollBack
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request

told = json.loads(sys.argv[1])
left = [told.pop("writes")]

def guard():
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)

for name in ("components", "scope", "release_dirs", "lint_accept"):
    told[name] = tuple(told[name])
RollBack(Request(**told), "previous", (), Silent(), guard).run()
"""


def rollback_killed_after(request: Request, writes: int) -> bool:
    """Go back to ``previous`` in a process that is killed before that write; whether it was."""
    told = {key: value for key, value in vars(request).items() if key != "policy"}
    process = subprocess.run(
        [sys.executable, "-c", _KILLED, json.dumps({**told, "writes": writes})],
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        timeout=300,
        check=False,
    )
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


def test_a_rollback_that_is_killed_at_any_write_goes_on(few: Path, clone: Clone) -> None:
    """``previous`` means the same revision until it is done, and after that too."""
    sandbox = clone(few)
    done = healthy(converge(sandbox, components=FEW))
    before = Cluster(sandbox).of(done)
    patches = {"katib": {"patches": patches_of({ref: obj for ref, obj in before.items() if component_of(obj) == "katib"})}}
    healthy(converge(sandbox, components=FEW, scope=("katib",), declarations=patches))
    request = request_for(sandbox, components=FEW, scope=("katib",), declarations=patches)
    kills = 0
    for writes in (1, 2, 3, 5, 8, 13, 21, 34):
        kills += rollback_killed_after(request, writes)
    assert kills >= 6
    arrived(go_back(sandbox, "previous", "katib", components=FEW, declarations=patches))
    assert differing(going(before, "katib"), going(Cluster(sandbox).of(done), "katib")) == {}
    audit = Audit(sandbox)
    assert not arrived(go_back(sandbox, "previous", "katib", components=FEW, declarations=patches)).changed
    assert not audit.writes()


def test_previous_undoes_a_site_that_did_not_come_to_its_end(few: Path, clone: Clone) -> None:
    """Then it is the newest revision, the last one with which all was healthy; a site that was resumed keeps its revision."""
    sandbox = clone(few)
    settings: Dict[str, Any] = {"components": FEW, "scope": ("katib",)}
    assert killed_after(request_for(sandbox, **settings, declarations=scaled(3)), 4)
    assert replicas(sandbox) == 3
    arrived(go_back(sandbox, "previous", "katib", components=FEW))
    assert replicas(sandbox) == 1
    assert [head.number for head in store(sandbox).list()] == [1, 2]
    assert not arrived(go_back(sandbox, "previous", "katib", components=FEW)).changed
    healthy(converge(sandbox, **settings, declarations=scaled(3)))
    for number in (2, 3):  # a revision that could not be written is written by the next run
        client_of(sandbox).delete(SECRETS + "/revision-%d" % number)
    audit = Audit(sandbox)
    assert not healthy(converge(sandbox, **settings, declarations=scaled(3))).changed
    assert [call.path for call in audit.writes()] == [SECRETS]


# ---------------------------------------------------------------- secrets


def dex_patches(config: str, password: str) -> Dict[str, Dict[str, Any]]:
    """A connector with a secret in a ConfigMap, and a Secret."""
    text = "issuer: http://dex.auth.svc.cluster.local:5556/dex\nconnectors: [{type: ldap, config: {bindPW: %s}}]\n" % config
    meta = {"apiVersion": "v1", "metadata": {"name": "dex", "namespace": "auth"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "dex-oidc-client", "namespace": "auth"}}
    return {
        "dex": {"patches": [{**meta, "kind": "ConfigMap", "data": {"config.yaml": text}}, {**secret, "stringData": {"EXTRA": password}}]}
    }


def hidden_in_our_namespace(sandbox: Sandbox, value: str) -> List[str]:
    """The Secrets of ours in which a value can be found, packed or not."""
    found = []
    for item in client_of(sandbox).get(SECRETS)["items"]:
        texts = [json.dumps(item).encode(), *(base64.b64decode(data) for data in (item.get("data") or {}).values())]
        texts += [lzma.decompress(text) for text in texts if text.startswith(b"\xfd7zXZ")]
        texts += [gzip.decompress(text) for text in texts if text.startswith(b"\x1f\x8b")]
        forms = (value.encode(), base64.b64encode(value.encode())[:-4])
        found += [item["metadata"]["name"] for text in texts for form in forms if form in text]
    return found


def test_secrets_are_in_no_revision_and_keep_their_live_values(few: Path, clone: Clone) -> None:
    """What nobody has any more is refused by name; the inventory or a person's word lets it go on."""
    sandbox = clone(few)
    first, second = (["cnry-" + secrets.token_hex(12) for _each in range(2)] for _run in range(2))
    settings: Dict[str, Any] = {"components": FEW, "scope": ("dex",)}
    for values in (first, second):
        healthy(converge(sandbox, **settings, declarations=dex_patches(*values)))
    assert [head.number for head in store(sandbox).list()] == [1, 2, 3, 4]
    for value in (*first, *second):
        assert hidden_in_our_namespace(sandbox, value) == []
    client = client_of(sandbox)
    configured = client.get("/api/v1/namespaces/auth/configmaps/dex")["data"]["config.yaml"]
    assert second[0] in configured
    audit = Audit(sandbox)
    refused = go_back(sandbox, 3, "dex", components=FEW, declarations=dex_patches(*second))
    (error,) = refused.errors
    assert error.subject == "ConfigMap auth/dex" and "data.config.yaml" in error.found
    assert refused.steps[0].state == "stopped" and not audit.writes()

    journey = arrived(go_back(sandbox, 3, "dex", components=FEW, declarations=dex_patches(*second), accept=("ConfigMap auth/dex",)))
    assert [str(ref) for ref in journey.steps[0].left.accepted] == ["ConfigMap auth/dex"]
    assert "Secret auth/dex-oidc-client" in {str(ref) for ref in journey.steps[0].left.other_values}
    assert client.get("/api/v1/namespaces/auth/configmaps/dex")["data"]["config.yaml"] == configured

    journey = arrived(go_back(sandbox, 3, "dex", components=FEW, declarations=dex_patches(*first)))
    assert journey.changed
    assert first[0] in client.get("/api/v1/namespaces/auth/configmaps/dex")["data"]["config.yaml"]
    live = client.get("/api/v1/namespaces/auth/secrets/dex-oidc-client")["data"]["EXTRA"]
    assert base64.b64decode(live).decode() == second[1]
    for value in (*first, *second):
        assert hidden_in_our_namespace(sandbox, value) == []


# ---------------------------------------------------------------- the playbook


def test_the_playbook_tells_the_truth_and_leaves_its_files(few: Path, clone: Clone, tmp_path: Path) -> None:
    """Check mode writes nothing and says what is done afterwards; a refusal fails the run with its reason."""
    sandbox = clone(few)
    healthy(converge(sandbox, components=FEW, scope=("katib",), declarations=scaled(3)))
    results = tmp_path / "results"
    where = inventory(tmp_path, [sandbox], kubeflow_components=list(FEW), kubeflow_version="26.03", kubeflow_results_dir=str(results))
    audit = Audit(sandbox)
    told = run_playbook("rollback", where, "--tags", "katib", "--check", "--diff")
    assert not audit.writes() and recap(told)[sandbox.name]["changed"] == 1
    assert "katib would go back to revision 2" in told and "spec.replicas: 3" in told and "spec.replicas: 1" in told
    done = run_playbook("rollback", where, "--tags", "katib")
    assert recap(done)[sandbox.name]["changed"] == 1 and replicas(sandbox) == 1
    assert "katib back to revision 2" in done and "1 object written" in done
    assert "never rolled back: 1 Secret, 3 definitions" in done
    schemas = REPO / "plugins" / "plugin_utils" / "schemas"
    for name in ("rollback", "plan", "status"):
        document = json.loads((results / (name + ".json")).read_text(encoding="utf-8"))
        jsonschema.validate(document, json.loads((schemas / (name + ".json")).read_text(encoding="utf-8")))
        assert document["state"] == "ok" and document["check"] is False
    again = run_playbook("rollback", where, "--tags", "katib")
    assert recap(again)[sandbox.name]["changed"] == 0
    process = playbook("rollback", where, "--extra-vars", "kubeflow_rollback_to=77")
    refused = process.communicate(timeout=300)[0]
    assert process.returncode != 0 and "there is no revision 77" in refused and "1 (26.03, " in refused
    assert json.loads((results / "rollback.json").read_text(encoding="utf-8"))["state"] == "failed"
