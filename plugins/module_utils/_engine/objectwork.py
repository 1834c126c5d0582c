# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What copying objects shares: counting them, reading a few ahead in parallel, and saying how fast it goes."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Callable, Deque, Iterable, Iterator, List, Optional, Sequence, Tuple, TypeVar

from .progress import Progress
from .s3 import PART, Bucket, Listed, Opened, S3Error, open_object
from .stores import close

# What is larger is never held in memory as a whole.
WHOLE = PART
# The bytes of objects that may be under way at once.
HELD = 16 << 20
AHEAD = 2  # batches under way for each worker: reading does not wait for the slowest
BATCH, BATCH_BYTES = 8, 1 << 20
# How often an object is read again because it was changed while it was read.
TURNS = 5
SHOW_SECONDS = 0.5
# Measured on two cores with both stores on one disk [tests/benchmarks, make bench].
OBJECTS_PER_SECOND, BYTES_PER_SECOND = 600, 50e6
T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Tally:
    """What was counted over the objects of a bucket.

    :ivar changed: objects that were others when they were read than when they were listed; what was read counts.
    :ivar vanished: objects that were listed, but not there any more; ``skipped``: those that the target had already.
    :ivar newer: of those that are skipped, the ones that the target has in a newer state.
    :ivar digest: over key, size and SHA-256 of all objects, whatever their order; "" if not all of them were read.
    """

    objects: int = 0
    bytes: int = 0
    changed: int = 0
    vanished: int = 0
    skipped: int = 0
    newer: int = 0
    digest: str = "0" * 64

    def count(self, key: str, size: int, sha256: str = "") -> None:
        """One more object; without ``sha256`` it was not read."""
        self.objects += 1
        self.bytes += size
        one = hashlib.sha256(("%s\0%d\0%s" % (key, size, sha256)).encode("utf-8", "surrogatepass")).hexdigest() if sha256 else ""
        self.digest = add_digests(self.digest, one)

    def add(self, other: Tally) -> Tally:
        """This one with the counts of another part of the bucket in it."""
        self.objects += other.objects
        self.bytes += other.bytes
        self.changed += other.changed
        self.vanished += other.vanished
        self.skipped += other.skipped
        self.newer += other.newer
        self.digest = add_digests(self.digest, other.digest)
        return self

    def same(self, other: Tally) -> bool:
        """Whether both are of the same objects, with the same bytes if both were read."""
        read = bool(self.digest and other.digest)
        return (self.objects, self.bytes) == (other.objects, other.bytes) and (not read or self.digest == other.digest)


def add_digests(one: str, other: str) -> str:
    return "%064x" % ((int(one, 16) + int(other, 16)) % (1 << 256)) if one and other else ""


def span(seconds: float) -> str:
    """A time as a person says it, rounded up: ``4 min``."""
    if seconds < 60:
        return "%d s" % math.ceil(seconds)
    if seconds < 5400:
        return "%d min" % math.ceil(seconds / 60)
    return "%.1f h" % (seconds / 3600)


def about(tally: Tally) -> str:
    """How long it takes to copy so much, before the first object: what two cores did."""
    return span(tally.objects / OBJECTS_PER_SECOND + tally.bytes / BYTES_PER_SECOND)


# ------------------------------------------------------------------ working in parallel


class Pace:
    """Says how far it is and how fast."""

    def __init__(self, progress: Progress, what: str, total: Optional[Tally] = None) -> None:
        self._progress, self._what, self._total = progress, what, total
        self._start = self._shown = time.monotonic()

    def show(self, objects: int, size: int) -> None:
        """So many objects with so many bytes until now; called for each object, it does something now and then."""
        now = time.monotonic()
        if now - self._shown < SHOW_SECONDS:
            return
        self._shown, seconds = now, now - self._start
        rate = "%.0f objects/s, %.1f MB/s" % (objects / seconds, size / 1e6 / seconds)
        left = self._left(objects, size, seconds)
        self._progress.waiting("", "%s: %d objects, %.1f MB (%s)%s" % (self._what, objects, size / 1e6, rate, left))

    def _left(self, objects: int, size: int, seconds: float) -> str:
        """How long it goes on like this; small objects cost time by their number, large ones by their bytes."""
        total = self._total
        if total is None or not objects:
            return ""
        shares = [done / whole for done, whole in ((objects, total.objects), (size, total.bytes)) if whole]
        share = min(sum(shares) / len(shares), 1.0) if shares else 1.0
        return ", about %s left" % span(seconds * (1 - share) / share)


@contextlib.contextmanager
def workers_of(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are gone at the end; after an error what has not begun does not begin."""
    pool = ThreadPoolExecutor(count, "objects")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


Job = Tuple[T, int, Optional[Callable[[], R]]]
_Outcome = Tuple[Optional[R], Optional[Exception]]


def ahead(pool: ThreadPoolExecutor, jobs: Iterable[Job[T, R]], workers: int) -> Iterator[Tuple[T, Optional[R]]]:
    """Items and the results of their jobs, in order, with some under way: bounded in number and in bytes.

    :param jobs: the item, the bytes that its job holds, and the job, None if the item is all.
    """
    waiting: Deque[Tuple[List[T], int, Future[List[_Outcome[R]]]]] = deque()
    held = 0
    for batch in _batches(jobs):
        weight = sum(one[1] for one in batch)
        waiting.append(([one[0] for one in batch], weight, pool.submit(_run, [one[2] for one in batch])))
        held += weight
        while len(waiting) > AHEAD * workers or held > HELD:
            items, light, future = waiting.popleft()
            held -= light
            yield from _results(items, future)
    while waiting:
        items, _light, future = waiting.popleft()
        yield from _results(items, future)


def _batches(jobs: Iterable[Job[T, R]]) -> Iterator[List[Job[T, R]]]:
    """A few small jobs together: handing over each of them to a thread would cost as much as the job does."""
    batch: List[Job[T, R]] = []
    weight = 0
    for job in jobs:
        batch.append(job)
        weight += job[1]
        if len(batch) == BATCH or weight > BATCH_BYTES or job[2] is None:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _run(jobs: Sequence[Optional[Callable[[], R]]]) -> List[_Outcome[R]]:
    """The results until the first error, which comes in its turn: what was before it is not lost."""
    done: List[_Outcome[R]] = []
    for job in jobs:
        try:
            done.append((job() if job else None, None))
        except Exception as problem:
            return [*done, (None, problem)]
    return done


def _results(items: List[T], future: Future[List[_Outcome[R]]]) -> Iterator[Tuple[T, Optional[R]]]:
    for item, (result, problem) in zip(items, future.result()):
        if problem is not None:
            raise problem
        yield item, result


# ------------------------------------------------------------------ reading objects


@dataclass(frozen=True)
class Whole:
    """An object in memory; with ``grown`` only what it is now: too large for that."""

    opened: Opened
    data: bytes
    changed: bool
    grown: bool = False

    @property
    def sha256(self) -> str:
        """Of its bytes."""
        return hashlib.sha256(self.data).hexdigest()

    def listed(self) -> Listed:
        """As a list would have it now."""
        return Listed(self.opened.key, self.opened.size, self.opened.etag, self.opened.modified)


def read_whole(bucket: Bucket, item: Listed) -> Optional[Whole]:
    """A small object as it is now, None if it is gone."""
    for turn in range(1, TURNS + 1):
        try:
            opened = open_object(bucket, item.key, item.size)
            changed = opened.etag != item.etag
            if opened.size > WHOLE:
                close(opened.chunks)
                return Whole(opened, b"", changed, grown=True)
            return Whole(opened, b"".join(opened.chunks), changed)
        except S3Error as error:
            if error.missing and error.code != "NoSuchBucket":
                return None
            if not error.changed or turn == TURNS:
                raise
    return None


def reads(bucket: Bucket, listed: Iterable[Listed]) -> Iterator[Job[Listed, Optional[Whole]]]:
    """Jobs that read the small ones."""
    for item in listed:
        if item.size > WHOLE:
            yield item, 0, None
        else:
            yield item, item.size, partial(read_whole, bucket, item)


class Counted:
    """Bytes on their way, counted."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = source
        self.size, self.digest = 0, hashlib.sha256()

    def chunks(self) -> Iterator[bytes]:
        """The same bytes."""
        try:
            for chunk in self._source:
                self.size += len(chunk)
                self.digest.update(chunk)
                yield chunk
        finally:
            close(self._source)
