# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a workload is not ready: what its pods, their containers and the events about them say, first cause first.

Plain functions over plain objects. A Deployment that cannot pull its image is "in progress" for its controller until
the deadline of ten minutes; its pods know better after seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from .kstatus import parse_time, text, whole
from .objects import KubeObject, get_path

_LONGEST_MESSAGE = 300  # characters; a termination message may hold 4 kB of a log
_GRACE = timedelta(seconds=60)


class Cause(IntEnum):
    """What holds a pod back, in the order of a pod's life: the earlier one causes the later ones."""

    NO_POD = 0
    SCHEDULING = 1
    VOLUME = 2
    CONFIG = 3
    PULL = 4
    CRASH = 5
    ENDED = 6
    NOT_READY = 7
    STARTING = 8
    TERMINATING = 9


@dataclass(frozen=True)
class _Waiting:
    """What a container's waiting reason means.

    :param grace: how long it may last before waiting on is pointless.
    :param restarts: how many restarts it may have had before.
    """

    cause: Cause
    grace: timedelta = timedelta(0)
    restarts: int = 0


_PULL = _Waiting(Cause.PULL, grace=_GRACE)
_CONFIG = _Waiting(Cause.CONFIG, grace=_GRACE)
# The kubelet's reasons: pkg/kubelet/images/types.go, kuberuntime/kuberuntime_container.go, container/sync_result.go.
_WAITING: Mapping[str, _Waiting] = {
    # Six restarts take more than five minutes: what only waits for its database has found it by then.
    "CrashLoopBackOff": _Waiting(Cause.CRASH, restarts=6),
    "ErrImagePull": _PULL,
    "ImagePullBackOff": _PULL,
    "ErrImageNeverPull": _PULL,
    "InvalidImageName": _PULL,
    "ImageInspectError": _PULL,
    "RegistryUnavailable": _PULL,
    "SignatureValidationFailed": _PULL,
    "CreateContainerConfigError": _CONFIG,
    "CreateContainerError": _CONFIG,
    "RunContainerError": _CONFIG,
}
_BLOCKED = ("", "PodInitializing", "ContainerCreating")  # the container waits for something before it


@dataclass(frozen=True)
class Evidence:
    """One thing that keeps a pod, and so its workload, from being ready.

    :param pod: ``namespace/name``; "" where no pod could be created at all.
    :param container: "" where it is about the whole pod. ``init`` tells init containers (and native sidecars).
    :param reason: the kubelet's or scheduler's word (ImagePullBackOff, Unschedulable, ...).
    :param message: the last thing said about it, one line: exit code and termination message, event or condition.
    :param restarts: of the container.
    :param since: since when, as far as known.
    :param fatal: waiting on is pointless: a person has to change something.
    """

    pod: str
    container: str
    init: bool
    cause: Cause
    reason: str
    message: str
    restarts: int
    since: datetime
    fatal: bool = False

    def __str__(self) -> str:
        """``pod kubeflow/x-7d4: init container db: CrashLoopBackOff: exit code 1: no route to host (4 restarts)``."""
        return "%s: %s" % ("pod %s" % self.pod if self.pod else "no pod", self.story)

    @property
    def story(self) -> str:
        """The same without the pod's name."""
        where = "%scontainer %s" % ("init " if self.init else "", self.container) if self.container else ""
        said = ": ".join(part for part in (where, self.reason, self.message) if part)
        return said + (" (%d restart%s)" % (self.restarts, "" if self.restarts == 1 else "s") if self.restarts else "")

    @property
    def key(self) -> Tuple[str, str, Cause]:
        """The same trouble keeps its key while its reason alternates (ErrImagePull, ImagePullBackOff)."""
        return (self.pod, self.container, self.cause)


# --- reading -------------------------------------------------------------------------------------------------------


def one_line(message: str) -> str:
    """The line of a message that tells most: a panic's first line, else the last line that is not empty; shortened."""
    lines = [line.strip() for line in message.splitlines() if line.strip()] or [""]
    chosen = next((line for line in lines if line.startswith(("panic:", "fatal error:"))), lines[-1])
    return chosen if len(chosen) <= _LONGEST_MESSAGE else chosen[: _LONGEST_MESSAGE - 3] + "..."


def _path(obj: KubeObject) -> str:
    return "%s/%s" % (text(obj, "metadata.namespace"), text(obj, "metadata.name"))


def _listed(obj: Any, path: str) -> List[Dict[str, Any]]:
    """The dictionaries of the list under a path; empty if there is none."""
    found = get_path(obj, path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _exit(terminated: Any) -> str:
    """``exit code 137 (OOMKilled): message`` of a terminated state, "" if there is none."""
    if not isinstance(terminated, dict):
        return ""
    said = "exit code %d" % whole(terminated, "exitCode", 0)
    reason = text(terminated, "reason")
    if reason not in ("", "Error", "Completed"):
        said += " (%s)" % reason
    message = one_line(text(terminated, "message"))
    return "%s: %s" % (said, message) if message else said


@dataclass(frozen=True)
class _Container:
    """One container of a pod, spec and status together; ``position`` is its place in the order of starting."""

    name: str
    position: int
    init: bool
    sidecar: bool
    image: str
    status: Dict[str, Any]

    @property
    def restarts(self) -> int:
        return whole(self.status, "restartCount", 0)

    @property
    def last_exit(self) -> str:
        return _exit(get_path(self.status, "state.terminated")) or _exit(get_path(self.status, "lastState.terminated"))


def _containers(pod: KubeObject) -> List[_Container]:
    """All that have a status: init containers in their order, then the others."""
    found: List[_Container] = []
    for init, spec_path, status_path in (
        (True, "spec.initContainers", "status.initContainerStatuses"),
        (False, "spec.containers", "status.containerStatuses"),
    ):
        specs = {text(spec, "name"): (place, spec) for place, spec in enumerate(_listed(pod, spec_path))}
        for status in _listed(pod, status_path):
            place, spec = specs.get(text(status, "name"), (len(specs), {}))
            found.append(
                _Container(
                    name=text(status, "name"),
                    position=place + (0 if init else 1000),
                    init=init,
                    sidecar=init and text(spec, "restartPolicy") == "Always",
                    image=text(spec, "image") or text(status, "image"),
                    status=status,
                )
            )
    return sorted(found, key=lambda container: container.position)


def _event_time(event: KubeObject, *names: str) -> Optional[datetime]:
    return next((when for when in (parse_time(event.get(name)) for name in names) if when), None)


def _events_about(pod: KubeObject, events: Sequence[KubeObject]) -> Tuple[KubeObject, ...]:
    """The events about this very pod (not an earlier one of the same name), newest first."""
    mine = [
        (when, number, event)
        for number, event in enumerate(events)
        for when in [_event_time(event, "lastTimestamp", "eventTime", "firstTimestamp")]
        if when
        and text(event, "involvedObject.kind") == "Pod"
        and text(event, "involvedObject.name") == text(pod, "metadata.name")
        and text(event, "involvedObject.namespace") == text(pod, "metadata.namespace")
        and text(event, "involvedObject.uid") in ("", text(pod, "metadata.uid"))
    ]
    return tuple(event for when, number, event in sorted(mine, key=lambda item: item[:2], reverse=True))


def _known_since(pod: KubeObject, container: Optional[_Container]) -> Optional[datetime]:
    """The latest moment at which the trouble cannot have begun yet: creation, a node found, the last exit."""
    times = [parse_time(get_path(pod, "metadata.creationTimestamp"))]
    for condition in _listed(pod, "status.conditions"):
        begins = ("PodScheduled",) if container and container.init else ("PodScheduled", "Initialized")
        if condition.get("type") in begins and condition.get("status") == "True":
            times.append(parse_time(condition.get("lastTransitionTime")))
    if container:
        times.append(parse_time(get_path(container.status, "lastState.terminated.finishedAt")))
        times.append(parse_time(get_path(container.status, "state.running.startedAt")))
    known = [when for when in times if when]
    return max(known) if known else None


# --- one pod -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scene:
    """A pod, the events about it (newest first), and the present."""

    pod: KubeObject
    events: Tuple[KubeObject, ...]
    now: datetime

    def found(self, cause: Cause, reason: str, message: str, container: Optional[_Container] = None) -> Evidence:
        """Evidence about this pod, not fatal yet."""
        return Evidence(
            pod=_path(self.pod),
            container=container.name if container else "",
            init=bool(container and container.init),
            cause=cause,
            reason=reason,
            message=one_line(message),
            restarts=container.restarts if container else 0,
            since=_known_since(self.pod, container) or self.now,
        )

    def warning(self, reason: str, start: str = "") -> str:
        """The message of the newest warning with this reason, if one begins so; else ""."""
        said = (text(event, "message") for event in self.events if (event.get("type"), event.get("reason")) == ("Warning", reason))
        return next((message for message in said if message.startswith(start)), "")


def _pull_message(scene: _Scene, container: _Container, message: str) -> str:
    """Why the image cannot be pulled, with its name: the kubelet soon says no more than "Back-off"."""
    said = message
    if message.startswith("Back-off"):
        said = scene.warning("Failed", "Failed to pull image") or message
    return said if container.image in said else ": ".join(part for part in (container.image, said) if part)


def _waiting(scene: _Scene, container: _Container, state: Dict[str, Any]) -> Optional[Evidence]:
    reason, message = text(state, "reason"), text(state, "message")
    if reason in _BLOCKED:
        return None
    cause = _WAITING[reason].cause if reason in _WAITING else Cause.STARTING
    if cause is Cause.CRASH:
        message = container.last_exit or message
    if cause is Cause.PULL:
        message = _pull_message(scene, container, message)
    return scene.found(cause, reason, message, container)


def _terminated(scene: _Scene, container: _Container, state: Dict[str, Any]) -> Optional[Evidence]:
    policy = "Always" if container.sidecar else text(scene.pod, "spec.restartPolicy", "Always")
    may_end = policy != "Always" or (container.init and not container.sidecar)
    if may_end and whole(state, "exitCode", 0) == 0:
        return None
    return scene.found(Cause.CRASH, text(state, "reason", "Error"), container.last_exit, container)


def _running(scene: _Scene, container: _Container, state: Dict[str, Any]) -> Optional[Evidence]:
    if container.init and not container.sidecar:
        return scene.found(Cause.STARTING, "Initializing", "it has not ended yet", container)
    if container.status.get("ready") is True:
        return None
    before = "last " + container.last_exit if container.last_exit else "it runs but is not ready"
    return scene.found(Cause.NOT_READY, "NotReady", scene.warning("Unhealthy") or before, container)


_STATES = (("waiting", _waiting), ("terminated", _terminated), ("running", _running))


def _of_container(scene: _Scene, container: _Container) -> Optional[Evidence]:
    """What is wrong with one container; None if it is fine, done, or only waits for others."""
    for name, look in _STATES:
        state = get_path(container.status, "state." + name)
        if isinstance(state, dict):
            return look(scene, container, state)
    return None


def _ended_pod(scene: _Scene) -> Evidence:
    """A pod in phase Failed: evicted, or a container ended badly and is not started again."""
    said = text(scene.pod, "status.message")
    for container in _containers(scene.pod):
        if whole(container.status, "state.terminated.exitCode", 0) != 0:
            reason = text(scene.pod, "status.reason") or text(container.status, "state.terminated.reason", "Error")
            return scene.found(Cause.ENDED, reason, said or container.last_exit, container)
    return scene.found(Cause.ENDED, text(scene.pod, "status.reason", "PodFailed"), said or "the pod has failed")


def _starting(scene: _Scene) -> Evidence:
    """A pod that has no trouble of its own: the last event says what it is at."""
    event = scene.events[0] if scene.events else {}
    if event.get("type") == "Warning":
        volume = text(event, "reason") in ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
        cause = Cause.VOLUME if volume else Cause.STARTING
        return scene.found(cause, text(event, "reason"), text(event, "message"))
    statuses = [container.status for container in _containers(scene.pod)]
    reasons = [text(status, "state.waiting.reason") for status in statuses]
    return scene.found(Cause.STARTING, next(filter(None, reasons), "Pending"), text(event, "message"))


def _of_pod(scene: _Scene) -> Iterator[Evidence]:
    """Everything that keeps one pod from being ready; nothing for a pod that is, or that has succeeded."""
    phase = text(scene.pod, "status.phase")
    conditions = _listed(scene.pod, "status.conditions")
    ready = any((item.get("type"), item.get("status")) == ("Ready", "True") for item in conditions)
    if get_path(scene.pod, "metadata.deletionTimestamp"):
        yield scene.found(Cause.TERMINATING, "Terminating", "the pod is still ending")
        return
    if phase == "Succeeded" or (phase == "Running" and ready):
        return
    if phase == "Failed":
        yield _ended_pod(scene)
        return
    for condition in conditions:
        if (condition.get("type"), condition.get("status")) == ("PodScheduled", "False"):
            yield scene.found(Cause.SCHEDULING, text(condition, "reason") or "Unschedulable", text(condition, "message"))
            return
    found = [_of_container(scene, container) for container in _containers(scene.pod)]
    yield from [evidence for evidence in found if evidence] or [_starting(scene)]


def _judged(evidence: Evidence, now: datetime) -> Evidence:
    """The same evidence, fatal if its grace is over. Never fatal: what has no row, such as Unschedulable."""
    waiting = _WAITING.get(evidence.reason)
    if not waiting:
        return evidence
    over = now - evidence.since >= waiting.grace and evidence.restarts >= waiting.restarts
    return replace(evidence, fatal=over)


def _without_pods(events: Sequence[KubeObject], now: datetime) -> Iterator[Evidence]:
    """What the events say about a workload whose pods cannot be created: quota, admission, no ServiceAccount."""
    for event in events:
        if event.get("type") == "Warning" and text(event, "involvedObject.kind") != "Pod":
            about = "%s %s" % (text(event, "involvedObject.kind"), text(event, "involvedObject.name"))
            yield Evidence(
                pod="",
                container="",
                init=False,
                cause=Cause.NO_POD,
                reason=text(event, "reason"),
                message="%s: %s" % (about, one_line(text(event, "message"))),
                restarts=0,
                since=_event_time(event, "firstTimestamp", "eventTime", "lastTimestamp") or now,
            )


# --- public --------------------------------------------------------------------------------------------------------


def pod_evidence(
    pods: Sequence[KubeObject],
    *,
    now: datetime,
    events: Sequence[KubeObject] = (),
    previous: Optional[Sequence[Evidence]] = None,
) -> Tuple[Evidence, ...]:
    """Why these pods are not ready, first cause first: fatal ones, then the earliest in a pod's life, then the oldest.

    :param pods: the pods of one workload (:func:`pods_of`).
    :param now: the present, with its time zone.
    :param events: core/v1 Events of the namespace, or those about the pods and their workload; the ones about
        anything but pods are only used when there is no pod.
    :param previous: what the last look returned. A waiter passes it (at first an empty tuple), because the API does not
        say since when a container waits: a grace then begins when the trouble was first seen. Without it (a single
        look) it begins at the latest moment before which the trouble cannot have begun.
    What cannot be read is skipped: this explains, it does not judge.
    """
    if not pods:
        return tuple(_judged(evidence, now) for evidence in _without_pods(events, now))
    seen = None if previous is None else {evidence.key: evidence.since for evidence in previous}
    ranked = []
    for pod in pods:
        positions = {(container.name, container.init): container.position for container in _containers(pod)}
        for found in _of_pod(_Scene(pod, _events_about(pod, events), now)):
            since = found.since if seen is None else seen.get(found.key, now)
            evidence = _judged(replace(found, since=since), now)
            position = positions.get((evidence.container, evidence.init), -1)
            ranked.append(((not evidence.fatal, evidence.cause, position, evidence.since, evidence.pod), evidence))
    return tuple(evidence for rank, evidence in sorted(ranked, key=lambda pair: pair[0]))


_OPERATORS: Mapping[str, Any] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, values: value is not None,
    "DoesNotExist": lambda value, values: value is None,
}


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector (matchLabels, matchExpressions) selects these labels; here an empty one selects none."""
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    expressions = _listed(dict(selector), "matchExpressions")
    if not exact and not expressions:
        return False
    return all(labels.get(name) == value for name, value in exact.items()) and all(
        item.get("operator") in _OPERATORS and _OPERATORS[item["operator"]](labels.get(text(item, "key")), item.get("values") or [])
        for item in expressions
    )


def pods_of(workload: KubeObject, pods: Sequence[KubeObject]) -> Tuple[KubeObject, ...]:
    """The pods that a workload's selector selects in its namespace (a Pod selects itself)."""
    if text(workload, "kind") == "Pod":
        return tuple(pod for pod in pods if _path(pod) == _path(workload))
    selector = get_path(workload, "spec.selector") or {}
    return tuple(
        pod
        for pod in pods
        if text(pod, "metadata.namespace") == text(workload, "metadata.namespace")
        and selects(selector, get_path(pod, "metadata.labels") or {})
    )
