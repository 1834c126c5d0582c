# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person should know before a hop: versions that move or go, APIs that are not there, sidecars that stay behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, Discovery, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.moves import (
    definition_notices,
    lost_versions,
    not_served,
    older_sidecars,
    proxy_image,
    removed_apis,
    taken_away,
    unserved,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.safety import crd_overwrite
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.usage import Usage
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import DANGERS, Notice, Verdict


@dataclass(frozen=True)
class Mine:
    """An object of a component."""

    component: str
    obj: KubeObject


def definition(*versions: str, storage: str, stored: Sequence[str] = (), unserved_ones: Sequence[str] = ()) -> KubeObject:
    """A definition with these versions."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": name, "served": name not in unserved_ones, "storage": name == storage} for name in versions],
        },
        **({"status": {"storedVersions": list(stored)}} if stored else {}),
    }


REF = ref_of(definition("v1", storage="v1"))
USERS = (
    ObjectRef("example.org", "Thing", "a", "1"),
    ObjectRef("example.org", "Thing", "b", "1"),
    ObjectRef("example.org", "Thing", "b", "2"),
)


def noticed(before: KubeObject, wanted: KubeObject, usage: Usage) -> Tuple[Notice, ...]:
    """What is said of one definition."""
    return definition_notices({REF: before}, {REF: Mine("istio", wanted)}, usage)


OLD = definition("v1beta1", "v1", storage="v1beta1", stored=["v1beta1"])
NEW = definition("v1beta1", "v1", storage="v1")


def test_ac_08_a_storage_version_that_moves_is_told_with_the_number_of_objects() -> None:
    """They have to be written again before a later release may drop the old version."""
    (notice,) = noticed(OLD, NEW, Usage(True, totals={REF: 7}))
    assert (notice.verdict, notice.component, dict(notice.counts)) == (Verdict.STORAGE_MOVE, "istio", {"": 7})
    assert notice.reason == "stored as v1 from now on instead of v1beta1: what is there is written again after the hop"


def test_ac_08_versions_that_an_earlier_hop_left_stored_are_told_too() -> None:
    """The definition says v1 already, but objects of the older version may still be there."""
    left = definition("v1beta1", "v1", storage="v1", stored=["v1beta1", "v1"])
    assert [one.verdict for one in noticed(left, NEW, Usage(True))] == [Verdict.STORAGE_MOVE]
    assert not noticed(definition("v1beta1", "v1", storage="v1", stored=["v1"]), NEW, Usage(True))


def test_ac_08_a_version_that_goes_although_it_is_used_is_a_danger() -> None:
    """With the objects counted per namespace; the definition itself is then refused by the safety rules."""
    fewer = definition("v1", storage="v1")
    notices = noticed(OLD, fewer, Usage(True, instances={REF: USERS}))
    (lost,) = [one for one in notices if one.verdict is Verdict.SERVED_REMOVED]
    assert lost.verdict in DANGERS and dict(lost.counts) == {"a": 1, "b": 2} and "v1beta1" in lost.reason
    assert crd_overwrite(OLD, fewer)


UNSERVED = definition("v1beta1", "v1", storage="v1", unserved_ones=["v1beta1"])


@pytest.mark.parametrize(
    ("wanted", "usage", "told"),
    [
        (UNSERVED, Usage(True, instances={REF: USERS}), True),
        (UNSERVED, Usage(True, instances={REF: ()}), False),
        (UNSERVED, Usage(False), True),
        (definition("v1", storage="v1"), Usage(True, instances={REF: ()}), True),
    ],
    ids=["unserved and used", "unserved and not used", "unserved, nobody knows", "missing, which is refused in any case"],
)
def test_a_version_that_nobody_uses_may_go(wanted: KubeObject, usage: Usage, told: bool) -> None:
    """Unless the definition is refused, which a person has to know of."""
    assert (Verdict.SERVED_REMOVED in [one.verdict for one in noticed(OLD, wanted, usage)]) is told


@pytest.mark.parametrize("stored", [["v1beta1"], ["v1alpha1", "v1beta1"], ["v1"]])
@pytest.mark.parametrize("wanted", [NEW, UNSERVED, definition("v1", storage="v1"), definition("v1beta1", storage="v1beta1")])
def test_what_the_safety_rules_refuse_is_always_told(stored: List[str], wanted: KubeObject) -> None:
    """Both look at the same versions; a refusal without a word of what is lost helps nobody."""
    before = definition("v1beta1", "v1", storage="v1beta1", stored=stored)
    if crd_overwrite(before, wanted):
        assert lost_versions(before, wanted)
        assert Verdict.SERVED_REMOVED in [one.verdict for one in noticed(before, wanted, Usage(True, instances={REF: ()}))]


# ------------------------------------------------------------------ APIs that are not there

POLICY: KubeObject = {"apiVersion": "policy/v1beta1", "kind": "PodSecurityPolicy", "metadata": {"name": "restricted"}}
BUDGET: KubeObject = {"apiVersion": "policy/v1beta1", "kind": "PodDisruptionBudget", "metadata": {"name": "b", "namespace": "n"}}
OTHER: KubeObject = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "n"}}
OBJECTS = {ref_of(one): Mine("katib", one) for one in (POLICY, BUDGET, OTHER)}


def test_ac_12_an_api_that_is_not_served_is_named_with_the_version_that_took_it_away() -> None:
    """The object, its API and what to write instead; of a kind that nobody knows, that nothing brings it."""
    served = Discovery([Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", True)])
    told = {str(one.ref): one for one in not_served(OBJECTS, served)}
    assert len(told) == 3 and all(one.verdict is Verdict.NOT_SERVED for one in told.values())
    assert "Kubernetes 1.25 took it away, use policy/v1" in told["PodDisruptionBudget.policy n/b"].reason
    assert "no component brings it" in told["Thing.example.org n/t"].reason
    everything = Discovery([Resource(one["apiVersion"], one["kind"], "x", True) for one in (POLICY, BUDGET, OTHER)])
    assert not not_served(OBJECTS, everything)


@pytest.mark.parametrize(("kubernetes", "count"), [("1.24", 0), ("1.25", 2), ("1.34", 2), ("v1.25.3", 2)])
def test_ac_12_offline_the_release_s_kubernetes_decides(kubernetes: str, count: int) -> None:
    """Without a cluster it is the version that the release was tested on."""
    assert len(taken_away(OBJECTS, kubernetes)) == count


def test_ac_12_the_refusal_names_object_and_version() -> None:
    """It is what a run on a cluster ends with."""
    text = str(unserved(ref_of(POLICY), "policy/v1beta1"))
    assert "PodSecurityPolicy.policy restricted" in text and "1.25" in text
    assert "no component of this run brings it" in str(unserved(ref_of(OTHER), "example.org/v1"))


def test_the_table_of_removed_apis_is_well_formed() -> None:
    """No API twice, every version a version."""
    table = removed_apis()
    assert len(table) > 40
    for (api, kind), removed in table.items():
        assert "/" in api and kind[0].isupper()
        assert removed.since.startswith("1.") and removed.since[2:].isdigit() and removed.instead


# ------------------------------------------------------------------ sidecars


def injector(**values: Any) -> KubeObject:
    """Istio's configuration of the injector."""
    settings = {"global": {"hub": "gcr.io/istio-release", "tag": "1.26.1", "proxy": {"image": "proxyv2"}, **values}}
    metadata = {"name": "istio-sidecar-injector", "namespace": "istio-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"values": json.dumps(settings)}}


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "gcr.io/istio-release/proxyv2:1.26.1"),
        ({"variant": "distroless"}, "gcr.io/istio-release/proxyv2:1.26.1-distroless"),
        ({"proxy": {"image": "registry.site/proxy:7"}}, "registry.site/proxy:7"),
        ({"tag": ""}, ""),
    ],
)
def test_the_wanted_sidecar_is_read_from_the_injector(values: Dict[str, Any], image: str) -> None:
    """As its template puts it together; where it cannot be told nothing is said."""
    assert proxy_image([injector(**values)]) == image


def test_an_injector_that_cannot_be_read_says_nothing() -> None:
    """It is a text of a release that we do not know."""
    assert proxy_image([{**injector(), "data": {"values": "{"}}]) == "" and proxy_image([]) == ""


def pod(name: str, namespace: str, image: Optional[str], *, native: bool = False, **more: Any) -> KubeObject:
    """A pod as the server has it."""
    proxies = [{"name": "istio-proxy", "image": image}] if image else []
    spec = {"initContainers": proxies if native else [], "containers": [{"name": "main", "image": "x"}, *([] if native else proxies)]}
    metadata = {"name": name, "namespace": namespace, "annotations": more.pop("annotations", {})}
    return {"metadata": metadata, "spec": spec, **more}


def test_tenants_pods_on_an_older_sidecar_are_counted(api: Api, scripted: Any, answer: Callable[..., Any]) -> None:
    """Only tenants' (platform pods restart in the hop), only running ones, not those whose owner chose the sidecar."""
    old, new = "docker.io/istio/proxyv2:1.22.1", "gcr.io/istio-release/proxyv2:1.26.1"
    pods = [
        pod("old", "team-a", old),
        pod("native", "team-b", old, native=True),
        pod("second", "team-b", old),
        pod("new", "team-a", new),
        pod("none", "team-a", None),
        pod("platform", "kubeflow", old),
        pod("done", "team-a", old, status={"phase": "Succeeded"}),
        pod("chosen", "team-a", old, annotations={"sidecar.istio.io/proxyImage": old}),
    ]
    scripted.answers(answer(200, {"metadata": {}, "items": pods}))
    wanted = {ref_of(injector()): Mine("istio", injector())}
    (notice,) = older_sidecars(api, wanted, frozenset({"team-a", "team-b"}))
    assert (notice.verdict, dict(notice.counts)) == (Verdict.OLD_SIDECAR, {"team-a": 1, "team-b": 2})
    assert old in notice.reason and new in notice.reason
    assert len(scripted.asked) == 1 and "labelSelector" in scripted.asked[0].query


def test_without_tenants_nobody_is_asked(api: Api, scripted: Any) -> None:
    """Nor where the sidecar cannot be told."""
    assert older_sidecars(api, {ref_of(injector()): Mine("istio", injector())}, frozenset()) == ()
    assert older_sidecars(api, {}, frozenset({"team-a"})) == ()
    assert not scripted.asked
