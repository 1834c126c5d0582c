# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs of objects that are not what they were: nothing of them is written, and the file is named."""

from __future__ import annotations

import io
import random
import tarfile
import zlib
from dataclasses import replace
from typing import Iterator, Mapping

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import copying, objectwork, s3
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import packed
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.stores import FolderStore

from .s3_support import PLAIN, Memory, _memory, _small, _store, backup, objects, restore

__all__ = ["_memory", "_small", "_store"]
pytestmark = pytest.mark.usefixtures("small")


def damaged(data: bytes) -> Mapping[str, bytes]:
    """Ways in which a file may be another than it was."""
    middle = len(data) // 2
    return {
        "cut off": data[:middle],
        "one bit": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
        "the last byte": data[:-1] + bytes([data[-1] ^ 0x80]),
        "longer": data + b"\0",
        "empty": b"",
        "another's": zlib.compress(b"x" * 10000),
    }


@pytest.mark.parametrize("how", sorted(damaged(b"xx")))
@pytest.mark.parametrize("limit", [80 << 20, 10])
def test_of_a_damaged_pack_nothing_is_written(
    memory: Memory, store: FolderStore, how: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the packs before it everything is; and a large object, read as a stream, does not appear either."""
    monkeypatch.setattr(copying, "HELD_PACK", limit)
    memory.fill(("a", b"first"), ("b-large", bytes(range(251)) * 30), ("c", b"last"))
    found = backup(memory, store)
    name = found[1].file.name
    store.put(name, [damaged(b"".join(store.get(name)))[how]])
    other = Memory()
    with pytest.raises(EngineError) as caught:
        restore(store, found, other)
    assert name in str(caught.value) and "use another backup" in str(caught.value)
    assert other.plain() == {"a": b"first"} and other.uploads == {}


@pytest.mark.parametrize("large", [False, True])
def test_damage_at_the_end_of_a_long_pack_is_found_before_anything_is_there(
    memory: Memory, store: FolderStore, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is read in pieces: objects that are held are written after the whole pack was checked, others appear then."""
    noise = random.Random(1).randbytes(1_200_000)
    monkeypatch.setattr(s3, "PART", 1 << 20)
    if large:
        monkeypatch.setattr(copying, "HELD_PACK", 10)
        memory.fill(("large", noise))
    else:
        memory.fill(*(("%04d" % at, noise[at * 5000 : at * 5000 + 5000]) for at in range(240)))
    (pack,) = backup(memory, store, pack_bytes=8 << 20)
    store.put(pack.file.name, [damaged(b"".join(store.get(pack.file.name)))["the last byte"]])
    other = Memory()
    with pytest.raises(EngineError, match="cut off or changed"):
        restore(store, [pack], other)
    assert other.objects == {} and other.uploads == {}


def test_a_large_object_appears_only_when_its_pack_was_read_to_the_end(
    memory: Memory, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last byte comes out of the tar file before the damage is reached."""
    monkeypatch.setattr(s3, "PART", 1 << 20)
    monkeypatch.setattr(copying, "HELD_PACK", 10)
    memory.fill(("large", bytes((2 << 20) - 3 * 512)))  # with its headers just two of the pieces that tar files are read in
    (pack,) = backup(memory, store)
    data = damaged(b"".join(store.get(pack.file.name)))["the last byte"]

    class Late(FolderStore):
        """The damage comes in a chunk of its own."""

        def get(self, name: str) -> Iterator[bytes]:
            return iter((data[:-8], data[-8:]))

    other = Memory()
    with pytest.raises(EngineError, match="cut off or changed"):
        restore(Late(store.place), [pack], other)
    assert other.objects == {} and other.uploads == {}


def test_a_pack_that_is_missing_is_named(memory: Memory, store: FolderStore) -> None:
    """Before anything of it, after everything in front of it."""
    memory.fill(*objects(20))
    found = backup(memory, store)
    store.remove(found[1].file.name)
    other = Memory()
    with pytest.raises(EngineError, match="00002.tar.gz: the file is not there"):
        restore(store, found, other)
    assert len(other.plain()) == 10


def test_a_file_that_is_no_pack_is_refused(memory: Memory, store: FolderStore) -> None:
    """Though its digests are right: a tar file of somebody else, and none at all."""
    memory.fill(("x", b"1"))
    (pack,) = backup(memory, store)
    foreign = io.BytesIO()
    with tarfile.open(fileobj=foreign, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("x"), io.BytesIO())
    for content in (foreign.getvalue(), b"no tar file at all " * 100, tarfile.TarInfo("x").tobuf()[:100]):
        counted = objectwork.Counted([content])
        stored = store.put("x.tar.gz", packed(counted.chunks(), PLAIN))
        file = replace(pack.file, name="x.tar.gz", size=stored.size, sha256=stored.sha256)
        file = replace(file, plain_size=counted.size, plain_sha256=counted.digest.hexdigest())
        with pytest.raises(EngineError, match="x.tar.gz in .*: it is no pack of objects"):
            restore(store, [replace(pack, file=file)], Memory())
