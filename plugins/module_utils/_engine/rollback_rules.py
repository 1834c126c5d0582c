# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a rollback goes, on which way, and what stands against it. Pure: nothing is asked of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from .catalogue import Catalogue, Hop, Release, Row, release_order
from .errors import EngineError, sure
from .hops import path
from .objects import KubeObject, ObjectRef
from .record import Record
from .revisions import RevisedComponent, Revision, RevisionHead, unknown

PREVIOUS = "previous"
CRD = "CustomResourceDefinition.apiextensions.k8s.io"
# What never goes back: a Secret has its live values, a definition has objects that are stored as it says.
STAY = ("Secret", CRD)
# Of a longer list an error shows so many.
SHOWN = 6


@dataclass(frozen=True)
class Step:
    """One revision to go to, and the hop that leads to it backwards; None where the release stays.

    :ivar keep: what the hops up to its release left behind on purpose.
    """

    head: RevisionHead
    hop: Optional[Hop] = None
    keep: Tuple[Row, ...] = ()


# ------------------------------------------------------------------ where to


def find(to: str, heads: Sequence[RevisionHead], scope: Tuple[str, ...], newest_holds: Callable[[], bool]) -> RevisionHead:
    """The revision that is meant.

    :param to: a number, or ``previous``.
    :param scope: the components that go back, () for the whole platform.
    :param newest_holds: whether the cluster was last brought to the newest revision, as far as the scope goes.
    :raises EngineError: there is none such.
    """
    if not heads:
        raise unknown(to, heads)
    if to == PREVIOUS:
        return _previous(heads, scope, newest_holds)
    if not to.isdecimal():
        raise EngineError("not a revision", subject="kubeflow_rollback_to", expected="a number, or previous", found=to)
    number = int(to)
    found = next((head for head in heads if head.number == number), None)
    if found is None:
        raise unknown(number, heads)
    return found


def _previous(heads: Sequence[RevisionHead], scope: Tuple[str, ...], newest_holds: Callable[[], bool]) -> RevisionHead:
    """What was there before the last change. Asked again after it was done, or half done, it is the same one."""
    newest = heads[-1]
    for head in heads:
        mark = head.mark
        if mark is not None and mark.scope == scope and (mark.to, mark.newest) == (head.number, newest.number):
            return head
    if not newest_holds():
        return newest
    if newest.mark is not None and newest.mark.done and newest.mark.scope == scope:
        return newest
    now = _parts(newest, scope)
    for head in reversed(heads[:-1]):
        if _parts(head, scope) != now:
            return head
    raise EngineError(
        "there is no earlier revision in which %s" % ("anything is different" if not scope else "%s is different" % ", ".join(scope)),
        subject="kubeflow_rollback_to previous",
        found="%d revision%s, the newest is %d" % (len(heads), "" if len(heads) == 1 else "s", newest.number),
    )


def _parts(head: RevisionHead, scope: Tuple[str, ...]) -> Dict[str, RevisedComponent]:
    return {name: one for name, one in head.components.items() if not scope or name in scope}


def holds(record: Record, revision: Revision, scope: Tuple[str, ...]) -> bool:
    """Whether the record says of every object of a revision that this is what was written last."""
    for ref, item in revision.objects.items():
        if ref.kind_group in STAY or (scope and item.component not in scope):
            continue
        known = record.components.get(item.component)
        entry = known.entries.get(ref) if known else None
        if entry is None or entry.desired != item.digest:
            return False
    return True


# ------------------------------------------------------------------ on which way


def installed_release(record: Record, catalogue: str = "kubeflow") -> str:
    """The newest release that anything of this cluster was written at; "" if nothing was."""
    known = list(record.releases(catalogue))
    if record.upgrade is not None:
        known += [record.upgrade.source, record.upgrade.target]
    return max(known, key=release_order) if known else ""


def way_back(catalogue: Catalogue, record: Record, target: RevisionHead) -> Tuple[Release, ...]:
    """The releases that are left on the way to a revision, the newest first; () if the release stays.

    :raises EngineError: it is of a newer release, a hop is under way that has to be ended first, or no hops are known.
    """
    installed = installed_release(record)
    if release_order(target.release) > release_order(installed):
        raise EngineError(
            "it is of a newer release: going there is an upgrade",
            subject="revision %d" % target.number,
            expected="release %s or an older one" % installed,
            found=target.release,
            next_step="run upgrade with kubeflow_version %s" % target.release,
        )
    if target.release == installed and record.upgrade is not None:
        hop = record.upgrade
        raise EngineError(
            "a change of release has begun and not ended",
            subject="record",
            found="from %s to %s, since %s" % (hop.source, hop.target, hop.since),
            next_step="run the same again to end it, or go back to a revision of %s" % min(hop.source, hop.target, key=release_order),
        )
    return tuple(reversed(path(catalogue, target.release, installed)))


def steps(way: Sequence[Release], heads: Sequence[RevisionHead], target: RevisionHead) -> Tuple[Step, ...]:
    """The revisions to go to, one after the other: for each release on the way its last one, at the end the target.

    :raises EngineError: of a release on the way no revision is kept.
    """
    if not way:
        return (Step(target),)
    found: List[Step] = []
    for release in way:
        hop = sure(release.hop)
        last = [head for head in heads if head.release == hop.source]
        if not last and hop.source != target.release:
            raise EngineError(
                "a release goes back hop by hop, and no revision of %s is kept" % hop.source,
                subject="revision %d" % target.number,
                expected="one revision of each of: %s" % ", ".join(sure(one.hop).source for one in way),
                found="; ".join("%d (%s)" % (head.number, head.release) for head in heads),
            )
        back = Hop(hop.target, hop.source, replace=hop.replace, regenerate=hop.regenerate)
        found.append(Step(target if hop.source == target.release else last[-1], back))
    return tuple(found)


def kept(catalogue: Catalogue, name: str) -> Tuple[Row, ...]:
    """What release data wants kept of earlier releases, by the hops that lead to a release."""
    rows: List[Row] = []
    seen: List[str] = []
    while name in catalogue.names and name not in seen:
        seen.append(name)
        hop = catalogue.release(name).hop
        rows += hop.keep if hop is not None else ()
        name = hop.source if hop is not None else ""
    return tuple(rows)


# ------------------------------------------------------------------ what stands against it


def check_scope(target: RevisionHead, way: Sequence[Release], scope: Tuple[str, ...]) -> None:
    """Refuse what only a whole platform can do, and components that a revision does not have."""
    if way and scope:
        raise EngineError(
            "a single component does not go back over a change of release",
            subject="revision %d" % target.number,
            expected="a revision of %s" % way[0].name,
            found="one of %s, limited to %s" % (target.release, ", ".join(scope)),
            next_step="run rollback without --tags: the whole platform goes back, hop by hop",
        )
    missing = [name for name in scope if name not in target.components]
    if missing:
        raise EngineError(
            "it is not in that revision",
            subject="component %s" % ", ".join(missing),
            found="revision %d has: %s" % (target.number, ", ".join(sorted(target.components))),
            next_step="name another revision; uninstall takes a component away",
        )


def check_doors(way: Sequence[Release], record: Record, accept: Sequence[str]) -> None:
    """Refuse to go back through a door that data went through, unless a person names it.

    :raises EngineError: it names each of them with the reason.
    """
    closed = []
    for release in way:
        for door in sure(release.hop).one_way:
            known = record.components.get(door.component)
            passed = known is not None and release_order(known.version) >= release_order(release.name)
            if passed and door.name not in accept:
                closed.append(door)
    if not closed:
        return
    names = ", ".join(door.name for door in closed)
    raise EngineError(
        "data went forward and does not come back",
        subject=names,
        found=" | ".join("%s (%s): %s" % (door.name, door.component, " ".join(door.why.split())) for door in closed),
        next_step="restore a backup instead; or name it in kubeflow_rollback_accept: [%s] and lose that data. Nothing was written" % names,
    )


def check_definitions(revision: Revision, live: Mapping[str, KubeObject], accept: Sequence[str]) -> None:
    """Refuse where the definitions that are there, and stay, do not fit what the revision wants.

    Objects may be stored in a version that its release does not know: a person may accept that by the definition's name. A
    version that is served no more cannot be written at all.

    :param live: CustomResourceDefinitions by name.
    """
    ahead, unserved = [], []
    kinds = {(crd["spec"]["group"], crd["spec"]["names"]["kind"]): crd for crd in live.values()}
    for ref, item in sorted(revision.objects.items()):
        if ref.kind_group == CRD and ref.name in live and str(ref) not in accept:
            lost = sorted(_stored(live[ref.name]) - {version["name"] for version in item.obj["spec"]["versions"]})
            if lost:
                ahead.append("%s: stored as %s" % (ref, ", ".join(lost)))
        crd = kinds.get((ref.group, ref.kind))
        version = item.obj["apiVersion"].rpartition("/")[2]
        if crd is not None and version not in _served(crd):
            unserved.append("%s: %s" % (ref, item.obj["apiVersion"]))
    if unserved:
        raise EngineError(
            "the cluster serves a version no more that the revision's objects are written in",
            subject="revision %d (%s)" % (revision.head.number, revision.head.release),
            found=_first(unserved),
            next_step="definitions are never rolled back: restore a backup, or stay",
        )
    if ahead:
        raise EngineError(
            "objects are stored in versions that release %s does not know" % revision.head.release,
            subject="revision %d" % revision.head.number,
            found=_first(ahead),
            next_step="name the definitions in kubeflow_rollback_accept if nothing of that release reads them; nothing was written",
        )


def _stored(crd: KubeObject) -> set[str]:
    return set((crd.get("status") or {}).get("storedVersions") or ())


def _served(crd: KubeObject) -> set[str]:
    return {version["name"] for version in crd["spec"]["versions"] if version.get("served")}


def _first(items: Sequence[str]) -> str:
    more = ["and %d more" % (len(items) - SHOWN)] if len(items) > SHOWN else []
    return "; ".join([*items[:SHOWN], *more])


def check_opened(closed: Mapping[ObjectRef, Tuple[str, ...]]) -> None:
    """Refuse objects whose secrets nobody has any more.

    :param closed: object -> the paths of the texts that are missing.
    """
    if not closed:
        return
    found = ["%s: %s" % (ref, ", ".join(paths)) for ref, paths in sorted(closed.items())]
    first = sorted(closed)[0]
    raise EngineError(
        "it held a secret then, which no revision keeps, and neither the cluster nor the inventory has it any more",
        subject=str(first),
        found=_first(found),
        next_step="put the earlier text back into the patch in the inventory, or leave the object as it is with "
        'kubeflow_rollback_accept: ["%s"]; nothing was written' % first,
    )
