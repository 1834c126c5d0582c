# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way between two releases leaves none out, and where none is known it is not guessed."""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.hops import known_hops, path

SMALL = """
release: "%s"
title: Small
kubernetes: {minimum: "1.30", tested: ["1.34"]}
kustomize: {version: "5.7.1"}
tree: manifests
sources: {manifests: {url: h/x.tar.gz, kind: archive, digest: "sha256:0", verified: true}}
components: {base: {title: Base, paths: [base]}}
"""


def _way(current: str, target: str, catalogue: Catalogue) -> List[str]:
    return [release.name for release in path(catalogue, current, target)]


def _add(folder: Path, name: str, source: str = "") -> None:
    hop = "upgrade: {from: '%s'}\n" % source if source else ""
    (folder / (name + ".yml")).write_text(SMALL % name + hop)


@pytest.mark.parametrize(
    ("current", "target", "way"),
    [
        ("v1.9.1", "26.03", ["v1.10.2", "v1.11.0", "26.03"]),
        ("v1.9.1", "v1.11.0", ["v1.10.2", "v1.11.0"]),
        ("v1.10.2", "v1.11.0", ["v1.11.0"]),
        ("v1.11.0", "26.03", ["26.03"]),
        ("26.03", "26.03", []),
        ("v1.9.1", "v1.9.1", []),
    ],
)
def test_ac_10_a_longer_way_is_split_into_hops(current: str, target: str, way: List[str]) -> None:
    """AC-10: no release is skipped, whatever was asked for."""
    assert _way(current, target, Catalogue.load()) == way


@pytest.mark.parametrize("current", ["v1.9.0", "v1.10.1", "v1.8.1", "25.03"])
def test_ac_10_a_way_that_nobody_described_is_refused(current: str) -> None:
    """AC-10: a patch release is no hop either; what is known is listed."""
    with pytest.raises(EngineError) as error:
        path(Catalogue.load(), current, "26.03")
    assert "no known way from release %s to 26.03" % current in str(error.value)
    assert "v1.9.1 -> v1.10.2, v1.10.2 -> v1.11.0, v1.11.0 -> 26.03" in error.value.expected
    assert "from: %s" % current in error.value.next_step


@pytest.mark.parametrize(("current", "target"), [("26.03", "v1.11.0"), ("v1.10.2", "v1.9.1"), ("26.10", "26.03")])
def test_an_older_target_is_refused(current: str, target: str) -> None:
    """Going back is another command, with other questions."""
    with pytest.raises(EngineError, match="older than the installed %s" % current) as error:
        path(Catalogue.load(), current, target)
    assert "rollback.yml" in error.value.next_step


def test_an_unknown_target_lists_the_known_ones() -> None:
    """As everywhere else."""
    with pytest.raises(EngineError, match="unknown release") as error:
        path(Catalogue.load(), "v1.11.0", "26.04")
    assert "v1.9.1, v1.10.2, v1.11.0, 26.03" in error.value.expected


def test_a_users_folder_can_describe_a_hop(tmp_path: Path) -> None:
    """A site that ran a release of its own brings the way from there with it."""
    _add(tmp_path, "v1.10.2", "v1.9.0")
    catalogue = Catalogue.load([tmp_path])
    assert _way("v1.9.0", "26.03", catalogue) == ["v1.10.2", "v1.11.0", "26.03"]
    with pytest.raises(EngineError, match="no known way from release v1.9.1"):
        path(catalogue, "v1.9.1", "26.03")
    assert [(hop.source, hop.target) for hop in known_hops(catalogue)][0] == ("v1.9.0", "v1.10.2")


def test_a_hop_from_a_release_without_data_is_still_a_hop(tmp_path: Path) -> None:
    """To leave a release takes no data of it; to pass through it does."""
    _add(tmp_path, "v3.2", "v3.1")
    assert _way("v3.1", "v3.2", Catalogue.load([tmp_path])) == ["v3.2"]
    with pytest.raises(EngineError, match="no known way from release v3.0 to v3.2"):
        path(Catalogue.load([tmp_path]), "v3.0", "v3.2")


def test_hops_in_a_circle_end(tmp_path: Path) -> None:
    """A mistake in a user's file is an error and not an endless loop."""
    _add(tmp_path, "v3.1", "v3.2")
    _add(tmp_path, "v3.2", "v3.1")
    with pytest.raises(EngineError, match="no known way from release v3.0 to v3.2"):
        path(Catalogue.load([tmp_path]), "v3.0", "v3.2")
