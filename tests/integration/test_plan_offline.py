# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan from release to release, without an inventory and without a cluster: what it finds, what it leaves behind, its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence

import jsonschema
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._plan_operation import run_plan

from .support import CACHE, COLLECTIONS, MIRROR, REPO

SCHEMA = jsonschema.Draft202012Validator(json.loads((REPO / "plugins/plugin_utils/schemas/plan.json").read_text(encoding="utf-8")))
# What a person reads in a minute: a screen or two.
LINES = 90
CANARY = "canary-that-nobody-may-see"


def look(folder: Path, source: str, target: str, **settings: Any) -> Dict[str, Any]:
    """What the module answers, and under "document" what it left behind, which has its documented shape."""
    arguments = {
        "from_version": source,
        "version": target,
        "mirror": MIRROR,
        "cache_dir": str(CACHE),
        "results_dir": str(folder),
        **settings,
    }
    answer = run_plan(arguments, "localhost", False, Silent(), None)
    document = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    SCHEMA.validate(document)
    assert document["state"] == ("failed" if answer["failed"] else "ok")
    return {**answer, "document": document}


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    """The longest way that there is."""
    return look(tmp_path_factory.mktemp("whole"), "v1.9.1", "26.03")


def test_a_longer_way_shows_its_hops_one_after_the_other(whole: Dict[str, Any]) -> None:
    """Each compared with the one before it, and all counted."""
    document = whole["document"]
    assert not whole["failed"] and document["offline"] is True
    hops = [(hop["from"], hop["to"]) for hop in document["hops"]]
    assert hops == [("v1.9.1", "v1.10.2"), ("v1.10.2", "v1.11.0"), ("v1.11.0", "26.03")]
    places = [whole["msg"].index("\n%s -> %s: " % hop) for hop in hops]
    assert places == sorted(places)
    assert document["requests"] == {}


@pytest.mark.parametrize(("source", "target"), [("v1.9.1", "v1.10.2"), ("v1.10.2", "v1.11.0"), ("v1.11.0", "26.03")])
def test_a_hop_is_read_in_a_minute_and_made_in_two_seconds(source: str, target: str, tmp_path: Path) -> None:
    """At most two screens of 80 columns, on cached renders."""
    look(tmp_path, source, target)
    began = time.process_time()
    answer = look(tmp_path, source, target)
    assert time.process_time() - began < 3.0  # of this process's time: the machine may be busy; the benchmark takes the wall's
    lines = answer["msg"].splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines[:-1] if len(line) > 80 and " " in line.strip()] == []
    assert lines[-1] == "Every field: %s" % (tmp_path / "plan.html")
    page = (tmp_path / "plan.html").read_text(encoding="utf-8")
    assert len(page) < 2_000_000 and page.count("<script>") == 1


def test_the_page_has_every_line_of_the_plan(whole: Dict[str, Any]) -> None:
    """Of the real releases, not only of made-up ones."""
    page = Path(whole["results"]).with_suffix(".html").read_text(encoding="utf-8")
    text = "".join(part.partition(">")[2] for part in page.split("<"))
    assert [
        one["object"] for part in ("objects", "removals", "notices") for one in whole["document"][part] if one["object"] not in text
    ] == []


# ------------------------------------------------------------------ what a site adds


def test_what_a_site_changes_and_the_next_release_lacks_is_a_notice(tmp_path: Path) -> None:
    """Patches, images and replica counts that would stop the first run after the hop are said before it."""
    image = "ghcr.io/kubeflow/training-v1/training-operator"
    told = {
        "training": {
            "patches": [{"kind": "Deployment", "metadata": {"name": "training-operator"}, "spec": {"paused": True}}],
            "images": {image: "registry.site/training:1"},
            "replicas": {"training-operator": 2},
        },
        "katib": {"replicas": {"katib-controller": 2}},
    }
    answer = look(tmp_path, "v1.10.2", "v1.11.0", declarations=told)
    found = [one for one in answer["document"]["notices"] if one["verdict"] == "patch-matches-nothing"]
    assert {one["object"] for one in found} == {"Deployment training-operator", "Image %s" % image, "Workload training-operator"}
    variables = {"training_patches[0]", "training_images['%s']" % image, "training_replicas['training-operator']"}
    assert {one["reason"].split(":")[0] for one in found} == variables
    assert "patch-matches-nothing 1 object" in answer["msg"]


def test_what_matches_nowhere_on_the_way_is_an_error(tmp_path: Path) -> None:
    """It is no leftover of an older release, but a mistake."""
    told = {"katib": {"patches": [{"kind": "Deployment", "metadata": {"name": "katib-controler"}, "spec": {"paused": True}}]}}
    answer = look(tmp_path, "v1.10.2", "v1.11.0", declarations=told)
    assert answer["failed"] and "katib_patches[0]" in answer["msg"] and "matches nothing" in answer["msg"]


def test_no_secret_of_a_site_is_in_any_file(tmp_path: Path) -> None:
    """Patches with secrets change what is compared; what they hold is masked."""
    environment = [{"name": "DB_PASSWORD", "value": CANARY}, {"name": "PLAIN", "value": CANARY + "-plain"}]
    controller = {"spec": {"containers": [{"name": "katib-controller", "env": environment}]}}
    told = {
        "katib": {
            "patches": [
                {"kind": "Deployment", "metadata": {"name": "katib-controller"}, "spec": {"template": controller}},
                {"kind": "Secret", "metadata": {"name": "katib-mysql-secrets"}, "stringData": {"MYSQL_ROOT_PASSWORD": CANARY}},
            ]
        }
    }
    answer = look(tmp_path, "v1.10.2", "26.03", declarations=told)
    assert not answer["failed"]
    for text in (json.dumps(answer), *(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())):
        assert CANARY not in text


REFUSED = [
    ("v1.0", "v1.11.0", {}, "unknown release"),
    ("v1.10.2", "v1.0", {}, "unknown release"),
    ("26.03", "v1.10.2", {}, "older"),
    ("v1.11.0", "v1.11.0", {}, "the same release"),
    ("v1.10.2", "v1.11.0", {"scope": ["common"]}, "changes as a whole"),
    ("v1.10.2", "v1.11.0", {"components": ["katibb"]}, "unknown component"),
]


@pytest.mark.parametrize(("source", "target", "settings", "said"), REFUSED)
def test_what_cannot_be_planned_is_refused_with_the_reason(
    source: str, target: str, settings: Dict[str, Any], said: str, tmp_path: Path
) -> None:
    """And the result says failed, not what was there before."""
    answer = look(tmp_path, source, target, **settings)
    assert answer["failed"] and said in answer["msg"]
    assert "Next: " in answer["msg"] or "Expected: " in answer["msg"]


# ------------------------------------------------------------------ the playbook


def plan(home: Path, arguments: Sequence[str], venv: str = "") -> subprocess.CompletedProcess[str]:
    """Run the playbook where there is no inventory, with a home of its own and a kubeconfig that leads nowhere."""
    programs = REPO / venv / "bin" if venv else Path(sys.executable).parent
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment.update(
        HOME=str(home),
        ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS),
        ANSIBLE_NOCOLOR="true",
        KUBEFLOW_MIRROR=MIRROR,
        KUBECONFIG=str(home / "nowhere"),
    )
    command = [str(programs / "ansible-playbook"), "mlplatform.kubeflow.plan", "-e", "kubeflow_cache_dir=%s" % CACHE, *arguments]
    return subprocess.run(
        command, cwd=home, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )


WAY: List[str] = ["-e", "kubeflow_plan_from=v1.10.2", "-e", "kubeflow_version=v1.11.0"]


@pytest.mark.parametrize("venv", ["", ".venv-2.16"], ids=["newest", "2.16"])
def test_the_playbook_needs_no_inventory_and_no_cluster(venv: str, tmp_path: Path) -> None:
    """Results go to the user's state folder."""
    done = plan(tmp_path, WAY, venv)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "v1.10.2 -> v1.11.0: " in done.stdout and "needs your yes" in done.stdout
    folder = tmp_path / ".local/state/mlplatform.kubeflow/results/localhost"
    document = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    SCHEMA.validate(document)
    assert document["state"] == "ok" and (folder / "plan.html").is_file()
    assert "DEPRECATION" not in done.stdout + done.stderr


def test_a_pipeline_fails_on_what_it_was_told_to_and_keeps_the_results(tmp_path: Path) -> None:
    """Named in the last lines; what a person named himself does not count."""
    where = ["-e", "kubeflow_results_dir=%s" % (tmp_path / "results")]
    fail_on = ["-e", json.dumps({"kubeflow_plan_fail_on": ["dangerous", "replace"]})]
    done = plan(tmp_path, [*WAY, *where, *fail_on])
    assert done.returncode == 2, done.stdout
    assert done.stdout.count("needs your yes: ack-v1.11.0-mysql-8.4") == 1  # the plan is shown once, before what is wrong with it
    document = json.loads((tmp_path / "results/plan.json").read_text(encoding="utf-8"))
    assert document["state"] == "failed" and len(document["objects"]) > 600
    assert "PersistentVolumeClaim kubeflow/minio-pvc (prune-dangerous)" in document["errors"][0]["found"]
    dangerous = [one["object"] for one in document["removals"] if one["verdict"] == "prune-dangerous"]
    assert plan(tmp_path, [*WAY, *where, *fail_on, "-e", json.dumps({"kubeflow_prune_named": dangerous})]).returncode == 0


def test_without_an_inventory_only_an_offline_plan_runs(tmp_path: Path) -> None:
    """Otherwise no cluster matches, which is an error and not a success."""
    done = plan(tmp_path, ["-e", "kubeflow_version=v1.11.0"])
    assert done.returncode == 2 and "No cluster matched" in done.stdout
