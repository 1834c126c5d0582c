# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift: whose a field is now, what counts as drift and what does not, and which caBundle does not fit."""

from __future__ import annotations

import base64
import copy
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import ca_bundles, present_drift
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Resource
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.drifting import (
    Drift,
    FieldDrift,
    Writer,
    ca_drifts,
    drifts,
    looking,
    pending,
    writers,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import FIELD_MANAGER, KubeObject, ObjectRef, ref_of
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Item, Plan, Policy, Verdict, Wanted
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import ComponentRecord, Entry, Record

DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments", True)
EARLY, LATER, LATEST = "2026-01-02T03:00:00Z", "2026-01-02T04:00:00Z", "2026-01-02T05:00:00Z"
OURS = {"f:metadata": {"f:labels": {"f:app.kubernetes.io/name": {}}}, "f:spec": {"f:replicas": {}}}


def entry(manager: str, fields: Mapping[str, Any], time: str = LATER, operation: str = "Update", subresource: str = "") -> Dict[str, Any]:
    """One entry of managedFields."""
    found = {
        "manager": manager,
        "operation": operation,
        "apiVersion": "apps/v1",
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return {**found, "subresource": subresource} if subresource else found


def live(*entries: Mapping[str, Any], uid: Any = "u1", **spec: Any) -> KubeObject:
    """A Deployment as the API server has it, applied by us before others came."""
    mine = entry(FIELD_MANAGER, OURS, EARLY, "Apply")
    metadata = {"name": "x", "namespace": "n", "uid": uid, "creationTimestamp": EARLY, "managedFields": [mine, *entries]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": 1, **spec}}


CONTAINERS = [{"name": "main", "image": "a:1", "ports": [{"containerPort": 80, "protocol": "TCP"}]}, {"name": "side", "image": "b:1"}]
MAIN: Dict[str, Any] = {"f:spec": {"f:containers": {'k:{"name":"main"}': {".": {}, "f:image": {}}}}}
PORT: Dict[str, Any] = {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:targetPort": {}}}}}

OWNED: List[Tuple[str, Mapping[str, Any], str, bool]] = [
    ("a field", {"f:spec": {"f:replicas": {}}}, "spec.replicas", True),
    ("another field", {"f:spec": {"f:paused": {}}}, "spec.replicas", False),
    ("below", {"f:spec": {"f:strategy": {"f:type": {}}}}, "spec.strategy", True),
    ("above, as a whole", {"f:spec": {"f:selector": {}}}, "spec.selector.matchLabels.app", True),
    ("above, only itself", {"f:spec": {"f:strategy": {".": {}, "f:rollingUpdate": {}}}}, "spec.strategy.type", False),
    ("a name with dots", {"f:metadata": {"f:labels": {"f:app.kubernetes.io/name": {}}}}, "metadata.labels.app.kubernetes.io/name", True),
    ("a name that begins alike", {"f:metadata": {"f:labels": {"f:app": {}}}}, "metadata.labels.application", False),
    ("an item of a list", MAIN, "spec.containers[main].image", True),
    ("another item", MAIN, "spec.containers[side].image", False),
    ("another field of the item", MAIN, "spec.containers[main].command", False),
    ("the whole item", MAIN, "spec.containers[main]", True),
    ("an item that is gone", MAIN, "spec.containers[gone].image", False),
    ("an item by other keys", PORT, "spec.ports[web].targetPort", True),
    ("a whole list", {"f:rules": {}}, "rules", True),
]


@pytest.mark.parametrize(("fields", "path", "owned"), [case[1:] for case in OWNED], ids=[case[0] for case in OWNED])
def test_whose_a_field_is(fields: Mapping[str, Any], path: str, owned: bool) -> None:
    """managedFields name lists by keys and maps by names with dots; the plan's paths have neither marks."""
    spec = {"containers": CONTAINERS, "ports": [{"name": "web", "port": 80, "protocol": "TCP"}]}
    found = writers(live(entry("other", fields), **spec), path)
    assert bool(found) is owned


def test_the_latest_writer_comes_first_and_we_are_none() -> None:
    """A field may have several owners; who wrote last is asked first."""
    fields: Dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    obj = live(entry("early", fields, EARLY), entry("late", fields, LATEST, "Apply"), entry("scaler", fields, LATER, subresource="scale"))
    assert writers(obj, "spec.replicas") == (
        Writer("late", "Apply", LATEST),
        Writer("scaler", "Update", LATER, "scale"),
        Writer("early", "Update", EARLY),
    )


# ------------------------------------------------------------------ what is drift

CHANGE = ("spec.replicas", "3", "1")
EDITED = entry("kubectl-edit", {"f:spec": {"f:replicas": {}}})


def record(obj: Optional[KubeObject], uid: str = "u1", written: bool = True) -> Record:
    """What we noted after we had written an object."""
    empty = Record(hash_key=b"k")
    hashed = empty.hasher.live(obj) if obj else "hash"
    entries = {ref_of(live()): Entry("apps/v1", uid, "desired", hashed if written else "")}
    return empty.with_component("katib", ComponentRecord("kubeflow", "26.03", True, entries))


def item(verdict: Verdict, obj: Optional[KubeObject], once: bool = False, **rest: Any) -> Item:
    """A line of the plan about the Deployment."""
    return Item(ref_of(live()), Wanted("katib", live(), DEPLOYMENTS, once), verdict, rest.pop("reason", "why"), obj, **rest)


def look(one: Item, noted: Record) -> Optional[Drift]:
    """What is said of one object."""
    found = drifts(Plan((one,)), noted)
    assert len(found) < 2
    return found[0] if found else None


def test_a_changed_field_has_its_writer_and_its_time() -> None:
    """Who, when, what it is, what we want."""
    found = look(
        item(Verdict.DRIFT, live(EDITED, replicas=3), changes=(CHANGE,), contested=(("kubectl-edit", ".spec.replicas"),)), record(live())
    )
    assert found is not None
    assert (found.what, found.since, found.reason) == ("changed", LATER, "changed by kubectl-edit")
    assert found.fields == (FieldDrift("spec.replicas", "3", "1", Writer("kubectl-edit", "Update", LATER)),)
    assert "kubeflow_conflicts" in found.next_step


def test_a_field_that_was_taken_away_belongs_to_nobody() -> None:
    """The API server keeps no trace of it: the last who wrote after us is a suspect and no more; a status is no suspect."""
    gone = ("metadata.labels.app.kubernetes.io/name", "(none)", "katib")
    others = [
        entry("controller", {"f:status": {}}, LATEST, subresource="status"),
        entry("kubectl-label", {"f:x": {}}),
        entry("old", {}, "2026-01-01"),
    ]
    changed = copy.deepcopy(live(*others))
    changed["metadata"]["managedFields"][0]["fieldsV1"] = {"f:spec": {"f:replicas": {}}}
    found = look(item(Verdict.DRIFT, changed, changes=(gone,)), record(live()))
    assert found is not None
    (field,) = found.fields
    assert field.writer is None and field.suspect is not None and field.suspect.manager == "kubectl-label"
    assert found.since == "" and found.reason == "somebody took away what we wrote"


NO_DRIFT: Dict[str, Tuple[Item, Record]] = {
    "unchanged": (item(Verdict.UNCHANGED, live()), record(live())),
    "another form, same meaning": (item(Verdict.UNCHANGED, live(EDITED, replicas=3)), record(live())),
    "ours to change": (item(Verdict.UPDATE, live(), changes=(CHANGE,)), record(live())),
    "never written": (item(Verdict.ADOPT_REFUSED, live()), Record(hash_key=b"k")),
    "never installed": (item(Verdict.CREATE, None), Record(hash_key=b"k")),
    "announced only": (item(Verdict.UPDATE, live(), changes=(CHANGE,)), record(live(), written=False)),
    "interrupted before it was there": (item(Verdict.CREATE, None), record(None, written=False)),
    "written once": (item(Verdict.UNCHANGED, live(EDITED, replicas=3), once=True), record(live())),
    "a restart": (item(Verdict.RESTART, live(EDITED, replicas=3)), record(live())),
}


@pytest.mark.parametrize("case", NO_DRIFT)
def test_what_is_no_drift(case: str) -> None:
    """What we want otherwise today, what we never finished, and what is not ours to compare."""
    assert look(*NO_DRIFT[case]) is None


def test_an_edit_in_what_we_want_otherwise_today_is_drift_without_our_own_wishes() -> None:
    """A field that nobody else owns differs because we changed our mind."""
    changes = (CHANGE, ("spec.paused", "(none)", "true"))
    found = look(item(Verdict.UPDATE, live(EDITED, replicas=3), changes=changes), record(live()))
    assert found is not None and [field.path for field in found.fields] == ["spec.replicas"]


def test_what_was_removed_or_made_anew_is_said_so() -> None:
    """Another uid is another object, whatever its fields are."""
    removed = look(item(Verdict.CREATE, None, reason="somebody removed it"), record(live()))
    recreated = look(item(Verdict.DRIFT, live(uid="u2")), record(live()))
    assert removed is not None and (removed.what, removed.since) == ("removed", "")
    assert recreated is not None and (recreated.what, recreated.since, recreated.fields) == ("recreated", EARLY, ())


def test_what_site_refuses_to_overwrite_is_drift_with_its_reason() -> None:
    """Somebody put a version into our CustomResourceDefinition: site would not put it back."""
    found = look(item(Verdict.REFUSED, live(EDITED, replicas=3), reason="it serves v3"), record(live()))
    assert found is not None and found.reason == "it serves v3" and "refuses" in found.next_step


def test_pending_counts_what_site_would_write_and_is_no_drift() -> None:
    """One line for each object, restarts aside."""
    other = replace(item(Verdict.UPDATE, live()), ref=ObjectRef("apps", "Deployment", "n", "other"))
    plan = Plan((item(Verdict.DRIFT, live(EDITED, replicas=3)), other, replace(other, verdict=Verdict.RESTART)))
    assert pending(plan, drifts(plan, record(live()))) == 1


def test_drift_is_looked_for_as_if_we_would_put_everything_back_but_what_is_theirs() -> None:
    """Otherwise a conflict would hide its values."""
    found = looking(Policy("fail", {"a": "theirs", "b": "fail", "c": "ours"}, ("katib",)))
    assert (found.conflicts, found.conflicts_by_object, found.adopt) == ("ours", {"a": "theirs", "b": "ours", "c": "ours"}, ("katib",))
    assert looking(Policy("theirs")).conflicts == "theirs"


# ------------------------------------------------------------------ caBundle


def certificate(content: bytes) -> str:
    """Base64 of a PEM certificate: a DER sequence with this content."""
    der = b"\x30" + bytes([len(content)]) + content
    pem = "-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n" % base64.b64encode(der).decode()
    return base64.b64encode(pem.encode()).decode()


def both(*bundles: str) -> str:
    """Several certificates in one bundle."""
    return base64.b64encode(b"".join(base64.b64decode(bundle) for bundle in bundles)).decode()


GOOD, STALE = certificate(b"good"), certificate(b"stale")
FROM = {"cert-manager.io/inject-ca-from": "kubeflow/katib-cert"}
CERTIFICATE = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "katib-cert"}, "spec": {"secretName": "s"}}


class Cluster:
    """An API server with these objects, which counts what it is asked."""

    def __init__(self, *objects: KubeObject) -> None:
        self.objects = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}
        self.asked: List[Tuple[str, str]] = []

    def get(self, resource: Resource, namespace: str, name: str) -> Optional[KubeObject]:
        """One object."""
        self.asked.append((resource.kind, name))
        return self.objects.get((resource.kind, name))


def secret(bundle: str) -> KubeObject:
    """The Secret of the Certificate."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"ca.crt": bundle}}


def hooks(name: str, *bundles: Optional[str], annotations: Optional[Mapping[str, str]] = None, url: bool = False) -> Item:
    """A webhook configuration as it is in the cluster."""
    where = {"url": "https://x"} if url else {"service": {"namespace": "kubeflow", "name": "x"}}
    configs = [{**where, **({} if bundle is None else {"caBundle": bundle})} for bundle in bundles]
    obj = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name, "annotations": dict(annotations or {}), "managedFields": []},
        "webhooks": [{"name": "w%d" % at, "clientConfig": config} for at, config in enumerate(configs)],
    }
    return Item(ref_of(obj), Wanted("katib", obj, DEPLOYMENTS), Verdict.UNCHANGED, "", obj)


def problems(cluster: Cluster, *items: Item) -> List[ca_bundles.CaProblem]:
    """What is found, with the release data of 26.03."""
    return list(ca_bundles.look(cluster, items, Catalogue.load().release("26.03")))  # type: ignore[arg-type]


CLUSTER = (CERTIFICATE, secret(GOOD))
BUNDLES: List[Tuple[str, Item, Tuple[KubeObject, ...], str]] = [
    ("as it should be", hooks("x", GOOD, annotations=FROM), CLUSTER, ""),
    ("with one more, as while it is rotated", hooks("x", both(STALE, GOOD), annotations=FROM), CLUSTER, ""),
    ("stale", hooks("x", STALE, annotations=FROM), CLUSTER, "stale"),
    ("empty", hooks("x", "", annotations=FROM), CLUSTER, "empty"),
    ("missing", hooks("x", None, annotations=FROM), CLUSTER, "empty"),
    ("a line feed", hooks("x", "Cg==", annotations=FROM), CLUSTER, "empty"),
    ("no certificate", hooks("x", base64.b64encode(b"hello").decode(), annotations=FROM), CLUSTER, "no PEM"),
    ("the Certificate is gone", hooks("x", "", annotations=FROM), (), "not there"),
    ("the Secret has no CA", hooks("x", STALE, annotations=FROM), (CERTIFICATE, secret("")), ""),
    ("from a Secret", hooks("x", STALE, annotations={"cert-manager.io/inject-ca-from-secret": "n/s"}), (secret(GOOD),), "stale"),
    ("its controller's, and there", hooks("istio-sidecar-injector", STALE), (), ""),
    ("its controller's, and empty", hooks("istio-sidecar-injector", None), (), "its own controller"),
    ("nobody's", hooks("x", None), (), "nothing is known"),
    ("an address with a public certificate", hooks("x", None, url=True), (), ""),
]


@pytest.mark.parametrize(("one", "objects", "said"), [case[1:] for case in BUNDLES], ids=[case[0] for case in BUNDLES])
def test_ac_02_which_ca_bundle_is_reported(one: Item, objects: Tuple[KubeObject, ...], said: str) -> None:
    """Stale, empty or broken, with who should fill it; a good one is not."""
    found = problems(Cluster(*objects), one)
    assert len(found) == bool(said)
    if found:
        assert said in found[0].reason and found[0].next_step
        assert found[0].path == "webhooks[w0].clientConfig.caBundle"


def definition(versions: int, bundle: str) -> Item:
    """A CustomResourceDefinition whose conversion webhook has this caBundle."""
    conversion = {"strategy": "Webhook", "webhook": {"clientConfig": {"service": {"name": "x"}, "caBundle": bundle}}}
    spec = {"versions": [{"name": "v%d" % at} for at in range(versions)], "conversion": conversion}
    metadata = {"name": "xs.example.com", "annotations": dict(FROM), "managedFields": []}
    obj = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec}
    return Item(ref_of(obj), Wanted("katib", obj, DEPLOYMENTS), Verdict.UNCHANGED, "", obj)


def test_ac_02_a_conversion_webhook_counts_where_something_is_converted() -> None:
    """A definition with one version converts nothing, whatever it says: an empty one is no matter, a stale one will be."""
    for versions, bundle, reported in ((2, STALE, True), (2, "", True), (2, GOOD, False), (1, STALE, True), (1, "", False)):
        found = problems(Cluster(*CLUSTER), definition(versions, bundle))
        assert [one.path for one in found] == ["spec.conversion.webhook.clientConfig.caBundle"] * reported


def test_each_certificate_and_secret_is_read_once() -> None:
    """What the plan has read is not read again, and ten webhooks of one Certificate are two requests."""
    cluster = Cluster(*CLUSTER)
    problems(cluster, *[hooks("x%d" % number, STALE, annotations=FROM) for number in range(10)])
    assert cluster.asked.count(("Secret", "s")) == 1
    known = {**CERTIFICATE, "metadata": {"name": "katib-cert", "namespace": "kubeflow"}}
    cluster = Cluster(*CLUSTER)
    problems(
        cluster, Item(ref_of(known), Wanted("katib", known, DEPLOYMENTS), Verdict.UNCHANGED, "", known), hooks("x", STALE, annotations=FROM)
    )
    assert cluster.asked == [("Secret", "s")]


def test_a_configuration_is_one_line_with_all_its_webhooks() -> None:
    """Fingerprints say which is which; the certificates themselves are not shown."""
    one = hooks("x", STALE, GOOD, STALE, annotations=FROM)
    (found,) = ca_drifts(problems(Cluster(*CLUSTER), one))
    assert [field.path for field in found.fields] == ["webhooks[w0].clientConfig.caBundle", "webhooks[w2].clientConfig.caBundle"]
    assert found.what == "stale-ca" and found.fields[0].found.startswith("SHA-256 ") and "Secret kubeflow/s" in found.fields[0].wanted
    assert found.fields[0].found not in found.fields[0].wanted


# ------------------------------------------------------------------ what people read


def test_the_table_fits_a_terminal() -> None:
    """Long names, long values, many fields, and who wrote them with long names."""
    field = FieldDrift(
        "spec.template.spec.containers[manager].image", "a" * 60, "b" * 60, Writer("a-manager-with-a-rather-long-name", "Update", LATER)
    )
    small = FieldDrift("spec.replicas", "3", "1", Writer("kubectl-edit", "Update", LATER))
    ref = ObjectRef("apps", "Deployment", "kubeflow", "a-rather-long-name-as-upstream-likes-them-with-a-suffix")
    found = (
        Drift(ref, "admission_webhook", "changed", "changed by x", (field, small) * 5, LATER, "site puts it back"),
        Drift(ref, "katib", "removed", "somebody removed it", next_step="site makes it anew"),
        Drift(ref, "katib", "recreated", "made anew", (), LATER, "site puts it back"),
        Drift(ref, "katib", "stale-ca", "its caBundle is stale: it lacks the CA that answers; " + "words " * 30, (small,), LATER, "see"),
    )
    text = present_drift.drift_text(found, 674, 2)
    assert [line for line in text.splitlines() if len(line) > 80 and " " in line.strip()] == []
    assert text.splitlines()[0].startswith("674 objects, 4 not as we left them: 1 changed, 1 recreated, 1 removed")
    assert "  2026-01-02 04:00:00 kubectl-edit       spec.replicas: 3, we want 1" in text.splitlines()
    assert "and 5 more fields" in text and "Next, for 2 objects: site puts it back" in text


def test_no_drift_is_one_line() -> None:
    """Read every night."""
    assert present_drift.drift_text((), 674, 0) == "674 objects, all as we left them"
    assert "site would write 3 more" in present_drift.drift_text((), 674, 3)
