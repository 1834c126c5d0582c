#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``apply``, and ``apply`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apply
version_added: 1.0.0
short_description: Bring a cluster to its desired state
description:
  - Renders the components, plans, writes what differs in the order of their dependencies, waits until all is healthy, and
    records what it wrote in the cluster.
  - An object that does not differ is never written. Nothing is forced, nothing is retried in the hope that it may work;
    a run that was killed is resumed by running it again.
extends_documentation_fragment:
  - mlplatform.kubeflow.run
  - mlplatform.kubeflow.run.engine
  - mlplatform.kubeflow.run.cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: mlplatform.kubeflow.plan
  - module: mlplatform.kubeflow.health
"""

EXAMPLES = r"""
- name: Install the newest release
  mlplatform.kubeflow.apply:
    kubeconfig: ~/.kube/config

- name: Take over a Katib that kubectl installed
  mlplatform.kubeflow.apply:
    components: [common, cert_manager, istio, katib]
    adopt: [katib]
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

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import APPLY
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._operations import run_apply


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(APPLY), supports_check_mode=True)
    answer = run_apply(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
