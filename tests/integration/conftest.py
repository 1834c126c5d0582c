# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests on a real control plane share: programs, sandboxes, copies of one. Everything is gone at the end."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List, Mapping

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Lines, Progress
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox import controlplane, lifecycle
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.kube import Client
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox, SandboxSpec

from .platform_fixtures import _built, _installed, _platform

# pytest finds these fixtures because they are here.
__all__ = ["_built", "_installed", "_platform"]


def client_of(sandbox: Sandbox) -> Client:
    """Requests to a sandbox's API server as its administrator."""
    port = int(sandbox.server.rsplit(":", 1)[1])
    return Client(controlplane.Layout(sandbox.dir, sandbox.name).server(port), "integration-test")


def wait_until(client: Client, path: str, good: Callable[[KubeObject], Any], seconds: float = 30.0) -> KubeObject:
    """The first object of a collection that is ``good``, now or as soon as the API server says so."""
    end = time.monotonic() + seconds
    seen = "nothing"
    for event in client.stream("%s?watch=1&timeoutSeconds=%d" % (path, seconds), "application/json"):
        obj: KubeObject = event["object"]
        if event["type"] != "DELETED" and good(obj):
            return obj
        seen = str(obj)[:1500]
        if time.monotonic() > end:
            break
    raise AssertionError("%s: not within %.0f s; the last was %s" % (path, seconds, seen))


class Sandboxes:
    """Makes sandboxes for tests and removes them all at the end."""

    def __init__(self, state_dir: Path, cache_dir: Path, progress: Progress) -> None:
        self.state_dir = state_dir
        self.cache_dir = cache_dir
        self.progress = progress
        self._made: List[str] = []

    def spec(self, name: str, **settings: Any) -> SandboxSpec:
        """What :meth:`make` makes; with an audit log and without real back ends unless told otherwise."""
        settings = {"audit": True, "real": False, **settings}
        return SandboxSpec(name=name, state_dir=self.state_dir, cache_dir=self.cache_dir, **settings)

    def make(self, name: str, **settings: Any) -> Sandbox:
        """A sandbox of this name."""
        self._made.append(name)
        return lifecycle.create(self.spec(name, **settings), self.progress)

    def remove(self, name: str) -> bool:
        """Whether there was one of this name; there is none now."""
        return lifecycle.delete(name, self.state_dir, self.progress)

    def remove_all(self) -> None:
        """No process and no file stays."""
        for name in self._made:
            self.remove(name)


@pytest.fixture(name="progress", scope="session")
def _progress() -> Progress:
    """Lines on standard error, which pytest shows for a test that failed."""
    return Lines(lambda line: print(line, file=sys.stderr), "test")


@pytest.fixture(name="cache_dir", scope="session")
def _cache_dir() -> Path:
    """Where programs, sources and renders are kept from run to run."""
    return Path(os.environ.get("KUBEFLOW_CACHE_DIR") or "~/.cache/mlplatform.kubeflow").expanduser()


@pytest.fixture(name="tools", scope="session")
def _tools(cache_dir: Path, progress: Progress) -> Mapping[str, Path]:
    """The programs of the control plane, by name."""
    return controlplane.programs(cache_dir, "auto", progress)


@pytest.fixture(name="sandboxes", scope="session")
def _sandboxes(
    tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, tools: Mapping[str, Path], progress: Progress
) -> Iterator[Sandboxes]:
    """The maker of sandboxes."""
    made = Sandboxes(tmp_path_factory.mktemp("sandboxes"), cache_dir, progress)
    yield made
    made.remove_all()


@pytest.fixture(name="sandbox", scope="session")
def _sandbox(sandboxes: Sandboxes) -> Sandbox:
    """One that all tests may use in namespaces of their own; it starts empty."""
    return sandboxes.make("shared")


@pytest.fixture(name="exec_sandbox", scope="session")
def _exec_sandbox(sandboxes: Sandboxes) -> Sandbox:
    """One whose simulated pods answer exec and port-forward with what is on this machine; tests use namespaces of their own."""
    return sandboxes.make("exec", nodes=1, exec=True)


@pytest.fixture(name="client", scope="session")
def _client(sandbox: Sandbox) -> Client:
    """The API server of the shared sandbox."""
    return client_of(sandbox)


@pytest.fixture(name="clone")
def _clone(sandboxes: Sandboxes) -> Iterator[Callable[..., Sandbox]]:
    """Makes copies from a snapshot, for one test each: ``clone(path, release=..., real=...)``."""
    names: List[str] = []

    def make(snapshot: Path, **settings: Any) -> Sandbox:
        names.append("clone-%d-%d" % (os.getpid(), len(names)))
        return sandboxes.make(names[-1], snapshot=snapshot, **settings)

    yield make
    for name in names:
        sandboxes.remove(name)


@pytest.fixture(name="snapshot_of", scope="session")
def _snapshot_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Sandbox], Path]]:
    """Writes a snapshot of a sandbox and says where."""
    folder = tmp_path_factory.mktemp("snapshots")

    def write(sandbox: Sandbox) -> Path:
        return lifecycle.snapshot(sandbox, folder / ("%s-%d" % (sandbox.name, time.monotonic_ns())))

    yield write
    shutil.rmtree(folder)
