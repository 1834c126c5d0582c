# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``sandbox`` does, for the module and for the action of the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional

from ...module_utils._engine.catalogue import Catalogue
from ...module_utils._engine.errors import EngineError
from ...module_utils._engine.progress import Progress
from . import lifecycle

SANDBOX: Dict[str, Dict[str, Any]] = {
    "name": {"type": "str", "default": "sandbox"},
    "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
    "release": {"type": "str"},
    "upgrades": {"type": "list", "elements": "str", "default": []},
    "nodes": {"type": "int", "default": 3},
    "gpus": {"type": "int", "default": 4},
    "binaries": {"type": "str", "default": "auto", "choices": ["auto", "path", "cache", "download", "build"]},
    "real_backends": {"type": "bool", "default": True},
    "audit": {"type": "bool", "default": False},
    "snapshot": {"type": "path"},
    "dir": {"type": "path", "default": "~/.local/state/mlplatform.kubeflow/sandboxes"},
    "cache_dir": {"type": "path", "default": "~/.cache/mlplatform.kubeflow"},
    "progress": {"type": "str", "default": "always", "choices": ["auto", "always", "never"]},
}


def run_sandbox(
    arguments: Mapping[str, Any], cluster: str, check: bool, progress: Progress, guard: Optional[Callable[[], None]]
) -> Dict[str, Any]:
    """Have a sandbox, or have none; in check mode say whether anything would be done."""
    name, state_dir = arguments["name"], Path(arguments["dir"]).expanduser()
    try:
        if arguments["state"] == "absent":
            there = lifecycle.exists(name, state_dir)
            changed = there if check else lifecycle.delete(name, state_dir, progress)
            return {"changed": changed, "failed": False, "msg": "sandbox %s: %s" % (name, _word(changed, check, "removed"))}
        found = lifecycle.find(name, state_dir)
        if check:
            return {"changed": found is None, "failed": False, "msg": "sandbox %s: %s" % (name, _word(not found, True, "started"))}
        return _answer(lifecycle.create(_spec(arguments, state_dir), progress))
    except EngineError as error:
        return {"changed": False, "failed": True, "msg": str(error)}


def _spec(arguments: Mapping[str, Any], state_dir: Path) -> lifecycle.SandboxSpec:
    snapshot = arguments.get("snapshot")
    return lifecycle.SandboxSpec(
        name=arguments["name"],
        state_dir=state_dir,
        cache_dir=Path(arguments["cache_dir"]).expanduser(),
        release=arguments.get("release") or Catalogue.load().newest,
        upgrades=tuple(arguments["upgrades"]),
        nodes=arguments["nodes"],
        gpus=arguments["gpus"],
        audit=arguments["audit"],
        real=arguments["real_backends"],
        snapshot=Path(snapshot).expanduser() if snapshot else None,
        binaries=arguments["binaries"],
    )


def _word(changed: bool, check: bool, done: str) -> str:
    if not changed:
        return "nothing to do"
    return "would be " + done if check else done


def _answer(sandbox: lifecycle.Sandbox) -> Dict[str, Any]:
    return {
        "changed": sandbox.changed,
        "failed": False,
        "msg": "sandbox %s at %s (%s)" % (sandbox.name, sandbox.server, lifecycle.NOTICE),
        "kubeconfig": str(sandbox.kubeconfig),
        "server": sandbox.server,
        "audit_log": str(sandbox.audit_log or ""),
        "backends": list(sandbox.backends),
        "seconds": round(sandbox.seconds, 1),
    }
