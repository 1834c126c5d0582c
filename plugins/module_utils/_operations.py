# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each module does, for the module and for the action of the same name. Private to this collection."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from ansible.module_utils.parsing.convert_bool import boolean

from ._arguments import component_names, request
from ._engine import present
from ._engine.catalogue import Catalogue, desired_set
from ._engine.errors import EngineError
from ._engine.page import PlanResults
from ._engine.progress import Progress
from ._engine.redaction import Redactor, scrubbed
from ._engine.results import Results, write_file
from ._engine.session import Outcome, Session, choose, declared, refusal, render_chosen

Answer = Dict[str, Any]
Operation = Callable[[Mapping[str, Any], str, bool, Progress, Optional[Callable[[], None]]], Answer]


def told(operation: Operation) -> Operation:
    """The operation, with what it raises as an answer: a person gets the story, not a traceback."""

    @functools.wraps(operation)
    def call(arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]) -> Answer:
        try:
            return operation(arguments, cluster, check, progress, guard)
        except EngineError as error:
            return {"changed": False, "failed": True, "msg": str(error)}

    return call


def guard_against_orphans(parent: int) -> Callable[[], None]:
    """A check for before every write: a worker outlives a killed ansible-playbook, and then must not write."""

    def check() -> None:
        if os.getppid() != parent:
            raise EngineError(
                "the process that started this run is gone: nothing more is written",
                next_step="run it again; it goes on from here",
            )

    return check


def _head(session: Session) -> Dict[str, Any]:
    return {"cluster": session.request.cluster, "version": session.request.version or "newest"}


def _failed(session: Session, error: EngineError) -> EngineError:
    shown = scrubbed(error, session.redactor)
    session.outcome.errors = (*session.outcome.errors, shown)
    return shown


def _text(outcome: Outcome) -> str:
    """Every error of a run, the first cause first; what follows from it after it."""
    parts = [str(error) for error in outcome.errors]
    blocked = [item for item in outcome.components.values() if item.state == "blocked"]
    if blocked:
        names = ", ".join("%s (%s)" % (item.name, item.blocked_by) for item in blocked)
        parts.append("Not written, because what they need failed: %s" % names)
    return "\n".join(parts)


@told
def run_apply(arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]) -> Answer:
    """The ``apply`` module; in check mode it plans."""
    session = Session(request(arguments, cluster), progress, guard)
    directory = arguments.get("results_dir") or ""
    head = {**_head(session), "check": check}
    run_id = session.request.run_id
    site, status = (Results(directory, name, run_id, head) for name in ("site", "status"))
    plan = PlanResults(directory, run_id, head)
    for results in (site, status, plan):
        results.start()
    outcome = session.outcome
    try:
        session.plan() if check else session.converge()
        outcome.errors = tuple(scrubbed(error, session.redactor) for error in outcome.errors)
        if check and outcome.plan is not None and outcome.plan.stops:
            raise refusal(outcome.plan)  # in check mode too: what a person has to decide on is an error
    except EngineError as error:
        _failed(session, error)
    failed = bool(outcome.errors) or (not check and not outcome.healthy)
    state = "failed" if failed else "ok"
    scrub = session.redactor.scrub_all
    release = {"release": outcome.chosen.release.name if outcome.chosen else ""}
    plan.finish(state, scrub({**release, **present.plan_json(outcome)}))
    status_document = status.finish(state, scrub({**release, **present.status_json(outcome)}))
    document = site.finish(state, scrub({**release, **present.site_json(outcome)}))
    writes = bool(outcome.plan and outcome.plan.writes)
    if failed:
        message = _text(outcome) or present.status_text(status_document)
    else:
        message = present.plan_text(outcome) if check else present.applied_text(outcome)
    return {
        "changed": writes if check else outcome.changed,
        "failed": failed,
        "msg": scrub(message),
        "summary": {key: document[key] for key in ("plan", "healthy", "requests", "seconds")},
        "results": site.path,
        "diff": scrub(present.diffs(outcome)),
    }


def run_health(arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]) -> Answer:
    """The ``health`` module."""
    session = Session(request(arguments, cluster), progress, guard)
    results = Results(arguments.get("results_dir") or "", "status", session.request.run_id, _head(session))
    results.start()
    try:
        session.plan()
    except EngineError as error:
        _failed(session, error)
    outcome = session.outcome
    release = {"release": outcome.chosen.release.name if outcome.chosen else ""}
    document = session.redactor.scrub_all(present.status_json(outcome))
    failed = bool(outcome.errors) or not document["healthy"]
    document = results.finish("failed" if failed else "ok", {**release, **document})
    return {
        "changed": False,
        "failed": failed,
        "healthy": document["healthy"],
        "components": document["components"],
        "msg": _text(outcome) or present.status_text(document),
        "results": results.path,
    }


@told
def run_kustomize(
    arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]
) -> Answer:
    """The ``kustomize`` module: render, and put the objects into a file if asked to."""
    asked = request(arguments, cluster)
    redactor = Redactor()
    try:
        chosen = choose(asked)
        for site in declared(asked, chosen.scope).values():
            for patch in site.patches:
                redactor.learn_patch(patch)
        rendered = render_chosen(asked, chosen, progress)
        changed, path = _store(rendered, arguments.get("dest") or "", check)
    except EngineError as error:
        for given in asked.declarations.values():
            redactor.learn_value(given)
        return {"changed": False, "failed": True, "msg": redactor.scrub(str(error))}
    counts: Dict[str, int] = {}
    for item in rendered.objects.values():
        counts[item.component] = counts.get(item.component, 0) + 1
    return {
        "changed": changed,
        "dest": path,
        "sha256": rendered.digest,
        "components": counts,
        "objects": len(rendered.objects),
        "seconds": round(rendered.seconds, 3),
        "msg": "%d objects of %d components, %.1f s" % (len(rendered.objects), len(counts), rendered.seconds),
    }


def _store(rendered: Any, dest: str, check: bool) -> Tuple[bool, str]:
    """Write the objects as one JSON List that kubectl reads, unless the file holds them already."""
    if not dest:
        return False, ""
    path = Path(dest).expanduser()
    items = [item.obj for _ref, item in sorted(rendered.objects.items())]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False, str(path)
    if not check:
        write_file(path, text)
        os.chmod(str(path), 0o600)  # it may hold the Secrets of a patch
    return True, str(path)


def run_catalogue_info(
    arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]
) -> Answer:
    """The ``catalogue_info`` module: what a cluster shall have, from release data alone."""
    try:
        catalogue = Catalogue.load([Path(item).expanduser() for item in arguments.get("release_dirs") or ()])
        release = catalogue.release(arguments.get("version") or catalogue.newest)
        names = desired_set(
            release,
            component_names(arguments.get("components") or "default"),
            {name: boolean(value) for name, value in (arguments.get("switches") or {}).items()},
            add_dependencies=bool(arguments.get("add_dependencies")),
        )
    except (EngineError, TypeError) as error:
        return {"changed": False, "failed": True, "msg": str(error)}
    return {
        "changed": False,
        "failed": False,
        "release": release.name,
        "releases": list(catalogue.names),
        "components": list(names),
        "msg": "Kubeflow %s: %s" % (release.name, ", ".join(names)),
    }
