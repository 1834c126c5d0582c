# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket into a backup: packs of objects, which are ordinary tar files."""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from .encrypting import BackupKey, packed
from .errors import EngineError
from .manifest import BackupFile
from .objectwork import TURNS, WHOLE, Counted, Pace, Tally, Whole, ahead, reads, workers_of
from .progress import Progress
from .s3 import Bucket, Listed, Opened, S3Error, list_objects, open_object
from .stores import Store

PACK_BYTES = 64 << 20
# What tar adds to a member: the PAX header with its own header, the member's header, padding.
OVERHEAD = 2048
BLOCK = 512
COPIED = 1 << 20
KEY_RECORD, HEADERS_RECORD = "MLPLATFORM.key", "MLPLATFORM.headers"


@dataclass(frozen=True)
class Pack:
    """One file of a backup with objects in it.

    :ivar first: the first key in the store's order that was taken into it, ``last`` the last one.
    :ivar ordered: the keys were listed by their bytes up to here; not all stores do that.
    """

    file: BackupFile
    first: str
    last: str
    objects: int
    bytes: int
    changed: int = 0
    vanished: int = 0
    digest: str = "0" * 64
    ordered: bool = True

    @property
    def tally(self) -> Tally:
        """The counts of its objects."""
        return Tally(self.objects, self.bytes, self.changed, self.vanished, digest=self.digest)

    def details(self) -> Dict[str, Any]:
        """What is not in the file's own entry, as JSON."""
        return {name: value for name, value in vars(self).items() if name != "file"}

    @classmethod
    def read(cls, file: BackupFile, details: Mapping[str, Any]) -> Pack:
        """The opposite of :meth:`details`.

        :raises EngineError: they are not those of a pack.
        """
        try:
            return cls(file=file, **details)
        except TypeError as problem:
            raise EngineError(
                "what the manifest says about this pack is not what it must be",
                subject=file.name,
                expected="first, last, objects, bytes, changed, vanished, digest, ordered",
                found=", ".join(sorted(details)),
                next_step="read it with the version of the collection that made it",
            ) from problem


# ------------------------------------------------------------------ into a backup


def pack_bucket(
    bucket: Bucket,
    store: Store,
    folder: str,
    key: BackupKey,
    done: Sequence[Pack],
    progress: Progress,
    pack_bytes: int = PACK_BYTES,
    workers: int = 16,
) -> Iterator[Pack]:
    """Store the bucket's objects as ``<folder>/00001.tar.gz``; each pack comes out when it is in the store.

    :param done: what an earlier run stored in this folder, in order: this run goes on after it.
    :raises EngineError: of the bucket, of the store; or the place where to go on is not there any more.
    """
    pace, tally = Pace(progress, "backup of %s" % bucket), Tally()
    for pack in done:
        tally.add(pack.tally)
    start = _After(done[-1] if done else None)
    with workers_of(workers) as pool:
        queue = _Queue(ahead(pool, reads(bucket, start.rest(list_objects(bucket), bucket)), workers))
        number = len(done)
        while queue.peek() is not None:
            number += 1
            name = "%s/%05d.tar.gz%s" % (folder, number, ".age" if key.encryption else "")
            pack = _stored(bucket, store, name, key, queue, min(pack_bytes, PACK_BYTES), start, pace, tally)
            tally.add(pack.tally)
            yield pack


class _After:
    """Where an earlier run ended. Found by going through the list: not all stores list by the bytes of the keys."""

    def __init__(self, pack: Optional[Pack]) -> None:
        self._pack = pack
        self.ordered = True

    def rest(self, listed: Iterable[Listed], bucket: Bucket) -> Iterator[Listed]:
        """What was listed later than the last key of the earlier run.

        :raises EngineError: the key is gone and the order of the list does not say where it was.
        """
        last, found, before = self._pack, self._pack is None, ""
        for item in listed:
            self.ordered, before = self.ordered and item.key > before, item.key  # the order of code points is that of UTF-8
            if found:
                yield item
            elif last is not None:
                found = item.key == last.last
                if not found and last.ordered and item.key > last.last:
                    found = True
                    yield item
        if not found and last is not None and not last.ordered:
            raise EngineError(
                "the backup cannot go on where it stopped: the last object in it is gone, and the store lists in an order of its own",
                subject=bucket.object(last.last),
                next_step="begin a new backup",
            )


class _Queue:
    """Read objects in order, the next one to be seen without taking it, one to be given back."""

    def __init__(self, source: Iterator[Tuple[Listed, Optional[Whole]]]) -> None:
        self._source = source
        self._next: List[Tuple[Listed, Optional[Whole]]] = []

    def peek(self) -> Optional[Listed]:
        """The next one's entry in the list, None at the end."""
        if not self._next:
            one = next(self._source, None)
            if one is None:
                return None
            self._next.append(one)
        return self._next[0][0]

    def take(self) -> Tuple[Listed, Optional[Whole]]:
        """The next one, which :meth:`peek` has seen."""
        return self._next.pop()

    def back(self, item: Listed) -> None:
        """It comes next, to be read as a stream."""
        self._next.append((item, None))


def _stored(
    bucket: Bucket, store: Store, name: str, key: BackupKey, queue: _Queue, limit: int, start: _After, pace: Pace, before: Tally
) -> Pack:
    """One pack, in the store. What is alone in its pack may have changed while it was read: then it is read again."""
    for turn in range(1, TURNS + 1):
        writer = _Writer(bucket, queue, limit, pace, before)
        plain = Counted(writer.chunks())
        try:
            stored = store.put(name, packed(plain.chunks(), key))
        except S3Error as error:
            if not error.changed or writer.streamed is None or turn == TURNS:
                raise
            # With the ETag that it was listed with: so it counts as changed.
            queue.back(Listed(writer.streamed.key, max(writer.streamed.size, WHOLE + 1), writer.streamed.etag, writer.streamed.modified))
            continue
        tally = writer.tally
        file = BackupFile(name, stored.size, stored.sha256, plain.size, plain.digest.hexdigest())
        counts = (tally.objects, tally.bytes, tally.changed, tally.vanished, tally.digest)
        return Pack(file, writer.first, writer.last, *counts, ordered=start.ordered)
    raise AssertionError("the last turn ends")


class _Writer:
    """The tar file of one pack.

    :ivar streamed: the object that was read as a stream, alone in this pack; None if there is none.
    """

    def __init__(self, bucket: Bucket, queue: _Queue, limit: int, pace: Pace, before: Tally) -> None:
        self._bucket, self._queue, self._limit = bucket, queue, limit
        self._pace, self._before = pace, before
        self.tally = Tally()
        self.first, self.last = "", ""
        self.streamed: Optional[Listed] = None

    def chunks(self) -> Iterator[bytes]:
        """Members until the pack is full, and the end of the tar file."""
        weight = 0
        while True:
            item = self._queue.peek()
            if item is None:
                break
            heavy = item.size > WHOLE
            if heavy and self.first or weight and weight + item.size + OVERHEAD > self._limit:
                break
            _item, small = self._queue.take()
            if small is not None and small.grown:
                self._queue.back(small.listed())
                self.tally.changed += 1
                continue
            self.first, self.last = self.first or item.key, item.key
            if heavy:
                self.streamed = item
                yield from self._stream(item)
                break
            if small is None:
                self.tally.vanished += 1
                continue
            weight += len(small.data) + OVERHEAD
            yield from self._small(small)
        yield bytes(2 * BLOCK)

    def _small(self, small: Whole) -> Iterator[bytes]:
        self.tally.changed += small.changed
        self.tally.count(small.opened.key, len(small.data), small.sha256)
        # One piece of a small one: handing over each part by itself would cost more than copying it.
        if len(small.data) <= COPIED:
            yield _header(small.opened) + small.data + _padding(len(small.data))
        else:
            yield _header(small.opened)
            yield small.data
            yield _padding(len(small.data))
        self._pace.show(self._before.objects + self.tally.objects, self._before.bytes + self.tally.bytes)

    def _stream(self, item: Listed) -> Iterator[bytes]:
        try:
            opened = open_object(self._bucket, item.key, item.size)
        except S3Error as error:
            if not error.missing:
                raise
            self.tally.vanished += 1
            return
        self.tally.changed += opened.etag != item.etag
        yield _header(opened)
        body = Counted(opened.chunks)
        for chunk in body.chunks():
            yield chunk
            self._pace.show(self._before.objects + self.tally.objects, self._before.bytes + body.size)
        yield _padding(body.size)
        self.tally.count(item.key, body.size, body.digest.hexdigest())


def _header(opened: Opened) -> bytes:
    """The blocks in front of a member's bytes."""
    info = tarfile.TarInfo(_readable(opened.key))
    info.size, info.mtime, info.mode = opened.size, opened.modified, 0o600
    info.pax_headers = {KEY_RECORD: opened.key}
    if opened.headers:
        info.pax_headers[HEADERS_RECORD] = json.dumps(opened.headers, sort_keys=True)
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return bytes(-size % BLOCK)


def _readable(key: str) -> str:
    """A name for a person and for ``tar``, which may not lead out of a folder: parts that would are written as %2E."""
    harmless = {"": "%", ".": "%2E", "..": "%2E%2E"}
    name = "/".join(harmless.get(part, part) for part in key.split("/"))
    return re.sub("[\x00-\x1f\x7f]", lambda match: "%%%02X" % ord(match.group()), name)
