# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a release keeps users' data: its databases and object stores, as release data names them (``data:``).

Names of objects are the full names that plans and errors use, such as ``Deployment.apps kubeflow/mysql``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Collection, FrozenSet, Tuple

from .objects import ObjectRef
from .reading import Reader

MYSQL, MARIADB = "mysql", "mariadb"
ENGINES = (MYSQL, MARIADB)
MINIO, SEAWEEDFS = "minio", "seaweedfs"
KINDS = (MINIO, SEAWEEDFS)
_FULL_NAME = re.compile(r"([A-Z][A-Za-z0-9]*)(?:\.([a-z0-9.-]+))? ([a-z0-9.-]+)/([a-z0-9.-]+)")
_PATH = re.compile(r"[a-z0-9.-]+/[a-z0-9.-]+")


@dataclass(frozen=True)
class Login:
    """Who may read all of a database.

    :ivar secret: ``namespace/name`` of the Secret that holds the password under ``password_key``.
    :ivar user: the name itself, or "" where the Secret holds it under ``user_key``.
    """

    secret: str
    password_key: str
    user: str = ""
    user_key: str = ""


@dataclass(frozen=True)
class StoreLogin:
    """Who may read all of an object store: the Secret ``namespace/name``, and the keys in it."""

    secret: str
    access_key_key: str
    secret_key_key: str


@dataclass(frozen=True)
class Database:
    """One database server of the platform.

    :ivar engine: ``mysql`` or ``mariadb``: whose files lie on the claim.
    :ivar workload: what runs it, with ``container`` in its pods and its files on ``claim``.
    :ivar databases: what it serves.
    :ivar clients: workloads that write to it: they are stopped while it is restored.
    """

    name: str
    component: str
    engine: str
    workload: ObjectRef
    container: str
    claim: ObjectRef
    login: Login
    databases: Tuple[str, ...]
    clients: Tuple[ObjectRef, ...]


@dataclass(frozen=True)
class ObjectStore:
    """One object store of the platform, which speaks S3.

    :ivar kind: ``minio`` or ``seaweedfs``.
    :ivar port: where its pods listen for S3.
    :ivar clients: workloads that write to it, or start pods that do: they are stopped while it is restored.
    """

    name: str
    component: str
    kind: str
    workload: ObjectRef
    container: str
    claim: ObjectRef
    port: int
    login: StoreLogin
    buckets: Tuple[str, ...]
    clients: Tuple[ObjectRef, ...]


@dataclass(frozen=True)
class Data:
    """All of it, of one release."""

    databases: Tuple[Database, ...] = ()
    object_stores: Tuple[ObjectStore, ...] = ()

    @property
    def claims(self) -> FrozenSet[ObjectRef]:
        """Every claim that holds data of users."""
        return frozenset([one.claim for one in self.databases] + [one.claim for one in self.object_stores])


def full_name(text: str) -> ObjectRef:
    """``Deployment.apps kubeflow/mysql`` as an identity.

    :raises ValueError: it is no full name of a namespaced object.
    """
    match = _FULL_NAME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    kind, group, namespace, name = match.groups()
    return ObjectRef(group or "", kind, namespace, name)


# ------------------------------------------------------------------ reading


def read_data(entry: Reader, components: Collection[str]) -> Data:
    """The section ``data`` of a release file.

    :param components: the release's.
    :raises EngineError: a key is missing, unknown or of the wrong type, or two of a kind have one name.
    """
    entry.only("databases", "object_stores")
    databases = tuple(_database(one, components) for _at, one in entry.each("databases"))
    stores = tuple(_store(one, components) for _at, one in entry.each("object_stores"))
    for key, names in (("databases", [one.name for one in databases]), ("object_stores", [one.name for one in stores])):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise entry.wrong(key, "names that are there once", ", ".join(twice))
    return Data(databases, stores)


def _database(entry: Reader, components: Collection[str]) -> Database:
    entry.only("name", "component", "engine", "workload", "container", "claim", "login", "databases", "clients")
    return Database(
        name=entry.text("name"),
        component=_one_of(entry, "component", components),
        engine=_one_of(entry, "engine", ENGINES),
        workload=_ref(entry, "workload"),
        container=entry.text("container"),
        claim=_claim(entry),
        login=_login(entry.one("login")),
        databases=entry.texts("databases"),
        clients=_refs(entry, "clients"),
    )


def _store(entry: Reader, components: Collection[str]) -> ObjectStore:
    entry.only("name", "component", "kind", "workload", "container", "claim", "port", "login", "buckets", "clients")
    login = entry.one("login")
    login.only("secret", "access_key_key", "secret_key_key")
    return ObjectStore(
        name=entry.text("name"),
        component=_one_of(entry, "component", components),
        kind=_one_of(entry, "kind", KINDS),
        workload=_ref(entry, "workload"),
        container=entry.text("container"),
        claim=_claim(entry),
        port=entry.number("port", 0),
        login=StoreLogin(_path(login, "secret"), login.text("access_key_key"), login.text("secret_key_key")),
        buckets=entry.texts("buckets"),
        clients=_refs(entry, "clients"),
    )


def _login(entry: Reader) -> Login:
    entry.only("secret", "user", "user_key", "password_key")
    if entry.has("user") == entry.has("user_key"):
        raise entry.wrong("user", "either 'user' or 'user_key'", "both" if entry.has("user") else None)
    return Login(_path(entry, "secret"), entry.text("password_key"), entry.text("user", ""), entry.text("user_key", ""))


def _one_of(entry: Reader, key: str, known: Collection[str]) -> str:
    value = entry.text(key)
    if value not in known:
        raise entry.wrong(key, "one of " + ", ".join(known), value)
    return value


def _path(entry: Reader, key: str) -> str:
    value = entry.text(key)
    if _PATH.fullmatch(value) is None:
        raise entry.wrong(key, "namespace/name", value)
    return value


def _claim(entry: Reader) -> ObjectRef:
    namespace, name = _path(entry, "claim").split("/")
    return ObjectRef("", "PersistentVolumeClaim", namespace, name)


def _ref(entry: Reader, key: str) -> ObjectRef:
    return _named(entry, key, entry.text(key))


def _refs(entry: Reader, key: str) -> Tuple[ObjectRef, ...]:
    return tuple(_named(entry, key, text) for text in entry.texts(key))


def _named(entry: Reader, key: str, text: str) -> ObjectRef:
    try:
        return full_name(text)
    except ValueError:
        raise entry.wrong(key, "a full name such as 'Deployment.apps namespace/name'", text) from None
