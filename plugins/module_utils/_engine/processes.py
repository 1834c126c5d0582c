# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other programs: started, waited for with a bound, and heard.

asyncio's child processes rather than ``subprocess``, which code that can run in a module may not use
[ansible-test sanity, pylint: ansible-bad-function].
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence

# So often a program that takes long is looked after.
LOOK_SECONDS = 10.0


class TimedOut(Exception):
    """The program did not end in time and was killed."""


@dataclass(frozen=True)
class Ended:
    """A program that ended: its exit status, and what it wrote."""

    status: int
    output: bytes
    errors: bytes


def call(
    command: Sequence[str],
    *,
    seconds: Optional[float],
    cwd: Optional[Path] = None,
    env: Optional[Mapping[str, str]] = None,
    log: Optional[Any] = None,
    meanwhile: Optional[Callable[[], None]] = None,
) -> Ended:
    """Run a program to its end, without standard input.

    :param seconds: how long it may take; None for as long as it takes.
    :param env: its whole environment; default is ours.
    :param log: an open file for all that it writes; default is to return it.
    :param meanwhile: called every ten seconds while it runs.
    :raises OSError: it cannot be started; :raises TimedOut: it took too long.
    """
    return asyncio.run(_call(command, seconds, cwd, dict(os.environ if env is None else env), log, meanwhile))


async def _call(
    command: Sequence[str],
    seconds: Optional[float],
    cwd: Optional[Path],
    env: Mapping[str, str],
    log: Optional[Any],
    meanwhile: Optional[Callable[[], None]],
) -> Ended:
    out = asyncio.subprocess.PIPE if log is None else log
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=env)
    reading = asyncio.ensure_future(process.communicate())
    waited = 0.0
    try:
        while True:
            left = LOOK_SECONDS if seconds is None else min(LOOK_SECONDS, seconds - waited)
            done, _running = await asyncio.wait([reading], timeout=left)
            if done:
                break
            waited += left
            if seconds is not None and waited >= seconds:
                raise TimedOut("no end after %g s" % seconds)
            if meanwhile is not None:
                meanwhile()
    finally:
        if process.returncode is None:
            process.kill()
        output, errors = await reading
    return Ended(process.returncode or 0, output or b"", errors or b"")
