# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup's file looks like inside: gzip, then age if there is a key; streams, of which a few MiB are in memory.

Files for recipients are plain age files [age-encryption.org/v1]. A passphrase costs a second and 256 MiB each time that it
is turned into a key, which ten thousand files could not pay: a run makes one identity, locks it with the passphrase as an
age identity file in armor, and puts this in front of each file, which is then an age file for that identity. So each file
can be read alone, and without us: ``age -d -i <(sed '/^-----END/q' FILE) <(sed '1,/^-----END/d' FILE) | gunzip``.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
import threading
import zlib
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from .errors import EngineError, MissingLibrary
from .stores import close

try:
    import pyrage

    HAS_PYRAGE = True
except ImportError:
    HAS_PYRAGE = False

PIECE = 1 << 18
# 80 MB/s on one core for dumps of tables, a fifth of their size; level 6 is 23 MB/s and saves a tenth of that.
LEVEL = 3
GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"
_AGE_MAGIC = b"age-encryption.org/"
_ARMOR, _ARMOR_END = b"-----BEGIN AGE ENCRYPTED FILE-----", b"-----END AGE ENCRYPTED FILE-----\n"
# One locked identity has 500 bytes.
_LOCK_LIMIT = 4096
# Turning a passphrase into a key takes 256 MiB of memory: one at a time.
_PASSPHRASES = threading.Lock()
_ANOTHER = "copy this file again from where the backup was first stored, or use another backup"
_CHANGED = "the file was cut off or changed after it was written"
# What the library says, what it means, and what to do: the first row whose words are in its message counts.
_MEANINGS = (
    (
        "No matching keys",
        "no key that was given opens it",
        "give an identity for one of the recipients of the backup; if you did, the file's first bytes were changed",
    ),
    ("Excessive work", "its passphrase was made for a faster machine", "read the backup on a machine like the one that made it"),
    (
        "Decryption failed",
        "the passphrase does not open it",
        "give the passphrase that was set when the backup was made; if you did, the file's first bytes were changed",
    ),
    ("failed to fill whole buffer", _CHANGED, _ANOTHER),
    ("Incomplete header", _CHANGED, _ANOTHER),
    ("decryption error", _CHANGED, _ANOTHER),
    ("Header", "the file's first bytes were changed", _ANOTHER),
    ("Unknown age format", "the file's first bytes were changed", _ANOTHER),
    ("invalid armor", "the file's first bytes were changed", _ANOTHER),
    ("DecodeError", "the file's first bytes were changed", _ANOTHER),
    ("valid UTF-8", "the file's first bytes were changed", _ANOTHER),
)


@dataclass(frozen=True)
class BackupKey:
    """With what a backup is locked, and what opens it; nothing of it is ever shown.

    :ivar recipients: who will be able to read it: "age1..." or public SSH keys (ed25519, rsa).
    :ivar identities: texts of age identity files or private SSH keys, to read backups.
    :ivar passphrase: instead of recipients; "" for none.
    """

    recipients: Tuple[str, ...] = ()
    identities: Tuple[str, ...] = field(default=(), repr=False)
    passphrase: str = field(default="", repr=False)
    # What was made of the passphrase: it lives as long as the key.
    made: Dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        """Numbers only: a person may have put a secret in the wrong place."""
        return "BackupKey(%d recipients, %d identities, %s)" % (
            len(self.recipients),
            len(self.identities),
            "a passphrase" if self.passphrase else "no passphrase",
        )

    @property
    def encryption(self) -> str:
        """How a backup made with this key is encrypted: "", "age" or "passphrase".

        Identities alone mean "age", which :func:`packed` refuses for want of a recipient: who gave a key never gets plain files.
        """
        if self.recipients or (self.identities and not self.passphrase):
            return "age"
        return "passphrase" if self.passphrase else ""

    def opens(self, encryption: str) -> bool:
        """Whether there is anything in it that may open such a backup."""
        return {"": True, "age": bool(self.identities), "passphrase": bool(self.passphrase)}.get(encryption, False)

    def check(self, writing: bool = True) -> None:
        """Before anything is read or written: the library is there, everything is well-formed, and to write, one way of locking.

        :raises EngineError: which recipient or identity is not well-formed; never its text.
        """
        if self.encryption:
            _need_library()
            _identities_of(self)
            if writing and self.encryption == "age":
                _recipients_of(self)


def packed(chunks: Iterable[bytes], key: BackupKey, compress: bool = True) -> Iterator[bytes]:
    """The file's bytes as they are stored. Errors of the source come out as themselves; who stops early closes the source."""
    try:
        plain = _squeezed(chunks) if compress else chunks
        if key.encryption == "":
            yield from plain
            return
        _need_library()
        if key.encryption == "age":
            recipients = _recipients_of(key)
        else:
            locked, recipient = _own_lock(key)
            recipients = [recipient]
            yield locked
        yield from _worked(plain, lambda source, target: pyrage.encrypt_io(source, target, recipients), "")
    finally:
        close(chunks)


def unpacked(chunks: Iterable[bytes], key: BackupKey, encryption: str, compressed: bool = True, subject: str = "") -> Iterator[bytes]:
    """What :func:`packed` was given. Every byte that comes out is as it went in, but only the end shows that none is missing.

    :param encryption: "", "age" or "passphrase", as the manifest says.
    :param subject: the file's full name, for errors.
    :raises EngineError: the key is missing or another one, or the file is cut off, changed or not what the manifest says.
    """
    try:
        head, rest = _peeked(chunks, len(_ARMOR))
        if encryption or compressed:  # a plain file may hold anything, an age file too
            _kind_fits(head, encryption, subject)
        if encryption:
            rest = _decrypted(rest, key, encryption, subject)
        yield from _unsqueezed(rest, subject) if compressed else rest
    finally:
        close(chunks)


def _decrypted(chunks: Iterator[bytes], key: BackupKey, encryption: str, subject: str) -> Iterator[bytes]:
    _need_library()
    if not key.opens(encryption):
        missing, variable = ("passphrase", "passphrase") if encryption == "passphrase" else ("identity", "identity_file")
        raise EngineError(
            "the file is encrypted and no %s was given" % missing,
            subject=subject,
            next_step="set kubeflow_backup_%s to the %s that opens this backup" % (variable, missing),
        )
    if encryption == "passphrase":
        locked, chunks = _until_end_of_armor(chunks, subject)
        identities = [_unlocked(key, locked, subject)]
    else:
        identities = _identities_of(key)
    return _worked(chunks, lambda source, target: pyrage.decrypt_io(source, target, identities), subject)


# ------------------------------------------------------------------ gzip


def _squeezed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """gzip, the same bytes for the same input: no time and no name in it."""
    squeeze = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    for chunk in _pieces(chunks):
        piece = squeeze.compress(chunk)
        if piece:
            yield piece
    yield squeeze.flush()


def _unsqueezed(chunks: Iterable[bytes], subject: str) -> Iterator[bytes]:
    """The opposite; a small file that would grow without end grows a piece at a time."""
    unzip = zlib.decompressobj(GZIP)
    try:
        for chunk in chunks:
            left = chunk
            while left:
                try:
                    piece = unzip.decompress(left, PIECE)
                except zlib.error as problem:
                    raise EngineError("it cannot be uncompressed: %s" % _CHANGED, subject=subject, next_step=_ANOTHER) from problem
                if piece:
                    yield piece
                if unzip.eof and unzip.unused_data:
                    raise EngineError("it goes on after its end: %s" % _CHANGED, subject=subject, next_step=_ANOTHER)
                left = unzip.unconsumed_tail
        if not unzip.eof:
            raise EngineError("it ends too early: %s" % _CHANGED, subject=subject, next_step=_ANOTHER)
    finally:
        close(chunks)


# ------------------------------------------------------------------ keys


def _need_library() -> None:
    if not HAS_PYRAGE:
        raise MissingLibrary("pyrage", sys.executable)


def _recipients_of(key: BackupKey) -> List[Any]:
    """The library's recipients. What the library says about a bad one is not repeated: it may hold the text.

    :raises EngineError: which one is none, by its number.
    """
    if key.passphrase:
        raise EngineError(
            "recipients and a passphrase are given",
            next_step="set one of kubeflow_backup_recipients and kubeflow_backup_passphrase: a backup is locked in one way",
        )
    if not key.recipients:
        raise EngineError(
            "identities are given, but no recipient to encrypt for",
            next_step="set kubeflow_backup_recipients (age-keygen -y prints them), or no identities for a backup that is not encrypted",
        )
    found = []
    for number, text in enumerate(key.recipients, 1):
        kind = pyrage.ssh if text.strip().startswith("ssh-") else pyrage.x25519
        try:
            found.append(kind.Recipient.from_str(text.strip()))
        except pyrage.RecipientError:
            secret = "PRIVATE KEY" in text or "AGE-SECRET-KEY" in text.upper()
            raise EngineError(
                "recipient %d of %d is none" % (number, len(key.recipients)),
                expected='an age recipient ("age1...") or a public SSH key (ssh-ed25519, ssh-rsa)',
                found="a secret key" if secret else "",
                next_step="give the public half: age-keygen -y prints it, for SSH it is the file .pub",
            ) from None
    return found


def _identities_of(key: BackupKey) -> List[Any]:
    """The library's identities, in the order of the texts; an age identity file may have several lines of them.

    :raises EngineError: which text, and which line of it, is none.
    """
    found = []
    for number, text in enumerate(key.identities, 1):
        subject = "identity %d of %d" % (number, len(key.identities))
        if "AGE ENCRYPTED FILE" in text:
            raise EngineError(
                "it is locked with a passphrase itself", subject=subject, next_step="unlock it with age -d and give the result"
            )
        if "PRIVATE KEY-----" in text:
            found.append(_ssh_identity(text, subject))
            continue
        lines = [(at, line.strip()) for at, line in enumerate(text.splitlines(), 1)]
        secrets = [(at, line) for at, line in lines if line and not line.startswith("#")]
        for at, line in secrets or [(0, "")]:
            try:
                found.append(pyrage.x25519.Identity.from_str(line))
            except pyrage.IdentityError:
                raise EngineError(
                    "line %d is no age identity" % at if at else "there is no identity in it",
                    subject=subject,
                    expected='the text of an age identity file (lines "AGE-SECRET-KEY-1...") or of a private SSH key',
                    next_step="give the whole text as age-keygen or ssh-keygen wrote it; identities of plugins are not supported",
                ) from None
    return found


def _ssh_identity(text: str, subject: str) -> Any:
    try:
        return pyrage.ssh.Identity.from_buffer(text.strip().encode() + b"\n")
    except pyrage.IdentityError as problem:
        locked = "decrypted first" in str(problem)
        raise EngineError(
            "the private SSH key is locked with a passphrase" if locked else "it is no private SSH key that can be used",
            subject=subject,
            expected="an SSH key of type ed25519 or rsa without a passphrase",
            next_step="make a copy without passphrase with ssh-keygen -p" if locked else "give the whole file as ssh-keygen wrote it",
        ) from None


def _own_lock(key: BackupKey) -> Tuple[bytes, Any]:
    """The identity of this run, locked with the passphrase, and its recipient: made once for a key."""
    with _PASSPHRASES:
        if "own" not in key.made:
            identity = pyrage.x25519.Identity.generate()
            locked = pyrage.passphrase.encrypt(b"%s\n" % str(identity).encode(), key.passphrase, armored=True)
            locked = locked.strip() + b"\n"
            key.made[_digest(locked)] = identity
            key.made["own"] = (locked, identity.to_public())
        own: Tuple[bytes, Any] = key.made["own"]
        return own


def _unlocked(key: BackupKey, locked: bytes, subject: str) -> Any:
    """The identity that was locked with the passphrase: opened once for a key."""
    with _PASSPHRASES:
        digest = _digest(locked)
        if digest not in key.made:
            try:
                text = pyrage.passphrase.decrypt(locked, key.passphrase)
                key.made[digest] = pyrage.x25519.Identity.from_str(text.decode().strip())
            except pyrage.DecryptError as problem:
                raise _meaning(problem, subject) from problem
            except (pyrage.IdentityError, ValueError):  # what was locked is secret: none of it may be shown
                raise EngineError("what the passphrase opens is no identity", subject=subject, next_step=_ANOTHER) from None
        return key.made[digest]


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


# ------------------------------------------------------------------ what kind of file it is


def _peeked(chunks: Iterable[bytes], size: int) -> Tuple[bytes, Iterator[bytes]]:
    """The first ``size`` bytes (fewer if there are no more), and everything again."""
    source, head = iter(chunks), b""
    for chunk in source:
        head += chunk
        if len(head) >= size:
            break
    return head[:size], itertools.chain((head,), source)


def _kind_fits(head: bytes, encryption: str, subject: str) -> None:
    """:raises EngineError: the file does not begin as the manifest's ``encryption`` says."""
    kinds = {"": "not encrypted", "age": "encrypted for recipients", "passphrase": "encrypted with a passphrase"}
    if encryption not in kinds:
        raise EngineError(
            "it is encrypted in a way that is not known here",
            subject=subject,
            expected=", ".join(repr(kind) for kind in kinds),
            found=repr(encryption),
            next_step="read it with the version of the collection that made it",
        )
    looks = "age" if head.startswith(_AGE_MAGIC) else "passphrase" if head.startswith(_ARMOR) else ""
    if looks == encryption:
        return
    if encryption and not head.startswith(_GZIP_MAGIC) and not looks:
        raise EngineError("it does not begin as an encrypted file: %s" % _CHANGED, subject=subject, next_step=_ANOTHER)
    raise EngineError(
        "the file is not what the backup's manifest says: one of them was replaced",
        subject=subject,
        expected="a file that is %s" % kinds[encryption],
        found="one that is %s" % kinds[looks],
        next_step=_ANOTHER,
    )


def _until_end_of_armor(chunks: Iterator[bytes], subject: str) -> Tuple[bytes, Iterator[bytes]]:
    """The locked identity at the file's beginning, and what comes after it."""
    head = b""
    for chunk in chunks:
        head += chunk
        locked, end, body = head.partition(_ARMOR_END)
        if end:
            return locked + end, itertools.chain((body,), chunks)
        if len(head) > _LOCK_LIMIT:
            break
    raise EngineError("the locked key at its beginning has no end: %s" % _CHANGED, subject=subject, next_step=_ANOTHER)


def _meaning(problem: Exception, subject: str) -> EngineError:
    """The library's error in our words."""
    for words, cause, next_step in _MEANINGS:
        if words in str(problem):
            return EngineError(cause, subject=subject, next_step=next_step)
    return EngineError("the age library refuses it: %s" % problem, subject=subject, next_step=_ANOTHER)


# ------------------------------------------------------------------ the library's call as a step of a stream


class _Abandoned(Exception):
    """Ends the library's call when nobody wants its result any more."""


class _Step:
    """A call that reads a file and writes one, made into something that is fed pieces and gives pieces.

    The call has a thread of its own, which runs only while :meth:`feed` waits for it: so the source is read by the thread
    that wants the result, its errors need no transport, and nothing piles up.
    """

    def __init__(self, call: Callable[[Any, Any], None]) -> None:
        self._call = call
        self._ours, self._its = threading.Semaphore(0), threading.Semaphore(0)
        self._piece: Optional[bytes] = b""
        self._at = 0
        self._abandoned = False
        self._made: List[bytes] = []
        self.done = False
        self.problem: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, name="encryption", daemon=True)

    def _run(self) -> None:
        try:
            self._its.acquire()
            self._call(self, self)
        except BaseException as problem:  # handed over: nobody would see it in this thread
            self.problem = problem
        self.done = True
        self._ours.release()

    # what the library calls

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes of what was fed; waits for more, and is empty only at the end."""
        while self._piece is not None and self._at >= len(self._piece):
            self._ours.release()
            self._its.acquire()
            if self._abandoned:
                raise _Abandoned
        if self._piece is None:
            return b""
        start, self._at = self._at, min(self._at + size, len(self._piece))
        return self._piece[start : self._at]

    def write(self, data: bytes) -> int:
        """Keep it until it is asked for."""
        self._made.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    # what we call

    def feed(self, piece: Optional[bytes]) -> List[bytes]:
        """Give it a piece (None for the end), and take what it made of it."""
        self._piece, self._at = piece, 0
        if not self._thread.ident:
            self._thread.start()
        self._its.release()
        self._ours.acquire()
        made, self._made = self._made, []
        return made

    def end(self) -> None:
        """Stop it wherever it is; when this returns there is no thread any more."""
        self._abandoned = True
        if self._thread.ident:
            self._its.release()
            self._thread.join()


def _worked(chunks: Iterable[bytes], call: Callable[[Any, Any], None], subject: str) -> Iterator[bytes]:
    """The chunks as ``call`` (reader, writer) changes them.

    :raises EngineError: the library's error in our words.
    """
    step = _Step(call)
    try:
        for piece in itertools.chain(_pieces(chunks), (None,)):
            made = step.feed(piece)
            if made:
                yield b"".join(made)
            if step.done:
                break
        if isinstance(step.problem, (pyrage.DecryptError, pyrage.EncryptError, OSError)):
            raise _meaning(step.problem, subject) from step.problem
        if step.problem is not None:
            raise step.problem
    finally:
        step.end()
        close(chunks)


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of about PIECE: a step for each row would be slow, one for a whole dump large."""
    gathered: List[bytes] = []
    size = 0
    for chunk in chunks:
        for start in range(0, len(chunk), PIECE):
            part = chunk if len(chunk) <= PIECE else bytes(chunk[start : start + PIECE])
            gathered.append(part)
            size += len(part)
            if size >= PIECE:
                yield b"".join(gathered)
                gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)
