# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release data as Python: what a release consists of, in which order, and what to know about it.

The files and their keys are explained in docs/release-data.md; plugins/plugin_utils/releases/schema.json is the full
check, which the tests run. Here only the shape is checked, so that a user's own file fails with a place and not with a
stack trace.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple, Union

from .errors import EngineError
from .handwritten import NotYaml, parse
from .objects import ObjectRef

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
    :ivar note: where it is not exactly what the release's image is.
    """

    name: str
    version: str
    module: str
    package: str
    program: str
    pods: Tuple[PodMatch, ...]
    note: str = ""


@dataclass(frozen=True)
class Release:
    """All that is known of one release or add-on. ``components`` are in dependency order."""

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

    def mode_of(self, ref: ObjectRef) -> Tuple[ObjectMode, ...]:
        """Every mode that is about this object."""
        return tuple(mode for mode in self.modes if mode.matches(ref))


def shipped_releases() -> Path:
    """The folder of the release data that comes with the collection."""
    return Path(__file__).resolve().parents[2] / "plugin_utils" / "releases"


def _order(name: str) -> Tuple[Tuple[int, ...], str]:
    """Sorts ``v1.9.1 < v1.10.2 < 26.03``: the numbers count, the text decides between equals."""
    return tuple(int(number) for number in re.findall(r"\d+", name)), name


class Catalogue:
    """The releases that there is data for; a file is read when it is asked for."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)
        self._read: Dict[str, Release] = {}

    @classmethod
    def load(cls, dirs: Sequence[Path] = ()) -> Catalogue:
        """The shipped releases and those of more folders; a later folder wins over an earlier one.

        :raises EngineError: a folder is not there.
        """
        files: Dict[str, Path] = {}
        for folder in [shipped_releases(), *[Path(item) for item in dirs]]:
            if not folder.is_dir():
                raise EngineError("no such folder of release data", subject=str(folder), next_step="correct kubeflow_release_dirs")
            files.update({path.stem: path for path in sorted(folder.glob("*.yml"))})
        return cls(files)

    @property
    def names(self) -> Tuple[str, ...]:
        """The known releases, the oldest first."""
        return tuple(sorted(self._files, key=_order))

    @property
    def newest(self) -> str:
        """The release that is installed when none is asked for."""
        return self.names[-1]

    def release(self, name: str) -> Release:
        """One release.

        :raises EngineError: it is unknown (the known ones are listed), or its file is wrong (with the place).
        """
        if name not in self._files:
            raise EngineError(
                "unknown release",
                subject=str(name),
                expected="one of " + ", ".join(self.names),
                next_step="correct kubeflow_version, or add the release's data file to a folder of kubeflow_release_dirs",
            )
        if name not in self._read:
            self._read[name] = read_release(self._files[name])
        return self._read[name]


class _Reader:
    """One mapping of a release file: typed values, and errors that say where."""

    def __init__(self, value: Any, file: Path, place: str = "") -> None:
        self._file, self._place = file, place
        if not isinstance(value, dict):
            raise self._wrong("", "a mapping", value)
        self._value = value

    def _wrong(self, key: str, expected: str, found: Any) -> EngineError:
        place = ".".join(part for part in (self._place, key) if part)
        return EngineError(
            "wrong release data at '%s'" % (place or "the top"),
            subject=str(self._file),
            expected=expected,
            found="nothing" if found is None else repr(found),
            next_step="docs/release-data.md explains every key",
        )

    def only(self, *keys: str) -> None:
        """Refuse any other key: a misspelt one would be ignored in silence."""
        for key in self._value:
            if key not in keys:
                raise self._wrong(str(key), "one of " + ", ".join(keys), self._value[key])

    def text(self, key: str, default: Union[str, None] = None) -> str:
        """A text; a number that YAML made of one (26.03 without quotes) is refused."""
        value = self._value.get(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, "a text (in quotes if it looks like a number)", value)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self._value.get(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def number(self, key: str, default: int) -> int:
        """A whole number."""
        value = self._value.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, "a whole number", value)
        return value

    def texts(self, key: str) -> Tuple[str, ...]:
        """A list of texts; empty when absent."""
        value = self._value.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, "a list of texts", value)
        return tuple(value)

    def one(self, key: str) -> _Reader:
        """A mapping that has to be there."""
        return _Reader(self._value.get(key), self._file, (self._place + "." + key).lstrip("."))

    def each(self, key: str) -> List[Tuple[str, _Reader]]:
        """The entries of a mapping, or of a list (numbered); empty when absent."""
        value = self._value.get(key) or {}
        place = (self._place + "." + key).lstrip(".")
        if isinstance(value, list):
            return [(str(at), _Reader(item, self._file, "%s[%d]" % (place, at))) for at, item in enumerate(value)]
        if not isinstance(value, dict):
            raise self._wrong(key, "a mapping or a list", value)
        return [(str(name), _Reader(item, self._file, "%s.%s" % (place, name))) for name, item in value.items()]


def read_release(path: Path) -> Release:
    """Read one release file.

    :raises EngineError: it is not YAML, a key is missing, unknown or of the wrong type, or components need each other
        in a circle.
    """
    try:
        documents = parse(path.read_bytes())
    except NotYaml as problem:
        raise EngineError(str(problem), subject=str(path)) from problem
    top = _Reader(documents[0] if documents else None, path)
    top.only(
        "release", "title", "catalogue", "notes", "kubernetes", "kustomize", "tree", "sources", "remotes",
        "components", "namespaces", "modes", "webhooks", "health", "programs",
    )  # fmt: skip
    name, catalogue = top.text("release"), top.text("catalogue", "kubeflow")
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
        components=_sorted({key: _component(key, entry, catalogue, name) for key, entry in top.each("components")}),
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
    )


def _program(name: str, entry: _Reader) -> Program:
    entry.only("version", "module", "package", "program", "pods", "note")
    pods = (PodMatch(pod.text("namespace"), pod.text("deployment"), pod.text("container")) for _at, pod in entry.each("pods"))
    return Program(
        name, entry.text("version"), entry.text("module"), entry.text("package"), entry.text("program"), tuple(pods), entry.text("note", "")
    )


def _source(name: str, entry: _Reader) -> Source:
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


def _component(name: str, entry: _Reader, catalogue: str, version: str) -> Component:
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


def _match(entry: _Reader) -> ObjectMatch:
    entry.only("group", "kind", "namespace", "name")
    return ObjectMatch(entry.text("group", ""), entry.text("kind"), entry.text("namespace", ""), entry.text("name", ""))


def _mode(entry: _Reader) -> ObjectMode:
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


def resolve(release: Release, wanted: Union[str, Sequence[str]], *, add_dependencies: bool = False) -> Tuple[Component, ...]:
    """The components of a choice, in dependency order.

    :param wanted: ``default``, ``all``, or a list of component names (which may name the presets too).
    :param add_dependencies: add what is needed instead of refusing.
    :raises EngineError: an unknown component (with the nearest name), or needed ones that are not in the choice.
    """
    chosen = _chosen(release, [wanted] if isinstance(wanted, str) else list(wanted))
    missing: Dict[str, List[str]] = {}
    for name in reversed(list(release.components)):  # dependants first: what they add is looked at too
        for needed in release.components[name].needs if name in chosen else ():
            if needed not in chosen and add_dependencies:
                chosen.add(needed)
            elif needed not in chosen:
                missing.setdefault(needed, []).append(name)
    if missing:
        raise EngineError(
            "not among the components but needed: "
            + ", ".join("%s (by %s)" % (needed, ", ".join(sorted(users))) for needed, users in sorted(missing.items())),
            subject="kubeflow_components",
            next_step="add %s, or set kubeflow_add_dependencies: true" % ", ".join(sorted(missing)),
        )
    return tuple(component for name, component in release.components.items() if name in chosen)


def _chosen(release: Release, wanted: Sequence[str]) -> set[str]:
    chosen: set[str] = set()
    for name in wanted:
        if name == "all":
            chosen.update(release.components)
        elif name == "default":
            chosen.update(key for key, component in release.components.items() if component.default)
        elif name in release.components:
            chosen.add(name)
        else:
            near = difflib.get_close_matches(str(name), [*release.components, "default", "all"], n=1, cutoff=0.5)
            raise EngineError(
                "unknown component '%s' in release %s" % (name, release.name),
                subject="kubeflow_components",
                expected="one of " + ", ".join(release.components),
                next_step="did you mean '%s'?" % near[0] if near else "correct the list",
            )
    return chosen


def desired_set(
    release: Release, wanted: Union[str, Sequence[str]], switches: Mapping[str, bool], *, add_dependencies: bool = False
) -> Tuple[str, ...]:
    """Names of the components that a cluster shall have, in the order of their dependencies.

    :param wanted: presets and names.
    :param switches: components to add or to take out, whatever ``wanted`` says.
    :raises EngineError: an unknown component, or a needed one that is not in the set.
    """
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    presets = [name for name in asked if name in ("default", "all")]
    names = set(asked).difference(presets)
    if presets:
        names.update(one.name for one in resolve(release, presets, add_dependencies=True))
    names = {name for name in names if switches.get(name, True)} | {name for name, on in switches.items() if on}
    return tuple(one.name for one in resolve(release, sorted(names), add_dependencies=add_dependencies))
