# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kustomize binary: which one it is, how it is run, and what its errors mean."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Tuple

from .errors import EngineError
from .processes import TimedOut, call

# Less garbage collection for 30 % less CPU time; one thread each, as processes run side by side (facts: 0.5 GB at most).
SETTINGS = {"GOGC": "400", "GOMAXPROCS": "1"}
# Whatever a kustomization names: no git, and a proxy where nobody listens (the discard port).
OFFLINE = {"PATH": "/nonexistent", "HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
VERSION_SECONDS = 20.0
BUILD_SECONDS = 300.0


@dataclass(frozen=True)
class Kustomize:
    """A kustomize binary and the identity that its renders are cached under."""

    path: Path
    version: str
    sha256: str


class BuildFailed(Exception):
    """kustomize refused a kustomization; the text is its own, without warnings."""


def identify(path: Path, wanted: str, cache_dir: Path) -> Kustomize:
    """Find out which kustomize a file is, asking it only once for as long as the file does not change.

    :param wanted: the version that the release data asks for, without ``v``.
    :raises EngineError: it is not there, cannot be run, or is another version.
    """
    memo = Path(cache_dir) / "renders" / "kustomize.json"
    try:
        status = os.stat(path)
    except OSError as problem:
        raise EngineError(
            "kustomize cannot be found", subject=str(path), expected="kustomize " + wanted, next_step=_next(wanted)
        ) from problem
    state = [status.st_size, status.st_mtime_ns]
    known: Dict[str, List[Any]] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(memo.read_text())
    entry = known.get(str(path))
    if entry is None or entry[:2] != state:
        entry = [*state, _ask_version(path, wanted), hashlib.sha256(path.read_bytes()).hexdigest()]
        write_atomically(memo, json.dumps({**known, str(path): entry}).encode())
    found = Kustomize(path, entry[2], entry[3])
    if found.version != wanted:
        raise EngineError(
            "the wrong version of kustomize; another one renders other objects",
            subject=str(path),
            expected=wanted,
            found=found.version,
            next_step=_next(wanted),
        )
    return found


def _next(wanted: str) -> str:
    return "set kubeflow_kustomize: auto, or to the path of kustomize %s" % wanted


def _ask_version(path: Path, wanted: str) -> str:
    try:
        answer = call([str(path), "version"], seconds=VERSION_SECONDS)
        if answer.status:
            raise OSError("exit status %d" % answer.status)
    except (OSError, TimedOut) as problem:
        raise EngineError("kustomize cannot be run: %s" % problem, subject=str(path), expected=wanted, next_step=_next(wanted)) from problem
    found = re.search(r"\bv?(\d+\.\d+\.\d+\S*)", answer.output.decode(errors="replace"))
    return found.group(1) if found else "unknown"


def write_atomically(path: Path, content: bytes) -> None:
    """Put a file in place whole; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as output:
            output.write(content)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def usable_cores() -> int:
    """The cores that this process may run on; not every system that Ansible runs on can say."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


class Slots:
    """As many builds at a time as there are cores, over all processes that use the same cache.

    A slot is a locked file, so the slot of a killed process is free at once.
    """

    def __init__(self, cache_dir: Path, count: int = 0) -> None:
        self.count = count or usable_cores()
        self._folder = Path(cache_dir) / "slots"
        self._folder.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def alone_with(self, key: str) -> Iterator[None]:
        """Be the only one that makes what a key stands for; others wait and then find it in the cache.

        Never asked for while a slot is held. Keys share 256 locks, so that no file is left behind for each.
        """
        with open(self._folder / ("key-" + key[:2]), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def one(self, preferred: int) -> Iterator[None]:
        """Hold a free slot, or wait for the preferred one."""
        order = [(preferred + step) % self.count for step in range(self.count)]
        for number in order:
            with open(self._folder / str(number), "w", encoding="utf-8") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield
                return
        with open(self._folder / str(order[0]), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def build(kustomize: Kustomize, folder: Path) -> bytes:
    """Run ``kustomize build``: no network (no git, no proxy), no settings of the user.

    :raises BuildFailed: kustomize refused; the message is its own.
    """
    try:
        result = call(
            [str(kustomize.path), "build", str(folder)],
            seconds=BUILD_SECONDS,
            env={**SETTINGS, **OFFLINE, "HOME": str(folder)},
        )
    except TimedOut as problem:
        raise BuildFailed("no answer within %d s" % BUILD_SECONDS) from problem
    except OSError as problem:
        raise BuildFailed("cannot be run: %s" % problem.strerror) from problem
    if result.status:
        lines = result.errors.decode(errors="replace").splitlines()
        told = "\n".join(line for line in lines if line and not line.startswith("# Warning"))
        raise BuildFailed(told or "exit status %d" % result.status)
    return result.output


# What kustomize says -> what is the matter. The first row that matches wins; groups are filled in.
_MEANINGS: Tuple[Tuple[str, str], ...] = (
    (r"resource with name (\S+) does not match a config", "no workload is named {0}"),
    (r"no matches for Id (\S+?);", "nothing matches {0}"),
    (r"(\w+) operation does not apply: doc is missing (?:path|key): \"?([^\s\":]+)", "{0}: there is no {1}"),
    (r"error in (\w+) for path: '([^']*)': (.*)", "{0} {1}: {2}"),
    (r"error parsing regexp: (.*)", "the target is no regular expression: {0}"),
    (r"may not add resource with an already registered id: (\S+)", "the same object twice: {0}"),
    (r"(?:lstat|open|read) (\S+?): no such file or directory", "no such file: {0}"),
    (r"'?git'?: executable file not found|dial tcp|proxyconnect", "a remote base, which needs a network"),
    (r"(yaml: .*)", "{0}"),
)


def meaning(text: str) -> str:
    """The first cause in kustomize's chain of messages, in a few words."""
    for pattern, words in _MEANINGS:
        found = re.search(pattern, text)
        if found:
            return words.format(*found.groups())
    last = text.strip().splitlines()[-1] if text.strip() else "no reason given"
    return re.sub(r"^Error: ", "", last).rsplit(": ", 2)[-1] if len(last) > 200 else re.sub(r"^Error: ", "", last)


PREFIX = "mlplatform-kubeflow-"


def _private_base(fallback: Path) -> Tuple[Path, str]:
    """Where private folders are made, and how their names begin."""
    base = Path("/dev/shm")
    if not os.access(base, os.W_OK | os.X_OK):
        base = fallback
        base.mkdir(parents=True, exist_ok=True)
    return base, "%s%d-" % (PREFIX, os.getuid())


@contextlib.contextmanager
def workspace(fallback: Path) -> Iterator[Path]:
    """A private folder (0700, in memory where there is /dev/shm) that is gone afterwards.

    It counts as in use for as long as its lock is held, so also a killed run gives it up.

    :param fallback: where to make it without /dev/shm.
    """
    base, prefix = _private_base(fallback)
    with _made_or_swept(base, prefix):
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield Path(os.path.realpath(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


@contextlib.contextmanager
def _made_or_swept(base: Path, prefix: str) -> Iterator[None]:
    """Between a folder and its lock there is a moment in which nobody may sweep."""
    handle = os.open(base / (prefix + "lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sweep(fallback: Path) -> None:
    """Remove the private folders that killed runs of this user have left."""
    base, prefix = _private_base(fallback)
    if not any(path.is_dir() for path in base.glob(prefix + "*")):
        return
    with _made_or_swept(base, prefix):
        for folder in base.glob(prefix + "*"):
            if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
                continue
            handle = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            except BlockingIOError:
                pass  # in use
            finally:
                os.close(handle)


def build_overlay(kustomize: Kustomize, folder: Path, overlay: Mapping[str, Any]) -> bytes:
    """Write an overlay into a folder (which may exist) and build it.

    :raises BuildFailed: kustomize refused.
    """
    folder.mkdir(exist_ok=True)
    (folder / "kustomization.yaml").write_text(json.dumps(overlay))  # JSON is YAML, and quotes everything
    return build(kustomize, folder)
