# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One switch for every image: what an image is called in a site's registry, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Dict, Mapping, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.registries import Registry, full_name, switched
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.release_data import CompiledImage, RegistryList, Release
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rendering import Render, RenderedObject

SITE = "registry.site:5000/mlops"
DIGEST = "@sha256:" + "0123456789abcdef" * 4
DEPLOYMENT = ObjectRef("", "Deployment", "n", "x")


@pytest.mark.parametrize(
    ("reference", "path", "host", "flat"),
    [
        ("mysql:8.0", "library/mysql:8.0", "docker.io/library/mysql:8.0", "library-mysql:8.0"),
        ("a/b", "a/b", "docker.io/a/b", "a-b"),
        ("docker.io/a/b:1", "a/b:1", "docker.io/a/b:1", "a-b:1"),
        ("ghcr.io/k/p/d:2" + DIGEST, "k/p/d:2" + DIGEST, "ghcr.io/k/p/d:2" + DIGEST, "k-p-d:2" + DIGEST),
        ("old.site:5000/a:1", "a:1", "old.site-5000/a:1", "a:1"),
        (SITE + "/a/b:1", None, None, None),
    ],
)
def test_what_an_image_is_called(reference: str, path: Any, host: Any, flat: Any) -> None:
    """In each layout; tag and digest stay, and what lies there already is left."""
    for layout, expected in (("path", path), ("host", host), ("flat", flat)):
        registry = Registry(SITE, layout)
        target = registry.target(reference)
        assert target == ("%s/%s" % (SITE, expected) if expected else reference)
        assert registry.has(target) and registry.target(target) == target


def test_the_longest_exception_counts() -> None:
    """For a whole name or its beginning, not for half a word; Docker's short names too."""
    registry = Registry(SITE, exceptions={"ghcr.io/a": "one.site/x", "ghcr.io/a/b": "two.site/y/", "mysql": "db.site/mysql-copy"})
    assert registry.target("ghcr.io/a/c:1") == "one.site/x/c:1"
    assert registry.target("ghcr.io/a/b/c:1") == "two.site/y/c:1"
    assert registry.target("ghcr.io/ab/c:1") == SITE + "/ab/c:1"
    assert registry.target("mysql:8.0") == "db.site/mysql-copy:8.0"
    assert registry.has("db.site/mysql-copy:8.0") and not registry.has("db.site/other:1")
    assert registry.has("db.site/mysql-copy") and registry.has("db.site/mysql-copy" + DIGEST) and not registry.has("db.site/mysql-copy2:1")


@pytest.mark.parametrize(
    ("name", "full"), [("x", "docker.io/library/x"), ("a/x", "docker.io/a/x"), ("docker.io/x", "docker.io/x"), ("q.io/x", "q.io/x")]
)
def test_docker_leaves_out_what_goes_without_saying(name: str, full: str) -> None:
    """A name with its host, as it is pulled."""
    assert full_name(name) == full


@pytest.mark.parametrize(
    "address", ["https://registry.site", "registry.site/Big", "registry.site:x", "registry.site/a:1", "registry.site/"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """Before anything is rewritten."""
    with pytest.raises(EngineError, match="no address of a registry"):
        Registry(address).check()


def test_a_layout_that_is_none_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(EngineError, match="no such layout") as refused:
        Registry(SITE, "tree").check()
    assert refused.value.expected == "path or host or flat"


# ------------------------------------------------------------------ objects


def rendered(*objects: KubeObject) -> Render:
    """A render of these."""
    return Render("r", {ref_of(obj): RenderedObject("katib", obj, False) for obj in objects}, "d", 0.0, 0)


def release(**facts: Any) -> Release:
    """A release that knows only this about images."""
    return replace(Catalogue.load().release("26.03"), **{"compiled_images": (), "registry_lists": (), **facts})


def pod(image: str, **more: Any) -> KubeObject:
    """A Deployment with one container."""
    containers = [{"name": "main", "image": image, **more}]
    return {
        "apiVersion": "v1",
        "kind": "Deployment",
        "metadata": {"name": "x", "namespace": "n"},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def config(data: Mapping[str, str]) -> KubeObject:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": dict(data)}


def data_after(data: Mapping[str, str], **facts: Any) -> Mapping[str, str]:
    """The same ConfigMap in the site's registry."""
    obj = config(data)
    found: Mapping[str, str] = switched(rendered(obj), Registry(SITE), release(**facts)).objects[ref_of(obj)].obj["data"]
    return found


def test_every_kind_of_text_keeps_its_form() -> None:
    """Only names change: comments, order and quotes are those of the release."""
    before = {
        "ui.yaml": "# ghcr.io/a/b:1 is the default\nimage:\n  value: ghcr.io/a/b:1\n  options:\n  - ghcr.io/a/b:1\n  - ghcr.io/a/b:1.2\n",
        "values": json.dumps({"global": {"hub": "gcr.io/mesh", "tag": "1", "proxy": {"image": "proxy"}, "proxyv": "proxy"}}, indent=1),
        "explainers": '{"art": {"image" : "k/art", "defaultImageVersion": "latest"}}',
        "sync.py": 'import os\nX_IMAGE = "ghcr.io/a/front"\nX_TAG = "2"\n',
        "config": "{{ if .X }}\n  image: busybox:1.28\n{{ end }}\n",
    }
    assert data_after(before) == {
        "ui.yaml": before["ui.yaml"]
        .replace("ghcr.io/a/b:1\n", SITE + "/a/b:1\n")
        .replace("ghcr.io/a/b:1.2", SITE + "/a/b:1.2")
        .replace("ghcr.io/a/b:1 is", SITE + "/a/b:1 is"),
        "values": before["values"].replace('"image": "proxy"', '"image": "%s/mesh/proxy:1"' % SITE),
        "explainers": before["explainers"].replace("k/art", SITE + "/k/art"),
        "sync.py": before["sync.py"].replace("ghcr.io/a/front", SITE + "/a/front"),
        "config": before["config"].replace("busybox:1.28", SITE + "/library/busybox:1.28"),
    }


def test_twice_is_once() -> None:
    """What lies in the registry already is left as it is, and so is what names no image."""
    objects = [pod("a/b:1", args=["--x-image=q.io/y:2", "--other"]), config({"note": "no image here", "cacheImage": "z"})]
    once = switched(rendered(*objects), Registry(SITE), release())
    assert switched(once, Registry(SITE), release()).objects == once.objects
    assert once.digest != "d" and once.digest != switched(rendered(*objects), Registry(SITE, "flat"), release()).digest
    plain = config({"note": "no image here"})
    assert switched(rendered(plain), Registry(SITE), release()).objects[ref_of(plain)].obj is plain


@pytest.mark.parametrize(
    ("obj", "left", "path"),
    [
        (config({"page": "see ghcr.io/a/b:1 for more"}), "ghcr.io/a/b:1", "data.page"),
        (config({"script": "docker pull quay.io/a/b%s" % DIGEST}), "quay.io/a/b" + DIGEST, "data.script"),
        (pod("a/b:1", command=["sh", "-c", "run ghcr.io/a/c:2 now"]), "ghcr.io/a/c:2", "spec.template.spec.containers[0].command[2]"),
    ],
)
def test_what_no_rule_knows_ends_the_run(obj: KubeObject, left: str, path: str) -> None:
    """With the object, the place and what to do; a name that an exception keeps where it is does not."""
    with pytest.raises(EngineError, match="another registry is left") as refused:
        switched(rendered(obj), Registry(SITE), release())
    assert refused.value.subject == str(ref_of(obj)) and refused.value.found == "%s in %s" % (left, path)
    assert "kubeflow_registry_exceptions" in refused.value.next_step
    host = left.split("/")[0]
    assert switched(rendered(obj), Registry(SITE, exceptions={host: host}), release())


def test_two_images_of_one_name_are_refused() -> None:
    """Else one of them would be the other; with the host in the name they are two."""
    objects = [pod("ghcr.io/a/b:1"), config({"cacheImage": "quay.io/a/b:1"})]
    with pytest.raises(EngineError, match="two images get the same name") as refused:
        switched(rendered(*objects), Registry(SITE), release())
    assert refused.value.subject == SITE + "/a/b:1" and "ghcr.io/a/b:1 and quay.io/a/b:1" in refused.value.found
    assert switched(rendered(*objects), Registry(SITE, "host"), release())


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (None, ["--init-image=%s/library/alpine:3.10" % SITE]),
        (["--a"], ["--a", "--init-image=%s/library/alpine:3.10" % SITE]),
        (["--init-image=own.io/x:1"], ["--init-image=%s/x:1" % SITE]),
    ],
)
def test_a_program_is_told_what_its_code_names(args: Any, expected: Any) -> None:
    """As an argument; one that the release or a patch has already counts."""
    known = CompiledImage("alpine:3.10", "katib", DEPLOYMENT, "main", "--init-image")
    obj = pod("a/b:1", **({"args": args} if args is not None else {}))
    after = switched(rendered(obj), Registry(SITE), release(compiled_images=(known,))).objects[DEPLOYMENT].obj
    container: Dict[str, Any] = after["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == expected
    assert (
        "args" not in obj["spec"]["template"]["spec"]["containers"][0] or obj["spec"]["template"]["spec"]["containers"][0]["args"] == args
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "dev.local,registry.site:5000"),
        ({"skip": "my.io, registry.site:5000"}, "my.io,registry.site:5000"),
        ({"skip": "my.io"}, "my.io,registry.site:5000"),
    ],
)
def test_the_registry_is_put_into_lists(before: Dict[str, str], after: str) -> None:
    """After what the program would take by itself, and once."""
    known: Tuple[RegistryList, ...] = (RegistryList(ObjectRef("", "ConfigMap", "n", "c"), "skip", "dev.local"),)
    assert data_after(before, registry_lists=known) == {"skip": after}
