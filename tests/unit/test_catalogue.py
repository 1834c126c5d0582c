# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choosing a release and its components: what is wrong is named, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path
from typing import List, Sequence, Union

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import (
    Ack,
    Catalogue,
    Hop,
    ObjectMatch,
    OneWay,
    Release,
    Row,
    read_release,
    resolve,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import ObjectRef

SMALL = """
release: v9.9.9
title: Small
kubernetes: {minimum: "1.30", tested: ["1.34"]}
kustomize: {version: "5.7.1"}
tree: manifests
sources: {manifests: {url: h/x.tar.gz, kind: archive, digest: "sha256:0", verified: true}}
components:
  web: {title: Web, paths: [web], needs: [mesh]}
  mesh: {title: Mesh, paths: [mesh], needs: [base]}
  base: {title: Base, paths: [base]}
  demo: {title: Demo, paths: [demo], default: false, needs: [web]}
"""


@pytest.fixture
def small(tmp_path: Path) -> Release:
    """A release of four components."""
    return read_release(_file(tmp_path, SMALL))


def _file(folder: Path, text: str) -> Path:
    path = folder / "v9.9.9.yml"
    path.write_text(text)
    return path


def _names(release: Release, wanted: Union[str, Sequence[str]], **options: bool) -> List[str]:
    return [component.name for component in resolve(release, wanted, **options)]


def test_components_come_in_dependency_order(small: Release) -> None:
    """Whatever order the file or the user has."""
    assert list(small.components) == ["base", "mesh", "web", "demo"]
    assert _names(small, ["web", "base", "mesh"]) == ["base", "mesh", "web"]


def test_presets(small: Release) -> None:
    """`default` leaves out what is off unless asked for; a list may start from a preset."""
    assert _names(small, "default") == ["base", "mesh", "web"]
    assert _names(small, "all") == ["base", "mesh", "web", "demo"]
    assert _names(small, ["default", "demo"]) == ["base", "mesh", "web", "demo"]


def test_ac40_a_missing_dependency_is_refused_and_named(small: Release) -> None:
    """AC-40: a component that others need cannot be left out; the dependants are listed."""
    with pytest.raises(EngineError) as error:
        resolve(small, ["web", "demo"])
    assert "not among the components but needed: mesh (by web)" in str(error.value)
    assert "kubeflow_add_dependencies: true" in str(error.value)


def test_dependencies_are_added_when_asked_for(small: Release) -> None:
    """Also those of what is added."""
    assert _names(small, ["demo"], add_dependencies=True) == ["base", "mesh", "web", "demo"]


def test_an_unknown_component_names_the_nearest(small: Release) -> None:
    """The most frequent mistake is a typing error."""
    with pytest.raises(EngineError, match="did you mean 'mesh'") as error:
        resolve(small, ["mush"])
    assert "base, mesh, web, demo" in str(error.value)


def test_an_unknown_release_lists_the_known_ones() -> None:
    """The reader sees what can be asked for, the oldest first: v1.9.1 is older than v1.10.2, whatever the alphabet says."""
    with pytest.raises(EngineError) as error:
        Catalogue.load().release("v1.10.3")
    assert "one of v1.9.1, v1.10.2, v1.11.0, 26.03" in str(error.value)


def test_the_newest_release_is_the_default() -> None:
    """Upstream changed from versions to dates; 26.03 is newer than v1.11.0."""
    assert Catalogue.load().newest == "26.03"


def test_a_users_folder_adds_releases_and_wins(tmp_path: Path) -> None:
    """A site can correct a shipped release, or bring its own."""
    _file(tmp_path, SMALL)
    (tmp_path / "26.03.yml").write_text(SMALL.replace("v9.9.9", '"26.03"').replace("Small", "Ours"))
    catalogue = Catalogue.load([tmp_path])
    assert catalogue.names == ("v1.9.1", "v1.10.2", "v1.11.0", "v9.9.9", "26.03")
    assert catalogue.release("26.03").title == "Ours"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A misspelt kubeflow_release_dirs must not mean the shipped data."""
    with pytest.raises(EngineError, match="no such folder"):
        Catalogue.load([tmp_path / "none"])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("release: v9.9.9", "release: 26.03", "'release'"),
        ("title: Mesh, ", "", "'components.mesh.title'"),
        ("title: Web", "titel: Web", "'components.web.titel'"),
        ("paths: [web]", "paths: web", "'components.web.paths'"),
        ("needs: [base]", "needs: [bass]", "unknown component 'bass'"),
        ("{title: Base, paths: [base]}", "{title: Base, paths: [base], needs: [web]}", "in a circle"),
        ("tree: manifests", "tree: {", "not YAML"),
        (SMALL, "", "at the top"),
    ],
)
def test_wrong_release_data_says_where(tmp_path: Path, old: str, new: str, told: str) -> None:
    """Users write such files too; a stack trace helps nobody."""
    with pytest.raises(EngineError) as error:
        read_release(_file(tmp_path, SMALL.replace(old, new)))
    assert told.replace("at the top", "the top") in str(error.value)


HOP = """
upgrade:
  from: v9.9.8
  notes: [Mind the gap.]
  acks: [{name: ack-v9.9.9-data, component: web, backup: true, text: All is lost.}]
  replace: [{match: {kind: Service, name: web}, why: its address}]
  keep: [{match: {kind: PersistentVolumeClaim}, why: data}]
  regenerate: [{match: {kind: Secret, name: key}, why: a new key}]
  one_way: [{name: database, component: web, why: new files}]
"""


def test_a_hop_is_read(tmp_path: Path) -> None:
    """Every part of it, under the name that the rest of the engine uses."""
    assert read_release(_file(tmp_path, SMALL)).hop is None
    hop = read_release(_file(tmp_path, SMALL + HOP)).hop
    assert hop == Hop(
        source="v9.9.8",
        target="v9.9.9",
        notes=("Mind the gap.",),
        acks=(Ack("ack-v9.9.9-data", "web", "All is lost.", True),),
        replace=(Row(ObjectMatch("", "Service", "", "web"), "its address"),),
        keep=(Row(ObjectMatch("", "PersistentVolumeClaim", "", ""), "data"),),
        regenerate=(Row(ObjectMatch("", "Secret", "", "key"), "a new key"),),
        one_way=(OneWay("database", "web", "new files"),),
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  from: v9.9.8\n", "", "'upgrade.from'"),
        ("from: v9.9.8", "from: 9.8", "'upgrade.from'"),
        ("  keep:", "  keeps:", "'upgrade.keeps'"),
        (", text: All is lost.", "", "'upgrade.acks[0].text'"),
        ("backup: true", "backup: maybe", "'upgrade.acks[0].backup'"),
        (", why: its address", "", "'upgrade.replace[0].why'"),
        ("match: {kind: Secret, name: key}", "matches: {kind: Secret}", "'upgrade.regenerate[0].matches'"),
        ("{name: database, ", "{", "'upgrade.one_way[0].name'"),
        (HOP, "upgrade: v9.9.8", "'upgrade'"),
    ],
)
def test_a_wrong_hop_says_where(tmp_path: Path, old: str, new: str, told: str) -> None:
    """A key that is ignored in silence would delete what was to be kept."""
    assert (SMALL + HOP).count(old) == 1
    with pytest.raises(EngineError) as error:
        read_release(_file(tmp_path, (SMALL + HOP).replace(old, new)))
    assert told in str(error.value)


def test_object_matches() -> None:
    """A row is about what it names, with * in names, and about any namespace and group that it leaves out."""
    ref = ObjectRef("", "ConfigMap", "kubeflow", "config-9h2h2b6hbk")
    assert ObjectMatch("", "ConfigMap", "", "config-*").matches(ref)
    assert ObjectMatch("", "ConfigMap", "kubeflow", "").matches(ref)
    assert not ObjectMatch("", "Secret", "", "").matches(ref)
    assert not ObjectMatch("apps", "ConfigMap", "", "").matches(ref)
    assert not ObjectMatch("", "ConfigMap", "istio-system", "").matches(ref)
    assert not ObjectMatch("", "ConfigMap", "", "config").matches(ref)
