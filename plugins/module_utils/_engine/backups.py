# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backups that lie in a store: which there are, whether they are whole, which may go, and taking one away.

A backup is the files below ``<id>/``; its manifest says which must be there. What has no manifest is not a backup.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from . import backup_files
from .encrypting import BackupKey
from .errors import EngineError
from .locking import gone, machine
from .manifest import BACKUP_ID, FILE, BackupFile, Manifest, load_manifest, seconds
from .progress import Progress
from .results import now as present
from .stores import Store

NEWEST = "newest"
HOLDER = "holder.json"
DAY_SECONDS = 86400.0
WORKERS = 4
# More than these say nothing new: the disk or the store itself is ill.
MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Listed:
    """A backup as the store shows it without its files being read.

    :ivar manifest: None if it cannot be read.
    :ivar files: how many files lie there; ``size`` is their bytes.
    :ivar problem: what is wrong with it, "" for nothing; that it is not finished says its manifest.
    """

    id: str
    manifest: Optional[Manifest]
    files: int
    size: int
    problem: str = ""
    next_step: str = ""

    @property
    def usable(self) -> bool:
        """Everything can be restored from it, as far as can be seen without reading it."""
        return not self.problem and self.manifest is not None and self.manifest.complete


def listing(store: Store) -> List[Listed]:
    """Every backup in the store, the newest first: one list of names, and each manifest is read.

    What is no backup (other files, other folders) is left out.
    """
    found = []
    inside = (one for one in store.list() if "/" in one.name)
    for backup, files in itertools.groupby(inside, lambda one: one.name.partition("/")[0]):
        if BACKUP_ID.fullmatch(backup):
            found.append(_listed(store, backup, {one.name: one.size for one in files}))
    return sorted(found, key=lambda one: one.id, reverse=True)


def _listed(store: Store, backup: str, sizes: Dict[str, int]) -> Listed:
    """One backup from the names and sizes of its files."""
    manifest, problem, next_step = None, "", ""
    if "%s/%s" % (backup, FILE) not in sizes:
        problem = "it has no manifest: it was being removed, or its manifest was deleted"
        next_step = "remove what is left of it; nothing can be restored from it"
    else:
        try:
            manifest = load_manifest(store, backup)
        except EngineError as error:
            problem, next_step = error.cause, error.next_step
    for wrong in _missing(manifest, sizes) if manifest else ():
        problem, next_step = "%s: %s" % (wrong.subject, wrong.cause), wrong.next_step
        break
    return Listed(backup, manifest, len(sizes), sum(sizes.values()), problem, next_step)


def _missing(manifest: Manifest, sizes: Dict[str, int]) -> Iterator[EngineError]:
    """The files of the manifest that are not there, or of another size."""
    for file in manifest.files():
        if sizes.get(file.name) != file.size:
            yield EngineError(
                "the file has another size than was written" if file.name in sizes else "the file is missing",
                subject=file.name,
                expected="%d bytes" % file.size,
                found="%d bytes" % sizes[file.name] if file.name in sizes else "",
                next_step="use another backup, or restore the parts that are whole by name",
            )


def manifests(store: Store) -> List[Manifest]:
    """The manifests of all backups with which nothing is wrong, finished or not; the newest first."""
    return [one.manifest for one in listing(store) if one.manifest is not None and not one.problem]


def find(store: Store, backup: str, cluster: str = "") -> Manifest:
    """The manifest of one backup.

    :param backup: its id, or "newest" for the newest that is complete.
    :param cluster: then of this cluster only; "" for any.
    :raises EngineError: there is none; or it cannot be used, and why.
    """
    known = listing(store)
    for one in known:
        if one.id == backup and one.problem:
            raise EngineError(one.problem, subject="backup %s in %s" % (backup, store.place), next_step=one.next_step)
        if one.manifest is None:
            continue
        if one.id == backup or (backup == NEWEST and one.usable and cluster in ("", one.manifest.cluster)):
            return one.manifest
    names = [one.id for one in known]
    raise EngineError(
        "there is no complete backup%s" % (" of cluster " + cluster if cluster else "") if backup == NEWEST else "there is no such backup",
        subject=store.place if backup == NEWEST else "%s in %s" % (backup, store.place),
        found="%d backups%s" % (len(names), ": " + ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else ""),
        next_step="check kubeflow_backup_place and the name; backup_info lists what is there and what is wrong with it",
    )


# ------------------------------------------------------------------ one that is being made


def write_holder(store: Store, backup: str, run_id: Optional[str]) -> None:
    """Say who makes this backup from now on; None when it is finished."""
    name = "%s/%s" % (backup, HOLDER)
    if run_id is None:
        store.remove(name)
        return
    text = json.dumps({"holder": "%s run %s" % (_this_process(), run_id), "since": present()}) + "\n"
    store.put(name, (text.encode(),))


def _this_process() -> str:
    """In the words of the cluster's lock, so that it can be told whether it still runs."""
    return "%s@%s process %d on %s" % (os.environ.get("USER") or "ansible", socket.gethostname(), os.getpid(), machine() or "?")


def holder_of(store: Store, backup: str, manifest: Manifest, now: Optional[float] = None) -> str:
    """Who made this unfinished backup and makes it no more; "" if it was finished or nobody said so.

    A process of this machine that is gone is known to be gone, and our own makes one at a time: it failed before. Of any
    other is only known when it last wrote the manifest of a part: it counts as at work for a day.

    :raises EngineError: it is still being made.
    """
    name = "%s/%s" % (backup, HOLDER)
    if not any(one.name == name for one in store.list(name)):
        return ""
    try:
        found = json.loads(b"".join(store.get(name)))
        who, since = str(found["holder"]), str(found["since"])
        last = max(seconds(since), seconds(manifest.last_sign))
    except (ValueError, KeyError, TypeError):  # whoever wrote this, no run of ours did
        return "somebody"
    ours = who.rpartition(" run ")[0] == _this_process()
    if ours or gone(who) or (time.time() if now is None else now) - last > DAY_SECONDS:
        return who
    raise EngineError(
        "the backup is being made by another run",
        subject="backup %s in %s" % (backup, store.place),
        found="%s, since %s" % (who, since),
        next_step="wait for it; if you know that it was killed, delete %s from the place and run again" % name,
    )


def unfinished(store: Store, cluster: str, uid: str, release: str, encryption: str, now: Optional[float] = None) -> Optional[Manifest]:
    """The newest backup of this cluster and kind if it was not finished and is worth going on with; None otherwise.

    Not after a day: its first parts would pass for new ones. Not if a complete one is newer.
    """
    for one in manifests(store):
        if (one.cluster, one.cluster_uid) != (cluster, uid):
            continue
        young = (time.time() if now is None else now) - seconds(one.started) < DAY_SECONDS
        fits = one.release == release and one.encryption == encryption and young
        return one if one.state == "running" and fits else None
    return None


# ------------------------------------------------------------------ reading back


@dataclass(frozen=True)
class Verified:
    """What reading a whole backup back showed.

    :ivar opened: whether the content was checked too; without a key only the stored bytes are.
    :ivar size: bytes that were read, as stored.
    :ivar problems: one for each file that is not as it was written; at most MOST_PROBLEMS.
    """

    id: str
    opened: bool
    files: int
    size: int
    problems: Tuple[EngineError, ...]


class _Reading:
    """Counts what the threads have read; tells it."""

    def __init__(self, manifest: Manifest, progress: Progress) -> None:
        totals = manifest.totals()
        self._id, self._all, self._progress = manifest.id, totals.stored_bytes, progress
        self._start, self._lock = time.monotonic(), threading.Lock()
        self.files = self.size = 0

    def add(self, size: int) -> None:
        """One file more."""
        with self._lock:
            self.files += 1
            self.size += size
            rate = self.size / max(time.monotonic() - self._start, 0.001)
            text = "backup %s: %.1f of %.1f MB read back, %.1f MB/s"
            self._progress.waiting("", text % (self._id, self.size / 1e6, self._all / 1e6, rate / 1e6))


def verify(store: Store, manifest: Manifest, key: BackupKey, progress: Progress) -> Verified:
    """Read every file of a backup: size and digest as stored and, with a key that opens it, those of its content.

    :raises EngineError: the key is not well-formed, or the names cannot be listed; what is wrong with files is in the answer.
    """
    key.check(writing=False)
    opened = key.opens(manifest.encryption)
    sizes = {one.name: one.size for one in store.list(manifest.id + "/")}
    problems = list(itertools.islice(_missing(manifest, sizes), MOST_PROBLEMS))
    wrong = {problem.subject for problem in _missing(manifest, sizes)}
    left = iter([file for file in manifest.files() if file.name not in wrong])
    reading = _Reading(manifest, progress)

    def read(file: BackupFile) -> Optional[EngineError]:
        try:
            chunks = backup_files.get(store, file, key, manifest.encryption) if opened else backup_files.stored(store, file)
            for _chunk in chunks:
                pass
        except EngineError as error:
            return error
        reading.add(file.size)
        return None

    with ThreadPoolExecutor(WORKERS) as threads:
        while len(problems) < MOST_PROBLEMS:
            some = list(itertools.islice(left, 16 * WORKERS))  # not all at once: who stops, stops soon
            if not some:
                break
            problems += [error for error in threads.map(read, some) if error is not None]
    return Verified(manifest.id, opened, reading.files, reading.size, tuple(problems[:MOST_PROBLEMS]))


# ------------------------------------------------------------------ retention


def surplus(known: Iterable[Manifest], keep: int, max_age_days: float, now: Optional[datetime] = None) -> List[str]:
    """The ids of the backups that may go, the oldest first. Pure.

    Each cluster (name and uid) counts by itself: what a new cluster writes never pushes out what a lost one of its name left.
    A backup may hold some parts only, so it is counted part by part: it is too many when of each of its parts there are
    ``keep`` newer ones. Never the newest complete one, nor the only one with some part. One that was not finished goes
    when a complete one is newer, and nobody worked on it for a day.

    :param keep: how many stay; 0 for no limit. :param max_age_days: how old they may get; 0 for no limit.
    """
    if keep <= 0 and max_age_days <= 0:
        return []
    clock = (now or datetime.now(timezone.utc)).timestamp()
    clusters: Dict[Tuple[str, str], List[Manifest]] = {}
    for one in sorted(known, key=lambda one: (one.started, one.id), reverse=True):
        clusters.setdefault((one.cluster, one.cluster_uid), []).append(one)
    gone = [one for newest_first in clusters.values() for one in _too_many(newest_first, keep, max_age_days, clock)]
    return [one.id for one in sorted(gone, key=lambda one: (one.started, one.id))]


def _too_many(newest_first: Sequence[Manifest], keep: int, max_age_days: float, clock: float) -> Iterator[Manifest]:
    """Those of one cluster that may go."""
    seen: Dict[Tuple[str, str], int] = {}
    complete = 0
    for one in newest_first:
        if not one.complete:
            if complete and clock - seconds(one.last_sign) > DAY_SECONDS:
                yield one
            continue
        newer = min([complete] + [seen.get(part.key, 0) for part in one.parts])
        too_old = max_age_days > 0 and clock - seconds(one.started) > max_age_days * DAY_SECONDS
        if newer and (too_old or 0 < keep <= newer):
            yield one
        complete += 1
        for part in one.parts:
            seen[part.key] = seen.get(part.key, 0) + 1


def remove(store: Store, backup: str) -> None:
    """Delete a backup. Its manifest goes first: what is left of it when this is interrupted has none and passes for no
    backup, where a manifest without its files would look whole. Doing it again deletes the rest.

    :raises EngineError: it is no id of a backup; a file cannot be deleted.
    """
    if not BACKUP_ID.fullmatch(backup):
        raise EngineError("it is no id of a backup", subject=repr(backup), next_step="take an id that backup_info shows")
    store.remove("%s/%s" % (backup, FILE))
    for one in list(store.list(backup + "/")):  # a list first: who deletes while listing may miss some
        store.remove(one.name)
