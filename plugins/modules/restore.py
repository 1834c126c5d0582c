#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``restore``, and ``restore`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
version_added: 1.0.0
short_description: Put a backup back into a cluster
description:
  - Puts a backup back into the cluster that it was made of, or into a new one. The platform has to be installed there, in the release of
    the backup or in a newer one that upgrades lead to.
  - Missing objects are made, with their status. Objects that are there and different stay, and data that is there stays, unless
    O(overwrite) names the part.
  - The programs that work on a database or an object store are stopped while it is filled, and started again after it.
  - Rows and objects are counted at the end. A run that was killed is gone on with by running it again.
extends_documentation_fragment:
  - mlplatform.kubeflow.data
  - mlplatform.kubeflow.run.engine
  - mlplatform.kubeflow.data.cluster
options:
  backup:
    description: The id of a backup, or V(newest) for the newest finished one.
    type: str
    default: newest
  identities:
    description: Age identities, the texts of identity files, that open the backup.
    type: list
    elements: str
    default: []
  overwrite:
    description:
      - Parts whose data in the cluster is replaced (V(database/katib), V(objectstore), V(objects)), or V(all).
      - Nothing is replaced without O(confirm).
    type: list
    elements: str
    default: []
  confirm:
    description: The name of the cluster again, needed for O(overwrite) and where the backup is of another cluster.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: Objects are written once. A database is loaded again.
seealso:
  - module: mlplatform.kubeflow.backup
  - module: mlplatform.kubeflow.backup_info
"""

EXAMPLES = r"""
- name: What would come back
  mlplatform.kubeflow.restore:
    place: /srv/backups
    identities: ["{{ lookup('ansible.builtin.file', '/root/backup.key') }}"]
  check_mode: true

- name: Put Katib's database back, over what is there
  mlplatform.kubeflow.restore:
    cluster: factory-1
    place: /srv/backups
    passphrase: "{{ vault_backup_passphrase }}"
    parts: [database/katib]
    overwrite: [database/katib]
    confirm: factory-1
"""

RETURN = r"""
msg:
  description: What was, or would be, put back; on failure the first cause and the next step.
  returned: always
  type: str
parts:
  description: Each part with what the backup has, what the cluster has, and what stands against it.
  returned: always
  type: list
  elements: dict
results:
  description: Path of the result file, empty if none is kept.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import RESTORE
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._data_operation import run_restore
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(RESTORE), supports_check_mode=True)
    answer = run_restore(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
