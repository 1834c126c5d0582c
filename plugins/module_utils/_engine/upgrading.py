# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From one release to another, hop by hop: each is planned, applied, migrated, pruned and recorded before the next begins.

A hop is marked in the record before its first write and unmarked after its last, so that a run killed at any moment goes
on where it was by running it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Callable, List, Mapping, Optional, Tuple

from .api import Api
from .catalogue import Ack, Catalogue, Hop, Release
from .errors import EngineError, sure
from .hop_plan import widen
from .hops import path
from .migrating import Moved, due, migrate, ours
from .objects import ObjectRef
from .planning import Plan, Wanted
from .progress import Progress, Silent
from .pruning import allowed
from .record import Backup, Record, Upgrade, load, save
from .regenerating import Stale, look, notices, regenerate
from .removing import Remover
from .results import now
from .session import Chosen, Outcome, Request, Session, check_kubernetes, check_needs
from .snapshot import Snapshot
from .store_moving import StoreMove, StoreMoved, copied_by, foresee, move_store, moves

if TYPE_CHECKING:
    from .data_access import Access

# Clocks differ: a backup may be dated so many seconds in the future and still be one of now.
SKEW = 300.0


@dataclass
class HopOutcome:
    """What became of one hop: ``done``, ``failed``, or ``stopped`` before its first write.

    :ivar copied: object stores whose objects are in another one now.
    :ivar removed: what was deleted because the release has it no more; :ivar kept: what is left of the earlier one.
    :ivar regenerated: objects of tenants that their controllers make anew.
    """

    source: str
    target: str
    state: str = "stopped"
    outcome: Optional[Outcome] = None
    moved: Tuple[Moved, ...] = ()
    copied: Tuple[StoreMoved, ...] = ()
    removed: Tuple[ObjectRef, ...] = ()
    kept: Tuple[ObjectRef, ...] = ()
    regenerated: int = 0
    error: Optional[EngineError] = None


@dataclass
class Journey:
    """A whole upgrade: the hops in order, those that were not begun included."""

    source: str
    target: str
    hops: List[HopOutcome] = field(default_factory=list)

    @property
    def errors(self) -> Tuple[EngineError, ...]:
        """What ended it."""
        return tuple(hop.error for hop in self.hops if hop.error is not None)

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return any(hop.outcome is not None and hop.outcome.changed for hop in self.hops)


class HopSession(Session):
    """One hop on one cluster.

    :param acks: what a person said yes to.
    """

    def __init__(
        self, request: Request, hop: Hop, acks: Tuple[str, ...], progress: Progress, guard: Optional[Callable[[], None]] = None
    ) -> None:
        super().__init__(request, progress, guard)
        self.hop = hop
        self.result = HopOutcome(hop.source, hop.target, outcome=self.outcome)
        self._acks = acks
        self._stale: Tuple[Stale, ...] = ()

    # ---------------------------------------------------------------- before anything is written

    def _check_record(self, chosen: Chosen, record: Record) -> None:
        between = (self.hop.source, self.hop.target)
        for name, known in record.components.items():
            if known.catalogue == chosen.release.catalogue and known.version not in between:
                raise EngineError(
                    "it is neither at the beginning nor at the end of this hop",
                    subject="component %s" % name,
                    expected=" or ".join(between),
                    found="%s in the record" % known.version,
                    next_step="uninstall that component, or restore the record from a backup",
                )
        outside = sorted(set(record.components) - {one.name for one in chosen.desired})
        outside = [name for name in outside if record.components[name].catalogue == chosen.release.catalogue]
        if outside:
            raise EngineError(
                "installed, but not in the desired set of this cluster: a release changes as a whole",
                subject="component %s" % ", ".join(outside),
                next_step="add it to kubeflow_components, or uninstall it first",
            )
        check_needs(chosen, record)
        missing = missing_acks(self.hop, record, self._acks, self.request.backup_max_age)
        if missing:
            raise not_acknowledged(self.hop, missing, record, self.request.backup_max_age)

    def _shaped(self, api: Api, plan: Plan, record: Record, snapshot: Snapshot, wanted: Mapping[ObjectRef, Wanted]) -> Plan:
        plan = widen(api, plan, record, snapshot, wanted, self.hop, self.request.policy)
        self._stale = look(api, self.hop.regenerate, snapshot.served)
        return replace(plan, notices=(*plan.notices, *notices(self._stale)))

    def _has_work(self, plan: Plan) -> bool:
        return True  # at least the record changes

    # ---------------------------------------------------------------- writing

    def _carry_out(self, api: Api, chosen: Chosen, snapshot: Snapshot, wanted: Mapping[ObjectRef, Wanted], record: Record) -> Record:
        if record.upgrade is None:
            for move in self._due_copies(chosen, record):
                claim = wanted.get(move.target.claim)
                foresee(self._access(api), move, claim.obj if claim else None, self.progress)
            record = save(api, replace(record, upgrade=Upgrade(self.hop.source, self.hop.target, now())))
            self.outcome.changed = True
        record = super()._carry_out(api, chosen, snapshot, wanted, record)
        if not self.outcome.healthy:
            self.result.state = "failed"
            return record
        return self._finish(api, chosen, wanted, record)

    def _finish(self, api: Api, chosen: Chosen, wanted: Mapping[ObjectRef, Wanted], record: Record) -> Record:
        """Everything is there and healthy: what follows goes on where it was when it is run again."""
        self.outcome.changed = True
        self.result.moved = tuple(migrate(api, move, self.progress) for move in due(ours(api)))
        self.result.copied = self._copy_stores(api, chosen, record)
        self.result.regenerated = regenerate(api, self._stale, self.progress)
        record = self._prune(api, chosen, wanted, record)
        for component in chosen.scope:
            known = record.components.get(component.name)
            if known is not None:
                record = record.with_component(component.name, replace(known, version=component.version, complete=True))
        record = save(api, replace(record, upgrade=None))
        self.result.state = "done"
        self.outcome.clock.lap("finish")
        return record

    def _copy_stores(self, api: Api, chosen: Chosen, record: Record) -> Tuple[StoreMoved, ...]:
        """What lies in a store that this release replaces comes over."""
        return tuple(move_store(self._access(api), move, self.progress) for move in self._due_copies(chosen, record))

    def _due_copies(self, chosen: Chosen, record: Record) -> Tuple[StoreMove, ...]:
        """The stores whose objects this hop copies itself."""
        names = copied_by(self.hop.acks, self._acks, record.components)
        if not names:
            return ()
        catalogue = Catalogue.load([Path(item).expanduser() for item in self.request.release_dirs])
        return moves(catalogue.release(self.hop.source).data, chosen.release.data, names)

    def _access(self, api: Api) -> Access:
        from .data_access import Access  # with it comes the library for S3, which is slow to import

        return Access(api, self.redactor, self.request.kubeconfig, self.request.context)

    def _prune(self, api: Api, chosen: Chosen, wanted: Mapping[ObjectRef, Wanted], record: Record) -> Record:
        """Delete what the plan allows, and forget what is gone."""
        plan = sure(self.outcome.plan)
        going = allowed(plan.removals, self.request.policy)
        self.result.kept = tuple(one.ref for one in plan.removals if one not in going)
        remover = Remover(api, [one.name for one in chosen.scope], self.progress, self.request.timeout, record)
        removed = remover.remove(going)
        self.result.removed = removed
        left = {one.ref for one in plan.removals} - set(removed)
        return forget(record, wanted, left)


def forget(record: Record, wanted: Mapping[ObjectRef, Wanted], left: set[ObjectRef]) -> Record:
    """The record without what is neither wanted nor there any more, each object in the component that has it now."""
    for name, component in record.components.items():
        entries = {
            ref: entry
            for ref, entry in component.entries.items()
            if (ref in wanted and wanted[ref].component == name) or (ref not in wanted and ref in left)
        }
        if len(entries) != len(component.entries):
            record = record.with_component(name, replace(component, entries=entries))
    return record


def missing_acks(hop: Hop, record: Record, given: Tuple[str, ...], max_age: float, at: Optional[datetime] = None) -> Tuple[Ack, ...]:
    """What a person has to say yes to and has not; only for components that this cluster has.

    What a backup makes good is answered by a recorded one of the release that the hop starts from, too, unless it is old.

    :param max_age: seconds; 0 for any age. :param at: the present, if it is not now.
    """
    missing = []
    for ack in hop.acks:
        backup = _backup(hop, ack, record)
        named = ack.name in given or (bool(ack.copies) and ack.copy_name in given)
        answered = named or (backup is not None and not stale(backup, max_age, at))
        if ack.component in record.components and not answered:
            missing.append(ack)
    return tuple(missing)


def _backup(hop: Hop, ack: Ack, record: Record) -> Optional[Backup]:
    """The recorded backup that may answer an acknowledgement."""
    found = record.backups.get(ack.component) if ack.backup else None
    return found if found is not None and found.release == hop.source else None


def stale(backup: Backup, max_age: float, at: Optional[datetime] = None) -> str:
    """Why a backup does not count any more, or not yet, fit to be shown; "" if it counts.

    :param max_age: seconds; 0 for any age. :param at: the present, if it is not now.
    """
    if max_age == 0:
        return ""
    try:
        made = datetime.fromisoformat(backup.at.replace("Z", "+00:00"))
    except ValueError:
        return "the backup at %s does not say when it was made" % backup.place
    if made.tzinfo is None:
        made = made.replace(tzinfo=timezone.utc)
    age = ((at or datetime.now(timezone.utc)) - made).total_seconds()
    if age < -SKEW:
        return "the backup at %s is dated in the future (%s)" % (backup.place, backup.at)
    if age < max_age:
        return ""
    text = "the backup of %s at %s is %.1f h old, and kubeflow_backup_max_age is %g h"
    return text % (backup.at, backup.place, age / 3600, max_age / 3600)


def not_acknowledged(hop: Hop, missing: Tuple[Ack, ...], record: Record, max_age: float, at: Optional[datetime] = None) -> EngineError:
    """The error that names every acknowledgement with its text, and says of a backup why it does not count."""
    found = []
    for ack in missing:
        backup = _backup(hop, ack, record)
        why = stale(backup, max_age, at) if backup is not None else ""
        found.append("%s: %s%s" % (ack.name, ack.text, " (%s)" % why if why else ""))
    again = "make a new backup, or " if any(_backup(hop, ack, record) for ack in missing) else ""
    return EngineError(
        "going from %s to %s needs a person's yes" % (hop.source, hop.target),
        subject=", ".join(ack.name for ack in missing),
        found=" | ".join(found),
        next_step="%sdo what it says, then name it in kubeflow_acks; nothing of this hop was written" % again,
    )


def current_release(record: Record, catalogue: Catalogue, kind: str = "kubeflow") -> str:
    """The release that a cluster has; within an interrupted hop the one that it comes from; "" if none is recorded."""
    if record.upgrade is not None:
        return record.upgrade.source
    versions = record.releases(kind)
    if not versions:
        return ""
    return min(versions, key=lambda name: catalogue.names.index(name) if name in catalogue.names else -1)


class Upgrader:
    """Moves one cluster to a release.

    :param acks: what a person said yes to, for every hop of the way.
    """

    def __init__(self, request: Request, acks: Tuple[str, ...], progress: Progress, guard: Optional[Callable[[], None]] = None) -> None:
        # The playbook names the whole desired set as its scope where nobody limited it.
        whole = not isinstance(request.components, str) and set(request.scope) >= set(request.components)
        self.request = replace(request, scope=()) if whole else request
        self._acks, self._progress, self._guard = acks, progress, guard
        self._catalogue = Catalogue.load([Path(item).expanduser() for item in request.release_dirs])
        self.sessions: List[Session] = []

    def run(self, check: bool = False) -> Journey:
        """Go all the way, or as far as it goes; with ``check`` only the first hop is planned and nothing is written."""
        target = self._catalogue.release(self.request.version or self._catalogue.newest).name
        if self.request.scope:
            raise EngineError(
                "a release changes as a whole",
                subject="kubeflow_version %s" % target,
                found="limited to %s" % ", ".join(self.request.scope),
                next_step="run upgrade without --tags and --skip-tags",
            )
        api = Api.connect(self.request.kubeconfig, self.request.context)
        record = load(api)
        current = current_release(record, self._catalogue)
        way = path(self._catalogue, current, target) if current else ()
        journey = Journey(current or target, target, [HopOutcome(sure(one.hop).source, one.name) for one in way])
        if not way:
            self._stay(target, journey, check)
            return journey
        self._announce(way, record, api.version())
        for number, release in enumerate(way):
            journey.hops[number] = self._hop(release, check)
            if check or journey.hops[number].state != "done":
                break
        return journey

    def _stay(self, target: str, journey: Journey, check: bool) -> None:
        """The release is there: what is left to do is what site does."""
        session = Session(replace(self.request, version=target), self._progress, self._guard)
        self.sessions.append(session)
        result = HopOutcome(target, target, "done", session.outcome)
        journey.hops.append(result)
        try:
            session.plan() if check else session.converge()
            if not check and not session.outcome.healthy:
                result.state = "failed"
        except EngineError as error:
            result.state, result.error = "stopped", error

    def _hop(self, release: Release, check: bool) -> HopOutcome:
        hop = sure(release.hop)
        components = self.request.components
        if not isinstance(components, str):  # what a later release has and this one lacks comes with that one
            components = tuple(name for name in components if name in release.components)
        asked = replace(self.request, version=release.name, components=components)
        session = HopSession(asked, hop, self._acks, self._progress, self._guard)
        self.sessions.append(session)
        self._progress.say("", "%s -> %s" % (hop.source, hop.target))
        try:
            session.plan() if check else session.converge()
        except EngineError as error:
            session.result.error = error
            session.result.state = "failed" if session.outcome.changed else "stopped"
        return session.result

    def _announce(self, way: Tuple[Release, ...], record: Record, kubernetes: str) -> None:
        """What is known now to be missing for a later hop is said now."""
        names = [sure(way[0].hop).source] + [release.name for release in way]
        self._progress.say("", "the way: %s" % " -> ".join(names))
        for release in way:
            missing = missing_acks(sure(release.hop), record, self._acks, self.request.backup_max_age)
            if missing:
                self._progress.say("", "will stop before %s: not acknowledged: %s" % (release.name, ", ".join(ack.name for ack in missing)))
            try:
                check_kubernetes(release, kubernetes, Silent())
            except EngineError:
                text = "will stop before %s: it needs Kubernetes %s, this is %s"
                self._progress.say("", text % (release.name, release.kubernetes_minimum, kubernetes))
