# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An S3 store in memory behind the S3 library's calls: for what no real store does on demand. Real ones: tests/integration."""

from __future__ import annotations

import datetime
import hashlib
import io
import tarfile
import threading
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import botocore.exceptions
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import copying, objectwork, packs, s3
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.copying import Pack, Tally, pack_bucket, unpack_bucket
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import BackupKey
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.s3 import Bucket, Client
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.stores import FolderStore

NOW = datetime.datetime(2026, 11, 24, 18, 45, tzinfo=datetime.timezone.utc)
HEADERS = ("ContentType", "ContentEncoding", "Metadata")
PLAIN = BackupKey()
FOLDER = "20261124T184500Z-site/objects"


def refusal(code: str, message: str = "") -> botocore.exceptions.ClientError:
    """An error as the S3 library raises it."""
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "Anything")


def md5(data: bytes) -> str:
    """The ETag of what is written in one part."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Broken(io.BytesIO):
    """A body whose connection ends after so many bytes."""

    def __init__(self, data: bytes, after: int) -> None:
        super().__init__(data)
        self._left = after

    def read(self, size: Optional[int] = -1) -> bytes:
        """At most what is left before the connection ends."""
        if self._left <= 0:
            raise ConnectionResetError("Connection reset by peer")
        data = super().read(min(size if size and size > 0 else self._left, self._left))
        self._left -= len(data)
        return data


class Memory:
    """The calls of the S3 library, on objects in memory.

    :ivar before: what happens before a call, by its name: may change objects or raise; gets the parameters.
    :ivar breaks: key -> after how many bytes the connection of each answer ends.
    :ivar times: when objects were written, by key; all others at :data:`NOW`.
    :ivar order: how the store sorts its keys; ``page``: how many a list has.
    """

    def __init__(self) -> None:
        self.objects: Dict[str, Tuple[bytes, str, Dict[str, Any]]] = {}
        self.uploads: Dict[str, Dict[int, bytes]] = {}
        self.before: Dict[str, Callable[[Dict[str, Any]], None]] = {}
        self.breaks: Dict[str, int] = {}
        self.times: Dict[str, datetime.datetime] = {}
        self.order: Callable[[str], Any] = str
        self.page = 1000
        self.calls: List[Tuple[str, str]] = []
        self._lock = threading.Lock()

    def bucket(self, name: str = "data") -> Bucket:
        """A bucket of this store."""
        return Bucket(Client(self, "http://store:9000"), name)

    def fill(self, *pairs: Tuple[str, bytes], **headers: Any) -> None:
        """Put objects in."""
        for key, data in pairs:
            self.objects[key] = (data, md5(data), headers)

    def plain(self) -> Dict[str, bytes]:
        """The bytes by key."""
        return {key: data for key, (data, _etag, _headers) in self.objects.items()}

    def count(self, operation: str) -> int:
        """How often this was called."""
        return sum(1 for name, _key in self.calls if name == operation)

    def _begin(self, operation: str, told: Dict[str, Any]) -> None:
        with self._lock:
            self.calls.append((operation, told.get("Key", "")))
        if operation in self.before:
            self.before[operation](told)

    def _found(self, key: str, code: str) -> Tuple[bytes, str, Dict[str, Any]]:
        if key not in self.objects:
            raise refusal(code)
        return self.objects[key]

    def list_objects_v2(self, **told: Any) -> Dict[str, Any]:
        """A page."""
        self._begin("list_objects_v2", told)
        keys = sorted((key for key in self.objects if key.startswith(told.get("Prefix", ""))), key=self.order)
        after = told.get("ContinuationToken") or told.get("StartAfter", "")
        keys = [key for key in keys if self.order(key) > self.order(after)]
        size = told.get("MaxKeys", self.page)
        items: List[Dict[str, Any]] = [{"Key": key, "Size": len(self.objects[key][0])} for key in keys[:size]]
        for item in items:
            item.update(ETag='"%s"' % self.objects[item["Key"]][1], LastModified=self.times.get(item["Key"], NOW))
        more = len(keys) > size
        return {"Contents": items, "IsTruncated": more, **({"NextContinuationToken": items[-1]["Key"]} if more else {})}

    def get_object(self, **told: Any) -> Dict[str, Any]:
        """An object, or the rest of it."""
        self._begin("get_object", told)
        data, etag, headers = self._found(told["Key"], "NoSuchKey")
        if told.get("IfMatch", '"%s"' % etag) != '"%s"' % etag:
            raise refusal("PreconditionFailed")
        start = int(told["Range"][6:-1]) if "Range" in told else 0
        rest = data[start:]
        limit = self.breaks.get(told["Key"])
        body = Broken(rest, limit) if limit is not None and limit < len(rest) else io.BytesIO(rest)
        found = {**headers, "Body": body, "ContentLength": len(rest), "ETag": '"%s"' % etag, "LastModified": NOW}
        return {**found, "ContentRange": "bytes %d-%d/%d" % (start, len(data) - 1, len(data))} if start else found

    def head_object(self, **told: Any) -> Dict[str, Any]:
        """An object without its bytes."""
        self._begin("head_object", told)
        data, etag, _headers = self._found(told["Key"], "404")
        return {"ContentLength": len(data), "ETag": '"%s"' % etag, "LastModified": self.times.get(told["Key"], NOW)}

    def put_object(self, **told: Any) -> Dict[str, Any]:
        """Store an object."""
        self._begin("put_object", told)
        data = bytes(told["Body"])
        self.objects[told["Key"]] = (data, md5(data), {name: told[name] for name in HEADERS if name in told})
        return {"ETag": '"%s"' % md5(data)}

    def delete_object(self, **told: Any) -> Dict[str, Any]:
        """Delete an object, if it is there."""
        self._begin("delete_object", told)
        self.objects.pop(told["Key"], None)
        return {}

    def create_multipart_upload(self, **told: Any) -> Dict[str, Any]:
        """Begin an upload in parts."""
        self._begin("create_multipart_upload", told)
        self.uploads["upload-%s" % told["Key"]] = {}
        return {"UploadId": "upload-%s" % told["Key"]}

    def upload_part(self, **told: Any) -> Dict[str, Any]:
        """One part."""
        self._begin("upload_part", told)
        self.uploads[told["UploadId"]][told["PartNumber"]] = bytes(told["Body"])
        return {"ETag": '"%s"' % md5(told["Body"])}

    def complete_multipart_upload(self, **told: Any) -> Dict[str, Any]:
        """The parts become an object."""
        self._begin("complete_multipart_upload", told)
        parts = [data for _number, data in sorted(self.uploads.pop(told["UploadId"]).items())]
        digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
        etag = "%s-%d" % (md5(digests), len(parts))
        self.objects[told["Key"]] = (b"".join(parts), etag, {})
        return {"ETag": '"%s"' % etag}

    def abort_multipart_upload(self, **told: Any) -> Dict[str, Any]:
        """Forget the parts."""
        self._begin("abort_multipart_upload", told)
        self.uploads.pop(told["UploadId"], None)
        return {}


# ------------------------------------------------------------------ backups of it


@pytest.fixture(name="memory")
def _memory() -> Memory:
    return Memory()


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> FolderStore:
    return FolderStore(str(tmp_path / "backups"))


@pytest.fixture(name="small")
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is more than 5000 bytes is large here; tar's own blocks cost nothing, so that packs are easy to foresee."""
    for module in (objectwork, packs, copying):
        monkeypatch.setattr(module, "WHOLE", 5000)
    for name, value in (("PART", 1000), ("PIECE", 100)):
        monkeypatch.setattr(s3, name, value)
    monkeypatch.setattr(packs, "OVERHEAD", 0)


def objects(count: int, size: int = 100) -> Iterator[Tuple[str, bytes]]:
    """So many small ones, no two the same."""
    return ((("run-%02d/%04d" % (number // 10, number)), (b"%06d" % number * size)[:size]) for number in range(count))


def backup(memory: Memory, store: FolderStore, done: Sequence[Pack] = (), key: BackupKey = PLAIN, pack_bytes: int = 1000) -> List[Pack]:
    """All packs."""
    return list(pack_bucket(memory.bucket(), store, FOLDER, key, done, Silent(), pack_bytes=pack_bytes, workers=4))


def restore(store: FolderStore, found: Sequence[Pack], memory: Memory, key: BackupKey = PLAIN, encryption: str = "") -> Tally:
    """Into a bucket."""
    return unpack_bucket(store, [pack.file for pack in found], key, encryption, memory.bucket("new"), Silent(), workers=4)


def total(found: Sequence[Pack]) -> Tally:
    """What the packs say in all."""
    tally = Tally()
    for pack in found:
        tally.add(pack.tally)
    return tally


def members(store: FolderStore, pack: Pack) -> Dict[str, tarfile.TarInfo]:
    """A pack as a person's tar reads it."""
    plain = zlib.decompress(b"".join(store.get(pack.file.name)), 31)
    assert plain.endswith(bytes(1024)) and not len(plain) % 512  # as every tar wants its end
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        return {member.name: member for member in tar.getmembers()}
