# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a sandbox: which there are, and ending them.

A process belongs to a sandbox if it is its agent or one of its control plane's programs (whose path, argv[0], is a link
inside the sandbox's folder), or the kwokctl that makes it. That holds whatever was killed at whatever moment,
so no pid file has to be right, and a pid that was given to another program is never hit.
"""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import List, Sequence, Set, Tuple

from ...module_utils._engine.errors import EngineError

AGENT_FLAG = "--sandbox="
END_SECONDS = 10.0


@dataclass(frozen=True)
class Process:
    """One running process and what it is in the sandbox ("etcd", "kube-apiserver", "agent", "kwokctl", ...)."""

    pid: int
    role: str


def _arguments(pid: int) -> Tuple[str, ...]:
    try:
        raw = Path("/proc/%d/cmdline" % pid).read_bytes()
    except OSError:
        return ()
    return tuple(part.decode(errors="replace") for part in raw.split(b"\0")[:-1])


def _role(arguments: Sequence[str], folder: str) -> str:
    if not arguments:
        return ""
    if arguments[0].startswith(folder + "/kwok/"):
        return os.path.basename(arguments[0])
    if AGENT_FLAG + folder in arguments:
        return "agent"
    if os.path.basename(arguments[0]) == "kwokctl" and folder + "/kwokctl.yaml" in arguments:
        return "kwokctl"
    return ""


def processes_of(folder: Path) -> List[Process]:
    """The running processes of the sandbox in this folder (an absolute path without links)."""
    found: List[Process] = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            role = _role(_arguments(int(entry)), str(folder))
            if role:
                found.append(Process(int(entry), role))
    return sorted(found, key=lambda process: process.pid)


def end(folder: Path) -> int:
    """End every process of a sandbox and wait until all are gone; how many there were.

    They are killed, not asked: nothing that they hold is needed any more. kwokctl first, or it would start more.

    :raises EngineError: one would not go.
    """
    ended = 0
    deadline = time.monotonic() + END_SECONDS
    while True:
        found = sorted(processes_of(folder), key=lambda process: process.role != "kwokctl")
        if not found:
            return ended
        if time.monotonic() > deadline:
            raise EngineError("a process does not end", subject="%s, pid %d" % (found[0].role, found[0].pid))
        ended += len(found)
        _kill(found, deadline)


def end_role(folder: Path, role: str) -> None:
    """End the processes of one role, if there are any."""
    _kill([process for process in processes_of(folder) if process.role == role], time.monotonic() + END_SECONDS)


def _kill(found: Sequence[Process], deadline: float) -> None:
    waiting: Set[int] = set()
    poller = select.poll()
    try:
        for process in found:
            try:
                handle = os.pidfd_open(process.pid)
            except ProcessLookupError:
                continue
            waiting.add(handle)
            poller.register(handle, select.POLLIN)
            os.kill(process.pid, signal.SIGKILL)
        while waiting and time.monotonic() < deadline:
            for handle, _event in poller.poll(1000):
                waiting.discard(handle)
                poller.unregister(handle)
                os.close(handle)
    finally:
        for handle in waiting:
            os.close(handle)
