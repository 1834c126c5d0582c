# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One switch for every image: whole releases, and an installed cluster there and back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, Iterator, Set

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.images import images_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.registries import LAYOUTS, Registry
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rendering import Render
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request, choose, render_chosen
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .platform_fixtures import Maker
from .support import CACHE, FEW, MIRROR, Audit, Cluster, converge, healthy, inventory, run_playbook

SITE = "registry.site:5000/mlops"
PUBLIC = r"(?:docker\.io|ghcr\.io|gcr\.io|quay\.io|nvcr\.io|registry\.k8s\.io|public\.ecr\.aws)/[a-z0-9./_-]+(?::[\w.-]+|@sha256:)"
RELEASES = ("v1.9.1", "v1.10.2", "v1.11.0", "26.03")


def rendered(release: str, layout: str = "path", **settings: Any) -> Render:
    """A whole release in the site's registry."""
    request = Request("x", version=release, mirror=MIRROR, cache_dir=str(CACHE), registry=Registry(SITE, layout), **settings)
    return render_chosen(request, choose(request), Silent())


def texts(obj: KubeObject) -> Iterator[str]:
    """Every line of every text, but for comments and for the explanations that ConfigMaps carry."""
    if obj["kind"] == "CustomResourceDefinition":
        return
    data = {key: value for key, value in (obj.get("data") or {}).items() if not key.startswith("_")}
    for line in json.dumps({**obj, "data": data}, ensure_ascii=False).replace("\\n", "\n").splitlines():
        if not line.lstrip().startswith("#"):
            yield line


@pytest.mark.parametrize("release", RELEASES)
def test_ac_20_no_public_registry_is_left_anywhere(release: str) -> None:
    """By another search than the one that rewrites: the public registries by name, and images without a host."""
    for layout in LAYOUTS:
        switched = rendered(release, layout)
        for ref, item in switched.objects.items():
            left = [line for line in texts(item.obj) if re.search(r"(?<![\w/.-])" + PUBLIC, line)]
            assert left == [], "%s: %s" % (ref, left)
            for pod in _containers(item.obj):
                assert pod["image"].startswith(SITE + "/"), ref


def _containers(value: Any) -> Iterator[Dict[str, Any]]:
    """Containers of whatever runs pods, wherever they are."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("containers", "initContainers") and isinstance(item, list):
                yield from (one for one in item if isinstance(one, dict) and "image" in one)
            yield from _containers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _containers(item)


@pytest.mark.parametrize("release", RELEASES)
def test_ac_23_knative_resolves_no_tag_in_the_sites_registry(release: str) -> None:
    """Beside the registries that it skips by itself."""
    objects = {str(ref): item.obj for ref, item in rendered(release).objects.items()}
    skipped = objects["ConfigMap knative-serving/config-deployment"]["data"]["registries-skipping-tag-resolving"].split(",")
    assert "registry.site:5000" in skipped and "kind.local" in skipped


def test_a_patch_that_names_another_registry_is_rewritten_too() -> None:
    """The switch comes after everything that a site changes."""
    images = {"katib": {"images": {"mysql": "quay.io/own/mysql:8.0.40"}}}
    switched = rendered("26.03", components=("katib",), add_dependencies=True, declarations=images)
    found = {one.reference for item in switched.objects.values() for one in images_of(item.obj)}
    assert SITE + "/own/mysql:8.0.40" in found


# ------------------------------------------------------------------ on a cluster


def with_images(sandbox: Sandbox) -> Set[str]:
    """The names of the objects of a render that name an image."""
    request = Request("x", version="26.03", mirror=MIRROR, cache_dir=str(CACHE), components=FEW)
    objects = render_chosen(request, choose(request), Silent()).objects
    return {str(ref) for ref, item in objects.items() if list(images_of(item.obj))}


def test_switching_changes_what_has_images_and_back_again(sandbox_with_few: Sandbox, tmp_path: Path) -> None:
    """Exactly these objects, and the workloads that read a changed ConfigMap; then the cluster is as it was before."""
    sandbox = sandbox_with_few
    before = contents(sandbox)
    where = inventory(tmp_path / "site", [sandbox], kubeflow_registry=SITE, kubeflow_components=list(FEW), kubeflow_version="26.03")
    run_playbook("plan", where)
    (path,) = tmp_path.rglob("plan.json")
    planned = json.loads(path.read_text(encoding="utf-8"))
    changed = {one["object"] for one in planned["objects"] if one["verdict"] == "update"}
    assert changed == with_images(sandbox)
    outcome = healthy(converge(sandbox, components=FEW, registry=Registry(SITE)))
    assert outcome.changed
    after = contents(sandbox)
    assert {ref for ref in before if before[ref] != after[ref]} == changed
    for obj in Cluster(sandbox).pods():
        assert all(one["image"].startswith(SITE + "/") for one in obj["spec"]["containers"]), obj["metadata"]["name"]
    healthy(converge(sandbox, components=FEW))
    assert contents(sandbox) == before
    audit = Audit(sandbox)
    assert not healthy(converge(sandbox, components=FEW)).changed and not audit.writes()


def contents(sandbox: Sandbox) -> Dict[str, Any]:
    """What the objects with images want, by full name; when a workload was restarted is none of it."""
    request = Request("x", version="26.03", mirror=MIRROR, cache_dir=str(CACHE), components=FEW)
    rendered_objects = render_chosen(request, choose(request), Silent()).objects
    versions = {ref: item.obj["apiVersion"] for ref, item in rendered_objects.items()}
    live = Cluster(sandbox).objects(list(versions), versions)
    return {str(ref): _wanted(obj) for ref, obj in live.items()}


def _wanted(obj: KubeObject) -> Any:
    fresh = json.loads(json.dumps({key: obj.get(key) for key in ("spec", "data")}))
    template = ((fresh["spec"] or {}).get("template") or {}).get("metadata") or {}
    template.pop("annotations", None)
    return fresh if obj["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "ConfigMap") else None


@pytest.fixture(name="sandbox_with_few")
def _sandbox_with_few(sandboxes: Maker) -> Iterator[Sandbox]:
    """A cluster with a part of the platform, of its own."""
    sandbox = sandboxes.make("switched")
    healthy(converge(sandbox, components=FEW))
    yield sandbox
    sandboxes.remove(sandbox.name)
