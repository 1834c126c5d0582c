# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many examples a property is tried with."""

from __future__ import annotations

import os


def examples(quick: int) -> int:
    """So many in every run; fifty times as many where the tests are exhaustive."""
    return quick * 50 if os.environ.get("KUBEFLOW_EXHAUSTIVE") else quick
