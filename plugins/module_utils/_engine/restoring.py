# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup, put back into a cluster that has the platform: the same one or a new one.

Profiles come first, as their controller makes the namespaces; then what lies in these; then databases and object stores,
while nobody writes to them; then the custom resources, whose controllers need both. What holds data already is replaced
only if a person named it. What a killed run had begun is noted in the cluster, so that running it again may go on.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple, Union

from . import backup_files, gathering, volume_snapshots
from .api import Api, Discovery, Resource
from .backing_up import DATABASE, OBJECTS, OBJECTSTORE, RECORD, VOLUMES, chosen, packs_of
from .backups import find, manifests
from .catalogue import Catalogue, Release
from .copying import Tally as Counted
from .copying import tally_bucket, unpack_bucket
from .data_access import Access
from .data_places import Database, ObjectStore
from .encrypting import BackupKey
from .errors import EngineError
from .locking import Lock
from .manifest import BackupFile, Manifest, Part
from .object_restore import Fate, Objects, Tally, merged
from .objects import OUR_NAMESPACE, KubeObject, ObjectRef, ref_of
from .progress import Progress
from .quieting import Quiet
from .record import NAMESPACES, SECRETS, Record, ensure_namespace, load
from .redaction import Redactor, Scrubbed
from .restore_checks import check_cluster, check_manifest, check_release
from .s3 import has_bucket, make_sure
from .session import Clock
from .stores import Store, open_store
from .upgrading import current_release
from .usage import CLAIMS
from .volume_snapshots import Saved
from .volumes import MAKE_ROOM, lacking, room_on

CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps", True)
MARK = "restore"
ALL = "all"
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class RestoreRequest:
    """Everything that a restore is told; see :class:`BackupRequest` for the rest.

    :ivar backup: an id, or ``newest``.
    :ivar overwrite: parts whose data in the cluster may be replaced (``objects``, ``database/katib``), or ``all``.
    :ivar confirm: the name of the cluster again, where data is replaced or comes from another cluster.
    """

    cluster: str
    place: str
    backup: str = "newest"
    kubeconfig: str = ""
    context: str = ""
    key: BackupKey = field(default_factory=BackupKey)
    s3: Mapping[str, Any] = field(default_factory=dict)
    parts: Tuple[str, ...] = ()
    overwrite: Tuple[str, ...] = ()
    confirm: str = ""
    databases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    stores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    release_dirs: Tuple[str, ...] = ()
    timeout: float = 900.0
    lock_timeout: float = 600.0
    run_id: str = ""


@dataclass
class Line:
    """One part in the plan of a restore.

    :ivar saved: what the backup has; :ivar there: what the cluster has now.
    :ivar stop: why it is not done, "" if nothing stands against it.
    """

    kind: str
    name: str
    component: str
    saved: Dict[str, int]
    there: Dict[str, int] = field(default_factory=dict)
    stop: str = ""
    next_step: str = ""
    tally: Optional[Tally] = None
    state: str = "planned"

    @property
    def part(self) -> str:
        """``database/katib``, or the kind alone."""
        return "%s/%s" % (self.kind, self.name) if self.name else self.kind


@dataclass
class RestoreOutcome:
    """What came of it."""

    manifest: Optional[Manifest] = None
    lines: List[Line] = field(default_factory=list)
    changed: bool = False
    errors: Tuple[EngineError, ...] = ()
    clock: Clock = field(default_factory=Clock)


class RestoreRun:
    """One restore into one cluster."""

    def __init__(self, request: RestoreRequest, progress: Progress, guard: Optional[Callable[[], None]] = None) -> None:
        self.request = request
        self.redactor = Redactor()
        self.redactor.learn_value(request.key.passphrase, "password")
        self.redactor.learn_value(request.s3.get("secret_key") or "", "password")
        self.progress: Progress = Scrubbed(progress, self.redactor)
        self.outcome = RestoreOutcome()
        self._guard = guard

    # ---------------------------------------------------------------- before anything is written

    def _open(self) -> None:
        request = self.request
        self._store: Store = open_store(request.place, request.s3)
        manifest = self._manifest = self.outcome.manifest = self._find()
        check_manifest(manifest, request.key, request.parts)
        self._api = Api.connect(request.kubeconfig, request.context)
        self._api.guard = self._guard
        self._api.version()
        self._record: Record = load(self._api)
        self._uid = str((self._api.get(NAMESPACES, "", "kube-system") or {}).get("metadata", {}).get("uid", ""))
        catalogue = Catalogue.load([Path(item).expanduser() for item in request.release_dirs])
        self._release: Release = check_release(manifest, current_release(self._record, catalogue), catalogue, request.cluster)
        check_cluster(manifest, request.cluster, self._uid, request.confirm)
        self._access = Access(self._api, self.redactor, request.kubeconfig, request.context, request.databases, request.stores)
        self._discovery: Discovery = self._api.discover()
        kinds = gathering.custom_kinds(self._api, self._discovery)
        self._has_status = {(kind.resource.group, kind.resource.kind): kind.has_status for kind in kinds}
        self._read_mark()
        self.outcome.clock.lap("connect")

    def _find(self) -> Manifest:
        """The backup that is asked for; the newest one is that of this cluster, or of the only one whose backups lie there."""
        clusters = {one.cluster for one in manifests(self._store)}
        here = self.request.cluster
        return find(self._store, self.request.backup, "" if len(clusters) == 1 and here not in clusters else here)

    def _read_mark(self) -> None:
        """What an unfinished restore of this backup had begun, and what it had done."""
        data = (self._api.get(CONFIG_MAPS, OUR_NAMESPACE, MARK) or {}).get("data") or {}
        mine = data.get("backup") == self._manifest.id
        self._begun: Set[str] = set(json.loads(data.get("begun", "[]"))) if mine else set()
        self._done: Set[str] = set(json.loads(data.get("done", "[]"))) if mine else set()

    # ---------------------------------------------------------------- the plan

    def _plan(self) -> None:
        looks: Mapping[str, Callable[[Part, Line], None]] = {
            RECORD: self._look_record,
            OBJECTS: self._look_objects,
            VOLUMES: self._look_volumes,
            DATABASE: self._look_database,
            OBJECTSTORE: self._look_store,
        }
        for part in self._manifest.parts:
            if not chosen(self.request.parts, part.kind, part.name):
                continue
            line = Line(part.kind, part.name, part.component, dict(part.counts))
            looks[part.kind](part, line)
            self.outcome.lines.append(line)
        self.outcome.clock.lap("plan")

    def _may_overwrite(self, line: Line) -> bool:
        named = ALL in self.request.overwrite or line.kind in self.request.overwrite or line.part in self.request.overwrite
        return named and self.request.confirm == self.request.cluster

    def _guarded(self, line: Line, what: str) -> None:
        """A part whose data would be replaced is refused unless a person said so.

        What a run was killed in the middle of is no data yet and is written again; what it had done is not touched again.
        """
        if self._may_overwrite(line) or line.part in self._begun:
            return
        if line.part in self._done:
            line.state = "done"
        else:
            line.stop = "there is data already: %s" % what
            line.next_step = "to replace it, name %s in kubeflow_restore_overwrite and set kubeflow_confirm to %s" % (
                line.part,
                self.request.cluster,
            )

    def _look_record(self, part: Part, line: Line) -> None:
        line.there = {"objects": len(self._api.list(SECRETS, namespace=OUR_NAMESPACE)[0])}
        line.state = "left"
        line.next_step = "this cluster has a record of its own, which is newer"

    def _look_objects(self, part: Part, line: Line) -> None:
        line.tally = merged(self._objects(part, file).plan() for file in part.files)
        line.there = dict(line.tally.counts)

    def _look_volumes(self, part: Part, line: Line) -> None:
        """They come back with claims that are not there; a volume that is there stays as it is."""
        if not chosen(self.request.parts, OBJECTS, ""):
            line.state, line.next_step = "left", "volumes come back with their claims, which are in the part objects"
        elif part.files and not volume_snapshots.are_served(self._discovery):
            line.stop = "this cluster has no API for snapshots of volumes"
            line.next_step = "install the snapshot controller and the CSI driver of the volumes; or leave volumes out, by naming the "
            line.next_step += "other parts in kubeflow_restore_parts: then claims come back empty"
        else:
            missing, there = self._snapshots_of(part)
            line.there = {"claims": len(there)}
            line.state = "planned" if missing else "done"

    def _snapshots_of(self, part: Part) -> Tuple[List[Saved], List[Saved]]:
        """The saved snapshots of claims that are not there, and of those that are."""
        there = {(ref.namespace, ref.name) for ref in map(ref_of, self._api.list(CLAIMS, names=True)[0])}
        saved = [Saved(**told) for file in part.files for told in gathering.parsed(self._plain(file))]
        return [one for one in saved if one.key not in there], [one for one in saved if one.key in there]

    def _provided(self) -> Dict[Tuple[str, str], str]:
        """Snapshots for the claims that are about to be made."""
        lines = [line for line in self.outcome.lines if line.kind == VOLUMES and line.state == "planned"]
        part = self._manifest.part(VOLUMES, "")
        if not lines or part is None:
            return {}
        missing, _there = self._snapshots_of(part)
        found = volume_snapshots.provide(self._api, missing, self._manifest.id, self.progress, self.request.timeout)
        if found:
            self.progress.say("", "%d volumes are made out of their snapshots" % len(found))
        lines[0].state = "done"
        return found

    def _objects(self, part: Part, file: BackupFile, snapshots: Optional[Mapping[Tuple[str, str], str]] = None) -> Objects:
        """What one file of the part holds."""

        def read() -> Iterator[KubeObject]:
            return gathering.parsed(backup_files.get(self._store, file, self.request.key, self._manifest.encryption))

        overwrite = self._may_overwrite(Line(part.kind, part.name, "", {}))
        return Objects(self._api, self._discovery, read, self._has_status, overwrite, snapshots)

    def _database(self, name: str) -> Database:
        found = [one for one in self._release.data.databases if one.name == name]
        return found[0] if found else self._nowhere("database", name)

    def _object_store(self, name: str) -> ObjectStore:
        found = [one for one in self._release.data.object_stores if one.name == name]
        return found[0] if found else self._nowhere("object store", name)

    def _nowhere(self, what: str, name: str) -> Any:
        raise EngineError(
            "release %s has no such %s" % (self._release.name, what),
            subject="%s %s" % (what, name),
            next_step="leave it out of kubeflow_restore_parts",
        )

    def _look_database(self, part: Part, line: Line) -> None:
        database = self._database(part.name)
        server = self._access.mysql(database)
        names = sorted(set(part.details["databases"]) & set(server.databases()))
        rows = server.row_counts(names) if names else {}
        line.there = {"rows": sum(rows.values()), "tables": len(rows)}
        if line.there["rows"]:
            self._guarded(line, "%(rows)d rows in %(tables)d tables" % line.there)
        dumped = sum(file.plain_size for file in part.files)
        self._check_room(line, database, dumped - (server.size(names) if names else 0), self.request.databases)
        for file in part.files:  # the old data goes before the new comes: what comes has to be whole, and the key the right one
            for _chunk in self._plain(file):
                pass

    def _look_store(self, part: Part, line: Line) -> None:
        with self._access.buckets(self._object_store(part.name)) as buckets:
            tallies = [tally_bucket(bucket, checksums=False) for bucket in buckets if has_bucket(bucket)]
        line.there = {"objects": sum(one.objects for one in tallies), "bytes": sum(one.bytes for one in tallies)}
        if line.there["objects"]:
            self._guarded(line, "%(objects)d objects, %(bytes)d bytes" % line.there)
        self._check_room(line, self._object_store(part.name), part.counts["bytes"] - line.there["bytes"], self.request.stores)

    def _check_room(self, line: Line, place: Union[Database, ObjectStore], need: int, given: Mapping[str, Any]) -> None:
        """What does not fit on the volume is not begun; of a server elsewhere nothing is known.

        :param need: bytes that come on top of what is there, which is not deleted before the new is written.
        """
        if line.stop or line.state == "done" or place.name in given or need <= 0:
            return
        line.stop = lacking(room_on(self._api, place.claim), need)
        line.next_step = MAKE_ROOM if line.stop else line.next_step

    def _refuse(self) -> None:
        stops = [line for line in self.outcome.lines if line.stop]
        if stops:
            raise EngineError(
                stops[0].stop,
                subject=stops[0].part,
                found="; ".join("%s: %s" % (line.part, line.stop) for line in stops[1:]),
                next_step=stops[0].next_step + "; nothing was written",
                component=stops[0].component,
            )

    # ---------------------------------------------------------------- what can be asked for

    def plan(self) -> RestoreOutcome:
        """What would be put back, and what stands against it; nothing is written."""
        self._open()
        self._plan()
        self._refuse()
        return self.outcome

    def run(self) -> RestoreOutcome:
        """Put it back."""
        self._open()
        self._plan()
        self._refuse()
        ensure_namespace(self._api)
        with Lock(self._api, self.request.run_id, self.request.lock_timeout, self.progress):
            self.outcome.changed = True
            self._carry_out()
            self._unmark()
        return self.outcome

    def _carry_out(self) -> None:
        todo = [line for line in self.outcome.lines if line.state == "planned"]
        parts = {(part.kind, part.name): part for part in self._manifest.parts}
        objects = [line for line in todo if line.kind == OBJECTS]
        for line in objects:
            self._restore_objects(parts[(line.kind, line.name)], line, first=True)
        self._restore_data([line for line in todo if line.kind in (DATABASE, OBJECTSTORE)], parts)
        for line in objects:
            self._restore_objects(parts[(line.kind, line.name)], line, first=False)
            line.state = "done"
            self.outcome.clock.lap(line.part)
        for line in todo:
            line.state = "done" if line.kind == VOLUMES else line.state  # also where no claim had to be made

    def _mark(self, begun: str, done: str = "") -> None:
        """Which part is being written from now on, and which one has been."""
        self._begun = (self._begun | {begun}) - {"", done}
        self._done = (self._done | {done}) - {""}
        head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": MARK, "namespace": OUR_NAMESPACE}}
        data = {"backup": self._manifest.id, "begun": json.dumps(sorted(self._begun)), "done": json.dumps(sorted(self._done))}
        self._api.apply(CONFIG_MAPS, {**head, "data": data}, force=True)

    def _unmark(self) -> None:
        mark = self._api.get(CONFIG_MAPS, OUR_NAMESPACE, MARK)
        if mark is not None:
            self._api.delete(CONFIG_MAPS, OUR_NAMESPACE, MARK, mark["metadata"]["uid"])

    # ---------------------------------------------------------------- objects

    def _restore_objects(self, part: Part, line: Line, first: bool) -> None:
        """First profiles and what lies in their namespaces, later everything else."""
        files = [file for file in part.files if _is_early(file) == first]
        done: List[Tally] = []
        for file in files:
            snapshots = self._provided() if _kind_of(file) == gathering.Kind(CLAIMS).name else None
            done.append(self._objects(part, file, snapshots).restore(self.progress, _kind_of(file)))
            if _kind_of(file) == "profiles.kubeflow.org":
                self._wait_for_tenants(part, file)
        before = line.tally if not first and line.state == "half" else Tally()
        line.tally = merged([before or Tally(), *done])
        line.state = "half"
        orphans = line.tally.names.get(Fate.ORPHAN.value)
        if orphans:
            self.progress.say("", "not made, as their owners are not there: %s" % ", ".join(orphans))

    def _wait_for_tenants(self, part: Part, file: BackupFile) -> None:
        """The profile controller makes a namespace for each."""
        missing = {obj["metadata"]["name"] for obj in gathering.parsed(self._plain(file))}
        end = time.monotonic() + self.request.timeout
        pause = threading.Event()
        while missing:
            missing -= {obj["metadata"]["name"] for obj in self._api.list(NAMESPACES, names=True)[0]}
            if missing and time.monotonic() > end:
                raise EngineError(
                    "the profile controller has not made the namespace within %.0f s" % self.request.timeout,
                    subject="Profile.kubeflow.org %s" % ", ".join(sorted(missing)),
                    next_step="see why with status; then run restore again, it goes on from here",
                )
            if missing:
                self.progress.waiting("profiles", "%d namespaces of profiles are not there yet" % len(missing))
                pause.wait(_LOOK_SECONDS)

    def _plain(self, file: BackupFile) -> Iterator[bytes]:
        return backup_files.get(self._store, file, self.request.key, self._manifest.encryption)

    # ---------------------------------------------------------------- data

    def _restore_data(self, lines: Sequence[Line], parts: Mapping[Tuple[str, str], Part]) -> None:
        """Databases and object stores, while nobody works on them."""
        if not lines:
            return
        clients: Set[ObjectRef] = set()
        for line in lines:
            place: Any = self._database(line.name) if line.kind == DATABASE else self._object_store(line.name)
            clients.update(place.clients)
        quiet = Quiet(self._api, clients, self.progress, self.request.timeout)
        quiet.stop()
        for line in lines:
            put = self._load if line.kind == DATABASE else self._fill
            self._mark(line.part)
            put(parts[(line.kind, line.name)], line)
            self._mark("", done=line.part)
            line.state = "done"
            self.outcome.clock.lap(line.part)
        quiet.start()

    def _load(self, part: Part, line: Line) -> None:
        """Play a dump, and count the rows of every table."""
        server = self._access.mysql(self._database(part.name))
        names: Sequence[str] = part.details["databases"]
        for file in part.files:
            server.drop(names)
            server.load(self._plain(file))
        rows = server.row_counts(names) if names else {}
        wanted: Mapping[str, int] = part.details["rows"]
        wrong = {table: (number, rows.get(table)) for table, number in wanted.items() if rows.get(table) != number}
        if wrong:
            table, (number, found) = sorted(wrong.items())[0]
            raise EngineError(
                "a table has not the rows that were saved",
                subject="%s table %s" % (line.part, table),
                expected="%d rows" % number,
                found="%s rows; %d tables differ" % (found, len(wrong)),
                next_step="see who else writes to this database, then run restore again",
            )
        self.progress.say(part.component, "restored %s: %d rows in %d tables" % (line.part, sum(rows.values()), len(wanted)))

    def _fill(self, part: Part, line: Line) -> None:
        """Write every object of every bucket; each is checked as it is written."""
        with self._access.buckets(self._object_store(part.name)) as buckets:
            for bucket in buckets:
                packs = packs_of(part, bucket.name)
                if not packs:
                    continue
                make_sure(bucket)
                files, total = [pack.file for pack in packs], Counted()
                for pack in packs:
                    total.add(pack.tally)
                key, encryption = self.request.key, self._manifest.encryption
                tally = unpack_bucket(self._store, files, key, encryption, bucket, self.progress, total=total)
                wanted = total.objects
                if tally.objects != wanted:
                    raise EngineError(
                        "the bucket has not the objects that were saved",
                        subject=bucket.where,
                        expected="%d objects" % wanted,
                        found="%d objects" % tally.objects,
                        next_step="run restore again; what is there is not written twice",
                    )
                self.progress.say(part.component, "restored %s: %d objects, %.1f MB" % (bucket.where, tally.objects, tally.bytes / 1e6))


def _kind_of(file: BackupFile) -> str:
    """``notebooks.kubeflow.org`` of ``<id>/objects/notebooks.kubeflow.org.jsonl.gz``."""
    return file.name.rsplit("/", 1)[-1].split(".jsonl", 1)[0]


def _is_early(file: BackupFile) -> bool:
    """Whether a kind comes before the data: profiles and the built-in kinds of their namespaces."""
    kind = _kind_of(file)
    built_in = {gathering.Kind(resource).name for resource in (*gathering.TENANT_KINDS, CLAIMS)}
    return kind == "profiles.kubeflow.org" or kind in built_in
