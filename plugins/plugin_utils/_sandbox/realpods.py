# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All real pods of one sandbox: which there are, what they are told, what is known about them.

Whoever holds the watches (the sandbox's agent) feeds :class:`RealPods` with pods, ConfigMaps and Secrets; a pod of a
real back end starts when it is on a node and what it mounts is there, and ends when it is deleted.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable, Dict, FrozenSet, Mapping, Optional, Tuple

from ...module_utils._engine.objects import KubeObject, ObjectRef, get_path
from .backends import Backend, backend_of, other_release
from .containers import PodHost, PodState, Program, RealPod

OnState = Callable[[KubeObject, str, PodState], None]  # the pod as it was when it started, the container, its state


@dataclass(frozen=True)
class PodKey:
    """Which pod: a new one of the same name is another one."""

    namespace: str
    name: str
    uid: str


class RealPods:
    """The pods that are run for real.

    :param programs: the back ends that are real here -> their static binaries.
    :param on_state: called from any thread, never with a lock held, when a pod's state changes.
    """

    def __init__(self, programs: Mapping[Backend, Path], host: PodHost, on_state: OnState) -> None:
        self._programs = dict(programs)
        self._host = host
        self._on_state = on_state
        self._pods: Dict[PodKey, RealPod] = {}
        self._sources: Dict[ObjectRef, KubeObject] = {}
        self._lock = threading.RLock()

    @property
    def namespaces(self) -> FrozenSet[str]:
        """The namespaces whose pods, ConfigMaps and Secrets matter here."""
        return frozenset(match.namespace for backend in self._programs for match in backend.pods)

    def is_real(self, pod: KubeObject) -> bool:
        """Whether a pod is one of those that are run for real."""
        return backend_of(pod, tuple(self._programs)) is not None

    def handle_pod(self, event: str, pod: KubeObject) -> None:
        """Take one watch event (ADDED, MODIFIED, DELETED) of a pod."""
        found = backend_of(pod, tuple(self._programs))
        if found is None:
            self._play(event, pod)
            return
        metadata = pod["metadata"]
        key = PodKey(metadata["namespace"], metadata["name"], metadata["uid"])
        over = event == "DELETED" or metadata.get("deletionTimestamp") or get_path(pod, "status.phase") in ("Succeeded", "Failed")
        with self._lock:
            if over:
                real = self._pods.pop(key, None)
            elif key in self._pods or not get_path(pod, "spec.nodeName"):
                return
            else:
                backend, container = found
                real = RealPod(pod, container, Program(self._programs[backend], backend.program), self._host, self._told(pod, container))
                self._pods[key] = real
            known = {} if real is None or over else {ref: self._sources.get(ref) for ref in real.references}
        if real is None:
            return
        if over:
            threading.Thread(target=real.stop, daemon=True).start()  # takes its time; events do not wait for it
            return
        for ref, obj in known.items():
            if obj is not None:
                real.offer(ref, obj)
        real.sync()

    def _play(self, event: str, pod: KubeObject) -> None:
        """A pod of a release without a program here, in a place where kwok leaves pods to us: it is well at once."""
        container = other_release(pod, tuple(self._programs))
        alive = event != "DELETED" and not pod["metadata"].get("deletionTimestamp") and get_path(pod, "spec.nodeName")
        if container and alive and not get_path(pod, "status.containerStatuses"):
            self._on_state(pod, container, PodState(started=True, ready=True))

    def _told(self, pod: KubeObject, container: str) -> Callable[[PodState], None]:
        return lambda state: self._on_state(pod, container, state)

    def handle_source(self, event: str, obj: KubeObject) -> None:
        """Take one watch event of a ConfigMap or Secret."""
        metadata = obj["metadata"]
        if metadata.get("namespace") not in self.namespaces:
            return
        ref = ObjectRef("", obj["kind"], metadata["namespace"], metadata["name"])
        with self._lock:
            if event == "DELETED":
                self._sources.pop(ref, None)
            else:
                self._sources[ref] = obj
            pods = list(self._pods.values())
        for pod in pods:
            pod.offer(ref, None if event == "DELETED" else obj)

    def get(self, namespace: str, name: str) -> Optional[RealPod]:
        """The pod of that name; None if it is not a real one, or not there."""
        with self._lock:
            for key, pod in self._pods.items():
                if (key.namespace, key.name) == (namespace, name):
                    return pod
        return None

    def socket_for(self, namespace: str, name: str) -> Optional[Path]:
        """The Unix socket of a pod: write ``b"<port>\\n"``, then the bytes of the connection."""
        pod = self.get(namespace, name)
        return pod.relay_socket if pod else None

    def states(self) -> Dict[Tuple[str, str], PodState]:
        """Every real pod (namespace, name) with its state."""
        with self._lock:
            return {(key.namespace, key.name): pod.state for key, pod in self._pods.items()}

    def stop(self) -> None:
        """End all pods, at the same time; returns when nothing of them is left."""
        with self._lock:
            pods, self._pods = list(self._pods.values()), {}
        enders = [threading.Thread(target=pod.stop) for pod in pods]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()


def status_patch(pod: KubeObject, container: str, state: PodState, now: Optional[datetime] = None) -> KubeObject:
    """The state as a merge patch for the pod's ``status`` subresource, the way a kubelet writes it.

    The other containers of the pod (sidecars) are only simulated and follow the real one.
    """
    stamp = (now or datetime.now(timezone.utc)).strftime("%Y-%m-%dT%H:%M:%SZ")
    running: KubeObject = {"running": {"startedAt": stamp}}
    if not state.started:
        reason = "CrashLoopBackOff" if state.message.startswith("exited") else "ContainerCreating"
        running = {"waiting": {"reason": reason, "message": state.message}}
    statuses = [
        {
            "name": spec["name"],
            "image": spec["image"],
            "imageID": "",
            "ready": state.ready,
            "started": state.started,
            "restartCount": state.restarts if spec["name"] == container else 0,
            "state": running,
        }
        for spec in pod["spec"]["containers"]
    ]
    conditions = [
        {"type": kind, "status": value, "lastTransitionTime": stamp, "reason": reason, "message": message}
        for kind, value, reason, message in (
            ("PodScheduled", "True", "", ""),
            ("Initialized", "True", "", ""),
            _ready_condition("ContainersReady", container, state),
            _ready_condition("Ready", container, state),
        )
    ]
    phase = "Running" if state.started or state.restarts else "Pending"
    return {"status": {"phase": phase, "conditions": conditions, "containerStatuses": statuses}}


def _ready_condition(kind: str, container: str, state: PodState) -> Tuple[str, str, str, str]:
    if state.ready:
        return kind, "True", "", ""
    return kind, "False", "ContainersNotReady", "containers with unready status: [%s] (%s)" % (container, state.message)
