# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects without their secrets: each secret text is replaced by its keyed hash, its seal.

A seal says whether a text is the one that stood there, and nothing else. So an object is whole again where the cluster or
the inventory still has that text, and cannot be made whole where neither has.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterable, Iterator, Mapping, Sequence, Tuple

from .forms import Hasher
from .objects import KubeObject
from .overlay import Patch
from .redaction import Redactor, looks_secret

SEAL = "mlplatform.kubeflow/sealed"
# These fields say what an object is. Everything else in a Secret is secret, also what stands in the wrong field.
_HEAD = ("apiVersion", "kind", "metadata", "type")
_IDENTITY = ("name", "namespace")
_HARMLESS = re.compile(r"[A-Za-z]*|[\d.]+")


class Sealer:
    """Seals the objects of one run.

    Secret is what a Secret holds. What comes from upstream alone is not. In another object that a user's patch matched it
    is each text under a secret-looking name, each that holds a value which the redactor knows, and what a patch put into a
    ConfigMap or an environment variable if it is more than a word or a number.

    :param redactor: has learned the patches; :param patches: all of the user's for these objects.
    """

    def __init__(self, hasher: Hasher, redactor: Redactor, patches: Iterable[Patch]) -> None:
        self._hasher, self._redactor = hasher, redactor
        given = {text for patch in patches for text in texts(json.loads(patch.text))}
        self._given = {text for text in given if not _HARMLESS.fullmatch(text)}

    def sealed(self, obj: KubeObject, user_patched: bool) -> KubeObject:
        """The object with a seal in the place of every secret text."""
        kind = obj["kind"]
        found = {}
        for key, value in obj.items():
            if key in _HEAD:
                found[key] = value
            elif kind == "Secret":
                found[key] = self._visit(value, key, all_of_it=True)
            elif user_patched:
                found[key] = self._visit(value, key, given=kind == "ConfigMap")
            else:
                found[key] = value
        if user_patched:
            metadata = obj["metadata"]
            found["metadata"] = {key: value if key in _IDENTITY else self._visit(value, key) for key, value in metadata.items()}
        return found

    def _visit(self, value: Any, name: str, *, all_of_it: bool = False, given: bool = False) -> Any:
        """A value with its seals.

        :param all_of_it: every text is secret; :param given: every text of a patch is.
        """
        if isinstance(value, dict):
            variable = value.get("name")
            found = {}
            for key, below in value.items():
                paired = key == "value" and isinstance(variable, str)
                found[key] = self._visit(below, str(variable) if paired else key, all_of_it=all_of_it, given=given or paired)
            return found
        if isinstance(value, list):
            return [self._visit(item, name, all_of_it=all_of_it, given=given) for item in value]
        if not isinstance(value, str) or not value:
            return value
        if all_of_it or looks_secret(name) or (given and value in self._given) or self._redactor.scrub(value) != value:
            return {SEAL: self._hasher.value(value)}
        return value


def is_seal(value: Any) -> bool:
    """Whether this stands for a text that was secret."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(SEAL), str)


def seals(value: Any, path: str = "") -> Iterator[Tuple[str, str]]:
    """(path, hash) of every seal in a value."""
    if is_seal(value):
        yield path, value[SEAL]
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from seals(below, "%s.%s" % (path, key) if path else str(key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from seals(item, "%s[%s]" % (path, _name(item, at)))


def _name(item: Any, at: int) -> str:
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else str(at)


def texts(value: Any) -> Iterator[str]:
    """Every text in a value, the names of fields aside."""
    if isinstance(value, dict):
        for below in value.values():
            yield from texts(below)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def by_seal(values: Iterable[Any], hasher: Hasher) -> Dict[str, str]:
    """Every text of some values by its keyed hash: what seals can be opened with."""
    return {hasher.value(text): text for value in values for text in texts(value)}


def opened(obj: KubeObject, known: Sequence[Mapping[str, str]]) -> Tuple[KubeObject, Tuple[str, ...]]:
    """The object with its texts back, and the paths of those that nobody has any more.

    :param known: texts by hash, the likeliest place first.
    """

    def visit(value: Any) -> Any:
        if is_seal(value):
            return next((place[value[SEAL]] for place in known if value[SEAL] in place), value)
        if isinstance(value, dict):
            return {key: visit(below) for key, below in value.items()}
        if isinstance(value, list):
            return [visit(item) for item in value]
        return value

    whole = visit(obj)
    return whole, tuple(path for path, _hash in seals(whole))
