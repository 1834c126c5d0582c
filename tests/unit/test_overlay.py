# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site's variables become an overlay; a wrong one is named, with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.overlay import (
    Image,
    declaration,
    kustomization,
)

DIGEST = "sha256:" + "a" * 64


def test_upstream_without_changes_is_its_bases_alone() -> None:
    """What a site does not change is rendered exactly as upstream has it."""
    assert kustomization(["../a", "../b"], None) == {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../a", "../b"],
    }
    assert kustomization(["../a"], declaration("katib")) == kustomization(["../a"], None)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("nginx", ("nginx", "", "")),
        ("nginx:1.27", ("nginx", "1.27", "")),
        ("registry.site:5000/a/b", ("registry.site:5000/a/b", "", "")),
        ("registry.site:5000/a/b:v1", ("registry.site:5000/a/b", "v1", "")),
        ("registry.site:5000/a/b@" + DIGEST, ("registry.site:5000/a/b", "", DIGEST)),
        ("registry.site:5000/a/b:v1@" + DIGEST, ("registry.site:5000/a/b", "v1", DIGEST)),
    ],
)
def test_image_references_are_split(reference: str, parts: Any) -> None:
    """The port of a registry is no tag."""
    assert Image.parse(reference) == Image(*parts)


@settings(max_examples=60)
@given(
    name=st.builds("{}{}".format, st.sampled_from(["", "r/", "r:5000/", "10.0.0.1:80/"]), st.sampled_from(["a", "a/b", "a-b/c.d"])),
    tag=st.text("abc019._-", max_size=6),
    digest=st.sampled_from(["", DIGEST]),
)
def test_image_references_lose_nothing(name: str, tag: str, digest: str) -> None:
    """Put together again, the parts are the reference."""
    reference = name + (":" + tag if tag else "") + ("@" + digest if digest else "")
    assert Image.parse(reference) == Image(name, tag, digest)


def test_images_and_replicas() -> None:
    """They are kustomize's own transformers, in a fixed order, as the overlay is part of the cache's key.

    A number may be a text: Jinja makes one of it before ansible-core 2.19.
    """
    site = declaration("katib", images={"b": "r:5000/b@" + DIGEST, "a": "r:5000/a:v1"}, replicas={"z": 0, "y": "2"})
    overlay = kustomization(["../a"], site)
    assert overlay["images"] == [
        {"name": "a", "newName": "r:5000/a", "newTag": "v1"},
        {"name": "b", "newName": "r:5000/b", "digest": DIGEST},
    ]
    assert overlay["replicas"] == [{"name": "y", "count": 2}, {"name": "z", "count": 0}]
    assert not site.private


def test_a_patch_of_one_object_gets_an_exact_target() -> None:
    """kustomize's selectors are regular expressions; a name with a dot is not one. apiVersion picks the group only."""
    patch = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a.b", "namespace": "kubeflow"}, "spec": {}}
    site = declaration("katib", patches=[patch])
    assert site.private
    assert dict(site.patches[0].target) == {"group": "apps", "kind": "Deployment", "name": r"a\.b", "namespace": "kubeflow"}
    assert "apiVersion" not in json.loads(site.patches[0].text)
    core = declaration("katib", patches=[{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}])
    assert core.patches[0].target["group"] == "^$"


SAME: Dict[str, Any] = {
    "mapping": {"kind": "Service", "metadata": {"name": "x"}, "spec": {"type": "NodePort"}},
    "text": "kind: Service\nmetadata: {name: x}\nspec: {type: NodePort}",
    "file": {"file": "x.yaml"},
}


@pytest.mark.parametrize("item", SAME.values(), ids=SAME)
def test_every_way_to_write_a_patch_means_the_same(tmp_path: Path, item: Any) -> None:
    """A mapping, a text, a file."""
    (tmp_path / "x.yaml").write_text(SAME["text"])
    site = declaration("katib", patches=[item], folder=tmp_path)
    assert json.loads(site.patches[0].text) == SAME["mapping"]
    assert site.patches[0].wanted == "Service x"


def test_a_text_may_hold_several_patches() -> None:
    """Each is told apart in errors."""
    site = declaration("katib", patches=["kind: A\nmetadata: {name: x}\n---\nkind: B\nmetadata: {name: y}\n"])
    assert [patch.origin for patch in site.patches] == ["katib_patches[0] document 1", "katib_patches[0] document 2"]


def test_each_patch_is_marked_before_it_is_applied() -> None:
    """A patch may remove what it matches; the marker comes first, and stays when the patches are left out."""
    site = declaration("katib", patches=[{"target": {"kind": "Service"}, "patch": {"$patch": "delete"}}, SAME["mapping"]])
    entries = kustomization([], site)["patches"]
    assert ["patch-0" in e["patch"] or "patch-1" in e["patch"] for e in entries] == [True, False, True, False]
    assert entries[0]["target"] == entries[1]["target"] == {"kind": "Service"}
    assert len(kustomization([], site, patches=0)["patches"]) == 2
    assert len(kustomization([], site, patches=1, markers=False)["patches"]) == 1


WRONG: Dict[str, Any] = {
    "patches no list": ({"patches": {"kind": "x"}}, ["katib_patches", "has the wrong type", "dict"]),
    "not YAML": ({"patches": ["kind: A\nmetadata: {name: [x}\n"]}, ["katib_patches[0]", "not YAML in line 2"]),
    "a number": ({"patches": [{}, 7]}, ["katib_patches[0]", "does not say what it patches"]),
    "nothing named": ({"patches": [{"spec": {}}]}, ["katib_patches[0]", "kind and metadata.name, or a target"]),
    "empty": ({"patches": ["# nothing\n"]}, ["katib_patches[0]", "empty"]),
    "no file": ({"patches": [{"file": "none.yaml"}]}, ["none.yaml (katib_patches[0])", "cannot be read"]),
    "both": ({"patches": [{"file": "a", "patch": "b"}]}, ["katib_patches[0]", "unknown key"]),
    "key": ({"patches": [{"patch": "a: b", "targets": {}}]}, ["katib_patches[0]", "unknown key", "targets"]),
    "target key": ({"patches": [{"patch": "a: b", "target": {"nme": "x"}}]}, ["katib_patches[0].target", "nme"]),
    "empty target": ({"patches": [{"patch": "a: b", "target": {}}]}, ["katib_patches[0].target", "is empty"]),
    "list without target": ({"patches": [[{"op": "add", "path": "/a"}]]}, ["katib_patches[0]", "needs a target"]),
    "operation": (
        {"patches": [{"target": {"kind": "x"}, "patch": [{"op": "put", "path": "/a"}]}]},
        ["katib_patches[0] operation 0", "not an operation"],
    ),
    "image tag in the name": ({"images": {"a:v1": "b"}}, ["katib_images['a:v1']", "without tag"]),
    "image no text": ({"images": {"a": 1}}, ["katib_images['a']", "has the wrong type"]),
    "image reference": ({"images": {"a": "b c"}}, ["katib_images['a']", "not an image reference"]),
    "image digest": ({"images": {"a": "b@sha256:12"}}, ["katib_images['a']", "not an image reference"]),
    "replicas": ({"replicas": {"a": -1}}, ["katib_replicas['a']", "not a number of replicas"]),
    "replicas true": ({"replicas": {"a": True}}, ["katib_replicas['a']", "True"]),
    "replicas text": ({"replicas": {"a": "two"}}, ["katib_replicas['a']", "'two'"]),
}


@pytest.mark.parametrize(("given_", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_variable_is_named(given_: Dict[str, Any], told: Any) -> None:
    """First cause, variable, place in it."""
    with pytest.raises(EngineError) as error:
        declaration("katib", **given_)
    assert [text for text in told if text not in str(error.value)] == []


def test_a_broken_patch_is_not_quoted() -> None:
    """It may hold a secret."""
    with pytest.raises(EngineError) as error:
        declaration("dex", patches=["kind: Secret\nstringData: {password: canary-1: x}\n"])
    assert "canary-1" not in str(error.value)
