# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a hop would do, with what a person has to know and to say of it; and what a pipeline may refuse in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import FrozenSet, List, Optional, Sequence, Tuple, Union

from .catalogue import Ack, Hop, OneWay
from .errors import EngineError
from .linting import Lint
from .objects import ObjectRef
from .planning import Item, Plan, Policy, Verdict
from .pruning import allowed
from .verdicts import DANGERS, Notice, Removal

# What a pipeline can refuse, and the variable with which a person decides on it beforehand.
DANGEROUS, REPLACE = "dangerous", "replace"
FAIL_ON = (DANGEROUS, REPLACE)
SHOWN = 8


@dataclass(frozen=True)
class HopPlan:
    """One step of the way from release to release.

    :ivar hop: what release data knows of it.
    :ivar policy: what the user allows.
    :ivar components: those that the cluster has: what the hop asks of others is not asked here.
    :ivar given: the names of the acknowledgements that a person gave.
    :ivar live: whether it was compared with a cluster, and not only release with release.
    :ivar lints: what is wrong in the release that it leads to.
    """

    source: str
    target: str
    plan: Plan
    hop: Optional[Hop] = None
    policy: Policy = field(default_factory=Policy)
    components: FrozenSet[str] = frozenset()
    given: Tuple[str, ...] = ()
    live: bool = False
    lints: Tuple[Lint, ...] = ()

    @property
    def needed(self) -> Tuple[Ack, ...]:
        """The acknowledgements without which the hop does not begin."""
        return tuple(ack for ack in self.hop.acks if ack.component in self.components) if self.hop else ()

    @property
    def missing(self) -> Tuple[Ack, ...]:
        """Those of them that nobody gave."""
        return tuple(ack for ack in self.needed if ack.name not in self.given)

    @property
    def one_way(self) -> Tuple[OneWay, ...]:
        """Why the hop cannot be gone back."""
        return tuple(door for door in self.hop.one_way if door.component in self.components) if self.hop else ()


def going(plan: Plan, policy: Policy) -> FrozenSet[ObjectRef]:
    """What of the plan's removals the run deletes."""
    return frozenset(one.ref for one in allowed(plan.removals, policy))


def replaced(plan: Plan) -> Tuple[Item, ...]:
    """The objects that have to be deleted and made anew."""
    return tuple(item for item in plan.items if item.verdict is Verdict.REPLACE)


def refused(plans: Sequence[Plan], fail_on: Sequence[str], policy: Policy) -> Optional[EngineError]:
    """The error for plans in which there is what the user wants to fail on; None if there is nothing of it.

    What the user named himself (``policy.prune_named``, ``policy.replace``) was decided by a person and does not count.
    """
    found: List[str] = []
    for plan in plans:
        if DANGEROUS in fail_on:
            found += ["%s (%s)" % (one.ref, one.verdict) for one in dangerous(plan)]
        if REPLACE in fail_on:
            found += ["%s (%s)" % (one.ref, one.verdict) for one in replaced(plan) if str(one.ref) not in policy.replace]
    if not found:
        return None
    more = ["and %d more" % (len(found) - SHOWN)] if len(found) > SHOWN else []
    return EngineError(
        "the plan has what kubeflow_plan_fail_on names",
        subject=", ".join(fail_on),
        found="; ".join(found[:SHOWN] + more),
        next_step="decide on each: name it in kubeflow_prune_named or kubeflow_replace, or leave the release as it is",
    )


def dangerous(plan: Plan) -> Tuple[Union[Removal, Notice], ...]:
    """What could lose data: removals that nobody named, and versions that go while they are used."""
    removals = (one for one in plan.removals if one.verdict is Verdict.PRUNE_DANGEROUS and not one.named)
    return (*removals, *(one for one in plan.notices if one.verdict in DANGERS))
