# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kstatus gets wrong or cannot see, a row per kind, and the facts about a cluster that these rows need.

Sources are named where a rule does not follow from the API's own reference.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Callable, Dict, FrozenSet, Mapping, Optional, Sequence

from . import kstatus as ks
from .evidence import Cause, pod_evidence
from .kstatus import Condition, State, Verdict, current, failed, in_progress, text
from .objects import KubeObject, get_path


@dataclass(frozen=True)
class HealthContext:
    """What judging needs to know of the cluster beside the object.

    :param now: the present, with its time zone.
    :param binding_modes: StorageClass name -> volumeBindingMode; None if nobody looked.
    :param ready_endpoints: ``namespace/name`` of every Service with at least one ready endpoint.
    :param metrics_optional: an autoscaler without metrics is no reason to wait (no metrics server on many edge sites).
    :param active_namespaces: names of the Namespaces in phase Active; None if nobody looked.
    """

    now: datetime
    binding_modes: Optional[Mapping[str, str]] = None
    ready_endpoints: FrozenSet[str] = frozenset()
    metrics_optional: bool = True
    active_namespaces: Optional[FrozenSet[str]] = None


def ready_services(slices: Sequence[KubeObject]) -> FrozenSet[str]:
    """``namespace/name`` of the Services that have a ready endpoint, from all EndpointSlices.

    An endpoint that does not say whether it is ready is (API reference of discovery.k8s.io/v1).
    """
    found = set()
    for piece in slices:
        service = (get_path(piece, "metadata.labels") or {}).get("kubernetes.io/service-name")
        ready = any(get_path(item, "conditions.ready") is not False for item in piece.get("endpoints") or [])
        if service and ready:
            found.add("%s/%s" % (text(piece, "metadata.namespace"), service))
    return frozenset(found)


def binding_modes(classes: Sequence[KubeObject]) -> Dict[str, str]:
    """StorageClass name -> volumeBindingMode, for :class:`HealthContext`."""
    return {text(item, "metadata.name"): text(item, "volumeBindingMode", "Immediate") for item in classes}


# --- additions: Kubernetes' own kinds ------------------------------------------------------------------------------
# Each returns None where it has nothing to add to the release's rules and kstatus.


def by_type(obj: KubeObject) -> Dict[str, Condition]:
    return {condition.type: condition for condition in ks.conditions_of(obj)}


def _why(condition: Optional[Condition], otherwise: str) -> str:
    """What a condition says, as a sentence."""
    return (condition.message or condition.reason if condition else "") or otherwise


def _deployment(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """Paused ones never finish (Argo CD and Helm skip them too). Pods that cannot be created name the cause."""
    if get_path(obj, "spec.paused") is True:
        return current("paused, so nothing is rolled out", "Paused")
    verdict = ks.deployment(obj, context.now)
    refused = by_type(obj).get("ReplicaFailure")
    if verdict.state is State.IN_PROGRESS and refused and refused.status == "True":
        return in_progress("ReplicaFailure", "%s: %s" % (verdict.message, _why(refused, "its pods cannot be created")))
    return None


def _stateful_set(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """OnDelete decides which pods are replaced, not whether they have to be ready."""
    if text(obj, "spec.updateStrategy.type") != "OnDelete":
        return None
    return ks.stateful_replicas(obj) or current("ready; its pods are replaced when somebody deletes them", "OnDelete")


def _daemon_set(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """OnDelete: old pods are right until somebody deletes them."""
    if text(obj, "spec.updateStrategy.type") != "OnDelete":
        return None
    return ks.daemon_set(obj, context.now, updated=False)


def _job(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """A running Job is not done (kstatus: Current as soon as it has started)."""
    conditions = by_type(obj)
    if any(conditions[name].status == "True" for name in ("Complete", "Failed", "Suspended") if name in conditions):
        return None
    verdict = ks.job(obj, context.now)
    return in_progress("JobRunning", verdict.message) if verdict.state is State.CURRENT else verdict


def _pod(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """A failed pod has failed; init containers count; no node is a reason to wait (an autoscaler may bring one)."""
    found = pod_evidence([obj], now=context.now)
    if not found:
        return None
    first = found[0]
    verdict = failed if first.fatal or first.cause is Cause.ENDED else in_progress
    return verdict(first.reason, first.story)


def _claim(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """Waiting for its first consumer is right: the workload that uses it is waited for, and says what is missing."""
    phase = text(obj, "status.phase")
    if phase == "Lost":
        return failed("Lost", "its volume %s is gone" % text(obj, "spec.volumeName"))
    if phase == "Bound":
        return None
    name = get_path(obj, "spec.storageClassName")
    if name is None:
        return in_progress("NoStorageClass", "not bound: it names no StorageClass and the cluster has no default one")
    modes = context.binding_modes
    if modes is not None and modes.get(name) == "WaitForFirstConsumer":
        return current("bound when the first pod uses it", "WaitForFirstConsumer")
    if modes is not None and name and name not in modes:
        return in_progress("NotBound", "not bound: there is no StorageClass %s" % name)
    return None


def _autoscaler(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """Without metrics it does not scale, but what it scales runs, and is judged for itself."""
    conditions = by_type(obj)
    able, active = conditions.get("AbleToScale"), conditions.get("ScalingActive")
    if able and able.status == "False" and able.reason == "FailedGetScale":
        return failed(able.reason, _why(able, "its scale target cannot be read"))
    if active and active.status == "True":
        return current(_why(active, "scales"))
    if active and active.reason == "ScalingDisabled":
        return current("its target has no replicas, so it does not scale", active.reason)
    said = _why(active, "its controller has not looked at it yet")
    if context.metrics_optional:
        return current("does not scale: %s" % said, "NoMetrics")
    return in_progress(active.reason if active else "NoMetrics", said)


# --- additions: what the API server calls --------------------------------------------------------------------------

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


def _is_der(der: bytes) -> bool:
    """Whether these bytes are one whole DER sequence, as every certificate is (ITU-T X.690, 8.1.3)."""
    if len(der) < 2 or der[0] != 0x30:
        return False
    if der[1] < 0x80:
        return len(der) == 2 + der[1]
    size = der[1] & 0x7F
    return len(der) == 2 + size + int.from_bytes(der[2 : 2 + size], "big")


def ca_problem(bundle: object) -> str:
    """What is wrong with a ``caBundle`` (base64 of PEM certificates), "" if nothing; only its form is looked at."""
    try:
        pem = base64.b64decode(str(bundle or ""), validate=True).decode()
        if not pem.strip():  # upstream's place holders are "" and "Cg==", a line feed
            return "its caBundle is empty"
        bodies = _CERTIFICATE.findall(pem)
        complete = all(_is_der(base64.b64decode("".join(body.split()), validate=True)) for body in bodies)
    except (binascii.Error, UnicodeDecodeError):
        return "its caBundle is not base64 of PEM certificates"
    if not bodies:
        return "its caBundle holds no PEM certificate"
    return "" if complete else "its caBundle holds something that is not a whole certificate"


def _backend(config: Mapping[str, Any], what: str, context: HealthContext) -> Optional[Verdict]:
    """What keeps a webhook from answering, None if nothing is known to.

    The endpoint comes first: most certificates are written by the controller behind it.

    :param config: a ``clientConfig`` of the API: service or url, and caBundle (a url may do without one).
    """
    service: Mapping[str, Any] = config.get("service") or {}
    name = "%s/%s" % (service.get("namespace"), service.get("name"))
    if service and name not in context.ready_endpoints:
        return in_progress("NoReadyEndpoint", "%s: Service %s has no ready endpoint" % (what, name))
    if not service and not config.get("caBundle"):
        return None
    problem = ca_problem(config.get("caBundle"))
    behind = "Service %s" % name if service else str(config.get("url"))
    return in_progress("NoCABundle", "%s: %s (answered by %s)" % (what, problem, behind)) if problem else None


def _webhooks(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """Ready once each of its webhooks can answer. Only a probe proves that it does."""
    hooks = obj.get("webhooks") or []
    for hook in hooks:
        trouble = _backend(hook.get("clientConfig") or {}, "webhook %s" % hook.get("name"), context)
        if trouble:
            return trouble
    return current("%d webhook%s can answer" % (len(hooks), "" if len(hooks) == 1 else "s"))


def _crd(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """Established says nothing about the conversion webhook, without which its objects cannot be read.

    With a single version nothing is ever converted: JobSet names a webhook, and nobody ever fills its caBundle.
    """
    verdict = ks.crd(obj, context.now)
    several = len(get_path(obj, "spec.versions") or []) > 1
    if verdict.state is not State.CURRENT or not several or get_path(obj, "spec.conversion.strategy") != "Webhook":
        return verdict
    config = get_path(obj, "spec.conversion.webhook.clientConfig") or {}
    return _backend(config, "conversion webhook", context) or verdict


def _api_service(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """An APIService has Available, where kstatus looks for Ready."""
    available = by_type(obj).get("Available")
    if available and available.status == "True":
        return current("available")
    reason = available.reason if available else "NotObserved"
    return in_progress(reason, _why(available, "its availability has not been checked yet"))


# --- additions: custom resources -----------------------------------------------------------------------------------
# Only what JMESPath over the object cannot say, or what every release needs. The rest is in the releases' rules.


def _issued(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """cert-manager: no status yet is not Current; a certificate being issued is not ready though the old one is."""
    conditions = by_type(obj)
    issuing, ready = conditions.get("Issuing"), conditions.get("Ready")
    if issuing and issuing.status == "True":
        return in_progress(issuing.reason or "Issuing", "being issued: %s" % _why(issuing, "no details"))
    if not ready:
        return in_progress("NoStatus", "cert-manager has not looked at it yet")
    if ready.status != "True" and issuing and issuing.reason == "Failed":
        return in_progress("Failed", "issuing failed, to be tried again: %s" % _why(issuing, "no details"))
    return None


def _profile(obj: KubeObject, context: HealthContext) -> Optional[Verdict]:
    """Kubeflow's Profile is its Namespace; what its own status tells is in the release's rules."""
    name = text(obj, "metadata.name")
    if context.active_namespaces is None or name in context.active_namespaces:
        return None
    refused = by_type(obj).get("Failed")
    if refused and refused.status != "False":
        return None
    return in_progress("NoNamespace", "its Namespace %s is not there or not active" % name)


Addition = Callable[[KubeObject, HealthContext], Optional[Verdict]]

ADDITIONS: Mapping[str, Addition] = {
    "Deployment.apps": _deployment,
    "StatefulSet.apps": _stateful_set,
    "DaemonSet.apps": _daemon_set,
    "Job.batch": _job,
    "Pod": _pod,
    "PersistentVolumeClaim": _claim,
    "HorizontalPodAutoscaler.autoscaling": _autoscaler,
    "MutatingWebhookConfiguration.admissionregistration.k8s.io": _webhooks,
    "ValidatingWebhookConfiguration.admissionregistration.k8s.io": _webhooks,
    "CustomResourceDefinition.apiextensions.k8s.io": _crd,
    "APIService.apiregistration.k8s.io": _api_service,
    "Certificate.cert-manager.io": _issued,
    "CertificateRequest.cert-manager.io": _issued,
    "Issuer.cert-manager.io": _issued,
    "ClusterIssuer.cert-manager.io": _issued,
    "Profile.kubeflow.org": _profile,
}

# Nobody writes a status of these unless an option is on that the releases leave off: there is nothing to wait for.
EXISTENCE_IS_ENOUGH: FrozenSet[str] = frozenset(
    (
        "Certificate.networking.internal.knative.dev",
        "Image.caching.internal.knative.dev",
        "Gateway.networking.istio.io",
        "VirtualService.networking.istio.io",
        "DestinationRule.networking.istio.io",
        "ServiceEntry.networking.istio.io",
        "Sidecar.networking.istio.io",
        "EnvoyFilter.networking.istio.io",
        "AuthorizationPolicy.security.istio.io",
        "PeerAuthentication.security.istio.io",
        "RequestAuthentication.security.istio.io",
        "Telemetry.telemetry.istio.io",
        "PodDefault.kubeflow.org",
        "ClusterServingRuntime.serving.kserve.io",
        "ServingRuntime.serving.kserve.io",
        "DecoratorController.metacontroller.k8s.io",
        "CompositeController.metacontroller.k8s.io",
    )
)
