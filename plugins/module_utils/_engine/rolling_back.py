# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back to a revision: what it holds is wanted again, planned and applied as everything else is.

Secrets and CustomResourceDefinitions that are there stay as they are. Over a change of release the whole platform goes
back, one hop at a time.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, Collection, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .api import Api, Discovery
from .applying import CRDS
from .catalogue import Catalogue, Hop
from .data_guard import guard
from .errors import EngineError, sure
from .hop_plan import read_leftovers, widen
from .objects import COMPONENT_LABEL, FIELD_MANAGER, KubeObject, ObjectRef
from .planning import Plan, Wanted, examine, make_plan
from .progress import Progress
from .pruning import allowed
from .record import ComponentRecord, Record, Upgrade, load, save
from .redaction import learn_all
from .regenerating import Stale, look, notices, regenerate
from .removing import Remover
from .rendering import Render, RenderedObject
from .results import now
from .revisions import Mark, RevisedObject, Revision, RevisionHead, RevisionStore
from .rollback_rules import (
    CRD,
    STAY,
    Step,
    check_definitions,
    check_doors,
    check_opened,
    check_scope,
    find,
    holds,
    installed_release,
    kept,
    steps,
    way_back,
)
from .sealing import by_seal, is_seal, opened, seals, texts
from .session import Chosen, Outcome, Request, Session, check_needs, check_release, choose, declared, want
from .snapshot import Snapshot, take

KUBEFLOW = "kubeflow"


@dataclass(frozen=True)
class Left:
    """What stays as it is though the revision has it too.

    :ivar other_values: of the Secrets, those that have other values than they had then.
    :ivar newer: of the definitions, those that were written as something else since.
    :ivar accepted: what a person wanted left, because a secret of it is lost.
    """

    secrets: Tuple[ObjectRef, ...] = ()
    other_values: Tuple[ObjectRef, ...] = ()
    definitions: Tuple[ObjectRef, ...] = ()
    newer: Tuple[ObjectRef, ...] = ()
    accepted: Tuple[ObjectRef, ...] = ()


@dataclass
class StepOutcome:
    """What became of one step: ``waiting``, ``planned``, ``done``, ``failed``, or ``stopped`` before its first write.

    :ivar removed: what was deleted because the revision does not have it; :ivar kept: what of that was left.
    :ivar regenerated: objects of tenants that their controllers make anew.
    """

    step: Step
    source: str
    state: str = "waiting"
    outcome: Optional[Outcome] = None
    left: Left = field(default_factory=Left)
    removed: Tuple[ObjectRef, ...] = ()
    kept: Tuple[ObjectRef, ...] = ()
    regenerated: int = 0
    error: Optional[EngineError] = None


@dataclass
class Return:
    """A whole rollback.

    :ivar scope: the components that go back, () for the whole platform.
    """

    target: RevisionHead
    scope: Tuple[str, ...]
    steps: List[StepOutcome]

    @property
    def errors(self) -> Tuple[EngineError, ...]:
        """What ended it."""
        return tuple(one.error for one in self.steps if one.error is not None)

    @property
    def changed(self) -> bool:
        """Whether the cluster was changed."""
        return any(one.outcome is not None and one.outcome.changed for one in self.steps)

    @property
    def arrived(self) -> bool:
        """Whether every step came to its end."""
        return all(one.state == "done" for one in self.steps)


class RollbackSession(Session):
    """One step back on one cluster.

    :param scope: the components that go back, () for the whole platform.
    :param newest: number of the newest revision.
    :param accept: full names of objects that may stay as they are.
    :ivar began: whether anything was written.
    """

    def __init__(
        self,
        request: Request,
        step: Step,
        revision: Revision,
        scope: Tuple[str, ...],
        newest: int,
        accept: Sequence[str],
        progress: Progress,
        guard: Optional[Callable[[], None]] = None,
    ) -> None:
        super().__init__(request, progress, guard)
        self._hop, self._revision, self._scope, self._newest, self._accept = step.hop, revision, scope, newest, accept
        self.result = StepOutcome(step, step.hop.source if step.hop else step.head.release, outcome=self.outcome)
        self._stale: Tuple[Stale, ...] = ()
        self.began = False

    # ---------------------------------------------------------------- what is wanted

    def _check_record(self, chosen: Chosen, record: Record) -> None:
        if self._hop is None:
            check_release(chosen, record)
            check_needs(chosen, record)
            return
        between = (self._hop.source, self._hop.target)
        for name, known in record.components.items():
            if known.catalogue == chosen.release.catalogue and known.version not in between:
                raise EngineError(
                    "it is neither at the beginning nor at the end of this step back",
                    subject="component %s" % name,
                    expected=" or ".join(between),
                    found="%s in the record" % known.version,
                    next_step="uninstall that component, or restore the record from a backup",
                )

    def _render(self, chosen: Chosen) -> Render:
        names = {component.name for component in chosen.scope}
        objects = {
            ref: RenderedObject(item.component, item.obj, item.user_patched)
            for ref, item in self._revision.objects.items()
            if item.component in names
        }
        rendered = Render(chosen.release.name, objects, "revision-%d" % self._revision.head.number, 0.0, 0)
        self.outcome.render = rendered
        return rendered

    def _plan(self, api: Api, chosen: Chosen, rendered: Render, record: Record) -> Tuple[Snapshot, Mapping[ObjectRef, Wanted], Record]:
        snapshot = take(api, {ref: item.obj for ref, item in rendered.objects.items()}, record)
        learn_all(self.redactor, snapshot.objects.values())
        going = self._going(chosen, rendered, snapshot, record)
        wanted = want(replace(rendered, objects=going), chosen.release, snapshot)
        plan = self._shaped(api, make_plan(wanted, record, snapshot, self.request.policy), record, snapshot, wanted)
        plan, record = examine(api, plan, record, self.request.policy, self.redactor)
        self.outcome.plan = guard(plan, chosen.release.data, self.request.policy)
        self.outcome.clock.lap("plan")
        return snapshot, wanted, record

    def _going(self, chosen: Chosen, rendered: Render, snapshot: Snapshot, record: Record) -> Dict[ObjectRef, RenderedObject]:
        """The objects that go back, whole again.

        :raises EngineError: a secret of one of them is lost.
        """
        found: Dict[ObjectRef, RenderedObject] = {}
        closed: Dict[ObjectRef, Tuple[str, ...]] = {}
        accepted: List[ObjectRef] = []
        inventory = by_seal(_values_of(self.request, chosen), record.hasher)
        for ref, item in rendered.objects.items():
            live = snapshot.objects.get(ref)
            if live is not None and ref.kind_group in STAY:
                continue
            obj: KubeObject = item.obj
            missing: Tuple[str, ...] = ()
            if any(True for _seal in seals(item.obj)):
                obj, missing = opened(item.obj, [by_seal([live], record.hasher), inventory])
                self.redactor.learn_value(obj)
                self.redactor.learn_environment(obj)
            if not missing:
                found[ref] = RenderedObject(item.component, obj, item.user_patched)
            elif str(ref) in self._accept:
                accepted.append(ref)
            else:
                closed[ref] = missing
        check_opened(closed)
        self.result.left = _left(rendered, self._revision, snapshot, record, accepted)
        return found

    # ---------------------------------------------------------------- what is wanted no more

    def _concerned(self, record: Record, wanted: Mapping[ObjectRef, Wanted]) -> Record:
        """The record of what goes back: without other components, and without what stays whatever the revision says."""
        found = {}
        for name, component in record.components.items():
            if component.catalogue == KUBEFLOW and (not self._scope or name in self._scope):
                entries = {ref: entry for ref, entry in component.entries.items() if not self._stays(ref, wanted)}
                found[name] = replace(component, entries=entries)
        return replace(record, components=found)

    def _stays(self, ref: ObjectRef, wanted: Mapping[ObjectRef, Wanted]) -> bool:
        return ref not in wanted and (ref.kind_group in STAY or ref in self._revision.objects)

    def _shaped(self, api: Api, plan: Plan, record: Record, snapshot: Snapshot, wanted: Mapping[ObjectRef, Wanted]) -> Plan:
        step = self.result.step
        hop = replace(step.hop or Hop(step.head.release, step.head.release), keep=step.keep)
        concerned = with_uids(api, self._concerned(record, wanted), wanted, snapshot.served)
        plan = widen(api, plan, concerned, snapshot, wanted, hop, self.request.policy)
        if self._hop is not None:
            self._stale = look(api, self._hop.regenerate, snapshot.served)
        return replace(plan, leftovers=(), notices=(*plan.notices, *notices(self._stale)))

    # ---------------------------------------------------------------- writing

    def _mark(self, done: bool) -> Mark:
        return Mark(self._revision.head.number, self._scope, self.request.run_id, self._newest, done)

    @property
    def _begun(self) -> bool:
        """Whether an earlier run began this and did not end it."""
        mark = self._revision.head.mark
        return mark is not None and not mark.done and (mark.scope, mark.newest) == (self._scope, self._newest)

    def _has_work(self, plan: Plan) -> bool:
        return bool(plan.writes) or bool(allowed(plan.removals, self.request.policy)) or self._hop is not None or self._begun

    def _carry_out(self, api: Api, chosen: Chosen, snapshot: Snapshot, wanted: Mapping[ObjectRef, Wanted], record: Record) -> Record:
        work = self.began = self._has_work(sure(self.outcome.plan))
        if work and not self._begun:
            RevisionStore(api).mark(self._revision.head, self._mark(False))
        if self._hop is not None and (record.upgrade is None or record.upgrade.target != self._hop.target):
            record = save(api, replace(record, upgrade=Upgrade(self._hop.source, self._hop.target, now())))
        record = super()._carry_out(api, chosen, snapshot, wanted, record)
        if not self.outcome.healthy:
            self.result.state = "failed"
            return record
        return self._finish(api, chosen, wanted, record) if work else record

    def _finish(self, api: Api, chosen: Chosen, wanted: Mapping[ObjectRef, Wanted], record: Record) -> Record:
        """Everything is there and healthy: what follows goes on where it was when it is run again."""
        self.result.regenerated = regenerate(api, self._stale, self.progress)
        plan = sure(self.outcome.plan)
        going = allowed(plan.removals, self.request.policy)
        self.result.kept = tuple(one.ref for one in plan.removals if one not in going)
        names = [component.name for component in chosen.scope]
        self.result.removed = Remover(api, names, self.progress, self.request.timeout, record).remove(going)
        self.outcome.changed = self.outcome.changed or bool(self.result.removed) or self._hop is not None
        after = self._forgotten(record, wanted, {one.ref for one in plan.removals} - set(self.result.removed))
        if after != record:
            record = save(api, after)
        RevisionStore(api).save_again(
            self._revision, names, chosen.release, record, self._mark(True), self.request.revisions, whole=not self._scope
        )
        self.outcome.clock.lap("finish")
        return record

    def _forgotten(self, record: Record, wanted: Mapping[ObjectRef, Wanted], left: set[ObjectRef]) -> Record:
        """The record without what is gone, and with the release that there is now."""
        components: Dict[str, ComponentRecord] = dict(record.components)
        for name, component in self._concerned(record, wanted).components.items():
            known = record.components[name]
            gone = {ref for ref in component.entries if ref not in left and (ref not in wanted or wanted[ref].component != name)}
            entries = {ref: entry for ref, entry in known.entries.items() if ref not in gone}
            components[name] = replace(known, entries=entries)
            if self._hop is not None:
                components[name] = replace(components[name], version=self._hop.target, complete=True)
            if not entries:
                del components[name]
        return replace(record, components=components, upgrade=None if self._hop is not None else record.upgrade)

    def _keep(self, api: Api, chosen: Chosen, wanted: Mapping[ObjectRef, Wanted], record: Record) -> None:
        """It is kept already, where something was done."""
        if self.outcome.healthy:
            self.result.state = "done"


def with_uids(api: Api, record: Record, wanted: Collection[ObjectRef], served: Discovery) -> Record:
    """The record with the uids of what an interrupted run had announced and made, and could not note any more.

    Such an object is wanted no more and would stay for ever, as nobody could say whether it is ours.
    """
    announced = {
        name: replace(component, entries={ref: entry for ref, entry in component.entries.items() if not entry.uid and ref not in wanted})
        for name, component in record.components.items()
    }
    if not any(component.entries for component in announced.values()):
        return record
    live = read_leftovers(api, replace(record, components=announced), wanted, served)
    for name, component in announced.items():
        ours = {ref: entry for ref, entry in component.entries.items() if ref in live and made_by_us(live[ref], name)}
        found = {ref: replace(entry, uid=live[ref]["metadata"]["uid"]) for ref, entry in ours.items()}
        known = record.components[name]
        record = record.with_component(name, replace(known, entries={**known.entries, **found}))
    return record


def made_by_us(live: KubeObject, component: str) -> bool:
    """Whether nobody but us ever wrote to an object, its status aside, and our label is still on it."""
    metadata = live["metadata"]
    writers = {
        (entry.get("manager"), entry.get("operation")) for entry in metadata.get("managedFields") or [] if not entry.get("subresource")
    }
    return writers == {(FIELD_MANAGER, "Apply")} and (metadata.get("labels") or {}).get(COMPONENT_LABEL) == component


def _values_of(request: Request, chosen: Chosen) -> List[object]:
    """Every text of the inventory's patches, also as a Secret has it."""
    found: List[object] = []
    for site in declared(request, chosen.scope).values():
        for patch in site.patches:
            given = list(texts(json.loads(patch.text)))
            found += [given, [base64.b64encode(text.encode()).decode() for text in given]]
    return found


def _left(rendered: Render, revision: Revision, snapshot: Snapshot, record: Record, accepted: Sequence[ObjectRef]) -> Left:
    """What stays, and what of it is not as it was."""
    there = [ref for ref in sorted(rendered.objects) if ref in snapshot.objects and ref.kind_group in STAY]
    secrets = [ref for ref in there if ref.kind_group != CRD]
    definitions = [ref for ref in there if ref.kind_group == CRD]
    hashes = record.hasher
    other = [ref for ref in secrets if not _has_values(rendered.objects[ref].obj, snapshot.objects[ref], hashes.value)]
    entries = {ref: record.entry(ref) for ref in definitions}
    newer = [ref for ref, entry in entries.items() if entry is not None and entry.desired != revision.objects[ref].digest]
    return Left(tuple(secrets), tuple(other), tuple(definitions), tuple(newer), tuple(sorted(accepted)))


def _has_values(obj: KubeObject, live: KubeObject, seal: Callable[[str], str]) -> bool:
    """Whether a Secret has every value that it was given then."""
    data, there = obj.get("data") or {}, live.get("data") or {}
    return all(seal(there.get(key, "")) == value[next(iter(value))] for key, value in data.items() if is_seal(value))


class RollBack:
    """Takes one cluster back.

    :param to: the number of a revision, or ``previous``.
    :param accept: names of doors, definitions and objects that a person accepts.
    """

    def __init__(
        self, request: Request, to: str, accept: Sequence[str], progress: Progress, guard: Optional[Callable[[], None]] = None
    ) -> None:
        self.request = request
        self._to, self._accept, self._progress, self._guard = to, tuple(accept), progress, guard
        self._catalogue = Catalogue.load([Path(item).expanduser() for item in request.release_dirs])
        self.sessions: List[RollbackSession] = []

    def run(self, check: bool = False) -> Return:
        """Go back; with ``check`` only the first step is planned and nothing is written.

        :raises EngineError: it is refused; nothing was written. What happens later is in the steps.
        """
        scope = self._scope_of()
        api = Api.connect(self.request.kubeconfig, self.request.context)
        record, store = load(api), RevisionStore(api)
        heads = store.list()
        # Within a hop that was interrupted nothing is as a revision says, also if nothing was written yet.
        target = find(self._to, heads, scope, lambda: record.upgrade is None and holds(record, store.load(heads[-1].number), scope))
        way = way_back(self._catalogue, record, target)
        check_scope(target, way, scope)
        check_doors(way, record, self._accept)
        journey = Return(target, scope, [])
        for found in steps(way, heads, target):
            step = replace(found, keep=kept(self._catalogue, found.head.release))
            journey.steps.append(StepOutcome(step, step.hop.source if step.hop else installed_release(record)))
        revisions = [store.load(one.step.head.number) for one in journey.steps]
        definitions = {crd["metadata"]["name"]: crd for crd in api.list(CRDS, selector=COMPONENT_LABEL)[0]}
        for revision in revisions:
            check_definitions(_limited(revision, scope), definitions, self._accept)
        for number, revision in enumerate(revisions):
            newest = heads[-1].number if number == 0 else store.list()[-1].number
            journey.steps[number] = self._step(journey.steps[number].step, revision, scope, newest, check)
            if check or journey.steps[number].state != "done":
                break
        return journey

    def _scope_of(self) -> Tuple[str, ...]:
        """The components that were named; () if that is the whole desired set."""
        if not self.request.scope:
            return ()
        desired = {component.name for component in choose(replace(self.request, scope=())).desired}
        return () if desired <= set(self.request.scope) else tuple(sorted(self.request.scope))

    def _step(self, step: Step, revision: Revision, scope: Tuple[str, ...], newest: int, check: bool) -> StepOutcome:
        release = self._catalogue.release(step.head.release)
        names = tuple(name for name in release.components if name in step.head.components and (not scope or name in scope))
        asked = replace(self.request, version=release.name, components=names, scope=names, add_dependencies=True)
        session = RollbackSession(asked, step, revision, scope, newest, self._accept, self._progress, self._guard)
        self.sessions.append(session)
        self._progress.say("", "back to revision %d (%s, %s)" % (step.head.number, step.head.release, step.head.written))
        try:
            session.plan() if check else session.converge()
            if check:
                session.result.state = "planned"
        except EngineError as error:
            session.result.error = error
            session.result.state = "failed" if session.began else "stopped"
            session.outcome.changed = session.began
        return session.result


def _limited(revision: Revision, scope: Tuple[str, ...]) -> Revision:
    objects: Iterable[Tuple[ObjectRef, RevisedObject]] = revision.objects.items()
    return replace(revision, objects={ref: item for ref, item in objects if not scope or item.component in scope})
