# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped release data is well-formed, and says what the rest of the collection relies on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import jmespath
import jsonschema
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import (
    Catalogue,
    Release,
    resolve,
    shipped_releases,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import load_yaml

SCHEMA = json.loads((shipped_releases() / "schema.json").read_text())
FILES = sorted(shipped_releases().glob("*.yml"))
NAMES = [path.stem for path in FILES]
# One role each; a component without a role could not be configured, a role without a component does nothing.
ROLES = {
    "admission_webhook", "cert_manager", "common", "dashboard", "demo_tenant", "dex", "istio", "katib", "knative",
    "notebooks", "oauth2_proxy", "pipelines", "profiles", "pvcviewer", "serving", "spark", "tensorboard", "training",
    "volumes",
}  # fmt: skip


@pytest.fixture(scope="module", params=NAMES)
def release(request: pytest.FixtureRequest) -> Release:
    """Each shipped release."""
    return Catalogue.load().release(request.param)


def test_the_schema_is_a_schema() -> None:
    """A mistake in the schema would let every file pass."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_follow_the_schema(path: Path) -> None:
    """The schema is what authors of release data have in their editor."""
    problems = list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(load_yaml(path.read_bytes())[0]))
    assert [problem.message for problem in problems] == []


WRONG: Dict[str, Dict[str, Any]] = {
    "a number for a release": {"release": 26.03},
    "an unknown key": {"image": "x"},
    "a path out of the tree": {"components": {"katib": {"title": "Katib", "paths": ["../katib"]}}},
    "fields of an object that is created once": {
        "modes": [{"match": {"kind": "Secret"}, "mode": "create_once", "fields": ["data"], "why": "x"}]
    },
    "fields that nobody names": {"modes": [{"match": {"kind": "Secret"}, "mode": "fields_not_ours", "why": "x"}]},
    "a short digest": {"sources": {"a": {"url": "h/x", "kind": "file", "digest": "sha256:0", "verified": True}}},
    "a health rule without the good state": {"health": {"Profile.kubeflow.org": {"failed": "`false`"}}},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_the_schema_refuses(change: Dict[str, Any]) -> None:
    """The schema has teeth."""
    content = {**load_yaml(FILES[0].read_bytes())[0], **change}
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(content)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_is_named_after_its_release(path: Path) -> None:
    """The name finds the file without reading all of them."""
    assert Catalogue.load().release(path.stem).name == path.stem


def test_every_component_has_its_role(release: Release) -> None:
    """A component keeps its name over releases; what it consists of changes."""
    assert set(release.components) <= ROLES


def test_the_newest_release_has_a_component_for_every_role() -> None:
    """An older one may lack what came later: Spark is not in v1.9.1."""
    catalogue = Catalogue.load()
    assert set(catalogue.release(catalogue.newest).components) == ROLES
    assert ROLES - set(catalogue.release("v1.9.1").components) == {"spark"}


def test_a_component_stays_over_releases() -> None:
    """A hop that lost a component would leave its objects to nobody."""
    catalogue = Catalogue.load()
    sets = [set(catalogue.release(name).components) for name in catalogue.names]
    assert all(older <= newer for older, newer in zip(sets, sets[1:]))


def test_the_demo_tenant_is_off_unless_asked_for(release: Release) -> None:
    """Upstream creates user@example.com with a known password in every install."""
    assert {c.name for c in release.components.values() if not c.default} == {"demo_tenant"}
    assert "demo_tenant" not in {component.name for component in resolve(release, "default")}


def test_the_default_set_is_complete(release: Release) -> None:
    """The preset installs without further questions."""
    assert len(resolve(release, "default")) == len(release.components) - 1


def test_the_graph_is_shallow(release: Release) -> None:
    """Each level is one more round of waiting at install."""
    depth: Dict[str, int] = {}
    for component in release.components.values():
        depth[component.name] = 1 + max([depth[needed] for needed in component.needs], default=0)
    assert max(depth.values()) <= 4
    assert {name for name, level in depth.items() if level == 1} == {"common", "cert_manager"}


def test_paths_belong_to_one_component(release: Release) -> None:
    """A path in two components would be rendered twice."""
    paths: List[str] = [path for component in release.components.values() for path in component.paths]
    assert len(paths) == len(set(paths))


def test_sources_and_remotes_fit_together(release: Release) -> None:
    """A remote in a source that is not fetched, or a source that nothing uses, is a left-over."""
    used = {release.tree, *(remote.source for remote in release.remotes.values())}
    assert used == set(release.sources)


EMPTY: List[Dict[str, Any]] = [{}, {"status": {}}, {"status": {"conditions": None}}, {"status": {"conditions": []}}]


def test_health_rules_are_jmespath_and_survive_an_empty_status(release: Release) -> None:
    """A controller that has not written yet means in progress, not an error and not healthy."""
    always = {"Certificate.networking.internal.knative.dev"}
    for kind, rule in release.health.items():
        for status in EMPTY:
            obj = {"metadata": {"name": "x", "generation": 2}, **status}
            assert jmespath.search(rule.current, obj) is (kind in always), kind
            assert not (rule.failed and jmespath.search(rule.failed, obj)), kind
            assert not (rule.message and jmespath.search(rule.message, obj)), kind


def _conditions(*conditions: str) -> Dict[str, Any]:
    return {"conditions": [dict(zip(("type", "status"), text.split("="))) for text in conditions]}


HEALTH: List[Any] = [
    ("Certificate.cert-manager.io", {"status": _conditions("Ready=True")}, "current"),
    ("Certificate.cert-manager.io", {"status": _conditions("Ready=True", "Issuing=True")}, ""),
    ("Certificate.cert-manager.io", {"status": {"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]}}, ""),
    ("Issuer.cert-manager.io", {"status": _conditions("Ready=False")}, ""),
    ("Profile.kubeflow.org", {"metadata": {"finalizers": ["profile-finalizer"]}}, "current"),
    ("Profile.kubeflow.org", {"status": _conditions("Failed=")}, "failed"),
    (
        "Profile.kubeflow.org",
        {"metadata": {"finalizers": ["profile-finalizer"]}, "status": _conditions("Failed=")},
        "current",
    ),
    (
        "Service.serving.knative.dev",
        {"status": {"observedGeneration": 2, **_conditions("Ready=True", "RoutesReady=True", "ConfigurationsReady=True")}},
        "current",
    ),
    (
        "Service.serving.knative.dev",
        {"status": {"observedGeneration": 1, **_conditions("Ready=True", "RoutesReady=True", "ConfigurationsReady=True")}},
        "",
    ),
    ("Service.serving.knative.dev", {"status": {"observedGeneration": 2, **_conditions("Ready=False")}}, "failed"),
    ("InferenceService.serving.kserve.io", {"status": _conditions("Ready=True")}, "current"),
    (
        "InferenceService.serving.kserve.io",
        {"status": {**_conditions("Ready=True"), "modelStatus": {"transitionStatus": "InProgress"}}},
        "",
    ),
    (
        "InferenceService.serving.kserve.io",
        {"status": {**_conditions("Ready=False"), "modelStatus": {"transitionStatus": "BlockedByFailedLoad"}}},
        "failed",
    ),
    ("InferenceService.serving.kserve.io", {"status": _conditions("Stopped=True", "Ready=False")}, "current"),
    ("Notebook.kubeflow.org", {"status": {"readyReplicas": 1}}, "current"),
    ("Notebook.kubeflow.org", {"status": {"readyReplicas": 0}}, ""),
    ("Notebook.kubeflow.org", {"metadata": {"annotations": {"kubeflow-resource-stopped": "2026-01-01"}}}, "current"),
    ("Experiment.kubeflow.org", {"status": _conditions("Created=True", "Running=True")}, ""),
    ("Experiment.kubeflow.org", {"status": _conditions("Running=False", "Succeeded=True")}, "current"),
    ("Experiment.kubeflow.org", {"status": _conditions("Failed=True")}, "failed"),
    ("SparkApplication.sparkoperator.k8s.io", {"status": {"applicationState": {"state": "RUNNING"}}}, ""),
    ("SparkApplication.sparkoperator.k8s.io", {"status": {"applicationState": {"state": "COMPLETED"}}}, "current"),
    ("SparkApplication.sparkoperator.k8s.io", {"status": {"applicationState": {"state": "FAILED"}}}, "failed"),
    ("Workflow.argoproj.io", {"status": {"phase": "Error"}}, "failed"),
    ("PVCViewer.kubeflow.org", {"status": {"ready": True}}, "current"),
]


@pytest.mark.parametrize(("kind", "obj", "expected"), HEALTH)
def test_health_rules_judge(release: Release, kind: str, obj: Dict[str, Any], expected: str) -> None:
    """Each rule on the states that its controller writes."""
    if kind.endswith(".sparkoperator.k8s.io") and "spark" not in release.components:
        pytest.skip("the release has no Spark")
    rule = release.health[kind]
    whole = {**obj, "metadata": {"name": "x", "generation": 2, **obj.get("metadata", {})}}
    failed = bool(rule.failed and jmespath.search(rule.failed, whole))
    current = jmespath.search(rule.current, whole) is True
    assert (failed, current) == (expected == "failed", expected == "current")


@pytest.mark.parametrize("name", ["v1.11.0", "26.03"])
def test_trainer_rules(name: str) -> None:
    """Trainer v2 exists from v1.11.0 on."""
    rule = Catalogue.load().release(name).health["TrainJob.trainer.kubeflow.org"]
    assert jmespath.search(rule.current, {"status": _conditions("Complete=True")}) is True
    assert jmespath.search(rule.current, {"status": _conditions("Suspended=False")}) is False
    assert jmespath.search(rule.failed, {"status": _conditions("Failed=True")}) is True


# --- the hops between them ---

FROM = {"from": "v1.9.1"}
MATCH = {"kind": "Secret", "name": "x"}
ACK = {"name": "ack-v9.9.9-data", "component": "pipelines", "text": "x"}
WRONG_HOPS: Dict[str, Dict[str, Any]] = {
    "a hop from nowhere": {"notes": ["x"]},
    "an unknown key": {**FROM, "steps": ["kubectl delete"]},
    "an ack that does not name its release": {**FROM, "acks": [{**ACK, "name": "data-loss"}]},
    "an ack that does not say what is lost": {**FROM, "acks": [{"name": "ack-v9.9.9-data", "component": "pipelines"}]},
    "an object without a reason": {**FROM, "replace": [{"match": MATCH}]},
    "a reason without an object": {**FROM, "keep": [{"why": "x"}]},
    "an object that is not described": {**FROM, "regenerate": [{"match": {"name": "x"}, "why": "x"}]},
    "a door without a name": {**FROM, "one_way": [{"component": "pipelines", "why": "x"}]},
}


def test_the_schema_takes_a_hop_with_everything() -> None:
    """So that what the next test refuses is refused for its one mistake."""
    row = {"match": MATCH, "why": "x"}
    hop = {
        **FROM,
        "notes": ["x"],
        "acks": [{**ACK, "backup": True}],
        **{key: [row] for key in ("replace", "keep", "regenerate")},
        "one_way": [{"name": "mysql-8.4", "component": "pipelines", "why": "x"}],
    }
    content = {**load_yaml(FILES[0].read_bytes())[0], "upgrade": hop}
    assert [problem.message for problem in jsonschema.Draft202012Validator(SCHEMA).iter_errors(content)] == []


@pytest.mark.parametrize("hop", WRONG_HOPS.values(), ids=WRONG_HOPS)
def test_the_schema_refuses_a_hop(hop: Dict[str, Any]) -> None:
    """A hop is what an upgrade does to a cluster with data."""
    content = {**load_yaml(FILES[0].read_bytes())[0], "upgrade": hop}
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(content)


def test_every_release_but_the_oldest_is_reached_from_the_one_before() -> None:
    """There is one way, and it leaves out no release."""
    catalogue = Catalogue.load()
    hops = [catalogue.release(name).hop for name in catalogue.names]
    assert hops[0] is None
    assert [(hop.source, hop.target) for hop in hops if hop] == list(zip(catalogue.names, catalogue.names[1:]))


def test_what_a_hop_asks_for_can_be_asked_for(release: Release) -> None:
    """An ack of a component that does not exist is asked of nobody; two of one name are answered by one word."""
    if release.hop is None:
        return
    before = Catalogue.load().release(release.hop.source)
    for part in (release.hop.acks, release.hop.one_way):
        assert {one.component for one in part} <= set(before.components)
        assert len({one.name for one in part}) == len(part)
    assert all(ack.name.startswith("ack-%s-" % release.name) for ack in release.hop.acks)


def test_a_one_way_door_for_data_has_an_ack_first() -> None:
    """Pipelines' data goes through a door in v1.11.0, so nobody gets there without having said so."""
    hop = Catalogue.load().release("v1.11.0").hop
    assert hop is not None
    said = {ack.name.replace("ack-v1.11.0-", "") for ack in hop.acks if ack.component == "pipelines"}
    assert said == {door.name for door in hop.one_way if door.component == "pipelines"} == {"object-store", "mysql-8.4"}
    assert all(ack.backup for ack in hop.acks if ack.component == "pipelines")


def test_kubernetes_floors_only_rise(release: Release) -> None:
    """A floor below the one before it, or above what was tested, is a typing error."""
    before = Catalogue.load().release(release.hop.source) if release.hop else release

    def minor(text: str) -> int:
        return int(text.split(".")[1])

    assert minor(before.kubernetes_minimum) <= minor(release.kubernetes_minimum) <= min(map(minor, release.kubernetes_tested))
