# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person should know before a hop beside what is written and deleted: stored versions that move, versions that go
although they are used, APIs that the cluster does not serve, tenants' pods that keep an older sidecar.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, Optional, Protocol, Tuple

from .api import Api, Discovery
from .errors import EngineError
from .handwritten import parse
from .objects import KubeObject, ObjectRef, get_path
from .usage import PODS, Usage, per_namespace
from .verdicts import Notice, Verdict

CRD_KIND = "CustomResourceDefinition"
INJECTOR = "istio-sidecar-injector"
PROXY = "istio-proxy"
# Istio's injection templates put it on every pod that gets a sidecar.
SIDECAR_LABEL = "security.istio.io/tlsMode"
OWN_PROXY_IMAGE = "sidecar.istio.io/proxyImage"


class Owned(Protocol):
    """An object of a render, or one that is wanted."""

    @property
    def component(self) -> str:
        """Which component it belongs to."""

    @property
    def obj(self) -> KubeObject:
        """The object itself."""


# ------------------------------------------------------------------ versions of custom resources


def storage_version(crd: KubeObject) -> str:
    """The version in which the API server stores what is written from now on."""
    return next((str(version["name"]) for version in crd["spec"]["versions"] if version.get("storage")), "")


def older_stored(before: KubeObject, wanted: KubeObject) -> Tuple[str, ...]:
    """Versions in which objects may be stored and that are not the one of the wanted definition."""
    stored = (before.get("status") or {}).get("storedVersions") or []
    storage = storage_version(wanted)
    return tuple(sorted({version for version in (*stored, storage_version(before)) if version and version != storage}))


def lost_versions(before: KubeObject, wanted: KubeObject) -> Tuple[str, ...]:
    """Versions that are served or stored now and that the wanted definition serves no more."""
    kept = {version["name"] for version in wanted["spec"]["versions"] if version.get("served")}
    known = {version["name"] for version in wanted["spec"]["versions"]}
    served = {version["name"] for version in before["spec"]["versions"] if version.get("served")}
    stored = set((before.get("status") or {}).get("storedVersions") or [])
    return tuple(sorted((served - kept) | (stored - known)))


def definition_notices(before: Mapping[ObjectRef, KubeObject], wanted: Mapping[ObjectRef, Owned], usage: Usage) -> Tuple[Notice, ...]:
    """Storage versions that move, and versions that go although something may use them.

    :param before: live definitions, or those of an older render.
    """
    found: List[Notice] = []
    for ref, want in wanted.items():
        there = before.get(ref)
        if ref.kind != CRD_KIND or there is None:
            continue
        lost = _lost(ref, want, there, usage)
        if lost is not None:
            found.append(lost)
        older = older_stored(there, want.obj)
        if older:
            text = "stored as %s from now on instead of %s: what is there is written again after the hop"
            number = usage.totals.get(ref)
            counts = {} if number is None else {"": number}
            reason = text % (storage_version(want.obj), ", ".join(older))
            found.append(Notice(ref, want.component, Verdict.STORAGE_MOVE, reason, counts))
    return tuple(found)


def _lost(ref: ObjectRef, want: Owned, before: KubeObject, usage: Usage) -> Optional[Notice]:
    """A version that nothing uses and that is only served no more is no matter; one that is missing is refused in any case."""
    lost = lost_versions(before, want.obj)
    if not lost:
        return None
    instances = usage.instances.get(ref)
    missing = set(lost) - {version["name"] for version in want.obj["spec"]["versions"]}
    if instances is not None and not instances and not missing:
        return None
    counts = per_namespace(instances) if instances is not None else {}
    reason = "the release serves %s no more" % ", ".join(lost)
    if instances is None:
        reason += "; nobody counted what uses it"
    return Notice(ref, want.component, Verdict.SERVED_REMOVED, reason, counts)


# ------------------------------------------------------------------ APIs that are not served


@dataclass(frozen=True)
class RemovedApi:
    """A built-in API version that Kubernetes serves no more: since which version, and what took its place."""

    since: str
    instead: str


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


@lru_cache(maxsize=1)
def removed_apis() -> Mapping[Tuple[str, str], RemovedApi]:
    """(apiVersion, kind) of every built-in API that Kubernetes took away, from the collection's data."""
    path = Path(__file__).resolve().parents[2] / "plugin_utils" / "kubernetes.yml"
    rows = parse(path.read_bytes())[0]["removed_apis"]
    return {(row["api"], kind): RemovedApi(row["since"], row["instead"]) for row in rows for kind in row["kinds"]}


def _removed_text(api_version: str, kind: str) -> str:
    removed = removed_apis().get((api_version, kind))
    return "" if removed is None else "Kubernetes %s took it away, use %s" % (removed.since, removed.instead)


def not_served(objects: Mapping[ObjectRef, Owned], discovery: Discovery) -> Tuple[Notice, ...]:
    """Objects whose kind the API server does not serve and that nothing among the objects brings.

    :param discovery: what is served, and what the CustomResourceDefinitions among the objects add to it.
    """
    found = []
    for ref, owned in objects.items():
        version = owned.obj["apiVersion"]
        if discovery.get(version, ref.kind) is None:
            known = _removed_text(version, ref.kind)
            reason = "the API server does not serve %s of it%s" % (version, ": " + known if known else ", and no component brings it")
            found.append(Notice(ref, owned.component, Verdict.NOT_SERVED, reason))
    return tuple(found)


def taken_away(objects: Mapping[ObjectRef, Owned], kubernetes: str) -> Tuple[Notice, ...]:
    """The same without a cluster: objects whose built-in API this version of Kubernetes ("1.34") has no more."""
    found = []
    for ref, owned in objects.items():
        version = owned.obj["apiVersion"]
        removed = removed_apis().get((version, ref.kind))
        if removed is not None and _numbers(removed.since) <= _numbers(kubernetes):
            reason = "Kubernetes %s does not serve %s of it: %s" % (kubernetes, version, _removed_text(version, ref.kind))
            found.append(Notice(ref, owned.component, Verdict.NOT_SERVED, reason))
    return tuple(found)


def unserved(ref: ObjectRef, api_version: str) -> EngineError:
    """The error for an object that cannot be written, as its API is not there."""
    known = _removed_text(api_version, ref.kind)
    return EngineError(
        "the API server does not serve %s%s" % (api_version, ": " + known if known else " and no component of this run brings it"),
        subject=str(ref),
        next_step="leave this object out, or write it in the newer version with a patch"
        if known
        else "add the component that defines this kind, or leave this one out",
    )


# ------------------------------------------------------------------ sidecars


def proxy_image(objects: Iterable[KubeObject]) -> str:
    """The image that Istio's injector of a render gives to pods from now on; "" if it cannot be told."""
    for obj in objects:
        if obj["kind"] != "ConfigMap" or obj["metadata"]["name"] != INJECTOR:
            continue
        try:
            values: Any = json.loads((obj.get("data") or {}).get("values") or "")
        except ValueError:
            return ""
        image, hub, tag, variant = (get_path(values, "global." + name) for name in ("proxy.image", "hub", "tag", "variant"))
        if image and "/" in str(image):
            return str(image)
        if image and hub and tag:
            return "%s/%s:%s%s" % (hub, image, tag, "-%s" % variant if variant else "")
    return ""


def _proxy_of(pod: KubeObject) -> str:
    """The image of a pod's sidecar; "" if it has none, if its owner chose it, or if it has ended."""
    annotations = pod["metadata"].get("annotations") or {}
    if OWN_PROXY_IMAGE in annotations or get_path(pod, "status.phase") in ("Succeeded", "Failed"):
        return ""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    return next((str(one.get("image")) for one in containers if one.get("name") == PROXY), "")


def older_sidecars(api: Api, wanted: Mapping[ObjectRef, Owned], tenants: FrozenSet[str]) -> Tuple[Notice, ...]:
    """Tenants' pods that keep another sidecar than new pods will get, until somebody restarts them: one LIST."""
    injectors = {ref: want for ref, want in wanted.items() if ref.kind == "ConfigMap" and ref.name == INJECTOR}
    image = proxy_image(want.obj for want in injectors.values())
    if not image or not tenants:
        return ()
    older: Dict[str, List[ObjectRef]] = {}
    for pod in api.list(PODS, selector=SIDECAR_LABEL)[0]:
        metadata = pod["metadata"]
        has = _proxy_of(pod)
        if has and has != image and metadata["namespace"] in tenants:
            older.setdefault(has, []).append(ObjectRef("", "Pod", metadata["namespace"], metadata["name"]))
    ref, want = next(iter(injectors.items()))
    text = "tenants' pods keep the sidecar %s until they are restarted; new ones get %s"
    return tuple(
        Notice(ref, want.component, Verdict.OLD_SIDECAR, text % (has, image), per_namespace(pods)) for has, pods in sorted(older.items())
    )
