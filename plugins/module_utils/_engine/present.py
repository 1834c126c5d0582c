# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outcomes as people and programs read them: text of 80 columns, and JSON. Plans are in present_plan.py."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence

from .applying import ComponentOutcome
from .errors import EngineError
from .hop_report import HopPlan
from .planning import Verdict
from .present_plan import diffs, hops_body, plan_body, plan_text, short, wrapped
from .session import Outcome
from .settling import Finding

__all__ = [
    "applied_text",
    "diffs",
    "error_json",
    "plan_json",
    "plan_text",
    "short",
    "site_json",
    "status_json",
    "status_text",
]


def plan_json(outcome: Outcome, hops: Sequence[HopPlan] = ()) -> Dict[str, Any]:
    """``plan.json``'s body: every object with its verdict and reason.

    :param hops: where releases change: the parts of the way, in place of the outcome's own plan.
    """
    empty = {"counts": {}, "summary": "", "objects": [], "removals": [], "notices": [], "leftovers": [], "lints": []}
    plan = outcome.plan
    return {
        **empty,
        **(hops_body(hops) if hops else plan_body(plan, outcome) if plan else {}),
        "requests": outcome.traffic,
        "seconds": outcome.clock.seconds,
        "errors": [error_json(error) for error in outcome.errors],
    }


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
            lines += wrapped("      %s" % item["first_cause"], 8)
            if item["next_step"]:
                lines += wrapped("      Next: %s" % item["next_step"], 8)
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
    stops = [str(item.ref) for item in outcome.plan.stops] if outcome.plan else []
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
