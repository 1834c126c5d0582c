# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which programs of a release are run for real in the sandbox, and how they are built.

Which ones is release data (``programs``). The exact versions are in ``tools/go/backends/<module>/go.mod``; a program's
``version`` names the place in the cache and what is reported. A pod whose Deployment is in no row is only simulated.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple

from ...module_utils._engine.catalogue import Catalogue, Program
from ...module_utils._engine.golang import build_go
from ...module_utils._engine.objects import KubeObject
from ...module_utils._engine.progress import Progress

MODULES = Path(__file__).resolve().parents[3] / "tools" / "go" / "backends"
LDFLAGS = "-s -w"


Backend = Program


def backends_for(release: str, upgrades: Sequence[str] = ()) -> Tuple[Backend, ...]:
    """The programs that are real in the sandbox of a release, and of those that it is moved to; none for an unknown one.

    With one release a pod is known by its Deployment, wherever its image comes from; with several its image tells.
    """
    catalogue = Catalogue.load()
    found: Dict[Backend, None] = {}  # a program that two releases share is one
    for name in (release, *upgrades):
        for program in catalogue.release(name).programs if name in catalogue.names else ():
            found[replace(program, note="") if upgrades else replace(program, image="", note="")] = None
    return tuple(found)


def deployment_of(pod: KubeObject) -> str:
    """The Deployment that a pod belongs to, by its ReplicaSet's name; "" if it has none."""
    for owner in pod["metadata"].get("ownerReferences") or []:
        if owner.get("kind") == "ReplicaSet":
            return str(owner["name"]).rpartition("-")[0]
    return ""


def backend_of(pod: KubeObject, backends: Sequence[Backend]) -> Optional[Tuple[Backend, str]]:
    """The program and the container it stands for, or None for a pod that is only simulated."""
    place = (pod["metadata"].get("namespace") or "", deployment_of(pod))
    images = {container["name"]: container["image"] for container in pod["spec"].get("containers") or []}
    for backend in backends:
        for match in backend.pods:
            image = images.get(match.container) if place == (match.namespace, match.deployment) else None
            if image is not None and image.endswith(backend.image):
                return backend, match.container
    return None


def other_release(pod: KubeObject, backends: Sequence[Backend]) -> Optional[str]:
    """The container of a pod whose Deployment has a program here, but of another release's image; else None."""
    for backend in backends:
        for match in backend.pods:
            if (pod["metadata"].get("namespace") or "", deployment_of(pod)) == (match.namespace, match.deployment):
                return match.container if backend_of(pod, backends) is None else None
    return None


def binary_path(backend: Backend, cache_dir: Path) -> Path:
    """Where the program is in the cache."""
    return cache_dir / "tools" / ("%s-%s" % (backend.name, backend.version)) / backend.name


def ensure_backend(backend: Backend, cache_dir: Path, progress: Progress) -> Path:
    """The program's static binary, built from its Go module unless the cache has it.

    :raises EngineError: no Go, or the build failed.
    """
    path = binary_path(backend, cache_dir)
    if not path.exists():
        progress.say("sandbox", "building %s %s from its Go module" % (backend.name, backend.version))
        build_go(MODULES / backend.module, backend.package, path, LDFLAGS, progress, cache_dir)
    return path
