# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads are stopped and come back with the number of replicas that they had, whoever was killed in between."""

from __future__ import annotations

import json
from typing import Any, Dict, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.quieting import REPLICAS, Quiet

from .conftest import Answer, Asked, Scripted

SERVER, NOBODY = (ObjectRef("apps", "Deployment", "kubeflow", name) for name in ("ml-pipeline", "not-there"))


class Cluster:
    """One Deployment whose controller does what is asked at once, unless it is stuck."""

    def __init__(self, scripted: Scripted, replicas: int) -> None:
        self.stuck = False
        self.asked: List[Dict[str, Any]] = []
        metadata: Dict[str, Any] = {"name": "ml-pipeline", "namespace": "kubeflow", "generation": 1, "resourceVersion": "1"}
        self.live: KubeObject = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"replicas": replicas},
            "status": {"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas},
        }
        scripted.answer = self._answer

    def _answer(self, asked: Asked) -> Answer:
        if asked.query.get("watch"):
            return Answer(200, [])
        if asked.method == "GET" and asked.path.endswith("/deployments"):
            return Answer(200, {"metadata": {"resourceVersion": "1"}, "items": [self.live]})
        if not asked.path.endswith("/ml-pipeline"):
            return Answer(404, {"kind": "Status", "code": 404, "message": "not found"})
        if asked.method == "PATCH":
            self._take(json.loads(asked.body))
        return Answer(200, self.live)

    def _take(self, patch: Dict[str, Any]) -> None:
        self.asked.append(patch)
        annotations = self.live["metadata"].setdefault("annotations", {})
        for key, value in patch["metadata"]["annotations"].items():
            annotations.pop(key, None)
            if value is not None:
                annotations[key] = value
        number = self.live["spec"]["replicas"] = patch["spec"]["replicas"]
        self.live["metadata"]["generation"] += 1
        if not self.stuck:
            self.live["status"] = {"observedGeneration": self.live["metadata"]["generation"], "replicas": number, "readyReplicas": number}


def quiet(api: Api, seconds: float = 5.0) -> Quiet:
    """Of what is there and of what is not."""
    return Quiet(api, [SERVER, NOBODY], Silent(), seconds)


def test_it_comes_back_as_it_was(api: Api, scripted: Scripted) -> None:
    cluster = Cluster(scripted, 3)
    one = quiet(api)
    assert one.refs == [SERVER]
    one.stop()
    assert cluster.live["spec"]["replicas"] == 0 and cluster.live["metadata"]["annotations"] == {REPLICAS: "3"}
    quiet(api).stop()  # a run was killed here: the next one does not take 0 for what it was
    quiet(api).start()
    assert cluster.live["spec"]["replicas"] == 3 and cluster.live["metadata"]["annotations"] == {}
    assert len(cluster.asked) == 2


def test_one_that_was_stopped_before_stays_stopped(api: Api, scripted: Scripted) -> None:
    """A person did that."""
    cluster = Cluster(scripted, 0)
    one = quiet(api)
    one.stop()
    one.start()
    assert not cluster.asked


def test_what_does_not_end_is_named(api: Api, scripted: Scripted) -> None:
    cluster = Cluster(scripted, 1)
    cluster.stuck = True
    with pytest.raises(EngineError, match="not stopped within 0 s") as failure:
        quiet(api, 0.01).stop()
    assert "Deployment.apps kubeflow/ml-pipeline" in str(failure.value) and failure.value.next_step
