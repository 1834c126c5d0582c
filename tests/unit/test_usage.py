# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users have put on the platform, and how few requests it takes to know."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Discovery, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.usage import (
    expected,
    look,
    mounted_claims,
    per_namespace,
    readable_version,
)

CLAIM = ObjectRef("", "PersistentVolumeClaim", "kubeflow", "minio-pvc")


def definition(kind: str, plural: str, *versions: Tuple[str, bool, bool]) -> KubeObject:
    """A definition with (name, served, storage) of each version."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": plural + ".example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [{"name": name, "served": served, "storage": storage} for name, served, storage in versions],
        },
    }


THING = definition("Thing", "things", ("v1beta1", True, False), ("v1", True, True))
GONE = definition("Gone", "gones", ("v1", True, True))
SERVED = Discovery([Resource("example.org/" + version, "Thing", "things", True) for version in ("v1beta1", "v1")])
TEAM_A = [{"apiVersion": "kubeflow.org/v1", "kind": "Profile", "name": "team-a", "controller": True}]
NAMESPACES: List[Dict[str, Any]] = [{"metadata": {"name": "kubeflow"}}, {"metadata": {"name": "team-a", "ownerReferences": TEAM_A}}]


def mounting(kind: str, name: str, **metadata: Any) -> KubeObject:
    """Something that mounts the claim."""
    volumes = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "minio-pvc"}}, {"name": "tmp", "emptyDir": {}}]}
    spec = volumes if kind == "Pod" else {"template": {"spec": volumes}}
    api_version = "v1" if kind == "Pod" else "apps/v1"
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "kubeflow", **metadata}, "spec": spec}


OWNED: Dict[str, Any] = {"ownerReferences": [{"kind": "ReplicaSet", "name": "minio-abc12"}], "labels": {"pod-template-hash": "abc12"}}


def items(path: str) -> List[Dict[str, Any]]:
    """What is at each path of the cluster."""
    there: Dict[str, List[Dict[str, Any]]] = {
        "/api/v1/namespaces": NAMESPACES,
        "/apis/example.org/v1/things": [{"metadata": {"name": "t%d" % at, "namespace": "team-a"}} for at in range(3)],
        "/apis/apps/v1/namespaces/kubeflow/deployments": [mounting("Deployment", "minio")],
        "/api/v1/namespaces/kubeflow/pods": [mounting("Pod", "minio-abc12-x", **OWNED), mounting("Pod", "debug")],
    }
    return there.get(path, [])


def test_what_there_is_is_counted(api: Api, scripted: Any, answer: Callable[..., Any]) -> None:
    """Custom resources by name, tenants by their Profile, and who mounts a claim: a workload's own pods are not said twice."""
    scripted.answer = lambda asked: answer(200, {"metadata": {}, "items": items(asked.path)})
    usage = look(api, [THING, GONE], [CLAIM], SERVED)
    assert usage.known
    assert per_namespace(usage.instances[ref_of(THING)]) == {"team-a": 3}
    assert usage.uncounted == {ref_of(GONE): "the API server serves no version of it"}
    assert usage.tenants == {"team-a"}
    assert usage.mounts[CLAIM] == ("Deployment.apps kubeflow/minio", "Pod kubeflow/debug")
    assert len(scripted.asked) == 6  # namespaces, things, and of the claim's namespace pods and three kinds of workloads


def test_custom_resources_are_read_page_by_page_and_only_their_metadata(api: Api, scripted: Any, answer: Callable[..., Any]) -> None:
    """A thousand tenants must not be read whole."""
    pages = {"": ("t1", "next"), "next": ("t2", "")}

    def page(asked: Any) -> Any:
        if asked.path != "/apis/example.org/v1/things":
            return answer(200, {"metadata": {}, "items": []})
        name, token = pages[asked.query.get("continue", "")]
        return answer(200, {"metadata": {"continue": token}, "items": [{"metadata": {"name": name, "namespace": "n"}}]})

    scripted.answer = page
    usage = look(api, [THING], (), SERVED)
    assert [ref.name for ref in usage.instances[ref_of(THING)]] == ["t1", "t2"]
    assert {asked.query["limit"] for asked in scripted.asked} == {"500"}


@pytest.mark.parametrize(
    ("metadata", "count", "requests"),
    [({"continue": "x", "remainingItemCount": 41}, 42, 1), ({}, 1, 1), ({"continue": "x"}, 1, 2)],
    ids=["the server says how many more", "no more", "the server does not say"],
)
def test_a_number_costs_one_small_request(
    api: Api, scripted: Any, answer: Callable[..., Any], metadata: Dict[str, Any], count: int, requests: int
) -> None:
    """Where nobody asks which they are."""
    one = [{"metadata": {"name": "t", "namespace": "n"}}]

    def page(asked: Any) -> Any:
        if asked.path != "/apis/example.org/v1/things":
            return answer(200, {"metadata": {}, "items": []})
        return answer(200, {"metadata": metadata if asked.query["limit"] == "1" else {}, "items": one})

    scripted.answer = page
    usage = look(api, (), (), SERVED, numbers=[THING, GONE])
    assert usage.totals == {ref_of(THING): count}
    assert len([asked for asked in scripted.asked if asked.path.endswith("things")]) == requests


def test_what_cannot_be_read_is_unknown_and_no_error(api: Api, scripted: Any, answer: Callable[..., Any]) -> None:
    """A conversion webhook that is down must not hide that there may be something."""

    def page(asked: Any) -> Any:
        if asked.path.startswith("/apis/example.org"):
            return answer(500, {"kind": "Status", "message": "conversion webhook for example.org/v1 failed"})
        return answer(200, {"metadata": {}, "items": []})

    scripted.answer = page
    usage = look(api, [THING], (), SERVED, numbers=[THING])
    assert "conversion webhook" in usage.uncounted[ref_of(THING)]
    assert not usage.instances and not usage.totals


def test_the_stored_version_is_read_if_it_is_served() -> None:
    """It needs no conversion."""
    assert readable_version(THING, SERVED) == Resource("example.org/v1", "Thing", "things", True)
    older = definition("Thing", "things", ("v1beta1", True, False), ("v1", False, True))
    assert readable_version(older, SERVED) == Resource("example.org/v1beta1", "Thing", "things", True)


def test_without_a_cluster_the_render_says_what_it_can() -> None:
    """Nothing is counted, but workloads and tenants are in it."""
    profile = {"apiVersion": "kubeflow.org/v1", "kind": "Profile", "metadata": {"name": "demo"}}
    usage = expected([mounting("Deployment", "minio"), profile])
    assert not usage.known and usage.tenants == {"demo"}
    assert usage.mounts == {CLAIM: ("Deployment.apps kubeflow/minio",)}


def test_claims_are_found_in_every_kind_that_has_pods() -> None:
    """A CronJob hides them deepest."""
    pod = mounting("Deployment", "x")["spec"]["template"]
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x"}, "spec": {"jobTemplate": {"spec": {"template": pod}}}}
    assert mounted_claims(cron) == mounted_claims(mounting("Pod", "x")) == {"minio-pvc"}
    assert mounted_claims({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}) == frozenset()
