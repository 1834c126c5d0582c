# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files a kustomization reads: the closure that digests, caches and remote bases are about.

kustomize has no command that lists them, so this walks the fields of a kustomization that name files (kustomize's
api/types/kustomization.go), over folders, components, generators and transformers, without running anything.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Set, Tuple

from .catalogue import Remote
from .errors import EngineError
from .handwritten import NotYaml, parse

KUSTOMIZATION_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")

# Fields whose entries are a file, a folder with a kustomization, or a remote base.
_BASES = ("resources", "bases", "components", "crds", "configurations", "generators", "transformers", "validators")
# Fields whose entries name a file under "path", or are a file themselves (patchesStrategicMerge).
_PATCHES = ("patches", "patchesStrategicMerge", "patchesJson6902", "replacements")
_GENERATORS = ("configMapGenerator", "secretGenerator")
# Fields whose entries may be YAML text instead of a file name.
_INLINE = ("patchesStrategicMerge", "generators", "transformers", "validators")
_CONFIGURED = ("generators", "transformers", "validators")
_REMOTE = re.compile(r"^(\w+://|\w+::|git@|[\w.-]+@[\w.-]+:|github\.com[/:])|\?(ref|version|timeout|submodules)=")


@dataclass(frozen=True)
class Trees:
    """Where the files of every source are while nothing is merged yet.

    :param roots: folder per source.
    :param remotes: what release data says of remote bases.
    """

    roots: Mapping[str, Path]
    remotes: Mapping[str, Remote]


@dataclass(frozen=True)
class Use:
    """One remote base: which kustomization names it, and how."""

    source: str
    file: str
    remote: str


class Walker:
    """Collects files and remote bases; a file is known by its source and its path in it."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._done: Set[Tuple[str, str]] = set()
        self.files: Set[Tuple[str, str]] = set()
        self.uses: Set[Use] = set()

    def walk(self, source: str, folder: str, asked_by: str) -> None:
        """Add everything that the kustomization in a folder reads.

        :param asked_by: what names the folder, for errors.
        :raises EngineError: a file is missing, leaves the tree, is no YAML, or a remote base is not listed.
        """
        folder = os.path.normpath(folder)
        if (source, folder) in self._done:
            return
        self._done.add((source, folder))
        root = self._trees.roots[source]
        found = [name for name in KUSTOMIZATION_NAMES if (root / folder / name).is_file()]
        if len(found) != 1:
            raise EngineError(
                "no kustomization there" if not found else "more than one kustomization there",
                subject=os.path.join(source, folder),
                found="named by %s" % asked_by,
            )
        file = os.path.normpath(os.path.join(folder, found[0]))
        self.files.add((source, file))
        for document in _documents(root / file, "%s/%s" % (source, file)):
            self._fields(source, folder, file, document)

    def _fields(self, source: str, folder: str, file: str, fields: Dict[str, Any]) -> None:
        for field in _BASES:
            for entry in _list(fields.get(field)):
                if not (field in _INLINE and _inline(entry)):
                    self._base(source, folder, file, entry, configured=field in _CONFIGURED)
        for entry in _files_of(fields):
            self._file(source, folder, file, entry)
        for folder_field in ("helmCharts", "helmChartInflationGenerator"):
            for chart in _list(fields.get(folder_field)):
                self._chart(source, folder, file, fields, chart)

    def _base(self, source: str, folder: str, file: str, entry: str, *, configured: bool) -> None:
        path = os.path.normpath(os.path.join(folder, entry))
        local = self._trees.roots[source] / path
        if local.is_dir():
            self._check_inside(source, file, path)
            self.walk(source, path, "%s/%s" % (source, file))
        elif local.is_file() or not _REMOTE.search(entry):
            self._file(source, folder, file, entry)
            if configured:  # a transformer's or generator's own settings may name files again
                for document in _documents(local, "%s/%s" % (source, path)):
                    self._fields(source, os.path.dirname(path), path, _settings(document))
        else:
            self._remote(source, file, entry)

    def _remote(self, source: str, file: str, entry: str) -> None:
        remote = self._trees.remotes.get(entry)
        if remote is None:
            raise EngineError(
                "a remote base that the release data does not list: %s" % entry,
                subject="%s/%s:%d" % (source, file, _line_of(self._trees.roots[source] / file, entry)),
                next_step="add it to 'remotes' of the release data, with the source that holds it",
            )
        self.uses.add(Use(source, file, entry))
        if (self._trees.roots[remote.source] / remote.path).is_dir():
            self.walk(remote.source, remote.path, "%s/%s" % (source, file))
        else:
            self._file(remote.source, "", remote.path, remote.path)

    def _file(self, source: str, folder: str, file: str, entry: str) -> None:
        path = os.path.normpath(os.path.join(folder, entry))
        self._check_inside(source, file, path)
        if not (self._trees.roots[source] / path).is_file():
            raise EngineError(
                "a file that the kustomization reads is missing",
                subject="%s/%s" % (source, path),
                found="named by %s/%s:%d" % (source, file, _line_of(self._trees.roots[source] / file, entry)),
                next_step="the archive is not complete; take it from the public address, or repair the mirror",
            )
        self.files.add((source, path))

    def _check_inside(self, source: str, file: str, path: str) -> None:
        root = os.path.realpath(self._trees.roots[source])
        real = os.path.realpath(os.path.join(root, path))
        if os.path.commonpath([root, real]) != root:
            raise EngineError("names a file outside of its tree", subject="%s/%s" % (source, file), found=path)

    def _chart(self, source: str, folder: str, file: str, fields: Dict[str, Any], chart: Dict[str, Any]) -> None:
        home = str((fields.get("helmGlobals") or {}).get("chartHome") or chart.get("chartHome") or "charts")
        name = str(chart.get("name") or chart.get("chartName") or "")
        path = os.path.normpath(os.path.join(folder, home, name))
        self._check_inside(source, file, path)
        local = self._trees.roots[source] / path
        if not local.is_dir():
            raise EngineError("the Helm chart '%s' has no local copy" % name, subject="%s/%s" % (source, file))
        for item in sorted(local.rglob("*")):
            if item.is_file():
                self._file(source, folder, file, os.path.relpath(item, self._trees.roots[source] / folder))
        for entry in [*_list(chart.get("valuesFile")), *_list(chart.get("additionalValuesFiles"))]:
            self._file(source, folder, file, entry)


def _documents(path: Path, name: str) -> List[Dict[str, Any]]:
    """Every mapping of a file, all scalars as text (a mutator tag of upstream's is not worth an error)."""
    try:
        documents = parse(path.read_bytes(), plain=True)
    except NotYaml as problem:
        raise EngineError(str(problem), subject=name) from problem
    return [document for document in documents if isinstance(document, dict)]


def _list(value: Any) -> List[Any]:
    """A list as it is, one value as a list of one, nothing as an empty one."""
    if isinstance(value, list):
        return value
    return [value] if value else []


def _inline(entry: Any) -> bool:
    return not isinstance(entry, str) or "\n" in entry.strip()


def _files_of(fields: Dict[str, Any]) -> Iterator[str]:
    """The files that a kustomization names directly."""
    for field in _PATCHES:
        for entry in _list(fields.get(field)):
            if isinstance(entry, dict):
                yield from _list(entry.get("path"))
            elif not (field in _INLINE and _inline(entry)):
                yield entry
    for field in _GENERATORS:
        for entry in _list(fields.get(field)):
            yield from (str(item).rpartition("=")[2] for item in _list(entry.get("files")))
            yield from _list(entry.get("envs"))
            yield from _list(entry.get("env"))
    openapi = fields.get("openapi")
    if isinstance(openapi, dict):
        yield from _list(openapi.get("path"))


def _settings(document: Dict[str, Any]) -> Dict[str, Any]:
    """The settings file of a built-in transformer or generator, as the kustomization fields that it stands for."""
    kind = str(document.get("kind", ""))
    if kind in ("ConfigMapGenerator", "SecretGenerator"):
        return {"configMapGenerator": [document]}
    paths = [*_list(document.get("path")), *_list(document.get("paths"))]
    return {"patches": [{"path": path} for path in paths], "replacements": _list(document.get("replacements"))}


def _line_of(path: Path, text: str) -> int:
    """The line that a text is in, counted from 1; 0 if it is nowhere."""
    try:
        lines: Sequence[str] = path.read_text(errors="replace").splitlines()
    except OSError:
        return 0
    return next((at for at, line in enumerate(lines, 1) if text in line), 0)
