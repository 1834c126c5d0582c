# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which programs of a release are run for real in the sandbox, and how they are built.

One row per program. The exact versions are in ``tools/go/backends/<module>/go.mod``; a row's ``version`` names the
place in the cache and what is reported. A pod whose Deployment is in no row is only simulated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence, Tuple

from ...module_utils._engine.golang import build_go
from ...module_utils._engine.objects import KubeObject
from ...module_utils._engine.progress import Progress

MODULES = Path(__file__).resolve().parents[3] / "tools" / "go" / "backends"
LDFLAGS = "-s -w"


@dataclass(frozen=True)
class PodMatch:
    """The pods of one Deployment, and the container in them that the program stands for."""

    namespace: str
    deployment: str
    container: str


@dataclass(frozen=True)
class Backend:
    """One program.

    :param name: how it is called in messages and in the cache.
    :param version: of the module that is built.
    :param module: the folder below ``tools/go/backends`` with its go.mod.
    :param package: the import path of the command.
    :param program: what the command is called in the release's image.
    :param releases: the Kubeflow releases whose pods it stands for.
    :param note: where it is not exactly what the release's image is.
    """

    name: str
    version: str
    module: str
    package: str
    program: str
    releases: Tuple[str, ...]
    pods: Tuple[PodMatch, ...]
    note: str = ""


BACKENDS: Tuple[Backend, ...] = (
    Backend(
        "trainer",
        "v2.1.0",
        "trainer",
        "github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager",
        "manager",
        ("26.03",),
        (PodMatch("kubeflow-system", "kubeflow-trainer-controller-manager", "manager"),),
    ),
    Backend(
        "jobset",
        "v0.10.1",
        "jobset",
        "sigs.k8s.io/jobset",
        "manager",
        ("26.03",),
        (PodMatch("kubeflow-system", "jobset-controller-manager", "manager"),),
    ),
    Backend(
        "knative-controller",
        "v0.48.1",
        "knative-1.21",
        "knative.dev/serving/cmd/controller",
        "controller",
        ("26.03",),
        (PodMatch("knative-serving", "controller", "controller"),),
    ),
    Backend(
        "knative-webhook",
        "v0.48.1",
        "knative-1.21",
        "knative.dev/serving/cmd/webhook",
        "webhook",
        ("26.03",),
        (PodMatch("knative-serving", "webhook", "webhook"),),
    ),
    Backend(
        "spark-operator",
        "v2.5.0",
        "spark-2.5",
        "github.com/kubeflow/spark-operator/v2/cmd/operator",
        "spark-operator",
        ("26.03",),
        (
            PodMatch("kubeflow", "spark-operator-controller", "spark-operator-controller"),
            PodMatch("kubeflow", "spark-operator-webhook", "spark-operator-webhook"),
        ),
    ),
    Backend(
        "kserve",
        "v0.16.0",
        "kserve-0.16",
        "github.com/kserve/kserve/cmd/manager",
        "manager",
        ("26.03",),
        (PodMatch("kubeflow", "kserve-controller-manager", "manager"),),
    ),
    Backend(
        "kserve-llmisvc",
        "v0.16.0",
        "kserve-0.16",
        "github.com/kserve/kserve/cmd/llmisvc",
        "manager",
        ("26.03",),
        (PodMatch("kubeflow", "llmisvc-controller-manager", "manager"),),
    ),
    Backend(
        "training-operator",
        "v1.9.2",
        "training-operator",
        "github.com/kubeflow/training-operator/cmd/training-operator.v1",
        "manager",
        ("v1.10.2",),
        (PodMatch("kubeflow", "training-operator", "training-operator"),),
    ),
    Backend(
        "knative-controller",
        "v0.43.0",
        "knative-1.16",
        "knative.dev/serving/cmd/controller",
        "controller",
        ("v1.10.2",),
        (PodMatch("knative-serving", "controller", "controller"),),
        note="1.16.0 for 1.16.2, which the public module proxy does not serve",
    ),
    Backend(
        "knative-webhook",
        "v0.43.0",
        "knative-1.16",
        "knative.dev/serving/cmd/webhook",
        "webhook",
        ("v1.10.2",),
        (PodMatch("knative-serving", "webhook", "webhook"),),
        note="1.16.0 for 1.16.2, which the public module proxy does not serve",
    ),
    Backend(
        "spark-operator",
        "v2.2.1",
        "spark-2.2",
        "github.com/kubeflow/spark-operator/v2/cmd/operator",
        "spark-operator",
        ("v1.10.2",),
        (
            PodMatch("kubeflow", "spark-operator-controller", "spark-operator-controller"),
            PodMatch("kubeflow", "spark-operator-webhook", "spark-operator-webhook"),
        ),
        note="2.2.1 for 2.2.0, which the public module proxy does not serve",
    ),
)


def backends_for(release: str) -> Tuple[Backend, ...]:
    """The programs that are real in the sandbox of a release; none for an unknown one."""
    return tuple(backend for backend in BACKENDS if release in backend.releases)


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
