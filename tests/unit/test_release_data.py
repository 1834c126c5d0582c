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


def test_every_role_has_its_component(release: Release) -> None:
    """The set of components is the same in every release; what they consist of is not."""
    assert set(release.components) == ROLES


def test_the_demo_tenant_is_off_unless_asked_for(release: Release) -> None:
    """Upstream creates user@example.com with a known password in every install."""
    assert {c.name for c in release.components.values() if not c.default} == {"demo_tenant"}
    assert "demo_tenant" not in {component.name for component in resolve(release, "default")}


def test_the_default_set_is_complete(release: Release) -> None:
    """The preset installs without further questions."""
    assert len(resolve(release, "default")) == len(ROLES) - 1


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
    rule = release.health[kind]
    whole = {**obj, "metadata": {"name": "x", "generation": 2, **obj.get("metadata", {})}}
    failed = bool(rule.failed and jmespath.search(rule.failed, whole))
    current = jmespath.search(rule.current, whole) is True
    assert (failed, current) == (expected == "failed", expected == "current")


def test_trainer_rules() -> None:
    """Trainer v2 exists from v1.11.0 on."""
    rule = Catalogue.load().release("26.03").health["TrainJob.trainer.kubeflow.org"]
    assert jmespath.search(rule.current, {"status": _conditions("Complete=True")}) is True
    assert jmespath.search(rule.current, {"status": _conditions("Suspended=False")}) is False
    assert jmespath.search(rule.failed, {"status": _conditions("Failed=True")}) is True
