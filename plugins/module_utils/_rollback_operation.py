# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ``rollback`` and ``revisions_info`` modules do, for them and for the actions of these names. Private."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ._arguments import request
from ._engine import present
from ._engine.api import Api
from ._engine.errors import EngineError
from ._engine.page import PlanResults
from ._engine.present_rollback import hop_plans, revision_json, revisions_text, rollback_json, rollback_text
from ._engine.progress import Progress
from ._engine.pruning import allowed
from ._engine.redaction import Redactor, scrubbed
from ._engine.results import Results
from ._engine.revisions import RevisionStore
from ._engine.rollback_rules import PREVIOUS
from ._engine.rolling_back import Return, RollBack
from ._engine.session import Outcome, Request, refusal
from ._operations import Answer, told

NOWHERE: Dict[str, Any] = {"to": 0, "release": "", "scope": [], "changed": False, "healthy": False, "steps": []}


class _Files:
    """The result files of one rollback: its own, and those that every run that plans and judges leaves behind."""

    def __init__(self, directory: str, asked: Request, to: str, check: bool) -> None:
        head = {"cluster": asked.cluster, "version": asked.version or "newest", "check": check}
        self.own = Results(directory, "rollback", asked.run_id, {"cluster": asked.cluster, "asked": to, "check": check})
        self._plan = PlanResults(directory, asked.run_id, head)
        self._status = Results(directory, "status", asked.run_id, head)
        for one in (self.own, self._plan, self._status):
            one.start()

    def finish(self, failed: bool, outcome: Outcome, body: Mapping[str, Any], redactor: Redactor, journey: Optional[Return]) -> None:
        """Write the end of all of them."""
        state = "failed" if failed else "ok"
        release = {"release": outcome.chosen.release.name if outcome.chosen else ""}
        hops = hop_plans(journey) if journey else ()
        self._plan.finish(state, redactor.scrub_all({**release, **present.plan_json(outcome, hops)}))
        self._status.finish(state, redactor.scrub_all({**release, **present.status_json(outcome)}))
        self.own.finish(state, redactor.scrub_all(dict(body)))


@told
def run_rollback(
    arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]
) -> Answer:
    """The ``rollback`` module; in check mode it plans the first step."""
    asked = request(arguments, cluster)
    to = str(arguments.get("to") or PREVIOUS)
    files = _Files(arguments.get("results_dir") or "", asked, to, check)
    redactor = Redactor()
    for given in asked.declarations.values():
        redactor.learn_value(given)
    try:
        rollback = RollBack(asked, to, arguments.get("accept") or (), progress, guard)
        journey = rollback.run(check)
    except EngineError as error:
        shown = scrubbed(error, redactor)
        nothing = Outcome(asked, errors=(shown,))
        files.finish(True, nothing, {**NOWHERE, "errors": [present.error_json(shown)]}, redactor, None)
        raise shown from None
    return _answer(journey, check, files, rollback.sessions[-1].redactor)


def _answer(journey: Return, check: bool, files: _Files, redactor: Redactor) -> Answer:
    """What the task says, once there were steps."""
    problems = [scrubbed(error, redactor) for error in journey.errors]
    if check:
        problems += [scrubbed(error, redactor) for error in _stops(journey)]
    failed = bool(problems) or (not check and not journey.arrived)
    first, last = _outcomes(journey)[0], _outcomes(journey)[-1]
    last.errors = (*(scrubbed(error, redactor) for error in last.errors), *problems)
    body = {**rollback_json(journey), "errors": [present.error_json(error) for error in last.errors]}
    files.finish(failed, last, body, redactor, journey)
    parts = [rollback_text(journey, check), *map(str, last.errors)]
    if failed and not last.errors:
        parts.append(present.status_text(present.status_json(last)))
    scrub = redactor.scrub_all
    return {
        "changed": _would_change(journey) if check else journey.changed,
        "failed": failed,
        "msg": scrub("\n".join(part for part in parts if part)),
        "revision": journey.target.number,
        "summary": {"steps": [{key: step[key] for key in ("revision", "from", "to", "state")} for step in body["steps"]]},
        "results": files.own.path,
        "diff": scrub(present.diffs(first)),
    }


def _outcomes(journey: Return) -> Tuple[Outcome, ...]:
    """Of the steps that were begun; the first one always was."""
    return tuple(one.outcome for one in journey.steps if one.outcome is not None)


def _stops(journey: Return) -> List[EngineError]:
    """In check mode too what a person has to decide on is an error."""
    return [refusal(one.plan) for one in _outcomes(journey) if one.plan is not None and one.plan.stops]


def _would_change(journey: Return) -> bool:
    """In check mode: whether the first step has anything to do."""
    outcome = _outcomes(journey)[0]
    plan = outcome.plan
    if journey.steps[0].step.hop is not None:
        return True
    return plan is not None and bool(plan.writes or allowed(plan.removals, outcome.request.policy))


def run_revisions_info(
    arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]
) -> Answer:
    """The ``revisions_info`` module: one request, no content."""
    asked = request(arguments, cluster)
    try:
        heads = RevisionStore(Api.connect(asked.kubeconfig, asked.context)).list()
    except EngineError as error:
        return {"changed": False, "failed": True, "msg": str(error)}
    return {
        "changed": False,
        "failed": False,
        "revisions": [revision_json(head) for head in heads],
        "msg": revisions_text(heads),
    }
