# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installs through a proxy that turns requests away, loses answers and cuts watches: nothing lost, nothing doubled."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Callable, Sequence, Tuple

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.record import load

from .conftest import Sandboxes
from .faults import ALL_FAULTS, FaultProxy, Schedule
from .platform_fixtures import Installed
from .support import EXHAUSTIVE, FEW, Audit, Cluster, at_proxy, converge, differing, healthy, labelled, verdicts

Install = Callable[[str], Installed]
# Far more than it takes; what hangs is found, whatever else this machine does.
BOUND_SECONDS = 400.0
CASES: Tuple[Tuple[int, Sequence[str]], ...] = (
    tuple((seed, kinds) for seed in range(3) for kinds in (*((kind,) for kind in ALL_FAULTS), ALL_FAULTS))
    if EXHAUSTIVE
    else ((1, ALL_FAULTS),)
)


@pytest.mark.parametrize(("seed", "kinds"), CASES, ids=lambda value: value if isinstance(value, int) else "+".join(value)[:40])
def test_an_install_through_a_bad_network(seed: int, kinds: Sequence[str], built: Install, sandboxes: Sandboxes, tmp_path: Path) -> None:
    """Every object exactly once, the record as the cluster, the end in bounded time, and nothing to do afterwards."""
    done = built("26.03")
    name = "faults-%d-%d" % (seed, len(kinds))
    sandbox = sandboxes.make(name)
    audit = Audit(sandbox)
    started = time.monotonic()
    with FaultProxy(sandbox, Schedule(seed, kinds), tmp_path) as proxy:
        outcome = healthy(converge(at_proxy(sandbox, proxy.kubeconfig), components=FEW))
        happened = proxy.schedule.happened
    assert time.monotonic() - started < BOUND_SECONDS
    assert set(happened) == set(kinds), happened

    assert outcome.render is not None
    created = Counter(call.path for call in audit.writes() if call.code == 201 and "/mlplatform-kubeflow" not in call.path)
    assert set(created.values()) == {1} and len(created) == len(outcome.render.objects)
    assert not [text for text in audit.rejected() if "/mlplatform-kubeflow/" not in text]

    cluster = Cluster(sandbox)
    there = cluster.of(outcome)
    assert set(there) == set(outcome.render.objects)
    assert not differing({ref: done.objects[ref] for ref in there}, there)
    versions = {ref: item.obj["apiVersion"] for ref, item in outcome.render.objects.items()}
    assert set(labelled(cluster, there, versions)) == set(there)
    record = load(cluster.api)
    recorded = {ref: entry.uid for component in record.components.values() for ref, entry in component.entries.items()}
    assert recorded == {ref: obj["metadata"]["uid"] for ref, obj in there.items()}
    again = converge(sandbox, components=FEW)
    assert verdicts(again) == {} and not again.changed
    sandboxes.remove(name)


def test_a_second_run_through_a_bad_network_writes_nothing(built: Install, sandboxes: Sandboxes, tmp_path: Path) -> None:
    """Reads that fail for a moment are no reason to think that objects are gone."""
    done = built("26.03")
    audit = Audit(done.sandbox)
    with FaultProxy(done.sandbox, Schedule(7, ALL_FAULTS, rate=0.3), tmp_path) as proxy:
        outcome = healthy(converge(at_proxy(done.sandbox, proxy.kubeconfig)))
        assert sum(proxy.schedule.happened.values()) > 5
    assert verdicts(outcome) == {}
    assert not audit.writes()
