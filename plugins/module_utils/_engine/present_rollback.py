# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revisions and rollbacks as people and programs read them: text of 80 columns, and JSON."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Tuple

from .hop_report import HopPlan
from .objects import ObjectRef
from .present import error_json
from .present_plan import NAMED, counted, plan_text, short, wrapped
from .revisions import RevisionHead
from .rolling_back import Left, Return, StepOutcome

# ------------------------------------------------------------------ revisions


def revision_json(head: RevisionHead) -> Dict[str, Any]:
    """One revision without its content."""
    return {
        "number": head.number,
        "release": head.release,
        "written": head.written,
        "run": head.run,
        "kustomize": head.kustomize,
        "objects": sum(one.objects for one in head.components.values()),
        "rollback_to": head.mark.to if head.mark is not None and head.mark.done else None,
        "components": {
            name: {"catalogue": one.catalogue, "version": one.version, "digest": one.digest, "objects": one.objects}
            for name, one in sorted(head.components.items())
        },
    }


def revisions_text(heads: Sequence[RevisionHead]) -> str:
    """A line for each revision, the newest first, and what is different from the one before it."""
    if not heads:
        return "No revision is kept; site writes one when all is healthy."
    lines = ["%8s  %-10s %-21s %s" % ("revision", "release", "written (UTC)", "different from the one before")]
    befores: List[Mapping[str, Any]] = [{}, *[head.components for head in heads[:-1]]]
    for head, before in reversed(list(zip(heads, befores))):
        text = "%8d  %-10s %-21s %s" % (head.number, head.release, head.written, _different(head, before))
        lines += wrapped(text, 43) or [text]
    return "\n".join(lines)


def _different(head: RevisionHead, before: Mapping[str, Any]) -> str:
    changed = [name for name, one in sorted(head.components.items()) if before.get(name) != one]
    gone = ["without " + name for name in sorted(before) if name not in head.components]
    note = "back to %d: " % head.mark.to if head.mark is not None and head.mark.done else ""
    if not before or len(changed) == len(head.components):
        return note + counted(len(head.components), "component")
    return note + (", ".join(changed + gone) or "nothing")


# ------------------------------------------------------------------ a rollback


def rollback_json(journey: Return) -> Dict[str, Any]:
    """``rollback.json``'s body: every step, with what became of it."""
    return {
        "to": journey.target.number,
        "release": journey.target.release,
        "scope": list(journey.scope),
        "changed": journey.changed,
        "healthy": journey.arrived,
        "steps": [_step_json(one) for one in journey.steps],
    }


def _step_json(one: StepOutcome) -> Dict[str, Any]:
    outcome = one.outcome
    plan = outcome.plan if outcome else None
    return {
        "revision": one.step.head.number,
        "written": one.step.head.written,
        "from": one.source,
        "to": one.step.head.release,
        "state": one.state,
        "plan": plan.counts() if plan else {},
        "removed": [str(ref) for ref in one.removed],
        "kept": [{"object": str(line.ref), "reason": line.reason} for line in plan.removals if line.ref in one.kept] if plan else [],
        "left": _left_json(one.left),
        "regenerated": one.regenerated,
        "requests": outcome.traffic if outcome else {},
        "seconds": outcome.clock.seconds if outcome else {},
        "error": error_json(one.error) if one.error else None,
    }


def _left_json(left: Left) -> Dict[str, List[str]]:
    return {
        "secrets": [str(ref) for ref in left.secrets],
        "secrets_with_other_values": [str(ref) for ref in left.other_values],
        "definitions": [str(ref) for ref in left.definitions],
        "definitions_written_since": [str(ref) for ref in left.newer],
        "accepted": [str(ref) for ref in left.accepted],
    }


def rollback_text(journey: Return, check: bool) -> str:
    """What was done, or with ``check`` what would be: a minute's reading, the steps in order."""
    what = ", ".join(journey.scope) or "the whole platform"
    verb = "would go back" if check else "back"
    target = journey.target
    lines = wrapped("Kubeflow %s: %s %s to revision %d of %s" % (target.release, what, verb, target.number, target.written), 2)
    for one in journey.steps:
        lines += _step_lines(one, len(journey.steps) > 1)
    if journey.changed and journey.arrived:
        lines += wrapped("  site goes by the inventory and would go forward again: change that first", 2)
    return "\n".join(lines)


def hop_plans(journey: Return) -> Tuple[HopPlan, ...]:
    """The plans of the steps over which the release changes, as far as they were made."""
    return tuple(
        HopPlan(one.source, one.step.head.release, one.outcome.plan, one.step.hop, one.outcome.request.policy, live=True)
        for one in journey.steps
        if one.step.hop is not None and one.outcome is not None and one.outcome.plan is not None
    )


def _step_lines(one: StepOutcome, several: bool) -> List[str]:
    name = "revision %d (%s -> %s): " % (one.step.head.number, one.source, one.step.head.release) if several else ""
    outcome = one.outcome
    if outcome is None or outcome.plan is None:
        return wrapped("  %s%s" % (name, "not begun" if one.state == "waiting" else one.state), 4)
    if one.state == "planned":
        hops = hop_plans(Return(one.step.head, (), [one]))
        return plan_text(outcome, hops=hops).splitlines() + _left_lines(one)
    written = sum(item.written for item in outcome.components.values())
    parts = [one.state] if one.state != "done" else []
    parts += ["%s written" % counted(written)] if written else []
    parts += ["%d removed" % len(one.removed)] if one.removed else []
    parts += ["%s of tenants to be made anew" % counted(one.regenerated)] if one.regenerated else []
    if not parts:
        parts = ["nothing to do"]
    parts += ["%d requests" % outcome.traffic.get("requests", 0), "%.1f s" % sum(outcome.clock.seconds.values())]
    return wrapped("  %s%s" % (name, ", ".join(parts)), 4) + _left_lines(one)


def _left_lines(one: StepOutcome) -> List[str]:
    """What stays: how many, and the names of those that are not as they were."""
    left = one.left
    lines = wrapped("  never rolled back: %s, %s" % (counted(len(left.secrets), "Secret"), counted(len(left.definitions), "definition")), 4)
    lines += _named("with other values than then", left.other_values)
    lines += _named("written as something else since", left.newer)
    lines += _named("left as you accepted", left.accepted)
    reasons = {line.ref: line.reason for line in one.outcome.plan.removals} if one.outcome and one.outcome.plan else {}
    for ref in one.kept[:NAMED]:
        lines += wrapped("  not in that revision, and kept: %s: %s" % (ref, reasons.get(ref, "")), 4)
    if len(one.kept) > NAMED:
        lines.append("  and %d more" % (len(one.kept) - NAMED))
    return lines


def _named(what: str, refs: Sequence[ObjectRef]) -> List[str]:
    if not refs:
        return []
    more = " and %d more" % (len(refs) - NAMED) if len(refs) > NAMED else ""
    return wrapped("    %s: %s%s" % (what, ", ".join(short(ref) for ref in refs[:NAMED]), more), 6)
