#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``backup_info``, and ``backup_info`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
version_added: 1.0.0
short_description: List backups, and check them
description:
  - Lists the backups of a place from their manifests. No cluster is asked.
  - With O(verify) every file is read and compared with its digest, and opened if there is a key for it.
extends_documentation_fragment:
  - mlplatform.kubeflow.data
  - mlplatform.kubeflow.run.engine
options:
  identities:
    description: Age identities, the texts of identity files, that open the backups.
    type: list
    elements: str
    default: []
  verify:
    description: Whether every file of every backup is read and checked.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: mlplatform.kubeflow.backup
"""

EXAMPLES = r"""
- name: Which backups there are, and whether they are whole
  mlplatform.kubeflow.backup_info:
    place: /srv/backups
    verify: true
"""

RETURN = r"""
msg:
  description: A line for each backup, the newest first, and every problem with its next step.
  returned: always
  type: str
backups:
  description: The backups in figures, the newest first.
  returned: success
  type: list
  elements: dict
problems:
  description: What is wrong with them.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import BACKUP_INFO
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._data_operation import run_backup_info
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(BACKUP_INFO), supports_check_mode=True)
    answer = run_backup_info(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
