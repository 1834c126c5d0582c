# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A live plan whose release changes: what is made anew, and how what is left over is read."""

from __future__ import annotations

import copy
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Discovery, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Hop, ObjectMatch, Row
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.hop_plan import (
    of_release,
    read_leftovers,
    replacements,
    widen,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, KubeObject, ObjectRef, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Item, Plan, Policy, Wanted
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ComponentRecord, Entry, Record
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.snapshot import Snapshot
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import Verdict

CONFIG = Resource("v1", "ConfigMap", "configmaps", True)
BINDING = Resource("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", False)
CLAIM = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims", True)
SERVED = Discovery([CONFIG, BINDING, CLAIM])
NAME = "ClusterRoleBinding.rbac.authorization.k8s.io b"
ROW = Row(ObjectMatch("", "ClusterRoleBinding", "", "b"), "its role changes")


def binding(role: str, uid: str = "u1") -> KubeObject:
    """A ClusterRoleBinding."""
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    return {"apiVersion": BINDING.group_version, "kind": "ClusterRoleBinding", "metadata": {"name": "b", "uid": uid}, "roleRef": reference}


def claim(size: str, uid: str = "u1") -> KubeObject:
    """A claim."""
    spec = {"resources": {"requests": {"storage": size}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "n", "uid": uid}, "spec": spec}


def config(name: str, **metadata: Any) -> KubeObject:
    """A ConfigMap of ours."""
    head = {"name": name, "namespace": "n", "uid": "u-" + name, "labels": {COMPONENT_LABEL: "c"}, **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": head}


def item(live: Optional[KubeObject], want: KubeObject, resource: Resource, verdict: Verdict = Verdict.UPDATE) -> Item:
    """A line of a plan."""
    return Item(ref_of(want), Wanted("c", want, resource), verdict, "", live)


def record_of(*objects: KubeObject, component: str = "c", catalogue: str = "kubeflow") -> Record:
    """That we wrote these."""
    entries = {ref_of(one): Entry(one["apiVersion"], one["metadata"]["uid"], "d", "l") for one in objects}
    return Record({component: ComponentRecord(catalogue, "1", True, entries)}, b"k", "1")


@pytest.mark.parametrize("verdict", [Verdict.UPDATE, Verdict.DRIFT])
def test_a_field_that_cannot_be_changed_makes_a_replacement(verdict: Verdict) -> None:
    """With the field and both values, allowed as release data says so."""
    live, want = binding("cluster-admin"), binding("less")
    (one,) = replacements([item(live, want, BINDING, verdict)], record_of(live), [ROW], Policy())
    assert (one.verdict, one.reason) == (Verdict.REPLACE, "roleRef cannot be changed: cluster-admin -> less")
    assert one.allowed and one.changes == (("roleRef.name", "cluster-admin", "less"),)
    assert Plan((one,)).writes and not Plan((one,)).stops


def test_what_nobody_names_stops_the_plan() -> None:
    """Before the first write, not in the middle."""
    live, want = binding("cluster-admin"), binding("less")
    (one,) = replacements([item(live, want, BINDING)], record_of(live), [], Policy())
    assert not one.allowed and Plan((one,)).stops == (one,)
    (named,) = replacements([item(live, want, BINDING)], record_of(live), [], Policy(replace=(NAME,)))
    assert named.allowed


@pytest.mark.parametrize("record", [record_of(binding("x", "another")), Record(hash_key=b"k")], ids=["another object", "not recorded"])
def test_release_data_does_not_replace_what_we_did_not_write(record: Record) -> None:
    """Somebody's object of the same name is deleted only if its owner says so."""
    live, want = binding("cluster-admin"), binding("less")
    (one,) = replacements([item(live, want, BINDING, Verdict.ADOPT)], record, [ROW], Policy())
    assert not one.allowed and "not the object that we wrote" in one.reason


def test_release_data_does_not_replace_data() -> None:
    """A claim made anew is an empty volume: only the user may say so."""
    live, want = claim("10Gi"), claim("1Gi")
    row = Row(ObjectMatch("", "PersistentVolumeClaim", "", ""), "smaller")
    (one,) = replacements([item(live, want, CLAIM)], record_of(live), [row], Policy())
    assert not one.allowed and "data on it would be deleted" in one.reason


@pytest.mark.parametrize("verdict", [Verdict.UNCHANGED, Verdict.REFUSED, Verdict.ADOPT_REFUSED, Verdict.CREATE])
def test_what_is_not_written_over_is_left_alone(verdict: Verdict) -> None:
    """Other verdicts say all that there is to say."""
    line = item(binding("a"), binding("b"), BINDING, verdict)
    assert replacements([line], record_of(binding("a")), [ROW], Policy()) == (line,)


def test_what_is_made_anew_is_not_restarted_besides() -> None:
    """Its pods are new anyway."""
    live, want = binding("a"), binding("b")
    lines = [item(live, want, BINDING), item(live, want, BINDING, Verdict.RESTART)]
    assert [one.verdict for one in replacements(lines, record_of(live), [ROW], Policy())] == [Verdict.REPLACE]


PAIRS = st.sampled_from([(binding("a"), binding("b"), BINDING), (claim("2Gi"), claim("1Gi"), CLAIM), (config("x"), config("x"), CONFIG)])
VERDICTS = st.sampled_from([Verdict.UPDATE, Verdict.DRIFT, Verdict.ADOPT, Verdict.UNCHANGED])
NAMES = st.lists(st.sampled_from([NAME, "PersistentVolumeClaim n/c", "ConfigMap n/x"]), max_size=2)
ROWS = st.lists(st.sampled_from([ROW, Row(ObjectMatch("", "PersistentVolumeClaim", "", ""), "y")]), max_size=2)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@given(PAIRS, VERDICTS, st.sampled_from(["u1", "u-x", "another", ""]), NAMES, ROWS, st.booleans())
def test_nothing_protected_is_replaced_that_was_not_named(
    pair: Tuple[KubeObject, KubeObject, Resource], verdict: Verdict, uid: str, named: List[str], rows: List[Row], recorded: bool
) -> None:
    """A replacement deletes first: the same rules as for any other deletion."""
    live, want, resource = pair
    owned = copy.deepcopy(live)
    owned["metadata"]["uid"] = uid
    record = record_of(owned) if recorded else Record(hash_key=b"k")
    (one,) = replacements([item(live, want, resource, verdict)], record, rows, Policy(replace=tuple(named)))
    if one.verdict is Verdict.REPLACE and one.allowed and str(one.ref) not in named:
        assert one.ref.kind != "PersistentVolumeClaim"
        assert recorded and uid == live["metadata"]["uid"]
        assert any(row.match.matches(one.ref) for row in rows)


# ------------------------------------------------------------------ reading


def listing(objects: List[KubeObject]) -> Callable[[Any], Any]:
    """A server that has these ConfigMaps and knows what a label selector is."""
    by_name = {one["metadata"]["name"]: one for one in objects}

    def answer(asked: Any) -> Tuple[int, Dict[str, Any]]:
        *_start, last = asked.path.split("/")
        if last == "configmaps":
            labelled = [one for one in objects if COMPONENT_LABEL in (one["metadata"].get("labels") or {})]
            return 200, {"metadata": {}, "items": copy.deepcopy(labelled if "labelSelector" in asked.query else objects)}
        if last in ("namespaces", "pods"):
            return 200, {"metadata": {}, "items": []}
        return (200, copy.deepcopy(by_name[last])) if last in by_name else (404, {"kind": "Status"})

    return answer


@pytest.mark.parametrize(("bare", "requests"), [(0, 1), (2, 3), (5, 2)])
def test_leftovers_are_read_with_one_list_per_kind(api: Api, scripted: Any, answer: Callable[..., Any], bare: int, requests: int) -> None:
    """What lost its label is looked for one by one while it is few, then by listing all."""
    objects = [config("c%d" % number, labels={} if number < bare else {COMPONENT_LABEL: "c"}) for number in range(8)]
    serve = listing(objects)
    scripted.answer = lambda asked: answer(*serve(asked))
    found = read_leftovers(api, record_of(*objects), {ref_of(objects[7])}, SERVED)
    assert sorted(ref.name for ref in found) == ["c%d" % number for number in range(7)]
    assert len(scripted.asked) == requests
    assert scripted.asked[0].query["labelSelector"] == "%s in (c)" % COMPONENT_LABEL


def test_what_an_add_on_wrote_is_not_part_of_a_hop() -> None:
    """It has a version of its own, and its own runs."""
    mine, theirs = config("mine"), config("theirs")
    record = Record({**record_of(mine).components, **record_of(theirs, component="metallb", catalogue="metallb").components}, b"k", "1")
    wanted = {ref_of(mine): Wanted("c", mine, CONFIG)}
    assert set(of_release(record, wanted).components) == {"c"}
    assert set(of_release(record, {}).components) == {"c", "metallb"}


def snapshot(objects: Mapping[ObjectRef, KubeObject]) -> Snapshot:
    """What was there."""
    return Snapshot(objects, SERVED, SERVED, {}, (), "", {})


def test_a_plan_is_widened(api: Api, scripted: Any, answer: Callable[..., Any]) -> None:
    """Leftovers become removals, with the hop's own rows; the rest of the plan stays."""
    stays, old, kept = config("stays"), config("old"), config("kept")
    serve = listing([stays, old, kept])
    scripted.answer = lambda asked: answer(*serve(asked))
    wanted = {ref_of(stays): Wanted("c", stays, CONFIG)}
    line = item(stays, stays, CONFIG, Verdict.UNCHANGED)
    plan = Plan((line,), (("c", ref_of(old)), ("c", ref_of(kept))))
    hop = Hop("one", "two", keep=(Row(ObjectMatch("", "ConfigMap", "", "kept"), "people read it"),))
    wide = widen(api, plan, record_of(stays, old, kept), snapshot({ref_of(stays): stays}), wanted, hop, Policy(prune="report"))
    assert [(one.ref.name, one.verdict) for one in wide.removals] == [("kept", Verdict.KEEP), ("old", Verdict.PRUNE_SAFE)]
    assert wide.items == (line,) and wide.leftovers == () and wide.notices == ()


def test_a_hop_that_would_empty_the_cluster_is_refused(api: Api, scripted: Any, answer: Callable[..., Any]) -> None:
    """Whatever the reason for the small desired set is."""
    objects = [config("c%d" % number) for number in range(5)]
    serve = listing(objects)
    scripted.answer = lambda asked: answer(*serve(asked))
    wanted = {ref_of(one): Wanted("c", one, CONFIG) for one in objects[:2]}
    with pytest.raises(EngineError, match="less than half"):
        widen(api, Plan(()), record_of(*objects), snapshot({}), wanted, None, Policy())
