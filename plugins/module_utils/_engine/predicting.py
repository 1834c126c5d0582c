# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an apply would make of a definition that nobody but us writes: told without asking the server.

A dry run of a CustomResourceDefinition costs the server thirty times one of any other object (measured with the hop
v1.10.2 to v1.11.0: 26 of 142 dry runs took 1.5 of 2.4 s), and its outcome holds no surprise: there is no admission
webhook for it, and the server fills in only the few defaults below. A test compares this with the server's own dry runs.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

from .forms import own_entry
from .objects import FIELD_MANAGER, KubeObject

KIND = ("apiextensions.k8s.io", "CustomResourceDefinition")


def predicted(live: KubeObject, wanted: KubeObject) -> Optional[KubeObject]:
    """The definition as it would be after we applied it; None where only the server can tell.

    :param live: as it is, with its managedFields; :param wanted: what is sent.
    """
    if own_entry(live) is None or not _ours_alone(live):
        return None
    metadata = dict(live["metadata"])
    for key in ("labels", "annotations"):
        metadata.pop(key, None)
        given = wanted["metadata"].get(key)
        if given:
            metadata[key] = dict(given)
    return {**live, "metadata": metadata, "spec": _with_defaults(wanted["spec"])}


def _ours_alone(live: KubeObject) -> bool:
    """Whether nobody else set a field outside of the status."""
    entries = live["metadata"].get("managedFields") or []
    return all(entry.get("manager") == FIELD_MANAGER or entry.get("subresource") == "status" for entry in entries)


def _with_defaults(spec: Mapping[str, Any]) -> Dict[str, Any]:
    """What the server fills in [Kubernetes, apiextensions.k8s.io/v1, defaults of CustomResourceDefinitionSpec]."""
    names = dict(spec["names"])
    names.setdefault("singular", str(names["kind"]).lower())
    names.setdefault("listKind", str(names["kind"]) + "List")
    filled = {**spec, "names": names, "conversion": dict(spec.get("conversion") or {"strategy": "None"})}
    webhook = filled["conversion"].get("webhook")
    if webhook and "service" in (webhook.get("clientConfig") or {}):
        client = webhook["clientConfig"]
        service = {"port": 443, **client["service"]}
        filled["conversion"]["webhook"] = {**webhook, "clientConfig": {**client, "service": service}}
    if filled.get("preserveUnknownFields") is False:
        del filled["preserveUnknownFields"]
    return filled
