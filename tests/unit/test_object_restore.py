# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of a backup in front of a cluster: made, left, replaced; with their owners of today and their status."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, ApiError, Discovery, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.object_restore import (
    MANAGER,
    SHOWN,
    Fate,
    Objects,
    Tally,
    merged,
    without_ties,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.usage import CLAIMS

from .conftest import Answer, Asked, Scripted

GEARS = Resource("x.example/v1", "Gear", "gears", True)
DISCOVERY = Discovery([GEARS])
WITH_STATUS = {("x.example", "Gear"): True}


def gear(name: str, owner: str = "", teeth: int = 12, **more: Any) -> KubeObject:
    """One object as it was saved."""
    metadata: Dict[str, Any] = {"name": name, "namespace": "alice", "uid": "old-" + name, "resourceVersion": "1"}
    if owner:
        metadata["ownerReferences"] = [{"apiVersion": "x.example/v1", "kind": "Gear", "name": owner, "uid": "old-" + owner}]
    return {"apiVersion": "x.example/v1", "kind": "Gear", "metadata": metadata, "spec": {"teeth": teeth}, **more}


class Cluster:
    """What is there, behind the scripted server; ``writes`` holds (method, path, body)."""

    def __init__(self, scripted: Scripted, *objects: KubeObject) -> None:
        self.there = {obj["metadata"]["name"]: obj for obj in objects}
        self.writes: List[Tuple[str, str, Dict[str, Any]]] = []
        self.refuse = ""
        scripted.answer = self._answer

    def _answer(self, asked: Asked) -> Answer:
        name = asked.path.rstrip("/").split("/gears/")[-1].split("/")[0] if "/gears/" in asked.path else ""
        if asked.method == "GET":
            return self._read(name)
        body = json.loads(asked.body)
        assert asked.query["fieldManager"] == MANAGER
        if asked.method == "POST" and body["metadata"]["name"] == self.refuse:
            return Answer(422, {"kind": "Status", "code": 422, "message": "teeth: too many", "reason": "Invalid"})
        self.writes.append((asked.method, asked.path, body))
        if asked.method == "PATCH":
            self.there[name]["status"] = body["status"]
            return Answer(200, self.there[name])
        name = body["metadata"]["name"]
        self.there[name] = {**body, "metadata": {**body["metadata"], "uid": "new-" + name, "resourceVersion": "2"}}
        return Answer(200, self.there[name])

    def _read(self, name: str) -> Answer:
        if not name:
            return Answer(200, {"metadata": {}, "items": list(self.there.values())})
        if name in self.there:
            return Answer(200, self.there[name])
        return Answer(404, {"kind": "Status", "code": 404, "message": "not found", "reason": "NotFound"})


def objects(api: Api, *saved: KubeObject, overwrite: bool = False, discovery: Optional[Discovery] = None) -> Objects:
    """These objects of a backup."""
    return Objects(api, discovery or DISCOVERY, lambda: saved, WITH_STATUS, overwrite)


def test_what_is_missing_is_made_and_the_rest_is_left(api: Api, scripted: Scripted) -> None:
    """Running it again writes nothing."""
    cluster = Cluster(scripted, gear("same"), gear("other", teeth=99))
    saved = [gear("new"), gear("same"), gear("other")]
    assert objects(api, *saved).plan().counts == {"create": 1, "same": 1, "different": 1}
    assert not cluster.writes
    tally = objects(api, *saved).restore(Silent(), "gears")
    assert tally.counts == {"create": 1, "same": 1, "different": 1}
    assert tally.names["different"] == ["Gear.x.example alice/other"]
    ((method, path, body),) = cluster.writes
    assert (method, path) == ("POST", "/apis/x.example/v1/namespaces/alice/gears")
    assert body["metadata"] == {"name": "new", "namespace": "alice"}
    objects(api, *saved).restore(Silent(), "gears")
    assert len(cluster.writes) == 1


def test_with_a_persons_word_what_differs_is_replaced(api: Api, scripted: Scripted) -> None:
    """Only if it is still the one that was looked at."""
    cluster = Cluster(scripted, gear("other", teeth=99))
    assert objects(api, gear("other"), overwrite=True).plan().counts == {"replace": 1}
    assert objects(api, gear("other"), overwrite=True).restore(Silent(), "gears").counts == {"replace": 1}
    ((method, _path, body),) = cluster.writes
    assert method == "PUT" and body["metadata"]["resourceVersion"] == "1" and body["spec"] == {"teeth": 12}


def test_a_finished_one_stays_finished(api: Api, scripted: Scripted) -> None:
    """Its status is written right after it."""
    cluster = Cluster(scripted)
    objects(api, gear("done", status={"phase": "Succeeded"})).restore(Silent(), "gears")
    assert [(method, path.rsplit("/", 1)[-1]) for method, path, _body in cluster.writes] == [("POST", "gears"), ("PATCH", "status")]
    assert cluster.writes[1][2] == {"status": {"phase": "Succeeded"}}


def test_a_status_that_a_killed_run_left_out_is_written(api: Api, scripted: Scripted) -> None:
    """One that somebody has written since stays."""
    cluster = Cluster(scripted, gear("bare"), gear("busy", status={"phase": "Running"}))
    saved = [gear("bare", status={"phase": "Succeeded"}), gear("busy", status={"phase": "Succeeded"})]
    assert objects(api, *saved).restore(Silent(), "gears").counts == {"same": 2}
    assert [(path.rsplit("/", 2)[-2], body["status"]["phase"]) for _method, path, body in cluster.writes] == [("bare", "Succeeded")]


def test_owners_get_their_uids_of_today(api: Api, scripted: Scripted) -> None:
    """Whatever the order in which they were saved; one whose owner never comes is not made, and is named."""
    cluster = Cluster(scripted)
    tally = objects(api, gear("grandchild", "child"), gear("child", "root"), gear("orphan", "nobody"), gear("root")).restore(Silent(), "g")
    assert tally.counts == {"create": 3, "orphan": 1}
    assert tally.names["orphan"] == ["Gear.x.example alice/orphan"]
    uids = {body["metadata"]["name"]: body["metadata"].get("ownerReferences", [{}])[0].get("uid") for _m, _p, body in cluster.writes}
    assert uids == {"root": None, "child": "new-root", "grandchild": "new-child"}


def test_a_kind_that_is_not_served_is_counted(api: Api, scripted: Scripted) -> None:
    Cluster(scripted)
    nothing = Discovery([])
    assert objects(api, gear("a"), discovery=nothing).plan().counts == {Fate.NOT_SERVED.value: 1}
    assert objects(api, gear("a"), discovery=nothing).restore(Silent(), "gears").counts == {Fate.NOT_SERVED.value: 1}


def test_one_that_is_refused_stops_it_and_a_new_run_goes_on(api: Api, scripted: Scripted) -> None:
    cluster = Cluster(scripted)
    cluster.refuse = "b"
    with pytest.raises(ApiError, match="too many") as failure:
        objects(api, gear("a"), gear("b"), gear("c")).restore(Silent(), "gears")
    assert "Gear.x.example alice/b" in str(failure.value)
    cluster.refuse = ""
    assert objects(api, gear("a"), gear("b"), gear("c")).restore(Silent(), "gears").counts == {"same": 1, "create": 2}


def test_a_claim_lets_go_of_the_volume_of_its_old_cluster() -> None:
    claim: KubeObject = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "work", "annotations": {"pv.kubernetes.io/bind-completed": "yes", "note": "mine"}},
        "spec": {"volumeName": "pvc-1", "storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound"},
    }
    fresh = without_ties(claim, [])
    assert fresh["spec"] == {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}
    assert fresh["metadata"]["annotations"] == {"note": "mine"} and "status" not in fresh
    assert claim["spec"]["volumeName"] == "pvc-1", "the saved one stays as it is"


def test_a_claim_is_made_out_of_its_snapshot(api: Api, scripted: Scripted) -> None:
    """Where there is one, and never out of what it was made of in its old cluster; one without comes back empty."""
    cluster = Cluster(scripted)
    claims = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": "alice"},
            "spec": {"volumeName": "old", "dataSource": {"kind": "VolumeSnapshot", "name": "old"}, "resources": {}},
        }
        for name in ("saved", "other")
    ]
    snapshots = {("alice", "saved"): "snap-1", ("bob", "other"): "snap-2"}
    Objects(api, Discovery([CLAIMS]), lambda: claims, {}, False, snapshots).restore(Silent(), "claims")
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "snap-1"}
    specs = {body["metadata"]["name"]: body["spec"] for _method, _path, body in cluster.writes}
    assert specs == {"saved": {"resources": {}, "dataSource": source}, "other": {"resources": {}}}


def test_tallies_add_up() -> None:
    """Of names only the first are kept: a plan is read by a person."""
    one, other = Tally(), Tally()
    for number in range(30):
        (one if number % 2 else other).add(Fate.CREATE, ObjectRef("", "Secret", "n", "s-%02d" % number))
    other.add(Fate.SAME, ObjectRef("", "Secret", "n", "t"))
    total = merged([one, other])
    assert total.counts == {"create": 30, "same": 1} and total.of(Fate.CREATE, Fate.SAME) == 31
    assert len(total.names["create"]) == SHOWN
