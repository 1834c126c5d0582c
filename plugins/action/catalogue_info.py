# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: ``catalogue_info`` on the controller, in this process; the module of the same name explains it."""

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import CATALOGUE_INFO
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._operations import run_catalogue_info
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._action import EngineAction

SUFFIX = "_enabled"


class ActionModule(EngineAction):
    """See the module."""

    SPEC = CATALOGUE_INFO
    OPERATION = staticmethod(run_catalogue_info)
    TELLS = False

    def _completed(self, arguments: Dict[str, Any], task_vars: Dict[str, Any]) -> Dict[str, Any]:
        """The switches that the variables ``<component>_enabled`` of the host are, under those of the task."""
        names = self._components_known(arguments)
        found = {name: task_vars[name + SUFFIX] for name in names if task_vars.get(name + SUFFIX) is not None}
        return {**arguments, "switches": {**self._templar.template(found), **arguments["switches"]}}

    def _components_known(self, arguments: Dict[str, Any]) -> Any:
        answer = run_catalogue_info({**arguments, "components": "all", "switches": {}}, "", False, self._progress({}, ""), None)
        return answer.get("components", ())
