# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Object stores: a bucket into a backup and back, and from one store into another.

In a backup the objects lie in packs: tar files of about 64 MB that ``tar -t`` lists, compressed and encrypted as all of a
backup. An object that is too large to be held in memory is a pack of its own. The key of an object is in its PAX header,
exact; the member's name is the key made harmless. What is read is always one version of an object; what is written is
checked by both sides. Everything can be stopped and run again: what is done is not done twice, and nothing is deleted.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import tarfile
from dataclasses import dataclass
from functools import partial
from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, Sequence, Tuple, Union

from .encrypting import BackupKey, unpacked
from .errors import EngineError
from .manifest import BackupFile
from .objectwork import TURNS, WHOLE, Counted, Job, Pace, Tally, Whole, ahead, read_whole, reads, workers_of
from .packs import HEADERS_RECORD, KEY_RECORD, Pack, pack_bucket
from .progress import Progress
from .s3 import Bucket, Listed, S3Error, find_object, list_objects, md5, open_object, put_object, put_stream
from .stores import Store, close

__all__ = ["Bucket", "Pack", "Tally", "copy_bucket", "pack_bucket", "tally_bucket", "unpack_bucket"]

# A pack of this size or less is checked as a whole before anything of it is written.
HELD_PACK = 80 << 20
PAGE = 1000
USELESS_PAGES = 20
_ANOTHER = "copy this file again from where the backup was first stored, or use another backup"
_PARTS_IN_USE = tuple(size << 20 for size in (8, 16, 5, 10, 15, 32, 50, 64, 100, 128, 256, 512))


# ------------------------------------------------------------------ out of a backup


@dataclass(frozen=True)
class _Written:
    """An object that the target has now, or had."""

    key: str
    size: int
    sha256: str
    changed: bool = False
    skipped: bool = False


def unpack_bucket(
    store: Store,
    files: Sequence[BackupFile],
    key: BackupKey,
    encryption: str,
    bucket: Bucket,
    progress: Progress,
    workers: int = 16,
    total: Optional[Tally] = None,
) -> Tally:
    """Write the objects of these packs into a bucket. What it has already stays; nothing of it is deleted.

    Of a pack that is cut off or changed nothing is written.

    :param encryption: as the manifest says. :param total: what they hold, to say how long it takes.
    :raises EngineError: of the store, of a pack, of the bucket.
    """
    pace, tally, there = Pace(progress, "restore of %s" % bucket, total), Tally(), _There(bucket)
    with workers_of(workers) as pool:
        for file in files:
            for given, written in ahead(pool, _unpacks(store, file, key, encryption, bucket, there), workers):
                one = given or written
                if one is not None:
                    tally.count(one.key, one.size, one.sha256)
                    tally.skipped += one.skipped
                    pace.show(tally.objects, tally.bytes)
    return tally


def _unpacks(
    store: Store, file: BackupFile, key: BackupKey, encryption: str, bucket: Bucket, there: _There
) -> Iterator[Job[Optional[_Written], _Written]]:
    """Jobs that write the small objects of a pack; a large one is written at once, from the stream."""
    subject = "%s in %s" % (file.name, store.place)
    source = _Reader(_plain(store, file, key, encryption, subject))
    try:
        reading: Any = source  # a stream needs only read(), and the list of members is in no type description
        with tarfile.open(fileobj=reading, mode="r|", bufsize=1 << 20, encoding="utf-8") as opened:
            tar: Any = opened
            while True:
                member = tar.next()
                if member is None:
                    break
                tar.members = []  # it would remember all of them
                name, headers = _told(member, subject)
                stream = tar.extractfile(member)
                if stream is None:
                    raise _no_pack(subject)
                present = there.find(name)
                if member.size > WHOLE:
                    yield _write_large(bucket, name, member.size, headers, stream, source), 0, None
                    continue
                data = stream.read()
                yield None, len(data), partial(_write_small, bucket, name, data, headers, present)
        source.drain()
    except tarfile.TarError as problem:
        raise _no_pack(subject) from problem
    finally:
        source.close()


def _told(member: tarfile.TarInfo, subject: str) -> Tuple[str, Mapping[str, Any]]:
    """The key and the headers of an object."""
    try:
        return member.pax_headers[KEY_RECORD], json.loads(member.pax_headers.get(HEADERS_RECORD, "{}"))
    except (KeyError, ValueError) as problem:
        raise _no_pack(subject) from problem


def _no_pack(subject: str) -> EngineError:
    return EngineError("it is no pack of objects", subject=subject, next_step=_ANOTHER)


def _plain(store: Store, file: BackupFile, key: BackupKey, encryption: str, subject: str) -> Iterator[bytes]:
    """The tar file of a pack. One that fits into memory is checked before a byte of it comes out, others at their end."""
    raw = _checked(store.get(file.name), file.size, file.sha256, subject)
    if file.size <= HELD_PACK:
        raw = iter((b"".join(raw),))
    return _checked(unpacked(raw, key, encryption, file.compressed, subject), file.plain_size, file.plain_sha256, subject)


def _checked(chunks: Iterable[bytes], size: int, sha256: str, subject: str) -> Iterator[bytes]:
    """The same bytes.

    :raises EngineError: at the end: they are not those that were written.
    """
    counted = Counted(chunks)
    for chunk in counted.chunks():
        if counted.size > size:
            break
        yield chunk
    if (counted.size, counted.digest.hexdigest()) != (size, sha256):
        more = "at least " if counted.size > size else ""
        raise EngineError(
            "the pack was cut off or changed after it was written",
            subject=subject,
            expected="%d bytes, sha256 %s" % (size, sha256),
            found="%s%d bytes, sha256 %s" % (more, counted.size, counted.digest.hexdigest()),
            next_step=_ANOTHER,
        )


class _Reader:
    """Chunks as a file that can only be read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, fewer only at the end."""
        gathered = [self._rest]
        have = len(self._rest)
        while have < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            gathered.append(chunk)
            have += len(chunk)
        whole = b"".join(gathered)
        self._rest = whole[size:]
        return whole[:size]

    def drain(self) -> None:
        """To the end: there the digests are checked."""
        self._rest = b""
        for _chunk in self._chunks:
            pass

    def close(self) -> None:
        """Nobody reads on."""
        close(self._chunks)


def _write_small(bucket: Bucket, key: str, data: bytes, headers: Mapping[str, Any], present: Optional[Listed]) -> _Written:
    sha256 = hashlib.sha256(data).hexdigest()
    if present is not None and present.size == len(data) and present.etag == md5(data).hexdigest():
        return _Written(key, len(data), sha256, skipped=True)
    put_object(bucket, key, data, headers)
    return _Written(key, len(data), sha256)


def _write_large(bucket: Bucket, key: str, size: int, headers: Mapping[str, Any], stream: Any, source: _Reader) -> _Written:
    """Upload a large member; it becomes an object only when the whole pack has been checked."""

    def chunks() -> Iterator[bytes]:
        while True:
            chunk = stream.read(1 << 20)
            if not chunk:
                break
            yield chunk
        source.drain()

    body = Counted(chunks())
    put_stream(bucket, key, body.chunks(), headers, size=size)
    _arrived(bucket, key, size)
    return _Written(key, body.size, body.digest.hexdigest())


def _arrived(bucket: Bucket, key: str, size: int) -> None:
    """:raises EngineError: the store has not what it said that it stored."""
    found = find_object(bucket, key)
    if found is None or found.size != size:
        raise EngineError(
            "the store does not have what it took",
            subject=bucket.object(key),
            expected="%d bytes" % size,
            found="%d bytes" % found.size if found else "no object",
            next_step="look at the store's disk and its log, and run again",
        )


class _There:
    """What a bucket has, looked up in its list a page at a time, for keys that come in about the same order.

    What it does not find may be there all the same (stores list in orders of their own): then it is written once more.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._page: Dict[str, Listed] = {}
        self._before, self._last = "", ""
        self._useless = 0
        self._ended = False
        self._exact: Optional[bool] = None
        self._turn()
        self._some = bool(self._page)

    @property
    def any(self) -> bool:
        """Whether there was anything in it at the start."""
        return self._some

    def _turn(self) -> None:
        page = list(list_objects(self._bucket, after=self._before, limit=PAGE))
        self._page = {item.key: item for item in page}
        self._last = page[-1].key if page else ""
        self._ended = len(page) < PAGE

    def find(self, key: str) -> Optional[Listed]:
        """The object as it was listed, None if it was not found.

        :raises EngineError: the bucket would keep it under another key.
        """
        if {"", ".", ".."} & set(key.rstrip("/").split("/")) and not self._keeps_odd_keys():
            raise EngineError(
                "the store cannot keep an object of this name: it would lie under another one, perhaps in the place of another object",
                subject=self._bucket.object(key),
                next_step="rename this object in the source",
            )
        if not self._ended and key > self._last and self._useless < USELESS_PAGES:
            self._turn()
            self._useless = 0 if key in self._page else self._useless + 1
        self._before = key
        return self._page.get(key)

    def _keeps_odd_keys(self) -> bool:
        """Whether "a//b" is another object than "a/b": some stores are file systems inside. Found out with a tiny object."""
        if self._exact is None:
            folder = ".probe-%s" % secrets.token_hex(8)
            key = folder + "//x"
            put_object(self._bucket, key, b"")
            found = [item.key for item in list_objects(self._bucket, folder)]
            for name in {key, *found}:
                self._bucket.call("delete_object", name)
            self._exact = found == [key]
        return self._exact


# ------------------------------------------------------------------ from store to store


def copy_bucket(
    source: Bucket,
    target: Bucket,
    progress: Progress,
    workers: int = 16,
    newer_stays: bool = False,
    total: Optional[Tally] = None,
) -> Tally:
    """Copy all objects that the target does not have with the same size and ETag. Nothing is deleted, on neither side.

    :param newer_stays: leave objects of the target alone that were written after those of the source: both are in use.
    :param total: what the source has, to say how long it takes.
    :returns: what the target has of the source now; with a digest if nothing was skipped.
    :raises EngineError: of either store; run again to go on.
    """
    pace, tally, there = Pace(progress, "copy of %s to %s" % (source, target), total), Tally(), _There(target)

    def jobs() -> Iterator[Job[Tuple[Listed, bool, bool, bool], Union[_Written, Listed, None]]]:
        for item in list_objects(source):
            found = there.find(item.key)
            same = found is not None and (found.size, found.etag) == (item.size, item.etag) and bool(item.etag)
            newer = newer_stays and not same and found is not None and found.modified > item.modified
            # What was not found in the list may be there all the same, and be newer: then it has to be asked for.
            ask = newer_stays and found is None and there.any
            work = None if same or newer or item.size > WHOLE else partial(_carry, source, target, item, ask)
            yield (item, same, newer, ask), 0 if work is None else item.size, work

    with workers_of(workers) as pool:
        for (item, same, newer, ask), carried in ahead(pool, jobs(), workers):
            if same or newer:
                tally.count(item.key, item.size)
                tally.skipped += 1
                tally.newer += newer
            else:
                large = carried if isinstance(carried, Listed) else item if item.size > WHOLE else None
                one = _carry_large(source, target, large, ask) if large is not None else carried
                _count(tally, one, grown=large is not None and large is not item)
            pace.show(tally.objects, tally.bytes)
    return tally


def _count(tally: Tally, one: Any, grown: bool = False) -> None:
    if one is None:
        tally.vanished += 1
        return
    tally.count(one.key, one.size, one.sha256)
    tally.changed += one.changed or grown
    tally.skipped += one.skipped
    tally.newer += one.skipped


def _newer(target: Bucket, item: Listed) -> Optional[_Written]:
    """The object if the target has it in a newer state."""
    found = find_object(target, item.key)
    return _Written(item.key, item.size, "", skipped=True) if found is not None and found.modified > item.modified else None


def _carry(source: Bucket, target: Bucket, item: Listed, ask: bool) -> Union[_Written, Listed, None]:
    """Copy a small object; None if it is gone, its entry if it is large by now.

    :param ask: whether the target may have a newer state of it, which stays.
    """
    newer = _newer(target, item) if ask else None
    if newer is not None:
        return newer
    small = read_whole(source, item)
    if small is None:
        return None
    if small.grown:
        return small.listed()
    put_object(target, item.key, small.data, small.opened.headers)
    return _Written(item.key, len(small.data), small.sha256, small.changed)


def _carry_large(source: Bucket, target: Bucket, item: Listed, ask: bool) -> Optional[_Written]:
    """Copy an object of any size; None if it is gone. See :func:`_carry`."""
    newer = _newer(target, item) if ask else None
    if newer is not None:
        return newer
    for turn in range(1, TURNS + 1):
        try:
            opened = open_object(source, item.key, item.size)
        except S3Error as error:
            if error.missing:
                return None
            raise
        body = Counted(opened.chunks)
        try:
            put_stream(target, item.key, body.chunks(), opened.headers, size=opened.size, fixed=_likely_part(opened.size, opened.etag))
        except S3Error as error:
            if not error.changed or turn == TURNS:
                raise
            continue
        _arrived(target, item.key, opened.size)
        return _Written(item.key, body.size, body.digest.hexdigest(), opened.etag != item.etag)
    return None


def _likely_part(size: int, etag: str) -> int:
    """The size of the parts that an object was written in, as far as their number tells it, 0 if it does not.

    In parts of the same size it gets the same ETag, and is known as the same object from then on.
    """
    number = etag.partition("-")[2]
    if not number.isdigit():
        return 0
    return next((part for part in _PARTS_IN_USE if -(-size // part) == int(number)), 0)


# ------------------------------------------------------------------ counting


def tally_bucket(bucket: Bucket, checksums: bool, progress: Optional[Progress] = None, workers: int = 16) -> Tally:
    """Count a bucket's objects from its list; with ``checksums`` every byte is read."""
    tally = Tally()
    if not checksums:
        for item in list_objects(bucket):
            tally.count(item.key, item.size)
        return tally
    pace = Pace(progress, "checksums of %s" % bucket) if progress else None
    with workers_of(workers) as pool:
        for item, small in ahead(pool, reads(bucket, list_objects(bucket)), workers):
            large = item.size > WHOLE or (small is not None and small.grown)
            _count(tally, _digested(bucket, item) if large else small and _digest_of(small))
            if pace:
                pace.show(tally.objects, tally.bytes)
    return tally


def _digest_of(small: Whole) -> _Written:
    return _Written(small.opened.key, len(small.data), small.sha256, small.changed)


def _digested(bucket: Bucket, item: Listed) -> Optional[_Written]:
    """A large object, read and thrown away; None if it is gone."""
    try:
        opened = open_object(bucket, item.key, item.size)
        body = Counted(opened.chunks)
        for _chunk in body.chunks():
            pass
    except S3Error as error:
        if error.missing:
            return None
        raise
    return _Written(item.key, body.size, body.digest.hexdigest(), opened.etag != item.etag)
