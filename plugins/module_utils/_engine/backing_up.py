# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of a cluster's data: record, objects, databases, then object stores, each a part of its own.

The databases come before the object stores: an artifact is written before the database names it, so whatever a dump names
is in the copy that was made after it. The manifest is written after every part and every pack; a run that was killed goes
on behind the last one. Nothing is written in the cluster but snapshots of volumes, which version a database server is, and
at the end when and where the backup was made.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from . import backup_files, gathering, volume_snapshots
from .api import Api, Discovery
from .backups import holder_of, manifests, remove, surplus, unfinished, write_holder
from .catalogue import Catalogue, Release
from .copying import Pack, pack_bucket
from .data_access import Access
from .data_guard import note_server
from .data_places import Database, ObjectStore
from .dumping import DumpCounts, MySql, read_back
from .encrypting import BackupKey
from .errors import EngineError, sure
from .gathering import Count, Kind
from .locking import Lock
from .manifest import SCHEMA, BackupFile, Manifest, Part, backup_id, save_manifest
from .progress import Progress
from .record import NAMESPACES, Backup, Record, ensure_namespace, load, save
from .redaction import Redactor, Scrubbed
from .results import now
from .s3 import Bucket, has_bucket
from .session import Clock
from .stores import Store, open_store
from .upgrading import current_release
from .usage import CLAIMS, tenants_of

RECORD, OBJECTS, VOLUMES, DATABASE, OBJECTSTORE = "record", "objects", "volumes", "database", "objectstore"


@dataclass(frozen=True)
class BackupRequest:
    """Everything that a backup is told.

    :ivar place: a folder or ``s3://bucket/prefix``; :ivar s3: how that bucket is reached.
    :ivar parts: ``record``, ``objects``, ``volumes``, ``database``, ``objectstore``, or one of them by name (``database/katib``);
        () for all.
    :ivar secrets: whether values of Secrets are saved although the backup is not encrypted.
    :ivar databases, stores: see :class:`Access`.
    :ivar keep: how many backups stay; :ivar keep_days: how old they may get; 0 for no limit.
    :ivar verify: whether what was written is read back.
    :ivar timeout: seconds that the storage may take for a snapshot of a volume.
    """

    cluster: str
    place: str
    kubeconfig: str = ""
    context: str = ""
    key: BackupKey = field(default_factory=BackupKey)
    s3: Mapping[str, Any] = field(default_factory=dict)
    parts: Tuple[str, ...] = ()
    secrets: bool = False
    databases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    keep: int = 0
    keep_days: float = 0.0
    verify: bool = True
    release_dirs: Tuple[str, ...] = ()
    timeout: float = 900.0
    lock_timeout: float = 600.0
    run_id: str = ""


@dataclass
class BackupOutcome:
    """What came of it.

    :ivar resumed: whether an unfinished backup was gone on with.
    :ivar removed: ids of older backups that went.
    """

    manifest: Optional[Manifest] = None
    planned: Tuple[str, ...] = ()
    resumed: bool = False
    removed: Tuple[str, ...] = ()
    changed: bool = False
    errors: Tuple[EngineError, ...] = ()
    clock: Clock = field(default_factory=Clock)


def chosen(asked: Sequence[str], kind: str, name: str) -> bool:
    """Whether a part is asked for, by its kind or by its full name."""
    return not asked or kind in asked or "%s/%s" % (kind, name) in asked


class BackupRun:
    """One backup of one cluster.

    :param guard: called before every write in the cluster; raises to stop the run.
    """

    def __init__(self, request: BackupRequest, progress: Progress, guard: Optional[Callable[[], None]] = None) -> None:
        self.request = request
        self.redactor = Redactor()
        self.redactor.learn_value(request.key.passphrase, "password")
        self.redactor.learn_value(request.s3.get("secret_key") or "", "password")
        self.progress: Progress = Scrubbed(progress, self.redactor)
        self.outcome = BackupOutcome()
        self._guard = guard

    # ---------------------------------------------------------------- before anything is written

    def _open(self) -> None:
        request = self.request
        request.key.check()
        self._api = Api.connect(request.kubeconfig, request.context)
        self._api.guard = self._guard
        self._kubernetes = self._api.version()
        self._record = load(self._api)
        if not self._record.components:
            raise EngineError(
                "there is nothing to save: no component is recorded in this cluster",
                subject="cluster %s" % request.cluster,
                next_step="install the platform with site, or take one over with kubeflow_adopt",
            )
        catalogue = Catalogue.load([Path(item).expanduser() for item in request.release_dirs])
        self._release: Release = catalogue.release(current_release(self._record, catalogue))
        self._access = Access(self._api, self.redactor, request.kubeconfig, request.context, request.databases, request.stores)
        self._store: Store = open_store(request.place, request.s3)
        self._discovery: Discovery = self._api.discover()
        self._parts = self._wanted()
        self.outcome.planned = tuple("%s/%s" % (kind, name) if name else kind for kind, name in self._parts)
        self._uid = str((self._api.get(NAMESPACES, "", "kube-system") or {}).get("metadata", {}).get("uid", ""))
        self.outcome.clock.lap("connect")

    def _wanted(self) -> List[Tuple[str, str]]:
        """The parts in their order: (kind, name)."""
        data, asked = self._release.data, self.request.parts
        known: List[Tuple[str, str]] = [(RECORD, ""), (OBJECTS, "")]
        if volume_snapshots.are_served(self._discovery):
            known.append((VOLUMES, ""))
        known += [(DATABASE, one.name) for one in data.databases if one.component in self._record.components]
        known += [(OBJECTSTORE, one.name) for one in data.object_stores if one.component in self._record.components]
        if not self._with_secrets:
            known = [part for part in known if part[0] != RECORD]
        names = {kind for kind, _name in known} | {"%s/%s" % part for part in known}
        unknown = [part for part in asked if part not in names]
        if unknown:
            raise EngineError(
                "there is no such part",
                subject="kubeflow_backup_parts %s" % ", ".join(unknown),
                expected=", ".join(sorted(name.rstrip("/") for name in names)),
                next_step="the record is only saved in an encrypted backup" if RECORD in unknown else "name one of those",
            )
        return [part for part in known if chosen(asked, *part)]

    @property
    def _with_secrets(self) -> bool:
        return bool(self.request.key.encryption) or self.request.secrets

    # ---------------------------------------------------------------- what can be asked for

    def plan(self) -> BackupOutcome:
        """What would be saved; that databases and place answer is looked at, nothing is written."""
        self._open()
        self._estimate()
        next(iter(self._store.list()), None)
        return self.outcome

    def run(self) -> BackupOutcome:
        """Make the backup, or go on with one that was not finished."""
        self._open()
        manifest = self._begin()
        self.outcome.changed = True
        for kind, name in self._parts:
            part = manifest.part(kind, name)
            if part is not None and part.state == "done":
                continue
            manifest = self._one(manifest, kind, name)
            self.outcome.manifest = manifest
            self.outcome.clock.lap("%s/%s" % (kind, name) if name else kind)
        manifest = replace(manifest, state="done", ended=now())
        self._save(manifest)
        write_holder(self._store, manifest.id, None)
        self._note(manifest)
        self._tidy(manifest)
        return self.outcome

    def _begin(self) -> Manifest:
        """The manifest to go on with: of an unfinished backup of the same, or a new one."""
        before = unfinished(self._store, self.request.cluster, self._uid, self._release.name, self.request.key.encryption)
        if before is not None and {part.key for part in before.parts} <= set(self._parts):
            holder_of(self._store, before.id, before)  # raises if it is still being made
            self.outcome.resumed = True
            self.progress.say("", "going on with backup %s, begun %s" % (before.id, before.started))
            manifest = before
        else:
            self._store.check(self._estimate())
            started = now()
            manifest = Manifest(
                schema=SCHEMA,
                id=backup_id(started, self.request.cluster),
                cluster=self.request.cluster,
                cluster_uid=self._uid,
                release=self._release.name,
                kubernetes=self._kubernetes,
                collection="mlplatform.kubeflow",
                encryption=self.request.key.encryption,
                state="running",
                started=started,
                ended="",
                parts=(),
            )
            self.progress.say("", "backup %s in %s" % (manifest.id, self._store.place))
        write_holder(self._store, manifest.id, self.request.run_id)
        self._save(manifest)
        self.outcome.manifest = manifest
        return manifest

    def _estimate(self) -> int:
        """Bytes that the databases will need at most; what an object store holds is only known when it is listed."""
        total = 0
        for database in self._databases():
            server = self._access.mysql(database)
            names = _there(server, database)
            total += server.size(names) if names else 0
        return total

    def _databases(self) -> Iterator[Database]:
        return (one for one in self._release.data.databases if (DATABASE, one.name) in self._parts)

    def _save(self, manifest: Manifest) -> None:
        save_manifest(self._store, manifest)
        self.outcome.manifest = manifest

    # ---------------------------------------------------------------- one part

    def _one(self, manifest: Manifest, kind: str, name: str) -> Manifest:
        saved: Mapping[str, Callable[[Manifest, str], Manifest]] = {
            RECORD: self._save_record,
            OBJECTS: self._save_objects,
            VOLUMES: self._save_volumes,
            DATABASE: self._save_database,
            OBJECTSTORE: self._save_object_store,
        }
        manifest = saved[kind](manifest, name)
        part = manifest.part(kind, name)
        if part is not None:
            size = sum(file.size for file in part.files)
            counts = ", ".join("%d %s" % (number, what) for what, number in sorted(part.counts.items()))
            self.progress.say(part.component, "saved %s%s: %s, %.1f MB" % (kind, "/" + name if name else "", counts, size / 1e6))
        self._save(manifest)
        return manifest

    def _file(self, manifest: Manifest, name: str, plain: Iterable[bytes]) -> BackupFile:
        return backup_files.put(self._store, "%s/%s" % (manifest.id, name), plain, self.request.key)

    def _done(
        self, kind: str, name: str, component: str, started: str, files: Sequence[BackupFile], counts: Dict[str, int], **details: Any
    ) -> Part:
        return Part(kind, name, component, "done", tuple(files), counts, started, now(), details)

    def _save_record(self, manifest: Manifest, name: str) -> Manifest:
        started = now()
        (kind,) = gathering.record_kinds()
        file, count = self._kind(manifest, "record", kind, keep=lambda obj: True)
        part = self._done(RECORD, name, "", started, [sure(file)], {"objects": count.objects}, kinds=gathering.summary({kind.name: count}))
        return manifest.with_part(part)

    def _save_objects(self, manifest: Manifest, name: str) -> Manifest:
        started = now()
        tenants = tenants_of(self._api)
        files: List[BackupFile] = []
        counts: Dict[str, Count] = {}
        for kind in self._kinds(tenants):
            file, count = self._kind(manifest, "objects", kind)
            if file is not None:
                files.append(file)
                counts[kind.name] = count
        total = {"objects": sum(count.objects for count in counts.values()), "kinds": len(counts), "tenants": len(tenants)}
        details = {"kinds": gathering.summary(counts), "secrets": self._with_secrets}
        return manifest.with_part(self._done(OBJECTS, name, "", started, files, total, **details))

    def _kinds(self, tenants: FrozenSet[str]) -> List[Kind]:
        """Profiles first, then what their namespaces hold, then the other custom resources."""
        custom = gathering.custom_kinds(self._api, self._discovery)
        profiles = [kind for kind in custom if kind.is_profile]
        others = [kind for kind in custom if kind not in profiles]
        inside = gathering.tenant_kinds(tenants, self._with_secrets) if tenants else []
        claims = [Kind(CLAIMS, namespaces=tenants)] if tenants else []
        return [*profiles, *inside, *claims, *others]

    def _kind(self, manifest: Manifest, folder: str, kind: Kind, **keep: Any) -> Tuple[Optional[BackupFile], Count]:
        """A file with all objects of a kind; none if there are none."""
        count = Count()

        def told(so_far: Count) -> None:
            self.progress.waiting("", "%s: %d objects" % (kind.name, so_far.objects))

        lines = gathering.lines(gathering.read(self._api, kind, **keep), count, told)
        first = next(lines, None)
        if first is None:
            return None, count
        return self._file(manifest, "%s/%s.jsonl" % (folder, kind.name), itertools.chain((first,), lines)), count

    def _save_volumes(self, manifest: Manifest, name: str) -> Manifest:
        """Snapshots of the tenants' volumes; they lie where the volumes lie, and the backup says how they are found."""
        started, taker = now(), volume_snapshots.Taker(self._api, manifest.id, self.progress, self.request.timeout)
        taken = taker.take(tenants_of(self._api))
        if taker.without:
            text = "%d volumes are not saved, as their storage makes no snapshots: %s"
            self.progress.say("", text % (len(taker.without), ", ".join(sorted(taker.without)[:5])))
        lines = [gathering.json_line(one.line()) for one in taken]
        files = [self._file(manifest, "volumes/snapshots.jsonl", lines)] if taken else []
        counts = {"snapshots": len(taken), "bytes": sum(one.size for one in taken), "not_saved": len(taker.without)}
        return manifest.with_part(self._done(VOLUMES, name, "", started, files, counts))

    def _save_database(self, manifest: Manifest, name: str) -> Manifest:
        database = next(one for one in self._databases() if one.name == name)
        server, started = self._access.mysql(database), now()
        names = _there(server, database)
        missing = sorted(set(database.databases) - set(names))
        if missing:
            self.progress.say(database.component, "database %s has no schema %s: nothing to save of it" % (name, ", ".join(missing)))
        counts, files = DumpCounts(), []
        if names:
            dump = self._rated(server.dump(names, counts), "database %s" % name)
            files.append(self._file(manifest, "databases/%s.sql" % name, dump))
        if counts.server and name not in self.request.databases:
            note_server(self._api, database, counts.server)
        if files and self.request.verify:
            self._read_back(files[0], counts, "database %s" % name)
        numbers = {"rows": sum(counts.rows.values()), "tables": len(counts.rows)}
        details = {"rows": dict(counts.rows), "server": counts.server, "databases": names, "engine": database.engine}
        return manifest.with_part(self._done(DATABASE, name, database.component, started, files, numbers, **details))

    def _read_back(self, file: BackupFile, counts: DumpCounts, subject: str) -> None:
        """A dump counts when it can be read: its key opens it, it is whole, and it has as many rows as were written.

        With recipients alone nobody here can open it: then only the stored bytes are compared with their digest.
        """
        if not self.request.key.opens(self.request.key.encryption):
            for _chunk in backup_files.stored(self._store, file):
                pass
            return
        again = read_back(backup_files.get(self._store, file, self.request.key, self.request.key.encryption))
        if not again.finished or again.rows != counts.rows:
            raise EngineError(
                "the dump that was written does not hold what was read",
                subject=subject,
                expected="%d rows" % sum(counts.rows.values()),
                found="%d rows%s" % (sum(again.rows.values()), "" if again.finished else ", and it has no end"),
                next_step="check the disk of %s and run the backup again" % self._store.place,
            )

    def _rated(self, chunks: Iterable[bytes], what: str) -> Iterator[bytes]:
        started, size = time.monotonic(), 0
        for chunk in chunks:
            size += len(chunk)
            yield chunk
            rate = size / max(time.monotonic() - started, 0.001)
            self.progress.waiting("", "%s: %.1f MB, %.1f MB/s" % (what, size / 1e6, rate / 1e6))

    def _save_object_store(self, manifest: Manifest, name: str) -> Manifest:
        store = next(one for one in self._release.data.object_stores if one.name == name)
        with self._access.buckets(store) as buckets:
            for bucket in buckets:
                manifest = self._bucket(manifest, store, bucket)
        part = sure(manifest.part(OBJECTSTORE, name))
        return manifest.with_part(replace(part, state="done", ended=now()))

    def _bucket(self, manifest: Manifest, store: ObjectStore, bucket: Bucket) -> Manifest:
        """One bucket, pack by pack; the manifest is written after each."""
        part = manifest.part(OBJECTSTORE, store.name)
        if part is None:
            part = Part(OBJECTSTORE, store.name, store.component, "running", (), {"objects": 0, "bytes": 0}, now(), "", {"packs": {}})
        packs = packs_of(part, bucket.name)
        folder = "%s/objectstores/%s/%s" % (manifest.id, store.name, bucket.name)
        part = replace(part, details={**part.details, "packs": {bucket.name: [], **part.details["packs"]}})
        if not packs and not has_bucket(bucket):
            self.progress.say(store.component, "there is no %s: nothing to save of it" % bucket)
            return manifest.with_part(part)
        for pack in pack_bucket(bucket, self._store, folder, self.request.key, packs, self.progress):
            known = part.details["packs"]
            more = {**known, bucket.name: [*known[bucket.name], {"file": pack.file.name, **pack.details()}]}
            counts = {"objects": part.counts["objects"] + pack.objects, "bytes": part.counts["bytes"] + pack.bytes}
            part = replace(part, files=(*part.files, pack.file), counts=counts, details={**part.details, "packs": more})
            manifest = manifest.with_part(part)
            self._save(manifest)
        return manifest.with_part(part)

    # ---------------------------------------------------------------- after it

    def _note(self, manifest: Manifest) -> None:
        """The record says of each component whose data is all in it when and where it was saved."""
        saved = covered(manifest, self._release, self._record)
        if not saved:
            return
        ensure_namespace(self._api)
        with Lock(self._api, self.request.run_id, self.request.lock_timeout, self.progress):
            record = load(self._api)
            backup = Backup(manifest.release, manifest.ended, "%s/%s" % (self._store.place, manifest.id))
            save(self._api, replace(record, backups={**record.backups, **{name: backup for name in saved}}))

    def _tidy(self, manifest: Manifest) -> None:
        """Older backups of this cluster that are no longer wanted."""
        if not self.request.keep and not self.request.keep_days:
            return
        mine = [one for one in manifests(self._store) if one.cluster_uid == manifest.cluster_uid]
        gone = surplus(mine, self.request.keep, self.request.keep_days, datetime.now(timezone.utc))
        for one in gone:
            self.progress.say("", "removing backup %s" % one)
            remove(self._store, one)
            volume_snapshots.forget(self._api, one)
        self.outcome.removed = tuple(gone)


def _there(server: MySql, database: Database) -> List[str]:
    """The databases that there are: a component makes some of them only when it needs them."""
    known = server.databases()
    return [name for name in database.databases if name in known]


def packs_of(part: Part, bucket: str) -> List[Pack]:
    """The packs of one bucket, in the order in which they were made."""
    files = {file.name: file for file in part.files}
    found = []
    for told in part.details["packs"].get(bucket, []):
        details = {name: value for name, value in told.items() if name != "file"}
        found.append(Pack.read(files[told["file"]], details))
    return found


def covered(manifest: Manifest, release: Release, record: Record) -> Tuple[str, ...]:
    """The components all of whose databases and object stores are in a backup."""
    needed: Dict[str, List[Tuple[str, str]]] = {}
    for database in release.data.databases:
        needed.setdefault(database.component, []).append((DATABASE, database.name))
    for store in release.data.object_stores:
        needed.setdefault(store.component, []).append((OBJECTSTORE, store.name))
    done = {(part.kind, part.name) for part in manifest.parts if part.state == "done"}
    return tuple(sorted(name for name, parts in needed.items() if name in record.components and set(parts) <= done))
