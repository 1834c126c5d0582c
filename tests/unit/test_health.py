# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we add to kstatus, and what a release's rules may do."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine import health
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import MissingLibrary
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.health import (
    HealthContext,
    State,
    Verdict,
    binding_modes,
    failed_grace,
    judge,
    kstatus,
    missing,
    ready_services,
)
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.health_rules import ADDITIONS as ADDITIONS_BY_KIND

from .generated import examples

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=timezone.utc)
RELEASES = sorted((Path(__file__).parents[2] / "plugins" / "plugin_utils" / "releases").glob("*.yml"))


@dataclass(frozen=True)
class Rule:
    """A rule as release data gives it."""

    current: str = ""
    failed: str = ""
    message: str = ""


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def obj(kind_group: str, *, spec: Any = None, status: Any = None, **metadata: Any) -> Dict[str, Any]:
    """An object of ``Kind.group`` at generation 1."""
    kind, _dot, group = kind_group.partition(".")
    found: Dict[str, Any] = {"apiVersion": "%s/v1" % group if group else "v1", "kind": kind}
    found["metadata"] = {"name": "x", "namespace": "kubeflow", "generation": 1, **metadata}
    for name, value in (("spec", spec), ("status", status)):
        if value is not None:
            found[name] = value
    return found


def conditions(*listed: Tuple[str, ...], **status: Any) -> Dict[str, Any]:
    """A status with conditions (type, status, reason, message)."""
    names = ("type", "status", "reason", "message")
    return {"conditions": [dict(zip(names, one)) for one in listed], **status}


def verdict_on(
    found: Dict[str, Any], rules: Optional[Dict[str, Rule]] = None, *, generation: Optional[int] = None, **context: Any
) -> Verdict:
    return judge(found, rules or {}, generation=generation, context=HealthContext(now=NOW, **context))


def der(length: int = 300) -> bytes:
    """One whole DER sequence of this length inside."""
    return b"\x30\x82" + length.to_bytes(2, "big") + bytes(length)


def bundle(*ders: bytes) -> str:
    """A caBundle of these certificates."""
    pem = "".join("-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n" % base64.encodebytes(one).decode() for one in ders)
    return base64.b64encode(pem.encode()).decode()


# --- where kstatus is wrong or blind -------------------------------------------------------------------------------

HPA = "HorizontalPodAutoscaler.autoscaling"
API_SERVICE = "APIService.apiregistration.k8s.io"
CERTIFICATE = "Certificate.cert-manager.io"
CLAIM = "PersistentVolumeClaim"
STATEFUL = "StatefulSet.apps"
DAEMONS = "DaemonSet.apps"
READY_STATEFUL = {
    "observedGeneration": 1,
    "replicas": 2,
    "readyReplicas": 2,
    "updateRevision": "b",
    "currentRevision": "a",
}
DAEMON = {
    "observedGeneration": 1,
    "desiredNumberScheduled": 3,
    "currentNumberScheduled": 3,
    "updatedNumberScheduled": 0,
    "numberAvailable": 3,
    "numberReady": 3,
}
BEHIND = {"observedGeneration": 1, "replicas": 0}

ADDITIONS: List[Tuple[str, Dict[str, Any], Dict[str, Any], State, str]] = [
    # what it is, object, context, state, a word of the reason or message
    ("job runs", obj("Job.batch", status={"startTime": ago(5), "active": 1}), {}, State.IN_PROGRESS, "1 pods running"),
    ("job done", obj("Job.batch", status=conditions(("Complete", "True"), startTime=ago(5))), {}, State.CURRENT, "complete"),
    (
        "job failed",
        obj("Job.batch", status=conditions(("Failed", "True", "BackoffLimitExceeded", "too often"), startTime=ago(5))),
        {},
        State.FAILED,
        "BackoffLimitExceeded: too often",
    ),
    ("job suspended", obj("Job.batch", spec={"suspend": True}, status=conditions(("Suspended", "True"))), {}, State.CURRENT, "suspended"),
    ("deployment paused", obj("Deployment.apps", spec={"paused": True}, status=BEHIND), {}, State.CURRENT, "Paused"),
    (
        "deployment forbidden",
        obj("Deployment.apps", status=conditions(("ReplicaFailure", "True", "FailedCreate", "exceeded quota"), **BEHIND)),
        {},
        State.IN_PROGRESS,
        "0 of 1 replicas created: exceeded quota",
    ),
    (
        "deployment scaled to zero",
        obj("Deployment.apps", spec={"replicas": 0}, status=conditions(("Available", "True"), observedGeneration=1)),
        {},
        State.CURRENT,
        "0 of 0",
    ),
    (
        "stateful set on delete",
        obj(STATEFUL, spec={"replicas": 2, "updateStrategy": {"type": "OnDelete"}}, status=READY_STATEFUL),
        {},
        State.CURRENT,
        "OnDelete",
    ),
    (
        "stateful set on delete, not ready",
        obj(STATEFUL, spec={"replicas": 3, "updateStrategy": {"type": "OnDelete"}}, status=READY_STATEFUL),
        {},
        State.IN_PROGRESS,
        "2 of 3 replicas created",
    ),
    ("daemon set on delete", obj(DAEMONS, spec={"updateStrategy": {"type": "OnDelete"}}, status=DAEMON), {}, State.CURRENT, "3 of 3 nodes"),
    ("daemon set rolling", obj(DAEMONS, status=DAEMON), {}, State.IN_PROGRESS, "LessUpdated"),
    ("pod failed", obj("Pod", status={"phase": "Failed", "reason": "Evicted"}), {}, State.FAILED, "Evicted"),
    (
        "pod without a node for an hour",
        obj(
            "Pod",
            creationTimestamp=ago(3600),
            status=conditions(("PodScheduled", "False", "Unschedulable", "0/3 nodes"), phase="Pending"),
        ),
        {},
        State.IN_PROGRESS,
        "Unschedulable: 0/3 nodes",
    ),
    (
        "claim for its first consumer",
        obj(CLAIM, spec={"storageClassName": "local"}, status={"phase": "Pending"}),
        {"binding_modes": {"local": "WaitForFirstConsumer"}},
        State.CURRENT,
        "WaitForFirstConsumer",
    ),
    (
        "claim pending",
        obj(CLAIM, spec={"storageClassName": "nfs"}, status={"phase": "Pending"}),
        {"binding_modes": {"nfs": "Immediate"}},
        State.IN_PROGRESS,
        "NotBound",
    ),
    (
        "claim of an unknown class",
        obj(CLAIM, spec={"storageClassName": "gone"}, status={"phase": "Pending"}),
        {"binding_modes": {"nfs": "Immediate"}},
        State.IN_PROGRESS,
        "no StorageClass gone",
    ),
    (
        "claim, nobody looked at classes",
        obj(CLAIM, spec={"storageClassName": "any"}, status={"phase": "Pending"}),
        {},
        State.IN_PROGRESS,
        "phase Pending",
    ),
    ("claim without class", obj(CLAIM, spec={}, status={"phase": "Pending"}), {}, State.IN_PROGRESS, "no default one"),
    ("claim lost", obj(CLAIM, spec={"volumeName": "pv-1"}, status={"phase": "Lost"}), {}, State.FAILED, "pv-1"),
    (
        "autoscaler scales",
        obj(HPA, status=conditions(("ScalingActive", "True", "ValidMetricFound"))),
        {"metrics_optional": False},
        State.CURRENT,
        "",
    ),
    (
        "autoscaler of a target at zero",
        obj(HPA, status=conditions(("ScalingActive", "False", "ScalingDisabled"))),
        {"metrics_optional": False},
        State.CURRENT,
        "ScalingDisabled",
    ),
    (
        "autoscaler without metrics, optional",
        obj(
            "HorizontalPodAutoscaler.autoscaling",
            status=conditions(("ScalingActive", "False", "FailedGetResourceMetric")),
        ),
        {},
        State.CURRENT,
        "NoMetrics",
    ),
    (
        "autoscaler without metrics, wanted",
        obj(
            "HorizontalPodAutoscaler.autoscaling",
            status=conditions(("ScalingActive", "False", "FailedGetResourceMetric")),
        ),
        {"metrics_optional": False},
        State.IN_PROGRESS,
        "FailedGetResourceMetric",
    ),
    (
        "autoscaler without target",
        obj(HPA, status=conditions(("AbleToScale", "False", "FailedGetScale", "no x"))),
        {},
        State.FAILED,
        "no x",
    ),
    ("API service, new", obj(API_SERVICE), {}, State.IN_PROGRESS, "NotObserved"),
    (
        "API service down",
        obj(API_SERVICE, status=conditions(("Available", "False", "MissingEndpoints", "none"))),
        {},
        State.IN_PROGRESS,
        "MissingEndpoints",
    ),
    ("API service up", obj(API_SERVICE, status=conditions(("Available", "True"))), {}, State.CURRENT, "available"),
    ("issuer, new", obj("ClusterIssuer.cert-manager.io"), {}, State.IN_PROGRESS, "NoStatus"),
    ("certificate, new", obj(CERTIFICATE, status={}), {}, State.IN_PROGRESS, "NoStatus"),
    (
        "certificate being renewed",
        obj(CERTIFICATE, status=conditions(("Ready", "True"), ("Issuing", "True", "Renewing", "soon"))),
        {},
        State.IN_PROGRESS,
        "soon",
    ),
    (
        "certificate refused",
        obj(
            "Certificate.cert-manager.io",
            status=conditions(("Ready", "False", "DoesNotExist"), ("Issuing", "False", "Failed", "no such issuer")),
        ),
        {},
        State.IN_PROGRESS,
        "no such issuer",
    ),
    ("certificate", obj(CERTIFICATE, status=conditions(("Ready", "True"))), {}, State.CURRENT, "ready"),
    ("profile, no namespace", obj("Profile.kubeflow.org"), {"active_namespaces": frozenset()}, State.IN_PROGRESS, "Namespace x"),
    ("profile, namespace there", obj("Profile.kubeflow.org"), {"active_namespaces": frozenset("x")}, State.CURRENT, ""),
    (
        "a kind that nobody reports on",
        obj("Certificate.networking.internal.knative.dev", status=conditions(("Ready", "False"))),
        {},
        State.CURRENT,
        "nothing to wait for",
    ),
    ("no status by default", obj("VirtualService.networking.istio.io"), {}, State.CURRENT, "exists"),
]


@pytest.mark.parametrize("what, found, context, state, word", ADDITIONS, ids=[row[0] for row in ADDITIONS])
def test_additions(what: str, found: Dict[str, Any], context: Dict[str, Any], state: State, word: str) -> None:
    """Where kstatus alone would say "well" too early, "failed" too soon, or nothing useful."""
    verdict = verdict_on(found, **context)
    assert verdict.state is state, verdict
    assert word in "%s %s" % (verdict.reason, verdict.message)
    assert verdict.message


@pytest.mark.parametrize(
    "found, generation, state, reason",
    [
        (obj("ConfigMap", generation=2), 3, State.IN_PROGRESS, "OlderGeneration"),
        (obj("ConfigMap", generation=3), 3, State.CURRENT, ""),
        (obj("ConfigMap", generation=4), 3, State.CURRENT, ""),
        (obj("ConfigMap", generation=None), 3, State.UNKNOWN, "Malformed"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}, 3, State.CURRENT, ""),
        (obj("ConfigMap", generation=2, deletionTimestamp=ago(1)), 3, State.TERMINATING, ""),
        (
            obj("Deployment.apps", spec={"paused": True}, status={"observedGeneration": 0}),
            1,
            State.IN_PROGRESS,
            "Latest",
        ),
    ],
)
def test_a_verdict_counts_only_for_what_we_wrote(found: Dict[str, Any], generation: int, state: State, reason: str) -> None:
    """A read, or a status, from before our write must not close a phase."""
    verdict = verdict_on(found, generation=generation)
    assert verdict.state is state
    assert verdict.reason.startswith(reason)


def test_a_condition_about_an_older_generation_does_not_count() -> None:
    """cert-manager notes the generation in the condition only."""
    issuer = obj("Issuer.cert-manager.io", generation=2, status=conditions(("Ready", "True")))
    issuer["status"]["conditions"][0]["observedGeneration"] = 1
    assert verdict_on(issuer).reason == "LatestGenerationNotObserved"
    issuer["status"]["conditions"][0]["observedGeneration"] = 2
    assert verdict_on(issuer).state is State.CURRENT


def test_unreadable_objects_are_unknown() -> None:
    """One broken object must not stop the wait for all others."""
    assert verdict_on(obj(CERTIFICATE, status="ready")).state is State.UNKNOWN


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "True", "Ready", "Running", "Failed"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["conditions", "type", "status", "phase", "state", "containerStatuses"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=examples(30), derandomize=True, deadline=None, database=None)
@given(st.sampled_from(sorted(ADDITIONS_BY_KIND)), anything)
def test_no_status_breaks_it(kind: str, status: object) -> None:
    """A controller may write anything into a status."""
    assert isinstance(verdict_on(obj(kind, status=status)), Verdict)


# --- webhooks (AC-02: a stale or empty caBundle is reported as such) -----------------------------------------------

SERVICE = {"namespace": "kubeflow", "name": "hook", "port": 443}
UP = frozenset({"kubeflow/hook"})


def webhook(ca: Optional[str], *, by_url: bool = False) -> Dict[str, Any]:
    config: Dict[str, Any] = {"service": SERVICE} if not by_url else {"url": "https://hooks.example.org/"}
    return {"name": "hook.kubeflow.org", "clientConfig": {**config, **({} if ca is None else {"caBundle": ca})}}


HOOKS: List[Tuple[str, List[Dict[str, Any]], Any, State, str]] = [
    ("well", [webhook(bundle(der(), der(20)))], UP, State.CURRENT, "1 webhook can answer"),
    (
        "no endpoint",
        [webhook(bundle(der()))],
        frozenset(),
        State.IN_PROGRESS,
        "Service kubeflow/hook has no ready endpoint",
    ),
    ("the endpoint is the first cause", [webhook("")], frozenset(), State.IN_PROGRESS, "no ready endpoint"),
    ("no bundle", [webhook(None)], UP, State.IN_PROGRESS, "caBundle is empty (answered by Service kubeflow/hook)"),
    ("place holder", [webhook("Cg==")], UP, State.IN_PROGRESS, "caBundle is empty"),
    ("not base64", [webhook("%%%")], UP, State.IN_PROGRESS, "not base64"),
    ("not text", [webhook(base64.b64encode(der()).decode())], UP, State.IN_PROGRESS, "caBundle"),
    ("no certificate", [webhook(base64.b64encode(b"hello").decode())], UP, State.IN_PROGRESS, "no PEM certificate"),
    ("cut off", [webhook(bundle(der()[:-1]))], UP, State.IN_PROGRESS, "not a whole certificate"),
    ("too long", [webhook(bundle(der() + b"x"))], UP, State.IN_PROGRESS, "not a whole certificate"),
    ("one of two", [webhook(bundle(der())), webhook("")], UP, State.IN_PROGRESS, "caBundle is empty"),
    ("by url with public trust", [webhook(None, by_url=True)], frozenset(), State.CURRENT, "can answer"),
    ("by url with a bad bundle", [webhook("Cg==", by_url=True)], frozenset(), State.IN_PROGRESS, "hooks.example.org"),
    ("none left", [], UP, State.CURRENT, "0 webhooks"),
]


@pytest.mark.parametrize("kind", ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"])
@pytest.mark.parametrize("what, hooks, endpoints, state, words", HOOKS, ids=[row[0] for row in HOOKS])
def test_webhook_configurations(kind: str, what: str, hooks: List[Dict[str, Any]], endpoints: Any, state: State, words: str) -> None:
    """They have no status; what the API server needs in order to call them is all that can be judged."""
    configuration = {**obj(kind + ".admissionregistration.k8s.io"), "webhooks": hooks}
    verdict = verdict_on(configuration, ready_endpoints=endpoints)
    assert verdict.state is state
    assert words in verdict.message


@pytest.mark.parametrize(
    "versions, endpoints, established, state",
    [
        (2, UP, "True", State.CURRENT),
        (2, frozenset(), "True", State.IN_PROGRESS),
        (1, frozenset(), "True", State.CURRENT),
        (2, UP, "False", State.IN_PROGRESS),
    ],
)
def test_a_definition_needs_its_conversion_webhook(versions: int, endpoints: Any, established: str, state: State) -> None:
    """Established says nothing about reading its objects; a gate that only needs the kind asks kstatus."""
    found = obj(
        "CustomResourceDefinition.apiextensions.k8s.io",
        spec={
            "versions": [{"name": "v%d" % number} for number in range(versions)],
            "conversion": {"strategy": "Webhook", "webhook": {"clientConfig": webhook(bundle(der()))["clientConfig"]}},
        },
        status=conditions(("Established", established, "Installing")),
    )
    assert verdict_on(found, ready_endpoints=endpoints).state is state
    assert (kstatus(found, NOW).state is State.CURRENT) == (established == "True")


def test_the_context_is_read_from_lists() -> None:
    """Endpoints that do not say whether they are ready are (API reference)."""

    def piece(service: str, *ready: Optional[bool]) -> Dict[str, Any]:
        return {
            "metadata": {"namespace": "kubeflow", "labels": {"kubernetes.io/service-name": service}},
            "endpoints": [{"conditions": {} if one is None else {"ready": one}} for one in ready],
        }

    slices = [
        piece("down", False),
        piece("mixed", False, True),
        piece("silent", None),
        piece("empty"),
        {"metadata": {}},
    ]
    assert ready_services([*slices, {**piece("null"), "endpoints": None}]) == {"kubeflow/mixed", "kubeflow/silent"}
    classes: List[Dict[str, Any]] = [{"metadata": {"name": "a"}, "volumeBindingMode": "WaitForFirstConsumer"}, {"metadata": {"name": "b"}}]
    assert binding_modes(classes) == {"a": "WaitForFirstConsumer", "b": "Immediate"}


# --- the release's rules -------------------------------------------------------------------------------------------

READY = "status.conditions[?type=='Succeeded'].status | [0]"


@pytest.mark.parametrize(
    "rule, status, state, message",
    [
        (Rule(READY + " == 'True'"), conditions(("Succeeded", "True")), State.CURRENT, ""),
        (Rule(READY + " == 'True'"), None, State.IN_PROGRESS, "not yet: " + READY),
        (Rule("status.ok", message="status.why"), {"why": "two to go"}, State.IN_PROGRESS, "two to go"),
        (Rule("status.ok", message="status.why"), {"ok": True, "why": 3}, State.CURRENT, ""),
        (Rule("status.ok", failed="status.lost"), {"ok": True, "lost": True}, State.FAILED, "status.lost"),
        (Rule(failed="status.lost"), {"lost": False}, State.CURRENT, "exists"),
        (Rule("status.items"), {"items": []}, State.IN_PROGRESS, "status.items"),
        (Rule(READY), conditions(("Succeeded", "False")), State.UNKNOWN, "yields a str, not true or false"),
        (Rule("status.count"), {"count": 0}, State.UNKNOWN, "yields a int"),
        (Rule("status.["), None, State.UNKNOWN, "expression status.[: "),
        (Rule("contains(status.x, 'y')"), None, State.UNKNOWN, "expression contains(status.x, 'y'): "),
        (Rule("`true`", message="nothing("), None, State.UNKNOWN, "expression nothing("),
    ],
)
def test_rules_of_a_release(rule: Rule, status: Any, state: State, message: str) -> None:
    """Data decides for kinds that we have no code for; a wrong expression is named, never guessed at."""
    verdict = verdict_on(obj("Experiment.kubeflow.org", status=status), {"Experiment.kubeflow.org": rule})
    assert verdict.state is state
    assert message in verdict.message
    assert "\n" not in verdict.message


def test_rules_are_for_their_own_group_only() -> None:
    """Knative's Service is not Kubernetes' Service."""
    rules = {"Service.serving.knative.dev": Rule("`false`")}
    assert verdict_on(obj("Service"), rules).state is State.CURRENT
    assert verdict_on(obj("Service.serving.knative.dev"), rules).state is State.IN_PROGRESS


def test_an_expression_is_compiled_once() -> None:
    """A status run judges 600 objects."""
    rules = {"Experiment.kubeflow.org": Rule("status.only_in_this_test")}
    before = health._compiled.cache_info().misses
    for _turn in range(5):
        verdict_on(obj("Experiment.kubeflow.org"), rules)
    assert health._compiled.cache_info().misses == before + 1


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where a rule has to be evaluated; everything else works without it."""
    monkeypatch.setattr(health, "HAS_JMESPATH", False)
    assert verdict_on(obj("ConfigMap")).state is State.CURRENT
    with pytest.raises(MissingLibrary, match="jmespath"):
        verdict_on(obj("Experiment.kubeflow.org"), {"Experiment.kubeflow.org": Rule("status.never_compiled_before")})


@pytest.mark.parametrize("path", RELEASES, ids=[path.stem for path in RELEASES])
@pytest.mark.parametrize("status", [None, {}, {"conditions": []}], ids=["no status", "empty status", "no conditions"])
def test_every_rule_of_a_release_copes_with_a_young_object(path: Path, status: Any) -> None:
    """An object without status is what every rule sees first; UNKNOWN there is a mistake in the data."""
    rules = {kind: Rule(**rule) for kind, rule in (yaml.load(path.read_text(), yaml.CSafeLoader).get("health") or {}).items()}
    verdicts = {kind: verdict_on(obj(kind, status=status), rules) for kind in rules}
    assert {kind: found for kind, found in verdicts.items() if found.state is State.UNKNOWN} == {}


# --- the end of waiting --------------------------------------------------------------------------------------------


def test_a_job_that_removed_itself_has_ended() -> None:
    """With ttlSecondsAfterFinished the Job may be gone before we look."""
    assert missing(obj("Job.batch", spec={"ttlSecondsAfterFinished": 0})).state is State.CURRENT
    assert missing(obj("Job.batch", spec={})).state is State.NOT_FOUND
    assert missing(obj("Deployment.apps")).state is State.NOT_FOUND


def test_failures_that_pass_are_given_time() -> None:
    """A deadline is missed while a big image is pulled; a Job that failed has failed."""
    assert failed_grace(Verdict(State.FAILED, "JobFailed", "")) == 0
    assert failed_grace(Verdict(State.FAILED, "ProgressDeadlineExceeded", "")) == 60
