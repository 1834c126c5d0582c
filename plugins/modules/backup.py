#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``backup``, and ``backup`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
version_added: 1.0.0
short_description: Save the data of a cluster
description:
  - Saves the databases as logical dumps, the object stores with counts and checksums, every custom resource of the platform and of its
    tenants with what their namespaces hold, the claims for volumes, and, if it is encrypted, Secrets and our own record.
  - Databases and object stores are reached through the API server, inside their pods, unless O(databases) or O(stores) give an address.
  - Where the cluster has the API for them and their storage can do it, snapshots are made of the volumes of tenants. They stay in the
    storage, also when the namespace or the cluster goes, and go with the backup.
  - What a release brings is not saved, as M(mlplatform.kubeflow.apply) makes it anew.
  - A run that was killed is gone on with by running it again. The data itself is only read.
  - The record of the cluster then says when and where the data of a component was saved, which answers acknowledgements of an upgrade.
extends_documentation_fragment:
  - mlplatform.kubeflow.data
  - mlplatform.kubeflow.run.engine
  - mlplatform.kubeflow.data.cluster
options:
  recipients:
    description:
      - Public keys that the backup is encrypted for, of age (V(age1...)) or of ssh. Needs the Python library pyrage.
      - The matching identity is needed only to restore.
    type: list
    elements: str
    default: []
  secrets:
    description: Whether Secrets and the record are saved though the backup is not encrypted. Whoever reads it then has them.
    type: bool
    default: false
  keep:
    description: How many finished backups of this cluster stay; older ones are removed. V(0) keeps all.
    type: int
    default: 0
  keep_days:
    description: How old backups of this cluster may get, in days. The newest finished one always stays. V(0) keeps all.
    type: float
    default: 0.0
  verify:
    description: Whether dumps are read back and their rows counted again. What is encrypted for O(recipients) alone cannot be opened here.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Every run makes a backup.
seealso:
  - module: mlplatform.kubeflow.restore
  - module: mlplatform.kubeflow.backup_info
"""

EXAMPLES = r"""
- name: Save everything, encrypted, and keep a week of it
  mlplatform.kubeflow.backup:
    place: /srv/backups
    recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
    keep: 7

- name: Save the databases alone
  mlplatform.kubeflow.backup:
    place: s3://backups/factory-1
    s3:
      endpoint: https://s3.site:9000
    parts: [database]
"""

RETURN = r"""
msg:
  description: What was saved, a line for each part; on failure the first cause and the next step.
  returned: always
  type: str
backup:
  description: The backup in figures, its id among them.
  returned: always
  type: dict
removed:
  description: Ids of older backups that went.
  returned: always
  type: list
  elements: str
results:
  description: Path of the result file, empty if none is kept.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import BACKUP
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._data_operation import run_backup
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(BACKUP), supports_check_mode=True)
    answer = run_backup(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
