# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may never happen to a user's data: asked before anything is written.

A rule returns the reason why not, or "".
"""

from __future__ import annotations

from typing import Callable, Dict, List, Optional

from .objects import KubeObject


def crd_overwrite(live: KubeObject, wanted: KubeObject) -> str:
    """A CustomResourceDefinition that serves or stores a version that ours lacks is not overwritten.

    Objects stored in that version could not be read any more
    [Kubernetes API: status.storedVersions must appear in spec.versions].
    """
    ours = {version["name"] for version in wanted["spec"]["versions"]}
    served = [version["name"] for version in live["spec"]["versions"] if version.get("served")]
    stored: List[str] = (live.get("status") or {}).get("storedVersions") or []
    lost = sorted((set(served) | set(stored)) - ours)
    if lost:
        return "the live definition serves or stores %s, which the release lacks" % ", ".join(lost)
    if live["spec"]["scope"] != wanted["spec"]["scope"]:
        return "the live definition is %s, the release's %s" % (live["spec"]["scope"], wanted["spec"]["scope"])
    return ""


# Nothing can be written into these while they go away.
HOLD_OTHERS = ("Namespace", "CustomResourceDefinition")
OVERWRITE: Dict[str, Callable[[KubeObject, KubeObject], str]] = {"CustomResourceDefinition": crd_overwrite}


def refuse_overwrite(live: Optional[KubeObject], wanted: KubeObject) -> str:
    """Why an object that is there must not be overwritten with what we want; "" if it may."""
    if live is None:
        return ""
    if wanted["kind"] in HOLD_OTHERS and live["metadata"].get("deletionTimestamp"):
        return "it is being deleted, and what is in it goes with it: run this again when it is gone"
    rule = OVERWRITE.get(wanted["kind"])
    return rule(live, wanted) if rule is not None else ""
