# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One websocket to the API server that carries numbered channels: what ``exec`` and ``port-forward`` of a pod speak.

The ``websocket-client`` library, which comes with ``kubernetes``, connects and cuts frames. The ``kubernetes.stream`` module on
top of it collects without bound what it receives while nobody reads, so it is not used. All that happens here happens in the
thread that calls: TLS connections of OpenSSL must not be read and written by two threads at once.
"""

from __future__ import annotations

import json
import select
import ssl
import sys
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple
from urllib.parse import urlencode, urlparse

from .api import USER_AGENT, ApiError, Unreachable
from .errors import MissingLibrary

try:
    import websocket

    HAS_WEBSOCKET = True
except ImportError:
    HAS_WEBSOCKET = False

# v4: channels of bytes; v5 (Kubernetes 1.30 and newer): the same, and a channel can be closed, which ends standard input.
V4 = "v4.channel.k8s.io"
V5 = "v5.channel.k8s.io"
CLOSE_CHANNEL = 255
# Bytes in one message: few enough that a frame is sent at once, enough that its head does not matter.
PIECE = 32 * 1024
CONNECT_SECONDS = 30.0
# Messages taken in one turn, so that sending gets its turn, too.
FRAMES = 64

Frame = Tuple[int, bytes]  # channel, bytes


class PodSocket:
    """A connection; closed by :meth:`close`.

    :param client: an ``ApiClient`` of the library: where the API server is and who we are.
    :param path: the URL path of the pod's subresource; :param query: its arguments. The server's audit log has both.
    :param verb: what a person has to be allowed ("create pods/exec"), for the error.
    :raises ApiError: the server refuses; :raises Unreachable: it does not answer.

    :ivar moved: bytes of data that went either way since the beginning; signs of life are none.
    :ivar ended: whether the other side is gone; :ivar clean: whether it said goodbye; :ivar reason: in which words.
    """

    def __init__(
        self, client: Any, path: str, query: Sequence[Tuple[str, str]], protocols: Sequence[str], *, subject: str, verb: str
    ) -> None:
        if not HAS_WEBSOCKET:
            raise MissingLibrary("websocket-client", sys.executable)
        self._socket = _connected(client.configuration, path + "?" + urlencode(query), protocols, subject, verb)
        self._socket.settimeout(0)  # from now on nothing waits but turn()
        self.protocol = str(self._socket.getsubprotocol() or "")
        self._out = b""  # frames that are not sent yet, the first perhaps in part
        self._data = 0  # bytes of them that are more than signs of life
        self._channel = -1  # of a message that comes in several frames
        self.moved = 0
        self.ended = self.clean = False
        self.reason = ""

    @property
    def idle(self) -> bool:
        """Whether all that was given to :meth:`send` is sent."""
        return not self._out

    def send(self, channel: int, data: bytes) -> None:
        """Queue one message of at most :data:`PIECE` bytes; whoever waits for :attr:`idle` before the next keeps memory bounded."""
        self._data += len(data)
        self._queue(bytes((channel,)) + data, websocket.ABNF.OPCODE_BINARY)

    def end_channel(self, channel: int) -> None:
        """Queue the end of a channel; needs :data:`V5`."""
        self._queue(bytes((CLOSE_CHANNEL, channel)), websocket.ABNF.OPCODE_BINARY)

    def ping(self) -> None:
        """Queue a sign of life, for load balancers that cut connections on which nothing happens."""
        self._queue(b"", websocket.ABNF.OPCODE_PING)

    def turn(self, seconds: float, *, reading: bool = True, also: Optional[Mapping[int, int]] = None) -> List[Frame]:
        """Wait until something can be done, and do it: send what is queued, return the messages that came.

        :param reading: False leaves what comes with the kernel, so that the other side has to wait.
        :param also: other descriptors, and what about them ends the waiting (as for ``poll``).
        """
        waiting = select.poll()
        mask = (select.POLLIN if reading else 0) | (select.POLLOUT if self._out else 0)
        if mask and not self.ended:
            waiting.register(self._socket.sock, mask)
        for descriptor, events in (also or {}).items():
            waiting.register(descriptor, events)
        waiting.poll(0 if reading and self._decrypted() else seconds * 1000)
        self._flush()
        return self._frames() if reading else []

    def close(self) -> None:
        """End it at once; nothing that is queued is sent any more."""
        self.ended = True
        self._socket.shutdown()

    def _queue(self, data: bytes, opcode: int) -> None:
        self._out += websocket.ABNF.create_frame(data, opcode).format()

    def _decrypted(self) -> bool:
        """Whether TLS holds bytes of which the kernel knows nothing any more."""
        return not self.ended and isinstance(self._socket.sock, ssl.SSLSocket) and self._socket.sock.pending() > 0

    def _flush(self) -> None:
        while self._out and not self.ended:
            try:
                sent = self._socket.sock.send(self._out)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return
            except OSError as problem:
                # What the server said before it closed may still be there to be read: reading finds the end.
                self._out, self.reason = b"", str(problem)
                return
            self._out = self._out[sent:]
            counted = min(sent, self._data)
            self._data -= counted
            self.moved += counted

    def _frames(self) -> List[Frame]:
        found: List[Frame] = []
        while len(found) < FRAMES and not self.ended:
            try:
                frame = self._socket.recv_frame()
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except (websocket.WebSocketException, OSError) as problem:
                self.ended, self.reason = True, self.reason or str(problem)
                break
            self._take(frame, found)
        return found

    def _take(self, frame: Any, found: List[Frame]) -> None:
        data = bytes(frame.data)
        if frame.opcode == websocket.ABNF.OPCODE_CLOSE:
            self.ended = self.clean = True
            self.reason = data[2:].decode(errors="replace")
        elif frame.opcode == websocket.ABNF.OPCODE_PING:
            self._queue(data, websocket.ABNF.OPCODE_PONG)
        elif frame.opcode in (websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_TEXT):
            self._channel = data[0] if data else -1
            self.moved += len(data)
            found.append((self._channel, data[1:]))
        elif frame.opcode == websocket.ABNF.OPCODE_CONT:
            self.moved += len(data)
            found.append((self._channel, data))


def _connected(configuration: Any, path: str, protocols: Sequence[str], subject: str, verb: str) -> Any:
    """The open websocket of the library."""
    server = str(configuration.host)
    connection: Any = websocket.WebSocket(sslopt=_tls(configuration), skip_utf8_validation=True)
    options: Dict[str, Any] = {**_proxy(configuration), "subprotocols": list(protocols), "header": _headers(configuration)}
    try:
        # http -> ws, https -> wss
        connection.connect("ws" + server[len("http") :] + path, timeout=CONNECT_SECONDS, suppress_origin=True, redirect_limit=0, **options)
    except websocket.WebSocketBadStatusException as problem:
        raise _refusal(problem, subject, verb) from problem
    except (websocket.WebSocketException, OSError) as problem:
        raise Unreachable(
            "no answer from %s: %s" % (server, problem),
            status=0,
            subject=subject,
            next_step="check that the address is right, and that nothing between here and the API server forbids websockets",
        ) from problem
    return connection


def _tls(configuration: Any) -> Dict[str, Any]:
    """What the library's own connections trust and show."""
    settings: Dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED if configuration.verify_ssl else ssl.CERT_NONE}
    if not configuration.verify_ssl or configuration.assert_hostname is False:
        settings["check_hostname"] = False
    for name, value in (
        ("ca_certs", configuration.ssl_ca_cert),
        ("certfile", configuration.cert_file),
        ("keyfile", configuration.key_file),
        ("server_hostname", getattr(configuration, "tls_server_name", None)),
    ):
        if value:
            settings[name] = value
    return settings


def _headers(configuration: Any) -> List[str]:
    headers = ["User-Agent: " + USER_AGENT]
    for setting in configuration.auth_settings().values():  # refreshes the tokens of exec plugins
        if setting.get("in") == "header" and setting.get("value"):
            headers.append("%s: %s" % (setting["key"], setting["value"]))
    return headers


def _proxy(configuration: Any) -> Dict[str, Any]:
    if not configuration.proxy:
        return {}
    parts = urlparse(configuration.proxy)
    options: Dict[str, Any] = {"http_proxy_host": parts.hostname, "http_proxy_port": parts.port or 80}
    if parts.username:
        options["http_proxy_auth"] = (parts.username, parts.password or "")
    if configuration.no_proxy:
        options["http_no_proxy"] = configuration.no_proxy.split(",")
    return options


def _refusal(problem: Any, subject: str, verb: str) -> ApiError:
    """What the server answered instead of a websocket: a Status object, or a proxy's page."""
    status = int(problem.status_code)
    body = bytes(getattr(problem, "resp_body", None) or b"")
    try:
        answer = json.loads(body)
        message = str(answer["message"])
        reason = str(answer.get("reason") or "")
    except (ValueError, KeyError, TypeError):
        message, reason = body.decode(errors="replace").strip()[:300] or "HTTP %d" % status, ""
    next_step = ""
    if status == 401:
        next_step = "the credentials of this kubeconfig are expired or wrong: log in again, or name another context"
    elif status == 403:
        next_step = "ask the cluster's administrator for 'get' and '%s' in this namespace" % verb
    elif status == 404:
        next_step = "the pod is gone or was replaced: run it again"
    return ApiError(message, status=status, reason=reason, subject=subject, next_step=next_step)
