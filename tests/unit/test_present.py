# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people read fits a terminal and names the first cause; what programs read keeps its documented shape."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import jsonschema
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import present
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.applying import ComponentOutcome
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.evidence import pod_evidence
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.kstatus import State
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Item, Plan, Verdict, Wanted
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.results import Results
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Outcome, Request, choose
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.settling import Finding

SCHEMAS = Path(__file__).resolve().parents[2] / "plugins" / "plugin_utils" / "schemas"
CONFIG = Resource("v1", "ConfigMap", "configmaps", True)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
LONG = "a-rather-long-name-as-upstream-likes-them-with-a-suffix"
CHANGE = ("spec.template.spec.containers[manager].resources.limits.memory", "128Mi of what there is", "256Mi of what there is")


def ref(kind: str = "Deployment", group: str = "apps", name: str = LONG) -> ObjectRef:
    """A name of the usual length."""
    return ObjectRef(group, kind, "kubeflow", name)


def item(verdict: Verdict, reason: str = "somebody changed what we wrote", component: str = "katib", **rest: Any) -> Item:
    """One line of a plan."""
    return Item(rest.pop("ref", ref()), Wanted(component, {}, CONFIG), verdict, reason, **rest)


def outcome(items: Sequence[Item] = (), **rest: Any) -> Outcome:
    """What a run of two components found."""
    request = Request("factory-1", components=("common", "katib"), add_dependencies=True, scope=("common", "katib"))
    traffic = {"requests": 50, "writes": 0, "dry_runs": 1, "retries": 0, "rejected": []}
    told: Dict[str, Any] = {"kubernetes": "1.34.1", "traffic": traffic, **rest}
    found = Outcome(request, choose(request), Plan(tuple(items)), **told)
    found.clock.lap("plan")
    return found


def finding(name: str, message: str, *, final: bool = False, pod: Any = None) -> Finding:
    """Something that is not healthy."""
    evidence = pod_evidence([pod], now=NOW) if pod else ()
    return Finding(ref(name=name), "katib", State.IN_PROGRESS, "Progressing", message, evidence, final)


WAITING = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found in registry.site:5000/kubeflow/katib:1"}}}
POD = {
    "metadata": {"name": "katib-1", "namespace": "kubeflow"},
    "spec": {"containers": [{"name": "manager", "image": "registry.site:5000/kubeflow/katib:1"}]},
    "status": {"phase": "Pending", "containerStatuses": [{"name": "manager", "restartCount": 0, **WAITING}]},
}
BROKEN = EngineError(
    "cannot pull the image " + "very " * 20, subject="Deployment.apps kubeflow/x", expected="e", found="f", next_step="n", component="katib"
)
WORDY = "a reason that goes on for quite some time, as reasons do when the server gives them"
OF_REMOVALS = (Verdict.PRUNE_SAFE, Verdict.PRUNE_DANGEROUS, Verdict.KEEP, Verdict.ORPHAN_WEBHOOK)
OF_NOTICES = (
    Verdict.STORAGE_MOVE,
    Verdict.SERVED_REMOVED,
    Verdict.NOT_SERVED,
    Verdict.PATCH_UNMATCHED,
    Verdict.OLD_SIDECAR,
    Verdict.REGENERATE,
)
OF_OBJECTS = [verdict for verdict in Verdict if verdict not in (*OF_REMOVALS, *OF_NOTICES)]
EVERY_VERDICT = [item(verdict, WORDY, changes=(CHANGE,) * 7) for verdict in OF_OBJECTS for _number in range(10)]
CRD = ObjectRef("apiextensions.k8s.io", "CustomResourceDefinition", "", "experiments.kubeflow.org")


def too_wide(text: str) -> List[str]:
    """The lines over 80 columns that could have been broken: more than one word after the indent."""
    return [line for line in text.splitlines() if len(line) > 80 and " " in line.strip()]


# ------------------------------------------------------------------ what people read


def test_a_plan_fits_a_terminal() -> None:
    """Every verdict, long names, long reasons, many changes."""
    text = present.plan_text(outcome(EVERY_VERDICT))
    assert too_wide(text) == []
    assert "and 2 more" in text and "and 2 more fields" in text


def test_a_plan_says_first_what_stops_it() -> None:
    """Who has to decide something reads that before everything else."""
    text = present.plan_text(outcome([item(Verdict.CREATE), item(Verdict.CONFLICT, "kubectl-edit owns .spec.replicas")]))
    assert text.splitlines()[0] == "2 objects: 1 create, 1 conflict"
    assert text.splitlines()[1].startswith("! katib") and "kubectl-edit owns .spec.replicas" in text.splitlines()[1]


def test_a_plan_of_many_creations_names_no_object() -> None:
    """670 names say less than their number; plan.json has them all."""
    text = present.plan_text(outcome([item(Verdict.CREATE, "it is not there")] * 100))
    assert len(text.splitlines()) == 2 and "100 objects" in text


def test_objects_are_called_what_people_call_them() -> None:
    """Groups that every Kubernetes has are left out, except where kubeflow_conflicts asks for the full name."""
    text = present.plan_text(outcome([item(Verdict.DRIFT, ref=CRD), item(Verdict.CONFLICT, ref=CRD, component="common")]))
    assert "      CustomResourceDefinition experiments.kubeflow.org" in text.splitlines()
    assert "      CustomResourceDefinition.apiextensions.k8s.io experiments.kubeflow.org" in text.splitlines()
    assert present.short(ObjectRef("networking.istio.io", "Gateway", "n", "x")) == "Gateway.networking.istio.io n/x"


def test_a_status_fits_a_terminal_and_names_the_first_cause() -> None:
    """Pods explain what Deployments only report; the rest follows from it."""
    found = outcome(findings=(finding("late", "0 of 1 replicas ready"), finding("first", "0 of 1 ready", pod=POD)))
    document = present.status_json(found)
    text = present.status_text(document)
    assert too_wide(text) == []
    assert text.splitlines()[0] == "NOT healthy"
    cause = document["components"]["katib"]["first_cause"]
    assert "kubeflow/first" in cause and "ImagePullBackOff" in cause and "registry.site:5000" in cause
    assert document["components"]["common"]["state"] == "healthy"


def done(state: str, written: int, blocked_by: str = "", error: Any = None) -> ComponentOutcome:
    """What became of a component."""
    return ComponentOutcome("katib", state, written, 3, 1.5, (), error, blocked_by)


STATES: List[Tuple[Dict[str, Any], str, str]] = [
    ({}, "healthy", ""),
    ({"findings": (finding("x", "0 of 1"),)}, "progressing", "0 of 1"),
    ({"findings": (finding("x", "0 of 1", final=True),)}, "broken", "0 of 1"),
    ({"errors": (BROKEN,)}, "broken", "cannot pull"),
    ({"absent": ("katib",)}, "absent", "not there"),
    ({"absent": ("katib",), "components": {"katib": done("failed", 2)}}, "incomplete", "not there"),
    ({"absent": ("katib",), "components": {"katib": done("blocked", 0, "istio")}}, "absent", "because istio failed"),
]


@pytest.mark.parametrize(("told", "state", "cause"), STATES)
def test_the_state_of_a_component(told: Dict[str, Any], state: str, cause: str) -> None:
    """Each state, its cause and a next step for all that are not well."""
    document = present.status_json(outcome([item(Verdict.CREATE)], **told))
    found = document["components"]["katib"]
    assert found["state"] == state and cause in found["first_cause"]
    assert bool(found["next_step"]) is (state != "healthy")
    assert document["healthy"] is (state == "healthy")


def test_without_a_plan_there_is_nothing_to_show_and_nothing_breaks() -> None:
    """A run that was refused before it had a plan still leaves whole documents."""
    empty = Outcome(Request("factory-1"))
    assert present.plan_text(empty) == "" and present.diffs(empty) == []
    assert present.plan_json(empty)["objects"] == []
    assert present.status_json(empty)["components"] == {}


def test_diffs_show_fields_and_no_unchanged_object() -> None:
    """What --diff prints: one entry for each object that a run would write."""
    items = [
        item(Verdict.CREATE),
        item(Verdict.UPDATE, changes=(CHANGE,)),
        item(Verdict.RESTART, "it reads ConfigMap x"),
        item(Verdict.UNCHANGED),
        item(Verdict.CONFLICT),
    ]
    created, updated, restarted = present.diffs(outcome(items))
    assert created["prepared"].startswith("+ Deployment.apps") and restarted["prepared"].startswith("~ ")
    assert updated["before"] == "%s: %s\n" % CHANGE[:2] and updated["after"] == "%s: %s\n" % CHANGE[::2]


# ------------------------------------------------------------------ what programs read


@cache
def schema(name: str) -> Any:
    """One of the documented schemas."""
    found = json.loads((SCHEMAS / (name + ".json")).read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(found)


BODIES = {"plan": present.plan_json, "status": present.status_json, "site": present.site_json}
OUTCOMES = {
    "refused": Outcome(Request("factory-1"), errors=(BROKEN,)),
    "every verdict": outcome([*EVERY_VERDICT, item(Verdict.CONFLICT, contested=(("kubectl", ".spec.replicas"),))]),
    "failed": outcome(
        [item(Verdict.CREATE)],
        errors=(BROKEN,),
        absent=("katib",),
        components={"katib": done("failed", 2, error=BROKEN)},
        findings=(finding("x", "0 of 1", pod=POD),),
        judged={"katib": 1},
    ),
    "leftovers": Outcome(Request("factory-1"), plan=Plan((), (("katib", ref()),))),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("case", OUTCOMES)
def test_results_keep_their_documented_shape(name: str, case: str, tmp_path: Path) -> None:
    """Other programs read these files; a field that changes its meaning changes the schema's number."""
    head = {"cluster": "factory-1", "version": "newest", **({} if name == "plan" else {"check": False})}
    results = Results(str(tmp_path), name, "run1", head)
    results.start()
    schema(name).validate(json.loads(Path(results.path).read_text(encoding="utf-8")))
    results.finish("failed", {"release": "26.03", **BODIES[name](OUTCOMES[case])})
    document = json.loads(Path(results.path).read_text(encoding="utf-8"))
    schema(name).validate(document)
    for key in document:
        assert key in schema(name).schema["properties"], key


@pytest.mark.parametrize("name", BODIES)
def test_a_schema_explains_every_field(name: str) -> None:
    """docs/results.md points at them for the details."""

    def unexplained(part: Any, where: str) -> List[str]:
        found = []
        for key, below in part.get("properties", {}).items():
            if "description" not in below and "$ref" not in below:
                found.append("%s.%s" % (where, key))
            found += unexplained(below, "%s.%s" % (where, key))
        for key in ("items", "additionalProperties"):
            if isinstance(part.get(key), dict):
                found += unexplained(part[key], where + "[]")
        return found

    document = schema(name).schema
    jsonschema.Draft202012Validator.check_schema(document)
    assert unexplained(document, name) == []
    for definition, part in document.get("$defs", {}).items():
        assert unexplained(part, definition) == []
