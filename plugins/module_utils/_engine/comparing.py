# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan between two releases without a cluster: the older one's render stands for the record and for what is there."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Dict, Iterable, Mapping, Tuple

from .api import Discovery, Resource
from .catalogue import Release
from .forms import differences
from .hop_plan import replacements
from .moves import definition_notices, taken_away
from .objects import KubeObject, ObjectRef
from .planning import Item, Plan, Policy, Verdict, Wanted, make_plan
from .pruning import removals
from .record import ComponentRecord, Entry, Record
from .redaction import Redactor, learn_all, shown_change
from .rendering import Render
from .session import want
from .snapshot import Snapshot, resources_of
from .usage import expected


def compare(old_release: Release, old_render: Render, new_release: Release, new_render: Render, policy: Policy) -> Plan:
    """What going from one release to another does to an installation that is as the older one's render says.

    What hangs on a cluster is not known: whether there are custom resources, what is bound to a volume, which versions
    objects are stored in. Where deleting depends on that, it counts as dangerous.

    :param policy: ``replace``, ``prune`` and ``prune_named`` count; there is nobody to have conflicts with.
    """
    redactor = Redactor()
    for render in (old_render, new_render):
        learn_all(redactor, (item.obj for item in render.objects.values()))
    discovery = assumed(item.obj for render in (old_render, new_render) for item in render.objects.values())
    before = want(old_render, old_release, _snapshot({}, discovery))
    wanted = want(new_render, new_release, _snapshot({}, discovery))
    live = {ref: _as_live(ref, one.obj) for ref, one in before.items()}
    record = _record(old_release, before, live)
    hop = new_release.hop if new_release.hop is not None and new_release.hop.source == old_release.name else None
    plan = make_plan(wanted, record, _snapshot(live, discovery), policy)
    items = replacements(plan.items, record, hop.replace if hop else (), policy)
    found = removals(record, wanted, live, expected(list(live.values())), hop.keep if hop else (), policy, discovery=discovery)
    notices = definition_notices(live, wanted, expected([])) + taken_away(wanted, newest_kubernetes(new_release))
    told = tuple(_told(item, before, old_release, redactor) for item in items)
    return replace(plan, items=told, leftovers=(), removals=found, notices=notices)


def assumed(objects: Iterable[KubeObject]) -> Discovery:
    """What an API server would serve of these objects. Plurals of built-in kinds are guessed: no request is made of them."""
    everything = list(objects)
    guessed = {
        (obj["apiVersion"], obj["kind"]): Resource(obj["apiVersion"], obj["kind"], _plural(obj["kind"]), "namespace" in obj["metadata"])
        for obj in everything
    }
    return resources_of(everything, Discovery([])).with_resources(list(guessed.values()))


def _plural(kind: str) -> str:
    name = kind.lower()
    return name[:-1] + "ies" if name.endswith("y") else name + ("es" if re.search(r"(s|x|ch)$", name) else "s")


def newest_kubernetes(release: Release) -> str:
    """The newest version that a release was tested on, else its minimum."""
    tested = release.kubernetes_tested or (release.kubernetes_minimum,)
    return max(tested, key=lambda version: [int(number) for number in re.findall(r"\d+", version)])


# ------------------------------------------------------------------ a cluster that is as the render says


def _as_live(ref: ObjectRef, obj: KubeObject) -> KubeObject:
    return {**obj, "metadata": {**obj["metadata"], "uid": ref.key}}


def _snapshot(live: Mapping[ObjectRef, KubeObject], discovery: Discovery) -> Snapshot:
    return Snapshot(live, discovery, discovery, {}, (), "", {})


def _record(release: Release, before: Mapping[ObjectRef, Wanted], live: Mapping[ObjectRef, KubeObject]) -> Record:
    """The record of somebody who installed just this."""
    record = Record(hash_key=b"offline")
    hasher = record.hasher
    entries: Dict[str, Dict[ObjectRef, Entry]] = {}
    for ref, one in before.items():
        entry = Entry(one.obj["apiVersion"], ref.key, hasher.value(one.obj), hasher.live(live[ref]))
        entries.setdefault(one.component, {})[ref] = entry
    for name, mine in entries.items():
        component = release.components[name]
        record = record.with_component(name, ComponentRecord(component.catalogue, component.version, True, mine))
    return record


# ------------------------------------------------------------------ what is said of it


def _told(item: Item, before: Mapping[ObjectRef, Wanted], release: Release, redactor: Redactor) -> Item:
    """The item in the words of a comparison, with what changes."""
    if item.verdict is Verdict.CREATE:
        return replace(item, reason="%s does not have it" % release.name)
    if item.verdict is not Verdict.UPDATE:
        return item
    old, new = before[item.ref], item.wanted
    patched = old.user_patched or new.user_patched
    return replace(item, reason="%s has it otherwise" % release.name, changes=_changes(item.ref, old.obj, new.obj, patched, redactor))


def _changes(ref: ObjectRef, old: KubeObject, new: KubeObject, patched: bool, redactor: Redactor) -> Tuple[Tuple[str, str, str], ...]:
    shown = (shown_change(ref, change, patched) for change in differences(old, new))
    return tuple((path, redactor.scrub(first), redactor.scrub(second)) for path, first, second in shown)
