# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One switch for every image: rendered objects with all their images in a site's own registry.

Every place that :mod:`.images` finds is rewritten, and looked at again afterwards: what could not be rewritten, or names
another registry anywhere, ends the run before anything is planned.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple

from .errors import EngineError
from .images import CERTAIN, DOCUMENTED, Found, Path, Where, images_of, path_text, registry_of
from .objects import KubeObject, ObjectRef, canonical, copied, get_path
from .overlay import Image
from .release_data import CompiledImage, RegistryList, Release
from .rendering import Render, RenderedObject

LAYOUTS = ("path", "host", "flat")
_ADDRESS = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")


@dataclass(frozen=True)
class Registry:
    """Where a site's images are.

    :ivar address: ``registry.site:5000/mlops``.
    :ivar layout: what of a name is kept: ``path`` (``kubeflow/kfp-driver``), ``host`` too (``ghcr.io/kubeflow/kfp-driver``), or
        all in one part (``flat``: ``kubeflow-kfp-driver``), for registries without folders.
    :ivar exceptions: beginning of a source's name -> what stands in its place, the longest one that fits.
    """

    address: str
    layout: str = "path"
    exceptions: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """:raises EngineError: the address or the layout cannot be used."""
        if not _ADDRESS.fullmatch(self.address):
            raise EngineError(
                "it is no address of a registry",
                subject="kubeflow_registry %s" % self.address,
                expected="host, port and path, such as registry.site:5000/mlops",
                next_step="correct it: no scheme, no tag, the path in small letters",
            )
        if self.layout not in LAYOUTS:
            raise EngineError(
                "there is no such layout",
                subject="kubeflow_registry_layout %s" % self.layout,
                expected=" or ".join(LAYOUTS),
                next_step="correct it",
            )

    def target(self, reference: str) -> str:
        """What an image is called in this registry, tag and digest as before."""
        image = Image.parse(reference)
        name = full_name(image.name)
        version = (":" + image.tag if image.tag else "") + ("@" + image.digest if image.digest else "")
        for source in sorted(self.exceptions, key=len, reverse=True):
            beginning = full_name(source.rstrip("/"))
            if name == beginning or name.startswith(beginning + "/"):
                return self.exceptions[source].rstrip("/") + name[len(beginning) :] + version
        if name == self.address or name.startswith(self.address + "/"):
            return reference
        host, _slash, path = name.partition("/")
        kept = {"path": path, "host": "%s/%s" % (host.replace(":", "-"), path), "flat": path.replace("/", "-")}[self.layout]
        return "%s/%s%s" % (self.address, kept, version)

    def has(self, reference: str) -> bool:
        """Whether an image lies where the site's images lie."""
        places = [place.rstrip("/") for place in (self.address, *self.exceptions.values())]
        return any(reference == place or reference.startswith(tuple(place + end for end in "/:@")) for place in places)


def full_name(name: str) -> str:
    """A name with its host, as it is pulled: ``mysql`` is ``docker.io/library/mysql``."""
    host = registry_of(name)
    if name.startswith(host + "/"):
        return name
    return "%s/%s" % (host, name if "/" in name else "library/" + name)


def switched(render: Render, registry: Registry, release: Release) -> Render:
    """The render with every image in the site's registry.

    :param release: knows the images that only programs name, and where the registry has to be listed.

    :raises EngineError: a place that cannot be rewritten, what still names another registry, or two sources that would get one name.
    """
    registry.check()
    objects: Dict[ObjectRef, RenderedObject] = {}
    sources: Dict[str, str] = {}
    for ref, item in _told(render.objects, registry, release).items():
        found = list(images_of(item.obj))
        for one in found:
            _no_clash(sources, one.reference, registry)
        obj = _rewritten(ref, item.obj, found, registry) if found else item.obj
        left = next(_leftovers(obj, registry), None)
        if left is not None:
            raise EngineError(
                "an image of another registry is left, which no rule knows how to rewrite",
                subject=str(ref),
                found="%s in %s" % left,
                expected="only images below %s" % registry.address,
                next_step="change it by a patch of the component, or name its source in kubeflow_registry_exceptions",
                component=item.component,
            )
        objects[ref] = item if obj is item.obj else RenderedObject(item.component, obj, item.user_patched)
    told = [render.digest, registry.address, registry.layout, dict(registry.exceptions)]
    return replace(render, objects=objects, digest=hashlib.sha256(canonical(told)).hexdigest())


def _told(objects: Mapping[ObjectRef, RenderedObject], registry: Registry, release: Release) -> Dict[ObjectRef, RenderedObject]:
    """The objects with what release data knows of: programs are told their images, and lists have the registry in them."""
    fresh = dict(objects)
    for one in release.compiled_images:
        item = fresh.get(one.workload)
        if item is not None:
            fresh[one.workload] = RenderedObject(item.component, _with_argument(item.obj, one), item.user_patched)
    for known in release.registry_lists:
        item = fresh.get(known.config_map)
        if item is not None:
            config = _with_registry(item.obj, known, registry.address.partition("/")[0])
            fresh[known.config_map] = RenderedObject(item.component, config, item.user_patched)
    return fresh


def _with_argument(workload: KubeObject, one: CompiledImage) -> KubeObject:
    """The default as an argument, which is rewritten as all others; one that is there already stays."""
    fresh: KubeObject = copied(workload)
    for container in get_path(fresh, "spec.template.spec.containers") or []:
        if container.get("name") == one.container:
            arguments = container.setdefault("args", [])
            if not any(str(item).partition("=")[0] == one.argument for item in arguments):
                arguments.append("%s=%s" % (one.argument, one.reference))
    return fresh


def _with_registry(config: KubeObject, known: RegistryList, host: str) -> KubeObject:
    fresh: KubeObject = copied(config)
    data = fresh.setdefault("data", {})
    hosts = [item.strip() for item in str(data.get(known.key) or known.default).split(",") if item.strip()]
    data[known.key] = ",".join(hosts if host in hosts else [*hosts, host])
    return fresh


def _no_clash(sources: Dict[str, str], reference: str, registry: Registry) -> None:
    target, name = registry.target(reference), full_name(reference)
    before = sources.setdefault(target, name)
    if before != name:
        raise EngineError(
            "two images get the same name in the registry",
            subject=target,
            found="%s and %s" % (before, name),
            next_step="set kubeflow_registry_layout to host, or give one of them a name in kubeflow_registry_exceptions",
        )


# ------------------------------------------------------------------ one object


def _rewritten(ref: ObjectRef, obj: KubeObject, found: Sequence[Found], registry: Registry) -> KubeObject:
    fresh: KubeObject = copied(obj)
    for one in found:
        target = registry.target(one.reference)
        if target != one.reference:
            _put(fresh, one, _bare(target) if one.bare else target)
    wanted = sorted((registry.target(one.reference), path_text(one.path)) for one in found)
    there = sorted((one.reference, path_text(one.path)) for one in images_of(fresh))
    wrong = [pair for pair in wanted if pair not in there]
    if wrong:
        raise EngineError(
            "this place of an image cannot be rewritten",
            subject=str(ref),
            expected="%s in %s" % wrong[0],
            next_step="change it by a patch of the component",
        )
    return fresh


def _bare(reference: str) -> str:
    return Image.parse(reference).name


def _put(obj: Any, one: Found, text: str) -> None:
    """Write it where it stands: as a value, or inside of a text."""
    at = obj
    for number, key in enumerate(one.path):
        value = at[key]
        if isinstance(value, str):
            inside = number < len(one.path) - 1 or value != one.text
            at[key] = _inside(value, one, text) if inside else text
            return
        at = value


def _inside(whole: str, one: Found, text: str) -> str:
    """The text with the new name wherever the old one stands by itself."""
    old = re.escape(one.text)
    if one.where is Where.SPLIT:  # a short name stands for an image only behind a key that says so
        return re.sub(r"((?:image|Image|IMAGE)[\"']?\s*:\s*[\"']?)%s(?=[\"'\s,}]|$)" % old, lambda match: match.group(1) + text, whole)
    return re.sub(r"(?<![\w./:@-])%s(?![\w./:@-])" % old, lambda _match: text, whole)


# ------------------------------------------------------------------ what is left


def _leftovers(obj: KubeObject, registry: Registry) -> Iterator[Tuple[str, str]]:
    """(reference, path) of what still names another registry."""
    if obj.get("kind") == "CustomResourceDefinition":
        return
    for one in images_of(obj):
        if not registry.has(one.reference):
            yield one.reference, path_text(one.path)
    for path, text in _texts({key: value for key, value in obj.items() if key != "status"}, ()):
        for match in CERTAIN.finditer(_without_comments(text)):
            if not registry.has(match.group()):
                yield match.group(), path_text(path)


def _texts(value: Any, path: Path) -> Iterator[Tuple[Path, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if not (path == ("data",) and str(key).startswith(DOCUMENTED)):
                yield from _texts(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _texts(item, (*path, at))
    elif isinstance(value, str):
        yield path, value


def _without_comments(text: str) -> str:
    lines: List[str] = text.splitlines() if "\n" in text else [text]
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))
