# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where backups lie: a folder, or a bucket. A store keeps whole files under names; nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Iterable, Iterator, List, Mapping, Optional, Protocol, Set, Tuple

from .errors import EngineError

PIECE = 1 << 20
DAY_SECONDS = 86400.0
# Files that are being written; a run that was killed leaves them.
TEMPORARY = ".part-"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True)
class Stored:
    """A file in a store: bytes as stored; ``sha256`` is "" where it is not known, as in lists."""

    name: str
    size: int
    sha256: str = ""


class Store(Protocol):
    """Files under names like ``a/b.gz``.

    :ivar place: where it is, as a person writes it, without credentials: "/srv/backups", "s3://bucket/prefix".
    """

    place: str

    def put(self, name: str, chunks: Iterable[bytes]) -> Stored:
        """Store a file, all or nothing; one of that name is replaced. Errors of ``chunks`` come out as themselves.

        :raises EngineError: it cannot be written; an older file of that name is as it was.
        """

    def get(self, name: str) -> Iterator[bytes]:
        """The file's bytes.

        :raises EngineError: when it is read: it is not there, or cannot be read.
        """

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """The files whose names begin with ``prefix``, sorted by name."""

    def remove(self, name: str) -> None:
        """Delete a file; fine if it is not there."""

    def check(self, need: int = 0) -> None:
        """Before a backup: can be written, and has space for ``need`` bytes where this can be known.

        :raises EngineError: not so, with what to do.
        """


def open_store(place: str, s3: Optional[Mapping[str, Any]] = None) -> Store:
    """The store at a place; nothing is written or asked yet.

    :param place: a folder, or "s3://bucket/prefix".
    :param s3: endpoint, region, access_key, secret_key, ca_file.
    :raises EngineError: the place is neither.
    """
    scheme = _SCHEME.match(place)
    if scheme is None:
        return FolderStore(place)
    if scheme.group(1) != "s3":
        raise EngineError(
            "backups cannot lie there",
            subject=re.sub(r"//[^/@]*@", "//", place),  # a person may have put a password into the address
            expected='a folder, or "s3://bucket/prefix"',
            next_step="set kubeflow_backup_place to a folder, or to a bucket, and kubeflow_backup_s3 to how it is reached",
        )
    from . import s3 as bucket  # who backs up into folders needs no S3 library

    opened: Store = bucket.S3Store.open(place, s3 or {})
    return opened


class FolderStore:
    """A folder of this machine; folders and files in it are for its owner alone.

    :param place: the folder; it is made by the first ``put`` or ``check`` if the folder above it is there.
    """

    def __init__(self, place: str) -> None:
        if not place.strip() or "\0" in place:
            raise EngineError("no folder is named for the backups", expected="a path", next_step="set kubeflow_backup_place")
        self.place = place
        self._root = os.path.abspath(os.path.expanduser(place))
        self._swept: Set[str] = set()

    # ---------------------------------------------------------------- names

    def _path(self, name: str) -> str:
        """The file's path.

        :raises EngineError: the name leaves the folder, or is none.
        """
        parts = name.split("/")
        if "\0" in name or set(parts) & {"", ".", ".."} or any(part.startswith(TEMPORARY) for part in parts):
            raise EngineError(
                "it is no name of a file in a backup",
                subject="%s: %r" % (self.place, name),
                expected='a relative path without ".", ".." and empty parts',
                next_step="if it comes from a manifest, the manifest was changed: use another backup",
            )
        path = os.path.join(self._root, *parts)
        if os.path.realpath(os.path.dirname(path)) != os.path.join(os.path.realpath(self._root), *parts[:-1]):
            raise EngineError(
                "a symbolic link leads out of the folder",
                subject="%s/%s" % (self.place, name),
                next_step="replace the link by a folder, or set %s to where it leads" % self.place,
            )
        return path

    def _subject(self, name: str) -> str:
        return "%s/%s" % (self.place.rstrip("/"), name)

    # ---------------------------------------------------------------- writing

    def put(self, name: str, chunks: Iterable[bytes]) -> Stored:
        """See :class:`Store`. On disk before it returns, and so is its name."""
        try:
            path = self._path(name)
            handle, temporary = self._begin(name, os.path.dirname(path))
            try:
                stored = self._filled(handle, name, chunks)
                with self._writing(name, stored.size):
                    os.replace(temporary, path)
                    _sync_folder(os.path.dirname(path))
            except BaseException:
                _unlink(temporary)
                raise
        finally:
            close(chunks)
        return stored

    def _filled(self, handle: int, name: str, chunks: Iterable[bytes]) -> Stored:
        """Write an open file to its end, on to the disk, and close it."""
        digest, size = hashlib.sha256(), 0
        try:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                with self._writing(name, size):
                    _write(handle, chunk)
            with self._writing(name, size):  # some file systems notice only now that they are full
                os.fsync(handle)
        finally:
            os.close(handle)
        return Stored(name, size, digest.hexdigest())

    @contextlib.contextmanager
    def _writing(self, name: str, needed: int) -> Iterator[None]:
        """The system's errors become ours; those of the source, which is read outside of this, stay what they are."""
        try:
            yield
        except OSError as problem:
            raise self._refused(problem, name, needed) from problem

    def _begin(self, name: str, folder: str) -> Tuple[int, str]:
        """An open temporary file beside where the file will be."""
        with self._writing(name, 0):
            self._make_folders(folder)
            if folder not in self._swept:
                self._swept.add(folder)
                _sweep(folder)
            return tempfile.mkstemp(dir=folder, prefix=TEMPORARY)

    def _make_folders(self, folder: str) -> None:
        """The folders of a file, for their owner alone; never those above the store's: a disk may not be mounted."""
        missing: List[str] = []
        while not os.path.isdir(folder):
            missing.append(folder)
            if folder == self._root:
                break
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:  # another thread was faster, or a file has the name: opening will tell
                continue
            _sync_folder(os.path.dirname(path))

    def _refused(self, problem: OSError, name: str, needed: int) -> EngineError:
        """Why a file cannot be written, and what to do."""
        subject = self._subject(name) if name else self.place
        if problem.errno in _NO_SPACE:
            free = self._free()
            return EngineError(
                "no space is left for it" if problem.errno == errno.ENOSPC else "a quota or a limit for the size of files is reached",
                subject=subject,
                expected="space for more than %d bytes" % needed,
                found="%d bytes free" % free if free >= 0 else "",
                next_step="free space there or set another kubeflow_backup_place, and run again; the file's older state is kept",
            )
        if isinstance(problem, FileNotFoundError) and not os.path.isdir(os.path.dirname(self._root)):
            return EngineError(
                "the folder above it does not exist",
                subject=self.place,
                expected="the folder %s" % os.path.dirname(self._root),
                next_step="mount the disk or make this folder, or set another kubeflow_backup_place",
            )
        return EngineError(
            "cannot write: %s" % problem.strerror,
            subject=subject,
            next_step="let the user who runs this write into the folder, or set another kubeflow_backup_place",
        )

    def _free(self) -> int:
        """Bytes that are free, -1 if that cannot be known."""
        try:
            return shutil.disk_usage(self._root).free
        except OSError:
            return -1

    def check(self, need: int = 0) -> None:
        """See :class:`Store`: writes a temporary file and deletes it again."""
        handle, temporary = self._begin("", self._root)
        try:
            self._filled(handle, "", (b"can this be written?",))
        finally:
            _unlink(temporary)
        free = self._free()
        if 0 <= free < need:
            raise EngineError(
                "there is not enough space for the backup",
                subject=self.place,
                expected="%d bytes free" % need,
                found="%d bytes free" % free,
                next_step="free space there (older backups), or set another kubeflow_backup_place",
            )

    # ---------------------------------------------------------------- reading

    def get(self, name: str) -> Iterator[bytes]:
        """See :class:`Store`."""
        path = self._path(name)
        try:
            with open(path, "rb") as stream:
                while True:
                    chunk = stream.read(PIECE)
                    if not chunk:
                        return
                    yield chunk
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as problem:
            raise EngineError(
                "the file is not there",
                subject=self._subject(name),
                next_step="check the place; if files were deleted from the backup, use another backup",
            ) from problem
        except OSError as problem:
            raise self._unreadable(problem, self._subject(name)) from problem

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See :class:`Store`; files that are being written, links and other special files are not listed."""
        if not os.path.exists(self._root):
            self._may_be_made()
        yield from self._below("", prefix)

    def _may_be_made(self) -> None:
        """A store that nobody wrote to yet is empty; where there is not even the folder above it, something else is wrong."""
        try:
            os.stat(os.path.dirname(self._root))
        except FileNotFoundError as problem:
            raise EngineError(
                "there is no such folder, and none above it",
                subject=self.place,
                expected="the folder %s" % os.path.dirname(self._root),
                next_step="check kubeflow_backup_place, and that its disk is mounted",
            ) from problem
        except OSError as problem:
            raise self._unreadable(problem, self.place) from problem

    def _below(self, above: str, prefix: str) -> Iterator[Stored]:
        """The files of one folder and those below it. A folder sorts as its name and "/": so do the names of its files."""
        try:
            with os.scandir(os.path.join(self._root, above)) as entries:
                found = sorted((entry.name + "/" * entry.is_dir(follow_symlinks=False), entry) for entry in entries)
        except FileNotFoundError:  # removed meanwhile
            return
        except OSError as problem:
            raise self._unreadable(problem, self._subject(above)) from problem
        for short, entry in found:
            name = above + short
            if not name.startswith(prefix[: len(name)]) or short.startswith(TEMPORARY) or name == "lost+found/":
                continue
            if short.endswith("/"):
                yield from self._below(name, prefix)
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode) and name.startswith(prefix):
                yield Stored(name, status.st_size)

    @staticmethod
    def _unreadable(problem: OSError, subject: str) -> EngineError:
        return EngineError(
            "cannot read: %s" % problem.strerror,
            subject=subject,
            next_step="let the user who runs this read it; if the disk reports errors, use another backup",
        )

    def remove(self, name: str) -> None:
        """See :class:`Store`; folders that are empty then go as well."""
        path = self._path(name)
        try:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(path)
            folder = os.path.dirname(path)
            while folder != self._root and _emptied(folder):
                folder = os.path.dirname(folder)
        except OSError as problem:
            raise EngineError(
                "cannot delete: %s" % problem.strerror,
                subject=self._subject(name),
                next_step="let the user who runs this write into the folder, or delete it by hand",
            ) from problem


def close(chunks: Any) -> None:
    """Let a source end its own work (files, connections, programs, threads) when nobody reads on."""
    method = getattr(chunks, "close", None)
    if method is not None:
        method()


def _write(handle: int, chunk: bytes) -> None:
    """All of it: the system may take a part only."""
    left = memoryview(chunk)
    while left:
        left = left[os.write(handle, left) :]


def _sync_folder(folder: str) -> None:
    """New names of a folder survive a loss of power: else a manifest might, and the files that it names not."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP):  # network file systems that do not know it for folders
            raise
    finally:
        os.close(handle)


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _sweep(folder: str) -> None:
    """Delete what killed runs left: temporary files that nobody wrote to for a day."""
    with os.scandir(folder) as entries:
        old = [entry.path for entry in entries if entry.name.startswith(TEMPORARY) and _is_old(entry)]
    for path in old:
        _unlink(path)


def _is_old(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_mtime < time.time() - DAY_SECONDS
    except FileNotFoundError:
        return False


def _emptied(folder: str) -> bool:
    """Delete a folder if it is empty but for what killed runs left; whether it is gone."""
    try:
        with os.scandir(folder) as entries:
            if all(entry.name.startswith(TEMPORARY) and _is_old(entry) for entry in entries):
                _sweep(folder)
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError as problem:
        if problem.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True
