# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a rollback goes, and what it is refused for, with the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Optional, Sequence, Tuple

import jsonschema
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.applying import ComponentOutcome
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue, Hop, ObjectMatch, OneWay, Release, Row
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError, sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Item, Plan, Verdict, Wanted
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.present_rollback import (
    revision_json,
    revisions_text,
    rollback_json,
    rollback_text,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ComponentRecord, Entry, Record, Upgrade
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.revisions import (
    Mark,
    RevisedComponent,
    RevisedObject,
    Revision,
    RevisionHead,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rollback_rules import (
    Step,
    check_definitions,
    check_doors,
    check_opened,
    check_scope,
    find,
    holds,
    installed_release,
    kept,
    steps,
    way_back,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rolling_back import Left, Return, StepOutcome, made_by_us
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Outcome, Request
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import Removal


def head(number: int, release: str = "r1", mark: Optional[Mark] = None, **digests: str) -> RevisionHead:
    """A revision; the digests are those of its components."""
    components = {name: RevisedComponent("kubeflow", release, digest, 1) for name, digest in digests.items()}
    return RevisionHead(number, release, "2026-01-0%dT00:00:00Z" % number, "r", "5.0.0", components, mark)


def refused(function: Any, *arguments: Any) -> EngineError:
    """The error that a call has to end with."""
    with pytest.raises(EngineError) as caught:
        function(*arguments)
    return caught.value


def yes() -> bool:
    """The cluster is as the newest revision says."""
    return True


def no() -> bool:
    """It is not: the last run failed."""
    return False


# ------------------------------------------------------------------ where to

THREE = (head(3, katib="a", dex="d"), head(4, katib="b", dex="d"), head(5, katib="b", dex="e"))


@pytest.mark.parametrize(
    ("to", "scope", "newest_holds", "number"),
    [
        ("3", (), yes, 3),
        ("5", ("katib",), yes, 5),
        ("previous", (), yes, 4),
        ("previous", ("dex",), yes, 4),
        ("previous", ("katib",), yes, 3),  # in 4 it is what it is now
        ("previous", (), no, 5),  # the last run failed: the last one that did not
        ("previous", ("katib",), no, 5),
    ],
)
def test_the_revision_that_is_meant(to: str, scope: Tuple[str, ...], newest_holds: Any, number: int) -> None:
    """A number, or what was there before the last change of what goes back."""
    assert find(to, THREE, scope, newest_holds).number == number


@pytest.mark.parametrize(
    ("to", "heads", "words"),
    [
        ("7", THREE, "no revision 7"),
        ("seven", THREE, "a number, or previous"),
        ("-1", THREE, "a number, or previous"),
        ("previous", (), "site writes one"),
        ("1", (), "site writes one"),
        ("previous", THREE[:1], "no earlier revision"),
        ("previous", (head(1, katib="a"), head(2, katib="a")), "no earlier revision"),
    ],
)
def test_what_is_not_there_is_said(to: str, heads: Sequence[RevisionHead], words: str) -> None:
    """With the ones that are."""
    error = refused(find, to, heads, (), yes)
    assert words in str(error)
    if to == "7":
        assert all("%d (r1, 2026-01-0%d" % (one.number, one.number) in error.expected for one in heads)


def marked(number: int, to: int, scope: Tuple[str, ...], newest: int, done: bool, **digests: str) -> RevisionHead:
    """A revision with a mark of a rollback."""
    return head(number, "r1", Mark(to, scope, "r", newest, done), **digests)


def test_previous_asked_again_is_the_same_one() -> None:
    """Whoever runs it twice, or again after it was killed, must not come forward again."""
    katib = ("katib",)
    one, two, three = head(1, katib="a"), head(2, katib="b"), head(3, katib="c")
    killed = (one, marked(2, 2, katib, 3, False, katib="b"), three)
    assert find("previous", killed, katib, no).number == 2
    assert find("previous", killed, katib, yes).number == 2
    kept_nowhere = (one, marked(2, 2, katib, 3, True, katib="b"), three)  # kubeflow_revisions: 0
    assert find("previous", kept_nowhere, katib, no).number == 2
    done = (one, killed[1], three, marked(4, 2, katib, 4, True, katib="b"))
    assert find("previous", done, katib, yes).number == 4
    to_the_newest = (one, two, marked(3, 3, katib, 3, True, katib="c"))  # after a site that failed
    assert find("previous", to_the_newest, katib, yes).number == 3


def test_a_mark_of_another_rollback_means_nothing() -> None:
    """Of other components, or from before the newest revision."""
    katib = ("katib",)
    one, three = head(1, katib="a", dex="d"), head(3, katib="c", dex="d")
    others = (one, marked(2, 2, ("dex",), 3, False, katib="b", dex="d"), marked(3, 3, ("dex",), 3, True, katib="c", dex="d"))
    assert find("previous", others, katib, yes).number == 2
    old = (marked(1, 1, katib, 2, False, katib="a"), head(2, katib="b"), three)
    assert find("previous", old, katib, yes).number == 2


# ------------------------------------------------------------------ what the record says

CONFIG: KubeObject = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}}
SECRET: KubeObject = {**CONFIG, "kind": "Secret"}


def revision(*objects: KubeObject, release: str = "r1", component: str = "katib") -> Revision:
    """A revision with these objects; the digest of each is ``d``."""
    return Revision(head(1, release, katib="a"), {ref_of(obj): RevisedObject(component, obj, False, "d") for obj in objects})


@pytest.mark.parametrize(("desired", "same"), [("d", True), ("x", False), (None, False)])
def test_the_record_says_whether_a_revision_is_what_was_written_last(desired: Optional[str], same: bool) -> None:
    """Secrets do not count, nor do components that the question is not about."""
    entries = {ref_of(CONFIG): Entry("v1", "u", desired, "l")} if desired else {}
    record = Record({"katib": ComponentRecord("kubeflow", "r1", True, {**entries, ref_of(SECRET): Entry("v1", "u", "x", "l")})}, b"k")
    assert holds(record, revision(CONFIG, SECRET), ("katib",)) is same
    assert holds(record, revision(CONFIG, SECRET), ()) is same
    assert holds(record, revision(CONFIG), ("dex",))


# ------------------------------------------------------------------ on which way


def record(upgrade: Optional[Upgrade] = None, **versions: Any) -> Record:
    """A cluster with components of these versions."""
    return Record({name: ComponentRecord("kubeflow", version, True, {}) for name, version in versions.items()}, b"k", "1", upgrade)


NEWEST = Catalogue.load().release("26.03")
DOOR = OneWay("mysql-8.4", "pipelines", "the data directory was converted")


def release(name: str, source: str = "", *doors: OneWay) -> Release:
    """A release that is reached from another one."""
    return replace(NEWEST, name=name, hop=Hop(source, name, one_way=doors) if source else None)


class Releases(Catalogue):
    """r1 -> r2 -> r3, the second hop through a door."""

    def __init__(self) -> None:
        super().__init__({name: Path(name) for name in ("r1", "r2", "r3")})
        self._known = {"r1": release("r1"), "r2": release("r2", "r1"), "r3": release("r3", "r2", DOOR)}

    def release(self, name: str) -> Release:
        """One of the three."""
        return self._known[name]


HISTORY = (head(1, "r1", katib="a"), head(2, "r1", katib="b"), head(3, "r2", katib="c"), head(4, "r3", katib="d"))


def test_within_a_release_there_is_one_step() -> None:
    """And no hop."""
    assert way_back(Releases(), record(katib="r3"), HISTORY[3]) == ()
    assert [step.head.number for step in steps((), HISTORY, HISTORY[3])] == [4]


def test_over_releases_the_way_goes_hop_by_hop() -> None:
    """From the newest backwards, over the last revision of each release, at the end the one that was asked for."""
    way = way_back(Releases(), record(katib="r3", dex="r3"), HISTORY[0])
    assert [one.name for one in way] == ["r3", "r2"]
    found = steps(way, HISTORY, HISTORY[0])
    assert [step.head.number for step in found] == [3, 1]
    assert [(step.hop.source, step.hop.target) for step in found if step.hop] == [("r3", "r2"), ("r2", "r1")]


def test_an_upgrade_that_was_interrupted_can_be_gone_back() -> None:
    """Some components are there already, others are not: the newest counts."""
    half = record(Upgrade("r2", "r3", "then"), katib="r3", dex="r2")
    assert installed_release(half) == "r3"
    assert [one.name for one in way_back(Releases(), half, HISTORY[2])] == ["r3"]
    error = refused(way_back, Releases(), half, HISTORY[3])
    assert "begun and not ended" in error.cause and "r2" in error.next_step
    nothing_written = record(Upgrade("r2", "r3", "then"), katib="r2")
    assert [one.name for one in way_back(Releases(), nothing_written, HISTORY[2])] == ["r3"]


def test_what_earlier_hops_left_on_purpose_is_left() -> None:
    """Going back to a release must not remove what the way to it kept."""
    rows = {name: Row(ObjectMatch("", "ConfigMap", "", name), "of " + name) for name in ("r2", "r3")}
    catalogue = Releases()
    for name, row in rows.items():
        known = catalogue.release(name)
        catalogue._known[name] = replace(known, hop=replace(sure(known.hop), keep=(row,)))
    assert [kept(catalogue, name) for name in ("r1", "r2", "r3", "r4")] == [(), (rows["r2"],), (rows["r3"], rows["r2"]), ()]


def test_a_newer_release_is_an_upgrade() -> None:
    """After a rollback the revisions of the newer release are still there."""
    error = refused(way_back, Releases(), record(katib="r2"), HISTORY[3])
    assert "upgrade" in error.cause and error.found == "r3"


def test_a_release_in_between_without_a_revision_is_refused() -> None:
    """None is skipped."""
    without = (HISTORY[0], HISTORY[3])
    way = way_back(Releases(), record(katib="r3"), HISTORY[0])
    error = refused(steps, way, without, HISTORY[0])
    assert "no revision of r2" in error.cause and "1 (r1)" in error.found


# ------------------------------------------------------------------ what stands against it


def test_a_single_component_stays_within_its_release() -> None:
    """It was never tested with the others of another release."""
    way = way_back(Releases(), record(katib="r3"), HISTORY[2])
    error = refused(check_scope, HISTORY[2], way, ("katib",))
    assert "single component" in error.cause and "--tags" in error.next_step
    check_scope(HISTORY[2], way, ())
    check_scope(HISTORY[3], (), ("katib",))


def test_a_component_that_a_revision_lacks_is_refused() -> None:
    """Taking it away is an uninstallation."""
    error = refused(check_scope, HISTORY[3], (), ("dex",))
    assert "dex" in error.subject and "katib" in error.found


@pytest.mark.parametrize(
    ("installed", "accept", "closed"),
    [
        ({"pipelines": "r3"}, (), True),
        ({"pipelines": "r3"}, ("mysql-8.4",), False),
        ({"pipelines": "r3"}, ("another",), True),
        ({"katib": "r3"}, (), False),
        ({"pipelines": "r2", "katib": "r3"}, (), False),  # an upgrade that did not get there
    ],
)
def test_a_door_that_data_went_through_is_closed(installed: Dict[str, Any], accept: Tuple[str, ...], closed: bool) -> None:
    """Unless a person names it; a component that did not go through it does not count."""
    way = way_back(Releases(), record(katib="r3"), HISTORY[2])
    if not closed:
        check_doors(way, record(**installed), accept)
        return
    error = refused(check_doors, way, record(**installed), accept)
    assert "mysql-8.4" in error.subject and DOOR.why in error.found and "kubeflow_rollback_accept: [mysql-8.4]" in error.next_step


def crd(*versions: str, stored: Tuple[str, ...] = ()) -> KubeObject:
    """A definition of the kind Thing."""
    spec = {
        "group": "x.org",
        "names": {"kind": "Thing"},
        "versions": [{"name": name.strip("-"), "served": not name.endswith("-")} for name in versions],
    }
    definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.x.org"}}
    return {**definition, "spec": spec, "status": {"storedVersions": list(stored)}}


THING: KubeObject = {"apiVersion": "x.org/v1beta1", "kind": "Thing", "metadata": {"name": "t", "namespace": "n"}}
DEFINITION = str(ref_of(crd("v1")))


@pytest.mark.parametrize(
    ("live", "accept", "words"),
    [
        (crd("v1beta1", stored=("v1beta1",)), (), ""),
        (crd("v1beta1", "v1", stored=("v1",)), (), ""),  # moved, and the earlier release knows the version
        (crd("v1beta1", "v2", stored=("v1beta1", "v2")), (), "stored as v2"),
        (crd("v1beta1", "v2", stored=("v2",)), (DEFINITION,), ""),
        (crd("v1beta1-", "v1", stored=("v1",)), (), "x.org/v1beta1"),
        (crd("v1", stored=("v1",)), (DEFINITION,), "x.org/v1beta1"),
    ],
)
def test_definitions_that_went_forward(live: KubeObject, accept: Tuple[str, ...], words: str) -> None:
    """Data in a version that the earlier release does not know is refused; what cannot be written is, whatever is accepted."""
    earlier = revision(crd("v1beta1", "v1"), THING)
    if not words:
        check_definitions(earlier, {"things.x.org": live}, accept)
        return
    error = refused(check_definitions, earlier, {"things.x.org": live}, accept)
    assert words in error.found and "revision 1" in error.subject


def test_a_definition_that_is_gone_speaks_against_nothing() -> None:
    """It is made again."""
    check_definitions(revision(crd("v1beta1"), THING), {}, ())


def test_a_lost_secret_is_named_with_its_object_and_path() -> None:
    """And the two ways on."""
    check_opened({})
    error = refused(check_opened, {ref_of(CONFIG): ("data.config.yaml",)})
    assert error.subject == "ConfigMap n/c" and "data.config.yaml" in error.found
    assert "inventory" in error.next_step and 'kubeflow_rollback_accept: ["ConfigMap n/c"]' in error.next_step


# ------------------------------------------------------------------ what an interrupted run made

OURS = ("mlplatform.kubeflow", "Apply", "")


@pytest.mark.parametrize(
    ("writers", "label", "ours"),
    [
        ((OURS,), "katib", True),
        ((OURS, ("kubelet", "Update", "status")), "katib", True),
        ((OURS, ("kubectl", "Update", "")), "katib", False),
        ((("mlplatform.kubeflow", "Update", ""),), "katib", False),
        ((), "katib", False),
        ((OURS,), "dex", False),
    ],
)
def test_what_was_announced_is_ours_if_nobody_else_ever_wrote_to_it(writers: Any, label: str, ours: bool) -> None:
    """Somebody may have made an object of that name just then."""
    managed = [{"manager": manager, "operation": operation, "subresource": part} for manager, operation, part in writers]
    live = {**CONFIG, "metadata": {"name": "c", "labels": {"mlplatform.kubeflow/component": label}, "managedFields": managed}}
    assert made_by_us(live, "katib") is ours


# ------------------------------------------------------------------ how it reads

CONFIG_MAP = Resource("v1", "ConfigMap", "configmaps", True)


def outcome(*items: Item, removals: Tuple[Removal, ...] = ()) -> Outcome:
    """What a step found."""
    found = Outcome(Request("c"))
    found.plan = Plan(items, removals=removals)
    found.components = {"katib": ComponentOutcome("katib", "healthy", len(items), 0, 1.0, (), None)}
    found.changed = bool(items)
    found.traffic = {"requests": 40, "writes": 2, "dry_runs": 0, "retries": 0, "rejected": []}
    return found


def item(name: str) -> Item:
    """One line of a plan."""
    changes = (("data.a", "1 line", "2 lines"),)
    wanted = Wanted("katib", CONFIG, CONFIG_MAP)
    return Item(ObjectRef("", "ConfigMap", "n", name), wanted, Verdict.UPDATE, "we want something else than what we wrote", changes=changes)


CLAIM = ObjectRef("", "PersistentVolumeClaim", "n", "data")
KEPT = Removal(CLAIM, "katib", None, Verdict.PRUNE_DANGEROUS, "the data on it would be deleted")
LEFT = Left(
    (ref_of(SECRET), replace(ref_of(SECRET), name="d")), (ref_of(SECRET),), (ref_of(crd("v1")),), (ref_of(crd("v1")),), (ref_of(CONFIG),)
)


def journey(state: str, *steps: Step, scope: Tuple[str, ...] = ("katib",), error: Optional[EngineError] = None) -> Return:
    """A rollback of which the first step is in this state."""
    first = StepOutcome(steps[0], "r3" if steps[0].hop else "r1", state, outcome(item("c"), removals=(KEPT,)), LEFT, (), (CLAIM,), 0, error)
    rest = [StepOutcome(step, "r2") for step in steps[1:]]
    return Return(steps[-1].head, scope, [first, *rest])


HOPS = (Step(HISTORY[2], Hop("r3", "r2")), Step(HISTORY[0], Hop("r2", "r1")))


def test_a_rollback_reads_in_a_minute() -> None:
    """What was done, what stays and is not as it was, and that the inventory still says otherwise."""
    text = rollback_text(journey("done", Step(HISTORY[0])), check=False)
    assert text.splitlines() == [
        "Kubeflow r1: katib back to revision 1 of 2026-01-01T00:00:00Z",
        "  1 object written, 40 requests, 0.0 s",
        "  never rolled back: 2 Secrets, 1 definition",
        "    with other values than then: Secret n/c",
        "    written as something else since: CustomResourceDefinition things.x.org",
        "    left as you accepted: ConfigMap n/c",
        "  not in that revision, and kept: PersistentVolumeClaim n/data: the data on it",
        "    would be deleted",
        "  site goes by the inventory and would go forward again: change that first",
    ]


def test_check_mode_says_what_would_be_done() -> None:
    """The plan itself, in the form of a plan."""
    text = rollback_text(journey("planned", Step(HISTORY[0])), check=True)
    assert "katib would go back to revision 1" in text and "data.a: 1 line -> 2 lines" in text
    assert "PersistentVolumeClaim n/data" in text and "change that first" not in text


def test_steps_over_releases_are_told_apart() -> None:
    """Also those that were not begun."""
    text = rollback_text(journey("failed", *HOPS, scope=(), error=EngineError("broken")), check=False)
    assert "the whole platform back to revision 1" in text
    assert "revision 3 (r3 -> r2): failed, 1 object written" in text
    assert "revision 1 (r2 -> r1): not begun" in text


SCHEMA = json.loads(
    (Path(__file__).resolve().parents[2] / "plugins" / "plugin_utils" / "schemas" / "rollback.json").read_text(encoding="utf-8")
)
HEAD = {"schema": 1, "run": "r", "started": "2026-01-01T00:00:00Z", "cluster": "c", "asked": "previous", "check": False}


@pytest.mark.parametrize(
    "told",
    [
        journey("done", Step(HISTORY[0])),
        journey("planned", *HOPS, scope=()),
        journey("failed", *HOPS, scope=(), error=EngineError("broken", subject="x")),
    ],
)
def test_the_result_file_is_as_its_schema_says(told: Return) -> None:
    """And so is one of a run that is under way."""
    jsonschema.validate({**HEAD, "state": "running"}, SCHEMA)
    document = {**HEAD, "state": "ok", "finished": "2026-01-01T00:00:01Z", **rollback_json(told), "errors": []}
    jsonschema.validate(document, SCHEMA)
    for name in ("steps", "errors", "to"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({key: value for key, value in document.items() if key != name}, SCHEMA)


def test_revisions_are_listed_with_what_is_different() -> None:
    """The newest first, as that is what one looks for."""
    heads = (*THREE[:2], replace(head(5, katib="a", dex="d", pipelines="p"), mark=Mark(3, (), "r", 5, True)), head(6, katib="a"))
    text = revisions_text(heads)
    assert [line.split()[:2] for line in text.splitlines()[1:]] == [["6", "r1"], ["5", "r1"], ["4", "r1"], ["3", "r1"]]
    assert "without dex, without pipelines" in text and "back to 3: katib, pipelines" in text
    assert text.splitlines()[3].endswith(" katib") and text.splitlines()[4].endswith(" 2 components")
    assert "site writes one" in revisions_text(())
    told = revision_json(heads[2])
    assert (told["number"], told["objects"], told["rollback_to"]) == (5, 3, 3) and revision_json(heads[0])["rollback_to"] is None
