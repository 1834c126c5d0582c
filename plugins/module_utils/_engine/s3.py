# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Object stores that speak S3: reading and writing objects of any size, and keeping backups in a bucket.

An object is whole or not there: what is larger than one part is uploaded in parts, which become an object only when all
have arrived as they were sent (MD5 of each part, both ways).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import secrets
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Deque, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

from .errors import EngineError
from .s3_client import TROUBLE, Bucket, Client, S3Error, connect, first_cause
from .stores import Stored, close

__all__ = ["Bucket", "Client", "S3Error", "S3Store", "connect"]

PIECE = 1 << 18
# What is larger is uploaded in parts of this size; minio-go, which the platform writes with, takes the same.
PART = 16 << 20
# An object has 10,000 parts at most: parts of a stream of unknown length grow after these, for 1 TB in all.
SMALL_PARTS, LARGE_PART = 2000, 128 << 20
MAX_PARTS = 10_000
PARTS_IN_FLIGHT = 2
# How often reading goes on where the connection broke without one more byte in between.
CONTINUES = 4
# What an object carries besides its bytes: the names of the library's parameters.
HEADERS = ("ContentType", "ContentEncoding", "ContentDisposition", "ContentLanguage", "CacheControl", "Metadata")
_MD5 = re.compile(r"[0-9a-f]{32}")

# ------------------------------------------------------------------ reading


@dataclass(frozen=True)
class Listed:
    """An object as a list has it; ``etag`` is the MD5 of one that was written in one part. ``modified``: seconds since 1970."""

    key: str
    size: int
    etag: str
    modified: int = 0


@dataclass
class Opened:
    """An object that is being read: always one version of it, whatever happens to it meanwhile.

    :ivar headers: what it carries besides its bytes, by the library's names (:data:`HEADERS`).
    :ivar chunks: its bytes; reading goes on where the connection broke.
    """

    key: str
    size: int
    etag: str
    modified: int
    headers: Mapping[str, Any]
    chunks: Iterator[bytes]


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer.get("ETag") or "").strip('"')


def _seconds(moment: Any) -> int:
    return int(moment.timestamp()) if moment is not None else 0


def list_objects(bucket: Bucket, prefix: str = "", after: str = "", limit: int = 0) -> Iterator[Listed]:
    """The objects in the store's order, a page in memory.

    :param after: only those that come later in the store's order than this key.
    :param limit: end after the first page, which has so many; 0 for all.
    """
    more: Dict[str, Any] = {"Prefix": prefix} if prefix else {}
    if after:
        more["StartAfter"] = after
    if limit:
        more["MaxKeys"] = limit
    while True:
        answer = bucket.call("list_objects_v2", **more)
        for item in answer.get("Contents") or ():
            yield Listed(item["Key"], int(item["Size"]), _etag(item), _seconds(item.get("LastModified")))
        if limit or not answer.get("IsTruncated"):
            return
        token = answer.get("NextContinuationToken")
        if not token or token == more.get("ContinuationToken"):
            raise S3Error("the store's list does not go on", subject=str(bucket), next_step="look at the store's own log")
        more["ContinuationToken"] = token


def has_bucket(bucket: Bucket) -> bool:
    """Whether it is there: a component makes its buckets only when it needs them."""
    try:
        bucket.call("head_bucket")
    except S3Error as error:
        if error.missing or error.code == "NoSuchBucket":
            return False
        raise
    return True


def make_sure(bucket: Bucket) -> None:
    """Make the bucket if it is not there."""
    if not has_bucket(bucket):
        bucket.call("create_bucket")


def find_object(bucket: Bucket, key: str) -> Optional[Listed]:
    """One object without its bytes, None if it is not there."""
    try:
        answer = bucket.call("head_object", key)
    except S3Error as error:
        if error.missing:
            return None
        raise
    return Listed(key, int(answer["ContentLength"]), _etag(answer), _seconds(answer.get("LastModified")))


def open_object(bucket: Bucket, key: str, expected: int = PART) -> Opened:
    """Begin to read an object.

    :param expected: its size, as far as it is known: what is small is read at once.
    :raises S3Error: ``missing``; while reading also ``changed``, if the connection broke and it is another one by now.
    """
    wire = bucket.client.wire
    quick = wire.get(bucket.name, key, PIECE) if wire is not None and expected <= PIECE else None
    if quick is not None:
        return Opened(key, len(quick.data), quick.etag, quick.modified, quick.headers, iter((quick.data,)))
    answer = bucket.call("get_object", key)
    headers = {name: answer[name] for name in HEADERS if answer.get(name)}
    if "Metadata" in headers:
        headers["Metadata"] = {name.lower(): value for name, value in headers["Metadata"].items()}
    size = int(answer["ContentLength"])
    return Opened(key, size, _etag(answer), _seconds(answer.get("LastModified")), headers, _body(bucket, key, answer, size))


def _body(bucket: Bucket, key: str, answer: Any, size: int) -> Iterator[bytes]:
    """An answer's bytes, exactly ``size`` of them. A broken connection is taken up again where it broke, for the same version."""
    etag, at, broken = answer.get("ETag", ""), 0, 0
    while True:
        stream, problem = answer["Body"], None
        try:
            while at < size:
                chunk = stream.read(min(PIECE, size - at))
                if not chunk:
                    break
                at, broken = at + len(chunk), 0
                yield chunk
        except TROUBLE as error:
            problem = error
        finally:
            stream.close()
        if at >= size:
            return
        broken += 1
        if broken > CONTINUES:
            reason = first_cause(problem) if problem else "the store ended its answer"
            raise S3Error(
                "the connection breaks while it is read: %s" % reason,
                subject=bucket.object(key),
                expected="%d bytes" % size,
                found="%d bytes" % at,
                next_step="look at the store's own log and the network, and run again",
            ) from problem
        answer = bucket.call("get_object", key, IfMatch=etag, **({"Range": "bytes=%d-" % at} if at else {}))
        if answer.get("ETag", "") != etag or (at and not str(answer.get("ContentRange", "")).startswith("bytes %d-" % at)):
            answer["Body"].close()
            raise S3Error("it was changed while it was read", code="PreconditionFailed", subject=bucket.object(key), next_step="run again")


# ------------------------------------------------------------------ writing


def md5(data: bytes) -> Any:
    """MD5 of bytes: what S3 checks transfers with; it is no protection against people."""
    return hashlib.md5(data, usedforsecurity=False)


def _same(bucket: Bucket, key: str, wanted: str, answer: Mapping[str, Any]) -> None:
    """:raises S3Error: the store says that it has other bytes. A store that encrypts has ETags that say nothing."""
    found = _etag(answer)
    if _MD5.fullmatch(found.partition("-")[0]) and "ServerSideEncryption" not in answer and found != wanted:
        raise S3Error(
            "the store has other bytes than it was sent",
            code="BadDigest",
            subject=bucket.object(key),
            expected="MD5 %s" % wanted,
            found="MD5 %s" % found,
            next_step="run again; if it happens again, look at the store's disk and its log",
        )


def _carried(headers: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    """What an object carries, as every store takes it: HTTP's headers are ASCII, other text is written as in mail (RFC 2047)."""
    told = {name: value for name, value in (headers or {}).items() if name in HEADERS}
    meta: Mapping[str, str] = told.get("Metadata") or {}
    if not all(value.isascii() for value in meta.values()):
        told["Metadata"] = {name: value if value.isascii() else _as_in_mail(value) for name, value in meta.items()}
    return told


def _as_in_mail(value: str) -> str:
    """HTTP's library reads bytes that are not ASCII as Latin-1; nearly always they are UTF-8."""
    with contextlib.suppress(UnicodeError):
        value = value.encode("latin-1").decode("utf-8")
    return "=?UTF-8?B?%s?=" % base64.b64encode(value.encode()).decode()


def put_object(bucket: Bucket, key: str, data: bytes, headers: Optional[Mapping[str, Any]] = None) -> str:
    """Write a small object, checked by the store and by us; its ETag."""
    digest = md5(data)
    wire, told = bucket.client.wire, _carried(headers)
    answer = wire.put(bucket.name, key, data, digest.digest(), told) if wire is not None and len(data) <= PIECE else None
    if answer is None:
        check = base64.b64encode(digest.digest()).decode()
        answer = bucket.call("put_object", key, Body=data, ContentMD5=check, **told)
    _same(bucket, key, digest.hexdigest(), answer)
    return _etag(answer)


def part_size(number: int, size: int = 0, fixed: int = 0) -> int:
    """How large part ``number`` (from 1) of an object is.

    :param size: of the object, 0 if it is not known.
    :param fixed: what is wished, 0 for nothing.
    """
    if size:
        return max(fixed or PART, -(-size // MAX_PARTS))
    return fixed or (PART if number <= SMALL_PARTS else LARGE_PART)


def _parts(chunks: Iterable[bytes], size: int, fixed: int) -> Iterator[bytes]:
    """The same bytes as parts; at least one, which may be empty."""
    gathered, number = bytearray(), 1
    for chunk in chunks:
        gathered += chunk
        while len(gathered) > part_size(number, size, fixed):
            wanted = part_size(number, size, fixed)
            yield bytes(gathered[:wanted])
            del gathered[:wanted]
            number += 1
    yield bytes(gathered)


def put_stream(
    bucket: Bucket, key: str, chunks: Iterable[bytes], headers: Optional[Mapping[str, Any]] = None, *, size: int = 0, fixed: int = 0
) -> str:
    """Write an object of any length with a few parts in memory; all or nothing. Its ETag.

    :param size: its length if it is known, for :func:`part_size`; ``fixed`` likewise.
    """
    parts = _parts(chunks, size, fixed)
    try:
        first = next(parts)
        second = next(parts, None)
        if second is None:
            return put_object(bucket, key, first, headers)
        upload = bucket.call("create_multipart_upload", key, **_carried(headers))["UploadId"]
        try:
            return _multipart(bucket, key, upload, _chained(first, second, parts))
        except BaseException:
            _abort(bucket, key, upload)
            raise
    finally:
        close(parts)
        close(chunks)


def _chained(first: bytes, second: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    yield from rest


def _multipart(bucket: Bucket, key: str, upload: str, parts: Iterator[bytes]) -> str:
    """Send all parts, a few at a time, and make them one object."""
    done: List[Tuple[Dict[str, Any], bytes]] = []
    running: Deque[Future[Tuple[Dict[str, Any], bytes]]] = deque()

    def send(number: int, data: bytes) -> Tuple[Dict[str, Any], bytes]:
        digest = md5(data)
        check = base64.b64encode(digest.digest()).decode()
        answer = bucket.call("upload_part", key, UploadId=upload, PartNumber=number, Body=data, ContentMD5=check)
        _same(bucket, key, digest.hexdigest(), answer)
        return {"PartNumber": number, "ETag": answer["ETag"]}, digest.digest()

    with ThreadPoolExecutor(PARTS_IN_FLIGHT, "upload") as pool:
        for number, data in enumerate(parts, 1):
            running.append(pool.submit(send, number, data))
            del data  # it is the thread's now
            if len(running) > PARTS_IN_FLIGHT - 1:
                done.append(running.popleft().result())
        done += [future.result() for future in running]
    listed = {"Parts": [part for part, _digest in done]}
    answer = bucket.call("complete_multipart_upload", key, UploadId=upload, MultipartUpload=listed)
    wanted = "%s-%d" % (md5(b"".join(digest for _part, digest in done)).hexdigest(), len(done))
    _same(bucket, key, wanted, answer)
    return _etag(answer)


def _abort(bucket: Bucket, key: str, upload: str) -> None:
    """Let the store forget the parts; when it cannot be told, they are invisible and cost space only."""
    try:
        bucket.call("abort_multipart_upload", key, UploadId=upload)
    except S3Error:
        return


# ------------------------------------------------------------------ a store for backups


class S3Store:
    """A bucket, or what is under a prefix of it, as a :class:`stores.Store`.

    :ivar place: "s3://bucket/prefix".
    """

    def __init__(self, place: str, bucket: Bucket, prefix: str) -> None:
        self.place = place
        self._bucket = bucket
        self._prefix = prefix

    @classmethod
    def open(cls, place: str, settings: Mapping[str, Any]) -> S3Store:
        """The store at "s3://bucket/prefix"; nothing is sent yet.

        :param settings: see :func:`connect`.
        :raises EngineError: it is no such place, or a setting cannot be used.
        """
        match = re.fullmatch(r"s3://([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])(?:/(.*))?", place)
        prefix = (match.group(2) or "").strip("/") if match else ""
        if match is None or (prefix and set(prefix.split("/")) & {"", ".", ".."}):
            raise EngineError(
                "that is no name of a bucket with a prefix",
                subject=re.sub(r"//[^/@]*@", "//", place),  # a person may have put keys into it
                expected='"s3://bucket" or "s3://bucket/prefix", the bucket with 3 to 63 of a-z, 0-9, ".", "_", "-"',
                next_step="set kubeflow_backup_place to the bucket's name; its address is the endpoint of kubeflow_backup_s3",
            )
        bucket = Bucket(connect(settings), match.group(1))
        return cls("s3://%s%s" % (match.group(1), "/" + prefix if prefix else ""), bucket, prefix + "/" if prefix else "")

    def put(self, name: str, chunks: Iterable[bytes]) -> Stored:
        """See :class:`stores.Store`."""
        digest, size = hashlib.sha256(), 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        try:
            put_stream(self._bucket, self._prefix + name, counted())
        finally:
            close(chunks)
        return Stored(name, size, digest.hexdigest())

    def get(self, name: str) -> Iterator[bytes]:
        """See :class:`stores.Store`; one version of the file, even if it is replaced meanwhile."""
        opened = open_object(self._bucket, self._prefix + name)
        yield from opened.chunks

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See :class:`stores.Store`. Not all stores list by name: the names, which are few, are sorted here."""
        start = len(self._prefix)
        found = [Stored(item.key[start:], item.size) for item in list_objects(self._bucket, self._prefix + prefix)]
        yield from sorted((item for item in found if not item.name.endswith("/")), key=lambda item: item.name)

    def remove(self, name: str) -> None:
        """See :class:`stores.Store`."""
        self._bucket.call("delete_object", self._prefix + name)

    def check(self, need: int = 0) -> None:
        """See :class:`stores.Store`: writes a tiny object and deletes it again. Space is not known in advance."""
        for _item in list_objects(self._bucket, self._prefix, limit=1):  # its answer says what is wrong, that to HEAD does not
            break
        key = "%s.writable-%s" % (self._prefix, secrets.token_hex(8))
        try:
            put_object(self._bucket, key, b"can this be written?")
            self._bucket.call("delete_object", key)
        except S3Error as error:
            raise S3Error(
                "the bucket cannot be written: %s" % error.cause,
                code=error.code,
                subject=str(self._bucket),
                found=error.found,
                next_step=error.next_step,
            ) from error
