# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects in tenants' namespaces that a controller made once and does not renew: deleted after a hop, so that it makes them anew.

Only what a controller owns is touched: what nobody would make again is never deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

from .api import Api, Discovery, Resource
from .catalogue import Row
from .objects import KubeObject, ObjectRef, ref_of
from .progress import Progress
from .usage import tenants_of
from .verdicts import Notice, Verdict

# The DecoratorController's mark on what it attaches; it sets no owner reference on objects in another namespace
# [metacontroller, attachments of a DecoratorController].
DECORATED = "metacontroller.k8s.io/decorator-controller"


@dataclass(frozen=True)
class Stale:
    """One object that is to be made anew, and why."""

    ref: ObjectRef
    resource: Resource
    uid: str
    why: str


def _made_by_a_controller(obj: KubeObject) -> bool:
    owners = obj["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") for owner in owners) or DECORATED in (obj["metadata"].get("annotations") or {})


def look(api: Api, rows: Sequence[Row], discovery: Discovery) -> Tuple[Stale, ...]:
    """What is to be made anew: one LIST of namespaces, and one for each kind of the rows."""
    if not rows:
        return ()
    names = tenants_of(api)
    found: List[Stale] = []
    for group, kind in sorted({(row.match.group, row.match.kind) for row in rows}):
        for resource in discovery.by_group_kind(group, kind)[:1]:
            for obj in api.list(resource)[0]:
                ref = ref_of(obj)
                row = next((one for one in rows if one.match.matches(ref)), None)
                if row is not None and ref.namespace in names and _made_by_a_controller(obj):
                    found.append(Stale(ref, resource, obj["metadata"]["uid"], row.why))
    return tuple(found)


def notices(stale: Sequence[Stale]) -> Tuple[Notice, ...]:
    """A line of the plan for each kind and name, with the tenants that have it."""
    groups: Dict[Tuple[str, str, str, str], Dict[str, int]] = {}
    for one in stale:
        groups.setdefault((one.ref.group, one.ref.kind, one.ref.name, one.why), {})[one.ref.namespace] = 1
    return tuple(
        Notice(ObjectRef(group, kind, "", name), "", Verdict.REGENERATE, why, counts) for (group, kind, name, why), counts in groups.items()
    )


def regenerate(api: Api, stale: Sequence[Stale], progress: Progress) -> int:
    """Delete them, each only if it is still the one that we saw; how many there were."""
    for number, one in enumerate(stale, 1):
        api.delete(one.resource, one.ref.namespace, one.ref.name, uid=one.uid)
        progress.waiting("", "tenants: %d of %d objects left to their controller to make anew" % (number, len(stale)))
    return len(stale)
