# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the sandbox that need no control plane."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox import egress, lifecycle, operation, processes, stages, standin
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.agent import PLAYS
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.kube import ApiStatus
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.pki import Authority
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.work import Item, WorkQueue


@pytest.fixture(name="authority", scope="module")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def talk(folder: Path, request: bytes) -> socket.socket:
    """A connection to the egress socket, its request sent."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(folder / "egress.sock"))
    connection.settimeout(5)
    connection.sendall(request)
    return connection


def start(authority: Authority, folder: Path, route: egress.Router) -> egress.Egress:
    """An egress that listens."""
    made = egress.Egress(route, authority.chooser())
    made.listen(folder / "egress.sock")
    return made


def refuse(address: str, port: int) -> egress.Pod:
    """A cluster without endpoints."""
    raise egress.Refused("no ready endpoint for service a/b port %d" % port)


def test_without_an_endpoint_the_api_server_hears_why(authority: Authority, tmp_path: Path) -> None:
    """The reason is what a gate prints while it waits."""
    start(authority, tmp_path, refuse)
    answer = talk(tmp_path, b"CONNECT 127.96.0.9:443 HTTP/1.1\r\n\r\n").recv(4096)
    assert answer.startswith(b"HTTP/1.1 503 no ready endpoint for service a/b port 443")


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1\r\n\r\n", b"CONNECT nowhere HTTP/1.1\r\n\r\n"])
def test_what_is_no_connect_is_refused(authority: Authority, tmp_path: Path, request_line: bytes) -> None:
    """And does not end the egress."""
    start(authority, tmp_path, refuse)
    assert b" 503 " in talk(tmp_path, request_line).recv(4096)
    assert b"no ready endpoint" in talk(tmp_path, b"CONNECT 127.96.0.9:443 HTTP/1.1\r\n\r\n").recv(4096)


def test_the_stand_in_proves_every_name_and_ends_with_its_pod(authority: Authority, tmp_path: Path) -> None:
    """The API server verifies the Service's name against the caBundle that the agent wrote."""
    made = start(authority, tmp_path, lambda address, port: egress.Pod("a/pod", port, None))
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    for name in ("hook.a.svc", "other.b.svc"):
        raw = talk(tmp_path, b"CONNECT 127.96.0.9:443 HTTP/1.1\r\n\r\n")
        assert raw.recv(4096) == b"HTTP/1.1 200 OK\r\n\r\n"
        connection = context.wrap_socket(raw, server_hostname=name)
        for _again in range(2):
            body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "7"}}).encode()
            connection.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            answer = json.loads(connection.recv(4096).partition(b"\r\n\r\n")[2])
            assert answer["response"]["allowed"] and answer["response"]["uid"] == "7"
    made.gone("a/pod")
    assert connection.recv(100) == b""


def test_conversions_only_change_the_version() -> None:
    """Enough for custom resources whose versions have the same fields."""
    objects = [{"apiVersion": "x/v1", "kind": "A", "spec": 1}]
    request = {"uid": "1", "desiredAPIVersion": "x/v2", "objects": objects}
    answer = standin.review({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": request})
    assert answer["response"]["convertedObjects"] == [{"apiVersion": "x/v2", "kind": "A", "spec": 1}]
    assert answer["response"]["result"] == {"status": "Success"}


def test_an_authority_is_founded_once(tmp_path: Path) -> None:
    """What refers to its certificate (every caBundle of a copy) stays valid; its key is private."""
    assert Authority(tmp_path / "ca").certificate == Authority(tmp_path / "ca").certificate
    assert (tmp_path / "ca" / "ca.key").stat().st_mode & 0o077 == 0


def test_work_is_tried_again_until_it_succeeds() -> None:
    """And what is asked for many times before its turn is done once."""
    done = threading.Event()
    tries: List[Item] = []

    def reconcile(item: Item) -> None:
        tries.append(item)
        if len(tries) < 3:
            raise ApiStatus(409, "changed meanwhile")
        done.set()

    WorkQueue(reconcile, threads=1).add("Certificate", "a", "b")
    assert done.wait(5)
    assert tries == [("Certificate", "a", "b")] * 3


def test_one_wrong_object_does_not_end_the_agent(capsys: pytest.CaptureFixture[str]) -> None:
    """It is named in the log, and not tried again before it changes."""
    done = threading.Event()

    def reconcile(item: Item) -> None:
        if item[2] == "bad":
            raise KeyError("spec")
        done.set()

    queue = WorkQueue(reconcile, threads=1)
    queue.add("Profile", "", "bad")
    queue.add("Profile", "", "good")
    assert done.wait(5)
    assert "Profile /bad" in capsys.readouterr().err


def expressions(name: str, real: List[str]) -> List[Dict[str, Any]]:
    """What a stage asks of an object."""
    found = {stage["metadata"]["name"]: stage for stage in stages.stages(real)}
    return list(found[name]["spec"]["selector"]["matchExpressions"])


def test_kwok_leaves_pods_alone_that_are_run_for_real() -> None:
    """Only for them: they become Ready by their own probes."""
    ours = [entry for entry in expressions("pod-running", ["kubeflow-system/jobset"]) if "generateName" in entry["key"]]
    assert ours[0]["operator"] == "NotIn" and ours[0]["values"] == ["kubeflow-system/jobset"]
    assert not [entry for entry in expressions("pod-running", []) if "generateName" in entry["key"]]


@pytest.mark.parametrize("stage", ["pod-running", "pod-complete"])
def test_a_pod_that_shall_fail_never_runs(stage: str) -> None:
    """Whatever else it is."""
    assert {"key": '.metadata.annotations["%s"]' % stages.FAIL, "operator": "DoesNotExist"} in expressions(stage, [])


def test_only_processes_of_the_sandbox_are_its_processes(tmp_path: Path) -> None:
    """Not an editor that has one of its files open, and not the same programs of a neighbour with a longer name."""
    mine = tmp_path / "a"
    for folder, count in ((mine, 1), (tmp_path / "ab", 0)):
        program = folder / "kwok" / "bin" / "etcd"
        program.parent.mkdir(parents=True)
        program.symlink_to("/bin/sleep")
        with subprocess.Popen([str(program), "60"]) as running, subprocess.Popen(["/bin/sleep", "60"], cwd=mine) as other:
            try:
                assert [process.role for process in processes.processes_of(mine)] == ["etcd"] * count
                assert processes.end(mine) == count
                assert other.poll() is None
            finally:
                running.kill()
                other.kill()


@pytest.mark.parametrize("name", ["", "A", "-a", "a/b", "..", "a" * 41])
def test_a_bad_name_is_refused_before_anything_is_made(name: str, tmp_path: Path) -> None:
    """It becomes a folder name."""
    spec = lifecycle.SandboxSpec(name=name, state_dir=tmp_path / "state", cache_dir=tmp_path)
    for call in (lambda: lifecycle.create(spec, Silent()), lambda: lifecycle.delete(name, tmp_path / "state", Silent())):
        with pytest.raises(EngineError, match="not a name for a sandbox"):
            call()
    assert not (tmp_path / "state").exists()


def test_a_long_path_gets_its_sockets_elsewhere(tmp_path: Path) -> None:
    """The kernel allows 107 bytes for the path of a Unix socket."""
    short = lifecycle.socket_folder(Path("/s"), "a")
    long = lifecycle.socket_folder(tmp_path / ("d" * 100), "a")
    assert short == Path("/s/a/run") or short == Path("/s/run")
    assert len(str(long / "egress.sock")) < 107
    assert long != lifecycle.socket_folder(tmp_path / ("e" * 100), "a")


def test_check_mode_makes_and_removes_nothing(tmp_path: Path) -> None:
    """It says what would be done."""
    arguments = {key: value.get("default") for key, value in operation.SANDBOX.items()}
    arguments.update(dir=str(tmp_path / "state"), cache_dir=str(tmp_path / "cache"))
    present = operation.run_sandbox(arguments, "x", True, Silent(), None)
    assert present["changed"] and not present["failed"]
    absent = operation.run_sandbox({**arguments, "state": "absent"}, "x", True, Silent(), None)
    assert not absent["changed"]
    assert not list(tmp_path.iterdir())


def test_everything_that_is_played_says_why() -> None:
    """The table is what docs and people read."""
    assert len(PLAYS) == len({play.who for play in PLAYS})
    assert all(play.why for play in PLAYS)


def test_the_agent_starts_without_ansible_and_the_kubernetes_library(tmp_path: Path) -> None:
    """It runs as long as the sandbox does; its memory matters."""
    root = Path(lifecycle.__file__).resolve().parents[3]
    script = "import sys; sys.path.insert(0, %r); import plugins.plugin_utils._sandbox.agent; print(*sys.modules)" % str(root)
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, cwd=tmp_path).stdout.split()
    assert not {b"ansible", b"kubernetes"} & set(loaded)
