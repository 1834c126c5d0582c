# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two runs at once: on one cluster one waits for the other, on two clusters neither does."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.locking import DURATION_SECONDS, Lock
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Lines, Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ensure_namespace
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Outcome, Session
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import Sandboxes
from .support import Audit, converge, healthy, inventory, killed_after, recap, request_for, run_playbook, verdicts

COMPONENTS = ("common", "cert_manager")
SET = ("common", "cert_manager", "istio", "admission_webhook")


def test_two_runs_on_one_cluster(sandboxes: Sandboxes) -> None:
    """Started in the same moment, both end well, one says whom it waits for, and every object is written once."""
    sandbox = sandboxes.make("two-runs")
    audit = Audit(sandbox)
    said: List[str] = []
    start = threading.Barrier(2)

    def run(number: int) -> Outcome:
        session = Session(request_for(sandbox, components=SET, run_id="run-%d" % number), Lines(said.append, "run-%d" % number))
        start.wait()
        return session.converge()

    with ThreadPoolExecutor(2) as pool:
        outcomes = [healthy(outcome) for outcome in pool.map(run, (1, 2))]
    assert sorted(outcome.changed for outcome in outcomes) == [False, True]
    assert [line for line in said if "waiting for the lock" in line and "run run-" in line], said
    paths = Counter(call.path for call in audit.writes() if "/mlplatform-kubeflow" not in call.path)
    assert set(paths.values()) == {1}
    assert verdicts(converge(sandbox, components=SET)) == {}
    sandboxes.remove(sandbox.name)


def test_who_does_not_want_to_wait_is_told_who_holds_it(sandboxes: Sandboxes) -> None:
    """``kubeflow_lock_timeout: 0`` ends at once and names the holder; a run without writes asks for no lock."""
    sandbox = sandboxes.make("no-wait")
    api = Api.connect(str(sandbox.kubeconfig))
    ensure_namespace(api)
    with Lock(api, "the-other-run", 0.0, Silent()):
        with pytest.raises(EngineError) as refused:
            converge(sandbox, components=COMPONENTS, lock_timeout=0.0)
        assert "the-other-run" in str(refused.value)
        assert Session(request_for(sandbox, components=COMPONENTS), Silent()).plan().plan is not None
    healthy(converge(sandbox, components=COMPONENTS, lock_timeout=0.0))
    with Lock(api, "the-other-run", 0.0, Silent()):
        assert not healthy(converge(sandbox, components=COMPONENTS, lock_timeout=0.0)).changed
    sandboxes.remove(sandbox.name)


def test_the_lock_of_a_killed_run_is_taken_over_at_once(sandbox: Sandbox) -> None:
    """On the same machine a dead holder is known to be dead: nobody waits for its lease to lapse."""
    assert killed_after(request_for(sandbox, components=("common",)), 2)
    api = Api.connect(str(sandbox.kubeconfig))
    started = time.monotonic()
    with Lock(api, "next", 60.0, Silent()) as lock:
        assert not lock.waited
    assert time.monotonic() - started < DURATION_SECONDS / 2


HOLDER = """
import sys, time
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.locking import Lock
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
with Lock(Api.connect(sys.argv[1]), "holder", 0.0, Silent()):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_live_holder_in_another_process_is_waited_for(sandbox: Sandbox) -> None:
    """It is renewed for as long as its run lives, and free the moment that run ends."""
    api = Api.connect(str(sandbox.kubeconfig))
    ensure_namespace(api)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(sandbox.kubeconfig)],
        env={"PYTHONPATH": ":".join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(EngineError, match="holder"), Lock(api, "impatient", 2.0, Silent()):
            pass
        threading.Timer(1.0, holder.stdin.close).start()
        with Lock(api, "patient", 60.0, Silent()) as lock:
            assert lock.waited
        assert holder.wait(timeout=30) == 0
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_two_clusters_in_one_run(sandboxes: Sandboxes, tmp_path: Path) -> None:
    """One inventory, two clusters, one command: both are healthy, and each line says which cluster it is about."""
    pair = [sandboxes.make("east"), sandboxes.make("west")]
    where = inventory(tmp_path, pair, kubeflow_components=list(COMPONENTS), kubeflow_progress="always")
    output = run_playbook("site", where, "--forks", "2")
    figures = recap(output)
    for sandbox in pair:
        assert (figures[sandbox.name]["changed"], figures[sandbox.name]["failed"]) == (1, 0), output
        assert [line for line in output.splitlines() if line.startswith(sandbox.name) and "healthy" in line], output
        assert verdicts(converge(sandbox, components=COMPONENTS)) == {}
    again = recap(run_playbook("site", where, "--forks", "2"))
    assert [again[sandbox.name]["changed"] for sandbox in pair] == [0, 0]
    for sandbox in pair:
        sandboxes.remove(sandbox.name)
