# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file of a backup, written and read: packed on the way in, checked against its digests on the way out."""

from __future__ import annotations

import hashlib
from typing import Iterable, Iterator

from .encrypting import BackupKey, packed, unpacked
from .errors import EngineError
from .manifest import BackupFile
from .stores import Store

SUFFIX = {"": "", "age": ".age", "passphrase": ".age"}


class _Measured:
    """Chunks that are counted and hashed while they pass."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._sha = hashlib.sha256()
        self.size = 0
        self.broken = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._chunks:
                self.size += len(chunk)
                self._sha.update(chunk)
                yield chunk
        except EngineError:
            self.broken = True  # where they come from has failed: that is the first cause of whatever follows
            raise

    @property
    def sha256(self) -> str:
        """Of all that has passed."""
        return self._sha.hexdigest()


def put(store: Store, name: str, plain: Iterable[bytes], key: BackupKey, compress: bool = True) -> BackupFile:
    """Write one file; its name gets the endings that say how it is packed.

    :param name: with the backup's id in front; no name of an object and no secret belongs into it.
    """
    full = name + (".gz" if compress else "") + SUFFIX[key.encryption]
    measured = _Measured(plain)
    stored = store.put(full, packed(measured, key, compress))
    return BackupFile(full, stored.size, stored.sha256, measured.size, measured.sha256, compress)


def get(store: Store, file: BackupFile, key: BackupKey, encryption: str) -> Iterator[bytes]:
    """The plain content; the last chunk comes before it is known whether all of it was right.

    :raises EngineError: it is not there, or not what was written: so many bytes, with that digest.
    """
    subject = "%s in %s" % (file.name, store.place)
    stored = _Measured(store.get(file.name))
    plain = _Measured(unpacked(stored, key, encryption, file.compressed, subject))
    try:
        yield from plain
    except EngineError:
        if stored.broken:
            raise
        for _rest in stored:  # what cannot be unpacked: was it edited, or is it the key that is wrong?
            pass
        if (stored.size, stored.sha256) != (file.size, file.sha256):
            raise _edited(subject, file.size, file.sha256, stored) from None
        raise
    if (stored.size, stored.sha256) != (file.size, file.sha256):
        raise _edited(subject, file.size, file.sha256, stored)
    if (plain.size, plain.sha256) != (file.plain_size, file.plain_sha256):
        raise _edited(subject, file.plain_size, file.plain_sha256, plain)


def stored(store: Store, file: BackupFile) -> Iterator[bytes]:
    """The bytes as they are stored, for who cannot open them.

    :raises EngineError: at the end, if they are not those that were written.
    """
    found = _Measured(store.get(file.name))
    yield from found
    if (found.size, found.sha256) != (file.size, file.sha256):
        raise _edited("%s in %s" % (file.name, store.place), file.size, file.sha256, found)


def _edited(subject: str, size: int, sha256: str, found: _Measured) -> EngineError:
    return EngineError(
        "the file is not the one that was written: it was cut off or changed",
        subject=subject,
        expected="%d bytes, sha256 %s" % (size, sha256),
        found="%d bytes, sha256 %s" % (found.size, found.sha256),
        next_step="take another backup (backup_info lists them), or restore the parts that are whole by name",
    )
