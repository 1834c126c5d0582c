# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gates: which webhooks an object's write will call, and whether they answer.

A webhook answers when its Service has a ready endpoint, its configuration is written, its caBundle is a
certificate, and one dry-run probe was not turned away. Only then is anything written that it admits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple

from .api import Resource
from .evidence import selects
from .forms import WEBHOOK_KINDS, is_ca_bundle
from .objects import KubeObject, ObjectRef, ref_of

PODS = Resource("v1", "Pod", "pods", True)
MAKES_PODS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet")


@dataclass(frozen=True)
class Hook:
    """One webhook of a configuration, with what decides whether it is called.

    :ivar component: the component that brings it, "" for one that was there before.
    :ivar service: ``namespace/name`` behind it, "" if it is called by URL.
    :ivar pending_rules: its controller fills the rules at run time and has not done so yet.
    """

    config: ObjectRef
    name: str
    component: str
    service: str
    rules: Tuple[Mapping[str, Any], ...]
    namespace_selector: Mapping[str, Any]
    object_selector: Mapping[str, Any]
    ca: bool
    pending_rules: bool


def hooks_of(config: KubeObject, component: str, runtime_rules: bool) -> Tuple[Hook, ...]:
    """The webhooks of a Mutating- or ValidatingWebhookConfiguration."""
    hooks = []
    for hook in config.get("webhooks") or []:
        client = hook.get("clientConfig") or {}
        service = client.get("service")
        rules = tuple(hook.get("rules") or ())
        hooks.append(
            Hook(
                config=ref_of(config),
                name=hook["name"],
                component=component,
                service="%s/%s" % (service["namespace"], service["name"]) if service else "",
                rules=rules,
                namespace_selector=hook.get("namespaceSelector") or {},
                object_selector=hook.get("objectSelector") or {},
                ca=is_ca_bundle(client.get("caBundle")),
                pending_rules=runtime_rules and not rules,
            )
        )
    return tuple(hooks)


def _fits(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """As :func:`evidence.selects`, but an empty selector of a webhook selects everything."""
    return not any(selector.values()) or selects(selector, labels)


def _rule_fits(rule: Mapping[str, Any], resource: Resource, operation: str) -> bool:
    def among(wanted: Sequence[str], value: str) -> bool:
        return "*" in wanted or value in wanted

    # A rule for another version of the kind is called too: matchPolicy is Equivalent by default.
    if not among(rule.get("apiGroups") or [], resource.group):
        return False
    if not among(rule.get("operations") or [], operation):
        return False
    resources = rule.get("resources") or []
    if not any(name in ("*", "*/*", resource.plural) for name in resources):
        return False
    scope = rule.get("scope") or "*"
    return bool(scope == "*" or (scope == "Namespaced") == resource.namespaced)


def admits(hook: Hook, resource: Resource, obj: KubeObject, namespace_labels: Mapping[str, str], operation: str) -> bool:
    """Whether the API server calls this webhook for this write."""
    if not any(_rule_fits(rule, resource, operation) for rule in hook.rules):
        return False
    labels = obj["metadata"].get("labels") or {}
    if resource.kind == "Namespace":
        namespace_labels = labels
    elif not resource.namespaced:
        return _fits(hook.object_selector, labels)
    return _fits(hook.namespace_selector, namespace_labels) and _fits(hook.object_selector, labels)


def pod_of(obj: KubeObject) -> Optional[KubeObject]:
    """The pod that a workload would make, for asking which webhooks would admit it."""
    if obj["kind"] not in MAKES_PODS:
        return None
    template = obj["spec"].get("template")
    if not template:
        return None
    namespace = obj["metadata"].get("namespace", "")
    metadata = {
        "generateName": obj["metadata"]["name"] + "-",
        "namespace": namespace,
        "labels": dict((template.get("metadata") or {}).get("labels") or {}),
        "annotations": dict((template.get("metadata") or {}).get("annotations") or {}),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}


class NamespaceLabels:
    """The labels of every namespace that a run knows of."""

    def __init__(self, objects: Iterable[KubeObject]) -> None:
        self._labels: Dict[str, Dict[str, str]] = {}
        for obj in objects:
            if obj["kind"] == "Namespace":
                known = self._labels.setdefault(obj["metadata"]["name"], {})
                known.update(obj["metadata"].get("labels") or {})

    def of(self, namespace: str) -> Mapping[str, str]:
        """Its labels; the server adds its name to every namespace."""
        return {**self._labels.get(namespace, {}), "kubernetes.io/metadata.name": namespace}


def calls(
    hooks: Iterable[Hook], resource: Resource, obj: KubeObject, labels: NamespaceLabels, operation: str
) -> Tuple[List[Hook], List[Hook]]:
    """The webhooks that a write calls: (for the object itself, for the pods that it will make)."""
    namespace_labels = labels.of(obj["metadata"].get("namespace", ""))
    pod = pod_of(obj)
    direct, by_pods = [], []
    for hook in hooks:
        if admits(hook, resource, obj, namespace_labels, operation):
            direct.append(hook)
        elif pod is not None and admits(hook, PODS, pod, namespace_labels, "CREATE"):
            by_pods.append(hook)
    return direct, by_pods


def closed_because(hook: Hook, written: bool, endpoints: FrozenSet[str]) -> str:
    """Why a webhook cannot answer yet; "" if only a probe can tell more."""
    if hook.service and hook.service not in endpoints:
        return "webhook %s: Service %s has no ready endpoint" % (hook.name, hook.service)
    if not written:
        return "webhook %s: its configuration is not written yet" % hook.name
    if hook.pending_rules:
        return "webhook %s: its controller has not filled the rules yet" % hook.name
    if hook.service and not hook.ca:
        return "webhook %s: its caBundle is empty" % hook.name
    return ""


def is_configuration(ref: ObjectRef) -> bool:
    """Whether this object configures webhooks."""
    return ref.kind in WEBHOOK_KINDS
