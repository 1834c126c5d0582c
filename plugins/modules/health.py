#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``health``, and ``health`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health
version_added: 1.0.0
short_description: Judge whether the components of a cluster are healthy
description:
  - Reads the cluster with one list per kind and judges every object that can be unhealthy; workloads that are late are
    explained by their pods.
  - Fails if anything is not healthy, with the first cause of each component.
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
  - module: mlplatform.kubeflow.apply
"""

EXAMPLES = r"""
- name: Is everything healthy
  mlplatform.kubeflow.health:
    kubeconfig: ~/.kube/config
"""

RETURN = r"""
msg:
  description: The state of every component in lines of 80 columns.
  returned: always
  type: str
healthy:
  description: Whether every component is.
  returned: always
  type: bool
components:
  description: For each component its C(state), C(first_cause), C(evidence) and C(next_step).
  returned: always
  type: dict
results:
  description: Path of the result file, empty if none is kept.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import HEALTH
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._operations import run_health


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(HEALTH), supports_check_mode=True)
    answer = run_health(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
