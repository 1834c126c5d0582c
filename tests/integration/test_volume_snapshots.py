# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants' volumes are saved as snapshots by the real controllers, and come back with what was in them, in another cluster too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.backing_up import BackupOutcome, BackupRequest, BackupRun
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.encrypting import BackupKey
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError, sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import NAMESPACES
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.restoring import RestoreOutcome, RestoreRequest, RestoreRun
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.usage import CLAIMS
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.volume_snapshots import CONTENTS, SNAPSHOTS
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import client_of
from .csi_support import Storage, has_storage, until
from .support import lines
from .upgrade_support import new_tenant

PARTS = ("objects", "volumes")
KEY = BackupKey(passphrase="a passphrase")
PROFILE = "/apis/kubeflow.org/v1/profiles/alice"


@pytest.fixture(name="storage")
def _storage(tmp_path: Path) -> Iterator[Storage]:
    """A disk that clusters share, as a storage array is."""
    if not has_storage():
        pytest.skip("the CSI sidecars are not built yet: make test-all does that")
    storage = Storage(tmp_path / "disk")
    storage.folder.mkdir()
    try:
        yield storage
    finally:
        storage.stop()


@pytest.fixture(name="site")
def _site(storage: Storage, clone: Callable[..., Sandbox], installed: Callable[[str], Path]) -> Callable[[], Sandbox]:
    """Makes a cluster with the platform that this disk serves."""

    def make() -> Sandbox:
        sandbox = clone(installed("26.03"), release="26.03", real=True)
        storage.serve(sandbox)
        return sandbox

    return make


def backup(sandbox: Sandbox, place: Path, **settings: Any) -> BackupOutcome:
    """Objects and volumes alone: databases and object stores are the subject of test_backup."""
    request = BackupRequest(
        sandbox.name, str(place), **{"kubeconfig": str(sandbox.kubeconfig), "parts": PARTS, "key": KEY, "run_id": "a-test", **settings}
    )
    return BackupRun(request, lines(sandbox.name)).run()


def restore(sandbox: Sandbox, place: Path, **settings: Any) -> RestoreOutcome:
    """Put it back."""
    request = RestoreRequest(sandbox.name, str(place), kubeconfig=str(sandbox.kubeconfig), key=KEY, run_id="a-test", **settings)
    return RestoreRun(request, lines(sandbox.name)).run()


def states(outcome: RestoreOutcome) -> List[Tuple[str, str]]:
    """What became of each part."""
    return [(line.part, line.state) for line in outcome.lines]


def test_volumes_come_back_out_of_their_snapshots(storage: Storage, site: Callable[[], Sandbox], tmp_path: Path) -> None:
    """What was in them at the time of the backup; also when the tenant or the cluster is lost. A volume that is there stays as it is.

    The bytes stay in the storage, so the snapshot outlives the namespace that it was made in, whatever its class says.
    """
    first = site()
    new_tenant(first, "alice")
    work = storage.claim(first, "alice", "work")
    (work / "model.bin").write_bytes(bytes(range(256)) * 100)
    client, api = client_of(first), Api.connect(str(first.kubeconfig))
    plain = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    head = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "plain", "namespace": "alice"}}
    client.create("/api/v1/namespaces/alice/persistentvolumeclaims", {**head, "spec": plain})
    manifest = sure(backup(first, tmp_path / "b").manifest)
    part = sure(manifest.part("volumes", ""))
    assert part.state == "done" and dict(part.counts) == {"snapshots": 1, "bytes": 1 << 20, "not_saved": 1}
    assert len(storage.snapshots()) == 1
    (work / "model.bin").write_bytes(b"spoilt afterwards")

    assert ("volumes", "done") in states(restore(first, tmp_path / "b"))
    assert (work / "model.bin").read_bytes() == b"spoilt afterwards", "a volume that is there is never replaced"
    client.delete("/api/v1/namespaces/alice/persistentvolumeclaims/work")
    until(lambda: api.get(CLAIMS, "alice", "work") is None, "the claim is gone")
    assert ("volumes", "done") in states(restore(first, tmp_path / "b"))
    again = storage.volume(first, "alice", "work")
    assert again != work and (again / "model.bin").read_bytes() == bytes(range(256)) * 100

    client.delete(PROFILE)
    until(lambda: api.get(NAMESPACES, "", "alice") is None, "the tenant is gone", 120.0)
    assert len(storage.snapshots()) == 1, "it outlives the namespace"
    second = site()
    empty = restore(second, tmp_path / "b", confirm=second.name, parts=PARTS)
    assert states(empty) == [("objects", "done"), ("volumes", "done")]
    assert (storage.volume(second, "alice", "work") / "model.bin").read_bytes() == bytes(range(256)) * 100


def test_a_snapshot_that_does_not_get_ready_is_named_and_retention_takes_them_away(
    storage: Storage, site: Callable[[], Sandbox], tmp_path: Path
) -> None:
    """With what the driver says; the same run goes on when it can. A backup that goes takes its snapshots along."""
    sandbox = site()
    api = Api.connect(str(sandbox.kubeconfig))
    new_tenant(sandbox, "alice")
    good, bad = storage.claim(sandbox, "alice", "good"), storage.claim(sandbox, "alice", "bad")
    (bad / ".broken").write_text("x", encoding="utf-8")
    with pytest.raises(EngineError, match="not ready after 4 s") as refused:
        backup(sandbox, tmp_path / "b", timeout=4.0)
    assert "VolumeSnapshot.snapshot.storage.k8s.io alice/bad-" in refused.value.subject
    assert "the disk of this volume is broken" in refused.value.found and "go on" not in refused.value.cause
    (bad / ".broken").unlink()
    outcome = backup(sandbox, tmp_path / "b", keep=1)
    assert outcome.resumed and sure(sure(outcome.manifest).part("volumes", "")).counts["snapshots"] == 2
    before = storage.snapshots()
    assert len(before) == 2 and good.exists()
    later = backup(sandbox, tmp_path / "b", keep=1)
    assert later.removed == (sure(outcome.manifest).id,)
    until(lambda: not set(storage.snapshots()) & set(before), "the snapshots of the first backup are gone")
    until(lambda: len(api.list(SNAPSHOTS)[0]) == len(api.list(CONTENTS)[0]) == 2, "those of the second stay")
    assert len(storage.snapshots()) == 2
