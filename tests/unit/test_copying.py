# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects into packs and back, and from store to store: every object once, one version of each, whatever happens meanwhile."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import copying, s3
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.copying import (
    Pack,
    Tally,
    copy_bucket,
    pack_bucket,
    tally_bucket,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.stores import FolderStore

from .s3_support import FOLDER, NOW, PLAIN, Memory, _memory, _small, _store, backup, members, objects, refusal, restore, total

__all__ = ["_memory", "_small", "_store"]
pytestmark = pytest.mark.usefixtures("small")

ODD_KEYS = (
    "a b",
    "Grüße/日本.txt",
    "../../etc/passwd",
    "/leading",
    "a//b",
    "a/./b",
    "dir/",
    "new\nline",
    "tab\tand\x7f",
    "plus+and%20percent?x=1#y",
    "n" * 1000,
    "deep/" * 200 + "end",
    "\U0001f600",
    "-rf",
)


# ------------------------------------------------------------------ round trips


def test_what_is_packed_comes_back_equal(memory: Memory, store: FolderStore) -> None:
    """Small, large and empty ones with what they carry; and the counts of the source, the packs and the target are the same."""
    memory.fill(*objects(35))
    memory.fill(("empty", b""), ("large", bytes(range(256)) * 50), ContentType="text/x", Metadata={"who": "me"})
    found = backup(memory, store)
    other = Memory()
    restored = restore(store, found, other)
    assert other.plain() == memory.plain()
    assert other.objects["empty"][2] == {"ContentType": "text/x", "Metadata": {"who": "me"}}
    assert restored.same(total(found)) and restored.same(tally_bucket(memory.bucket(), True)) and restored.objects == 37
    assert tally_bucket(other.bucket(), True).digest == restored.digest
    assert tally_bucket(other.bucket(), False).same(restored)


def test_packs_hold_about_what_they_may_and_large_objects_are_alone(memory: Memory, store: FolderStore) -> None:
    """By size; their names say nothing about what is in them."""
    memory.fill(*objects(25), ("run-00/0004-large", bytes(6000)))
    found = backup(memory, store)
    assert [pack.objects for pack in found] == [5, 1, 10, 10]
    assert [pack.file.name for pack in found] == ["%s/%05d.tar.gz" % (FOLDER, number) for number in range(1, 5)]
    assert (found[0].first, found[0].last) == ("run-00/0000", "run-00/0004")
    assert found[1].first == found[1].last == "run-00/0004-large"


def test_any_key_comes_back_exactly_and_is_harmless_in_the_tar_file(memory: Memory, store: FolderStore) -> None:
    """Extracted by a person's tar, too."""
    memory.fill(*((key, key.encode()) for key in ODD_KEYS))
    found = backup(memory, store, pack_bytes=100_000)
    other = Memory()
    restore(store, found, other)
    assert other.plain() == {key: key.encode() for key in ODD_KEYS}
    names = members(store, found[0])
    assert len(names) == len(ODD_KEYS)
    for name in names:
        assert not name.startswith("/") and name.isprintable() and not {"", ".", ".."} & set(name.split("/")), name


def test_an_empty_bucket_has_no_packs(memory: Memory, store: FolderStore) -> None:
    """And restoring none writes nothing."""
    assert backup(memory, store) == [] and restore(store, [], memory) == Tally()


def test_a_pack_survives_json(memory: Memory, store: FolderStore) -> None:
    """As it lies in the manifest's details; anything else is refused."""
    memory.fill(*objects(3))
    (pack,) = backup(memory, store)
    details = json.loads(json.dumps(pack.details()))
    assert Pack.read(pack.file, details) == pack
    with pytest.raises(EngineError, match="what the manifest says about this pack"):
        Pack.read(pack.file, {**details, "more": 1})


def test_the_same_bucket_gives_the_same_bytes(memory: Memory, store: FolderStore, tmp_path: Path) -> None:
    """However the threads ran."""
    memory.fill(*objects(30))
    assert backup(memory, store) == backup(memory, FolderStore(str(tmp_path / "again")))


# ------------------------------------------------------------------ going on


@pytest.mark.parametrize("stop", [0, 1, 3])
@pytest.mark.parametrize("folders_first", [False, True])
def test_a_backup_that_was_stopped_goes_on_after_its_last_pack(memory: Memory, store: FolderStore, stop: int, folders_first: bool) -> None:
    """Nothing is read twice, nothing is missed; also with a store that lists folders before what is beside them."""
    memory.page = 7
    memory.fill(*((key.replace("run-00/", "a/").replace("run-01/", "a-b/"), data) for key, data in objects(35)))
    if folders_first:
        memory.order = lambda key: key.replace("/", "\0")
    first: List[Pack] = []
    for pack in pack_bucket(memory.bucket(), store, FOLDER, PLAIN, (), Silent(), pack_bytes=1000, workers=2):
        if len(first) == stop:
            break
        first.append(pack)
    before = memory.count("get_object")
    rest = backup(memory, store, first)
    assert memory.count("get_object") - before == 35 - 10 * stop
    other = Memory()
    assert restore(store, [*first, *rest], other).same(tally_bucket(memory.bucket(), True))
    assert other.plain() == memory.plain()


def test_it_goes_on_though_the_last_object_is_gone(memory: Memory, store: FolderStore) -> None:
    """The order of the list says where it was; where it does not, nothing is guessed."""
    memory.fill(*objects(20))
    first = backup(memory, store)[:1]
    del memory.objects[first[-1].last]
    rest = backup(memory, store, first)
    assert sum(pack.objects for pack in rest) == 10
    with pytest.raises(EngineError, match="cannot go on where it stopped") as caught:
        backup(memory, store, [replace(first[0], ordered=False)])
    assert "begin a new backup" in str(caught.value)


def test_restoring_again_writes_nothing_again_and_deletes_nothing(memory: Memory, store: FolderStore) -> None:
    """What the target has besides stays; what is another there is written."""
    memory.fill(*objects(25))
    found = backup(memory, store)
    other = Memory()
    other.fill(("a-own", b"mine"), ("run-01/0015x", b"mine too"), ("zz-own", b"mine"))
    restore(store, found, other)
    written = other.count("put_object")
    other.fill(("run-00/0003", b"another"), ("run-00/0004", b"of the same size".ljust(100)))
    again = restore(store, found, other)
    assert other.count("put_object") - written == 2 and again.skipped == 23
    assert again.same(total(found))
    assert {**memory.plain(), "a-own": b"mine", "run-01/0015x": b"mine too", "zz-own": b"mine"} == other.plain()


# ------------------------------------------------------------------ the source changes meanwhile


def test_an_object_that_changed_since_the_list_is_taken_as_it_is_now(memory: Memory, store: FolderStore) -> None:
    """And counted; so are those that are gone."""
    memory.fill(*objects(20))

    def meddle(told: Dict[str, Any]) -> None:
        if told["Key"] == "run-00/0003":
            memory.fill(("run-00/0003", b"longer than it was " * 9))
        if told["Key"] in ("run-00/0005", "run-01/0019"):
            memory.objects.pop(told["Key"], None)

    memory.before["get_object"] = meddle
    found = backup(memory, store)
    assert (total(found).objects, total(found).changed, total(found).vanished) == (18, 1, 2)
    other = Memory()
    restore(store, found, other)
    assert other.plain() == memory.plain()


@pytest.mark.parametrize("way", ["backup", "copy", "tally"])
def test_an_object_that_grew_large_meanwhile_is_not_held_in_memory(memory: Memory, store: FolderStore, way: str) -> None:
    """It is read as a stream then, and right."""
    memory.fill(*objects(5))
    large = bytes(range(250)) * 40

    def grow(told: Dict[str, Any]) -> None:
        memory.fill(("run-00/0002", large))

    memory.before["get_object"] = grow
    other = Memory()
    if way == "backup":
        found = backup(memory, store)
        tally = total(found)
        assert [pack.objects for pack in found] == [2, 1, 2]
        restore(store, found, other)
    else:
        tally = copy_bucket(memory.bucket(), other.bucket(), Silent()) if way == "copy" else tally_bucket(memory.bucket(), True)
    assert tally.objects == 5 and tally.changed == 1 and tally.bytes == 400 + len(large)
    if way != "tally":
        assert other.plain() == memory.plain()


@pytest.mark.parametrize("way", ["backup", "copy"])
@pytest.mark.parametrize("size", [4000, 6000])
def test_no_two_versions_are_mixed_when_the_connection_breaks(memory: Memory, store: FolderStore, way: str, size: int) -> None:
    """The object was replaced before it could be read on: it is read again from its beginning, the new version alone."""
    memory.fill(("a", b"1"), ("b", b"old!" * (size // 4)), ("c", b"2"))
    memory.breaks["b"] = 1500

    def replace_it(told: Dict[str, Any]) -> None:
        if "Range" in told:
            memory.breaks.clear()
            memory.fill(("b", b"new." * (size // 4)))
            memory.before.clear()

    memory.before["get_object"] = replace_it
    other = Memory()
    if way == "backup":
        found = backup(memory, store)
        assert total(found).changed == 1
        restore(store, found, other)
    else:
        assert copy_bucket(memory.bucket(), other.bucket(), Silent()).changed == 1
    assert other.plain() == {"a": b"1", "b": b"new." * (size // 4), "c": b"2"}
    assert other.uploads == {}


def test_an_object_that_never_holds_still_is_named(memory: Memory, store: FolderStore) -> None:
    """After a few turns; no pack of it stays."""
    memory.fill(("log", b"0" * 6000))
    memory.breaks["log"] = 1500
    turn = iter(range(100))

    def write_on(told: Dict[str, Any]) -> None:
        if "Range" in told:
            memory.fill(("log", b"%d" % next(turn) * 6000))

    memory.before["get_object"] = write_on
    with pytest.raises(EngineError, match="object log in bucket data.*changed while it was read"):
        backup(memory, store)
    assert list(store.list()) == []


def test_an_error_of_one_object_stops_the_backup_and_names_it(memory: Memory, store: FolderStore) -> None:
    """Packs before it stay; half a pack does not."""
    memory.fill(*objects(25))

    def deny(told: Dict[str, Any]) -> None:
        if told["Key"] == "run-01/0013":
            raise refusal("AccessDenied")

    memory.before["get_object"] = deny
    with pytest.raises(EngineError, match="object run-01/0013 in bucket data at http://store:9000: the store denies this"):
        backup(memory, store)
    assert [item.name for item in store.list()] == [FOLDER + "/00001.tar.gz"]


# ------------------------------------------------------------------ from store to store


def test_a_copy_is_equal_and_a_second_one_copies_nothing(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the target has besides is left alone; parts have the size that they had, so that ETags can be compared."""
    monkeypatch.setattr(copying, "PAGE", 10)
    memory.fill(*objects(40), ("empty", b""))
    s3.put_stream(memory.bucket(), "large", [bytes(9000)])
    other = Memory()
    other.fill(("own", b"mine"), ("run-00/0001", b"old"))
    first = copy_bucket(memory.bucket(), other.bucket(), Silent())
    assert first.same(tally_bucket(memory.bucket(), True)) and first.digest and first.skipped == 0
    assert other.plain() == {**memory.plain(), "own": b"mine"}
    written = len(other.calls)
    again = copy_bucket(memory.bucket(), other.bucket(), Silent())
    assert again.skipped == 42 and again.digest == "" and again.objects == 42
    assert {name for name, _key in other.calls[written:]} == {"list_objects_v2"} and len(other.calls) - written < 8
    other.fill(("run-00/0001", b"of the same size".ljust(100)))
    assert copy_bucket(memory.bucket(), other.bucket(), Silent()).skipped == 41 and other.plain()["run-00/0001"] == b"000001" * 16 + b"0000"


def test_a_copy_that_was_stopped_copies_only_the_rest(memory: Memory) -> None:
    """The target refused one in the middle."""
    memory.fill(*objects(40))
    other = Memory()

    def full(told: Dict[str, Any]) -> None:
        if told["Key"] == "run-02/0020":
            raise refusal("XMinioStorageFull")

    other.before["put_object"] = full
    with pytest.raises(EngineError, match="object run-02/0020 in bucket data at http://store:9000: the store is full"):
        copy_bucket(memory.bucket(), other.bucket(), Silent(), workers=1)
    other.before.clear()
    there = len(other.objects)
    assert 20 <= there < 40
    assert copy_bucket(memory.bucket(), other.bucket(), Silent()).skipped == there
    assert tally_bucket(other.bucket(), True).digest == tally_bucket(memory.bucket(), True).digest


def test_a_copy_between_stores_of_different_order_is_complete(memory: Memory) -> None:
    """What is not found in the list of the target, which sorts otherwise, is copied once more, never left out."""
    memory.page = copying.PAGE
    memory.fill(*((key.replace("run-0", "a/").replace("1/00", "1-b/"), data) for key, data in objects(60)))
    other = Memory()
    other.order = lambda key: key.replace("/", "\0")
    copy_bucket(memory.bucket(), other.bucket(), Silent())
    copy_bucket(memory.bucket(), other.bucket(), Silent())
    assert other.plain() == memory.plain()


def test_a_vanished_object_is_no_error_and_a_vanished_bucket_is(memory: Memory) -> None:
    """Large or small."""
    memory.fill(("gone", b"1"), ("gone-large", bytes(6000)), ("stays", b"2"))

    def remove(told: Dict[str, Any]) -> None:
        for key in ("gone", "gone-large"):
            memory.objects.pop(key, None)

    memory.before["get_object"] = remove
    other = Memory()
    tally = copy_bucket(memory.bucket(), other.bucket(), Silent())
    assert (tally.objects, tally.vanished) == (1, 2) and other.plain() == {"stays": b"2"}

    def no_bucket(told: Dict[str, Any]) -> None:
        raise refusal("NoSuchBucket")

    memory.before["get_object"] = no_bucket
    with pytest.raises(EngineError, match="there is no such bucket"):
        copy_bucket(memory.bucket(), Memory().bucket(), Silent())


def test_the_digest_knows_the_objects_and_not_their_order() -> None:
    """Any other key, size or content is another digest; so is one object twice."""
    one, other, less, twice, swapped = Tally(), Tally(), Tally(), Tally(), Tally()
    pairs = [("a", 1, "x"), ("b", 1, "y")]
    swapped.count("a", 1, "y")
    swapped.count("b", 1, "x")
    for key, size, sha256 in pairs:
        one.count(key, size, sha256)
    for key, size, sha256 in reversed(pairs):
        other.count(key, size, sha256)
    less.count("a", 1, "x")
    twice.add(one).add(one)
    assert one.digest == other.digest and len({one.digest, less.digest, twice.digest, swapped.digest, Tally().digest}) == 5
    assert not one.same(twice)


@pytest.mark.parametrize("key", ["a//b", "/a/b", "a/./b", "../a/b"])
@pytest.mark.parametrize("way", ["restore", "copy"])
def test_no_object_is_written_over_one_of_another_key(memory: Memory, store: FolderStore, key: str, way: str) -> None:
    """Stores that are file systems inside take "a//b" for "a/b": found out before it happens, and nothing stays of the test."""

    class Folders(Memory):
        """Such a store."""

        def put_object(self, **told: Any) -> Dict[str, Any]:
            return super().put_object(**{**told, "Key": "/".join(part for part in told["Key"].split("/") if part not in ("", ".", ".."))})

    memory.fill((key, b"other"))
    target = Folders()
    target.fill(("a/b", b"precious"))
    with pytest.raises(EngineError, match="it would lie under another one") as caught:
        if way == "copy":
            copy_bucket(memory.bucket(), target.bucket(), Silent())
        else:
            restore(store, backup(memory, store), target)
    assert "object %s in bucket" % key in str(caught.value)
    assert target.plain() == {"a/b": b"precious"}


@pytest.mark.parametrize("page", [1000, 1])
def test_what_the_target_has_in_a_newer_state_stays_if_that_is_asked_for(
    memory: Memory, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large and small, and whether the list of the target shows them or not; what is older there is written."""
    monkeypatch.setattr(copying, "PAGE", page)
    monkeypatch.setattr(copying, "USELESS_PAGES", 0 if page == 1 else 20)
    memory.fill(("a", b"old"), ("b", b"old"), ("c-large", b"old!" * 2000), ("d", b"old"))
    for newer in (False, True):
        other = Memory()
        other.fill(("a", b"newer"), ("b", b"older"), ("c-large", b"newer"), ("z", b"own"))
        other.times = {key: NOW + timedelta(seconds=-9 if key == "b" else 9) for key in other.objects}
        tally = copy_bucket(memory.bucket(), other.bucket(), Silent(), newer_stays=newer)
        kept = {"a": b"newer", "c-large": b"newer"} if newer else {}
        assert other.plain() == {**memory.plain(), **kept, "z": b"own"}
        assert (tally.objects, tally.newer, tally.skipped) == (4, len(kept), len(kept))


@pytest.mark.parametrize(("size", "parts", "part"), [(100, 20, 5), (100, 7, 16), (40, 3, 16), (100, 13, 8), (1000, 16, 64), (100, 99, 0)])
def test_the_size_of_parts_is_guessed_from_their_number(size: int, parts: int, part: int) -> None:
    """In MiB; an object in one part has no number."""
    assert copying._likely_part(size << 20, "%032x-%d" % (0, parts)) == part << 20
    assert copying._likely_part(size << 20, "%032x" % 0) == 0
