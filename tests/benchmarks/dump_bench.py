# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim of speed about databases: a dump that is counted, compressed and hashed, beside the bare client program and gzip."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import backup_files
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.dumping import DumpCounts
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import BackupKey
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.stores import FolderStore

REPO = Path(__file__).resolve().parents[2]
RUNS = 10_000


@dataclass(frozen=True)
class Dumped:
    """Seconds of ours and of the bare programs; megabytes of the dump; the most memory that Python had for it, in MB."""

    ours: float
    theirs: float
    mb: float
    peak_mb: float


def dump(folder: Path, runs: int = RUNS) -> Dumped:
    """A server on loopback with so many runs, saved both ways; the best of three."""
    if str(REPO) not in sys.path:
        sys.path.append(str(REPO))
    support: Any = importlib.import_module("tests.integration.mariadb_support")
    server = support.start(folder / "db")
    try:
        support.fill(server, runs)
        times = [(_ours(server, support.SITE, folder / "ours"), _theirs(server, support, folder / "theirs.gz")) for _turn in range(3)]
        tracemalloc.start()
        _ours(server, support.SITE, folder / "ours")
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    finally:
        server.stop()
    return Dumped(min(one[0][0] for one in times), min(one[1] for one in times), times[0][0][1], peak)


def _ours(server: Any, databases: Any, folder: Path) -> tuple[float, float]:
    started, counts = time.monotonic(), DumpCounts()
    file = backup_files.put(FolderStore(str(folder)), "b/dump.sql", server.mysql().dump(databases, counts), BackupKey())
    seconds = time.monotonic() - started
    if not counts.finished:
        raise SystemExit("the dump is not whole")
    return seconds, file.plain_size / 1e6


def _theirs(server: Any, support: Any, path: Path) -> float:
    command = "mariadb-dump --no-defaults --user=root --socket=%s --single-transaction --quick --databases %s | gzip -3 > %s"
    text = command % (server.socket, " ".join(support.SITE), path)
    started = time.monotonic()
    environment = {**os.environ, "MYSQL_PWD": support.PASSWORD}
    subprocess.run(["bash", "-o", "pipefail", "-c", text], check=True, env=environment)
    return time.monotonic() - started
