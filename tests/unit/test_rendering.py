# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens around kustomize: its identity, its errors, the cache, the slots, private folders, and the checks."""

from __future__ import annotations

import copy
import fcntl
import json
import os
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import (
    Component,
    NamespaceFix,
    ObjectMatch,
    Release,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.kustomize import (
    PREFIX,
    Slots,
    identify,
    meaning,
    sweep,
    workspace,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.overlay import declaration
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rendering import (
    Kept,
    Render,
    Rendered,
    assemble,
    render,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.scopes import Scopes
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.sources import Closure, SourceTree

COMPONENT = Component("web", "Web", "kubeflow", "v9.9.9", ("web",), (), True)
RELEASE = Release(
    name="v9.9.9",
    title="Small",
    catalogue="kubeflow",
    notes=(),
    kubernetes_minimum="1.30",
    kubernetes_tested=("1.34",),
    kustomize_version="5.7.1",
    tree="main",
    sources={},
    remotes={},
    components={"web": COMPONENT},
    namespaces=(NamespaceFix(ObjectMatch("", "ConfigMap", "", "config-*"), "kubeflow", "upstream forgot it"),),
    modes=(),
    webhooks={},
    health={},
)
CRD: KubeObject = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.x.io"},
    "spec": {"group": "x.io", "scope": "Cluster", "names": {"kind": "Thing"}},
}


def _obj(kind: str, name: str, namespace: str = "", api: str = "v1") -> KubeObject:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def _assemble(*components: Tuple[str, List[KubeObject]]) -> Dict[str, KubeObject]:
    found = assemble(RELEASE, [(name, Rendered(copy.deepcopy(objects), "", frozenset())) for name, objects in components])
    return {str(ref): entry.obj for ref, entry in found.items()}


# --- the checks ---


def test_the_label_is_in_the_objects_metadata_only() -> None:
    """A label in a pod template would restart pods."""
    deployment = {**_obj("Deployment", "x", "kubeflow", "apps/v1"), "spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}
    found = _assemble(("web", [deployment]))["Deployment.apps kubeflow/x"]
    assert found["metadata"]["labels"] == {COMPONENT_LABEL: "web"}
    assert found["spec"] == deployment["spec"]


def test_an_object_of_two_components_names_both() -> None:
    """Otherwise each run of one would undo the other."""
    with pytest.raises(EngineError) as error:
        _assemble(("web", [_obj("Service", "x", "kubeflow")]), ("base", [_obj("Service", "x", "kubeflow")]))
    assert "Service kubeflow/x" in str(error.value)
    assert "by component web and by component base" in str(error.value)


def test_a_namespaced_object_without_namespace_is_refused() -> None:
    """It would land wherever the kubeconfig points to."""
    with pytest.raises(EngineError, match="web: Service x: has no namespace"):
        _assemble(("web", [_obj("Service", "x")]))


def test_release_data_may_say_where_an_object_belongs() -> None:
    """v1.10.2 has one such ConfigMap, with a hash in its name."""
    assert list(_assemble(("web", [_obj("ConfigMap", "config-9h2h2b6hbk")]))) == ["ConfigMap kubeflow/config-9h2h2b6hbk"]


def test_cluster_wide_objects_have_no_namespace() -> None:
    """kustomize sets it everywhere and the API server drops it, which would look like a change for ever."""
    objects = [_obj("ClusterRole", "x", "kubeflow", "rbac.authorization.k8s.io/v1"), CRD, _obj("Thing", "y", "kubeflow", "x.io/v1")]
    assert list(_assemble(("web", objects)))[::2] == ["ClusterRole.rbac.authorization.k8s.io x", "Thing.x.io y"]


def test_the_scope_of_an_unknown_kind_is_not_guessed() -> None:
    """Its definition may be of a component that is not in this run."""
    scopes = Scopes([CRD])
    assert scopes.namespaced("x.io", "Thing") is False
    assert scopes.namespaced("y.io", "Thing") is None
    assert scopes.namespaced("", "Service") is True
    assert scopes.namespaced("", "Namespace") is False
    assert list(_assemble(("web", [_obj("Other", "x", "kubeflow", "y.io/v1")]))) == ["Other.y.io kubeflow/x"]


@pytest.mark.parametrize("obj", [_obj("Namespace", "$(profile-name)"), _obj("Service", "x", "$(namespace)")], ids=["name", "namespace"])
def test_a_variable_left_in_a_name_is_refused(obj: KubeObject) -> None:
    """kustomize 5.8.1 leaves $(profile-name) in the demo tenant of v1.10.2."""
    with pytest.raises(EngineError, match="a variable of kustomize is left") as error:
        _assemble(("web", [obj]))
    assert "$(" in str(error.value) and "kustomize 5.7.1" in str(error.value)


# --- which kustomize ---


def _program(folder: Path, version: str) -> Path:
    """A program that says its version, and counts how often it was asked."""
    path = folder / "kustomize"
    path.write_text("#!/bin/sh\necho x >> %s\necho %s\n" % (folder / "asked", version))
    path.chmod(0o755)
    return path


def test_ac13_the_wrong_kustomize_is_refused(tmp_path: Path) -> None:
    """AC-13: with the version that the release data wants."""
    with pytest.raises(EngineError) as error:
        identify(_program(tmp_path, "v5.8.1"), "5.7.1", tmp_path / "cache")
    assert "Expected: 5.7.1" in str(error.value) and "Found: 5.8.1" in str(error.value)
    assert "kubeflow_kustomize" in str(error.value)


def test_a_missing_kustomize_is_named_with_the_wanted_version(tmp_path: Path) -> None:
    """Also one that cannot be run."""
    with pytest.raises(EngineError, match="kustomize 5.7.1"):
        identify(tmp_path / "none", "5.7.1", tmp_path / "cache")
    (tmp_path / "text").write_text("no program")
    with pytest.raises(EngineError, match="cannot be run"):
        identify(tmp_path / "text", "5.7.1", tmp_path / "cache")


def test_kustomize_is_asked_for_its_version_once(tmp_path: Path) -> None:
    """A no-op run starts no process; another binary at the same place is noticed."""
    path = _program(tmp_path, "v5.7.1")
    first = identify(path, "5.7.1", tmp_path / "cache")
    assert identify(path, "5.7.1", tmp_path / "cache") == first
    assert (tmp_path / "asked").read_text() == "x\n"
    _program(tmp_path, "v5.8.11")
    with pytest.raises(EngineError, match="wrong version"):
        identify(path, "5.7.1", tmp_path / "cache")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "Error: accumulating resources: accumulation err='accumulating resources from '../a': evalsymlink failure on '/t/a'"
            " : lstat /t/a: no such file or directory': must build at directory: not a valid directory",
            "no such file: /t/a",
        ),
        ("Error: resource with name web does not match a config with the following GVK [x]", "no workload is named web"),
        (
            "Error: replace operation does not apply: doc is missing path: /spec/x: missing value",
            "replace: there is no /spec/x",
        ),
        ("Error: something new", "something new"),
    ],
)
def test_kustomizes_errors_are_translated(text: str, cause: str) -> None:
    """The first cause, which kustomize says last or in the middle."""
    assert meaning(text) == cause


# --- the cache ---


class Stage:
    """A tree, a kustomize that copies a file as its result, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.result = folder / "result.yaml"
        self.log = folder / "log"
        self.log.touch()
        self.program = folder / "kustomize"
        self.program.write_text(
            '#!/bin/sh\nif [ "$1" = version ]; then echo v5.7.1; exit; fi\nread -r overlay < "$2/kustomization.yaml"\n'
            'printf "%%s %%s\\n" "$2" "$overlay" >> %s\nwhile IFS= read -r line; do echo "$line"; done < %s\n' % (self.log, self.result)
        )
        self.program.chmod(0o755)
        self.result.write_text("kind: Service\napiVersion: v1\nmetadata: {name: x, namespace: kubeflow}\n")

    def render(self, closure: str = "one", **site: Any) -> Render:
        """Render the one component."""
        tree = SourceTree(self.folder, closure, {"web": Closure(closure, 1)})
        sites = {"web": declaration("web", **site)} if site else {}
        return render(RELEASE, [COMPONENT], sites, tree, kustomize=self.program, cache_dir=self.cache, progress=Silent())

    @property
    def builds(self) -> List[str]:
        """One line per build: folder and overlay."""
        return self.log.read_text().splitlines()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage of its own for each test."""
    return Stage(tmp_path)


def test_what_was_rendered_is_not_rendered_again(stage: Stage) -> None:
    """A no-op run starts no kustomize."""
    first, second = stage.render(), stage.render()
    assert (first.cached, second.cached, len(stage.builds)) == (0, 1, 1)
    assert first.objects == second.objects and first.digest == second.digest


@pytest.mark.parametrize(
    "change", [{"closure": "two"}, {"images": {"a": "b:1"}}, {"replicas": {"x": 2}}], ids=["sources", "images", "replicas"]
)
def test_what_decides_a_render_is_in_its_key(stage: Stage, change: Dict[str, Any]) -> None:
    """A stale render would install what nobody asked for."""
    container = "spec: {template: {spec: {containers: [{image: 'b:1'}]}}}\n"
    stage.result.write_text("kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x, namespace: kubeflow}\n" + container)
    stage.render()
    assert stage.render(**change).cached == 0
    assert stage.render(**change).cached == 1


def test_another_kustomize_renders_anew(stage: Stage) -> None:
    """Two builds of the same version may differ."""
    stage.render()
    stage.program.write_text(stage.program.read_text() + "# another\n")
    assert stage.render().cached == 0


def test_a_damaged_render_is_made_anew(stage: Stage) -> None:
    """A full disk or a lost machine leaves half files."""
    stage.render()
    for path in (stage.cache / "renders").glob("*.json"):
        if path.stem != "kustomize":
            path.write_bytes(path.read_bytes()[:-5])
    assert stage.render().cached == 0


def test_the_cache_stays_within_its_limit(tmp_path: Path) -> None:
    """What was not used for longest goes first; a render in use stays."""
    kept = Kept(tmp_path)
    for number in range(5):
        kept.store(str(number), Rendered([], "", frozenset(), b'["' + b"x" * 1000 + b'"]'))
        os.utime(tmp_path / ("%d.json" % number), (number, number))
    assert kept.load("0") is not None  # used now
    kept.trim(2500)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "4.json"]


def test_left_over_parts_are_removed(tmp_path: Path) -> None:
    """Of runs that were killed while writing, but not of one that is writing now."""
    (tmp_path / ".new-old").touch()
    os.utime(tmp_path / ".new-old", (1, 1))
    (tmp_path / ".new-now").touch()
    Kept(tmp_path).trim(1000)
    assert [path.name for path in tmp_path.iterdir()] == [".new-now"]


# --- private patches ---


def test_private_patches_are_built_in_a_private_folder_that_goes(stage: Stage) -> None:
    """Also the folder of a run that was killed, at the next run."""
    patch = {"kind": "Service", "metadata": {"name": "x"}, "spec": {"a": "canary-77"}}
    stage.result.write_text(
        "kind: Service\napiVersion: v1\nmetadata: {name: x, namespace: kubeflow,"
        " annotations: {mlplatform.kubeflow/patch-0: ''}}\nspec: {a: canary-77}\n"
    )
    result = stage.render(patches=[patch])
    entry = next(iter(result.objects.values()))
    assert entry.user_patched and "annotations" not in entry.obj["metadata"]
    assert stage.render(patches=[patch]).cached == 0
    folder, overlay = stage.builds[0].split(" ", 1)
    assert "canary-77" in overlay and not Path(folder).exists()
    assert [p for p in stage.cache.rglob("*") if p.is_file() and b"canary-77" in p.read_bytes()] == []


def test_a_private_folder_is_for_its_user_only(tmp_path: Path) -> None:
    """It holds what must not be read by others."""
    with workspace(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.name.startswith(PREFIX)
    assert not folder.exists()


def test_folders_of_killed_runs_are_swept(tmp_path: Path) -> None:
    """One that is in use is left alone, one whose holder is gone is removed."""
    with workspace(tmp_path) as used:
        stale = used.parent / (used.name[: len(PREFIX) + len(str(os.getuid())) + 1] + "stale")
        stale.mkdir()
        (stale / "secret").touch()
        sweep(tmp_path)
        assert used.exists() and not stale.exists()


def test_a_render_sweeps_before_anything_else(stage: Stage) -> None:
    """Also one that finds everything in the cache."""
    stage.render()
    with workspace(stage.folder) as used:
        stale = used.parent / (used.name[: len(PREFIX) + len(str(os.getuid())) + 1] + "killed")
    stale.mkdir()
    assert stage.render().cached == 1
    assert not stale.exists()


# --- slots ---


def test_no_more_builds_than_slots(tmp_path: Path) -> None:
    """Over everything that shares the cache: the clusters of a run are processes of their own."""
    running, most = [0], [0]
    lock = threading.Lock()

    def work(number: int) -> None:
        with Slots(tmp_path, 2).one(number % 2):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(0.01)
            with lock:
                running[0] -= 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [2] and running == [0]


def test_a_free_slot_is_taken_though_the_preferred_one_is_busy(tmp_path: Path) -> None:
    """No core idles while work waits."""
    slots = Slots(tmp_path, 2)
    with open(tmp_path / "slots" / "0", "w", encoding="utf-8") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        with slots.one(0):
            pass


def test_two_runs_at_once_render_once(stage: Stage) -> None:
    """Two clusters of one playbook want the same; the second takes what the first made."""
    threads = [threading.Thread(target=stage.render) for _turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stage.builds) == 1


# --- errors of a component ---


def test_the_first_failing_component_is_the_error(stage: Stage) -> None:
    """kustomize's refusal with its component, and nothing kept."""
    stage.program.write_text(
        '#!/bin/sh\nif [ "$1" = version ]; then echo v5.7.1; exit; fi\necho "# Warning: x" >&2\necho "Error: y" >&2\nexit 1\n'
    )
    with pytest.raises(EngineError) as error:
        stage.render()
    assert str(error.value).startswith("web: kustomize: y")
    assert "Warning" not in str(error.value)
    assert [path.name for path in (stage.cache / "renders").iterdir()] == ["kustomize.json"]


def test_a_patch_by_name_that_means_two_objects_is_refused(stage: Stage) -> None:
    """Which one was meant is not guessed."""
    one = "kind: Role\napiVersion: rbac.authorization.k8s.io/v1\nmetadata: {name: x, namespace: %s, annotations: {%s: ''}}\n"
    mark = "mlplatform.kubeflow/patch-0"
    stage.result.write_text(one % ("kubeflow", mark) + "---\n" + one % ("istio-system", mark))
    with pytest.raises(EngineError, match="more than one object") as error:
        stage.render(patches=[{"kind": "Role", "metadata": {"name": "x"}, "rules": []}])
    assert "kubeflow/x" in str(error.value) and "istio-system/x" in str(error.value)
    assert "metadata.namespace" in str(error.value)


def test_an_image_that_no_container_has_is_named(stage: Stage) -> None:
    """A mirror's rewrite that does nothing is found on the site with the public registry cut off."""
    with pytest.raises(EngineError) as error:
        stage.render(images={"docker.io/none": "r:1"})
    assert "web_images['docker.io/none']" in str(error.value)


def test_the_overlay_is_written_as_json(stage: Stage) -> None:
    """Whatever a variable holds, it cannot break out of its place."""
    stage.result.write_text(
        "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x, namespace: kubeflow}\nspec: {containers: [{image: 'r/y:1'}]}\n"
    )
    stage.render(images={"a - [\n": "r/y:1"})
    overlay = json.loads(stage.builds[0].split(" ", 1)[1])
    assert overlay["images"] == [{"name": "a - [\n", "newName": "r/y", "newTag": "1"}]
