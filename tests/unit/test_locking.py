# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock: one run writes, the second waits and says for whom; a dead holder keeps nobody out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Dict, Optional

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import locking
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.locking import Lock, _expired, gone, machine
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent

ELSEWHERE = "ops@other process 17 on 01234567/1 run abc"


class Leases:
    """The one Lease, kept as the API server keeps it: a wrong resourceVersion is refused."""

    def __init__(self, scripted: Any, answer: Any, holder: str = "") -> None:
        self.lease: Optional[Dict[str, Any]] = None
        self._answer = answer
        if holder:
            spec = {"holderIdentity": holder, "acquireTime": "2026-01-02T03:04:05.000000Z", "leaseDurationSeconds": 20}
            self.lease = {"metadata": {"name": "lock", "resourceVersion": "1"}, "spec": {**spec, "renewTime": "x"}}
        scripted.answer = self.reply

    def reply(self, asked: Any) -> Any:
        """As the API server would."""
        if asked.method == "GET":
            return self._answer(200, self.lease) if self.lease else self._answer(404, {"message": "none"})
        new = json.loads(asked.body)
        known = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if new["metadata"].get("resourceVersion") != known:
            return self._answer(409, {"code": 409, "reason": "Conflict", "message": "the object has been modified"})
        new["metadata"]["resourceVersion"] = str(int(known or 0) + 1)
        self.lease = new
        return self._answer(200, new)

    @property
    def holder(self) -> str:
        """Who holds it, "" for nobody."""
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""


def test_a_lock_is_taken_and_given_back(scripted: Any, answer: Any, api: Api) -> None:
    """What holds it names user, machine, process and run; afterwards nobody does."""
    leases = Leases(scripted, answer)
    with Lock(api, "run1", 0.0, Silent()) as lock:
        assert lock.held and not lock.waited
        assert "process %d on" % os.getpid() in leases.holder and "run run1" in leases.holder
    assert leases.holder == ""


def test_a_lock_that_goes_with_its_namespace_is_left_alone(scripted: Any, answer: Any, api: Api) -> None:
    """Neither renewed nor released, so that nothing is written to what is being deleted; it is held until the last write."""
    leases = Leases(scripted, answer)
    with Lock(api, "run1", 0.0, Silent()) as lock:
        lock.abandon()
        assert lock.held
        before = len(scripted.asked)
    assert leases.holder and len(scripted.asked) == before


def test_a_held_lock_names_its_holder_at_once_if_nobody_wants_to_wait(scripted: Any, answer: Any, api: Api) -> None:
    """Who, since when, and what can be done."""
    leases = Leases(scripted, answer, ELSEWHERE)
    with pytest.raises(EngineError) as caught, Lock(api, "run1", 0.0, Silent()):
        raise AssertionError("it was taken")
    told = str(caught.value)
    assert ELSEWHERE in told and "2026-01-02T03:04:05" in told and "kubeflow_lock_timeout" in told
    assert "Lease mlplatform-kubeflow/lock" in told
    assert leases.holder == ELSEWHERE


def test_the_lock_of_a_killed_run_of_this_machine_is_taken_at_once(scripted: Any, answer: Any, api: Api) -> None:
    """Running again after a kill must not wait for the lease to lapse."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    leases = Leases(scripted, answer, "ops@here process %d on %s run old" % (ended.pid, machine()))
    with Lock(api, "run1", 0.0, Silent()):
        assert "run run1" in leases.holder


def test_only_one_of_two_that_are_equally_fast_gets_it(scripted: Any, answer: Any, api: Api) -> None:
    """The resourceVersion decides; the slower one sees the other's name."""
    leases = Leases(scripted, answer)
    plain = leases.reply

    def race(asked: Any) -> Any:
        if asked.method == "POST":
            scripted.answer = plain
            leases.lease = Leases(scripted, answer, ELSEWHERE).lease
            scripted.answer = plain
        return plain(asked)

    scripted.answer = race
    with pytest.raises(EngineError, match="another run is writing"), Lock(api, "run1", 0.0, Silent()):
        raise AssertionError("it was taken")


def test_a_lock_that_was_lost_is_not_given_back(scripted: Any, answer: Any, api: Api) -> None:
    """Giving it back would take it from whoever holds it now."""
    leases = Leases(scripted, answer)
    with Lock(api, "run1", 0.0, Silent()) as lock:
        lock._valid_until = 0.0  # as after 20 s without the API server
        assert not lock.held
        assert leases.lease is not None
        leases.lease["spec"]["holderIdentity"] = ELSEWHERE
    assert leases.holder == ELSEWHERE


@pytest.mark.parametrize(
    ("spec", "seen_for", "lapsed"),
    [
        ({"holderIdentity": "a", "leaseDurationSeconds": 20}, 19.0, False),
        ({"holderIdentity": "a", "leaseDurationSeconds": 20}, 21.0, True),
        ({"holderIdentity": "a", "leaseDurationSeconds": 60}, 21.0, False),
        ({"holderIdentity": "a"}, locking.DURATION_SECONDS + 1.0, True),
        ({"holderIdentity": ""}, 0.0, True),
        ({}, 0.0, True),
    ],
)
def test_a_lease_lapses_by_our_own_clock(spec: Dict[str, Any], seen_for: float, lapsed: bool) -> None:
    """Clocks of machines differ: what counts is how long we have seen the same renewal."""
    assert _expired(spec, seen_for) is lapsed


@pytest.mark.parametrize(
    "holder",
    [
        "",
        "kubectl-edit",
        ELSEWHERE,
        "ops@here process %d on %s run x" % (os.getpid(), machine()),
    ],
    ids=["nobody", "another program", "elsewhere", "alive"],
)
def test_a_holder_that_lives_or_is_elsewhere_is_not_gone(holder: str) -> None:
    """Of another machine's processes nothing can be known."""
    assert not gone(holder)
