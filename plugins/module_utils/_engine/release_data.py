# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release data as Python: the dataclasses, and the reader of one file.

The files and their keys are explained in docs/release-data.md; plugins/plugin_utils/releases/schema.json is the full
check, which the tests run. Here only the shape is checked, so that a user's own file fails with a place and not with a
stack trace.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Mapping, Optional, Tuple

from .data_places import Data, full_name, read_data
from .errors import EngineError
from .handwritten import NotYaml, parse
from .objects import ObjectRef
from .reading import Reader

FIELDS_NOT_OURS = "fields_not_ours"
CREATE_ONCE = "create_once"


@dataclass(frozen=True)
class Source:
    """One archive or file of upstream.

    :param url: its public address without the scheme; the same path is looked for under a mirror.
    :param kind: ``archive`` (.tar.gz) or ``file``.
    :param strip: how many leading folders of the archive's names to drop.
    :param keep: folders to unpack; all when empty.
    :param digest: ``sha256:...`` over path and bytes of the files that the components read.
    :param verified: whether that digest was computed from the public address.
    """

    name: str
    url: str
    kind: str
    strip: int
    keep: Tuple[str, ...]
    digest: str
    verified: bool


@dataclass(frozen=True)
class Remote:
    """Where the local copy of a remote base is: a path inside a source."""

    source: str
    path: str


@dataclass(frozen=True)
class Component:
    """The unit of choice and of work.

    :param catalogue: ``kubeflow``, or the name of an add-on.
    :param version: the release or the add-on's version.
    :param paths: the folders of upstream's tree that it consists of.
    :param needs: components that have to be there before its first object.
    :param default: whether it belongs to the preset ``default``.
    :param replaces: what it took the place of in this release, for people.
    """

    name: str
    title: str
    catalogue: str
    version: str
    paths: Tuple[str, ...]
    needs: Tuple[str, ...]
    default: bool
    replaces: str = ""


@dataclass(frozen=True)
class ObjectMatch:
    """Which objects a row of release data is about; "" stands for any, ``*`` in a name for any text."""

    group: str
    kind: str
    namespace: str
    name: str

    def matches(self, ref: ObjectRef) -> bool:
        """Whether the row is about this object."""
        return (
            self.kind == ref.kind
            and self.group in ("", ref.group)
            and self.namespace in ("", ref.namespace)
            and (not self.name or fnmatch.fnmatchcase(ref.name, self.name))
        )


@dataclass(frozen=True)
class ObjectMode:
    """How an object is treated that is not simply ours.

    :param mode: ``fields_not_ours`` or ``create_once``.
    :param fields: dotted paths that a controller fills; ``*`` stands for every item of a list.
    :param why: who fills them, for people.
    """

    match: ObjectMatch
    mode: str
    fields: Tuple[str, ...]
    why: str

    def matches(self, ref: ObjectRef) -> bool:
        """Whether the mode is about this object."""
        return self.match.matches(ref)


@dataclass(frozen=True)
class NamespaceFix:
    """An object that upstream gives no namespace, and where it belongs."""

    match: ObjectMatch
    namespace: str
    why: str


@dataclass(frozen=True)
class WebhookFacts:
    """What the configuration's own controller writes at run time."""

    ca: bool
    rules: bool


@dataclass(frozen=True)
class HealthRule:
    """JMESPath over one object; "" means that there is no such rule. ``failed`` is looked at first."""

    current: str
    failed: str
    message: str


@dataclass(frozen=True)
class PodMatch:
    """The pods of one Deployment, and the container in them that a program stands for."""

    namespace: str
    deployment: str
    container: str


@dataclass(frozen=True)
class Program:
    """A controller or webhook that the sandbox runs for real.

    :ivar name: how it is called in messages and in the cache.
    :ivar version: of the Go module that is built.
    :ivar module: the folder below ``tools/go/backends`` with its go.mod.
    :ivar package: the import path of the command.
    :ivar program: what the command is called in the release's image.
    :ivar image: how the name of the release's image ends: its tag or digest, by which a pod shows which release it is of.
    :ivar note: where it is not exactly what the release's image is.
    """

    name: str
    version: str
    module: str
    package: str
    program: str
    pods: Tuple[PodMatch, ...]
    image: str
    note: str = ""


@dataclass(frozen=True)
class Ack:
    """What a person has to say before the first write of a hop, because something gets lost or has to be done by hand.

    :ivar name: what is said: ``ack-<release>-<what>``.
    :ivar component: it is asked for only where this component is installed.
    :ivar text: what is lost, and what to do before.
    :ivar backup: whether a recorded backup of the component answers it too.
    :ivar copies: the object store whose objects the hop copies itself, unless this is acknowledged by its own name; "" for none.
    """

    name: str
    component: str
    text: str
    backup: bool
    copies: str = ""

    @property
    def copy_name(self) -> str:
        """What says yes to the copy: ``copy-<release>-<what>``."""
        return "copy-" + self.name.partition("-")[2]


@dataclass(frozen=True)
class Row:
    """Objects that a hop treats otherwise than the rules say, and the reason for people."""

    match: ObjectMatch
    why: str


@dataclass(frozen=True)
class Leftover:
    """Objects that programs write at run time, so that no record names them: they go with their component or owner.

    :ivar component: whose programs write them; "" where they follow another object.
    :ivar annotation: names the object that they follow, of the kind ``owner`` (``Kind.group``) in their namespace.
    :ivar instances_in: of a definition: the namespace where objects of its kind are the component's own state.
    """

    match: ObjectMatch
    why: str
    component: str = ""
    annotation: str = ""
    owner: str = ""
    instances_in: str = ""


@dataclass(frozen=True)
class OneWay:
    """A door: once a cluster with this component went through the hop, it does not go back."""

    name: str
    component: str
    why: str


@dataclass(frozen=True)
class Hop:
    """How one gets to a release from exactly one earlier one.

    :ivar source: the release that it starts from.
    :ivar target: the release that it leads to.
    :ivar notes: what a person should know.
    :ivar replace: objects to delete and make anew, as a field of theirs cannot be changed.
    :ivar keep: objects that the target has no more, and that stay all the same.
    :ivar regenerate: objects in tenants' namespaces to delete after the hop, so that their controller makes them anew.
    """

    source: str
    target: str
    notes: Tuple[str, ...] = ()
    acks: Tuple[Ack, ...] = ()
    replace: Tuple[Row, ...] = ()
    keep: Tuple[Row, ...] = ()
    regenerate: Tuple[Row, ...] = ()
    one_way: Tuple[OneWay, ...] = ()


@dataclass(frozen=True)
class CompiledImage:
    """An image that no object names, as the code of a program has its name in it.

    :ivar workload: what runs the program, in ``container`` of its pods.
    :ivar argument: with what it can be told another one (``--init-container-image``).
    """

    reference: str
    component: str
    workload: ObjectRef
    container: str
    argument: str


@dataclass(frozen=True)
class RegistryList:
    """A key of a ConfigMap's data with registries, separated by commas, that a site's own has to be in.

    :ivar default: what the program takes where the key is not there.
    """

    config_map: ObjectRef
    key: str
    default: str


@dataclass(frozen=True)
class Release:
    """All that is known of one release or add-on. ``components`` are in dependency order.

    :ivar hop: how one gets here from an earlier release; None where no way is known.
    :ivar data: where users' data lie.
    :ivar compiled_images: what is pulled although no object names it.
    :ivar registry_lists: where a site's own registry has to be named.
    """

    name: str
    title: str
    catalogue: str
    notes: Tuple[str, ...]
    kubernetes_minimum: str
    kubernetes_tested: Tuple[str, ...]
    kustomize_version: str
    tree: str
    sources: Mapping[str, Source]
    remotes: Mapping[str, Remote]
    components: Mapping[str, Component]
    namespaces: Tuple[NamespaceFix, ...]
    modes: Tuple[ObjectMode, ...]
    webhooks: Mapping[str, WebhookFacts]
    health: Mapping[str, HealthRule]
    programs: Tuple[Program, ...] = ()
    hop: Optional[Hop] = None
    leftovers: Tuple[Leftover, ...] = ()
    data: Data = Data()
    compiled_images: Tuple[CompiledImage, ...] = ()
    registry_lists: Tuple[RegistryList, ...] = ()

    def mode_of(self, ref: ObjectRef) -> Tuple[ObjectMode, ...]:
        """Every mode that is about this object."""
        return tuple(mode for mode in self.modes if mode.matches(ref))


def read_release(path: Path) -> Release:
    """Read one release file.

    :raises EngineError: it is not YAML, a key is missing, unknown or of the wrong type, or components need each other
        in a circle.
    """
    try:
        documents = parse(path.read_bytes())
    except NotYaml as problem:
        raise EngineError(str(problem), subject=str(path)) from problem
    top = Reader(documents[0] if documents else None, path)
    top.only(
        "release", "title", "catalogue", "notes", "kubernetes", "kustomize", "tree", "sources", "remotes",
        "components", "namespaces", "modes", "webhooks", "health", "programs", "upgrade", "leftovers", "data",
        "compiled_images", "registry_lists",
    )  # fmt: skip
    name, catalogue = top.text("release"), top.text("catalogue", "kubeflow")
    components = _sorted({key: _component(key, entry, catalogue, name) for key, entry in top.each("components")})
    return Release(
        name=name,
        title=top.text("title"),
        catalogue=catalogue,
        notes=top.texts("notes"),
        kubernetes_minimum=top.one("kubernetes").text("minimum"),
        kubernetes_tested=top.one("kubernetes").texts("tested"),
        kustomize_version=top.one("kustomize").text("version"),
        tree=top.text("tree"),
        sources={key: _source(key, entry) for key, entry in top.each("sources")},
        remotes={key: Remote(entry.text("source"), entry.text("path")) for key, entry in top.each("remotes")},
        components=components,
        namespaces=tuple(
            NamespaceFix(_match(entry.one("match")), entry.text("namespace"), entry.text("why")) for _at, entry in top.each("namespaces")
        ),
        modes=tuple(_mode(entry) for _at, entry in top.each("modes")),
        webhooks={
            key: WebhookFacts(ca=entry.text("ca", "") == "runtime", rules=entry.text("rules", "") == "runtime")
            for key, entry in top.each("webhooks")
        },
        health={
            key: HealthRule(entry.text("current", ""), entry.text("failed", ""), entry.text("message", ""))
            for key, entry in top.each("health")
        },
        programs=tuple(_program(key, entry) for key, entry in top.each("programs")),
        hop=_hop(name, top.one("upgrade")) if top.has("upgrade") else None,
        leftovers=tuple(_leftover(entry) for _at, entry in top.each("leftovers")),
        data=read_data(top.one("data"), components) if top.has("data") else Data(),
        compiled_images=tuple(_compiled(entry, components) for _at, entry in top.each("compiled_images")),
        registry_lists=tuple(_registry_list(entry) for _at, entry in top.each("registry_lists")),
    )


def _compiled(entry: Reader, components: Mapping[str, Component]) -> CompiledImage:
    entry.only("reference", "component", "workload", "container", "argument", "why")
    component = entry.text("component")
    if component not in components:
        raise entry.wrong("component", "one of " + ", ".join(components), component)
    entry.text("why")
    workload, argument = _full_name(entry, "workload"), entry.text("argument")
    return CompiledImage(entry.text("reference"), component, workload, entry.text("container"), argument)


def _registry_list(entry: Reader) -> RegistryList:
    entry.only("config_map", "key", "default", "why")
    entry.text("why")
    return RegistryList(_full_name(entry, "config_map"), entry.text("key"), entry.text("default"))


def _full_name(entry: Reader, key: str) -> ObjectRef:
    text = entry.text(key)
    try:
        return full_name(text)
    except ValueError:
        raise entry.wrong(key, "a full name such as 'Deployment.apps namespace/name'", text) from None


def _leftover(entry: Reader) -> Leftover:
    keys = ("component", "annotation", "owner", "instances_in")
    entry.only("match", "why", *keys)
    return Leftover(_match(entry.one("match")), entry.text("why"), *(entry.text(key, "") for key in keys))


def _hop(target: str, entry: Reader) -> Hop:
    entry.only("from", "notes", "acks", "replace", "keep", "regenerate", "one_way")
    return Hop(
        source=entry.text("from"),
        target=target,
        notes=entry.texts("notes"),
        acks=tuple(_ack(one) for _at, one in entry.each("acks")),
        replace=_rows(entry, "replace"),
        keep=_rows(entry, "keep"),
        regenerate=_rows(entry, "regenerate"),
        one_way=tuple(_one_way(one) for _at, one in entry.each("one_way")),
    )


def _ack(entry: Reader) -> Ack:
    entry.only("name", "component", "text", "backup", "copies")
    return Ack(entry.text("name"), entry.text("component"), entry.text("text"), entry.flag("backup", False), entry.text("copies", ""))


def _one_way(entry: Reader) -> OneWay:
    entry.only("name", "component", "why")
    return OneWay(entry.text("name"), entry.text("component"), entry.text("why"))


def _rows(hop: Reader, key: str) -> Tuple[Row, ...]:
    found = []
    for _at, entry in hop.each(key):
        entry.only("match", "why")
        found.append(Row(_match(entry.one("match")), entry.text("why")))
    return tuple(found)


def _program(name: str, entry: Reader) -> Program:
    entry.only("version", "module", "package", "program", "pods", "image", "note")
    pods = (PodMatch(pod.text("namespace"), pod.text("deployment"), pod.text("container")) for _at, pod in entry.each("pods"))
    return Program(
        name=name,
        version=entry.text("version"),
        module=entry.text("module"),
        package=entry.text("package"),
        program=entry.text("program"),
        pods=tuple(pods),
        image=entry.text("image"),
        note=entry.text("note", ""),
    )


def _source(name: str, entry: Reader) -> Source:
    entry.only("url", "kind", "strip", "keep", "digest", "verified")
    return Source(
        name=name,
        url=entry.text("url"),
        kind=entry.text("kind"),
        strip=entry.number("strip", 0),
        keep=entry.texts("keep"),
        digest=entry.text("digest"),
        verified=entry.flag("verified", False),
    )


def _component(name: str, entry: Reader, catalogue: str, version: str) -> Component:
    entry.only("title", "default", "paths", "needs", "replaces")
    return Component(
        name=name,
        title=entry.text("title"),
        catalogue=catalogue,
        version=version,
        paths=entry.texts("paths"),
        needs=entry.texts("needs"),
        default=entry.flag("default", True),
        replaces=entry.text("replaces", ""),
    )


def _match(entry: Reader) -> ObjectMatch:
    entry.only("group", "kind", "namespace", "name")
    return ObjectMatch(entry.text("group", ""), entry.text("kind"), entry.text("namespace", ""), entry.text("name", ""))


def _mode(entry: Reader) -> ObjectMode:
    entry.only("match", "mode", "fields", "why")
    return ObjectMode(_match(entry.one("match")), entry.text("mode"), entry.texts("fields"), entry.text("why"))


def _sorted(components: Mapping[str, Component]) -> Dict[str, Component]:
    """Components after those that they need; otherwise in the order of the file.

    :raises EngineError: one needs an unknown one, or they need each other in a circle.
    """
    done: Dict[str, Component] = {}

    def visit(name: str, trail: Tuple[str, ...]) -> None:
        if name in done:
            return
        if name in trail:
            raise EngineError("components need each other in a circle", found=" -> ".join(trail + (name,)))
        if name not in components:
            raise EngineError("needs the unknown component '%s'" % name, component=trail[-1])
        for needed in components[name].needs:
            visit(needed, trail + (name,))
        done[name] = components[name]

    for name in components:
        visit(name, ())
    return done
