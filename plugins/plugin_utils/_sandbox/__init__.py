# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox: a real control plane on this machine, with simulated nodes.

``lifecycle`` makes and removes one; ``agent`` is its one daemon, which plays everything that has no real program here.
Runs on the controller only. Private to this collection.
"""

from __future__ import annotations
