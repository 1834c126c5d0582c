# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One write: from a line of the plan to the request that carries it out."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from .api import Api, ApiError
from .data_guard import note
from .errors import EngineError
from .objects import FIELD_MANAGER, KubeObject, copied
from .planning import Item, Policy, Verdict, contested_fields, without_fields

# Tools that applied upstream's manifests before us; their ownership is taken over, everybody else's is not
# [client-go csaupgrade does the same for kubectl's].
EARLIER_TOOLS = (
    "kubectl",
    "kubectl-client-side-apply",
    "kubectl-create",
    "kubectl-last-applied",
    "before-first-apply",
    "kubernetes-core",
    "ansible",
    "OpenAPI-Generator",
    "kustomize-controller",
    "kapp",
    "helm",
    "argocd-controller",
)
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
RESTARTED_AT = "mlplatform.kubeflow/restarted-at"
TAKE_OVER_ATTEMPTS = 5


def carry_out(api: Api, item: Item, policy: Policy) -> KubeObject:
    """Write one object as planned; the object as it is afterwards.

    :raises ApiError: the server refused it; :raises EngineError: a field conflict that nobody has decided.
    """
    want = item.wanted
    if item.verdict is Verdict.RESTART:
        return _restart(api, item)
    if item.verdict is Verdict.ADOPT and item.live is not None:
        _take_over(api, item)
    if item.verdict is Verdict.REPLACE and item.live is not None:
        _make_way(api, item, item.live)
    choice = policy.conflict(item.ref)
    sent = want.obj
    if choice == "theirs" and item.contested:
        sent = without_fields(sent, [path for _manager, path in item.contested])
    force = choice == "ours" and bool(item.contested)
    try:
        written = api.apply(want.resource, sent, force=force)
    except ApiError as error:
        if not error.field_conflict:
            raise
        raise conflict(item, contested_fields(error)) from error
    return note(api, item.ref, written["metadata"]["uid"], item.data_version) if item.data_version else written


def conflict(item: Item, contested: Any) -> EngineError:
    """The error for fields that another manager owns."""
    fields = "; ".join("%s (owned by %s)" % (path, manager) for manager, path in contested[:5])
    return EngineError(
        "another manager owns fields that we want to set",
        subject=str(item.ref),
        found=fields,
        next_step="set kubeflow_conflicts to ours or theirs (also per object), or undo the other manager's change",
        component=item.component,
    )


def _restart(api: Api, item: Item) -> KubeObject:
    """Roll a workload's pods once, as kubectl rollout restart does, under a name that server-side apply leaves alone."""
    change = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: item.stamp}}}}}
    return api.patch(item.wanted.resource, item.ref.namespace, item.ref.name, change, content_type="application/merge-patch+json")


def _make_way(api: Api, item: Item, live: KubeObject) -> None:
    """Delete what cannot be changed, only if it is still the object that was planned on.

    :raises EngineError: it stays because somebody's finalizer holds it.
    """
    api.delete(item.wanted.resource, item.ref.namespace, item.ref.name, uid=live["metadata"]["uid"])
    there = api.get(item.wanted.resource, item.ref.namespace, item.ref.name)
    if there is not None and there["metadata"]["uid"] == live["metadata"]["uid"]:
        raise EngineError(
            "it is being deleted to be made anew, and is not gone yet",
            subject=str(item.ref),
            found="finalizers: %s" % (", ".join(there["metadata"].get("finalizers") or []) or "none"),
            next_step="see to it that who set the finalizer runs, then run this again",
            component=item.component,
        )


def _take_over(api: Api, item: Item) -> None:
    """Make what earlier tools own ours, so that what they set and we do not want is removed, not orphaned.

    A controller may write the object's status at any time, and then our resourceVersion is an old one: it is read again.
    """
    live = item.live
    for _attempt in range(TAKE_OVER_ATTEMPTS):
        if live is None:
            return
        try:
            _migrate(api, item, live)
            return
        except ApiError as error:
            if error.status != 409:
                raise
            live = api.get(item.wanted.resource, item.ref.namespace, item.ref.name)
    raise EngineError(
        "it changes faster than it can be taken over",
        subject=str(item.ref),
        next_step="find out who writes to it all the time, then run this again",
        component=item.component,
    )


def _migrate(api: Api, item: Item, live: KubeObject) -> None:
    """One attempt of :func:`_take_over`.

    :raises ApiError: 409 if the object is not the one that we read any more.
    """
    managed = live["metadata"].get("managedFields") or []
    earlier = [
        entry for entry in managed if entry.get("manager") in EARLIER_TOOLS and not entry.get("subresource") and entry.get("fieldsV1")
    ]
    if not earlier:
        return
    union: Dict[str, Any] = {}
    for entry in earlier:
        _merge(union, entry["fieldsV1"])
    ours = {
        "manager": FIELD_MANAGER,
        "operation": "Apply",
        "apiVersion": item.wanted.obj["apiVersion"],
        "fieldsType": "FieldsV1",
        "fieldsV1": union,
    }
    rest = [entry for entry in managed if entry not in earlier]
    patch: List[Mapping[str, Any]] = [
        # Not "test": what fails it is 422, which says as little as any other mistake; this is a conflict.
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": [*rest, ours]},
    ]
    if LAST_APPLIED in (live["metadata"].get("annotations") or {}):
        patch.append({"op": "remove", "path": "/metadata/annotations/" + LAST_APPLIED.replace("/", "~1")})
        union.get("f:metadata", {}).get("f:annotations", {}).pop("f:" + LAST_APPLIED, None)
    api.patch(item.wanted.resource, item.ref.namespace, item.ref.name, patch, content_type="application/json-patch+json")


def _merge(into: Dict[str, Any], fields: Mapping[str, Any]) -> None:
    for key, below in fields.items():
        if key in into:
            _merge(into[key], below)
        else:
            into[key] = copied(below)
