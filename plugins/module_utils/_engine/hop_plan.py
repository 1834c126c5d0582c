# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a run that changes the release: what has to be made anew, what becomes of what is wanted no more, what to know."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Collection, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from .api import Api, Discovery, Resource
from .catalogue import Hop, Row
from .immutable import immutable_changes, immutable_reason, shown_immutable
from .moves import CRD_KIND, definition_notices, lost_versions, older_sidecars, older_stored
from .objects import COMPONENT_LABEL, KubeObject, ObjectRef, ref_of
from .planning import Item, Plan, Policy, Verdict, Wanted
from .pruning import CRD, PROTECTED, check_blast_radius, removals
from .record import Record
from .snapshot import FEW, READERS, Snapshot
from .usage import CLAIM, Usage, look

# What a run would write over the object that is there.
OVERWRITES = (Verdict.UPDATE, Verdict.DRIFT, Verdict.ADOPT)


def widen(
    api: Api, plan: Plan, record: Record, snapshot: Snapshot, wanted: Mapping[ObjectRef, Wanted], hop: Optional[Hop], policy: Policy
) -> Plan:
    """The live plan with replacements, removals and notices; its leftovers have become removals.

    Reads the recorded objects that are wanted no more with one LIST per kind, and what users have put on them.

    :param hop: what release data knows of this change; None where it knows nothing (a way back, an uninstallation).
    :raises EngineError: the desired set is so small that something else must be wrong.
    """
    record = of_release(record, wanted)
    live = read_leftovers(api, record, wanted, snapshot.served)
    usage = _usage(api, live, snapshot, wanted)
    uids = frozenset(str(obj["metadata"].get("uid")) for obj in snapshot.objects.values())
    keep, rows = (hop.keep, hop.replace) if hop is not None else ((), ())
    found = removals(record, wanted, live, usage, keep, policy, discovery=snapshot.served, in_use=uids)
    check_blast_radius(record, wanted, found, policy)
    definitions = {ref: want for ref, want in wanted.items() if ref.kind == CRD_KIND}
    notices = definition_notices(snapshot.objects, definitions, usage) + older_sidecars(api, wanted, usage.tenants)
    items = replacements(plan.items, record, rows, policy)
    return replace(plan, items=items, leftovers=(), removals=found, notices=(*plan.notices, *notices))


def of_release(record: Record, wanted: Mapping[ObjectRef, Wanted]) -> Record:
    """The part of the record that this change is about: what belongs to an add-on has its own versions and its own runs."""
    names = {want.component for want in wanted.values()}
    catalogues = {component.catalogue for name, component in record.components.items() if name in names}
    if not catalogues:
        return record
    components = {name: component for name, component in record.components.items() if component.catalogue in catalogues}
    return replace(record, components=components)


# ------------------------------------------------------------------ what has to be made anew


def replacements(items: Iterable[Item], record: Record, rows: Sequence[Row], policy: Policy) -> Tuple[Item, ...]:
    """The items, with a verdict of their own for those whose change the API server does not accept. Pure.

    :param rows: objects of which release data says that they may be deleted and made anew.
    """
    changed = [_replacement(item, record, rows, policy) for item in items]
    anew = {item.ref for item in changed if item.verdict is Verdict.REPLACE}
    return tuple(item for item in changed if not (item.verdict is Verdict.RESTART and item.ref in anew))


def _replacement(item: Item, record: Record, rows: Sequence[Row], policy: Policy) -> Item:
    if item.verdict not in OVERWRITES or item.live is None:
        return item
    want = item.wanted
    paths = immutable_changes(item.live, want.obj)
    if not paths:
        return item
    reason = immutable_reason(item.live, want.obj, paths, want.user_patched)
    entry = record.entry(item.ref)
    ours = entry is not None and bool(entry.uid) and item.live["metadata"].get("uid") == entry.uid
    lost = PROTECTED.get(item.ref.kind_group, "its custom resources would be deleted" if item.ref.kind_group == CRD else "")
    reason = "; ".join(part for part in (reason, lost, "" if ours else "it is not the object that we wrote") if part)
    by_data = ours and not lost and any(row.match.matches(item.ref) for row in rows)
    return replace(
        item,
        verdict=Verdict.REPLACE,
        reason=reason,
        changes=shown_immutable(item.live, want.obj, paths, want.user_patched),
        allowed=by_data or str(item.ref) in policy.replace,
    )


# ------------------------------------------------------------------ reading


def read_leftovers(api: Api, record: Record, wanted: Collection[ObjectRef], served: Discovery) -> Dict[ObjectRef, KubeObject]:
    """What is there of the recorded objects that are wanted no more: one LIST per kind, of the components that had them."""
    by_resource: Dict[Resource, Dict[ObjectRef, str]] = {}
    for name, component in record.components.items():
        for ref, entry in component.entries.items():
            resource = served.get(entry.api_version, ref.kind) or next(iter(served.by_group_kind(ref.group, ref.kind)), None)
            if ref not in wanted and resource is not None:
                by_resource.setdefault(resource, {})[ref] = name
    found: Dict[ObjectRef, KubeObject] = {}
    with ThreadPoolExecutor(READERS) as pool:
        for part in pool.map(lambda pair: _read_kind(api, *pair), by_resource.items()):
            found.update(part)
    return found


def _read_kind(api: Api, resource: Resource, refs: Mapping[ObjectRef, str]) -> Dict[ObjectRef, KubeObject]:
    """Those of one kind; what lost its label is looked for one by one, or in a LIST of all if it is more than a few."""
    selector = "%s in (%s)" % (COMPONENT_LABEL, ",".join(sorted(set(refs.values()))))
    found = _among(api.list(resource, selector=selector)[0], refs)
    missing = [ref for ref in refs if ref not in found]
    if len(missing) > FEW:
        return _among(api.list(resource)[0], refs)
    for ref in missing:
        single = api.get(resource, ref.namespace, ref.name)
        if single is not None:
            found[ref] = single
    return found


def _among(objects: Iterable[KubeObject], refs: Collection[ObjectRef]) -> Dict[ObjectRef, KubeObject]:
    return {ref: obj for ref, obj in ((ref_of(obj), obj) for obj in objects) if ref in refs}


def _usage(api: Api, leftovers: Mapping[ObjectRef, KubeObject], snapshot: Snapshot, wanted: Mapping[ObjectRef, Wanted]) -> Usage:
    """What users have on the definitions and volumes that may go, and on the definitions whose versions change."""
    named: List[KubeObject] = [obj for ref, obj in leftovers.items() if ref.kind_group == CRD]
    numbers: List[KubeObject] = []
    for ref, want in wanted.items():
        there = snapshot.objects.get(ref)
        if ref.kind_group != CRD or there is None:
            continue
        if lost_versions(there, want.obj):
            named.append(there)
        if older_stored(there, want.obj):
            numbers.append(there)
    claims: FrozenSet[ObjectRef] = frozenset(ref for ref in leftovers if ref.kind_group == CLAIM)
    return look(api, named, claims, snapshot.served, numbers)
