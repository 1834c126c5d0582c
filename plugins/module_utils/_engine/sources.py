# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's tree on disk: fetched, checked against the release data, every remote base made local.

``<cache>/sources/<release>-<fingerprint>/`` holds ``tree/`` and, written last, ``complete.json``. The fingerprint is of
what the release data says about sources, so a changed release file never meets an old tree.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Iterator, List, Mapping, Tuple

from .archives import fetch, unpack
from .catalogue import Release, Source
from .closure import Trees, Use, Walker
from .errors import EngineError
from .objects import canonical
from .progress import Progress

FORMAT = 1  # of the tree and its marker; a change makes every cache fetch anew
REMOTES = ".remotes"  # where the other sources are inside the tree
MARKER = "complete.json"


@dataclass(frozen=True)
class Closure:
    """What one component reads.

    :param digest: sha256 over path and bytes of its files, as upstream has them.
    :param size: their bytes together, an estimate of how long the render takes.
    """

    digest: str
    size: int


@dataclass(frozen=True)
class SourceTree:
    """A tree that kustomize can read without a network.

    :param root: the folder that the components' paths are in.
    :param digest: over the closures of all components.
    :param closures: per component.
    """

    root: Path
    digest: str
    closures: Mapping[str, Closure]


def ensure_sources(release: Release, cache_dir: Path, mirror: str, progress: Progress) -> SourceTree:
    """The release's tree, from the cache if it is there; otherwise fetched, checked and published in one step.

    :param mirror: folder or URL, "" for the public addresses.
    :raises EngineError: an archive is missing, corrupt, not what the release data says, or names a remote base that
        the release data does not list.
    """
    sources = Path(cache_dir) / "sources"
    home = sources / ("%s-%s" % (release.name, _fingerprint(release)))
    if not (home / MARKER).is_file():
        sources.mkdir(parents=True, exist_ok=True)
        with _locked(sources / (".lock-" + release.name), release.name, progress):
            if not (home / MARKER).is_file():  # another run may have been faster
                _publish(release, sources, home, mirror, progress)
    return _read(home)


def _fingerprint(release: Release) -> str:
    """Of everything that decides what the tree looks like and what is checked."""
    facts: List[Any] = [FORMAT, release.tree]
    facts.extend([s.name, s.url, s.kind, s.strip, s.keep, s.digest] for s in release.sources.values())
    facts.extend([text, remote.source, remote.path] for text, remote in sorted(release.remotes.items()))
    facts.extend([c.name, c.paths] for c in release.components.values())
    return hashlib.sha256(canonical(facts)).hexdigest()[:16]


@contextlib.contextmanager
def _locked(path: Path, name: str, progress: Progress) -> Iterator[None]:
    """Only one run fetches; others wait for it and then find the tree."""
    with open(path, "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("", "waiting: another run is fetching the sources of %s" % name)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(home: Path) -> SourceTree:
    facts = json.loads((home / MARKER).read_text())
    closures = {name: Closure(entry[0], entry[1]) for name, entry in facts["closures"].items()}
    return SourceTree(home / "tree", facts["digest"], closures)


def _publish(release: Release, sources: Path, home: Path, mirror: str, progress: Progress) -> None:
    for stale in sources.glob(".new-%s-*" % release.name):  # of runs that were killed; the lock is ours
        shutil.rmtree(stale, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=".new-%s-" % release.name, dir=sources))
    try:
        roots = {
            source.name: _bring(source, sources, staging / "raw" / source.name, mirror, progress) for source in release.sources.values()
        }
        trees = Trees(roots, release.remotes)
        walkers = {component.name: _walk(trees, release.tree, component) for component in release.components.values()}
        every = {file for walker in walkers.values() for file in walker.files}
        hashes = {file: hashlib.sha256((roots[file[0]] / file[1]).read_bytes()).hexdigest() for file in every}
        _check(release, hashes, sources, progress)
        closures = {name: _closure(walker.files, hashes, roots) for name, walker in walkers.items()}
        _merge(release, roots, {use for walker in walkers.values() for use in walker.uses}, staging / "tree")
        shutil.rmtree(staging / "raw")
        digest = hashlib.sha256(canonical({name: entry.digest for name, entry in closures.items()})).hexdigest()
        marker = {
            "release": release.name,
            "digest": digest,
            "closures": {name: [entry.digest, entry.size] for name, entry in closures.items()},
        }
        (staging / MARKER).write_text(json.dumps(marker, indent=1))
        if home.exists():  # without a marker: left by a machine that lost power between two renames
            shutil.rmtree(home)
        os.replace(staging, home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _walk(trees: Trees, source: str, component: Any) -> Walker:
    walker = Walker(trees)
    for path in component.paths:
        walker.walk(source, path, "component %s of the release data" % component.name)
    return walker


def _archive(source: Source, sources: Path) -> Path:
    """Where the archive is kept, so that changed release data needs no network."""
    return sources / "archives" / source.url


def _bring(source: Source, sources: Path, target: Path, mirror: str, progress: Progress) -> Path:
    """Fetch one source (unless it was fetched before) and unpack it."""
    archive = _archive(source, sources)
    place = str(archive)
    if not archive.is_file():
        place = fetch(source.url, mirror, archive, progress)
    if source.kind == "file":
        target.mkdir(parents=True)
        shutil.copyfile(archive, target / archive.name)
        return target
    try:
        unpack(archive, place, target, strip=source.strip, keep=source.keep)
    except EngineError:
        archive.unlink()  # the next run fetches it anew
        raise
    return target


def files_digest(files: Mapping[str, str]) -> str:
    """sha256 over path and content hash of files; independent of their order."""
    lines = "".join("%s  %s\n" % (content, path) for path, content in sorted(files.items()))
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def _check(release: Release, hashes: Mapping[Tuple[str, str], str], sources: Path, progress: Progress) -> None:
    """Compare each source with the digest of the release data; every wrong one is named in one error."""
    found = {
        name: files_digest({path: content for (source, path), content in hashes.items() if source == name}) for name in release.sources
    }
    wrong = [source for source in release.sources.values() if found[source.name] != source.digest]
    for source in wrong:
        _archive(source, sources).unlink(missing_ok=True)
    if wrong:
        raise EngineError(
            "not what the release data of %s expects" % release.name,
            subject=", ".join(source.url for source in wrong),
            expected=", ".join(source.digest for source in wrong),
            found=", ".join(found[source.name] for source in wrong),
            next_step="take it from the public address; if upstream changed it, look at the change before the digest in"
            " the release data is changed",
        )
    for source in release.sources.values():
        if not source.verified:
            progress.say("", "warning: the digest of %s was never checked against its public address" % source.url)


def _closure(files: Iterable[Tuple[str, str]], hashes: Mapping[Tuple[str, str], str], roots: Mapping[str, Path]) -> Closure:
    named = {"%s/%s" % file: hashes[file] for file in files}
    return Closure(files_digest(named), sum((roots[source] / path).stat().st_size for source, path in files))


def _merge(release: Release, roots: Mapping[str, Path], uses: Iterable[Use], tree: Path) -> None:
    """One tree: the main source, the others below ``.remotes``, and every remote base pointing there."""
    os.replace(roots[release.tree], tree)
    for name, root in roots.items():
        if name != release.tree:
            (tree / REMOTES).mkdir(exist_ok=True)
            os.replace(root, tree / REMOTES / name)
    for use in sorted(uses, key=lambda item: (item.source, item.file, item.remote)):
        file = tree / _home(release, use.source) / use.file
        remote = release.remotes[use.remote]
        relative = os.path.relpath(_folder(tree / _home(release, remote.source) / remote.path), file.parent)
        # The remote as a whole word: one may be the beginning of another.
        text, count = re.subn(r"%s(?=[\s\"',\]}#]|$)" % re.escape(use.remote), relative, file.read_text())
        if not count:
            raise EngineError("a remote base is written in a way that cannot be replaced", subject=use.file, found=use.remote)
        file.write_text(text)


def _home(release: Release, source: str) -> str:
    """Where a source is inside the merged tree."""
    return "" if source == release.tree else os.path.join(REMOTES, source)


def _folder(base: Path) -> Path:
    """The folder to name as a base; a single file gets one of its own, as kustomize reads no file from elsewhere."""
    if base.is_dir():
        return base
    folder = base.with_name(base.name + ".base")
    folder.mkdir(exist_ok=True)
    shutil.copyfile(base, folder / base.name)
    (folder / "kustomization.yaml").write_text("resources:\n  - %s\n" % base.name)
    return folder
