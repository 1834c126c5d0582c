# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of whole releases, found by the rules alone, against lists that people can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest
import yaml
from jsonschema import Draft202012Validator

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._images_operation import run_images

from .support import CACHE, MIRROR, REPO, run_playbook

LISTS = Path(__file__).parent / "data" / "images"
SCHEMA = Draft202012Validator(json.loads((REPO / "plugins/plugin_utils/schemas/images.json").read_text(encoding="utf-8")))
RELEASES = ("v1.9.1", "v1.10.2", "v1.11.0", "26.03")


def images(release: str, **arguments: Any) -> List[Dict[str, Any]]:
    """What the module says."""
    told = {"version": release, "mirror": MIRROR, "cache_dir": str(CACHE), **arguments}
    answer = run_images(told, "localhost", False, Silent(), None)
    assert not answer["failed"], answer["msg"]
    found: List[Dict[str, Any]] = answer["images"]
    return found


def lines_of(name: str) -> List[str]:
    """A committed list."""
    return (LISTS / name).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("release", RELEASES)
def test_the_list_of_a_release(release: str) -> None:
    """A change of it is a change of upstream, or of the rules, and is looked at by a person."""
    assert [one["reference"] for one in images(release)] == lines_of(release + ".txt")


def test_the_list_is_that_which_was_made_independently() -> None:
    """Every difference is explained, and every explanation is needed."""
    given, found = set(lines_of("given-v1.10.2.txt")), {one["reference"] for one in images("v1.10.2")}
    known = yaml.safe_load((LISTS / "differences-v1.10.2.yml").read_text(encoding="utf-8"))
    assert given - found == set(known["only_given"])
    assert found - given == set(known["only_found"])
    assert all(reason.strip() for side in known.values() for reason in side.values())


def test_ac_19_what_only_a_running_platform_pulls_is_in_the_list() -> None:
    """Each by the place that a search for ``image:`` fields does not look at."""
    found = {one["reference"]: {place["where"] for place in one["places"]} for one in images("26.03")}

    def of(part: str) -> Dict[str, Any]:
        return {reference: where for reference, where in found.items() if part in reference}

    for part, where in (
        ("kfp-driver", "environment"),
        ("kfp-launcher", "environment"),
        ("argoexec", "argument"),
        ("acmesolver", "argument"),
        ("filebrowser", "environment"),
        ("proxyv2:1.29", "split"),
        ("kserve/agent", "document"),
        ("kserve/router", "document"),
        ("katib/file-metrics-collector", "document"),
        ("cmd/queue@", "config"),
    ):
        assert of(part) and all(where in places for places in of(part).values()), part
    assert len(of("notebook-servers/")) == 8 and len(of("katib/suggestion-")) == 8
    assert (
        len([one for one in images("26.03") if any(place["object"].startswith("ClusterServingRuntime") for place in one["places"])]) == 11
    )
    assert of("trainer/torchtune-trainer") and of("pytorch/pytorch:")


def test_what_a_site_changes_counts() -> None:
    """Another image, another component set; without a place in what is left, an image is not in the list."""
    changed = images(
        "26.03", components=["katib"], add_dependencies=True, declarations={"katib": {"images": {"mysql": "db.site/mysql:8.0.40"}}}
    )
    references = {one["reference"] for one in changed}
    assert "db.site/mysql:8.0.40" in references and "mysql:8.0" not in references
    assert not [one for one in references if "kfp-" in one]
    assert {place["component"] for one in changed for place in one["places"]} >= {"katib", "istio"}


def test_the_playbook_needs_no_inventory(tmp_path: Path) -> None:
    """And leaves the file behind; what has no tag to rely on is shown."""
    results = {"kubeflow_results_dir": str(tmp_path), "kubeflow_mirror": MIRROR, "kubeflow_cache_dir": str(CACHE)}
    nobody = tmp_path / "inventory.yml"
    nobody.write_text("---\nall: {}\n", encoding="utf-8")
    shown = run_playbook("images", nobody, "--extra-vars", json.dumps({"kubeflow_version": "v1.10.2", **results}))
    document = json.loads((tmp_path / "images.json").read_text(encoding="utf-8"))
    SCHEMA.validate(document)
    assert document["state"] == "ok" and document["release"] == "v1.10.2"
    assert [one["reference"] for one in document["images"]] == lines_of("v1.10.2.txt")
    assert "Kubeflow v1.10.2: 99 images" in shown and "registry.k8s.io/busybox" in shown
    assert "ConfigMap kubeflow/pipeline-install-config data.cacheImage" in shown
