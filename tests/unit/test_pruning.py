# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of what is wanted no more, rule by rule."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Discovery, Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import ObjectMatch, Row
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, KubeObject, ObjectRef, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Policy
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.pruning import allowed, check_blast_radius, gone, removals
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import Record
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.usage import Usage
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import Removal, Verdict

from .pruning_support import PRECIOUS, definition, obj, record_of, webhook, workload

SAFE = Policy(prune="safe")
NOBODY = Usage(True)
CRDS = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", False)


def judged(
    *objects: KubeObject,
    wanted: Sequence[ObjectRef] = (),
    usage: Usage = NOBODY,
    policy: Policy = SAFE,
    rows: Sequence[Row] = (),
    record: Optional[Record] = None,
    **more: Any,
) -> Dict[str, Removal]:
    """The removals of a cluster in which all these are there, by full name."""
    live = {ref_of(one): one for one in objects}
    found = removals(record if record is not None else record_of(*objects), wanted, live, usage, rows, policy, **more)
    assert len({one.ref for one in found}) == len(found)
    return {str(one.ref): one for one in found}


def only(found: Mapping[str, Removal]) -> Removal:
    """The single removal."""
    (one,) = found.values()
    return one


def names(found: Sequence[Removal]) -> List[str]:
    """Full names."""
    return [str(one.ref) for one in found]


# ------------------------------------------------------------------ single rules


def test_what_the_release_has_no_more_goes() -> None:
    """The reason for all of this: leftovers of an older release."""
    one = only(judged(obj("ConfigMap", "old")))
    assert (one.verdict, one.component, one.uid) == (Verdict.PRUNE_SAFE, "c", "uid of ConfigMap kubeflow old")
    assert allowed([one], SAFE) == (one,)


def test_report_deletes_nothing_and_says_the_same() -> None:
    """Not even what is named."""
    report = Policy(prune="report", prune_named=("PersistentVolumeClaim kubeflow/data",))
    found = judged(obj("ConfigMap", "old"), obj("PersistentVolumeClaim", "data"), policy=report)
    assert sorted(one.verdict.value for one in found.values()) == ["prune-dangerous", "prune-safe"]
    assert not allowed(tuple(found.values()), report)
    assert not any(one.named for one in found.values())


def test_an_object_that_moved_to_another_component_is_not_removed() -> None:
    """Identity counts, not whose record it is in."""
    moved = obj("ConfigMap", "moved")
    assert not judged(moved, wanted=[ref_of(moved)])


def test_an_object_in_two_records_is_one_line() -> None:
    """The one whose uid it has; in the other it is left of a run that was killed."""
    old = obj("ConfigMap", "old")
    stale = record_of(old, component="a", uids={ref_of(old): ""}).components
    record = Record({**stale, **record_of(old).components}, b"k", "1")
    one = only(judged(old, record=record))
    assert (one.component, one.verdict) == ("c", Verdict.PRUNE_SAFE)


def test_what_is_gone_is_no_line_and_leaves_the_record() -> None:
    """Somebody deleted it already, or an interrupted run did."""
    here, missing = obj("ConfigMap", "here"), obj("ConfigMap", "missing")
    record = record_of(here, missing)
    live = {ref_of(here): here}
    assert names(removals(record, (), live, NOBODY, (), SAFE)) == ["ConfigMap kubeflow/here"]
    assert gone(record, (), live) == {"c": (ref_of(missing),)}


NEVER = [
    ({"uid": "another"}, "not the object that we wrote"),
    ({"ownerReferences": [{"kind": "Deployment", "name": "d", "uid": "x"}]}, "belongs to Deployment d"),
    ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, "being deleted"),
]


@pytest.mark.parametrize(("metadata", "reason"), NEVER)
def test_what_is_not_ours_to_delete_stays_even_if_it_is_named(metadata: Dict[str, Any], reason: str) -> None:
    """A name that a person typed does not make another object ours."""
    recorded = obj("ConfigMap", "old")
    live = obj("ConfigMap", "old", metadata=metadata)
    policy = Policy(prune="all", prune_named=("ConfigMap kubeflow/old",))
    one = only(judged(live, record=record_of(recorded), policy=policy))
    assert one.verdict is Verdict.KEEP and reason in one.reason
    assert not allowed([one], policy)


def test_what_was_only_announced_stays() -> None:
    """The run that was to write it was killed: what is there may be anybody's."""
    old = obj("ConfigMap", "old")
    one = only(judged(old, record=record_of(old, uids={ref_of(old): ""})))
    assert one.verdict is Verdict.KEEP and "interrupted" in one.reason


def test_the_same_object_under_another_group_stays() -> None:
    """One object that is served in two API groups is wanted in one of them."""
    old = obj("Thing", "old")
    assert only(judged(old, in_use=frozenset({old["metadata"]["uid"]}))).verdict is Verdict.KEEP


KEPT = [
    ({"labels": {}}, (), "label"),
    ({"labels": {COMPONENT_LABEL: "somebody-elses"}}, (), "label"),
    ({"annotations": {"mlplatform.kubeflow/keep": "true"}}, (), "mlplatform.kubeflow/keep"),
    ({"annotations": {"helm.sh/resource-policy": "keep"}}, (), "helm.sh/resource-policy"),
    ({}, (Row(ObjectMatch("", "ConfigMap", "kubeflow", "o*"), "people read it"),), "people read it"),
]


@pytest.mark.parametrize(("metadata", "rows", "reason"), KEPT)
def test_what_is_to_be_kept_goes_only_by_name(metadata: Dict[str, Any], rows: Tuple[Row, ...], reason: str) -> None:
    """By an annotation, by release data, or as it does not look like ours."""
    old = obj("ConfigMap", "old", metadata=metadata)
    one = only(judged(old, rows=rows))
    assert one.verdict is Verdict.KEEP and reason in one.reason
    by_name = Policy(prune_named=("ConfigMap kubeflow/old",))
    named = only(judged(old, rows=rows, policy=by_name))
    assert allowed([named], by_name) == (named,) and named.named


def test_all_means_also_what_lost_its_label_and_nothing_more() -> None:
    """The uid says enough; an annotation says more."""
    everything = Policy(prune="all")
    bare = only(judged(obj("ConfigMap", "old", metadata={"labels": {}}), policy=everything))
    assert bare.verdict is Verdict.PRUNE_SAFE
    kept = only(judged(obj("ConfigMap", "old", metadata={"annotations": {"mlplatform.kubeflow/keep": "true"}}), policy=everything))
    assert kept.verdict is Verdict.KEEP
    assert only(judged(obj("PersistentVolumeClaim", "data"), policy=everything)).verdict is Verdict.PRUNE_DANGEROUS


@pytest.mark.parametrize("kind", PRECIOUS)
def test_what_data_goes_with_goes_only_by_name(kind: str) -> None:
    """``prune: all`` is not enough."""
    old = obj(kind, "old")
    everything = Policy(prune="all")
    one = only(judged(old, policy=everything))
    assert one.verdict is Verdict.PRUNE_DANGEROUS and not allowed([one], everything)
    by_name = Policy(prune_named=(str(ref_of(old)),))
    named = only(judged(old, policy=by_name))
    assert named.verdict is Verdict.PRUNE_DANGEROUS and allowed([named], by_name) == (named,)


def test_what_is_in_a_tenants_namespace_goes_only_by_name() -> None:
    """Whatever it is."""
    usage = Usage(True, tenants=frozenset({"team-a"}))
    found = judged(obj("ConfigMap", "x", "team-a"), obj("ConfigMap", "x", "kubeflow"), usage=usage)
    assert [(name, one.verdict) for name, one in found.items()] == [
        ("ConfigMap kubeflow/x", Verdict.PRUNE_SAFE),
        ("ConfigMap team-a/x", Verdict.PRUNE_DANGEROUS),
    ]


def test_a_workload_stays_with_the_volume_that_stays() -> None:
    """The volume's data can be read only through it; with the volume named, both go."""
    claim, deployment = obj("PersistentVolumeClaim", "minio-pvc"), workload("minio", "minio-pvc")
    usage = Usage(True, mounts={ref_of(claim): ("Deployment.apps kubeflow/minio",)})
    found = judged(claim, deployment, usage=usage)
    assert found["PersistentVolumeClaim kubeflow/minio-pvc"].reason.endswith("mounted by Deployment.apps kubeflow/minio")
    one = found["Deployment.apps kubeflow/minio"]
    assert (one.verdict, one.reason) == (Verdict.PRUNE_DANGEROUS, "it mounts PersistentVolumeClaim kubeflow/minio-pvc, which stays")
    by_name = Policy(prune_named=("PersistentVolumeClaim kubeflow/minio-pvc",))
    both = judged(claim, deployment, usage=usage, policy=by_name)
    assert len(allowed(tuple(both.values()), by_name)) == 2


def test_a_workload_with_a_foreign_volume_stays() -> None:
    """A claim that we do not know of stays in any case."""
    assert only(judged(workload("w", "somebody-elses"))).verdict is Verdict.PRUNE_DANGEROUS
    templates = obj("StatefulSet", "db", spec={"volumeClaimTemplates": [{"metadata": {"name": "data"}}]})
    assert only(judged(templates)).verdict is Verdict.PRUNE_DANGEROUS


def test_a_workload_that_stays_keeps_what_it_reads() -> None:
    """A pod that cannot start again does not give its data back."""
    pod: Dict[str, Any] = {"serviceAccountName": "sa", "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "config"}}]}]}
    others = (obj("ConfigMap", "config"), obj("ServiceAccount", "sa"), obj("ConfigMap", "other"))
    found = judged(workload("minio", "foreign", **pod), *others)
    dangerous = {name for name, one in found.items() if one.verdict is Verdict.PRUNE_DANGEROUS}
    assert dangerous == {"Deployment.apps kubeflow/minio", "ConfigMap kubeflow/config", "ServiceAccount kubeflow/sa"}


def test_ac_06_custom_resources_are_counted_per_namespace() -> None:
    """Removing the definition would delete them all."""
    things = tuple(ObjectRef("example.org", "Thing", namespace, name) for namespace, name in (("a", "1"), ("a", "2"), ("b", "1")))
    crd = definition()
    one = only(judged(crd, usage=Usage(True, {ref_of(crd): things})))
    assert (one.verdict, dict(one.counts)) == (Verdict.PRUNE_DANGEROUS, {"a": 2, "b": 1})
    assert not allowed([one], Policy(prune="all"))


def test_a_definition_without_custom_resources_is_safe_only_if_they_were_counted() -> None:
    """Without a cluster, or if they cannot be read, nobody knows."""
    crd = definition()
    assert only(judged(crd, usage=Usage(True, {ref_of(crd): ()}))).verdict is Verdict.PRUNE_SAFE
    offline = only(judged(crd, usage=Usage(False)))
    assert offline.verdict is Verdict.PRUNE_DANGEROUS and "without a cluster" in offline.reason
    unread = only(judged(crd, usage=Usage(True, uncounted={ref_of(crd): "the webhook is down"})))
    assert unread.verdict is Verdict.PRUNE_DANGEROUS and "the webhook is down" in unread.reason


def test_our_own_custom_resources_that_go_too_do_not_count() -> None:
    """Unless one of them stays."""
    crd, thing = definition(), obj("Thing", "ours")
    usage = Usage(True, {ref_of(crd): (ref_of(thing),)})
    assert judged(crd, thing, usage=usage)[str(ref_of(crd))].verdict is Verdict.PRUNE_SAFE
    kept = obj("Thing", "ours", metadata={"annotations": {"mlplatform.kubeflow/keep": "true"}})
    found = judged(crd, kept, usage=usage)[str(ref_of(crd))]
    assert (found.verdict, dict(found.counts)) == (Verdict.PRUNE_DANGEROUS, {"kubeflow": 1})


@pytest.mark.parametrize("policy", ["Fail", None])
def test_ac_06_a_fail_closed_webhook_goes_before_its_back_end(policy: Optional[str]) -> None:
    """Without its Service it would refuse every write that it guards; unset means Fail."""
    found = judged(webhook("hook", "operator", policy), obj("Service", "operator"))
    one = found["ValidatingWebhookConfiguration.admissionregistration.k8s.io hook"]
    assert one.verdict is Verdict.ORPHAN_WEBHOOK and "Service kubeflow/operator" in one.reason
    assert len(allowed(tuple(found.values()), SAFE)) == 2
    report = Policy(prune="report")
    told = judged(webhook("hook", "operator", policy), obj("Service", "operator"), policy=report)
    one = told["ValidatingWebhookConfiguration.admissionregistration.k8s.io hook"]
    assert one.verdict is Verdict.ORPHAN_WEBHOOK and "a danger" in one.reason and not allowed([one], report)


def test_a_webhook_that_fails_open_or_keeps_its_back_end_is_no_orphan() -> None:
    """It refuses nothing when nobody answers, or somebody does answer."""
    name = "ValidatingWebhookConfiguration.admissionregistration.k8s.io hook"
    assert judged(webhook("hook", "operator", "Ignore"), obj("Service", "operator"))[name].verdict is Verdict.PRUNE_SAFE
    assert judged(webhook("hook", "operator"))[name].verdict is Verdict.PRUNE_SAFE


def test_the_back_end_of_a_webhook_that_stays_stays() -> None:
    """The Service and the workload behind it; otherwise the cluster refuses what the webhook guards."""
    keep = {"annotations": {"mlplatform.kubeflow/keep": "true"}}
    service = obj("Service", "operator", spec={"selector": {"app": "op"}})
    found = judged(webhook("hook", "operator", metadata=keep), service, workload("op", labels={"app": "op"}), workload("other"))
    dangerous = {name for name, one in found.items() if one.verdict is Verdict.PRUNE_DANGEROUS}
    assert dangerous == {"Service kubeflow/operator", "Deployment.apps kubeflow/op"}


def test_the_converter_of_a_definition_that_stays_stays() -> None:
    """Without it its custom resources cannot even be read."""
    crd = definition(conversion={"strategy": "Webhook", "webhook": {"clientConfig": {"service": {"namespace": "kubeflow", "name": "op"}}}})
    used = Usage(True, {ref_of(crd): (ObjectRef("example.org", "Thing", "a", "1"),)})
    found = judged(crd, obj("Service", "op"), usage=used)
    assert found["Service kubeflow/op"].verdict is Verdict.PRUNE_DANGEROUS
    unused = judged(crd, obj("Service", "op"), usage=Usage(True, {ref_of(crd): ()}))
    assert unused["Service kubeflow/op"].verdict is Verdict.PRUNE_SAFE


THINGS = Resource("example.org/v2", "Thing", "things", True)


def test_a_kind_that_is_not_served_is_looked_at_by_nobody() -> None:
    """It stays in the record, unless its definition was ours and is gone: then so are its objects."""
    thing, crd = obj("Thing", "old"), definition()
    record = record_of(thing)
    (one,) = removals(record, (), {}, NOBODY, (), SAFE, discovery=Discovery([]))
    assert one.verdict is Verdict.KEEP and one.resource is None
    assert not gone(record, (), {}, Discovery([]))
    both, served = record_of(thing, crd), Discovery([CRDS])
    assert not removals(both, (), {}, NOBODY, (), SAFE, discovery=served)
    assert gone(both, (), {}, served) == {"c": (ref_of(thing), ref_of(crd))}


def test_it_is_deleted_in_a_version_that_is_served() -> None:
    """The one that it was written with may be gone."""
    assert only(judged(obj("Thing", "old"), discovery=Discovery([THINGS]))).resource == THINGS


def test_a_desired_set_that_shrank_to_less_than_half_is_refused() -> None:
    """A wrong list of components must not empty a cluster."""
    objects = [obj("ConfigMap", "c%d" % number) for number in range(10)]
    record, live = record_of(*objects), {ref_of(one): one for one in objects}

    def check(wanted: int, policy: Policy) -> None:
        refs = [ref_of(one) for one in objects[:wanted]]
        check_blast_radius(record, refs, removals(record, refs, live, NOBODY, (), policy), policy)

    check(5, SAFE)
    for few in (4, 0):
        with pytest.raises(EngineError) as caught:
            check(few, SAFE)
        assert "10 recorded objects" in caught.value.expected
        check(few, Policy(prune="report"))
        check(few, Policy(prune_named=tuple(str(ref_of(one)) for one in objects)))
