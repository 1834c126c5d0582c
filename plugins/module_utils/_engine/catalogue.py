# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases that there is data for, and the choice of a release's components.

What is known of one release is in release_data.py and data_places.py, whose names are also found here.
"""

from __future__ import annotations

import difflib
import functools
import re
from pathlib import Path
from typing import Dict, List, Mapping, Sequence, Tuple, Union

from .data_places import Data, Database, ObjectStore
from .errors import EngineError
from .release_data import (
    CREATE_ONCE,
    FIELDS_NOT_OURS,
    Ack,
    Component,
    HealthRule,
    Hop,
    NamespaceFix,
    ObjectMatch,
    ObjectMode,
    OneWay,
    PodMatch,
    Program,
    Release,
    Remote,
    Row,
    Source,
    WebhookFacts,
    read_release,
)

__all__ = [
    "CREATE_ONCE",
    "FIELDS_NOT_OURS",
    "Ack",
    "Catalogue",
    "Component",
    "Data",
    "Database",
    "HealthRule",
    "Hop",
    "NamespaceFix",
    "ObjectMatch",
    "ObjectMode",
    "ObjectStore",
    "OneWay",
    "PodMatch",
    "Program",
    "Release",
    "Remote",
    "Row",
    "Source",
    "WebhookFacts",
    "desired_set",
    "read_release",
    "release_order",
    "resolve",
    "shipped_releases",
]


def shipped_releases() -> Path:
    """The folder of the release data that comes with the collection."""
    return Path(__file__).resolve().parents[2] / "plugin_utils" / "releases"


def release_order(name: str) -> Tuple[Tuple[int, ...], str]:
    """The key that sorts ``v1.9.1 < v1.10.2 < 26.03``: the numbers count, the text decides between equals."""
    return tuple(int(number) for number in re.findall(r"\d+", name)), name


class Catalogue:
    """The releases that there is data for; a file is read when it is asked for."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = dict(files)

    @classmethod
    def load(cls, dirs: Sequence[Path] = ()) -> Catalogue:
        """The shipped releases and those of more folders; a later folder wins over an earlier one.

        :raises EngineError: a folder is not there.
        """
        files: Dict[str, Path] = {}
        for folder in [shipped_releases(), *[Path(item) for item in dirs]]:
            if not folder.is_dir():
                raise EngineError("no such folder of release data", subject=str(folder), next_step="correct kubeflow_release_dirs")
            files.update({path.stem: path for path in sorted(folder.glob("*.yml"))})
        return cls(files)

    @property
    def names(self) -> Tuple[str, ...]:
        """The known releases, the oldest first."""
        return tuple(sorted(self._files, key=release_order))

    @property
    def newest(self) -> str:
        """The release that is installed when none is asked for."""
        return self.names[-1]

    def release(self, name: str) -> Release:
        """One release.

        :raises EngineError: it is unknown (the known ones are listed), or its file is wrong (with the place).
        """
        if name not in self._files:
            raise EngineError(
                "unknown release",
                subject=str(name),
                expected="one of " + ", ".join(self.names),
                next_step="correct kubeflow_version, or add the release's data file to a folder of kubeflow_release_dirs",
            )
        path = self._files[name]
        known = path.stat()
        return _read(path, known.st_mtime_ns, known.st_size)


@functools.lru_cache(maxsize=16)
def _read(path: Path, _changed: int, _size: int) -> Release:
    """A release's file as it is now: read once in a process, however many catalogues there are."""
    return read_release(path)


def resolve(release: Release, wanted: Union[str, Sequence[str]], *, add_dependencies: bool = False) -> Tuple[Component, ...]:
    """The components of a choice, in dependency order.

    :param wanted: ``default``, ``all``, or a list of component names (which may name the presets too).
    :param add_dependencies: add what is needed instead of refusing.
    :raises EngineError: an unknown component (with the nearest name), or needed ones that are not in the choice.
    """
    chosen = _chosen(release, [wanted] if isinstance(wanted, str) else list(wanted))
    missing: Dict[str, List[str]] = {}
    for name in reversed(list(release.components)):  # dependants first: what they add is looked at too
        for needed in release.components[name].needs if name in chosen else ():
            if needed not in chosen and add_dependencies:
                chosen.add(needed)
            elif needed not in chosen:
                missing.setdefault(needed, []).append(name)
    if missing:
        raise EngineError(
            "not among the components but needed: "
            + ", ".join("%s (by %s)" % (needed, ", ".join(sorted(users))) for needed, users in sorted(missing.items())),
            subject="kubeflow_components",
            next_step="add %s, or set kubeflow_add_dependencies: true" % ", ".join(sorted(missing)),
        )
    return tuple(component for name, component in release.components.items() if name in chosen)


def _chosen(release: Release, wanted: Sequence[str]) -> set[str]:
    chosen: set[str] = set()
    for name in wanted:
        if name == "all":
            chosen.update(release.components)
        elif name == "default":
            chosen.update(key for key, component in release.components.items() if component.default)
        elif name in release.components:
            chosen.add(name)
        else:
            near = difflib.get_close_matches(str(name), [*release.components, "default", "all"], n=1, cutoff=0.5)
            raise EngineError(
                "unknown component '%s' in release %s" % (name, release.name),
                subject="kubeflow_components",
                expected="one of " + ", ".join(release.components),
                next_step="did you mean '%s'?" % near[0] if near else "correct the list",
            )
    return chosen


def desired_set(
    release: Release, wanted: Union[str, Sequence[str]], switches: Mapping[str, bool], *, add_dependencies: bool = False
) -> Tuple[str, ...]:
    """Names of the components that a cluster shall have, in the order of their dependencies.

    :param wanted: presets and names.
    :param switches: components to add or to take out, whatever ``wanted`` says.
    :raises EngineError: an unknown component, or a needed one that is not in the set.
    """
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    presets = [name for name in asked if name in ("default", "all")]
    names = set(asked).difference(presets)
    if presets:
        names.update(one.name for one in resolve(release, presets, add_dependencies=True))
    names = {name for name in names if switches.get(name, True)} | {name for name, on in switches.items() if on}
    return tuple(one.name for one in resolve(release, sorted(names), add_dependencies=add_dependencies))
