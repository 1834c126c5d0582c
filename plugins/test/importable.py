# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test: is a Python library there."""

from __future__ import annotations

DOCUMENTATION = r"""
name: importable
author: mlplatform.kubeflow contributors (@mlplatform)
short_description: Whether the controller's Python finds a library
description:
  - Looks for the library without loading it.
options:
  _input:
    description: The name that is imported, such as C(yaml).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Want PyYAML
  ansible.builtin.assert:
    that: "'yaml' is mlplatform.kubeflow.importable"
"""

RETURN = r"""
_value:
  description: Whether it was found.
  type: bool
"""

import importlib.util
from typing import Any, Callable, Dict


def importable(name: str) -> bool:
    """Whether a top-level package of that name could be imported by this interpreter."""
    return importlib.util.find_spec(str(name)) is not None


class TestModule:
    """See DOCUMENTATION."""

    def tests(self) -> Dict[str, Callable[..., Any]]:
        """The one test of this file."""
        return {"importable": importable}
