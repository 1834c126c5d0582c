# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of our modules and actions, and the request that they make of them. Private to this collection."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Tuple, Union

from ._engine.errors import EngineError
from ._engine.planning import Policy
from ._engine.registries import Registry
from ._engine.session import Request

CONNECTION: Dict[str, Dict[str, Any]] = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
}
COMMON: Dict[str, Dict[str, Any]] = {
    "cluster": {"type": "str"},
    "version": {"type": "str"},
    "components": {"type": "raw", "default": "default"},
    "scope": {"type": "list", "elements": "str", "default": []},
    "add_dependencies": {"type": "bool", "default": False},
    # What a role was told may hold secrets; their values are masked by the engine, key by key.
    "declarations": {"type": "dict", "default": {}, "no_log": False},
    "mirror": {"type": "str"},
    "cache_dir": {"type": "path", "default": "~/.cache/mlplatform.kubeflow"},
    "registry": {"type": "str"},
    "registry_layout": {"type": "str", "default": "path", "choices": ["path", "host", "flat"]},
    "registry_exceptions": {"type": "dict", "default": {}},
    "kustomize": {"type": "str", "default": "auto"},
    "release_dirs": {"type": "list", "elements": "path", "default": []},
    "progress": {"type": "str", "default": "auto", "choices": ["auto", "always", "never"]},
}
RESULTS: Dict[str, Dict[str, Any]] = {"results_dir": {"type": "path"}}
POLICY: Dict[str, Dict[str, Any]] = {
    "conflicts": {"type": "raw", "default": "fail"},
    "adopt": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 900},
    "lock_timeout": {"type": "int", "default": 600},
    "lint": {"type": "str", "default": "warn", "choices": ["warn", "refuse", "off"]},
    "lint_accept": {"type": "list", "elements": "str", "default": []},
    "revisions": {"type": "int", "default": 5},
}
# What may be deleted or made anew where the release changes.
HOP: Dict[str, Dict[str, Any]] = {
    "acks": {"type": "list", "elements": "str", "default": []},
    "backup_max_age": {"type": "float", "default": 24.0},
    "replace": {"type": "list", "elements": "str", "default": []},
    "prune": {"type": "str", "default": "safe", "choices": ["report", "safe", "all"]},
    "prune_named": {"type": "list", "elements": "str", "default": []},
}
RENDER_ONLY: Dict[str, Dict[str, Any]] = {"dest": {"type": "path"}}

CATALOGUE_INFO: Dict[str, Dict[str, Any]] = {
    "version": {"type": "str"},
    "components": {"type": "raw", "default": "default"},
    "switches": {"type": "dict", "default": {}},
    "add_dependencies": {"type": "bool", "default": False},
    "release_dirs": {"type": "list", "elements": "path", "default": []},
}

# How a store of objects is reached, and a server of databases.
S3: Dict[str, Dict[str, Any]] = {
    "endpoint": {"type": "str"},
    "region": {"type": "str"},
    # A name, like that of an account; the secret is the other one.
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
    "ca_file": {"type": "path"},
}
DATABASE: Dict[str, Dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "host": {"type": "str"},
    "port": {"type": "int"},
    "socket": {"type": "path"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
}
BACKUP_INFO: Dict[str, Dict[str, Any]] = {
    "place": {"type": "path", "required": True},
    "s3": {"type": "dict", "default": {}, "options": S3},
    "passphrase": {"type": "str", "no_log": True},
    "identities": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "verify": {"type": "bool", "default": False},
    "progress": {"type": "str", "default": "auto", "choices": ["auto", "always", "never"]},
}
_DATA: Dict[str, Dict[str, Any]] = {
    **CONNECTION,
    **{name: option for name, option in BACKUP_INFO.items() if name not in ("identities", "verify")},
    "cluster": {"type": "str"},
    "parts": {"type": "list", "elements": "str", "default": []},
    "databases": {"type": "list", "elements": "dict", "default": [], "options": DATABASE},
    "stores": {"type": "list", "elements": "dict", "default": [], "options": {"name": {"type": "str", "required": True}, **S3}},
    "release_dirs": {"type": "list", "elements": "path", "default": []},
    "results_dir": {"type": "path"},
    "timeout": {"type": "int", "default": 900},
    "lock_timeout": {"type": "int", "default": 600},
}
BACKUP: Dict[str, Dict[str, Any]] = {
    **_DATA,
    "recipients": {"type": "list", "elements": "str", "default": []},
    # A switch, and no secret itself.
    "secrets": {"type": "bool", "default": False, "no_log": False},
    "keep": {"type": "int", "default": 0},
    "keep_days": {"type": "float", "default": 0.0},
    "verify": {"type": "bool", "default": True},
}
RESTORE: Dict[str, Dict[str, Any]] = {
    **_DATA,
    "identities": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "backup": {"type": "str", "default": "newest"},
    "overwrite": {"type": "list", "elements": "str", "default": []},
    "confirm": {"type": "str"},
}

PLAN = {**CONNECTION, **COMMON, **RESULTS, **POLICY}
APPLY = PLAN
UPGRADE = {**PLAN, **HOP}
# What is only asked of a plan that is looked at, and not of one that is carried out.
LOOK = {
    **UPGRADE,
    "from_version": {"type": "str"},
    "fail_on": {"type": "list", "elements": "str", "default": [], "choices": ["dangerous", "replace"]},
}
DRIFT = {**PLAN, "fail": {"type": "bool", "default": True}}
MATCH = PLAN
IMAGES = PLAN
ROLLBACK = {
    **PLAN,
    **{name: option for name, option in HOP.items() if name not in ("acks", "backup_max_age")},
    "to": {"type": "str", "default": "previous"},
    "accept": {"type": "list", "elements": "str", "default": []},
}
REVISIONS_INFO = PLAN
UNINSTALL = {
    **PLAN,
    "spare": {"type": "list", "elements": "str", "default": []},
    "delete_data": {"type": "list", "elements": "str", "default": []},
    "confirm": {"type": "str"},
}
HEALTH = {**CONNECTION, **COMMON, **RESULTS, **POLICY}
KUSTOMIZE = {**COMMON, **RENDER_ONLY}


def component_names(value: Any) -> Union[str, Tuple[str, ...]]:
    """A preset, or names: from a list or from a text with commas."""
    if isinstance(value, str):
        return value if value in ("default", "all") else tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(str(item) for item in value)


def _policy(arguments: Mapping[str, Any]) -> Policy:
    conflicts = arguments.get("conflicts") or "fail"
    by_object: Dict[str, str] = {}
    if isinstance(conflicts, Mapping):
        by_object = {str(key): str(value) for key, value in conflicts.items() if key != "default"}
        conflicts = str(conflicts.get("default", "fail"))
    return Policy(
        str(conflicts),
        by_object,
        tuple(arguments.get("adopt") or ()),
        tuple(arguments.get("replace") or ()),
        arguments.get("prune") or "safe",
        tuple(arguments.get("prune_named") or ()),
    )


def _max_age(arguments: Mapping[str, Any]) -> float:
    """Hours as seconds.

    :raises EngineError: it is no number of hours.
    """
    hours = arguments.get("backup_max_age")
    age = 24.0 if hours is None else float(hours)
    if not 0 <= age < float("inf"):
        raise EngineError(
            "it is no age",
            subject="kubeflow_backup_max_age",
            expected="hours, or 0 for any age",
            found=str(hours),
            next_step="correct it",
        )
    return age * 3600


def _registry(arguments: Mapping[str, Any]) -> Optional[Registry]:
    """The site's registry, if it has one."""
    address = str(arguments.get("registry") or "").rstrip("/")
    if not address:
        return None
    exceptions = {str(source): str(target) for source, target in (arguments.get("registry_exceptions") or {}).items()}
    return Registry(address, arguments.get("registry_layout") or "path", exceptions)


def request(arguments: Mapping[str, Any], cluster: str) -> Request:
    """A request of the engine from validated arguments.

    :param cluster: the name to use where the arguments have none.
    """
    return Request(
        cluster=arguments.get("cluster") or cluster,
        kubeconfig=arguments.get("kubeconfig") or "",
        context=arguments.get("context") or "",
        version=arguments.get("version") or "",
        components=component_names(arguments.get("components") or "default"),
        scope=tuple(arguments.get("scope") or ()),
        add_dependencies=bool(arguments.get("add_dependencies")),
        declarations=arguments.get("declarations") or {},
        mirror=arguments.get("mirror") or "",
        cache_dir=arguments.get("cache_dir") or "~/.cache/mlplatform.kubeflow",
        kustomize=arguments.get("kustomize") or "auto",
        policy=_policy(arguments),
        timeout=float(arguments.get("timeout") or 900),
        lock_timeout=float(arguments.get("lock_timeout") or 0),
        release_dirs=tuple(arguments.get("release_dirs") or ()),
        lint=arguments.get("lint") or "warn",
        lint_accept=tuple(arguments.get("lint_accept") or ()),
        revisions=int(arguments.get("revisions", 5)),
        backup_max_age=_max_age(arguments),
        registry=_registry(arguments),
    )
