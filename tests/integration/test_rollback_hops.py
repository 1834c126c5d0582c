# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back over a change of release: the whole platform, hop by hop, and not through a door that data went through."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, FrozenSet, Iterator, Mapping, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue, resolve
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import KubeObject, ObjectRef
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import Record, load
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.revisions import RevisionStore
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rollback_rules import STAY
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.rolling_back import Return, RollBack
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.upgrading import Upgrader
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

from .conftest import Sandboxes, client_of
from .support import EXHAUSTIVE, Audit, Cluster, converge, differing, healthy, lines, plan, request_for
from .uninstall_support import listed, settled
from .upgrade_support import all_acks, problems, story, upgrade

Clone = Callable[..., Sandbox]
Objects = Dict[ObjectRef, KubeObject]
WAY = ("v1.10.2", "v1.11.0", "26.03")
NAMES = tuple(one.name for one in resolve(Catalogue.load().release(WAY[0]), ["pipelines"], add_dependencies=True))


def go_back(sandbox: Sandbox, to: object, *scope: str, accept: Tuple[str, ...] = ()) -> Return:
    """A rollback in this process; the inventory still names the newest release."""
    request = request_for(sandbox, components=NAMES, scope=scope)
    return RollBack(request, str(to), accept, lines(sandbox.name)).run()


def arrived(journey: Return) -> Return:
    """The rollback itself, if all went well; else the test fails with what did not."""
    for step in journey.steps:
        assert step.error is None, str(step.error)
        assert step.outcome is not None
        healthy(step.outcome)
    assert journey.arrived
    return journey


def going(sandbox: Sandbox) -> Objects:
    """What is there of everything that the newest revision says, less what never goes back."""
    newest = RevisionStore(Api.connect(str(sandbox.kubeconfig)))
    revision = newest.load(newest.list()[-1].number)
    versions = {ref: item.obj["apiVersion"] for ref, item in revision.objects.items() if ref.kind_group not in STAY}
    return Cluster(sandbox).objects(versions, versions)


def refs(record: Record) -> FrozenSet[ObjectRef]:
    """Everything that is recorded."""
    return frozenset(ref for component in record.components.values() for ref in component.entries)


def without_counters(objects: Mapping[ObjectRef, KubeObject]) -> Mapping[ObjectRef, KubeObject]:
    """Without what counts how often pods were rolled."""
    for obj in objects.values():
        (obj["metadata"].get("annotations") or {}).pop("deprecated.daemonset.template.generation", None)
    return objects


def drop(sandbox: Sandbox, workload: str, claim: str) -> None:
    """Remove a database with its data, as somebody does who has a dump of it."""
    client = client_of(sandbox)
    client.delete("/apis/apps/v1/namespaces/kubeflow/deployments/" + workload)
    client.delete("/api/v1/namespaces/kubeflow/persistentvolumeclaims/" + claim)
    settled(sandbox, lambda survey: "PersistentVolumeClaim kubeflow/" + claim not in listed(survey))


@dataclass
class Moved:
    """A cluster that went over two hops.

    :ivar states: release -> what was there when it was reached.
    """

    sandbox: Sandbox
    snapshot: Path
    states: Mapping[str, Objects]


@pytest.fixture(name="moved", scope="module")
def _moved(sandboxes: Sandboxes, snapshot_of: Callable[[Sandbox], Path]) -> Iterator[Moved]:
    sandbox = sandboxes.make("moved")
    healthy(converge(sandbox, WAY[0], components=NAMES))
    states = {WAY[0]: going(sandbox)}
    snapshot = Path()
    for source, target in zip(WAY, WAY[1:], strict=False):
        if target == WAY[-1]:
            snapshot = snapshot_of(sandbox)
        journey = upgrade(sandbox, target, all_acks(), components=NAMES)
        assert story(journey) == [(source, target, "done")], problems(journey)
        states[target] = going(sandbox)
    yield Moved(sandbox, snapshot, states)
    sandboxes.remove("moved")


def test_the_platform_goes_back_hop_by_hop_and_not_through_a_closed_door(moved: Moved) -> None:
    """To the release before; further back only with a person's word, as data went forward there; each time field by field."""
    sandbox = moved.sandbox
    api = Api.connect(str(sandbox.kubeconfig))
    assert [head.release for head in RevisionStore(api).list()] == list(WAY)
    audit = Audit(sandbox)
    with pytest.raises(EngineError) as refused:
        go_back(sandbox, 1)
    assert "mysql-8.4" in refused.value.subject and "object-store" in refused.value.subject
    assert "kubeflow_rollback_accept" in refused.value.next_step
    with pytest.raises(EngineError, match="single component"):
        go_back(sandbox, 2, "pipelines")
    assert not audit.writes()

    journey = arrived(go_back(sandbox, "previous"))
    assert [(one.source, one.step.head.release, one.state) for one in journey.steps] == [("26.03", "v1.11.0", "done")]
    assert set(load(api).releases("kubeflow")) == {"v1.11.0"} and load(api).upgrade is None
    assert differing(without_counters(moved.states["v1.11.0"]), without_counters(going(sandbox))) == {}
    audit = Audit(sandbox)
    assert not arrived(go_back(sandbox, "previous")).changed
    assert not arrived(go_back(sandbox, 2)).changed
    assert not audit.writes()

    doors = ("mysql-8.4", "object-store")
    audit = Audit(sandbox)
    closed = go_back(sandbox, 1, accept=doors)  # no word of a person lets MySQL 8.0 open files of 8.4
    assert "mysql 8.0.26 is older than the data on PersistentVolumeClaim kubeflow/mysql-pv-claim" in str(closed.steps[0].error)
    assert not audit.writes()
    drop(sandbox, "mysql", "mysql-pv-claim")
    arrived(go_back(sandbox, 1, accept=doors))
    assert set(load(api).releases("kubeflow")) == {"v1.10.2"} and load(api).upgrade is None
    assert differing(without_counters(moved.states["v1.10.2"]), without_counters(going(sandbox))) == {}
    assert [head.release for head in RevisionStore(api).list()] == [*WAY, "v1.11.0", "v1.10.2"]

    forward = upgrade(sandbox, "26.03", all_acks(), components=NAMES)
    assert story(forward) == [("v1.10.2", "v1.11.0", "done"), ("v1.11.0", "26.03", "done")], problems(forward)
    assert differing(without_counters(moved.states["26.03"]), without_counters(going(sandbox))) == {}


@pytest.mark.parametrize("writes", (2, 3, 60) if EXHAUSTIVE else (60,))
def test_an_upgrade_that_broke_off_can_be_gone_back(moved: Moved, clone: Clone, writes: int) -> None:
    """Some components are of the one release, others of the other; a single step leads back, also when it breaks off."""
    sandbox = clone(moved.snapshot)
    api = Api.connect(str(sandbox.kubeconfig))
    recorded = refs(load(api))
    left = [writes]

    def guard() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise EngineError("the test ends this run")

    request = request_for(sandbox, "26.03", components=NAMES)
    broken = Upgrader(request, all_acks(), lines(sandbox.name), guard).run()
    assert broken.hops[0].state == "failed"
    assert load(api).upgrade is not None
    left[0] = writes
    back = RollBack(request, "previous", (), lines(sandbox.name), guard).run()
    assert back.steps[0].state == "failed"
    with pytest.raises(EngineError, match="begun and not ended"):
        converge(sandbox, "v1.11.0", components=NAMES)
    arrived(go_back(sandbox, "previous"))
    assert set(load(api).releases("kubeflow")) == {"v1.11.0"} and load(api).upgrade is None
    assert differing(without_counters(moved.states["v1.11.0"]), without_counters(going(sandbox))) == {}
    assert recorded <= refs(load(api))  # also what the hop before had left on purpose
    assert {ref.kind_group for ref in refs(load(api)) - recorded} <= set(STAY)
    left_over = plan(sandbox, "v1.11.0", components=NAMES).plan  # site of that release has its definitions to write, and nothing else
    assert left_over is not None and not left_over.stops
    assert {item.ref.kind for item in left_over.writes} == ({"CustomResourceDefinition"} if writes > 2 else set())
