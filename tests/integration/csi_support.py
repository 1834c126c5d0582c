# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage that makes snapshots: Kubernetes' own snapshot controller and CSI sidecars, with a driver whose volumes are folders.

All are built from Go modules once (four minutes on two cores) and kept in the cache. No pod runs in a sandbox, so nothing is
mounted: what a notebook would write into its volume, a test writes into the folder.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

import yaml

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.golang import build_go, cache_lock, ensure_go
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Progress
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import client_of, wait_until
from .support import CACHE, EXHAUSTIVE, REPO

MODULE = REPO / "tools" / "go" / "csi"
SNAPSHOTTER, PROVISIONER = "github.com/kubernetes-csi/external-snapshotter/v8", "github.com/kubernetes-csi/external-provisioner/v6"
CLIENT = "github.com/kubernetes-csi/external-snapshotter/client/v8"
PACKAGES = {
    "folder-driver": ".",
    "csi-provisioner": PROVISIONER + "/cmd/csi-provisioner",
    "csi-snapshotter": SNAPSHOTTER + "/cmd/csi-snapshotter",
    "snapshot-controller": SNAPSHOTTER + "/cmd/snapshot-controller",
}
DRIVER, CLASS = "folders.mlplatform.invalid", "folders"
KINDS = ("volumesnapshotclasses", "volumesnapshotcontents", "volumesnapshots")


def _place() -> Path:
    lines = (MODULE / "go.mod").read_text(encoding="utf-8").split()
    return CACHE / "tools" / ("csi-" + lines[lines.index(SNAPSHOTTER) + 1])


def has_storage() -> bool:
    """Whether the programs are there, or may be built: quick runs do not wait for that."""
    return EXHAUSTIVE or all(os.access(_place() / name, os.X_OK) for name in PACKAGES)


def ensure_programs(progress: Optional[Progress] = None) -> Mapping[str, Path]:
    """The programs by name, from the cache or built into it."""
    paths = {name: _place() / name for name in PACKAGES}
    with cache_lock(CACHE, "csi", progress):
        for name, path in paths.items():
            if not os.access(path, os.X_OK):
                build_go(MODULE, PACKAGES[name], path, progress=progress, cache_dir=CACHE)
    return paths


def definitions() -> List[Dict[str, Any]]:
    """The definitions of the kinds for snapshots, as the module of the controller's client has them."""
    go = ensure_go(MODULE, CACHE, None)
    environment = {**os.environ, "GOWORK": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    subprocess.run([str(go), "mod", "download", CLIENT], cwd=MODULE, env=environment, check=True)
    told = subprocess.run(
        [str(go), "list", "-m", "-f", "{{.Dir}}", CLIENT], cwd=MODULE, env=environment, check=True, stdout=subprocess.PIPE
    )
    folder = Path(told.stdout.decode().strip()) / "config" / "crd"
    return [yaml.safe_load((folder / ("snapshot.storage.k8s.io_%s.yaml" % kind)).read_text(encoding="utf-8")) for kind in KINDS]


@dataclass
class Storage:
    """One disk, and the programs that serve it to clusters."""

    folder: Path
    processes: List[subprocess.Popen[bytes]] = field(default_factory=list)
    sockets: int = 0

    def serve(self, sandbox: Sandbox) -> None:
        """The cluster has the kinds, a class for volumes and one for snapshots, and the controllers run."""
        client, programs = client_of(sandbox), ensure_programs()
        for crd in definitions():
            client.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        for kind in KINDS:
            wait_until(
                client,
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                lambda one, kind=kind: one["spec"]["names"]["plural"] == kind and _is_served(one),  # type: ignore[misc]
            )
        self.sockets += 1
        socket = self.folder / ("%d.sock" % self.sockets)
        common = ["--kubeconfig=%s" % sandbox.kubeconfig, "--csi-address=%s" % socket]
        quick = ["--retry-interval-start=200ms", "--retry-interval-max=1s"]
        self._start(programs["folder-driver"], "--root=%s" % self.folder, "--socket=%s" % socket)
        self._start(programs["csi-provisioner"], *common, *quick)
        self._start(programs["csi-snapshotter"], *common, *quick)
        self._start(programs["snapshot-controller"], common[0], *quick, "--http-endpoint=")
        head = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": CLASS}}
        client.create("/apis/storage.k8s.io/v1/storageclasses", {**head, "provisioner": DRIVER, "reclaimPolicy": "Delete"})
        head = {"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": {"name": CLASS}}
        client.create("/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses", {**head, "driver": DRIVER, "deletionPolicy": "Delete"})

    def _start(self, program: Path, *arguments: str) -> None:
        with (self.folder / ("%s.log" % program.name)).open("ab") as log:
            self.processes.append(
                subprocess.Popen([str(program), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            )

    def stop(self) -> None:
        """None of its programs runs any longer."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []

    def claim(self, sandbox: Sandbox, namespace: str, name: str) -> Path:
        """A new volume for a tenant: the folder where it lies."""
        client = client_of(sandbox)
        path = "/api/v1/namespaces/%s/persistentvolumeclaims" % namespace
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, "storageClassName": CLASS}
        head = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace}}
        client.create(path, {**head, "spec": spec})
        return self.volume(sandbox, namespace, name)

    def volume(self, sandbox: Sandbox, namespace: str, name: str) -> Path:
        """The folder of a claim, as soon as it is bound."""
        client = client_of(sandbox)
        path = "/api/v1/namespaces/%s/persistentvolumeclaims" % namespace
        bound = wait_until(
            client, path, lambda one: one["metadata"]["name"] == name and (one.get("status") or {}).get("phase") == "Bound", 60.0
        )
        volume = client.get("/api/v1/persistentvolumes/%s" % bound["spec"]["volumeName"])
        return self.folder / "volumes" / str(volume["spec"]["csi"]["volumeHandle"])

    def snapshots(self) -> List[str]:
        """What lies on the disk."""
        return sorted(path.name for path in (self.folder / "snapshots").iterdir())


def until(good: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Wait for something that no watch tells."""
    end = time.monotonic() + seconds
    while not good():
        assert time.monotonic() < end, "not within %.0f s: %s" % (seconds, what)
        time.sleep(0.2)


def _is_served(crd: Mapping[str, Any]) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
