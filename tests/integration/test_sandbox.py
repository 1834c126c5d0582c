# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox itself: it starts and ends without a trace, and behaves like a cluster where others rely on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox import lifecycle, processes
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.kube import ApiStatus, Client
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.stages import FAIL

from .conftest import Sandboxes, client_of, wait_until

HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


def deployment(name: str, replicas: int = 1, gpus: int = 0, annotations: Dict[str, str] | None = None) -> KubeObject:
    """A Deployment of simulated pods."""
    container: Dict[str, Any] = {"name": "main", "image": "example.invalid/%s:1" % name, "ports": [{"containerPort": 8443}]}
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": annotations or {}}, "spec": {"containers": [container]}},
        },
    }


def config_map(name: str) -> KubeObject:
    """Something small to write."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


def webhook(namespace: str) -> KubeObject:
    """A validating webhook on the ConfigMaps of a namespace, served by its Service ``hook``."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "hook-" + namespace},
        "webhooks": [
            {
                "name": "hook.example.invalid",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 5,
                "clientConfig": {"service": {"name": "hook", "namespace": namespace, "port": 443}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            }
        ],
    }


def service(name: str, app: str) -> KubeObject:
    """A Service whose port has another number than its pods'."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": [{"port": 443, "targetPort": 8443}]},
    }


@pytest.fixture(name="namespace")
def _namespace(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own."""
    name = request.node.originalname.replace("_", "-")[:60].rstrip("-")
    client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    wait_until(client, "/api/v1/namespaces/%s/serviceaccounts" % name, lambda account: account["metadata"]["name"] == "default")
    yield name
    client.delete("/api/v1/namespaces/" + name)


def available(count: int) -> Callable[[KubeObject], bool]:
    """Whether a Deployment has so many ready pods, all of its newest template."""
    return lambda obj: obj.get("status", {}).get("readyReplicas", 0) == count and obj["status"].get("observedGeneration", 0) > 0


def has_ca(obj: KubeObject) -> bool:
    """Whether a webhook configuration has its caBundle."""
    return bool(obj["webhooks"][0]["clientConfig"].get("caBundle"))


def refusal(client: Client, path: str) -> str:
    """Why a ConfigMap cannot be written; tried until that is so, because a pod's connections end a moment after it."""
    for number in range(600):
        try:
            client.create(path, config_map("refused-%d-%d" % (time.monotonic_ns(), number)))
        except ApiStatus as error:
            return str(error)
        time.sleep(0.05)
    raise AssertionError("every write was accepted")


def test_it_is_ready_in_seconds_and_found_again(sandboxes: Sandboxes, sandbox: Sandbox) -> None:
    """Making it twice starts nothing, and says so."""
    again = sandboxes.make(sandbox.name)
    assert not again.changed
    assert again.seconds < 2
    assert again.server == sandbox.server
    with pytest.raises(EngineError, match="other settings"):
        sandboxes.make(sandbox.name, nodes=5)


def test_pods_spread_over_three_gpu_nodes(client: Client, namespace: str) -> None:
    """Scheduling is real: twelve GPUs are there, and no thirteenth."""
    nodes = client.get("/api/v1/nodes")["items"]
    assert [node["status"]["allocatable"]["nvidia.com/gpu"] for node in nodes] == ["4", "4", "4"]
    path = "/apis/apps/v1/namespaces/%s/deployments" % namespace
    client.create(path, deployment("train", replicas=4, gpus=4))
    wait_until(client, path, available(3))
    pods = client.get("/api/v1/namespaces/%s/pods" % namespace)["items"]
    placed = sorted(pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName"))
    assert placed == ["node-0", "node-1", "node-2"]
    waiting = wait_until(
        client, "/api/v1/namespaces/%s/pods" % namespace, lambda pod: pod["status"]["conditions"][0].get("reason") == "Unschedulable"
    )
    assert "Insufficient nvidia.com/gpu" in waiting["status"]["conditions"][0]["message"]


def test_a_pod_can_be_told_to_fail(client: Client, namespace: str) -> None:
    """Tests of failures need a pod that fails the way a real one does."""
    broken = deployment("broken", annotations={FAIL: "ImagePullBackOff: cannot pull example.invalid/broken:1: not found"})
    client.create("/apis/apps/v1/namespaces/%s/deployments" % namespace, broken)
    pods = "/api/v1/namespaces/%s/pods" % namespace
    failing = wait_until(client, pods, lambda pod: pod["status"].get("containerStatuses"))
    assert failing["status"]["containerStatuses"][0]["state"]["waiting"] == {
        "reason": "ImagePullBackOff",
        "message": "cannot pull example.invalid/broken:1: not found",
    }
    assert failing["status"]["phase"] == "Pending"


def test_a_claim_binds_and_its_volume_goes_with_it(client: Client, namespace: str) -> None:
    """The default StorageClass serves claims that name none."""
    path = "/api/v1/namespaces/%s/persistentvolumeclaims" % namespace
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    client.create(path, claim)
    bound = wait_until(client, path, lambda obj: obj["status"].get("phase") == "Bound")
    volume = bound["spec"]["volumeName"]
    version = client.get("/api/v1/persistentvolumes")["metadata"]["resourceVersion"]
    client.delete(path + "/data")
    for event in client.stream("/api/v1/persistentvolumes?watch=1&timeoutSeconds=30&resourceVersion=" + version, "application/json"):
        if event["type"] == "DELETED" and event["object"]["metadata"]["name"] == volume:
            return
    raise AssertionError("the volume stayed")


def created_once_trusted(client: Client, path: str, obj: KubeObject, seconds: float = 10.0) -> bool:
    """Create it; what the API server itself knows of a webhook's caBundle is a moment behind what a watch shows."""
    end = time.monotonic() + seconds
    while True:
        try:
            return client.create(path, obj)
        except ApiStatus as error:
            if "unknown authority" not in str(error) or time.monotonic() > end:
                raise
        time.sleep(0.1)


def test_a_webhook_is_called_only_while_its_service_has_an_endpoint(client: Client, sandbox: Sandbox, namespace: str) -> None:
    """As with kube-proxy: no ready endpoint, no connection; with one the stand-in answers, over verified TLS."""
    config_maps = "/api/v1/namespaces/%s/configmaps" % namespace
    deployments = "/apis/apps/v1/namespaces/%s/deployments" % namespace
    client.create("/api/v1/namespaces/%s/services" % namespace, service("hook", "server"))
    client.create(HOOKS, webhook(namespace))
    try:
        assert "failed calling webhook" in refusal(client, config_maps)  # as soon as the API server itself knows of it
        client.create(deployments, deployment("server"))
        wait_until(client, HOOKS, lambda obj: obj["metadata"]["name"] == "hook-" + namespace and has_ca(obj))
        assert created_once_trusted(client, config_maps, config_map("during"))
        assert '"hook.example.invalid/answered-by":"sandbox stand-in"' in Path(str(sandbox.audit_log)).read_text(encoding="utf-8")
        client.patch(deployments + "/server", {"spec": {"replicas": 0}})
        assert "no ready endpoint" in refusal(client, config_maps)
    finally:
        client.delete(HOOKS + "/hook-" + namespace)


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def cert_manager_crd(plural: str, kind: str, scope: str) -> KubeObject:
    """A CRD of cert-manager without its schema."""
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": plural + ".cert-manager.io"},
        "spec": {
            "group": "cert-manager.io",
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": kind + "List"},
            "versions": [version],
        },
    }


def served(plural: str) -> Callable[[KubeObject], bool]:
    """Whether it is the CRD of this name, and served."""
    return lambda obj: (
        obj["metadata"]["name"].startswith(plural)
        and any(c["type"] == "Established" and c["status"] == "True" for c in obj.get("status", {}).get("conditions") or [])
    )


def is_ready(obj: KubeObject) -> bool:
    """Whether an object has the condition Ready."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in obj.get("status", {}).get("conditions") or [])


@pytest.fixture(name="cert_manager")
def _cert_manager(client: Client) -> Iterator[None]:
    """cert-manager as far as the sandbox plays it: its CRDs, and pods of its Deployments."""
    kinds = [
        ("certificates", "Certificate", "Namespaced"),
        ("issuers", "Issuer", "Namespaced"),
        ("clusterissuers", "ClusterIssuer", "Cluster"),
    ]
    for plural, kind, scope in kinds:
        client.create(CRDS, cert_manager_crd(plural, kind, scope))
        wait_until(client, CRDS, served(plural))
    client.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cert-manager"}})
    yield
    client.delete("/api/v1/namespaces/cert-manager")
    for plural, _kind, _scope in kinds:
        client.delete("%s/%s.cert-manager.io" % (CRDS, plural))


def test_a_certificate_becomes_ready_once_cert_manager_runs(client: Client, namespace: str, cert_manager: None) -> None:
    """Not before: who waits for certificates must have something to wait for. The CA goes where it is asked for."""
    base = "/apis/cert-manager.io/v1/namespaces/%s" % namespace
    head = {"apiVersion": "cert-manager.io/v1", "metadata": {"name": "own"}}
    client.create(base + "/issuers", {**head, "kind": "Issuer", "spec": {"selfSigned": {}}})
    spec = {"secretName": "hook-tls", "dnsNames": ["hook.%s.svc" % namespace], "issuerRef": {"name": "own", "kind": "Issuer"}}
    client.create(base + "/certificates", {**head, "kind": "Certificate", "spec": spec})
    time.sleep(1)
    assert not is_ready(client.get(base + "/certificates/own"))
    deployments = "/apis/apps/v1/namespaces/cert-manager/deployments"
    for name in ("cert-manager", "cert-manager-cainjector"):
        client.create(deployments, deployment(name))
    ready = wait_until(client, base + "/certificates", is_ready)
    assert ready["status"]["conditions"][0]["observedGeneration"] == ready["metadata"]["generation"]
    secret = client.get("/api/v1/namespaces/%s/secrets/hook-tls" % namespace)
    assert sorted(secret["data"]) == ["ca.crt", "tls.crt", "tls.key"]
    asking = webhook(namespace)
    asking["metadata"]["annotations"] = {"cert-manager.io/inject-ca-from": namespace + "/own"}
    client.create(HOOKS, asking)
    try:
        filled = wait_until(client, HOOKS, lambda obj: obj["metadata"]["name"] == "hook-" + namespace and has_ca(obj))
        assert filled["webhooks"][0]["clientConfig"]["caBundle"] == secret["data"]["ca.crt"]
    finally:
        client.delete(HOOKS + "/hook-" + namespace)


def test_a_copy_has_all_of_it_and_answers_for_itself(
    client: Client, sandbox: Sandbox, namespace: str, clone: Callable[..., Sandbox], snapshot_of: Callable[[Sandbox], Path]
) -> None:
    """Two copies and the original, side by side: objects and keys are the same, calls and writes stay apart."""
    client.create("/api/v1/namespaces/%s/services" % namespace, service("hook", "server"))
    client.create("/apis/apps/v1/namespaces/%s/deployments" % namespace, deployment("server"))
    wait_until(client, "/apis/apps/v1/namespaces/%s/deployments" % namespace, available(1))
    client.create(HOOKS, webhook(namespace))
    try:
        wait_until(client, HOOKS, lambda obj: obj["metadata"]["name"] == "hook-" + namespace and has_ca(obj))
        snapshot = snapshot_of(sandbox)
        copies = [client_of(clone(snapshot)) for _number in range(2)]
        config_maps = "/api/v1/namespaces/%s/configmaps" % namespace
        deployments = "/apis/apps/v1/namespaces/%s/deployments" % namespace
        copies[0].patch(deployments + "/server", {"spec": {"replicas": 0}})
        assert "no ready endpoint" in refusal(copies[0], config_maps)
        assert copies[1].create(config_maps, config_map("there"))
        assert client.create(config_maps, config_map("here"))
        with pytest.raises(ApiStatus, match="not found"):
            client.get(config_maps + "/there")
    finally:
        client.delete(HOOKS + "/hook-" + namespace)


def test_removing_leaves_no_process_and_no_file(sandboxes: Sandboxes) -> None:
    """Also with a name that its Unix socket would be too long for, and a second time there is nothing to do."""
    name = "n" * 40
    made = sandboxes.make(name, nodes=1)
    folder = made.dir
    assert {process.role for process in processes.processes_of(folder)} == set(lifecycle.PARTS)
    sockets = Path(lifecycle.socket_folder(folder, name))
    assert sandboxes.remove(name)
    assert processes.processes_of(folder) == []
    assert not folder.exists() and not sockets.exists()
    assert not [entry for entry in sandboxes.state_dir.iterdir() if name in entry.name]
    assert not sandboxes.remove(name)


MAKE = """
import sys
from pathlib import Path
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox import lifecycle
spec = lifecycle.SandboxSpec(name=sys.argv[1], state_dir=Path(sys.argv[2]), cache_dir=Path(sys.argv[3]), real=False, audit=True)
lifecycle.create(spec, Silent())
"""


@pytest.mark.parametrize("role", ["etcd", "kube-apiserver", "agent"])
def test_a_run_that_was_killed_half_way_is_repaired_by_running_it_again(sandboxes: Sandboxes, role: str) -> None:
    """At whatever moment: here, when each of these programs has just been started."""
    name = "killed-" + role
    folder = sandboxes.state_dir / name
    collections = next(path for path in sys.path if (Path(path) / "ansible_collections").is_dir())
    command = [sys.executable, "-c", MAKE, name, str(sandboxes.state_dir), str(sandboxes.cache_dir)]
    maker = subprocess.Popen(command, start_new_session=True, env={**os.environ, "PYTHONPATH": collections})
    try:
        _wait_for_role(folder, role, maker)
    finally:
        os.killpg(maker.pid, signal.SIGKILL)
        maker.wait()
    made = sandboxes.make(name)
    assert made.changed
    assert len(client_of(made).get("/api/v1/nodes")["items"]) == 3
    assert _roles(folder) == sorted(lifecycle.PARTS)
    assert sandboxes.remove(name)
    assert processes.processes_of(folder) == []


def _wait_for_role(folder: Path, role: str, maker: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while role not in _roles(folder):
        assert time.monotonic() < end and maker.poll() is None, "it never started %s" % role
        time.sleep(0.02)


def _roles(folder: Path) -> List[str]:
    return sorted(process.role for process in processes.processes_of(folder))


def test_a_program_that_died_is_started_again_on_the_same_data(sandboxes: Sandboxes) -> None:
    """After a reboot, or after somebody killed what he should not have."""
    made = sandboxes.make("mended", nodes=1)
    for role in ("agent", "kube-apiserver"):
        client_of(made).create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kept-" + role}})
        processes.end_role(made.dir, role)
        assert lifecycle.find("mended", sandboxes.state_dir) is None
        again = sandboxes.make("mended", nodes=1)
        assert again.changed
        assert client_of(again).get("/api/v1/namespaces/kept-" + role)
    assert _roles(made.dir) == sorted(lifecycle.PARTS)
    assert sandboxes.remove("mended")
