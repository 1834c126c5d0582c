# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting the agent of a sandbox, and hearing from it that it is ready."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

from ...module_utils._engine.errors import EngineError
from .processes import AGENT_FLAG

COLLECTION = Path(__file__).resolve().parents[3]
READY_SECONDS = 60.0

# The agent is its own process group, so a Ctrl-C at the terminal does not reach it, and it is nobody's child
# (the first process ends at once), so nobody has to wait for it.
_BOOT = """
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
sys.path.insert(0, %r)
from plugins.plugin_utils._sandbox.agent import main
main()
"""


def start_agent(folder: Path) -> None:
    """Start it and return when it answers on its socket and knows all objects.

    :raises EngineError: it ended or did not become ready.
    """
    if not COLLECTION.is_dir():
        raise EngineError("a sandbox can be made on the controller only", subject=str(COLLECTION))
    mine, its = os.pipe()
    with open(mine, "rb") as answer:
        try:
            with open(folder / "agent.log", "ab") as log:
                subprocess.run(
                    [sys.executable, "-c", _BOOT % str(COLLECTION), AGENT_FLAG + str(folder), "--ready-fd=%d" % its],
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(its,),
                    check=True,
                )
        finally:
            os.close(its)
        heard, _w, _x = select.select([answer], [], [], READY_SECONDS)
        if heard and answer.read(5) == b"ready":
            return
    tail = (folder / "agent.log").read_text(errors="replace").strip().splitlines()[-6:]
    raise EngineError("its agent did not start", subject=str(folder), found="\n    ".join(tail) or "no output")
