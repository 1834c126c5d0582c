# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where data lies: read from release data with its types, and refused with its place in the file."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Callable, Dict

import jsonschema
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue, shipped_releases
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.data_places import Data, full_name, read_data
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.reading import Reader

SCHEMA = json.loads((shipped_releases() / "schema.json").read_text())
GOOD: Dict[str, Any] = {
    "databases": [
        {
            "name": "one",
            "component": "pipelines",
            "engine": "mysql",
            "workload": "Deployment.apps kubeflow/mysql",
            "container": "mysql",
            "claim": "kubeflow/mysql-pv-claim",
            "login": {"secret": "kubeflow/mysql-secret", "user_key": "username", "password_key": "password"},
            "databases": ["mlpipeline"],
            "clients": ["Deployment.apps kubeflow/ml-pipeline"],
        }
    ],
    "object_stores": [
        {
            "name": "one",
            "component": "pipelines",
            "kind": "minio",
            "workload": "StatefulSet.apps kubeflow/minio",
            "container": "minio",
            "claim": "kubeflow/minio-pvc",
            "port": 9000,
            "login": {"secret": "kubeflow/artifact", "access_key_key": "accesskey", "secret_key_key": "secretkey"},
            "buckets": ["mlpipeline"],
            "clients": [],
        }
    ],
}


def read(content: Dict[str, Any]) -> Data:
    """The section as the engine reads it."""
    return read_data(Reader(content, Path("x.yml"), "data"), ("pipelines",))


def is_valid(content: Dict[str, Any]) -> bool:
    """Whether the schema takes the section."""
    schema = {"$ref": "#/properties/data", "properties": SCHEMA["properties"], "$defs": SCHEMA["$defs"]}
    return bool(jsonschema.Draft202012Validator(schema).is_valid(content))


def test_everything_is_read() -> None:
    """Names become identities, which is what plans and snapshots are about."""
    data = read(GOOD)
    database, store = data.databases[0], data.object_stores[0]
    assert database.workload == ObjectRef("apps", "Deployment", "kubeflow", "mysql")
    assert (database.login.user, database.login.user_key, database.login.secret) == ("", "username", "kubeflow/mysql-secret")
    assert database.clients == (full_name("Deployment.apps kubeflow/ml-pipeline"),) and database.databases == ("mlpipeline",)
    assert (store.kind, store.port, store.login.secret_key_key, store.buckets) == ("minio", 9000, "secretkey", ("mlpipeline",))
    assert {str(claim) for claim in data.claims} == {
        "PersistentVolumeClaim kubeflow/mysql-pv-claim",
        "PersistentVolumeClaim kubeflow/minio-pvc",
    }
    assert is_valid(GOOD) and read({}) == Data()


def test_of_the_core_group_there_is_only_the_kind() -> None:
    """As everywhere in plans."""
    assert full_name("Service kubeflow/x") == ObjectRef("", "Service", "kubeflow", "x")
    for text in ("", "mysql", "kubeflow/mysql", "Deployment mysql", "Deployment.apps a/b/c", "deployment.apps a/b", "Deployment.apps a/b "):
        with pytest.raises(ValueError):
            full_name(text)


def database_with(**changes: Any) -> Callable[[Dict[str, Any]], None]:
    """The database with other values; None takes a key away."""

    def change(content: Dict[str, Any]) -> None:
        entry = content["databases"][0]
        entry.update(changes)
        for key in [key for key, value in entry.items() if value is None]:
            del entry[key]

    return change


def store_with(**changes: Any) -> Callable[[Dict[str, Any]], None]:
    """The object store with other values."""
    return lambda content: content["object_stores"][0].update(changes)


SECRET = {"secret": "kubeflow/s", "password_key": "p"}
# What is wrong -> the change, and the place that the error names.
WRONG: Dict[str, Any] = {
    "an unknown kind of place": (lambda content: content.update(volumes=[]), "data.volumes"),
    "a misspelt key": (database_with(client=[]), "data.databases[0].client"),
    "no container": (database_with(container=None), "data.databases[0].container"),
    "an unknown engine": (database_with(engine="postgres"), "data.databases[0].engine"),
    "a workload without a kind": (database_with(workload="kubeflow/mysql"), "data.databases[0].workload"),
    "a client that is no name": (database_with(clients=["ml-pipeline"]), "data.databases[0].clients"),
    "a claim without a namespace": (database_with(claim="mysql-pv-claim"), "data.databases[0].claim"),
    "a login without a user": (database_with(login=SECRET), "data.databases[0].login.user"),
    "a login with two users": (database_with(login={**SECRET, "user": "root", "user_key": "u"}), "data.databases[0].login.user"),
    "a password": (database_with(login={**SECRET, "user": "root", "password": "x"}), "data.databases[0].login.password"),
    "a secret without a namespace": (
        database_with(login={"secret": "s", "password_key": "p", "user": "root"}),
        "data.databases[0].login.secret",
    ),
    "an unknown kind of store": (store_with(kind="ceph"), "data.object_stores[0].kind"),
    "a port in words": (store_with(port="9000"), "data.object_stores[0].port"),
    "a bucket that is no list": (store_with(buckets="mlpipeline"), "data.object_stores[0].buckets"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_with_its_place(name: str) -> None:
    """By the engine, for a site's own file, and by the schema, in an editor."""
    change, place = WRONG[name]
    content = copy.deepcopy(GOOD)
    change(content)
    with pytest.raises(EngineError) as refused:
        read(content)
    assert "'%s'" % place in refused.value.cause
    assert not is_valid(content)


def test_names_are_there_once_and_components_exist() -> None:
    """A schema cannot say it: a backup names its parts by them."""
    with pytest.raises(EngineError, match=r"data\.databases'"):
        read({"databases": GOOD["databases"] * 2})
    with pytest.raises(EngineError, match=r"data\.databases\[0\]\.component"):
        read_data(Reader(GOOD, Path("x.yml"), "data"), ("katib",))


@pytest.mark.parametrize(
    ("release", "store"), [("v1.9.1", "minio"), ("v1.10.2", "minio"), ("v1.11.0", "seaweedfs"), ("26.03", "seaweedfs")]
)
def test_every_release_says_where_its_data_lies(release: str, store: str) -> None:
    """The names stay over releases: a backup of an earlier one is restored by them."""
    data = Catalogue.load().release(release).data
    assert [(one.name, one.databases) for one in data.databases] == [
        ("pipelines", ("mlpipeline", "metadb", "cachedb")),
        ("katib", ("katib",)),
    ]
    assert [(one.name, one.kind, one.buckets) for one in data.object_stores] == [("pipelines", store, ("mlpipeline",))]
