# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a sandbox: made, found again, copied, removed.

``sandbox.json`` in its folder says ``making`` until all of it is there. Whoever finds that word, or processes that are
gone, cleans up and makes it anew: no moment at which a run is killed needs a person.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from ...module_utils._engine.errors import EngineError
from ...module_utils._engine.progress import Progress
from . import controlplane, processes
from .backends import Backend, backends_for, ensure_backend
from .containers import namespaces_refused
from .controlplane import Layout
from .kube import ApiStatus, Client, key_of
from .starting import start_agent

SOCKET_LIMIT = 100  # bytes; the kernel allows 107
STATE_FILE = "sandbox.json"
NOTICE = "no container image runs in this sandbox: the control plane is real, nodes and pods are simulated"
PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller", "agent")


@dataclass(frozen=True)
class SandboxSpec:
    """What is wanted.

    :param name: lower-case letters, digits and dashes.
    :param release: the Kubeflow release whose controllers are run for real where they build; "" for none.
    :param upgrades: the releases that it will be moved to; theirs are run for real, too.
    :param state_dir: the folder of all sandboxes; this one's is ``state_dir/name``.
    :param gpus: nvidia.com/gpu of each node.
    :param audit: whether the API server writes an audit log (level Metadata).
    :param real: whether real back ends are run at all.
    :param snapshot: start as a copy of what :func:`snapshot` wrote there.
    :param binaries: how programs are found, see ``tools.WAYS``.
    :param exec: whether ``exec`` and ``port-forward`` of simulated pods can be answered by programs and ports of this machine:
        those of kwok's objects Exec, ClusterExec, PortForward and ClusterPortForward, run as the user who runs the sandbox.
        Anybody who can connect to loopback here can then run what these objects allow: for tests on a machine of one's own.
    """

    name: str
    state_dir: Path
    cache_dir: Path
    release: str = ""
    upgrades: Tuple[str, ...] = ()
    nodes: int = 3
    gpus: int = 4
    audit: bool = False
    real: bool = True
    snapshot: Optional[Path] = None
    binaries: str = "auto"
    exec: bool = False


@dataclass(frozen=True)
class Sandbox:
    """One that is there. ``changed``: whether this call made (or repaired) it. ``seconds``: how long that took."""

    name: str
    dir: Path
    kubeconfig: Path
    audit_log: Optional[Path]
    server: str
    changed: bool = False
    seconds: float = 0.0
    backends: Tuple[str, ...] = ()


@dataclass(frozen=True)
class _State:
    """What ``sandbox.json`` says."""

    name: str
    state: str
    release: str
    upgrades: Tuple[str, ...]
    nodes: int
    gpus: int
    audit: bool
    real: bool
    cache_dir: str
    socket: str
    port: int
    backends: Tuple[str, ...]
    exec: bool = False


def create(spec: SandboxSpec, progress: Progress) -> Sandbox:
    """Have a sandbox like this: found as it is, repaired, or made.

    :raises EngineError: a bad name, another sandbox of this name with other settings, a program is missing,
        or the control plane did not start.
    """
    begin = time.monotonic()
    layout = _layout(spec.name, spec.state_dir)
    progress.say("sandbox", NOTICE)
    with _locked(layout):
        state = _read(layout)
        if state is not None and state.state == "ready":
            _same(state, spec)
            if _whole(layout, state):
                return _sandbox(layout, state, False, begin)
            progress.say("sandbox", "%s is not running (any more); starting it again" % spec.name)
            return _sandbox(layout, _restart(spec, layout, state, progress), True, begin)
        if layout.folder.exists():
            progress.say("sandbox", "an earlier run was cut off; cleaning up what it left")
        _remove(layout)
        try:
            return _sandbox(layout, _make(spec, layout, progress), True, begin)
        except EngineError:
            processes.end(layout.folder)  # the logs stay until the next run
            raise


def delete(name: str, state_dir: Path, progress: Progress) -> bool:
    """Remove a sandbox with all its processes and files; whether there was anything to remove."""
    layout = _layout(name, state_dir)
    if not exists(name, state_dir) and not _lock_path(layout).exists():
        return False
    with _locked(layout, last=True):
        there = exists(name, state_dir)
        _remove(layout)
    if there:
        progress.say("sandbox", "%s is removed" % name)
    return there


def find(name: str, state_dir: Path) -> Optional[Sandbox]:
    """The sandbox of this name if it is there and whole, else None. Changes nothing."""
    layout = _layout(name, state_dir)
    state = _read(layout)
    if state is None or state.state != "ready" or not _whole(layout, state):
        return None
    return _sandbox(layout, state, False, time.monotonic())


def exists(name: str, state_dir: Path) -> bool:
    """Whether :func:`delete` would find anything to remove."""
    layout = _layout(name, state_dir)
    return layout.folder.exists() or bool(processes.processes_of(layout.folder))


def snapshot(sandbox: Sandbox, path: Path) -> Path:
    """Write what another sandbox can start from: the data of etcd and every key that it refers to.

    :param path: a folder that must not exist yet; it appears whole or not at all, private to its owner.
    """
    layout = Layout(sandbox.dir, sandbox.name)
    state = _read(layout)
    if state is None or path.exists():
        raise EngineError("cannot write the snapshot", subject=str(path), found="it exists" if state else "no sandbox")
    tools = controlplane.programs(Path(state.cache_dir), "auto", _Quiet())
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".snapshot-", dir=path.parent))
    try:
        controlplane.kwokctl(layout, tools, "snapshot", "save", "--path", str(partial / "etcd.db"))
        shutil.copytree(layout.pki, partial / "pki")
        shutil.copytree(layout.folder / "ca", partial / "ca")
        os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


class _Quiet:
    def say(self, where: str, text: str) -> None:
        """Nothing is said."""

    def waiting(self, where: str, text: str) -> None:
        """Nothing is said."""


def _layout(name: str, state_dir: Path) -> Layout:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", name):
        raise EngineError("not a name for a sandbox", subject=repr(name), expected="up to 40 lower-case letters, digits and dashes")
    return Layout(Path(os.path.realpath(state_dir)) / name, name)


def _lock_path(layout: Layout) -> Path:
    return layout.folder.parent / (".%s.lock" % layout.name)


@contextlib.contextmanager
def _locked(layout: Layout, last: bool = False) -> Iterator[None]:
    """Nobody else makes or removes this sandbox. ``last``: the lock itself goes, too."""
    path = _lock_path(layout)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(handle).st_ino:
                break
        os.close(handle)  # its file was removed while we waited: that lock protects nothing
    try:
        yield
    finally:
        if last:
            path.unlink()
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        os.close(handle)


def _read(layout: Layout) -> Optional[_State]:
    try:
        data: Dict[str, Any] = json.loads((layout.folder / STATE_FILE).read_text(encoding="utf-8"))
        data.update(backends=tuple(data["backends"]), upgrades=tuple(data.get("upgrades") or ()))
        return _State(**data)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write(layout: Layout, state: _State) -> None:
    partial = layout.folder / (STATE_FILE + ".part")
    partial.write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
    os.replace(partial, layout.folder / STATE_FILE)


def _sandbox(layout: Layout, state: _State, changed: bool, begin: float) -> Sandbox:
    return Sandbox(
        name=layout.name,
        dir=layout.folder,
        kubeconfig=layout.kubeconfig,
        audit_log=layout.audit_log if state.audit else None,
        server="https://127.0.0.1:%d" % state.port,
        changed=changed,
        seconds=time.monotonic() - begin,
        backends=state.backends,
    )


def _same(state: _State, spec: SandboxSpec) -> None:
    """Refuse a sandbox of this name that was made with other settings."""
    wanted = {key: getattr(spec, key) for key in ("release", "upgrades", "nodes", "gpus", "audit", "real", "exec")}
    other = {key: getattr(state, key) for key, value in wanted.items() if getattr(state, key) != value}
    if other:
        raise EngineError(
            "it exists with other settings",
            subject="sandbox " + spec.name,
            expected=", ".join("%s=%s" % (key, wanted[key]) for key in other),
            found=", ".join("%s=%s" % item for item in other.items()),
            next_step="remove it (state: absent), or choose another name",
        )


def _whole(layout: Layout, state: _State) -> bool:
    running = {process.role for process in processes.processes_of(layout.folder)}
    if not running.issuperset(PARTS):
        return False
    try:
        Client(layout.server(state.port), "mlplatform-sandbox").get("/readyz")
    except (OSError, ApiStatus):
        return False
    return True


def _remove(layout: Layout) -> None:
    """No process and no file of it, also of a removal that was cut off."""
    processes.end(layout.folder)
    shutil.rmtree(_socket_folder(layout), ignore_errors=True)
    gone = layout.folder.with_name(".%s.removing" % layout.name)
    shutil.rmtree(gone, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.rename(layout.folder, gone)  # at once nobody's sandbox any more, even if we are killed now
    shutil.rmtree(gone, ignore_errors=True)


def socket_folder(folder: Path, name: str) -> Path:
    """Where a sandbox's Unix sockets are."""
    return _socket_folder(Layout(folder, name))


def _socket_folder(layout: Layout) -> Path:
    """Where its Unix sockets go: its own folder, or a short private one where that path is too long for a socket."""
    own = layout.folder / "run"
    if len(os.fsencode(own / "egress.sock")) <= SOCKET_LIMIT:
        return own
    digest = hashlib.sha256(os.fsencode(layout.folder)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / ("mlk-%d-%s" % (os.getuid(), digest))


def _private(folder: Path) -> None:
    """Make a folder that is ours alone.

    :raises EngineError: somebody else made it first.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise EngineError("it is not a private folder of ours", subject=str(folder), next_step="remove it")


def _make(spec: SandboxSpec, layout: Layout, progress: Progress) -> _State:
    tools = controlplane.programs(spec.cache_dir, spec.binaries, progress)
    real = _real(spec, progress)
    sockets = _socket_folder(layout)
    state = _State(
        name=spec.name,
        state="making",
        release=spec.release,
        upgrades=spec.upgrades,
        nodes=spec.nodes,
        gpus=spec.gpus,
        audit=spec.audit,
        real=spec.real,
        cache_dir=str(spec.cache_dir),
        socket=str(sockets / "egress.sock"),
        port=0,
        backends=tuple(sorted({backend.name for backend in real})),
        exec=spec.exec,
    )
    _private(layout.folder)
    _write(layout, state)
    _private(sockets)
    if spec.snapshot is not None:
        _unpack(spec.snapshot, layout, tools)
    deployments = ["%s/%s" % (pod.namespace, pod.deployment) for backend in real for pod in backend.pods]
    controlplane.write_settings(layout, tools, Path(state.socket), spec.audit, deployments, spec.exec)
    progress.say("sandbox", "starting Kubernetes %s" % controlplane.VERSIONS["kube-apiserver"])
    return _start(layout, tools, state, progress)


def _restart(spec: SandboxSpec, layout: Layout, state: _State, progress: Progress) -> _State:
    """Start what does not run, on the same data and the same ports."""
    running = {process.role for process in processes.processes_of(layout.folder)}
    if running.issuperset(set(PARTS) - {"agent"}):
        processes.end_role(layout.folder, "agent")
        start_agent(layout.folder)
        return state
    processes.end(layout.folder)
    _private(Path(state.socket).parent)
    return _start(layout, controlplane.programs(spec.cache_dir, spec.binaries, progress), state, progress)


def _start(layout: Layout, tools: Mapping[str, Path], state: _State, progress: Progress) -> _State:
    port = controlplane.start(layout, tools)
    controlplane.write_kubeconfig(layout, port)
    client = Client(layout.server(port), "mlplatform-sandbox")
    client.create("/apis/storage.k8s.io/v1/storageclasses", controlplane.storage_class())
    for definition in controlplane.exec_definitions() if state.exec else ():
        client.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    for node in controlplane.nodes(state.nodes, state.gpus):
        client.create("/api/v1/nodes", node)
    _free_leases(client)
    begun = _State(**{**asdict(state), "state": "making", "port": port})
    _write(layout, begun)
    start_agent(layout.folder)
    _wait_for_nodes(client, state.nodes)
    ready = _State(**{**asdict(begun), "state": "ready"})
    _write(layout, ready)
    progress.say("sandbox", "%s serves at https://127.0.0.1:%d with %d nodes" % (state.name, port, state.nodes))
    return ready


def _free_leases(client: Client) -> None:
    """Remove what the leaders of the original hold: in a copy, or after a restart, they do not run."""
    for lease in client.get("/apis/coordination.k8s.io/v1/leases")["items"]:
        namespace, name = key_of(lease)
        if namespace != "kube-system":
            client.delete("/apis/coordination.k8s.io/v1/namespaces/%s/leases/%s" % (namespace, name))


def _wait_for_nodes(client: Client, count: int) -> None:
    ready = set()
    path = "/api/v1/nodes?watch=1&timeoutSeconds=60"
    for event in client.stream(path, "application/json"):
        node = event["object"]
        if any(c["type"] == "Ready" and c["status"] == "True" for c in node.get("status", {}).get("conditions") or []):
            ready.add(node["metadata"]["name"])
        if len(ready) >= count:
            return
    raise EngineError("the simulated nodes did not become Ready", expected="%d nodes" % count, found=", ".join(sorted(ready)) or "none")


def _unpack(source: Path, layout: Layout, tools: Mapping[str, Path]) -> None:
    """Put the data and the keys of a snapshot where kwokctl takes them for its own."""
    if not (source / "etcd.db").is_file():
        raise EngineError("not a snapshot of a sandbox", subject=str(source), expected="a folder with etcd.db, pki, ca")
    layout.cluster.mkdir(parents=True, mode=0o700)
    shutil.copytree(source / "pki", layout.pki)
    shutil.copytree(source / "ca", layout.folder / "ca")
    command = [str(tools["etcdutl"]), "snapshot", "restore", str(source / "etcd.db"), "--data-dir"]
    done = subprocess.run([*command, str(layout.cluster / "etcd")], capture_output=True, check=False)
    if done.returncode:
        raise EngineError("etcd cannot read the snapshot", subject=str(source), found=done.stderr.decode()[-400:])


def _real(spec: SandboxSpec, progress: Progress) -> List[Backend]:
    """The back ends that are run for real here; says why one is not."""
    wanted = backends_for(spec.release, spec.upgrades) if spec.real and spec.release else ()
    refused = namespaces_refused() if wanted else ""
    if refused:
        progress.say("sandbox", "webhooks are stood in for: %s" % refused)
        return []
    found: List[Backend] = []
    for backend in wanted:
        try:
            ensure_backend(backend, spec.cache_dir, progress)
        except EngineError as error:
            progress.say("sandbox", "a stand-in answers for %s: %s" % (backend.name, error.cause))
            continue
        found.append(backend)
    return found
