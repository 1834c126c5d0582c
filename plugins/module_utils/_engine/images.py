# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every image that rendered objects can ever pull, and where each of them is named.

Images are found by the kind of place that they are named in, wherever such a place is: what a release calls its images is
nowhere in here. Images that no object names, because a program has their names in it, are in release data.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from .objects import KubeObject, ObjectRef, load_yaml, not_yaml
from .overlay import Image
from .release_data import CompiledImage


class Where(str, Enum):
    """The kinds of places that images are named in."""

    FIELD = "field"  # image: of a container, or of any custom resource
    ENVIRONMENT = "environment"
    ARGUMENT = "argument"
    CONFIG = "config"  # a key of a ConfigMap, which may become a program's environment
    DOCUMENT = "document"  # YAML or JSON inside a text
    SPLIT = "split"  # name here, registry and tag elsewhere
    TEMPLATE = "template"  # a text that becomes YAML later
    PROGRAM = "program"  # code inside a ConfigMap
    ANNOTATION = "annotation"
    COMPILED = "compiled"  # in a program's binary; release data knows it


@dataclass(frozen=True, order=True)
class Place:
    """Where an image is named.

    :ivar object: full name of the object. :ivar path: inside of it: ``spec.template.spec.containers[0].image``.
    """

    object: str
    path: str
    where: Where
    component: str = ""


@dataclass
class Use:
    """One image and all its places."""

    reference: str
    places: List[Place] = field(default_factory=list)

    @property
    def floating(self) -> bool:
        """Whether what it names can be another image tomorrow: it has no tag, or ``latest``, and no digest."""
        image = Image.parse(self.reference)
        return not image.digest and image.tag in ("", "latest")


# A reference as the OCI and Docker know it [distribution/reference]: host, path, tag, digest.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = r"(?:%s(?:\.%s)+(?::\d+)?|localhost(?::\d+)?|%s:\d+)" % (_LABEL, _LABEL, _LABEL)
_NAME = r"(?:%s/)?%s(?:/%s)*" % (_HOST, _PART, _PART)
_TAG, _DIGEST = r":[\w][\w.-]{0,127}", r"@sha256:[0-9a-f]{64}"
REFERENCE = re.compile(r"%s(?:%s)?(?:%s)?" % (_NAME, _TAG, _DIGEST))
# What is certainly one, whatever stands around it: a registry's host and a tag or digest.
CERTAIN = re.compile(r"(?<![\w./:@-])%s(?:/%s)+(?:%s(?:%s)?|%s)(?![\w/:@-])" % (_HOST, _PART, _TAG, _DIGEST, _DIGEST))
# A key that holds an image: image, cacheImage, queue-sidecar-image, TENSORBOARD_IMAGE, VIEWER_IMAGE_NAME.
_KEY = re.compile(r"(?:^|[a-z0-9_.-])(?:image|Image|IMAGE)(?:_NAME|Name)?$")
_ARGUMENT = re.compile(r"--?[\w-]*image(?:=(.*))?$", re.I)
_TEMPLATE_LINE = re.compile(r"^[ \t-]*image:[ \t]*[\"']?([^\s\"'{}$]+)[\"']?[ \t]*$", re.M)
_IN_CODE = re.compile(r"\b(\w+_)(IMAGE|TAG)\b[\"']?\s*[=,:]\s*[\"']([^\"'\s]*)[\"']")
IMPLIED = "docker.io"
DOCUMENTED = "_"  # keys of ConfigMaps that begin like this explain the others [Knative: _example]
Path = Tuple[Any, ...]


class Found(NamedTuple):
    """An image in an object.

    :ivar path: keys and numbers; those behind a text lead into what the text holds.
    :ivar text: what stands there: the reference, or a part of it.
    :ivar bare: its tag stands elsewhere, and is added to what stands here.
    """

    reference: str
    path: Path
    where: Where
    text: str
    bare: bool = False


def find(objects: Mapping[ObjectRef, Tuple[str, KubeObject]], compiled: Sequence[CompiledImage] = ()) -> List[Use]:
    """Every image, sorted; places too.

    :param objects: the component and the content of each.
    """
    uses: Dict[str, Use] = {}

    def add(reference: str, place: Place) -> None:
        use = uses.setdefault(reference, Use(reference))
        if place not in use.places:
            use.places.append(place)

    for ref, (component, obj) in objects.items():
        for one in images_of(obj):
            add(one.reference, Place(str(ref), path_text(one.path), one.where, component))
    for known in compiled:
        add(known.reference, Place(str(known.workload), known.argument, Where.COMPILED, known.component))
    for use in uses.values():
        use.places.sort()
    return [uses[reference] for reference in sorted(uses)]


def images_of(obj: KubeObject) -> Iterator[Found]:
    """The images that one object names, with the path of each."""
    kind = obj.get("kind")
    if kind == "CustomResourceDefinition":  # a schema names kinds of fields, no images
        return
    annotations = obj["metadata"].get("annotations") or {}
    yield from _annotations(annotations, ("metadata", "annotations"))
    if kind == "ConfigMap":
        yield from _config_map(obj)
        return
    body = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    yield from _structure(body, (), Where.FIELD)


def path_text(path: Path) -> str:
    """``spec.containers[0].image``; a key that is no plain word is quoted: ``data["config.yaml"]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += "[%d]" % part
        elif re.fullmatch(r"[A-Za-z_][\w-]*", str(part)):
            text += ("." if text else "") + str(part)
        else:
            text += "[%s]" % json.dumps(str(part))
    return text


# ------------------------------------------------------------------ what a text is


def reference_in(text: Any) -> str:
    """The reference that a text is as a whole; "" if it is none."""
    return text if isinstance(text, str) and REFERENCE.fullmatch(text) else ""


def _is_certain(text: Any) -> bool:
    """A reference that nothing else looks like, even where no key says that it is one."""
    return isinstance(text, str) and bool(CERTAIN.fullmatch(text))


def registry_of(reference: str) -> str:
    """The registry that a reference is pulled from; one without a host means Docker's own."""
    first, slash, _rest = reference.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else IMPLIED


# ------------------------------------------------------------------ structures


def _structure(value: Any, path: Path, where: Where, around: Tuple[Mapping[str, Any], ...] = ()) -> Iterator[Found]:
    """Images in nested mappings and lists.

    :param around: the mappings that this is in, the innermost last.
    """
    if isinstance(value, dict):
        yield from _mapping(value, path, where, (*around, value))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _listed(value, at, item, (*path, at), where, around)
    elif isinstance(value, str):
        yield from _text(value, path, where)


def _mapping(value: Mapping[str, Any], path: Path, where: Where, around: Tuple[Mapping[str, Any], ...]) -> Iterator[Found]:
    if isinstance(value.get("name"), str) and isinstance(value.get("value"), str):  # a variable of an environment
        name, text = value["name"], value["value"]
        if (_KEY.search(name) and reference_in(text)) or _is_certain(text):
            yield Found(text, (*path, "value"), Where.ENVIRONMENT if where is Where.FIELD else where, text)
            return
    for key, item in value.items():
        here = (*path, key)
        if key == "annotations" and isinstance(item, dict):
            yield from _annotations(item, here)
        elif isinstance(item, str) and _KEY.search(str(key)):
            reference, bare = _keyed(item, value, around)
            if reference:
                yield Found(reference, here, where if reference == item else Where.SPLIT, item, bare)
            else:
                yield from _text(item, here, where)
        else:
            yield from _structure(item, here, where, around)


def _keyed(text: str, siblings: Mapping[str, Any], around: Tuple[Mapping[str, Any], ...]) -> Tuple[str, bool]:
    """What the value of a key that holds an image stands for ("" if it is none), and whether its tag stands beside it."""
    if not reference_in(text):
        return "", False
    image = Image.parse(text)
    if image.tag or image.digest:
        return text, False
    version = siblings.get("defaultImageVersion") or siblings.get("tag")
    if isinstance(version, (str, int, float)) and str(version):
        return _joined(_from(around, "hub"), text, str(version)), True
    if "/" in text:
        return text, False
    return _joined(_from(around, "hub"), text, _from(around, "tag")), False


def _from(around: Tuple[Mapping[str, Any], ...], key: str) -> str:
    """The nearest value of a key around a place; what a chart calls ``global`` counts for all beside it."""
    for mapping in reversed(around):
        for one in (mapping, mapping.get("global")):
            value = one.get(key) if isinstance(one, dict) else None
            if isinstance(value, (str, int, float)) and str(value):
                return str(value)
    return ""


def _joined(hub: str, name: str, tag: str) -> str:
    text = ("%s/%s" % (hub, name) if hub and "/" not in name else name) + (":" + tag if tag else "")
    return reference_in(text)


def _listed(items: Sequence[Any], at: int, item: Any, path: Path, where: Where, around: Tuple[Mapping[str, Any], ...]) -> Iterator[Found]:
    """An item of a list: an argument, one of several images, or anything."""
    if not isinstance(item, str):
        yield from _structure(item, path, where, around)
        return
    match = _ARGUMENT.match(item)
    before = _ARGUMENT.match(str(items[at - 1])) if at else None
    if match and match.group(1) and reference_in(match.group(1)):
        yield Found(match.group(1), path, Where.ARGUMENT, match.group(1))
    elif before and before.group(1) is None and reference_in(item):
        yield Found(item, path, Where.ARGUMENT, item)
    elif _is_certain(item) or (_under_images(path) and Image.parse(item).tag and reference_in(item)):
        yield Found(item, path, where, item)
    else:
        yield from _text(item, path, where)


def _under_images(path: Path) -> bool:
    """Whether a key above says that images are listed here."""
    return any(isinstance(part, str) and "image" in part.lower() for part in path[-4:])


# ------------------------------------------------------------------ texts


def _text(text: str, path: Path, where: Where) -> Iterator[Found]:
    """A text of any kind: a reference that is certain, or YAML, code and templates with images in it."""
    if _is_certain(text) or (_under_images(path) and Image.parse(text).tag and "/" in text and reference_in(text)):
        yield Found(text, path, where, text)
    elif "\n" in text or text[:1] in "{[":
        yield from _document(text, path)


def _document(text: str, path: Path) -> Iterator[Found]:
    """Images in a text of several lines."""
    if not re.search("image", text, re.I) and not CERTAIN.search(text):
        return
    inner = _parsed(text)
    if inner is not None:
        yield from _structure(inner, path, Where.DOCUMENT)
        return
    seen = set()
    for found in (*_code(text, path), *(Found(one, path, Where.TEMPLATE, one) for one in _lines(text))):
        if found.reference not in seen:
            seen.add(found.reference)
            yield found


def _parsed(text: str) -> Any:
    """A text as YAML, which JSON is too; None if it is no mapping and no list, or has parts that are filled in later."""
    if re.search(r"\{\{", text) or re.search(r"^\s*(def|import|from) ", text, re.M):
        return None
    try:
        documents = load_yaml(text)
    except not_yaml():
        return None
    inner = documents[0] if len(documents) == 1 else documents
    return inner if isinstance(inner, (dict, list)) else None


def _lines(text: str) -> Iterator[str]:
    for match in _TEMPLATE_LINE.finditer(text):
        if reference_in(match.group(1)) and Image.parse(match.group(1)).tag:
            yield match.group(1)
    for match in CERTAIN.finditer(text):
        yield match.group()


def _code(text: str, path: Path) -> Iterator[Found]:
    """``X_IMAGE`` and ``X_TAG`` in a program's text belong together."""
    found: Dict[str, Dict[str, str]] = {}
    for match in _IN_CODE.finditer(text):
        found.setdefault(match.group(1), {}).setdefault(match.group(2), match.group(3))
    for one in found.values():
        name = one.get("IMAGE", "")
        if reference_in(name) and "/" in name:
            bare = not Image.parse(name).tag and bool(one.get("TAG"))
            yield Found(_joined("", name, one["TAG"]) if bare else name, path, Where.PROGRAM, name, bare)


def _annotations(annotations: Mapping[str, Any], path: Path) -> Iterator[Found]:
    for key, value in annotations.items():
        if not isinstance(value, str):
            continue
        if (_KEY.search(key) and reference_in(value)) or _is_certain(value):
            yield Found(value, (*path, key), Where.ANNOTATION, value)
        elif "\n" in value or value[:1] in "{[":
            yield from (one._replace(where=Where.ANNOTATION) for one in _document(value, (*path, key)))


def _config_map(obj: KubeObject) -> Iterator[Found]:
    data: Mapping[str, Any] = obj.get("data") or {}
    for key, value in data.items():
        if not isinstance(value, str) or key.startswith(DOCUMENTED):
            continue
        path = ("data", key)
        if _KEY.search(key) and reference_in(value):
            yield Found(value, path, Where.CONFIG, value)
        else:
            yield from _text(value, path, Where.CONFIG)
