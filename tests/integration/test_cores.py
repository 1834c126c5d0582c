# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oldest and the newest ansible-core that are supported: check, install, check again, nothing to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

import pytest

from .platform_fixtures import Maker
from .support import EXHAUSTIVE, FEW, Audit, inventory, recap, run_playbook

VENVS = {"core-2.16": ".venv-2.16", "newest": ".venv"}
# What Ansible prints where something will not work in a later version.
DEPRECATED = "DEPRECATION WARNING"


def result(folder: Path, name: str) -> Dict[str, Any]:
    """One result file of a run."""
    found: Dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("core", VENVS)
def test_check_install_and_a_second_run(core: str, sandboxes: Maker, tmp_path: Path) -> None:
    """`--check --diff` works on an empty cluster and writes nothing; then it installs; then there is nothing to do."""
    venv = VENVS[core]
    sandbox = sandboxes.make(core.replace(".", "-"), release="26.03")
    some: Dict[str, Any] = {} if core == "newest" or EXHAUSTIVE else {"kubeflow_components": list(FEW)}
    results = str(tmp_path / "results")
    where = inventory(tmp_path / "inventory", [sandbox], kubeflow_results_dir=results, kubeflow_progress="always", **some)
    try:
        audit = Audit(sandbox)
        checked = run_playbook("site", where, "--check", "--diff", venv=venv)
        assert recap(checked)[sandbox.name]["changed"] == 1, checked
        assert "+ Deployment.apps kubeflow/katib-controller (katib)" in checked
        assert not audit.writes()

        done = run_playbook("site", where, venv=venv)
        assert recap(done)[sandbox.name]["changed"] == 1, done
        assert not audit.rejected()
        status = result(tmp_path / "results", "status.json")
        assert status["healthy"] and status["state"] == "ok"

        before = len(audit.writes())
        for arguments in (("--check", "--diff"), ()):
            again = run_playbook("site", where, *arguments, venv=venv)
            assert recap(again)[sandbox.name]["changed"] == 0, again
        assert len(audit.writes()) == before
        for name in ("plan", "status"):
            shown = run_playbook(name, where, venv=venv)
            assert DEPRECATED not in shown
        assert not any(DEPRECATED in output for output in (checked, done, again)), done
    finally:
        sandboxes.remove(sandbox.name)
