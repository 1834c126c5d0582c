# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Uninstalling a sandbox, and what is there before and afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any, Callable, List, Sequence, Set

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.survey import Survey, Thing, take_survey
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.uninstalling import Orders, Uninstaller, UninstallOutcome
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .support import COLLECTIONS, lines, request_for


def uninstall(sandbox: Sandbox, *components: str, data: Sequence[str] = (), confirm: str = "", **settings: Any) -> UninstallOutcome:
    """Uninstall in this process; data that is named is confirmed unless said otherwise."""
    orders = Orders(components, (), tuple(data), confirm or (sandbox.name if data else ""))
    return Uninstaller(request_for(sandbox, **settings), orders, lines(sandbox.name)).run()


def look(sandbox: Sandbox) -> Survey:
    """Everything that is there."""
    return take_survey(Api.connect(str(sandbox.kubeconfig)))


def listed(survey: Survey) -> Set[str]:
    """The API server's list of all objects, by name; without leases, that come and go by themselves in Kubernetes' namespaces."""
    return {str(ref) for ref in survey.things if ref.kind != "Lease" or not ref.namespace.startswith("kube-")}


def settled(sandbox: Sandbox, good: Callable[[Survey], Any], seconds: float = 30.0) -> Survey:
    """The list of all objects as soon as the garbage collector has come by."""
    end = time.monotonic() + seconds
    while True:
        survey = look(sandbox)
        if good(survey) or time.monotonic() > end:
            return survey
        time.sleep(0.5)


def ours_left(survey: Survey) -> List[str]:
    """What still carries our label."""
    return [str(ref) for ref, thing in survey.things.items() if COMPONENT_LABEL in thing.labels]


def terminating(survey: Survey) -> List[str]:
    """What is being deleted and not gone."""
    return [str(ref) for ref, thing in survey.things.items() if "deletionTimestamp" in thing.live["metadata"]]


def of_kind(survey: Survey, *kinds: str) -> List[Thing]:
    """All objects of these kinds."""
    return [thing for ref, thing in survey.things.items() if ref.kind in kinds]


# ------------------------------------------------------------------ runs that are killed at a known write

_KILLED = """
import json, os, signal, sys
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.uninstalling import Orders, Uninstaller

told = json.loads(sys.argv[1])
left = [told.pop("writes")]

def guard():
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)

for name, value in told.items():
    if isinstance(value, list):
        told[name] = tuple(value)
Uninstaller(Request(**told), Orders((), (), ("volumes",), told["cluster"]), Silent(), guard).run()
"""


def killed_after(sandbox: Sandbox, writes: int) -> bool:
    """Uninstall in a process that is killed just before write number ``writes + 1``; whether it was."""
    told = {key: value for key, value in vars(request_for(sandbox)).items() if key not in ("policy", "declarations")}
    process = subprocess.run(
        [sys.executable, "-c", _KILLED, json.dumps({**told, "writes": writes})],
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        timeout=300,
        check=False,
    )
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0
