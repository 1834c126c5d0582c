# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which webhooks a write calls [Kubernetes documentation, Dynamic Admission Control], and whether they can answer."""

from __future__ import annotations

import base64
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.gates import (
    Hook,
    NamespaceLabels,
    admits,
    calls,
    closed_because,
    hooks_of,
    pod_of,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject

CA = base64.b64encode(b"-----BEGIN CERTIFICATE-----\n").decode()
PODS = Resource("v1", "Pod", "pods", True)
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments", True)
NAMESPACES = Resource("v1", "Namespace", "namespaces", False)
ROLES = Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", False)


def rule(**changes: Any) -> Dict[str, Any]:
    """A rule for pods that are created."""
    return {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"], **changes}


def hook(rules: Optional[List[Dict[str, Any]]] = None, ca: str = CA, runtime: bool = False, **changes: Any) -> Hook:
    """The only webhook of a configuration."""
    client = {"service": {"namespace": "kubeflow", "name": "hooks"}, "caBundle": ca}
    entry = {"name": "v.x.io", "clientConfig": client, "rules": [rule()] if rules is None else rules, **changes}
    config: KubeObject = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "hooks"},
        "webhooks": [entry],
    }
    (found,) = hooks_of(config, "katib", runtime)
    return found


def pod(**labels: str) -> KubeObject:
    """A pod in namespace n."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n", "labels": labels}}


@pytest.mark.parametrize(
    ("changes", "called"),
    [
        ({}, True),
        ({"apiGroups": ["*"]}, True),
        ({"apiGroups": ["apps"]}, False),
        ({"apiVersions": ["v1beta1"]}, True),  # matchPolicy: Equivalent
        ({"operations": ["*"]}, True),
        ({"operations": ["UPDATE", "DELETE"]}, False),
        ({"resources": ["*"]}, True),
        ({"resources": ["*/*"]}, True),
        ({"resources": ["pods/status"]}, False),
        ({"resources": ["services", "pods"]}, True),
        ({"scope": "Namespaced"}, True),
        ({"scope": "Cluster"}, False),
        ({"scope": "*"}, True),
    ],
)
def test_a_rule_says_which_writes_are_sent_to_the_webhook(changes: Dict[str, Any], called: bool) -> None:
    """Every field of a rule, and the star of each."""
    assert admits(hook([rule(**changes)]), PODS, pod(), {}, "CREATE") is called


def test_any_rule_is_enough_and_none_is_no_call() -> None:
    """A configuration whose rules are still empty is never called."""
    assert admits(hook([rule(resources=["services"]), rule()]), PODS, pod(), {}, "CREATE")
    assert not admits(hook([]), PODS, pod(), {}, "CREATE")


SELECTORS: List[Tuple[Any, bool]] = [
    (None, True),
    ({}, True),
    ({"matchLabels": {}}, True),
    ({"matchLabels": {"a": "1"}}, True),
    ({"matchLabels": {"a": "2"}}, False),
    ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
    ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
    ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
    ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
    ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
    ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
    ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
]


@pytest.mark.parametrize(("selector", "called"), SELECTORS)
def test_selectors_of_objects_and_namespaces(selector: Any, called: bool) -> None:
    """An empty selector of a webhook selects everything; both selectors have to fit."""
    assert admits(hook(objectSelector=selector), PODS, pod(a="1"), {}, "CREATE") is called
    assert admits(hook(namespaceSelector=selector), PODS, pod(), {"a": "1"}, "CREATE") is called
    other = {"matchLabels": {"none": "none"}}
    assert not admits(hook(objectSelector=selector, namespaceSelector=other), PODS, pod(a="1"), {"a": "1"}, "CREATE")


def test_a_namespace_is_selected_by_its_own_labels() -> None:
    """namespaceSelector looks at the Namespace that is written; for other cluster-wide objects it does not count."""
    selector = {"matchLabels": {"a": "1"}}
    everything = hook([rule(apiGroups=["*"], resources=["*"])], namespaceSelector=selector)
    space: KubeObject = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": {"a": "1"}}}
    assert admits(everything, NAMESPACES, space, {}, "CREATE")
    assert not admits(everything, NAMESPACES, {**space, "metadata": {"name": "n"}}, {"a": "1"}, "CREATE")
    role: KubeObject = {"apiVersion": ROLES.group_version, "kind": "ClusterRole", "metadata": {"name": "r"}}
    assert admits(everything, ROLES, role, {}, "CREATE")


def test_the_server_names_every_namespace() -> None:
    """Istio and KServe select by kubernetes.io/metadata.name; later labels win over earlier ones."""
    first = {"kind": "Namespace", "metadata": {"name": "n", "labels": {"a": "1", "b": "1"}}}
    second = {"kind": "Namespace", "metadata": {"name": "n", "labels": {"a": "2"}}}
    labels = NamespaceLabels([first, second, {"kind": "Pod", "metadata": {"name": "n", "labels": {"c": "3"}}}])
    assert labels.of("n") == {"a": "2", "b": "1", "kubernetes.io/metadata.name": "n"}
    assert labels.of("other") == {"kubernetes.io/metadata.name": "other"}


def workload(kind: str = "Deployment", **template_labels: str) -> KubeObject:
    """A Deployment; its pods have labels of their own."""
    template = {"metadata": {"labels": template_labels}, "spec": {"containers": []}}
    metadata = {"name": "w", "namespace": "n", "labels": {"app": "w"}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"template": template}}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet"])
def test_a_workload_calls_the_webhooks_of_its_pods(kind: str) -> None:
    """A Deployment is admitted at once, but its pods fail for as long as the webhook for pods is down."""
    direct, by_pods = calls([hook()], DEPLOYMENTS, workload(kind), NamespaceLabels([]), "UPDATE")
    assert (direct, [found.name for found in by_pods]) == ([], ["v.x.io"])


def test_pods_are_asked_for_with_the_labels_of_the_template() -> None:
    """The object's own labels say nothing about its pods."""
    chosen = hook(objectSelector={"matchLabels": {"inject": "yes"}})
    assert calls([chosen], DEPLOYMENTS, workload(inject="yes"), NamespaceLabels([]), "CREATE") == ([], [chosen])
    assert calls([chosen], DEPLOYMENTS, workload(), NamespaceLabels([]), "CREATE") == ([], [])


def test_a_webhook_for_the_object_itself_counts_once() -> None:
    """One that admits both is waited for because of the object."""
    both = hook([rule(apiGroups=["*"], resources=["*"])])
    assert calls([both], DEPLOYMENTS, workload(), NamespaceLabels([]), "CREATE") == ([both], [])


def test_what_makes_no_pods_has_none() -> None:
    """Nor has a workload without a template."""
    assert pod_of(pod()) is None
    assert pod_of({**workload(), "spec": {}}) is None


SERVICE: FrozenSet[str] = frozenset(["kubeflow/hooks"])
NOBODY: FrozenSet[str] = frozenset()


@pytest.mark.parametrize(
    ("found", "written", "endpoints", "reason"),
    [
        (hook(), True, SERVICE, ""),
        (hook(), True, NOBODY, "webhook v.x.io: Service kubeflow/hooks has no ready endpoint"),
        (hook(), False, NOBODY, "webhook v.x.io: Service kubeflow/hooks has no ready endpoint"),
        (hook(), False, SERVICE, "webhook v.x.io: its configuration is not written yet"),
        (hook([], runtime=True), True, SERVICE, "webhook v.x.io: its controller has not filled the rules yet"),
        (hook([rule()], runtime=True), True, SERVICE, ""),
        (hook([]), True, SERVICE, ""),
        (hook(ca=""), True, SERVICE, "webhook v.x.io: its caBundle is empty"),
        (hook(ca="Cg=="), True, SERVICE, "webhook v.x.io: its caBundle is empty"),
        (hook(clientConfig={"url": "https://x"}), True, NOBODY, ""),
    ],
)
def test_a_gate_says_what_is_missing_in_the_order_of_its_coming(found: Hook, written: bool, endpoints: FrozenSet[str], reason: str) -> None:
    """Endpoint, configuration, rules, caBundle; only then a probe can tell more."""
    assert closed_because(found, written, endpoints) == reason
