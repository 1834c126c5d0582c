# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in webhook: answers for every webhook that has no real program here. It allows everything.

It speaks HTTP/1.1 over TLS on a connection that the API server opened through the egress socket.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
from typing import BinaryIO, Optional, Tuple

from ...module_utils._engine.objects import KubeObject

MARK = "sandbox stand-in"  # so that nobody takes its answers for a real webhook's
IDLE_SECONDS = 300.0


def review(request: KubeObject) -> KubeObject:
    """The answer to an AdmissionReview (allowed) or ConversionReview (each object with the wanted apiVersion)."""
    asked = request["request"]
    response: KubeObject = {"uid": asked["uid"]}
    if request["kind"] == "ConversionReview":
        response["result"] = {"status": "Success"}
        response["convertedObjects"] = [dict(obj, apiVersion=asked["desiredAPIVersion"]) for obj in asked["objects"]]
    else:
        response["allowed"] = True
        response["auditAnnotations"] = {"answered-by": MARK}
    return {"apiVersion": request["apiVersion"], "kind": request["kind"], "response": response}


def serve(connection: socket.socket, context: ssl.SSLContext) -> None:
    """Answer all requests of one connection."""
    try:
        connection.settimeout(IDLE_SECONDS)
        with context.wrap_socket(connection, server_side=True) as secure, secure.makefile("rb") as stream:
            while True:
                body = _request(stream)
                if body is None:
                    return
                status, answer = _answer(body)
                secure.sendall(
                    b"HTTP/1.1 %s\r\nServer: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    % (status, MARK.encode(), len(answer))
                    + answer
                )
    except (OSError, ValueError) as error:
        if not isinstance(error, (ssl.SSLEOFError, ConnectionError, TimeoutError)):
            print("stand-in: %s" % error, file=sys.stderr, flush=True)
    finally:
        connection.close()


def _answer(body: bytes) -> Tuple[bytes, bytes]:
    if not body:
        return b"200 OK", b"{}"
    try:
        return b"200 OK", json.dumps(review(json.loads(body))).encode()
    except (KeyError, TypeError, ValueError) as error:
        return b"400 Bad Request", json.dumps({"error": "%s cannot read this: %r" % (MARK, error)}).encode()


def _request(stream: BinaryIO) -> Optional[bytes]:
    """The body of the next request; None at the end of the connection.

    :raises ValueError: that was not HTTP.
    """
    if not stream.readline(8192):
        return None
    length = 0
    for line in iter(lambda: stream.readline(8192), b"\r\n"):
        if not line:
            return None
        name, _colon, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return stream.read(length)
