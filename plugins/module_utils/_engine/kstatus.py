# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of one object as kstatus of kubernetes-sigs/cli-utils computes it, states and reasons to the letter.

The messages are ours: what a person reads while waiting. What kstatus gets wrong is corrected in :mod:`health_rules`.

Fields are read as kstatus reads them: a value of another type counts as absent ("3" is no number), except where a
wrong type makes the object unreadable (:class:`Malformed`): deletionTimestamp, generations, status and conditions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, Callable, Mapping, Optional, Tuple

from .objects import KubeObject, get_path, group_of

_NO_DEADLINE = 2**31 - 1  # the Deployment controller's own word for "no progress deadline"
_SCHEDULE_WINDOW = timedelta(seconds=15)
_THE_BEGINNING = datetime(1, 1, 1, tzinfo=timezone.utc)


class State(Enum):
    """Where an object is on its way to what its spec asks for."""

    CURRENT = "Current"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Verdict:
    """What we think of one object now.

    :param reason: one CamelCase word for programs, "" where there is nothing to explain.
    :param message: a sentence for people, without the object's name.
    """

    state: State
    reason: str
    message: str


@dataclass(frozen=True)
class Condition:
    """One entry of ``status.conditions``; absent texts are "".

    :param observed_generation: the generation that the entry is about, None where the controller does not say.
    """

    type: str
    status: str
    reason: str
    message: str
    observed_generation: Optional[int] = None


class Malformed(ValueError):
    """A field has a type that the API does not allow there: no verdict is possible."""


# --- reading -------------------------------------------------------------------------------------------------------


def kind_group(obj: KubeObject) -> str:
    """``Deployment.apps``, or ``Service`` for the core group; the version does not matter."""
    group = group_of(text(obj, "apiVersion"))
    kind = text(obj, "kind")
    return "%s.%s" % (kind, group) if group else kind


def whole(obj: KubeObject, path: str, default: int) -> int:
    """The integer under a dotted path; the default where it is absent or anything else (True and 3.0 are)."""
    value = get_path(obj, path)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def text(obj: KubeObject, path: str, default: str = "") -> str:
    """The text under a dotted path; the default where it is absent or anything else."""
    value = get_path(obj, path)
    return value if isinstance(value, str) else default


def _strict(obj: KubeObject, path: str, wanted: type) -> Any:
    """The value under a dotted path or None; a null at the end is a wrong type, a null on the way is absence.

    :raises Malformed: the value, or something on the way, has another type.
    """
    here: Any = obj
    for part in path.split("."):
        if here is None:
            return None
        if not isinstance(here, dict):
            raise Malformed("%s cannot be read: its parent is a %s" % (path, type(here).__name__))
        if part not in here:
            return None
        here = here[part]
    if not isinstance(here, wanted) or isinstance(here, bool):
        raise Malformed("%s is a %s" % (path, type(here).__name__))
    return here


def generation_of(obj: KubeObject) -> Optional[int]:
    """``metadata.generation``, None for kinds that have none. :raises Malformed: it is not a number."""
    found: Optional[int] = _strict(obj, "metadata.generation", int)
    return found


def observed_generation_of(obj: KubeObject) -> Optional[int]:
    """``status.observedGeneration``, None if nobody wrote it. :raises Malformed: it is not a number."""
    found: Optional[int] = _strict(obj, "status.observedGeneration", int)
    return found


def _condition(item: Any) -> Condition:
    """One entry of the list. :raises Malformed: it, or one of its texts, has another type."""
    if item is None:
        item = {}
    if not isinstance(item, dict):
        raise Malformed("a condition is a %s" % type(item).__name__)
    for name in ("type", "status", "reason", "message"):
        if not isinstance(item.get(name), (str, type(None))):
            raise Malformed("%s of a condition is a %s" % (name, type(item[name]).__name__))
    about = whole(item, "observedGeneration", -1)
    return Condition(
        type=text(item, "type"),
        status=text(item, "status"),
        reason=text(item, "reason"),
        message=text(item, "message"),
        observed_generation=about if about >= 0 else None,
    )


def conditions_of(obj: KubeObject) -> Tuple[Condition, ...]:
    """``status.conditions`` in their order; null (as in a fresh CRD) is empty.

    :raises Malformed: status, the list or an entry has another type.
    """
    status = obj.get("status")
    if status is None:
        return ()
    if not isinstance(status, dict):
        raise Malformed("status is a %s" % type(status).__name__)
    listed = status.get("conditions")
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise Malformed("status.conditions is a %s" % type(listed).__name__)
    return tuple(_condition(item) for item in listed)


def parse_time(value: object) -> Optional[datetime]:
    """An RFC 3339 time as the API writes it, with its time zone; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


# --- verdicts ------------------------------------------------------------------------------------------------------


def current(message: str, reason: str = "") -> Verdict:
    """It is as it should be."""
    return Verdict(State.CURRENT, reason, message)


def in_progress(reason: str, message: str) -> Verdict:
    """It is on its way, or nobody has looked at it yet."""
    return Verdict(State.IN_PROGRESS, reason, message)


def failed(reason: str, message: str) -> Verdict:
    """Its controller gave up."""
    return Verdict(State.FAILED, reason, message)


Step = Tuple[int, int, str, str]


def shortfall(*steps: Step) -> Optional[Verdict]:
    """The first step that is not reached yet, None if all are.

    :param steps: (wanted, have, reason, sentence); the sentence may name {wanted}, {have} and {extra} = wanted - have.
    """
    for wanted, have, reason, sentence in steps:
        if wanted > have:
            return in_progress(reason, sentence.format(wanted=wanted, have=have, extra=wanted - have))
    return None


def terminating(obj: KubeObject) -> Optional[Verdict]:
    """The verdict on an object that is being deleted, None on others. :raises Malformed: the time is no text."""
    if not _strict(obj, "metadata.deletionTimestamp", str):
        return None
    holders = ", ".join(map(str, get_path(obj, "metadata.finalizers") or []))
    return Verdict(State.TERMINATING, "", "being deleted" + (", held by %s" % holders if holders else ""))


def generic(obj: KubeObject) -> Optional[Verdict]:
    """What holds for every kind: deletion, generations, the conditions Reconciling and Stalled (first one wins).

    :raises Malformed: one of these fields has another type.
    """
    gone = terminating(obj)
    if gone:
        return gone
    wanted = generation_of(obj)
    seen = observed_generation_of(obj) if wanted is not None else None
    if seen is not None and seen != wanted:
        sentence = "its controller has seen generation %s, the object is at %s" % (seen, wanted)
        return in_progress("LatestGenerationNotObserved", sentence)
    for condition in conditions_of(obj):
        if condition.status == "True" and condition.type == "Reconciling":
            return in_progress(condition.reason, condition.message or "being reconciled")
        if condition.status == "True" and condition.type == "Stalled":
            return failed(condition.reason, condition.message or "its controller is stalled")
    return None


# --- one function per kind -----------------------------------------------------------------------------------------

_EXTRA_PODS = "{extra} more replicas than wanted are still ending"


def _always(obj: KubeObject, now: datetime) -> Verdict:
    return current("exists")


def deployment(obj: KubeObject, now: datetime) -> Verdict:
    """Deployment: the controller's conditions, then the replica counts."""
    progressed = whole(obj, "spec.progressDeadlineSeconds", _NO_DEADLINE) == _NO_DEADLINE
    available = False
    for condition in conditions_of(obj):
        if condition.type == "Progressing":
            if condition.reason == "ProgressDeadlineExceeded":
                return failed(condition.reason, condition.message or "the progress deadline has passed")
            progressed |= condition.status == "True" and condition.reason == "NewReplicaSetAvailable"
        available |= condition.type == "Available" and condition.status == "True"
    wanted = whole(obj, "spec.replicas", 1)
    total, updated, ready, usable = (
        whole(obj, "status." + name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return shortfall(
        (wanted, total, "LessReplicas", "{have} of {wanted} replicas created"),
        (wanted, updated, "LessUpdated", "{have} of {wanted} replicas updated"),
        (total, wanted, "ExtraPods", _EXTRA_PODS),
        (updated, usable, "LessAvailable", "{have} of {wanted} replicas available"),
        (wanted, ready, "LessReady", "{have} of {wanted} replicas ready"),
        (1, int(progressed), "ReplicaSetNotAvailable", "the roll-out of its ReplicaSet is not complete"),
        (1, int(available), "DeploymentNotAvailable", "the Deployment is not available"),
    ) or current("%d of %d replicas ready" % (ready, wanted))


def replica_set(obj: KubeObject, now: datetime) -> Verdict:
    """ReplicaSet: creation of pods, then the counts."""
    for condition in conditions_of(obj):
        if condition.type == "ReplicaFailure" and condition.status == "True":
            return in_progress("ReplicaFailure", condition.message or "its pods cannot be created")
    wanted = whole(obj, "spec.replicas", 1)
    total, labelled, ready, usable = (
        whole(obj, "status." + name, 0) for name in ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")
    )
    return shortfall(
        (wanted, labelled, "LessLabelled", "{have} of {wanted} replicas labelled"),
        (wanted, usable, "LessAvailable", "{have} of {wanted} replicas available"),
        (wanted, ready, "LessReady", "{have} of {wanted} replicas ready"),
        (total, wanted, "ExtraPods", _EXTRA_PODS),
    ) or current("%d of %d replicas ready" % (ready, wanted))


def stateful_replicas(obj: KubeObject) -> Optional[Verdict]:
    """What is missing of a StatefulSet's replicas, whatever their revision."""
    wanted = whole(obj, "spec.replicas", 1)
    total = whole(obj, "status.replicas", 0)
    return shortfall(
        (wanted, total, "LessReplicas", "{have} of {wanted} replicas created"),
        (wanted, whole(obj, "status.readyReplicas", 0), "LessReady", "{have} of {wanted} replicas ready"),
        (total, wanted, "ExtraPods", _EXTRA_PODS),
    )


def stateful_set(obj: KubeObject, now: datetime) -> Verdict:
    """StatefulSet: OnDelete is never waited for (see :mod:`health`); then the counts, the partition, the revision."""
    if text(obj, "spec.updateStrategy.type") == "OnDelete":
        return current("its pods are replaced when somebody deletes them")
    missing = stateful_replicas(obj)
    if missing:
        return missing
    wanted = whole(obj, "spec.replicas", 1)
    partition = whole(obj, "spec.updateStrategy.rollingUpdate.partition", -1)
    if partition != -1:
        updated = whole(obj, "status.updatedReplicas", 0)
        step = (wanted - partition, updated, "PartitionRollout", "{have} of {wanted} replicas of the partition updated")
        return shortfall(step) or current("%d replicas of the partition updated" % updated)
    behind = text(obj, "status.currentRevision") != text(obj, "status.updateRevision")
    return shortfall(
        (wanted, whole(obj, "status.currentReplicas", 0), "LessCurrent", "{have} of {wanted} replicas current"),
        (int(behind), 0, "RevisionMismatch", "its replicas are not all of the newest revision"),
    ) or current("%d of %d replicas ready" % (whole(obj, "status.readyReplicas", 0), wanted))


def daemon_set(obj: KubeObject, now: datetime, *, updated: bool = True) -> Verdict:
    """DaemonSet: nothing counts before its controller wrote a status; then the counts, in nodes.

    :param updated: whether every pod has to be of the newest revision.
    """
    if generation_of(obj) is None:
        return in_progress("NoGeneration", "the object has no generation")
    if observed_generation_of(obj) is None:
        return in_progress("NoObservedGeneration", "its controller has not looked at it yet")
    wanted = whole(obj, "status.desiredNumberScheduled", -1)
    if wanted == -1:
        return in_progress("NoDesiredNumber", "its controller has not counted its nodes yet")
    scheduled, fresh, usable, ready = (
        whole(obj, "status." + name, 0) for name in ("currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady")
    )
    return shortfall(
        (wanted, scheduled, "LessCurrent", "{have} of {wanted} nodes have its pod"),
        (wanted if updated else 0, fresh, "LessUpdated", "{have} of {wanted} nodes have the newest pod"),
        (wanted, usable, "LessAvailable", "its pod is available on {have} of {wanted} nodes"),
        (wanted, ready, "LessReady", "its pod is ready on {have} of {wanted} nodes"),
    ) or current("its pod is ready on %d of %d nodes" % (ready, wanted))


def _claim(obj: KubeObject, now: datetime) -> Verdict:
    phase = text(obj, "status.phase", "unknown")
    return current("bound") if phase == "Bound" else in_progress("NotBound", "not bound, phase %s" % phase)


def _crash_looping(obj: KubeObject) -> str:
    """The names of the containers (not init containers) that wait in CrashLoopBackOff, with commas."""
    names = []
    for status in _strict(obj, "status.containerStatuses", list) or []:
        if get_path(status, "state.waiting.reason") == "CrashLoopBackOff" and "name" in status:
            names.append(str(status["name"]))
    return ", ".join(names)


def _pending(obj: KubeObject, now: datetime) -> Verdict:
    """A Pod in phase Pending. Without a creation time it counts as old."""
    refused = [c for c in conditions_of(obj) if c.type == "PodScheduled" and c.status == "False"]
    if not refused or refused[0].reason != "Unschedulable":
        return in_progress("PodPending", "the pod is pending")
    created = parse_time(get_path(obj, "metadata.creationTimestamp")) or _THE_BEGINNING
    if now < created + _SCHEDULE_WINDOW:
        return in_progress("PodNotScheduled", "the pod has no node yet")
    return failed("PodUnschedulable", refused[0].message or "no node can take the pod")


def _running(obj: KubeObject, now: datetime) -> Verdict:
    if any(c.type == "Ready" and c.status == "True" for c in conditions_of(obj)):
        return current("the pod is ready")
    crashing = _crash_looping(obj)
    if crashing:
        return failed("ContainerCrashLooping", "containers crash again and again: %s" % crashing)
    return in_progress("PodRunningNotReady", "the pod runs but is not ready")


_PHASES: Mapping[str, Callable[[KubeObject, datetime], Verdict]] = {
    "": lambda obj, now: in_progress("PodNotObserved", "the pod has no phase yet"),
    "Pending": _pending,
    "Running": _running,
    "Succeeded": lambda obj, now: current("the pod has succeeded"),
    "Failed": lambda obj, now: current("the pod has ended, not successfully"),
}


def pod(obj: KubeObject, now: datetime) -> Verdict:
    """Pod, by phase. :raises Malformed: a phase that does not exist."""
    phase = text(obj, "status.phase")
    if phase not in _PHASES:
        raise Malformed("status.phase is %s" % phase)
    conditions_of(obj)  # unreadable conditions are an error in every phase
    return _PHASES[phase](obj, now)


def job(obj: KubeObject, now: datetime) -> Verdict:
    """Job: the first final condition; a Job that merely runs is Current (see :mod:`health`)."""
    done, active, lost = (whole(obj, "status." + name, 0) for name in ("succeeded", "active", "failed"))
    wanted = whole(obj, "spec.completions", whole(obj, "spec.parallelism", 1))
    counts = "%d of %d completions, %d pods running, %d failed" % (done, wanted, active, lost)
    for condition in conditions_of(obj):
        if condition.status != "True":
            continue
        if condition.type == "Complete":
            return current("complete: " + counts)
        if condition.type == "Failed":
            why = ": ".join(part for part in (condition.reason, condition.message) if part)
            return failed("JobFailed", "the Job failed (%s)" % (why or counts))
        if condition.type == "Suspended" and get_path(obj, "spec.suspend") is True:
            return current("suspended")
    if not text(obj, "status.startTime"):
        return in_progress("JobNotStarted", "the Job has not started")
    return current(counts)


def _service(obj: KubeObject, now: datetime) -> Verdict:
    if text(obj, "spec.type", "ClusterIP") == "LoadBalancer" and not text(obj, "spec.clusterIP"):
        return in_progress("NoIPAssigned", "the Service has no cluster IP yet")
    return current("exists")


def crd(obj: KubeObject, now: datetime) -> Verdict:
    """CustomResourceDefinition: refused names, then Established, whichever comes first in the list."""
    for condition in conditions_of(obj):
        refused = condition.type == "NamesAccepted" and condition.status == "False"
        broken = condition.type == "Established" and condition.status == "False" and condition.reason != "Installing"
        if refused or broken:
            return failed(condition.reason, condition.message or "%s is False" % condition.type)
        if condition.type == "Established" and condition.status == "True":
            return current("established")
    return in_progress("Installing", "its kind is not served yet")


Rule = Callable[[KubeObject, datetime], Verdict]

RULES: Mapping[str, Rule] = {
    "ConfigMap": _always,
    "Secret": _always,
    "CronJob.batch": _always,
    "PodDisruptionBudget.policy": _always,
    "Service": _service,
    "PersistentVolumeClaim": _claim,
    "Pod": pod,
    "Deployment.apps": deployment,
    "Deployment.extensions": deployment,
    "ReplicaSet.apps": replica_set,
    "ReplicaSet.extensions": replica_set,
    "StatefulSet.apps": stateful_set,
    "DaemonSet.apps": daemon_set,
    "DaemonSet.extensions": daemon_set,
    "Job.batch": job,
    "CustomResourceDefinition.apiextensions.k8s.io": crd,
}


def _by_ready(obj: KubeObject) -> Verdict:
    """Kinds without a rule: the condition Ready, if they have one that says something."""
    for condition in conditions_of(obj):
        if condition.type == "Ready" and condition.status == "True":
            return current(condition.message or "ready")
        if condition.type == "Ready" and condition.status in ("False", "Unknown"):
            return in_progress(condition.reason, condition.message or "Ready is %s" % condition.status)
    return current("exists")


def specific(obj: KubeObject, now: datetime) -> Verdict:
    """What holds for the object's kind, once :func:`generic` has nothing to say. :raises Malformed: as there."""
    rule = RULES.get(kind_group(obj))
    return rule(obj, now) if rule else _by_ready(obj)


def kstatus(obj: KubeObject, now: datetime) -> Verdict:
    """The verdict of kstatus on an object as read from the API.

    :param now: the present, with its time zone; used for Pods only (15 s to find a node).
    :returns: UNKNOWN with the reason ``Malformed`` where kstatus returns an error.
    """
    try:
        return generic(obj) or specific(obj, now)
    except Malformed as problem:
        return Verdict(State.UNKNOWN, "Malformed", str(problem))
