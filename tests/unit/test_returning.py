# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copied sandbox lets nobody in before its programs answer as they did."""

from __future__ import annotations

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.containers import PodState
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.returning import Returning

STARTING = PodState(started=True, message="not ready yet")
READY = PodState(started=True, ready=True)
ENDED = PodState(message="exited with status 1: no such port")


def a_pod(ready: bool = True, uid: str = "1") -> KubeObject:
    """A pod as the API server has it."""
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"namespace": "team", "name": "manager", "uid": uid}, "status": {"conditions": conditions}}


def test_steps_on_the_way_back_are_not_reported() -> None:
    """Its Service keeps its endpoint; the moment it is ready all is told again."""
    returning = Returning()
    returning.saw(a_pod())
    assert returning.holds_back(a_pod(), STARTING)
    assert not returning.holds_back(a_pod(), READY)
    assert not returning.holds_back(a_pod(), STARTING)
    assert returning.wait(60) == ()


def test_a_program_that_ends_is_reported_at_once() -> None:
    """It is no step on the way back."""
    returning = Returning()
    returning.saw(a_pod())
    assert not returning.holds_back(a_pod(), ENDED)
    assert returning.wait(60) == ()


def test_only_what_was_ready_is_awaited() -> None:
    """Neither a pod that was not, nor a later one of that name, nor one that was deleted."""
    returning = Returning()
    returning.saw(a_pod(ready=False))
    assert returning.wait(60) == ()
    other = Returning()
    other.saw(a_pod())
    assert not other.holds_back(a_pod(uid="2"), STARTING)
    other.gone(a_pod())
    assert other.wait(60) == ()


def test_who_is_late_is_named_and_nothing_is_held_back_then() -> None:
    """Also not of pods that are seen only afterwards."""
    returning = Returning()
    returning.saw(a_pod())
    assert returning.wait(0.01) == (("team", "manager"),)
    returning.saw(a_pod(uid="2"))
    assert not returning.holds_back(a_pod(), STARTING) and not returning.holds_back(a_pod(uid="2"), STARTING)
