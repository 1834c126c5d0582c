# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What fits on a volume: as the kubelet says, or as large as it was made."""

from __future__ import annotations

from typing import Any, Dict, Optional

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.volumes import Room, lacking, requested, room_on

from .conftest import Answer, Asked, Scripted

CLAIM = ObjectRef("", "PersistentVolumeClaim", "kubeflow", "mysql-pv-claim")
OBJECT = {"spec": {"resources": {"requests": {"storage": "1Gi"}}}, "status": {"capacity": {"storage": "2Gi"}}}


def pod(node: str, claim: str = CLAIM.name) -> Dict[str, Any]:
    """A pod that mounts a claim; one without a node is not scheduled."""
    volumes = [{"name": "a", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": {"claimName": claim}}]
    return {"metadata": {"name": "x"}, "spec": {"volumes": volumes, **({"nodeName": node} if node else {})}}


def summary(**volume: Any) -> Dict[str, Any]:
    """What a kubelet says of its pods' volumes."""
    other = {"name": "c", "availableBytes": 1, "pvcRef": {"name": CLAIM.name, "namespace": "elsewhere"}}
    return {"pods": [{"volume": [other, {"pvcRef": {"name": CLAIM.name, "namespace": "kubeflow"}, **volume}]}, {}]}


def answers(scripted: Scripted, claim: Optional[Dict[str, Any]], pods: Any, stats: Answer) -> None:
    """The API server's answers."""

    def reply(asked: Asked) -> Answer:
        if asked.path.endswith("/stats/summary"):
            assert asked.path == "/api/v1/nodes/n1/proxy/stats/summary"
            return stats
        if asked.path.endswith("/pods"):
            return Answer(200, {"items": pods, "metadata": {"resourceVersion": "1"}})
        return Answer(200, claim) if claim else Answer(404, {"kind": "Status", "code": 404})

    scripted.answer = reply


@pytest.mark.parametrize(
    ("pods", "stats", "room"),
    [
        ([pod("n1")], Answer(200, summary(availableBytes=5, capacityBytes=9)), Room(CLAIM, 9, 5)),
        ([pod("n1")], Answer(200, summary(availableBytes=5)), Room(CLAIM, 2 << 30, 5)),
        ([pod("n1")], Answer(200, summary(usedBytes=5)), Room(CLAIM, 2 << 30)),
        ([pod("n1")], Answer(403, {"kind": "Status", "code": 403}), Room(CLAIM, 2 << 30)),
        ([pod("n1")], Answer(404, "404 page not found"), Room(CLAIM, 2 << 30)),
        ([pod(""), pod("n2", "another")], Answer(500, {}), Room(CLAIM, 2 << 30)),
        ([], Answer(500, {}), Room(CLAIM, 2 << 30)),
    ],
    ids=["measured", "without size", "nothing free told", "forbidden", "no kubelet", "not mounted", "no pods"],
)
def test_the_kubelet_knows_what_is_free(scripted: Scripted, api: Api, pods: Any, stats: Answer, room: Room) -> None:
    """Where it does not say, the size is the limit."""
    answers(scripted, OBJECT, pods, stats)
    assert room_on(api, CLAIM) == room


def test_nothing_is_known_of_a_claim_that_is_not_there(scripted: Scripted, api: Api) -> None:
    """Neither of one that does not say how large it is."""
    answers(scripted, None, [], Answer(500, {}))
    assert room_on(api, CLAIM) is None
    answers(scripted, {"spec": {}}, [], Answer(500, {}))
    assert room_on(api, CLAIM) is None


@pytest.mark.parametrize(
    ("room", "need", "text"),
    [
        (None, 1 << 60, ""),
        (Room(CLAIM, 1000), 1000, ""),
        (Room(CLAIM, 10_000_000), 11_000_000, "11.0 MB do not fit on PersistentVolumeClaim kubeflow/mysql-pv-claim: a volume of 10.0 MB"),
        (
            Room(CLAIM, 10_000_000, 2_000_000),
            3_000_000,
            "3.0 MB do not fit on PersistentVolumeClaim kubeflow/mysql-pv-claim: 2.0 MB free of 10.0 MB",
        ),
        (Room(CLAIM, 10_000_000, 2_000_000), 2_000_000, ""),
        (Room(CLAIM, 10_000_000, 0), 1, "0.0 MB do not fit on PersistentVolumeClaim kubeflow/mysql-pv-claim: 0.0 MB free of 10.0 MB"),
    ],
)
def test_what_does_not_fit_is_told(room: Optional[Room], need: int, text: str) -> None:
    """What nobody can tell is not refused."""
    assert lacking(room, need) == text


@pytest.mark.parametrize(("quantity", "size"), [("20Gi", 20 << 30), ("1.5M", 1_500_000), ("12", 12), ("many", 0), (None, 0)])
def test_a_claims_size_is_a_quantity(quantity: Any, size: int) -> None:
    """As Kubernetes writes them."""
    assert requested({"spec": {"resources": {"requests": {"storage": quantity}}}}) == size
    assert requested(None) == 0
