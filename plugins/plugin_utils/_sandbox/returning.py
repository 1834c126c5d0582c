# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that were ready when a sandbox was copied or stopped: they come back before anybody is let in.

Without this, a copy's first calls of a webhook find no ready endpoint for the second that a program takes to start.
"""

from __future__ import annotations

import threading
from typing import Set, Tuple

from ...module_utils._engine.objects import KubeObject
from .containers import PodState
from .kube import key_of
from .view import is_ready

Key = Tuple[str, str, str]  # namespace, name, uid


def _key(pod: KubeObject) -> Key:
    return (*key_of(pod), pod["metadata"]["uid"])


class Returning:
    """What is still awaited. Until a pod is as ready as it was, or has ended, nothing is reported of it."""

    def __init__(self) -> None:
        self._missing: Set[Key] = set()
        self._over = False
        self._changed = threading.Condition()

    def saw(self, pod: KubeObject) -> None:
        """A pod that is run for real, as it is first seen."""
        with self._changed:
            if not self._over and is_ready(pod):
                self._missing.add(_key(pod))

    def holds_back(self, pod: KubeObject, state: PodState) -> bool:
        """Whether this state is only a step on the way back to the one that is reported already."""
        with self._changed:
            if _key(pod) not in self._missing:
                return False
            if not state.ready and not state.restarts and not state.message.startswith("exited"):
                return True
            self._forget(pod)
            return False

    def gone(self, pod: KubeObject) -> None:
        """It was deleted: nobody waits for it."""
        with self._changed:
            self._forget(pod)

    def _forget(self, pod: KubeObject) -> None:
        self._missing.discard(_key(pod))
        self._changed.notify_all()

    def wait(self, seconds: float) -> Tuple[Tuple[str, str], ...]:
        """Namespace and name of the pods that did not come back in this time; nothing is held back from now on."""
        with self._changed:
            self._changed.wait_for(lambda: not self._missing, seconds)
            late = tuple(sorted(key[:2] for key in self._missing))
            self._missing.clear()
            self._over = True
            return late
