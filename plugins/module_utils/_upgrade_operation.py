# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ``upgrade`` module does, for the module and for the action of the same name. Private to this collection."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ._arguments import request
from ._engine import present
from ._engine.errors import EngineError
from ._engine.hop_report import HopPlan
from ._engine.page import PlanResults
from ._engine.progress import Progress
from ._engine.redaction import Redactor, scrubbed
from ._engine.results import Results
from ._engine.session import Session
from ._engine.upgrading import HopOutcome, HopSession, Journey, Upgrader
from ._operations import Answer, told


def _hop_json(hop: HopOutcome) -> Dict[str, Any]:
    outcome = hop.outcome
    plan = outcome.plan if outcome else None
    return {
        "from": hop.source,
        "to": hop.target,
        "state": hop.state,
        "plan": plan.counts() if plan else {},
        "removed": [str(ref) for ref in hop.removed],
        "kept": [{"object": str(line.ref), "reason": line.reason} for line in plan.removals if line.ref in hop.kept] if plan else [],
        "storage_versions": [{"definition": one.move.ref.name, "to": one.move.storage, "written": one.written} for one in hop.moved],
        "copied": [
            {
                "store": one.move.source.name,
                "objects": one.objects,
                "bytes": one.bytes,
                "newer": one.newer,
                "seconds": round(one.seconds, 1),
            }
            for one in hop.copied
        ],
        "regenerated": hop.regenerated,
        "requests": outcome.traffic if outcome else {},
        "seconds": outcome.clock.seconds if outcome else {},
        "error": present.error_json(hop.error) if hop.error else None,
    }


def upgrade_json(journey: Journey) -> Dict[str, Any]:
    """``upgrade.json``'s body: every hop of the way, with what became of it."""
    return {
        "from": journey.source,
        "to": journey.target,
        "changed": journey.changed,
        "healthy": _arrived(journey),
        "hops": [_hop_json(hop) for hop in journey.hops],
    }


def _arrived(journey: Journey) -> bool:
    return all(hop.state == "done" for hop in journey.hops)


def _hop_lines(hop: HopOutcome) -> List[str]:
    if hop.outcome is None:
        return ["  %s -> %s: not begun" % (hop.source, hop.target)]
    if hop.source == hop.target:
        return [present.applied_text(hop.outcome)] if hop.state == "done" else []
    written = sum(item.written for item in hop.outcome.components.values())
    moved = sum(one.written for one in hop.moved)
    parts = [hop.state, "%d objects written" % written, "%d removed" % len(hop.removed)]
    if hop.kept:
        parts.append("%d kept" % len(hop.kept))
    if hop.moved:
        parts.append("%d kinds moved to their storage version (%d objects)" % (len(hop.moved), moved))
    parts += ["%d objects of store %s copied" % (one.objects, one.move.source.name) for one in hop.copied]
    if hop.regenerated:
        parts.append("%d tenants' objects to be made anew" % hop.regenerated)
    parts.append("%.1f s" % sum(hop.outcome.clock.seconds.values()))
    return ["  %s -> %s: %s" % (hop.source, hop.target, ", ".join(parts))]


def journey_text(journey: Journey) -> str:
    """An upgrade in a line for each hop."""
    lines = [line for hop in journey.hops for line in _hop_lines(hop)]
    if journey.source != journey.target:
        lines.insert(0, "Kubeflow %s -> %s:" % (journey.source, journey.target))
    return "\n".join(lines)


def _would_write(journey: Journey) -> bool:
    """In check mode: whether the first hop, or site, has anything to do."""
    first = journey.hops[0].outcome if journey.hops else None
    return journey.source != journey.target or bool(first and first.plan and first.plan.writes)


def _unhealthy(sessions: List[Session], journey: Journey) -> str:
    """Why a hop failed without an error of its own: what is not healthy, in the words of status."""
    outcome = sessions[-1].outcome if sessions else None
    if outcome is None:
        return ""
    if outcome.errors:
        return "\n".join(str(scrubbed(error, sessions[-1].redactor)) for error in outcome.errors)
    if outcome.healthy:
        return ""
    return present.status_text(present.status_json(outcome))


@told
def run_upgrade(arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]) -> Answer:
    """The ``upgrade`` module; in check mode it plans the first hop."""
    asked = request(arguments, cluster)
    head = {"cluster": asked.cluster, "version": asked.version or "newest", "check": check}
    directory = arguments.get("results_dir") or ""
    results, status = (Results(directory, name, asked.run_id, head) for name in ("upgrade", "status"))
    plan = PlanResults(directory, asked.run_id, head)
    for one in (results, plan, status):
        one.start()
    acks = tuple(arguments.get("acks") or ())
    upgrader = Upgrader(asked, acks, progress, guard)
    journey, error = _journey(upgrader, check)
    sessions = upgrader.sessions
    redactor = sessions[-1].redactor if sessions else Redactor()
    problems = [scrubbed(one, redactor) for one in ((error,) if error else journey.errors)]
    failed = bool(problems) or (not check and not _arrived(journey))
    state = "failed" if failed else "ok"
    hops = _hop_plans(sessions)
    if sessions:
        outcome = sessions[-1].outcome
        release = {"release": outcome.chosen.release.name if outcome.chosen else ""}
        plan.finish(state, redactor.scrub_all({**release, **present.plan_json(outcome, hops)}))
        status.finish(state, redactor.scrub_all({**release, **present.status_json(outcome)}))
    document = results.finish(state, redactor.scrub_all(upgrade_json(journey)))
    shown = present.plan_text(sessions[-1].outcome, hops=hops) if check and sessions else journey_text(journey)
    parts = [journey_text(journey), *map(str, problems), "" if problems else _unhealthy(sessions, journey)] if failed else [shown]
    return {
        "changed": _would_write(journey) if check else journey.changed,
        "failed": failed,
        "msg": redactor.scrub("\n".join(part for part in parts if part)),
        "summary": {"hops": {"%s -> %s" % (hop["from"], hop["to"]): hop["state"] for hop in document["hops"]}},
        "results": results.path,
        "diff": redactor.scrub_all(present.diffs(sessions[-1].outcome)) if sessions else [],
    }


def _hop_plans(sessions: List[Session]) -> List[HopPlan]:
    """The plans of the hops that there are plans of: whatever they ask was answered, by a name or by a backup."""
    return [
        HopPlan(
            session.hop.source,
            session.hop.target,
            session.outcome.plan,
            session.hop,
            session.request.policy,
            frozenset(component.name for component in session.outcome.chosen.desired),
            tuple(ack.name for ack in session.hop.acks),
            live=True,
            lints=session.outcome.lints,
        )
        for session in sessions
        if isinstance(session, HopSession) and session.outcome.plan is not None and session.outcome.chosen is not None
    ]


def _journey(upgrader: Upgrader, check: bool) -> Tuple[Journey, Optional[EngineError]]:
    """The journey, and what ended it before its first hop."""
    try:
        return upgrader.run(check), None
    except EngineError as error:
        version = upgrader.request.version or "newest"
        return Journey(version, version), error
