# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be shown: values of Secrets and secret-looking values never leave the engine.

Used by everything that prints, returns or writes: progress, the plan's changes, errors, results.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Iterable, Iterator, List, Mapping, Set, Tuple

from .errors import EngineError
from .objects import KubeObject, ObjectRef
from .overlay import Patch
from .progress import Progress

MASK = "***"
SECRET_NAME = re.compile(r"passw|passphrase|pwd?$|secret|token|credential|private|api.?key|access.?key|client.?id", re.IGNORECASE)
# Names that say where a secret is, not what it is: secretName, tokenPath, secretKeyRef, private_registry_url.
_PLACE = re.compile(r"(name|ref|path|namespace|file|dir|url|uri|endpoint|type|kind)s?$", re.IGNORECASE)
# A shorter value would mask ordinary words of other texts.
SHORTEST = 6
WIDEST = 80
_LINE = re.compile(r"""^\s*(?:-\s+)?["']?([\w.\-]+)["']?\s*[:=]\s*["']?(.+?)["']?\s*,?\s*$""")
_JSON_PAIR = re.compile(r'"([\w.\-]+)"\s*:\s*"((?:[^"\\]|\\.)*)"')
_FLOW_PAIR = re.compile(r"""[{,]\s*["']?([\w.\-]+)["']?\s*:\s*["']?([^"',{}\[\]\s]+)""")
_OPTION = re.compile(r"(--?([\w.\-]+)[= ])(\S+)")
_IN_URL = re.compile(r"(://[^/\s:@]+:)([^@\s/]+)(?=@)")
_WORD = re.compile(r"[A-Za-z]+")
_ARMOUR = "-----"
_HEAD = ("apiVersion", "kind", "metadata", "type")


def looks_secret(name: str) -> bool:
    """Whether the value under this name is one that nobody may see."""
    return bool(SECRET_NAME.search(name)) and not _PLACE.search(name)


class Redactor:
    """Knows the secret values of a run and takes them out of texts."""

    def __init__(self) -> None:
        self._values: Set[str] = set()
        self._longest_first: List[str] = []

    # ---------------------------------------------------------------- learning

    def learn(self, obj: Mapping[str, Any]) -> None:
        """Remember the values of a Secret, plain and in base64, and secret-looking ones of other objects."""
        if obj.get("kind") != "Secret":
            self.learn_value(obj)
            return
        for value in _values(obj.get("data")):
            self._add(value)
            try:
                self._add(base64.b64decode(value, validate=True).decode())
            except ValueError:  # no base64, or no text
                continue
        for value in _values(obj.get("stringData")):
            self._add(value)

    def learn_value(self, value: Any, name: str = "") -> None:
        """Remember every string below a secret-looking name, also inside YAML or JSON text."""
        for secret in _secret_looking(value, name):
            self._add(secret)

    def learn_patch(self, patch: Patch) -> None:
        """Remember what a user's patch may hold: values for a Secret, environment values, secret-looking ones."""
        body = json.loads(patch.text)
        kind = patch.target.get("kind", "")
        operations = body if isinstance(body, list) else []
        if isinstance(body, dict):
            self.learn_value(body)
            if not kind or "Secret" in kind:
                self.learn({**body, "kind": "Secret"})
                for value in _texts({key: below for key, below in body.items() if key not in _HEAD}):
                    self._add(value)
        for operation in operations:
            path = str(operation.get("path", "")).split("/")
            value = operation.get("value")
            self.learn_value(value, path[-1])
            if kind in ("", "Secret") and path[1:2] in (["data"], ["stringData"]):
                self.learn({"kind": "Secret", "data": value if isinstance(value, dict) else {"": value}})
        self.learn_environment(body)

    def learn_environment(self, value: Any) -> None:
        """Remember the values of environment variables, whatever their names, that are more than a word or a number."""
        for text in _environment(value):
            self._add(text)

    def _add(self, value: str) -> None:
        lines = [value] if len(value.splitlines()) < 2 else [value, *value.splitlines()]
        for part in (line.strip() for line in lines):
            if len(part) >= SHORTEST and not part.startswith(_ARMOUR):
                self._values.add(part)
                self._values.add(json.dumps(part, ensure_ascii=False)[1:-1])
        if len(value) >= SHORTEST:
            self._values.add(base64.b64encode(value.encode()).decode())
        self._longest_first = []

    # ---------------------------------------------------------------- taking out

    def scrub(self, text: str) -> str:
        """The text without any known secret value."""
        if not self._longest_first:
            self._longest_first = sorted(self._values, key=len, reverse=True)
        for value in self._longest_first:
            if value in text:
                text = _without(text, value)
        return text

    def scrub_all(self, value: Any) -> Any:
        """JSON data without any known secret value; the names of its fields stay."""
        if isinstance(value, dict):
            return {key: self.scrub_all(below) for key, below in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.scrub_all(item) for item in value]
        return self.scrub(value) if isinstance(value, str) else value


class Scrubbed:
    """Progress that shows no secret value."""

    def __init__(self, progress: Progress, redactor: Redactor) -> None:
        self._progress = progress
        self._redactor = redactor

    def say(self, where: str, text: str) -> None:
        """Something happened."""
        self._progress.say(where, self._redactor.scrub(text))

    def waiting(self, where: str, text: str) -> None:
        """What is waited for."""
        self._progress.waiting(where, self._redactor.scrub(text))


def _without(text: str, value: str) -> str:
    """A value that is one plain word is taken out where it stands alone: "kubeflow" may be a password and a namespace."""
    if _WORD.fullmatch(value):
        return re.sub(r"(?<![\w./\-])%s(?![\w./\-])" % value, MASK, text)
    return text.replace(value, MASK)


def _values(data: Any) -> List[str]:
    return [str(value) for value in data.values() if value is not None] if isinstance(data, dict) else []


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value: what stands in the wrong field of a Secret is quoted by the API server, and as secret."""
    if isinstance(value, dict):
        for below in value.values():
            yield from _texts(below)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _environment(value: Any) -> Iterator[str]:
    """The values of environment variables that are more than a word or a number, whatever their names."""
    if isinstance(value, list):
        for item in value:
            yield from _environment(item)
    elif isinstance(value, dict):
        text = value.get("value")
        if isinstance(value.get("name"), str) and isinstance(text, str) and not re.fullmatch(r"[A-Za-z]+|[\d.]+", text):
            yield text
        for below in value.values():
            yield from _environment(below)


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
        if looks_secret(name):
            yield value
        yield from _in_text(value)


def _in_text(text: str) -> Iterator[str]:
    """Secret values inside YAML, JSON, properties, command lines and addresses."""
    pairs = [match.group(1, 2) for line in text.splitlines() for match in _LINE.finditer(line)]
    pairs += [match.group(1, 2) for match in _JSON_PAIR.finditer(text)]
    pairs += [match.group(1, 2) for match in _FLOW_PAIR.finditer(text)]
    pairs += [match.group(2, 3) for match in _OPTION.finditer(text)]
    for name, secret in pairs:
        if looks_secret(name):
            yield secret
    for match in _IN_URL.finditer(text):
        yield match.group(2)


def shown_change(ref: ObjectRef, change: Tuple[str, Any, Any], user_patched: bool) -> Tuple[str, str, str]:
    """One changed field as a person may see it: (path, before, after)."""
    path, before, after = change
    if ref.kind == "Secret" and path.startswith(("data", "stringData")):
        return path, _presence(before), _presence(after)
    if ref.kind == "ConfigMap" and path.startswith(("data", "binaryData")):
        return path, _size(before), _size(after)
    if "last-applied-configuration" in path or looks_secret(path.rsplit(".", 1)[-1]):
        return path, _presence(before), _presence(after)
    variable = re.search(r"\[([^\]]*)\]\.value$", path)
    if variable:  # what is live may come from a patch of yesterday; what will be is upstream's, and public
        return path, _presence(before), _presence(after) if user_patched or looks_secret(variable.group(1)) else _short(after)
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
    own = Redactor()
    own.learn_value(value)
    own.learn_environment(value)
    shown = own.scrub_all(value)
    text = shown if isinstance(shown, str) else json.dumps(shown, sort_keys=True)
    text = text.replace("\n", "\\n")
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."


def learn_all(redactor: Redactor, objects: Iterable[KubeObject]) -> None:
    """Teach the redactor every Secret among the objects."""
    for obj in objects:
        if obj.get("kind") == "Secret":
            redactor.learn(obj)


def scrubbed(error: EngineError, redactor: Redactor) -> EngineError:
    """The same error without any secret value."""
    return EngineError(
        redactor.scrub(error.cause),
        subject=redactor.scrub(error.subject),
        expected=redactor.scrub(error.expected),
        found=redactor.scrub(error.found),
        next_step=redactor.scrub(error.next_step),
        component=error.component,
    )
