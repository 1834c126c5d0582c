# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site with data: tenants and their objects in a sandbox, databases in a real server, artifacts in a real S3 server.

No container runs in a sandbox, so the servers run beside it on loopback and are named to the run as outside ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import gathering
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.backing_up import BackupOutcome, BackupRequest, BackupRun
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.copying import tally_bucket
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, canonical
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.restoring import RestoreOutcome, RestoreRequest, RestoreRun
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.s3 import Bucket, connect, list_objects, put_object
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.usage import CLAIMS
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from . import mariadb_support
from .support import COLLECTIONS, lines
from .upgrade_support import new_tenant, work_of

PIPELINES = ("cachedb", "metadb", "mlpipeline")
TENANTS = ("alice", "bob")
PASSWORD_OF_A_USER = "the-password-of-a-user-of-alice"
SECRET_KEY = "the-secret-key-of-the-store"
MERGE = "application/merge-patch+json"
WORKFLOWS = Resource("argoproj.io/v1alpha1", "Workflow", "workflows", True)
EXPERIMENTS = Resource("kubeflow.org/v1beta1", "Experiment", "experiments", True)
SECRETS = Resource("v1", "Secret", "secrets", True)
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps", True)


@dataclass
class Site:
    """One cluster with its databases and its object store.

    :ivar s3: how its object store is reached.
    """

    sandbox: Sandbox
    database: mariadb_support.Server
    s3: Mapping[str, str]

    @property
    def api(self) -> Api:
        """Its API server."""
        return Api.connect(str(self.sandbox.kubeconfig))

    @property
    def bucket(self) -> Bucket:
        """The pipelines' bucket."""
        return Bucket(connect(self.s3), "mlpipeline")

    def reach(self) -> Dict[str, Any]:
        """What a run is told about it."""
        server = {"socket": self.database.socket, "user": "root", "password": mariadb_support.PASSWORD}
        return {
            "cluster": self.sandbox.name,
            "kubeconfig": str(self.sandbox.kubeconfig),
            "databases": {"pipelines": server, "katib": server},
            "stores": {"pipelines": dict(self.s3)},
            "run_id": "a-test",
        }


def backup(site: Site, place: Path, **settings: Any) -> BackupOutcome:
    """Save a site, in this process.

    :raises EngineError: it was refused or failed.
    """
    return BackupRun(BackupRequest(place=str(place), **{**site.reach(), **settings}), lines(site.sandbox.name)).run()


def restore(site: Site, place: Path, **settings: Any) -> RestoreOutcome:
    """Put it back, in this process."""
    return RestoreRun(RestoreRequest(place=str(place), **{**site.reach(), **settings}), lines(site.sandbox.name)).run()


# ------------------------------------------------------------------ what users have


def fill(site: Site, runs: int, objects: int) -> None:
    """Tenants with objects of every kind, some of them finished; runs in the databases; artifacts in the bucket."""
    for tenant in TENANTS:
        new_tenant(site.sandbox, tenant)
        work_of(tenant, "26.03", site.api)
        _own_objects(site.api, tenant)
    mariadb_support.fill(site.database, runs)
    bucket = site.bucket  # a client is slow to make
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _artifact(bucket, number), range(objects)))


def _artifact(bucket: Bucket, number: int) -> None:
    body = hashlib.sha256(str(number).encode()).digest() * (1 + number % 40)
    put_object(bucket, "artifacts/alice/run %d/métrique-%d.json" % (number % 17, number), body)


def _own_objects(api: Api, tenant: str) -> None:
    """What a tenant made by hand, a finished run, and a finished experiment."""
    head: Dict[str, Any] = {"apiVersion": "v1", "metadata": {"name": "mine", "namespace": tenant}}
    api.create(CONFIG_MAPS, {**head, "kind": "ConfigMap", "data": {"text": "zwölf\n\tZähne"}}, manager="a-user")
    api.create(SECRETS, {**head, "kind": "Secret", "stringData": {"password": PASSWORD_OF_A_USER}}, manager="a-user")
    run = {
        "apiVersion": WORKFLOWS.group_version,
        "kind": "Workflow",
        "metadata": {"name": "run-1", "namespace": tenant, "labels": {"workflows.argoproj.io/completed": "true"}},
        "spec": {"entrypoint": "main", "templates": [{"name": "main", "container": {"image": "example.invalid/x:1"}}]},
        "status": {"phase": "Succeeded", "nodes": {"run-1": {"id": "run-1", "name": "run-1", "type": "Pod", "phase": "Succeeded"}}},
    }
    owner = api.create(WORKFLOWS, run, manager="a-user")
    owned: KubeObject = json.loads(json.dumps({**run, "metadata": {"name": "a-child", "namespace": tenant}}))
    reference = {"apiVersion": WORKFLOWS.group_version, "kind": "Workflow", "name": "run-1", "uid": owner["metadata"]["uid"]}
    owned["metadata"]["ownerReferences"] = [reference]
    api.create(WORKFLOWS, owned, manager="a-user")
    condition = {"type": "Succeeded", "status": "True", "reason": "ExperimentSucceeded", "message": "12 trials"}
    status = {"status": {"conditions": [condition], "trialsSucceeded": 12}}
    api.patch(EXPERIMENTS, tenant, "of-26-03", status, content_type=MERGE, subresource="status", manager="a-user")


def users_objects(site: Site) -> Dict[str, str]:
    """Every object of the tenants that no controller made: full name -> what it holds; the status of what stays finished too."""
    api = site.api
    discovery = api.discover()
    tenants = frozenset(TENANTS)
    found = {}
    kinds = [*gathering.custom_kinds(api, discovery), *gathering.tenant_kinds(tenants, True), gathering.Kind(CLAIMS)]
    for kind in kinds:
        for obj in gathering.read(api, kind):
            if (obj["metadata"].get("namespace") or obj["metadata"]["name"]) in tenants and not _made(obj):
                found["%s %s/%s" % (kind.name, obj["metadata"].get("namespace"), obj["metadata"]["name"])] = _content(obj)
    return found


def _made(obj: KubeObject) -> bool:
    """Whether a controller made it."""
    return any(owner.get("controller") for owner in obj["metadata"].get("ownerReferences") or [])


def _content(obj: KubeObject) -> str:
    keep = ("Workflow", "Experiment")
    whole = gathering.comparable(obj)
    if obj["kind"] not in keep:
        whole = {key: value for key, value in whole.items() if key != "status"}
    if obj["kind"] == "PersistentVolumeClaim":
        whole = {"spec": {key: value for key, value in obj["spec"].items() if key != "volumeName"}}
    return hashlib.sha256(canonical(whole)).hexdigest()


def data_of(site: Site) -> Tuple[List[str], Tuple[int, int, str]]:
    """(the checksum of every table, objects and bytes and digest of the bucket)."""
    tally = tally_bucket(site.bucket, checksums=True)
    return site.database.checksums(mariadb_support.SITE), (tally.objects, tally.bytes, tally.digest)


def empty_bucket(site: Site) -> None:
    """Nothing is in the pipelines' bucket."""
    bucket = site.bucket
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: bucket.call("delete_object", item.key), list(list_objects(bucket))))


# ------------------------------------------------------------------ an S3 server


class S3Server:
    """moto's server, a process of its own on loopback: what it holds is gone when it ends."""

    def __init__(self, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._wait()
        connect(self.settings).api.create_bucket(Bucket="mlpipeline")

    @property
    def settings(self) -> Dict[str, str]:
        """How it is reached; it takes any key."""
        return {"endpoint": "http://127.0.0.1:%d" % self.port, "access_key": "minio", "secret_key": SECRET_KEY, "region": "us-east-1"}

    def _wait(self, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return
            assert self.process.poll() is None and time.monotonic() < end, "the S3 server does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """It runs no longer."""
        self.process.terminate()
        self.process.wait()


# ------------------------------------------------------------------ runs that are killed

_RUN = """
import json, os, signal, sys, threading
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.backing_up import BackupRequest, BackupRun
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import BackupKey
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.restoring import RestoreRequest, RestoreRun

told = json.load(sys.stdin)
seconds, kind, passphrase = told.pop("seconds"), told.pop("kind"), told.pop("passphrase")
request, run = (BackupRequest, BackupRun) if kind == "backup" else (RestoreRequest, RestoreRun)
told = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
run(request(key=BackupKey(passphrase=passphrase), **told), Silent()).run()
os._exit(0)
"""


def _killed(told: Dict[str, Any]) -> int:
    process = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=json.dumps(told).encode(),
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        timeout=300.0,
        check=False,
    )
    return process.returncode


def killed_backup(site: Site, place: Path, passphrase: str, seconds: float) -> int:
    """A backup in a process that is killed after so many seconds; its exit status."""
    return _killed({**site.reach(), "place": str(place), "passphrase": passphrase, "seconds": seconds, "kind": "backup"})


def killed_restore(site: Site, place: Path, passphrase: str, seconds: float, settings: Mapping[str, Any]) -> int:
    """A restore in such a process."""
    return _killed({**site.reach(), **settings, "place": str(place), "passphrase": passphrase, "seconds": seconds, "kind": "restore"})
