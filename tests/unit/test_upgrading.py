# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upgrades, as far as they can be told without a cluster: where one is, what is asked, what is forgotten."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Dict, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import request
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Discovery, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Ack, Catalogue, Hop, ObjectMatch, Row
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.ledger import Ledger
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Item, Verdict, Wanted
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import (
    Backup,
    ComponentRecord,
    Entry,
    Record,
    Upgrade,
    load,
    save,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.regenerating import look, notices
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.runs import PASSIVE, Run, Work
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.upgrading import (
    Upgrader,
    current_release,
    forget,
    missing_acks,
    not_acknowledged,
    stale,
)

from .conftest import Answer, Asked, Scripted

CONFIG = Resource("v1", "ConfigMap", "configmaps", True)
HOP = Hop(
    "v1",
    "v2",
    (),
    (Ack("ack-a", "pipelines", "the bucket is left behind", True), Ack("ack-b", "training", "jobs end", False)),
    (),
    (),
    (),
    (),
)


DAY = 86400.0
NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=timezone.utc)


def ref(name: str) -> ObjectRef:
    """A ConfigMap."""
    return ObjectRef("", "ConfigMap", "n", name)


def wanted(name: str, component: str) -> Wanted:
    """The same, wanted by a component."""
    return Wanted(component, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}}, CONFIG)


def record(**components: List[str]) -> Record:
    """Components with the objects that they recorded."""
    entry = Entry("v1", "u", "d", "l")
    return Record(
        {name: ComponentRecord("kubeflow", "v1", True, {ref(one): entry for one in names}) for name, names in components.items()}, b"k", "1"
    )


def test_only_what_the_cluster_has_is_asked_about() -> None:
    """Who never installed pipelines loses no bucket."""
    assert [ack.name for ack in missing_acks(HOP, record(pipelines=[], training=[]), (), DAY)] == ["ack-a", "ack-b"]
    assert [ack.name for ack in missing_acks(HOP, record(training=[]), (), DAY)] == ["ack-b"]
    assert missing_acks(HOP, record(pipelines=[], training=[]), ("ack-a", "ack-b", "ack-of-another-hop"), DAY) == ()


def test_a_recorded_backup_answers_what_it_makes_good() -> None:
    """Of that component, and of the release that the hop starts from; jobs that end are in no backup."""
    known = record(pipelines=[], training=[])
    for component, release, left in (
        ("pipelines", "v1", ["ack-b"]),
        ("pipelines", "v0", ["ack-a", "ack-b"]),
        ("training", "v1", ["ack-a", "ack-b"]),
    ):
        backed_up = replace(known, backups={component: Backup(release, "2026-01-02T03:04:05Z", "/backups/1")})
        assert [ack.name for ack in missing_acks(HOP, backed_up, (), DAY, NOW)] == left


def test_what_is_asked_is_said_with_its_text() -> None:
    """A person has to know what they say yes to."""
    error = not_acknowledged(HOP, HOP.acks, record(pipelines=[], training=[]), DAY)
    assert "ack-a" in error.subject and "the bucket is left behind" in error.found and "kubeflow_acks" in error.next_step


@pytest.mark.parametrize(
    ("made", "max_age", "words"),
    [
        ("2026-01-01T12:00:01Z", DAY, ""),
        ("2026-01-01T12:00:00Z", DAY, "24.0 h old, and kubeflow_backup_max_age is 24 h"),
        ("2026-01-01T13:00:01+01:00", DAY, ""),
        ("2026-01-01T12:00:01", DAY, ""),  # UTC, as all times of the record
        ("2026-01-02T11:00:00Z", 1800.0, "1.0 h old, and kubeflow_backup_max_age is 0.5 h"),
        ("2026-01-02T12:04:00Z", DAY, ""),  # clocks differ
        ("2026-01-02T13:00:00Z", DAY, "dated in the future"),
        ("yesterday", DAY, "does not say when"),
        ("", DAY, "does not say when"),
        ("1999-01-01T00:00:00Z", 0.0, ""),
        ("yesterday", 0.0, ""),
    ],
)
def test_a_backup_counts_as_long_as_it_is_young(made: str, max_age: float, words: str) -> None:
    """An old one is not what was there yesterday; which one it is and why it does not count is said."""
    backup = Backup("v1", made, "/backups/1")
    why = stale(backup, max_age, NOW)
    assert (words in why) if words else why == ""
    known = replace(record(pipelines=[]), backups={"pipelines": backup})
    missing = missing_acks(HOP, known, (), max_age, NOW)
    assert [ack.name for ack in missing] == (["ack-a"] if words else [])
    error = not_acknowledged(HOP, HOP.acks, known, max_age, NOW)
    if words:
        assert words in error.found and "/backups/1" in error.found and "new backup" in error.next_step
    assert missing_acks(HOP, known, ("ack-a",), max_age, NOW) == ()


def test_of_a_backup_of_another_release_nobody_says_that_it_is_old() -> None:
    """It would not count if it were new."""
    known = replace(record(pipelines=[]), backups={"pipelines": Backup("v0", "1999-01-01T00:00:00Z", "/backups/1")})
    error = not_acknowledged(HOP, missing_acks(HOP, known, (), DAY, NOW), known, DAY, NOW)
    assert "/backups/1" not in error.found and "new backup" not in error.next_step


@pytest.mark.parametrize(("hours", "seconds"), [(None, DAY), (24.0, DAY), (0, 0.0), (0.5, 1800.0)])
def test_hours_become_seconds(hours: Any, seconds: float) -> None:
    """People think in hours; the engine in seconds, as everywhere."""
    assert request({"backup_max_age": hours} if hours is not None else {}, "c").backup_max_age == seconds


@pytest.mark.parametrize("hours", [-1.0, float("nan"), float("inf")])
def test_what_is_no_age_is_refused(hours: float) -> None:
    """Not taken for any age."""
    with pytest.raises(EngineError, match="no age"):
        request({"backup_max_age": hours}, "c")


def test_an_interrupted_hop_begins_where_it_began() -> None:
    """Components at both ends of it are in the record then."""
    catalogue = Catalogue.load()
    known = record(common=[], katib=[])
    between = known.with_component("katib", replace(known.components["katib"], version="v1.11.0"))
    between = between.with_component("common", replace(known.components["common"], version="v1.10.2"))
    assert current_release(between, catalogue) == "v1.10.2"
    assert current_release(replace(between, upgrade=Upgrade("v1.9.1", "v1.10.2", "now")), catalogue) == "v1.9.1"
    assert current_release(Record(), catalogue) == ""


def test_forgotten_is_what_is_neither_wanted_nor_left() -> None:
    """What stays because it holds data stays recorded, so that it can be removed by name later."""
    after = forget(
        record(one=["mine", "moved", "kept", "gone"], two=["moved"]),
        {ref("mine"): wanted("mine", "one"), ref("moved"): wanted("moved", "two")},
        {ref("kept")},
    )
    assert sorted(item.name for item in after.components["one"].entries) == ["kept", "mine"]
    assert list(after.components["two"].entries) == [ref("moved")]


def test_an_object_that_moves_to_another_component_is_in_one_record() -> None:
    """With the uid that it was recorded with; else the old entry would call it changed for ever."""

    class Kept(Ledger):
        """Saves nothing."""

        def _save(self) -> None:
            self._unsaved = False

    release = Catalogue.load().release("26.03")
    ledger = Kept(None, record(common=["x", "y"], katib=[]))  # type: ignore[arg-type]
    run = Run(release.components["katib"])
    run.works.append(Work(Item(ref("x"), wanted("x", "katib"), Verdict.UPDATE, ""), PASSIVE))
    ledger.announce([run])
    assert list(ledger.record.components["common"].entries) == [ref("y")]
    assert ledger.record.components["katib"].entries[ref("x")].uid == "u"


def test_a_hop_under_way_is_in_the_record(api: Api, scripted: Scripted) -> None:
    """It is read back as it was written."""
    backups = {"pipelines": Backup("v1.10.2", "2026-01-02T03:04:05Z", "/backups/1")}
    begun = replace(record(one=["a"]), upgrade=Upgrade("v1.10.2", "v1.11.0", "now"), backups=backups, resource_version="")
    stored: Dict[str, Any] = {}

    def answer(asked: Asked) -> Answer:
        if asked.method == "POST":
            stored.update(json.loads(asked.body))
            stored["metadata"]["resourceVersion"] = "2"
        return Answer(200, stored)

    scripted.answer = answer
    save(api, begun)
    assert (load(api).upgrade, load(api).backups) == (begun.upgrade, backups)


def test_a_release_changes_as_a_whole() -> None:
    """Half an upgrade is none."""
    with pytest.raises(EngineError, match="as a whole"):
        Upgrader(Request("c", version="26.03", scope=("katib",)), (), Silent()).run()


# ------------------------------------------------------------------ tenants


def owned(name: str, namespace: str, *owners: str, **annotations: str) -> KubeObject:
    """A Secret of these owners."""
    references = [{"kind": kind, "controller": True, "name": "x", "uid": "y", "apiVersion": "v1"} for kind in owners]
    metadata = {"name": name, "namespace": namespace, "uid": "uid-" + name, "ownerReferences": references, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}


def test_only_what_a_controller_made_in_a_tenants_namespace_is_made_anew(api: Api, scripted: Scripted) -> None:
    """Nobody would make again what a person made."""
    secrets = [
        owned("keys", "alice", "Namespace"),
        owned("keys", "bob"),
        {
            **owned("keys", "carol"),
            "metadata": {**owned("keys", "carol")["metadata"], "annotations": {"metacontroller.k8s.io/decorator-controller": "x"}},
        },
        owned("keys", "kubeflow", "Namespace"),
        owned("other", "alice", "Namespace"),
    ]
    profile = {"apiVersion": "kubeflow.org/v1", "kind": "Profile", "controller": True}
    spaces = [
        {"metadata": {"name": name, "ownerReferences": [profile] if tenant else []}}
        for name, tenant in (("alice", True), ("bob", True), ("carol", True), ("kubeflow", False))
    ]

    def answer(asked: Asked) -> Answer:
        return Answer(200, {"metadata": {}, "items": spaces if asked.path.endswith("/namespaces") else secrets})

    scripted.answer = answer
    rows = [Row(ObjectMatch("", "Secret", "", "keys"), "a key of its own")]
    found = look(api, rows, Discovery([Resource("v1", "Secret", "secrets", True)]))
    assert [str(one.ref) for one in found] == ["Secret alice/keys", "Secret carol/keys"]
    (notice,) = notices(found)
    assert notice.counts == {"alice": 1, "carol": 1} and notice.verdict is Verdict.REGENERATE
    assert look(api, [], Discovery([])) == ()
