# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the simulated nodes and pods of a sandbox behave, as kwok Stages.

kwok's own defaults vanish as soon as one Stage is given, so this is a full set. Two things differ from the defaults:
pods with the annotation :data:`FAIL` never start, and pods that are run for real are left to their own readiness.
"""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

from ...module_utils._engine.objects import KubeObject

FAIL = "mlplatform.kubeflow.sandbox/fail"  # "<reason>: <message>", on the pod

# The Deployment of a pod, as "namespace/name": a ReplicaSet's pods are named <deployment>-<hash>-.
_DEPLOYMENT = '(.metadata.namespace + "/" + ((.metadata.generateName // "") | sub("-[a-z0-9]+-$"; "")))'
_FAIL_KEY = '.metadata.annotations["%s"]' % FAIL
_READY_STATUS = '.status.conditions.[] | select( .type == "Ready" ) | .status'

_NODE_READY = """
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ or $.metadata.creationTimestamp $now | Quote }}
{{ end }}
addresses:
{{ with NodeIP }}
- {type: InternalIP, address: {{ . | Quote }}}
{{ end }}
- {type: Hostname, address: {{ NodeName | Quote }}}
phase: Running
"""

_POD_ADDRESSES = """
{{ with NodeIPsWith .spec.nodeName }}
hostIP: {{ index . 0 | Quote }}
hostIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
{{ $own := .metadata }}
{{ with PodIPsWith .spec.nodeName ( or .spec.hostNetwork false ) $own.uid $own.name $own.namespace }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
startTime: {{ Now | Quote }}
"""

_POD_RUNNING = (
    """
{{ $now := Now }}
phase: Running
conditions:
{{ range list "Initialized" "Ready" "ContainersReady" }}
- {type: {{ . }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
{{ range .spec.readinessGates }}
- {type: {{ .conditionType | Quote }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
{{ if .spec.initContainers }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  restartCount: 0
  {{ if eq ( or .restartPolicy "" ) "Always" }}
  started: true
  state: {running: {startedAt: {{ $now | Quote }}}}
  {{ else }}
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
  {{ end }}
{{ end }}
{{ end }}
"""
    + _POD_ADDRESSES
)

_POD_FAILING = (
    """
{{ $now := Now }}
{{ $parts := splitn ":" 2 ( index .metadata.annotations "%s" ) }}
{{ $reason := trim $parts._0 }}
{{ $message := trim ( or $parts._1 "" ) }}
phase: Pending
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ range list "Ready" "ContainersReady" }}
- type: {{ . }}
  status: "False"
  reason: ContainersNotReady
  message: "containers with unready status"
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: false
  started: false
  state: {waiting: {reason: {{ $reason | Quote }}, message: {{ $message | Quote }}}}
  {{ if eq $reason "CrashLoopBackOff" }}
  restartCount: 6
  lastState:
    terminated: {exitCode: 1, reason: Error, message: {{ $message | Quote }}, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}
  {{ else }}
  restartCount: 0
  {{ end }}
{{ end }}
"""
    % FAIL
    + _POD_ADDRESSES
)

_POD_COMPLETE = """
{{ $now := Now }}
phase: Succeeded
conditions:
{{ range list "Ready" "ContainersReady" }}
- {type: {{ . }}, status: "False", reason: PodCompleted, lastTransitionTime: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: false
  started: false
  restartCount: 0
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
{{ end }}
"""

Match = Tuple[str, str, Tuple[str, ...]]  # jq expression, operator, values

_ALIVE: Match = (".metadata.deletionTimestamp", "DoesNotExist", ())
_SOUND: Match = (_FAIL_KEY, "DoesNotExist", ())


def _stage(name: str, kind: str, matches: Sequence[Match], following: Dict[str, Any], delay: int = 0) -> KubeObject:
    spec: Dict[str, Any] = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {
            "matchExpressions": [
                {"key": key, "operator": operator, **({"values": list(values)} if values else {})} for key, operator, values in matches
            ]
        },
        "next": following,
    }
    if delay:
        spec["delay"] = {"durationMilliseconds": delay}
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def stages(real: Sequence[str]) -> List[KubeObject]:
    """The full set.

    :param real: the Deployments ("namespace/name") whose pods are run for real: those become Ready by themselves.
    """
    ours: Tuple[Match, ...] = ((_DEPLOYMENT, "NotIn", tuple(real)),) if real else ()
    pending: Tuple[Match, ...] = (_ALIVE, (".status.phase", "In", ("Pending",)), (_READY_STATUS, "NotIn", ("True",)))
    job: Match = (".metadata.ownerReferences.[].kind", "In", ("Job",))
    ready: Match = (_READY_STATUS, "In", ("True",))
    failing: Tuple[Match, ...] = (
        (_FAIL_KEY, "Exists", ()),
        (".status.containerStatuses.[].state.waiting.reason", "DoesNotExist", ()),
    )
    node_status = {"statusTemplate": _NODE_READY}
    return [
        _stage("node-ready", "Node", [(_READY_STATUS, "NotIn", ("True",))], node_status),
        _stage("node-heartbeat", "Node", [ready], node_status, delay=60000),  # without Leases, the only sign
        _stage("pod-running", "Pod", [*pending, _SOUND, *ours], {"statusTemplate": _POD_RUNNING}),
        _stage("pod-failing", "Pod", [*pending, *failing], {"statusTemplate": _POD_FAILING}),
        _stage(
            "pod-complete",
            "Pod",
            [_ALIVE, _SOUND, (".status.phase", "In", ("Running",)), job],
            {"statusTemplate": _POD_COMPLETE},
        ),
        _stage("pod-gone", "Pod", [(".metadata.deletionTimestamp", "Exists", ())], {"delete": True}),
    ]
