# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: release data and variables in, a converged cluster and its record out.

One file per arrow: catalogue, sources, overlay, rendering, planning, applying, health, record,
results. None imports a later one, none imports Ansible. Private to this collection.
"""

from __future__ import annotations
