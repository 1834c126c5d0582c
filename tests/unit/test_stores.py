# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of backups: whole files or none, nothing outside of it, and a full disk that harms nothing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import resource
import shutil
import stat
import tempfile
import types
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils import _engine
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.stores import FolderStore, Stored, open_store


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """An empty one, whose folder does not exist yet."""
    return FolderStore(str(tmp_path / "backups"))


def names(store: FolderStore, prefix: str = "") -> List[str]:
    """What is listed."""
    return [one.name for one in store.list(prefix)]


def everything(folder: Path) -> List[str]:
    """Every file that is really there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def mode(path: Path) -> int:
    """Who may do what."""
    return stat.S_IMODE(path.stat().st_mode)


# ------------------------------------------------------------------ what it is for


def test_what_is_put_can_be_had_again(store: FolderStore, tmp_path: Path) -> None:
    """With size and digest of what is on disk; for the owner's eyes only, whatever the umask is."""
    before = os.umask(0)
    try:
        stored = store.put("id/databases/katib.sql", iter([b"one ", b"", b"two"]))
    finally:
        os.umask(before)
    assert stored == Stored("id/databases/katib.sql", 7, hashlib.sha256(b"one two").hexdigest())
    assert b"".join(store.get(stored.name)) == b"one two" and names(store) == [stored.name]
    assert everything(tmp_path) == ["backups/id/databases/katib.sql"]
    assert [mode(tmp_path / "backups" / name) for name in ("", "id", "id/databases", stored.name)] == [0o700, 0o700, 0o700, 0o600]


def test_large_files_come_in_pieces(store: FolderStore) -> None:
    """No more than a MiB at a time."""
    data = os.urandom((2 << 20) + 5)
    store.put("x", [data])
    chunks = list(store.get("x"))
    assert b"".join(chunks) == data and max(map(len, chunks)) <= 1 << 20


def test_a_file_is_replaced_whole(store: FolderStore) -> None:
    """Who reads the old one goes on reading it; while the new one is written the old one is there."""
    store.put("x", [b"old " * 300_000])
    reader = store.get("x")
    first = next(reader)

    def new() -> Iterator[bytes]:
        yield b"new"
        assert b"".join(store.get("x")).startswith(b"old ") and list(store.list()) == [Stored("x", 1_200_000)]

    store.put("x", new())
    assert first + b"".join(reader) == b"old " * 300_000 and list(store.get("x")) == [b"new"]


def test_lists_are_sorted_by_the_whole_name_and_cut_by_prefix(store: FolderStore) -> None:
    """As a bucket's are: "a-b" comes before "a/b", and a prefix may end within a name."""
    everyone = ["/".join(path) for path in itertools.product(["a", "a-b", "a.b", "B"], ["a", "a b", "ab"], ["x", "ä"])]
    everyone += ["a-", "a-b.c", "a.b-c/x", "z"]
    for name in everyone:
        path = Path(store.place, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert names(store) == sorted(everyone)
    for prefix in {name[:end] for name in everyone for end in range(1, len(name) + 1, 2)} | {"no", "a/a/x/y"}:
        assert names(store, prefix) == sorted(name for name in everyone if name.startswith(prefix)), prefix


def test_removing_takes_empty_folders_along_but_not_the_store(store: FolderStore, tmp_path: Path) -> None:
    """And is fine twice, and with what never was."""
    store.put("id/a/b", [b"1"])
    store.put("id/c", [b"2"])
    for name in ("id/a/b", "id/a/b", "id/never/was", "id/c/never"):
        store.remove(name)
    assert names(store) == ["id/c"] and not (tmp_path / "backups" / "id" / "a").exists()
    store.remove("id/c")
    assert list((tmp_path / "backups").iterdir()) == []


def test_what_is_not_there_is_named(store: FolderStore) -> None:
    """A file, one below a file, a folder; and in a store that was never written."""
    store.put("id/a", [b"1"])
    for name in ("id/b", "id/a/b", "id"):
        with pytest.raises(EngineError, match="not there") as caught:
            list(store.get(name))
        assert caught.value.subject == "%s/%s" % (store.place, name) and caught.value.next_step


def test_a_store_that_was_never_written_is_empty(store: FolderStore, tmp_path: Path) -> None:
    """Its first backup makes it. Where even the folder above is missing a disk is not mounted, or a name is misspelt."""
    assert names(store) == [] and not (tmp_path / "backups").exists()
    far = FolderStore(str(tmp_path / "mnt" / "backups"))
    for attempt in (lambda: names(far), lambda: far.put("x", [b"1"]), far.check):
        with pytest.raises(EngineError) as caught:
            attempt()
        assert str(tmp_path / "mnt") in caught.value.expected and "mount" in caught.value.next_step
    assert not (tmp_path / "mnt").exists()


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", "a/..", ".", "./x", "a//x", "a/", "a\0b", ".part-x", "a/.part-x/b"])
def test_names_that_leave_the_folder_are_refused(store: FolderStore, tmp_path: Path, name: str) -> None:
    """For all that can be done with a name; nothing is made."""
    for attempt in (lambda: store.put(name, [b"1"]), lambda: list(store.get(name)), lambda: store.remove(name)):
        with pytest.raises(EngineError, match="no name of a file") as caught:
            attempt()
        assert caught.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_links_that_leave_the_folder_are_refused(store: FolderStore, tmp_path: Path) -> None:
    """A store may be a link itself; within it none is followed, and none is listed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_text("private")
    store.put("id/a", [b"1"])
    (tmp_path / "backups" / "id" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "backups" / "id" / "file").symlink_to(tmp_path / "elsewhere" / "x")
    for attempt in (lambda: store.put("id/out/x", [b"1"]), lambda: list(store.get("id/out/x")), lambda: store.remove("id/out/x")):
        with pytest.raises(EngineError, match="symbolic link"):
            attempt()
    assert names(store) == ["id/a"] and (tmp_path / "elsewhere" / "x").read_text() == "private"
    (tmp_path / "link").symlink_to(tmp_path / "backups")
    assert names(FolderStore(str(tmp_path / "link"))) == ["id/a"]
    assert FolderStore(str(tmp_path / "link")).put("id/b", [b"2"]).size == 1


# ------------------------------------------------------------------ what goes wrong while writing


def test_an_error_of_the_source_leaves_the_older_file(store: FolderStore, tmp_path: Path) -> None:
    """It comes out as itself, also if it looks like one of the disk; the source is closed, nothing half stays."""
    store.put("id/x", [b"old"])
    closed: List[bool] = []

    def failing(problem: BaseException) -> Iterator[bytes]:
        try:
            yield b"half"
            raise problem
        finally:
            closed.append(True)

    for problem in (OSError(errno.ENOSPC, "of the source"), EngineError("the database went away"), KeyboardInterrupt()):
        with pytest.raises(type(problem)) as caught:
            store.put("id/x", failing(problem))
        assert caught.value is problem
    assert len(closed) == 3
    assert list(store.get("id/x")) == [b"old"] and everything(tmp_path) == ["backups/id/x"]


def test_a_full_disk_leaves_the_older_file(store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written to /dev/full, where the system itself says that no space is left. The source is closed at once."""
    store.put("id/x", [b"old"])
    begin, closed = tempfile.mkstemp, []

    def full(**where: Any) -> Tuple[int, str]:
        handle, path = begin(**where)
        os.close(handle)
        return os.open("/dev/full", os.O_WRONLY), path

    def source() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 5000
        finally:
            closed.append(True)

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with pytest.raises(EngineError) as caught:
        store.put("id/x", source())
    error = caught.value
    assert "no space" in error.cause and error.subject == store.place + "/id/x" and closed == [True]
    assert "5000 bytes" in error.expected and error.found.endswith(" bytes free") and "run again" in error.next_step
    with pytest.raises(EngineError, match="no space") as caught:
        store.check()
    assert caught.value.subject == store.place
    assert list(store.get("id/x")) == [b"old"] and everything(tmp_path) == ["backups/id/x"]


def test_a_limit_for_files_is_told_from_a_full_disk(store: FolderStore, tmp_path: Path) -> None:
    """The system's own limit (ulimit -f), reached in the middle of a file."""
    store.put("x", [b"old"])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(EngineError, match="limit for the size of files") as caught:
            store.put("x", [b"y" * 70_000] * 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "140000 bytes" in caught.value.expected
    assert list(store.get("x")) == [b"old"] and everything(tmp_path) == ["backups/x"]


@pytest.mark.parametrize(
    ("step", "number", "words"),
    [
        ("fsync", errno.ENOSPC, "no space"),
        ("fsync", errno.EDQUOT, "quota"),
        ("fsync", errno.EIO, "cannot write"),
        ("replace", errno.EACCES, "cannot write"),
    ],
)
def test_an_injected_error_at_the_end_leaves_the_older_file(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int, words: str
) -> None:
    """Some file systems (quotas, NFS) notice only at the end that they are full. No real one does so on demand."""
    store.put("x", [b"old"])

    def refuse(*_args: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, refuse)
        with pytest.raises(EngineError, match=words) as caught:
            store.put("x", [b"new"])
    assert caught.value.next_step and list(store.get("x")) == [b"old"] and everything(tmp_path) == ["backups/x"]


def test_a_system_that_takes_a_part_is_given_the_rest(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Injected: write() may take less than it was given."""
    whole = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: whole(handle, bytes(data[:3])))
    store.put("x", [b"0123456789", b"abc"])
    assert list(store.get("x")) == [b"0123456789abc"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A file where a folder should be, a file system that nobody may write to."""
    (tmp_path / "file").write_text("x")
    for place, words in (
        (str(tmp_path / "file"), "Not a directory"),
        ("/proc/backups", "cannot write"),
        ("/sys/kernel/backups", "cannot write"),
    ):
        for attempt in (FolderStore(place).check, lambda place=place: FolderStore(place).put("a/b", [b"1"])):
            with pytest.raises(EngineError, match="cannot write") as caught:
                attempt()
            assert words in caught.value.cause and caught.value.subject.startswith(place) and caught.value.next_step
    store = FolderStore(str(tmp_path))
    with pytest.raises(EngineError, match="cannot write"):
        store.put("file/x", [b"1"])
    with pytest.raises(EngineError, match="File name too long"):
        store.put("x" * 300, [b"1"])


@contextlib.contextmanager
def nobody(folder: Path) -> Iterator[None]:
    """As a user whom this folder does not belong to; root, who may do anything, becomes another one for a moment."""
    root = os.geteuid() == 0
    folder.chmod(0)
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o700)


def test_a_folder_of_somebody_else_is_named(store: FolderStore, tmp_path: Path) -> None:
    """Neither writing, reading, listing nor deleting says anything else than that it is not permitted."""
    store.put("id/x", [b"1"])
    with nobody(tmp_path):
        for attempt in (
            store.check,
            lambda: store.put("id/y", [b"1"]),
            lambda: list(store.get("id/x")),
            lambda: names(store),
            lambda: store.remove("id/x"),
        ):
            with pytest.raises(EngineError, match="Permission denied") as caught:
                attempt()
            assert caught.value.subject.startswith(store.place) and caught.value.next_step
    with nobody(tmp_path / "backups" / "id"), pytest.raises(EngineError, match="Permission denied"):
        names(store)
    assert names(store) == ["id/x"]


# ------------------------------------------------------------------ before a backup


def test_space_is_compared_with_what_is_needed(store: FolderStore, tmp_path: Path) -> None:
    """With what the disk really has; the probe is gone afterwards."""
    free = shutil.disk_usage(tmp_path).free
    store.check()
    store.check(free // 2)
    with pytest.raises(EngineError, match="not enough space") as caught:
        store.check(free * 2)
    assert caught.value.expected == "%d bytes free" % (free * 2) and caught.value.found.endswith("bytes free") and caught.value.next_step
    assert everything(tmp_path) == [] and mode(tmp_path / "backups") == 0o700


# ------------------------------------------------------------------ what killed runs left


def test_what_a_killed_run_left_is_not_listed_and_goes_after_a_day(store: FolderStore, tmp_path: Path) -> None:
    """One that is younger may still be written to. The next put into that folder cleans, and into no other."""
    folder = tmp_path / "backups" / "id"
    store.put("id/x", [b"1"])
    store.put("id/sub/x", [b"1"])
    for name, hours in ((".part-old", 25), (".part-young", 23), ("sub/.part-old", 25), (".hidden", 25)):
        (folder / name).write_bytes(b"half")
        moment = (folder / name).stat().st_mtime - hours * 3600
        os.utime(folder / name, (moment, moment))
    assert names(store) == ["id/.hidden", "id/sub/x", "id/x"]
    FolderStore(store.place).put("id/y", [b"2"])
    assert sorted(path.name for path in folder.iterdir()) == [".hidden", ".part-young", "sub", "x", "y"]
    assert (folder / "sub" / ".part-old").exists()
    store.remove("id/sub/x")  # the last file of a folder goes, and so does what nobody would ever clean
    assert not (folder / "sub").exists()
    for name in ("id/x", "id/y", "id/.hidden"):
        store.remove(name)
    assert [path.name for path in folder.iterdir()] == [".part-young"]


# ------------------------------------------------------------------ which store


def test_a_bucket_is_opened_by_its_own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the place as it was written and its settings; a folder needs no S3 library."""
    calls: List[Any] = []

    def opened(place: str, settings: Any) -> str:
        calls.append((place, settings))
        return "the store"

    monkeypatch.setattr(_engine, "s3", types.SimpleNamespace(S3Store=types.SimpleNamespace(open=opened)), raising=False)
    assert open_store("s3://bucket/prefix", {"endpoint": "x"}) == "the store"  # type: ignore[comparison-overlap]
    assert open_store("s3://bucket") == "the store"  # type: ignore[comparison-overlap]
    assert calls == [("s3://bucket/prefix", {"endpoint": "x"}), ("s3://bucket", {})]


def test_a_folder_may_be_in_ones_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is shown as it was written."""
    monkeypatch.setenv("HOME", str(tmp_path))
    store = open_store("~/backups")
    store.put("x", [b"1"])
    assert store.place == "~/backups" and everything(tmp_path) == ["backups/x"]


@pytest.mark.parametrize("place", ["", "  ", "a\0b", "https://me:secret@host/x", "sftp://host/x", "file:///srv/x"])
def test_other_places_are_refused(place: str) -> None:
    """Without what a person may have written into the address."""
    with pytest.raises(EngineError) as caught:
        open_store(place)
    assert caught.value.next_step and "secret" not in str(caught.value)
