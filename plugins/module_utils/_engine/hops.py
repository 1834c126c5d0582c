# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from one release to another, hop by hop. Only what release data describes is a hop."""

from __future__ import annotations

from typing import List, Tuple

from .catalogue import Catalogue, Hop, Release, release_order
from .errors import EngineError


def path(catalogue: Catalogue, current: str, target: str) -> Tuple[Release, ...]:
    """The releases to go through, the target last; nothing if the cluster is there already.

    A release is reached only from the one that its data names (``upgrade.from``), so none in between is skipped.

    :raises EngineError: the target is unknown or older, or no chain of hops leads there (the known hops are named).
    """
    step = catalogue.release(target)
    way: List[Release] = []
    if current == target:
        return ()
    while step.hop is not None and step not in way:
        way.append(step)
        if step.hop.source == current:
            return tuple(reversed(way))
        if step.hop.source not in catalogue.names:
            break
        step = catalogue.release(step.hop.source)
    raise _no_way(catalogue, current, target)


def known_hops(catalogue: Catalogue) -> Tuple[Hop, ...]:
    """Every hop that there is data for, the oldest first.

    :raises EngineError: a file of release data is wrong.
    """
    return tuple(hop for hop in (catalogue.release(name).hop for name in catalogue.names) if hop is not None)


def _no_way(catalogue: Catalogue, current: str, target: str) -> EngineError:
    if release_order(target) < release_order(current):
        return EngineError(
            "release %s is older than the installed %s" % (target, current),
            subject="kubeflow_version",
            next_step="set kubeflow_version to %s or a newer one; playbooks/rollback.yml goes back where that is possible" % current,
        )
    known = ["%s -> %s" % (hop.source, hop.target) for hop in known_hops(catalogue)]
    return EngineError(
        "no known way from release %s to %s" % (current, target),
        subject="kubeflow_version",
        expected="a chain of the known hops: " + (", ".join(known) or "there are none"),
        next_step="choose a release that a hop leads to, or add release data with 'upgrade: {from: %s}' to a folder of "
        "kubeflow_release_dirs" % current,
    )
