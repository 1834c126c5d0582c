# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox's real controllers and webhooks, on an installed release: they refuse, fill in and act themselves.

Acceptance case "Real webhooks: a bad object of Knative or Trainer is refused with their message".
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Protocol

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, ApiError, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, get_path

from .support import EXHAUSTIVE

SECONDS = 60.0  # a new leader waits up to 15 s for the lease of one that was killed


class Platform(Protocol):
    """A sandbox with release 26.03 in it."""

    kubeconfig: Path


@pytest.fixture(name="api", scope="module")
def _api(platform: Platform) -> Api:
    return Api.connect(str(platform.kubeconfig))


def kind(api: Api, api_version: str, name: str) -> Resource:
    """A served kind."""
    found = api.discover().get(api_version, name)
    assert found is not None, "%s %s is not served" % (api_version, name)
    return found


def eventually(api: Api, path: str, name: str, test: Callable[[KubeObject], bool]) -> KubeObject:
    """Watch one object of a collection until it passes the test."""
    query = {"watch": "1", "fieldSelector": "metadata.name=" + name, "timeoutSeconds": "%d" % SECONDS}
    seen: List[KubeObject] = []
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for line in api.send("GET", path, query=query, stream=True, timeout=SECONDS + 5):
            seen.append(json.loads(line)["object"])
            if test(seen[-1]):
                return seen[-1]
    raise AssertionError("%s %s never got there; last seen: %s" % (path, name, seen[-1:]))


def training_template(**changes: Any) -> KubeObject:
    """The pod template of a worker."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "registry.example/image:1"}]}}}, **changes}


@pytest.fixture(name="made")
def _made(api: Api) -> Iterator[Callable[..., None]]:
    """Creates an object in namespace default that is gone after the test: the platform is shared."""
    paths: List[str] = []

    def make(resource: Resource, name: str, spec: KubeObject, **annotations: str) -> None:
        metadata = {"name": name, "namespace": "default", "annotations": annotations}
        api.create(resource, {"apiVersion": resource.group_version, "kind": resource.kind, "metadata": metadata, "spec": spec})
        paths.append(resource.path("default", name))

    yield make
    for path in paths:
        api.send("DELETE", path, query={"propagationPolicy": "Foreground"})


BAD: Dict[str, Any] = {
    "TrainJob": (
        {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "spec": {"runtimeRef": {"name": "nowhere"}}},
        'ClusterTrainingRuntime.trainer.kubeflow.org "nowhere" not found',
    ),
    "JobSet": (
        {
            "apiVersion": "jobset.x-k8s.io/v1alpha2",
            "kind": "JobSet",
            "spec": {
                "successPolicy": {"operator": "All", "targetReplicatedJobs": ["nobody"]},
                "replicatedJobs": [{"name": "w", "template": training_template()}],
            },
        },
        "invalid replicatedJob name 'nobody' does not appear in .spec.ReplicatedJobs",
    ),
    "Knative Service": (
        {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "spec": {"template": {"spec": {"containerConcurrency": -7, "containers": [{"image": "registry.example/image:1"}]}}},
        },
        "expected 0 <= -7 <= 1000: spec.template.spec.containerConcurrency",
    ),
    "InferenceService": (
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "9bad"},
            "spec": {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://x/y"}}},
        },
        'the InferenceService "9bad" is invalid',
    ),
    "SparkApplication": (
        {
            "apiVersion": "sparkoperator.k8s.io/v1beta2",
            "kind": "SparkApplication",
            "spec": {
                "type": "Python",
                "mode": "cluster",
                "sparkVersion": "4.0.0",
                "mainApplicationFile": "local:///x.py",
                "nodeSelector": {"a": "b"},
                "driver": {"cores": 1, "nodeSelector": {"c": "d"}},
                "executor": {"cores": 1, "instances": 1},
            },
        },
        "node selector cannot be defined at both SparkApplication and Driver/Executor",
    ),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_object_is_refused_by_the_real_webhook(api: Api, name: str) -> None:
    """The words are the project's own; a stand-in could not know them."""
    spec, message = BAD[name]
    obj = dict(spec, metadata={"name": "bad", **spec.get("metadata", {}), "namespace": "default"})
    with pytest.raises(ApiError) as refusal:
        api.create(kind(api, obj["apiVersion"], obj["kind"]), obj, dry=True)
    assert message in refusal.value.message


def test_the_older_release_has_its_own_back_ends(built: Callable[[str], Any]) -> None:
    """v1.10.2 has the Training Operator; it speaks for PyTorchJobs."""
    api = Api.connect(str(built("v1.10.2").sandbox.kubeconfig))
    replicas = {"Master": {"replicas": 1, **training_template()["spec"]}}
    obj = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": "bad", "namespace": "default"},
        "spec": {"pytorchReplicaSpecs": replicas},
    }
    with pytest.raises(ApiError, match="must have at least one container with name pytorch"):
        api.create(kind(api, "kubeflow.org/v1", "PyTorchJob"), obj, dry=True)


@pytest.mark.skipif(not EXHAUSTIVE, reason="installs one more release")
@pytest.mark.parametrize("name", sorted(set(BAD) - {"InferenceService"}))
def test_the_release_between_has_its_own_back_ends(built: Callable[[str], Any], name: str) -> None:
    """v1.11.0 has Trainer and JobSet already, with the older Knative; its KServe is simulated."""
    api = Api.connect(str(built("v1.11.0").sandbox.kubeconfig))
    spec, message = BAD[name]
    obj = dict(spec, metadata={"name": "bad", "namespace": "default"})
    with pytest.raises(ApiError) as refusal:
        api.create(kind(api, obj["apiVersion"], obj["kind"]), obj, dry=True)
    assert message in refusal.value.message


def test_a_bad_setting_of_knative_is_refused(api: Api) -> None:
    """Knative's webhook also guards its ConfigMaps, through rules that it writes itself."""
    maps = kind(api, "v1", "ConfigMap")
    patch = {"data": {"stable-window": "soon"}}
    with pytest.raises(ApiError, match='failed to parse "stable-window"'):
        api.patch(maps, "knative-serving", "config-autoscaler", patch, content_type="application/merge-patch+json")


@pytest.mark.parametrize(
    ("configuration", "manager"),
    [
        ("validator.trainer.kubeflow.org", "manager"),
        ("jobset-validating-webhook-configuration", "jobset"),
        ("validation.webhook.serving.knative.dev", "webhook"),
        ("config.webhook.serving.knative.dev", "webhook"),
        ("spark-operator-webhook", "spark-operator"),
    ],
)
def test_the_back_end_itself_fills_its_configuration(api: Api, configuration: str, manager: str) -> None:
    """Who owns the caBundle matters to plan and apply: it is the program's own name, as on a real cluster."""
    resource = kind(api, "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration")
    found = api.get(resource, "", configuration)
    assert found is not None
    assert all(get_path(webhook, "clientConfig.caBundle") for webhook in found["webhooks"])
    assert manager in {entry["manager"] for entry in found["metadata"]["managedFields"]}


def test_a_train_job_becomes_a_job_set_and_completes(api: Api, made: Callable[..., None]) -> None:
    """Trainer, JobSet, the job controller, the scheduler and the simulated nodes, one after the other."""
    jobs = kind(api, "trainer.kubeflow.org/v1alpha1", "TrainJob")
    name = "train-%d" % time.time()
    made(jobs, name, {"runtimeRef": {"name": "torch-distributed"}, "trainer": {"numNodes": 2}})
    sets = kind(api, "jobset.x-k8s.io/v1alpha2", "JobSet")
    child = eventually(api, sets.path("default"), name, lambda obj: True)
    assert child["metadata"]["ownerReferences"][0]["kind"] == "TrainJob"

    def complete(obj: KubeObject) -> bool:
        conditions = get_path(obj, "status.conditions", [])
        return any(item["type"] == "Complete" and item["status"] == "True" for item in conditions)

    eventually(api, jobs.path("default"), name, complete)


def test_a_knative_service_becomes_a_deployment(api: Api, made: Callable[..., None]) -> None:
    """Knative's controller makes Configuration, Revision and Deployment; by digest, as no registry is reached."""
    services = kind(api, "serving.knative.dev/v1", "Service")
    name = "serve-%d" % time.time()
    image = "registry.example/image@sha256:" + "0" * 64
    made(services, name, {"template": {"spec": {"containers": [{"image": image}]}}})
    deployments = kind(api, "apps/v1", "Deployment")
    child = eventually(api, deployments.path("default"), name + "-00001-deployment", lambda obj: True)
    assert image in [container["image"] for container in child["spec"]["template"]["spec"]["containers"]]


def test_an_inference_service_gets_its_deployment_and_storage_initializer(api: Api, made: Callable[..., None]) -> None:
    """KServe's controller makes the Deployment and sees it Ready; its webhook changes the pod that comes out."""
    services = kind(api, "serving.kserve.io/v1beta1", "InferenceService")
    name = "infer-%d" % time.time()
    spec = {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://bucket/model"}}}
    made(services, name, spec, **{"serving.kserve.io/deploymentMode": "RawDeployment"})

    def ready(obj: KubeObject) -> bool:
        conditions = get_path(obj, "status.conditions", [])
        return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)

    eventually(api, services.path("default"), name, ready)
    pods, _version = api.list(kind(api, "v1", "Pod"), namespace="default", selector="serving.kserve.io/inferenceservice=%s" % name)
    assert [container["name"] for container in pods[0]["spec"]["initContainers"]] == ["storage-initializer"]
