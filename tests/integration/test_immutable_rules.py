# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our rules of what cannot be changed, beside what a real API server says to the same changes."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any, Dict, List

import pytest
import yaml

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, ApiError, Discovery, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.immutable import immutable_changes
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, get_path
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import NAMESPACES
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

TABLE = Path(__file__).resolve().parents[1] / "unit" / "data" / "immutable_cases.yml"
CASES: List[Dict[str, Any]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
NAMES = ["%s %s" % (case["object"]["kind"], case["object"]["metadata"]["name"]) for case in CASES]
UNPROCESSABLE = 422


@pytest.fixture(name="api", scope="module")
def _api(sandbox: Sandbox) -> Api:
    """The shared sandbox with the namespace of the cases."""
    api = Api.connect(str(sandbox.kubeconfig))
    api.apply(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "immutable"}})
    return api


@pytest.fixture(name="discovery", scope="module")
def _discovery(api: Api) -> Discovery:
    """What it serves."""
    return api.discover()


def edited(obj: KubeObject, edits: Dict[str, Any]) -> KubeObject:
    """The object with these fields set; None takes one away."""
    changed = copy.deepcopy(obj)
    for path, value in edits.items():
        above, _dot, name = path.rpartition(".")
        place = get_path(changed, above) if above else changed
        if value is None:
            del place[name]
        else:
            place[name] = value
    return changed


def made(api: Api, resource: Resource, obj: KubeObject) -> KubeObject:
    """The object as it is in the cluster; a definition is waited for until it is established, as its rules begin then."""
    live = api.apply(resource, obj)
    end = time.monotonic() + 30
    while obj["kind"] == "CustomResourceDefinition":
        conditions = {item["type"]: item["status"] for item in get_path(live, "status.conditions") or []}
        if conditions.get("Established") == "True":
            break
        assert time.monotonic() < end, conditions
        time.sleep(0.1)
        live = sure(api.get(resource, "", obj["metadata"]["name"]))
    return live


def refused(api: Api, resource: Resource, obj: KubeObject) -> str:
    """What the server has against a change of the object, "" if it would accept it."""
    try:
        api.apply(resource, obj, dry=True, force=True)
    except ApiError as error:
        assert error.status == UNPROCESSABLE, error
        return error.message
    return ""


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_server_refuses_what_we_say_that_it_refuses(api: Api, discovery: Discovery, case: Dict[str, Any]) -> None:
    """Of every kind that we have a rule for, on the live object, with the defaults and addresses that the server put there."""
    obj = case["object"]
    resource = sure(discovery.get(obj["apiVersion"], obj["kind"]))
    live = made(api, resource, obj)
    for edit in case["edits"]:
        wanted = edited(obj, edit["set"])
        says = refused(api, resource, wanted)
        ours = immutable_changes(live, wanted)
        assert bool(ours) == bool(says), "%s: we say %s, the server says %s" % (edit["why"], ours, says or "yes")
        assert ours == tuple(edit["refused"]), edit["why"]
