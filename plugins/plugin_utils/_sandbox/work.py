# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A work queue as Kubernetes controllers have it: each item once, again later if it failed."""

from __future__ import annotations

import http.client
import sys
import threading
import time
import traceback
from typing import Callable, Dict, Hashable, Tuple

from .kube import ApiStatus

FIRST_DELAY = 0.2  # seconds before a failed item is tried again; doubled each time
LAST_DELAY = 15.0

Item = Tuple[str, str, str]  # kind of work, namespace, name


class WorkQueue:
    """Runs ``reconcile(item)`` in ``threads`` threads; an item that is asked for twice before its turn runs once."""

    def __init__(self, reconcile: Callable[[Item], None], threads: int = 2) -> None:
        self._reconcile = reconcile
        self._due: Dict[Item, float] = {}
        self._failures: Dict[Hashable, int] = {}
        self._running: Dict[Item, bool] = {}
        self._change = threading.Condition()
        for number in range(threads):
            threading.Thread(target=self._work, name="worker %d" % number, daemon=True).start()

    def add(self, kind: str, namespace: str, name: str, delay: float = 0.0) -> None:
        """Ask for an item."""
        item = (kind, namespace, name)
        due = time.monotonic() + delay
        with self._change:
            self._due[item] = min(due, self._due.get(item, due))
            self._change.notify()

    def _take(self) -> Item:
        with self._change:
            while True:
                now = time.monotonic()
                waiting = [(due, item) for item, due in self._due.items() if item not in self._running]
                first = min(waiting, default=None)
                if first is not None and first[0] <= now:
                    del self._due[first[1]]
                    self._running[first[1]] = True
                    return first[1]
                self._change.wait(None if first is None else first[0] - now)

    def _work(self) -> None:
        while True:
            item = self._take()
            delay = self._try(item)
            with self._change:
                del self._running[item]
                self._change.notify_all()
            if delay:
                self.add(*item, delay=delay)

    def _try(self, item: Item) -> float:
        """Run it; how long to wait before it is run again, 0 for not at all."""
        try:
            self._reconcile(item)
        except (ApiStatus, OSError, http.client.HTTPException) as error:
            failures = self._failures[item] = self._failures.get(item, 0) + 1
            print("%s %s/%s: %s" % (*item, error), file=sys.stderr, flush=True)
            return float(min(FIRST_DELAY * 2 ** (failures - 1), LAST_DELAY))
        except Exception:  # one wrong object must not end the agent; the log says which
            print("%s %s/%s:" % item, file=sys.stderr)
            traceback.print_exc()
            return 0.0
        self._failures.pop(item, None)
        return 0.0
