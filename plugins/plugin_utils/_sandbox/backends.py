# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which programs of a release are run for real in the sandbox, and how they are built.

Which ones is release data (``programs``). The exact versions are in ``tools/go/backends/<module>/go.mod``; a program's
``version`` names the place in the cache and what is reported. A pod whose Deployment is in no row is only simulated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence, Tuple

from ...module_utils._engine.catalogue import Catalogue, Program
from ...module_utils._engine.golang import build_go
from ...module_utils._engine.objects import KubeObject
from ...module_utils._engine.progress import Progress

MODULES = Path(__file__).resolve().parents[3] / "tools" / "go" / "backends"
LDFLAGS = "-s -w"


Backend = Program


def backends_for(release: str) -> Tuple[Backend, ...]:
    """The programs that are real in the sandbox of a release; none for an unknown one."""
    catalogue = Catalogue.load()
    return catalogue.release(release).programs if release in catalogue.names else ()


def deployment_of(pod: KubeObject) -> str:
    """The Deployment that a pod belongs to, by its ReplicaSet's name; "" if it has none."""
    for owner in pod["metadata"].get("ownerReferences") or []:
        if owner.get("kind") == "ReplicaSet":
            return str(owner["name"]).rpartition("-")[0]
    return ""


def backend_of(pod: KubeObject, backends: Sequence[Backend]) -> Optional[Tuple[Backend, str]]:
    """The program and the container it stands for, or None for a pod that is only simulated."""
    place = (pod["metadata"].get("namespace") or "", deployment_of(pod))
    containers = {container["name"] for container in pod["spec"].get("containers") or []}
    for backend in backends:
        for match in backend.pods:
            if place == (match.namespace, match.deployment) and match.container in containers:
                return backend, match.container
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
