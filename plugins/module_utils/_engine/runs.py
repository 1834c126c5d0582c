# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where every write and every component of a run stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional, Tuple

from .catalogue import Component
from .errors import EngineError
from .objects import ObjectRef
from .planning import Item, Verdict, Wanted
from .settling import Finding

NAMESPACE, DEFINITION, PASSIVE, CUSTOM, WORKLOAD, RESTART, WEBHOOK = range(7)
RANKS = {
    "Namespace": NAMESPACE,
    "CustomResourceDefinition.apiextensions.k8s.io": DEFINITION,
    "Deployment.apps": WORKLOAD,
    "StatefulSet.apps": WORKLOAD,
    "DaemonSet.apps": WORKLOAD,
    "Job.batch": WORKLOAD,
    "CronJob.batch": WORKLOAD,
    "MutatingWebhookConfiguration.admissionregistration.k8s.io": WEBHOOK,
    "ValidatingWebhookConfiguration.admissionregistration.k8s.io": WEBHOOK,
}


def rank_of(item: Item) -> int:
    """When an item's turn comes among those of its component."""
    if item.verdict is Verdict.RESTART:
        return RESTART
    known = RANKS.get(item.ref.kind_group)
    if known is not None:
        return known
    group = item.ref.group
    built_in = "." not in group or (group.endswith(".k8s.io") and not group.endswith(".x-k8s.io"))
    return PASSIVE if built_in else CUSTOM


@dataclass
class Work:
    """One write and where it stands: ``pending``, ``running``, ``done`` or ``failed``.

    :ivar heard: why the server did not take it yet; :ivar again_at: when it may be made again (monotonic clock).
    """

    item: Item
    rank: int
    state: str = "pending"
    heard: str = ""
    again_at: float = 0.0


@dataclass
class Run:
    """One component and where it stands: waiting, writing, settling, healthy, failed, blocked."""

    component: Component
    works: List[Work] = field(default_factory=list)
    judged: List[Tuple[ObjectRef, Wanted]] = field(default_factory=list)
    state: str = "waiting"
    started: float = 0.0
    settling_since: float = 0.0
    looked: float = 0.0
    ended: float = 0.0
    dirty: bool = True
    reason: str = ""
    findings: Tuple[Finding, ...] = ()
    error: Optional[EngineError] = None

    @property
    def left(self) -> List[Work]:
        """The writes that are not done."""
        return [work for work in self.works if work.state in ("pending", "running")]
