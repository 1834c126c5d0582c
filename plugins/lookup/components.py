# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookup: the desired set of a cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
name: components
author: mlplatform.kubeflow contributors (@mlplatform)
short_description: The components that a cluster shall have
description:
  - Expands C(default) or C(all), or takes a list, then heeds the variables C(<component>_enabled) of the host.
  - Refuses unknown names and missing dependencies.
options:
  _terms:
    description: Names of components, or one of C(default) and C(all).
    type: list
    elements: str
    required: true
  also:
    description: A component that is wanted whatever the rest says. Empty for none.
    type: str
    default: ""
  version:
    description: The release. Empty for the newest one that is known.
    type: str
    default: ""
  add_dependencies:
    description: Whether to add what a component needs, and not to refuse.
    type: bool
    default: false
  release_dirs:
    description: More folders with release data.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Say what the cluster shall have
  ansible.builtin.debug:
    msg: "{{ query('mlplatform.kubeflow.components', 'default') }}"
"""

RETURN = r"""
_raw:
  description: Names in the order of their dependencies.
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any, Dict, List

from ansible.errors import AnsibleLookupError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.lookup import LookupBase
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.catalogue import Catalogue, Release, resolve
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.errors import EngineError

PRESETS = ("default", "all")


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms: List[Any], variables: Any = None, **kwargs: Any) -> List[str]:
        """The desired set, in order.

        :raises AnsibleLookupError: a name, a release or a dependency that does not exist, or a switch that is no boolean.
        """
        self.set_options(var_options=variables, direct=kwargs)
        wanted = [str(name) for term in terms for name in (term if isinstance(term, list) else [term])]
        try:
            catalogue = Catalogue.load([Path(one).expanduser() for one in self.get_option("release_dirs")])
            release = catalogue.release(self.get_option("version") or catalogue.newest)
            switches = self._switches(release, variables or {})
            if self.get_option("also"):
                switches[self.get_option("also")] = True
            return desired_set(release, wanted, switches, add_dependencies=self.get_option("add_dependencies"))
        except EngineError as error:
            raise AnsibleLookupError(str(error)) from error

    def _switches(self, release: Release, variables: Any) -> Dict[str, bool]:
        """The values of ``<component>_enabled`` that somebody set."""
        found = {}
        for name in release.components:
            switch = variables.get("%s_enabled" % name)
            if switch is not None:
                try:
                    found[name] = boolean(self._templar.template(switch))
                except TypeError as error:
                    raise AnsibleLookupError("%s_enabled: %s" % (name, error)) from error
        return found


def desired_set(release: Release, wanted: List[str], switches: Dict[str, bool], *, add_dependencies: bool) -> List[str]:
    """Names of components in the order of their dependencies.

    :param wanted: presets and names.
    :param switches: components to add or to take out, whatever ``wanted`` says.
    :raises EngineError: an unknown component, or a needed one that is not in the set.
    """
    presets = [name for name in wanted if name in PRESETS]
    names = set(wanted).difference(PRESETS)
    if presets:
        names.update(one.name for one in resolve(release, presets, add_dependencies=True))
    names = {name for name in names if switches.get(name, True)} | {name for name, on in switches.items() if on}
    return [one.name for one in resolve(release, sorted(names), add_dependencies=add_dependencies)]
