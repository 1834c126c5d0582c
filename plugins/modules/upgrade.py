#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``upgrade``, and ``upgrade`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: upgrade
version_added: 1.0.0
short_description: Move a cluster from one Kubeflow release to another
description:
  - Goes from the recorded release to O(version) one hop at a time, as release data allows it. A longer way is split.
  - Each hop is planned, applied in the order of dependencies until all is healthy, followed by the moves of storage
    versions, by what tenants' controllers have to make anew, and by removing what the release has no more.
  - What could lose data is never done by itself. A hop that leaves data behind needs a name in O(acks).
  - A run that was killed is resumed by running it again. Where the release is there already it does what M(mlplatform.kubeflow.apply)
    does.
extends_documentation_fragment:
  - mlplatform.kubeflow.run
  - mlplatform.kubeflow.run.engine
  - mlplatform.kubeflow.run.cluster
  - mlplatform.kubeflow.run.hop
attributes:
  check_mode:
    support: full
    details: The first hop is planned; later ones depend on what that one does.
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: mlplatform.kubeflow.plan
  - module: mlplatform.kubeflow.apply
"""

EXAMPLES = r"""
- name: Go to 26.03, and say yes to what the hops ask
  mlplatform.kubeflow.upgrade:
    version: "26.03"
    acks:
      - ack-v1.11.0-object-store
      - ack-v1.11.0-mysql
"""

RETURN = r"""
msg:
  description: A line for each hop; on failure the first cause, what was expected and found, and the next step.
  returned: always
  type: str
results:
  description: Path of the result file, empty if none is kept.
  returned: always
  type: str
summary:
  description: Each hop with its state, V(done), V(failed), or V(stopped) before its first write.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import UPGRADE
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._upgrade_operation import run_upgrade


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(UPGRADE), supports_check_mode=True)
    answer = run_upgrade(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
