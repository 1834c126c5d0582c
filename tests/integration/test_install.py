# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job: a whole release on an empty cluster, in order, and nothing to do the second time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.data_guard import MANAGER
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import COMPONENT_LABEL
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import load
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox import processes
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .platform_fixtures import Installed
from .support import EXHAUSTIVE, RELEASES, Audit, Cluster, converge, healthy, inventory, is_ready, plan, recap, run_playbook

NO_OP_REQUESTS = 60
Install = Callable[[str], Installed]
Clone = Callable[..., Sandbox]


@pytest.mark.parametrize("release", (*RELEASES, "v1.11.0", "v1.9.1") if EXHAUSTIVE else RELEASES)
class TestInstall:
    """What has to be true after one run on an empty cluster."""

    def test_every_object_is_there_and_says_whose_it_is(self, built: Install, release: str) -> None:
        """Nothing of the render is missing, and each object names its component."""
        done = built(release)
        assert done.outcome.render is not None
        wanted = {ref: item.component for ref, item in done.outcome.render.objects.items()}
        assert {ref: done.objects[ref]["metadata"]["labels"][COMPONENT_LABEL] for ref in done.objects} == wanted

    def test_every_pod_is_ready(self, built: Install, release: str) -> None:
        """Healthy means that its pods serve, not that Deployments were accepted."""
        done = built(release)
        late = [pod["metadata"]["namespace"] + "/" + pod["metadata"]["name"] for pod in done.pods if not is_ready(pod)]
        assert not late
        assert len(done.pods) > 25

    def test_no_write_was_turned_down(self, built: Install, release: str) -> None:
        """Order comes from knowledge: the API server's own log has no write of ours that it rejected."""
        writes = [call for call in built(release).calls if call.writes]
        assert len(writes) > len(built(release).objects)
        assert not [str(call) for call in writes if call.code >= 400]

    def test_every_object_was_written_once(self, built: Install, release: str) -> None:
        """No blind retry, and no second write that only repeats the first."""
        done = built(release)
        writes = [call for call in done.calls if call.writes and "/mlplatform-kubeflow" not in call.path]
        notes = [call for call in writes if "fieldManager=%s&" % MANAGER in call.uri + "&"]  # which version opens the data of a claim
        paths = Counter(call.path for call in writes if call not in notes)
        assert not {path: count for path, count in paths.items() if count > 1}
        assert len({call.path for call in notes}) == len(notes) == 2
        assert len(paths) == len(done.objects)

    def test_our_count_of_requests_is_the_api_servers(self, built: Install, release: str) -> None:
        """The figures in the results can be believed."""
        done = built(release)
        assert done.outcome.traffic["writes"] == sum(1 for call in done.calls if call.writes)
        assert done.outcome.traffic["rejected"] == []

    def test_the_second_run_writes_nothing(self, built: Install, release: str) -> None:
        """A no-op stays within 60 requests, takes no lock and writes nothing at all: the audit log counts."""
        done = built(release)
        audit = Audit(done.sandbox)
        outcome = healthy(converge(done.sandbox, release))
        assert not outcome.changed
        assert outcome.plan is not None
        assert {item.verdict.value for item in outcome.plan.items} == {"unchanged"}
        calls = audit.calls()
        assert not [str(call) for call in calls if call.verb not in ("get", "list")]
        assert len(calls) <= NO_OP_REQUESTS
        assert outcome.traffic["requests"] == len(calls)


def test_the_playbook_changes_nothing_when_every_back_end_is_dead(built: Install, clone: Clone, tmp_path: Path) -> None:
    """A dead webhook must not turn a daily run red: ``site`` on a cluster whose webhooks all fail is changed=0."""
    done = built("26.03")
    sandbox = clone(done.snapshot)
    processes.end_role(sandbox.dir, "agent")
    audit = Audit(sandbox)
    output = run_playbook("site", inventory(tmp_path, [sandbox], kubeflow_version="26.03", kubeflow_progress="always"))
    figures = recap(output)[sandbox.name]
    assert (figures["changed"], figures["failed"], figures["unreachable"]) == (0, 0, 0), output
    calls = audit.calls()
    assert not [str(call) for call in calls if call.verb not in ("get", "list")]
    assert len(calls) <= NO_OP_REQUESTS


def test_one_component_alone(built: Install, clone: Clone) -> None:
    """A scoped run reads and writes its own component, and leaves what others own alone."""
    sandbox = clone(built("26.03").snapshot)
    cluster = Cluster(sandbox)
    cluster.api.send("DELETE", "/apis/apps/v1/namespaces/kubeflow/deployments/centraldashboard")
    cluster.api.send("DELETE", "/apis/apps/v1/namespaces/kubeflow/deployments/katib-ui")
    audit = Audit(sandbox)
    outcome = healthy(converge(sandbox, scope=("dashboard",)))
    assert outcome.plan is not None
    assert {item.component for item in outcome.plan.items} == {"dashboard"}
    assert outcome.plan.counts()["create"] == 1
    written = [call.path for call in audit.writes() if "mlplatform-kubeflow" not in call.path]
    assert written == ["/apis/apps/v1/namespaces/kubeflow/deployments/centraldashboard"]
    left = plan(sandbox).plan
    assert left is not None
    assert [str(item.ref) for item in left.writes] == ["Deployment.apps kubeflow/katib-ui"]


def test_the_demo_tenant_comes_only_when_it_is_asked_for(built: Install, clone: Clone) -> None:
    """It is off by default; asked for, its Profile becomes a namespace, and nothing else is written."""
    done = built("26.03")
    assert not [ref for ref in done.objects if ref.kind == "Profile"]
    sandbox = clone(done.snapshot)
    assert done.outcome.chosen is not None
    names = tuple(item.name for item in done.outcome.chosen.desired)
    outcome = healthy(converge(sandbox, components=(*names, "demo_tenant")))
    assert outcome.plan is not None
    assert {item.component for item in outcome.plan.writes} == {"demo_tenant"}
    again = converge(sandbox, components="all")
    assert not again.changed


def test_a_component_whose_needs_are_missing_is_refused(sandbox: Sandbox) -> None:
    """Nothing is written before everything that can be known beforehand was looked at."""
    audit = Audit(sandbox)
    with pytest.raises(EngineError) as refused:
        converge(sandbox, scope=("katib",))
    assert "cert_manager" in str(refused.value)
    with pytest.raises(EngineError, match="nearest|did you mean|katib"):
        converge(sandbox, components=("katibb",))
    assert not audit.writes()


def test_the_record_names_every_object_with_its_uid(built: Install) -> None:
    """What is in the record is what is in the cluster: later issues delete and upgrade by it."""
    done = built("26.03")
    record = load(Cluster(done.sandbox).api)
    recorded: Dict[Any, str] = {ref: entry.uid for component in record.components.values() for ref, entry in component.entries.items()}
    assert recorded == {ref: obj["metadata"]["uid"] for ref, obj in done.objects.items()}
    assert all(component.complete for component in record.components.values())
