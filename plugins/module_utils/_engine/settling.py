# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settling: what of a component is not healthy yet, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from . import kstatus
from .api import Api, Resource
from .evidence import Evidence, pod_evidence, pods_of
from .gates import PODS
from .health import failed_grace, judge, missing
from .health_rules import ADDITIONS, EXISTENCE_IS_ENOUGH, HealthContext
from .kstatus import State
from .objects import KubeObject, ObjectRef
from .planning import Wanted

# Nothing about these ever has to be waited for.
STILL = frozenset(("ConfigMap", "Secret", "CronJob.batch", "PodDisruptionBudget.policy", "Service", "HorizontalPodAutoscaler.autoscaling"))
WORKLOADS = ("Deployment.apps", "StatefulSet.apps", "DaemonSet.apps", "Job.batch")


@dataclass(frozen=True)
class Finding:
    """One object that is not healthy (yet).

    :ivar evidence: what its pods say, first cause first.
    :ivar final: waiting longer will not help.
    """

    ref: ObjectRef
    component: str
    state: State
    reason: str
    message: str
    evidence: Tuple[Evidence, ...] = ()
    final: bool = False

    def __str__(self) -> str:
        text = "%s: %s" % (self.ref, self.message or self.reason)
        return "%s (%s)" % (text, self.evidence[0]) if self.evidence else text


def is_judged(resource: Resource, rules: Mapping[str, Any]) -> bool:
    """Whether objects of this kind can be anything but healthy once they exist."""
    kind = "%s.%s" % (resource.kind, resource.group) if resource.group else resource.kind
    if kind in STILL or kind in EXISTENCE_IS_ENOUGH:
        return False
    return kind in rules or kind in ADDITIONS or kind in kstatus.RULES


class Judge:
    """Judges objects of one cluster, and remembers since when something looks failed.

    :param rules: the release's health rules.
    :param read_pods: lists the pods of a namespace; called only for workloads that are late.
    """

    def __init__(self, rules: Mapping[str, Any], read_pods: Callable[[str], Sequence[KubeObject]]) -> None:
        self._rules = rules
        self._read_pods = read_pods
        self._failed_since: Dict[ObjectRef, datetime] = {}
        self._seen: Dict[ObjectRef, Tuple[Evidence, ...]] = {}

    def findings(
        self,
        objects: Iterable[Tuple[ObjectRef, Wanted, Optional[KubeObject], Optional[int]]],
        context: HealthContext,
        *,
        look_at_pods: bool,
    ) -> Tuple[Finding, ...]:
        """What is not healthy among (ref, wanted, live, generation that we wrote).

        :param look_at_pods: also ask the pods of late workloads why.
        """
        found: List[Finding] = []
        pods: Dict[str, Sequence[KubeObject]] = {}
        for ref, want, live, generation in objects:
            verdict = missing(want.obj) if live is None else judge(live, self._rules, generation=generation, context=context)
            if verdict.state is State.CURRENT:
                self._failed_since.pop(ref, None)
                self._seen.pop(ref, None)
                continue
            evidence: Tuple[Evidence, ...] = ()
            if look_at_pods and live is not None and ref.kind_group in WORKLOADS:
                if ref.namespace not in pods:
                    pods[ref.namespace] = self._read_pods(ref.namespace)
                evidence = self._ask_pods(ref, live, pods[ref.namespace], context.now)
            final = self._is_final(ref, verdict, evidence, context.now)
            found.append(Finding(ref, want.component, verdict.state, verdict.reason, verdict.message, evidence, final))
        return tuple(found)

    def _ask_pods(self, ref: ObjectRef, workload: KubeObject, pods: Sequence[KubeObject], now: datetime) -> Tuple[Evidence, ...]:
        mine = pods_of(workload, pods)
        evidence = pod_evidence(mine, now=now, previous=self._seen.get(ref, ()))
        self._seen[ref] = evidence
        return evidence

    def _is_final(self, ref: ObjectRef, verdict: kstatus.Verdict, evidence: Sequence[Evidence], now: datetime) -> bool:
        if any(item.fatal for item in evidence):
            return True
        if verdict.state is not State.FAILED:
            self._failed_since.pop(ref, None)
            return False
        since = self._failed_since.setdefault(ref, now)
        return (now - since).total_seconds() >= failed_grace(verdict)


def pods_reader(api: Api) -> Callable[[str], Sequence[KubeObject]]:
    """Reads the pods of a namespace from the API server."""
    return lambda namespace: api.list(PODS, namespace=namespace)[0]
