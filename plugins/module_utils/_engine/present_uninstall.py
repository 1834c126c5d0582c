# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An uninstall as people and programs read it: text of 80 columns, the body of ``uninstall.json``, Ansible diffs."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

from .present import error_json
from .present_plan import NAMED, counted, counts_text, short, wrapped
from .uninstalling import UninstallOutcome
from .verdicts import Removal, Verdict

# How many kinds of a component the text counts; uninstall.json has every object.
KINDS = 2


def _title(outcome: UninstallOutcome) -> str:
    return "Kubeflow %s" % ", ".join(outcome.releases) if outcome.releases else "Kubeflow"


def _groups(lines: Sequence[Removal], mark: str, what: str) -> List[str]:
    """A head line for each component and reason, and its objects below it, by their full names."""
    groups: Dict[Tuple[str, str], List[Removal]] = {}
    for line in lines:
        groups.setdefault((line.component, line.reason), []).append(line)
    found: List[str] = []
    for (component, reason), members in groups.items():
        verb = what if len(members) == 1 else what.replace("goes", "go").replace("stays", "stay")
        found += wrapped("%s %-17s %s %s: %s" % (mark, component, counted(len(members)), verb, reason), 6)
        for line in members[:NAMED]:
            counts = counts_text(line.counts)
            found += wrapped("      %s%s" % (line.ref, ", %s" % counts if counts else ""), 10)
        if len(members) > NAMED:
            found.append("      and %d more" % (len(members) - NAMED))
    return found


def _kinds(lines: Sequence[Removal]) -> str:
    """``4 Deployment, 3 CustomResourceDefinition and 12 others``."""
    counts: Dict[str, int] = {}
    for line in lines:
        counts[line.ref.kind] = counts.get(line.ref.kind, 0) + 1
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    text = ", ".join("%d %s" % (count, kind) for kind, count in ranked[:KINDS])
    rest = sum(count for _kind, count in ranked[KINDS:])
    return text + (" and %d other%s" % (rest, "" if rest == 1 else "s") if rest else "")


def plan_text(outcome: UninstallOutcome) -> str:
    """What would go and what would stay: the summary, the data that goes, what stays and why, then the rest by component."""
    plan = outcome.plan
    going, kept = plan.going, plan.kept
    if not going:
        return "\n".join(["%s: nothing to uninstall" % _title(outcome), *_groups(kept, "=", "stays"), *_unmatched(outcome)])
    lines = wrapped("%s, uninstall of %s: %s go, %d stay" % (_title(outcome), _parts(outcome), counted(len(going)), len(kept)), 2)
    data = [line for line in going if line.verdict is Verdict.PRUNE_DANGEROUS]
    lines += _groups(data, "!", "goes with its data")
    lines += _groups(kept, "=", "stays")
    for component in (*reversed(plan.components), ""):  # in the order in which they go
        members = [line for line in going if line.component == component and line not in data]
        if members:
            names = short(members[0].ref) if len(members) == 1 else "%s: %s" % (counted(len(members)), _kinds(members))
            lines += wrapped("- %-17s %s" % (component, names), 6)
    return "\n".join(lines + _unmatched(outcome))


def _parts(outcome: UninstallOutcome) -> str:
    return counted(len(outcome.plan.components), "component")


def _unmatched(outcome: UninstallOutcome) -> List[str]:
    names = outcome.plan.unmatched
    return wrapped("i kubeflow_delete_data names what is not here, or what does not go: %s" % ", ".join(names), 6) if names else []


def done_text(outcome: UninstallOutcome) -> str:
    """A run that went well: what was removed, what stays and why."""
    if not outcome.changed:
        return plan_text(outcome)
    parts = [
        "%s deleted" % counted(len(outcome.removed)),
        "%d kept" % len(outcome.kept),
        "%d requests" % outcome.traffic.get("requests", 0),
        "%.1f s" % sum(outcome.clock.seconds.values()),
    ]
    head = "%s, %s uninstalled: %s" % (_title(outcome), _parts(outcome), ", ".join(parts))
    return "\n".join([*wrapped(head, 2), *_groups(outcome.kept, "=", "stays"), *_unmatched(outcome)])


def uninstall_json(outcome: UninstallOutcome) -> Dict[str, Any]:
    """``uninstall.json``'s body: every object with what becomes of it and why, and what was done."""
    plan = outcome.plan
    removed = set(outcome.removed)
    return {
        "releases": list(outcome.releases),
        "kubernetes": outcome.kubernetes,
        "changed": outcome.changed,
        "components": list(plan.components),
        "delete_data": list(outcome.orders.delete_data),
        "unmatched": list(plan.unmatched),
        "counts": {
            "delete": len(plan.going),
            "keep": len(plan.kept),
            "gone_before": sum(len(refs) for refs in plan.gone.values()),
            "deleted": len(outcome.removed),
            "unmarked": len(outcome.let_go),
        },
        "objects": [_object_json(line, line.ref in removed) for line in plan.removals],
        "kept": [_object_json(line, False) for line in outcome.kept],
        "requests": dict(outcome.traffic),
        "seconds": outcome.clock.seconds,
        "errors": [error_json(error) for error in outcome.errors],
    }


def _object_json(line: Removal, deleted: bool) -> Dict[str, Any]:
    found: Dict[str, Any] = {
        "object": str(line.ref),
        "component": line.component,
        "action": "keep" if line.verdict is Verdict.KEEP else "delete",
        "data": line.named,
        "deleted": deleted,
        "reason": line.reason,
    }
    if line.counts:
        found["counts"] = dict(line.counts)
    return found


def diffs(outcome: UninstallOutcome) -> List[Dict[str, str]]:
    """What goes in the form that ``--diff`` prints."""
    lines = ["- %s (%s): %s\n" % (line.ref, line.component or "our own", line.reason) for line in outcome.plan.going]
    return [{"prepared": "".join(lines)}] if lines else []
