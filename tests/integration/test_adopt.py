# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform that somebody installed upstream's way is recognised, and taken over without a change that matters."""

from __future__ import annotations

import copy
import json
import subprocess
import time
from pathlib import Path
from typing import Dict, List, Mapping, Tuple, Union

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.matching import match
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL, KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.planning import Policy, Verdict
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.session import Request, Session, choose, render_chosen
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import Sandboxes
from .support import CACHE, EXHAUSTIVE, FEW, MIRROR, Audit, Cluster, comparable, converge, healthy, lines, plan, request_for, verdicts

# Upstream says "repeat until it succeeds"; so often is enough for every release.
PASSES = 12
Rendered = Dict[ObjectRef, KubeObject]


def upstream(release: str, components: Union[str, Tuple[str, ...]] = "default") -> Rendered:
    """A release as its authors have it: without our label."""
    asked = Request("none", version=release, components=components, mirror=MIRROR, cache_dir=str(CACHE))
    rendered = render_chosen(asked, choose(asked), Silent())
    found = {}
    for ref, item in rendered.objects.items():
        plain = copy.deepcopy(item.obj)
        plain["metadata"]["labels"].pop(COMPONENT_LABEL)
        found[ref] = plain
    return found


def one_liner(kubectl: Path, sandbox: Sandbox, objects: Rendered) -> None:
    """Upstream's way to install: apply everything by force, and again, until nothing is refused."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects.values())})
    for _number in range(PASSES):
        done = subprocess.run(
            [str(kubectl), "--kubeconfig", str(sandbox.kubeconfig), "apply", "--server-side", "--force-conflicts", "-f", "-"],
            input=text,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
        if done.returncode == 0:
            return
    raise AssertionError(done.stderr[-2000:])


def settle(sandbox: Sandbox, release: str, components: Union[str, Tuple[str, ...]]) -> None:
    """Wait until all that was applied is healthy: nobody tells us, as nothing of it is ours."""
    end = time.monotonic() + 180
    while True:
        outcome = Session(request_for(sandbox, release, components=components), lines(sandbox.name)).plan()
        if not outcome.findings and not outcome.absent:
            return
        assert time.monotonic() < end, [str(one) for one in outcome.findings]
        time.sleep(1)


def without_our_marks(objects: Mapping[ObjectRef, KubeObject]) -> Dict[ObjectRef, KubeObject]:
    """What matters of the objects: without the label that says that they are ours."""
    found = {}
    for ref, obj in objects.items():
        plain = comparable(obj)
        labels = plain["metadata"].get("labels") or {}
        labels.pop(COMPONENT_LABEL, None)
        if not labels:
            plain["metadata"].pop("labels", None)
        found[ref] = plain
    return found


@pytest.mark.parametrize("release", ["26.03", "v1.10.2"] if EXHAUSTIVE else ["26.03"])
def test_an_install_by_the_one_liner_is_taken_over_whole(release: str, sandboxes: Sandboxes, tools: Mapping[str, Path]) -> None:
    """kubeflow_adopt all: the plan says adopt, nothing that matters changes, no workload rolls, and then it is ours."""
    components: Union[str, Tuple[str, ...]] = "default" if EXHAUSTIVE else FEW
    sandbox = sandboxes.make("one-liner-" + release.replace(".", "-"))
    objects = upstream(release, components)
    one_liner(tools["kubectl"], sandbox, objects)
    with pytest.raises(EngineError, match="did not write it"):
        converge(sandbox, release, components=components)
    settle(sandbox, release, components)  # what controllers write until then is no part of the comparison
    versions = {ref: obj["apiVersion"] for ref, obj in objects.items()}
    before = Cluster(sandbox).objects(objects, versions)

    policy = Policy(adopt=("all",))
    outlook = plan(sandbox, release, components=components, policy=policy)
    assert set(verdicts(outlook).values()) == {"adopt"}
    audit = Audit(sandbox)
    outcome = healthy(converge(sandbox, release, components=components, policy=policy))
    assert outcome.plan is not None and not [item for item in outcome.plan.writes if item.verdict is Verdict.RESTART]
    # A controller may write the status of what is just being taken over (autoscalers): that is seen by its 409, and read again.
    assert [refused for refused in audit.rejected() if not refused.endswith(": 409")] == []
    after = Cluster(sandbox).objects(objects, versions)
    changed = _changed(without_our_marks(before), without_our_marks(after))
    assert changed == []
    managers = {entry["manager"] for obj in after.values() for entry in obj["metadata"]["managedFields"]}
    assert not {name for name in managers if name.startswith("kubectl")}
    quiet = Audit(sandbox)
    assert verdicts(converge(sandbox, release, components=components)) == {}
    assert quiet.writes() == []
    sandboxes.remove(sandbox.name)


def _changed(before: Mapping[ObjectRef, KubeObject], after: Mapping[ObjectRef, KubeObject]) -> List[str]:
    """Objects whose specification is another one; a controller's own work between the two looks is in none of them."""
    return [str(ref) for ref in before if before[ref] != after.get(ref)]


def test_the_best_match_names_the_release(platform: Sandbox) -> None:
    """Every object and every image of 26.03, and less of every other release."""
    catalogue = Catalogue.load()
    api = Api.connect(str(platform.kubeconfig))
    found = match(api, {name: upstream(name) for name in catalogue.names})
    best = found[0]
    assert (best.release, best.score) == ("26.03", 1.0)
    assert best.missing == () and best.other_images == {}
    assert [one.release for one in found] == ["26.03", "v1.11.0", "v1.10.2", "v1.9.1"]
    assert all(one.score < 0.95 and one.missing and one.other_images for one in found[1:])
