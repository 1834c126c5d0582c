# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Release lint: what is wrong in a render is found in the render."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.linting import lint, refuse
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef, ref_of


def obj(api_version: str, kind: str, name: str, **fields: Any) -> KubeObject:
    """An object in the namespace "n"."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "n"}, **fields}


def deployment(name: str, image: str = "registry.example/team/app:v1.2.3", replicas: int = 1) -> KubeObject:
    """A workload whose pods have the label app=<name>."""
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image}]}}
    return obj("apps/v1", "Deployment", name, spec={"replicas": replicas, "template": template})


def service(name: str) -> KubeObject:
    """A Service of the pods app=<name>."""
    return obj("v1", "Service", name, spec={"selector": {"app": name}})


def hook(name: str, to: str, policy: str = "Fail") -> KubeObject:
    """A webhook configuration that a Service serves."""
    one = {"name": "a.example", "failurePolicy": policy, "clientConfig": {"service": {"namespace": "n", "name": to}}}
    return obj("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", name, webhooks=[one])


def budget(name: str, **spec: Any) -> KubeObject:
    """A disruption budget of the pods app=<name>."""
    return obj("policy/v1", "PodDisruptionBudget", name, spec={"selector": {"matchLabels": {"app": name}}, **spec})


def found(*objects: KubeObject, component: str = "one") -> List[Tuple[str, str]]:
    """(rule, subject) of each finding."""
    owned: Dict[ObjectRef, Tuple[str, KubeObject]] = {ref_of(item): (component, item) for item in objects}
    return [(one.rule, one.subject) for one in lint(owned)]


def test_images_of_one_family_with_two_versions() -> None:
    """The family is the path before the last name; a suffix of the tag is no other version."""
    first = deployment("a", "registry.example/mesh/pilot:1.28.0")
    assert found(first, deployment("b", "registry.example/mesh/proxy:1.28.0-gpu")) == []
    assert found(first, deployment("b", "registry.example/other/proxy:1.29.0")) == []
    assert found(first, deployment("b", "registry.example/mesh/proxy:1.29.0")) == [("mixed-versions", "component one")]


def test_other_products_of_one_registry_are_no_family() -> None:
    """A database and an application from the same registry have nothing in common."""
    assert found(deployment("a", "registry.example/ml/api:2.3.0"), deployment("b", "registry.example/ml/mysql:8.0.26")) == []


@pytest.mark.parametrize(
    "text",
    [json.dumps({"global": {"hub": "registry.example/mesh", "tag": "1.29.0"}}), "global:\n  hub: registry.example/mesh\n  tag: 1.29.0\n"],
)
def test_a_tag_beside_its_registry_in_a_config_map(text: str) -> None:
    """As a sidecar injector has it: no image name anywhere."""
    config = obj("v1", "ConfigMap", "injector", data={"values": text})
    assert found(deployment("a", "registry.example/mesh/pilot:1.28.0"), config) == [("mixed-versions", "component one")]
    assert found(deployment("a", "registry.example/mesh/pilot:1.29.0"), config) == []


def test_a_config_map_that_is_no_document_is_passed_over() -> None:
    """Text with the word in it is just text."""
    assert found(obj("v1", "ConfigMap", "x", data={"a": '{"hub": ', "b": "hub: [", "c": "no hub: at all: {"})) == []


def test_components_are_looked_at_one_by_one() -> None:
    """Two components may well have different versions of something."""
    owned = {
        ref_of(item): (name, item)
        for name, item in (("x", deployment("a", "r.example/m/p:1.0.0")), ("y", deployment("b", "r.example/m/p:1.1.0")))
    }
    assert lint(owned) == ()


def test_a_fail_closed_webhook_needs_its_service_and_its_pods() -> None:
    """Without them every request that it matches is refused."""
    assert found(hook("h", "serves"), service("serves"), deployment("serves")) == []
    subject = "ValidatingWebhookConfiguration.admissionregistration.k8s.io n/h"
    assert found(hook("h", "serves")) == [("webhook-without-backend", subject)]
    assert found(hook("h", "serves"), service("serves"), deployment("other")) == [("webhook-without-backend", subject)]
    assert found(hook("h", "serves", "Ignore")) == []


@pytest.mark.parametrize(
    ("replicas", "spec", "blocks"),
    [
        (1, {"minAvailable": 1}, True),
        (1, {"minAvailable": "80%"}, True),
        (1, {}, True),
        (1, {"minAvailable": 0}, False),
        (2, {"minAvailable": 1}, False),
        (5, {"minAvailable": "80%"}, False),
        (4, {"minAvailable": "80%"}, True),
        (1, {"maxUnavailable": 0}, True),
        (1, {"maxUnavailable": "1%"}, False),
        (3, {"maxUnavailable": 1}, False),
    ],
)
def test_a_budget_that_lets_nothing_go(replicas: int, spec: Dict[str, Any], blocks: bool) -> None:
    """Percentages are rounded up, as the disruption controller does."""
    expected = [("blocks-drain", "PodDisruptionBudget.policy n/a")] if blocks else []
    assert found(deployment("a", replicas=replicas), budget("a", **spec)) == expected


def test_an_autoscaler_says_how_few_there_may_be() -> None:
    """What the workload says is then only where it starts."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}
    scaler = obj("autoscaling/v2", "HorizontalPodAutoscaler", "a", spec={"minReplicas": 3, "scaleTargetRef": target})
    assert found(deployment("a"), budget("a", minAvailable=1), scaler) == []


def test_names_that_change_with_their_content_are_counted() -> None:
    """Only those: a name that merely ends in ten letters is none."""
    names = ["config-9c2fbg2gdc", "config-parameters", "x-48gf6bbhmk"]
    assert found(*(obj("v1", "ConfigMap", name, data={}) for name in names)) == [("hashed-name", "component one")]
    assert found(obj("v1", "ConfigMap", "config-parameters", data={})) == []


def test_a_finding_is_refused_until_it_is_accepted_by_name() -> None:
    """Names that change are never refused."""
    owned = {ref_of(item): ("mesh", item) for item in (hook("h", "gone"), obj("v1", "ConfigMap", "x-48gf6bbhmk", data={}))}
    error = refuse(lint(owned), [])
    assert error is not None and "webhook-without-backend:mesh" in error.next_step and error.component == "mesh"
    assert refuse(lint(owned), ["webhook-without-backend:mesh"]) is None
