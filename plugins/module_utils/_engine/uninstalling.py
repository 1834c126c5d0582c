# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uninstalling the platform, or components of it: looked at as a whole, planned, carried out, looked at again.

The second look is before namespaces are deleted: what controllers left in them until they ended, and what users put there
in the meantime, is judged when nothing of ours runs any more.
"""

from __future__ import annotations

import contextlib
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from .api import Api
from .catalogue import Catalogue
from .errors import EngineError
from .forms import own_entry
from .ledger import Ledger, is_installed
from .locking import Lock
from .objects import COMPONENT_LABEL, OUR_NAMESPACE, ObjectRef
from .planning import referenced_config
from .progress import Progress
from .record import Record, load
from .redaction import Redactor, Scrubbed
from .release_data import CREATE_ONCE, Leftover, ObjectMode
from .removing import Remover
from .session import Clock, Request
from .survey import Survey, take_survey
from .uninstall_plan import Ask, UninstallPlan, plan_uninstall, read_choice
from .usage import PODS
from .verdicts import Removal

# A kind of which release data knows that pods mount it.
MOUNTED = ("ConfigMap", "Secret")
OURS = ObjectRef("", "Namespace", "", OUR_NAMESPACE)


@dataclass(frozen=True)
class Orders:
    """What an uninstall is told.

    :ivar components: what shall go; () for everything that the record has.
    :ivar spared: what shall stay of that.
    :ivar delete_data: classes of data, and full names of single objects, that go too.
    :ivar confirm: the cluster's name again, said by whoever lets data go.
    """

    components: Tuple[str, ...] = ()
    spared: Tuple[str, ...] = ()
    delete_data: Tuple[str, ...] = ()
    confirm: str = ""


@dataclass
class UninstallOutcome:
    """What one uninstall found and did.

    :ivar releases: the releases that the record has.
    :ivar plan: what was planned at first; ``kept``: what stays in the end, or would.
    :ivar removed: what was deleted by us, in order; ``let_go``: what stays and was unmarked in this run.
    """

    request: Request
    orders: Orders
    kubernetes: str = ""
    releases: Tuple[str, ...] = ()
    plan: UninstallPlan = field(default_factory=UninstallPlan)
    kept: Tuple[Removal, ...] = ()
    removed: Tuple[ObjectRef, ...] = ()
    let_go: Tuple[ObjectRef, ...] = ()
    traffic: Mapping[str, Any] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    errors: Tuple[EngineError, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether this run changed the cluster."""
        return bool(self.removed or self.let_go)


class Platform:
    """What the record and its releases say: which components there are, and how they depend on each other.

    :raises EngineError: there is no data for a release of the record.
    """

    def __init__(self, record: Record, catalogue: Catalogue) -> None:
        self._record = record
        self.releases = {one.version: catalogue.release(one.version) for one in record.components.values()}
        self._needs: Dict[str, Tuple[str, ...]] = {}
        for name, known in record.components.items():
            component = self.releases[known.version].components.get(name)
            self._needs[name] = component.needs if component is not None else ()

    @property
    def components(self) -> Tuple[str, ...]:
        """All that the record has, each after what it needs."""
        done: List[str] = []

        def visit(name: str) -> None:
            for need in self._needs.get(name, ()):
                visit(need)
            if name in self._needs and name not in done:
                done.append(name)

        for name in sorted(self._needs):
            visit(name)
        return tuple(done)

    def dependants(self, names: Sequence[str]) -> Tuple[str, ...]:
        """Installed components outside of these that need one of them, directly or not."""
        found = set(names)
        for name in self.components:
            if is_installed(self._record.components[name]) and found.intersection(self._needs[name]):
                found.add(name)
        return tuple(name for name in self.components if name in found and name not in names)

    def leftovers(self) -> Tuple[Leftover, ...]:
        """What programs of these releases write at run time."""
        return tuple(row for release in self.releases.values() for row in release.leftovers)

    def modes(self, ref: ObjectRef) -> Tuple[ObjectMode, ...]:
        """How an object is treated."""
        return tuple(mode for release in self.releases.values() for mode in release.mode_of(ref))


def choose_components(platform: Platform, orders: Orders, catalogue: Catalogue) -> Tuple[str, ...]:
    """What shall go, in dependency order; a component that is not there is left out.

    :raises EngineError: a name is unknown, or a component that stays needs one that goes.
    """
    there = platform.components
    known = {name for release in catalogue.names[-1:] for name in catalogue.release(release).components}
    known.update(there, *(release.components for release in platform.releases.values()))
    for name in (*orders.components, *orders.spared):
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
            raise EngineError(
                "unknown component '%s'" % name,
                subject="kubeflow_uninstall_components",
                expected="one of " + ", ".join(there or sorted(known)),
                next_step="did you mean '%s'?" % near[0] if near else "correct the list",
            )
    chosen = tuple(name for name in there if name in (orders.components or there) and name not in orders.spared)
    dependants = platform.dependants(chosen)
    if dependants:
        raise EngineError(
            "others need what is to be removed",
            subject="component %s" % ", ".join(orders.components or chosen),
            found="installed, and in need of it: %s" % ", ".join(dependants),
            next_step="uninstall these too, or leave it",
        )
    return chosen


class Uninstaller:
    """One cluster during one run.

    :param request: of it count cluster, kubeconfig, context, release_dirs, timeout, lock_timeout, run_id.
    :param guard: called before every write; raises to stop the run.
    """

    def __init__(self, request: Request, orders: Orders, progress: Progress, guard: Optional[Callable[[], None]] = None) -> None:
        self.request, self.orders = request, orders
        self.redactor = Redactor()
        self.progress: Progress = Scrubbed(progress, self.redactor)
        self.outcome = UninstallOutcome(request, orders)
        self._guard = guard
        self._lock: Optional[Lock] = None
        self._choice = read_choice(orders.delete_data)

    # ---------------------------------------------------------------- what can be asked for

    def plan(self) -> UninstallOutcome:
        """Say what would go and what would stay; nothing is written."""
        api = self._connect()
        try:
            self._first_look(api, load(api))
        finally:
            self._note_traffic(api)
        return self.outcome

    def run(self) -> UninstallOutcome:
        """Plan, and carry it out; where there is nothing to remove nothing is written and no lock is taken."""
        self._check_confirmation()
        api = self._connect()
        try:
            record = load(api)
            plan = self._first_look(api, record)
            if _only_waits(plan):
                self._remover(api, record).remove(plan.going)
            elif plan.going or plan.gone or _still_marked(plan, record):
                self._with_lock(api, record)
        finally:
            self._note_traffic(api)
        return self.outcome

    # ---------------------------------------------------------------- before the first write

    def _connect(self) -> Api:
        api = Api.connect(self.request.kubeconfig, self.request.context)
        api.guard = self._check
        self.outcome.kubernetes = api.version()
        self.outcome.clock.lap("connect")
        return api

    def _check_confirmation(self) -> None:
        if self.orders.delete_data and self.orders.confirm != self.request.cluster:
            raise EngineError(
                "data is only deleted where the cluster's name is said again",
                subject="kubeflow_delete_data: %s" % ", ".join(self.orders.delete_data),
                expected="kubeflow_confirm: %s" % self.request.cluster,
                found="kubeflow_confirm: %s" % (self.orders.confirm or "not set"),
                next_step="look at what goes with --check, then set it; nothing was written",
            )

    def _check(self) -> None:
        """Asked before every write: does the run that ordered it still live, and do we still hold the lock?"""
        if self._guard is not None:
            self._guard()
        if self._lock is not None and not self._lock.held:
            raise EngineError(
                "the lock was lost: the API server could not be reached for longer than it lasts",
                subject="cluster %s" % self.request.cluster,
                next_step="run this again when the API server answers; it goes on from here",
            )

    def _first_look(self, api: Api, record: Record) -> UninstallPlan:
        catalogue = Catalogue.load([Path(item).expanduser() for item in self.request.release_dirs])
        self._platform = Platform(record, catalogue)
        self.outcome.releases = tuple(self._platform.releases)
        self._components = choose_components(self._platform, self.orders, catalogue)
        scoped = bool(self.orders.components) and not record.components
        self._whole = not scoped and not set(record.components) - set(self._components)
        plan = self.outcome.plan = self._look(api, record, {})
        self.outcome.kept = plan.kept
        self.outcome.clock.lap("plan")
        return plan

    def _look(self, api: Api, record: Record, holders: Mapping[str, str]) -> UninstallPlan:
        """What there is now, and what is to become of it."""
        survey = take_survey(api)
        if not record.components:
            _check_lost(survey)
        leftovers = tuple(row for row in self._platform.leftovers() if row.component in self._components or row.annotation)
        ask = Ask(
            components=self._components,
            whole=self._whole,
            choice=self._choice,
            leftovers=leftovers,
            once=lambda ref: any(mode.mode == CREATE_ONCE for mode in self._platform.modes(ref)),
            mounts=_mounts(api, survey, leftovers),
            holders=holders,
        )
        return plan_uninstall(record, survey, ask)

    # ---------------------------------------------------------------- writing

    def _with_lock(self, api: Api, record: Record) -> None:
        with Lock(api, self.request.run_id, self.request.lock_timeout, self.progress) as lock:
            self._lock = lock
            fresh = load(api)
            if fresh.resource_version != record.resource_version:  # another run wrote in the meantime
                record = fresh
                self._first_look(api, record)
            plan = self.outcome.plan
            self.progress.say("", "%d objects go, %d stay" % (len(plan.going), len(plan.kept)))
            ledger = Ledger(api, record)
            remover = self._remover(api, record, ledger)
            try:
                self._carry_out(api, ledger, remover, lock)
            except EngineError:
                with contextlib.suppress(EngineError):
                    ledger.close()  # what is not noted is found to be gone by the next run
                raise
            finally:
                self.outcome.removed = tuple(remover.removed)
                self.outcome.clock.lap("remove")
        self._lock = None

    def _remover(self, api: Api, record: Record, ledger: Optional[Ledger] = None) -> Remover:
        def gone(removal: Removal) -> None:
            if ledger is not None:
                ledger.forget(removal.component, [removal.ref])
                ledger.save_sometimes()

        return Remover(api, self._platform.components, self.progress, self.request.timeout, record, gone)

    def _carry_out(self, api: Api, ledger: Ledger, remover: Remover, lock: Lock) -> None:
        """Everything but namespaces; then, as nothing of ours runs any more, what was left in them is judged."""
        plan = self.outcome.plan
        _write_ahead(ledger, plan)
        remover.remove([one for one in plan.going if one.ref.kind_group != "Namespace"], plan.followers)
        ledger.close()
        plan = self._look(api, ledger.record, plan.holders)
        self.outcome.kept = plan.kept
        ours = [one for one in plan.going if one.ref == OURS]
        remover.remove([one for one in plan.going if one.ref != OURS], plan.followers)
        self._let_go(api, ledger, plan)
        ledger.close()
        if not ledger.record.components:
            lock.abandon()  # it goes with our namespace, which is deleted while it is still held
            remover.remove(ours)

    def _let_go(self, api: Api, ledger: Ledger, plan: UninstallPlan) -> None:
        """Take our label from what stays; first the record learns that it is not wanted any more, but known."""
        staying = _still_marked(plan, ledger.record)
        for one in staying:
            ledger.disown(one.component, {one.ref: (_version(one), one.uid)})
        ledger.close()
        for one in staying:
            if one.resource is not None:
                change = {"metadata": {"uid": one.uid, "labels": {COMPONENT_LABEL: None}}}
                api.patch(one.resource, one.ref.namespace, one.ref.name, change, content_type="application/merge-patch+json")
        self.outcome.let_go = tuple(one.ref for one in staying)

    def _note_traffic(self, api: Api) -> None:
        traffic = api.traffic
        self.outcome.traffic = {
            "requests": traffic.total,
            "writes": traffic.writes,
            "retries": traffic.retries,
            "rejected": [self.redactor.scrub(item) for item in traffic.rejected],
        }


def _only_waits(plan: UninstallPlan) -> bool:
    """Whether an earlier run did everything, and our own namespace is not gone yet: then there is no place for a lock."""
    return bool(plan.going) and all(one.ref == OURS and one.live and one.live["metadata"].get("deletionTimestamp") for one in plan.going)


def _still_marked(plan: UninstallPlan, record: Record) -> Tuple[Removal, ...]:
    """What stays, is in the record, and is still marked as ours."""
    found = []
    for one in plan.kept:
        entry = record.entry(one.ref)
        labels = (one.live["metadata"].get("labels") if one.live else None) or {}
        if entry is not None and (entry.desired or COMPONENT_LABEL in labels) and one.ref not in plan.gone.get(one.component, ()):
            found.append(one)
    return tuple(found)


def _version(removal: Removal) -> str:
    return removal.resource.group_version if removal.resource is not None else ""


def _check_lost(survey: Survey) -> None:
    """What carries our label, with fields that we applied, was written by us: without a record nobody knows it.

    :raises EngineError: there is something of the kind.
    """
    lost = sorted(ref for ref, thing in survey.things.items() if COMPONENT_LABEL in thing.labels and own_entry(thing.live) is not None)
    if lost:
        raise EngineError(
            "%d objects are ours, but the record does not know them" % len(lost),
            subject=str(lost[0]),
            found="the record of this cluster is empty or lost",
            next_step="restore the record from a backup, or run site with kubeflow_adopt: [all], which writes a new one; then uninstall",
        )


def _write_ahead(ledger: Ledger, plan: UninstallPlan) -> None:
    """Before the first deletion the record knows all that goes, so that a killed run is resumed by running it again."""
    for name, refs in plan.gone.items():
        ledger.forget(name, refs)
    for one in plan.made:
        ledger.disown(one.component, {one.ref: (_version(one), one.uid)})
    ledger.close()


def _mounts(api: Api, survey: Survey, leftovers: Sequence[Leftover]) -> Dict[Tuple[str, str, str], Tuple[str, ...]]:
    """Who mounts what programs left behind: one LIST of the pods, if there is anything of the kind."""
    rows = [row for row in leftovers if row.match.kind in MOUNTED]
    found = {
        (ref.namespace, ref.kind, ref.name) for ref in survey.things if ref.kind in MOUNTED and any(row.match.matches(ref) for row in rows)
    }
    users: Dict[Tuple[str, str, str], List[str]] = {}
    for pod in api.list(PODS)[0] if found else ():
        for kind, name in referenced_config(pod):
            key = (pod["metadata"]["namespace"], kind, name)
            if key in found:
                users.setdefault(key, []).append(pod["metadata"]["uid"])
    return {key: tuple(uids) for key, uids in users.items()}
