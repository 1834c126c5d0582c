# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the real releases say of every hop: measured elsewhere, by other programs; here it has to come out by itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Set, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Release
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.comparing import compare
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.moves import taken_away
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Plan, Policy
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.pruning import allowed
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rendering import Render
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request, choose, render_chosen
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import Removal, Verdict

from .support import CACHE, MIRROR, lines

RELEASES = ("v1.9.1", "v1.10.2", "v1.11.0", "26.03")
HOPS = tuple(zip(RELEASES, RELEASES[1:], strict=False))
EVERYTHING = Policy(prune="all")
JOBS = ("jaxjobs", "mpijobs", "paddlejobs", "pytorchjobs", "tfjobs", "xgboostjobs")
# Upstream's hook script is another one in each release, and so is the hashed name of its ConfigMap.
HOOK = "kubeflow-pipelines-profile-controller-code-"


@dataclass(frozen=True)
class Measured:
    """How two releases differ by identity and content: upstream's example, rendered by kubectl, compared by a script."""

    added: int
    removed: int
    common: int
    changed: int
    identical: int


DIFFERENCES = {
    ("v1.9.1", "v1.10.2"): Measured(55, 13, 556, 253, 303),
    ("v1.10.2", "v1.11.0"): Measured(63, 21, 590, 142, 448),
    ("v1.11.0", "26.03"): Measured(36, 14, 639, 225, 414),
    ("v1.9.1", "26.03"): Measured(141, 35, 534, 266, 268),
}
Rendered = Callable[[str], Tuple[Release, Render]]
Compared = Callable[[str, str], Plan]


@pytest.fixture(name="rendered", scope="module")
def _rendered() -> Rendered:
    """Each release with everything in it, rendered once."""
    made: Dict[str, Tuple[Release, Render]] = {}

    def render(name: str) -> Tuple[Release, Render]:
        if name not in made:
            request = Request("", version=name, components="all", mirror=MIRROR, cache_dir=str(CACHE))
            chosen = choose(request)
            made[name] = chosen.release, render_chosen(request, chosen, lines(name))
        return made[name]

    return render


@pytest.fixture(name="compared", scope="module")
def _compared(rendered: Rendered) -> Compared:
    """The plan between two releases, for a user who lets everything be deleted that does not have to be named."""
    made: Dict[Tuple[str, str], Plan] = {}

    def plan(old: str, new: str) -> Plan:
        if (old, new) not in made:
            made[old, new] = compare(*rendered(old), *rendered(new), EVERYTHING)
        return made[old, new]

    return plan


def removed(plan: Plan) -> Dict[str, Removal]:
    """What becomes of the objects that the newer release has no more."""
    return {str(one.ref): one for one in plan.removals}


def bare(name: str) -> str:
    """A name without the hash that kustomize put at its end."""
    return re.sub(r"-[24-9bcdfghkmt]{10}$", "-*", name)


def placeholders(old: Render, new: Render) -> int:
    """How many objects have the same name in both only because the mirror lacks their content.

    A mirror may leave upstream's hook script out; its placeholder is the same in every release, and so is its hash.
    """
    both = [ref for ref in old.objects if ref.name.startswith(HOOK) and ref in new.objects]
    for ref in both:
        assert all("Placeholder" in render.objects[ref].obj["data"]["sync.py"] for render in (old, new))
    return len(both)


@pytest.mark.parametrize("hop", DIFFERENCES, ids=" to ".join)
def test_as_many_objects_come_go_and_change_as_were_measured(rendered: Rendered, compared: Compared, hop: Tuple[str, str]) -> None:
    """Nothing is missed between two releases, and nothing is invented."""
    (_old, before), (_new, after) = rendered(hop[0]), rendered(hop[1])
    same = placeholders(before, after)
    plan, measured = compared(*hop), DIFFERENCES[hop]
    counts = plan.counts()
    common = [ref for ref in before.objects if ref in after.objects]
    changed = sum(1 for ref in common if before.objects[ref].obj != after.objects[ref].obj)
    assert counts["create"] == measured.added - same
    assert len(plan.removals) == measured.removed - same
    assert len(common) == measured.common + same
    assert (changed, len(common) - changed) == (measured.changed, measured.identical + same)
    # In the form that is sent a few of them are the same after all, and none is another one that was not.
    written = [item for item in plan.items if item.verdict in (Verdict.UPDATE, Verdict.REPLACE)]
    assert all(before.objects[item.ref].obj != after.objects[item.ref].obj for item in written)
    assert len(written) <= measured.changed


def test_ac_03_only_one_object_has_to_be_made_anew(compared: Compared) -> None:
    """Its role reference cannot be changed; release data says that it may be deleted. No other hop has anything like it."""
    made_anew = {hop: [item for item in compared(*hop).items if item.verdict is Verdict.REPLACE] for hop in HOPS}
    (item,) = made_anew.pop(("v1.9.1", "v1.10.2"))
    assert str(item.ref) == "ClusterRoleBinding.rbac.authorization.k8s.io meta-controller-cluster-role-binding"
    assert item.reason == "roleRef cannot be changed: cluster-admin -> kubeflow-metacontroller"
    assert item.allowed
    assert not any(made_anew.values())


@pytest.mark.parametrize("hop", HOPS, ids=" to ".join)
def test_no_hop_stops_for_a_person(compared: Compared, hop: Tuple[str, str]) -> None:
    """No definition loses a version or changes its scope."""
    assert not compared(*hop).stops


ISTIO = {
    "networking.istio.io": {
        "destinationrules",
        "gateways",
        "serviceentries",
        "sidecars",
        "virtualservices",
        "workloadentries",
        "workloadgroups",
    },
    "security.istio.io": {"authorizationpolicies", "peerauthentications", "requestauthentications"},
}


def test_ac_08_ten_definitions_move_their_storage_version_in_one_hop(compared: Compared) -> None:
    """All of Istio's, from v1beta1 to v1; in every other hop none, and no version goes that was there."""
    moves = {hop: [one for one in compared(*hop).notices if one.verdict is Verdict.STORAGE_MOVE] for hop in HOPS}
    moved = moves.pop(("v1.10.2", "v1.11.0"))
    assert {one.ref.name for one in moved} == {"%s.%s" % (name, group) for group, names in ISTIO.items() for name in names}
    assert all("stored as v1 from now on instead of v1beta1" in one.reason for one in moved)
    assert not any(moves.values())
    assert not [one for hop in HOPS for one in compared(*hop).notices if one.verdict is Verdict.SERVED_REMOVED]


def test_ac_06_what_users_have_is_not_removed_with_the_training_operator(compared: Compared) -> None:
    """Not even with ``prune: all``: its six definitions of jobs, and the volume of MinIO with the only workload that reads it."""
    gone = removed(compared("v1.10.2", "v1.11.0"))
    dangerous = {name: one.reason for name, one in gone.items() if one.verdict is Verdict.PRUNE_DANGEROUS}
    definitions = {"CustomResourceDefinition.apiextensions.k8s.io %s.kubeflow.org" % name for name in JOBS}
    claim, deployment = "PersistentVolumeClaim kubeflow/minio-pvc", "Deployment.apps kubeflow/minio"
    assert set(dangerous) == definitions | {claim, deployment}
    assert "mounted by " + deployment in dangerous[claim]
    assert claim in dangerous[deployment]
    going = allowed(compared("v1.10.2", "v1.11.0").removals, EVERYTHING)
    assert not {str(one.ref) for one in going} & set(dangerous)


def test_ac_06_the_training_operators_webhook_is_an_orphan_and_goes_first(compared: Compared) -> None:
    """It would refuse every job from then on."""
    gone = removed(compared("v1.10.2", "v1.11.0"))
    orphans = {name: one for name, one in gone.items() if one.verdict is Verdict.ORPHAN_WEBHOOK}
    (name,) = orphans
    assert name == "ValidatingWebhookConfiguration.admissionregistration.k8s.io validator.training-operator.kubeflow.org"
    assert "Service kubeflow/training-operator" in orphans[name].reason
    others = [one for hop in HOPS if hop[1] != "v1.11.0" for one in compared(*hop).removals if one.verdict is Verdict.ORPHAN_WEBHOOK]
    assert not others


# What is left of the older release in each hop, and may go.
LEFTOVERS: Mapping[Tuple[str, str], Set[str]] = {
    ("v1.9.1", "v1.10.2"): {
        *("ConfigMap kubeflow/%s-*" % name for name in ("jupyter-web-app-config", "jupyter-web-app-parameters", "namespace-labels-data")),
        *("ConfigMap kubeflow/%s-parameters-*" % name for name in ("tensorboards-web-app", "volumes-web-app")),
        "Secret istio-system/routing-serving-certs",
        *("Secret knative-serving/%s" % name for name in ("knative-serving-certs", "routing-serving-certs", "serving-certs-ctrl-ca")),
        "CompositeController.metacontroller.k8s.io kubeflow-pipelines-profile-controller",
        "NetworkPolicy.networking.k8s.io kubeflow/seldon",
    },
    ("v1.10.2", "v1.11.0"): {
        *("%s kubeflow/training-operator" % kind for kind in ("Deployment.apps", "Service", "ServiceAccount")),
        "Secret kubeflow/training-operator-webhook-cert",
        *("ClusterRole.rbac.authorization.k8s.io kubeflow-training-%s" % name for name in ("admin", "edit", "view")),
        *("%s.rbac.authorization.k8s.io training-operator" % kind for kind in ("ClusterRole", "ClusterRoleBinding")),
        "ValidatingWebhookConfiguration.admissionregistration.k8s.io validator.training-operator.kubeflow.org",
        "DestinationRule.networking.istio.io kubeflow/ml-pipeline-minio",
    },
    ("v1.11.0", "26.03"): {
        "Service kubeflow/minio-service",
        "RoleBinding.rbac.authorization.k8s.io cert-manager/cert-manager-cert-manager-tokenrequest",
        "ConfigMap kubeflow/default-install-config-*",
        *("NetworkPolicy.networking.k8s.io kubeflow/%s" % name for name in ("cert-manager-webhook", "jobset-webhook", "minio")),
        "NetworkPolicy.networking.k8s.io kubeflow/trainer-webhook",
        *(
            "NetworkPolicy.networking.k8s.io kubeflow/default-allow-same-namespace-%s" % name
            for name in ("auth", "cert-manager", "istio-system", "knative-serving", "kubeflow-system", "oauth2-proxy")
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize("hop", HOPS, ids=" to ".join)
def test_what_is_left_over_goes(rendered: Rendered, compared: Compared, hop: Tuple[str, str]) -> None:
    """Exactly what was measured; a hook script whose name changes is among it where the mirror has the real one."""
    found = {bare(str(one.ref)) for one in allowed(compared(*hop).removals, EVERYTHING)}
    hooks = set() if placeholders(rendered(hop[0])[1], rendered(hop[1])[1]) else {"ConfigMap kubeflow/%s*" % HOOK}
    assert found == LEFTOVERS[hop] | hooks


def test_what_guards_the_object_store_that_stays_stays_too(compared: Compared) -> None:
    """Without it everybody in the mesh could reach MinIO."""
    kept = {str(one.ref): one.reason for one in compared("v1.10.2", "v1.11.0").removals if one.verdict is Verdict.KEEP}
    assert list(kept) == ["AuthorizationPolicy.security.istio.io kubeflow/minio-service"]


def test_a_definition_that_goes_is_dangerous_without_a_cluster(compared: Compared) -> None:
    """MXJobs may be there."""
    dangerous = [str(one.ref) for one in compared("v1.9.1", "v1.10.2").removals if one.verdict is Verdict.PRUNE_DANGEROUS]
    assert dangerous == ["CustomResourceDefinition.apiextensions.k8s.io mxjobs.kubeflow.org"]


@pytest.mark.parametrize("release", RELEASES)
def test_ac_12_every_api_of_a_release_is_served_where_it_was_tested(rendered: Rendered, compared: Compared, release: str) -> None:
    """And the check sees what is not: the same objects in versions that Kubernetes took away."""
    objects = rendered(release)[1].objects
    assert not [one for hop in HOPS if hop[1] == release for one in compared(*hop).notices if one.verdict is Verdict.NOT_SERVED]
    assert not taken_away(objects, "1.36")
    older: Dict[ObjectRef, Any] = {}
    for ref, item in objects.items():
        if ref.kind == "PodDisruptionBudget":
            older[ref] = type(item)(item.component, {**item.obj, "apiVersion": "policy/v1beta1"}, False)
    told = taken_away(older, "1.34")
    assert len(told) == len(older) > 0
    assert all("Kubernetes 1.25 took it away, use policy/v1" in one.reason for one in told)


@pytest.mark.parametrize("hop", HOPS, ids=" to ".join)
def test_nothing_secret_is_shown(rendered: Rendered, compared: Compared, hop: Tuple[str, str]) -> None:
    """Upstream's credentials are public, but the user's stand in the same places."""
    shown = repr([item.changes for item in compared(*hop).items])
    values: List[str] = []
    for _release, render in (rendered(name) for name in hop):
        for ref, item in render.objects.items():
            if ref.kind == "Secret":
                values += [str(value) for value in (item.obj.get("data") or {}).values() if value and len(str(value)) > 6]
                values += [str(value) for value in (item.obj.get("stringData") or {}).values() if value and len(str(value)) > 6]
    assert values
    assert not [value for value in values if value in shown]
