# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage versions: objects are written again first, the list of stored versions is cut down after that, or not at all."""

from __future__ import annotations

import json
from typing import Any, Dict, List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, ApiError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.migrating import due, migrate
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent

from .conftest import Answer, Asked, Scripted


def crd(stored: List[str], storage: str = "v1", served: bool = True) -> KubeObject:
    """The definition of Gears with the versions v1beta1 and v1."""
    versions = [{"name": name, "served": served or name != storage, "storage": name == storage} for name in ("v1beta1", "v1")]
    spec = {"group": "x.example", "scope": "Namespaced", "names": {"kind": "Gear", "plural": "gears"}, "versions": versions}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gears.x.example"},
        "spec": spec,
        "status": {"storedVersions": stored},
    }


def gear(name: str) -> Dict[str, Any]:
    """One object."""
    return {"metadata": {"name": name, "namespace": "n", "resourceVersion": "7" + name}}


def test_due_is_what_lists_another_version_than_todays() -> None:
    """A definition without a status was never used."""
    assert [str(move) for move in due([crd(["v1beta1", "v1"])])] == ["gears.x.example: v1beta1 -> v1"]
    assert [str(move) for move in due([crd(["v1beta1"])])] == ["gears.x.example: v1beta1 -> v1"]
    assert due([crd(["v1"]), crd([])]) == []


def test_objects_are_read_in_a_version_that_is_served() -> None:
    """The stored one need not be."""
    assert due([crd(["v1beta1", "v1"], served=False)])[0].resource.group_version == "x.example/v1beta1"


def serve(scripted: Scripted, *refused: int) -> None:
    """Two Gears; writing the first answers with these codes."""

    def answer(asked: Asked) -> Answer:
        if asked.method == "GET":
            return Answer(200, {"metadata": {}, "items": [gear("a"), gear("b")]})
        if asked.path.endswith("/gears/a") and refused:
            return Answer(refused[0], {"kind": "Status", "code": refused[0], "message": "no"})
        return Answer(200, gear("x"))

    scripted.answer = answer


def test_every_object_is_written_again_before_the_list_is_cut_down(api: Api, scripted: Scripted) -> None:
    """With its resourceVersion, so that nobody's change is lost."""
    serve(scripted)
    moved = migrate(api, due([crd(["v1beta1", "v1"])])[0], Silent())
    assert (moved.written, moved.overtaken) == (2, 0)
    writes = [(asked.path, json.loads(asked.body)) for asked in scripted.asked if asked.method == "PATCH"]
    writes[:2] = sorted(writes[:2], key=lambda write: write[0])  # the objects of a page go side by side
    base = "/apis/x.example/v1/namespaces/n/gears/"
    assert writes == [
        (base + "a", {"metadata": {"resourceVersion": "7a"}}),
        (base + "b", {"metadata": {"resourceVersion": "7b"}}),
        (
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gears.x.example/status",
            {"status": {"storedVersions": ["v1"]}},
        ),
    ]


@pytest.mark.parametrize("code", [404, 409])
def test_who_wrote_it_meanwhile_moved_it(code: int, api: Api, scripted: Scripted) -> None:
    """Or removed it: either way nothing old is stored of it any more."""
    serve(scripted, code)
    moved = migrate(api, due([crd(["v1beta1", "v1"])])[0], Silent())
    assert (moved.written, moved.overtaken) == (1, 1)


def test_one_that_cannot_be_written_leaves_the_list_as_it_is(api: Api, scripted: Scripted) -> None:
    """A webhook refuses it, say: the old version must stay listed."""
    serve(scripted, 422)
    with pytest.raises(ApiError):
        migrate(api, due([crd(["v1beta1", "v1"])])[0], Silent())
    assert not any(asked.path.endswith("/status") for asked in scripted.asked)
