# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a hop: what a person reads first, what programs get, and what a pipeline can refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import jsonschema
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils import _arguments
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import present
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Ack, Hop, OneWay
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.hop_report import FAIL_ON, HopPlan, refused
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.linting import Lint
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Item, Plan, Policy, Verdict, Wanted
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.present_plan import counts_text, hop_summary
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.results import Results
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Outcome, Request
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import Notice, Removal

SCHEMAS = Path(__file__).resolve().parents[2] / "plugins" / "plugin_utils" / "schemas"
SCHEMA = jsonschema.Draft202012Validator(json.loads((SCHEMAS / "plan.json").read_text(encoding="utf-8")))
THINGS = Resource("example.com/v1", "Thing", "things", True)
CRD = ObjectRef("apiextensions.k8s.io", "CustomResourceDefinition", "", "pytorchjobs.kubeflow.org")
CLAIM = ObjectRef("", "PersistentVolumeClaim", "kubeflow", "minio-pvc")
WORDS = "a reason that goes on for quite some time, as reasons do when somebody explains what is lost and what to do "


def ref(name: str, kind: str = "Deployment", group: str = "apps") -> ObjectRef:
    """A name."""
    return ObjectRef(group, kind, "kubeflow", name)


def item(verdict: Verdict, name: str, component: str = "pipelines", **rest: Any) -> Item:
    """An object that is wanted."""
    return Item(ref(name), Wanted(component, {}, THINGS), verdict, rest.pop("reason", "why"), **rest)


def removal(
    verdict: Verdict, of: ObjectRef, component: str = "training", reason: str = "the release has it no more", **rest: Any
) -> Removal:
    """An object that is wanted no more."""
    return Removal(of, component, THINGS, verdict, reason, **rest)


ITEMS = (
    item(Verdict.CREATE, "new"),
    item(Verdict.CREATE, "new-too", "training"),
    item(Verdict.UPDATE, "edited", changes=(("spec.replicas", "1", "2"),)),
    item(Verdict.RESTART, "edited"),
    item(Verdict.REPLACE, "anew", reason="roleRef cannot be changed", changes=(("roleRef.name", "a", "b"),)),
    item(Verdict.REPLACE, "stuck", reason="selector cannot be changed", allowed=False),
    item(Verdict.UNCHANGED, "same", "knative"),
)
REMOVALS = (
    removal(Verdict.PRUNE_DANGEROUS, CRD, reason="its custom resources would be deleted", counts={"team-a": 3, "team-b": 2}),
    removal(Verdict.PRUNE_DANGEROUS, CLAIM, "pipelines", "the data on it would be deleted", named=True),
    removal(Verdict.PRUNE_SAFE, ref("operator")),
    removal(Verdict.PRUNE_SAFE, ref("policy", "NetworkPolicy", "networking.k8s.io"), "common"),
    removal(Verdict.ORPHAN_WEBHOOK, ref("validator", "ValidatingWebhookConfiguration", "admissionregistration.k8s.io"), reason="no answer"),
    removal(Verdict.KEEP, ref("kept", "Secret", ""), reason="release data keeps it"),
)
MOVED = ObjectRef("apiextensions.k8s.io", "CustomResourceDefinition", "", "gateways.networking.istio.io")
NOTICES = (
    Notice(MOVED, "istio", Verdict.STORAGE_MOVE, "stored as v1 from now on", {"": 12}),
    Notice(ObjectRef("", "Secret", "", "artifact"), "", Verdict.REGENERATE, "its controller makes it anew", {"team-a": 1}),
    Notice(CRD, "serving", Verdict.SERVED_REMOVED, "v1alpha1 goes", {"team-c": 1}),
)
HOP = Hop(
    "v1.10.2",
    "v1.11.0",
    notes=(WORDS * 2,),
    acks=(
        Ack("ack-store", "pipelines", WORDS * 3, True),
        Ack("ack-jobs", "training", WORDS, False),
        Ack("ack-spark", "spark", WORDS, False),
    ),
    one_way=(OneWay("mysql-8.4", "pipelines", WORDS), OneWay("spark", "spark", WORDS)),
)
LINTS = (
    Lint("mixed-versions", "istio", "component istio", "two versions"),
    Lint("hashed-name", "notebooks", "component notebooks", "changes its name"),
)


def hop(**rest: Any) -> HopPlan:
    """A hop with everything in it that there can be."""
    told: Dict[str, Any] = {"hop": HOP, "components": frozenset(("pipelines", "training")), "given": ("ack-jobs",), "lints": LINTS}
    return HopPlan("v1.10.2", "v1.11.0", Plan(ITEMS, (), REMOVALS, NOTICES), **{**told, **rest})


def text(*hops: HopPlan, **rest: Any) -> str:
    """What people read."""
    return present.plan_text(Outcome(Request("factory-1")), hops=hops, **rest)


def too_wide(shown: str) -> List[str]:
    """The lines over 80 columns that could have been broken."""
    return [line for line in shown.splitlines() if len(line) > 80 and " " in line.strip()]


# ------------------------------------------------------------------ what people read


def test_a_hop_is_read_from_what_needs_a_person_to_what_only_changes() -> None:
    """The summary, what stops it, what could lose data, what has to be said; then what is replaced, removed, kept, told."""
    shown = text(hop())
    lines = shown.splitlines()
    assert lines[0] == "v1.10.2 -> v1.11.0: 6 objects, compared without a cluster"
    summary = "2 new, 1 changed, 1 restarted, 1 replaced, 1 unchanged, 4 removed, 1 left because removing them is dangerous, 1 kept, "
    assert " ".join(" ".join(lines[1:4]).split()).startswith(summary + "1 to decide, 1 acknowledgement missing")
    order = [
        "! pipelines         replace-needed",
        "! training          prune-dangerous",
        "! serving           served-version-removed-while-used",
        "! pipelines         needs your yes: ack-store",
        "! no way back over this hop: mysql-8.4 (pipelines)",
        "? istio             mixed-versions",
        "~ pipelines         replace-needed",
        "- pipelines         prune-dangerous",
        "- 2 components      prune-safe 2 objects",
        "= training          keep",
        "i istio             storage-version-move",
        "i tenants           regenerate",
        "  component",
        "  nothing changes in knative",
        "  note: ",
    ]
    places = {head: next((at for at, line in enumerate(lines) if line.startswith(head)), -1) for head in order}
    assert [head for head, at in places.items() if at < 0] == []
    assert list(places.values()) == sorted(places.values())
    assert too_wide(shown) == []


def test_what_is_at_stake_is_counted_per_namespace() -> None:
    """Whose work it is decides whom to ask."""
    shown = text(hop())
    assert "pytorchjobs.kubeflow.org: 5" in shown and "3 in team-a, 2 in team-b" in " ".join(shown.split())
    assert "gateways.networking.istio.io: 12" in shown


def test_what_is_given_or_not_installed_is_not_asked_for() -> None:
    """An acknowledgement is about a component that the cluster has."""
    shown = text(hop())
    assert "ack-jobs" not in shown and "ack-spark" not in shown and "spark" not in shown
    assert [ack.name for ack in hop().needed] == ["ack-store", "ack-jobs"] and [ack.name for ack in hop().missing] == ["ack-store"]
    assert hop(hop=None).needed == () and hop(hop=None).one_way == ()


def test_the_names_of_what_a_person_may_have_to_name_are_full() -> None:
    """kubeflow_prune_named and kubeflow_replace take full names."""
    shown = " ".join(text(hop()).split())
    for name in (str(CRD), str(CLAIM), str(ref("anew")), str(ref("stuck"))):
        assert name in shown
    assert "Deployment kubeflow/operator" in shown  # nobody has to name this one


def test_notes_are_told_where_there_is_no_page_to_hold_them() -> None:
    """A note is long, and the page beside plan.json has it."""
    assert "note: a reason" in text(hop())
    shown = text(hop(), notes=False)
    assert "note: " not in shown and "1 note on this hop in plan.html" in shown


def test_a_way_of_several_hops_begins_with_all_of_them() -> None:
    """Three hops are looked at before the first is read."""
    first, last = hop(), HopPlan("v1.11.0", "26.03", Plan(ITEMS[:1]))
    shown = text(first, last)
    assert shown.startswith("v1.10.2 -> 26.03 in 2 hops\n  v1.10.2 -> v1.11.0: 2 new")
    assert "\n\nv1.11.0 -> 26.03: 1 object, compared without a cluster\n  1 new\n" in shown
    assert too_wide(shown) == []


def test_a_policy_that_removes_nothing_is_said_so() -> None:
    """With kubeflow_prune: report every removal is left."""
    assert "removed" not in hop_summary(hop(policy=Policy(prune="report")))
    assert "\n- " not in text(hop(policy=Policy(prune="report")))


COUNTS: List[Tuple[Dict[str, int], str]] = [
    ({}, ""),
    ({"": 7}, "7"),
    ({"a": 1}, "1 (1 in a)"),
    ({"a": 1, "b": 3}, "4 (3 in b, 1 in a)"),
    ({name: 1 for name in "abcdefg"}, "7 (1 in a, 1 in b, 1 in c, 1 in d, 3 in 3 more namespaces)"),
]


@pytest.mark.parametrize(("counts", "shown"), COUNTS)
def test_counts_are_short(counts: Dict[str, int], shown: str) -> None:
    """A thousand tenants fit a line."""
    assert counts_text(counts) == shown


# ------------------------------------------------------------------ what programs read

CASES: Dict[str, Sequence[HopPlan]] = {
    "one hop": (hop(),),
    "two hops": (hop(live=True), HopPlan("v1.11.0", "26.03", Plan(ITEMS, (("katib", CLAIM),), REMOVALS, NOTICES), lints=LINTS)),
}


@pytest.mark.parametrize("case", CASES)
def test_plan_json_keeps_its_documented_shape(case: str, tmp_path: Path) -> None:
    """With hops too; every line says which hop it belongs to."""
    results = Results(str(tmp_path), "plan", "run1", {"cluster": "factory-1", "version": "newest", "offline": True})
    results.finish("ok", {"release": "26.03", **present.plan_json(Outcome(Request("factory-1")), CASES[case])})
    document = json.loads(Path(results.path).read_text(encoding="utf-8"))
    SCHEMA.validate(document)
    targets = [one.target for one in CASES[case]]
    assert [one["to"] for one in document["hops"]] == targets
    for name in ("objects", "removals", "notices", "lints"):
        assert {line["hop"] for line in document[name]} == set(targets)
    assert document["counts"]["create"] == sum(one["counts"]["create"] for one in document["hops"])


def test_plan_json_says_what_goes() -> None:
    """By verdict and by what the user allows."""
    (document,) = [present.plan_json(Outcome(Request("factory-1")), (hop(),))]
    goes = {line["object"]: line["goes"] for line in document["removals"]}
    assert goes == {str(one.ref): one.verdict is not Verdict.KEEP and (one.named or one.ref != CRD) for one in REMOVALS}
    acks = document["hops"][0]["acks"]
    assert [(ack["name"], ack["given"], ack["backup"]) for ack in acks] == [("ack-store", False, True), ("ack-jobs", True, False)]


# ------------------------------------------------------------------ what a pipeline can refuse

PLAN = hop().plan
REFUSALS: List[Tuple[Tuple[str, ...], Policy, List[ObjectRef]]] = [
    ((), Policy(), []),
    (("dangerous",), Policy(), [CRD]),
    (("replace",), Policy(), [ref("anew"), ref("stuck")]),
    (("replace",), Policy(replace=(str(ref("anew")),)), [ref("stuck")]),
    (("dangerous", "replace"), Policy(), [CRD, ref("anew"), ref("stuck")]),
]


@pytest.mark.parametrize(("fail_on", "policy", "named"), REFUSALS)
def test_what_a_pipeline_refuses_is_named(fail_on: Tuple[str, ...], policy: Policy, named: List[ObjectRef]) -> None:
    """Everything of it that no person decided on, and nothing else."""
    error = refused([PLAN], fail_on, policy)
    assert (error is not None) is bool(named)
    found = str(error) if error else ""
    assert {name for name in (CRD, CLAIM, ref("anew"), ref("stuck"), ref("operator")) if "%s (" % name in found} == set(named)


def test_a_plan_without_it_is_not_refused() -> None:
    """A pipeline goes on."""
    assert refused([Plan(ITEMS[:3], (), REMOVALS[1:])], FAIL_ON, Policy()) is None


def test_the_option_takes_what_can_be_refused() -> None:
    """The words are said in two places."""
    assert tuple(_arguments.LOOK["fail_on"]["choices"]) == FAIL_ON


def test_a_long_list_is_cut() -> None:
    """A pipeline's log needs a name or two; plan.json has all."""
    many = Plan((), (), tuple(removal(Verdict.PRUNE_DANGEROUS, ref("x%d" % number)) for number in range(50)))
    assert "and 42 more" in str(refused([many], ("dangerous",), Policy()))
