# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays the volume provisioner of the default StorageClass. No byte is ever stored."""

from __future__ import annotations

from ...module_utils._engine.objects import KubeObject, get_path
from .controlplane import DEFAULT_CLASS, PROVISIONER
from .kube import Client
from .view import View

VOLUMES = "/api/v1/persistentvolumes"


class Volumes:
    """The provisioner."""

    def __init__(self, client: Client, view: View) -> None:
        self._client = client
        self._view = view

    def claim(self, namespace: str, name: str) -> None:
        """Make a volume for a claim that waits for one; the controller manager binds the two."""
        obj = self._view.get("PersistentVolumeClaim", namespace, name)
        if obj is None or get_path(obj, "spec.storageClassName") != DEFAULT_CLASS or get_path(obj, "spec.volumeName"):
            return
        self._client.create(VOLUMES, _volume(obj))

    def forget(self, claim: KubeObject) -> None:
        """Remove the volume of a claim that was deleted."""
        if get_path(claim, "spec.storageClassName") == DEFAULT_CLASS:
            self._client.delete("%s/pvc-%s" % (VOLUMES, claim["metadata"]["uid"]))


def _volume(claim: KubeObject) -> KubeObject:
    metadata, spec = claim["metadata"], claim["spec"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": "pvc-" + metadata["uid"],
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": spec.get("volumeMode", "Filesystem"),
            "storageClassName": DEFAULT_CLASS,
            "persistentVolumeReclaimPolicy": "Delete",
            "csi": {"driver": PROVISIONER, "volumeHandle": metadata["uid"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        },
    }
