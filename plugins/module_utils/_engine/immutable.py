# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fields that the API server does not let change: such an object has to be deleted and made anew.

The rules are those of the server's own update validation (Kubernetes 1.34, ``pkg/apis/*/validation``; the function is named
beside each kind); tests/integration/test_immutable_rules.py asks a real server about each of them. Rules that custom
resources carry in their own schemas (CEL) are not known here: the plan's dry run tells those.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from .forms import differences
from .objects import FIELD_MANAGER, KubeObject, ObjectRef, get_path, ref_of
from .redaction import shown_change

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([KMGTPE]i|[numkMGTPE])?)")


@dataclass(frozen=True)
class Fixed:
    """A field that never changes.

    :ivar default: what the server puts there when nothing is set; of an atomic mapping: its fields' defaults.
    :ivar atomic: it is replaced as a whole, so that a key less is a change, too.
    """

    path: str
    default: Any = None
    atomic: bool = False


_SELECTOR = Fixed("spec.selector", atomic=True)
_ROLE = (Fixed("roleRef", {"apiGroup": "rbac.authorization.k8s.io"}, atomic=True),)

FIXED: Mapping[str, Sequence[Fixed]] = {
    "Deployment.apps": (_SELECTOR,),  # ValidateDeploymentUpdate
    "DaemonSet.apps": (_SELECTOR,),  # ValidateDaemonSetUpdate
    "ReplicaSet.apps": (_SELECTOR,),  # ValidateReplicaSetUpdate
    "StatefulSet.apps": (  # ValidateStatefulSetUpdate
        _SELECTOR,
        Fixed("spec.serviceName", ""),
        Fixed("spec.podManagementPolicy", "OrderedReady"),
        Fixed("spec.volumeClaimTemplates"),
    ),
    "RoleBinding.rbac.authorization.k8s.io": _ROLE,  # ValidateRoleBindingUpdate
    "ClusterRoleBinding.rbac.authorization.k8s.io": _ROLE,  # ValidateClusterRoleBindingUpdate
    "Job.batch": (  # ValidateJobSpecUpdate
        _SELECTOR,
        Fixed("spec.template"),
        Fixed("spec.completionMode", "NonIndexed"),
        Fixed("spec.podFailurePolicy"),
        Fixed("spec.successPolicy"),
        Fixed("spec.backoffLimitPerIndex"),
        Fixed("spec.managedBy"),
    ),
    "Secret": (Fixed("type", "Opaque"),),  # ValidateSecretUpdate
    "PriorityClass.scheduling.k8s.io": (  # ValidatePriorityClassUpdate
        Fixed("value", 0),
        Fixed("preemptionPolicy", "PreemptLowerPriority"),
    ),
    "StorageClass.storage.k8s.io": (  # ValidateStorageClassUpdate
        Fixed("provisioner"),
        Fixed("parameters", {}, atomic=True),
        Fixed("reclaimPolicy", "Delete"),
        Fixed("volumeBindingMode", "Immediate"),
    ),
    "IngressClass.networking.k8s.io": (Fixed("spec.controller"),),  # validateIngressClassSpecUpdate
    "RuntimeClass.node.k8s.io": (Fixed("handler"),),  # ValidateRuntimeClassUpdate
    "CustomResourceDefinition.apiextensions.k8s.io": (  # ValidateCustomResourceDefinitionUpdate
        Fixed("spec.group"),
        Fixed("spec.scope"),
        Fixed("spec.names.plural"),
        Fixed("spec.names.kind"),
    ),
}


def immutable_changes(before: KubeObject, after: KubeObject) -> Tuple[str, ...]:
    """The paths of the fields that ``after`` sets otherwise and that the API server does not let change.

    What ``after`` does not set counts only where leaving it out changes it: where it is ours alone, so that server-side
    apply takes it away, and the server would put another default there.

    :param before: the live object, or an older render of it (no managedFields: all of it is taken to be ours).
    :param after: what we want.
    """
    kind = ref_of(after).kind_group
    found = [field.path for field in FIXED.get(kind, ()) if _differs(field, before, after)]
    rule = RULES.get(kind)
    if rule is not None:
        found += rule(before, after)
    return tuple(found)


def immutable_reason(before: KubeObject, after: KubeObject, paths: Sequence[str], user_patched: bool = False) -> str:
    """Why an object has to be made anew, fit to be shown: "roleRef cannot be changed: cluster-admin -> kubeflow-metacontroller"."""
    ref = ref_of(after)
    return "; ".join("%s cannot be changed: %s" % (path, _values(ref, before, after, path, user_patched)) for path in paths)


def shown_immutable(
    before: KubeObject, after: KubeObject, paths: Sequence[str], user_patched: bool = False
) -> Tuple[Tuple[str, str, str], ...]:
    """(path, before, after) of every value below these paths that differs, fit to be shown."""
    ref = ref_of(after)
    changes = (change for path in paths for change in _leaves(before, after, path))
    return tuple(shown_change(ref, change, user_patched) for change in changes)


def _values(ref: ObjectRef, before: KubeObject, after: KubeObject, path: str, user_patched: bool) -> str:
    shown = [shown_change(ref, change, user_patched) for change in _leaves(before, after, path)]
    if len(shown) == 1:
        return "%s -> %s" % shown[0][1:]
    return ", ".join("%s %s -> %s" % (where[len(path) + 1 :] or path, old, new) for where, old, new in shown)


def _leaves(before: KubeObject, after: KubeObject, path: str) -> List[Tuple[str, Any, Any]]:
    """The values below a path that differ; what only the server filled in (not set by ``after``) is left out."""
    found = differences(get_path(before, path), get_path(after, path), path)
    told = [change for change in found if change[2] is not None]
    return told or found


# ------------------------------------------------------------------ comparing


def _differs(field: Fixed, before: KubeObject, after: KubeObject) -> bool:
    old, new = (_set(get_path(obj, field.path)) for obj in (before, after))
    if new is None:
        if old is None or not ours_alone(before, field.path.split(".")):
            return False
        new = field.default
    old = field.default if old is None else old
    if field.atomic:
        return _full(old, field.default) != _full(new, field.default)
    if new is None or (isinstance(new, list) and len(new) != len(old or [])):
        return bool(old)
    return not _covers(old, new)


def _set(value: Any) -> Any:
    """None for what is empty, which the server takes for not set."""
    return None if value in ([], {}) else value


def _full(value: Any, defaults: Any) -> Dict[str, Any]:
    """An atomic mapping with its defaults and without what is empty."""
    return {**(defaults or {}), **{key: below for key, below in (value or {}).items() if below not in (None, [], {})}}


def _covers(old: Any, new: Any, amounts: bool = False) -> bool:
    """Whether ``old`` already has all that ``new`` sets: the server fills in the rest.

    :param amounts: the values are quantities, which may be written in several ways.
    """
    if isinstance(new, dict):
        there = old if isinstance(old, dict) else {}
        return all(
            _covers(there.get(key), below, key in ("requests", "limits") or amounts)
            for key, below in new.items()
            if below is not None and (below not in ({}, []) or key in there)
        )
    if isinstance(new, list):
        return isinstance(old, list) and _covers_list(old, new)
    return old == new or (amounts and _same_amount(old, new))


def _covers_list(old: List[Any], new: List[Any]) -> bool:
    first, second = _named(old), _named(new)
    if first is not None and second is not None:
        return all(name in first and _covers(first[name], item) for name, item in second.items())
    return len(old) == len(new) and all(_covers(left, right) for left, right in zip(old, new))


def _named(items: List[Any]) -> Optional[Dict[str, Any]]:
    """The items by name (of a volume claim template: the name in its metadata), or None where they have none."""
    found: Dict[str, Any] = {}
    for item in items:
        name = (item.get("name") or get_path(item, "metadata.name")) if isinstance(item, dict) else None
        if not isinstance(name, str) or name in found:
            return None
        found[name] = item
    return found


def quantity(value: Any) -> Optional[Decimal]:
    """A quantity ("5Gi", "100m", 2) as a number; None if it is none."""
    match = _QUANTITY.fullmatch(str(value).strip())
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    if exponent:
        return Decimal(number + exponent)
    if suffix in _BINARY:
        return Decimal(number) * _BINARY[suffix]
    return Decimal(number).scaleb(_DECIMAL[suffix or ""])


def _same_amount(old: Any, new: Any) -> bool:
    first, second = quantity(old), quantity(new)
    return first is not None and first == second


def ours_alone(before: KubeObject, path: Sequence[str]) -> bool:
    """Whether nobody but us owns a field, so that leaving it out takes it away.

    Of an object without managedFields (an older render) everything is ours.
    """
    entries = before["metadata"].get("managedFields")
    if not entries:
        return True
    owners = {(entry.get("manager"), entry.get("operation")) for entry in entries if _names(entry.get("fieldsV1"), path)}
    return owners == {(FIELD_MANAGER, "Apply")}


def _names(fields: Any, path: Sequence[str]) -> bool:
    """Whether a fieldsV1 set names a field, or something below it."""
    for part in path:
        if not isinstance(fields, dict) or "f:" + part not in fields:
            return False
        fields = fields["f:" + part]
    return True


# ------------------------------------------------------------------ kinds whose rules depend on more than one field


def _service(before: KubeObject, after: KubeObject) -> List[str]:
    """ValidateServiceUpdate: addresses and families stay once set; every change of ``type`` is accepted.

    An ExternalName has neither. A headless Service may change its families, and one becomes headless or stops being it only
    by being made anew.
    """
    old, new = before.get("spec") or {}, after.get("spec") or {}
    types = (old.get("type", "ClusterIP"), new.get("type") or old.get("type", "ClusterIP"))
    found = []
    if _both_differ(old, new, "clusterIP"):
        found.append("spec.clusterIP")
    elif any(left != right for left, right in zip(old.get("clusterIPs") or [], new.get("clusterIPs") or [])):
        found.append("spec.clusterIPs")
    headless = old.get("clusterIP") == "None"
    if not headless and any(left != right for left, right in zip(old.get("ipFamilies") or [], new.get("ipFamilies") or [])):
        found.append("spec.ipFamilies")
    if types == ("LoadBalancer", "LoadBalancer") and new.get("loadBalancerClass") not in (None, old.get("loadBalancerClass")):
        found.append("spec.loadBalancerClass")
    local = all(spec.get("externalTrafficPolicy") == "Local" for spec in (old, new))
    if types == ("LoadBalancer", "LoadBalancer") and local and _both_differ(old, new, "healthCheckNodePort"):
        found.append("spec.healthCheckNodePort")
    return found


def _both_differ(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> bool:
    return bool(old.get(name)) and bool(new.get(name)) and old[name] != new[name]


def _claim(before: KubeObject, after: KubeObject) -> List[str]:
    """ValidatePersistentVolumeClaimUpdate: of a bound claim only the size may grow and the attributes class change.

    A live claim takes a class or a volume once, where it has none. Of an older render nobody knows whether the claim is
    bound, or which class the server put there: growth is taken to be possible, a class that comes new is not.
    """
    old, new = before.get("spec") or {}, after.get("spec") or {}
    live = bool(before.get("status"))
    bound = not live or get_path(before, "status.phase") == "Bound"
    found = []
    for name, value in new.items():
        once = name == "volumeName" or (name == "storageClassName" and live)
        if name in ("resources", "volumeAttributesClassName") or value is None or (once and not old.get(name)):
            continue
        default = "Filesystem" if name == "volumeMode" else None
        if not _covers(old.get(name, default), value):
            found.append("spec." + name)
    if not bound and not _covers(old.get("volumeAttributesClassName"), new.get("volumeAttributesClassName")):
        found.append("spec.volumeAttributesClassName")
    before_size, after_size = (quantity(get_path(spec, "resources.requests.storage")) for spec in (old, new))
    if before_size is not None and after_size is not None and (after_size < before_size or (after_size > before_size and not bound)):
        found.append("spec.resources.requests.storage")
    return found


def _sealed(before: KubeObject, after: KubeObject) -> List[str]:
    """ValidateSecretUpdate, ValidateConfigMapUpdate: with ``immutable: true`` neither the data nor that field changes."""
    if before.get("immutable") is not True:
        return []
    found = []
    if after.get("immutable") is False or (after.get("immutable") is None and ours_alone(before, ["immutable"])):
        found.append("immutable")
    for name in ("data", "binaryData"):
        old, new = before.get(name) or {}, after.get(name) or {}
        lost = [key for key in old if key not in new and ours_alone(before, [name, key])]
        if lost or any(old.get(key) != value for key, value in new.items()):
            found.append(name)
    return found


def _job(before: KubeObject, after: KubeObject) -> List[str]:
    """validateCompletions: only an Indexed job may change it, and then in step with its parallelism."""
    old, new = before.get("spec") or {}, after.get("spec") or {}
    wanted = new.get("completions")
    if wanted is None or wanted == old.get("completions"):
        return []
    elastic = old.get("completionMode") == "Indexed" and wanted == new.get("parallelism", old.get("parallelism"))
    return [] if elastic else ["spec.completions"]


RULES: Mapping[str, Callable[[KubeObject, KubeObject], List[str]]] = {
    "Service": _service,
    "PersistentVolumeClaim": _claim,
    "Secret": _sealed,
    "ConfigMap": _sealed,
    "Job.batch": _job,
}
