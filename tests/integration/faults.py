# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of a real API server that does what networks, load balancers and busy servers do.

It ends TLS with the API server's own certificate and goes on with the administrator's. Which request meets
which fault comes from a seed, so that a failure can be had again.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.objects import load_documents
from ansible_collections.mlplatform.kubeflow.plugins.plugin_utils._sandbox.lifecycle import Sandbox

# What happens to single requests ...
BUSY = "429 with Retry-After"
AWAY = "503"
RESET_BEFORE = "reset before the request was forwarded"
RESET_AFTER = "reset after the request was carried out"
TRUNCATED = "answer cut off"
SLOW = "slow answer"
# ... and to watches.
GONE = "watch ends with 410 Gone"
CUT = "watch cut off in the middle of a line"
REQUEST_FAULTS = (BUSY, AWAY, RESET_BEFORE, RESET_AFTER, TRUNCATED, SLOW)
WATCH_FAULTS = (GONE, CUT)
ALL_FAULTS = (*REQUEST_FAULTS, *WATCH_FAULTS)
SLOW_SECONDS = 1.5
# A watch that has a fault meets it after so many events at the latest.
WATCH_EVENTS = 12
HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive", "host")


class Schedule:
    """Which request meets which fault.

    :param kinds: the faults that happen.
    :param rate: the share of requests that meet one; every second watch does.
    """

    def __init__(self, seed: int, kinds: Sequence[str], rate: float = 0.08) -> None:
        self._random = random.Random(seed)
        self._requests = [kind for kind in kinds if kind in REQUEST_FAULTS]
        self._watches = [kind for kind in kinds if kind in WATCH_FAULTS]
        self._rate = rate
        self._lock = threading.Lock()
        self.happened: Counter[str] = Counter()

    def next(self, watch: bool) -> Tuple[str, int]:
        """(fault or "", a number of events for faults of watches)."""
        kinds, rate = (self._watches, 0.5) if watch else (self._requests, self._rate)
        with self._lock:
            if not kinds or self._random.random() >= rate:
                return "", 0
            # Those that have not happened come first: how many requests a run sends depends on what it waits for.
            fault = self._random.choice([kind for kind in kinds if not self.happened[kind]] or kinds)
            self.happened[fault] += 1
            return fault, self._random.randrange(WATCH_EVENTS)


class _Cut(Exception):
    """The client's connection is to be reset."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, with one connection to the API server behind it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 600
    server: _Server

    def setup(self) -> None:
        """Begin with no connection upstream."""
        super().setup()
        self._upstream: Optional[http.client.HTTPSConnection] = None

    def finish(self) -> None:
        """The client has gone."""
        if self._upstream is not None:
            self._upstream.close()
        try:
            super().finish()
        except OSError:
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        """Requests until either side ends it."""
        try:
            super().handle()
        except _Cut:
            self._reset()
        except (OSError, http.client.HTTPException, ValueError):
            self._reset()

    def _reset(self) -> None:
        """A TCP reset, with no TLS goodbye."""
        raw = self.connection
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.socket(fileno=raw.detach()).close()
        except (OSError, ValueError):
            self.close_connection = True
        self.close_connection = True

    def do_GET(self) -> None:
        """Any method: to the API server and back, unless the schedule has other plans."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        watch = self.command == "GET" and "watch=1" in self.path
        fault, events = self.server.schedule.next(watch)
        if fault == RESET_BEFORE:
            raise _Cut
        if fault in (BUSY, AWAY):
            self._turn_away(fault)
            return
        if fault == SLOW:
            time.sleep(SLOW_SECONDS)
        answer = self._forward(body)
        if watch and answer.status == 200:
            self._relay_watch(answer, fault, events)
            return
        data = answer.read()
        if fault == RESET_AFTER:
            raise _Cut
        self._send(answer.status, answer.getheaders(), data, cut=fault == TRUNCATED)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _turn_away(self, fault: str) -> None:
        code, reason = (429, "TooManyRequests") if fault == BUSY else (503, "ServiceUnavailable")
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": fault}
        headers = [("Content-Type", "application/json")]
        if fault == BUSY:
            headers.append(("Retry-After", "1"))
        self._send(code, headers, json.dumps(status).encode(), cut=False)

    def _forward(self, body: bytes) -> http.client.HTTPResponse:
        headers = {key: value for key, value in self.headers.items() if key.lower() not in HOP_BY_HOP}
        if self._upstream is None:
            self._upstream = self.server.connect()
        self._upstream.request(self.command, self.path, body=body or None, headers=headers)
        return self._upstream.getresponse()

    def _send(self, code: int, headers: Sequence[Tuple[str, str]], data: bytes, *, cut: bool) -> None:
        self.send_response_only(code)
        for key, value in headers:
            if key.lower() not in HOP_BY_HOP:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.wfile.flush()
        if cut:
            raise _Cut

    def _relay_watch(self, answer: http.client.HTTPResponse, fault: str, events: int) -> None:
        self.send_response_only(200)
        self.send_header("Content-Type", answer.getheader("Content-Type") or "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        assert self._upstream is not None
        left = events if fault else -1
        # A watch with nothing to tell is ended, too, as a load balancer does with an idle connection.
        if fault and self._upstream.sock is not None:
            self._upstream.sock.settimeout(3.0)
        try:
            for line in answer:
                if left == 0:
                    self._end_watch(fault, line)
                    return
                left -= 1
                self._chunk(line)
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        except TimeoutError:
            self._end_watch(fault, b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"0"')
        finally:
            self._upstream.close()
            self._upstream = None

    def _end_watch(self, fault: str, line: bytes) -> None:
        if fault == CUT:
            self._chunk(line[: max(1, len(line) // 2)])
            raise _Cut
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
        self._chunk(json.dumps({"type": "ERROR", "object": {**status, "message": "too old resource version"}}).encode() + b"\n")
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    """The listening side.

    :param pki: the folder with the API server's certificate authority and the administrator's certificate.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, pki: Path, upstream: Tuple[str, int], schedule: Schedule) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.schedule = schedule
        self._upstream = upstream
        self._inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._inside.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))  # the API server's own, too
        self._outside = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._outside.load_cert_chain(str(pki / "admin.crt"), str(pki / "admin.key"))

    def connect(self) -> http.client.HTTPSConnection:
        """A connection to the API server as its administrator."""
        return http.client.HTTPSConnection(*self._upstream, context=self._outside, timeout=600)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's thread: TLS first, so that a slow client holds up nobody else."""
        try:
            wrapped = self._inside.wrap_socket(request, server_side=True)
        except (OSError, ValueError):
            return
        _Handler(wrapped, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ends in the middle is what this is for."""


class FaultProxy:
    """The proxy, as a context manager; ``kubeconfig`` leads to it.

    :param folder: where the kubeconfig goes.
    """

    def __init__(self, sandbox: Sandbox, schedule: Schedule, folder: Path) -> None:
        host, port = sandbox.server.rpartition("//")[2].split(":")
        pki = next((sandbox.dir / "kwok" / "clusters").glob("*/pki"))
        self.schedule = schedule
        self._server = _Server(pki, (host, int(port)), schedule)
        config: Dict[str, Any] = load_documents(sandbox.kubeconfig.read_bytes())[0]
        clusters: List[Dict[str, Any]] = config["clusters"]
        for cluster in clusters:
            cluster["cluster"]["server"] = "https://127.0.0.1:%d" % self._server.server_address[1]
        folder.mkdir(parents=True, exist_ok=True)
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(config), encoding="utf-8")
        self.kubeconfig.chmod(0o600)
        self._thread = threading.Thread(target=self._server.serve_forever, name="fault proxy", daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
