# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backups of a store: what is wrong with one is named, and retention never takes what somebody may need."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

import pyrage
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import backup_files, backups
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.backups import (
    MOST_PROBLEMS,
    find,
    holder_of,
    listing,
    manifests,
    remove,
    surplus,
    unfinished,
    verify,
    write_holder,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import BackupKey
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.manifest import (
    SCHEMA,
    BackupFile,
    Manifest,
    Part,
    backup_id,
    save_manifest,
    seconds,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.stores import FolderStore, Stored

IDENTITY = pyrage.x25519.Identity.generate()
KEY = BackupKey((str(IDENTITY.to_public()),), (str(IDENTITY),))
LOCK_ONLY = BackupKey(KEY.recipients)
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=timezone.utc)
WHOLE = (("database", "katib"), ("objects", ""))


def moment(days: float) -> str:
    """So many days before NOON."""
    return (NOON - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_manifest(days: float, parts: Sequence[Tuple[str, str]] = WHOLE, state: str = "done", cluster: str = "c", uid: str = "u") -> Manifest:
    """Of a backup that was begun so many days before NOON."""
    begun = moment(days)
    done = tuple(Part(kind, name, "", "done", (), {}, begun, begun) for kind, name in parts)
    ended = begun if state == "done" else ""
    return Manifest(SCHEMA, backup_id(begun, cluster), cluster, uid, "26.03", "1.34.10", "1.2.0", "", state, begun, ended, done)


def stored(store: FolderStore, manifest: Manifest, key: BackupKey = KEY) -> Manifest:
    """The same with a file for each part, and all of it in the store."""
    parts = []
    for number, part in enumerate(manifest.parts):
        name = "%s/%s/data-%d" % (manifest.id, part.kind, number)
        parts.append(replace(part, files=(backup_files.put(store, name, [b"row %d\n" % number] * 1000, key),)))
    whole = replace(manifest, parts=tuple(parts), encryption=key.encryption)
    save_manifest(store, whole)
    return whole


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """An empty folder."""
    return FolderStore(str(tmp_path))


# ------------------------------------------------------------------ which there are


def test_backups_are_listed_newest_first_and_nothing_else_is(store: FolderStore, tmp_path: Path) -> None:
    """Other files and folders of the place are not ours. Sizes are those on the disk."""
    old, new = stored(store, a_manifest(2)), stored(store, a_manifest(1, state="running"))
    (tmp_path / "README").write_text("what this disk is for")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "20261124T184500Z-cat.jpg").write_text("")
    (tmp_path / new.id.replace("-c", "-d")).write_text("a file, no folder")
    found = listing(store)
    assert [one.id for one in found] == [new.id, old.id] and [one.manifest for one in found] == [new, old]
    assert [(one.files, one.problem, one.usable) for one in found] == [(3, "", False), (3, "", True)]
    assert found[0].size == sum(path.stat().st_size for path in (tmp_path / new.id).rglob("*") if path.is_file())
    assert manifests(store) == [new, old]


def test_what_is_wrong_with_a_backup_is_named(store: FolderStore, tmp_path: Path) -> None:
    """The others are listed all the same; retention and restore never see the ill ones."""
    ids: Dict[str, str] = {}
    for days, ill in enumerate(["whole", "no manifest", "edited", "cut off", "a file is missing", "a file is shorter", "renamed", "newer"]):
        ids[ill] = stored(store, a_manifest(days)).id
    (tmp_path / ids["no manifest"] / "manifest.json").unlink()
    text = (tmp_path / ids["edited"] / "manifest.json").read_text()
    (tmp_path / ids["edited"] / "manifest.json").write_text(text.replace("26.03", "26.10"))
    os.truncate(tmp_path / ids["cut off"] / "manifest.json", 100)
    next((tmp_path / ids["a file is missing"] / "database").iterdir()).unlink()
    os.truncate(next((tmp_path / ids["a file is shorter"] / "objects").iterdir()), 5)
    renamed = backup_id(moment(60), "c")
    (tmp_path / ids["renamed"]).rename(tmp_path / renamed)
    (tmp_path / ids["newer"] / "manifest.json").write_text('{"schema": 7}')
    found = {one.id: one for one in listing(store)}
    words = {
        ids["no manifest"]: "has no manifest",
        ids["edited"]: "was edited",
        ids["cut off"]: "not JSON",
        ids["a file is missing"]: "the file is missing",
        ids["a file is shorter"]: "another size",
        renamed: "of another backup",
        ids["newer"]: "newer version",
    }
    assert len(found) == 8 and found[ids["whole"]].usable
    for name, problem in words.items():
        assert problem in found[name].problem and found[name].next_step and not found[name].usable
        with pytest.raises(EngineError, match=problem) as caught:
            find(store, name)
        assert name in caught.value.subject
    assert ids["a file is missing"] + "/database/" in found[ids["a file is missing"]].problem
    assert [one.id for one in manifests(store)] == [ids["whole"]]


def test_the_newest_is_the_newest_complete_one(store: FolderStore) -> None:
    """Of the cluster that is asked for; one that is not finished is had by its name only."""
    mine, others = stored(store, a_manifest(3)), stored(store, a_manifest(2, cluster="d"))
    half = stored(store, a_manifest(1, state="running"))
    assert find(store, "newest") == others and find(store, "newest", "c") == mine
    assert find(store, half.id) == half and find(store, mine.id, "d") == mine
    for wanted, cluster, words in (
        ("newest", "e", "no complete backup of cluster e"),
        ("20200101T000000Z-c", "", "no such backup"),
        ("x", "", "no such"),
    ):
        with pytest.raises(EngineError) as caught:
            find(store, wanted, cluster)
        assert words in caught.value.cause and half.id in caught.value.found and caught.value.next_step


def test_an_empty_place_says_so(store: FolderStore) -> None:
    """With the place, which may be the wrong one."""
    with pytest.raises(EngineError) as caught:
        find(store, "newest")
    assert caught.value.subject == store.place and caught.value.found == "0 backups"


# ------------------------------------------------------------------ one that is being made


def held_by(store: FolderStore, backup: str, process: int) -> None:
    """As another process of this machine would write it."""
    write_holder(store, backup, "run1")
    name = backup + "/holder.json"
    text = b"".join(store.get(name)).decode()
    assert "process %d " % os.getpid() in text
    store.put(name, [text.replace("process %d " % os.getpid(), "process %d " % process).encode()])


def test_a_backup_that_is_being_made_is_left_alone(store: FolderStore) -> None:
    """By another process that lives; afterwards nobody holds it, and the place has no trace of it."""
    half = stored(store, a_manifest(0, state="running"))
    assert holder_of(store, half.id, half) == ""
    held_by(store, half.id, os.getppid())
    with pytest.raises(EngineError) as caught:
        holder_of(store, half.id, half)
    assert (
        "being made by another run" in caught.value.cause and "run run1" in caught.value.found and "holder.json" in caught.value.next_step
    )
    write_holder(store, half.id, None)
    assert holder_of(store, half.id, half) == "" and not [one for one in store.list() if "holder" in one.name]


def test_a_process_that_is_gone_holds_nothing(store: FolderStore) -> None:
    """Of this machine that is known at once: a run that was killed can be gone on with."""
    half = stored(store, a_manifest(0, state="running"))
    held_by(store, half.id, 4194999)
    assert "process 4194999" in holder_of(store, half.id, half)


def test_what_failed_in_this_process_can_be_gone_on_with(store: FolderStore) -> None:
    """It makes one backup at a time."""
    half = stored(store, a_manifest(0, state="running"))
    write_holder(store, half.id, "run1")
    assert holder_of(store, half.id, half).endswith("run run1")


def test_a_process_elsewhere_holds_it_for_a_day_after_its_last_sign(store: FolderStore) -> None:
    """A part that it finished is a sign of life as well; a holder that nobody of us wrote is none."""
    begun = a_manifest(2, state="running")
    text = {"holder": "ops@other process 17 on 01234567/1 run abc", "since": begun.started}
    store.put(begun.id + "/holder.json", [json.dumps(text).encode()])
    since = seconds(begun.started)
    with pytest.raises(EngineError, match="ops@other"):
        holder_of(store, begun.id, begun, since + 86399)
    assert "ops@other" in holder_of(store, begun.id, begun, since + 86401)
    at_work = begun.with_part(Part("database", "pipelines", "", "done", (), {}, begun.started, moment(1.5)))
    with pytest.raises(EngineError, match="ops@other"):
        holder_of(store, begun.id, at_work, since + 86401)
    for strange in (b"", b"null", b"[]", b'{"holder": "x"}', b'{"holder": "x", "since": "yesterday"}', b"\xff"):
        store.put(begun.id + "/holder.json", [strange])
        assert holder_of(store, begun.id, begun, since) == "somebody"


def test_only_a_fresh_backup_of_the_same_is_gone_on_with(store: FolderStore) -> None:
    """Not after a day, not of another release, cluster or encryption, and not when a complete one is newer."""
    noon = NOON.timestamp()
    half = stored(store, a_manifest(0.5, state="running"))
    same = ("c", "u", "26.03", "age")
    assert unfinished(store, *same, now=noon) == half
    for other in (("d", "u", "26.03", "age"), ("c", "v", "26.03", "age"), ("c", "u", "26.10", "age"), ("c", "u", "26.03", "")):
        assert unfinished(store, *other, now=noon) is None
    assert unfinished(store, *same, now=noon + 43201) is None
    stored(store, a_manifest(0.3, cluster="d"))
    assert unfinished(store, *same, now=noon) == half
    stored(store, a_manifest(0.2))
    assert unfinished(store, *same, now=noon) is None


# ------------------------------------------------------------------ reading back


def test_a_whole_backup_is_read_back_whole(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte of every file, its content if there is a key; without one only what is stored, and it says so."""
    monkeypatch.setattr(backups, "WORKERS", 1)
    whole = stored(store, a_manifest(1, [("database", str(number)) for number in range(17)]))
    for key, opened in ((KEY, True), (LOCK_ONLY, False), (BackupKey(), False)):
        seen = verify(store, whole, key, Silent())
        assert (seen.opened, seen.files, seen.size, seen.problems) == (opened, 17, whole.totals().stored_bytes, ())


@pytest.mark.parametrize("key", [KEY, LOCK_ONLY], ids=["opened", "stored"])
def test_every_file_that_is_not_as_it_was_written_is_named(store: FolderStore, tmp_path: Path, key: BackupKey) -> None:
    """One byte changed in one, one missing, one shorter: three problems, and the others were read."""
    whole = stored(store, a_manifest(1, [("database", str(number)) for number in range(5)]))
    files = [tmp_path / file.name for file in whole.files()]
    data = bytearray(files[0].read_bytes())
    data[-1] ^= 1
    files[0].write_bytes(data)
    files[1].unlink()
    os.truncate(files[2], files[2].stat().st_size - 1)
    seen = verify(store, whole, key, Silent())
    assert seen.files == 2
    found = {error.subject.split(" ")[0]: error for error in seen.problems}
    assert set(found) == {file.name for file in whole.files()[:3]} and all(error.next_step for error in seen.problems)
    words = ["changed", "missing", "another size"]
    assert all(word in found[file.name].cause for word, file in zip(words, whole.files()))


def test_content_that_is_not_what_was_read_is_named(store: FolderStore) -> None:
    """A file that was put together anew by who has the recipients: stored bytes fit the manifest, the content does not."""
    whole = stored(store, a_manifest(1))
    file = whole.files()[0]
    other = backup_files.put(store, whole.id + "/database/other", [b"row 7\n" * 1000], KEY)
    forged = replace(whole.parts[0], files=(replace(other, plain_sha256=file.plain_sha256),))
    seen = verify(store, whole.with_part(forged), KEY, Silent())
    assert [error.subject.split(" ")[0] for error in seen.problems] == [other.name]
    assert verify(store, whole.with_part(forged), LOCK_ONLY, Silent()).problems == ()


def test_the_wrong_key_is_said_for_what_it_is(store: FolderStore) -> None:
    """The files are as they were written, so it is not they."""
    whole = stored(store, a_manifest(1))
    wrong = BackupKey(identities=(str(pyrage.x25519.Identity.generate()),))
    seen = verify(store, whole, wrong, Silent())
    assert len(seen.problems) == 2 and all("no key that was given" in error.cause for error in seen.problems)
    with pytest.raises(EngineError, match="no age identity"):
        verify(store, whole, BackupKey(identities=("AGE-SECRET-KEY-1",)), Silent())


class Dead(FolderStore):
    """A store whose files cannot be read."""

    gets = 0
    files: Sequence[Stored] = ()

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """What should be there."""
        return iter(self.files)

    def get(self, name: str) -> Iterator[bytes]:
        """It fails."""
        self.gets += 1
        if self.gets:
            raise EngineError("the disk is ill", subject=name, next_step="another disk")
        yield b""


def test_a_store_that_is_ill_is_not_asked_for_ever(store: FolderStore) -> None:
    """Twenty files that cannot be read say enough of two hundred."""
    whole = a_manifest(1)
    files = tuple(BackupFile("%s/%d" % (whole.id, number), 1, "0" * 64, 1, "0" * 64) for number in range(200))
    whole = replace(whole, parts=(replace(whole.parts[0], files=files),))
    dead = Dead(store.place)
    dead.files = [Stored(file.name, file.size) for file in files]
    seen = verify(dead, whole, BackupKey(), Silent())
    assert len(seen.problems) == MOST_PROBLEMS and dead.gets <= 16 * backups.WORKERS < 200 and seen.files == 0


# ------------------------------------------------------------------ retention


def kept(known: Sequence[Manifest], keep: int, days: float) -> List[float]:
    """The ages in days of those that stay."""
    gone = surplus(known, keep, days, NOON)
    assert set(gone) <= {one.id for one in known}
    return sorted((NOON.timestamp() - seconds(one.started)) / 86400 for one in known if one.id not in gone)


DAILY = [a_manifest(float(days)) for days in range(10)]


@pytest.mark.parametrize(
    ("keep", "days", "stay"),
    [(0, 0, 10), (-1, -1, 10), (3, 0, 3), (1, 0, 1), (20, 0, 10), (0, 4.5, 5), (0, 0.1, 1), (7, 4.5, 5), (3, 4.5, 3), (1, 0.1, 1)],
)
def test_number_and_age_both_count(keep: int, days: float, stay: int) -> None:
    """The newest stay; without limits all of them."""
    assert kept(DAILY, keep, days) == list(range(stay))


def test_the_newest_complete_one_stays_however_old_it_is() -> None:
    """Also when all newer ones were never finished. The oldest goes first, in case that it is interrupted."""
    known = [a_manifest(1.5, state="running"), a_manifest(400), a_manifest(500), a_manifest(600)]
    assert kept(known, 1, 30) == [1.5, 400]
    assert surplus(known, 1, 30, NOON) == [known[3].id, known[2].id]


def test_an_unfinished_one_goes_when_it_is_of_no_use() -> None:
    """A complete one is newer, and for a day nobody worked on it; without a complete one it may be all there is."""
    old, young, done = a_manifest(3, state="running"), a_manifest(0.9, state="running"), a_manifest(0.5)
    at_work = replace(old, parts=(Part("database", "katib", "", "running", (), {}, moment(0.4)),))
    broken = replace(a_manifest(3), parts=(Part("database", "katib", "", "running", (), {}, moment(3)),))
    for one, gone in ((old, True), (young, False), (at_work, False), (broken, True)):
        assert surplus([done, one], 5, 0, NOON) == ([one.id] if gone else [])
        assert surplus([one], 1, 1, NOON) == []
    assert surplus([old, a_manifest(4)], 5, 0, NOON) == []


def test_unfinished_ones_do_not_count() -> None:
    """Ten runs that failed never push out the last that did not."""
    known = [a_manifest(days / 10, state="running") for days in range(1, 9)] + [a_manifest(1), a_manifest(2), a_manifest(3)]
    assert kept(known, 2, 0)[-2:] == [1, 2]


def test_backups_of_parts_do_not_push_out_whole_ones() -> None:
    """A database every hour, everything once a week: of each part as many stay as were asked for."""
    hourly = [a_manifest(hours / 24, [("database", "katib")]) for hours in range(1, 30)]
    weekly = [a_manifest(7.0 * weeks) for weeks in range(1, 6)]
    assert kept([*hourly, *weekly], 3, 0) == sorted([1 / 24, 2 / 24, 3 / 24, 7, 14, 21])
    assert kept([*hourly, *weekly], 0, 1) == sorted([hours / 24 for hours in range(1, 25)] + [7])


def test_clusters_count_by_themselves() -> None:
    """A new cluster with the name of a lost one: what the lost one left is not pushed out by empty backups."""
    lost = [a_manifest(float(days), uid="lost") for days in (10, 11, 12)]
    new = [a_manifest(days / 10, uid="new") for days in range(1, 9)]
    other = [a_manifest(9.0, cluster="d")]
    assert kept([*lost, *new, *other], 2, 0) == sorted([0.1, 0.2, 9, 10, 11])
    assert kept([*lost, *new, *other], 0, 5) == sorted([*(days / 10 for days in range(1, 9)), 9, 10])


def test_whatever_there_is_retention_takes_no_last_one() -> None:
    """Of every part of every cluster the newest complete backup stays, in any order and with any limits."""
    dice = random.Random(11)
    kinds = [("database", "katib"), ("database", "pipelines"), ("objects", ""), ("record", "")]
    for _round in range(80):
        known = [
            a_manifest(
                dice.choice([0.2, 0.9, 1, 2, 3, 5, 8, 40]) + number / 1000,
                dice.sample(kinds, dice.randrange(5)),
                dice.choice(["done", "done", "running"]),
                dice.choice("cd"),
                dice.choice("uv"),
            )
            for number in range(dice.randrange(9))
        ]
        keep, days = dice.choice([0, 1, 2, 3]), dice.choice([0, 0.5, 2, 30])
        gone = set(surplus(known, keep, days, NOON))
        shuffled = dice.sample(known, len(known))
        assert set(surplus(shuffled, keep, days, NOON)) == gone
        left = [one for one in known if one.id not in gone]
        assert set(surplus(left, keep, days, NOON)) == set()  # once is enough
        assert newest(left) == newest(known)
        for one in known:
            fresh = NOON.timestamp() - seconds(one.started) < 86400
            assert not (one.id in gone and one.state == "running" and fresh)


def newest(known: Iterable[Manifest]) -> Set[Tuple[Tuple[str, str], Optional[Tuple[str, str]], str]]:
    """Of every cluster the newest complete backup, and the newest with each part."""
    found: Dict[Any, str] = {}
    for one in sorted(known, key=lambda one: one.started):
        for key in [None, *(part.key for part in one.parts)] if one.complete else []:
            found[((one.cluster, one.cluster_uid), key)] = one.id
    return {(*key, name) for key, name in found.items()}


# ------------------------------------------------------------------ taking one away


class Killed(Exception):
    """The run ends here."""


class Dying(FolderStore):
    """A store whose user is killed after some deletions."""

    left = 0

    def remove(self, name: str) -> None:
        """Until it is killed."""
        if self.left == 0:
            raise Killed
        self.left -= 1
        super().remove(name)


def test_a_removal_that_is_interrupted_leaves_nothing_that_looks_whole(store: FolderStore, tmp_path: Path) -> None:
    """At every moment; doing it again finishes it, and the others are as they were."""
    other = stored(store, a_manifest(9))
    for moment_of_death in range(5):
        whole = stored(store, a_manifest(1, [("database", str(number)) for number in range(3)]))
        write_holder(store, whole.id, "run1")
        dying = Dying(store.place)
        dying.left = moment_of_death
        with pytest.raises(Killed):
            remove(dying, whole.id)
        found = {one.id: one for one in listing(store)}
        assert found[whole.id].usable == (moment_of_death == 0) and found[other.id].usable
        assert moment_of_death == 0 or "being removed" in found[whole.id].problem
        remove(store, whole.id)
        assert [path.name for path in tmp_path.iterdir()] == [other.id]
    remove(store, "20200101T000000Z-never-was")


@pytest.mark.parametrize("name", ["", "/", "..", "photos", "20261124T184500Z-", "20261124T184500Z-x/..", "20261124T184500Z-c\n"])
def test_only_a_backup_can_be_removed(store: FolderStore, tmp_path: Path, name: str) -> None:
    """An empty name would be all of them."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "x").write_text("")
    stored(store, a_manifest(1))
    before = list(store.list())
    with pytest.raises(EngineError, match="no id of a backup"):
        remove(store, name)
    assert list(store.list()) == before and Stored("photos/x", 0) in before
