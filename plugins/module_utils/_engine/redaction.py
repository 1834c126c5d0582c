# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be shown: values of Secrets and secret-looking values never leave the engine.

Used by everything that prints, returns or writes: the plan's changes, the server's error messages.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Iterable, Iterator, Set, Tuple

from .objects import KubeObject, ObjectRef

MASK = "***"
SECRET_NAME = re.compile(r"passw|secret|token|credential|private|api.?key|access.?key|client.?id", re.IGNORECASE)
# A shorter value would mask ordinary words of other texts.
SHORTEST = 6
WIDEST = 80
_ASSIGNMENT = re.compile(r"""^\s*["']?([\w.\-]+)["']?\s*[:=]\s*["']?(.+?)["']?\s*,?\s*$""")


class Redactor:
    """Knows the secret values of a run and takes them out of texts."""

    def __init__(self) -> None:
        self._values: Set[str] = set()

    def learn(self, obj: KubeObject) -> None:
        """Remember the values of a Secret, plain and in base64, and secret-looking ones of other objects."""
        if obj.get("kind") == "Secret":
            for value in (obj.get("data") or {}).values():
                self._add(str(value))
                try:
                    self._add(base64.b64decode(value or "").decode())
                except (ValueError, UnicodeDecodeError):
                    continue
            for value in (obj.get("stringData") or {}).values():
                self._add(str(value))
        else:
            self.learn_value(obj)

    def learn_value(self, value: Any) -> None:
        """Remember every string below a secret-looking name, also inside YAML or JSON text."""
        for secret in _secret_looking(value, ""):
            self._add(secret)

    def _add(self, value: str) -> None:
        parts = (part.strip() for part in [value, *value.splitlines()])
        self._values.update(part for part in parts if len(part) >= SHORTEST)

    def scrub(self, text: str) -> str:
        """The text without any known secret value."""
        for value in sorted(self._values, key=len, reverse=True):
            if value in text:
                text = text.replace(value, MASK)
        return text


def _secret_looking(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        pair_name = value.get("name")
        for key, below in value.items():
            paired = key == "value" and isinstance(pair_name, str)
            yield from _secret_looking(below, str(pair_name) if paired else str(key))
    elif isinstance(value, list):
        for below in value:
            yield from _secret_looking(below, name)
    elif isinstance(value, str):
        if SECRET_NAME.search(name) and "\n" not in value:
            yield value
        elif "\n" in value:
            for line in value.splitlines():
                found = _ASSIGNMENT.match(line)
                if found and SECRET_NAME.search(found.group(1)):
                    yield found.group(2)


def shown_change(ref: ObjectRef, change: Tuple[str, Any, Any], user_patched: bool) -> Tuple[str, str, str]:
    """One changed field as a person may see it: (path, before, after)."""
    path, before, after = change
    if ref.kind == "Secret" and path.startswith(("data", "stringData")):
        return path, _presence(before), _presence(after)
    if ref.kind == "ConfigMap" and path.startswith(("data", "binaryData")):
        return path, _size(before), _size(after)
    if "last-applied-configuration" in path or SECRET_NAME.search(path.rsplit(".", 1)[-1]):
        return path, _presence(before), _presence(after)
    if re.search(r"\[[^\]]*(%s)[^\]]*\]\.value$" % SECRET_NAME.pattern, path, re.IGNORECASE):
        return path, _presence(before), _presence(after)
    if user_patched and not path.endswith(".image") and any(_has_text(value) for value in (before, after)):
        return path, _presence(before), _presence(after)
    return path, _short(before), _short(after)


def _has_text(value: Any) -> bool:
    return not (value is None or isinstance(value, (bool, int, float)))


def _presence(value: Any) -> str:
    return "(none)" if value is None else MASK


def _size(value: Any) -> str:
    if value is None:
        return "(none)"
    lines = str(value).count("\n") + 1
    return "1 line" if lines == 1 else "%d lines" % lines


def _short(value: Any) -> str:
    if value is None:
        return "(none)"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    text = text.replace("\n", "\\n")
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."


def learn_all(redactor: Redactor, objects: Iterable[KubeObject]) -> None:
    """Teach the redactor every Secret among the objects."""
    for obj in objects:
        if obj.get("kind") == "Secret":
            redactor.learn(obj)
