# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we want and what is there, made comparable.

``desired_form`` turns a rendered object into what is sent; ``live_form`` takes from a live object just
the part that our field manager owns. Both are hashed with the cluster's own key, so that the record
says nothing about the values of Secrets.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from .objects import FIELD_MANAGER, KubeObject, canonical, copied

# What only the server writes; a manifest that carries it (controller-gen leaves creationTimestamp) says nothing.
SERVER_FIELDS = ("creationTimestamp", "managedFields", "resourceVersion", "uid", "generation", "selfLink")
WEBHOOK_KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def desired_form(obj: KubeObject, fields_not_ours: Iterable[str] = ()) -> KubeObject:
    """The object as it is sent: without what the server or a controller owns.

    Left out: server fields and status; ``rules`` next to ``aggregationRule`` (the controller fills them,
    and applying ``[]`` would empty every aggregated role [facts/engines 0.4]); a caBundle that is no
    certificate; the dotted paths of ``fields_not_ours`` (``*`` stands for every item of a list).
    """
    wanted: KubeObject = copied(obj)
    metadata = wanted["metadata"]
    for name in SERVER_FIELDS:
        metadata.pop(name, None)
    for name in ("labels", "annotations"):
        if not metadata.get(name, True):
            del metadata[name]
    wanted.pop("status", None)
    kind = wanted["kind"]
    if kind == "Secret" and "stringData" in wanted:
        data = wanted.setdefault("data", {}) or {}
        for key, value in (wanted.pop("stringData") or {}).items():
            data[key] = base64.b64encode(value.encode()).decode()
        wanted["data"] = data
    if kind == "ClusterRole" and wanted.get("aggregationRule"):
        wanted.pop("rules", None)
    for config in _client_configs(wanted):
        if not is_ca_bundle(config.get("caBundle")):
            config.pop("caBundle", None)
    for path in fields_not_ours:
        _remove(wanted, path.split("."))
    return wanted


def _client_configs(obj: KubeObject) -> Iterable[Dict[str, Any]]:
    """Every place of an object that holds a caBundle."""
    if obj["kind"] in WEBHOOK_KINDS:
        for hook in obj.get("webhooks") or []:
            yield hook.get("clientConfig") or {}
    elif obj["kind"] == "CustomResourceDefinition":
        webhook = (obj["spec"].get("conversion") or {}).get("webhook") or {}
        yield webhook.get("clientConfig") or {}
    elif obj["kind"] == "APIService":
        yield obj.get("spec") or {}


def is_ca_bundle(value: Any) -> bool:
    """Whether a caBundle holds a certificate; upstream ships ``""`` and ``Cg==`` as placeholders."""
    try:
        return b"BEGIN CERTIFICATE" in base64.b64decode(value or "", validate=False)
    except (ValueError, TypeError):
        return False


def _remove(value: Any, path: List[str]) -> None:
    """Remove the field at a path where it is there; "*" goes into every item of a list."""
    head, rest = path[0], path[1:]
    if head == "*":
        for item in value if isinstance(value, list) else ():
            _remove(item, rest)
    elif isinstance(value, dict) and head in value:
        if rest:
            _remove(value[head], rest)
        else:
            del value[head]


def own_entry(live: KubeObject) -> Optional[Mapping[str, Any]]:
    """Our managedFields entry of a live object, or None if we never applied it."""
    for entry in live["metadata"].get("managedFields") or []:
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource"):
            found: Mapping[str, Any] = entry
            return found
    return None


def project(fields: Mapping[str, Any], live: Any) -> Any:
    """The part of a live value that a fieldsV1 set names.

    ``f:x`` is a field, ``k:{..}`` the list item with these keys, ``v:..`` a value of a set, ``.`` the
    thing itself [Kubernetes API, FieldsV1].
    """
    if not fields:
        return live
    if isinstance(live, dict):
        return {key[2:]: project(below, live[key[2:]]) for key, below in fields.items() if key.startswith("f:") and key[2:] in live}
    if isinstance(live, list):
        return _project_list(fields, live)
    return live


def _project_list(fields: Mapping[str, Any], live: List[Any]) -> List[Any]:
    picked: List[Any] = []
    for key in sorted(fields):
        if key.startswith("k:"):
            wanted = json.loads(key[2:])
            below = {name: value for name, value in fields[key].items() if name != "."}
            for item in live:
                if all(item.get(name) == value for name, value in wanted.items()):
                    picked.append([key, project(below, item) if below else None])
        elif key.startswith("v:") and json.loads(key[2:]) in live:
            picked.append(key)
    return picked


class Hasher:
    """Keyed hashes of objects: 16 bytes, in hex.

    :param key: the cluster's key; without it nobody can tell from a hash what a Secret holds.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def value(self, value: Any) -> str:
        """The hash of any JSON value."""
        return hmac.new(self._key, canonical(value), hashlib.sha256).hexdigest()[:32]

    def live(self, live: KubeObject) -> str:
        """The hash of what we own in a live object, and of which object it is."""
        entry = own_entry(live)
        uid = live["metadata"].get("uid", "")
        if entry is None:
            return self.value([uid])
        fields = entry.get("fieldsV1") or {}
        return self.value([uid, entry.get("apiVersion"), fields, project(fields, live)])


def differences(before: Any, after: Any, path: str = "") -> List[Tuple[str, Any, Any]]:
    """The leaves in which two values differ: (path, before, after); lists of named items go by name."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: List[Tuple[str, Any, Any]] = []
        for key in sorted(set(before) | set(after)):
            below = "%s.%s" % (path, key) if path else key
            found += differences(before.get(key), after.get(key), below)
        return found
    if isinstance(before, list) and isinstance(after, list):
        first, second = _by_name(before), _by_name(after)
        if first is not None and second is not None:
            found = []
            for name in sorted(set(first) | set(second)):
                found += differences(first.get(name), second.get(name), "%s[%s]" % (path, name))
            return found
    return [] if before == after else [(path, before, after)]


def _by_name(items: List[Any]) -> Optional[Dict[str, Any]]:
    """The items by their unique ``name``, or None where they have none."""
    named = {item["name"]: item for item in items if isinstance(item, dict) and isinstance(item.get("name"), str)}
    return named if len(named) == len(items) else None


def without_noise(obj: KubeObject) -> KubeObject:
    """A live object without what changes by itself: for comparing before and after a dry run."""
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key not in ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
    }
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}
