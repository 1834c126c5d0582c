# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed at any moment is resumed by running it again, and writes nothing after its death."""

from __future__ import annotations

import os
import random
import signal
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Callable, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import Sandboxes
from .platform_fixtures import Installed
from .support import (
    EXHAUSTIVE,
    FEW,
    Audit,
    Cluster,
    converge,
    differing,
    healthy,
    inventory,
    kill_tree,
    killed_after,
    playbook,
    request_for,
    verdicts,
)

Install = Callable[[str], Installed]
# (seed, components): which write is the last one comes from the seed.
MOMENTS: Tuple[Tuple[int, Tuple[str, ...]], ...] = (
    tuple((seed, FEW if seed % 5 else ()) for seed in range(20)) if EXHAUSTIVE else ((3, FEW),)
)
# Writes of an install of FEW, and of everything, roughly: the moments are spread over them.
FEW_WRITES = 220
ALL_WRITES = 670
# No write of ours reaches the API server so long after ansible-playbook was killed.
LAST_WRITE = timedelta(seconds=2)


def _same_as_undisturbed(done: Installed, sandbox: Sandbox, components: Tuple[str, ...]) -> None:
    """The next run ends well, the one after it has nothing to do, and every object is as in an undisturbed install."""
    chosen = components or "default"
    outcome = healthy(converge(sandbox, components=chosen))
    again = converge(sandbox, components=chosen)
    assert verdicts(again) == {} and not again.changed
    there = Cluster(sandbox).of(outcome)
    assert outcome.render is not None
    assert set(there) == set(outcome.render.objects)
    assert not differing({ref: done.objects[ref] for ref in there}, there)


@pytest.mark.parametrize(("seed", "components"), MOMENTS)
def test_killed_with_everything_below_it(
    seed: int, components: Tuple[str, ...], built: Install, sandboxes: Sandboxes, tmp_path: Path
) -> None:
    """SIGKILL of ansible-playbook and all its workers at a random write of an install: the next run converges."""
    done = built("26.03")
    name = "kill-%d" % seed
    # All of the platform is compared with an install beside its real controllers: they fill fields in.
    sandbox = sandboxes.make(name, release="26.03", real=not components)
    moment = random.Random(seed).randrange(2, FEW_WRITES if components else ALL_WRITES)
    audit = Audit(sandbox)
    process = playbook("site", inventory(tmp_path, [sandbox], kubeflow_components=list(components) or "default"))
    try:
        seen = audit.wait_for_writes(moment, lambda: process.poll() is None)
        assert process.poll() is None, process.communicate()[0]
        assert kill_tree(process.pid) > 1
    finally:
        kill_tree(process.pid)
        process.communicate()
    assert seen >= moment
    _same_as_undisturbed(done, sandbox, components)
    sandboxes.remove(name)


@pytest.mark.parametrize("writes", range(0, 12) if EXHAUSTIVE else (2, 4))
def test_killed_around_the_first_writes(writes: int, built: Install, sandboxes: Sandboxes) -> None:
    """Between namespace, lock, record and the first objects there is no moment that cannot be resumed from."""
    name = "early-%d" % writes
    sandbox = sandboxes.make(name)
    components = ("common", "cert_manager")
    assert killed_after(request_for(sandbox, components=components), writes)
    _same_as_undisturbed(built("26.03"), sandbox, components)
    sandboxes.remove(name)


def test_no_write_follows_when_ansible_playbook_alone_is_killed(built: Install, sandboxes: Sandboxes, tmp_path: Path) -> None:
    """A worker outlives a killed ansible-playbook; it must notice before its next write."""
    sandbox = sandboxes.make("orphan")
    audit = Audit(sandbox)
    process = playbook("site", inventory(tmp_path, [sandbox], kubeflow_components=list(FEW)))
    try:
        audit.wait_for_writes(FEW_WRITES // 3, lambda: process.poll() is None)
        assert process.poll() is None, process.communicate()[0]
        os.kill(process.pid, signal.SIGKILL)
        killed = datetime.now(timezone.utc)
        process.communicate(timeout=60)  # ends when no worker holds the pipe any more
    finally:
        kill_tree(process.pid)
    time.sleep(LAST_WRITE.total_seconds())  # whoever wanted to write still could have by now
    late = [str(call) for call in audit.writes() if call.at > killed + LAST_WRITE]
    assert not late
    _same_as_undisturbed(built("26.03"), sandbox, FEW)
    sandboxes.remove(sandbox.name)
