# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs here and in pods: streams both ways, every way to end. Pods are played by a scripted websocket server."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import transports
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import ApiError, Unreachable
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.transports import LocalCommand, PodExec, ProgramFailed, find_pod

from .websocket_support import BINARY, CONTINUED, PING, PONG, Peer, Script, Scripted

SUCCESS = b'\x03{"status":"Success"}'
LOCAL = LocalCommand(idle_timeout=5.0)


def shell(text: str, *stdin: bytes, idle: float = 5.0) -> Iterator[bytes]:
    """A shell script of this machine."""
    return LocalCommand(idle_timeout=idle).run(["sh", "-c", text], stdin)


# ---------------------------------------------------------------- this machine


def test_more_goes_through_a_program_than_any_pipe_holds() -> None:
    """Reading and writing take turns; nobody waits for the other forever."""
    data = os.urandom(400_000)
    assert b"".join(LOCAL.run(["cat"], [data, b"", data])) == data + data


def test_one_program_can_feed_another() -> None:
    """A dump that is played at once."""
    assert b"".join(LOCAL.run(["tr", "a", "b"], shell("echo aaa; echo aa"))) == b"bbb\nbb\n"


def test_a_program_that_writes_a_lot_has_to_wait() -> None:
    """Memory is bounded whatever comes out."""
    tracemalloc.start()
    try:
        total = sum(len(chunk) for chunk in shell("head -c 30000000 /dev/zero"))
        assert (total, tracemalloc.get_traced_memory()[1] < 1_000_000) == (30_000_000, True)
    finally:
        tracemalloc.stop()


def test_a_bad_end_has_the_status_and_the_last_words() -> None:
    """What was written before is there; of standard error the end is kept."""
    chunks = []
    with pytest.raises(ProgramFailed, match="exit status 3") as caught:
        for chunk in shell("echo out; head -c 9000 /dev/zero | tr '\\0' x >&2; echo ' the end' >&2; exit 3"):
            chunks.append(chunk)
    assert chunks == [b"out\n"]
    assert caught.value.status == 3 and len(caught.value.errors) == 4096 and caught.value.errors.endswith("x the end\n")
    with pytest.raises(ProgramFailed, match="signal 9"):
        list(shell("kill -9 $$"))


def test_a_program_that_reads_no_more_is_judged_by_its_status() -> None:
    """The rest of the input is dropped."""
    assert list(shell("head -c 1", *[b"x" * 100_000] * 5)) == [b"x"]
    with pytest.raises(ProgramFailed, match="status 4"):
        list(shell("exit 4", *[b"x" * 100_000] * 5))


def test_a_program_that_is_not_there() -> None:
    """Said without a traceback, and nothing stays open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(EngineError, match="cannot start no-such-program: No such file"):
        list(LOCAL.run(["no-such-program"]))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_source_that_breaks_never_looks_like_the_end_of_the_data(tmp_path: Path) -> None:
    """The program is killed before its input ends: it cannot take half of the data for all of them."""

    def source() -> Iterator[bytes]:
        yield b"half"
        raise EngineError("the store is gone")

    with pytest.raises(EngineError, match="the store is gone"):
        list(LOCAL.run(["sh", "-c", "cat >/dev/null; touch %s/done" % tmp_path], source()))
    time.sleep(0.05)
    assert not (tmp_path / "done").exists()


def test_who_stops_reading_ends_the_program() -> None:
    """Nothing runs on, nothing stays open."""
    before = len(os.listdir("/proc/self/fd"))
    running = shell("echo $$; exec sleep 60")
    pid = int(next(running))
    running.close()  # type: ignore[attr-defined]
    assert not Path("/proc/%d" % pid).exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_silence_has_an_end() -> None:
    """A program that neither reads nor writes is given up, and ended."""
    with pytest.raises(EngineError, match="nothing came from sh, .* for 0 s") as caught:
        list(shell("exec sleep 60", idle=0.1))
    assert "run again" in caught.value.next_step


@pytest.fixture(name="server")
def _server() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.close()


# ---------------------------------------------------------------- a pod


def execute(server: Scripted, script: Script, *stdin: bytes, protocol: str = "v5.channel.k8s.io", idle: float = 5.0) -> Iterator[bytes]:
    """Run something in a pod of this server."""

    def whole(peer: Peer) -> None:
        peer.accept(protocol)
        script(peer)

    server.script = whole
    return PodExec(server.client, "ns", "mysql-0", "main", idle_timeout=idle).run(["cat", "a b", "$x"], stdin)


def test_a_program_in_a_pod_is_fed_and_heard(server: Scripted) -> None:
    """Input ends with a message of its own, output may come in fragments, pings are answered, errors are kept apart."""
    seen: Dict[str, Any] = {}

    def script(peer: Peer) -> None:
        seen.update(query=peer.query, path=peer.target.path, headers=peer.headers)
        got = b""
        while True:
            opcode, data = peer.read()
            assert (opcode, data[:1]) in ((BINARY, b"\x00"), (BINARY, b"\xff"))
            if data == b"\xff\x00":
                break
            got += data[1:]
        seen["stdin"] = got
        peer.send(b"ping", PING)
        assert peer.read() == (PONG, b"ping")
        peer.send(b"\x01first ", final=False)
        peer.send(b"second ", CONTINUED)
        peer.send(b"\x02warning")
        peer.send(b"\x01" + b"x" * 70000)
        peer.send(b"\x01")
        peer.send(SUCCESS)
        peer.end()

    assert b"".join(execute(server, script, b"abc", b"y" * 70000)) == b"first second " + b"x" * 70000
    assert seen["stdin"] == b"abc" + b"y" * 70000
    assert seen["path"] == "/api/v1/namespaces/ns/pods/mysql-0/exec"
    assert [value for name, value in seen["query"] if name == "command"] == ["cat", "a b", "$x"]
    assert dict(seen["query"])["container"] == "main" and dict(seen["query"])["stdin"] == "true"
    assert seen["headers"]["authorization"] == "Bearer abc"
    assert seen["headers"]["sec-websocket-protocol"] == "v5.channel.k8s.io,v4.channel.k8s.io"


def test_an_exit_status_in_a_pod(server: Scripted) -> None:
    """From the causes of the Status; what the kubelet says instead if there is none."""
    causes = [{"reason": "ExitCode", "message": "2"}]
    status = {"status": "Failure", "reason": "NonZeroExitCode", "message": "exit code 2", "details": {"causes": causes}}

    def script(peer: Peer) -> None:
        peer.send(b"\x02" + b"e" * 5000 + b" access denied\n")
        peer.send(b"\x03" + json.dumps(status).encode())
        peer.end()

    with pytest.raises(ProgramFailed, match="cat ended with exit status 2") as caught:
        list(execute(server, script))
    assert caught.value.status == 2 and len(caught.value.errors) == 4096 and "access denied" in caught.value.found
    status = {"status": "Failure", "message": "container not running"}
    with pytest.raises(ProgramFailed, match="container not running") as caught:
        list(execute(server, script))
    assert caught.value.status is None


@pytest.mark.parametrize("cut", ["close", "drop", "in a frame"])
def test_a_connection_that_ends_without_a_status_is_an_error(server: Scripted, cut: str) -> None:
    """However much came before: nobody knows whether it was all."""

    def script(peer: Peer) -> None:
        peer.send(b"\x01half")
        if cut == "close":
            peer.end()
        elif cut == "in a frame":
            peer.raw.sendall(b"\x82\x7e\xff\xff\x01abc")

    chunks = []
    with pytest.raises(EngineError, match="connection to pod ns/mysql-0 container main ended before the program did"):
        for chunk in execute(server, script):
            chunks.append(chunk)
    assert chunks == [b"half"]


def test_silence_of_a_pod_has_an_end(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life keep the connection open, but they are no progress."""
    opcodes: List[int] = []

    def script(peer: Peer) -> None:
        while not opcodes or opcodes[-1] >= 0:
            opcodes.append(peer.read()[0])
            if opcodes[-1] == PING:
                peer.send(b"", PONG)

    monkeypatch.setattr(transports, "PING_SECONDS", 0.03)
    with pytest.raises(EngineError, match="nothing came from cat"):
        list(execute(server, script, idle=0.2))
    server.threads[0].join(5)
    assert opcodes.count(PING) >= 2


def test_a_server_that_cannot_end_input_is_refused(server: Scripted) -> None:
    """A program that waits for the end of its input would wait forever."""
    with pytest.raises(EngineError, match="cannot end a program's standard input") as caught:
        list(execute(server, lambda peer: None, protocol="v4.channel.k8s.io"))
    assert caught.value.found == "v4.channel.k8s.io" and "1.30" in caught.value.expected


def test_a_source_that_breaks_ends_the_connection_without_ending_the_input(server: Scripted) -> None:
    """The last thing the server sees is no goodbye and no end of the input."""
    frames: List[Tuple[int, bytes]] = []

    def script(peer: Peer) -> None:
        while not frames or frames[-1][0] >= 0:
            frames.append(peer.read())

    def source() -> Iterator[bytes]:
        yield b"half"
        raise EngineError("the store is gone")

    execute(server, script)
    with pytest.raises(EngineError, match="the store is gone"):
        list(PodExec(server.client, "ns", "p").run(["cat"], source()))
    server.threads[0].join(5)
    assert (BINARY, b"\xff\x00") not in frames and frames[-1] == (-1, b"")


def test_input_stops_where_the_program_has_ended(server: Scripted) -> None:
    """The status is enough; the rest of the source is not asked for."""
    asked = []

    def source() -> Iterator[bytes]:
        for count in range(10**6):
            asked.append(count)
            yield b"x" * 1000

    def script(peer: Peer) -> None:
        peer.read()
        peer.send(SUCCESS)
        peer.end()

    execute(server, script)
    assert list(PodExec(server.client, "ns", "p", idle_timeout=5.0).run(["true"], source())) == []
    assert len(asked) < 10**6


def test_a_pod_that_writes_a_lot_has_to_wait(server: Scripted) -> None:
    """While nobody reads, only the kernel's buffers fill."""
    sent = [0]

    def script(peer: Peer) -> None:
        for _turn in range(4000):
            peer.send(b"\x01" + b"x" * 30000)
            sent[0] += 30000
        raise AssertionError("all of it was taken")

    running = execute(server, script)
    next(running)
    time.sleep(0.1)
    first = sent[0]
    time.sleep(0.05)
    assert sent[0] == first < 40_000_000
    running.close()  # type: ignore[attr-defined]


def test_what_the_server_refuses_is_said_with_what_to_ask_for(server: Scripted) -> None:
    """Rights, a pod that is gone, a server that does not answer."""
    message = b'{"kind":"Status","message":"pods \\"p\\" is forbidden: no","reason":"Forbidden"}'
    server.script = lambda peer: peer.refuse(403, message)
    with pytest.raises(ApiError, match="is forbidden: no") as caught:
        list(PodExec(server.client, "ns", "p").run(["true"]))
    assert caught.value.status == 403 and "create pods/exec" in caught.value.next_step
    server.script = lambda peer: peer.refuse(502, b"<html>a proxy</html>")
    with pytest.raises(ApiError, match="a proxy"):
        list(PodExec(server.client, "ns", "p").run(["true"]))
    client = server.client
    type(client.configuration).host = "http://127.0.0.1:1"
    with pytest.raises(Unreachable, match="no answer from http://127.0.0.1:1: .*refused"):
        list(PodExec(client, "ns", "p").run(["true"]))


# ---------------------------------------------------------------- which pod


def pod(name: str, ready: str = "True", **more: Any) -> Dict[str, Any]:
    """A pod as the API server has it."""
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready, "reason": "ContainersNotReady"}]}
    return {"metadata": {"name": name, **more.pop("metadata", {})}, "status": {**status, **more}}


class Cluster:
    """An API that has one Deployment and some pods."""

    def __init__(self, pods: List[Dict[str, Any]], selector: Any = None) -> None:
        self.pods = pods
        self.selector = selector
        self.asked = ""

    def get(self, resource: Any, namespace: str, name: str) -> Any:
        """The Deployment, if it has the right name."""
        return {"spec": {"replicas": 0, "selector": self.selector}} if name == "mysql" else None

    def list(self, resource: Any, *, namespace: str, selector: str) -> Any:
        """All pods."""
        self.asked = selector
        return self.pods, "1"


def test_the_ready_pod_is_found() -> None:
    """By a Deployment's selector or a given one; those that end or are not ready are no choice."""
    pods = [pod("c"), pod("b"), pod("a", metadata={"deletionTimestamp": "x"}), pod("0", "False")]
    expressions = [{"key": "k", "operator": "In", "values": ["x", "y"]}, {"key": "l", "operator": "DoesNotExist"}]
    cluster: Any = Cluster(pods, {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": expressions})
    assert find_pod(cluster, "ns", deployment="mysql") == "b"
    assert cluster.asked == "a=1,b=2,k in (x,y),!l"
    assert find_pod(cluster, "ns", selector="app=mysql") == "b" and cluster.asked == "app=mysql"


def test_what_is_there_instead_of_a_ready_pod_is_said() -> None:
    """The reason of each pod, or that there is none, or no Deployment."""
    waiting = pod("b", "False", containerStatuses=[{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}])
    cluster: Any = Cluster(
        [pod("a", "False"), waiting, {"metadata": {"name": "c"}, "status": {"phase": "Pending"}}], {"matchLabels": {"a": "b"}}
    )
    with pytest.raises(EngineError, match="no pod is ready") as caught:
        find_pod(cluster, "ns", deployment="mysql")
    assert caught.value.found == "a is ContainersNotReady, b is CrashLoopBackOff, c is Pending"
    empty: Any = Cluster([], {"matchLabels": {"a": "b"}})
    with pytest.raises(EngineError) as caught:
        find_pod(empty, "ns", deployment="mysql")
    assert caught.value.found == "no pods (0 replicas)"
    with pytest.raises(EngineError, match="no such Deployment") as caught:
        find_pod(empty, "ns", deployment="other")
    assert caught.value.subject == "Deployment.apps ns/other"
