# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML that people wrote: what is wrong with it, and where, without quoting it."""

from __future__ import annotations

import sys
from typing import Any, List, Union

from .errors import MissingLibrary
from .objects import load_yaml

try:
    import yaml

    _TEXTS: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # the first needs libyaml
    HAS_YAML = True
except ImportError:
    HAS_YAML = False


class NotYaml(Exception):
    """The text is not YAML.

    :ivar line: counted from 1; 0 if it is not known.
    :ivar reason: what the parser says, without the text itself, which may be secret.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__("not YAML%s: %s" % (" in line %d" % line if line else "", reason))
        self.line = line
        self.reason = reason


def parse(text: Union[bytes, str], *, plain: bool = False) -> List[Any]:
    """Every document of a text that is not empty.

    :param plain: leave every scalar a text, whatever tag or form it has.
    :raises NotYaml: it is not YAML.
    """
    if not HAS_YAML:
        raise MissingLibrary("PyYAML", sys.executable)
    try:
        return list(yaml.load_all(text, Loader=_TEXTS)) if plain else load_yaml(text)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        raise NotYaml(mark.line + 1 if mark else 0, getattr(problem, "problem", None) or "it cannot be read") from None
