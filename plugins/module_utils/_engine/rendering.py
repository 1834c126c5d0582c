# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources and overlays become objects: the real kustomize, one process per component, kept by content.

Nothing that a private declaration (one with a user's patches) produced is kept: it is rendered anew each time in a
folder of memory that is removed, and its content is not part of :attr:`Render.digest`.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence, Set, Tuple

from .catalogue import Component, Release
from .errors import EngineError
from .kustomize import BuildFailed, Kustomize, Slots, build_overlay, identify, meaning, sweep, workspace, write_atomically
from .objects import COMPONENT_LABEL, KubeObject, ObjectRef, canonical, group_of, load_documents, ref_of
from .overlay import MARKER, Declaration, Image, Patch, kustomization
from .progress import Progress
from .scopes import Scopes
from .sources import SourceTree

FORMAT = 1  # of the kept renders; a change makes every one anew
CACHE_BYTES = 500 << 20
_MARKER_START = MARKER.split("%", maxsplit=1)[0]


@dataclass(frozen=True)
class RenderedObject:
    """One object as we want it.

    :param user_patched: whether a user's patch matched it, so that its values may be secret.
    """

    component: str
    obj: KubeObject
    user_patched: bool


@dataclass(frozen=True)
class Render:
    """All objects of a run.

    :param digest: of everything that decided it, except the content of private patches.
    :param seconds: how long it took.
    :param cached: how many components came from the cache.
    """

    release: str
    objects: Mapping[ObjectRef, RenderedObject]
    digest: str
    seconds: float
    cached: int


class Unmatched(EngineError):
    """A patch, image or replica count of the site that matches nothing in this release.

    :ivar about: what it is meant for, as far as it says so.
    """

    def __init__(self, cause: str, about: ObjectRef, **story: str) -> None:
        super().__init__(cause, **story)
        self.about = about


@dataclass(frozen=True)
class Rendered:
    """One component as kustomize gave it, without our markers.

    :param touched: numbers of the objects that a user's patch matched.
    :param encoded: the objects as canonical JSON, for the cache; empty where they come from it or may not get there.
    """

    objects: List[KubeObject]
    digest: str
    touched: FrozenSet[int]
    encoded: bytes = b""


def render(
    release: Release,
    components: Sequence[Component],
    declarations: Mapping[str, Declaration],
    tree: SourceTree,
    *,
    kustomize: Path,
    cache_dir: Path,
    progress: Progress,
    cache_bytes: int = CACHE_BYTES,
) -> Render:
    """Render components with what a site changes of them.

    :param declarations: by component name; one without an entry is rendered as upstream has it.
    :param kustomize: the binary, of the version that the release data asks for.
    :param cache_bytes: how much of old renders is kept.
    :raises EngineError: kustomize is missing, wrong or refuses; a patch, image or replica count matches nothing; an
        object comes twice, has no namespace, or has ``$(`` left in its name.
    """
    start = time.monotonic()
    sweep(Path(cache_dir) / "work")
    binary = identify(kustomize, release.kustomize_version, cache_dir)
    jobs = [Job(component, declarations.get(component.name), tree, binary) for component in components]
    kept = Kept(Path(cache_dir) / "renders")
    done: Dict[str, Rendered] = {}
    for job in jobs:
        found = kept.load(job.key) if not job.private else None
        if found is not None:
            done[job.component.name] = found
    cached = len(done)
    missing = [job for job in jobs if job.component.name not in done]
    if missing:
        progress.say("", "rendering %d of %d components" % (len(missing), len(jobs)))
        done.update(_run_all(missing, Path(cache_dir), kept, progress))
        kept.trim(cache_bytes)
    rendered = [(component.name, done[component.name]) for component in components]
    digest = hashlib.sha256(canonical([[name, result.digest] for name, result in rendered])).hexdigest()
    return Render(release.name, assemble(release, rendered), digest, time.monotonic() - start, cached)


class Job:
    """What one component is rendered from."""

    def __init__(self, component: Component, site: Optional[Declaration], tree: SourceTree, kustomize: Kustomize) -> None:
        self.component = component
        self.site = site
        self.kustomize = kustomize
        self.private = bool(site and site.private)
        self.size = tree.closures[component.name].size
        self._root = os.path.realpath(tree.root)
        self.key = hashlib.sha256(
            canonical(
                [
                    FORMAT,
                    kustomize.sha256,
                    tree.closures[component.name].digest,
                    list(component.paths),
                    sorted(site.images.items()) if site else [],
                    sorted(site.replicas.items()) if site else [],
                ]
            )
        ).hexdigest()

    def build(self, folder: Path, *, patches: Optional[int] = None, markers: bool = True) -> bytes:
        """Write the overlay into a folder and let kustomize build it."""
        bases = [os.path.relpath(os.path.join(self._root, path), folder) for path in self.component.paths]
        overlay = kustomization(bases, self.site, patches=patches, markers=markers)
        return build_overlay(self.kustomize, folder, overlay)


def _run_all(jobs: Sequence[Job], cache_dir: Path, kept: Kept, progress: Progress) -> Dict[str, Rendered]:
    """Render side by side, the slowest first; the first component that failed is the error, others are told."""
    slots = Slots(cache_dir)
    done: Dict[str, Rendered] = {}
    failures: Dict[str, EngineError] = {}
    with workspace(cache_dir / "work") as folder, concurrent.futures.ThreadPoolExecutor(slots.count) as pool:
        order = sorted(jobs, key=lambda job: (-job.size, job.component.name))
        futures = {
            pool.submit(_run, job, folder / job.component.name, slots, at % slots.count, kept): job.component.name
            for at, job in enumerate(order)
        }
        for future in concurrent.futures.as_completed(futures):
            name = futures[future]
            try:
                done[name] = future.result()
            except EngineError as problem:
                failures[name] = problem
            progress.waiting("", "rendered %d of %d components" % (len(done), len(jobs)))
    failed = [job.component.name for job in jobs if job.component.name in failures]
    for name in failed[1:]:
        progress.say(name, str(failures[name]))
    if failed:
        raise failures[failed[0]]
    return done


def _run(job: Job, folder: Path, slots: Slots, slot: int, kept: Kept) -> Rendered:
    """Render one component, or take it from another run that is rendering it just now."""
    if job.private:
        return _make(job, folder, slots, slot)
    with slots.alone_with(job.key):
        found = kept.load(job.key)
        if found is None:
            found = _make(job, folder, slots, slot)
            kept.store(job.key, found)
    return found


def _make(job: Job, folder: Path, slots: Slots, slot: int) -> Rendered:
    with slots.one(slot):
        try:
            text = job.build(folder)
        except BuildFailed as problem:
            raise _explain(job, folder, str(problem)) from None
    objects = load_documents(text)
    touched, matched = _take_markers(objects)
    if job.site is not None:
        touched |= _check_patches(job, job.site, folder, objects, matched)
        _check_images(job.site, objects)
    if job.private:
        return Rendered(objects, job.key, frozenset(touched))
    encoded = canonical(objects)
    return Rendered(objects, hashlib.sha256(encoded).hexdigest(), frozenset(touched), encoded)


def _take_markers(objects: Sequence[KubeObject]) -> Tuple[Set[int], Dict[int, List[int]]]:
    """Remove the markers; tell which objects had one, and which objects each patch matched."""
    touched: Set[int] = set()
    matched: Dict[int, List[int]] = {}
    for at, obj in enumerate(objects):
        metadata = obj.get("metadata") or {}
        annotations = metadata.get("annotations") or {}
        for key in [key for key in annotations if key.startswith(_MARKER_START)]:
            matched.setdefault(int(key[len(_MARKER_START) :]), []).append(at)
            touched.add(at)
            del annotations[key]
        if at in touched and not annotations:
            del metadata["annotations"]
    return touched, matched


def _check_patches(job: Job, site: Declaration, folder: Path, objects: Sequence[KubeObject], matched: Mapping[int, List[int]]) -> Set[int]:
    """Every patch of the user has to have matched something, and one that names one object only that.

    :returns: numbers of objects that were matched and lost their marker to a patch.
    """
    lost: Set[int] = set()
    unseen = [at for at in range(len(site.patches)) if at not in matched]
    if unseen:  # none, or the patch removed the object or its annotations: ask again without the patches
        try:
            marked = load_documents(job.build(folder, patches=0))
        except BuildFailed:  # the patches make it a whole: kustomize accepted it with them; any object may be theirs
            return set(range(len(objects)))
        _touched, again = _take_markers(marked)
        for at in unseen:
            if at not in again:
                raise _no_match(job, site.patches[at], marked)
            refs = {ref_of(marked[number]) for number in again[at]}
            lost.update(number for number, obj in enumerate(objects) if ref_of(obj) in refs)
    for at, where in matched.items():
        patch = site.patches[at]
        if patch.single and len(where) > 1:
            raise EngineError(
                "the patch matches more than one object",
                subject=patch.origin,
                component=job.component.name,
                expected=patch.wanted,
                found=", ".join(str(ref_of(objects[number])) for number in where),
                next_step="add metadata.namespace or apiVersion to it",
            )
    return lost


def _no_match(job: Job, patch: Patch, objects: Sequence[KubeObject]) -> Unmatched:
    kind = patch.target.get("kind", "")
    same = [ref_of(obj).path for obj in objects if obj["kind"] == kind]
    group, namespace, name = (_plain(patch.target.get(key, "")) for key in ("group", "namespace", "name"))
    return Unmatched(
        "the patch matches nothing",
        ObjectRef(group, kind, namespace, name),
        subject=patch.origin,
        component=job.component.name,
        expected=patch.wanted,
        found="of kind %s there are: %s" % (kind, ", ".join(sorted(same))) if same else "no object of that kind",
        next_step="correct kind and name, or the target",
    )


def _plain(expression: str) -> str:
    """A regular expression that stands for one text, as that text."""
    return re.sub(r"\\(.)", r"\1", expression.strip("^$"))


def _images_in(value: Any, inside: bool = False) -> Set[str]:
    """Every image of a container in an object."""
    found: Set[str] = set()
    if isinstance(value, dict):
        if inside and isinstance(value.get("image"), str):
            found.add(value["image"])
        for key, item in value.items():
            found |= _images_in(item, key in ("containers", "initContainers", "ephemeralContainers"))
    elif isinstance(value, list):
        for item in value:
            found |= _images_in(item, inside)
    return found


def _check_images(site: Declaration, objects: Sequence[KubeObject]) -> None:
    """Every image that the site replaces has to be in the result under its new name."""
    if not site.images:
        return
    there = {Image.parse(image) for image in _images_in(list(objects))}
    for name, reference in site.images.items():
        new = Image.parse(reference)
        if not any(new.name == image.name and new.tag in ("", image.tag) and new.digest in ("", image.digest) for image in there):
            raise Unmatched(
                "no container has this image",
                ObjectRef("", "Image", "", name),
                subject="%s_images['%s']" % (site.component, name),
                component=site.component,
                found="the images are: " + ", ".join(sorted({image.name for image in there})),
                next_step="use the name as upstream has it, without tag",
            )


def _explain(job: Job, folder: Path, text: str) -> EngineError:
    """Find out whose fault a refusal is: upstream's, a variable's, or which patch's."""
    subject, cause = "kustomize", meaning(text)
    site = job.site
    about: Optional[ObjectRef] = None
    if site is not None and site.patches:
        for count in range(len(site.patches) + 1):
            try:
                job.build(folder, patches=count, markers=False)
            except BuildFailed as problem:
                cause = meaning(str(problem))
                subject = site.patches[count - 1].origin if count else subject
                break
        else:  # only the markers fail: a target that is no regular expression, or that is not about an object
            subject = "%s_patches" % job.component.name
    for name in site.replicas if site else ():
        if "no workload is named %s" % name == cause:
            subject = "%s_replicas['%s']" % (job.component.name, name)
            about = ObjectRef("", "Workload", "", name)
    if site is not None and site.private:
        text = ""  # kustomize quotes what it cannot read
    story = {
        "subject": subject,
        "component": job.component.name,
        "found": text.replace(str(folder), "(overlay)"),
        "next_step": "correct it and run again; nothing was written",
    }
    return Unmatched(cause, about, **story) if about else EngineError(cause, **story)


def assemble(release: Release, rendered: Sequence[Tuple[str, Rendered]]) -> Dict[ObjectRef, RenderedObject]:
    """Put the components together: namespaces as the API server sees them, our label, and every check.

    The objects are changed in place.
    """
    scopes = Scopes(obj for _name, result in rendered for obj in result.objects)
    found: Dict[ObjectRef, RenderedObject] = {}
    for component, result in rendered:
        for at, obj in enumerate(result.objects):
            ref = _placed(release, component, obj, scopes)
            if ref in found:
                raise EngineError(
                    "rendered twice",
                    subject=str(ref),
                    found="by component %s and by component %s" % (found[ref].component, component),
                    next_step="leave it to one of them: remove it from the other with a patch, or correct the release data",
                )
            labels = obj["metadata"].get("labels") or {}
            obj["metadata"]["labels"] = {**labels, COMPONENT_LABEL: component}
            found[ref] = RenderedObject(component, obj, at in result.touched)
    return found


def _placed(release: Release, component: str, obj: KubeObject, scopes: Scopes) -> ObjectRef:
    """Settle an object's namespace.

    :raises EngineError: a namespaced object has none, or a name or namespace has a variable left in it.
    """
    ref = ref_of(obj)
    namespaced = scopes.namespaced(group_of(obj["apiVersion"]), obj["kind"])
    if namespaced is False and ref.namespace:  # kustomize's `namespace:` sets it everywhere; the API server drops it
        del obj["metadata"]["namespace"]
        ref = ref_of(obj)
    if namespaced and not ref.namespace:
        fixes = [fix.namespace for fix in release.namespaces if fix.match.matches(ref)]
        if not fixes:
            raise EngineError(
                "has no namespace",
                subject=str(ref),
                component=component,
                next_step="give it one with a patch, or in 'namespaces' of the release data",
            )
        obj["metadata"]["namespace"] = fixes[0]
        ref = ref_of(obj)
    if "$(" in ref.name or "$(" in ref.namespace:
        raise EngineError(
            "a variable of kustomize is left in its name",
            subject=str(ref),
            component=component,
            expected="kustomize %s" % release.kustomize_version,
            next_step="another version of kustomize, or a patch that removed what the variable is taken from",
        )
    return ref


class Kept:
    """Renders by content key, as JSON; the ones not used for longest go first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, key: str) -> Optional[Rendered]:
        """A kept render; None if there is none that can be read."""
        path = self._folder / (key + ".json")
        try:
            content = json.loads(path.read_bytes())
            os.utime(path)
        except (OSError, ValueError):
            return None
        return Rendered(content["objects"], content["digest"], frozenset())

    def store(self, key: str, result: Rendered) -> None:
        """Keep a render."""
        head = '{"digest":"%s","objects":' % result.digest
        write_atomically(self._folder / (key + ".json"), head.encode() + result.encoded + b"}")

    def trim(self, limit: int) -> None:
        """Remove what has not been used for longest until the rest is within the limit (bytes)."""
        files = []
        for path in self._folder.glob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another run was faster
                continue
            if path.suffix == ".json" and path.stem != "kustomize":
                files.append((status.st_mtime_ns, status.st_size, path))
            elif path.name.startswith(".new-") and time.time() - status.st_mtime > 3600:  # of a killed run
                path.unlink(missing_ok=True)
        total = sum(size for _used, size, _path in files)
        for _used, size, path in sorted(files):
            if total <= limit:
                break
            path.unlink(missing_ok=True)
            total -= size
