# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that we call: found on the path, in the cache, downloaded with a checksum, or built from Go modules.

A program is one row of :data:`TOOLS`. The cache holds ``tools/<folder>-<version>/<name>``; a file appears
there whole or not at all, and two runs that want the same one wait for each other.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import platform
import re
import shutil
import tarfile
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Tuple
from urllib.parse import urlsplit

from .errors import EngineError
from .golang import RUN_SECONDS, build_go, cache_lock, published, say
from .processes import TimedOut, call
from .progress import Progress

GO_MODULES = Path(__file__).resolve().parents[3] / "tools" / "go"
HOW_VARIABLE = "KUBEFLOW_TOOLS"
ANSWER_SECONDS = 6.0  # how long a download host may take to answer before it counts as unreachable
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

WAYS: Mapping[str, Tuple[str, ...]] = {
    "auto": ("path", "cache", "download", "build"),
    "path": ("path",),
    "cache": ("cache",),
    "download": ("cache", "download"),
    "build": ("cache", "build"),
}

_KUBERNETES_STAMP = tuple(
    "%s.%s" % (package, stamp)
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for stamp in (
        "gitVersion=v{version}",
        "gitMajor={major}",
        "gitMinor={minor}",
        "gitTreeState=clean",
        "gitCommit=0000000000000000000000000000000000000000",
        "buildDate=2026-01-01T00:00:00Z",
    )
)


@dataclass(frozen=True)
class Download:
    """Where a project publishes a program. All texts take ``{version}``, ``{os}``, ``{arch}`` and ``{name}``.

    :param url: the program itself, or a ``.tar.gz`` that holds it.
    :param checksums: a file with its sha256 (alone, or one ``digest  name`` line for each file).
    :param pinned: version/os/arch -> sha256, for projects that publish no checksums.
    """

    url: str
    checksums: str = ""
    pinned: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GoBuild:
    """How a program is built from Go modules.

    :param module: the folder of :data:`GO_MODULES` with go.mod and go.sum.
    :param package: the Go package.
    :param requirement: the module in go.mod whose version is the program's.
    :param stamps: what the linker sets (``-X``), so that the program knows its version.
    :param file: what is built, if it is one file with many names; the program is then a link to it.
    :param minutes: how long it takes with nothing cached, on two cores; shown to the person who waits.
    """

    module: str
    package: str
    requirement: str
    stamps: Tuple[str, ...] = ()
    file: str = ""
    minutes: float = 1


@dataclass(frozen=True)
class Tool:
    """One program.

    :param ask: the arguments that make it print its version.
    :param exact: whether one found on the path must have exactly the wanted version.
    """

    name: str
    folder: str
    ask: Tuple[str, ...]
    download: Download
    build: GoBuild
    exact: bool = True


_DL_K8S = Download(
    "https://dl.k8s.io/release/v{version}/bin/{os}/{arch}/{name}",
    "https://dl.k8s.io/release/v{version}/bin/{os}/{arch}/{name}.sha256",
)
_ETCD = "https://github.com/etcd-io/etcd/releases/download/v{version}/"
_ETCD_DOWNLOAD = Download(_ETCD + "etcd-v{version}-{os}-{arch}.tar.gz", _ETCD + "SHA256SUMS")
_KUSTOMIZE = "https://github.com/kubernetes-sigs/kustomize/releases/download/kustomize%2Fv{version}/"
_KWOK = "https://github.com/kubernetes-sigs/kwok/releases/download/v{version}/{name}-{os}-{arch}"
_KUBERNETES = GoBuild("controlplane", ".", "k8s.io/kubernetes", _KUBERNETES_STAMP, "kubecp", 3)


def _etcd(name: str, package: str) -> Tool:
    build = GoBuild("etcd", "go.etcd.io/etcd/" + package, "go.etcd.io/etcd/server/v3")
    return Tool(name, "etcd", ("version",) if name != "etcd" else ("--version",), _ETCD_DOWNLOAD, build)


def _kwok(name: str, digest: str) -> Tool:
    build = GoBuild("kwok", "sigs.k8s.io/kwok/cmd/" + name, "sigs.k8s.io/kwok", ("sigs.k8s.io/kwok/pkg/consts.Version=v{version}",))
    return Tool(name, "kwok", ("--version",), Download(_KWOK, pinned={"0.8.0/linux/amd64": digest}), build)


_ROWS = (
    Tool(
        "kustomize",
        "kustomize",
        ("version",),
        Download(_KUSTOMIZE + "kustomize_v{version}_{os}_{arch}.tar.gz", _KUSTOMIZE + "checksums.txt"),
        GoBuild(
            "kustomize",
            "sigs.k8s.io/kustomize/kustomize/v5",
            "sigs.k8s.io/kustomize/kustomize/v5",
            ("sigs.k8s.io/kustomize/api/provenance.version=v{version}",),
            minutes=0.5,
        ),
    ),
    _etcd("etcd", "server/v3"),
    _etcd("etcdctl", "etcdctl/v3"),
    _etcd("etcdutl", "etcdutl/v3"),
    _kwok("kwok", "f5a4385a2ae1b9dd7f8acae18e002a75c0ebba124ae9d7259aa8dadb50711f46"),
    _kwok("kwokctl", "d5743166c657283d6e827c7c4c20cacfd9009fd94830f06718ca7b2c7099461f"),
    Tool("kube-apiserver", "kubernetes", ("--version",), _DL_K8S, _KUBERNETES),
    Tool("kube-controller-manager", "kubernetes", ("--version",), _DL_K8S, _KUBERNETES),
    Tool("kube-scheduler", "kubernetes", ("--version",), _DL_K8S, _KUBERNETES),
    Tool(
        "kubectl",
        "kubernetes",
        ("version", "--client"),
        _DL_K8S,
        GoBuild("controlplane", "k8s.io/kubernetes/cmd/kubectl", "k8s.io/kubernetes", _KUBERNETES_STAMP, minutes=2),
        exact=False,
    ),
)
TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in _ROWS}

_unreachable: Set[str] = set()


class _NotThere(Exception):
    """This way does not lead to the tool; the text says why."""


def ensure_tool(name: str, version: str, cache_dir: Path, how: str = "auto", progress: Optional[Progress] = None) -> Path:
    """The path of a program in the wanted version, made available if need be.

    :param name: a key of :data:`TOOLS`.
    :param version: without the ``v`` ("5.7.1").
    :param how: a key of :data:`WAYS`; where it is ``auto``, the environment variable KUBEFLOW_TOOLS may name another.
    :raises EngineError: no way led to it; every way is named with its reason.
    """
    tool = TOOLS.get(name)
    if tool is None:
        raise EngineError("unknown tool %s" % name, expected="one of " + ", ".join(sorted(TOOLS)))
    how = os.environ.get(HOW_VARIABLE, "") or how if how == "auto" else how
    if how not in WAYS:
        raise EngineError("no such way to get a tool: %s" % how, expected="one of " + ", ".join(WAYS))
    wanted = version.lstrip("v")
    finders: Dict[str, Callable[[Tool, str, Path, Optional[Progress]], Path]] = {
        "path": _from_path,
        "cache": _from_cache,
        "download": _downloaded,
        "build": _built,
    }
    reasons: List[str] = []
    for way in WAYS[how]:
        try:
            return finders[way](tool, wanted, Path(cache_dir), progress)
        except _NotThere as reason:
            reasons.append("%s: %s" % (way, reason))
    raise EngineError(
        "cannot get it",
        subject="%s %s" % (name, wanted),
        found="; ".join(reasons),
        next_step="put %s %s on the PATH, or let this machine reach %s" % (name, wanted, urlsplit(tool.download.url).hostname),
    )


def _from_path(tool: Tool, version: str, cache_dir: Path, progress: Optional[Progress]) -> Path:
    found = shutil.which(tool.name)
    if not found:
        raise _NotThere("not on the PATH")
    try:
        said = call([found, *tool.ask], seconds=RUN_SECONDS)
    except (OSError, TimedOut) as error:
        raise _NotThere("%s does not run: %s" % (found, error)) from error
    match = re.search(r"\d+\.\d+\.\d+[-+.\w]*", (said.output + said.errors).decode(errors="replace"))
    if not match or (tool.exact and match.group() != version):
        raise _NotThere("%s is %s" % (found, match.group() if match else "of unknown version"))
    return Path(found)


def _folder(tool: Tool, version: str, cache_dir: Path) -> Path:
    return cache_dir / "tools" / ("%s-%s" % (tool.folder, version))


def _from_cache(tool: Tool, version: str, cache_dir: Path, progress: Optional[Progress]) -> Path:
    path = _folder(tool, version, cache_dir) / tool.name
    if not os.access(path, os.X_OK):
        raise _NotThere("not in %s" % path.parent)
    return path


# Download ---------------------------------------------------------------------------------------


def _open(url: str) -> Any:
    """Open it, giving up after ANSWER_SECONDS whatever is slow: name resolution knows no time limit of its own.

    :returns: the open answer, or the exception that stood against it.
    """
    box: List[Any] = []

    def work() -> None:
        try:
            box.append(urllib.request.build_opener().open(url, timeout=ANSWER_SECONDS))
        except (OSError, ValueError) as error:
            box.append(error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(ANSWER_SECONDS)
    return box[0] if box else TimeoutError("no answer within %.0f s" % ANSWER_SECONDS)


def _reachable(url: str) -> str:
    """The host of an address.

    :raises _NotThere: this process asked it before, in vain.
    """
    host = urlsplit(url).hostname or ""
    if host in _unreachable:
        raise _NotThere("%s could not be reached before" % host)
    return host


def _fetch(url: str) -> bytes:
    """The bytes at a public address.

    :raises _NotThere: with the reason. A host that could not be reached is not asked again by this process.
    """
    host = _reachable(url)
    answer = _open(url)
    if isinstance(answer, urllib.error.HTTPError) and answer.code == 404:
        raise _NotThere("%s does not exist" % url)
    if isinstance(answer, Exception):
        _unreachable.add(host)
        raise _NotThere("cannot read %s: %s" % (url, getattr(answer, "reason", answer)))
    try:
        content = bytes(answer.read())
        answer.close()
        return content
    except OSError as error:
        raise _NotThere("cannot read %s to its end: %s" % (url, error)) from error


def _names(tool: Tool, version: str) -> Mapping[str, str]:
    arch = MACHINES.get(platform.machine().lower())
    if arch is None:
        raise _NotThere("nothing is published for %s" % platform.machine())
    return {"version": version, "os": platform.system().lower(), "arch": arch, "name": tool.name}


def _checksum(tool: Tool, names: Mapping[str, str]) -> str:
    """The published sha256 of what will be downloaded."""
    if not tool.download.checksums:
        key = "{version}/{os}/{arch}".format(**names)
        if key not in tool.download.pinned:
            raise _NotThere("no checksum is known for %s %s" % (tool.name, key))
        return tool.download.pinned[key]
    wanted = tool.download.url.format(**names).rsplit("/", 1)[1]
    text = _fetch(tool.download.checksums.format(**names)).decode(errors="replace")
    for line in text.splitlines():
        words = line.split()
        if words and (len(words) == 1 or words[-1].lstrip("*") == wanted):
            return words[0]
    raise _NotThere("%s has no line for %s" % (tool.download.checksums.format(**names), wanted))


def _downloaded(tool: Tool, version: str, cache_dir: Path, progress: Optional[Progress]) -> Path:
    names = _names(tool, version)
    url = tool.download.url.format(**names)
    _reachable(url)
    with cache_lock(cache_dir, tool.folder, progress):
        with contextlib.suppress(_NotThere):
            return _from_cache(tool, version, cache_dir, progress)
        digest = _checksum(tool, names)
        say(progress, tool.name, "downloading %s" % url)
        content = _fetch(url)
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise EngineError(
                "its checksum is wrong",
                subject=url,
                expected="sha256 " + digest,
                found="sha256 " + found,
                next_step="do not use it; look at what stands between this machine and %s" % urlsplit(url).hostname,
            )
        target = _folder(tool, version, cache_dir) / tool.name
        with published(target) as path:
            path.write_bytes(_member(content, tool.name) if url.endswith(".tar.gz") else content)
        return target


def _member(archive: bytes, name: str) -> bytes:
    """The one file of this name in a .tar.gz, in whatever folder."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for entry in tar:
            stream = tar.extractfile(entry) if entry.isfile() and entry.name.rsplit("/", 1)[-1] == name else None
            if stream is not None:
                return stream.read()
    raise _NotThere("the archive holds no file %s" % name)


# Build ------------------------------------------------------------------------------------------


def _required(go_mod: Path, module: str) -> str:
    """The version of a module that a go.mod requires, without the ``v``; "" if none."""
    match = re.search(r"^(?:require)?\s*%s v(\S+)" % re.escape(module), go_mod.read_text(encoding="utf-8"), re.M)
    return match.group(1) if match else ""


def _built(tool: Tool, version: str, cache_dir: Path, progress: Optional[Progress]) -> Path:
    build = tool.build
    module = GO_MODULES / build.module
    pinned = _required(module / "go.mod", build.requirement) if (module / "go.mod").is_file() else ""
    if pinned != version:
        raise _NotThere("%s builds version %s only" % (module / "go.mod", pinned or "(missing)"))
    target = _folder(tool, version, cache_dir) / tool.name
    made = target.with_name(build.file or tool.name)
    with cache_lock(cache_dir, tool.folder, progress):
        with contextlib.suppress(_NotThere):
            return _from_cache(tool, version, cache_dir, progress)
        if not os.access(made, os.X_OK):
            say(progress, tool.name, "building %s %s from Go modules, about %g min cold" % (tool.name, version, build.minutes))
            major, minor = version.split(".")[:2]
            stamps = " ".join("-X " + s.format(version=version, major=major, minor=minor) for s in build.stamps)
            build_go(module, build.package, made, "-s -w " + stamps, progress, cache_dir)
        if made != target:
            with published(target.with_name(target.name)) as link:
                link.symlink_to(made.name)
    return target
