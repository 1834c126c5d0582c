# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of volumes, in front of an API server whose driver is played: the real ones are in the integration tests."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional, Set

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.volume_snapshots import Saved, Taker, forget, provide

from .conftest import Answer, Asked, Scripted

BACKUP = "20261127T120000Z-factory-1"
STAMP = "20261127T120000Z"
SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1/namespaces/%s/volumesnapshots/"
CONTENTS = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents/"
CLASSES = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses/"
CLAIMS = "/api/v1/namespaces/%s/persistentvolumeclaims/"


class Cluster:
    """Objects by path. The driver makes ready whatever is applied, but for claims that it cannot."""

    def __init__(self, scripted: Scripted) -> None:
        self.objects: Dict[str, KubeObject] = {}
        self.broken: Set[str] = set()
        self.asked = scripted.asked
        scripted.answer = self._reply

    def put(self, path: str, **content: Any) -> None:
        """There is an object."""
        parts = path.split("/")
        metadata = {
            "name": parts[-1],
            "uid": path,
            **({"namespace": parts[parts.index("namespaces") + 1]} if "namespaces" in parts else {}),
        }
        self.objects[path] = {**content, "metadata": {**metadata, **content.get("metadata", {})}}

    def claim(self, namespace: str, name: str, driver: str) -> None:
        """A bound claim."""
        self.put(CLAIMS % namespace + name, spec={"volumeName": namespace + name})
        self.put("/api/v1/persistentvolumes/" + namespace + name, spec={"csi": {"driver": driver}} if driver else {"nfs": {}})

    def _reply(self, asked: Asked) -> Answer:
        path = asked.path
        if asked.method == "PATCH":
            before = self.objects.get(path, {"metadata": {"uid": path}})
            sent = json.loads(asked.body)
            merged = {**before, **sent, "spec": {**before.get("spec", {}), **sent.get("spec", {})}}
            self.objects[path] = {
                **merged,
                "metadata": {**before["metadata"], **sent["metadata"]} if "metadata" in sent else before["metadata"],
            }
            if "/volumesnapshots/" in path:
                self._drive(path)
            return Answer(200, self.objects[path])
        if asked.method == "DELETE":
            del self.objects[path]
            return Answer(200, {"kind": "Status", "status": "Success"})
        if path in self.objects:
            return Answer(200, self.objects[path])
        if "watch" in asked.query:
            return Answer(200, [])
        if not path.endswith("s"):
            return Answer(404, {"kind": "Status", "code": 404})
        return Answer(200, {"items": self._listed(path, asked.query.get("labelSelector", "")), "metadata": {"resourceVersion": "1"}})

    def _listed(self, path: str, selector: str) -> List[KubeObject]:
        head, _slash, plural = path.rpartition("/")
        name, _equals, value = selector.partition("=")
        return [
            one
            for where, one in self.objects.items()
            if where.startswith(head)
            and where.rsplit("/", 2)[1] == plural
            and (not selector or one["metadata"].get("labels", {}).get(name) == value)
        ]

    def _drive(self, path: str) -> None:
        """What controller and driver do."""
        snapshot = self.objects[path]
        source = snapshot["spec"]["source"]
        claim = source.get("persistentVolumeClaimName", "")
        if claim in self.broken:
            snapshot["status"] = {"readyToUse": False, "error": {"message": "the disk is broken"}}
            return
        content = source.get("volumeSnapshotContentName") or "content-of-" + claim
        snapshot["status"] = {"readyToUse": True, "boundVolumeSnapshotContentName": content}
        if claim:
            status = {"snapshotHandle": "handle-of-" + claim, "restoreSize": 7}
            self.put(CONTENTS + content, spec={"deletionPolicy": "Delete", "driver": "d1"}, status=status)


@pytest.fixture(name="cluster")
def _cluster(scripted: Scripted) -> Cluster:
    """Two drivers, one of which makes snapshots of two classes."""
    cluster = Cluster(scripted)
    cluster.put(CLASSES + "a", driver="d1")
    cluster.put(CLASSES + "b", driver="d1", metadata={"annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"}})
    return cluster


def test_every_volume_whose_driver_can_is_saved(cluster: Cluster, api: Api) -> None:
    """By the default class; what it made is kept from then on. The others are named. Again, nothing is made twice."""
    cluster.claim("alice", "work", "d1")
    cluster.claim("alice", "nfs", "")
    cluster.claim("bob", "data", "d2")
    cluster.claim("kubeflow", "mysql", "d1")
    taker = Taker(api, BACKUP, Silent(), 5.0)
    saved = taker.take(frozenset({"alice", "bob"}))
    assert saved == [Saved("alice", "work", "work-20261127t120000z", "d1", "handle-of-work", 7)]
    assert sorted(taker.without) == ["alice/nfs", "bob/data"]
    made = cluster.objects[SNAPSHOTS % "alice" + "work-20261127t120000z"]
    assert made["spec"]["volumeSnapshotClassName"] == "b" and made["metadata"]["labels"] == {"mlplatform.kubeflow/backup": STAMP}
    content = cluster.objects[CONTENTS + "content-of-work"]
    assert content["spec"]["deletionPolicy"] == "Retain" and content["metadata"]["labels"] == {"mlplatform.kubeflow/backup": STAMP}
    before = len([asked for asked in cluster.asked if asked.method == "PATCH" and "/volumesnapshots/" in asked.path])
    assert Taker(api, BACKUP, Silent(), 5.0).take(frozenset({"alice", "bob"})) == saved
    assert len([asked for asked in cluster.asked if asked.method == "PATCH" and "/volumesnapshots/" in asked.path]) == before == 1


def test_what_does_not_get_ready_is_named(cluster: Cluster, api: Api) -> None:
    """With what the driver says of it."""
    cluster.claim("alice", "work", "d1")
    cluster.claim("alice", "bad", "d1")
    cluster.broken = {"bad"}
    with pytest.raises(EngineError, match="not ready after 0 s") as refused:
        Taker(api, BACKUP, Silent(), 0.1).take(frozenset({"alice"}))
    assert refused.value.subject == "VolumeSnapshot.snapshot.storage.k8s.io alice/bad-20261127t120000z"
    assert refused.value.found == "the disk is broken" and "CSI driver" in refused.value.next_step


def test_without_claims_nobody_waits(cluster: Cluster, api: Api) -> None:
    """Neither where there are none of tenants, nor where none is to be made."""
    cluster.claim("kubeflow", "mysql", "d1")
    assert Taker(api, BACKUP, Silent(), 5.0).take(frozenset({"alice"})) == []
    assert provide(api, [], BACKUP, Silent(), 5.0) == {}


@pytest.mark.parametrize("there", [True, False])
def test_a_snapshot_is_found_again_by_its_handle(cluster: Cluster, api: Api, there: bool) -> None:
    """One that is still there is taken; for another a content with the old handle is made, which nothing deletes by itself."""
    one = Saved("alice", "work", "work-20261127t120000z", "d1", "handle-7", 7)
    if there:
        labels = {"labels": {"mlplatform.kubeflow/backup": STAMP}}
        cluster.put(SNAPSHOTS % "alice" + one.name, status={"readyToUse": True}, spec={"source": {}}, metadata=labels)
    assert provide(api, [one], BACKUP, Silent(), 5.0) == {("alice", "work"): one.name}
    content: Optional[KubeObject] = cluster.objects.get(CONTENTS + "alice-work-20261127t120000z")
    if there:
        assert content is None
        return
    assert content is not None
    reference = {"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot", "namespace": "alice", "name": one.name}
    assert content["spec"] == {
        "deletionPolicy": "Retain",
        "driver": "d1",
        "source": {"snapshotHandle": "handle-7"},
        "volumeSnapshotRef": reference,
    }


def test_with_a_backup_its_snapshots_go(cluster: Cluster, api: Api) -> None:
    """In the storage too, and those whose namespace is gone; others stay."""
    cluster.claim("alice", "work", "d1")
    Taker(api, BACKUP, Silent(), 5.0).take(frozenset({"alice"}))
    cluster.put(CONTENTS + "of-a-tenant-that-is-gone", spec={}, metadata={"labels": {"mlplatform.kubeflow/backup": STAMP}})
    cluster.put(CONTENTS + "another", spec={"deletionPolicy": "Retain"}, metadata={"labels": {"mlplatform.kubeflow/backup": "another"}})
    assert forget(api, BACKUP) == 2
    assert [path for path in cluster.objects if path.startswith(CONTENTS) or "/volumesnapshots/" in path] == [CONTENTS + "another"]
    policies = [json.loads(asked.body) for asked in cluster.asked if asked.method == "PATCH" and asked.path.startswith(CONTENTS)]
    assert policies[-2:] == [{"spec": {"deletionPolicy": "Delete"}}] * 2
