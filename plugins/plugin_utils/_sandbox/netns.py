# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first process of a real pod: makes its root, runs its program, relays its connections.

Run as a script (``python -I -S netns.py``) by ``unshare`` as process 1 of new user, network, mount, PID and UTS
namespaces; it needs nothing but the standard library. It speaks JSON lines:

* on standard input first the pod (see :class:`Supervisor`), later ``{"files": VOLUME, "data": {PATH: base64}}`` when
  a ConfigMap or Secret changes. The end of standard input ends everything: nothing outlives the one who started it.
* on standard output ``{"event": "started"|"exited"|"broken", ...}``.
* on standard error the output of the program.

Volumes are written the way a kubelet does it: a new folder, then one rename of the link ``..data``.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any, Dict, Optional, Sequence

MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
DEVICES = ("null", "zero", "full", "random", "urandom")
VOLUMES = "/.volumes"
# Seconds between two starts of a program that ends, growing by half each time. A kubelet goes up to 300; here an
# install waits, and programs that start before their CRDs are served end at once (Trainer and Spark do).
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
ENTER = "--enter"
GRACE = 2.0  # seconds between asking a program to end and killing it
LONG_ENOUGH = 60.0  # seconds after which a program that ends starts again with FIRST_PAUSE


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy one direction of a connection until its end, and pass the end on."""
    with contextlib.suppress(OSError):
        while True:
            data = source.recv(65536)
            if not data:
                break
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def join(one: socket.socket, other: socket.socket) -> None:
    """Connect two open connections until both directions have ended, then close both."""
    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join()
    one.close()
    other.close()


def read_line(connection: socket.socket, limit: int = 16) -> bytes:
    """The first line of a connection, without its end and without reading past it; b"" if there is none."""
    line = b""
    while len(line) < limit:
        byte = connection.recv(1)
        if byte in (b"", b"\n"):
            return line if byte else b""
        line += byte
    return b""


def serve(listener: socket.socket, handle: Any) -> threading.Thread:
    """Give every connection of ``listener`` to ``handle`` in a thread of its own, until the listener is closed."""

    def loop() -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    return thread


def listen_unix(path: str) -> socket.socket:
    """A listener on a Unix socket that only its owner can reach; what was at ``path`` is replaced.

    Bound through the folder's descriptor, because the path of a Unix socket may not be longer than 107 bytes.
    """
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.path.lexists(path):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("/proc/self/fd/%d/%s" % (folder, os.path.basename(path)))
        os.chmod(path, 0o600)
        listener.listen(128)
    finally:
        os.close(folder)
    return listener


def connect_unix(path: str, timeout: Optional[float] = None) -> socket.socket:
    """A connection to a Unix socket whose path may be long.

    :raises OSError: nobody listens there.
    """
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect("/proc/self/fd/%d/%s" % (folder, os.path.basename(path)))
    except OSError:
        connection.close()
        raise
    finally:
        os.close(folder)
    return connection


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, "cannot mount %s on %s: %s" % (source, target, os.strerror(number)))


def _bind(source: str, target: str, read_only: bool = False) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            with open(target, "wb"):
                pass
    _mount(source, target, "", MS_BIND | MS_REC)
    if read_only:
        try:
            _mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
        except OSError as error:  # a host mount with locked flags (nosuid, nodev): readable is what matters
            print("sandbox: %s" % error, file=sys.stderr, flush=True)


def loopback_up() -> None:
    """Switch on 127.0.0.0/8 of this network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def write_volume(folder: str, files: Dict[str, bytes]) -> None:
    """Replace the content of a volume at one moment, as the kubelet's atomic writer does.

    :param files: relative path -> content.
    """
    data = os.path.join(folder, "..data")
    fresh = os.path.join(folder, "..%d" % time.monotonic_ns())
    os.makedirs(fresh)
    for path, content in files.items():
        target = os.path.join(fresh, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as stream:
            stream.write(content)
    old = os.path.realpath(data) if os.path.islink(data) else ""
    os.symlink(os.path.basename(fresh), data + "_tmp")
    os.rename(data + "_tmp", data)
    tops = {path.split("/", 1)[0] for path in files}
    for top in tops:
        link = os.path.join(folder, top)
        if not os.path.lexists(link):
            os.symlink(os.path.join("..data", top), link)
    for name in os.listdir(folder):
        if not name.startswith("..") and name not in tops:
            os.unlink(os.path.join(folder, name))
    if old:
        shutil.rmtree(old, ignore_errors=True)


def decode(data: Dict[str, str]) -> Dict[str, bytes]:
    """Files as they travel (base64) -> files."""
    return {path: base64.b64decode(text) for path, text in data.items()}


class Supervisor:
    """One pod inside its namespaces.

    ``pod`` is the first line of standard input:
    ``root`` (an empty folder), ``program`` (a static binary), ``path`` (where it is inside; its name is what the API
    server shows as the field manager), ``args``, ``env`` (name -> value), ``hostname``,
    ``volumes`` (name -> files in base64, or null for an emptyDir), ``mounts`` (list of [volume, path, sub_path,
    read_only]), ``certificates`` (the host's /etc/ssl/certs or ""), ``api_socket``, ``api_port``, ``relay_socket``.
    """

    def __init__(self, pod: Dict[str, Any]) -> None:
        self.pod = pod
        self.root: str = pod["root"]
        self._out = threading.Lock()
        self._child: Optional[subprocess.Popen[bytes]] = None
        self._stopping = threading.Event()

    def tell(self, event: str, **facts: Any) -> None:
        """Report one event to the one outside."""
        with self._out:
            sys.stdout.write(json.dumps(dict(facts, event=event)) + "\n")
            sys.stdout.flush()

    def inside(self, path: str) -> str:
        """Where a path of the pod is before the change of root."""
        return self.root + "/" + path.lstrip("/")

    def build_root(self) -> None:
        """A small file system in memory with the program, a few devices and the pod's volumes."""
        _mount("none", "/", "", MS_REC | MS_PRIVATE)
        _mount("tmpfs", self.root, "tmpfs", 0, "mode=0755")
        for folder in ("proc", "dev", "etc", "tmp", "var/run", VOLUMES):
            os.makedirs(self.inside(folder), exist_ok=True)
        os.chmod(self.inside("tmp"), 0o1777)
        try:
            _mount("proc", self.inside("proc"), "proc", 0)
        except OSError as error:  # refused inside some containers; Go programs live without it
            print("sandbox: %s" % error, file=sys.stderr, flush=True)
        for device in DEVICES:
            _bind("/dev/" + device, self.inside("dev/" + device))
        if self.pod["certificates"]:
            _bind(self.pod["certificates"], self.inside("etc/ssl/certs"), True)
        etc = {
            "hosts": "127.0.0.1 localhost kubernetes.default.svc %s\n" % self.pod["hostname"],
            "resolv.conf": "",  # no name server: a look-up fails at once instead of waiting for one
            "passwd": "root:x:0:0:root:/tmp:/none\n",
        }
        for name, text in etc.items():
            with open(self.inside("etc/" + name), "w", encoding="utf-8") as stream:
                stream.write(text)
        _bind(self.pod["program"], self.inside(self.pod["path"]), True)
        self._mount_volumes()

    def _mount_volumes(self) -> None:
        for name, files in self.pod["volumes"].items():
            os.makedirs(self.inside("%s/%s" % (VOLUMES, name)))
            if files is not None:
                self.update(name, decode(files))
        for volume, path, sub_path, read_only in sorted(self.pod["mounts"], key=lambda mount: len(mount[1])):
            source = self.inside("%s/%s" % (VOLUMES, volume))
            if sub_path:
                source = os.path.join(source, sub_path)
                if not os.path.exists(source):
                    os.makedirs(source)
                source = os.path.realpath(source)
            _bind(source, self.inside(path), read_only)

    def update(self, volume: str, files: Dict[str, bytes]) -> None:
        """Bring a volume up to date."""
        write_volume(self.inside("%s/%s" % (VOLUMES, volume)), files)

    def relay(self) -> None:
        """Connections to the API server from inside, and connections to the program from outside."""
        inner = socket.create_server(("127.0.0.1", self.pod["api_port"]), backlog=128)
        serve(inner, self._to_api)
        serve(listen_unix(self.pod["relay_socket"]), self._to_program)

    def _to_api(self, connection: socket.socket) -> None:
        try:
            server = connect_unix(self.pod["api_socket"])
        except OSError:
            connection.close()
            return
        join(connection, server)

    def _to_program(self, connection: socket.socket) -> None:
        try:
            program = socket.create_connection(("127.0.0.1", int(read_line(connection))), 5)
        except (OSError, ValueError):
            connection.close()
            return
        program.settimeout(None)
        join(connection, program)

    def run(self) -> None:
        """Run the program, again and again when it ends, with growing pauses."""
        pause, restarts = FIRST_PAUSE, 0
        while not self._stopping.is_set():
            began = time.monotonic()
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, ENTER, self.root, self.pod["path"], *self.pod["args"]],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                env=self.pod["env"],
            )
            self.tell("started", restarts=restarts)
            code = self._child.wait()
            self.tell("exited", code=code, restarts=restarts)
            pause = FIRST_PAUSE if time.monotonic() - began > LONG_ENOUGH else pause
            self._stopping.wait(pause)
            pause, restarts = min(pause * 1.5, LONGEST_PAUSE), restarts + 1

    def stop(self) -> None:
        """Ask the program to end (it may give back a leader's lease), and give it a moment."""
        self._stopping.set()
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):  # the end of process 1 kills it
                self._child.wait(GRACE)


def enter(root: str, program: str, arguments: Sequence[str]) -> None:
    """Become the program, inside its root.

    A process of its own does this, because nothing but exec may happen between fork and exec of a process with threads.
    """
    os.chroot(root)
    os.chdir("/")
    try:
        os.execve(program, [program, *arguments], os.environ)
    except OSError as error:
        sys.exit("cannot start %s: %s" % (program, error.strerror))


def run_forever(supervisor: Supervisor) -> None:
    """The thread that owns the program; a surprise in it ends the pod, with its cause."""
    try:
        supervisor.run()
    except BaseException as error:
        supervisor.tell("broken", reason="%s: %s" % (type(error).__name__, error))
        os._exit(1)


def main() -> int:
    """Set up the pod of the first line, then follow the lines until their end."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    supervisor = Supervisor(json.loads(sys.stdin.readline()))
    try:
        socket.sethostname(supervisor.pod["hostname"])
        loopback_up()
        supervisor.relay()
        supervisor.build_root()
    except (OSError, ValueError, KeyError) as error:
        supervisor.tell("broken", reason=str(error))
        return 1
    threading.Thread(target=run_forever, args=(supervisor,), daemon=True).start()
    for line in sys.stdin:
        message = json.loads(line)
        try:
            supervisor.update(message["files"], decode(message["data"]))
        except OSError as error:
            supervisor.tell("broken", reason=str(error))
    supervisor.stop()
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == [ENTER]:
        enter(sys.argv[2], sys.argv[3], sys.argv[4:])
    status = main()
    sys.stdout.flush()
    os._exit(status)  # process 1 of the namespace: everything in it ends with it
