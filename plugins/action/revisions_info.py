# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: ``revisions_info`` on the controller, in this process; the module of the same name explains it."""

from __future__ import annotations

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import REVISIONS_INFO
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._rollback_operation import run_revisions_info
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._action import EngineAction


class ActionModule(EngineAction):
    """See the module."""

    SPEC = REVISIONS_INFO
    OPERATION = staticmethod(run_revisions_info)
