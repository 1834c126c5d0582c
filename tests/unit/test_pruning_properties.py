# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever there is, no plan deletes what it must not: the properties that may never break."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Mapping, Sequence, Tuple

from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import ObjectMatch, Row
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, KubeObject, ObjectRef, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Policy
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.pruning import allowed, gone, removals
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ComponentRecord, Entry, Record
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.usage import Usage
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import Removal

from .generated import examples
from .pruning_support import PRECIOUS, definition, obj, webhook, workload

KINDS = (
    "ConfigMap", "Secret", "Service", "ServiceAccount", "Deployment", "StatefulSet", "Thing", "PersistentVolumeClaim", "PersistentVolume",
    "Namespace", "Profile", "StorageClass", "CustomResourceDefinition", "ValidatingWebhookConfiguration",
)  # fmt: skip
# What hangs together meets more often than by chance.
THEMES = (
    KINDS,
    ("CustomResourceDefinition", "Thing"),
    ("ValidatingWebhookConfiguration", "Service", "Deployment"),
    ("PersistentVolumeClaim", "Deployment", "StatefulSet", "ConfigMap"),
)
FEW = ("a", "b")
SPACES = ("kubeflow", "kubeflow", "team-a")


# What is the matter with an object, and what its metadata says then; with most there is nothing the matter.
FATES: Mapping[str, Dict[str, Any]] = {
    "ours": {},
    "ours as well": {},
    "also ours": {},
    "ours, too": {},
    "no less ours": {},
    "bare": {"labels": {}},
    "labelled by others": {"labels": {COMPONENT_LABEL: "somebody-elses"}},
    "annotated": {"annotations": {"mlplatform.kubeflow/keep": "true"}},
    "annotated by Helm": {"annotations": {"helm.sh/resource-policy": "keep"}},
    "owned": {"ownerReferences": [{"kind": "Deployment", "name": "x"}]},
    "going": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
    "made anew": {},
    "only announced": {},
    "not recorded": {},
    "wanted": {},
    "gone": {},
}


class World:
    """A record, a cluster and what is wanted, drawn at random; small enough for its objects to hang together."""

    def __init__(self, draw: Any) -> None:
        kinds = draw(st.sampled_from(THEMES))
        places = st.tuples(st.sampled_from(kinds), st.sampled_from(SPACES), st.sampled_from(FEW), st.sampled_from(list(FATES)))
        self.live: Dict[ObjectRef, KubeObject] = {}
        entries: Dict[ObjectRef, Entry] = {}
        wanted: List[ObjectRef] = []
        for kind, namespace, name, fate in draw(st.lists(places, min_size=1, max_size=8)):
            one = self._object(draw, kind, namespace, name, FATES[fate])
            ref, uid = ref_of(one), one["metadata"]["uid"]
            self.live[ref] = one
            entries[ref] = Entry(one["apiVersion"], {"made anew": "another", "only announced": ""}.get(fate, uid), "d", "l")
            if fate == "not recorded":
                del entries[ref]
            elif fate == "wanted":
                wanted.append(ref)
            elif fate == "gone":
                del self.live[ref]
        self.record = Record({"c": ComponentRecord("kubeflow", "1", True, entries)}, b"k", "1")
        self.wanted: FrozenSet[ObjectRef] = frozenset(wanted)
        everything = sorted({*self.live, *entries})
        named = draw(st.lists(st.sampled_from(everything), max_size=2)) if everything else []
        policies = st.sampled_from(["safe", "safe", "all", "report"])
        self.policy = Policy(prune=draw(policies), prune_named=tuple(str(ref) for ref in named))
        self.rows = (Row(ObjectMatch("", "ConfigMap", "", "b"), "it is read"),) if draw(st.booleans()) else ()
        self.usage = self._usage(draw)

    @staticmethod
    def _object(draw: Any, kind: str, namespace: str, name: str, metadata: Mapping[str, Any]) -> KubeObject:
        fields: Dict[str, Any] = {}
        if kind in ("Deployment", "StatefulSet"):
            claims = draw(st.lists(st.sampled_from(FEW), max_size=1))
            fields["spec"] = workload(name, *claims, labels={"app": draw(st.sampled_from(FEW))})["spec"]
        elif kind == "Service":
            fields["spec"] = {"selector": {"app": draw(st.sampled_from(FEW))}}
        elif kind == "ValidatingWebhookConfiguration":
            hook = webhook(name, draw(st.sampled_from(FEW)), draw(st.sampled_from([None, "Fail", "Ignore"])))
            fields["webhooks"] = hook["webhooks"]
        elif kind == "CustomResourceDefinition":
            fields["spec"] = definition()["spec"]
        return obj(kind, name, namespace, metadata=dict(metadata), **fields)

    def _usage(self, draw: Any) -> Usage:
        things = [ref for ref in self.live if ref.kind == "Thing"] + [ObjectRef("example.org", "Thing", "team-a", "users")]
        counted = {
            ref: tuple(draw(st.lists(st.sampled_from(things), max_size=2, unique=True)))
            for ref in self.live
            if ref.kind == "CustomResourceDefinition" and draw(st.integers(0, 3))
        }
        return Usage(draw(st.booleans()), counted, tenants=frozenset(draw(st.sampled_from([(), ("team-a",)]))))

    def removals(self) -> Tuple[Removal, ...]:
        """What is said of this world."""
        return removals(self.record, self.wanted, self.live, self.usage, self.rows, self.policy)


@st.composite
def worlds(draw: Any) -> World:
    """Any world."""
    return World(draw)


def claims_of(one: KubeObject) -> List[ObjectRef]:
    """What a workload mounts, read once more without the engine."""
    volumes = one.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", [])
    return [
        ObjectRef("", "PersistentVolumeClaim", one["metadata"]["namespace"], item["persistentVolumeClaim"]["claimName"]) for item in volumes
    ]


def nothing_is_deleted_that_is_not_the_object_that_we_wrote(world: World, going: Sequence[Removal]) -> None:
    """Whatever is named: recorded by us, the same uid, wanted no more, nobody's, not going already."""
    assert not going or world.policy.prune != "report"
    for one in going:
        metadata = world.live[one.ref]["metadata"]
        assert one.ref not in world.wanted
        assert one.uid and one.uid == metadata["uid"] == world.record.components["c"].entries[one.ref].uid
        assert "ownerReferences" not in metadata and "deletionTimestamp" not in metadata


def nothing_protected_is_deleted_that_was_not_named(world: World, going: Sequence[Removal]) -> None:
    """Data, what data hangs on, what tenants have, what somebody wants kept."""
    deleted = {one.ref for one in going}
    for one in going:
        if str(one.ref) in world.policy.prune_named:
            continue
        live = world.live[one.ref]
        assert one.ref.kind not in PRECIOUS
        assert one.ref.namespace not in world.usage.tenants
        assert "annotations" not in live["metadata"]
        assert not any(row.match.matches(one.ref) for row in world.rows)
        assert live["metadata"]["labels"].get(COMPONENT_LABEL) == "c" or world.policy.prune == "all"
        if one.ref.kind == "CustomResourceDefinition":
            assert set(world.usage.instances[one.ref]) <= deleted
        assert set(claims_of(live)) <= deleted


def no_webhook_that_stays_loses_its_back_end(world: World, going: Sequence[Removal]) -> None:
    """A fail-closed configuration of ours whose Service goes has to go itself; the user may still name the Service."""
    deleted = {one.ref for one in going}
    recorded = world.record.components["c"].entries
    for ref, live in world.live.items():
        if ref.kind != "ValidatingWebhookConfiguration" or ref not in recorded or ref in world.wanted or ref in deleted:
            continue
        for hook in live["webhooks"]:
            service = ObjectRef("", "Service", "kubeflow", hook["clientConfig"]["service"]["name"])
            if hook.get("failurePolicy") != "Ignore" and str(service) not in world.policy.prune_named:
                assert service not in deleted


def every_leftover_has_one_line_or_is_gone(world: World, found: Sequence[Removal]) -> None:
    """Nothing is lost between the plan and the record."""
    recorded = world.record.components["c"].entries
    missing = gone(world.record, world.wanted, world.live).get("c", ())
    assert sorted([*(one.ref for one in found), *missing]) == sorted(ref for ref in recorded if ref not in world.wanted)
    assert all(one.reason for one in found)


@settings(max_examples=examples(100), derandomize=True, deadline=None, database=None)
@given(worlds())
def test_whatever_there_is_no_plan_deletes_what_it_must_not(world: World) -> None:
    """Whatever is in the record, in the cluster and in the render."""
    found = world.removals()
    going = allowed(found, world.policy)
    nothing_is_deleted_that_is_not_the_object_that_we_wrote(world, going)
    nothing_protected_is_deleted_that_was_not_named(world, going)
    no_webhook_that_stays_loses_its_back_end(world, going)
    every_leftover_has_one_line_or_is_gone(world, found)
