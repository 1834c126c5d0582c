# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan as people and programs read it: text of 80 columns, the body of ``plan.json``, Ansible diffs."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Sequence, Tuple, Union

from .hop_report import HopPlan, going, replaced
from .linting import HASHED_NAME, Lint
from .objects import ObjectRef
from .planning import STOPS, WRITES, Item, Plan, Policy, Verdict
from .session import Outcome, plan_line
from .verdicts import DANGERS, Notice, Removal

# A plan names so many objects of a component, fields of an object, namespaces of a count; plan.json has them all.
NAMED, FIELDS, NAMESPACES = 8, 5, 4
# Of a hop it names fewer of what nobody has to decide on.
TOLD = 3
WIDTH = 80
UNSPOKEN = ("admissionregistration.k8s.io", "apiextensions.k8s.io", "rbac.authorization.k8s.io", "apps", "batch")


def short(ref: ObjectRef) -> str:
    """A name without the groups that every Kubernetes has and no two of whose kinds are alike.

    What a person has to decide on keeps its full name, as the variables that decide ask for that.
    """
    return "%s %s" % (ref.kind, ref.path) if ref.group in UNSPOKEN else str(ref)


def wrapped(text: str, indent: int) -> List[str]:
    """The text in lines of 80 columns, all but the first indented so far; what has no space to break at stays whole."""
    head = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.strip(),
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def counted(number: int, what: str = "object") -> str:
    """``1 object``, ``2 objects``."""
    return "%d %s%s" % (number, what, "" if number == 1 else "s")


def counts_text(counts: Mapping[str, int]) -> str:
    """How many are where: ``5 (3 in team-a, 2 in team-b)``; "" if nothing was counted."""
    if not counts:
        return ""
    total = sum(counts.values())
    ranked = sorted(((name, count) for name, count in counts.items() if name), key=lambda pair: (-pair[1], pair[0]))
    parts = ["%d in %s" % (count, name) for name, count in ranked[:NAMESPACES]]
    rest = ranked[NAMESPACES:]
    if rest:
        parts.append("%d in %s" % (sum(count for _name, count in rest), counted(len(rest), "more namespace")))
    return "%d (%s)" % (total, ", ".join(parts)) if parts else str(total)


# ------------------------------------------------------------------ text


@dataclass(frozen=True)
class Line:
    """What is said of one object, whichever part of the plan it comes from."""

    ref: ObjectRef
    component: str
    verdict: Verdict
    reason: str
    counts: Mapping[str, int] = field(default_factory=dict)
    changes: Tuple[Tuple[str, str, str], ...] = ()

    @property
    def name(self) -> str:
        """The object's name; in full where a variable may have to repeat it."""
        decided = self.verdict in (*STOPS, *DANGERS, Verdict.REPLACE, Verdict.KEEP)
        return str(self.ref) if decided else short(self.ref)


def _item_line(item: Item) -> Line:
    return Line(item.ref, item.component, item.verdict, item.reason, changes=item.changes)


def _side_lines(found: Iterable[Union[Removal, Notice]], *verdicts: Verdict) -> List[Line]:
    """The removals or notices with one of these verdicts."""
    return [Line(one.ref, one.component, one.verdict, one.reason, one.counts) for one in found if one.verdict in verdicts]


def plan_text(outcome: Outcome, named: int = NAMED, hops: Sequence[HopPlan] = (), notes: bool = True) -> str:
    """The plan that a person reads in a minute: the summary, what stops it or is dangerous, then what changes.

    :param named: how many objects of one component, verdict and reason are named.
    :param hops: where releases change: a part for each; the outcome's own plan is then not looked at.
    :param notes: whether to give what release data tells of a hop, or only say how much of it there is.
    """
    if hops:
        return "\n\n".join("\n".join(lines) for lines in (_way_lines(hops), *(_hop_lines(hop, named, notes) for hop in hops)) if lines)
    plan = outcome.plan
    if plan is None:
        return ""
    lines = wrapped(plan_line(plan), 2)
    lines += _group_lines([_item_line(item) for item in plan.stops], "!", named)
    lines += _group_lines(_side_lines([*plan.removals, *plan.notices], *DANGERS), "!", named)
    lines += _lint_lines(outcome.lints)
    lines += _beside(plan.removals, plan.notices, going(plan, outcome.request.policy), named)
    lines += _group_lines([_item_line(item) for item in plan.writes], " ", named)
    if plan.leftovers and not plan.removals:
        lines.append("  %s wanted no more; site leaves them" % _recorded(len(plan.leftovers)))
    return "\n".join(lines)


def _recorded(count: int) -> str:
    return "1 recorded object is" if count == 1 else "%d recorded objects are" % count


def _beside(
    removals: Sequence[Removal], notices: Sequence[Notice], goes: FrozenSet[ObjectRef], named: int, together: bool = False
) -> List[str]:
    """What is said of objects that are wanted no more, and of what a person should know; the dangerous was said before.

    :param together: whether to say once what is said of objects of several components.
    """
    gone = [one for one in removals if one.ref in goes]
    left = [one for one in removals if one.ref not in goes]
    quiet = [verdict for verdict in Verdict if verdict not in DANGERS]
    lines: List[str] = []
    for found, mark in ((gone, "-"), (left, "="), (notices, "i")):
        said = _side_lines(found, *quiet)
        lines += _group_lines(_together(said) if together else said, mark, named)
    return lines


def _lint_lines(lints: Sequence[Lint]) -> List[str]:
    """What is wrong in the release itself; names with a hash are in plan.json only, as nobody has to do anything about them."""
    lines: List[str] = []
    for one in lints:
        if one.rule != HASHED_NAME:
            lines += wrapped("? %-17s %s: %s" % (one.component, one.rule, one.text), 6)
    return lines


def _together(lines: Sequence[Line]) -> List[Line]:
    """The lines with one name for all components of which the same is said."""
    components: Dict[Tuple[Verdict, str], List[str]] = {}
    for line in lines:
        components.setdefault((line.verdict, line.reason), []).append(line.component)
    names = {key: list(dict.fromkeys(found)) for key, found in components.items()}
    same = {key: found[0] if len(found) == 1 else "%d components" % len(found) for key, found in names.items()}
    return [replace(line, component=same[line.verdict, line.reason]) for line in lines]


def _group_lines(lines: Sequence[Line], mark: str, named: int) -> List[str]:
    """A head line for each component, verdict and reason, and below it the objects if they are not too many."""
    groups: Dict[Tuple[str, str, str], List[Line]] = {}
    for line in lines:
        groups.setdefault((line.component, line.verdict.value, line.reason), []).append(line)
    found: List[str] = []
    for (component, verdict, reason), members in groups.items():
        count = counted(len(members))
        head = "%s %-17s %s %s%s: %s" % (mark, component or "tenants", verdict, count, _definitions(members), reason)
        found += wrapped(head, 6)
        if verdict == Verdict.CREATE.value and len(members) > named:
            continue
        for line in members[:named]:
            found += _object_lines(line)
        if len(members) > named:
            found.append("      and %d more" % (len(members) - named))
    return found


def _object_lines(line: Line) -> List[str]:
    many = counts_text(line.counts)
    found = wrapped("      %s%s" % (line.name, ": " + many if many else ""), 10)
    for path, before, after in line.changes[:FIELDS]:
        found += wrapped("          %s: %s -> %s" % (path, before, after), 14)
    if len(line.changes) > FIELDS:
        found.append("          and %d more fields" % (len(line.changes) - FIELDS))
    return found


def _definitions(lines: Sequence[Line]) -> str:
    crds = sum(1 for line in lines if line.ref.kind == "CustomResourceDefinition")
    return " (%d of them CRDs)" % crds if crds and crds < len(lines) else ""


# ------------------------------------------------------------------ text of a hop


def _way_lines(hops: Sequence[HopPlan]) -> List[str]:
    """A way of several hops at a glance."""
    if len(hops) < 2:
        return []
    lines = ["%s -> %s in %d hops" % (hops[0].source, hops[-1].target, len(hops))]
    for hop in hops:
        lines += wrapped("  %s -> %s: %s" % (hop.source, hop.target, hop_summary(hop)), 4)
    return lines


def _hop_lines(hop: HopPlan, named: int, notes: bool) -> List[str]:
    plan = hop.plan
    goes = going(plan, hop.policy)
    left: List[Union[Removal, Notice]] = [one for one in plan.removals if one.ref not in goes]
    left += plan.notices
    lines = ["%s -> %s: %s%s" % (hop.source, hop.target, counted(_objects(plan)), "" if hop.live else ", compared without a cluster")]
    lines += wrapped("  " + hop_summary(hop), 4)
    lines += _group_lines([_item_line(item) for item in plan.stops], "!", named)
    lines += _group_lines(_side_lines(left, *DANGERS), "!", named)
    lines += _asked_lines(hop)
    lines += _lint_lines(hop.lints)
    lines += _group_lines([_item_line(item) for item in replaced(plan) if item.allowed], "~", named)
    named_dangers = [one for one in plan.removals if one.ref in goes and one.verdict in DANGERS]
    lines += _group_lines(_side_lines(named_dangers, *DANGERS), "-", named)
    lines += _beside(plan.removals, plan.notices, goes, TOLD, together=True)
    lines += _components_table(plan, goes)
    told = hop.hop.notes if hop.hop else ()
    for note in told if notes else ():
        lines += wrapped("  note: " + " ".join(note.split()), 8)
    if told and not notes:
        lines.append("  %s on this hop in plan.html" % counted(len(told), "note"))
    return lines


def _asked_lines(hop: HopPlan) -> List[str]:
    """What a person has to say, and what cannot be taken back."""
    lines: List[str] = []
    for ack in hop.missing:
        backup = ", or a recorded backup of it" if ack.backup else ""
        lines += wrapped("! %-17s needs your yes: %s in kubeflow_acks%s" % (ack.component, ack.name, backup), 6)
        lines += wrapped("      " + " ".join(ack.text.split()), 6)
    doors = ["%s (%s)" % (door.name, door.component) for door in hop.one_way]
    return lines + (wrapped("! no way back over this hop: %s" % ", ".join(doors), 6) if doors else [])


def _objects(plan: Plan) -> int:
    """How many objects are wanted; a restart is a second line of one."""
    return len({item.ref for item in plan.items})


def hop_summary(hop: HopPlan) -> str:
    """A hop in one sentence: what is new, changes, goes, stays, and what needs a person."""
    plan = hop.plan
    goes = going(plan, hop.policy)
    left = [one for one in plan.removals if one.ref not in goes]
    dangers = sum(1 for one in left if one.verdict is Verdict.PRUNE_DANGEROUS)
    counts = plan.counts()
    parts = [
        (counts[Verdict.CREATE.value], "new"),
        (sum(counts[verdict.value] for verdict in CHANGES), "changed"),
        (counts[Verdict.RESTART.value], "restarted"),
        (sum(1 for item in replaced(plan) if item.allowed), "replaced"),
        (counts[Verdict.UNCHANGED.value], "unchanged"),
        (len(goes), "removed"),
        (dangers, "left because removing them is dangerous"),
        (len(left) - dangers, "kept"),
        (len(plan.stops), "to decide"),
        (len(hop.missing), "acknowledgement%s missing" % ("" if len(hop.missing) == 1 else "s")),
    ]
    return ", ".join("%d %s" % (count, word) for count, word in parts if count) or "nothing changes"


CHANGES = (Verdict.UPDATE, Verdict.DRIFT, Verdict.ADOPT)
COLUMNS = {"new": (Verdict.CREATE,), "changed": CHANGES, "replaced": (Verdict.REPLACE,), "restarted": (Verdict.RESTART,)}


def _components_table(plan: Plan, goes: FrozenSet[ObjectRef]) -> List[str]:
    """How many objects of each component do what: 20 lines in place of 200."""
    empty = dict.fromkeys((*COLUMNS, "removed"), 0)
    rows: Dict[str, Dict[str, int]] = {}
    for item in plan.items:
        row = rows.setdefault(item.component, dict(empty))
        for name, verdicts in COLUMNS.items():
            row[name] += item.verdict in verdicts
    for removal in plan.removals:
        rows.setdefault(removal.component, dict(empty))["removed"] += removal.ref in goes
    shown = {name: row for name, row in rows.items() if any(row.values())}
    lines = ["  %-18s" % "component" + "".join("%10s" % name for name in empty)] if shown else []
    lines += ["  %-18s" % name + "".join("%10s" % (count or "-") for count in row.values()) for name, row in shown.items()]
    same = [name for name in rows if name not in shown]
    return lines + (wrapped("  nothing changes in %s" % ", ".join(same), 4) if same else [])


# ------------------------------------------------------------------ what --diff prints


def diffs(outcome: Outcome) -> List[Dict[str, str]]:
    """The plan's changes in the form that ``--diff`` prints; values of Secrets are masked already."""
    found: List[Dict[str, str]] = []
    for item in outcome.plan.items if outcome.plan else ():
        if item.verdict is Verdict.CREATE:
            found.append({"prepared": "+ %s (%s)\n" % (item.ref, item.component)})
        elif item.verdict in WRITES and item.verdict is not Verdict.RESTART:
            found.append(
                {
                    "before_header": "%s (%s)" % (item.ref, item.component),
                    "after_header": "%s (%s)" % (item.ref, item.verdict),
                    "before": "".join("%s: %s\n" % (path, before) for path, before, _after in item.changes),
                    "after": "".join("%s: %s\n" % (path, after) for path, _before, after in item.changes),
                }
            )
        elif item.verdict is Verdict.RESTART:
            found.append({"prepared": "~ %s: restart, %s\n" % (item.ref, item.reason)})
    if outcome.plan:
        goes = going(outcome.plan, outcome.request.policy)
        for removal in outcome.plan.removals:
            mark = "-" if removal.ref in goes else "="
            found.append({"prepared": "%s %s: %s, %s\n" % (mark, removal.ref, removal.verdict, removal.reason)})
    return found


# ------------------------------------------------------------------ plan.json


def plan_parts(plan: Plan, policy: Policy, hop: str = "") -> Dict[str, List[Dict[str, Any]]]:
    """The lists of ``plan.json``: objects, removals, notices, leftovers.

    :param hop: the release that this part of a longer way leads to; "" where there is one plan only.
    """
    mark = {"hop": hop} if hop else {}
    goes = going(plan, policy)
    return {
        "objects": [{**_item_json(item), **mark} for item in plan.items],
        "removals": [{**_side_json(one), "named": one.named, "goes": one.ref in goes, **mark} for one in plan.removals],
        "notices": [{**_side_json(one), **mark} for one in plan.notices],
        "leftovers": [{"component": name, "object": str(ref)} for name, ref in plan.leftovers],
    }


def plan_body(plan: Plan, outcome: Outcome) -> Dict[str, Any]:
    """What ``plan.json`` says of one plan and what was found in its release."""
    parts = plan_parts(plan, outcome.request.policy)
    return {"counts": plan.counts(), "summary": plan_line(plan), **parts, "lints": lints_json(outcome.lints)}


def lints_json(lints: Sequence[Lint], hop: str = "") -> List[Dict[str, str]]:
    """What is wrong in a release, as ``plan.json`` has it."""
    mark = {"hop": hop} if hop else {}
    return [{"name": one.name, "component": one.component, "subject": one.subject, "text": one.text, **mark} for one in lints]


def hops_body(hops: Sequence[HopPlan]) -> Dict[str, Any]:
    """What ``plan.json`` says of a way over hops: all lists in one, each line with the release it leads to."""
    parts = [plan_parts(hop.plan, hop.policy, hop.target) for hop in hops]
    counts: Dict[str, int] = {verdict.value: 0 for verdict in Verdict}
    for hop in hops:
        for name, count in hop.plan.counts().items():
            counts[name] += count
    return {
        "from": hops[0].source,
        "hops": [_hop_json(hop) for hop in hops],
        "counts": counts,
        "summary": "; ".join("%s -> %s: %s" % (hop.source, hop.target, hop_summary(hop)) for hop in hops),
        "lints": [line for hop in hops for line in lints_json(hop.lints, hop.target)],
        **{name: [line for part in parts for line in part[name]] for name in ("objects", "removals", "notices", "leftovers")},
    }


def _hop_json(hop: HopPlan) -> Dict[str, Any]:
    return {
        "from": hop.source,
        "to": hop.target,
        "counts": hop.plan.counts(),
        "summary": hop_summary(hop),
        "notes": list(hop.hop.notes) if hop.hop else [],
        "acks": [
            {
                "name": ack.name,
                "component": ack.component,
                "text": ack.text,
                "backup": ack.backup,
                "given": ack.name in hop.given,
            }
            for ack in hop.needed
        ],
        "one_way": [{"name": door.name, "component": door.component, "why": door.why} for door in hop.one_way],
    }


def _item_json(item: Item) -> Dict[str, Any]:
    found: Dict[str, Any] = {
        "object": str(item.ref),
        "component": item.component,
        "verdict": item.verdict.value,
        "reason": item.reason,
    }
    if item.verdict is Verdict.REPLACE:
        found["allowed"] = item.allowed
    if item.changes:
        found["changes"] = [{"path": path, "before": before, "after": after} for path, before, after in item.changes]
    if item.contested:
        found["contested"] = [{"manager": manager, "field": path} for manager, path in item.contested]
    return found


def _side_json(line: Union[Removal, Notice]) -> Dict[str, Any]:
    return {
        "object": str(line.ref),
        "component": line.component,
        "verdict": line.verdict.value,
        "reason": line.reason,
        "counts": dict(line.counts),
    }
