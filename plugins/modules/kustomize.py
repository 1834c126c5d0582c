#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``kustomize``, and ``kustomize`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kustomize
version_added: 1.0.0
short_description: Render components of a release
description:
  - Fetches and checks upstream's sources, writes an overlay for each component, and renders all of them in parallel with
    the kustomize version that the release wants.
  - Renders are cached by content; one with patches of the user is never cached.
extends_documentation_fragment:
  - mlplatform.kubeflow.run
  - mlplatform.kubeflow.run.engine

attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  dest:
    description:
      - File to put the objects into, as a List that kubectl reads; only its owner can read it.
      - Default is to render without keeping the objects.
    type: path
"""

EXAMPLES = r"""
- name: Render KServe into a file
  mlplatform.kubeflow.kustomize:
    components: [serving]
    add_dependencies: true
    scope: [serving]
    dest: /tmp/serving.json
"""

RETURN = r"""
msg:
  description: Number of objects and components, and the seconds that it took.
  returned: always
  type: str
dest:
  description: The file, empty if none was asked for.
  returned: success
  type: str
sha256:
  description: Digest of the rendered objects.
  returned: success
  type: str
components:
  description: Number of objects of each component.
  returned: success
  type: dict
objects:
  description: Number of objects.
  returned: success
  type: int
seconds:
  description: Seconds that rendering took.
  returned: success
  type: float
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import KUSTOMIZE
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._operations import run_kustomize


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(KUSTOMIZE), supports_check_mode=True)
    answer = run_kustomize(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
