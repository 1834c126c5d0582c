# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP server on the loopback that answers as a test tells it to: for what no real API server does on demand."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Union
from urllib.parse import parse_qsl, urlsplit

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import Api
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.kubeconfig import new_client


@dataclass(frozen=True)
class Asked:
    """One request as the server got it."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What the server says.

    :ivar body: a text or JSON; a list of texts is sent as a stream, one chunk each.
    :ivar cut: close the connection instead of ending the answer (or of giving one, with status 0).
    """

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


class Scripted:
    """The server: ``answer`` decides about every request; ``asked`` holds those that came."""

    def __init__(self) -> None:
        self.asked: List[Asked] = []
        self.answer: Callable[[Asked], Answer] = lambda _asked: Answer(404, "nothing here")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.002,), daemon=True)
        self._thread.start()

    def answers(self, *answers: Union[Answer, Dict[str, Any]]) -> None:
        """Give these one after the other, the last one for ever."""
        left = [item if isinstance(item, Answer) else Answer(200, item) for item in answers]
        self.answer = lambda _asked: left.pop(0) if len(left) > 1 else left[0]

    @property
    def url(self) -> str:
        """Where it listens."""
        return "http://127.0.0.1:%d" % self._server.server_address[1]

    def stop(self) -> None:
        """No thread and no socket stays."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(scripted: Scripted) -> Any:
    class Handler(BaseHTTPRequestHandler):
        """Asks the script."""

        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two packets; the second would wait 40 ms for an acknowledgement

        def log_message(self, format: str, *args: Any) -> None:  # the name is the base class's
            """Say nothing."""

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), body)
            scripted.asked.append(asked)
            answer = scripted.answer(asked)
            if answer.status:
                self._send(answer)
            if answer.cut:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if isinstance(answer.body, list):
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for text in answer.body:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(text.encode()), text.encode()))
                    self.wfile.flush()
                if not answer.cut:
                    self.wfile.write(b"0\r\n\r\n")
                return
            data = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body)).encode()
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


@pytest.fixture(name="scripted")
def _scripted() -> Iterator[Scripted]:
    """A server for one test."""
    server = Scripted()
    yield server
    server.stop()


@pytest.fixture(name="client", scope="session")
def _client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The library's client from a kubeconfig as a user has it; made once, as making it takes longer than most tests."""
    return new_client(str(kubeconfig(tmp_path_factory.mktemp("client") / "kubeconfig", "http://127.0.0.1:1")))


@pytest.fixture(name="api")
def _api(scripted: Scripted, client: Any, tmp_path: Path) -> Api:
    """The engine's API of that server; ``tmp_path / "kubeconfig"`` leads there, too."""
    kubeconfig(tmp_path / "kubeconfig", scripted.url)
    return Api(client, scripted.url)


def kubeconfig(path: Path, url: str, token: str = "token-of-a-test") -> Path:
    """Write a kubeconfig with one context "test"; it is JSON, which is YAML."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture(name="answer", scope="session")
def _answer() -> Callable[..., Answer]:
    """Makes an answer: ``answer(503, {...}, cut=True)``."""
    return Answer
