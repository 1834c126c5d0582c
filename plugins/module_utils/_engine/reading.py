# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a release file: typed values, and errors that say where in the file they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Tuple, Union

from .errors import EngineError


class Reader:
    """One mapping of a release file: typed values, and errors that say where."""

    def __init__(self, value: Any, file: Path, place: str = "") -> None:
        self._file, self._place = file, place
        if not isinstance(value, dict):
            raise self.wrong("", "a mapping", value)
        self._value = value

    def wrong(self, key: str, expected: str, found: Any) -> EngineError:
        """The error for a value that is not as expected."""
        place = ".".join(part for part in (self._place, key) if part)
        return EngineError(
            "wrong release data at '%s'" % (place or "the top"),
            subject=str(self._file),
            expected=expected,
            found="nothing" if found is None else repr(found),
            next_step="docs/release-data.md explains every key",
        )

    def only(self, *keys: str) -> None:
        """Refuse any other key: a misspelt one would be ignored in silence."""
        for key in self._value:
            if key not in keys:
                raise self.wrong(str(key), "one of " + ", ".join(keys), self._value[key])

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._value

    def text(self, key: str, default: Union[str, None] = None) -> str:
        """A text; a number that YAML made of one (26.03 without quotes) is refused."""
        value = self._value.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "a text (in quotes if it looks like a number)", value)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self._value.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false", value)
        return value

    def number(self, key: str, default: int) -> int:
        """A whole number."""
        value = self._value.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, "a whole number", value)
        return value

    def texts(self, key: str) -> Tuple[str, ...]:
        """A list of texts; empty when absent."""
        value = self._value.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of texts", value)
        return tuple(value)

    def one(self, key: str) -> Reader:
        """A mapping that has to be there."""
        return Reader(self._value.get(key), self._file, (self._place + "." + key).lstrip("."))

    def each(self, key: str) -> List[Tuple[str, Reader]]:
        """The entries of a mapping, or of a list (numbered); empty when absent."""
        value = self._value.get(key) or {}
        place = (self._place + "." + key).lstrip(".")
        if isinstance(value, list):
            return [(str(at), Reader(item, self._file, "%s[%d]" % (place, at))) for at, item in enumerate(value)]
        if not isinstance(value, dict):
            raise self.wrong(key, "a mapping or a list", value)
        return [(str(name), Reader(item, self._file, "%s.%s" % (place, name))) for name, item in value.items()]
