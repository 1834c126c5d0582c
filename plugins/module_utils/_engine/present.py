# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outcomes as people and programs read them: text of 80 columns, JSON, Ansible diffs."""

from __future__ import annotations

import textwrap
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .applying import ComponentOutcome
from .errors import EngineError
from .objects import ObjectRef
from .planning import STOPS, WRITES, Item, Verdict
from .session import Outcome, plan_line
from .settling import Finding

# A plan names so many objects of a component; plan.json has them all.
NAMED = 8
WIDTH = 80
UNSPOKEN = ("admissionregistration.k8s.io", "apiextensions.k8s.io", "rbac.authorization.k8s.io", "apps", "batch")


def plan_text(outcome: Outcome, named: int = NAMED) -> str:
    """The plan that a person reads in a minute: what stops it first, then what changes, by component."""
    plan = outcome.plan
    if plan is None:
        return ""
    lines = _wrapped(plan_line(plan), 2)
    lines += _group_lines(plan.stops, "!", named)
    lines += _group_lines(plan.writes, " ", named)
    if plan.leftovers:
        lines.append("  %d recorded objects are wanted no more; site leaves them" % len(plan.leftovers))
    return "\n".join(lines)


def _group_lines(items: Sequence[Item], mark: str, named: int) -> List[str]:
    """A head line for each component, verdict and reason, and below it the objects if they are not too many."""
    groups: Dict[Tuple[str, str, str], List[Item]] = {}
    for item in items:
        groups.setdefault((item.component, item.verdict.value, item.reason), []).append(item)
    lines: List[str] = []
    for (component, verdict, reason), members in groups.items():
        count = "1 object" if len(members) == 1 else "%d objects" % len(members)
        lines += _wrapped("%s %-17s %s %s%s: %s" % (mark, component, verdict, count, _kinds(members), reason), 6)
        if verdict == Verdict.CREATE.value and len(members) > named:
            continue
        for item in members[:named]:
            name = str(item.ref) if item.verdict in STOPS else short(item.ref)
            lines += _wrapped("      %s" % name, 10)
            for path, before, after in item.changes[:5]:
                lines += _wrapped("          %s: %s -> %s" % (path, before, after), 14)
            if len(item.changes) > 5:
                lines.append("          and %d more fields" % (len(item.changes) - 5))
        if len(members) > named:
            lines.append("      and %d more" % (len(members) - named))
    return lines


def short(ref: ObjectRef) -> str:
    """A name without the groups that every Kubernetes has and no two of whose kinds are alike.

    What a person has to decide on keeps its full name, as kubeflow_conflicts asks for that.
    """
    return "%s %s" % (ref.kind, ref.path) if ref.group in UNSPOKEN else str(ref)


def _wrapped(text: str, indent: int) -> List[str]:
    """The text in lines of 80 columns; what has no space to break at stays whole."""
    head = text[: len(text) - len(text.lstrip())]
    return textwrap.wrap(
        text.strip(),
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _kinds(items: Sequence[Item]) -> str:
    crds = sum(1 for item in items if item.ref.kind == "CustomResourceDefinition")
    return " (%d of them CRDs)" % crds if crds and crds < len(items) else ""


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
    return found


def plan_json(outcome: Outcome) -> Dict[str, Any]:
    """``plan.json``'s body: every object with its verdict and reason."""
    plan = outcome.plan
    objects = [_item_json(item) for item in plan.items] if plan else []
    return {
        "counts": plan.counts() if plan else {},
        "summary": plan_line(plan) if plan else "",
        "objects": objects,
        "leftovers": [{"component": name, "object": str(ref)} for name, ref in plan.leftovers] if plan else [],
        "requests": outcome.traffic,
        "seconds": outcome.clock.seconds,
        "errors": [error_json(error) for error in outcome.errors],
    }


def _item_json(item: Item) -> Dict[str, Any]:
    found: Dict[str, Any] = {
        "object": str(item.ref),
        "component": item.component,
        "verdict": item.verdict.value,
        "reason": item.reason,
    }
    if item.changes:
        found["changes"] = [{"path": path, "before": before, "after": after} for path, before, after in item.changes]
    if item.contested:
        found["contested"] = [{"manager": manager, "field": field} for manager, field in item.contested]
    return found


def error_json(error: EngineError) -> Dict[str, str]:
    """An error in its parts."""
    return {
        "component": error.component,
        "subject": error.subject,
        "cause": error.cause,
        "expected": error.expected,
        "found": error.found,
        "next_step": error.next_step,
        "text": str(error),
    }


def status_json(outcome: Outcome) -> Dict[str, Any]:
    """``status.json``'s body: per component its state, the first cause, the evidence, the next step."""
    scope = outcome.chosen.scope if outcome.chosen else ()
    components = {item.name: _component_status(outcome, item.name) for item in scope}
    return {
        "healthy": outcome.healthy and all(item["state"] == "healthy" for item in components.values()),
        "kubernetes": outcome.kubernetes,
        "components": components,
        "requests": outcome.traffic,
        "seconds": outcome.clock.seconds,
        "errors": [error_json(error) for error in outcome.errors],
    }


def _component_status(outcome: Outcome, name: str) -> Dict[str, Any]:
    findings = [finding for finding in outcome.findings if finding.component == name]
    error = next((error for error in outcome.errors if error.component == name), None)
    done: Optional[ComponentOutcome] = outcome.components.get(name)
    first = _first_cause(findings)
    if error is not None:
        state, cause = "broken", str(error).split("\n", maxsplit=1)[0]
    elif name in outcome.absent:
        nothing = outcome.plan is None or not any(
            item.component == name and item.verdict is not Verdict.CREATE for item in outcome.plan.items
        )
        state = "absent" if nothing and not (done and done.written) else "incomplete"
        blocked = "not written, because %s failed" % done.blocked_by if done and done.blocked_by else ""
        cause = blocked or "objects are not there"
    elif first is not None:
        state, cause = ("broken" if first.final else "progressing"), str(first)
    else:
        state, cause = "healthy", ""
    return {
        "state": state,
        "first_cause": cause,
        "evidence": [str(finding) for finding in findings],
        "next_step": error.next_step if error else _next_step(state),
        "judged": outcome.judged.get(name, 0),
    }


def _first_cause(findings: Sequence[Finding]) -> Optional[Finding]:
    """A finding with evidence from pods explains the others: their webhooks, certificates and endpoints."""
    ranked = sorted(findings, key=lambda item: (not item.final, not item.evidence))
    return ranked[0] if ranked else None


def _next_step(state: str) -> str:
    steps = {
        "broken": "mend the first cause, then run site.yml again",
        "progressing": "wait, or run site.yml, which waits and says for what",
        "absent": "run site.yml",
        "incomplete": "run site.yml",
    }
    return steps.get(state, "")


def status_text(document: Mapping[str, Any]) -> str:
    """The status in lines of 80 columns: one per component, the cause below those that have one."""
    lines = []
    for name, item in document["components"].items():
        lines.append("  %-18s %s" % (name, item["state"]))
        if item["first_cause"]:
            lines += _wrapped("      %s" % item["first_cause"], 8)
            if item["next_step"]:
                lines += _wrapped("      Next: %s" % item["next_step"], 8)
    head = "healthy" if document["healthy"] else "NOT healthy"
    return "\n".join([head, *lines])


def applied_text(outcome: Outcome) -> str:
    """A run that went well, in a line or two."""
    written = sum(item.written for item in outcome.components.values())
    count = len(outcome.chosen.scope) if outcome.chosen else 0
    parts = [
        "%d components healthy" % count,
        "%d objects written" % written if written else "nothing to do",
        "%d requests" % outcome.traffic.get("requests", 0),
        "%.1f s" % sum(outcome.clock.seconds.values()),
    ]
    lines = ["Kubeflow %s: %s" % (outcome.chosen.release.name if outcome.chosen else "", ", ".join(parts))]
    leftovers = len(outcome.plan.leftovers) if outcome.plan else 0
    if leftovers:
        lines.append("%d recorded objects are wanted no more; site leaves them" % leftovers)
    return "\n".join(lines)


def site_json(outcome: Outcome) -> Dict[str, Any]:
    """``site.json``'s body: what was done, how long it took, what it cost."""
    stops = [str(item.ref) for item in outcome.plan.items if item.verdict in STOPS] if outcome.plan else []
    return {
        "changed": outcome.changed,
        "healthy": outcome.healthy,
        "kubernetes": outcome.kubernetes,
        "plan": outcome.plan.counts() if outcome.plan else {},
        "undecided": stops,
        "components": {
            name: {
                "state": item.state,
                "written": item.written,
                "unwritten": item.unwritten,
                "seconds": round(item.seconds, 2),
            }
            for name, item in outcome.components.items()
        },
        "requests": outcome.traffic,
        "seconds": outcome.clock.seconds,
        "errors": [error_json(error) for error in outcome.errors],
    }
