# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong in a release before it touches a cluster: found in the render, not known from lists.

A finding is a warning unless the user wants it refused; one that was looked at can be accepted by its name.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from .errors import EngineError
from .forms import WEBHOOK_KINDS
from .handwritten import NotYaml, parse
from .objects import KubeObject, ObjectRef, get_path

VERSION = re.compile(r"^v?(\d+\.\d+\.\d+)")
IMAGE = re.compile(r"^(?P<family>.+)/(?P<name>[^/:@]+):(?P<tag>[^@]+)")
# The letters that kustomize's hash of a ConfigMap or Secret is written in [kustomize, api/hasher].
HASHED = re.compile(r"-[24-9bcdfghkmt]{10}$")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")

MIXED_VERSIONS = "mixed-versions"
NO_BACKEND = "webhook-without-backend"
BLOCKS_DRAIN = "blocks-drain"
HASHED_NAME = "hashed-name"


@dataclass(frozen=True)
class Lint:
    """One finding.

    :ivar rule: ``mixed-versions``, ``webhook-without-backend``, ``blocks-drain`` or ``hashed-name``.
    :ivar subject: the object's full name, or the component where it is about several objects.
    """

    rule: str
    component: str
    subject: str
    text: str

    @property
    def name(self) -> str:
        """What it is accepted by: ``rule:component``."""
        return "%s:%s" % (self.rule, self.component)

    def __str__(self) -> str:
        return "%s %s: %s" % (self.name, self.subject, self.text)


Owned = Mapping[ObjectRef, Tuple[str, KubeObject]]


def lint(objects: Owned) -> Tuple[Lint, ...]:
    """Every finding in a render.

    :param objects: identity -> (component, object).
    """
    found = [*_mixed_versions(objects), *_no_backend(objects), *_blocks_drain(objects), *_hashed_names(objects)]
    return tuple(sorted(found, key=lambda one: (one.component, one.rule, one.subject)))


def refuse(findings: Sequence[Lint], accepted: Sequence[str]) -> Optional[EngineError]:
    """The error for findings that nobody accepted; names of hashed objects are never refused, they are only told."""
    left = [one for one in findings if one.name not in accepted and one.rule != HASHED_NAME]
    if not left:
        return None
    return EngineError(
        "release lint: %s" % left[0].text,
        subject=left[0].subject,
        found="; ".join(str(one) for one in left[1:6]),
        next_step="accept what you have looked at in kubeflow_lint_accept (%s), or set kubeflow_lint to warn"
        % ", ".join(sorted({one.name for one in left})),
        component=left[0].component,
    )


# ------------------------------------------------------------------ versions


def _mixed_versions(objects: Owned) -> Iterator[Lint]:
    """Images of one family (the same path before the last name) with different versions within a component.

    Different first numbers are different products that share a registry.
    """
    families: Dict[Tuple[str, str, str], Dict[str, Set[str]]] = {}
    for ref, (component, obj) in objects.items():
        for family, version, where in _references(ref, obj):
            families.setdefault((component, family, version.split(".")[0]), {}).setdefault(version, set()).add(where)
    for (component, family, _major), versions in families.items():
        if len(versions) > 1:
            parts = ["%s (%s)" % (version, ", ".join(sorted(where)[:4])) for version, where in sorted(versions.items())]
            yield Lint(MIXED_VERSIONS, component, "component %s" % component, "%s in versions %s" % (family, " and ".join(parts)))


def _references(ref: ObjectRef, obj: KubeObject) -> Iterator[Tuple[str, str, str]]:
    """(family, version, where) of every image that says its version."""
    if ref.kind == "CustomResourceDefinition":
        return  # schemas are nine tenths of a release and name no image
    for value in _mappings(obj):
        match = IMAGE.match(value["image"]) if isinstance(value.get("image"), str) else None
        version = VERSION.match(match.group("tag")) if match else None
        if match and version:
            yield match.group("family"), version.group(1), match.group("name")
    if ref.kind == "ConfigMap":
        for text in (obj.get("data") or {}).values():
            yield from _split_references(text, ref)


def _split_references(text: Any, ref: ObjectRef) -> Iterator[Tuple[str, str, str]]:
    """Registry and tag in separate keys of a document in a ConfigMap, as sidecar injectors have it."""
    if not isinstance(text, str) or '"hub"' not in text and "hub:" not in text:
        return
    try:
        documents = [json.loads(text)] if text.lstrip().startswith("{") else parse(text.encode())
    except (ValueError, NotYaml):
        return
    for document in documents:
        for value in _mappings(document):
            hub, tag = value.get("hub"), value.get("tag")
            version = VERSION.match(str(tag)) if isinstance(hub, str) and tag else None
            if version:
                yield str(hub), version.group(1), "ConfigMap %s" % ref.path


def _mappings(value: Any) -> Iterator[Dict[str, Any]]:
    """Every mapping inside a value, itself included."""
    if isinstance(value, dict):
        yield value
        for below in value.values():
            yield from _mappings(below)
    elif isinstance(value, list):
        for below in value:
            yield from _mappings(below)


# ------------------------------------------------------------------ webhooks


def _no_backend(objects: Owned) -> Iterator[Lint]:
    """Fail-closed webhooks whose Service, or whose Service's pods, are not in the release: they would refuse everything."""
    templates = _pod_labels(objects)
    for ref, (component, obj) in objects.items():
        if ref.kind not in WEBHOOK_KINDS:
            continue
        for hook in obj.get("webhooks") or []:
            service = get_path(hook, "clientConfig.service")
            if not service or hook.get("failurePolicy", "Fail") == "Ignore":
                continue
            reason = _why_no_backend(objects, templates, service["namespace"], service["name"])
            if reason:
                yield Lint(NO_BACKEND, component, str(ref), "%s fails closed, and %s" % (hook["name"], reason))


def _pod_labels(objects: Owned) -> Dict[str, List[Mapping[str, str]]]:
    """Namespace -> the labels of the pods of every workload."""
    found: Dict[str, List[Mapping[str, str]]] = {}
    for ref, (_component, obj) in objects.items():
        if ref.kind in WORKLOADS:
            found.setdefault(ref.namespace, []).append(get_path(obj, "spec.template.metadata.labels") or {})
    return found


def _selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def _why_no_backend(objects: Owned, templates: Mapping[str, List[Mapping[str, str]]], namespace: str, name: str) -> str:
    owned = objects.get(ObjectRef("", "Service", namespace, name))
    if owned is None:
        return "its Service %s/%s is not in the release" % (namespace, name)
    selector = get_path(owned[1], "spec.selector")
    if selector and not any(_selects(selector, labels) for labels in templates.get(namespace, [])):
        return "no workload has the pods that its Service %s/%s selects" % (namespace, name)
    return ""


# ------------------------------------------------------------------ draining nodes


def _blocks_drain(objects: Owned) -> Iterator[Lint]:
    """PodDisruptionBudgets that never allow a disruption: a node with such a pod cannot be drained."""
    smallest = _smallest_replicas(objects)
    for ref, (component, obj) in objects.items():
        if ref.kind != "PodDisruptionBudget":
            continue
        selector = get_path(obj, "spec.selector.matchLabels") or {}
        for other, (_component, workload) in objects.items():
            if other.kind not in ("Deployment", "StatefulSet") or other.namespace != ref.namespace or not selector:
                continue
            if not _selects(selector, get_path(workload, "spec.template.metadata.labels") or {}):
                continue
            replicas = smallest.get(other, get_path(workload, "spec.replicas", 1))
            if replicas > 0 and _allowed(obj["spec"], replicas) < 1:
                text = "%s has %d replica(s), and of them none may be missing" % (other, replicas)
                yield Lint(BLOCKS_DRAIN, component, str(ref), text)


def _smallest_replicas(objects: Owned) -> Dict[ObjectRef, int]:
    """Workloads whose number an autoscaler sets, and its lower end."""
    found: Dict[ObjectRef, int] = {}
    for ref, (_component, obj) in objects.items():
        if ref.kind == "HorizontalPodAutoscaler":
            target = obj["spec"]["scaleTargetRef"]
            group = target.get("apiVersion", "").rpartition("/")[0]
            found[ObjectRef(group, target["kind"], ref.namespace, target["name"])] = int(obj["spec"].get("minReplicas") or 1)
    return found


def _allowed(spec: Mapping[str, Any], replicas: int) -> int:
    """How many pods of so many may be missing; percentages are rounded up [Kubernetes, PodDisruptionBudget]."""
    if spec.get("maxUnavailable") is not None:
        return _count(spec["maxUnavailable"], replicas)
    return replicas - _count(spec.get("minAvailable", 1), replicas)


def _count(value: Any, replicas: int) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return math.ceil(replicas * float(value[:-1]) / 100)
    return int(value)


# ------------------------------------------------------------------ names


def _hashed_names(objects: Owned) -> Iterator[Lint]:
    """Objects whose name changes with their content: every change leaves an old one behind."""
    found: Dict[str, List[str]] = {}
    for ref, (component, _obj) in objects.items():
        if ref.kind in ("ConfigMap", "Secret") and HASHED.search(ref.name):
            found.setdefault(component, []).append(ref.path)
    for component, names in found.items():
        text = "%d names change with their content, and the old ones stay until an upgrade prunes them: %s"
        yield Lint(HASHED_NAME, component, "component %s" % component, text % (len(names), ", ".join(sorted(names))))
