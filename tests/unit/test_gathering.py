# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects a backup holds, what makes two of them the same, and how they are written as lines."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import gathering
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.gathering import Count, Kind
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, KubeObject

from .conftest import Answer, Asked, Scripted

GEARS = Resource("x.example/v1", "Gear", "gears", True)


def gear(name: str, namespace: str = "alice", spec: Optional[Dict[str, Any]] = None, **metadata: Any) -> KubeObject:
    """One object as it is read."""
    head = {"name": name, "namespace": namespace, **metadata}
    return {"apiVersion": "x.example/v1", "kind": "Gear", "metadata": head, "spec": spec or {"teeth": 12}}


def test_two_clusters_same_object() -> None:
    """What a server writes into every object is no difference; what a person wrote is one."""
    here = gear("a", uid="1", resourceVersion="5", generation=3, creationTimestamp="x", finalizers=["keep"], managedFields=[{}])
    there = gear("a", uid="2", resourceVersion="9")
    assert gathering.digest(here) == gathering.digest(there)
    owned = [gear("a", ownerReferences=[{"kind": "Box", "name": "b", "uid": uid}]) for uid in ("1", "2")]
    assert gathering.digest(owned[0]) == gathering.digest(owned[1]) != gathering.digest(here)
    for other in (gear("b"), gear("a", labels={"x": "y"}), gear("a", spec={"teeth": 13}), {**here, "status": {"ready": True}}):
        assert gathering.digest(other) != gathering.digest(here)


def test_the_order_of_reading_does_not_matter() -> None:
    """A list may come in another order, or in other pages; a missing or doubled object shows."""
    digests = set()
    for order in (["a", "b", "c"], ["c", "a", "b"]):
        count = Count()
        for name in order:
            count.add(gear(name), 10)
        digests.add(count.digest)
    assert len(digests) == 1
    fewer, twice = Count(), Count()
    for name in ("a", "b"):
        fewer.add(gear(name), 10)
    for name in ("a", "b", "c", "c"):
        twice.add(gear(name), 10)
    assert len(digests | {fewer.digest, twice.digest}) == 3
    assert (twice.objects, twice.bytes, twice.per_namespace) == (4, 40, {"alice": 4})


@pytest.mark.parametrize(
    ("obj", "kept"),
    [
        (gear("a"), True),
        (gear("a", labels={COMPONENT_LABEL: "katib"}), False),
        (gear("a", deletionTimestamp="now"), False),
        ({"kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": {"name": "t"}}, False),
        ({"kind": "Secret", "type": "Opaque", "metadata": {"name": "t"}}, True),
        ({"kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}}, False),
        ({"kind": "ConfigMap", "metadata": {"name": "mine"}}, True),
        ({"kind": "ServiceAccount", "metadata": {"name": "default"}}, False),
    ],
)
def test_what_a_release_or_the_cluster_makes_is_left_out(obj: KubeObject, kept: bool) -> None:
    assert gathering.is_users(obj) is kept


def serve(scripted: Scripted, *objects: KubeObject) -> None:
    """These objects, in pages of two, in one namespace or in all."""

    def answer(asked: Asked) -> Answer:
        parts = asked.path.split("/")
        inside = [
            obj for obj in objects if "namespaces" not in parts or obj["metadata"]["namespace"] == parts[parts.index("namespaces") + 1]
        ]
        start = int(asked.query.get("continue", "0"))
        token = str(start + 2) if start + 2 < len(inside) else ""
        return Answer(200, {"metadata": {"continue": token}, "items": inside[start : start + 2]})

    scripted.answer = answer


def test_a_namespace_is_asked_alone(api: Api, scripted: Scripted) -> None:
    """And the fields that say who wrote what are not saved."""
    serve(scripted, gear("a", managedFields=[{"manager": "x"}]), gear("b", "bob"), gear("c"), gear("d"))
    found = list(gathering.read(api, Kind(GEARS, namespaces=frozenset(("alice",)))))
    assert [obj["metadata"] for obj in found] == [{"name": name, "namespace": "alice"} for name in "acd"]
    assert {asked.path for asked in scripted.asked} == {"/apis/x.example/v1/namespaces/alice/gears"}


def test_a_thousand_namespaces_are_not_asked_one_by_one(api: Api, scripted: Scripted) -> None:
    serve(scripted, gear("a"), gear("b", "bob"), gear("c", "elsewhere"))
    many = frozenset(["alice", "bob", *("tenant-%d" % number for number in range(1000))])
    assert [obj["metadata"]["name"] for obj in gathering.read(api, Kind(GEARS, namespaces=many))] == ["a", "b"]
    assert len(scripted.asked) == 2


def test_lines_come_back_whatever_the_chunks() -> None:
    """A file is read in pieces that end anywhere, in the middle of a letter too."""
    objects = [gear("a", spec={"text": "zwölf\nZähne"}), gear("b")]
    told: List[int] = []
    text = b"".join(gathering.lines(iter(objects), Count(), lambda count: told.append(count.objects)))
    assert text.count(b"\n") == 2 and told == [1, 2]
    for size in (1, 7, len(text)):
        pieces = (text[at : at + size] for at in range(0, len(text), size))
        assert list(gathering.parsed(pieces)) == objects
    assert list(gathering.parsed(iter([text.rstrip(b"\n")]))) == objects
    with pytest.raises(json.JSONDecodeError):
        list(gathering.parsed(iter([text[:-5]])))
