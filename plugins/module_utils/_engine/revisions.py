# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Revisions: what a cluster was healthy with, kept in it so that one can go back.

One Secret ``revision-<number>`` each in our namespace. An annotation says what it holds (so that a list of them needs no
content), its data are the objects that were wanted, packed, without secrets (see :mod:`.sealing`).
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
import zlib
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from .api import METADATA_LIST, Api, ApiError
from .catalogue import Component, Release
from .errors import EngineError
from .forms import Hasher
from .objects import OUR_NAMESPACE, KubeObject, ObjectRef, ref_of
from .planning import Wanted
from .record import SECRETS, Record
from .results import now
from .sealing import Sealer

try:
    import lzma

    HAS_LZMA = True
except ImportError:  # an interpreter that was built without it
    HAS_LZMA = False

TYPE = "mlplatform.kubeflow/revision"
LABEL = "mlplatform.kubeflow/revision"
HEAD = "mlplatform.kubeflow/revision"
MARK = "mlplatform.kubeflow/rollback"
SCHEMA = 1
KEEP = 5
PREFIX = "revision-"
# Measured with all of 26.03 (675 objects, 5.4 MB of JSON, CPU seconds, bytes of Secret data): xz -1 with a window that holds
# the whole text 0.15 s and 207 kB; xz -6 1.0 s and 173 kB; gzip -6 0.11 s and 648 kB, of 1 MiB that a Secret may hold.
_PRESET = 1
_WINDOW = 8 << 20
_XZ, _GZIP = "objects.xz", "objects.gz"
_MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class RevisedComponent:
    """One component in a revision.

    :ivar digest: keyed hash of its objects as they were wanted, values of Secrets included.
    :ivar objects: how many they are.
    """

    catalogue: str
    version: str
    digest: str
    objects: int


@dataclass(frozen=True)
class Mark:
    """A rollback that went to a revision, or goes there.

    :ivar to: the number that it goes to; :ivar scope: its components, () for the whole platform.
    :ivar newest: the newest revision when it began; the mark means nothing once there is a newer one.
    :ivar done: whether it came to its end.
    """

    to: int
    scope: Tuple[str, ...]
    run: str
    newest: int
    done: bool


@dataclass(frozen=True)
class RevisionHead:
    """What a revision says of itself without its content.

    :ivar written: when, UTC; :ivar run: by which run; :ivar kustomize: the version that rendered it.
    :ivar mark: the last rollback to it; on the newest one the rollback that wrote it.
    """

    number: int
    release: str
    written: str
    run: str
    kustomize: str
    components: Mapping[str, RevisedComponent]
    mark: Optional[Mark] = None
    uid: str = ""

    @property
    def name(self) -> str:
        """The name of its Secret."""
        return PREFIX + str(self.number)


@dataclass(frozen=True)
class RevisedObject:
    """One object of a revision, without its secrets.

    :ivar digest: keyed hash of the object as it was wanted, secrets included.
    """

    component: str
    obj: KubeObject
    user_patched: bool
    digest: str


@dataclass(frozen=True)
class Revision:
    """A revision with its content."""

    head: RevisionHead
    objects: Mapping[ObjectRef, RevisedObject] = field(default_factory=dict)


class RevisionStore:
    """The revisions of one cluster."""

    def __init__(self, api: Api) -> None:
        self._api = api

    # ---------------------------------------------------------------- reading

    def list(self) -> Tuple[RevisionHead, ...]:
        """Every revision, the oldest first: one request that brings no content.

        :raises EngineError: one of them cannot be read.
        """
        query = {"labelSelector": LABEL, "fieldSelector": "type=" + TYPE, "limit": "500"}
        heads: List[RevisionHead] = []
        while True:
            page = self._api.send("GET", SECRETS.path(OUR_NAMESPACE), query=query, accept=METADATA_LIST, subject="list of revisions")
            heads += [_head(item["metadata"]) for item in page.get("items") or []]
            token = page["metadata"].get("continue")
            if not token:
                return tuple(sorted(heads, key=lambda head: head.number))
            query["continue"] = token

    def load(self, number: int) -> Revision:
        """One revision with its content.

        :raises EngineError: there is none of this number (the known ones are listed), or it cannot be read.
        """
        secret = self._api.get(SECRETS, OUR_NAMESPACE, PREFIX + str(number))
        if secret is None:
            raise unknown(number, self.list())
        head = _head(secret["metadata"])
        data = secret.get("data") or {}
        try:
            document = json.loads(_unpacked(data))
            objects = [RevisedObject(*item) for item in document["objects"]]
        except (KeyError, TypeError, ValueError, EOFError, OSError, zlib.error) as problem:
            raise _unreadable(head.name, str(problem)) from problem
        return Revision(head, {ref_of(item.obj): item for item in objects})

    # ---------------------------------------------------------------- writing

    def save(
        self,
        wanted: Mapping[ObjectRef, Wanted],
        components: Sequence[Component],
        release: Release,
        record: Record,
        sealer: Sealer,
        run_id: str,
        keep: int = KEEP,
    ) -> Optional[RevisionHead]:
        """Keep what a run was healthy with, unless the newest revision holds exactly that; then nothing is written.

        :param wanted: what the run wanted; :param components: the components that it is about. Others that are in the
            record are taken over from the newest revision.
        :param record: as it stands after the run.
        :param sealer: knows the user's patches of these components.
        :param keep: how many revisions there may be afterwards, the oldest go; 0 keeps none and writes none.
        :returns: what was written, if anything.
        """
        if keep < 1:
            return None
        hasher = record.hasher
        heads = self.list()
        digests = {ref: hasher.value(want.obj) for ref, want in wanted.items()}
        fresh = {one.name: _component(one, wanted, digests, hasher) for one in components}
        carried = _carried(heads, fresh, release, record)
        if same(heads, release.name, {**carried, **fresh}):
            return None
        objects = [
            RevisedObject(want.component, sealer.sealed(want.obj, want.user_patched), want.user_patched, digests[ref])
            for ref, want in sorted(wanted.items())
            if want.component in fresh
        ]
        objects += self._content(heads, carried)
        head = RevisionHead(_next(heads), release.name, now(), run_id, release.kustomize_version, {**carried, **fresh})
        return self._write(head, objects, heads, keep)

    def save_again(
        self, target: Revision, names: Sequence[str], release: Release, record: Record, mark: Mark, keep: int = KEEP, *, whole: bool = False
    ) -> Optional[RevisionHead]:
        """Keep what a rollback was healthy with: components of an earlier revision, the others as in the newest one.

        :param names: the components that went back.
        :param whole: whether the platform went back as a whole: then no other component of its release is taken over.
        :param mark: says which rollback it was; it is put on the newest revision also if that holds exactly this.
        :returns: what was written, if anything.
        """
        heads = self.list()
        back = {name: target.head.components[name] for name in names}
        carried = _carried(heads, back, release, record)
        if whole:
            carried = {name: one for name, one in carried.items() if one.catalogue != release.catalogue}
        if same(heads, target.head.release, {**carried, **back}):
            self.mark(heads[-1], mark)
            return None
        if keep < 1:
            self.mark(target.head, mark)
            return None
        objects = [item for item in target.objects.values() if item.component in back]
        objects += self._content(heads, carried)
        head = RevisionHead(_next(heads), target.head.release, now(), mark.run, target.head.kustomize, {**carried, **back}, mark)
        return self._write(head, objects, heads, keep)

    def mark(self, head: RevisionHead, mark: Mark) -> None:
        """Say on a revision that a rollback to it goes on, or came to its end; nothing is written if that is said already."""
        if head.mark == mark:
            return
        change = {"metadata": {"annotations": {MARK: _mark_text(mark)}}}
        self._api.patch(SECRETS, OUR_NAMESPACE, head.name, change, content_type=_MERGE)

    def _content(self, heads: Sequence[RevisionHead], carried: Mapping[str, RevisedComponent]) -> Iterable[RevisedObject]:
        """The objects of components that are taken over from the newest revision."""
        if not carried:
            return ()
        return [item for item in self.load(heads[-1].number).objects.values() if item.component in carried]

    def _write(self, head: RevisionHead, objects: Iterable[RevisedObject], heads: Sequence[RevisionHead], keep: int) -> RevisionHead:
        """Write a new revision, then delete the oldest; a lost answer and another run with the same are no error."""
        ordered = sorted(objects, key=lambda item: ref_of(item.obj))
        document = {
            "schema": SCHEMA,
            "head": _head_document(head),
            "objects": [[item.component, item.obj, item.user_patched, item.digest] for item in ordered],
        }
        key, packed = _packed(json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())
        annotations = {HEAD: json.dumps(_head_document(head), separators=(",", ":"))}
        if head.mark is not None:
            annotations[MARK] = _mark_text(head.mark)
        secret: KubeObject = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": TYPE,
            "metadata": {
                "name": head.name,
                "namespace": OUR_NAMESPACE,
                "labels": {LABEL: str(head.number)},
                "annotations": annotations,
            },
            "data": {key: base64.b64encode(packed).decode()},
        }
        try:
            self._api.create(SECRETS, secret)
        except ApiError as error:
            if error.status != 409:
                raise
            there = next((one for one in self.list() if one.number == head.number), None)
            if there is None or there.components != head.components:
                raise EngineError(
                    "another run wrote it meanwhile",
                    subject="Secret %s/%s" % (OUR_NAMESPACE, head.name),
                    next_step="see who else runs the collection against this cluster, then run this again",
                ) from error
        for old in [*heads, head][:-keep]:
            self._api.delete(SECRETS, OUR_NAMESPACE, old.name, old.uid)
        return head


def same(heads: Sequence[RevisionHead], release: str, components: Mapping[str, RevisedComponent]) -> bool:
    """Whether the newest revision holds exactly these components."""
    return bool(heads) and heads[-1].release == release and heads[-1].components == components


def unknown(number: object, heads: Sequence[RevisionHead]) -> EngineError:
    """The error for a revision that is not there."""
    known = "; ".join("%d (%s, %s)" % (head.number, head.release, head.written) for head in heads)
    return EngineError(
        "there is no revision %s" % number,
        subject="kubeflow_rollback_to",
        expected="one of: %s" % known if known else "",
        found="" if known else "no revision at all; site writes one when all is healthy",
        next_step="correct kubeflow_rollback_to" if known else "",
    )


def _next(heads: Sequence[RevisionHead]) -> int:
    return heads[-1].number + 1 if heads else 1


def _component(
    component: Component, wanted: Mapping[ObjectRef, Wanted], digests: Mapping[ObjectRef, str], hasher: Hasher
) -> RevisedComponent:
    mine = [[ref.key, digests[ref]] for ref, want in sorted(wanted.items()) if want.component == component.name]
    return RevisedComponent(component.catalogue, component.version, hasher.value(mine), len(mine))


def _carried(
    heads: Sequence[RevisionHead], fresh: Mapping[str, RevisedComponent], release: Release, record: Record
) -> Dict[str, RevisedComponent]:
    """The components of the newest revision that are installed as it says and that this run is not about."""
    found = {}
    for name, one in heads[-1].components.items() if heads else ():
        known = record.components.get(name)
        as_recorded = known is not None and (known.catalogue, known.version) == (one.catalogue, one.version)
        current = one.catalogue != release.catalogue or one.version == release.name
        if name not in fresh and as_recorded and current:
            found[name] = one
    return found


# ------------------------------------------------------------------ how it is written down


def _head_document(head: RevisionHead) -> Dict[str, Any]:
    return {
        "schema": SCHEMA,
        "number": head.number,
        "release": head.release,
        "written": head.written,
        "run": head.run,
        "kustomize": head.kustomize,
        "components": {name: [one.catalogue, one.version, one.digest, one.objects] for name, one in sorted(head.components.items())},
    }


def _mark_text(mark: Mark) -> str:
    return json.dumps([mark.to, list(mark.scope), mark.run, mark.newest, mark.done])


def _head(metadata: Mapping[str, Any]) -> RevisionHead:
    """A revision from the metadata of its Secret."""
    name = metadata["name"]
    annotations = metadata.get("annotations") or {}
    try:
        document = json.loads(annotations[HEAD])
        _check_schema(document["schema"], name)
        if PREFIX + str(document["number"]) != name:
            raise ValueError("it says that it is number %s" % document["number"])
        head = RevisionHead(
            document["number"],
            document["release"],
            document["written"],
            document["run"],
            document["kustomize"],
            {key: RevisedComponent(*one) for key, one in document["components"].items()},
            uid=metadata.get("uid", ""),
        )
        if MARK not in annotations:
            return head
        to, scope, run, newest, done = json.loads(annotations[MARK])
        return replace(head, mark=Mark(to, tuple(scope), run, newest, done))
    except (KeyError, TypeError, ValueError) as problem:
        raise _unreadable(name, str(problem)) from problem


def _check_schema(schema: int, name: str) -> None:
    if schema > SCHEMA:
        raise EngineError(
            "the revision was written by a newer version of this collection",
            subject="Secret %s/%s" % (OUR_NAMESPACE, name),
            expected="revision schema %d or older" % SCHEMA,
            found="schema %d" % schema,
            next_step="install that version of mlplatform.kubeflow on this controller",
        )


def _unreadable(name: str, why: str) -> EngineError:
    return EngineError(
        "the revision cannot be read: %s" % why,
        subject="Secret %s/%s" % (OUR_NAMESPACE, name),
        next_step="restore it from a backup, or delete it: then one cannot go back to it",
    )


def _packed(text: bytes) -> Tuple[str, bytes]:
    """The key in the Secret's data, and the packed text."""
    if not HAS_LZMA:
        return _GZIP, gzip.compress(text, 6, mtime=0)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": _PRESET, "dict_size": _WINDOW}]
    return _XZ, lzma.compress(text, format=lzma.FORMAT_XZ, filters=filters)


def _unpacked(data: Mapping[str, str]) -> bytes:
    """The text in a Secret's data.

    :raises ValueError, EOFError, OSError: it is damaged. :raises KeyError: it is not there.
    """
    if _GZIP in data:
        return gzip.decompress(base64.b64decode(data[_GZIP]))
    packed = base64.b64decode(data[_XZ])
    if not HAS_LZMA:
        raise EngineError(
            "this Python was built without lzma, and the revision was not",
            subject=sys.executable,
            next_step="run this with the Python that wrote it, or with any other that has the module lzma",
        )
    try:
        return lzma.decompress(packed)
    except lzma.LZMAError as problem:
        raise ValueError(str(problem)) from problem
