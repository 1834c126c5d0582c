# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime of real pods with a small program of our own: isolation, volumes, restarts, and that nothing is left."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.golang import build_go
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox import containers

SECRET = ObjectRef("", "Secret", "team", "certs")
PROGRAM = Path(__file__).parent / "data" / "show" / "main.go"


@pytest.fixture(name="program", scope="session")
def _program(tmp_path_factory: pytest.TempPathFactory) -> containers.Program:
    """A static program that shows what it sees."""
    module = tmp_path_factory.mktemp("program")
    (module / "main.go").write_text(PROGRAM.read_text(encoding="utf-8"))
    (module / "go.mod").write_text("module program\n\ngo 1.24\n")
    return containers.Program(build_go(module, ".", module / "out", "-s -w", Silent()), "show")


def a_pod() -> KubeObject:
    """A pod with a Secret, a scratch folder and a readiness probe."""
    container = {
        "name": "show",
        "image": "registry.example/show",
        "args": ["$(NAME)"],
        "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "readinessProbe": {"httpGet": {"port": 8080, "path": "/etc/hosts"}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "certs", "mountPath": "/tmp/certs", "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},
        ],
    }
    volumes: List[KubeObject] = [{"name": "certs", "secret": {"secretName": "certs"}}, {"name": "scratch", "emptyDir": {}}]
    metadata = {"name": "show-1", "namespace": "team", "uid": "0f0e0d0c-0000-1111"}
    return {"metadata": metadata, "spec": {"containers": [container], "volumes": volumes}}


def a_secret(value: bytes) -> KubeObject:
    """The Secret as the API server has it."""
    return {"kind": "Secret", "data": {"tls.key": base64.b64encode(value).decode()}}


class Running:
    """A real pod, with the states it went through."""

    def __init__(self, work_dir: Path, program: containers.Program) -> None:
        self.states: List[containers.PodState] = []
        self._changed = threading.Condition()
        host = containers.PodHost(work_dir, work_dir / "api.sock", lambda namespace, account, body: "token")
        self.pod = containers.RealPod(a_pod(), "show", program, host, self._told)

    def _told(self, state: containers.PodState) -> None:
        with self._changed:
            self.states.append(state)
            self._changed.notify_all()

    def until(self, wanted: Callable[[containers.PodState], bool]) -> None:
        """Wait for a state."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(wanted(state) for state in self.states), 20), self.states

    def get(self, path: str) -> bytes:
        """Ask the program for a file that it sees."""
        connection = http.client.HTTPConnection("pod")
        connection.sock = containers.dial(self.pod.relay_socket, 8080)
        connection.request("GET", path)
        body = connection.getresponse().read()
        connection.close()
        return body


@pytest.fixture(name="running")
def _running(tmp_path: Path, program: containers.Program) -> Iterator[Running]:
    running = Running(tmp_path / "work", program)
    running.pod.sync()
    running.pod.offer(SECRET, a_secret(b"one"))
    assert running.pod.wait_ready(20).ready, containers.tail(running.pod.log)
    yield running
    running.pod.stop()


def test_this_machine_allows_real_pods() -> None:
    """Without it the other tests prove nothing, and the sandbox uses stand-ins."""
    assert containers.namespaces_refused() == ""


def test_a_pod_starts_when_its_secret_is_there(running: Running) -> None:
    """Before, it says what it waits for; afterwards a changed Secret reaches the running program."""
    assert running.states[0] == containers.PodState(message="waiting: Secret team/certs is missing")
    assert running.get("/tmp/certs/tls.key") == b"one"
    running.pod.offer(SECRET, a_secret(b"two"))
    deadline = time.monotonic() + 10
    while running.get("/tmp/certs/tls.key") != b"two":
        assert time.monotonic() < deadline
    assert b"read-only" in running.get("/write?/tmp/certs/..data/tls.key")
    assert b"nil" in running.get("/write?/tmp/scratch")
    assert "hello from show-1" in containers.tail(running.pod.log)


def test_a_pod_sees_nothing_of_the_machine(running: Running, tmp_path: Path) -> None:
    """Neither its files nor its network; the API server only through the relay."""
    assert b"no such file" in running.get(str(tmp_path))
    assert b"refused" in running.get("/outside?127.0.0.1:22")
    assert b"unreachable" in running.get("/outside?192.0.2.1:80")
    assert running.get("/api") == b""  # nobody behind the socket: closed, not hanging


def test_the_api_server_is_reached_through_its_socket(running: Running) -> None:
    """What the program sends to KUBERNETES_SERVICE_HOST arrives at the sandbox's API server."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, address = server.accept()
        with connection:
            connection.sendall(connection.recv(100).replace(b"i", b"o"))

    thread = threading.Thread(target=answer)
    thread.start()
    api = containers.ApiSocket(running.pod.host.api_socket, *server.getsockname())
    assert running.get("/api") == b"pong"
    thread.join(5)
    api.close()
    server.close()


def test_a_crash_is_seen_and_the_program_starts_again(running: Running) -> None:
    """As a kubelet: not ready, one restart more, ready again."""
    with pytest.raises(http.client.RemoteDisconnected):
        running.get("/exit")
    running.until(lambda state: not state.started and state.message == "exited with status 3: hello from show-1")
    running.until(lambda state: state.ready and state.restarts == 1)


def test_a_program_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The first cause is in the state, not only in a log."""
    not_a_program = tmp_path / "text"
    not_a_program.write_text("#!/nowhere\n")
    not_a_program.chmod(0o755)
    running = Running(tmp_path / "work", containers.Program(not_a_program, "show"))
    running.pod.offer(SECRET, a_secret(b"one"))
    running.until(lambda state: state.message == "exited with status 1: cannot start /show: No such file or directory")
    running.pod.stop()


def children_of(marker: str) -> Dict[int, str]:
    """Every process of this machine whose command line or environment has the marker."""
    found = {}
    for entry in os.listdir("/proc"):
        try:
            command = Path("/proc", entry, "cmdline").read_bytes() if entry.isdigit() else b""
        except OSError:
            continue
        if marker.encode() in command:
            found[int(entry)] = command.decode(errors="replace")
    return found


AGENT = """
import json, pathlib, sys, time
from {package} import containers
from {objects} import ObjectRef
work = pathlib.Path(sys.argv[1])
host = containers.PodHost(work, work / "api.sock", lambda namespace, account, body: "token")
pod = containers.RealPod(json.loads(sys.argv[2]), "show", containers.Program(pathlib.Path(sys.argv[3]), "show"), host, lambda state: None)
pod.offer(ObjectRef("", "Secret", "team", "certs"), json.loads(sys.argv[4]))
print(pod.wait_ready(20).ready, flush=True)
time.sleep(60)
"""


def test_nothing_outlives_a_killed_agent(tmp_path: Path, program: containers.Program) -> None:
    """SIGKILL gives the agent no chance to clean up: the kernel ends the pod's namespaces."""
    package = containers.__name__.rpartition(".")[0]
    source = textwrap.dedent(AGENT).format(package=package, objects=ObjectRef.__module__)
    pod = a_pod()
    marker = "orphan-%d" % os.getpid()
    pod["metadata"]["name"] = marker
    arguments = [str(tmp_path / "work"), json.dumps(pod), str(program.binary), json.dumps(a_secret(b"one"))]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    agent = subprocess.Popen([sys.executable, "-c", source] + arguments, stdout=subprocess.PIPE, env=environment)
    assert agent.stdout is not None and agent.stdout.readline().strip() == b"True"
    assert any("/show" in command for command in children_of(marker).values())
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    agent.stdout.close()
    deadline = time.monotonic() + 10
    while children_of(marker):
        assert time.monotonic() < deadline, children_of(marker)
        time.sleep(0.05)
