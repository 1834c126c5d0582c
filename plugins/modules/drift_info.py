#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``drift_info``, and ``drift_info`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drift_info
version_added: 1.0.0
short_description: Say who changed what of the objects that we wrote
description:
  - Compares the cluster with what the last run left behind, and names every field that is not as we want it with the field manager that
    owns it now, when that last wrote, what the field is and what we want. Objects that somebody removed or made anew are named too.
  - Reports a caBundle of a webhook or of a CustomResourceDefinition that does not fit the CA that it comes from, and an empty one.
  - Writes nothing and reverts nothing. M(mlplatform.kubeflow.apply) puts back what drifted, with O(conflicts=ours) also where another
    manager owns the field.
  - What controllers fill at run time is no drift, and neither are fields that somebody added beside ours.
extends_documentation_fragment:
  - mlplatform.kubeflow.run
  - mlplatform.kubeflow.run.engine
  - mlplatform.kubeflow.run.cluster
options:
  fail:
    description: Whether drift is a failure, so that a scheduler sees it in the exit status.
    type: bool
    default: true
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
- name: Look for drift, and go on whatever is found
  mlplatform.kubeflow.drift_info:
    kubeconfig: ~/.kube/config
    fail: false
  register: drift

- name: Say which objects drifted
  ansible.builtin.debug:
    msg: "{{ drift.objects | map(attribute='object') }}"
"""

RETURN = r"""
msg:
  description: A table of what drifted; on failure the first cause, what was expected and found, and the next step.
  returned: always
  type: str
drifted:
  description: Whether anything drifted.
  returned: always
  type: bool
objects:
  description: Every object that drifted, as in C(drift.json).
  returned: always
  type: list
  elements: dict
results:
  description: Path of the result file, empty if none is kept.
  returned: always
  type: str
summary:
  description: Counts by kind of drift, requests that were sent, seconds per phase.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import DRIFT
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._drift_operation import run_drift_info
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(DRIFT), supports_check_mode=True)
    answer = run_drift_info(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
