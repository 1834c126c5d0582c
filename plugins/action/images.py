# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: ``images`` on the controller, in this process; the module of the same name explains it."""

from __future__ import annotations

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import IMAGES
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._images_operation import run_images
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._action import EngineAction


class ActionModule(EngineAction):
    """See the module."""

    SPEC = IMAGES
    OPERATION = staticmethod(run_images)
