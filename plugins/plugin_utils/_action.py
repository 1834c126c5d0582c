# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What our actions share: they run the engine in this process, on the controller, and show what it does."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Callable, Dict, Mapping, Optional

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Lines, Progress, Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._operations import guard_against_orphans

# Looked at when the plugin is imported: inside run() standard output is a pipe to the parent, never a terminal.
IS_TERMINAL = sys.stdout.isatty()


class EngineAction(ActionBase):
    """An action that is one operation of the engine.

    ``SPEC`` is its argument spec, ``OPERATION`` the function of ``_operations`` that does it, ``TELLS`` whether its outcome
    is shown when all is well.
    """

    SPEC: Mapping[str, Mapping[str, Any]] = {}
    OPERATION: Callable[..., Dict[str, Any]]
    TELLS = True

    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: Optional[str] = None, task_vars: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        """Validate, run, and give the answer the form that a task's result has."""
        result: Dict[str, Any] = super().run(tmp, task_vars)
        self._refuse()
        self._honour_environment()
        # Task arguments are tagged subclasses since ansible-core 2.19; the engine gets plain data.
        self._task.args = json.loads(json.dumps(self._task.args))
        _validation, arguments = self.validate_argument_spec(argument_spec=dict(self.SPEC))
        arguments = self._completed(arguments, task_vars or {})
        cluster = (task_vars or {}).get("inventory_hostname", "localhost")
        answer = type(self).OPERATION(
            arguments,
            cluster,
            self._task.check_mode,
            self._progress(arguments, cluster),
            guard_against_orphans(os.getppid()),
        )
        if not self._task.diff:
            answer.pop("diff", None)
        self._tell(arguments, answer)
        result.update(answer)
        return result

    def _completed(self, arguments: Dict[str, Any], task_vars: Dict[str, Any]) -> Dict[str, Any]:
        """The arguments, with what an action takes from the variables of the host."""
        return arguments

    def _tell(self, arguments: Mapping[str, Any], answer: Dict[str, Any]) -> None:
        """Show the outcome as text: Ansible itself shows it at ``-v`` only, and a failure as one line of JSON."""
        text = answer.pop("text", "")  # what led to a failure: told before it, and not again in Ansible's own words
        if text and arguments.get("progress") != "never":
            Display().display(text)
        if answer.get("failed") or (self.TELLS and arguments.get("progress") != "never"):
            Display().display(answer["msg"], color=C.COLOR_ERROR if answer.get("failed") else None)

    def _refuse(self) -> None:
        """This runs on the controller, as the user who runs ansible-playbook."""
        if self._task.async_val:
            raise AnsibleActionFail("%s cannot run with async: it shows its progress while it runs" % self._task.action)
        if self._play_context.become:
            raise AnsibleActionFail(
                "%s cannot run with become: it talks to the API server from the controller; remove become, or run "
                "ansible-playbook as that user" % self._task.action
            )

    def _honour_environment(self) -> None:
        """``environment:`` of the task holds for this process, which ends with the task."""
        environments = self._task.environment
        for item in environments if isinstance(environments, list) else [environments]:
            for key, value in (self._templar.template(item) or {}).items():
                os.environ[str(key)] = str(value)

    def _progress(self, arguments: Mapping[str, Any], cluster: str) -> Progress:
        choice = arguments.get("progress") or "auto"
        if choice == "never" or (choice == "auto" and not IS_TERMINAL):
            return Silent()
        display = Display()
        return Lines(display.display, arguments.get("cluster") or cluster)
