# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects of a backup, put back into a cluster: what is missing is made, what is there stays unless a person says otherwise.

An object comes back as it was, its status included, so that a finished experiment stays finished. References to owners get
the uids that these have now; an object whose owner is not there yet waits for the next pass.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from .api import Api, ApiError, Discovery, Resource
from .gathering import PAGE, comparable, digest
from .migrating import MERGE
from .objects import KubeObject, ObjectRef, ref_of
from .progress import Progress
from .usage import CLAIM
from .volume_snapshots import data_source

MANAGER = "mlplatform.kubeflow-restore"
# An owner of an owner of an owner: more passes than any kind of the platform needs.
PASSES = 5
# How often an object that somebody writes to is looked at again.
TURNS = 5
# How many names a plan shows of one sort.
SHOWN = 20
# What binds a claim to the volume that it had in its old cluster: fields, and beginnings of annotations.
_OF_THE_VOLUME = ("volumeName", "dataSource", "dataSourceRef")
_BOUND = ("pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/storage-provisioner")


class Fate(str, Enum):
    """What becomes of one object of a backup."""

    CREATE = "create"
    SAME = "same"
    DIFFERENT = "different"
    REPLACE = "replace"
    NOT_SERVED = "not-served"
    ORPHAN = "orphan"


@dataclass
class Tally:
    """How many objects have which fate, and the first names of those that a person wants to see."""

    counts: Dict[str, int] = field(default_factory=dict)
    names: Dict[str, List[str]] = field(default_factory=dict)

    def add(self, fate: Fate, ref: ObjectRef) -> None:
        """One more."""
        self.counts[fate.value] = self.counts.get(fate.value, 0) + 1
        names = self.names.setdefault(fate.value, [])
        if len(names) < SHOWN:
            names.append(str(ref))

    def of(self, *fates: Fate) -> int:
        """How many have one of these fates."""
        return sum(self.counts.get(fate.value, 0) for fate in fates)


@dataclass(frozen=True)
class _Live:
    """What is known of an object that is there."""

    content: str
    has_status: bool


class Objects:
    """The objects of one kind of a backup, in front of the cluster that they go to.

    :param read: starts reading the saved objects from the beginning; they are read once per pass, never all in memory.
    :param has_status: the kinds whose status is written apart, by (group, kind).
    :param overwrite: whether an object that differs gets the content that it has in the backup.
    :param snapshots: claims, by namespace and name, that are made out of a snapshot of this name.
    """

    def __init__(
        self,
        api: Api,
        discovery: Discovery,
        read: Callable[[], Iterable[KubeObject]],
        has_status: Mapping[Tuple[str, str], bool],
        overwrite: bool,
        snapshots: Optional[Mapping[Tuple[str, str], str]] = None,
    ) -> None:
        self._api, self._discovery, self._read = api, discovery, read
        self._has_status = has_status
        self._overwrite = overwrite
        self._snapshots = snapshots or {}
        self._uids: Dict[Tuple[str, str, str], str] = {}
        self._live: Dict[Resource, Dict[ObjectRef, _Live]] = {}

    # ---------------------------------------------------------------- looking

    def plan(self) -> Tally:
        """What :meth:`restore` would do; one LIST of each kind, of which names and digests are kept."""
        tally = Tally()
        for obj in self._read():
            ref = ref_of(obj)
            resource = self._discovery.get(obj["apiVersion"], obj["kind"])
            tally.add(Fate.NOT_SERVED if resource is None else self._fate(obj, self._there(resource).get(ref)), ref)
        return tally

    def _there(self, resource: Resource) -> Dict[ObjectRef, _Live]:
        """What there is of a kind, read once."""
        if resource not in self._live:
            pages = self._api.pages(resource, limit=PAGE)
            self._live[resource] = {ref_of(obj): _Live(_content(obj), bool(obj.get("status"))) for page in pages for obj in page}
        return self._live[resource]

    def _fate(self, obj: KubeObject, there: Optional[_Live]) -> Fate:
        if there is None:
            return Fate.CREATE
        if there.content == _content(obj) or _controlled(obj):
            return Fate.SAME  # what a controller keeps as it must be is the controller's
        return Fate.REPLACE if self._overwrite else Fate.DIFFERENT

    # ---------------------------------------------------------------- writing

    def restore(self, progress: Progress, name: str) -> Tally:
        """Put them back; running it again finds the same state and writes nothing.

        :raises ApiError: the server refused one; those before it are there, and a new run goes on.
        """
        done = Tally()
        finished: Set[ObjectRef] = set()
        for _number in range(PASSES):
            waiting = 0
            for obj in self._read():
                ref = ref_of(obj)
                if ref in finished:
                    continue
                fate = self._put(obj, ref)
                if fate is Fate.ORPHAN:
                    waiting += 1
                    continue
                finished.add(ref)
                done.add(fate, ref)
                progress.waiting("", "%s: %d objects" % (name, len(finished)))
            if not waiting:
                return done
        for obj in self._read():
            if ref_of(obj) not in finished:
                done.add(Fate.ORPHAN, ref_of(obj))
        return done

    def _put(self, obj: KubeObject, ref: ObjectRef) -> Fate:
        resource = self._discovery.get(obj["apiVersion"], obj["kind"])
        if resource is None:
            return Fate.NOT_SERVED
        there = self._there(resource).get(ref)
        fate = self._fate(obj, there)
        if there is not None and fate is not Fate.REPLACE:
            if not there.has_status:  # a run was killed between the two writes of one object
                self._put_status(resource, obj, ref)
            return fate
        owners = self._owners(obj, ref)
        if owners is None:
            return Fate.ORPHAN
        fresh = without_ties(obj, owners)
        if there is None:
            snapshot = self._snapshots.get((ref.namespace, ref.name))
            if snapshot and ref.kind_group == CLAIM:
                fresh["spec"]["dataSource"] = data_source(snapshot)
            if self._create(resource, fresh) is None:
                return Fate.SAME
        else:
            self._replace(resource, fresh, ref)
        self._put_status(resource, obj, ref)
        return fate

    def _put_status(self, resource: Resource, obj: KubeObject, ref: ObjectRef) -> None:
        if obj.get("status") and self._has_status.get((ref.group, ref.kind)):
            status = {"status": obj["status"]}
            self._api.patch(resource, ref.namespace, ref.name, status, content_type=MERGE, subresource="status", manager=MANAGER)

    def _replace(self, resource: Resource, fresh: KubeObject, ref: ObjectRef) -> None:
        """Write over what is there; a controller that writes its status meanwhile does not stop it.

        :raises ApiError: the server refuses it; or somebody writes to it all the time.
        """
        for turn in range(1, TURNS + 1):
            live = self._api.get(resource, ref.namespace, ref.name)
            if live is None:
                self._create(resource, fresh)
                return
            fresh["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            try:
                self._api.replace(resource, fresh, manager=MANAGER)
                return
            except ApiError as error:
                if error.status != 409 or turn == TURNS:
                    raise

    def _create(self, resource: Resource, fresh: KubeObject) -> Optional[KubeObject]:
        """What was made; None if a controller was quicker, whose object then stays."""
        try:
            return self._api.create(resource, fresh, manager=MANAGER)
        except ApiError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                return None
            raise

    def _owners(self, obj: KubeObject, ref: ObjectRef) -> Optional[List[Dict[str, Any]]]:
        """The references to owners with the uids of today; None if one of them is not there."""
        found = []
        for owner in obj["metadata"].get("ownerReferences") or []:
            resource = self._discovery.get(str(owner.get("apiVersion")), str(owner.get("kind")))
            if resource is None:
                return None
            uid = self._uid(resource, ref.namespace if resource.namespaced else "", str(owner.get("name")))
            if not uid:
                return None
            found.append({**owner, "uid": uid})
        return found

    def _uid(self, resource: Resource, namespace: str, name: str) -> str:
        key = (resource.path(), namespace, name)
        if key not in self._uids:
            owner = self._api.get(resource, namespace, name)
            if owner is None:
                return ""  # asked again in the next pass
            self._uids[key] = str(owner["metadata"]["uid"])
        return self._uids[key]


def _controlled(obj: KubeObject) -> bool:
    return any(owner.get("controller") for owner in obj["metadata"].get("ownerReferences") or [])


def _content(obj: KubeObject) -> str:
    """What decides whether two objects are the same: all but what belongs to one cluster, and the status, which goes on.

    Of a claim only what was asked for: its volume is another one in every cluster.
    """
    if obj["kind"] == CLAIM:
        return hashlib.sha256(repr(sorted((obj.get("spec") or {}).get("resources", {}).items())).encode()).hexdigest()
    return digest({key: value for key, value in obj.items() if key != "status"})


def without_ties(obj: KubeObject, owners: Sequence[Mapping[str, Any]]) -> KubeObject:
    """The object as it can be made in any cluster: nothing in it that names an object of the old one."""
    fresh = comparable(obj)
    metadata = fresh["metadata"]
    if owners:
        metadata["ownerReferences"] = [dict(owner) for owner in owners]
    if obj["kind"] == CLAIM:
        fresh = {key: value for key, value in fresh.items() if key != "status"}
        fresh["spec"] = {key: value for key, value in obj["spec"].items() if key not in _OF_THE_VOLUME}
        annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if not key.startswith(_BOUND)}
        fresh["metadata"] = {**metadata, "annotations": annotations}
    return fresh


def merged(tallies: Iterable[Tally]) -> Tally:
    """All of them as one."""
    total = Tally()
    for one in tallies:
        for fate, number in one.counts.items():
            total.counts[fate] = total.counts.get(fate, 0) + number
        for fate, names in one.names.items():
            total.names[fate] = (total.names.get(fate, []) + names)[:SHOWN]
    return total
