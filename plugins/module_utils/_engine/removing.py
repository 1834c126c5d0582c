# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing: objects that a plan lets go are deleted in order, each step when everything of the one before is gone.

Nothing is decided here: what comes in was allowed. Every DELETE names the uid that was planned on.
"""

from __future__ import annotations

import queue
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from .aggregation import CLUSTER_ROLE, levels_of, made_by_aggregation
from .api import Api, Resource
from .errors import EngineError, sure
from .objects import KubeObject, ObjectRef, ref_of
from .progress import Progress
from .record import Record
from .runs import RANKS, WORKLOAD
from .stuck import Stuck
from .verdicts import Removal
from .watching import Watcher

WRITERS = 6
TICK_SECONDS = 0.5
# What is waited for longer than this is asked for its last event, again after as long.
LOOK_SECONDS = 4.0

DOORS, DATA, CUSTOM, WORK, PODS, GATHERING, PASSIVE, DEFINITION, NAMESPACE = range(9)
# What may stand between everybody and the API server, and calls what this run takes away.
DOOR_KINDS = (
    "MutatingWebhookConfiguration.admissionregistration.k8s.io",
    "ValidatingWebhookConfiguration.admissionregistration.k8s.io",
    "APIService.apiregistration.k8s.io",
)
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", False)
# Groups of kinds that come with Kubernetes; metacontroller.k8s.io and gateway.networking.k8s.io are none of them.
KUBERNETES_GROUPS = frozenset(
    ["", "apps", "autoscaling", "batch", "extensions", "policy"]
    + [
        "%s.k8s.io" % name
        for name in (
            "admissionregistration",
            "apiextensions",
            "apiregistration",
            "authentication",
            "authorization",
            "certificates",
            "coordination",
            "discovery",
            "events",
            "flowcontrol.apiserver",
            "internal.apiserver",
            "networking",
            "node",
            "rbac.authorization",
            "resource",
            "scheduling",
            "storage",
            "storagemigration",
        )
    ]
)


def is_built_in(ref: ObjectRef) -> bool:
    """Whether a kind comes with Kubernetes; all others have a CustomResourceDefinition, and controllers that clean up after them."""
    return ref.group in KUBERNETES_GROUPS


def turn_of(removal: Removal, follows: bool = False) -> int:
    """When an object's turn comes among all.

    :param follows: it goes by itself, after its owner.
    """
    ref = removal.ref
    if ref.kind_group in DOOR_KINDS:
        return DOORS
    if ref.kind_group == "CustomResourceDefinition.apiextensions.k8s.io":
        return DEFINITION
    if ref.kind_group == "Namespace":
        return DATA if follows else NAMESPACE
    if not is_built_in(ref):
        return DATA if removal.named else CUSTOM
    if ref.kind_group == "Pod" and follows:
        return PODS
    return WORK if RANKS.get(ref.kind_group) == WORKLOAD or ref.kind_group == "Pod" else PASSIVE


Step = Tuple[Removal, ...]


def in_order(removals: Sequence[Removal], followers: Sequence[Removal], components: Sequence[str]) -> Tuple[Step, ...]:
    """The steps, in order; each begins when everything of the one before is gone.

    Webhook configurations and APIServices first; users' objects while every controller runs; then component by component,
    those that others need last, the custom resources before the workloads that look after them; when no pod of theirs
    runs any more, what they read, the ClusterRoles that gather others before those; then definitions, then namespaces.

    :param components: in dependency order.
    """
    backwards = {name: len(components) - position for position, name in enumerate(components)}
    roles = {one.ref: one.live for one in removals if one.ref.kind_group == CLUSTER_ROLE and one.live is not None}
    levels = levels_of(roles)
    steps: Dict[Tuple[int, int, int], List[Removal]] = {}
    for follows, group in ((False, removals), (True, followers)):
        for removal in group:
            turn = turn_of(removal, follows)
            place = backwards.get(removal.component, 0)
            key = (CUSTOM, place, turn) if turn in (CUSTOM, WORK) else (turn, 0, 0)
            if removal.ref in levels:
                key = (GATHERING, levels[removal.ref], 0)
            steps.setdefault(key, []).append(removal)
    return tuple(tuple(sorted(steps[key], key=lambda one: (backwards.get(one.component, 0), one.ref))) for key in sorted(steps))


class Remover:
    """Deletes objects in order and waits until they are gone. A run that was killed is resumed by running it again.

    :param components: names of all components in dependency order.
    :param timeout: seconds without anything going away until the run ends with an error.
    :param record: says which component a kind belongs to, so that a time-out can name who should have cleaned up.
    :param gone: called for every object as soon as it is gone, in the caller's thread.
    """

    def __init__(
        self,
        api: Api,
        components: Sequence[str],
        progress: Progress,
        timeout: float,
        record: Optional[Record] = None,
        gone: Optional[Callable[[Removal], None]] = None,
    ) -> None:
        self._api, self._components = api, tuple(components)
        self._progress, self._timeout = progress, timeout
        self._gone = gone
        self._stuck = Stuck(api, record or Record())
        self._changes: queue.SimpleQueue[ObjectRef] = queue.SimpleQueue()
        self._count = 0
        self._roles: List[Removal] = []
        self.removed: List[ObjectRef] = []

    def remove(self, removals: Sequence[Removal], followers: Sequence[Removal] = ()) -> Tuple[ObjectRef, ...]:
        """Do it; what is gone now, in the order in which it went.

        :param followers: what goes by itself because its owner goes: it is waited for in its turn, never deleted.
        :raises EngineError: the server refused a deletion, an object was replaced by another of its name, or something
            does not go; ``removed`` says what did go.
        """
        waited_for = {removal.ref for removal in followers}
        before = len(self.removed)
        self._count = before + len(removals)
        for step in in_order(removals, followers, self._components):
            self._carry_out(step, waited_for)
        self._bury()
        return tuple(self.removed[before:])

    # ---------------------------------------------------------------- one step

    def _carry_out(self, step: Step, waited_for: Set[ObjectRef]) -> None:
        ours = [removal for removal in step if removal.ref not in waited_for]
        followers = [removal for removal in step if removal.ref in waited_for]
        staying, errors = self._delete(ours)
        left = {removal.ref for removal in staying} | {removal.ref for removal, _error in errors}
        self._note(removal for removal in ours if removal.ref not in left)
        if errors:
            raise _refused(errors)
        self._wait([*staying, *followers], waited_for)

    def _delete(self, removals: Sequence[Removal]) -> Tuple[List[Removal], List[Tuple[Removal, EngineError]]]:
        """Send the DELETEs; those that still go, and what went wrong with others."""
        staying: List[Removal] = []
        errors: List[Tuple[Removal, EngineError]] = []
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="delete") as pool:
            answers = [(removal, pool.submit(self._delete_one, removal)) for removal in removals]
            for number, (removal, answer) in enumerate(answers):
                self._progress.waiting(
                    removal.component, "%d of %d objects gone, deleting %s" % (len(self.removed) + number, self._count, removal.ref)
                )
                try:
                    if answer.result():
                        staying.append(removal)
                except EngineError as error:
                    errors.append((removal, error))
        return staying, errors

    def _delete_one(self, removal: Removal) -> bool:
        """In a writer's thread; whether it is still there afterwards."""
        if removal.resource is None:
            return False  # nobody serves its kind any more: it went with its definition
        if removal.live is not None and removal.live["metadata"].get("deletionTimestamp"):
            return True  # an earlier run deleted it
        return self._api.delete(removal.resource, removal.ref.namespace, removal.ref.name, removal.uid)

    def _note(self, removals: Iterable[Removal]) -> None:
        for removal in removals:
            self.removed.append(removal.ref)
            if removal.ref.kind_group == CLUSTER_ROLE:
                self._roles.append(removal)  # gone for good only when it is buried
            elif self._gone is not None:
                self._gone(removal)

    def _bury(self) -> None:
        """Delete the ClusterRoles that Kubernetes made again while we deleted them."""
        deleted = {ref for ref in self.removed if ref.kind_group == CLUSTER_ROLE}
        for role in self._api.list(CLUSTER_ROLES)[0] if deleted else ():
            if ref_of(role) in deleted and made_by_aggregation(role):
                self._api.delete(CLUSTER_ROLES, "", role["metadata"]["name"], role["metadata"]["uid"])
        if self._gone is not None:
            for removal in self._roles:
                self._gone(removal)
        self._roles = []

    # ---------------------------------------------------------------- waiting

    def _wait(self, removals: Sequence[Removal], waited_for: Set[ObjectRef]) -> None:
        """Wait until these are gone, by one watch for each of their kinds.

        :raises EngineError: nothing of them went for too long: the first one is named, with what holds it.
        """
        if not removals:
            return
        watcher = Watcher(self._api, self._changes.put)
        try:
            for resource in sorted({sure(removal.resource) for removal in removals}, key=str):
                items, version = self._api.list(resource)
                if version:  # else its definition is gone, and with it all of its kind
                    watcher.start(resource, version, items)
            self._follow(watcher, {removal.ref: removal for removal in removals}, waited_for)
        finally:
            watcher.stop()

    def _follow(self, watcher: Watcher, waiting: Dict[ObjectRef, Removal], waited_for: Set[ObjectRef]) -> None:
        began = moved = looked = time.monotonic()
        while True:
            there = {ref: _there(watcher, removal) for ref, removal in waiting.items()}
            gone = [waiting.pop(ref) for ref, live in there.items() if live is None]
            self._note(removal for removal in gone if removal.ref not in waited_for)
            if not waiting:
                return
            now = time.monotonic()
            moved = now if gone else moved
            first = next(iter(waiting.values()))
            live = sure(there[first.ref])
            if now - looked > LOOK_SECONDS:
                looked = now
                self._stuck.look(live)
            if now - moved > self._timeout:
                others = [(ref, sure(there[ref])) for ref in list(waiting)[1:5]]
                raise self._stuck.error(first, live, now - began, others, len(waiting))
            self._progress.waiting(first.component, self._stuck.line(first.ref, live, len(waiting), len(self.removed), self._count))
            self._pause()

    def _pause(self) -> None:
        """Until something changes, at most for a tick."""
        try:
            self._changes.get(timeout=TICK_SECONDS)
            while True:
                self._changes.get_nowait()
        except queue.Empty:
            return


def _there(watcher: Watcher, removal: Removal) -> Optional[KubeObject]:
    """The object if it is still there; another one of its name is not it."""
    live = watcher.get(sure(removal.resource), removal.ref)
    return live if live is not None and live["metadata"]["uid"] == removal.uid else None


def _refused(errors: Sequence[Tuple[Removal, EngineError]]) -> EngineError:
    """The first refusal, with what happened to others; what was deleted before it stays deleted."""
    (removal, first), *others = errors
    found = [first.found, *("%s: %s" % (one.ref, error.cause) for one, error in others[:4])]
    return EngineError(
        first.cause,
        subject=first.subject or str(removal.ref),
        expected=first.expected,
        found="; ".join(text for text in found if text),
        next_step=first.next_step or "mend the cause and run this again; it goes on from here",
        component=removal.component,
    )
