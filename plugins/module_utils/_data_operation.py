# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules ``backup``, ``restore`` and ``backup_info`` do, and the actions of the same names. Private to this collection."""

from __future__ import annotations

import uuid
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Union

from ._engine import present_backup as present
from ._engine.backing_up import BackupRequest, BackupRun
from ._engine.backups import listing, verify
from ._engine.encrypting import BackupKey
from ._engine.errors import EngineError
from ._engine.progress import Progress
from ._engine.redaction import scrubbed
from ._engine.restoring import RestoreRequest, RestoreRun
from ._engine.results import Results
from ._engine.stores import open_store
from ._operations import Answer, told


def _key(arguments: Mapping[str, Any]) -> BackupKey:
    return BackupKey(
        recipients=tuple(arguments.get("recipients") or ()),
        identities=tuple(arguments.get("identities") or ()),
        passphrase=arguments.get("passphrase") or "",
    )


def _given(settings: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    """Without what was left out."""
    return {name: value for name, value in (settings or {}).items() if value not in (None, "")}


def _by_name(items: Any) -> Dict[str, Dict[str, Any]]:
    return {item["name"]: _given({key: value for key, value in item.items() if key != "name"}) for item in items or ()}


def _common(arguments: Mapping[str, Any], cluster: str) -> Dict[str, Any]:
    """What a backup and a restore are both told."""
    return {
        "cluster": arguments.get("cluster") or cluster,
        "place": arguments["place"],
        "kubeconfig": arguments.get("kubeconfig") or "",
        "context": arguments.get("context") or "",
        "key": _key(arguments),
        "s3": _given(arguments.get("s3")),
        "parts": tuple(arguments.get("parts") or ()),
        "databases": _by_name(arguments.get("databases")),
        "stores": _by_name(arguments.get("stores")),
        "release_dirs": tuple(arguments.get("release_dirs") or ()),
        "timeout": float(arguments.get("timeout") or 900),
        "lock_timeout": float(arguments.get("lock_timeout") or 0),
        "run_id": uuid.uuid4().hex[:12],
    }


def _carried_out(
    run: Union[BackupRun, RestoreRun], arguments: Mapping[str, Any], name: str, check: bool, body: Callable[[Any], Dict[str, Any]]
) -> Tuple[Dict[str, Any], str]:
    """(the result file's document, its path) of a run that came to its end, or of a plan in check mode."""
    head = {"cluster": run.request.cluster, "check": check}
    results = Results(arguments.get("results_dir") or "", name, run.request.run_id, head)
    results.start()
    try:
        run.plan() if check else run.run()
    except EngineError as error:
        run.outcome.errors = (scrubbed(error, run.redactor),)
    state = "failed" if run.outcome.errors else "ok"
    return results.finish(state, run.redactor.scrub_all(body(run.outcome))), results.path


@told
def run_backup(arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]) -> Answer:
    """The ``backup`` module; in check mode it says what it would save."""
    asked = BackupRequest(
        **_common(arguments, cluster),
        secrets=bool(arguments.get("secrets")),
        keep=int(arguments.get("keep") or 0),
        keep_days=float(arguments.get("keep_days") or 0.0),
        verify=bool(arguments.get("verify", True)),
    )
    run = BackupRun(asked, progress, guard)
    document, path = _carried_out(run, arguments, "backup", check, present.backup_json)
    outcome, failed, scrub = run.outcome, bool(run.outcome.errors), run.redactor.scrub_all
    shown = present.backup_plan_text(outcome, asked.place) if check else present.backup_text(outcome, asked.place)
    return {
        "changed": True if check and not failed else outcome.changed,
        "failed": failed,
        "msg": scrub("\n".join(map(str, outcome.errors)) if failed else shown),
        "backup": document["backup"],
        "removed": document["removed"],
        "results": path,
    }


@told
def run_restore(arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]) -> Answer:
    """The ``restore`` module; in check mode it plans."""
    asked = RestoreRequest(
        **_common(arguments, cluster),
        backup=arguments.get("backup") or "newest",
        overwrite=tuple(arguments.get("overwrite") or ()),
        confirm=arguments.get("confirm") or "",
    )
    run = RestoreRun(asked, progress, guard)
    document, path = _carried_out(run, arguments, "restore", check, present.restore_json)
    outcome, failed, scrub = run.outcome, bool(run.outcome.errors), run.redactor.scrub_all
    text = "\n".join([*map(str, outcome.errors), present.restore_text(outcome, check)]) if failed else present.restore_text(outcome, check)
    return {
        "changed": present.would_change(outcome) if check else outcome.changed,
        "failed": failed,
        "msg": scrub(text),
        "parts": document["parts"],
        "results": path,
    }


@told
def run_backup_info(
    arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]
) -> Answer:
    """The ``backup_info`` module."""
    store = open_store(arguments["place"], _given(arguments.get("s3")))
    key = _key(arguments)
    found = listing(store)
    checks = [verify(store, one.manifest, key, progress) for one in found if one.usable and one.manifest] if arguments.get("verify") else []
    problems = ["backup %s: %s\n  Next: %s" % (one.id, one.problem, one.next_step) for one in found if one.problem]
    problems += [str(problem) for check_ in checks for problem in check_.problems]
    return {
        "changed": False,
        "failed": bool(problems),
        "msg": present.listing_text(found, checks, problems, store.place),
        "backups": [present.manifest_json(one.manifest) for one in found if one.manifest is not None],
        "problems": problems,
    }
