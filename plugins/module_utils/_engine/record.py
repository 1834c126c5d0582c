# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record: what we applied, kept in the cluster.

One Secret ``record`` in our namespace: a key ``hash-key`` (made once), and per component one gzipped
JSON document. It is written before the first write of a run (the union of what was there and what will
be) and after the last, so that a killed run is resumed by running again.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import zlib
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Mapping, Optional, Tuple

from .api import Api, ApiError, Resource
from .errors import EngineError
from .forms import Hasher
from .objects import OUR_NAMESPACE, KubeObject, ObjectRef

NAME = "record"
TYPE = "mlplatform.kubeflow/record"
SCHEMA = 1
SECRETS = Resource("v1", "Secret", "secrets", True)
NAMESPACES = Resource("v1", "Namespace", "namespaces", False)
_KEY = "hash-key"
_PREFIX = "component."
_UPGRADE = "upgrade"
_BACKUPS = "backups"


@dataclass(frozen=True)
class Entry:
    """One object as we last wrote it.

    :ivar api_version: the version that it was applied with.
    :ivar uid: which object it was; "" if the write was only announced.
    :ivar desired: hash of what we sent; :ivar live: hash of what we owned after it; "" if only announced.
    """

    api_version: str
    uid: str
    desired: str
    live: str


@dataclass(frozen=True)
class ComponentRecord:
    """What we know of one component in this cluster.

    :ivar complete: whether the run that wrote it last came to its end.
    :ivar restarts: workloads that still have to be restarted because something that they read changed, and
        the stamp that says so on them: a restart that was done already is then not done again.
    """

    catalogue: str
    version: str
    complete: bool
    entries: Mapping[ObjectRef, Entry]
    restarts: Mapping[ObjectRef, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Upgrade:
    """A hop that has begun and not ended: from which release to which, since when (UTC)."""

    source: str
    target: str
    since: str


@dataclass(frozen=True)
class Backup:
    """The last backup of a component's data: of which release, when (UTC), and where it is."""

    release: str
    at: str
    place: str


@dataclass(frozen=True)
class Record:
    """The whole record and the resourceVersion at which it was read ("" if there is none yet).

    :ivar upgrade: the hop that is under way; None between hops.
    :ivar backups: component -> the last backup of its data.
    """

    components: Mapping[str, ComponentRecord] = field(default_factory=dict)
    hash_key: bytes = b""
    resource_version: str = ""
    upgrade: Optional[Upgrade] = None
    backups: Mapping[str, Backup] = field(default_factory=dict)

    @property
    def hasher(self) -> Hasher:
        """The cluster's hashes."""
        return Hasher(self.hash_key)

    def entry(self, ref: ObjectRef) -> Optional[Entry]:
        """The entry of an object, whichever component it belongs to."""
        for component in self.components.values():
            found = component.entries.get(ref)
            if found is not None:
                return found
        return None

    def with_component(self, name: str, component: ComponentRecord) -> Record:
        """The record with one component replaced."""
        return replace(self, components={**self.components, name: component})

    def releases(self, catalogue: str) -> Tuple[str, ...]:
        """The versions that components of a catalogue were written at; more than one while a hop is under way."""
        return tuple(sorted({one.version for one in self.components.values() if one.catalogue == catalogue}))


def load(api: Api) -> Record:
    """Read the record: one request. A cluster that has none gets a fresh key, in memory only."""
    secret = api.get(SECRETS, OUR_NAMESPACE, NAME)
    if secret is None:
        return Record(hash_key=os.urandom(32))
    data = secret.get("data") or {}
    try:
        key = base64.b64decode(data[_KEY])
        if not key:
            raise ValueError("its %s is empty" % _KEY)
        components = {name[len(_PREFIX) :]: _decode(value) for name, value in data.items() if name.startswith(_PREFIX)}
        upgrade = Upgrade(*_json(data, _UPGRADE)) if _UPGRADE in data else None
        backups = {name: Backup(*item) for name, item in _json(data, _BACKUPS).items()} if _BACKUPS in data else {}
    except (KeyError, TypeError, ValueError, EOFError, OSError, zlib.error) as problem:
        lacking = "%s is missing" % problem if isinstance(problem, KeyError) else str(problem)
        raise EngineError(
            "the record cannot be read: %s" % lacking,
            subject="Secret %s/%s" % (OUR_NAMESPACE, NAME),
            next_step="restore it from a backup, or delete it and adopt what is there with kubeflow_adopt: [all]",
        ) from problem
    return Record(components, key, secret["metadata"]["resourceVersion"], upgrade, backups)


def _json(data: Mapping[str, str], key: str) -> Any:
    return json.loads(base64.b64decode(data[key]))


def _encoded(value: Any) -> str:
    return base64.b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()


def _decode(value: str) -> ComponentRecord:
    document = json.loads(gzip.decompress(base64.b64decode(value)))
    if document["schema"] > SCHEMA:
        raise EngineError(
            "the record was written by a newer version of this collection",
            subject="Secret %s/%s" % (OUR_NAMESPACE, NAME),
            expected="record schema %d or older" % SCHEMA,
            found="schema %d" % document["schema"],
            next_step="install that version of mlplatform.kubeflow on this controller",
        )
    return ComponentRecord(
        catalogue=document["catalogue"],
        version=document["version"],
        complete=document["complete"],
        entries={ObjectRef.from_key(key): Entry(*item) for key, item in document["objects"].items()},
        restarts={ObjectRef.from_key(key): stamp for key, stamp in document["restarts"].items()},
    )


def _encode(component: ComponentRecord) -> str:
    document: Dict[str, Any] = {
        "schema": SCHEMA,
        "catalogue": component.catalogue,
        "version": component.version,
        "complete": component.complete,
        "objects": {ref.key: [entry.api_version, entry.uid, entry.desired, entry.live] for ref, entry in sorted(component.entries.items())},
        "restarts": {ref.key: stamp for ref, stamp in sorted(component.restarts.items())},
    }
    packed = gzip.compress(json.dumps(document, separators=(",", ":")).encode(), mtime=0)
    return base64.b64encode(packed).decode()


def ensure_namespace(api: Api) -> None:
    """Make our namespace unless it is there."""
    if api.get(NAMESPACES, "", OUR_NAMESPACE) is None:
        namespace: KubeObject = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OUR_NAMESPACE}}
        api.apply(NAMESPACES, namespace)


def save(api: Api, record: Record) -> Record:
    """Write the record, only if nobody else wrote it since we read it.

    :raises EngineError: somebody did; nothing was written.
    """
    data = {_KEY: base64.b64encode(record.hash_key).decode()}
    data.update({_PREFIX + name: _encode(component) for name, component in record.components.items()})
    if record.upgrade is not None:
        data[_UPGRADE] = _encoded([record.upgrade.source, record.upgrade.target, record.upgrade.since])
    if record.backups:
        data[_BACKUPS] = _encoded({name: [one.release, one.at, one.place] for name, one in sorted(record.backups.items())})
    secret: KubeObject = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": {"name": NAME, "namespace": OUR_NAMESPACE},
        "data": data,
    }
    try:
        if record.resource_version:
            secret["metadata"]["resourceVersion"] = record.resource_version
            written = api.replace(SECRETS, secret)
        else:
            written = api.create(SECRETS, secret)
    except ApiError as error:
        if error.status == 409:
            return _settle_conflict(api, record, data)
        raise
    return replace(record, resource_version=written["metadata"]["resourceVersion"])


def _settle_conflict(api: Api, record: Record, data: Mapping[str, str]) -> Record:
    """A lost answer looks like a conflict with ourselves: then what is there is what we wanted."""
    there = api.get(SECRETS, OUR_NAMESPACE, NAME)
    if there is not None and there.get("data") == data:
        return replace(record, resource_version=there["metadata"]["resourceVersion"])
    raise EngineError(
        "somebody else changed the record since this run read it",
        subject="Secret %s/%s" % (OUR_NAMESPACE, NAME),
        next_step="see who else runs the collection against this cluster, then run this again",
    )
