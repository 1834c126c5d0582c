# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods, their containers and events tell about a workload that is not ready."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.evidence import (
    Cause,
    Evidence,
    pod_evidence,
    pods_of,
    selects,
)

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=timezone.utc)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def obj(kind: str, *, spec: Any = None, status: Any = None, **metadata: Any) -> Dict[str, Any]:
    named = {"name": "x", "namespace": "kubeflow", **metadata}
    return {"apiVersion": "v1", "kind": kind, "metadata": named, "spec": spec or {}, "status": status or {}}


def container(name: str, state: Dict[str, Any], *, restarts: int = 0, last: Any = None, ready: bool = False) -> Dict[str, Any]:
    return {
        "name": name,
        "image": "registry.site/%s:1" % name,
        "ready": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": {"terminated": last} if last else {},
    }


def waiting(reason: str, message: str = "") -> Dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


RUNNING: Dict[str, Any] = {"running": {"startedAt": ago(90)}}
EXIT_1 = {"exitCode": 1, "reason": "Error", "message": "starting\nno route to host\n", "finishedAt": ago(30)}
OOM = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": ago(30)}
PANIC = {"exitCode": 2, "message": "panic: no configuration\ngoroutine 1 [running]:\nmain.main()"}


def pod(
    *main: Dict[str, Any],
    init: Tuple[Dict[str, Any], ...] = (),
    sidecars: Tuple[str, ...] = (),
    name: str = "web-1",
    age: float = 120,
    phase: str = "Pending",
    listed: Tuple[Tuple[str, ...], ...] = (),
    policy: str = "Always",
) -> Dict[str, Any]:
    """A pod with these container statuses; ``sidecars`` are the init containers that restart always."""
    specs = [{"name": one["name"], **({"restartPolicy": "Always"} if one["name"] in sidecars else {})} for one in init]
    names = ("type", "status", "reason", "message")
    status = {
        "phase": phase,
        "conditions": [dict(zip(names, one)) for one in listed],
        "containerStatuses": list(main),
        "initContainerStatuses": list(init),
    }
    spec = {"restartPolicy": policy, "initContainers": specs, "containers": [{"name": one["name"]} for one in main]}
    return obj("Pod", name=name, uid="uid-" + name, creationTimestamp=ago(age), spec=spec, status=status)


def event(name: str, reason: str, message: str, *, kind: str = "Pod", type_: str = "Warning", age: float = 5, uid: str = "") -> Any:
    involved = {"kind": kind, "namespace": "kubeflow", "name": name, "uid": uid}
    return {"involvedObject": involved, "type": type_, "reason": reason, "message": message, "lastTimestamp": ago(age)}


BLOCKED = container("main", waiting("PodInitializing"))
CAUSES: List[Tuple[str, Dict[str, Any], List[Any], Cause, bool, str]] = [
    (
        "crash loop",
        pod(container("main", waiting("CrashLoopBackOff", "back-off 40s"), restarts=6, last=EXIT_1), phase="Running"),
        [],
        Cause.CRASH,
        True,
        "pod kubeflow/web-1: container main: CrashLoopBackOff: exit code 1: no route to host (6 restarts)",
    ),
    (
        "first crashes",
        pod(container("main", waiting("CrashLoopBackOff"), restarts=2, last=OOM), phase="Running"),
        [],
        Cause.CRASH,
        False,
        "pod kubeflow/web-1: container main: CrashLoopBackOff: exit code 137 (OOMKilled) (2 restarts)",
    ),
    (
        "just crashed",
        pod(container("main", {"terminated": PANIC}, restarts=1), phase="Running"),
        [],
        Cause.CRASH,
        False,
        "pod kubeflow/web-1: container main: Error: exit code 2: panic: no configuration (1 restart)",
    ),
    (
        "init container crashes",
        pod(BLOCKED, init=(container("db", waiting("CrashLoopBackOff"), restarts=6, last=EXIT_1),)),
        [],
        Cause.CRASH,
        True,
        "pod kubeflow/web-1: init container db: CrashLoopBackOff: exit code 1: no route to host (6 restarts)",
    ),
    (
        "sidecar before main",
        pod(
            container("main", waiting("CrashLoopBackOff"), restarts=9, last=EXIT_1),
            init=(container("proxy", waiting("CrashLoopBackOff"), restarts=9, last=OOM),),
            sidecars=("proxy",),
        ),
        [],
        Cause.CRASH,
        True,
        "pod kubeflow/web-1: init container proxy: CrashLoopBackOff: exit code 137 (OOMKilled) (9 restarts)",
    ),
    (
        "sidecar not ready",
        pod(BLOCKED, init=(container("proxy", RUNNING),), sidecars=("proxy",)),
        [],
        Cause.NOT_READY,
        False,
        "pod kubeflow/web-1: init container proxy: NotReady: it runs but is not ready",
    ),
    (
        "init container works",
        pod(BLOCKED, init=(container("load", RUNNING),)),
        [],
        Cause.STARTING,
        False,
        "pod kubeflow/web-1: init container load: Initializing: it has not ended yet",
    ),
    (
        "image missing",
        pod(container("main", waiting("ErrImagePull", "not found")), age=61),
        [],
        Cause.PULL,
        True,
        "pod kubeflow/web-1: container main: ErrImagePull: registry.site/main:1: not found",
    ),
    (
        "image missing, event knows why",
        pod(container("main", waiting("ImagePullBackOff", 'Back-off pulling image "registry.site/main:1"')), age=59),
        [
            event("web-1", "Failed", 'Failed to pull image "registry.site/main:1": not found', age=9),
            event("web-1", "Failed", "Error: ImagePullBackOff", age=4),
        ],
        Cause.PULL,
        False,
        'pod kubeflow/web-1: container main: ImagePullBackOff: Failed to pull image "registry.site/main:1": not found',
    ),
    (
        "configuration missing",
        pod(container("main", waiting("CreateContainerConfigError", 'secret "s3" not found'))),
        [],
        Cause.CONFIG,
        True,
        'pod kubeflow/web-1: container main: CreateContainerConfigError: secret "s3" not found',
    ),
    (
        "no node, for ever",
        pod(age=90000, listed=(("PodScheduled", "False", "Unschedulable", "0/3 nodes: no GPU"),)),
        [],
        Cause.SCHEDULING,
        False,
        "pod kubeflow/web-1: Unschedulable: 0/3 nodes: no GPU",
    ),
    (
        "volume",
        pod(container("main", waiting("ContainerCreating"))),
        [
            event("web-1", "FailedMount", 'secret "tls" not found'),
            event("web-1", "Other", "older pod", uid="gone", age=1),
        ],
        Cause.VOLUME,
        False,
        'pod kubeflow/web-1: FailedMount: secret "tls" not found',
    ),
    (
        "starting",
        pod(container("main", waiting("ContainerCreating"))),
        [event("web-1", "Pulling", "Pulling image", type_="Normal"), event("web-1", "FailedMount", "old", age=50)],
        Cause.STARTING,
        False,
        "pod kubeflow/web-1: ContainerCreating: Pulling image",
    ),
    ("brand new", pod(), [], Cause.STARTING, False, "pod kubeflow/web-1: Pending"),
    (
        "probe fails",
        pod(container("main", RUNNING, restarts=1, last=OOM), phase="Running"),
        [event("web-1", "Unhealthy", "Readiness probe failed: 503")],
        Cause.NOT_READY,
        False,
        "pod kubeflow/web-1: container main: NotReady: Readiness probe failed: 503 (1 restart)",
    ),
    (
        "evicted",
        {**pod(phase="Failed"), "status": {"phase": "Failed", "reason": "Evicted", "message": "node low on disk"}},
        [],
        Cause.ENDED,
        False,
        "pod kubeflow/web-1: Evicted: node low on disk",
    ),
    (
        "run once and failed",
        pod(container("main", {"terminated": EXIT_1}), phase="Failed", policy="Never"),
        [],
        Cause.ENDED,
        False,
        "pod kubeflow/web-1: container main: Error: exit code 1: no route to host",
    ),
]


@pytest.mark.parametrize("what, found, events, cause, fatal, story", CAUSES, ids=[row[0] for row in CAUSES])
def test_a_pod_tells_why(what: str, found: Dict[str, Any], events: List[Any], cause: Cause, fatal: bool, story: str) -> None:
    """The first cause, in a person's words; fatal only where waiting on is pointless."""
    first = pod_evidence([found], now=NOW, events=events)[0]
    assert (str(first), first.cause, first.fatal) == (story, cause, fatal)


@pytest.mark.parametrize(
    "found",
    [
        pod(container("main", RUNNING, ready=True), phase="Running", listed=(("Ready", "True"),)),
        pod(container("main", {"terminated": {"exitCode": 0}}), phase="Succeeded"),
    ],
)
def test_pods_that_are_well_tell_nothing(found: Dict[str, Any]) -> None:
    """Evidence is about trouble only."""
    assert pod_evidence([found], now=NOW) == ()


def test_first_cause_first() -> None:
    """What is fatal, then what comes earlier in a pod's life; a pod that is leaving comes last."""
    leaving = pod(container("main", waiting("CrashLoopBackOff"), restarts=9), name="old")
    leaving["metadata"]["deletionTimestamp"] = ago(1)
    pods = [
        leaving,
        pod(container("main", RUNNING), name="slow", phase="Running"),
        pod(container("main", waiting("CrashLoopBackOff"), restarts=1, last=EXIT_1), name="crashes-1", phase="Running"),
        pod(container("main", waiting("CrashLoopBackOff"), restarts=6, last=EXIT_1), name="crashes-5", phase="Running"),
        pod(name="nowhere", listed=(("PodScheduled", "False", "Unschedulable", "no GPU"),)),
    ]
    order = ["crashes-5", "nowhere", "crashes-1", "slow", "old"]
    assert [one.pod for one in pod_evidence(pods, now=NOW)] == ["kubeflow/" + name for name in order]
    assert pod_evidence(pods[::-1], now=NOW) == pod_evidence(pods, now=NOW)


def test_containers_are_asked_in_the_order_of_their_start() -> None:
    """A sidecar that crashed last is still the cause of what crashes behind it."""
    early, late = {"exitCode": 1, "finishedAt": ago(50)}, {"exitCode": 1, "finishedAt": ago(5)}
    proxy = container("proxy", waiting("CrashLoopBackOff"), restarts=4, last=late)
    main = container("main", waiting("CrashLoopBackOff"), restarts=4, last=early)
    found = pod_evidence([pod(main, init=(proxy,), sidecars=("proxy",))], now=NOW)
    assert [one.container for one in found] == ["proxy", "main"]


def test_a_single_look_does_not_count_the_time_of_init_containers() -> None:
    """The image of a container is pulled only after them."""
    found = pod(container("main", waiting("ErrImagePull")), age=900, listed=(("Initialized", "True"),))
    found["status"]["conditions"][0]["lastTransitionTime"] = ago(20)
    assert pod_evidence([found], now=NOW)[0].since == NOW - timedelta(seconds=20)


def test_a_waiter_counts_from_when_it_first_saw_the_trouble() -> None:
    """A first failure after five minutes of pulling is not five minutes of failing."""
    found = pod(container("main", waiting("ErrImagePull", "time-out")), age=300)
    first = pod_evidence([found], now=NOW, previous=())
    assert not first[0].fatal
    found["status"]["containerStatuses"][0]["state"] = waiting("ImagePullBackOff", "Back-off")
    soon = pod_evidence([found], now=NOW + timedelta(seconds=59), previous=first)
    assert not soon[0].fatal
    assert pod_evidence([found], now=NOW + timedelta(seconds=60), previous=soon)[0].fatal
    healed = pod_evidence([pod(container("main", RUNNING), phase="Running")], now=NOW, previous=soon)
    assert not pod_evidence([found], now=NOW + timedelta(seconds=61), previous=healed)[0].fatal


def test_a_workload_without_pods_tells_by_its_events() -> None:
    """A quota or an admission webhook stops pods before there are any."""
    events = [event("web-5f", "FailedCreate", "exceeded quota: gpu", kind="ReplicaSet"), event("web-1", "Failed", "x")]
    (only,) = pod_evidence([], now=NOW, events=events)
    assert str(only) == "no pod: FailedCreate: ReplicaSet web-5f: exceeded quota: gpu"
    assert not only.fatal


def test_long_messages_are_cut() -> None:
    """A termination message may be 4 kB of a log."""
    (found,) = pod_evidence([pod(container("main", waiting("CreateContainerError", "x" * 5000)))], now=NOW)
    assert isinstance(found, Evidence)
    assert len(found.message) == 300


def test_a_workload_knows_its_pods() -> None:
    """By selector and namespace; expressions count."""
    deployment = obj("Deployment", spec={"selector": {"matchLabels": {"app": "web"}}})
    mine, other = obj("Pod", name="a", labels={"app": "web", "x": "1"}), obj("Pod", name="b", labels={"app": "db"})
    elsewhere = obj("Pod", name="c", namespace="other", labels={"app": "web"})
    assert pods_of(deployment, [mine, other, elsewhere]) == (mine,)
    assert pods_of(mine, [mine, other]) == (mine,)
    assert pods_of(obj("Job"), [mine]) == ()
    labels = {"tier": "a"}
    for operator, values, expected in [
        ("In", ["a"], True),
        ("NotIn", ["a"], False),
        ("Exists", [], True),
        ("DoesNotExist", [], False),
        ("Near", [], False),
    ]:
        selector = {"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]}
        assert selects(selector, labels) is expected
