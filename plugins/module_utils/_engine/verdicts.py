# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a plan: what can be said of an object that we want, of one that we want no more, and of what lies beside."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Mapping, Optional

from .api import Resource
from .objects import KubeObject, ObjectRef


class Verdict(str, Enum):
    """What will happen to an object, or what a person should know of it."""

    # of what we want
    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    DRIFT = "drift"
    ADOPT = "adopt"
    ADOPT_REFUSED = "adopt-refused"
    CONFLICT = "conflict"
    REFUSED = "refused"
    REPLACE = "replace-needed"
    RESTART = "restart"
    # of what we want no more
    PRUNE_SAFE = "prune-safe"
    PRUNE_DANGEROUS = "prune-dangerous"
    KEEP = "keep"
    ORPHAN_WEBHOOK = "orphan-webhook"
    # of what lies beside
    STORAGE_MOVE = "storage-version-move"
    SERVED_REMOVED = "served-version-removed-while-used"
    NOT_SERVED = "api-not-served"
    PATCH_UNMATCHED = "patch-matches-nothing"
    OLD_SIDECAR = "older-sidecar"
    REGENERATE = "regenerate"

    def __str__(self) -> str:
        return self.value


WRITES = (Verdict.CREATE, Verdict.UPDATE, Verdict.DRIFT, Verdict.ADOPT, Verdict.REPLACE, Verdict.RESTART)
STOPS = (Verdict.ADOPT_REFUSED, Verdict.CONFLICT, Verdict.REFUSED)
DANGERS = (Verdict.PRUNE_DANGEROUS, Verdict.SERVED_REMOVED, Verdict.NOT_SERVED)


@dataclass(frozen=True)
class Removal:
    """An object that we wrote and want no more: the line of the plan that says what becomes of it.

    :ivar component: whose record it is in.
    :ivar resource: how it is reached; None if the API server serves its kind no more.
    :ivar verdict: PRUNE_SAFE, PRUNE_DANGEROUS, KEEP or ORPHAN_WEBHOOK.
    :ivar uid: of the object that we wrote, the precondition of its deletion.
    :ivar counts: what would be lost with it: namespace ("" for cluster-wide things) -> how many.
    :ivar named: whether the user named it, so that it goes although it is dangerous.
    """

    ref: ObjectRef
    component: str
    resource: Optional[Resource]
    verdict: Verdict
    reason: str
    uid: str = ""
    live: Optional[KubeObject] = None
    counts: Mapping[str, int] = field(default_factory=dict)
    named: bool = False


@dataclass(frozen=True)
class Notice:
    """Something that a person should know before the run: STORAGE_MOVE, SERVED_REMOVED, NOT_SERVED, ...

    :ivar counts: namespace ("" for cluster-wide things) -> how many are concerned.
    """

    ref: ObjectRef
    component: str
    verdict: Verdict
    reason: str
    counts: Mapping[str, int] = field(default_factory=dict)
