#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``catalogue_info``, and ``catalogue_info`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: catalogue_info
version_added: 1.0.0
short_description: The components that a cluster shall have
description:
  - Expands V(default) or V(all), or takes a list of components, adds and takes out single ones, and puts them in the order of
    their dependencies.
  - Refuses unknown releases and components, with the nearest name, and a set that lacks what one of its components needs.
  - Reads release data only; no cluster is asked.
options:
  version:
    description:
      - The Kubeflow release, a name of the release data.
      - Default is the newest one that the collection knows.
    type: str
  components:
    description: V(default), V(all) or a list of components.
    type: raw
    default: default
  switches:
    description:
      - Components to add (V(true)) or to take out (V(false)), whatever O(components) says.
      - The action also heeds the variables C(<component>_enabled) of the host; this option has the last word.
    type: dict
    default: {}
  add_dependencies:
    description: Whether components that others need are added instead of missed.
    type: bool
    default: false
  release_dirs:
    description: More folders with release data.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Can run in check mode and say what would change, without changing anything.
    support: full
  diff_mode:
    description: Returns what changed, or would change in check mode.
    support: none
  idempotent:
    description: Run again with the same arguments and nothing else changed, it changes nothing.
    support: full
requirements:
  - PyYAML
seealso:
  - module: mlplatform.kubeflow.apply
author:
  - mlplatform.kubeflow contributors (@mlplatform)
"""

EXAMPLES = r"""
- name: What Katib needs
  mlplatform.kubeflow.catalogue_info:
    components: [katib]
    add_dependencies: true
"""

RETURN = r"""
msg:
  description: The outcome in one line; on failure the first cause and the next step.
  returned: always
  type: str
release:
  description: The release that was meant.
  returned: success
  type: str
releases:
  description: Every release that is known.
  returned: success
  type: list
  elements: str
components:
  description: Names in the order of their dependencies.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import CATALOGUE_INFO
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._operations import run_catalogue_info


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(CATALOGUE_INFO), supports_check_mode=True)
    answer = run_catalogue_info(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
