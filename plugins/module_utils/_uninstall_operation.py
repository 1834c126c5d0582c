# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ``uninstall`` module does, for the module and for the action of the same name. Private to this collection."""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional

from ._arguments import request
from ._engine import present_uninstall as present
from ._engine.errors import EngineError
from ._engine.progress import Progress
from ._engine.redaction import scrubbed
from ._engine.results import Results
from ._engine.uninstalling import Orders, Uninstaller
from ._operations import Answer, told


def _orders(arguments: Mapping[str, Any]) -> Orders:
    def texts(name: str) -> Any:
        return tuple(str(item) for item in arguments.get(name) or ())

    return Orders(texts("scope"), texts("spare"), texts("delete_data"), str(arguments.get("confirm") or ""))


@told
def run_uninstall(
    arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]
) -> Answer:
    """The ``uninstall`` module; in check mode it plans."""
    asked = request(arguments, cluster)
    uninstaller = Uninstaller(asked, _orders(arguments), progress, guard)
    results = Results(arguments.get("results_dir") or "", "uninstall", asked.run_id, {"cluster": asked.cluster, "check": check})
    results.start()
    outcome = uninstaller.outcome
    try:
        uninstaller.plan() if check else uninstaller.run()
    except EngineError as error:
        outcome.errors = (scrubbed(error, uninstaller.redactor),)
    failed = bool(outcome.errors)
    scrub = uninstaller.redactor.scrub_all
    document = results.finish("failed" if failed else "ok", scrub(present.uninstall_json(outcome)))
    told_well = present.plan_text(outcome) if check else present.done_text(outcome)
    answer: Dict[str, Any] = {
        "changed": bool(outcome.plan.going) if check else outcome.changed,
        "failed": failed,
        "msg": scrub("\n".join(map(str, outcome.errors)) if failed else told_well),
        "summary": {key: document[key] for key in ("counts", "requests", "seconds")},
        "kept": document["kept"],
        "results": results.path,
        "diff": scrub(present.diffs(outcome)),
    }
    return answer
