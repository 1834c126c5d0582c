# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants' volumes: snapshots that their storage makes along with a backup, and claims made out of these in a restore.

The bytes stay in the storage: a backup holds what finds them again (driver and handle). So that they outlive the namespace and
even the cluster, a snapshot's content is set to be retained; with the backup both go.
"""

from __future__ import annotations

import queue
import time
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from . import gathering
from .api import Api, Discovery, Resource
from .errors import EngineError, sure
from .migrating import MERGE
from .objects import KubeObject, ObjectRef, get_path, ref_of
from .progress import Progress
from .usage import CLAIMS
from .watching import Watcher

GROUP = "snapshot.storage.k8s.io"
SNAPSHOTS = Resource(GROUP + "/v1", "VolumeSnapshot", "volumesnapshots", True)
CONTENTS = Resource(GROUP + "/v1", "VolumeSnapshotContent", "volumesnapshotcontents", False)
CLASSES = Resource(GROUP + "/v1", "VolumeSnapshotClass", "volumesnapshotclasses", False)
VOLUMES = Resource("v1", "PersistentVolume", "persistentvolumes", False)
# On the snapshots and contents of a backup: its time.
LABEL = "mlplatform.kubeflow/backup"
IS_DEFAULT = "snapshot.storage.kubernetes.io/is-default-class"
TICK_SECONDS = 0.5
Key = Tuple[str, str]


@dataclass(frozen=True)
class Saved:
    """The snapshot of one claim.

    :ivar name: of the VolumeSnapshot, in the claim's namespace.
    :ivar handle: what the driver calls it. :ivar size: bytes that a volume made of it needs at least.
    """

    namespace: str
    claim: str
    name: str
    driver: str
    handle: str
    size: int

    @property
    def key(self) -> Key:
        """The claim's namespace and name."""
        return self.namespace, self.claim

    def line(self) -> KubeObject:
        """As JSON."""
        return asdict(self)


def are_served(discovery: Discovery) -> bool:
    """Whether the cluster has the API for snapshots."""
    return discovery.get(SNAPSHOTS.group_version, SNAPSHOTS.kind) is not None


def stamp_of(backup: str) -> str:
    """The time in a backup's id, which is a label's value."""
    return backup.partition("-")[0]


# ------------------------------------------------------------------ with a backup


class Taker:
    """Makes the snapshots of one backup. Run again it goes on: what is there is not made twice.

    :ivar without: claims whose storage makes no snapshots.
    """

    def __init__(self, api: Api, backup: str, progress: Progress, timeout: float) -> None:
        self._api, self._stamp = api, stamp_of(backup)
        self._progress, self._timeout = progress, timeout
        self.without: List[str] = []

    def take(self, tenants: FrozenSet[str]) -> List[Saved]:
        """One of every bound claim of these namespaces.

        :raises EngineError: the driver did not make one in time, with what it says.
        """
        wanted = self._wanted(tenants)
        there = {(item["metadata"]["namespace"], _claim_of(item)): ref_of(item) for item in self._existing(SNAPSHOTS)}
        refs = []
        for (namespace, claim), class_name in wanted.items():
            refs.append(there.get((namespace, claim)) or self._make(namespace, claim, class_name))
        if not refs:
            return []
        ready = wait_until_ready(self._api, refs, self._progress, self._timeout, "%s=%s" % (LABEL, self._stamp))
        contents = {item["metadata"]["name"]: item for item in self._api.list(CONTENTS)[0]}
        return [self._saved(snapshot, contents) for snapshot in ready]

    def _wanted(self, tenants: FrozenSet[str]) -> Dict[Key, str]:
        """The claims that a snapshot can be made of, with its class."""
        drivers = {item["metadata"]["name"]: get_path(item, "spec.csi.driver") for item in self._api.list(VOLUMES)[0]}
        classes = _class_of_driver(self._api.list(CLASSES)[0])
        found: Dict[Key, str] = {}
        for claim in gathering.read(self._api, gathering.Kind(CLAIMS, namespaces=tenants)):
            metadata = claim["metadata"]
            class_name = classes.get(str(drivers.get(get_path(claim, "spec.volumeName"))))
            if class_name is None:
                self.without.append("%s/%s" % (metadata["namespace"], metadata["name"]))
            else:
                found[metadata["namespace"], metadata["name"]] = class_name
        return found

    def _existing(self, resource: Resource) -> List[KubeObject]:
        return self._api.list(resource, selector="%s=%s" % (LABEL, self._stamp))[0]

    def _make(self, namespace: str, claim: str, class_name: str) -> ObjectRef:
        name = "%s-%s" % (claim[:200], self._stamp.lower())
        metadata = {"name": name, "namespace": namespace, "labels": {LABEL: self._stamp}}
        spec = {"volumeSnapshotClassName": class_name, "source": {"persistentVolumeClaimName": claim}}
        made = {"apiVersion": SNAPSHOTS.group_version, "kind": SNAPSHOTS.kind, "metadata": metadata, "spec": spec}
        return ref_of(self._api.apply(SNAPSHOTS, made, force=True))

    def _saved(self, snapshot: KubeObject, contents: Mapping[str, KubeObject]) -> Saved:
        """What finds it again; its content stays from now on, whatever becomes of the namespace."""
        metadata = snapshot["metadata"]
        content = contents[snapshot["status"]["boundVolumeSnapshotContentName"]]
        keep = {"metadata": {"labels": {LABEL: self._stamp}}, "spec": {"deletionPolicy": "Retain"}}
        self._api.patch(CONTENTS, "", content["metadata"]["name"], keep, content_type=MERGE)
        size = int(get_path(content, "status.restoreSize") or 0)
        handle, driver = str(content["status"]["snapshotHandle"]), str(content["spec"]["driver"])
        return Saved(metadata["namespace"], sure(_claim_of(snapshot)), metadata["name"], driver, handle, size)


def _claim_of(snapshot: KubeObject) -> str:
    return str(get_path(snapshot, "spec.source.persistentVolumeClaimName") or "")


def _class_of_driver(classes: Sequence[KubeObject]) -> Dict[str, str]:
    """Of several classes of a driver the default one, else the first by name."""

    def order(item: KubeObject) -> Tuple[bool, str]:
        is_default = (item["metadata"].get("annotations") or {}).get(IS_DEFAULT) == "true"
        return not is_default, item["metadata"]["name"]

    found: Dict[str, str] = {}
    for item in sorted(classes, key=order):
        found.setdefault(str(item["driver"]), item["metadata"]["name"])
    return found


def forget(api: Api, backup: str) -> int:
    """Delete the snapshots of a backup that nobody wants any more, in the storage too; how many."""
    selector = "%s=%s" % (LABEL, stamp_of(backup))
    contents = api.list(CONTENTS, selector=selector)[0]
    for content in contents:
        api.patch(CONTENTS, "", content["metadata"]["name"], {"spec": {"deletionPolicy": "Delete"}}, content_type=MERGE)
    for resource, items in ((SNAPSHOTS, api.list(SNAPSHOTS, selector=selector)[0]), (CONTENTS, contents)):
        for item in items:
            api.delete(resource, item["metadata"].get("namespace", ""), item["metadata"]["name"], item["metadata"]["uid"])
    return len(contents)


# ------------------------------------------------------------------ in a restore


def data_source(name: str) -> KubeObject:
    """What makes a claim out of a snapshot of its namespace: its ``spec.dataSource``."""
    return {"apiGroup": GROUP, "kind": SNAPSHOTS.kind, "name": name}


def provide(api: Api, saved: Iterable[Saved], backup: str, progress: Progress, timeout: float) -> Dict[Key, str]:
    """The snapshots that claims can be made of, by claim: those that are still there, and for the others new ones of the old handle.

    :raises EngineError: the driver does not know one of them, or is not in this cluster.
    """
    found: Dict[Key, str] = {}
    refs = []
    for one in saved:
        ref = ObjectRef(GROUP, SNAPSHOTS.kind, one.namespace, one.name)
        if api.get(SNAPSHOTS, one.namespace, one.name) is None:
            _import(api, one, stamp_of(backup))
        refs.append(ref)
        found[one.key] = one.name
    wait_until_ready(api, refs, progress, timeout, "%s=%s" % (LABEL, stamp_of(backup)))
    return found


def _import(api: Api, one: Saved, stamp: str) -> None:
    """A snapshot that the driver has already [Kubernetes, volume snapshots: pre-provisioned]."""
    name = "%s-%s-%s" % (one.namespace[:60], one.claim[:120], stamp.lower())
    labels = {LABEL: stamp}
    reference = {"apiVersion": SNAPSHOTS.group_version, "kind": SNAPSHOTS.kind, "namespace": one.namespace, "name": one.name}
    spec: Dict[str, Any] = {"deletionPolicy": "Retain", "driver": one.driver, "source": {"snapshotHandle": one.handle}}
    content = {"metadata": {"name": name, "labels": labels}, "spec": {**spec, "volumeSnapshotRef": reference}}
    snapshot = {
        "metadata": {"name": one.name, "namespace": one.namespace, "labels": labels},
        "spec": {"source": {"volumeSnapshotContentName": name}},
    }
    for resource, obj in ((CONTENTS, content), (SNAPSHOTS, snapshot)):
        api.apply(resource, {"apiVersion": resource.group_version, "kind": resource.kind, **obj}, force=True)


# ------------------------------------------------------------------ waiting


def wait_until_ready(api: Api, refs: Sequence[ObjectRef], progress: Progress, timeout: float, selector: str) -> List[KubeObject]:
    """These snapshots when all of them can be used, by one watch.

    :raises EngineError: none of them got ready for so many seconds: the first one is named, with what its driver says.
    """
    if not refs:
        return []
    changes: queue.SimpleQueue[ObjectRef] = queue.SimpleQueue()
    watcher = Watcher(api, changes.put)
    watcher.start(SNAPSHOTS, selector=selector)
    try:
        return _followed(refs, lambda ref: watcher.get(SNAPSHOTS, ref), changes, progress, timeout)
    finally:
        watcher.stop()


def _followed(
    refs: Sequence[ObjectRef],
    look: Callable[[ObjectRef], Optional[KubeObject]],
    changes: queue.SimpleQueue[ObjectRef],
    progress: Progress,
    timeout: float,
) -> List[KubeObject]:
    moved, before = time.monotonic(), 0
    while True:
        there = {ref: look(ref) for ref in refs}
        waiting = [ref for ref, live in there.items() if live is None or get_path(live, "status.readyToUse") is not True]
        if not waiting:
            return [sure(there[ref]) for ref in refs]
        first, now = waiting[0], time.monotonic()
        if len(refs) - len(waiting) > before:
            moved, before = now, len(refs) - len(waiting)
        said = str(get_path(there[first], "status.error.message") or "")
        if now - moved > timeout:
            raise EngineError(
                "the snapshot is not ready after %.0f s" % timeout,
                subject=str(first),
                found=said or "nothing is said about it",
                next_step="see whether the snapshot controller and the volume's CSI driver run, and what they log; then run this again, "
                "it goes on. Or leave volumes out, by naming the other parts",
            )
        text = "%d of %d snapshots of volumes are ready; %s %s" % (len(refs) - len(waiting), len(refs), first, said or "is being made")
        progress.waiting("", text.strip())
        try:
            changes.get(timeout=min(TICK_SECONDS, timeout))
        except queue.Empty:
            continue
