# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is in a cluster, as far as metadata tell: what owns what, what is in which namespace, who holds which lock."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Dict, Iterable, List, Mapping, Tuple

from .api import Api, Resource
from .locking import LEASES
from .objects import KubeObject, ObjectRef, ref_of

READERS = 4
# They hold no data and nobody asks for them: events, and what is worked out when it is read.
UNSEEN_KINDS = ("Event", "ComponentStatus")
UNSEEN_GROUPS = "metrics.k8s.io"
# Where the leader of an election writes its name if it does not use a Lease [client-go, resourcelock].
LEADER = "control-plane.alpha.kubernetes.io/leader"


@dataclass(frozen=True)
class Thing:
    """One object.

    :ivar live: its metadata, with apiVersion and kind.
    :ivar holder: of the lock of an election: the pod that holds it, "" otherwise.
    """

    ref: ObjectRef
    resource: Resource
    live: KubeObject
    holder: str = ""

    @property
    def uid(self) -> str:
        """Which object it is."""
        return str(self.live["metadata"].get("uid", ""))

    @property
    def owners(self) -> Tuple[str, ...]:
        """The uids of its owners."""
        return tuple(str(owner["uid"]) for owner in self.live["metadata"].get("ownerReferences") or ())

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.live["metadata"].get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """Its annotations."""
        return self.live["metadata"].get("annotations") or {}

    @property
    def managers(self) -> Tuple[str, ...]:
        """Who wrote its fields."""
        return tuple(str(entry.get("manager")) for entry in self.live["metadata"].get("managedFields") or ())

    @property
    def definition(self) -> str:
        """The name that the CustomResourceDefinition of its kind has, if there is one."""
        return "%s.%s" % (self.resource.plural, self.resource.group)


class Survey:
    """All objects, and how they hang together.

    :ivar things: by identity; ``by_uid``: the same by uid.
    :ivar children: uid of an owner -> what it owns; ``inside``: namespace -> what is in it.
    :ivar instances: name of a CustomResourceDefinition -> objects of its kind.
    """

    def __init__(self, things: Iterable[Thing]) -> None:
        self.things: Dict[ObjectRef, Thing] = {thing.ref: thing for thing in things}
        self.by_uid: Dict[str, Thing] = {thing.uid: thing for thing in self.things.values()}
        self.children: Dict[str, List[Thing]] = {}
        self.inside: Dict[str, List[Thing]] = {}
        self.instances: Dict[str, List[Thing]] = {}
        for thing in self.things.values():
            for owner in thing.owners:
                self.children.setdefault(owner, []).append(thing)
            if thing.ref.namespace:
                self.inside.setdefault(thing.ref.namespace, []).append(thing)
            self.instances.setdefault(thing.definition, []).append(thing)


def take_survey(api: Api) -> Survey:
    """Look at every kind that is served: one LIST each, of metadata only.

    :raises ApiError: a kind cannot be listed; what is not seen cannot be judged.
    """
    resources = [one for one in api.discover().kinds() if one.kind not in UNSEEN_KINDS and not one.group.endswith(UNSEEN_GROUPS)]
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda resource: _things(api, resource), resources))
    return Survey(thing for things in found for thing in things)


def _things(api: Api, resource: Resource) -> List[Thing]:
    leases = (resource.group, resource.kind) == (LEASES.group, LEASES.kind)
    items = api.list(resource, names=not leases)[0]
    return [Thing(ref_of(item), resource, _bare(item), _pod(_holder(item))) for item in items]


def _bare(item: KubeObject) -> KubeObject:
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": item["metadata"]}


def _holder(item: KubeObject) -> str:
    """Who holds the lock that an object is, if it is one."""
    told = (item.get("spec") or {}).get("holderIdentity")
    note = (item["metadata"].get("annotations") or {}).get(LEADER)
    if note and not told:
        try:
            told = json.loads(note).get("holderIdentity")
        except (ValueError, AttributeError):
            told = ""
    return str(told or "")


def _pod(holder: str) -> str:
    """The pod of a holder: client-go's programs append ``_`` and a random text to the host's name."""
    return holder.split("_", maxsplit=1)[0]
