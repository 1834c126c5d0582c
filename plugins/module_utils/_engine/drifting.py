# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift: what others made of the objects that we wrote, field by field: who, when, and what we want.

Nothing is reverted and nothing is written. Who owns a field now is in the object's managedFields; what a controller fills
(release data, modes) is not compared. A field that nobody set but somebody added is no drift: server-side apply leaves it
alone, and so do we.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .ca_bundles import CaProblem
from .objects import FIELD_MANAGER, KubeObject, ObjectRef
from .planning import Item, Plan, Policy, Verdict
from .record import Entry, Record

CHANGED, RECREATED, REMOVED, STALE_CA = "changed", "recreated", "removed", "stale-ca"
KINDS = (CHANGED, RECREATED, REMOVED, STALE_CA)


@dataclass(frozen=True)
class Writer:
    """Who wrote fields of an object, as the API server keeps it.

    :ivar manager: the program's name for itself, such as ``kubectl-edit``; :ivar operation: ``Apply`` or ``Update``.
    :ivar time: when it last wrote to the object (ISO 8601, UTC), so not before it changed the field.
    :ivar subresource: "" for the object itself, or such as ``scale``.
    """

    manager: str
    operation: str
    time: str
    subresource: str = ""


@dataclass(frozen=True)
class FieldDrift:
    """One field that is not as we want it.

    :ivar found: what it is now, :ivar wanted: what we want; both fit to be shown.
    :ivar writer: who owns it now; None if nobody does, as where somebody took it away.
    :ivar suspect: where nobody owns it: the last who wrote to the object after us.
    """

    path: str
    found: str
    wanted: str
    writer: Optional[Writer] = None
    suspect: Optional[Writer] = None


@dataclass(frozen=True)
class Drift:
    """One object that is not as we left it.

    :ivar what: CHANGED, RECREATED, REMOVED or STALE_CA.
    :ivar since: since when at the latest it is so (ISO 8601, UTC); "" if nobody can tell.
    """

    ref: ObjectRef
    component: str
    what: str
    reason: str
    fields: Tuple[FieldDrift, ...] = ()
    since: str = ""
    next_step: str = ""


def looking(policy: Policy) -> Policy:
    """The policy under which drift is looked for: a plan that shows what ``ours`` would put back.

    What the user leaves to others (``theirs``) stays theirs, and is no drift.
    """

    def forced(choice: str) -> str:
        return "ours" if choice == "fail" else choice

    objects = {name: forced(choice) for name, choice in policy.conflicts_by_object.items()}
    return replace(policy, conflicts=forced(policy.conflicts), conflicts_by_object=objects)


# ------------------------------------------------------------------ whose is a field


def writers(live: KubeObject, path: str) -> Tuple[Writer, ...]:
    """Everybody but us who owns something at or below a path of a live object, the latest first.

    :param path: dotted, items of lists by name, as the plan's changes have it: ``spec.containers[x].image``.
    """
    found = [_writer(entry) for entry in _others(live) if entry.get("fieldsV1") and _owns(entry["fieldsV1"], live, path)]
    return tuple(sorted(found, key=lambda one: one.time, reverse=True))


def _others(live: KubeObject) -> List[Mapping[str, Any]]:
    entries: Sequence[Mapping[str, Any]] = live["metadata"].get("managedFields") or []
    return [entry for entry in entries if entry.get("manager") != FIELD_MANAGER]


def _writer(entry: Mapping[str, Any]) -> Writer:
    return Writer(
        str(entry.get("manager", "")), str(entry.get("operation", "")), str(entry.get("time") or ""), str(entry.get("subresource") or "")
    )


def _owns(fields: Mapping[str, Any], live: Any, path: str) -> bool:
    """Whether a fieldsV1 set names something at or below a path.

    An empty set is a leaf: whoever owns it owns all of it. Names may hold dots (labels do), so the live value decides
    where one ends.
    """
    if not path or not fields:
        return True
    if path.startswith("["):
        name, _bracket, rest = path[1:].partition("]")
        item = next((one for one in live if isinstance(one, dict) and one.get("name") == name), None) if isinstance(live, list) else None
        keys = [key for key in fields if key.startswith("k:")]
        return item is not None and any(_is_item(key, item) and _owns(_below(fields[key]), item, rest) for key in keys)
    path = path.lstrip(".")
    for key, below in fields.items():
        name = key[2:]
        if key.startswith("f:") and (path == name or path.startswith((name + ".", name + "["))):
            value = live.get(name) if isinstance(live, dict) else None
            if _owns(_below(below), value, path[len(name) :]):
                return True
    return False


def _below(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """A set without the mark of the thing itself, unless that is all there is."""
    rest = {key: value for key, value in fields.items() if key != "."}
    return rest or fields


def _is_item(key: str, item: Mapping[str, Any]) -> bool:
    return all(item.get(name) == value for name, value in json.loads(key[2:]).items())


def _suspect(live: KubeObject) -> Optional[Writer]:
    """The last who wrote to the object itself after us; without one, nobody can tell."""
    entries = live["metadata"].get("managedFields") or []
    ours = max((str(entry.get("time") or "") for entry in entries if entry.get("manager") == FIELD_MANAGER), default="")
    later = [_writer(entry) for entry in _others(live) if entry.get("subresource") != "status" and str(entry.get("time") or "") >= ours]
    return max(later, key=lambda one: one.time, default=None)


# ------------------------------------------------------------------ what drifted


def drifts(plan: Plan, record: Record) -> Tuple[Drift, ...]:
    """Every object of the plan that is not as we left it.

    Pure: the plan has read the objects and asked the server what it would change in them.

    :param plan: made under :func:`looking`, and examined.
    """
    found = (_drift(item, record.entry(item.ref), record) for item in plan.items if item.verdict is not Verdict.RESTART)
    return tuple(one for one in found if one is not None)


def _drift(item: Item, entry: Optional[Entry], record: Record) -> Optional[Drift]:
    if entry is None or not entry.live:
        return None  # we never wrote it, or do not know that we did
    if item.live is None:
        step = "site makes it anew; who removed it is in the API server's audit log"
        return Drift(item.ref, item.component, REMOVED, "somebody removed it", next_step=step)
    if item.wanted.once or item.verdict is Verdict.UNCHANGED or entry.live == record.hasher.live(item.live):
        return None
    fields = tuple(_field(item.live, change) for change in item.changes)
    metadata = item.live["metadata"]
    if metadata.get("uid") != entry.uid:
        made = str(metadata.get("creationTimestamp") or "")
        return Drift(item.ref, item.component, RECREATED, "somebody removed it and made it anew", fields, made, _put_back(item))
    if item.verdict is Verdict.UPDATE:
        fields = tuple(one for one in fields if one.writer is not None)  # the others are our own wish of today
        if not fields:
            return None
    named = [one.writer for one in fields if one.writer is not None]
    since = max((one.time for one in named), default="")
    return Drift(item.ref, item.component, CHANGED, _reason(item, fields), fields, since, _put_back(item))


def _field(live: KubeObject, change: Tuple[str, str, str]) -> FieldDrift:
    path, found, wanted = change
    owners = writers(live, path)
    return FieldDrift(path, found, wanted, owners[0] if owners else None, None if owners else _suspect(live))


def _reason(item: Item, fields: Sequence[FieldDrift]) -> str:
    managers = sorted({one.writer.manager for one in fields if one.writer is not None} | {manager for manager, _field in item.contested})
    if item.verdict is Verdict.REFUSED:
        return item.reason
    if not fields:
        return "somebody changed it; %s" % item.reason
    if not managers:
        return "somebody took away what we wrote"
    return "changed by %s" % ", ".join(managers)


def _put_back(item: Item) -> str:
    if item.verdict is Verdict.REFUSED:
        return "look at it: site refuses to overwrite it"
    if item.contested:
        return "site with kubeflow_conflicts: ours puts it back, theirs leaves it"
    return "site puts it back"


def ca_drifts(problems: Iterable[CaProblem]) -> Tuple[Drift, ...]:
    """One line for each configuration or definition whose caBundle is not what its webhook answers with."""
    found: Dict[ObjectRef, Drift] = {}
    for problem in problems:
        owners = writers(problem.live, problem.path)
        field = FieldDrift(problem.path, problem.found, problem.wanted, owners[0] if owners else None)
        before = found.get(problem.ref)
        fields = (*(before.fields if before else ()), field)
        since = max((one.writer.time for one in fields if one.writer is not None), default="")
        found[problem.ref] = Drift(problem.ref, problem.component, STALE_CA, problem.reason, fields, since, problem.next_step)
    return tuple(found.values())


def pending(plan: Plan, found: Sequence[Drift]) -> int:
    """How many objects site would write because our settings changed or a run was interrupted: no drift."""
    drifted = {one.ref for one in found}
    return sum(1 for item in plan.writes if item.verdict is not Verdict.RESTART and item.ref not in drifted)
