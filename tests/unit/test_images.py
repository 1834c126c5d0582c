# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where images hide: every kind of place by itself; whole releases are in the integration tests."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.images import (
    REFERENCE,
    Place,
    Use,
    Where,
    find,
    images_of,
    path_text,
    registry_of,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.overlay import Image
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.present_images import images_json, images_text
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.release_data import CompiledImage

from .generated import examples

DIGEST = "@sha256:" + "0123456789abcdef" * 4


def thing(kind: str = "Thing", **content: Any) -> KubeObject:
    """An object with this content."""
    metadata = {"name": "x", "namespace": "n", **content.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}


def config(**data: str) -> KubeObject:
    """A ConfigMap; "_dot_" in a key stands for a dot."""
    return thing("ConfigMap", data={key.replace("_dot_", "."): value for key, value in data.items()})


def pod(**container: Any) -> KubeObject:
    """A Deployment with one container."""
    return thing("Deployment", spec={"template": {"spec": {"containers": [{"name": "main", **container}]}}})


def seen(obj: KubeObject) -> List[Tuple[str, str, str]]:
    """(reference, path, kind of place)."""
    return [(one.reference, path_text(one.path), one.where.value) for one in images_of(obj)]


C = "spec.template.spec.containers[0]"
PYTHON = """
import os
def settings():
    return dict(frontend_image=os.environ.get("FRONTEND_IMAGE", "ghcr.io/a/frontend"), frontend_tag=os.environ.get("FRONTEND_TAG", "2.1"))
OTHER_IMAGE = "quay.io/b/other:3"
"""
GO_TEMPLATE = """
{{- range .Values }}
spec:
  initContainers:
    - name: init
      image: busybox:1.28
    - image: "{{ .ProxyImage }}"
{{- end }}
"""
VALUES = {"global": {"hub": "gcr.io/mesh", "tag": "1.2", "proxy": {"image": "proxy"}}, "pilot": {"image": "pilot", "hub": ""}}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (pod(image="a/b:1"), [("a/b:1", C + ".image", "field")]),
        (pod(image="busybox"), [("busybox", C + ".image", "field")]),
        (thing("Image", spec={"image": "gcr.io/k/q" + DIGEST}), [("gcr.io/k/q" + DIGEST, "spec.image", "field")]),
        (
            pod(env=[{"name": "V2_DRIVER_IMAGE", "value": "ghcr.io/a/driver:2"}]),
            [("ghcr.io/a/driver:2", C + ".env[0].value", "environment")],
        ),
        (pod(env=[{"name": "VIEWER_IMAGE", "value": "viewer/v"}]), [("viewer/v", C + ".env[0].value", "environment")]),
        (pod(env=[{"name": "WHAT", "value": "quay.io/a/b:1"}]), [("quay.io/a/b:1", C + ".env[0].value", "environment")]),
        (pod(env=[{"name": "ADDRESS", "value": "db.site:3306"}]), []),
        (pod(args=["--executor-image", "a/exec:1"]), [("a/exec:1", C + ".args[1]", "argument")]),
        (pod(args=["--solver-image=a/solve:1"]), [("a/solve:1", C + ".args[0]", "argument")]),
        (pod(args=["--image-pull-policy", "Always"]), []),
        (pod(command=["sh", "-c", "echo http://host.site/x"]), []),
        (config(queue_image="a/queue:1"), [("a/queue:1", "data.queue_image", "config")]),
        (config(cacheImage="registry.site/busybox"), [("registry.site/busybox", "data.cacheImage", "config")]),
        (config(_example="image: a/b:1"), []),
        (config(agent=json.dumps({"image": "a/agent:1"})), [("a/agent:1", "data.agent.image", "document")]),
        (
            config(ui_dot_yaml="spawn:\n  imageGroupOne:\n    value: g/one:1\n    options: [g/one:1, g/two:1]\n"),
            [
                ("g/one:1", 'data["ui.yaml"].spawn.imageGroupOne.value', "document"),
                ("g/one:1", 'data["ui.yaml"].spawn.imageGroupOne.options[0]', "document"),
                ("g/two:1", 'data["ui.yaml"].spawn.imageGroupOne.options[1]', "document"),
            ],
        ),
        (
            config(values=json.dumps(VALUES)),
            [
                ("gcr.io/mesh/proxy:1.2", "data.values.global.proxy.image", "split"),
                ("gcr.io/mesh/pilot:1.2", "data.values.pilot.image", "split"),
            ],
        ),
        (
            config(explainers=json.dumps({"art": {"image": "k/art", "defaultImageVersion": "latest"}})),
            [("k/art:latest", "data.explainers.art.image", "split")],
        ),
        (config(template=GO_TEMPLATE), [("busybox:1.28", "data.template", "template")]),
        (
            config(sync_dot_py=PYTHON),
            [("ghcr.io/a/frontend:2.1", 'data["sync.py"]', "program"), ("quay.io/b/other:3", 'data["sync.py"]', "program")],
        ),
        (
            thing(metadata={"annotations": {"sidecar.io/proxyImage": "a/p:1", "note": "a/p:1"}}, spec={}),
            [("a/p:1", 'metadata.annotations["sidecar.io/proxyImage"]', "annotation")],
        ),
        (thing("CustomResourceDefinition", spec={"properties": {"image": "a/b:1"}}), []),
        (thing(status={"image": "a/b:1"}, spec={}), []),
    ],
)
def test_every_kind_of_place(obj: KubeObject, expected: List[Tuple[str, str, str]]) -> None:
    """With the path of each; what only looks like one is none."""
    assert seen(obj) == expected


def test_uses_are_gathered_and_sorted() -> None:
    """One image with all its places; what only a program knows is told with its name."""
    one, two = pod(image="b/x:1"), config(image="b/x:1", otherImage="a/y")
    compiled = [CompiledImage("alpine:3.10", "training", ref_of(one), "main", "--init-image")]
    uses = find({ref_of(one): ("katib", one), ref_of(two): ("pipelines", two)}, compiled)
    assert [(use.reference, use.floating, len(use.places)) for use in uses] == [
        ("a/y", True, 1),
        ("alpine:3.10", False, 1),
        ("b/x:1", False, 2),
    ]
    assert uses[1].places == [Place("Deployment n/x", "--init-image", Where.COMPILED, "training")]
    assert images_json(uses)[1]["registry"] == "docker.io"


@pytest.mark.parametrize(
    ("reference", "floating", "registry"),
    [
        ("busybox", True, "docker.io"),
        ("a/b:latest", True, "docker.io"),
        ("a/b:latest" + DIGEST, False, "docker.io"),
        ("quay.io/a/b:1", False, "quay.io"),
        ("localhost/a", True, "localhost"),
        ("registry:5000/a:1", False, "registry:5000"),
    ],
)
def test_what_an_image_is(reference: str, floating: bool, registry: str) -> None:
    """Whether it may change, and where it comes from."""
    assert (Use(reference).floating, registry_of(reference)) == (floating, registry)


def test_the_text_fits_a_terminal() -> None:
    """Registries with the most images first; those that may change with their places."""
    objects: Dict[Any, Tuple[str, KubeObject]] = {}
    for number in range(12):
        obj = pod(image="ghcr.io/a/image-%d:1" % number)
        obj["metadata"]["name"] = "name-%d" % number
        objects[ref_of(obj)] = ("katib", obj)
    floating = config(cacheImage="registry.site/" + "long/" * 20 + "busybox")
    objects[ref_of(floating)] = ("pipelines", floating)
    text = images_text("26.03", find(objects), "/srv/images.json")
    assert text.splitlines()[0] == "Kubeflow 26.03: 13 images, 1 of them named by no field of a pod or resource"
    assert text.splitlines()[1].split() == ["ghcr.io", "12"]
    assert "in ConfigMap n/x data.cacheImage" in text and text.endswith("all with their places: /srv/images.json")
    assert all(len(line) <= 80 for line in text.splitlines())


quickly = settings(max_examples=examples(30), derandomize=True, deadline=None, database=None)
names = st.from_regex(r"[a-z0-9]{1,8}(?:[._-][a-z0-9]{1,5})?", fullmatch=True)


@quickly
@given(
    st.lists(names, min_size=1, max_size=4),
    st.sampled_from(["", "quay.io/", "registry.site:5000/"]),
    st.sampled_from(["", ":v1.2-x", DIGEST]),
)
def test_every_reference_is_known_as_one(parts: List[str], host: str, version: str) -> None:
    """And comes apart into what it was made of."""
    reference = host + "/".join(parts) + version
    assert REFERENCE.fullmatch(reference)
    image = Image.parse(reference)
    assert image.name + (":" + image.tag if image.tag else "") + ("@" + image.digest if image.digest else "") == reference


@quickly
@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_nothing_breaks_it(content: Any) -> None:
    """Whatever a user has in an object, or in a ConfigMap's text."""
    seen(thing(spec=content))
    seen(config(x=json.dumps(content), y="%s\n" % (content,), image=str(content)))
