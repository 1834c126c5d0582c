# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the API server's calls to webhooks, pods and nodes come out: one Unix socket, spoken to with CONNECT.

It decides as kube-proxy would: no ready endpoint, no connection.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Optional, Set, Tuple

from . import containers, netns, standin

HEAD_LIMIT = 65536
DIAL_SECONDS = 3.0
LOOPBACK = ("127.0.0.1", "localhost")  # the address that kwok gives to its nodes is the second
KUBELET_PORT = 10250  # where the API server looks for a kubelet whose node says nothing else


class Refused(Exception):
    """No connection; the text is what the API server reports."""


@dataclass(frozen=True)
class Pod:
    """Where a call ends. ``relay`` is the socket of a pod that is run for real, None for a simulated one."""

    name: str
    port: int
    relay: Optional[Path]


Router = Callable[[str, int], Pod]  # address, port -> pod; raises Refused


class Egress:
    """The socket.

    :param route: says which pod a connection goes to.
    :param context: the TLS of the stand-in.
    :param kubelet: the port of kwok on loopback, which plays the kubelet of every simulated node.
    """

    def __init__(self, route: Router, context: ssl.SSLContext, kubelet: int = KUBELET_PORT) -> None:
        self._route = route
        self._context = context
        self._kubelet = kubelet
        self._open: Dict[str, Set[socket.socket]] = {}
        self._lock = threading.Lock()

    def listen(self, path: Path) -> None:
        """Answer on this socket from now on."""
        netns.serve(netns.listen_unix(str(path)), self._handle)

    def _handle(self, connection: socket.socket) -> None:
        try:
            address, port = _target(connection)
            if address in LOOPBACK:  # the kubelet of a simulated node, which is kwok itself
                port = self._kubelet if port == KUBELET_PORT else port
                self._forward(connection, socket.create_connection((LOOPBACK[0], port), DIAL_SECONDS))
                return
            pod = self._route(address, port)
            if pod.relay is not None:
                self._forward(connection, containers.dial(pod.relay, pod.port))
                return
            self._stand_in(pod.name, connection, lambda: self._route(address, port))
        except (Refused, OSError, ValueError) as error:
            with contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 503 %s\r\n\r\n" % str(error).replace("\n", " ").encode())
            connection.close()

    def _stand_in(self, pod: str, connection: socket.socket, again: Callable[[], Pod]) -> None:
        handle = connection.dup()  # TLS takes the socket itself over
        with self._lock:
            self._open.setdefault(pod, set()).add(handle)
        try:
            again()  # the pod may have ended before we noted its connection
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            standin.serve(connection, self._context)
        finally:
            with self._lock:
                self._open.get(pod, set()).discard(handle)
                handle.close()

    def gone(self, pod: str) -> None:
        """A simulated pod ended: so do its connections, which the API server would keep and use again."""
        with self._lock:
            for handle in self._open.pop(pod, ()):
                with contextlib.suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _forward(connection: socket.socket, other: socket.socket) -> None:
        other.settimeout(None)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        netns.join(connection, other)


def _target(connection: socket.socket) -> Tuple[str, int]:
    """What the CONNECT asks for.

    :raises ValueError: it is no CONNECT.
    """
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(4096)
        if not part or len(head) > HEAD_LIMIT:
            raise ValueError("no CONNECT request")
        head += part
    words = head.split(None, 2)
    if words[0] != b"CONNECT":
        raise ValueError("only CONNECT is understood here")
    address, _colon, port = words[1].decode().rpartition(":")
    return address.strip("[]"), int(port)
