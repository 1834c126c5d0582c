# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ClusterRoles whose rules Kubernetes gathers from others, and how they are deleted so that they stay away.

The aggregation applies a ClusterRole's rules also when it is deleted at that moment, and so makes it again, empty but for them
[kube-controller-manager, clusterroleaggregation: server-side apply creates what is not there]. It writes only when the rules
change: so what gathers has to go before what is gathered.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from .objects import KubeObject, ObjectRef

AGGREGATOR = "clusterrole-aggregation-controller"
CLUSTER_ROLE = "ClusterRole.rbac.authorization.k8s.io"


def made_by_aggregation(role: KubeObject) -> bool:
    """Whether nobody but the aggregation has written to a ClusterRole, which has no rule of aggregation any more."""
    metadata = role["metadata"]
    managers = {entry.get("manager") for entry in metadata.get("managedFields") or ()}
    return managers <= {AGGREGATOR} and not any((role.get("aggregationRule"), metadata.get("labels"), metadata.get("annotations")))


def levels_of(roles: Mapping[ObjectRef, KubeObject]) -> Dict[ObjectRef, int]:
    """In which turn the ClusterRoles that gather go: 0 are those that no other of them gathers.

    Roles that gather each other in a circle go together. Those that gather nothing are not in it.
    """
    gathering = {ref: _selectors(role) for ref, role in roles.items() if _selectors(role)}
    labels = {ref: _labels(roles[ref]) for ref in gathering}
    levels: Dict[ObjectRef, int] = {}
    while len(levels) < len(gathering):
        left = [ref for ref in gathering if ref not in levels]
        gathered: Set[ObjectRef] = {
            one for one in left for other in left if other != one and any(_matches(labels[one], selector) for selector in gathering[other])
        }
        turn = [ref for ref in left if ref not in gathered] or left
        levels.update(dict.fromkeys(turn, max(levels.values(), default=-1) + 1))
    return levels


def _selectors(role: KubeObject) -> List[Mapping[str, Any]]:
    return list((role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ())


def _labels(role: KubeObject) -> Mapping[str, str]:
    found: Mapping[str, str] = role["metadata"].get("labels") or {}
    return found


def _matches(labels: Mapping[str, str], selector: Mapping[str, Any]) -> bool:
    """Whether a label selector takes an object with these labels; an empty one takes all."""
    wanted: Tuple[Tuple[str, str], ...] = tuple((selector.get("matchLabels") or {}).items())
    return all(labels.get(name) == value for name, value in wanted) and all(
        _holds(labels.get(rule["key"]), rule) for rule in selector.get("matchExpressions") or ()
    )


def _holds(value: Optional[str], rule: Mapping[str, Any]) -> bool:
    operator: str = rule["operator"]
    values: Sequence[str] = rule.get("values") or ()
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (operator == "Exists")
    return (value in values) == (operator == "In")
