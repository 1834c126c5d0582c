# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container runtime whose images are Go programs: runs the pods that have a real back end, without root.

Each such pod gets namespaces of its own (:mod:`netns` is process 1 in them), so programs that listen on all interfaces
are reached by nobody but through the pod's Unix socket. Volumes, environment and service account are the pod's own:
what the program may do is what the installed RBAC lets it do.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Callable, Dict, List, Optional

from ...module_utils._engine.errors import EngineError
from ...module_utils._engine.objects import KubeObject, ObjectRef
from . import netns, podspec

API_PORT = 6443  # where a program finds the API server, inside its pod
MEMORY = 192 * 1024**2  # bytes; the soft limit of a program whose pod has none, or a higher one
TOKEN_SECONDS = 30 * 24 * 3600  # no renewal: longer than a sandbox lives
EAGER, PATIENT = 0.1, 1.0  # seconds between two readiness probes until the first success: growing from, up to
PROBE_TIMEOUT = 5.0  # seconds
STOP_SECONDS = 5.0  # until a pod that was told to stop is killed
CERTIFICATES = "/etc/ssl/certs"
_CAUSE = re.compile(r"error|fatal|panic|cannot", re.IGNORECASE)

TokenRequest = Callable[[str, str, KubeObject], str]  # namespace, service account, TokenRequest body -> the token


@dataclass(frozen=True)
class PodState:
    """What a kubelet would put into the pod's status.

    ``started``: the program runs. ``ready``: its readiness probe succeeds. ``message``: what it waits for, or how it
    ended ("exited with status 1"); "" when all is well.
    """

    started: bool = False
    ready: bool = False
    restarts: int = 0
    message: str = ""


@dataclass(frozen=True)
class Program:
    """A static binary and the name that it has in its image (client-go uses it as the field manager)."""

    binary: Path
    name: str


@dataclass(frozen=True)
class PodHost:
    """What all real pods of a sandbox share.

    :param work_dir: sockets and logs (``<namespace>_<pod>.log``) are here; private to the user.
    :param api_socket: a Unix socket that is forwarded to the API server (:class:`ApiSocket`).
    :param request_token: asks the API server for a token of a service account.
    """

    work_dir: Path
    api_socket: Path
    request_token: TokenRequest


class ApiSocket:
    """A Unix socket whose connections are forwarded to the API server on the loopback interface."""

    def __init__(self, path: Path, host: str, port: int) -> None:
        self.path = path
        self._address = (host, port)
        self._listener = netns.listen_unix(str(path))
        self._thread = netns.serve(self._listener, self._forward)

    def _forward(self, connection: socket.socket) -> None:
        try:
            server = socket.create_connection(self._address)
        except OSError:
            connection.close()
            return
        netns.join(connection, server)

    def close(self) -> None:
        """Accept no more connections; those that are open go on."""
        self._listener.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that accepts
        self._listener.close()
        self._thread.join()
        if self.path.exists():
            self.path.unlink()


def unshare_command() -> List[str]:
    """How process 1 of a pod is started in namespaces of its own; its end is the end of all of them."""
    flags = ("--user", "--map-root-user", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
    return [shutil.which("unshare") or "unshare"] + list(flags)


def namespaces_refused() -> str:
    """Why this machine cannot run real pods; "" if it can."""
    if shutil.which("unshare") is None:
        return "the program unshare (package util-linux) is not on the path"
    trial = unshare_command() + ["mount", "-t", "tmpfs", "none", "/tmp"]
    done = subprocess.run(trial, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode == 0:
        return ""
    return "user namespaces are not allowed here: %s" % done.stderr.decode(errors="replace").strip()


def dial(relay_socket: Path, port: int, timeout: float = PROBE_TIMEOUT) -> socket.socket:
    """A connection to ``port`` inside a pod; it ends at once if nothing listens there.

    :raises OSError: the pod does not run.
    """
    connection = netns.connect_unix(str(relay_socket), timeout)
    connection.sendall(b"%d\n" % port)
    return connection


def probe_once(relay_socket: Path, probe: podspec.Probe) -> str:
    """Ask a readiness probe; "" if it succeeds, else why not. Certificates are not verified, as a kubelet does."""
    try:
        with dial(relay_socket, probe.port) as raw:
            if probe.scheme == "TCP":
                return "" if _stays_open(raw) else "nothing listens on port %d" % probe.port
            connection = http.client.HTTPConnection("localhost", probe.port)
            connection.sock = _tls(raw) if probe.scheme == "HTTPS" else raw
            connection.request("GET", probe.path, headers={"User-Agent": "kube-probe/mlplatform.kubeflow"})
            status = connection.getresponse().status
            connection.close()
            return "" if 200 <= status < 400 else "%s answers %d" % (probe.path, status)
    except (OSError, http.client.HTTPException) as error:
        return "port %d: %s" % (probe.port, error or type(error).__name__)


def _stays_open(connection: socket.socket) -> bool:
    connection.settimeout(EAGER)
    try:
        return connection.recv(1) != b""
    except socket.timeout:
        return True


def _tls(raw: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the CA store, which costs more than the probe
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(raw, server_hostname="localhost")


class RealPod:
    """One pod whose container ``container`` is run for real by ``program``.

    It starts when every ConfigMap and Secret that it needs was offered, and follows their changes.
    All methods may be called from any thread. ``on_state`` is called from any thread, one call at a time; the last
    call has the newest state. After :meth:`stop` it is not called any more.
    """

    def __init__(self, pod: KubeObject, container: str, program: Program, host: PodHost, on_state: Callable[[PodState], None]) -> None:
        metadata = pod["metadata"]
        self.pod, self.container, self.program, self.host = pod, container, program, host
        self.name = "%s/%s" % (podspec.namespace_of(pod), metadata["name"])
        self.log = host.work_dir / ("%s_%s.log" % (podspec.namespace_of(pod), metadata["name"]))
        self.relay_socket = host.work_dir / ("pod-%s-%d.sock" % (metadata["uid"][:8], os.getpid()))
        self.references = frozenset(podspec.references(pod, container))
        self._on_state = on_state
        self._known: Dict[ObjectRef, KubeObject] = {}
        self._tokens: Dict[str, str] = {}
        self._sent: Dict[str, Optional[Dict[str, bytes]]] = {}
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._state = PodState(message="not started")
        self._changed = threading.Condition(threading.RLock())
        self._telling = threading.RLock()  # one call of on_state at a time, each with the newest state
        self._ended = threading.Event()

    @property
    def state(self) -> PodState:
        """The state now."""
        with self._changed:
            return self._state

    def offer(self, ref: ObjectRef, obj: Optional[KubeObject]) -> None:
        """Tell the pod about a ConfigMap or Secret as it is now (None: deleted); others than its own are ignored."""
        if ref not in self.references:
            return
        with self._changed:
            if obj is None:
                self._known.pop(ref, None)
            else:
                self._known[ref] = obj
        self.sync()

    def sync(self) -> None:
        """Start if everything needed is there, or bring the volumes up to date."""
        message = self._sync()
        if message:
            self._set(message=message)

    def _sync(self) -> str:
        """Do it; what a pod that has not started waits for, or ""."""
        with self._changed:
            if self._ended.is_set():
                return ""
            try:
                files = podspec.volumes(self.pod, self.container, self._known.get, self._token)
                env = podspec.environment(self.pod, self.container, self._known.get)
            except podspec.Missing as missing:  # a running container keeps the last files it had
                return "" if self._process else "waiting: %s" % missing
            except EngineError as error:
                return str(error)
            if self._process is None:
                self._start(files, env)
                return ""
            for volume, data in files.items():
                if data is not None and data != self._sent.get(volume):
                    self._send({"files": volume, "data": _encode(data)})
            self._sent = files
            return ""

    def _token(self, source: KubeObject) -> str:
        account = self.pod["spec"].get("serviceAccountName") or "default"
        audience = str(source.get("audience") or "")
        if audience not in self._tokens:
            metadata = self.pod["metadata"]
            bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
            spec: KubeObject = {"expirationSeconds": TOKEN_SECONDS, "boundObjectRef": bound}
            if audience:
                spec["audiences"] = [audience]
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
            self._tokens[audience] = self.host.request_token(podspec.namespace_of(self.pod), account, body)
        return self._tokens[audience]

    def _environment(self, own: Dict[str, str]) -> Dict[str, str]:
        limit = podspec.memory_limit(self.pod, self.container)
        env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": "/tmp",
            "HOSTNAME": self.pod["metadata"]["name"],
            "GOMAXPROCS": "1",
            "GOMEMLIMIT": "%dB" % min(limit or MEMORY, MEMORY),
            "KUBERNETES_SERVICE_HOST": podspec.LOCALHOST,
            "KUBERNETES_SERVICE_PORT": str(API_PORT),
            "KUBERNETES_SERVICE_PORT_HTTPS": str(API_PORT),
        }
        return dict(env, **own)

    def _start(self, files: Dict[str, Optional[Dict[str, bytes]]], own: Dict[str, str]) -> None:
        self.host.work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        root = self.host.work_dir / "root"  # a mount point; what is mounted there only the pod sees
        root.mkdir(mode=0o700, exist_ok=True)
        env = self._environment(own)
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                unshare_command() + [sys.executable, "-I", "-S", netns.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._process, self._sent = process, files
        threading.Thread(target=self._follow, args=(process,), daemon=True).start()
        self._send(
            {
                "root": str(root),
                "program": str(self.program.binary),
                "path": "/" + self.program.name,
                "args": podspec.arguments(self.pod, self.container, env),
                "env": env,
                "hostname": self.pod["metadata"]["name"][:63],
                "volumes": {name: None if data is None else _encode(data) for name, data in files.items()},
                "mounts": [[m.volume, m.path, m.sub_path, m.read_only] for m in podspec.mounts(self.pod, self.container)],
                "certificates": CERTIFICATES if os.path.isdir(CERTIFICATES) else "",
                "api_socket": str(self.host.api_socket),
                "api_port": API_PORT,
                "relay_socket": str(self.relay_socket),
            }
        )

    def _send(self, message: KubeObject) -> None:
        stream = self._process.stdin if self._process else None
        if stream is not None:
            with contextlib.suppress(OSError):  # it has ended; _follow says so
                stream.write(json.dumps(message).encode() + b"\n")
                stream.flush()

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Turn what process 1 tells into states, until it ends."""
        reason = ""
        for line in process.stdout or ():
            event = json.loads(line)
            if event["event"] == "started":
                self._set(started=True, ready=False, restarts=event["restarts"], message="not ready yet")
                threading.Thread(target=self._probe, args=(event["restarts"],), daemon=True).start()
            elif event["event"] == "exited":
                message = "exited with status %d: %s" % (event["code"], last_words(self.log))
                self._set(started=False, ready=False, message=message)
            else:
                reason = event["reason"]
        process.wait()
        if not self._ended.is_set():
            self._set(started=False, ready=False, message=reason or "its first process ended: see %s" % self.log)

    def _probe(self, start: int) -> None:
        """Ask the readiness probe of one start of the program until it ends."""
        probe = podspec.readiness(self.pod, self.container)
        pause, failures, ready = EAGER, 0, False
        while not self._ended.is_set():
            reason = probe_once(self.relay_socket, probe) if probe else ""
            failures = failures + 1 if reason else 0
            ready = not reason or (ready and probe is not None and failures < probe.failures)
            with self._changed:
                if not self._state.started or self._state.restarts != start:
                    return
                self._state, before = replace(self._state, ready=ready, message="" if ready else reason), self._state
                self._changed.notify_all()
            self._tell(before)
            if probe is None:
                return
            # A kubelet would wait a whole period, and longer for the first; here an install waits for it.
            pause = probe.period if ready else min(pause * 1.2, probe.period, PATIENT)
            self._ended.wait(pause)

    def _set(self, **changes: Any) -> None:
        with self._changed:
            self._state, before = replace(self._state, **changes), self._state
            self._changed.notify_all()
        self._tell(before)

    def _tell(self, before: PodState) -> None:
        """Call ``on_state`` if what a pod's status shows has changed; why a probe fails is no news."""
        with self._telling:
            now = self.state
            if self._ended.is_set() or now == before or replace(now, message="") == replace(before, message="") and now.started:
                return
            self._on_state(now)

    def wait_ready(self, timeout: float) -> PodState:
        """Wait until the pod is ready, or the time (seconds) is over; the state then."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.ready, timeout)
            return self._state

    def stop(self) -> None:
        """End the program and everything in its namespaces; returns when nothing of it is left."""
        self._ended.set()
        with self._changed:
            process, self._process = self._process, None
        if process is not None:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()  # unshare --kill-child takes process 1 and so the namespaces along
                process.wait()
        if self.relay_socket.exists():
            self.relay_socket.unlink()


def _encode(files: Dict[str, bytes]) -> Dict[str, str]:
    return {path: base64.b64encode(data).decode() for path, data in files.items()}


def tail(log: Path, size: int = 2000) -> str:
    """The last lines of a pod's log."""
    with contextlib.suppress(OSError), open(log, "rb") as stream:
        return _tail(stream, size)
    return ""


def _tail(stream: IO[bytes], size: int) -> str:
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, end - size))
    return stream.read().decode(errors="replace")


def last_words(log: Path) -> str:
    """The line that says best why a program ended: the last one that speaks of an error, else the last one."""
    lines = [line.strip() for line in tail(log, 8000).splitlines() if line.strip()]
    causes = [line for line in lines if _CAUSE.search(line)]
    return (causes or lines or [""])[-1][:400]


def wait_listening(pod: RealPod, port: int, timeout: float) -> bool:
    """Wait until something listens on ``port`` inside the pod; False when the time (seconds) is over."""
    end = time.monotonic() + timeout
    probe = podspec.Probe("TCP", port, "", EAGER)
    while time.monotonic() < end:
        if probe_once(pod.relay_socket, probe) == "":
            return True
        time.sleep(EAGER)
    return False
