#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``uninstall``, and ``uninstall`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: uninstall
version_added: 1.0.0
short_description: Remove the platform, or components of it, and keep the data
description:
  - Deletes what the record in the cluster says that this collection wrote, and what the platform's own programs made of it. Each
    deletion names the uid that was recorded.
  - Webhook configurations and APIServices go first, custom resources before the controllers that clean up after them, namespaces
    last. What a finalizer holds is waited for and named.
  - Data stays unless O(delete_data) names it. Volumes, users' objects of the platform's kinds with these kinds, profiles, and every
    namespace that holds something which is not ours are data. They lose our label, and the record remembers them for a later install.
  - A component that others need is refused. A run that was killed is resumed by running it again.
  - Nothing is rendered, so O(version), O(components), O(declarations), O(mirror), O(kustomize), O(conflicts), O(adopt) and O(lint) have
    no effect here.
extends_documentation_fragment:
  - mlplatform.kubeflow.run
  - mlplatform.kubeflow.run.engine
  - mlplatform.kubeflow.run.cluster
options:
  scope:
    description: The components to remove. Left empty, everything that the record has.
    type: list
    elements: str
    default: []
  spare:
    description: Components that stay, of those to remove.
    type: list
    elements: str
    default: []
  delete_data:
    description:
      - Data that goes too, as classes and as full names of single objects (V(PersistentVolumeClaim kubeflow/minio-pvc)).
      - V(volumes) are the PersistentVolumeClaims in the platform's own namespaces, and what the storage deletes with them.
      - V(custom_resources) are users' objects of the platform's kinds in every namespace, except profiles.
      - V(profiles) are the profiles, each with its namespace and all that is in it.
      - V(namespaces) are the platform's own namespaces with what else is in them, such as Secrets and workloads of yours.
    type: list
    elements: str
    default: []
  confirm:
    description: The name of the cluster again. Nothing is deleted for O(delete_data) without it.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: mlplatform.kubeflow.apply
"""

EXAMPLES = r"""
- name: Remove Katib and keep its database
  mlplatform.kubeflow.uninstall:
    scope: [katib]

- name: Remove everything, with the volumes of the platform
  mlplatform.kubeflow.uninstall:
    cluster: factory-1
    delete_data: [volumes]
    confirm: factory-1
"""

RETURN = r"""
msg:
  description: What was, or would be, removed, what stays and why; on failure the first cause and the next step.
  returned: always
  type: str
kept:
  description: What stays, each with its reason.
  returned: always
  type: list
  elements: dict
results:
  description: Path of the result file, empty if none is kept.
  returned: always
  type: str
summary:
  description: Counts, requests that were sent, seconds per phase.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import UNINSTALL
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._uninstall_operation import run_uninstall


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(UNINSTALL), supports_check_mode=True)
    answer = run_uninstall(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
