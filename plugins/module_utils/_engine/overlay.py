# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role's variables make of a component: the kustomization that is put around upstream's folders.

Patches are handed to kustomize with a target, also those that a user wrote without one: then kustomize itself decides
what a patch matches, and a marker next to each patch shows afterwards which objects it was (see :mod:`.rendering`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from .errors import EngineError
from .handwritten import NotYaml, parse
from .objects import group_of

MARKER = "mlplatform.kubeflow/patch-%d"  # an annotation, never left in a render
_TARGET_KEYS = ("group", "version", "kind", "name", "namespace", "labelSelector", "annotationSelector")
_OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")
_DIGEST = re.compile(r"^[a-z0-9]+:[0-9a-f]{32,}$")


@dataclass(frozen=True)
class Patch:
    """One patch of a user.

    :param text: the patch itself as JSON (one document): a mapping is merged, a list is JSON 6902.
    :param target: kustomize's selector, values anchored regular expressions.
    :param origin: where it comes from, for errors: ``katib_patches[0]`` or a file name.
    :param wanted: what it is meant for, for errors: ``Deployment katib-controller``.
    :param single: the user named one object, so that more than one match is an error.
    """

    text: str
    target: Mapping[str, str]
    origin: str
    wanted: str
    single: bool


@dataclass(frozen=True)
class Image:
    """An image reference in its parts; tag and digest are "" where it has none."""

    name: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, reference: str) -> Image:
        """Split ``registry:5000/a/b:tag@sha256:...``; the colon of a registry's port is no tag."""
        rest, _at, digest = reference.partition("@")
        name, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:
            return cls(rest, "", digest)
        return cls(name, tag, digest)


@dataclass(frozen=True)
class Declaration:
    """All that a site changes of one component.

    :param images: name in upstream's manifests -> new reference.
    :param replicas: name of a workload -> how many.
    :param private: it may hold secrets, so that neither it nor its render is ever kept.
    """

    component: str
    patches: Tuple[Patch, ...]
    images: Mapping[str, str]
    replicas: Mapping[str, int]
    private: bool


def declaration(
    component: str,
    *,
    patches: Optional[Sequence[Any]] = None,
    images: Optional[Mapping[str, str]] = None,
    replicas: Optional[Mapping[str, Union[int, str]]] = None,
    folder: Optional[Path] = None,
) -> Declaration:
    """Read and check the variables of a component role.

    :param patches: each a mapping or a text with a strategic merge patch (``kind`` and ``metadata.name``),
        ``{target: {...}, patch: ...}``, or ``{file: ..., target: {...}}``.
    :param folder: what relative file names are relative to; the current folder if not given.
    :raises EngineError: a value has the wrong shape (the variable is named), or a patch is not YAML (with the line).
    """
    found: List[Patch] = []
    variable = "%s_patches" % component
    for at, item in enumerate(_expect(patches or [], (list, tuple), variable, "a list")):
        found.extend(_patches_of(item, "%s[%d]" % (variable, at), Path(folder or ".")))
    return Declaration(
        component=component,
        patches=tuple(found),
        images=_images(images or {}, "%s_images" % component),
        replicas=_replicas(replicas or {}, "%s_replicas" % component),
        private=bool(found),
    )


def _wrong(variable: str, cause: str, expected: str = "", found: str = "") -> EngineError:
    return EngineError(cause, subject=variable, expected=expected, found=found)


def _expect(value: Any, types: Any, variable: str, expected: str) -> Any:
    if not isinstance(value, types):
        raise _wrong(variable, "has the wrong type", expected, type(value).__name__)
    return value


def _images(images: Any, variable: str) -> Dict[str, str]:
    checked: Dict[str, str] = {}
    for name, reference in _expect(images, dict, variable, "a mapping of image name to new reference").items():
        where = "%s['%s']" % (variable, name)
        _expect(reference, str, where, "a text: registry/name:tag or registry/name@sha256:...")
        old, new = Image.parse(str(name)), Image.parse(str(reference))
        if old.tag or old.digest:
            raise _wrong(where, "name the image without tag or digest", old.name, str(name))
        if not new.name or re.search(r"\s", reference) or (new.digest and not _DIGEST.match(new.digest)):
            raise _wrong(where, "not an image reference", "registry/name:tag or registry/name@sha256:...", str(reference))
        checked[str(name)] = str(reference)
    return checked


def _replicas(replicas: Any, variable: str) -> Dict[str, int]:
    checked: Dict[str, int] = {}
    for name, value in _expect(replicas, dict, variable, "a mapping of workload name to a number").items():
        # A template's result is a text before ansible-core 2.19.
        count = int(value) if isinstance(value, str) and value.isdecimal() else value
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise _wrong("%s['%s']" % (variable, name), "not a number of replicas", "0, 1, 2, ...", repr(value))
        checked[str(name)] = count
    return checked


def _patches_of(item: Any, origin: str, folder: Path) -> List[Patch]:
    """The patches of one entry of the variable (a text or a file may hold several documents)."""
    target: Mapping[str, str] = {}
    content: Any = item
    if isinstance(item, dict) and ("file" in item or "patch" in item) and "kind" not in item:
        unknown = sorted(set(item) - {"file", "patch", "target"})
        if unknown or ("file" in item and "patch" in item):
            raise _wrong(origin, "unknown key", "{target, patch} or {file, target}", ", ".join(map(str, sorted(item))))
        target = _target(item["target"], origin) if "target" in item else {}
        content = item.get("patch")
        if "file" in item:
            path = folder / str(item["file"])
            origin = "%s (%s)" % (path, origin)
            content = _text_of(path, origin)
    try:
        documents = parse(content) if isinstance(content, str) else [content]
    except NotYaml as problem:
        raise _wrong(origin, "the patch is %s" % problem) from None
    if not documents:
        raise _wrong(origin, "the patch is empty")
    several = len(documents) > 1
    return [_patch(document, target, "%s document %d" % (origin, at) if several else origin) for at, document in enumerate(documents, 1)]


def _text_of(path: Path, origin: str) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise _wrong(origin, "the patch file cannot be read: %s" % problem) from problem


def _target(target: Any, origin: str) -> Dict[str, str]:
    where = origin + ".target"
    _expect(target, dict, where, "a mapping")
    unknown = sorted(str(key) for key in target if key not in _TARGET_KEYS)
    if unknown or not target:
        raise _wrong(where, "unknown key" if unknown else "is empty", ", ".join(_TARGET_KEYS), ", ".join(unknown))
    return {str(key): str(_expect(value, str, "%s.%s" % (where, key), "a text")) for key, value in target.items()}


def _patch(document: Any, target: Mapping[str, str], origin: str) -> Patch:
    if isinstance(document, list):
        return _json_patch(document, target, origin)
    _expect(document, dict, origin, "a mapping (merge patch) or a list of operations (JSON patch)")
    body = dict(document)
    # The target decides what is patched; merged in, an apiVersion would even change the object's.
    api_version = str(body.pop("apiVersion", ""))
    metadata = body.get("metadata")
    named = isinstance(metadata, dict) and isinstance(metadata.get("name"), str) and isinstance(body.get("kind"), str)
    if target:
        body["kind"] = body.get("kind") or "any"
        body["metadata"] = {"name": "any", **(metadata or {})}
        return Patch(json.dumps(body, default=str), target, origin, _spoken(target), single=False)
    if not named:
        raise _wrong(origin, "does not say what it patches", "kind and metadata.name, or a target")
    exact = {"kind": body["kind"], "name": body["metadata"]["name"]}
    if body["metadata"].get("namespace"):
        exact["namespace"] = body["metadata"]["namespace"]
    if api_version:
        exact["group"] = group_of(api_version)
    spoken = _spoken({key: value for key, value in exact.items() if value})
    selector = {key: re.escape(value) if value else "^$" for key, value in exact.items()}
    return Patch(json.dumps(body, default=str), selector, origin, spoken, single=True)


def _json_patch(operations: Sequence[Any], target: Mapping[str, str], origin: str) -> Patch:
    if not target:
        raise _wrong(origin, "a list of operations needs a target", "{target: {kind: ..., name: ...}, patch: [...]}")
    for at, operation in enumerate(operations):
        valid = isinstance(operation, dict) and operation.get("op") in _OPERATIONS and "path" in operation
        if not valid:
            raise _wrong("%s operation %d" % (origin, at), "not an operation", "a mapping with op and path")
    return Patch(json.dumps(list(operations), default=str), target, origin, _spoken(target), single=False)


def _spoken(target: Mapping[str, str]) -> str:
    """A target as a person says it: ``Deployment kubeflow/katib-controller``, then what else it asks for."""
    kind = target.get("kind", "any kind") + ("." + target["group"] if target.get("group") else "")
    name = target.get("name", "any name")
    rest = ["%s=%s" % (key, target[key]) for key in ("version", "labelSelector", "annotationSelector") if key in target]
    path = "%s/%s" % (target["namespace"], name) if target.get("namespace") else name
    return " ".join([kind, path, *rest])


def kustomization(
    bases: Sequence[str], site: Optional[Declaration], *, patches: Optional[int] = None, markers: bool = True
) -> Dict[str, Any]:
    """The overlay around a component.

    :param bases: upstream's folders, relative to the overlay.
    :param patches: how many of the user's patches to put in, from the first; all when None.
    :param markers: put a marker before each patch (also before those that are left out).
    """
    overlay: Dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(bases),
    }
    if site is None:
        return overlay
    entries: List[Dict[str, Any]] = []
    for at, patch in enumerate(site.patches):
        if markers:
            mark = {"kind": "any", "metadata": {"name": "any", "annotations": {MARKER % at: ""}}}
            entries.append({"target": dict(patch.target), "patch": json.dumps(mark)})
        if patches is None or at < patches:
            entries.append({"target": dict(patch.target), "patch": patch.text})
    overlay["patches"] = entries
    overlay["images"] = [_image_entry(name, Image.parse(new)) for name, new in sorted(site.images.items())]
    overlay["replicas"] = [{"name": name, "count": count} for name, count in sorted(site.replicas.items())]
    return {key: value for key, value in overlay.items() if value}


def _image_entry(name: str, new: Image) -> Dict[str, str]:
    entry = {"name": name, "newName": new.name, "newTag": new.tag, "digest": new.digest}
    return {key: value for key, value in entry.items() if value}
