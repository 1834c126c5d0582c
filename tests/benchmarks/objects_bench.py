# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claims of speed about object stores: a backup of many small objects from a real MinIO, beside ``rclone copy`` of the same."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, Tuple

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Progress

REPO = Path(__file__).resolve().parents[2]
OBJECTS = 200_000
OBJECT_BYTES = 4096
STREAMS = 16
BUCKET = "mlpipeline"

_BACKUP = """
import json, sys
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import s3
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.copying import Bucket, Tally, pack_bucket
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import BackupKey
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.stores import FolderStore

told = json.load(sys.stdin)
bucket, tally = Bucket(s3.connect(told["settings"]), told["bucket"]), Tally()
for pack in pack_bucket(bucket, FolderStore(told["folder"]), "backup/objects", BackupKey(), (), Silent(), workers=told["workers"]):
    tally.add(pack.tally)
print(json.dumps({"objects": tally.objects, "bytes": tally.bytes}))
"""


@dataclass(frozen=True)
class Copied:
    """One program that copied the bucket into a folder: wall seconds, its peak resident set in MB, what is in the folder."""

    seconds: float
    peak_mb: float
    objects: int
    bytes: int
    folder_mb: float

    @property
    def objects_per_second(self) -> float:
        """How many objects it copied in a second."""
        return self.objects / self.seconds

    @property
    def mb_per_second(self) -> float:
        """How many megabytes of objects it copied in a second."""
        return self.bytes / 1e6 / self.seconds


@dataclass(frozen=True)
class Comparison:
    """Ours, and rclone's of the same bucket; None where there is no rclone."""

    ours: Copied
    rclone: Optional[Copied]


class Objects:
    """Measures on a MinIO of its own.

    :param folder: for the store's data and the copies; twice the size of all objects and more.
    """

    def __init__(self, folder: Path, progress: Progress, count: int = OBJECTS, size: int = OBJECT_BYTES) -> None:
        self._folder, self._progress = folder, progress
        self._count, self._size = count, size

    def compare(self) -> Comparison:
        """Fill a store, and copy it into a folder with each of the two programs, each alone on the machine."""
        with self._store() as server:
            self._fill(server)
            return Comparison(self._ours(server), self._rclone(server))

    @contextlib.contextmanager
    def _store(self) -> Iterator[Any]:
        if str(REPO) not in sys.path:
            sys.path.append(str(REPO))
        support: Any = importlib.import_module("tests.integration.s3_support")
        server = support.minio(self._folder / "minio")
        try:
            server.start()
            yield server
        finally:
            server.kill()
            shutil.rmtree(self._folder / "minio", ignore_errors=True)

    def _fill(self, server: Any) -> None:
        support: Any = importlib.import_module("tests.integration.s3_support")
        bucket, started = server.make(BUCKET), time.monotonic()

        def shown() -> Iterator[Any]:
            for number, pair in enumerate(support.artifacts(self._count, self._size)):
                rate = number / max(time.monotonic() - started, 0.001)
                self._progress.waiting("objects", "%d of %d written (%.0f/s)" % (number, self._count, rate))
                yield pair

        # In portions: a pool of threads takes all that it is given at once.
        portion = []
        for pair in shown():
            portion.append(pair)
            if len(portion) == 2000:
                support.fill(bucket, portion)
                portion = []
        support.fill(bucket, portion)

    def _ours(self, server: Any) -> Copied:
        target = self._folder / "ours"
        told = {"settings": server.settings(), "bucket": BUCKET, "folder": str(target), "workers": STREAMS}
        command = [sys.executable, "-c", _BACKUP]
        seconds, peak, output = _measured(command, {"PYTHONPATH": str(REPO / ".cache" / "collections")}, json.dumps(told))
        counted: Dict[str, int] = json.loads(output)
        if counted["objects"] != self._count:
            raise SystemExit("the backup has %d of %d objects" % (counted["objects"], self._count))
        return self._copied(target, seconds, peak, counted["objects"], counted["bytes"])

    def _rclone(self, server: Any) -> Optional[Copied]:
        program = shutil.which("rclone")
        if program is None:
            return None
        settings, target = server.settings(), self._folder / "rclone"
        names = {"endpoint": "endpoint", "access_key_id": "access_key", "secret_access_key": "secret_key"}
        remote = {"RCLONE_CONFIG_STORE_" + theirs.upper(): settings[ours] for theirs, ours in names.items()}
        # An own bundle of certificates for Amazon's library is more than rclone can take; there are no certificates here.
        remote.update(RCLONE_CONFIG="/dev/null", RCLONE_CONFIG_STORE_TYPE="s3", RCLONE_CONFIG_STORE_PROVIDER="Minio", AWS_CA_BUNDLE="")
        streams = str(STREAMS)
        command = [program, "copy", "--quiet", "--transfers", streams, "--checkers", streams, "store:" + BUCKET, str(target)]
        seconds, peak, _output = _measured(command, remote, "")
        files = [entry for entry in target.rglob("*") if entry.is_file()]
        if len(files) != self._count:
            raise SystemExit("rclone copied %d of %d objects" % (len(files), self._count))
        return self._copied(target, seconds, peak, len(files), sum(entry.stat().st_size for entry in files))

    @staticmethod
    def _copied(target: Path, seconds: float, peak: float, objects: int, size: int) -> Copied:
        stored = sum(entry.stat().st_size for entry in target.rglob("*") if entry.is_file())
        shutil.rmtree(target)
        return Copied(seconds, peak, objects, size, stored / 1e6)


def _measured(command: Sequence[str], variables: Mapping[str, str], text: str) -> Tuple[float, float, bytes]:
    """(wall seconds, peak resident set in MB, output) of a command that must end well."""
    environment = {name: value for name, value in {**os.environ, **variables}.items() if value}
    started, peak = time.monotonic(), 0.0
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=output, cwd=REPO)
        assert process.stdin is not None
        process.stdin.write(text.encode())
        process.stdin.close()
        while process.poll() is None:
            peak = max(peak, _peak_mb(process.pid))
            time.sleep(0.05)
        seconds = time.monotonic() - started
        if process.returncode:
            raise SystemExit("%s ended with %d" % (command[0], process.returncode))
        output.seek(0)
        return seconds, peak, output.read()


def _peak_mb(pid: int) -> float:
    """The kernel's high-water mark of a process; what wait4 says of it also counts the memory of who started it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/%d/status" % pid).read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024.0
    return 0.0
