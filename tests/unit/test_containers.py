# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real pods without a cluster: what is read out of a pod, how volumes change, how connections are relayed."""

from __future__ import annotations

import base64
import os
import socket
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox import backends, containers, netns, podspec, realpods

SECRET = ObjectRef("", "Secret", "kubeflow-system", "certs")
CONFIG = ObjectRef("", "ConfigMap", "kubeflow-system", "config")


def a_pod(**changes: Any) -> KubeObject:
    """A pod of JobSet's Deployment, as the API server has it."""
    container: Dict[str, Any] = {
        "name": "manager",
        "image": "registry.example/jobset",
        "command": ["/manager"],
        "args": ["--config=/conf/controller.yaml", "--id=$(POD_NAME)", "--price=$$5", "--left=$(UNKNOWN)"],
        "ports": [{"name": "webhook", "containerPort": 9443}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "webhook", "scheme": "HTTPS"}, "periodSeconds": 2},
        "resources": {"limits": {"memory": "200Mi"}},
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "level", "optional": True}}},
            {"name": "WHO", "value": "$(POD_NAME)!"},
        ],
        "volumeMounts": [
            {"name": "certs", "mountPath": "/certs", "readOnly": True},
            {"name": "config", "mountPath": "/conf/controller.yaml", "subPath": "controller.yaml"},
            {"name": "scratch", "mountPath": "/tmp/x"},
            {"name": "account", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True},
        ],
    }
    spec: Dict[str, Any] = {
        "nodeName": "node-0",
        "serviceAccountName": "jobset",
        "containers": [dict(container, **changes)],
        "volumes": [
            {"name": "certs", "secret": {"secretName": "certs"}},
            {"name": "config", "configMap": {"name": "config", "items": [{"key": "a", "path": "controller.yaml"}]}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "unused", "secret": {"secretName": "not-ours"}},
            {
                "name": "account",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                        {"configMap": {"name": "root-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
                    ]
                },
            },
        ],
    }
    metadata = {
        "name": "jobset-controller-manager-5d4-x",
        "namespace": "kubeflow-system",
        "uid": "0f0e0d0c-0000-1111-2222-333344445555",
        "ownerReferences": [{"kind": "ReplicaSet", "name": "jobset-controller-manager-5d4"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def sources() -> Dict[ObjectRef, KubeObject]:
    """The objects that the pod reads."""
    return {
        SECRET: {"kind": "Secret", "data": {"tls.crt": base64.b64encode(b"\x00cert").decode()}},
        CONFIG: {"kind": "ConfigMap", "data": {"a": "kind: Configuration", "level": "debug"}},
        ObjectRef("", "ConfigMap", "kubeflow-system", "root-ca"): {"kind": "ConfigMap", "data": {"ca.crt": "CA", "other": "x"}},
    }


def a_token(source: KubeObject) -> str:
    """Stands for the API server's answer to a TokenRequest."""
    return "token-of-%s" % source.get("path")


def test_volumes_hold_what_a_kubelet_would_put_there() -> None:
    """Items, whole objects, projected sources and empty folders; a volume that is not mounted is not read."""
    assert podspec.volumes(a_pod(), "manager", sources().get, a_token) == {
        "certs": {"tls.crt": b"\x00cert"},
        "config": {"controller.yaml": b"kind: Configuration"},
        "scratch": None,
        "account": {"token": b"token-of-token", "ca.crt": b"CA", "namespace": b"kubeflow-system"},
    }


def test_references_name_every_object_that_the_container_reads() -> None:
    """They decide which watch events reach the pod."""
    assert set(podspec.references(a_pod(), "manager")) == set(sources())


def test_environment_and_arguments_are_expanded_as_kubernetes_does() -> None:
    """``$(NAME)`` of known names only, ``$$`` is a dollar, command[0] is the program itself."""
    env = podspec.environment(a_pod(), "manager", sources().get)
    name = "jobset-controller-manager-5d4-x"
    assert env == {"POD_NAME": name, "POD_IP": "127.0.0.1", "LEVEL": "debug", "WHO": name + "!"}
    assert podspec.arguments(a_pod(), "manager", env) == [
        "--config=/conf/controller.yaml",
        "--id=" + name,
        "--price=$5",
        "--left=$(UNKNOWN)",
    ]


def test_a_missing_object_is_named_unless_it_is_optional() -> None:
    """A kubelet would not start the container; the message is what a person sees meanwhile."""
    known = sources()
    del known[SECRET]
    with pytest.raises(podspec.Missing, match="Secret kubeflow-system/certs is missing"):
        podspec.volumes(a_pod(), "manager", known.get, a_token)
    pod = a_pod()
    pod["spec"]["volumes"][0]["secret"]["optional"] = True
    assert podspec.volumes(pod, "manager", known.get, a_token)["certs"] == {}


def test_a_missing_key_is_named() -> None:
    """The object is there, but not yet filled."""
    known = dict(sources())
    known[CONFIG] = {"kind": "ConfigMap", "data": {}}
    with pytest.raises(podspec.Missing, match="ConfigMap kubeflow-system/config key a is missing"):
        podspec.volumes(a_pod(), "manager", known.get, a_token)


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        ({"httpGet": {"port": 8081}}, podspec.Probe("HTTP", 8081, "/", 10.0)),
        ({"httpGet": {"port": "webhook", "scheme": "HTTPS"}, "periodSeconds": 1}, podspec.Probe("HTTPS", 9443, "/", 1.0)),
        ({"tcpSocket": {"port": "webhook"}}, podspec.Probe("TCP", 9443, "", 10.0)),
        ({"exec": {"command": ["true"]}}, None),
        ({}, None),
    ],
)
def test_readiness_probe(probe: Dict[str, Any], expected: object) -> None:
    """Ports by number and by name; what cannot be asked through a port counts as none."""
    assert podspec.readiness(a_pod(readinessProbe=probe), "manager") == expected


def read_all(folder: Path) -> Dict[str, bytes]:
    """What a program sees in a volume."""
    return {name: (folder / name).read_bytes() for name in os.listdir(folder) if not name.startswith("..")}


def test_a_volume_changes_at_one_moment(tmp_path: Path) -> None:
    """Programs watch ``..data``: certificate and key have to change together, and old keys disappear."""
    netns.write_volume(str(tmp_path), {"tls.crt": b"1", "tls.key": b"1"})
    first = os.readlink(tmp_path / "..data")
    netns.write_volume(str(tmp_path), {"tls.crt": b"2", "ca.crt": b"2"})
    assert read_all(tmp_path) == {"tls.crt": b"2", "ca.crt": b"2"}
    assert os.readlink(tmp_path / "tls.crt") == "..data/tls.crt"
    assert os.readlink(tmp_path / "..data") != first
    assert not (tmp_path / first).exists()


@pytest.fixture(name="echo")
def _echo() -> Iterator[Tuple[str, int]]:
    """A TCP server on the loopback interface that answers in capitals and ends with its client."""

    def handle(connection: socket.socket) -> None:
        while True:
            data = connection.recv(100)
            if not data:
                break
            connection.sendall(data.upper())
        connection.close()

    server = socket.create_server(("127.0.0.1", 0))
    netns.serve(server, handle)
    host, port = server.getsockname()
    yield host, port
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def test_connections_reach_the_api_server_through_a_long_path(tmp_path: Path, echo: Tuple[str, int]) -> None:
    """A Unix socket's path ends at 107 bytes, state folders do not; both directions end with the client."""
    folder = tmp_path / ("d" * 100)
    folder.mkdir()
    api = containers.ApiSocket(folder / "api.sock", *echo)
    with netns.connect_unix(str(folder / "api.sock"), 5) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"HELLO"
        assert client.recv(100) == b""
    api.close()
    assert not (folder / "api.sock").exists()


def test_the_first_line_is_the_port_and_no_byte_more_is_taken() -> None:
    """What follows the line belongs to the program (often a TLS hello in the same packet)."""
    one, other = socket.socketpair()
    with one, other:
        one.sendall(b"9443\nrest")
        assert netns.read_line(other) == b"9443"
        assert other.recv(100) == b"rest"
        one.sendall(b"x" * 50)
        assert netns.read_line(other) == b""


@pytest.fixture(name="host")
def _host(tmp_path: Path) -> containers.PodHost:
    def request(namespace: str, account: str, body: KubeObject) -> str:
        assert (namespace, account) == ("kubeflow-system", "jobset")
        assert body["spec"]["boundObjectRef"]["kind"] == "Pod"
        return "token"

    return containers.PodHost(tmp_path / "work", tmp_path / "api.sock", request)


def test_a_pod_waits_for_what_it_mounts(host: containers.PodHost) -> None:
    """It says what is missing; events of other objects do not touch it; a pod without a node is not started."""
    told: List[str] = []
    jobset = [backend for backend in backends.backends_for("26.03") if backend.name == "jobset"][0]
    pods = realpods.RealPods({jobset: Path("/nowhere")}, host, lambda pod, container, state: told.append(state.message))
    pod = a_pod()
    unscheduled = a_pod()
    del unscheduled["spec"]["nodeName"]
    pods.handle_pod("ADDED", unscheduled)
    assert pods.states() == {}
    pods.handle_pod("MODIFIED", pod)
    pods.handle_source("ADDED", {"kind": "Secret", "metadata": {"namespace": "kubeflow-system", "name": "else"}, "data": {}})
    assert told == ["waiting: Secret kubeflow-system/certs is missing"]
    secret = dict(sources()[SECRET], metadata={"namespace": "kubeflow-system", "name": "certs"})
    pods.handle_source("ADDED", secret)
    assert told[1:] == ["waiting: ConfigMap kubeflow-system/config is missing"]
    pods.handle_pod("DELETED", pod)
    assert pods.states() == {}


def test_status_is_what_a_kubelet_writes() -> None:
    """Endpoints follow the Ready condition; a crash shows as one."""
    crashed = containers.PodState(started=False, ready=False, restarts=2, message="exited with status 1")
    status = realpods.status_patch(a_pod(), "manager", crashed)["status"]
    assert status["phase"] == "Running"
    assert status["containerStatuses"][0]["restartCount"] == 2
    assert status["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
    assert conditions == {"PodScheduled": "True", "Initialized": "True", "ContainersReady": "False", "Ready": "False"}
    ready = realpods.status_patch(a_pod(), "manager", containers.PodState(True, True))["status"]
    assert [condition["status"] for condition in ready["conditions"]] == ["True"] * 4


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("INFO start\nERROR no matches for kind\nmain.main\n\tproc.go:290\n", "ERROR no matches for kind"),
        ("one\ntwo\n", "two"),
        ("", ""),
    ],
)
def test_last_words_name_the_cause(tmp_path: Path, log: str, words: str) -> None:
    """Go programs end with a stack trace; the cause stands above it."""
    (tmp_path / "log").write_text(log)
    assert containers.last_words(tmp_path / "log") == words


ALL = [row for name in Catalogue.load().names for row in backends.backends_for(name)]


@pytest.mark.parametrize("backend", ALL, ids=lambda row: "%s-%s" % (row.name, row.version))
def test_every_back_end_is_pinned(backend: backends.Backend) -> None:
    """The row names the version that go.mod requires, and go.sum is committed: nothing is resolved at build time."""
    folder = backends.MODULES / backend.module
    words = [line.split("//")[0].replace("require ", "").split() for line in (folder / "go.mod").read_text().splitlines()]
    required = {line[0]: line[1] for line in words if len(line) == 2}
    module = [name for name in required if backend.package == name or backend.package.startswith(name + "/")]
    assert [required[name] for name in module] == [backend.version]
    assert module[0] in (folder / "go.sum").read_text()


def test_pods_are_matched_by_deployment_and_container() -> None:
    """A pod of a user with the same name in another namespace is not run."""
    real = backends.backends_for("26.03")
    found = backends.backend_of(a_pod(), real)
    assert found is not None and (found[0].name, found[1]) == ("jobset", "manager")
    stranger = a_pod()
    stranger["metadata"]["namespace"] = "team-a"
    assert backends.backend_of(stranger, real) is None
    assert backends.backends_for("26.0") == ()


def test_a_closed_socket_leaves_no_thread(tmp_path: Path) -> None:
    """Many sandboxes come and go in one process."""
    before = set(threading.enumerate())
    containers.ApiSocket(tmp_path / "api.sock", "127.0.0.1", 1).close()
    assert set(threading.enumerate()) <= before
