# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup's manifest: what it consists of, from what it was taken, and the digests by which every byte of it is checked.

It is written first and last and after each part, so that a backup that was stopped says how far it came. It carries the
digest of itself, against accidents and careless edits; who can write into the store can also make a new digest.
No credential is ever in it: whoever may list backups may read it.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from dataclasses import dataclass, field, fields, replace
from typing import Any, Counter, Dict, Iterable, Mapping, NoReturn, Optional, Tuple, Type, TypeVar

from .errors import EngineError
from .stores import Store

SCHEMA = 1
DIGEST = "digest"
FILE = "manifest.json"
KINDS = ("objects", "volumes", "database", "objectstore", "record")
STATES = ("running", "done")
ENCRYPTIONS = ("", "age", "passphrase")
# The moment of its start and the cluster: names sort by time, and a person sees what it is.
BACKUP_ID = re.compile(r"\d{8}T\d{6}Z-[A-Za-z0-9][A-Za-z0-9._-]*")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_USE_ANOTHER = "use another backup, or copy this file again from where the backup was first stored; never edit it"
R = TypeVar("R", "BackupFile", "Part", "Manifest")


def seconds(time: str) -> float:
    """Seconds since 1970 of a time as :func:`results.now` writes it.

    :raises ValueError: it is none.
    """
    return datetime.datetime.strptime(time, _TIME).replace(tzinfo=datetime.timezone.utc).timestamp()


def backup_id(started: str, cluster: str) -> str:
    """The name of a backup: ``20261124T184500Z-factory-1``; what must not be in a file's name becomes "-".

    :param started: as :func:`results.now` writes it.
    """
    return "%s-%s" % (re.sub("[-:]", "", started), re.sub(r"[^A-Za-z0-9._-]", "-", cluster).lstrip("._-") or "cluster")


@dataclass(frozen=True)
class BackupFile:
    """One file of a backup.

    :ivar name: its name in the store, which begins with the backup's id and "/".
    :ivar size: bytes as stored; ``plain_size`` before compression and encryption, the digests likewise.
    """

    name: str
    size: int
    sha256: str
    plain_size: int
    plain_sha256: str
    compressed: bool = True


@dataclass(frozen=True)
class Part:
    """What was taken from one source: one database, one object store, the objects, the record.

    :ivar component: whose data it is, "" for the platform's.
    :ivar counts: what was counted at the source: ``{"rows": 3, "tables": 2}``.
    :ivar started: UTC; ``ended`` is "" while ``state`` is "running".
    :ivar details: what restoring needs to know (versions, character sets); JSON, without credentials.
    """

    kind: str
    name: str
    component: str
    state: str
    files: Tuple[BackupFile, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    started: str = ""
    ended: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Tuple[str, str]:
        """By what it is told from the backup's other parts."""
        return self.kind, self.name


@dataclass(frozen=True)
class Totals:
    """The sums over a backup's parts; sizes in bytes."""

    files: int
    stored_bytes: int
    plain_bytes: int
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Manifest:
    """One backup.

    :ivar cluster_uid: the uid of the namespace kube-system: two clusters may have the same name, one after the other.
    :ivar release: of the platform; ``kubernetes`` and ``collection`` are versions too.
    :ivar encryption: "", "age" or "passphrase".
    :ivar state: "running" until everything was written and read back, then "done".
    """

    schema: int
    id: str
    cluster: str
    cluster_uid: str
    release: str
    kubernetes: str
    collection: str
    encryption: str
    state: str
    started: str
    ended: str = ""
    parts: Tuple[Part, ...] = ()

    @property
    def complete(self) -> bool:
        """It was finished, and so was every part of it."""
        return self.state == "done" and all(part.state == "done" for part in self.parts)

    @property
    def last_sign(self) -> str:
        """The last moment that is written in it: when somebody surely worked on it."""
        return max([self.started, self.ended] + [time for part in self.parts for time in (part.started, part.ended)])

    def part(self, kind: str, name: str) -> Optional[Part]:
        """The part, None if the backup has no such part."""
        return next((part for part in self.parts if part.key == (kind, name)), None)

    def with_part(self, new: Part) -> Manifest:
        """The same with this part, which takes the place of an earlier state of it."""
        if self.part(*new.key) is None:
            return replace(self, parts=self.parts + (new,))
        return replace(self, parts=tuple(new if part.key == new.key else part for part in self.parts))

    def files(self) -> Tuple[BackupFile, ...]:
        """The files of all parts."""
        return tuple(file for part in self.parts for file in part.files)

    def totals(self) -> Totals:
        """Sums over the parts."""
        counts: Dict[str, int] = {}
        for part in self.parts:
            for name, number in part.counts.items():
                counts[name] = counts.get(name, 0) + number
        files = self.files()
        return Totals(len(files), sum(one.size for one in files), sum(one.plain_size for one in files), counts)

    def text(self, secrets: Iterable[str] = ()) -> str:
        """The file's text, the same for the same manifest.

        :param secrets: what must not be in it: the credentials that the run had in its hands.
        :raises EngineError: one of them is in it; it is not shown.
        """
        document = {**vars(self), "parts": [{**vars(part), "files": [vars(file) for file in part.files]} for part in self.parts]}
        return _refuse_secrets(_rendered({**document, DIGEST: _digest(document)}), secrets, self.id)

    @classmethod
    def read(cls, data: bytes, subject: str) -> Manifest:
        """A manifest from its file's bytes.

        :param subject: the file's full name, for errors.
        :raises EngineError: it is cut off, edited, of a newer schema, or no manifest.
        """
        document = _document(data, subject)
        digest = document.pop(DIGEST, None)
        try:
            # Every byte counts, also those between the values: text that we did not write was edited.
            ours = digest == _digest(document) and _rendered({**document, DIGEST: digest}).encode() == data
        except (ValueError, RecursionError):  # what can be read but not be written: an infinite number, objects in objects without end
            ours = False
        if not ours:
            raise EngineError("the manifest was edited after it was written", subject=subject, next_step=_USE_ANOTHER)
        return _checked(_record(Manifest, document, "", subject), subject)


# ------------------------------------------------------------------ in a store


def save_manifest(store: Store, manifest: Manifest, secrets: Iterable[str] = ()) -> None:
    """Write a manifest; what could not be read again is not written.

    :param secrets: see :meth:`Manifest.text`.
    """
    name, data = "%s/%s" % (manifest.id, FILE), manifest.text(secrets).encode()
    Manifest.read(data, "%s in %s" % (name, store.place))
    store.put(name, (data,))


def load_manifest(store: Store, backup: str) -> Manifest:
    """The manifest of the backup with this id.

    :raises EngineError: see :meth:`Manifest.read`; it is not there, or that of another backup.
    """
    name = "%s/%s" % (backup, FILE)
    subject = "%s in %s" % (name, store.place)
    manifest = Manifest.read(b"".join(store.get(name)), subject)
    if manifest.id != backup:
        raise EngineError(
            "the manifest is that of another backup", subject=subject, expected=backup, found=manifest.id, next_step=_USE_ANOTHER
        )
    return manifest


# ------------------------------------------------------------------ text


def _rendered(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical form, without the digest itself."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_secrets(text: str, secrets: Iterable[str], backup: str) -> str:
    for secret in secrets:
        written = json.dumps(secret)[1:-1]
        # Short ones ("minio", "root") are names as well: they would be found in what is no secret.
        if len(secret) >= 8 and written in text:
            raise EngineError(
                "a credential would be written into the manifest",
                subject="backup %s" % backup,
                next_step="this is a mistake of the collection: report it; nothing was written",
            )
    return text


def _document(data: bytes, subject: str) -> Dict[str, Any]:
    """The JSON object in the bytes, of a schema that is known here."""
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as problem:
        where = " at line %d" % problem.lineno if isinstance(problem, json.JSONDecodeError) else ""
        raise EngineError(
            "the manifest is not JSON%s: it was cut off or changed" % where,
            subject=subject,
            found="%d bytes" % len(data),
            next_step=_USE_ANOTHER,
        ) from problem
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(document, dict) or isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise EngineError(
            "it is no manifest of a backup", subject=subject, expected='a JSON object with "schema": %d' % SCHEMA, next_step=_USE_ANOTHER
        )
    if schema > SCHEMA:
        raise EngineError(
            "the backup was made by a newer version of this collection",
            subject=subject,
            expected="schema %d" % SCHEMA,
            found="schema %d%s" % (schema, ", collection %s" % document["collection"] if _is_text(document.get("collection")) else ""),
            next_step="use at least the version of the collection that made it",
        )
    return document


def _no_number(text: str) -> NoReturn:
    raise ValueError("%s is no JSON" % text)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and (value == "" or seconds(value) > 0)
    except ValueError:
        return False


def _is_name(value: Any) -> bool:
    """A name that stays below where it begins."""
    return isinstance(value, str) and "\0" not in value and not set(value.split("/")) & {"", ".", ".."}


def _one_of(*values: str) -> Any:
    return lambda value: isinstance(value, str) and value in values


# What each field must be: the test, and its words for a person. What is in no row here is any text.
_TEXT = (_is_text, "text")
_COUNT = (_is_count, "a whole number that is not negative")
_DIGEST = (lambda value: isinstance(value, str) and bool(_SHA256.fullmatch(value)), "a SHA-256 in hexadecimal")
_MOMENT = (_is_time, "a time like 2026-11-24T18:45:00Z")
_STATE = (_one_of(*STATES), " or ".join(STATES))
_RULES: Mapping[str, Mapping[str, Tuple[Any, str]]] = {
    "BackupFile": {
        "name": (_is_name, "a name that stays in the store"),
        "size": _COUNT,
        "plain_size": _COUNT,
        "sha256": _DIGEST,
        "plain_sha256": _DIGEST,
        "compressed": (lambda value: isinstance(value, bool), "true or false"),
    },
    "Part": {
        "kind": (_one_of(*KINDS), "one of " + ", ".join(KINDS)),
        "state": _STATE,
        "started": _MOMENT,
        "ended": _MOMENT,
        "files": (lambda value: isinstance(value, list), "a list"),
        "counts": (lambda value: isinstance(value, dict) and all(map(_is_count, value.values())), "numbers by name"),
        "details": (lambda value: isinstance(value, dict), "an object"),
    },
    "Manifest": {
        "schema": _COUNT,
        "id": (lambda value: isinstance(value, str) and bool(BACKUP_ID.fullmatch(value)), "an id like 20261124T184500Z-factory-1"),
        "encryption": (_one_of(*ENCRYPTIONS), 'one of "", age, passphrase'),
        "state": _STATE,
        "started": (lambda value: value != "" and _is_time(value), _MOMENT[1]),
        "ended": _MOMENT,
        "parts": (lambda value: isinstance(value, list), "a list"),
    },
}


def _record(kind: Type[R], value: Any, where: str, subject: str) -> R:
    """One of the dataclasses above from JSON: exactly its fields, each of its type.

    :raises EngineError: the first field that is missing, unknown or of another type, with its path.
    """
    names = [one.name for one in fields(kind)]
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value, subject)
    for name in sorted(set(names) ^ set(value)):
        raise EngineError(
            "the manifest %s" % ("lacks a field" if name in names else "has a field that is not known here"),
            subject=subject,
            found=where + name,
            next_step="read it with the version of the collection that made it; if that was this one, " + _USE_ANOTHER,
        )
    values = {name: value[name] for name in names}
    for name in names:
        fits, words = _RULES[kind.__name__].get(name, _TEXT)
        if not fits(values[name]):
            raise _wrong(where + name, words, values[name], subject)
    if kind is Part:
        values["files"] = tuple(_record(BackupFile, one, "%sfiles[%d]." % (where, at), subject) for at, one in enumerate(value["files"]))
    if kind is Manifest:
        values["parts"] = tuple(_record(Part, one, "parts[%d]." % at, subject) for at, one in enumerate(value["parts"]))
    return kind(**values)


def _wrong(where: str, expected: str, value: Any, subject: str) -> EngineError:
    return EngineError(
        "%s in the manifest is not what it must be" % (where.rstrip(".") or "everything"),
        subject=subject,
        expected=expected,
        found=json.dumps(value)[:80],
        next_step=_USE_ANOTHER,
    )


def _checked(manifest: Manifest, subject: str) -> Manifest:
    """What one field alone does not show.

    :raises EngineError: two parts or files of one name, or a file of another backup.
    """
    problem = ""
    for what, names in (
        ("files", Counter(file.name for file in manifest.files())),
        ("parts", Counter(part.key for part in manifest.parts)),
    ):
        name, times = (names.most_common(1) or [("", 0)])[0]
        if times > 1:
            problem = "the manifest has two %s with the same name %s" % (what, name if isinstance(name, str) else " ".join(name))
    elsewhere = [file.name for file in manifest.files() if not file.name.startswith(manifest.id + "/")]
    if elsewhere:
        problem = "the manifest names the file %s, which is not of this backup" % elsewhere[0]
    if problem:
        raise EngineError(problem, subject=subject, next_step=_USE_ANOTHER)
    return manifest
