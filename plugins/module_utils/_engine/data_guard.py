# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database image that cannot open the files on its claim is refused before its pod starts.

With which version files were opened is noted on their claim, before a workload with that image is written, and when a backup
has asked the server: the claim outlives workload, record and uninstallation. Where nothing is noted, the live workload's image
tells. What cannot be told from an image (a digest, ``latest``) is not judged.

Only databases are judged. Neither MinIO nor SeaweedFS says which of its versions open each other's files: a rule of ours
would refuse harmless changes, and nothing overrides a refusal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional, Tuple

from .api import Api
from .data_places import MARIADB, MYSQL, Data, Database
from .objects import KubeObject, ObjectRef, get_path
from .planning import STOPS, Item, Plan, Policy, Verdict, without_fields
from .usage import CLAIMS

ANNOTATION = "mlplatform.kubeflow/data-version"
# A fact about data and no wish of ours: with a manager of its own it is neither drift nor in a record or a revision.
MANAGER = "mlplatform.kubeflow-data"
_TAG = re.compile(r"v?(\d{1,3}(?:\.\d{1,3}){0,3})(?:[-+_].*)?")
_NOTED = re.compile(r"(%s|%s) (\d+(?:\.\d+)*)" % (MYSQL, MARIADB))
# An older number is somebody's own numbering, and says nothing of the server in the image.
OLDEST = 5

# Bugfix and LTS series of MySQL: none of them is skipped [MySQL 9.5 Reference Manual, Upgrade Paths].
STATIONS = ((5, 6), (5, 7), (8, 0), (8, 4), (9, 7))
# Within an LTS series, and within any of MariaDB, an earlier patch opens the files of a later one. Within 8.0 the server
# refuses it: MY-013171 "Cannot boot server version 80027 on data directory built by version 80040"
# [MySQL 9.0 Reference Manual, Downgrade Paths; MariaDB, Downgrading between Major Versions].
LTS = ((8, 4), (9, 7))


@dataclass(frozen=True)
class DataVersion:
    """A version of a database server; ``8.0`` stands for any of that series."""

    family: str
    numbers: Tuple[int, ...]

    def __str__(self) -> str:
        return "%s %s" % (self.family, ".".join(map(str, self.numbers)))

    @property
    def series(self) -> Tuple[int, ...]:
        """Major and minor number, as far as they are known."""
        return self.numbers[:2]

    def covers(self, other: DataVersion) -> bool:
        """Whether it says at least as much as the other one: both may be the same, and it is the more precise."""
        return self.family == other.family and self.numbers[: len(other.numbers)] == other.numbers


def version_of_image(image: str) -> Optional[Tuple[int, ...]]:
    """The version in an image's tag: ``(8, 0, 26)`` of ``mysql:8.0.26``; None of ``latest``, a date, or a digest alone.

    A text that is only a version ("8.4-oracle", "10.11.19-MariaDB", as servers call themselves) counts too.
    """
    last = image.partition("@")[0].rpartition("/")[2]
    name, colon, tag = last.partition(":")
    match = _TAG.fullmatch(tag if colon else name if last == image else "")
    return tuple(int(number) for number in match.group(1).split(".")) if match else None


def data_version(image: str, engine: str) -> Optional[DataVersion]:
    """What an image does to files; None if it does not tell.

    :param engine: what release data says the database is, where the image does not say that it is MariaDB.
    """
    numbers = version_of_image(image)
    if numbers is None or numbers[0] < OLDEST:
        return None
    return DataVersion(MARIADB if MARIADB in image.rpartition("/")[2].lower() else engine, numbers)


def noted(claim: Optional[KubeObject]) -> Optional[DataVersion]:
    """What is noted on a claim; None if nothing is, or nothing that can be read."""
    match = _NOTED.fullmatch(str((get_path(claim, "metadata.annotations") or {}).get(ANNOTATION) or "").strip())
    return DataVersion(match.group(1), tuple(int(number) for number in match.group(2).split("."))) if match else None


def note(api: Api, claim: ObjectRef, uid: str, version: str) -> KubeObject:
    """Write on a claim with which version its files are opened; the claim as it is now.

    :param uid: of the claim: another one of its name is left alone.
    :raises ApiError: 409 if it is another one.
    """
    metadata = {"name": claim.name, "namespace": claim.namespace, "uid": uid, "annotations": {ANNOTATION: version}}
    return api.apply(CLAIMS, {"apiVersion": "v1", "kind": claim.kind, "metadata": metadata}, force=True, manager=MANAGER)


def note_server(api: Api, database: Database, version: str) -> None:
    """Write down what a running server calls itself: a tag such as ``8.0`` does not say which of its patches opened the files.

    :param version: as ``SELECT VERSION()`` gives it.
    """
    claim = api.get(CLAIMS, database.claim.namespace, database.claim.name)
    seen = data_version(version, database.engine)
    before = noted(claim)
    if claim is None or seen is None or seen == before:
        return
    if before is None or before.family != seen.family or before.numbers < seen.numbers:
        note(api, database.claim, claim["metadata"]["uid"], str(seen))


# ------------------------------------------------------------------ may this image open these files?


def unfit(image: DataVersion, data: DataVersion, where: str) -> str:
    """Why a server must not start on files, fit to be shown; "" if nothing speaks against it.

    :param data: with which version they were opened last; :param where: the claim's full name.
    """
    if image.family != data.family:
        # MySQL 8.0 keeps its dictionary in tables of its own, which MariaDB does not know; MariaDB takes over 5.7's files.
        if (data.family, image.family) == (MYSQL, MARIADB) and data.numbers[0] < 8:
            return ""
        return "%s does not read the data on %s, which %s has written" % (image, where, data)
    common = min(len(image.numbers), len(data.numbers))
    ours, theirs = image.numbers[:common], data.numbers[:common]
    if ours <= theirs and _patches_go_back(image, data):
        return ""
    if ours < theirs:
        return "%s is older than the data on %s, which %s has opened" % (image, where, data)
    if ours == theirs and len(image.numbers) > common:
        return "%s may be older than the data on %s, of which is only known that %s has opened it" % (image, where, data)
    skipped = [one for one in STATIONS if data.series < one[: len(data.series)] and one[: len(image.series)] < image.series]
    if image.family == MYSQL and skipped:
        return "%s does not open the data on %s, which %s has opened: first comes %d.%d" % (image, where, data, *skipped[0])
    return ""


def _patches_go_back(image: DataVersion, data: DataVersion) -> bool:
    """Whether both are of one series within which the patch level may go back."""
    return len(data.series) == 2 and image.series == data.series and (image.family == MARIADB or image.series in LTS)


def _way_out(image: DataVersion, data: DataVersion, database: Database) -> str:
    """What a person can do, for the end of a reason."""
    dump = "or load a dump into an empty volume: without %s and %s a run makes both anew" % (database.workload, database.claim)
    if image.covers(data) and image != data:
        ask = "ask the server (SELECT VERSION()) and note it: kubectl annotate --overwrite --namespace %s pvc %s '%s=%s <version>'"
        return "%s; %s" % (ask % (database.claim.namespace, database.claim.name, ANNOTATION, data.family), dump)
    if image.family == data.family and image.numbers > data.numbers:
        return "go there step by step, %s" % dump
    return "keep %s or a newer one of it, %s" % (data, dump)


# ------------------------------------------------------------------ the plan


@dataclass(frozen=True)
class _Server:
    """A database in the plan: the lines of its workload and of its claim, and the images that are to run and that run."""

    database: Database
    work: Item
    claim: Item
    wanted: str
    running: str


def guard(plan: Plan, data: Data, policy: Policy) -> Plan:
    """The plan with workloads refused that could not open their data, and with what has to be noted on claims. Pure."""
    items = {item.ref: item for item in plan.items if item.verdict is not Verdict.RESTART}
    changed: Dict[ObjectRef, Item] = {}
    for database in data.databases:
        work, claim = items.get(database.workload), items.get(database.claim)
        if work is None or claim is None or database.claim.name not in _claims_of(work.wanted.obj):
            continue
        running = _image(work.live, database.container)
        server = _Server(database, work, claim, _wanted_image(work, database.container, policy) or running, running)
        reason = _refusal(server)
        if reason and work.verdict not in STOPS:
            changed[work.ref] = replace(work, verdict=Verdict.REFUSED, reason=reason)
        elif not reason:
            changed[claim.ref] = _with_note(server)
    return replace(plan, items=tuple(item if item.verdict is Verdict.RESTART else changed.get(item.ref, item) for item in plan.items))


def _refusal(server: _Server) -> str:
    """Why this workload must not be written; "" if it may. What runs already is not made worse by leaving it."""
    database, live = server.database, server.claim.live
    version = data_version(server.wanted, database.engine)
    if live is None or server.wanted == server.running or version is None:
        return ""
    for known in _known(live, server.running, database):
        reason = unfit(version, known, str(server.claim.ref))
        if reason:
            return "%s; %s" % (reason, _way_out(version, known, database))
    return ""


def _known(claim: KubeObject, running: str, database: Database) -> List[DataVersion]:
    """Every version that is known to have opened the files; of two that may be the same, the more precise."""
    found = [one for one in (noted(claim), data_version(running, database.engine)) if one is not None]
    return [one for one in found if not any(other != one and other.covers(one) for other in found)]


def _with_note(server: _Server) -> Item:
    """The claim's item, with what is to be noted on it if that is not there yet."""
    claim = server.claim
    before = str((get_path(claim.live, "metadata.annotations") or {}).get(ANNOTATION) or "")
    version = _opens(server)
    if version is None or str(version) == before or claim.verdict in STOPS:
        return claim
    if claim.live is None:
        return replace(claim, data_version=str(version))
    change = ("metadata.annotations.%s" % ANNOTATION, before, str(version))
    item = replace(claim, data_version=str(version), changes=(*claim.changes, change))
    if claim.verdict is Verdict.UNCHANGED:
        item = replace(item, verdict=Verdict.UPDATE, reason="which version opens its data is not noted on it")
    return item


def _opens(server: _Server) -> Optional[DataVersion]:
    """With which version the files will have been opened after this run; what is noted stays where that says more."""
    engine, live = server.database.engine, server.claim.live
    version, there = data_version(server.wanted, engine), noted(live)
    if version is None:
        return there or (data_version(server.running, engine) if live is not None else None)
    if there is None or server.wanted != server.running or there.family != version.family:
        return version
    common = min(len(there.numbers), len(version.numbers))
    return version if there.numbers[:common] < version.numbers[:common] else there


def _pods(workload: Optional[KubeObject]) -> Any:
    return get_path(workload, "spec.template.spec") or {}


def _image(workload: Optional[KubeObject], container: str) -> str:
    """The image of a container in a workload's pods; "" if there is none."""
    return next((str(one.get("image") or "") for one in _pods(workload).get("containers") or [] if one.get("name") == container), "")


def _wanted_image(work: Item, container: str, policy: Policy) -> str:
    """The image that is sent; "" where it is left to another manager."""
    obj = work.wanted.obj
    if policy.conflict(work.ref) == "theirs" and work.contested:
        obj = without_fields(obj, [path for _manager, path in work.contested])
    return _image(obj, container)


def _claims_of(workload: KubeObject) -> List[str]:
    """The names of the claims that a workload's pods mount."""
    return [str(get_path(volume, "persistentVolumeClaim.claimName")) for volume in _pods(workload).get("volumes") or []]
