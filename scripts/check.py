# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the parts of the test suite, two at a time, and say what failed.

``check.py``, ``check.py lint`` or ``check.py unit sanity-2.16``: names of parts or of groups of them. The output of a
part goes to ``.cache/logs/<part>.log`` and is shown only if the part fails. A table of seconds and one line
``N passed, N failed`` come last.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import List, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".cache" / "logs"
SLOTS = 2
SHOWN_LINES = 120


@dataclass(frozen=True)
class Part:
    """One command of the suite.

    :param group: the name that runs it together with others.
    :param pytest: whether the command is a pytest run, whose tests are counted one by one.
    :param alone: whether it needs the whole machine, as the parts do that run a control plane.
    :param processor: seconds of processor time that it may take once everything is compiled; 0 for any number. Time of the
        wall would depend on what else the machine does.
    """

    name: str
    group: str
    command: Tuple[str, ...]
    pytest: bool = False
    alone: bool = False
    processor: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """How a part went; seconds of wall and of processor time, tests that passed and failed."""

    part: Part
    seconds: float
    passed: int
    failed: int
    processor: float = 0.0


PYTEST = ("python", "-m", "pytest")
# The long ones first, so that the short ones fill the second slot beside them.
PARTS = (
    Part("sanity-2.16", "sanity", ("scripts/sanity.sh", ".venv-2.16")),
    Part("sanity-newest", "sanity", ("scripts/sanity.sh", ".venv")),
    Part("ansible-lint", "lint", ("ansible-lint", "--offline", "--nocolor")),
    Part("ruff", "lint", ("ruff", "check", ".")),
    Part("mypy", "lint", ("mypy", "plugins", "scripts", "tests")),
    Part("yamllint", "lint", ("yamllint", "--strict", ".")),
    Part("changelog", "lint", ("antsibull-changelog", "lint")),
    Part("docs", "lint", ("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", ".")),
    Part("role-docs", "lint", ("python", "scripts/role_docs.py", "--check")),
    # Seconds of the wall on two idle cores are about half of it; the other slot and a slow machine make it more.
    Part("unit", "unit", (*PYTEST, "--numprocesses", "2", "tests/unit"), pytest=True, processor=45.0),
    Part("integration", "integration", (*PYTEST, "tests/integration"), pytest=True, alone=True),
    Part("molecule", "molecule", ("molecule", "test", "--scenario-name", "default"), alone=True),
)


def counted(report: Path, status: int) -> Tuple[int, int]:
    """Passed and failed tests of a JUnit file; a run that ended before its tests is one failure."""
    if not report.exists():
        return 0, 1
    suites = [suite.attrib for suite in ET.parse(report).getroot().iter("testsuite")]
    total = sum(int(suite["tests"]) for suite in suites)
    failed = sum(int(suite["failures"]) + int(suite["errors"]) for suite in suites)
    return total - failed, max(failed, 1 if status else 0)


def run(part: Part, say: threading.Lock) -> Outcome:
    """Run one part to its end, whatever comes; once more if it was slow, as the first run of a clone compiles everything."""
    outcome = run_once(part)
    if part.processor and not outcome.failed and outcome.processor > part.processor:
        outcome = run_once(part)
    slow = part.processor and outcome.processor > part.processor
    log = LOGS / (part.name + ".log")
    if slow:
        outcome = replace(outcome, failed=outcome.failed + 1)
    with say:
        print("%-14s %s  %6.1f s" % (part.name, "FAILED" if outcome.failed else "ok    ", outcome.seconds), flush=True)
        if slow:
            print("    it took %.1f s of processor time; promised are %.0f" % (outcome.processor, part.processor))
        if outcome.failed:
            lines = log.read_text(errors="replace").splitlines()
            print("\n".join("    " + line for line in lines[-SHOWN_LINES:]))
            print("    (all of it: %s)" % log.relative_to(ROOT), flush=True)
    return outcome


def run_once(part: Part) -> Outcome:
    """One run of a part's command, with its output in the part's log."""
    report = LOGS / (part.name + ".xml")
    report.unlink(missing_ok=True)
    command = [*part.command, "--junit-xml=%s" % report] if part.pytest else list(part.command)
    started = time.monotonic()
    with (LOGS / (part.name + ".log")).open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        _pid, code, used = os.wait4(process.pid, 0)
    status = process.returncode = os.waitstatus_to_exitcode(code)
    seconds = time.monotonic() - started
    passed, failed = counted(report, status) if part.pytest else (int(not status), int(bool(status)))
    return Outcome(part, seconds, passed, failed, used.ru_utime + used.ru_stime)


def chosen(names: Sequence[str]) -> List[Part]:
    """The parts that are named, or all of them.

    :raises SystemExit: a name that is neither a part nor a group.
    """
    known = {part.name for part in PARTS} | {part.group for part in PARTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit("no such part: %s (known: %s)" % (", ".join(unknown), ", ".join(sorted(known))))
    return [part for part in PARTS if not names or part.name in names or part.group in names]


def run_all(parts: Sequence[Part]) -> List[Outcome]:
    """Run what may share the machine side by side, then the rest one after the other."""
    say = threading.Lock()
    with ThreadPoolExecutor(SLOTS) as pool:
        futures: List[Future[Outcome]] = [pool.submit(run, part, say) for part in parts if not part.alone]
        outcomes = [future.result() for future in futures]
    return outcomes + [run(part, say) for part in parts if part.alone]


def main() -> int:
    """The exit status: 0 if nothing failed."""
    os.environ["PATH"] = os.pathsep.join([str(ROOT / ".venv" / "bin"), os.environ["PATH"]])
    # Compiled once for all parts and runs, whatever the caller's environment says about it, and outside of the tree.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / ".cache" / "pycache")
    LOGS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    outcomes = run_all(chosen(sys.argv[1:]))
    print("\npart             seconds  processor  passed  failed")
    for one in outcomes:
        print("%-16s %7.1f  %9.1f  %6d  %6d" % (one.part.name, one.seconds, one.processor, one.passed, one.failed))
    passed, failed = sum(one.passed for one in outcomes), sum(one.failed for one in outcomes)
    print("\n%d passed, %d failed in %.0f s" % (passed, failed, time.monotonic() - started))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
