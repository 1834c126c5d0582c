# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup: what the roles of components were told, as one value that exists only while a task is templated."""

from __future__ import annotations

DOCUMENTATION = r"""
name: declarations
author: mlplatform.kubeflow contributors (@mlplatform)
short_description: Patches, images and replicas of components
description:
  - Collects the variables C(<component>_patches), C(<component>_images) and C(<component>_replicas) of the host.
  - The value is made while a task's arguments are made, so what a patch holds never becomes a fact, is never
    registered and is never cached.
options:
  _terms:
    description: Names of components.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Apply Katib and Dex with what their roles were told
  mlplatform.kubeflow.apply:
    scope: [katib, dex]
    declarations: "{{ lookup('mlplatform.kubeflow.declarations', 'katib', 'dex') }}"
"""

RETURN = r"""
_raw:
  description: One dictionary with a key for each component, and in it the keys C(patches), C(images) and C(replicas).
  type: list
  elements: dict
"""

from typing import Any, Dict, List

from ansible.plugins.lookup import LookupBase

EMPTY: Dict[str, Any] = {"patches": [], "images": {}, "replicas": {}}


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: List[str], variables: Any = None, **kwargs: Any) -> List[Any]:
        """One dictionary for all names; a variable that nobody set counts as empty."""
        self.set_options(var_options=variables, direct=kwargs)
        known = variables or {}
        return [
            {
                name: {part: self._templar.template(known.get("%s_%s" % (name, part), empty)) for part, empty in EMPTY.items()}
                for name in terms
            }
        ]
