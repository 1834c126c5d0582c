# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an object that was deleted is still there: what holds it, who should let go, and what was said about it last."""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

from .api import Api, ApiError, Resource
from .errors import EngineError
from .evidence import one_line
from .objects import KubeObject, ObjectRef
from .record import Record
from .runs import RANKS, WORKLOAD
from .verdicts import Removal

EVENTS = Resource("v1", "Event", "events", True)
DEFINITION_GROUP = "apiextensions.k8s.io"
# Who removes the finalizers that Kubernetes itself sets, and when.
KUBERNETES = {
    "kubernetes": "Kubernetes, when everything in it is gone",
    "kubernetes.io/pvc-protection": "Kubernetes, when no pod uses it any more",
    "kubernetes.io/pv-protection": "Kubernetes, when no claim is bound to it any more",
    "foregroundDeletion": "Kubernetes' garbage collector, when what it owns is gone",
    "orphan": "Kubernetes' garbage collector",
    "customresourcecleanup.apiextensions.k8s.io": "Kubernetes, when every object of its kind is gone",
    "batch.kubernetes.io/job-tracking": "Kubernetes' job controller",
    "service.kubernetes.io/load-balancer-cleanup": "the controller of the load balancer",
}
# Conditions in which Kubernetes says what stops a deletion: of a Namespace, of a CustomResourceDefinition.
TELLING = (
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "NamespaceDeletionContentFailure",
    "NamespaceContentRemaining",
    "NamespaceFinalizersRemaining",
    "Terminating",
)


def holders(live: KubeObject) -> Tuple[str, ...]:
    """The finalizers of an object; a Namespace has more of them in its spec."""
    spec = live.get("spec") if live.get("kind") == "Namespace" else None
    return tuple([*(live["metadata"].get("finalizers") or ()), *((spec or {}).get("finalizers") or ())])


def said(live: KubeObject) -> str:
    """What its own status says of its deletion."""
    conditions = (live.get("status") or {}).get("conditions") or ()
    messages = [str(one.get("message") or "") for one in conditions if one.get("type") in TELLING and one.get("status") == "True"]
    return one_line("; ".join(message for message in messages if message))


class Stuck:
    """Tells about what does not go.

    :param record: says which component brought a kind, and with which workloads.
    """

    def __init__(self, api: Api, record: Record) -> None:
        self._api = api
        self._record = record
        self._events: Dict[str, str] = {}

    def look(self, live: KubeObject) -> None:
        """Ask for the last event about an object: one request."""
        metadata = live["metadata"]
        query = {"fieldSelector": "involvedObject.uid=%s" % metadata["uid"], "limit": "50"}
        try:
            answer = self._api.send("GET", EVENTS.path(metadata.get("namespace") or "default"), query=query, subject="events", patience=5.0)
        except ApiError:
            return  # it only explains
        last = max(answer.get("items") or [], key=_when, default=None)
        if last is not None:
            text = "%s %s: %s" % (last.get("type", ""), last.get("reason", ""), last.get("message", ""))
            self._events[metadata["uid"]] = "last event (%s): %s" % (_when(last), one_line(text))

    def story(self, live: KubeObject) -> str:
        """Since when it goes, what holds it, and what was said last."""
        since = live["metadata"].get("deletionTimestamp")
        parts = ["deleted at %s" % since if since else "its owner was deleted, it is not yet"]
        held = holders(live)
        if held:
            parts.append("held by the finalizer%s %s" % ("s" if len(held) > 1 else "", ", ".join(held)))
        parts += [text for text in (said(live), self._events.get(live["metadata"]["uid"], "")) if text]
        return "; ".join(parts)

    def line(self, ref: ObjectRef, live: KubeObject, left: int, done: int, count: int) -> str:
        """What is waited for now, in one line."""
        more = " and %d more" % (left - 1) if left > 1 else ""
        return "%d of %d objects gone, waiting for %s%s: %s" % (done, count, ref, more, self.story(live))

    def error(
        self, removal: Removal, live: KubeObject, seconds: float, others: Sequence[Tuple[ObjectRef, KubeObject]], left: int
    ) -> EngineError:
        """The error for something that does not go."""
        found = [self.story(live)] + ["%s: %s" % (ref, ", ".join(holders(other)) or "no finalizer") for ref, other in others]
        if left > len(others) + 1:
            found.append("and %d more" % (left - len(others) - 1))
        return EngineError(
            "it was deleted and is still there after %d s" % seconds,
            subject=str(removal.ref),
            expected="; ".join(self._who(name, removal) for name in holders(live)) or "Kubernetes' garbage collector removes it",
            found="; ".join(found),
            next_step="see to it that who set the finalizer runs, or take the finalizer away if there is nothing left to clean up; "
            "then run this again, it goes on from here",
            component=removal.component,
        )

    def _who(self, finalizer: str, removal: Removal) -> str:
        """Who should remove a finalizer."""
        known = KUBERNETES.get(finalizer)
        if known:
            return "%s is removed by %s" % (finalizer, known)
        component, workloads = self._home(removal)
        if not component:
            return "%s is removed by whoever set it" % finalizer
        names = " (%s)" % ", ".join(workloads) if workloads else ""
        return "%s is removed by whoever set it; what looks after this kind is component %s%s" % (finalizer, component, names)

    def _home(self, removal: Removal) -> Tuple[str, List[str]]:
        """The component whose definition a kind comes from, and that component's workloads."""
        if removal.resource is None:
            return "", []
        name = "%s.%s" % (removal.resource.plural, removal.resource.group)
        definition = ObjectRef(DEFINITION_GROUP, "CustomResourceDefinition", "", name)
        for component, known in self._record.components.items():
            if definition in known.entries:
                works = sorted(str(ref) for ref in known.entries if RANKS.get(ref.kind_group) == WORKLOAD)
                return component, works[:3]
        return "", []


def _when(event: KubeObject) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
