#!/usr/bin/python
# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the documentation of ``images``, and ``images`` on a host that has what it needs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: images
version_added: 1.0.0
short_description: Say which images a release of Kubeflow can ever pull
description:
  - Renders what a site has of a release and finds every image in it, wherever it is named, with all its places.
  - These are fields of pods and custom resources, environments, arguments, YAML and JSON inside ConfigMaps, names whose registry and tag
    stand elsewhere, templates, programs, annotations; and those that only a program's code names, which release data knows.
  - Needs no cluster. Patches and images of the site count.
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
  - module: mlplatform.kubeflow.kustomize
"""

EXAMPLES = r"""
- name: List the images of a release
  mlplatform.kubeflow.images:
    version: "26.03"
    results_dir: /srv/kubeflow

- name: List those of two components
  mlplatform.kubeflow.images:
    components: [katib, pipelines]
    add_dependencies: true
"""

RETURN = r"""
msg:
  description: How many images of which registry, and which have no tag that can be relied on.
  returned: always
  type: str
release:
  description: The release.
  returned: success
  type: str
images:
  description: Every image with C(reference), C(registry), C(floating) and C(places); the result file has the same.
  returned: success
  type: list
  elements: dict
results:
  description: Path of the result file, empty if none is kept.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._arguments import IMAGES
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.progress import Silent
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._images_operation import run_images


def main() -> None:
    """Run the operation with this module's arguments."""
    module = AnsibleModule(argument_spec=dict(IMAGES), supports_check_mode=True)
    answer = run_images(module.params, "localhost", module.check_mode, Silent(), None)
    if answer.pop("failed"):
        module.fail_json(**answer)
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
