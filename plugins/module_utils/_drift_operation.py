# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ``drift_info`` module does, for the module and for the action of the same name. Private to this collection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from ._arguments import request
from ._engine.api import Api
from ._engine.ca_bundles import look
from ._engine.drifting import Drift, ca_drifts, drifts, looking, pending
from ._engine.errors import EngineError, sure
from ._engine.present import error_json
from ._engine.present_drift import drift_json, drift_text
from ._engine.progress import Progress
from ._engine.record import load
from ._engine.redaction import scrubbed
from ._engine.results import Results
from ._engine.session import Session
from ._operations import Answer, told


def _look(session: Session) -> Tuple[Drift, ...]:
    """Plan, and say what of it is drift. Nothing is written.

    :raises EngineError: also where the cluster has nothing that could have drifted.
    """
    asked = session.request
    outcome = session.plan()
    plan, chosen = sure(outcome.plan), sure(outcome.chosen)
    api = Api.connect(asked.kubeconfig, asked.context)
    record = load(api)
    if not any(record.components.get(component.name) for component in chosen.scope):
        raise EngineError(
            "nothing of it was installed here by this collection, so there is nothing that could have drifted",
            subject="cluster %s" % asked.cluster,
            expected="a record of %s" % ", ".join(component.name for component in chosen.scope),
            next_step="check kubeflow_kubeconfig and kubeflow_context, or run site first",
        )
    found = (*drifts(plan, record), *ca_drifts(look(api, plan.items, chosen.release)))
    outcome.traffic["requests"] += api.traffic.total
    outcome.clock.lap("drift")
    return found


@told
def run_drift_info(
    arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]
) -> Answer:
    """The ``drift_info`` module."""
    asked = request(arguments, cluster)
    session = Session(replace(asked, policy=looking(asked.policy)), progress, guard)
    head = {"cluster": asked.cluster, "version": asked.version or "newest"}
    results = Results(arguments.get("results_dir") or "", "drift", asked.run_id, head)
    results.start()
    outcome = session.outcome
    found: Tuple[Drift, ...] = ()
    error: Optional[EngineError] = None
    try:
        found = _look(session)
    except EngineError as problem:
        error = scrubbed(problem, session.redactor)
    compared = len({item.ref for item in outcome.plan.items}) if outcome.plan else 0
    left = pending(outcome.plan, found) if outcome.plan else 0
    failed = error is not None or (bool(found) and bool(arguments.get("fail")))
    scrub = session.redactor.scrub_all
    body: Dict[str, Any] = {
        "release": outcome.chosen.release.name if outcome.chosen else "",
        **drift_json(found, compared, left),
        "requests": outcome.traffic,
        "seconds": outcome.clock.seconds,
        "errors": [error_json(error)] if error else [],
    }
    document = results.finish("failed" if failed else "ok", scrub(body))
    table = scrub(drift_text(found, compared, left))
    return {
        "changed": False,
        "failed": failed,
        **({"text": table} if failed and not error else {}),
        "msg": str(error) if error else "drift: %s" % document["summary"] if failed else table,
        "drifted": document["drifted"],
        "objects": document["objects"],
        "summary": {key: document[key] for key in ("counts", "requests", "seconds")},
        "results": results.path,
    }
