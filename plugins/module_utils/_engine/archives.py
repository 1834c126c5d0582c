# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch one file from its public address or a mirror, and unpack an archive without trusting it."""

from __future__ import annotations

import http.client
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Dict, List, Mapping, Sequence, Tuple, Union
from urllib.parse import urlsplit
from urllib.request import url2pathname

from .errors import EngineError
from .progress import Progress

CHUNK = 1 << 18
TIMEOUT = 30.0  # seconds without a byte
MAX_FILE = 256 << 20  # bytes; the largest file that kustomize reads of any release is 3.3 MB
MAX_TOTAL = 2 << 30
MAX_ENTRIES = 200_000
MIRROR_HELP = "set kubeflow_mirror (or the environment variable KUBEFLOW_MIRROR) to a folder or URL under which '%s' lies"


def address(url: str, mirror: str) -> str:
    """Where a file is taken from: a path, or an http(s) URL.

    :param url: the public address without its scheme.
    :param mirror: a folder, a ``file://`` or ``http(s)://`` URL, or "" for the public address.
    """
    if not mirror:
        return "https://" + url
    if mirror.startswith("file://"):
        return os.path.join(url2pathname(urlsplit(mirror).path), url)
    if mirror.startswith(("http://", "https://")):
        return mirror.rstrip("/") + "/" + url
    return os.path.join(os.path.expanduser(mirror), url)


def fetch(url: str, mirror: str, target: Path, progress: Progress) -> str:
    """Bring a file to ``target``, atomically; a transfer that broke off goes on where it stopped.

    :returns: the address it came from.
    :raises EngineError: it is not there, cannot be reached, or the transfer broke off (the part is kept).
    """
    place = address(url, mirror)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    progress.say("", "fetching %s" % place)
    if place.startswith(("http://", "https://")):
        _download(place, url, part)
    else:
        _copy(place, url, part)
    os.replace(part, target)
    _etag_file(part).unlink(missing_ok=True)
    return place


def _copy(place: str, url: str, part: Path) -> None:
    try:
        shutil.copyfile(place, part)
    except FileNotFoundError as problem:
        raise EngineError("the mirror does not have it", subject=place, expected=url, next_step=MIRROR_HELP % url) from problem
    except OSError as problem:
        raise EngineError("cannot be read: %s" % problem.strerror, subject=place, next_step=MIRROR_HELP % url) from problem


def _etag_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _download(place: str, url: str, part: Path) -> None:
    """One GET. It asks for the rest of a part only if the server can say that it is still the same file."""
    request = urllib.request.Request(place, headers={"User-Agent": "mlplatform.kubeflow", "Accept-Encoding": "identity"})
    etag = _etag_file(part).read_text() if part.exists() and _etag_file(part).exists() else ""
    if etag:
        request.add_header("Range", "bytes=%d-" % part.stat().st_size)
        request.add_header("If-Range", etag)
    try:
        with urllib.request.build_opener().open(request, timeout=TIMEOUT) as answer:
            _save(answer, place, part)
    except urllib.error.HTTPError as problem:
        problem.close()
        if problem.code == 416:  # the part is not of this file
            part.unlink(missing_ok=True)
        raise EngineError(
            "the server answers %d %s" % (problem.code, problem.reason), subject=place, next_step=MIRROR_HELP % url
        ) from problem
    except (urllib.error.URLError, http.client.HTTPException, OSError) as problem:
        reason = getattr(problem, "reason", None) or problem
        raise EngineError(
            "cannot be fetched: %s" % reason,
            subject=place,
            next_step="check the network and the proxy variables and run again (what has arrived is kept), or " + MIRROR_HELP % url,
        ) from problem


def _save(answer: http.client.HTTPResponse, place: str, part: Path) -> None:
    continued = answer.status == 206
    _etag_file(part).write_text(answer.headers.get("ETag") or "")
    length = answer.headers.get("Content-Length")
    have = part.stat().st_size if continued else 0
    expected = have + int(length) if length else -1
    with open(part, "ab" if continued else "wb") as output:
        for chunk in iter(lambda: answer.read(CHUNK), b""):
            output.write(chunk)
            have += len(chunk)
            if have > MAX_TOTAL:
                raise EngineError("larger than %d bytes" % MAX_TOTAL, subject=place)
    if expected not in (-1, have):
        raise EngineError(
            "the transfer broke off",
            subject=place,
            expected="%d bytes" % expected,
            found="%d bytes" % have,
            next_step="run again: it goes on where it stopped",
        )


def unpack(archive: Path, place: str, target: Path, *, strip: int, keep: Sequence[str]) -> None:
    """Unpack a .tar.gz below ``target``, which is made.

    Only plain files and folders are written. Symbolic links are made last, and only if they stay inside; everything
    else (hard links, devices, names that leave the tree, absurd sizes) is refused, also outside of ``keep``.

    :param place: where the archive came from, for errors.
    :param strip: how many leading folders to drop from each name.
    :param keep: write only what is below these folders (after ``strip``); everything when empty.
    :raises EngineError: as said, or the archive is corrupt or truncated.
    """
    target.mkdir(parents=True)
    links: Dict[str, str] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            _extract(tar, place, target, strip, keep, links)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as problem:
        raise EngineError(
            "the archive is corrupt or truncated: %s" % problem,
            subject=str(archive),
            found="came from %s" % place,
            next_step="repair it in the mirror, or run again to fetch it anew",
        ) from problem
    _link(links, place, target)


def _extract(tar: tarfile.TarFile, place: str, target: Path, strip: int, keep: Sequence[str], links: Dict[str, str]) -> None:
    total = entries = 0
    for member in tar:
        entries, total = entries + 1, total + member.size
        if entries > MAX_ENTRIES or total > MAX_TOTAL or member.size > MAX_FILE:
            raise _refused(place, member.name, "absurd size: %d entries, %d bytes so far" % (entries, total))
        name = _inside(place, member.name, strip)
        wanted = name and (not keep or any(name == item or name.startswith(item.rstrip("/") + "/") for item in keep))
        if member.issym():
            if wanted:
                links[name] = member.linkname
        elif not (member.isdir() or member.isreg()):
            raise _refused(place, member.name, "neither a plain file nor a folder nor a symbolic link")
        elif wanted and member.isreg():
            source = tar.extractfile(member)
            if source is not None:
                _write(source, target / name)


def _inside(place: str, name: str, strip: int) -> str:
    """The name below the tree; "" for the leading folders themselves."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise _refused(place, name, "its name leaves the tree")
    return "/".join(path.parts[strip:])


def _write(source: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as output:
        shutil.copyfileobj(source, output, CHUNK)


def _link(links: Mapping[str, str], place: str, target: Path) -> None:
    """Make the links now that no file can be written through one, and look at where each really leads."""
    made: List[Tuple[str, Path]] = []
    for name, goal in links.items():
        path = target / name
        if os.path.lexists(path):
            raise _refused(place, name, "a link and a file of the same name")
        path.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(goal, path)
        made.append((name, path))
    root = os.path.realpath(target)
    for name, path in made:
        real = os.path.realpath(path)
        if os.path.commonpath([root, real]) != root or os.path.isabs(os.readlink(path)):
            raise _refused(place, name, "a link that leaves the tree (to %s)" % os.readlink(path))


def _refused(place: Union[str, Path], name: str, why: str) -> EngineError:
    return EngineError(
        "the archive is refused: %s" % why,
        subject=str(place),
        found=name,
        next_step="this is not upstream's archive; check where it came from",
    )
