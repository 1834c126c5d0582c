# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Thousands of objects are moved to the version that their kind is stored in today, a page at a time."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import PAGE, Api, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.applying import CRDS
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.migrating import Moved, due, migrate, ours
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .support import EXHAUSTIVE

OBJECTS = 5000 if EXHAUSTIVE else 1050
CREATORS = 6
OLD, NEW = (Resource("tests.example/%s" % version, "Ledger", "ledgers", True) for version in ("v1beta1", "v1"))
# Large enough that a thousand of them in memory would show.
PADDING = "x" * 8000


def definition(storage: str) -> KubeObject:
    """Ledgers in two versions, of which one is stored."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": name, "served": True, "storage": name == storage, "schema": schema} for name in ("v1beta1", "v1")]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "ledgers.tests.example", "labels": {COMPONENT_LABEL: "a-test"}},
        "spec": {
            "group": "tests.example",
            "scope": "Namespaced",
            "names": {"kind": "Ledger", "plural": "ledgers", "singular": "ledger", "listKind": "LedgerList"},
            "versions": versions,
        },
    }


def stored_versions(api: Api) -> Any:
    """What may lie in etcd, as far as the API server knows."""
    return (api.get(CRDS, "", "ledgers.tests.example") or {})["status"]["storedVersions"]


def established(api: Api) -> None:
    """Wait until the kind is served: creating waits for nothing else."""
    pause = threading.Event()
    while not any(item["status"] == "True" for item in _conditions(api) if item["type"] == "Established"):
        pause.wait(0.05)


def _conditions(api: Api) -> Any:
    return ((api.get(CRDS, "", "ledgers.tests.example") or {}).get("status") or {}).get("conditions") or []


def fill(api: Api, number: int) -> None:
    """So many of them, stored in the old version."""

    def create(index: int) -> None:
        head: Dict[str, Any] = {"apiVersion": OLD.group_version, "kind": "Ledger"}
        api.create(OLD, {**head, "metadata": {"name": "l-%05d" % index, "namespace": "default"}, "spec": {"text": PADDING, "index": index}})

    with ThreadPoolExecutor(CREATORS) as pool:
        list(pool.map(create, range(number)))


def test_all_objects_are_moved_with_one_page_in_memory(sandbox: Sandbox) -> None:
    """Then, and not before, the list of stored versions has the new one alone; and the old one can be dropped."""
    api = Api.connect(str(sandbox.kubeconfig))
    api.create(CRDS, definition("v1beta1"))
    try:
        established(api)
        fill(api, OBJECTS)
        api.apply(CRDS, definition("v1"), force=True)
        assert sorted(stored_versions(api)) == ["v1", "v1beta1"]
        before = api.traffic.requests.copy()
        moved, peak = _measured(api)
        assert (moved.written, moved.overtaken) == (OBJECTS, 0)
        assert stored_versions(api) == ["v1"]
        asked = api.traffic.requests - before
        assert asked["PATCH"] == OBJECTS + 1
        assert asked["GET"] <= OBJECTS / PAGE + 3
        page = PAGE * len(PADDING)
        assert peak < 5 * page, "%.1f MB for pages of %.1f MB; all of them are %.1f MB" % (
            peak / 1e6,
            page / 1e6,
            OBJECTS * len(PADDING) / 1e6,
        )
        alone = definition("v1")
        alone["spec"]["versions"] = alone["spec"]["versions"][1:]
        api.apply(CRDS, alone, force=True)  # the server refuses to drop a version that is listed as stored
        assert sum(len(found) for found in api.pages(NEW, names=True)) == OBJECTS
        assert due(ours(api)) == []
    finally:
        definition_now = api.get(CRDS, "", "ledgers.tests.example")
        if definition_now is not None:
            api.delete(CRDS, "", "ledgers.tests.example", definition_now["metadata"]["uid"])


def _measured(api: Api) -> tuple[Moved, int]:
    """What was moved, and the most memory that Python had for it."""
    moves = [move for move in due(ours(api)) if move.ref.name == "ledgers.tests.example"]
    assert [move.stored for move in moves] == [("v1beta1", "v1")]
    tracemalloc.start()
    try:
        moved = migrate(api, moves[0], Silent())
        return moved, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
