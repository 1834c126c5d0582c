# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup's file comes out as it went in or not at all, says why, and shows nobody its keys."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import os
import threading
import traceback
import zlib
from typing import Any, Callable, Iterator, List, Tuple

import pyrage
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import encrypting
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import PIECE, BackupKey, packed, unpacked
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError, MissingLibrary

from .generated import examples

PASSPHRASE = "correct horse battery staple"
SUBJECT = "20260102T030405Z-factory-1/databases/katib.sql.gz.age"


def new_identity() -> Tuple[str, str]:
    """(recipient, text of an identity file), as age-keygen writes it."""
    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    return recipient, "# created: 2026-01-02T03:04:05Z\n# public key: %s\n%s\n" % (recipient, identity)


RECIPIENT, IDENTITY = new_identity()
OTHER_RECIPIENT, OTHER_IDENTITY = new_identity()
NONE, AGE, PASS = BackupKey(), BackupKey((RECIPIENT,), (IDENTITY,)), BackupKey(passphrase=PASSPHRASE)


def b64(data: bytes) -> bytes:
    """Without padding, as age has it."""
    return base64.b64encode(data).rstrip(b"=")


def derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF as age uses it."""
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def locked(plain: bytes, passphrase: str, armored: bool = True, claimed: int = 0) -> bytes:
    """A small age file for a passphrase, made after the specification (age-encryption.org/v1).

    The library takes a second and 256 MiB for it; so little work as here is as correct, and protects nothing.
    """
    assert armored
    work = 2
    key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    wrap = hashlib.scrypt(passphrase.encode(), salt=b"age-encryption.org/v1/scrypt" + salt, n=1 << work, r=8, p=1, dklen=32)
    stanza = b"-> scrypt %s %d\n%s" % (b64(salt), claimed or work, b64(ChaCha20Poly1305(wrap).encrypt(bytes(12), key, None)))
    header = b"age-encryption.org/v1\n%s\n---" % stanza
    mac = hmac.new(derived(key, b"", b"header"), header, hashlib.sha256).digest()
    payload = ChaCha20Poly1305(derived(key, nonce, b"payload")).encrypt(bytes(11) + b"\1", plain, None)
    text = base64.b64encode(header + b" " + b64(mac) + b"\n" + nonce + payload)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join([b"-----BEGIN AGE ENCRYPTED FILE-----", *lines, b"-----END AGE ENCRYPTED FILE-----"]) + b"\n"


@pytest.fixture(autouse=True)
def quick_passphrases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Locked with little work, opened by the library itself; no thread stays behind."""
    monkeypatch.setattr(pyrage.passphrase, "encrypt", locked)
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def stored(plain: bytes, key: BackupKey, compress: bool = True) -> bytes:
    """A file as it lies in the store."""
    return b"".join(packed([plain], key, compress))


def opened(data: bytes, key: BackupKey, encryption: str, compressed: bool = True) -> bytes:
    """Its content again, read in pieces that fit nothing."""
    return b"".join(unpacked((data[at : at + 7001] for at in range(0, len(data), 7001)), key, encryption, compressed, SUBJECT))


def refusal(data: bytes, key: BackupKey, encryption: str, compressed: bool = True) -> EngineError:
    """The error; it names the file, says what to do, and shows no secret."""
    with pytest.raises(EngineError) as caught:
        opened(data, key, encryption, compressed)
    assert caught.value.subject == SUBJECT and caught.value.next_step
    shows_no_secret("%s %s" % (caught.value, caught.value.__cause__))
    return caught.value


def shows_no_secret(text: str) -> None:
    """Neither the passphrase nor any line of an identity is in it."""
    assert PASSPHRASE not in text
    assert "AGE-SECRET-KEY-1" + IDENTITY.rsplit("-1", 1)[1].strip() not in text and "AGE-SECRET-KEY-1" + OTHER_IDENTITY[-20:] not in text


# ------------------------------------------------------------------ there and back


@settings(max_examples=examples(12), deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=300)), st.sampled_from([NONE, AGE, PASS]), st.booleans(), st.integers(1, 400))
def test_what_comes_out_is_what_went_in(chunks: List[bytes], key: BackupKey, compress: bool, width: int) -> None:
    """However it is cut into chunks on either side."""
    data = b"".join(packed(iter(chunks), key, compress))
    again = unpacked((data[at : at + width] for at in range(0, len(data), width)), key, key.encryption, compress)
    assert b"".join(again) == b"".join(chunks)


@pytest.mark.parametrize("key", [NONE, AGE, PASS], ids=["plain", "age", "passphrase"])
@pytest.mark.parametrize("size", [0, 65535, 65536, PIECE - 1, PIECE, 3 * PIECE + 17])
def test_sizes_at_which_something_begins_anew(key: BackupKey, size: int) -> None:
    """age works in pieces of 64 KiB, we in pieces of 256 KiB; one chunk may be larger than all of them."""
    plain = os.urandom(size)
    data = stored(plain, key, compress=False)
    assert opened(data, key, key.encryption, compressed=False) == plain
    assert (plain[:5000] in data) == (key is NONE or size == 0)


def test_the_same_input_gives_the_same_gzip_which_gunzip_reads() -> None:
    """No time, no name; and a person needs nothing of ours to read it."""
    rows = b"INSERT INTO runs VALUES (1);\n" * 5000
    assert stored(rows, NONE) == b"".join(packed([rows[:1000], b"", rows[1000:]], NONE))
    assert gzip.decompress(stored(rows, NONE)) == rows and len(stored(rows, NONE)) < len(rows) / 50


def test_a_file_for_recipients_is_a_plain_age_file() -> None:
    """The library's own function reads it, with the identity of any recipient."""
    data = stored(b"rows", BackupKey((RECIPIENT, OTHER_RECIPIENT)))
    for text in (IDENTITY, OTHER_IDENTITY):
        identity = pyrage.x25519.Identity.from_str(text.splitlines()[-1])
        assert gzip.decompress(pyrage.decrypt(data, [identity])) == b"rows"


def test_a_file_with_a_passphrase_is_an_identity_file_of_age_and_an_age_file() -> None:
    """As the module's text promises to who has nothing but age and sed."""
    head, end, body = stored(b"rows", PASS).partition(b"-----END AGE ENCRYPTED FILE-----\n")
    identity = pyrage.x25519.Identity.from_str(pyrage.passphrase.decrypt(head + end, PASSPHRASE).decode().strip())
    assert gzip.decompress(pyrage.decrypt(body, [identity])) == b"rows"


def test_a_passphrase_is_turned_into_a_key_once_for_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand files would take hours otherwise. What another run wrote is opened once as well."""
    calls: List[str] = []

    def counted(name: str) -> Callable[..., Any]:
        whole: Callable[..., Any] = getattr(pyrage.passphrase, name)

        def call(*args: Any, **more: Any) -> Any:
            calls.append(name)
            return whole(*args, **more)

        return call

    for name in ("encrypt", "decrypt"):
        monkeypatch.setattr(pyrage.passphrase, name, counted(name))
    first, second = BackupKey(passphrase=PASSPHRASE), BackupKey(passphrase=PASSPHRASE)
    files = [stored(b"%d" % number, first) for number in range(3)]
    assert [opened(data, first, "passphrase") for data in files] == [b"0", b"1", b"2"] and calls == ["encrypt"]
    assert [opened(data, second, "passphrase") for data in files] == [b"0", b"1", b"2"] and calls == ["encrypt", "decrypt"]
    assert first == second and len({first, second}) == 1


def test_ssh_keys_serve_as_well() -> None:
    """A comment at the end of the public one does not matter; beside others in one key each opens its own."""
    pair = Ed25519PrivateKey.generate()
    private = pair.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()).decode()
    public = pair.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    data = stored(b"rows", BackupKey((public + " me@here\n",)))
    assert opened(data, BackupKey(identities=(OTHER_IDENTITY, private)), "age") == b"rows"


def test_a_text_may_hold_several_identities() -> None:
    """Keys are changed over the years; old backups stay readable."""
    assert opened(stored(b"x", AGE), BackupKey(identities=(OTHER_IDENTITY + "\n" + IDENTITY,)), "age") == b"x"


# ------------------------------------------------------------------ streams


@pytest.mark.parametrize("key", [NONE, AGE, PASS], ids=["plain", "age", "passphrase"])
def test_memory_does_not_grow_with_the_file(key: BackupKey) -> None:
    """The source is never more than a few pieces ahead of what came out, in both directions."""
    block, ahead, given_out = os.urandom(100_000), [0, 0], [0, 0]

    def source() -> Iterator[bytes]:
        for _number in range(20):
            given_out[0] += len(block)
            ahead[0] = max(ahead[0], given_out[0] - given_out[1])
            yield block

    def through(chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            given_out[1] += len(chunk)
            yield chunk

    size = 0
    for chunk in unpacked(through(packed(source(), key, compress=False)), key, key.encryption, compressed=False):
        size += len(chunk)
        ahead[1] = max(ahead[1], given_out[1] - size)
    assert size == 20 * len(block)
    assert max(ahead) < 3 * PIECE


def test_a_small_file_that_would_fill_the_memory_comes_out_in_pieces() -> None:
    """3 MiB of zeros are 3 KiB of gzip: no chunk of them is large."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = squeeze.compress(bytes(3 << 20)) + squeeze.flush()
    assert len(bomb) < 4_000
    sizes = [len(chunk) for chunk in unpacked([bomb], NONE, "")]
    assert sum(sizes) == 3 << 20 and max(sizes) <= PIECE


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("key", [NONE, AGE, PASS], ids=["plain", "age", "passphrase"])
@pytest.mark.parametrize("length", [0, PIECE])
def test_an_error_of_the_source_comes_out_as_itself(key: BackupKey, compress: bool, length: int) -> None:
    """A database that drops the connection is no problem of the encryption: in both directions the very same exception."""
    problem = ConnectionResetError("the server went away")

    def failing(data: bytes) -> Iterator[bytes]:
        for at in range(0, length, PIECE):
            yield data[at : at + PIECE]
        raise problem

    whole = os.urandom(PIECE + 70_000 if length else 0)
    with pytest.raises(ConnectionResetError) as caught:
        list(packed(failing(whole), key, compress))
    assert caught.value is problem
    data = stored(whole, key, compress)
    with pytest.raises(ConnectionResetError) as caught:
        list(unpacked(failing(data), key, key.encryption, compress))
    assert caught.value is problem


@pytest.mark.parametrize("key", [NONE, AGE, PASS], ids=["plain", "age", "passphrase"])
@pytest.mark.parametrize("compress", [True, False])
def test_who_stops_early_leaves_nothing_running(key: BackupKey, compress: bool) -> None:
    """The thread ends and the source is told, at once; also if nothing was read at all."""
    closed: List[str] = []

    def endless(data: bytes) -> Iterator[bytes]:
        try:
            while True:
                yield data
        finally:
            closed.append("source")

    before = threading.active_count()
    stream = packed(endless(os.urandom(PIECE // 4)), key, compress)
    next(stream)
    assert next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert closed == ["source"] and threading.active_count() == before

    data = stored(os.urandom(PIECE + 70_000), key, compress)
    back = unpacked(endless(data), key, key.encryption, compress)
    assert next(back)
    back.close()  # type: ignore[attr-defined]
    assert closed == ["source", "source"] and threading.active_count() == before
    packed(endless(b""), key, compress).close()  # type: ignore[attr-defined]


def test_it_can_be_stopped_while_the_library_is_at_work() -> None:
    """Ctrl-C in the thread that waits: the exception comes out, the other thread ends."""
    before = threading.active_count()

    def interrupted() -> Iterator[bytes]:
        yield os.urandom(2 * PIECE)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(packed(interrupted(), AGE))
    assert threading.active_count() == before


# ------------------------------------------------------------------ what is not right


PLAIN = bytes(range(256)) * 1024
FILES = {"plain": (NONE, ""), "age": (AGE, "age"), "passphrase": (PASS, "passphrase")}


@pytest.mark.parametrize("kind", ["age", "passphrase"])
@pytest.mark.parametrize("compress", [True, False])
def test_one_flipped_bit_anywhere_is_noticed(kind: str, compress: bool) -> None:
    """In the header, in the middle, at the end: nothing but what was written ever comes out whole."""
    key, encryption = FILES[kind]
    data = stored(os.urandom(80_000), key, compress)
    for at in [*range(0, 700, 37), 70_000, len(data) - 1]:
        edited = bytearray(data)
        edited[at] ^= 4
        error = refusal(bytes(edited), key, encryption, compress)
        assert any(word in str(error) for word in ("changed", "replaced")), (at, str(error))


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_was_cut_off_is_noticed(kind: str) -> None:
    """Wherever it ends, also at a border of age's pieces, also if nothing is left of it."""
    key, encryption = FILES[kind]
    data = stored(os.urandom(150_000), key)
    for end in (0, 1, 11, 25, 60, 150, 300, 600, 65_536 + 216, 100_000, len(data) - 1):
        error = refusal(data[:end], key, encryption)
        assert "cut off" in error.cause or "first bytes were changed" in error.cause, end


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_goes_on_after_its_end_is_noticed(kind: str) -> None:
    """Two backups in one file are none."""
    key, encryption = FILES[kind]
    data = stored(PLAIN, key)
    for more in (b"x", data):
        assert "changed" in refusal(data + more, key, encryption).cause


def test_a_flipped_bit_of_gzip_is_noticed() -> None:
    """gzip has a checksum of its own; where its marks are hit, it is no gzip any more."""
    data = stored(os.urandom(50_000), NONE)
    for at in (0, 2, 500, 25_000, len(data) - 8, len(data) - 1):
        edited = bytearray(data)
        edited[at] ^= 1
        assert "uncompressed" in refusal(bytes(edited), NONE, "").cause


def test_the_wrong_key_says_that_the_key_is_wrong() -> None:
    """And which kind is asked for."""
    error = refusal(stored(PLAIN, AGE), BackupKey(identities=(OTHER_IDENTITY,)), "age")
    assert "no key that was given" in error.cause and "identity" in error.next_step
    error = refusal(stored(PLAIN, PASS), BackupKey(passphrase="Correct horse battery staple"), "passphrase")
    assert "passphrase does not open" in error.cause and "passphrase" in error.next_step


def test_without_a_key_an_encrypted_file_says_which_it_needs() -> None:
    """Recipients lock, they do not open."""
    assert "no identity was given" in refusal(stored(PLAIN, AGE), BackupKey((RECIPIENT,)), "age").cause
    assert "no passphrase was given" in refusal(stored(PLAIN, PASS), AGE, "passphrase").cause


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("said", FILES)
def test_a_file_that_is_not_what_the_manifest_says_is_refused(kind: str, said: str) -> None:
    """Also a plain one in place of one that only the owner of a key could have read."""
    if kind != said:
        both = BackupKey(identities=(IDENTITY,), passphrase=PASSPHRASE)
        error = refusal(stored(PLAIN, FILES[kind][0]), both, FILES[said][1])
        assert "not what the backup's manifest says" in error.cause and error.expected and error.found


def test_files_of_users_may_be_age_files_themselves() -> None:
    """What is stored as it is may hold anything."""
    theirs = pyrage.encrypt(b"theirs", [pyrage.x25519.Recipient.from_str(OTHER_RECIPIENT)])
    for key in (NONE, AGE):
        assert opened(stored(theirs, key, compress=False), key, key.encryption, compressed=False) == theirs


def test_an_encryption_of_the_future_is_named() -> None:
    """Not guessed."""
    assert "post-quantum" in refusal(b"x" * 100, AGE, "post-quantum").found


def test_a_passphrase_for_a_faster_machine_is_told_from_a_wrong_one() -> None:
    """The library refuses what would take minutes."""
    data = locked(b"AGE-SECRET-KEY-1X", PASSPHRASE, claimed=40) + b"age"
    assert "faster machine" in refusal(data, BackupKey(passphrase=PASSPHRASE), "passphrase").cause


def test_what_the_passphrase_opens_must_be_an_identity() -> None:
    """And is not shown if it is something else."""
    error = refusal(locked(b"something private", PASSPHRASE) + b"age", BackupKey(passphrase=PASSPHRASE), "passphrase")
    assert "no identity" in error.cause and "private" not in "".join(traceback.format_exception(error))


# ------------------------------------------------------------------ keys


def test_nothing_of_a_key_is_ever_shown() -> None:
    """Not even what was put in the wrong place."""
    key = BackupKey((IDENTITY,), (OTHER_IDENTITY,), PASSPHRASE)
    stored(b"x", PASS)
    for text in (repr(key), str(key), "%r" % [key], repr(PASS), repr(vars(PASS).keys())):
        shows_no_secret(text)
    assert repr(key) == "BackupKey(1 recipients, 1 identities, a passphrase)"


@pytest.mark.parametrize(
    ("key", "encryption"),
    [
        (NONE, ""),
        (AGE, "age"),
        (BackupKey((RECIPIENT,)), "age"),
        (BackupKey(identities=(IDENTITY,)), "age"),
        (PASS, "passphrase"),
        (BackupKey(identities=(IDENTITY,), passphrase=PASSPHRASE), "passphrase"),
    ],
)
def test_who_gave_a_key_never_gets_plain_files(key: BackupKey, encryption: str) -> None:
    """Identities alone cannot lock: that is an error, not a backup that everybody can read."""
    assert key.encryption == encryption
    if key.identities and not key.recipients and not key.passphrase:
        with pytest.raises(EngineError, match="no recipient"):
            list(packed([b"secret rows"], key))
        with pytest.raises(EngineError, match="no recipient"):
            key.check()
        key.check(writing=False)
    else:
        key.check()
        assert (b"secret rows" in stored(b"secret rows", key, compress=False)) == (encryption == "")


MISTAKES = {
    "a secret as recipient": (BackupKey((IDENTITY.splitlines()[-1],)), "recipient 1 of 1 is none"),
    "a misspelt recipient": (BackupKey((RECIPIENT, RECIPIENT[:-1] + ("q" if RECIPIENT[-1] != "q" else "p"))), "recipient 2 of 2 is none"),
    "an SSH key of another type": (BackupKey(("ecdsa-sha2-nistp256 AAAA",)), "recipient 1 of 1 is none"),
    "half an SSH key": (BackupKey(("ssh-ed25519 AAAA",)), "recipient 1 of 1 is none"),
    "two ways": (BackupKey((RECIPIENT,), passphrase=PASSPHRASE), "recipients and a passphrase"),
    "half an identity": (BackupKey((RECIPIENT,), (IDENTITY[:-9],)), "line 3 is no age identity"),
    "an empty identity file": (BackupKey((RECIPIENT,), ("# nothing\n",)), "there is no identity in it"),
    "a recipient as identity": (BackupKey((RECIPIENT,), (IDENTITY, RECIPIENT)), "line 1 is no age identity"),
    "a locked identity file": (BackupKey((RECIPIENT,), ("-----BEGIN AGE ENCRYPTED FILE-----\n",)), "locked with a passphrase"),
    "no SSH key": (BackupKey((RECIPIENT,), ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n",)), "no private SSH key"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_key_is_named_before_anything_is_written(mistake: str) -> None:
    """By its number, never by its text."""
    key, words = MISTAKES[mistake]
    with pytest.raises(EngineError) as caught:
        key.check()
    text = "".join(traceback.format_exception(caught.value))
    assert words in text and caught.value.next_step
    shows_no_secret(text)
    assert IDENTITY.splitlines()[-1][:30] not in text


def test_a_locked_ssh_key_says_how_to_unlock_it() -> None:
    """The library would ask on a terminal that is not there."""
    private = (
        Ed25519PrivateKey.generate()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
        .decode()
    )
    body = base64.b64decode("".join(private.splitlines()[1:-1]))
    locked_body = body.replace(
        b"\0\0\0\x04none\0\0\0\x04none\0\0\0\0", b"\0\0\0\x0aaes256-ctr\0\0\0\x06bcrypt\0\0\0\x18\0\0\0\x10" + bytes(16) + b"\0\0\0\x10"
    )
    text = "-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n-----END OPENSSH PRIVATE KEY-----\n" % base64.encodebytes(locked_body).decode().strip()
    with pytest.raises(EngineError) as caught:
        BackupKey(identities=(text,)).check(writing=False)
    assert "locked with a passphrase" in caught.value.cause and "ssh-keygen -p" in caught.value.next_step


def test_without_the_library_only_encryption_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not encrypt needs nothing; who does is told what to install, before anything is read."""
    data = stored(b"x", AGE)
    monkeypatch.setattr(encrypting, "HAS_PYRAGE", False)
    assert opened(stored(b"x", NONE), NONE, "") == b"x"
    NONE.check()
    for attempt in (AGE.check, lambda: stored(b"x", AGE), lambda: stored(b"x", PASS), lambda: opened(data, AGE, "age")):
        with pytest.raises(MissingLibrary, match="pyrage"):
            attempt()
