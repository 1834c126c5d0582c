# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""drift: who changed which field, when, and what we want; nothing is written, and controllers are no drift."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping

import jsonschema
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._drift_operation import run_drift_info
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef, get_path
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Policy
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.pki import Authority

from .conftest import client_of, wait_until
from .platform_fixtures import Installed
from .support import CACHE, MIRROR, REPO, Audit, Cluster, converge, healthy, inventory, kill_tree, lines, playbook, run_playbook

Install = Callable[[str], Installed]
Clone = Callable[..., Sandbox]
OURS = Policy(conflicts="ours")
SCHEMA = jsonschema.Draft202012Validator(json.loads((REPO / "plugins/plugin_utils/schemas/drift.json").read_text(encoding="utf-8")))


def look(sandbox: Sandbox, folder: Path, **settings: Any) -> Dict[str, Any]:
    """What drift_info answers, and under "document" what it left behind, which has its documented shape."""
    arguments = {
        "kubeconfig": str(sandbox.kubeconfig),
        "version": "26.03",
        "mirror": MIRROR,
        "cache_dir": str(CACHE),
        "results_dir": str(folder),
        "fail": True,
        **settings,
    }
    answer = run_drift_info(arguments, sandbox.name, False, lines(sandbox.name), None)
    document = json.loads((folder / "drift.json").read_text(encoding="utf-8"))
    SCHEMA.validate(document)
    assert document["state"] == ("failed" if answer["failed"] else "ok")
    return {**answer, "document": document}


def by_object(answer: Mapping[str, Any]) -> Dict[str, Dict[str, Any]]:
    """The objects that drifted, by name."""
    return {one["object"]: one for one in answer["objects"]}


def deployments(done: Installed, count: int) -> List[ObjectRef]:
    """Deployments of one component whose number of replicas and image upstream sets."""
    assert done.outcome.render is not None
    rendered = done.outcome.render.objects
    fitting = [
        ref
        for ref, item in sorted(rendered.items())
        if ref.kind == "Deployment" and ref.namespace == "kubeflow" and get_path(item.obj, "spec.replicas") == 1
    ]
    assert len(fitting) >= count
    return fitting[:count]


def path_of(ref: ObjectRef) -> str:
    """Where a Deployment or ConfigMap is."""
    kinds = {"Deployment": "/apis/apps/v1/namespaces/%s/deployments/%s", "ConfigMap": "/api/v1/namespaces/%s/configmaps/%s"}
    return kinds[ref.kind] % (ref.namespace, ref.name)


def config_map(done: Installed) -> ObjectRef:
    """A ConfigMap with a value in it."""
    return next(
        ref for ref, obj in sorted(done.objects.items()) if ref.kind == "ConfigMap" and ref.namespace == "kubeflow" and obj.get("data")
    )


def test_what_was_just_installed_has_no_drift(built: Install, platform: Sandbox, tmp_path: Path) -> None:
    """Controllers fill caBundles, Secrets, rules and statuses all the time: none of it is drift, and nothing is written."""
    audit = Audit(platform)
    answer = look(platform, tmp_path)
    assert answer["objects"] == [] and not answer["failed"] and not answer["drifted"]
    assert answer["document"]["compared"] == len(built("26.03").objects)
    assert answer["msg"] == "%d objects, all as we left them" % len(built("26.03").objects)
    calls = audit.calls()
    assert not [call for call in calls if call.writes or call.dry]
    assert answer["summary"]["requests"]["requests"] == len(calls)


def test_drift_says_who_changed_which_field_when_and_what_we_want(built: Install, clone: Clone, tmp_path: Path) -> None:
    """Several managers, fields set and taken away, objects removed and made anew; shown, and left as it is."""
    done = built("26.03")
    sandbox = clone(done.snapshot)
    client = client_of(sandbox)
    edited, scaled, stripped, removed, recreated = deployments(done, 5)
    config = config_map(done)
    began = datetime.now(timezone.utc).replace(microsecond=0)
    container = done.objects[edited]["spec"]["template"]["spec"]["containers"][0]
    image = {"spec": {"template": {"spec": {"containers": [{"name": container["name"], "image": "example.invalid/other:1"}]}}}}
    client.request("PATCH", path_of(edited) + "?fieldManager=kubectl-edit", image, "application/strategic-merge-patch+json")
    client.patch(path_of(scaled) + "/scale", {"spec": {"replicas": 4}}, manager="autoscale-bot")
    label = sorted(done.objects[stripped]["metadata"]["labels"])[0]
    client.patch(path_of(stripped), {"metadata": {"labels": {label: None}}}, manager="kubectl-label")
    key = sorted(done.objects[config]["data"])[0]
    change = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": config.name}, "data": {key: "edited"}}
    client.patch(path_of(config), change, "apply", "argocd-controller")
    client.delete(path_of(removed))
    client.delete(path_of(recreated))
    again = {key: value for key, value in done.objects[recreated].items() if key != "status"}
    metadata = {key: again["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in again["metadata"]}
    client.create(path_of(recreated).rpartition("/")[0], {**again, "metadata": metadata})
    ended = datetime.now(timezone.utc) + timedelta(seconds=1)

    audit = Audit(sandbox)
    answer = look(sandbox, tmp_path)
    assert not audit.writes()
    assert answer["failed"] and answer["drifted"]
    found = by_object(answer)
    assert {name: one["what"] for name, one in found.items()} == {
        str(edited): "changed",
        str(scaled): "changed",
        str(stripped): "changed",
        str(config): "changed",
        str(removed): "removed",
        str(recreated): "recreated",
    }
    (field,) = found[str(edited)]["fields"]
    assert field["path"] == "spec.template.spec.containers[%s].image" % container["name"]
    assert (field["found"], field["wanted"]) == ("example.invalid/other:1", container["image"])
    assert (field["writer"]["manager"], field["writer"]["operation"], field["suspect"]) == ("kubectl-edit", "Update", None)
    (field,) = found[str(scaled)]["fields"]
    assert (field["path"], field["found"], field["wanted"]) == ("spec.replicas", "4", "1")
    assert (field["writer"]["manager"], field["writer"]["subresource"]) == ("autoscale-bot", "scale")
    (field,) = found[str(stripped)]["fields"]
    assert field["path"].endswith(label) and field["found"] == "(none)" and field["writer"] is None
    (field,) = found[str(config)]["fields"]
    assert (field["writer"]["manager"], field["writer"]["operation"]) == ("argocd-controller", "Apply")
    assert "edited" not in json.dumps(field)  # what is in a ConfigMap may be anything: its size is shown
    for name in (edited, config, recreated):  # of a write to the subresource scale the API server keeps no time
        since = datetime.fromisoformat(found[str(name)]["since"].replace("Z", "+00:00"))
        assert began <= since <= ended
    assert [line for line in answer["text"].splitlines() if len(line) > 80 and " " in line.strip()] == []
    assert "kubectl-edit" in answer["text"] and "spec.replicas: 4, we want 1" in answer["text"]
    assert "6 not as we left them" in answer["msg"]

    assert not look(sandbox, tmp_path, fail=False)["failed"]  # only reported
    theirs = look(sandbox, tmp_path, conflicts={"default": "fail", str(scaled): "theirs"})
    assert str(scaled) not in by_object(theirs)  # the user left it to the other manager
    healthy(converge(sandbox, policy=OURS))
    assert not look(sandbox, tmp_path)["drifted"]


def test_what_we_want_otherwise_today_is_no_drift(built: Install, clone: Clone, tmp_path: Path) -> None:
    """A new setting that was not applied yet is counted apart; an edit by somebody in the same object is drift all the same."""
    done = built("26.03")
    sandbox = clone(done.snapshot)
    first, second = deployments(done, 2)
    assert done.outcome.render is not None
    told: Dict[str, Dict[str, Any]] = {}
    for ref in (first, second):
        patch = {"kind": "Deployment", "metadata": {"name": ref.name, "annotations": {"example.com/owner": "us"}}}
        told.setdefault(done.outcome.render.objects[ref].component, {"patches": []})["patches"].append(patch)
    client_of(sandbox).patch(path_of(second), {"spec": {"replicas": 3}}, manager="kubectl-edit")
    answer = look(sandbox, tmp_path, declarations=told)
    assert [(one["object"], [field["path"] for field in one["fields"]]) for one in answer["objects"]] == [(str(second), ["spec.replicas"])]
    assert answer["document"]["pending"] == 1


# ------------------------------------------------------------------ caBundle


def _injected(objects: Mapping[ObjectRef, KubeObject], kind: str) -> ObjectRef:
    """An object of this kind whose caBundle cert-manager's injector has filled from a Certificate."""
    return next(
        ref
        for ref, obj in sorted(objects.items())
        if ref.kind == kind
        and "cert-manager.io/inject-ca-from" in (obj["metadata"].get("annotations") or {})
        and "caBundle" in json.dumps(obj)
    )


def _scale(sandbox: Sandbox, namespace: str, name: str, replicas: int) -> None:
    client_of(sandbox).patch("/apis/apps/v1/namespaces/%s/deployments/%s" % (namespace, name), {"spec": {"replicas": replicas}})
    listed = "/apis/apps/v1/namespaces/%s/deployments" % namespace
    wait_until(
        client_of(sandbox),
        listed,
        lambda obj: obj["metadata"]["name"] == name and int(get_path(obj, "status.replicas", 0)) == replicas,
    )


@pytest.fixture(name="silenced")
def _silenced(built: Install, clone: Clone) -> Sandbox:
    """A platform in which nobody fills a caBundle any more: the injector and istiod have no pods."""
    sandbox = clone(built("26.03").snapshot)
    _scale(sandbox, "cert-manager", "cert-manager-cainjector", 0)
    _scale(sandbox, "istio-system", "istiod", 0)
    return sandbox


def _webhooks(kind: str, name: str) -> str:
    return "/apis/admissionregistration.k8s.io/v1/%ss/%s" % (kind.lower(), name)


def test_ac_02_a_stale_or_empty_ca_bundle_is_reported(built: Install, silenced: Sandbox, tmp_path: Path) -> None:
    """The CA of yesterday in a webhook configuration and in a CRD's conversion, and an empty one: named, with who should fill it."""
    objects = built("26.03").objects
    configuration, definition = (_injected(objects, kind) for kind in ("MutatingWebhookConfiguration", "CustomResourceDefinition"))
    client = client_of(silenced)
    stale = base64.b64encode(Authority(tmp_path / "another").certificate).decode()
    hooks = objects[configuration]["webhooks"]
    client.patch(
        _webhooks(configuration.kind, configuration.name),
        [{"op": "replace", "path": "/webhooks/%d/clientConfig/caBundle" % at, "value": stale} for at in range(len(hooks))],
        "json",
        "restore-tool",
    )
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + definition.name
    client.patch(crd, [{"op": "replace", "path": "/spec/conversion/webhook/clientConfig/caBundle", "value": stale}], "json", "restore-tool")
    istio = ObjectRef("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "", "istio-sidecar-injector")
    empty = [{"op": "remove", "path": "/webhooks/%d/clientConfig/caBundle" % at} for at in range(len(objects[istio]["webhooks"]))]
    client.patch(_webhooks(istio.kind, istio.name), empty, "json", "kubectl-edit")

    audit = Audit(silenced)
    answer = look(silenced, tmp_path)
    assert not audit.writes()
    found = {name: one for name, one in by_object(answer).items() if one["what"] == "stale-ca"}
    assert set(found) == {str(configuration), str(definition), str(istio)}
    assert len(found[str(configuration)]["fields"]) == len(hooks)
    for ref in (configuration, definition):
        certificate = objects[ref]["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
        one = found[str(ref)]
        assert "stale" in one["reason"] and certificate in one["reason"]
        assert one["fields"][0]["writer"]["manager"] == "restore-tool"
        assert one["fields"][0]["found"] != one["fields"][0]["wanted"] and "SHA-256" in one["fields"][0]["found"]
    assert found[str(istio)]["reason"].startswith("its caBundle is empty")
    assert found[str(istio)]["fields"][0]["found"] == "(empty)"

    _scale(silenced, "cert-manager", "cert-manager-cainjector", 1)  # who should fill it is back, and does
    good = objects[configuration]["webhooks"][0]["clientConfig"]["caBundle"]
    listed = _webhooks(configuration.kind, "").rstrip("/")
    wait_until(
        client,
        listed,
        lambda obj: obj["metadata"]["name"] == configuration.name and obj["webhooks"][0]["clientConfig"]["caBundle"] == good,
    )
    assert str(configuration) not in by_object(look(silenced, tmp_path))


# ------------------------------------------------------------------ for schedulers


def test_the_exit_status_says_it_and_site_puts_it_back(built: Install, clone: Clone, tmp_path: Path) -> None:
    """2 while there is drift, 0 when it is only to be reported and when site has put it back with kubeflow_conflicts=ours."""
    done = built("26.03")
    sandbox = clone(done.snapshot)
    (ref,) = deployments(done, 1)
    client_of(sandbox).patch(path_of(ref), {"spec": {"replicas": 2}}, manager="kubectl-edit")
    where = inventory(tmp_path / "site", [sandbox], kubeflow_version="26.03")
    document = where.parent / "results" / sandbox.name / "drift.json"
    process = playbook("drift", where)
    try:
        output = process.communicate(timeout=300)[0]
    finally:
        kill_tree(process.pid)
    assert process.returncode == 2, output
    assert "kubectl-edit" in output and "spec.replicas: 2, we want 1" in output
    assert json.loads(document.read_text(encoding="utf-8"))["state"] == "failed"
    assert "kubectl-edit" in run_playbook("drift", where, "-e", "kubeflow_drift_fail=false")
    assert json.loads(document.read_text(encoding="utf-8"))["drifted"] is True
    run_playbook("site", where, "-e", "kubeflow_conflicts=ours")
    run_playbook("drift", where)
    assert json.loads(document.read_text(encoding="utf-8"))["drifted"] is False
    assert Cluster(sandbox).get("apps/v1", "Deployment", ref.namespace, ref.name)["spec"]["replicas"] == 1  # type: ignore[index]
