# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Result files: whoever reads one at any moment gets a whole document that says whether it is final."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.results import SCHEMA, Results, write_file


def test_a_run_that_begins_replaces_what_an_earlier_one_said(tmp_path: Path) -> None:
    """A run that is killed leaves "running" behind, not the success of yesterday."""
    Results(str(tmp_path / "new" / "factory-1"), "site", "run1", {"cluster": "factory-1"}).finish("ok", {"changed": True})
    results = Results(str(tmp_path / "new" / "factory-1"), "site", "run2", {"cluster": "factory-1"})
    results.start()
    document = json.loads(Path(results.path).read_text(encoding="utf-8"))
    assert document.pop("started").endswith("Z")
    assert document == {"schema": SCHEMA, "run": "run2", "cluster": "factory-1", "state": "running"}


def test_the_end_says_which_run_it_was(tmp_path: Path) -> None:
    """The same run id at start and end, the body beside it; the answer is what the file holds."""
    results = Results(str(tmp_path), "plan", "run1", {"cluster": "c"})
    results.start()
    document = results.finish("failed", {"errors": ["x"]})
    assert document == json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert (document["run"], document["state"], document["errors"]) == ("run1", "failed", ["x"])
    assert document["started"] <= document["finished"]


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary is the task's result all the same."""
    monkeypatch.chdir(tmp_path)
    results = Results("", "plan", "run1", {})
    results.start()
    assert results.finish("ok", {"a": 1})["a"] == 1
    assert results.path == "" and list(tmp_path.iterdir()) == []


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """The name is given to a file that is whole already: an open reader keeps the old one, and no other file stays."""
    path = tmp_path / "site.json"
    write_file(path, "old")
    with path.open(encoding="utf-8") as reader:
        write_file(path, "new" * 10000)
        assert reader.read() == "old"
    assert path.read_text(encoding="utf-8") == "new" * 10000
    assert os.listdir(tmp_path) == ["site.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_folder_that_cannot_be_written_names_the_variable(tmp_path: Path) -> None:
    """Before anything else is done: a run whose result nobody can read is not worth its time."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(EngineError) as caught:
        Results(str(tmp_path / "file" / "below"), "site", "r", {}).start()
    assert str(tmp_path / "file" / "below" / "site.json") in str(caught.value)
    assert "kubeflow_results_dir" in caught.value.next_step


def test_a_failed_write_leaves_no_file_behind(tmp_path: Path) -> None:
    """A folder of the file's name is in the way: what was half made is removed again."""
    (tmp_path / "site.json").mkdir()
    with pytest.raises(EngineError):
        write_file(tmp_path / "site.json", "x")
    assert os.listdir(tmp_path) == ["site.json"]
