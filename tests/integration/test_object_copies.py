# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects between real stores and backups: MinIO, SeaweedFS and folders, killed servers and objects that change meanwhile."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import s3
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.copying import (
    Bucket,
    Pack,
    Tally,
    copy_bucket,
    pack_bucket,
    tally_bucket,
    unpack_bucket,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import BackupKey
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.stores import FolderStore, Store

from .s3_support import KEYS, Server, artifacts, fill, has_seaweedfs, minio, reader_of, seaweedfs
from .support import COLLECTIONS, EXHAUSTIVE

MB = 1 << 20
FOLDER = "20261124T184500Z-site/objectstore"
PLAIN = BackupKey()
MANY = 5000 if EXHAUSTIVE else 600
LARGE = (100 if EXHAUSTIVE else 36) * MB
# What the platform's stores take; what they do not take is in the unit tests.
KEYS_OF_PEOPLE = (
    "a b",
    "Grüße/日本.txt",
    "new\nline",
    "tab\tand\x7f",
    "plus+and%20percent?x=1#y&z",
    "deep/" * 150 + "end",
    "\U0001f600",
    "-rf",
)
_numbers = itertools.count(1)


@pytest.fixture(name="store_of", scope="module")
def _store_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """A running server of a kind, one for all tests."""
    running: Dict[str, Server] = {}
    kinds: Dict[str, Callable[[Path], Server]] = {"minio": minio, "seaweedfs": seaweedfs, "tls": lambda folder: minio(folder, tls=True)}

    def start(kind: str) -> Server:
        if kind == "seaweedfs" and not has_seaweedfs():
            pytest.skip("SeaweedFS is not built yet: make test-all does that")
        if kind not in running:
            running[kind] = kinds[kind](tmp_path_factory.mktemp(kind))
            running[kind].start()
        return running[kind]

    yield start
    for server in running.values():
        server.kill()


@pytest.fixture(name="source", scope="module")
def _source(store_of: Callable[[str], Server]) -> Bucket:
    """A bucket of a MinIO as a site has it: small, large, empty objects, and all kinds of keys. Nobody changes it."""
    bucket = store_of("minio").make("mlpipeline")
    fill(bucket, artifacts(MANY), ContentType="application/json")
    fill(bucket, ((key, key.encode()) for key in KEYS_OF_PEOPLE), Metadata={"who": "me", "why": "a b"})
    fill(bucket, [("empty", b""), ("folder/", b"")])
    fill(bucket, [("zipped", gzip.compress(b"text " * 99))], ContentEncoding="gzip", ContentType="text/plain", CacheControl="max-age=60")
    chunks = (bytes([number % 251]) * MB for number in range(LARGE // MB))
    s3.put_stream(bucket, "models/large", chunks, {"ContentType": "application/x-model", "Metadata": {"who": "me"}}, fixed=5 * MB)
    return bucket


def new_bucket(server: Server) -> Bucket:
    """An empty one."""
    return server.make("test-%d" % next(_numbers))


def packed(bucket: Bucket, store: Store, done: Tuple[Pack, ...] = (), key: BackupKey = PLAIN, size: int = 1 * MB) -> List[Pack]:
    """All packs of a bucket."""
    return list(pack_bucket(bucket, store, FOLDER, key, done, Silent(), pack_bytes=size))


def total(packs: List[Pack]) -> Tally:
    """What the packs say in all."""
    tally = Tally()
    for pack in packs:
        tally.add(pack.tally)
    return tally


def headers(bucket: Bucket, key: str) -> Any:
    """What an object carries besides its bytes."""
    return s3.open_object(bucket, key).headers


# ------------------------------------------------------------------ there and back


@pytest.mark.parametrize("kind", ["minio", "seaweedfs"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_bucket_comes_back_from_a_backup_as_it_was(
    source: Bucket, store_of: Callable[[str], Server], tmp_path: Path, kind: str, encrypted: bool
) -> None:
    """Every byte and what it carries; restored twice with the same result; and no key of an object is a file's name."""
    key = BackupKey(passphrase="correct horse") if encrypted else PLAIN
    store, target = FolderStore(str(tmp_path / "backups")), new_bucket(store_of(kind))
    packs = packed(source, store, key=key)
    files = [pack.file for pack in packs]
    first = unpack_bucket(store, files, key, key.encryption, target, Silent())
    again = unpack_bucket(store, files, key, key.encryption, target, Silent())
    there = tally_bucket(source, True)
    assert there.objects >= MANY + len(KEYS_OF_PEOPLE) + 4
    assert there.digest == total(packs).digest == first.digest == again.digest == tally_bucket(target, True).digest
    assert again.skipped >= MANY and first.skipped == 0
    for name in ("zipped", "models/large", *KEYS_OF_PEOPLE[:3]):
        assert headers(target, name) == headers(source, name), name
    assert all(item.name.startswith(FOLDER + "/0") for item in store.list())
    # large objects are alone in their packs; the others fill theirs
    assert max(pack.objects for pack in packs) > 200 and [pack for pack in packs if pack.objects == 1 and pack.bytes == LARGE]


def test_a_backup_lies_in_a_bucket_as_well(source: Bucket, store_of: Callable[[str], Server]) -> None:
    """In the same store here: from a bucket into a bucket and back, with packs in several parts."""
    server = store_of("minio")
    place = new_bucket(server)
    store = s3.S3Store.open("s3://%s/backups" % place.name, server.settings())
    store.check(1 << 30)
    packs = packed(source, store, size=64 * MB)
    assert [item.name for item in store.list()] == [pack.file.name for pack in packs]
    target = new_bucket(server)
    unpack_bucket(store, [pack.file for pack in packs], PLAIN, "", target, Silent())
    assert tally_bucket(target, True).digest == tally_bucket(source, True).digest


def test_another_key_opens_nothing(source: Bucket, store_of: Callable[[str], Server], tmp_path: Path) -> None:
    """And nothing is written."""
    store, target = FolderStore(str(tmp_path / "backups")), new_bucket(store_of("minio"))
    key = BackupKey(passphrase="correct horse")
    pack = next(pack_bucket(source, store, FOLDER, key, (), Silent(), pack_bytes=MB))
    with pytest.raises(EngineError, match="the passphrase does not open it") as caught:
        unpack_bucket(store, [pack.file], BackupKey(passphrase="wrong pony"), "passphrase", target, Silent())
    assert pack.file.name in str(caught.value) and "pony" not in str(caught.value)
    assert tally_bucket(target, False).objects == 0


def test_small_objects_take_the_short_way_on_a_real_store(store_of: Callable[[str], Server]) -> None:
    """The library is not asked for any of them; with TLS and odd keys, too."""
    for kind in ("minio", "tls"):
        bucket = new_bucket(store_of(kind))
        pairs = [*artifacts(30), *((key, key.encode()) for key in KEYS_OF_PEOPLE)]

        class Listing:
            """Only lists."""

            def __init__(self, api: Any) -> None:
                self.list_objects_v2 = api.list_objects_v2

        short = replace(bucket, client=replace(bucket.client, api=Listing(bucket.client.api)))
        fill(short, pairs, ContentType="text/plain", Metadata={"who": "me"})
        for key, data in pairs:
            opened = s3.open_object(short, key, len(data))
            assert (b"".join(opened.chunks), opened.etag) == (data, s3.md5(data).hexdigest())
            assert opened.headers == {"ContentType": "text/plain", "Metadata": {"who": "me"}}


# ------------------------------------------------------------------ from store to store


@pytest.mark.parametrize("kind", ["minio", "seaweedfs"])
def test_a_copy_is_equal_and_a_second_one_writes_nothing(source: Bucket, store_of: Callable[[str], Server], kind: str) -> None:
    """From a MinIO to the store that takes its place; what this has besides is left alone."""
    target = new_bucket(store_of(kind))
    fill(target, [("artifacts/own", b"mine"), ("zz", b"mine")])
    first = copy_bucket(source, target, Silent())
    assert first.digest == tally_bucket(source, True).digest and first.skipped == first.changed == first.vanished == 0
    assert headers(target, "models/large") == headers(source, "models/large")
    again = copy_bucket(source, target, Silent())
    assert again.skipped == again.objects == first.objects
    assert tally_bucket(target, False).objects == first.objects + 2
    assert b"".join(s3.open_object(target, "zz").chunks) == b"mine"


@pytest.mark.parametrize("victim", ["source", "target"])
def test_a_server_that_is_killed_in_the_middle_of_a_copy_and_comes_back(
    tmp_path: Path, victim: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy stops and says why; run again it does the rest, and both are equal."""
    from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import s3_client

    monkeypatch.setattr(s3_client, "ATTEMPTS", 2)
    servers = {"source": minio(tmp_path / "one"), "target": minio(tmp_path / "two")}
    try:
        for server in servers.values():
            server.start()
        source, target = (server.make("data") for server in servers.values())
        fill(source, artifacts(MANY))
        seen = itertools.count(1)

        class Killer(Silent):
            """Kills the server when the copy is under way."""

            def waiting(self, where: str, text: str) -> None:
                if next(seen) == 1:
                    servers[victim].kill()

        monkeypatch.setattr("ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objectwork.SHOW_SECONDS", 0.02)
        with pytest.raises(EngineError, match="no answer from %s" % servers[victim].endpoint) as caught:
            copy_bucket(source, target, Killer())
        assert "run again" in str(caught.value) and KEYS[1] not in str(caught.value)
        servers[victim].start()
        again = copy_bucket(source, target, Silent())
        assert 0 < again.skipped < MANY
        assert tally_bucket(target, True).digest == tally_bucket(source, True).digest
    finally:
        for server in servers.values():
            server.kill()


def test_objects_that_change_during_a_backup_are_of_one_version_each(store_of: Callable[[str], Server], tmp_path: Path) -> None:
    """Somebody writes and deletes all the time; what is in the backup is whole."""
    server = store_of("minio")
    bucket, store = new_bucket(server), FolderStore(str(tmp_path / "backups"))
    names = ["live/%03d" % number for number in range(100)]

    def content(name: str, version: int) -> bytes:
        return hashlib.sha256(b"%s %d" % (name.encode(), version)).digest() * (50 + version % 100)

    fill(bucket, ((name, content(name, 0)) for name in names))
    stop = threading.Event()

    def write() -> None:
        for version in itertools.count(1):
            for name in names[version % 3 :: 3]:
                if stop.is_set():
                    return
                if version % 7 == 6:
                    bucket.call("delete_object", name)
                else:
                    s3.put_object(bucket, name, content(name, version))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        tallies = []
        for turn in range(5):
            packs = list(pack_bucket(bucket, store, "%s/%d" % (FOLDER, turn), PLAIN, (), Silent(), pack_bytes=100_000))
            target = new_bucket(server)
            unpack_bucket(store, [pack.file for pack in packs], PLAIN, "", target, Silent())
            tallies.append(total(packs))
            assert tally_bucket(target, True).digest == tallies[-1].digest
            for item in s3.list_objects(target):
                data = b"".join(s3.open_object(target, item.key, item.size).chunks)
                assert data == data[:32] * (len(data) // 32), item.key
    finally:
        stop.set()
        writer.join()
    assert sum(tally.changed + tally.vanished for tally in tallies) > 0


# ------------------------------------------------------------------ stores that cannot be used


@pytest.mark.parametrize("kind", ["minio", "seaweedfs"])
@pytest.mark.parametrize(
    ("changes", "place", "words"),
    [
        ({"secret_key": "wrong-secret"}, "", "does not accept these keys"),
        ({"access_key": "nobody", "secret_key": "wrong-secret"}, "", "does not accept these keys"),
        ({}, "s3://not-there", "there is no such bucket"),
    ],
)
def test_wrong_keys_and_missing_buckets_are_named(
    store_of: Callable[[str], Server], kind: str, changes: Dict[str, str], place: str, words: str
) -> None:
    """Before a backup begins; no key is in the text."""
    server = store_of(kind)
    place = place or "s3://" + new_bucket(server).name
    settings = server.settings(**changes)
    with pytest.raises(EngineError, match=words) as caught:
        s3.S3Store.open(place, settings).check()
    text = str(caught.value)
    assert server.endpoint in text and "Next: " in text and settings["secret_key"] not in text


def test_a_bucket_that_may_only_be_read_is_named(store_of: Callable[[str], Server]) -> None:
    """Keys with a policy, and a session token: reading works, writing is denied."""
    server = store_of("minio")
    bucket = new_bucket(server)
    fill(bucket, [("x", b"1")])
    settings = reader_of(server)
    store = s3.S3Store.open("s3://" + bucket.name, settings)
    assert b"".join(store.get("x")) == b"1"
    with pytest.raises(EngineError, match="the bucket cannot be written: the store denies this with these keys") as caught:
        store.check()
    assert "let these keys list, read, write and delete" in str(caught.value)
    assert settings["session_token"] not in str(caught.value) and settings["secret_key"] not in str(caught.value)
    with pytest.raises(EngineError, match="object x in bucket"):
        store.put("x", [b"2"])
    assert b"".join(store.get("x")) == b"1"


def test_a_certificate_that_is_not_trusted_is_named_and_its_authority_is_enough(store_of: Callable[[str], Server]) -> None:
    """And a store that speaks no TLS, and one that is not there."""
    server = store_of("tls")
    place = "s3://" + new_bucket(server).name
    s3.S3Store.open(place, server.settings()).check()
    cases = [
        (server.settings(ca_file=""), "the certificate of .* is not trusted"),
        (store_of("minio").settings(endpoint=store_of("minio").endpoint.replace("http:", "https:")), "does not speak TLS"),
        (server.settings(endpoint="http://127.0.0.1:1"), "Connection refused"),
    ]
    for settings, words in cases:
        with pytest.raises(EngineError, match=words) as caught:
            s3.S3Store.open(place, settings).check()
        assert "Next: " in str(caught.value)


def test_a_file_in_parts_appears_whole_or_not_at_all(store_of: Callable[[str], Server]) -> None:
    """40 MB; and no part stays in the store when the source fails."""
    server = store_of("minio")
    bucket = new_bucket(server)
    store = s3.S3Store.open("s3://%s/deep/folder" % bucket.name, server.settings())

    def chunks(fail: bool) -> Iterator[bytes]:
        for number in range(40):
            yield bytes([number]) * MB
        if fail:
            raise EngineError("the database went away")

    with pytest.raises(EngineError, match="the database went away"):
        store.put("dump.gz", chunks(fail=True))
    assert list(store.list()) == [] and not bucket.call("list_multipart_uploads").get("Uploads")
    stored = store.put("dump.gz", chunks(fail=False))
    data = hashlib.sha256()
    for chunk in store.get("dump.gz"):
        data.update(chunk)
    assert (stored.size, stored.sha256) == (40 * MB, data.hexdigest())
    assert [(item.name, item.size) for item in store.list("dump")] == [("dump.gz", 40 * MB)]
    store.remove("dump.gz")
    assert list(store.list()) == []


_IN_A_PROCESS = """
import json, sys
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import s3
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.copying import pack_bucket, unpack_bucket
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import BackupKey
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.stores import FolderStore

def peak():  # getrusage also counts the memory of the process that started this one
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))

told = json.load(sys.stdin)
client, store = s3.connect(told["settings"]), FolderStore(told["folder"])
start = peak()
source, target = s3.Bucket(client, told["source"]), s3.Bucket(client, told["target"])
packs = list(pack_bucket(source, store, "x", BackupKey(), (), Silent()))
unpack_bucket(store, [pack.file for pack in packs], BackupKey(), "", target, Silent())
print((peak() - start) // 1024)
"""


def test_memory_does_not_grow_with_the_objects(store_of: Callable[[str], Server], tmp_path: Path) -> None:
    """A large one, and some that are just small enough to be held; there and back with less than two packs in memory."""
    server = store_of("minio")
    source, target = new_bucket(server), new_bucket(server)
    s3.put_stream(source, "large", (bytes([number % 251]) * MB for number in range(400 if EXHAUSTIVE else 180)))
    for number in range(20 if EXHAUSTIVE else 8):
        s3.put_stream(source, "middle-%d" % number, [bytes([number]) * (15 * MB)])
    told = {"settings": server.settings(), "folder": str(tmp_path / "b"), "source": source.name, "target": target.name}
    ended = subprocess.run(
        [sys.executable, "-c", _IN_A_PROCESS],
        input=json.dumps(told).encode(),
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        stdout=subprocess.PIPE,
        check=True,
    )
    print("%s MB more" % ended.stdout.decode().strip())
    assert int(ended.stdout) < 128 + 32, "%s MB" % ended.stdout.decode()
    assert tally_bucket(target, True).digest == tally_bucket(source, True).digest
