#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``plan``, and ``plan`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
version_added: 1.0.0
short_description: Say what apply or upgrade would do to a cluster
description:
  - Renders the components, reads the cluster with one list per kind, and gives every object a verdict with its reason.
  - Writes nothing. Objects that differ, and no others, are sent as a dry run to learn what would change in them.
  - Where the cluster has an older release it says what each hop of the way would do, the first one from the cluster, the others by
    comparing releases. With O(from_version) no cluster is asked at all.
  - Leaves C(plan.json) behind, and beside it C(plan.html), a page that needs no network.
extends_documentation_fragment:
  - mlplatform.kubeflow.run
  - mlplatform.kubeflow.run.engine
  - mlplatform.kubeflow.run.cluster
  - mlplatform.kubeflow.run.hop
options:
  from_version:
    description:
      - The release to start from. It and O(version) are compared with each other, hop by hop.
      - Default is what the cluster has.
    type: str
  fail_on:
    description:
      - What must not be in the plan. If it is, the module fails, after it has written its results.
      - V(dangerous) is what could lose data, V(replace) an object that has to be deleted and made anew.
      - What O(prune_named) and O(replace) name does not count.
    type: list
    elements: str
    default: []
    choices: [dangerous, replace]
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: mlplatform.kubeflow.apply
  - module: mlplatform.kubeflow.upgrade
"""

EXAMPLES = r"""
- name: What would change in Katib
  mlplatform.kubeflow.plan:
    kubeconfig: ~/.kube/config
    scope: [katib]

- name: What an upgrade would do, without a cluster; fail if data is at stake
  mlplatform.kubeflow.plan:
    from_version: v1.10.2
    version: v1.11.0
    fail_on: [dangerous]
    results_dir: /tmp/hop
"""

RETURN = r"""
msg:
  description: The outcome in a few lines; on failure the first cause, what was expected and found, and the next step.
  returned: always
  type: str
results:
  description: Path of the result file, empty if none is kept.
  returned: always
  type: str
summary:
  description: Counts per verdict, requests that were sent, seconds per phase.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import LOOK
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._plan_operation import run_plan


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(LOOK), supports_check_mode=True)
    answer = run_plan(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
