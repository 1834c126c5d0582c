# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sandboxes with a whole release on them, installed once per session and copied from then on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Protocol

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Outcome
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .support import Audit, Call, Cluster, converge, healthy


class Maker(Protocol):
    """What makes and removes sandboxes (see conftest)."""

    def make(self, name: str, **settings: Any) -> Sandbox:
        """A sandbox of this name."""

    def remove(self, name: str) -> bool:
        """There is none of this name any more."""


@dataclass(frozen=True)
class Installed:
    """A release that was installed on an empty sandbox, with the real back ends that build.

    :ivar sandbox: the sandbox that it was installed on, still running; tests must not change it.
    :ivar outcome: what the engine said; :ivar calls: what the API server's audit log says about it.
    :ivar objects: every object of the render as it was at the end; :ivar pods: every pod.
    """

    release: str
    sandbox: Sandbox
    outcome: Outcome
    calls: List[Call]
    objects: Mapping[ObjectRef, KubeObject]
    pods: List[KubeObject]
    snapshot: Path


@pytest.fixture(name="built", scope="session")
def _built(sandboxes: Maker, snapshot_of: Callable[[Sandbox], Path]) -> Callable[[str], Installed]:
    """Makes :class:`Installed` of a release, once."""
    made: Dict[str, Installed] = {}

    def install(release: str) -> Installed:
        if release not in made:
            sandbox = sandboxes.make("built-%s" % release.replace(".", "-"), release=release, real=True)
            audit = Audit(sandbox)
            outcome = healthy(converge(sandbox, release))
            cluster = Cluster(sandbox)
            made[release] = Installed(release, sandbox, outcome, audit.calls(), cluster.of(outcome), cluster.pods(), snapshot_of(sandbox))
        return made[release]

    return install


@pytest.fixture(name="installed", scope="session")
def _installed(built: Callable[[str], Installed]) -> Callable[[str], Path]:
    """A snapshot of a sandbox with a whole release in it, healthy; each release is installed once."""
    return lambda release: built(release).snapshot


@pytest.fixture(name="platform", scope="session")
def _platform(built: Callable[[str], Installed]) -> Sandbox:
    """A running sandbox with all of the newest release in it, healthy; tests leave it as they found it."""
    return built("26.03").sandbox
