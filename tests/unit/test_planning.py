# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: one verdict per object, from what we want, what we wrote and what is there."""

from __future__ import annotations

import copy
from typing import Any, Dict, Mapping, Optional

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Discovery, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import (
    Plan,
    Policy,
    Verdict,
    Wanted,
    examine,
    make_plan,
    referenced_config,
    without_fields,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ComponentRecord, Entry, Record
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.redaction import Redactor
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.snapshot import Snapshot

CONFIG = Resource("v1", "ConfigMap", "configmaps", True)
DEPLOYMENT = Resource("apps/v1", "Deployment", "deployments", True)
CRD = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", False)
KEY = b"k" * 32
STRICT = Policy()


def config(value: str = "1") -> KubeObject:
    """What we want."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": {"a": value}}


def served(obj: KubeObject, fields: Mapping[str, Any], uid: str = "u1") -> KubeObject:
    """The same as the server keeps it after our apply."""
    live = copy.deepcopy(obj)
    entry = {"manager": "mlplatform.kubeflow", "operation": "Apply", "apiVersion": obj["apiVersion"], "fieldsV1": fields}
    live["metadata"].update({"uid": uid, "resourceVersion": "7", "managedFields": [entry]})
    return live


LIVE = served(config(), {"f:data": {"f:a": {}}})


def record_of(desired: KubeObject, live: KubeObject, written: bool = True) -> Record:
    """A record that says that we wrote it."""
    hasher = Record(hash_key=KEY).hasher
    entry = Entry(desired["apiVersion"], "u1", hasher.value(desired), hasher.live(live) if written else "")
    component = ComponentRecord("kubeflow", "1", True, {ref_of(desired): entry})
    return Record({"katib": component}, KEY, "5")


def planned(
    want: KubeObject,
    record: Record,
    live: Optional[KubeObject],
    *,
    policy: Policy = STRICT,
    resource: Resource = CONFIG,
    once: bool = False,
) -> Plan:
    """The plan for one object."""
    objects = {ref_of(want): live} if live is not None else {}
    discovery = Discovery([resource])
    snapshot = Snapshot(objects, discovery, discovery, {}, (), "", {})
    return make_plan({ref_of(want): Wanted("katib", want, resource, once)}, record, snapshot, policy)


def verdict(plan: Plan) -> Verdict:
    """Of the only object."""
    return plan.items[0].verdict


def test_an_object_that_is_as_we_wrote_it_is_unchanged() -> None:
    """Otherwise a daily run writes."""
    assert verdict(planned(config(), record_of(config(), LIVE), LIVE)) is Verdict.UNCHANGED


def test_fields_of_others_do_not_matter() -> None:
    """An annotation of another manager, a new resourceVersion: not our business."""
    live = copy.deepcopy(LIVE)
    live["metadata"]["annotations"] = {"other": "x"}
    live["metadata"]["resourceVersion"] = "99"
    live["data"]["theirs"] = "1"
    assert verdict(planned(config(), record_of(config(), LIVE), live)) is Verdict.UNCHANGED


def changed_value() -> KubeObject:
    """Somebody edited the field that we own."""
    live = copy.deepcopy(LIVE)
    live["data"]["a"] = "2"
    return live


def lost_ownership() -> KubeObject:
    """Somebody edited it, and the server moved the field to them."""
    live = changed_value()
    live["metadata"]["managedFields"][0]["fieldsV1"] = {"f:data": {}}
    return live


def recreated() -> KubeObject:
    """Somebody deleted it and made another one."""
    live = copy.deepcopy(LIVE)
    live["metadata"]["uid"] = "u2"
    del live["metadata"]["managedFields"]
    return live


@pytest.mark.parametrize("change", [changed_value, lost_ownership, recreated])
def test_what_somebody_changed_is_drift(change: Any) -> None:
    """By value, by ownership, by identity."""
    assert verdict(planned(config(), record_of(config(), LIVE), change())) is Verdict.DRIFT


def test_another_wish_is_an_update() -> None:
    """We want something else than what we wrote."""
    assert verdict(planned(config("2"), record_of(config(), LIVE), LIVE)) is Verdict.UPDATE


def test_ac39_a_write_that_was_only_announced_is_written_again() -> None:
    """A run killed between the announcement and the record."""
    plan = planned(config(), record_of(config(), LIVE, written=False), LIVE)
    assert verdict(plan) is Verdict.UPDATE
    assert "interrupted" in plan.items[0].reason


@pytest.mark.parametrize("known", [True, False])
def test_what_is_not_there_is_created(known: bool) -> None:
    """Whether or not we ever wrote it."""
    record = record_of(config(), LIVE) if known else Record(hash_key=KEY)
    assert verdict(planned(config(), record, None)) is Verdict.CREATE


def test_what_is_not_ours_is_refused_unless_named() -> None:
    """AC-30: somebody else's objects are never touched by themselves."""
    empty = Record(hash_key=KEY)
    assert verdict(planned(config(), empty, LIVE)) is Verdict.ADOPT_REFUSED
    for name in ("katib", "all"):
        assert verdict(planned(config(), empty, LIVE, policy=Policy(adopt=(name,)))) is Verdict.ADOPT
    assert verdict(planned(config(), empty, LIVE, policy=Policy(adopt=("dex",)))) is Verdict.ADOPT_REFUSED


def test_what_is_written_once_stays_as_it_is() -> None:
    """Generated credentials are never made anew."""
    record = record_of(config(), LIVE)
    assert verdict(planned(config("2"), record, changed_value(), once=True)) is Verdict.UNCHANGED


def crd(versions: Dict[str, bool]) -> KubeObject:
    """A definition with these versions (name -> served)."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "xs.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"kind": "X", "plural": "xs"},
            "scope": "Namespaced",
            "versions": [{"name": name, "served": is_served} for name, is_served in versions.items()],
        },
    }


def test_ac08_a_definition_that_stores_a_version_that_ours_lacks_is_never_overwritten() -> None:
    """Objects in that version could not be read any more."""
    live = served(crd({"v1": True, "v1beta1": False}), {})
    live["status"] = {"storedVersions": ["v1beta1"]}
    plan = planned(crd({"v1": True}), Record(hash_key=KEY), live, resource=CRD, policy=Policy(adopt=("all",)))
    assert verdict(plan) is Verdict.REFUSED
    assert "v1beta1" in plan.items[0].reason
    live["status"] = {"storedVersions": ["v1"]}
    plan = planned(crd({"v1": True}), Record(hash_key=KEY), live, resource=CRD, policy=Policy(adopt=("all",)))
    assert verdict(plan) is Verdict.ADOPT


def deployment() -> KubeObject:
    """One that reads the ConfigMap."""
    container = {"name": "x", "envFrom": [{"configMapRef": {"name": "c"}}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n"},
        "spec": {"template": {"spec": {"containers": [container], "volumes": [{"secret": {"secretName": "s"}}]}}},
    }


def restarts(wish: KubeObject, config_there: Optional[KubeObject], adopt: bool = False) -> list[str]:
    """The workloads that the plan restarts."""
    wanted = {
        ref_of(wish): Wanted("katib", wish, CONFIG),
        ref_of(deployment()): Wanted("katib", deployment(), DEPLOYMENT),
    }
    workload = served(deployment(), {"f:spec": {}})
    hasher = Record(hash_key=KEY).hasher
    record = record_of(config(), LIVE)
    entries = {
        **record.components["katib"].entries,
        ref_of(deployment()): Entry("apps/v1", "u1", hasher.value(deployment()), hasher.live(workload)),
    }
    record = Record({"katib": ComponentRecord("kubeflow", "1", True, {} if adopt else entries)}, KEY)
    objects = {ref_of(workload): workload}
    if config_there is not None:
        objects[ref_of(wish)] = config_there
    discovery = Discovery([CONFIG, DEPLOYMENT])
    snapshot = Snapshot(objects, discovery, discovery, {}, (), "", {})
    plan = make_plan(wanted, record, snapshot, Policy(adopt=("all",)))
    return [str(item.ref) for item in plan.items if item.verdict is Verdict.RESTART]


def test_workloads_that_read_a_changed_configmap_are_restarted_once() -> None:
    """Its name has no hash, so nothing else tells them."""
    assert restarts(config("2"), LIVE) == ["Deployment.apps n/d"]
    assert restarts(config(), changed_value()) == ["Deployment.apps n/d"]


def test_nothing_is_restarted_without_a_reason() -> None:
    """Unchanged, on first install, on adoption."""
    assert restarts(config(), LIVE) == []
    assert restarts(config(), None) == []
    assert restarts(config("2"), LIVE, adopt=True) == []


def test_every_way_to_read_a_configmap_or_secret_is_known() -> None:
    """Environment, whole environment, volume, projected volume."""
    spec = {
        "containers": [
            {
                "env": [
                    {"valueFrom": {"configMapKeyRef": {"name": "c1", "key": "k"}}},
                    {"valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "c2"}}, {"secretRef": {"name": "s2"}}],
            }
        ],
        "volumes": [
            {"configMap": {"name": "c3"}},
            {"secret": {"secretName": "s3"}},
            {"projected": {"sources": [{"configMap": {"name": "c4"}}, {"secret": {"name": "s4"}}]}},
        ],
    }
    names = {name for _kind, name in referenced_config({"spec": spec})}
    assert names == {"c1", "c2", "c3", "c4", "s1", "s2", "s3", "s4"}


def test_theirs_leaves_out_just_the_contested_fields() -> None:
    """Paths as the server writes them, with keys of list items."""
    obj: KubeObject = {
        "metadata": {"annotations": {"a.b/c": "1", "d": "2"}},
        "spec": {"containers": [{"name": "x", "image": "i", "tty": True}, {"name": "y", "image": "j"}]},
    }
    trimmed = without_fields(obj, ['.spec.containers[name="x"].image', ".metadata.annotations.d"])
    assert trimmed["spec"]["containers"] == [{"name": "x", "tty": True}, {"name": "y", "image": "j"}]
    assert trimmed["metadata"]["annotations"] == {"a.b/c": "1"}
    assert obj["spec"]["containers"][0]["image"] == "i"


class DryRun:
    """An API server that answers every dry run with one object."""

    def __init__(self, answer: KubeObject) -> None:
        self._answer = answer

    def apply(self, _resource: Resource, _obj: KubeObject, *, dry: bool, force: bool) -> KubeObject:
        """What it has."""
        assert dry and not force
        return self._answer


def test_what_a_controller_writes_meanwhile_is_no_change_of_ours() -> None:
    """A webhook fills its empty Secret between our list and our dry run: nobody who reads it is restarted."""
    secret = Resource("v1", "Secret", "secrets", True)
    want: KubeObject = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "type": "Opaque"}
    live = served(want, {"f:type": {}})
    plan = planned(want, record_of(want, live, written=False), live, resource=secret)
    assert verdict(plan) is Verdict.UPDATE
    filled = {**copy.deepcopy(live), "data": {"tls.crt": "eA=="}}
    for answer, paths in ((filled, []), ({**filled, "type": "other"}, ["type"])):
        api: Any = DryRun(answer)
        examined, _record = examine(api, plan, record_of(want, live), STRICT, Redactor())
        assert [path for path, _before, _after in examined.items[0].changes] == paths
