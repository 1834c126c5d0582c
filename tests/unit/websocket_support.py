# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server that speaks websocket as a script tells it to: for what no kubelet does on demand."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
from typing import Any, Callable, Dict, List, Tuple
from urllib.parse import parse_qsl, urlsplit

BINARY, CONTINUED, CLOSE, PING, PONG = 2, 0, 8, 9, 10


class Peer:
    """The server's end of one websocket."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as Go's servers do: nothing is held back, and lost at the end
        self.raw = connection
        self._file = connection.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._file.readline()
        first, *lines = head.decode().split("\r\n")
        self.target = urlsplit(first.split(" ")[1])
        self.query = parse_qsl(self.target.query)
        self.headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines if line}

    def accept(self, protocol: str) -> None:
        """Switch to websocket."""
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
        accepted = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += ["Sec-WebSocket-Accept: " + accepted, "Sec-WebSocket-Protocol: " + protocol, "", ""]
        self.raw.sendall("\r\n".join(lines).encode())

    def refuse(self, status: int, body: bytes) -> None:
        """Answer without a websocket."""
        self.raw.sendall(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    def send(self, data: bytes, opcode: int = BINARY, final: bool = True) -> None:
        """One frame."""
        size = bytes((len(data),)) if len(data) < 126 else b"\x7f" + struct.pack(">Q", len(data))
        self.raw.sendall(bytes((opcode | (0x80 if final else 0),)) + size + data)

    def end(self) -> None:
        """Say goodbye."""
        self.send(struct.pack(">H", 1000), CLOSE)

    def read(self) -> Tuple[int, bytes]:
        """The next frame: opcode, content; (-1, b"") if the client is gone."""
        head = self._file.read(2)
        if len(head) < 2:
            return -1, b""
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack(">H", self._file.read(2))[0]
        mask = self._file.read(4)
        data = self._file.read(size)
        return head[0] & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))


Script = Callable[[Peer], None]


class Scripted:
    """An API server that plays one script for each connection; what went wrong in it is raised at the end."""

    def __init__(self) -> None:
        self.script: Script = lambda peer: None
        self.problems: List[BaseException] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.threads: List[threading.Thread] = []
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def client(self) -> Any:
        """As much of the library's client as is needed."""

        class Configuration:
            host = "http://127.0.0.1:%d" % self._listener.getsockname()[1]
            verify_ssl = True
            assert_hostname = ssl_ca_cert = cert_file = key_file = proxy = no_proxy = None

            def auth_settings(self) -> Dict[str, Dict[str, str]]:
                """A token."""
                return {"BearerToken": {"in": "header", "key": "authorization", "value": "Bearer abc"}}

        class Client:
            configuration = Configuration()

        return Client()

    def _run(self) -> None:
        while True:
            try:
                connection, _peer = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._play, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _play(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.script(Peer(connection))
            except OSError:
                pass  # the client went away first
            except BaseException as problem:  # pylint: disable=broad-exception-caught
                self.problems.append(problem)

    def close(self) -> None:
        """All scripts are over."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self.threads:
            thread.join(5)
        assert not self.problems, self.problems
