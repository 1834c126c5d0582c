# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which program stands for which pod, in a sandbox of one release and in one that is moved over several."""

from __future__ import annotations

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.backends import backend_of, backends_for, other_release

RELEASES = tuple(name for name in Catalogue.load().names if Catalogue.load().release(name).programs)


def a_pod(image: str, namespace: str, deployment: str, container: str) -> KubeObject:
    """A pod of a Deployment."""
    owner = {"kind": "ReplicaSet", "name": deployment + "-5d9c"}
    return {
        "metadata": {"namespace": namespace, "name": deployment + "-5d9c-x", "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "istio-proxy", "image": "proxy:1"}, {"name": container, "image": image}]},
    }


@pytest.mark.parametrize("release", RELEASES)
def test_of_several_releases_the_image_tells_which(release: str) -> None:
    """Wherever the image was mirrored to; never the program of another release."""
    several = backends_for(RELEASES[0], RELEASES[1:])
    for program in Catalogue.load().release(release).programs:
        for match in program.pods:
            pod = a_pod("mirror.example/copied" + program.image, match.namespace, match.deployment, match.container)
            found = backend_of(pod, several)
            assert found is not None and (found[0].version, found[1]) == (program.version, match.container)
            assert other_release(pod, several) is None


def test_a_pod_of_a_release_without_programs_is_played() -> None:
    """Its Deployment has a program, of other releases; in a sandbox of one release the Deployment is enough."""
    match = Catalogue.load().release(RELEASES[-1]).programs[0].pods[0]
    pod = a_pod("mirror.example/own-build:1", match.namespace, match.deployment, match.container)
    several = backends_for(RELEASES[0], RELEASES[1:])
    assert backend_of(pod, several) is None and other_release(pod, several) == match.container
    assert backend_of(pod, backends_for(RELEASES[-1])) is not None
    assert other_release(a_pod("x:1", "team", "server", "main"), several) is None
