# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A port of a pod as a port of this machine, through the API server, as ``kubectl port-forward`` makes one.

For servers in the cluster that only other pods can reach: an S3 client here speaks to an object store there. A connection
whose way breaks is reset, never ended: no client takes half an answer for a whole one.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from types import TracebackType
from typing import Any, Dict, List, Optional, Set, Tuple, Type

from .errors import EngineError
from .podsockets import PIECE, V4, Frame, PodSocket
from .transports import PODS

DATA, ERRORS = 0, 1
# Connections at the same time; more have to wait, each holds up to FRAMES messages.
CONNECTIONS = 32
LOOK_SECONDS = 5.0


class PodTunnel:
    """``with PodTunnel(client, "kubeflow", "minio-0", 9000) as tunnel: ... tunnel.address``.

    The address is on loopback, where every user of this machine can connect to it while it is open.

    :param client: an ``ApiClient`` of the ``kubernetes`` library, see ``kubeconfig.new_client``.
    :param connections: how many are served at the same time.
    :ivar problem: what the last connection that broke died of, "" if none did; clients see only that it was reset.
    """

    def __init__(self, client: Any, namespace: str, pod: str, port: int, connections: int = CONNECTIONS) -> None:
        self._client = client
        self._path = PODS.path(namespace, pod) + "/portforward"
        self._port = port
        self.where = "pod %s/%s port %d" % (namespace, pod, port)
        self.problem = ""
        self._slots = threading.BoundedSemaphore(connections)
        self._threads: Set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._stopping = False

    @property
    def address(self) -> Tuple[str, int]:
        """Where to connect to."""
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def __enter__(self) -> PodTunnel:
        """Listen from now on.

        :raises EngineError: the pod is not there, or we may not do this.
        """
        self._connect().close()
        self._stopped, self._stop = os.pipe()  # the first becomes readable for all threads when the second is closed
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._acceptor = threading.Thread(target=self._accept, name="tunnel " + self.where, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException], traceback: Optional[TracebackType]) -> None:
        """No connection and no thread is left."""
        self._stopping = True
        os.close(self._stop)
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            left = list(self._threads)
        for thread in left:
            thread.join()
        os.close(self._stopped)

    def _connect(self) -> PodSocket:
        query = [("ports", str(self._port))]
        return PodSocket(self._client, self._path, query, (V4,), subject=self.where, verb="create pods/portforward")

    def _accept(self) -> None:
        waiting = select.poll()
        waiting.register(self._stopped, select.POLLIN)
        waiting.register(self._listener, select.POLLIN)
        while True:
            while not self._slots.acquire(timeout=0.2):
                if self._stopping:
                    return
            waiting.poll()
            if self._stopping:
                return
            local, _peer = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(local,), name="connection to " + self.where, daemon=True)
            with self._lock:
                self._threads.add(thread)
            thread.start()

    def _serve(self, local: socket.socket) -> None:
        whole = False
        try:
            with contextlib.closing(self._connect()) as line:
                whole = self._relay(local, line)
        except EngineError as problem:
            self.problem = problem.cause
        except OSError as problem:  # the client is gone
            self.problem = str(problem)
        finally:
            if not whole:  # with this option, closing is a reset
                local.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            local.close()
            self._slots.release()
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _relay(self, local: socket.socket, line: PodSocket) -> bool:
        """Carry bytes until one side ends; whether that was an orderly end.

        A client that ends its sending ends the connection: the protocol knows no half-open ones.
        """
        local.setblocking(False)
        local.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        greeting = {DATA: 2, ERRORS: 2}  # each channel begins with the number of the port, in two bytes
        back = b""
        while not self._stopping:
            also: Dict[int, int] = {self._stopped: select.POLLIN}
            mask = (select.POLLIN if line.idle else 0) | (select.POLLOUT if back else 0)
            if mask:
                also[local.fileno()] = mask
            frames = line.turn(LOOK_SECONDS, reading=not back, also=also)
            back = _sent(local, back + self._data(frames, greeting))
            if line.ended and not back:
                if not line.clean:
                    self.problem = line.reason
                return line.clean
            if line.idle and not line.ended:
                piece = _received(local)
                if piece == b"":
                    return True
                if piece:
                    line.send(DATA, piece)
        return False

    def _data(self, frames: List[Frame], greeting: Dict[int, int]) -> bytes:
        """What the pod sent.

        :param greeting: how many bytes of each channel's beginning are still to be left out.
        :raises EngineError: the kubelet has something to say: the port is closed, the pod is gone.
        """
        found = []
        for channel, data in frames:
            skipped = min(greeting.get(channel, 0), len(data))
            greeting[channel] = greeting.get(channel, 0) - skipped
            if channel == DATA:
                found.append(data[skipped:])
            elif data[skipped:]:
                raise EngineError(data[skipped:].decode(errors="replace").strip()[:500], subject=self.where)
        return b"".join(found)


def _sent(local: socket.socket, data: bytes) -> bytes:
    """What is left of it: as much as the kernel takes is sent."""
    with contextlib.suppress(BlockingIOError):
        while data:
            data = data[local.send(data) :]
    return data


def _received(local: socket.socket) -> Optional[bytes]:
    """Some bytes, none at the end, None if nothing is there yet."""
    try:
        return local.recv(PIECE - 1)
    except BlockingIOError:
        return None
