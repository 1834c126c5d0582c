# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs and ports of pods through a real API server; the kubelet is kwok's, which runs them on this machine."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, ApiError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.dumping import DumpCounts, Login, MySql
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.kubeconfig import new_client
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.transports import PodExec, ProgramFailed, find_pod
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.tunnels import PodTunnel
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox import processes
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from . import mariadb_support
from .conftest import Sandboxes, client_of, wait_until
from .mariadb_support import PASSWORD, SITE
from .support import EXHAUSTIVE

NAMESPACE = "transports"
PODS = "/api/v1/namespaces/%s/pods" % NAMESPACE
KWOK = "/apis/kwok.x-k8s.io/v1alpha1"
TEN_MEGABYTES = os.urandom(10_000_000)


def a_kwok(kind: str, name: str, spec: KubeObject) -> Tuple[str, KubeObject]:
    """An object that tells kwok what a pod answers with, and where it goes."""
    metadata = {"name": name, "namespace": NAMESPACE}
    path = "%s/namespaces/%s/%ss" % (KWOK, NAMESPACE, kind.lower())
    return path, {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def is_ready(pod: KubeObject) -> bool:
    """Whether its condition says so."""
    return any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions") or [])


@pytest.fixture(name="pod", scope="module")
def _pod(exec_sandbox: Sandbox) -> str:
    """The pod of a Deployment; programs can be run in its container main and in no other."""
    client = client_of(exec_sandbox)
    client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    template = {
        "metadata": {"labels": {"app": "mysql"}},
        "spec": {"containers": [{"name": "main", "image": "a/b:1"}, {"name": "side", "image": "a/c:1"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "mysql"}}, "template": template}
    client.create("/apis/apps/v1/namespaces/%s/deployments" % NAMESPACE, {"metadata": {"name": "mysql"}, "spec": spec})
    ready = wait_until(client, PODS, is_ready)
    name = str(ready["metadata"]["name"])
    client.create(*a_kwok("Exec", name, {"execs": [{"containers": ["main"], "local": {}}]}))
    return name


@pytest.fixture(name="library", scope="module")
def _library(exec_sandbox: Sandbox) -> Any:
    """The library's client."""
    return new_client(str(exec_sandbox.kubeconfig))


def until_it_runs(transport: PodExec) -> None:
    """kwok has seen what it may run for this pod."""
    for _attempt in range(100):
        try:
            list(transport.run(["true"]))
            return
        except EngineError:  # or it has not started the pod
            time.sleep(0.05)
    list(transport.run(["true"]))


def test_megabytes_go_into_a_pod_and_come_out(exec_sandbox: Sandbox, pod: str, library: Any) -> None:
    """Found by its Deployment; what goes in and what comes out has the digest that it should have."""
    api = Api.connect(str(exec_sandbox.kubeconfig))
    assert find_pod(api, NAMESPACE, deployment="mysql") == find_pod(api, NAMESPACE, selector="app=mysql") == pod
    transport = PodExec(library, NAMESPACE, pod, "main", idle_timeout=20.0)
    until_it_runs(transport)
    digest = hashlib.sha256(TEN_MEGABYTES).hexdigest()
    size = str(len(TEN_MEGABYTES))
    script = 'head -c "$1" | sha256sum'
    assert b"".join(transport.run(["sh", "-c", script, "sh", size], [TEN_MEGABYTES])).decode().split()[0] == digest
    assert b"".join(transport.run(["head", "-c", size], [TEN_MEGABYTES])) == TEN_MEGABYTES
    assert b"".join(transport.run(["echo", "a b", "$HOME & \n%20"])) == b"a b $HOME & \n%20\n"


def test_every_bad_end_in_a_pod_is_an_error(pod: str, library: Any) -> None:
    """A program that fails, one that is not there, a container that answers nothing, silence; a pod that is not there."""
    transport = PodExec(library, NAMESPACE, pod, "main", idle_timeout=20.0)
    until_it_runs(transport)
    chunks = []
    with pytest.raises(ProgramFailed, match="exit status 3") as caught:
        for chunk in transport.run(["sh", "-c", "echo out; echo words >&2; exit 3"], subject="database server of pipelines"):
            chunks.append(chunk)
    assert chunks == [b"out\n"] and caught.value.errors == "words\n" and caught.value.subject == "database server of pipelines"
    with pytest.raises(ProgramFailed, match="not found"):
        list(transport.run(["no-such-program"]))
    with pytest.raises(ProgramFailed, match="side"):
        list(PodExec(library, NAMESPACE, pod, "side").run(["true"]))
    with pytest.raises(ApiError, match="container"):
        list(PodExec(library, NAMESPACE, pod).run(["true"]))
    with pytest.raises(ApiError, match='pods "gone" not found') as refused:
        list(PodExec(library, NAMESPACE, "gone").run(["true"]))
    assert "run it again" in refused.value.next_step
    with pytest.raises(EngineError, match="nothing came from sleep"):
        list(PodExec(library, NAMESPACE, pod, "main", idle_timeout=0.5).run(["sleep", "5"]))


def test_a_pod_that_is_not_ready_is_said_to_be_not_ready(exec_sandbox: Sandbox) -> None:
    """The state of each, and that there is no Deployment of another name."""
    client, api = client_of(exec_sandbox), Api.connect(str(exec_sandbox.kubeconfig))
    annotations = {"mlplatform.kubeflow.sandbox/fail": "ImagePullBackOff: no such image"}
    container = {"name": "main", "image": "a/b:1"}
    client.create(
        PODS, {"metadata": {"name": "broken", "labels": {"app": "broken"}, "annotations": annotations}, "spec": {"containers": [container]}}
    )
    wait_until(client, PODS, lambda pod: pod["metadata"]["name"] == "broken" and pod["status"].get("containerStatuses"))
    with pytest.raises(EngineError, match="no pod is ready") as caught:
        find_pod(api, NAMESPACE, selector="app=broken")
    assert caught.value.found == "broken is ImagePullBackOff"
    with pytest.raises(EngineError, match="no such Deployment"):
        find_pod(api, NAMESPACE, deployment="metadata")


def test_the_databases_of_a_pod_are_dumped_and_come_back(exec_sandbox: Sandbox, library: Any) -> None:
    """The same program lines as on this machine; the password is in no request of the audit log."""
    client = client_of(exec_sandbox)
    client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    folder = Path(tempfile.mkdtemp(prefix="db-"))
    server = mariadb_support.start(folder / "server")
    try:
        mariadb_support.fill(server, 200)
        client.create(PODS, {"metadata": {"name": "db"}, "spec": {"containers": [{"name": "main", "image": "a/b:1"}]}})
        wait_until(client, PODS, lambda pod: pod["metadata"]["name"] == "db" and is_ready(pod))
        client.create(a_kwok("Exec", "db", {})[0], mariadb_support.in_pod(folder / "shim", NAMESPACE, "db", server))
        transport = PodExec(library, NAMESPACE, "db", idle_timeout=20.0)
        until_it_runs(transport)
        mysql = MySql(transport, Login("root", PASSWORD), "database server of pipelines")
        assert mysql.databases() == list(SITE)
        counts = DumpCounts()
        chunks = list(mysql.dump(SITE, counts))
        checksums = server.checksums(SITE)
        assert counts.rows == mysql.row_counts(SITE) and counts.rows["mlpipeline.run_details"] == 200
        server.empty()
        mysql.load(chunks)
        assert server.checksums(SITE) == checksums
        with pytest.raises(EngineError, match="Access denied"):
            MySql(transport, Login("root", "wrong"), "database server of pipelines").version()
        with pytest.raises(EngineError, match="not whole"):
            mysql.load(chunks[:1])
        assert exec_sandbox.audit_log is not None
        asked = exec_sandbox.audit_log.read_text(encoding="utf-8")
        assert "mariadb-dump" in asked and PASSWORD.split()[0] not in asked
    finally:
        server.stop()
        shutil.rmtree(folder)


class Handler(http.server.BaseHTTPRequestHandler):
    """Keeps what is PUT, answers with its digest, and gives it back."""

    protocol_version = "HTTP/1.1"
    kept: Dict[str, bytes] = {}

    def do_PUT(self) -> None:  # pylint: disable=invalid-name
        """Keep it."""
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.kept[self.path] = data
        self._answer(hashlib.sha256(data).hexdigest().encode())

    def do_GET(self) -> None:  # pylint: disable=invalid-name
        """Give it."""
        self._answer(self.kept[self.path])

    def _answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
        """Say nothing."""


@pytest.fixture(name="object_store")
def _object_store() -> Iterator[int]:
    """The port of an HTTP server on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_port_of_a_pod_is_reached_from_here(exec_sandbox: Sandbox, pod: str, library: Any, object_store: int) -> None:
    """Ten megabytes there and back, several connections at once; a port where nothing listens resets its clients."""
    forwards = [{"ports": [9000], "target": {"port": object_store, "address": "127.0.0.1"}}]
    client_of(exec_sandbox).create(*a_kwok("PortForward", pod, {"forwards": forwards}))
    digest = hashlib.sha256(TEN_MEGABYTES).hexdigest()
    found: Dict[str, Tuple[str, bool]] = {}
    with PodTunnel(library, NAMESPACE, pod, 9000) as tunnel:

        def use(path: str) -> None:
            connection = http.client.HTTPConnection(*tunnel.address, timeout=60)
            connection.request("PUT", path, TEN_MEGABYTES)
            answer = connection.getresponse().read().decode()
            connection.request("GET", path)
            found[path] = (answer, connection.getresponse().read() == TEN_MEGABYTES)
            connection.close()

        for _attempt in range(100):  # until kwok has seen where this port leads
            try:
                use("/first")
                break
            except ConnectionResetError:
                time.sleep(0.05)
        users = [threading.Thread(target=use, args=("/%d" % number,)) for number in range(3)]
        for user in users:
            user.start()
        for user in users:
            user.join()
    assert found == dict.fromkeys(["/first", "/0", "/1", "/2"], (digest, True))
    assert not [thread for thread in threading.enumerate() if pod in thread.name]
    with PodTunnel(library, NAMESPACE, pod, 9001) as closed:
        with pytest.raises(ConnectionResetError):
            connection = http.client.HTTPConnection(*closed.address, timeout=60)
            connection.request("GET", "/")
            connection.getresponse()
        assert "9001" in closed.problem
    with pytest.raises(ApiError, match="not found"), PodTunnel(library, NAMESPACE, "gone", 9000):
        raise AssertionError("made")


@pytest.mark.skipif(not EXHAUSTIVE, reason="starts a control plane twice")
def test_a_sandbox_that_starts_again_still_answers(sandboxes: Sandboxes) -> None:
    """The definitions of kwok's objects are there already, and so are the objects."""
    sandbox = sandboxes.make("again", nodes=1, exec=True)
    client = client_of(sandbox)
    client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    container = {"name": "main", "image": "a/b:1"}
    client.create(PODS, {"metadata": {"name": "db"}, "spec": {"automountServiceAccountToken": False, "containers": [container]}})
    client.create(*a_kwok("Exec", "db", {"execs": [{"local": {}}]}))
    for _time in range(2):
        transport = PodExec(new_client(str(sandbox.kubeconfig)), NAMESPACE, "db")
        until_it_runs(transport)
        assert b"".join(transport.run(["echo", "here"])) == b"here\n"
        processes.end(sandbox.dir)
        assert sandboxes.make("again", nodes=1, exec=True).changed
    sandboxes.remove("again")
