#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``revisions_info``, and ``revisions_info`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: revisions_info
version_added: 1.0.0
short_description: List the revisions of a cluster
description:
  - Lists what M(mlplatform.kubeflow.rollback) can go back to, with one request that brings no content.
  - Of the options only those that lead to the cluster matter; the others are there so that the action group can be used.
extends_documentation_fragment:
  - mlplatform.kubeflow.run
  - mlplatform.kubeflow.run.engine
  - mlplatform.kubeflow.run.cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: mlplatform.kubeflow.rollback
"""

EXAMPLES = r"""
- name: What can be gone back to
  mlplatform.kubeflow.revisions_info:
    kubeconfig: ~/.kube/config
"""

RETURN = r"""
msg:
  description: A line for each revision, the newest first, with what is different from the one before it.
  returned: always
  type: str
revisions:
  description: The revisions, the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    number:
      description: What O(mlplatform.kubeflow.rollback#module:to) calls it.
      type: int
    release:
      description: The release.
      type: str
    written:
      description: When it was written, UTC.
      type: str
    run:
      description: The run that wrote it, as in the result files.
      type: str
    kustomize:
      description: The version of kustomize that rendered it.
      type: str
    objects:
      description: How many objects it holds.
      type: int
    rollback_to:
      description: The revision that a rollback went back to when this one was written; null if it was no rollback.
      type: int
    components:
      description: Its components with C(catalogue), C(version), C(digest) and C(objects). Equal digests mean that the same was wanted.
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import REVISIONS_INFO
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._rollback_operation import run_revisions_info


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(REVISIONS_INFO), supports_check_mode=True)
    answer = run_revisions_info(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
