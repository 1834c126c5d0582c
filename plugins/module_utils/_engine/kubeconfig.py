# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a kubeconfig to a client, as kubectl would; what is wrong with it is said without quoting it."""

from __future__ import annotations

import os
import sys
from typing import Any, Optional

from .errors import EngineError, MissingLibrary
from .handwritten import NotYaml, parse

try:
    from kubernetes import client as kube_client
    from kubernetes import config as kube_config
    from kubernetes.config.config_exception import ConfigException

    HAS_KUBERNETES = True
except ImportError:
    HAS_KUBERNETES = False

# Connections that are kept: a watch per judged kind, and those of the readers and writers.
POOL = 64


def new_client(kubeconfig: str = "", context: str = "") -> Any:
    """The library's client for a context of the file, else of KUBECONFIG, else of ~/.kube/config; nothing is sent yet.

    :raises EngineError: the file is not there or cannot be read, or has no such context (those that it has are listed).
    """
    if not HAS_KUBERNETES:
        raise MissingLibrary("kubernetes", sys.executable)
    path = os.path.expanduser(kubeconfig) if kubeconfig else None
    shown = path or os.environ.get("KUBECONFIG") or "~/.kube/config"
    if path and not os.path.exists(path):
        raise EngineError("there is no such kubeconfig file", subject=path, next_step="set kubeflow_kubeconfig to the right file")
    _check_readable(shown)
    try:
        connect: Any = kube_config.new_client_from_config
        settings = kube_client.Configuration()
        settings.connection_pool_maxsize = POOL
        client = connect(config_file=path, context=context or None, client_configuration=settings)
    except (ConfigException, TypeError, AttributeError, ValueError) as problem:
        raise EngineError(
            str(problem),
            subject="kubeconfig %s" % shown,
            expected="context %s" % context if context else "a current context",
            found=_contexts(path),
            next_step="set kubeflow_context to one that the file has, or kubeflow_kubeconfig to another file",
        ) from problem
    return client


def _check_readable(shown: str) -> None:
    """A kubeconfig that is not YAML is named with the line, without quoting it: it holds credentials."""
    for name in shown.split(os.pathsep):
        try:
            with open(os.path.expanduser(name), encoding="utf-8") as stream:
                parse(stream.read())
        except FileNotFoundError:
            continue  # as for kubectl, a file of KUBECONFIG may be missing
        except (NotYaml, OSError, UnicodeDecodeError) as problem:
            raise EngineError(
                str(problem) if isinstance(problem, NotYaml) else "cannot be read: %s" % problem,
                subject="kubeconfig %s" % name,
                next_step="set kubeflow_kubeconfig to the right file",
            ) from problem


def _contexts(path: Optional[str]) -> str:
    """The names of the contexts that there are; "" if they cannot be read."""
    try:
        contexts, _active = kube_config.list_kube_config_contexts(config_file=path)
    except (ConfigException, TypeError, AttributeError):
        return ""
    return ", ".join(sorted(str(context["name"]) for context in contexts))
