# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: what we want, what we wrote and what is there, compared; one verdict per object."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from .api import Api, ApiError, Resource
from .errors import sure
from .forms import Hasher, differences, own_entry, without_noise
from .objects import KubeObject, ObjectRef, copied
from .predicting import KIND as DEFINITION
from .predicting import predicted
from .record import Entry, Record
from .redaction import Redactor, shown_change
from .safety import refuse_overwrite
from .snapshot import Snapshot
from .verdicts import STOPS, WRITES, Notice, Removal, Verdict

__all__ = ["STOPS", "WRITES", "Item", "Plan", "Policy", "Verdict", "Wanted", "examine", "make_plan"]

EXAMINERS = 4
NOT_CHECKED = "; not checked: "
ROLLS = (Verdict.UPDATE, Verdict.DRIFT)
READERS_OF_CONFIG = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True)
class Wanted:
    """One object that we want.

    :ivar obj: the object as it is sent.
    :ivar once: it is written only if it is not there (generated credentials).
    """

    component: str
    obj: KubeObject
    resource: Resource
    once: bool = False
    user_patched: bool = False


@dataclass(frozen=True)
class Policy:
    """What the user allows.

    :ivar conflicts: ``fail``, ``ours`` or ``theirs`` for every object.
    :ivar conflicts_by_object: the same for single ones, by their full name ("Deployment.apps ns/name").
    :ivar adopt: components whose existing objects may be taken over; ``all`` for every one.
    :ivar replace: full names of objects that may be deleted and made anew, where a field cannot be changed.
    :ivar prune: ``report``, ``safe`` or ``all`` (an upgrade deletes what the new release has no more).
    :ivar prune_named: full names of objects that may be deleted although data goes with them.
    """

    conflicts: str = "fail"
    conflicts_by_object: Mapping[str, str] = field(default_factory=dict)
    adopt: Tuple[str, ...] = ()
    replace: Tuple[str, ...] = ()
    prune: str = "safe"
    prune_named: Tuple[str, ...] = ()

    def conflict(self, ref: ObjectRef) -> str:
        """What to do where another manager owns a field of this object."""
        return self.conflicts_by_object.get(str(ref), self.conflicts)

    def adopts(self, component: str) -> bool:
        """Whether objects of this component that we did not write may be taken over."""
        return component in self.adopt or "all" in self.adopt


@dataclass(frozen=True)
class Item:
    """One object's line of the plan.

    :ivar changes: (path, before, after), fit to be shown.
    :ivar contested: (manager, field) of every field that another manager owns.
    :ivar stamp: of a restart: what its pods are marked with, the same when it is resumed.
    :ivar allowed: of a replacement: whether the release's data or the user names it.
    :ivar data_version: of a claim: what is to be noted on it of the version that opens its files; "" for nothing new.
    """

    ref: ObjectRef
    wanted: Wanted
    verdict: Verdict
    reason: str
    live: Optional[KubeObject] = None
    changes: Tuple[Tuple[str, str, str], ...] = ()
    contested: Tuple[Tuple[str, str], ...] = ()
    stamp: str = ""
    allowed: bool = True
    data_version: str = ""

    @property
    def component(self) -> str:
        """The component that it belongs to."""
        return self.wanted.component


@dataclass(frozen=True)
class Plan:
    """Every verdict of a run.

    :ivar leftovers: recorded objects of the components in scope that are wanted no more; ``site`` leaves them.
    :ivar removals: what becomes of them where the release changes.
    :ivar notices: what else a person should know beforehand.
    """

    items: Tuple[Item, ...]
    leftovers: Tuple[Tuple[str, ObjectRef], ...] = ()
    removals: Tuple[Removal, ...] = ()
    notices: Tuple[Notice, ...] = ()

    @property
    def writes(self) -> Tuple[Item, ...]:
        """The items that change the cluster."""
        return tuple(item for item in self.items if item.verdict in WRITES and item.allowed)

    @property
    def stops(self) -> Tuple[Item, ...]:
        """The items that a person has to decide."""
        return tuple(item for item in self.items if item.verdict in STOPS or not item.allowed)

    def counts(self) -> Dict[str, int]:
        """How many objects have each verdict."""
        counts = {verdict.value: 0 for verdict in Verdict}
        verdicts = [item.verdict for item in self.items]
        verdicts += [removal.verdict for removal in self.removals] + [notice.verdict for notice in self.notices]
        for verdict in verdicts:
            counts[verdict.value] += 1
        return counts


def make_plan(wanted: Mapping[ObjectRef, Wanted], record: Record, live: Snapshot, policy: Policy) -> Plan:
    """Compare what we want, what we wrote and what is there. Pure: no request is sent."""
    hasher = record.hasher
    items: List[Item] = []
    for ref, want in wanted.items():
        there = live.objects.get(ref)
        verdict, reason = _verdict(ref, want, record.entry(ref), there, hasher, policy)
        items.append(Item(ref, want, verdict, reason, there))
    items += _restarts(items, record)
    components = {want.component for want in wanted.values()}
    leftovers = tuple(
        (name, ref) for name, component in record.components.items() if name in components for ref in component.entries if ref not in wanted
    )
    return Plan(tuple(items), leftovers)


def _verdict(
    ref: ObjectRef, want: Wanted, entry: Optional[Entry], live: Optional[KubeObject], hasher: Hasher, policy: Policy
) -> Tuple[Verdict, str]:
    if live is None:
        if entry is None:
            return Verdict.CREATE, "it is not there"
        return Verdict.CREATE, "somebody removed it" if entry.live else "the last run did not get to it"
    refusal = refuse_overwrite(live, want.obj)
    if refusal:
        return Verdict.REFUSED, refusal
    if entry is None:
        if policy.adopts(want.component):
            return Verdict.ADOPT, "it is there and not ours; kubeflow_adopt names %s" % want.component
        return Verdict.ADOPT_REFUSED, "it is there and we did not write it"
    if want.once:
        return Verdict.UNCHANGED, "written once"
    if not entry.live:
        return Verdict.UPDATE, "the last run was interrupted before it was recorded"
    if entry.desired != hasher.value(want.obj):
        return Verdict.UPDATE, "we want something else than what we wrote"
    if entry.live != hasher.live(live):
        recreated = live["metadata"].get("uid") != entry.uid
        return Verdict.DRIFT, "somebody recreated it" if recreated else "somebody changed what we wrote"
    return Verdict.UNCHANGED, ""


# ------------------------------------------------------------------ restarts


def referenced_config(template: Mapping[str, Any]) -> Set[Tuple[str, str]]:
    """(kind, name) of every ConfigMap and Secret that a pod template reads."""
    found: Set[Tuple[str, str]] = set()

    def visit(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                visit(item)
        elif isinstance(value, dict):
            for key, below in value.items():
                if key in ("configMapKeyRef", "configMapRef", "configMap") and isinstance(below, dict):
                    found.add(("ConfigMap", str(below.get("name"))))
                elif key in ("secretKeyRef", "secretRef") and isinstance(below, dict):
                    found.add(("Secret", str(below.get("name"))))
                elif key == "secret" and isinstance(below, dict):
                    found.add(("Secret", str(below.get("secretName") or below.get("name"))))
                visit(below)

    visit(template.get("spec") or {})
    return found


def _restarts(items: Sequence[Item], record: Record) -> List[Item]:
    """A line for each workload that reads a ConfigMap or Secret that will change under its name.

    Not on first install or adoption: what is created starts with the right values.
    """
    changed = {
        (item.ref.namespace, item.ref.kind, item.ref.name): item
        for item in items
        if item.ref.kind in ("ConfigMap", "Secret") and item.verdict in (Verdict.UPDATE, Verdict.DRIFT) and not item.wanted.once
    }
    pending = {ref: stamp for component in record.components.values() for ref, stamp in component.restarts.items()}
    stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lines: List[Item] = []
    for item in items:
        if item.ref.kind not in READERS_OF_CONFIG or item.live is None or item.verdict is Verdict.ADOPT:
            continue
        template = item.wanted.obj["spec"].get("template") or {}
        read = {(item.ref.namespace, kind, name) for kind, name in referenced_config(template)}
        causes = [changed[key] for key in sorted(read & set(changed))]
        if item.ref in pending:
            # Where it was done already, and only could not be noted, the same stamp changes nothing.
            again = all(_announced(cause, record) for cause in causes)
            line = replace(item, reason="the last run was interrupted before it", stamp=pending[item.ref] if again else stamp)
        elif causes:
            names = ", ".join("%s %s" % (cause.ref.kind, cause.ref.name) for cause in causes)
            line = replace(item, reason="it reads %s" % names, stamp=stamp)
        else:
            continue
        lines.append(replace(line, verdict=Verdict.RESTART))
    return lines


def _announced(item: Item, record: Record) -> bool:
    """Whether this is the write that an interrupted run had announced, and no newer one."""
    entry = record.entry(item.ref)
    return entry is not None and not entry.live and entry.desired == record.hasher.value(item.wanted.obj)


# ------------------------------------------------------------------ examining


def examine(api: Api, plan: Plan, record: Record, policy: Policy, redactor: Redactor) -> Tuple[Plan, Record]:
    """Ask the server what the changes would be: a dry run of each object that differs, and of no other.

    A drift that changes nothing (the server stores a field in another form since its upgrade) becomes
    ``unchanged`` and its hash is renewed in the returned record.
    """
    hasher = record.hasher
    suspects = (Verdict.UPDATE, Verdict.DRIFT, Verdict.ADOPT)
    with ThreadPoolExecutor(EXAMINERS) as pool:
        examined = list(pool.map(lambda item: _examine_one(api, item, policy, redactor) if item.verdict in suspects else item, plan.items))
    for before, after in zip(plan.items, examined):
        if before.verdict is Verdict.DRIFT and after.verdict is Verdict.UNCHANGED and after.live is not None:
            record = _renewed(record, after, hasher)
    kept = _drop_idle_restarts(examined)
    return replace(plan, items=tuple(kept)), record


def _renewed(record: Record, item: Item, hasher: Hasher) -> Record:
    live = sure(item.live)
    component = record.components[item.component]
    entry = replace(component.entries[item.ref], live=hasher.live(live))
    return record.with_component(item.component, replace(component, entries={**component.entries, item.ref: entry}))


def _drop_idle_restarts(items: Sequence[Item]) -> Iterable[Item]:
    """Without the restarts whose causes turned out to change nothing, and those of workloads that roll anyway.

    A workload is written after what it reads: pods of its new template start with the new values.
    """
    rolling = {
        item.ref for item in items if item.verdict in ROLLS and any(path.startswith("spec.template.") for path, _old, _new in item.changes)
    }
    changing = {
        "%s %s" % (item.ref.kind, item.ref.name)
        for item in items
        if item.verdict in WRITES and item.ref.kind in ("ConfigMap", "Secret") and (item.changes or NOT_CHECKED in item.reason)
    }
    for item in items:
        if item.verdict is Verdict.RESTART and item.ref in rolling:
            continue
        if item.verdict is Verdict.RESTART and item.reason.startswith("it reads "):
            causes = set(item.reason[len("it reads ") :].split(", "))
            if not causes & changing:
                continue
        yield item


def _examine_one(api: Api, item: Item, policy: Policy, redactor: Redactor) -> Item:
    """The item with its changes, or the conflict that stands against it."""
    want = item.wanted
    foreseen = predicted(sure(item.live), want.obj) if (item.ref.group, item.ref.kind) == DEFINITION and item.verdict in ROLLS else None
    if foreseen is not None:
        return _changed(item, foreseen, redactor)
    choice = policy.conflict(item.ref)
    force = item.verdict is Verdict.ADOPT
    try:
        after = api.apply(want.resource, want.obj, dry=True, force=force)
    except ApiError as error:
        if not error.field_conflict:
            return replace(item, reason="%s%s%s" % (item.reason, NOT_CHECKED, redactor.scrub(error.message)))
        contested = contested_fields(error)
        item = replace(item, contested=contested)
        if choice == "fail":
            return replace(item, verdict=Verdict.CONFLICT, reason=_conflict_reason(contested))
        sent = want.obj if choice == "ours" else without_fields(want.obj, [path for _manager, path in contested])
        after = api.apply(want.resource, sent, dry=True, force=choice == "ours")
    return _changed(item, after, redactor)


def _changed(item: Item, after: KubeObject, redactor: Redactor) -> Item:
    """The item with what differs between the object and what it would be."""
    want, live = item.wanted, sure(item.live)
    raw = differences(without_noise(live), without_noise(after))
    if not raw and item.verdict is Verdict.DRIFT and own_entry(live) is not None:
        return replace(item, verdict=Verdict.UNCHANGED, reason="stored in another form, same meaning")
    changes = tuple(
        (path, redactor.scrub(before), redactor.scrub(new))
        for path, before, new in (shown_change(item.ref, change, want.user_patched) for change in _our_changes(raw, want.obj, live))
    )
    return replace(item, changes=changes)


def _our_changes(raw: Sequence[Tuple[str, Any, Any]], wanted: KubeObject, live: KubeObject) -> List[Tuple[str, Any, Any]]:
    """The differences in those top-level fields that we set or have set.

    Between our list and the dry run a controller may write too: a webhook that fills its empty Secret just then is no
    change of ours, and no reason to restart who reads it.
    """
    fields = (own_entry(live) or {}).get("fieldsV1") or {}
    ours = set(wanted) | {name[2:] for name in fields if name.startswith("f:")}
    return [change for change in raw if re.split(r"[.\[]", change[0], maxsplit=1)[0] in ours]


def _conflict_reason(contested: Sequence[Tuple[str, str]]) -> str:
    managers = sorted({manager for manager, _path in contested})
    fields = ", ".join(path for _manager, path in contested[:3])
    more = " and %d more" % (len(contested) - 3) if len(contested) > 3 else ""
    return "%s owns %s%s" % (" and ".join(managers), fields, more)


def contested_fields(error: ApiError) -> Tuple[Tuple[str, str], ...]:
    """(manager, field path) of each cause of a field conflict; the server names the manager in quotes."""
    found = []
    for cause in error.causes:
        if cause.get("reason") == "FieldManagerConflict":
            message = cause.get("message", "")
            manager = message.split('"')[1] if message.count('"') >= 2 else message
            found.append((manager, cause.get("field", "")))
    return tuple(found)


def without_fields(obj: KubeObject, paths: Sequence[str]) -> KubeObject:
    """The object without the fields at these server-side paths: ``.spec.containers[name="x"].image``."""
    trimmed: KubeObject = copied(obj)
    for path in paths:
        _drop(trimmed, _steps(path))
    return trimmed


def _steps(path: str) -> List[Any]:
    """A server-side field path as field names and key dictionaries."""
    steps: List[Any] = []
    for name, keys in re.findall(r"\.((?:[^.\[\]]|\\.)+)|\[([^\]]*)\]", path):
        if name:
            steps.append(name)
        else:
            pairs = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,]+)', keys)
            steps.append({key: json.loads(value) for key, value in pairs})
    return steps


def _drop(value: Any, steps: Sequence[Any]) -> None:
    head, rest = steps[0], steps[1:]
    if isinstance(head, dict) and isinstance(value, list):
        for item in list(value):
            if isinstance(item, dict) and all(item.get(key) == wanted for key, wanted in head.items()):
                if rest:
                    _drop(item, rest)
                else:
                    value.remove(item)
    elif isinstance(value, dict) and head in value:
        if rest:
            _drop(value[head], rest)
        else:
            del value[head]
