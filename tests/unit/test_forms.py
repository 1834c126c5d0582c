# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent and what is compared: only what is ours, and the same hash for the same thing."""

from __future__ import annotations

import base64
import copy
from typing import Any, Dict, Optional

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.forms import (
    Hasher,
    desired_form,
    differences,
    is_ca_bundle,
    own_entry,
    project,
    without_noise,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject

CERTIFICATE = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n").decode()


def thing(kind: str, metadata: Optional[Dict[str, Any]] = None, **rest: Any) -> KubeObject:
    """An object of this kind."""
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", **(metadata or {})}, **rest}


# ------------------------------------------------------------------ what is sent

RULES = {
    "server fields": (
        thing(
            "ConfigMap",
            {"creationTimestamp": None, "resourceVersion": "1", "uid": "u", "generation": 2, "selfLink": "/x", "managedFields": []},
        ),
        thing("ConfigMap"),
    ),
    "status": (thing("Widget", status={"ready": True}), thing("Widget")),
    "labels that are empty": (thing("ConfigMap", {"labels": {}, "annotations": None}), thing("ConfigMap")),
    "labels that are not": (thing("ConfigMap", {"labels": {"a": "b"}}), thing("ConfigMap", {"labels": {"a": "b"}})),
    "stringData": (
        thing("Secret", data={"a": "eA=="}, stringData={"b": "y"}),
        thing("Secret", data={"a": "eA==", "b": "eQ=="}),
    ),
    "stringData alone, over data": (thing("Secret", data=None, stringData={"a": "y"}), thing("Secret", data={"a": "eQ=="})),
    "rules that a controller fills": (
        thing("ClusterRole", aggregationRule={"s": 1}, rules=[]),
        thing("ClusterRole", aggregationRule={"s": 1}),
    ),
    "rules of our own": (thing("ClusterRole", rules=[]), thing("ClusterRole", rules=[])),
    "a caBundle that is none": (
        thing("ValidatingWebhookConfiguration", webhooks=[{"name": "v", "clientConfig": {"caBundle": "Cg==", "url": "u"}}]),
        thing("ValidatingWebhookConfiguration", webhooks=[{"name": "v", "clientConfig": {"url": "u"}}]),
    ),
    "a caBundle that is one": (
        thing("MutatingWebhookConfiguration", webhooks=[{"name": "v", "clientConfig": {"caBundle": CERTIFICATE}}]),
        thing("MutatingWebhookConfiguration", webhooks=[{"name": "v", "clientConfig": {"caBundle": CERTIFICATE}}]),
    ),
    "a definition's caBundle that is none": (
        thing("CustomResourceDefinition", spec={"conversion": {"webhook": {"clientConfig": {"caBundle": ""}}}}),
        thing("CustomResourceDefinition", spec={"conversion": {"webhook": {"clientConfig": {}}}}),
    ),
    "no conversion at all": (thing("CustomResourceDefinition", spec={}), thing("CustomResourceDefinition", spec={})),
    "an APIService's caBundle that is none": (thing("APIService", spec={"caBundle": ""}), thing("APIService", spec={})),
}


@pytest.mark.parametrize("rule", RULES)
def test_what_a_controller_or_the_server_owns_is_not_sent(rule: str) -> None:
    """What we send we own, and what we own we fight for: a rule each, and its counterpart."""
    rendered, sent = RULES[rule]
    before = copy.deepcopy(rendered)
    assert desired_form(rendered) == sent
    assert rendered == before


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("data.a", {"data": {"b": [{"c": 1, "d": 2}, "text"]}}),
        ("data.b.*.c", {"data": {"a": 1, "b": [{"d": 2}, "text"]}}),
        ("data.none.c", {"data": {"a": 1, "b": [{"c": 1, "d": 2}, "text"]}}),
        ("data.a.b", {"data": {"a": 1, "b": [{"c": 1, "d": 2}, "text"]}}),
        ("data", {}),
    ],
)
def test_fields_that_are_not_ours_are_left_out(path: str, left: Dict[str, Any]) -> None:
    """Release data names them by dotted paths; * stands for every item of a list; what is not there is no error."""
    rendered = thing("Widget", data={"a": 1, "b": [{"c": 1, "d": 2}, "text"]})
    assert desired_form(rendered, [path]) == thing("Widget", **left)


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        (CERTIFICATE, True),
        ("", False),
        ("Cg==", False),
        (None, False),
        ("not base64!", False),
        (7, False),
    ],
)
def test_a_ca_bundle_is_one_that_holds_a_certificate(value: Any, is_one: bool) -> None:
    """Upstream ships placeholders; a webhook with one of them cannot be called."""
    assert is_ca_bundle(value) is is_one


# ------------------------------------------------------------------ what is ours in a live object


def managed(*entries: Dict[str, Any]) -> KubeObject:
    """A live object with these managers."""
    return thing("ConfigMap", {"managedFields": list(entries)})


OURS = {"manager": "mlplatform.kubeflow", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:data": {"f:a": {}}}}


def test_only_our_apply_is_ours() -> None:
    """Not our update, not a subresource, not another manager's apply."""
    assert own_entry(managed({**OURS, "manager": "kubectl"}, OURS)) == OURS
    for other in ({"operation": "Update"}, {"subresource": "status"}, {"manager": "mlplatform.kubeflow-probe"}):
        assert own_entry(managed({**OURS, **other})) is None
    assert own_entry(thing("ConfigMap")) is None


LIVE: Dict[str, Any] = {
    "metadata": {"labels": {"a": "1", "b": "2"}},
    "spec": {
        "items": [{"name": "x", "value": 1, "other": 9}, {"name": "y", "value": 2}],
        "ports": [{"port": 80, "protocol": "TCP", "name": "http"}, {"port": 80, "protocol": "UDP", "name": "dns"}],
        "set": ["p", "q"],
        "atomic": [1, 2],
    },
}
PROJECTIONS: Dict[str, Any] = {
    "a field": ({"f:metadata": {"f:labels": {"f:a": {}}}}, {"metadata": {"labels": {"a": "1"}}}),
    "a field that is gone": ({"f:metadata": {"f:labels": {"f:c": {}}}}, {"metadata": {"labels": {}}}),
    "a whole list": ({"f:spec": {"f:atomic": {}}}, {"spec": {"atomic": [1, 2]}}),
    "one field of a list item": (
        {"f:spec": {"f:items": {'k:{"name":"x"}': {".": {}, "f:value": {}}}}},
        {"spec": {"items": [['k:{"name":"x"}', {"value": 1}]]}},
    ),
    "a list item by two keys": (
        {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"UDP"}': {".": {}, "f:name": {}}}}},
        {"spec": {"ports": [['k:{"port":80,"protocol":"UDP"}', {"name": "dns"}]]}},
    ),
    "a list item as such": ({"f:spec": {"f:items": {'k:{"name":"y"}': {".": {}}}}}, {"spec": {"items": [['k:{"name":"y"}', None]]}}),
    "a list item that is gone": ({"f:spec": {"f:items": {'k:{"name":"z"}': {".": {}}}}}, {"spec": {"items": []}}),
    "a value of a set": ({"f:spec": {"f:set": {'v:"p"': {}, 'v:"r"': {}}}}, {"spec": {"set": ['v:"p"']}}),
}


@pytest.mark.parametrize("case", PROJECTIONS)
def test_of_a_live_object_only_our_part_counts(case: str) -> None:
    """A controller that adds a label, a field or a list item beside ours is no drift."""
    fields, ours = PROJECTIONS[case]
    assert project(fields, LIVE) == ours


def test_the_order_of_a_keyed_list_does_not_matter() -> None:
    """The server may keep it in another order after somebody else's write."""
    fields: Dict[str, Any] = {"f:spec": {"f:items": {'k:{"name":"x"}': {"f:value": {}}, 'k:{"name":"y"}': {"f:value": {}}}}}
    other = copy.deepcopy(LIVE)
    other["spec"]["items"].reverse()
    assert project(fields, LIVE) == project(fields, other)


# ------------------------------------------------------------------ hashes


def live(uid: str = "u", data: Optional[Dict[str, str]] = None, fields: Optional[Dict[str, Any]] = None) -> KubeObject:
    """A live ConfigMap."""
    entry = {**OURS, "fieldsV1": fields} if fields else OURS
    return thing("ConfigMap", {"uid": uid, "managedFields": [entry]}, data=data or {"a": "1"})


HASHER = Hasher(b"k" * 32)


def test_a_hash_tells_nothing_without_the_key() -> None:
    """The record may be read by more people than the Secrets it speaks of."""
    secret = thing("Secret", data={"a": "eA=="})
    assert HASHER.value(secret) != Hasher(b"j" * 32).value(secret)
    assert len(HASHER.value(secret)) == 32
    assert HASHER.value({"a": 1, "b": 2}) == HASHER.value({"b": 2, "a": 1})


@pytest.mark.parametrize(
    "changed",
    [
        live(data={"a": "2"}),
        live(uid="another"),
        live(fields={"f:data": {"f:a": {}, "f:b": {}}}),
        thing("ConfigMap", {"uid": "u"}, data={"a": "1"}),
    ],
    ids=["value", "recreated", "ownership", "no longer ours"],
)
def test_a_live_hash_changes_with_what_is_ours(changed: KubeObject) -> None:
    """Each of these is drift."""
    assert HASHER.live(changed) != HASHER.live(live())


def test_a_live_hash_is_blind_to_the_rest() -> None:
    """Status, resourceVersion and others' fields change all the time."""
    busy = live(data={"a": "1", "theirs": "x"})
    busy["metadata"].update({"resourceVersion": "99", "generation": 7, "annotations": {"theirs": "x"}})
    busy["status"] = {"ready": True}
    assert HASHER.live(busy) == HASHER.live(live())


# ------------------------------------------------------------------ differences

DIFFERENCES = [
    ({"a": 1}, {"a": 1}, []),
    ({"a": {"b": 1}}, {"a": {"b": 2}}, [("a.b", 1, 2)]),
    ({}, {"a": {"b": 2}}, [("a", None, {"b": 2})]),
    ({"a": [1, 2]}, {"a": [2, 1]}, [("a", [1, 2], [2, 1])]),
    ({"a": [{"name": "x", "v": 1}, {"name": "y"}]}, {"a": [{"name": "y"}, {"name": "x", "v": 2}]}, [("a[x].v", 1, 2)]),
    ({"a": [{"name": "x"}]}, {"a": []}, [("a[x]", {"name": "x"}, None)]),
    ({"a": [{"name": "x"}, {"name": "x"}]}, {"a": []}, [("a", [{"name": "x"}, {"name": "x"}], [])]),
    ({"a": 1}, {"a": [1]}, [("a", 1, [1])]),
]


@pytest.mark.parametrize(("before", "after", "found"), DIFFERENCES)
def test_differences_go_to_the_leaves_and_lists_by_name(before: Any, after: Any, found: Any) -> None:
    """A person wants to know which container's image changed, not that the list of containers did."""
    assert differences(before, after) == found


def test_noise_is_what_every_write_changes() -> None:
    """For comparing an object with its own dry run."""
    noisy = thing("Widget", {"resourceVersion": "1", "generation": 1, "uid": "u", "labels": {"a": "b"}}, status={}, spec={"a": 1})
    assert without_noise(noisy) == thing("Widget", {"labels": {"a": "b"}}, spec={"a": 1})
