# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image may open which data, and what the plan says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Dict, Optional, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.data_guard import (
    ANNOTATION,
    MANAGER,
    DataVersion,
    data_version,
    guard,
    note_server,
    noted,
    unfit,
    version_of_image,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.data_places import Data, Database, Login
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import FIELD_MANAGER, KubeObject, ObjectRef, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Item, Plan, Policy, Verdict, Wanted
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.usage import CLAIMS
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.writing import carry_out

from .conftest import Answer, Asked, Scripted

DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments", True)
WORK, CLAIM = ObjectRef("apps", "Deployment", "n", "db"), ObjectRef("", "PersistentVolumeClaim", "n", "files")
DATA = Data((Database("x", "katib", "mysql", WORK, "db", CLAIM, Login("n/s", "p", "root"), ("x",), ()),))
DIGEST = "@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("mysql:8.0.26", (8, 0, 26)),
        ("mysql:8.0", (8, 0)),
        ("mysql:8", (8,)),
        ("gcr.io/ml-pipeline/mysql:8.0.26", (8, 0, 26)),
        ("registry.site:5000/mysql:8.4.5", (8, 4, 5)),
        ("registry.site:5000/mysql", None),
        ("mysql", None),
        ("", None),
        ("mysql:latest", None),
        ("mysql:lts", None),
        ("mysql:8.0.29" + DIGEST, (8, 0, 29)),
        ("mysql" + DIGEST, None),
        ("registry.site:5000/mysql" + DIGEST, None),
        ("mysql:8.4-oracle", (8, 4)),
        ("8.4-oracle", (8, 4)),
        ("10.11.19-MariaDB", (10, 11, 19)),
        ("mariadb:10.11.19-jammy", (10, 11, 19)),
        ("mysql:v8.0.36", (8, 0, 36)),
        ("percona:8.0.36-28.1", (8, 0, 36)),
        ("mysql:20240101", None),
        ("mysql:2024.10.1", None),
        ("mysql:8.0.x", None),
        ("mysql:8..0", None),
        ("minio:RELEASE.2019-08-14T20-37-41Z", None),
    ],
)
def test_the_version_of_an_image(image: str, expected: Optional[Tuple[int, ...]]) -> None:
    """Of its tag, wherever it comes from; what says no version has none."""
    assert version_of_image(image) == expected


def test_whose_version_it_is() -> None:
    """Numbers of MySQL and MariaDB do not compare, and a site's own numbering is none of either."""
    assert str(data_version("site/mariadb:10.11", "mysql")) == "mariadb 10.11"
    assert str(data_version("site/mysql:8.4.5", "mysql")) == "mysql 8.4.5"
    assert str(data_version("10.11.19-MariaDB-log", "mysql")) == "mariadb 10.11.19"
    assert data_version("site/mysql:1.2.0", "mysql") is None


def version(text: str) -> DataVersion:
    """``8.0.29`` of MySQL, or with a family before it."""
    family, _blank, numbers = text.rpartition(" ")
    return DataVersion(family or "mysql", tuple(int(number) for number in numbers.split(".")))


@pytest.mark.parametrize(
    ("data", "image", "words"),
    [
        ("8.0.29", "8.0.29", ""),
        ("8.0.29", "8.0.30", ""),
        ("8.0.29", "8.0.26", "is older than"),
        ("8.0.9", "8.0.26", ""),  # numbers, not texts
        ("8.0.29", "8.0", ""),
        ("8.0.29", "8", ""),
        ("8.0", "8.0", ""),
        ("8.0", "8.0.29", "may be older than"),
        ("8", "8.4", "may be older than"),
        ("8.0.29", "8.4", ""),
        ("8.0.29", "8.4.1", ""),
        ("8.0", "8.4", ""),
        ("8.4", "8.0.26", "is older than"),
        ("8.4", "8.0", "is older than"),
        ("8.4", "8.3.0", "is older than"),
        ("8.4.5", "8.4.3", ""),  # an LTS series
        ("8.4", "8.4.3", ""),
        ("9.7.2", "9.7.1", ""),
        ("9.2.0", "9.1.0", "is older than"),
        ("8.4.0", "8", ""),
        ("8.4.0", "9.2", ""),
        ("9", "8.4", "is older than"),
        ("5.7", "8.0.29", ""),
        ("5.7", "8", ""),
        ("5.7.44", "8.4", "first comes 8.0"),
        ("5.7", "9", "first comes 8.0"),
        ("5.6", "8.0", "first comes 5.7"),
        ("8.0.36", "9.0.1", "first comes 8.4"),
        ("8.3.0", "9.0", "first comes 8.4"),
        ("8.4", "9.8", "first comes 9.7"),
        ("8", "9.0", ""),  # that 8 may have been 8.4
        ("mysql 8.0.29", "mariadb 10.11", "does not read"),
        ("mysql 5.7", "mariadb 10.11", ""),
        ("mariadb 10.11", "mysql 8.4", "does not read"),
        ("mariadb 10.11.6", "mariadb 10.11.4", ""),
        ("mariadb 10.11", "mariadb 10.11.4", ""),
        ("mariadb 10.11", "mariadb 10.6.18", "is older than"),
        ("mariadb 10", "mariadb 10.6", "may be older than"),
        ("mariadb 10.6", "mariadb 11.4", ""),
    ],
)
def test_which_image_opens_which_data(data: str, image: str, words: str) -> None:
    """What the manuals support; what nobody can tell is refused only where it may be a step back."""
    reason = unfit(version(image), version(data), "PersistentVolumeClaim n/files")
    assert (words in reason) if words else reason == ""
    if words:
        assert "PersistentVolumeClaim n/files" in reason and str(version(image)) in reason and str(version(data)) in reason


def workload(image: str, claim: str = "files") -> KubeObject:
    """A database's Deployment."""
    spec = {
        "containers": [{"name": "proxy", "image": "proxy:1.0"}, {"name": "db", "image": image}],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "files", "persistentVolumeClaim": {"claimName": claim}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "db", "namespace": "n"},
        "spec": {"template": {"spec": spec}},
    }


def files(note: Optional[str] = None) -> KubeObject:
    """Its claim, with what is noted on it."""
    metadata: Dict[str, Any] = {"name": "files", "namespace": "n", "uid": "u1"}
    if note is not None:
        metadata["annotations"] = {ANNOTATION: note, "other": "x"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}


def item(obj: KubeObject, verdict: Verdict, live: Optional[KubeObject]) -> Item:
    """A line of the plan."""
    return Item(ref_of(obj), Wanted("katib", obj, CLAIMS if obj["kind"] == CLAIM.kind else DEPLOYMENTS), verdict, "", live)


def guarded(
    image: str, running: Optional[str], claim: Optional[KubeObject], verdicts: Tuple[Verdict, Verdict] = (Verdict.UPDATE, Verdict.UNCHANGED)
) -> Tuple[Item, Item]:
    """What becomes of the two lines: the workload's and the claim's.

    :param running: the live workload's image; None if there is no workload.
    """
    lines = (item(workload(image), verdicts[0], workload(running) if running is not None else None), item(files(), verdicts[1], claim))
    plan = guard(Plan(lines), DATA, Policy())
    assert len(plan.items) == 2
    return plan.items[0], plan.items[1]


def test_nothing_is_refused_where_there_is_no_data() -> None:
    """On first install the version is noted with the claim itself; a digest says nothing, so nothing is noted."""
    work, claim = guarded("mysql:8.0.29", None, None, (Verdict.CREATE, Verdict.CREATE))
    assert (work.verdict, claim.verdict, claim.data_version, claim.changes) == (Verdict.CREATE, Verdict.CREATE, "mysql 8.0.29", ())
    work, claim = guarded("mysql" + DIGEST, None, None, (Verdict.CREATE, Verdict.CREATE))
    assert (work.verdict, claim.data_version) == (Verdict.CREATE, "")


@pytest.mark.parametrize(
    ("note", "running", "image", "expected"),
    [
        ("mysql 8.4", "mysql:8.4", "mysql:8.0.26", True),
        ("mysql 8.4", None, "mysql:8.0.26", True),  # the workload was uninstalled
        (None, "mysql:8.4", "mysql:8.0.26", True),  # nobody noted it
        ("gibberish", "mysql:8.4", "mysql:8.0.26", True),
        (None, None, "mysql:8.0.26", False),  # nobody can know
        ("mysql 8.0.26", "mysql:8.4", "mysql:8.0.29", True),  # somebody set another image by hand
        ("mysql 8.4", "mysql:8.0.26", "mysql:8.0.29", True),
        ("mysql 8.4", "mysql:8.0.26", "mysql:8.0.26", False),  # it runs already, and is not written
        ("mysql 8.0", "mysql:8.0", "mysql:8.0.29", True),
        ("mysql 8.0.29", "mysql:8.0", "mysql:8.0.30", False),  # somebody asked the server and noted it
        ("mysql 8.0.31", "mysql:8.0", "mysql:8.0.30", True),
        ("mysql 8.0.29", "mysql:8.0.29", "mysql:8.0", False),
        ("mysql 8.4", "mysql:8.4", "mysql" + DIGEST, False),
        (None, "mysql:8.0.29", "mariadb:10.11", True),
    ],
)
def test_what_is_known_of_the_data(note: Optional[str], running: Optional[str], image: str, expected: bool) -> None:
    """From the claim, and from the image that runs."""
    work, claim = guarded(image, running, files(note))
    assert (work.verdict is Verdict.REFUSED) is expected
    if expected:
        assert claim == item(files(), Verdict.UNCHANGED, files(note))
        assert "PersistentVolumeClaim n/files" in work.reason and "Deployment.apps n/db" in work.reason and "dump" in work.reason


def test_a_refusal_says_what_to_do() -> None:
    """Keep it, ask the server, or go step by step; each time there is the dump."""
    older = guarded("mysql:8.0.26", None, files("mysql 8.4"))[0].reason
    assert older.startswith("mysql 8.0.26 is older than") and "keep mysql 8.4 or a newer one" in older
    unknown = guarded("mysql:8.0.29", "mysql:8.0", files("mysql 8.0"))[0].reason
    assert "kubectl annotate --overwrite --namespace n pvc files '%s=mysql <version>'" % ANNOTATION in unknown
    assert "step by step" in guarded("mysql:8.4", None, files("mysql 5.7"))[0].reason


@pytest.mark.parametrize(
    ("note", "running", "image", "expected"),
    [
        (None, "mysql:8.0.29", "mysql:8.0.29", "mysql 8.0.29"),  # installed before there was a guard, or removed by hand
        ("mysql 8.0.29", "mysql:8.0.29", "mysql:8.0.29", ""),
        ("mysql 8.0.29", "mysql:8.0.29", "mysql:8.4", "mysql 8.4"),
        ("mysql 8.0.29", "mysql:8.0.29", "mysql:8.0", "mysql 8.0"),
        ("mysql 8.0.44", "mysql:8.0", "mysql:8.0", ""),  # noted by hand: it says more than the tag
        ("mysql 8.4", "mysql:8.0.29", "mysql:8.0.29", ""),  # never lower than it was
        ("mysql 8.4.5", "mysql:8.4.5", "mysql:8.4.3", "mysql 8.4.3"),
        ("mysql 8.0.26", "mysql:8.4", "mysql:8.4", "mysql 8.4"),
        (None, "mysql:8.0.29", "mysql" + DIGEST, "mysql 8.0.29"),  # at least that
        ("mysql 8.0.29", "mysql" + DIGEST, "mysql" + DIGEST, ""),
        ("gibberish", "mysql:8.4", "mysql:8.4", "mysql 8.4"),
        ("mysql 8.0.44", None, "mysql:8.0", "mysql 8.0"),
    ],
)
def test_what_is_noted(note: Optional[str], running: Optional[str], image: str, expected: str) -> None:
    """Only what changes, and visible as a change of the claim."""
    work, claim = guarded(image, running, files(note))
    assert work.verdict is Verdict.UPDATE and claim.data_version == expected
    assert claim.verdict is (Verdict.UPDATE if expected else Verdict.UNCHANGED)
    assert claim.changes == ((("metadata.annotations." + ANNOTATION, note or "", expected),) if expected else ())


def test_what_else_stops_a_run_is_left_as_it_is() -> None:
    """The first thing that a person has to decide on, with its own reason."""
    work, claim = guarded("mysql:8.0.26", "mysql:8.4", files(), (Verdict.CONFLICT, Verdict.UNCHANGED))
    assert work.verdict is Verdict.CONFLICT and not claim.data_version
    work, claim = guarded("mysql:8.4", "mysql:8.4", files(), (Verdict.ADOPT_REFUSED, Verdict.ADOPT_REFUSED))
    assert (work.verdict, claim.verdict, claim.data_version) == (Verdict.ADOPT_REFUSED, Verdict.ADOPT_REFUSED, "")


@pytest.mark.parametrize(("choice", "expected"), [("theirs", False), ("ours", True)])
def test_an_image_that_is_left_to_another_manager_is_not_ours_to_refuse(choice: str, expected: bool) -> None:
    """What runs stays, and what is noted is what runs."""
    contested = (("kubectl-set", '.spec.template.spec.containers[name="db"].image'),)
    work = replace(item(workload("mysql:8.0.29"), Verdict.UPDATE, workload("mysql:8.4")), contested=contested)
    plan = guard(Plan((work, item(files(), Verdict.UNCHANGED, files()))), DATA, Policy(conflicts=choice))
    assert (plan.items[0].verdict is Verdict.REFUSED) is expected
    assert plan.items[1].data_version == ("" if expected else "mysql 8.4")


def test_only_what_mounts_the_claim_is_judged() -> None:
    """A site that keeps its data elsewhere has no data there; one with the component out of scope does not get here."""
    lines = (
        item(workload("mysql:8.0.26", "other"), Verdict.UPDATE, workload("mysql:8.4")),
        item(files(), Verdict.UNCHANGED, files("mysql 8.4")),
    )
    for plan in (Plan(lines), Plan(lines[:1]), Plan(lines[1:]), Plan(())):
        assert guard(plan, DATA, Policy()) == plan


def test_a_restart_is_no_second_opinion() -> None:
    """It is a line of the same object."""
    lines = (
        item(workload("mysql:8.0.26"), Verdict.UPDATE, workload("mysql:8.4")),
        item(files(), Verdict.UNCHANGED, files()),
        item(workload("mysql:8.0.26"), Verdict.RESTART, workload("mysql:8.4")),
    )
    assert [one.verdict for one in guard(Plan(lines), DATA, Policy()).items] == [Verdict.REFUSED, Verdict.UNCHANGED, Verdict.RESTART]


@pytest.mark.parametrize("text", ["", "8.4", "mysql", "mysql 8.4-oracle", "postgres 16", "mysql 8.4 9"])
def test_what_cannot_be_read_on_a_claim_is_nothing(text: str) -> None:
    """People write there, too."""
    assert noted(files(text)) is None and noted(None) is None


def test_the_note_is_written_after_the_claim_and_by_a_manager_of_its_own(api: Api, scripted: Scripted) -> None:
    """So that no apply of ours takes it away; and only on the claim that was written."""
    scripted.answers({**files(), "kind": "PersistentVolumeClaim"})
    claim = guarded("mysql:8.4", None, None, (Verdict.CREATE, Verdict.CREATE))[1]
    carry_out(api, claim, Policy())
    first, second = scripted.asked
    assert [asked.query["fieldManager"] for asked in (first, second)] == [FIELD_MANAGER, MANAGER]
    assert ANNOTATION not in first.body.decode()
    assert json.loads(second.body)["metadata"] == {"name": "files", "namespace": "n", "uid": "u1", "annotations": {ANNOTATION: "mysql 8.4"}}


def test_a_claim_with_nothing_new_is_written_once(api: Api, scripted: Scripted) -> None:
    """No request more."""

    def answer(_asked: Asked) -> Answer:
        return Answer(200, files())

    scripted.answer = answer
    carry_out(api, item(files(), Verdict.UPDATE, files("mysql 8.4")), Policy())
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    ("before", "server", "after"),
    [
        (None, "8.0.29", "mysql 8.0.29"),
        ("mysql 8.0", "8.0.29", "mysql 8.0.29"),
        ("mysql 8.0.29", "8.4.5-log", "mysql 8.4.5"),
        ("mysql 8.0", "10.11.19-MariaDB", "mariadb 10.11.19"),
        ("mysql 8.0.29", "8.0.29", None),
        ("mysql 8.4", "8.0.29", None),  # what has opened them last is what counts
        ("mysql 8.0", "", None),
        ("mysql 8.0", "unknown", None),
    ],
)
def test_what_a_server_calls_itself_is_noted(
    api: Api, scripted: Scripted, before: Optional[str], server: str, after: Optional[str]
) -> None:
    """More precise than the tag of its image; only what is newer than what is known already."""
    scripted.answers({**files(before), "metadata": {**files(before)["metadata"], "uid": "u"}})
    note_server(api, DATA.databases[0], server)
    written = [json.loads(asked.body)["metadata"] for asked in scripted.asked if asked.method == "PATCH"]
    assert [one["annotations"][ANNOTATION] for one in written] == ([after] if after else [])
    assert all(one["uid"] == "u" for one in written)


def test_without_a_claim_nothing_is_noted(api: Api, scripted: Scripted) -> None:
    """A database somewhere else."""
    scripted.answers(Answer(404, {"kind": "Status", "code": 404}))
    note_server(api, DATA.databases[0], "8.0.29")
    assert [asked.method for asked in scripted.asked] == ["GET"]
