# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ``plan`` module does, for the module and for the action of the same name. Private to this collection."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, List, Mapping, Optional, Tuple

from ._arguments import request
from ._engine import present
from ._engine.api import Api
from ._engine.catalogue import Catalogue
from ._engine.errors import EngineError, sure
from ._engine.hop_report import HopPlan, refused
from ._engine.hops import path
from ._engine.offline import OfflinePlanner
from ._engine.page import PlanResults
from ._engine.progress import Progress
from ._engine.record import load
from ._engine.redaction import Redactor, scrubbed
from ._engine.session import OtherRelease, Outcome, Request, Session
from ._engine.upgrading import HopSession, current_release, missing_acks
from ._operations import Answer, told

Guard = Optional[Callable[[], None]]


@dataclass
class Looked:
    """What a plan has come to, kept also where it ends early.

    :ivar outcome: of the cluster; :ivar hops: where releases change.
    """

    outcome: Outcome
    hops: Tuple[HopPlan, ...] = ()
    redactors: List[Redactor] = field(default_factory=list)

    def scrub(self, value: Any) -> Any:
        """The value without any secret that was seen."""
        for redactor in self.redactors:
            value = redactor.scrub_all(value)
        return value

    def failed(self, error: EngineError) -> None:
        """Keep an error, fit to be shown."""
        for redactor in self.redactors:
            error = scrubbed(error, redactor)
        self.outcome.errors = (*self.outcome.errors, error)


@told
def run_plan(arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Guard) -> Answer:
    """The ``plan`` module: of a cluster, or between two releases without one."""
    asked = request(arguments, cluster)
    source = arguments.get("from_version") or ""
    head = {"cluster": asked.cluster, "version": asked.version or "newest", **({"offline": True} if source else {})}
    results = PlanResults(arguments.get("results_dir") or "", asked.run_id, head)
    results.start()
    looked = Looked(Outcome(asked))
    acks = tuple(arguments.get("acks") or ())
    try:
        if source:
            _offline(looked, asked, source, acks, progress)
        else:
            _live(looked, asked, acks, progress, guard)
        plans = [hop.plan for hop in looked.hops] or [sure(looked.outcome.plan)]
        problem = refused(plans, arguments.get("fail_on") or (), asked.policy)
        if problem is not None:
            raise problem
    except EngineError as error:
        looked.failed(error)
    return _answer(looked, results)


def _answer(looked: Looked, results: PlanResults) -> Answer:
    outcome = looked.outcome
    failed = bool(outcome.errors)
    release = looked.hops[-1].target if looked.hops else outcome.chosen.release.name if outcome.chosen else ""
    body = {"release": release, **present.plan_json(outcome, looked.hops)}
    document = results.finish("failed" if failed else "ok", looked.scrub(body))
    text = present.plan_text(outcome, hops=looked.hops, notes=not results.path)
    where = "Every field: %s" % Path(results.path).with_suffix(".html") if results.path and text else ""
    shown = looked.scrub("\n".join(part for part in (text, where) if part))
    return {
        "changed": False,
        "failed": failed,
        **({"text": shown} if failed else {}),
        "msg": looked.scrub("\n".join(map(str, outcome.errors))) if failed else shown,
        "summary": {key: document[key] for key in ("counts", "requests", "seconds")},
        "results": results.path,
        "diff": looked.scrub(present.diffs(outcome)),
    }


def _offline(looked: Looked, asked: Request, source: str, acks: Tuple[str, ...], progress: Progress) -> None:
    """Compare releases with each other."""
    planner = OfflinePlanner(asked, source, acks, progress)
    looked.redactors.append(planner.redactor)
    looked.outcome.clock = planner.clock
    looked.hops = planner.run()


def _live(looked: Looked, asked: Request, acks: Tuple[str, ...], progress: Progress, guard: Guard) -> None:
    """Plan what ``apply`` would do; where the cluster has an older release, what the way to the asked one would."""
    session = Session(asked, progress, guard)
    looked.redactors.append(session.redactor)
    looked.outcome = session.outcome
    try:
        session.plan()
    except OtherRelease as other:
        _upgrade(looked, asked, acks, progress, other)


def _upgrade(looked: Looked, asked: Request, acks: Tuple[str, ...], progress: Progress, other: OtherRelease) -> None:
    """The first hop against the cluster, those that follow it release against release."""
    catalogue = Catalogue.load([Path(item).expanduser() for item in asked.release_dirs])
    record = load(Api.connect(asked.kubeconfig, asked.context))
    target = asked.version or catalogue.newest
    way = path(catalogue, current_release(record, catalogue), target)
    if not way:
        raise other
    hop = sure(way[0].hop)
    everything = tuple(ack.name for ack in hop.acks)  # what is missing is a line of the plan, and no reason to have none
    session = HopSession(replace(asked, version=way[0].name), hop, everything, progress, None)
    looked.redactors.append(session.redactor)
    looked.outcome = session.outcome
    plan = sure(session.plan().plan)
    installed = frozenset(record.components)
    missing = {ack.name for ack in missing_acks(hop, record, acks, asked.backup_max_age)}
    given = tuple(name for name in everything if name not in missing)
    looked.hops = (HopPlan(hop.source, hop.target, plan, hop, asked.policy, installed, given, True, session.outcome.lints),)
    if len(way) > 1:
        planner = OfflinePlanner(asked, way[0].name, acks, progress)
        looked.redactors.append(planner.redactor)
        looked.hops += planner.run()
