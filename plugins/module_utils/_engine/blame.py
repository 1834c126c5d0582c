# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of a component that does not become healthy: first cause first, then what was still missing."""

from __future__ import annotations

from typing import Sequence, Tuple

from .errors import EngineError
from .kstatus import State
from .objects import ObjectRef
from .settling import Finding

# How many objects an error lists.
SHOWN = 5


def broken(component: str, finding: Finding) -> EngineError:
    """The error for an object that will not become healthy."""
    evidence = finding.evidence[0] if finding.evidence else None
    return EngineError(
        str(evidence) if evidence else finding.message or finding.reason,
        subject=str(finding.ref),
        found=finding.message if evidence else "",
        component=component,
        next_step="mend the cause and run this again; it goes on from here",
    )


def timed_out(component: str, seconds: float, findings: Sequence[Finding], closed: Sequence[Tuple[ObjectRef, str]]) -> EngineError:
    """The error for a component that took too long.

    :param findings: what is there and not healthy; :param closed: what is not written yet, and why.
    """
    known = sorted(findings, key=lambda item: (not item.evidence, item.state is not State.FAILED))
    causes = [item for item in known if item.evidence or item.state is State.FAILED]
    told = [(item.ref, str(item.evidence[0]) if item.evidence else item.message) for item in causes]
    told += closed
    told += [(item.ref, item.message or item.reason) for item in known if item not in causes]
    subject, cause = (str(told[0][0]), told[0][1]) if told else ("", "it is still being written")
    return EngineError(
        "%s; not healthy after %d s" % (cause, seconds),
        subject=subject,
        found="; ".join("%s: %s" % (ref, why) for ref, why in told[1:SHOWN]),
        component=component,
        next_step="mend it, or give it more time with kubeflow_timeout, and run this again; it goes on from here",
    )
