# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control plane of a sandbox: its programs, its settings, and kwokctl, which starts it."""

from __future__ import annotations

import base64
import json
import os
import random
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from ...module_utils._engine.errors import EngineError
from ...module_utils._engine.objects import KubeObject
from ...module_utils._engine.progress import Progress
from ...module_utils._engine.tools import ensure_tool
from .kube import Server
from .stages import stages

VERSIONS: Mapping[str, str] = {
    "etcd": "3.6.14",
    "etcdctl": "3.6.14",
    "etcdutl": "3.6.14",
    "kube-apiserver": "1.34.10",
    "kube-controller-manager": "1.34.10",
    "kube-scheduler": "1.34.10",
    "kubectl": "1.34.10",
    "kwok": "0.8.0",
    "kwokctl": "0.8.0",
}
SERVICE_RANGE = "127.96.0.0/16"  # loopback: a call that misses the egress socket still does not leave the machine
START_SECONDS = 120
PORTS = (
    "etcdPort",
    "etcdPeerPort",
    "kubeApiserverPort",
    "kubeControllerManagerPort",
    "kubeSchedulerPort",
    "kwokControllerPort",
)
# What an administrator of a sandbox may create to say which commands and ports its simulated pods answer with.
EXEC_KINDS = ("Exec", "ClusterExec", "PortForward", "ClusterPortForward")
DEFAULT_CLASS = "standard"
PROVISIONER = "simulated.sandbox.mlplatform.kubeflow"


@dataclass(frozen=True)
class Layout:
    """Where the files of one sandbox are. ``folder`` is absolute and has no links in it."""

    folder: Path
    name: str

    @property
    def work(self) -> Path:
        """What kwokctl keeps."""
        return self.folder / "kwok"

    @property
    def cluster(self) -> Path:
        """The control plane's own folder."""
        return self.work / "clusters" / self.name

    @property
    def pki(self) -> Path:
        """ca, admin (the only identity; it signs service account tokens, too)."""
        return self.cluster / "pki"

    @property
    def audit_log(self) -> Path:
        """JSON lines, one per answered request."""
        return self.cluster / "logs" / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """For users: with the credentials inside."""
        return self.folder / "kubeconfig"

    def server(self, port: int) -> Server:
        """How our own programs reach the API server."""
        return Server("127.0.0.1", port, self.pki / "ca.crt", self.pki / "admin.crt", self.pki / "admin.key")


def programs(cache_dir: Path, how: str, progress: Progress) -> Mapping[str, Path]:
    """Every program of the control plane.

    :raises EngineError: one of them is not to be had.
    """
    return {name: ensure_tool(name, version, cache_dir, how, progress) for name, version in VERSIONS.items()}


def write_settings(
    layout: Layout, tools: Mapping[str, Path], egress: Path, audit: bool, real: Sequence[str], run_here: bool = False
) -> None:
    """Everything that kwokctl reads.

    :param egress: the socket where webhook calls leave the API server.
    :param real: the Deployments ("namespace/name") whose pods are run for real.
    :param run_here: whether simulated pods may answer ``exec`` with programs of this machine, see ``SandboxSpec.exec``.
    """
    _write(layout.folder / "egress.yaml", [_egress(egress)])
    options: Dict[str, Any] = {
        "runtime": "binary",
        "kubeVersion": "v" + VERSIONS["kube-apiserver"],
        "bindAddress": "127.0.0.1",  # the default is every address, and etcd asks nobody who they are
        "securePort": True,
        "kubeAuthorization": True,
        "kubeAdmission": True,
        "disableQPSLimits": True,
        "kubeApiserverBinary": str(tools["kube-apiserver"]),
        "kubeControllerManagerBinary": str(tools["kube-controller-manager"]),
        "kubeSchedulerBinary": str(tools["kube-scheduler"]),
        "kwokControllerBinary": str(tools["kwok"]),
        "etcdBinary": str(tools["etcd"]),
        "etcdctlBinary": str(tools["etcdctl"]),
        "etcdutlBinary": str(tools["etcdutl"]),
        "kubectlBinary": str(tools["kubectl"]),
        **_free_ports(),
    }
    if audit:
        _write(layout.folder / "audit-policy.yaml", [_AUDIT])
        options["kubeAuditPolicy"] = str(layout.folder / "audit-policy.yaml")
    kwok = {"node-lease-duration-seconds": "0"}
    if run_here:  # not as an option of kwokctl: that makes the definitions, but cannot start again where they are
        kwok["enable-crds"] = ",".join(EXEC_KINDS)
    apiserver = {
        "advertise-address": "127.0.0.1",
        "endpoint-reconciler-type": "none",
        "service-cluster-ip-range": SERVICE_RANGE,
        "egress-selector-config-file": str(layout.folder / "egress.yaml"),
    }
    config = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": options,
        "componentsPatches": [  # kwokctl's --extra-args panics with two arguments for each of two components
            # A third of its time would be garbage collection while definitions come in by the dozen; memory is there.
            {**_patch("kube-apiserver", apiserver), "extraEnvs": _MEMORY},
            _patch("etcd", {"unsafe-no-fsync": "true"}),  # a sandbox may be lost
            # There is one of each, and a copy would wait until the leases of the original's run out.
            _patch("kube-controller-manager", {"leader-elect": "false"}),
            _patch("kube-scheduler", {"leader-elect": "false"}),
            _patch("kwok-controller", kwok),
        ],
    }
    _write(layout.folder / "kwokctl.yaml", [config, *stages(real)])


def _free_ports() -> Dict[str, int]:
    """A port for each program, taken at random: kwokctl would count down from the same one for all who start at once.

    Below the range from which the kernel gives ports to clients (32768 and more).
    """
    candidates = random.SystemRandom().sample(range(20000, 32000), 200)
    return dict(zip(PORTS, (port for port in candidates if _is_free(port))))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Go's servers do
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _patch(component: str, flags: Mapping[str, str]) -> KubeObject:
    return {"name": component, "extraArgs": [{"key": key, "value": value} for key, value in flags.items()]}


_SEPARATOR = "\n---\n"
_MEMORY = [{"name": "GOGC", "value": "400"}, {"name": "GOMEMLIMIT", "value": "2GiB"}]
_AUDIT: KubeObject = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def _egress(path: Path) -> KubeObject:
    transport = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": str(path)}}}
    return {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [{"name": "cluster", "connection": transport}],
    }


def _write(path: Path, documents: Sequence[KubeObject]) -> None:
    """As JSON, which is YAML."""
    path.write_text(_SEPARATOR.join(json.dumps(document, indent=1) for document in documents), encoding="utf-8")


def kubelet_port(layout: Layout) -> int:
    """Where kwok answers for the kubelets of all nodes."""
    settings = (layout.folder / "kwokctl.yaml").read_text(encoding="utf-8")
    return int(json.loads(settings.split(_SEPARATOR, 1)[0])["options"]["kwokControllerPort"])


def start(layout: Layout, tools: Mapping[str, Path]) -> int:
    """Start the control plane (again) and wait until it serves; the port of its API server.

    :raises EngineError: it did not come up, with the last lines of what was said.
    """
    for stale in (layout.cluster / "pids").glob("*.pid"):
        stale.unlink()  # the caller made sure that nothing runs; the pid may be another program's by now
    kwokctl(layout, tools, "create", "cluster", "--wait", "60s", "--kubeconfig", str(layout.work / "kubeconfig"))
    return _port(layout)


def kwokctl(layout: Layout, tools: Mapping[str, Path], *arguments: str) -> None:
    """Call kwokctl for this sandbox.

    :raises EngineError: it failed or took too long.
    """
    command = [str(tools["kwokctl"]), "--config", str(layout.folder / "kwokctl.yaml"), "--name", layout.name, *arguments]
    environment = {**os.environ, "KWOK_WORKDIR": str(layout.work)}
    environment["PATH"] = "%s:%s" % (tools["kubectl"].parent, environment.get("PATH", ""))
    try:
        done = subprocess.run(
            command,
            cwd=layout.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(layout, "no end after %d s" % START_SECONDS) from error
    if done.returncode:
        raise _failed(layout, (done.stdout + done.stderr).decode(errors="replace"))


def _failed(layout: Layout, said: str) -> EngineError:
    lines = said.strip().splitlines()[-4:]
    for name in ("etcd", "kube-apiserver"):
        log = layout.cluster / "logs" / (name + ".log")
        if log.is_file():
            lines += ["%s: %s" % (name, line) for line in log.read_text(errors="replace").splitlines()[-3:]]
    return EngineError(
        "the control plane did not start",
        subject="sandbox %s" % layout.name,
        found="\n    ".join(lines),
        next_step="read the logs in %s; running it again starts afresh" % (layout.cluster / "logs"),
    )


def _port(layout: Layout) -> int:
    for line in (layout.work / "clusters" / layout.name / "kubeconfig.yaml").read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("server:"):
            return int(line.rsplit(":", 1)[1])
    raise EngineError("kwokctl wrote no server address", subject=str(layout.cluster / "kubeconfig.yaml"))


def write_kubeconfig(layout: Layout, port: int) -> None:
    """A kubeconfig that holds all it needs, readable by its owner only."""

    def pem(name: str) -> str:
        return base64.b64encode((layout.pki / name).read_bytes()).decode()

    context = "sandbox-" + layout.name
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [
            {
                "name": context,
                "cluster": {"server": "https://127.0.0.1:%d" % port, "certificate-authority-data": pem("ca.crt")},
            }
        ],
        "users": [
            {
                "name": context,
                "user": {"client-certificate-data": pem("admin.crt"), "client-key-data": pem("admin.key")},
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
    }
    partial = layout.kubeconfig.with_suffix(".part")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(config, indent=1), encoding="utf-8")
    os.replace(partial, layout.kubeconfig)


def nodes(count: int, gpus: int) -> List[KubeObject]:
    """The simulated nodes: 16 cores and 64 GiB each, and ``gpus`` of nvidia.com/gpu."""
    resources = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "500Gi", "pods": "250", "nvidia.com/gpu": str(gpus)}
    found = []
    for index in range(count):
        name = "node-%d" % index
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "type": "kwok",
        }
        if gpus:
            labels.update({"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": "simulated"})
        found.append(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
                "status": {
                    "capacity": resources,
                    "allocatable": resources,
                    "nodeInfo": dict(_NODE_INFO, kubeletVersion="v" + VERSIONS["kube-apiserver"], machineID=name, systemUUID=name),
                },
            }
        )
    return found


_NODE_INFO: Mapping[str, str] = {
    "architecture": "amd64",
    "bootID": "",
    "containerRuntimeVersion": "none://simulated",
    "kernelVersion": "simulated",
    "kubeProxyVersion": "",
    "operatingSystem": "linux",
    "osImage": "simulated by kwok",
}


def exec_definitions() -> List[KubeObject]:
    """The definitions of :data:`EXEC_KINDS`; kwok itself says what may be in them."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": schema}
    found = []
    for kind in EXEC_KINDS:
        plural = kind.lower() + "s"
        names = {"kind": kind, "listKind": kind + "List", "plural": plural, "singular": kind.lower()}
        scope = "Cluster" if kind.startswith("Cluster") else "Namespaced"
        spec = {"group": "kwok.x-k8s.io", "names": names, "scope": scope, "versions": [version]}
        metadata = {"name": plural + ".kwok.x-k8s.io"}
        kinds = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
        found.append({**kinds, "metadata": metadata, "spec": spec})
    return found


def storage_class() -> KubeObject:
    """The default StorageClass; the agent makes its volumes."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": DEFAULT_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }
