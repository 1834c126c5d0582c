# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long copying goes on, as a person is told."""

from __future__ import annotations

import time
from typing import List, Optional

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objectwork import Pace, Tally, about, span
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent


class Told(Silent):
    """Remembers what a person sees."""

    def __init__(self) -> None:
        self.lines: List[str] = []

    def waiting(self, where: str, text: str) -> None:
        """See :class:`Progress`."""
        self.lines.append(text)


@pytest.mark.parametrize(
    ("total", "objects", "size", "text"),
    [
        (Tally(200, 2_000_000), 50, 500_000, "x: 50 objects, 0.5 MB (5 objects/s, 0.1 MB/s), about 30 s left"),
        (Tally(1000, 4_000_000), 500, 1_000_000, "x: 500 objects, 1.0 MB (50 objects/s, 0.1 MB/s), about 17 s left"),
        (Tally(100, 0), 100, 0, "x: 100 objects, 0.0 MB (10 objects/s, 0.0 MB/s), about 0 s left"),
        (Tally(2, 2), 9, 9, "x: 9 objects, 0.0 MB (1 objects/s, 0.0 MB/s), about 0 s left"),
        (Tally(0, 0), 1, 1, "x: 1 objects, 0.0 MB (0 objects/s, 0.0 MB/s), about 0 s left"),
        (None, 50, 500_000, "x: 50 objects, 0.5 MB (5 objects/s, 0.1 MB/s)"),
    ],
)
def test_what_is_left_is_told_by_what_was_done(
    monkeypatch: pytest.MonkeyPatch, total: Optional[Tally], objects: int, size: int, text: str
) -> None:
    """Ten seconds after the beginning; more than was counted before does not make it go on for a negative time."""
    moments = iter([100.0, 110.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    told = Told()
    Pace(told, "x", total).show(objects, size)
    assert told.lines == [text]


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (59, "59 s"), (61, "2 min"), (5399, "90 min"), (9000, "2.5 h")])
def test_a_time_is_said_as_people_say_it(seconds: float, text: str) -> None:
    """Rounded up: nobody minds being early."""
    assert span(seconds) == text


def test_a_copy_is_estimated_by_number_and_by_bytes() -> None:
    """Many small ones, a few large ones."""
    assert about(Tally(200_000, 800_000_000)) == "6 min"
    assert about(Tally(10, 60_000_000_000)) == "21 min"
