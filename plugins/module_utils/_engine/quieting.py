# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads that are stopped while the data that they work on is replaced, and started again after it.

How many replicas one had is written on it before it is stopped: a run that was killed finds it there.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Dict, Iterable, List, Mapping, Optional

from .api import Api, Resource
from .errors import EngineError
from .migrating import MERGE
from .object_restore import MANAGER
from .objects import KubeObject, ObjectRef, get_path
from .progress import Progress
from .watching import Watcher

REPLICAS = "mlplatform.kubeflow/replicas-before-restore"
KINDS = {
    "Deployment.apps": Resource("apps/v1", "Deployment", "deployments", True),
    "StatefulSet.apps": Resource("apps/v1", "StatefulSet", "statefulsets", True),
}
_LOOK_SECONDS = 1.0


class Quiet:
    """Some workloads of one cluster.

    :param timeout: seconds that stopping or starting all of them may take.
    """

    def __init__(self, api: Api, refs: Iterable[ObjectRef], progress: Progress, timeout: float) -> None:
        self._api, self._progress, self._timeout = api, progress, timeout
        self._refs = sorted(ref for ref in set(refs) if self._live(ref) is not None)

    @property
    def refs(self) -> List[ObjectRef]:
        """Those that there are."""
        return list(self._refs)

    def _live(self, ref: ObjectRef) -> Optional[KubeObject]:
        return self._api.get(KINDS[ref.kind_group], ref.namespace, ref.name)

    def stop(self) -> None:
        """No pod of them is left when this returns.

        :raises EngineError: some did not end in time; they are named, and all stay stopped.
        """
        for ref in self._refs:
            live = self._live(ref)
            replicas = get_path(live, "spec.replicas", 1)
            if live is None or replicas == 0:
                continue
            self._scale(ref, 0, {REPLICAS: str(replicas)})
        self._wait("stopped", lambda live: not get_path(live, "status.replicas"))

    def start(self) -> None:
        """All are as they were before, and ready.

        :raises EngineError: some are not ready in time; they are named.
        """
        for ref in self._refs:
            live = self._live(ref)
            before = get_path(live, "metadata.annotations", {}).get(REPLICAS)
            if before is not None:
                self._scale(ref, int(before), {REPLICAS: None})
        self._wait("ready again", lambda live: (get_path(live, "status.readyReplicas") or 0) >= get_path(live, "spec.replicas", 1))

    def _scale(self, ref: ObjectRef, replicas: int, annotations: Mapping[str, Any]) -> None:
        patch = {"metadata": {"annotations": dict(annotations)}, "spec": {"replicas": replicas}}
        self._api.patch(KINDS[ref.kind_group], ref.namespace, ref.name, patch, content_type=MERGE, manager=MANAGER)

    def _wait(self, what: str, good: Any) -> None:
        if not self._refs:
            return
        changed = threading.Event()
        watcher = Watcher(self._api, lambda _ref: changed.set())
        for kind in {ref.kind_group for ref in self._refs}:
            watcher.start(KINDS[kind])
        end = time.monotonic() + self._timeout
        try:
            while True:
                left = self._not_yet(watcher, good)
                if not left:
                    return
                if time.monotonic() > end:
                    raise EngineError(
                        "not %s within %.0f s" % (what, self._timeout),
                        subject=", ".join(map(str, left)),
                        next_step="see why with status, then run this again; it goes on from here",
                    )
                self._progress.waiting("", "until they are %s: %s" % (what, ", ".join(ref.path for ref in left)))
                changed.wait(min(_LOOK_SECONDS, max(end - time.monotonic(), 0.01)))
                changed.clear()
        finally:
            watcher.stop()

    def _not_yet(self, watcher: Watcher, good: Any) -> List[ObjectRef]:
        seen: Dict[ObjectRef, Optional[KubeObject]] = {ref: watcher.get(KINDS[ref.kind_group], ref) for ref in self._refs}
        return [ref for ref, live in seen.items() if live is None or not _observed(live) or not good(live)]


def _observed(live: KubeObject) -> bool:
    """Whether its controller has seen what we wrote."""
    return bool(get_path(live, "status.observedGeneration") == live["metadata"].get("generation"))
