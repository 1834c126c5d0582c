# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results: one JSON file per playbook and cluster, replaced at the start and, whole, at the end."""

from __future__ import annotations

import datetime
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Dict, Mapping

from .errors import EngineError

SCHEMA = 1


def now() -> str:
    """The present in UTC, to the second, as ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_file(path: Path, text: str) -> None:
    """Put a whole file in place at once: nobody ever reads half of it.

    :raises EngineError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=str(path.parent), prefix="." + path.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            os.chmod(name, 0o644)
            os.replace(name, str(path))
        except OSError:
            os.unlink(name)
            raise
    except OSError as problem:
        raise EngineError(
            "cannot write: %s" % problem.strerror,
            subject=str(path),
            next_step="set kubeflow_results_dir to a folder that can be written",
        ) from problem


class Results:
    """The result file of one run.

    :param directory: the cluster's folder; "" keeps nothing.
    :param name: the playbook or module: "site" makes ``site.json``.
    """

    def __init__(self, directory: str, name: str, run_id: str, head: Mapping[str, Any]) -> None:
        self._path = Path(directory).expanduser() / (name + ".json") if directory else None
        self._head: Dict[str, Any] = {"schema": SCHEMA, "run": run_id, "started": now(), **head}

    @property
    def path(self) -> str:
        """Where it is, "" if nothing is kept."""
        return str(self._path) if self._path else ""

    def start(self) -> None:
        """Say that a run is under way; what an earlier one left is gone."""
        self._write({**self._head, "state": "running"})

    def finish(self, state: str, body: Mapping[str, Any]) -> Dict[str, Any]:
        """Write the end: ``state`` is ``ok`` or ``failed``; the document that was written."""
        document = {**self._head, "state": state, "finished": now(), **body}
        self._write(document)
        return document

    def _write(self, document: Mapping[str, Any]) -> None:
        if self._path is not None:
            write_file(self._path, json.dumps(document, indent=1, sort_keys=False) + "\n")
