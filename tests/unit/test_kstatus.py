# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our kstatus is upstream's kstatus: its own cases, and the properties that follow from its rules."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.kstatus import (
    RULES,
    State,
    Verdict,
    conditions_of,
    kind_group,
    kstatus,
)

from .generated import examples

NOW = datetime(2026, 1, 1, 0, 0, 5, tzinfo=timezone.utc)
CASES: List[Dict[str, Any]] = yaml.load((Path(__file__).parent / "data" / "kstatus_cases.yml").read_text(), yaml.CSafeLoader)


def test_every_case_of_upstream_is_here() -> None:
    """A case that is lost in an edit of the table would be lost silently."""
    assert len(CASES) == len({case["case"] for case in CASES}) == 55


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_kstatus_agrees_with_upstream(case: Dict[str, Any]) -> None:
    """State and reason are upstream's; people get a sentence in every case."""
    verdict = kstatus(case["object"], NOW)
    assert verdict.state.value == case["state"]
    assert verdict.reason == case.get("reason", verdict.reason)
    assert verdict.message and not verdict.message.endswith(".")


# --- properties ----------------------------------------------------------------------------------------------------

KINDS = sorted(RULES) + ["Widget.example.org"]
KNOWN_CONDITIONS = (
    "Reconciling",
    "Stalled",
    "Ready",
    "Progressing",
    "Available",
    "ReplicaFailure",
    "PodScheduled",
    "Complete",
    "Failed",
    "Suspended",
    "NamesAccepted",
    "Established",
)
# Within these the first one in the list wins, so their order is kept.
ORDER_MATTERS = ({"Reconciling", "Stalled"}, {"NamesAccepted", "Established"}, {"Complete", "Failed", "Suspended"})
COUNTS = (
    "replicas",
    "readyReplicas",
    "updatedReplicas",
    "availableReplicas",
    "currentReplicas",
    "fullyLabeledReplicas",
    "desiredNumberScheduled",
    "currentNumberScheduled",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberReady",
)

# The same examples in every run, and no time limit each: the machine may be busy. A run with 1500 each was clean.
quickly = settings(max_examples=examples(20), derandomize=True, deadline=None, database=None)

counts = st.integers(min_value=0, max_value=3)
conditions = st.fixed_dictionaries(
    {
        "type": st.sampled_from(KNOWN_CONDITIONS),
        "status": st.sampled_from(["True", "False", "Unknown"]),
        "reason": st.sampled_from(["", "Installing", "NewReplicaSetAvailable", "ProgressDeadlineExceeded", "Unschedulable"]),
    }
)


@st.composite
def objects(draw: st.DrawFn, kinds: List[str] = KINDS) -> Dict[str, Any]:
    """An object of a kind with a rule (or of one without), its fields drawn from what rules look at."""
    kind, _dot, group = draw(st.sampled_from(kinds)).partition(".")
    status: Dict[str, Any] = draw(st.dictionaries(st.sampled_from(COUNTS), counts))
    status.update(
        draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "observedGeneration": st.integers(min_value=1, max_value=2),
                    "phase": st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Bound"]),
                    "startTime": st.just("2026-01-01T00:00:00Z"),
                    "conditions": st.lists(conditions, max_size=4, unique_by=lambda one: one["type"]),
                },
            )
        )
    )
    return {
        "apiVersion": "%s/v1" % group if group else "v1",
        "kind": kind,
        "metadata": {"name": "x", "generation": 1},
        "spec": draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "replicas": counts,
                    "suspend": st.booleans(),
                    "progressDeadlineSeconds": st.just(600),
                    "updateStrategy": st.sampled_from([{"type": "OnDelete"}, {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}]),
                },
            )
        ),
        "status": status,
    }


def same(first: Dict[str, Any], second: Dict[str, Any]) -> bool:
    return kstatus(first, NOW) == kstatus(second, NOW)


@quickly
@given(objects(), st.randoms(use_true_random=False))
def test_order_of_conditions_matters_only_where_the_first_one_wins(obj: Dict[str, Any], random: Any) -> None:
    """Controllers list their conditions in any order."""
    shuffled = copy.deepcopy(obj)
    listed = shuffled["status"].get("conditions", [])
    random.shuffle(listed)
    original = [one["type"] for one in obj["status"].get("conditions", [])]
    for group in ORDER_MATTERS:
        places = [place for place, one in enumerate(listed) if one["type"] in group]
        in_order = sorted((listed[place] for place in places), key=lambda one: original.index(one["type"]))
        for place, one in zip(places, in_order):
            listed[place] = one
    assert same(obj, shuffled)


@quickly
@given(objects(), st.integers(min_value=0, max_value=4), st.sampled_from(["True", "False", "Unknown"]))
def test_conditions_that_nobody_knows_change_nothing(obj: Dict[str, Any], place: int, status: str) -> None:
    """A new condition in a new Kubernetes version must not turn a site red."""
    more = copy.deepcopy(obj)
    more["status"].setdefault("conditions", []).insert(place, {"type": "Sparkling", "status": status, "reason": "New"})
    assert same(obj, more)


@quickly
@given(objects())
def test_deletion_dominates(obj: Dict[str, Any]) -> None:
    """What is being deleted is never well, however ready it looks."""
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert kstatus(obj, NOW).state is State.TERMINATING


@quickly
@given(objects(), st.sampled_from(["v1", "v2", "v1alpha1", "v2beta2"]))
def test_the_version_does_not_matter(obj: Dict[str, Any], version: str) -> None:
    """A rule belongs to a group and kind; clusters serve them in different versions."""
    group = obj["apiVersion"].rpartition("/")[0]
    if group:
        assert same(obj, {**obj, "apiVersion": "%s/%s" % (group, version)})


@quickly
@given(objects([kind for kind in KINDS if kind.split(".")[0] in ("Deployment", "ReplicaSet", "StatefulSet")]), st.data())
def test_more_ready_replicas_never_make_it_worse(obj: Dict[str, Any], data: st.DataObject) -> None:
    """Raising ready, available and updated towards what is wanted keeps Current."""
    better = copy.deepcopy(obj)
    wanted = obj["spec"].get("replicas", 1)
    for name in data.draw(st.sets(st.sampled_from(["readyReplicas", "updatedReplicas", "availableReplicas"]))):
        better["status"][name] = max(wanted, better["status"].get(name, 0))
    if kstatus(obj, NOW).state is State.CURRENT:
        assert kstatus(better, NOW).state is State.CURRENT


@quickly
@given(objects(), st.sampled_from(["3", 3.0, True, None, [3], {"three": 3}]))
def test_a_count_of_another_type_counts_as_absent(obj: Dict[str, Any], confused: object) -> None:
    """A number that is a text is no number."""
    without = copy.deepcopy(obj)
    for name in COUNTS:
        if name in obj["status"]:
            obj["status"][name] = confused
            del without["status"][name]
    assert same(obj, without)


@quickly
@given(objects())
def test_null_conditions_are_no_conditions(obj: Dict[str, Any]) -> None:
    """A fresh CustomResourceDefinition is served with ``conditions: null``."""
    without = copy.deepcopy(obj)
    without["status"].pop("conditions", None)
    obj["status"]["conditions"] = None
    assert same(obj, without)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "True", "Running", "Ready", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["status", "spec", "metadata", "conditions", "type", "state", "name"]), inner)
    ),
    max_leaves=8,
)


@quickly
@given(st.sampled_from(KINDS), json_values, json_values, json_values)
def test_no_object_breaks_it(kind: str, metadata: object, spec: object, status: object) -> None:
    """Whatever an API server sends, there is a verdict; what cannot be read is Unknown."""
    name, _dot, group = kind.partition(".")
    obj = {"apiVersion": "%s/v1" % group, "kind": name, "metadata": metadata, "spec": spec, "status": status}
    assert isinstance(kstatus(obj, NOW), Verdict)


# --- single rules --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        {"status": "ready"},
        {"status": {"conditions": "Ready"}},
        {"status": {"conditions": ["Ready"]}},
        {"status": {"conditions": [{"type": "Ready", "status": True}]}},
        {"status": {"observedGeneration": "1"}},
        {"metadata": {"generation": "1"}},
        {"metadata": {"generation": 1, "deletionTimestamp": 5}},
        {"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Dreaming"}},
    ],
)
def test_what_cannot_be_read_is_unknown(broken: Dict[str, Any]) -> None:
    """kstatus returns an error for these; a verdict of Current would be a lie."""
    base = {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"generation": 1}, "status": {}}
    verdict = kstatus({**base, **broken}, NOW)
    assert (verdict.state, verdict.reason) == (State.UNKNOWN, "Malformed")


@pytest.mark.parametrize(
    "first, second, state",
    [
        (("Reconciling", "True"), ("Stalled", "True"), State.IN_PROGRESS),
        (("Stalled", "True"), ("Reconciling", "True"), State.FAILED),
        (("Stalled", "False"), ("Ready", "True"), State.CURRENT),
    ],
)
def test_the_first_of_reconciling_and_stalled_wins(first: Any, second: Any, state: State) -> None:
    """As upstream: list order, before any rule for the kind."""
    listed = [{"type": name, "status": status, "reason": "Why"} for name, status in (first, second)]
    assert kstatus({"apiVersion": "example.org/v1", "kind": "Widget", "status": {"conditions": listed}}, NOW).state is state


@pytest.mark.parametrize("age, state", [(14, State.IN_PROGRESS), (15, State.FAILED), (16, State.FAILED)])
def test_a_pod_has_fifteen_seconds_to_find_a_node(age: int, state: State) -> None:
    """The window is upstream's ScheduleWindow, open at its end."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"creationTimestamp": (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")},
        "status": {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
        },
    }
    assert kstatus(pod, NOW).state is state


PARTITION = {"updateStrategy": {"rollingUpdate": {"partition": 3}}}
EDGES: List[Tuple[str, Dict[str, Any], Dict[str, Any], str]] = [
    ("Widget.example.org", {}, {"observedGeneration": 2}, "LatestGenerationNotObserved"),
    ("Deployment.apps", {}, {"replicas": 1, "updatedReplicas": 2, "availableReplicas": 1, "readyReplicas": 1}, "LessAvailable"),
    ("StatefulSet.apps", {"replicas": 4, **PARTITION}, {"replicas": 4, "readyReplicas": 4, "updatedReplicas": 1}, ""),
    ("StatefulSet.apps", {"replicas": 4, **PARTITION}, {"replicas": 4, "readyReplicas": 4}, "PartitionRollout"),
    ("StatefulSet.apps", {}, {"replicas": 1, "readyReplicas": 1, "currentReplicas": 1, "updateRevision": "b"}, "RevisionMismatch"),
    ("DaemonSet.apps", {}, {"observedGeneration": 1, "desiredNumberScheduled": 0}, ""),
    ("Job.batch", {}, {"conditions": [{"type": "Suspended", "status": "True"}]}, "JobNotStarted"),
    ("Pod", {}, {"phase": "Pending"}, "PodPending"),
]


@pytest.mark.parametrize("kind_and_group, spec, status, reason", EDGES)
def test_edges_that_upstreams_cases_leave_out(kind_and_group: str, spec: Any, status: Any, reason: str) -> None:
    """Rules of core.go that no case of the table decides."""
    kind, _dot, group = kind_and_group.partition(".")
    obj = {"apiVersion": "%s/v1" % group if group else "v1", "kind": kind, "metadata": {"generation": 1}, "spec": spec, "status": status}
    assert kstatus(obj, NOW).reason == reason


def test_messages_count_for_people() -> None:
    """A waiting line says how far it is."""
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"replicas": 3},
        "status": {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 2},
    }
    assert kstatus(deployment, NOW).message == "2 of 3 replicas ready"


def test_reading_helpers() -> None:
    """Identity of a kind and of a condition as the other modules use them."""
    assert kind_group({"apiVersion": "apps/v1", "kind": "Deployment"}) == "Deployment.apps"
    assert kind_group({"apiVersion": "v1", "kind": "Pod"}) == "Pod"
    (condition,) = conditions_of({"status": {"conditions": [{"type": "Ready", "observedGeneration": 4}]}})
    assert (condition.type, condition.status, condition.observed_generation) == ("Ready", "", 4)
