# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the engine tells a person what it does, while it does it."""

from __future__ import annotations

import threading
import time
from typing import Callable, Protocol


class Progress(Protocol):
    """A place for short lines. ``where`` is a component, or "" for the whole run."""

    def say(self, where: str, text: str) -> None:
        """Something happened; always shown."""

    def waiting(self, where: str, text: str) -> None:
        """What is waited for now; shown at most once a second."""


class Silent:
    """Progress for those who do not want to see any."""

    def say(self, where: str, text: str) -> None:
        """Drop it."""

    def waiting(self, where: str, text: str) -> None:
        """Drop it."""


class Lines:
    """Progress as lines of text, prefixed with the cluster, at most one ``waiting`` line a second.

    :param write: takes one line without its end; called from any thread, one call at a time.
    :param cluster: the name that every line starts with.
    :param interval: seconds between two ``waiting`` lines.
    """

    def __init__(self, write: Callable[[str], None], cluster: str, interval: float = 1.0) -> None:
        self._write = write
        self._cluster = cluster
        self._interval = interval
        self._start = time.monotonic()
        self._last = float("-inf")
        self._last_text = ""
        self._lock = threading.Lock()

    def _line(self, where: str, text: str) -> str:
        return "%-12s %-18s %4.0f s  %s" % (self._cluster, where, time.monotonic() - self._start, text)

    def say(self, where: str, text: str) -> None:
        """Show it now."""
        with self._lock:
            self._last_text = ""
            self._write(self._line(where, text))

    def waiting(self, where: str, text: str) -> None:
        """Show it unless something was shown within the interval, or it was the last thing shown."""
        with self._lock:
            now = time.monotonic()
            if now - self._last < self._interval or text == self._last_text and now - self._last < 10:
                return
            self._last, self._last_text = now, text
            self._write(self._line(where, text))
