# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hop from MinIO to SeaweedFS with data: both are the real programs, reached through the API server inside "their" pods.

The pods are simulated: what kwok's kubelet answers for them are the servers that run beside the sandbox. Where SeaweedFS was
never built (six minutes of two cores) a second MinIO answers in its place: the hop speaks S3 to both and knows of no other
difference. How SeaweedFS itself differs is the subject of test_object_copies; exhaustive runs always build it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.backing_up import BackupRequest, BackupRun
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.copying import Bucket, tally_bucket
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.data_guard import ANNOTATION
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.dumping import Login, MySql
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError, sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import load
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.restoring import RestoreRequest, RestoreRun
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.s3 import has_bucket, list_objects, make_sure, put_object
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.transports import LocalCommand, find_pod
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from . import mariadb_support, s3_support
from .conftest import client_of
from .platform_fixtures import Maker
from .support import COLLECTIONS, EXHAUSTIVE, lines, request_for
from .upgrade_support import problems, story, upgrade

ACKS = ("ack-v1.11.0-training-jobs",)
RUNS, OBJECTS = (10_000, 3_000) if EXHAUSTIVE else (100, 400)
KILLS = 20 if EXHAUSTIVE else 1
# The hop takes about twenty seconds, and longer where other programs run: one kill is to come before its end for sure.
LATEST = 30.0 if EXHAUSTIVE else 12.0
KWOK = "/apis/kwok.x-k8s.io/v1alpha1"
SMALL_CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "seaweedfs-pvc", "namespace": "kubeflow"}}
SMALL = {"pipelines": {"patches": [{**SMALL_CLAIM, "spec": {"resources": {"requests": {"storage": "20Ki"}}}}]}}
PIPELINES = ("cachedb", "metadb", "mlpipeline")
# The keys of the platform's own Secret.
KEYS = ("minio", "minio123")


@dataclass
class Data:
    """What runs beside the sandboxes."""

    database: mariadb_support.Server
    old: s3_support.Server
    new: s3_support.Server
    folder: Path

    def rows(self) -> Dict[str, int]:
        """Of every table of pipelines."""
        return MySql(LocalCommand(), Login("root", "", socket=self.database.socket), "the test's").row_counts(PIPELINES)


@pytest.fixture(name="data", scope="module")
def _data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Data]:
    """A filled database and a filled MinIO, and an empty SeaweedFS."""
    new = s3_support.seaweedfs if s3_support.has_seaweedfs() else s3_support.minio
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3_support, "KEYS", KEYS)
        data = Data(mariadb_support.start(folder / "db"), s3_support.minio(folder / "minio"), new(folder / "new"), folder)
        try:
            mariadb_support.fill(data.database, RUNS)
            data.database.sql("ALTER USER root@localhost IDENTIFIED BY '';")
            for server in (data.old, data.new):
                server.start()
                server.make("mlpipeline")
            s3_support.fill(data.old.bucket("mlpipeline"), s3_support.artifacts(OBJECTS))
            yield data
        finally:
            data.database.stop()
            data.old.kill()
            data.new.kill()


@pytest.fixture(name="with_data")
def _with_data(data: Data, clone: Callable[..., Sandbox], installed: Callable[[str], Path]) -> Callable[[], Sandbox]:
    """Makes a sandbox with v1.10.2 whose simulated pods answer with these servers; SeaweedFS is empty."""

    def make() -> Sandbox:
        sandbox = clone(installed("v1.10.2"), release="v1.10.2", real=True, exec=True)
        client = client_of(sandbox)
        ports = [(9000, data.old.endpoint), (8333, data.new.endpoint)]
        forwards = [{"ports": [port], "target": {"address": "127.0.0.1", "port": int(where.rsplit(":", 1)[1])}} for port, where in ports]
        spec = {"selector": {"matchNamespaces": ["kubeflow"]}, "forwards": forwards}
        client.create(
            KWOK + "/clusterportforwards",
            {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterPortForward", "metadata": {"name": "stores"}, "spec": spec},
        )
        pod = find_pod(Api.connect(str(sandbox.kubeconfig)), "kubeflow", deployment="mysql")
        shim = data.folder / ("shim-%d" % len(list(data.folder.iterdir())))
        client.create(KWOK + "/namespaces/kubeflow/execs", mariadb_support.in_pod(shim, "kubeflow", pod, data.database))
        bucket = data.new.bucket("mlpipeline")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: bucket.call("delete_object", item.key), list(list_objects(bucket))))
        return sandbox

    return make


def saved(sandbox: Sandbox, place: Path) -> None:
    """The data of pipelines, through the API server; recorded in the cluster."""
    request = BackupRequest(
        sandbox.name, str(place), str(sandbox.kubeconfig), parts=("database/pipelines", "objectstore/pipelines"), run_id="a-test"
    )
    manifest = sure(BackupRun(request, lines(sandbox.name)).run().manifest)
    assert sure(manifest.part("objectstore", "pipelines")).counts["objects"] == OBJECTS
    claim = "/api/v1/namespaces/kubeflow/persistentvolumeclaims/mysql-pv-claim"
    client = client_of(sandbox)
    assert str(client.get(claim)["metadata"]["annotations"][ANNOTATION]).startswith("mariadb 1")
    # The server asked is a MariaDB, which no MySQL can follow: it stands for the MySQL 8.0 of this release from here on.
    client.patch(claim, {"metadata": {"annotations": {ANNOTATION: "mysql 8.0"}}})


def content(bucket: Bucket) -> Tuple[int, int, str]:
    """Objects, bytes, and a digest of every byte."""
    tally = tally_bucket(bucket, checksums=True)
    return tally.objects, tally.bytes, tally.digest


def test_nothing_is_lost_from_minio_to_seaweedfs(data: Data, with_data: Callable[[], Sandbox], tmp_path: Path) -> None:
    """A backup answers, the hop copies; the old store, its claim and the database stay as they were.

    An object that somebody wrote to the new store meanwhile is newer than the old one and stays. Who said that he copies
    himself is left alone: the other tests of upgrades say so, and have no store to copy from.
    """
    sandbox = with_data()
    old, new = data.old.bucket("mlpipeline"), data.new.bucket("mlpipeline")
    before, rows = content(old), data.rows()
    assert before[0] == OBJECTS and content(new)[0] == 0
    refused = upgrade(sandbox, "v1.11.0", ACKS)
    assert "copy-v1.11.0-object-store" in problems(refused) and content(new)[0] == 0
    saved(sandbox, tmp_path / "b")
    small = upgrade(sandbox, "v1.11.0", ACKS, declarations=SMALL)
    assert "do not fit on PersistentVolumeClaim kubeflow/seaweedfs-pvc: a volume of 0.0 MB" in problems(small)
    assert "nothing of this hop was written" in problems(small) and load(Api.connect(str(sandbox.kubeconfig))).upgrade is None
    key = next(iter(list_objects(old, limit=1))).key
    kept_old = b"".join(old.call("get_object", key)["Body"].iter_chunks())
    put_object(new, key, b"written after the switch")
    journey = upgrade(sandbox, "v1.11.0", ACKS)
    assert story(journey) == [("v1.10.2", "v1.11.0", "done")], problems(journey)
    (copied,) = journey.hops[0].copied
    assert (copied.objects, copied.bytes, copied.skipped, copied.newer) == (OBJECTS, before[1], 1, 1)
    assert b"".join(new.call("get_object", key)["Body"].iter_chunks()) == b"written after the switch"
    put_object(new, key, kept_old)
    assert content(new) == content(old) == before
    assert data.rows() == rows
    kept = {str(ref) for ref in journey.hops[0].kept}
    assert {"PersistentVolumeClaim kubeflow/minio-pvc", "Deployment.apps kubeflow/minio"} <= kept
    assert find_pod(Api.connect(str(sandbox.kubeconfig)), "kubeflow", deployment="minio")
    assert upgrade(sandbox, "v1.11.0").hops[0].copied == (), "what is done is not done again"


def test_what_does_not_fit_is_not_restored(data: Data, with_data: Callable[[], Sandbox], tmp_path: Path) -> None:
    """The volumes are too small for the backup: nothing is written, and both are named. A bucket that is not there is made."""
    sandbox = with_data()
    saved(sandbox, tmp_path / "b")
    old, client = data.old.bucket("mlpipeline"), client_of(sandbox)
    before, rows = content(old), data.rows()
    kept = {item.key: b"".join(old.call("get_object", item.key)["Body"].iter_chunks()) for item in list(list_objects(old))}
    for key in kept:
        old.call("delete_object", key)
    old.call("delete_bucket")
    try:
        request = RestoreRequest(
            sandbox.name, str(tmp_path / "b"), kubeconfig=str(sandbox.kubeconfig), parts=("objectstore",), run_id="a-test"
        )
        claim = "/api/v1/namespaces/kubeflow/persistentvolumeclaims/minio-pvc/status"
        size = client.get(claim)["status"]["capacity"]
        client.patch(claim, {"status": {"capacity": {"storage": "20Ki"}}})
        with pytest.raises(EngineError, match="MB do not fit on PersistentVolumeClaim kubeflow/minio-pvc: a volume of 0.0 MB") as refused:
            RestoreRun(request, lines(sandbox.name)).run()
        assert "make the volume larger" in refused.value.next_step and "nothing was written" in refused.value.next_step
        assert not has_bucket(old)
        client.patch(claim, {"status": {"capacity": size}})
        RestoreRun(request, lines(sandbox.name)).run()
        assert content(old) == before and data.rows() == rows
    finally:
        make_sure(old)
        s3_support.fill(old, kept.items())


_KILLED = """
import json, os, signal, sys, threading
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.upgrading import Upgrader

told = json.loads(sys.argv[1])
seconds, acks = told.pop("seconds"), tuple(told.pop("acks"))
threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
Upgrader(Request(**{name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}), acks, Silent()).run()
os._exit(0)
"""


def killed_after(sandbox: Sandbox, acks: Tuple[str, ...], seconds: float) -> bool:
    """Upgrade in a process that is killed after so many seconds; whether it was."""
    told: Dict[str, Any] = {key: value for key, value in vars(request_for(sandbox, "v1.11.0")).items() if key != "policy"}
    process = subprocess.run(
        [sys.executable, "-c", _KILLED, json.dumps({**told, "seconds": seconds, "acks": acks})],
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        timeout=600.0,
        check=False,
    )
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


def test_a_killed_hop_with_data_ends_as_an_undisturbed_one(data: Data, with_data: Callable[[], Sandbox], sandboxes: Maker) -> None:
    """At whatever moment it was killed, in the copy too."""
    random.seed(11)
    acks = (*ACKS, "copy-v1.11.0-object-store", "ack-v1.11.0-mysql-8.4")
    before, rows = content(data.old.bucket("mlpipeline")), data.rows()
    killed = 0
    for _number in range(KILLS):
        sandbox = with_data()
        killed += killed_after(sandbox, acks, random.uniform(3.0, LATEST))
        journey = upgrade(sandbox, "v1.11.0", acks)
        assert [hop.state for hop in journey.hops] == ["done"], problems(journey)
        assert content(data.new.bucket("mlpipeline")) == content(data.old.bucket("mlpipeline")) == before
        assert data.rows() == rows
        assert find_pod(Api.connect(str(sandbox.kubeconfig)), "kubeflow", deployment="minio")
        sandboxes.remove(sandbox.name)  # twenty of them would not fit into memory
    assert killed >= KILLS * 0.6, "%d of %d were killed in time" % (killed, KILLS)
