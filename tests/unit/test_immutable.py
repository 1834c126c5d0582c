# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which fields the API server does not let change. A real server is asked about the same table in tests/integration."""

from __future__ import annotations

import copy
from decimal import Decimal
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest
import yaml

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.immutable import (
    FIXED,
    RULES,
    immutable_changes,
    immutable_reason,
    quantity,
    shown_immutable,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, get_path, ref_of

CASES: List[Dict[str, Any]] = yaml.load(
    (Path(__file__).parent / "data" / "immutable_cases.yml").read_text(encoding="utf-8"), yaml.CSafeLoader
)
EDITS: List[Tuple[KubeObject, Dict[str, Any]]] = [(case["object"], edit) for case in CASES for edit in case["edits"]]


def edited(obj: KubeObject, edits: Dict[str, Any]) -> KubeObject:
    """The object with these fields set; None takes one away."""
    changed = copy.deepcopy(obj)
    for path, value in edits.items():
        above, _dot, name = path.rpartition(".")
        place = get_path(changed, above) if above else changed
        if value is None:
            del place[name]
        else:
            place[name] = copy.deepcopy(value)
    return changed


@pytest.mark.parametrize(("obj", "edit"), EDITS, ids=["%s: %s" % (obj["kind"], edit["why"]) for obj, edit in EDITS])
def test_a_change_is_refused_as_the_api_server_refuses_it(obj: KubeObject, edit: Dict[str, Any]) -> None:
    """Too few: a hop stops in the middle with an error. Too many: objects are deleted that need not be."""
    assert immutable_changes(obj, edited(obj, edit["set"])) == tuple(edit["refused"])


@pytest.mark.parametrize("case", CASES, ids=["%s %s" % (case["object"]["kind"], case["object"]["metadata"]["name"]) for case in CASES])
def test_nothing_is_refused_where_nothing_changes(case: Dict[str, Any]) -> None:
    """An object compared with itself, whatever its kind."""
    assert immutable_changes(case["object"], copy.deepcopy(case["object"])) == ()


def test_every_rule_has_cases_in_both_directions() -> None:
    """A rule that no case can make speak may be wrong without anybody noticing."""
    for kind in {*FIXED, *RULES}:
        of_kind = [edit["refused"] for obj, edit in EDITS if ref_of(obj).kind_group == kind]
        assert any(of_kind), kind
    paths = {(kind, field.path) for kind, fields in FIXED.items() for field in fields}
    spoken = {(ref_of(obj).kind_group, path) for obj, edit in EDITS for path in edit["refused"]}
    # The server accepts a value of these only where the object is made, in combinations that the table does not repeat.
    rare = {
        ("StatefulSet.apps", "spec.selector"),
        ("Job.batch", "spec.selector"),
        ("Job.batch", "spec.podFailurePolicy"),
        ("Job.batch", "spec.successPolicy"),
        ("Job.batch", "spec.backoffLimitPerIndex"),
    }
    assert paths - spoken == rare


def binding(manager: Optional[str], fields: Optional[Dict[str, Any]] = None) -> KubeObject:
    """A live StatefulSet whose podManagementPolicy somebody owns."""
    default: Dict[str, Any] = {"f:spec": {"f:podManagementPolicy": {}}}
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": fields or default}
    metadata = {"name": "db", "namespace": "n", "managedFields": [entry] if manager else []}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": {"podManagementPolicy": "Parallel"}}


@pytest.mark.parametrize(
    ("live", "refused"),
    [
        (binding("mlplatform.kubeflow"), ("spec.podManagementPolicy",)),
        (binding("kubectl"), ()),
        (binding("mlplatform.kubeflow", {"f:spec": {"f:replicas": {}}}), ()),
        (binding(None), ("spec.podManagementPolicy",)),
    ],
    ids=["ours", "another manager's", "nobody's", "an older render"],
)
def test_what_we_leave_out_changes_only_what_is_ours_alone(live: KubeObject, refused: Tuple[str, ...]) -> None:
    """Server-side apply takes away what we owned and do not set any more, and leaves what others own."""
    want = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "n"}, "spec": {}}
    assert immutable_changes(live, want) == refused


def test_what_the_server_fills_in_is_no_change() -> None:
    """A live StatefulSet has defaults in its claim templates, and a live Service addresses that we never set."""
    template = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    want: KubeObject = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "n"},
        "spec": {"serviceName": "db", "volumeClaimTemplates": [template]},
    }
    live = copy.deepcopy(want)
    live["spec"]["volumeClaimTemplates"][0].update({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": "Pending"}})
    live["spec"]["volumeClaimTemplates"][0]["spec"]["volumeMode"] = "Filesystem"
    assert immutable_changes(live, want) == ()
    service: KubeObject = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"}, "spec": {}}
    served = {**service, "spec": {"clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.7"], "ipFamilies": ["IPv4"], "type": "ClusterIP"}}
    assert immutable_changes(served, service) == ()
    assert immutable_changes(served, {**service, "spec": {"clusterIPs": ["10.0.0.8"]}}) == ("spec.clusterIPs",)
    assert immutable_changes(served, {**service, "spec": {"ipFamilies": ["IPv6"]}}) == ("spec.ipFamilies",)


@pytest.mark.parametrize(
    ("phase", "wanted", "refused"),
    [
        ("Bound", {"storage": "20Gi"}, ()),
        ("Pending", {"storage": "20Gi"}, ("spec.resources.requests.storage",)),
        ("Bound", {"storage": "5Gi"}, ("spec.resources.requests.storage",)),
        ("Bound", {"storage": "10240Mi"}, ()),
    ],
)
def test_a_claim_grows_only_when_it_is_bound(phase: str, wanted: Dict[str, str], refused: Tuple[str, ...]) -> None:
    """Anything else of a claim would have to be made anew, with an empty volume."""
    want: KubeObject = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "n"}}
    live = {**want, "spec": {"storageClassName": "local", "resources": {"requests": {"storage": "10Gi"}}}, "status": {"phase": phase}}
    assert immutable_changes(live, {**want, "spec": {"resources": {"requests": wanted}}}) == refused
    unclassed = {**live, "spec": {"resources": {"requests": {"storage": "10Gi"}}}}
    assert immutable_changes(unclassed, {**want, "spec": {"storageClassName": "fast"}}) == ()
    assert immutable_changes(live, {**want, "spec": {"storageClassName": "fast"}}) == ("spec.storageClassName",)


def test_the_reason_names_the_field_and_both_values() -> None:
    """A person has to see what the hop would do before it is done."""
    before: KubeObject = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    }
    after = copy.deepcopy(before)
    after["roleRef"]["name"] = "less"
    assert immutable_reason(before, after, ["roleRef"]) == "roleRef cannot be changed: cluster-admin -> less"
    assert shown_immutable(before, after, ["roleRef"]) == (("roleRef.name", "cluster-admin", "less"),)
    after["roleRef"]["kind"] = "Role"
    assert immutable_reason(before, after, ["roleRef"]) == "roleRef cannot be changed: kind ClusterRole -> Role, name cluster-admin -> less"


def test_the_reason_says_nothing_of_a_secrets_values() -> None:
    """Not even in base64."""
    before: KubeObject = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "immutable": True,
        "data": {"a": "b2xkLXNlY3JldA=="},
    }
    after = {**before, "data": {"a": "bmV3LXNlY3JldA=="}}
    text = immutable_reason(before, after, immutable_changes(before, after))
    assert text == "data cannot be changed: *** -> ***"


@pytest.mark.parametrize(
    ("text", "number"),
    [("5Gi", Decimal(5 * 2**30)), ("5120Mi", Decimal(5 * 2**30)), ("100m", Decimal("0.1")), (2, Decimal(2)), ("1e3", Decimal(1000)),
     ("1.5k", Decimal(1500)), ("1E", Decimal(10) ** 18), ("much", None), ("", None), ("1Gb", None)],
)  # fmt: skip
def test_quantities(text: Any, number: Optional[Decimal]) -> None:
    """As Kubernetes writes them [apimachinery, resource.Quantity]."""
    assert quantity(text) == number
