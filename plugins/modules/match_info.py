#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``match_info``, and ``match_info`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: match_info
version_added: 1.0.0
short_description: Tell which Kubeflow release a cluster holds that somebody else installed
description:
  - Renders every known release as upstream has it and compares names and images with what is in the cluster.
  - Writes nothing. What the server would change in the fields is said by M(mlplatform.kubeflow.plan) of that release with
    O(mlplatform.kubeflow.plan#module:adopt) set to V(all).
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
  - module: mlplatform.kubeflow.plan
  - module: mlplatform.kubeflow.apply
"""

EXAMPLES = r"""
- name: Find out what is there before taking it over
  mlplatform.kubeflow.match_info:
    kubeconfig: ~/.kube/config
"""

RETURN = r"""
msg:
  description: A table of the releases, and of the best match what is missing or has another image.
  returned: always
  type: str
release:
  description: The best match, empty if nothing of any release is there.
  returned: success
  type: str
matches:
  description: Every release with the numbers of objects and images, the best first; the result file names them.
  returned: success
  type: list
  elements: dict
results:
  description: Path of the result file, empty if none is kept.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import MATCH
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._match_operation import run_match


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(MATCH), supports_check_mode=True)
    answer = run_match(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
