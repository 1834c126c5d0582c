# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upgrades: hop by hop, without a refused write, with everything that users have still there."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import jsonschema
import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api, ApiError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.applying import CRDS
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import shipped_releases
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import load
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.verdicts import Verdict
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.writing import RESTARTED_AT
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import Sandboxes
from .support import (
    EXHAUSTIVE,
    REPO,
    Audit,
    Cluster,
    converge,
    differing,
    healthy,
    inventory,
    playbook,
    recap,
    run_playbook,
    verdicts,
)
from .test_backends import BAD
from .upgrade_support import (
    WAY,
    all_acks,
    new_tenant,
    problems,
    still_there,
    story,
    upgrade,
    upgrade_killed_after,
    work_of,
)

Clone = Callable[..., Sandbox]
Write = Callable[[Sandbox], Path]
# The hop with the most in it: storage versions, jobs whose controller goes, a volume that stays.
HOP = ("v1.10.2", "v1.11.0")
# Which write of the hop is the last one comes from the seed.
MOMENTS = range(20) if EXHAUSTIVE else (3,)


def test_all_the_way_with_what_users_made_meanwhile(sandboxes: Sandboxes) -> None:
    """Four releases with the real programs of each; users make something at each of them, and all of it stays.

    Without a person's yes it stops before the hop that leaves data behind, and writes nothing of it.
    """
    sandbox = sandboxes.make("upgraded", release=WAY[0], upgrades=WAY[1:], real=True)
    healthy(converge(sandbox, WAY[0]))
    api = Api.connect(str(sandbox.kubeconfig))
    new_tenant(sandbox, "alice")
    made: Dict[str, str] = work_of("alice", WAY[0], api)
    assert len(made) == 5

    audit = Audit(sandbox)
    stopped = upgrade(sandbox)
    assert story(stopped)[0] == (WAY[0], WAY[1], "done"), problems(stopped)
    assert story(stopped)[1:] == [(WAY[1], WAY[2], "stopped"), (WAY[2], WAY[3], "stopped")]
    assert "ack-v1.11.0-object-store" in str(stopped.errors[0]) and "ack-v1.11.0-mysql-8.4" in str(stopped.errors[0])
    assert audit.rejected() == []
    assert set(load(api).releases("kubeflow")) == {WAY[1]} and load(api).upgrade is None
    quiet = Audit(sandbox)
    assert not upgrade(sandbox).changed
    assert quiet.writes() == []

    for source, target in zip(WAY[1:], WAY[2:]):
        made.update(work_of("alice", source, api))
        refused_by_its_own_webhook(api, "Knative Service")
        hop = upgrade(sandbox, target, all_acks())
        assert story(hop) == [(source, target, "done")], problems(hop)
    made.update(work_of("alice", WAY[3], api))
    assert audit.rejected() == []
    assert len(made) == 18
    for name in ("Knative Service", "TrainJob", "InferenceService"):
        refused_by_its_own_webhook(api, name)
    assert still_there(api, made) == made
    assert set(load(api).releases("kubeflow")) == {WAY[3]} and load(api).upgrade is None
    stored = {crd["metadata"]["name"]: crd["status"]["storedVersions"] for crd in api.list(CRDS)[0]}
    assert [name for name, versions in stored.items() if len(versions) > 1] == []

    after = Audit(sandbox)
    again = healthy(converge(sandbox, WAY[3]))
    assert not again.changed and after.writes() == []
    assert not upgrade(sandbox, acks=all_acks()).changed and after.writes() == []


def refused_by_its_own_webhook(api: Api, name: str) -> None:
    """The release's own program runs, not a stand-in: it knows what is wrong."""
    spec, message = BAD[name]
    obj = dict(spec, metadata={"name": "bad", **spec.get("metadata", {}), "namespace": "default"})
    resource = sure(api.discover().get(obj["apiVersion"], obj["kind"]))
    with pytest.raises(ApiError) as refusal:
        api.create(resource, obj, dry=True)
    assert message in refusal.value.message


@pytest.mark.skipif(not EXHAUSTIVE, reason="the same hops as above, at once and with simulated pods")
def test_all_the_way_in_one_run(sandboxes: Sandboxes) -> None:
    """Three hops, all questions answered beforehand: no write is refused, and nothing is left to do."""
    sandbox = sandboxes.make("upgraded-at-once")
    healthy(converge(sandbox, WAY[0]))
    api = Api.connect(str(sandbox.kubeconfig))
    new_tenant(sandbox, "alice")
    made = work_of("alice", WAY[0], api)
    audit = Audit(sandbox)
    journey = upgrade(sandbox, acks=all_acks())
    assert story(journey) == [(*hop, "done") for hop in zip(WAY, WAY[1:])], problems(journey)
    assert audit.rejected() == [] and still_there(api, made) == made
    quiet = Audit(sandbox)
    assert not healthy(converge(sandbox, WAY[3])).changed and quiet.writes() == []
    sandboxes.remove(sandbox.name)


@pytest.fixture(name="before_the_hop", scope="module")
def _before_the_hop(sandboxes: Sandboxes, snapshot_of: Write) -> Path:
    """A snapshot of a cluster before :data:`HOP`, with a tenant and what is hers."""
    sandbox = sandboxes.make("before-the-hop")
    healthy(converge(sandbox, HOP[0]))
    new_tenant(sandbox, "alice")
    work_of("alice", HOP[0], Api.connect(str(sandbox.kubeconfig)))
    snapshot = snapshot_of(sandbox)
    sandboxes.remove(sandbox.name)
    return snapshot


@pytest.fixture(name="undisturbed", scope="module")
def _undisturbed(before_the_hop: Path, sandboxes: Sandboxes) -> Iterator[Tuple[Cluster, int]]:
    """The cluster after the hop, and how many writes it took."""
    sandbox = sandboxes.make("undisturbed-hop", snapshot=before_the_hop)
    audit = Audit(sandbox)
    journey = upgrade(sandbox, HOP[1], all_acks())
    assert story(journey) == [(*HOP, "done")], problems(journey)
    assert audit.rejected() == []
    outcome = journey.hops[0].outcome
    assert outcome is not None and outcome.plan is not None
    rolling = {item.ref for item in outcome.plan.items if any(path.startswith("spec.template.") for path, _old, _new in item.changes)}
    restarted = {item.ref for item in outcome.plan.items if item.verdict is Verdict.RESTART}
    assert rolling and not rolling & restarted  # nobody rolls twice
    yield Cluster(sandbox), len(audit.writes())
    sandboxes.remove(sandbox.name)


@pytest.mark.parametrize("seed", MOMENTS)
def test_ac_39_a_hop_killed_at_any_moment_goes_on_where_it_was(
    seed: int, before_the_hop: Path, undisturbed: Tuple[Cluster, int], clone: Clone
) -> None:
    """SIGKILL before a random write: the next run ends as an undisturbed one, and the run after it has nothing to do."""
    first, writes = undisturbed
    sandbox = clone(before_the_hop)
    assert upgrade_killed_after(sandbox, HOP[1], random.Random(seed).randrange(1, writes))
    journey = upgrade(sandbox, HOP[1], all_acks())
    assert [state for _source, _target, state in story(journey)] == ["done"], problems(journey)
    again = converge(sandbox, HOP[1])
    assert verdicts(again) == {} and not again.changed
    second = Cluster(sandbox)
    refs = [load(cluster.api).components for cluster in (first, second)]
    known = [{ref: entry.api_version for one in components.values() for ref, entry in one.entries.items()} for components in refs]
    assert set(known[0]) == set(known[1])
    different = differing(first.objects(known[0], known[0]), second.objects(known[1], known[1]))
    assert not {name: text for name, text in different.items() if RESTARTED_AT not in text}


def test_a_hop_that_needs_a_newer_kubernetes_is_not_begun(before_the_hop: Path, clone: Clone, tmp_path: Path) -> None:
    """It stops before that hop's first write, and goes on when the cluster is newer."""
    text = (shipped_releases() / (HOP[1] + ".yml")).read_text(encoding="utf-8")
    lines: List[str] = text.split("\n")
    (at,) = [number for number, line in enumerate(lines) if line.startswith("  minimum:")]
    lines[at] = '  minimum: "1.99"'
    (tmp_path / (HOP[1] + ".yml")).write_text("\n".join(lines), encoding="utf-8")
    sandbox = clone(before_the_hop)
    audit = Audit(sandbox)
    journey = upgrade(sandbox, HOP[1], all_acks(), release_dirs=(str(tmp_path),))
    assert story(journey) == [(*HOP, "stopped")]
    assert "too old" in str(journey.errors[0]) and "1.99" in str(journey.errors[0])
    assert audit.writes() == [] and not journey.changed
    shutil.rmtree(tmp_path)
    assert story(upgrade(sandbox, HOP[1], all_acks())) == [(*HOP, "done")]


def test_the_playbook_asks_first_and_says_what_it_did(before_the_hop: Path, clone: Clone, tmp_path: Path) -> None:
    """Check mode writes nothing; without a yes it fails with the question; with it the hop is done, and done again is nothing."""
    sandbox = clone(before_the_hop)
    results = tmp_path / "results"
    asked = inventory(tmp_path, [sandbox], kubeflow_version=HOP[1], kubeflow_results_dir=str(results))
    audit = Audit(sandbox)
    process = playbook("upgrade", asked)
    refused = process.communicate(timeout=300)[0]
    assert process.returncode == 2, refused
    assert "ack-v1.11.0-object-store" in refused and "nothing of this hop was written" in refused, refused
    assert audit.writes() == []
    checked_result(results, "failed", ["stopped"])

    yes = ("--extra-vars", json.dumps({"kubeflow_acks": list(all_acks())}))
    outlook = run_playbook("upgrade", asked, "--check", "--diff", *yes)
    assert recap(outlook)[sandbox.name]["changed"] == 1 and audit.writes() == []
    assert "prune-dangerous" in outlook and "pytorchjobs.kubeflow.org" in outlook

    done = run_playbook("upgrade", asked, *yes)
    assert recap(done)[sandbox.name]["changed"] == 1
    assert "v1.10.2 -> v1.11.0: done" in done and audit.rejected() == []
    hop = checked_result(results, "ok", ["done"])["hops"][0]
    assert len(hop["storage_versions"]) == 10
    assert any("minio-pvc" in one["object"] for one in hop["kept"])
    again = run_playbook("upgrade", asked, *yes)
    assert recap(again)[sandbox.name]["changed"] == 0


def checked_result(folder: Path, state: str, states: List[str]) -> Dict[str, Any]:
    """``upgrade.json``, which follows its schema, ended so, and has hops that ended so."""
    document: Dict[str, Any] = json.loads((folder / "upgrade.json").read_text(encoding="utf-8"))
    schema = json.loads((REPO / "plugins/plugin_utils/schemas/upgrade.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(document)
    assert document["state"] == state and [hop["state"] for hop in document["hops"]] == states
    return document
