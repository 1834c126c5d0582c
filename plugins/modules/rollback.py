#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``rollback``, and ``rollback`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback
version_added: 1.0.0
short_description: Take a cluster, or some of its components, back to a revision
description:
  - What a revision holds is wanted again. It is planned, applied in the order of dependencies and waited for as everything else is;
    what it does not hold and what we wrote is removed, as far as O(prune) allows.
  - Secrets keep their live values and CustomResourceDefinitions stay as they are; both are never rolled back, nor is any data.
  - Single components (O(scope)) go back within their release. Over a change of release the whole platform goes back, one hop at a time,
    each to the last revision of its release.
  - What went forward and does not come back (a converted database, objects stored in a version that the earlier release does not know) is
    a reason to refuse, unless it is named in O(accept).
  - A run that was killed is resumed by running it again. Run again after its end it changes nothing.
extends_documentation_fragment:
  - mlplatform.kubeflow.run
  - mlplatform.kubeflow.run.engine
  - mlplatform.kubeflow.run.cluster
options:
  to:
    description:
      - The number of a revision, or V(previous) for what was there before the last change of the components in O(scope).
      - After a run that failed V(previous) is the newest revision, the last one with which all was healthy.
    type: str
    default: previous
  accept:
    description:
      - Names of what speaks against it and is accepted all the same; a refusal says them.
      - A one-way door (V(mysql-8.4)); a definition whose objects are stored in a version that the earlier release does not know; an object
        that stays as it is because it held a secret that is lost (V(ConfigMap auth/dex)).
    type: list
    elements: str
    default: []
  replace:
    description: Full names of objects that may be deleted and made anew because a field of them cannot be changed.
    type: list
    elements: str
    default: []
  prune:
    description:
      - What happens to objects that we wrote and that the revision does not have.
      - V(report) deletes nothing, V(safe) what holds no data, V(all) also what somebody took our label from.
    type: str
    default: safe
    choices: [report, safe, all]
  prune_named:
    description: Full names of objects that may be deleted although data goes with them.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    details: Over several releases the first step is planned; later ones depend on what that one does.
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: mlplatform.kubeflow.revisions_info
  - module: mlplatform.kubeflow.upgrade
"""

EXAMPLES = r"""
- name: Undo the last change of Katib
  mlplatform.kubeflow.rollback:
    scope: [katib]

- name: Take the whole platform back
  mlplatform.kubeflow.rollback:
    to: "3"
"""

RETURN = r"""
msg:
  description: What was done, and what stays as it is; on failure the first cause, what was expected and found, and the next step.
  returned: always
  type: str
revision:
  description: The number of the revision that was gone to.
  returned: once it was found
  type: int
results:
  description: Path of the result file, empty if none is kept.
  returned: once it was found
  type: str
summary:
  description: Each step with its revision, its releases and its state, V(done), V(failed), or V(stopped) before its first write.
  returned: once it was found
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import ROLLBACK
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._rollback_operation import run_rollback


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(ROLLBACK), supports_check_mode=True)
    answer = run_rollback(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
