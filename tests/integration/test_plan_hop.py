# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""plan on a cluster that has an older release: the first hop as that cluster is, the others release against release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict

import jsonschema

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import sure
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.forms import differences, without_noise
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Verdict
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.predicting import KIND, predicted
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.upgrading import HopSession
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._plan_operation import run_plan
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .platform_fixtures import Installed
from .support import CACHE, MIRROR, REPO, Audit, inventory, lines, request_for, run_playbook
from .upgrade_support import new_tenant, upgrade, work_of

Install = Callable[[str], Installed]
Clone = Callable[..., Sandbox]
SCHEMA = jsonschema.Draft202012Validator(json.loads((REPO / "plugins/plugin_utils/schemas/plan.json").read_text(encoding="utf-8")))


def look(sandbox: Sandbox, folder: Path, target: str, **settings: Any) -> Dict[str, Any]:
    """What the module answers, and under "document" what it left behind, which has its documented shape."""
    arguments = {
        "kubeconfig": str(sandbox.kubeconfig),
        "version": target,
        "mirror": MIRROR,
        "cache_dir": str(CACHE),
        "results_dir": str(folder),
        **settings,
    }
    answer = run_plan(arguments, sandbox.name, False, lines(sandbox.name), None)
    document = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    SCHEMA.validate(document)
    return {**answer, "document": document}


def test_a_hop_is_planned_as_the_cluster_is(built: Install, clone: Clone, tmp_path: Path) -> None:
    """Users' objects are counted by namespace; what has to be said is shown and stops no plan; nothing is written."""
    sandbox = clone(built("v1.10.2").snapshot, release="v1.10.2", real=True)
    new_tenant(sandbox, "alice")
    work_of("alice", "v1.10.2", Api.connect(str(sandbox.kubeconfig)))
    audit = Audit(sandbox)
    answer = look(sandbox, tmp_path, "26.03", acks=["ack-v1.11.0-training-jobs"])
    assert not answer["failed"], answer["msg"]
    assert not audit.writes()
    document = answer["document"]
    assert "offline" not in document
    assert [(hop["from"], hop["to"]) for hop in document["hops"]] == [("v1.10.2", "v1.11.0"), ("v1.11.0", "26.03")]
    given = {ack["name"]: ack["given"] for ack in document["hops"][0]["acks"]}
    assert given["ack-v1.11.0-training-jobs"] is True and given["ack-v1.11.0-object-store"] is False
    removals = {one["object"]: one for one in document["removals"] if one["hop"] == "v1.11.0"}
    jobs = removals["CustomResourceDefinition.apiextensions.k8s.io pytorchjobs.kubeflow.org"]
    assert (jobs["verdict"], jobs["counts"], jobs["goes"]) == ("prune-dangerous", {"alice": 1}, False)
    assert removals["CustomResourceDefinition.apiextensions.k8s.io tfjobs.kubeflow.org"]["verdict"] == "prune-safe"
    text = answer["msg"]
    assert "pytorchjobs.kubeflow.org: 1" in text and "1 in alice" in text
    first, second = (next(line for line in text.splitlines() if line.startswith("v1.1%d" % at) and "objects" in line) for at in (0, 1))
    assert "without a cluster" not in first and "without a cluster" in second
    assert [line for line in text.splitlines()[:-1] if len(line) > 80 and " " in line.strip()] == []

    refused = look(sandbox, tmp_path, "v1.11.0", fail_on=["dangerous"])
    assert refused["failed"] and "pytorchjobs.kubeflow.org" in refused["msg"] and "tfjobs" not in refused["msg"]
    older = look(sandbox, tmp_path, "v1.9.1")
    assert older["failed"] and "older" in older["msg"]

    where = inventory(tmp_path / "site", [sandbox], kubeflow_version="v1.11.0")
    assert "v1.10.2 -> v1.11.0: " in run_playbook("plan", where)
    assert not audit.writes()
    assert upgrade(sandbox, "v1.11.0").errors  # the plan did not answer for the person


def test_the_server_would_make_of_a_definition_what_was_foreseen(built: Install) -> None:
    """Every definition of a hop, compared with the server's own dry run; those that others write into are left to the server."""
    sandbox = built("v1.10.2").sandbox
    hop = sure(Catalogue.load().release("v1.11.0").hop)
    session = HopSession(request_for(sandbox, "v1.11.0"), hop, tuple(ack.name for ack in hop.acks), lines(sandbox.name))
    items = [item for item in sure(session.plan().plan).items if (item.ref.group, item.ref.kind) == KIND and item.live is not None]
    api = Api.connect(str(sandbox.kubeconfig))
    foreseen = changing = 0
    for item in items:
        after = predicted(sure(item.live), item.wanted.obj)
        if after is None:
            continue
        told = api.apply(item.wanted.resource, item.wanted.obj, dry=True)
        assert differences(without_noise(after), without_noise(told)) == [], str(item.ref)
        foreseen += 1
        changing += item.verdict is Verdict.UPDATE
    assert foreseen > len(items) * 0.8 and changing > 20, (foreseen, changing, len(items))
