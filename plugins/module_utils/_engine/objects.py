# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects as plain data: identity, reading, canonical form."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any, Dict, List, Type, Union

from .errors import EngineError, MissingLibrary

try:
    import yaml

    # PyYAML without libyaml is seven times slower, with the same result.
    _LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    HAS_YAML = True
except ImportError:
    HAS_YAML = False

KubeObject = Dict[str, Any]

COMPONENT_LABEL = "mlplatform.kubeflow/component"
FIELD_MANAGER = "mlplatform.kubeflow"
PROBE_MANAGER = "mlplatform.kubeflow-probe"
OUR_NAMESPACE = "mlplatform-kubeflow"


@dataclass(frozen=True, order=True)
class ObjectRef:
    """Which object: group (not version), kind, namespace ("" for cluster-wide ones) and name."""

    group: str
    kind: str
    namespace: str
    name: str

    @property
    def kind_group(self) -> str:
        """``Deployment.apps``, or ``Service`` for the core group."""
        return "%s.%s" % (self.kind, self.group) if self.group else self.kind

    @property
    def path(self) -> str:
        """``namespace/name``, or the name alone."""
        return "%s/%s" % (self.namespace, self.name) if self.namespace else self.name

    def __str__(self) -> str:
        return "%s %s" % (self.kind_group, self.path)

    @property
    def key(self) -> str:
        """A text that sorts and can be a JSON key: ``group|kind|namespace|name``."""
        return "|".join((self.group, self.kind, self.namespace, self.name))

    @classmethod
    def from_key(cls, key: str) -> ObjectRef:
        """The inverse of :attr:`key`."""
        group, kind, namespace, name = key.split("|", 3)
        return cls(group, kind, namespace, name)


def group_of(api_version: str) -> str:
    """``apps`` of ``apps/v1``; "" of ``v1``."""
    return api_version.split("/", 1)[0] if "/" in api_version else ""


def ref_of(obj: KubeObject) -> ObjectRef:
    """The identity of an object as rendered or as read.

    :raises EngineError: it has no kind or no name.
    """
    metadata = obj.get("metadata") or {}
    if not obj.get("kind") or not obj.get("apiVersion") or not metadata.get("name"):
        raise EngineError(
            "not a Kubernetes object: apiVersion, kind and metadata.name are needed",
            found=json.dumps({k: obj.get(k) for k in ("apiVersion", "kind")}),
        )
    return ObjectRef(group_of(obj["apiVersion"]), obj["kind"], metadata.get("namespace") or "", metadata["name"])


def load_yaml(text: Union[bytes, str]) -> List[Any]:
    """Every document of a YAML stream that is not empty.

    :raises yaml.YAMLError: it is not YAML.
    """
    if not HAS_YAML:
        raise MissingLibrary("PyYAML", sys.executable)
    return [document for document in yaml.load_all(text, Loader=_LOADER) if document is not None]


def not_yaml() -> Type[Exception]:
    """What :func:`load_yaml` raises."""
    error: Type[Exception] = yaml.YAMLError
    return error


def load_documents(text: Union[bytes, str]) -> List[KubeObject]:
    """Every object of a YAML stream, the items of List kinds one by one."""
    found: List[KubeObject] = []
    for document in load_yaml(text):
        if str(document.get("kind", "")).endswith("List") and "items" in document:
            found.extend(document["items"])
        else:
            found.append(document)
    return found


def get_path(obj: Any, path: str, default: Any = None) -> Any:
    """The value under a dotted path, or the default where the path ends early."""
    for part in path.split("."):
        if not isinstance(obj, dict) or part not in obj:
            return default
        obj = obj[part]
    return obj


def copied(value: Any) -> Any:
    """A copy of plain data (mappings, lists, scalars) that shares no mapping or list; a fifth of the time of ``copy.deepcopy``."""
    if isinstance(value, dict):
        return {key: copied(below) if isinstance(below, (dict, list)) else below for key, below in value.items()}
    if isinstance(value, list):
        return [copied(below) if isinstance(below, (dict, list)) else below for below in value]
    return value


def canonical(value: Any) -> bytes:
    """The same bytes for the same value: JSON, keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
