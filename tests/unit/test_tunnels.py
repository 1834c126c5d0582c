# Copyright: (c) 2026, mlplatform.kubeflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tunnels to the ports of pods, of which a scripted websocket server plays the kubelet."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Iterator

import pytest

from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.api import ApiError
from ansible_collections.mlplatform.kubeflow.plugins.module_utils._engine.tunnels import PodTunnel

from .websocket_support import BINARY, Peer, Script, Scripted


@pytest.fixture(name="server")
def _server() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.close()


def forward(script: Script) -> Script:
    """A kubelet's side of a tunnel: both channels begin with the port."""

    def whole(peer: Peer) -> None:
        peer.accept("v4.channel.k8s.io")
        peer.send(b"\x00" + struct.pack("<H", 9000))
        peer.send(b"\x01" + struct.pack("<H", 9000))
        script(peer)

    return whole


def test_bytes_go_through_a_tunnel_and_it_ends_as_the_pod_ends(server: Scripted) -> None:
    """The greeting of the channels is not data; the pod's goodbye is the client's end of data."""

    def script(peer: Peer) -> None:
        opcode, data = peer.read()
        if opcode == BINARY:
            peer.send(b"\x00" + data[1:].upper())
            peer.end()

    server.script = forward(script)
    with PodTunnel(server.client, "ns", "minio-0", 9000) as tunnel:
        with socket.create_connection(tunnel.address, 5) as connection:
            connection.sendall(b"hello")
            assert connection.makefile("rb").read() == b"HELLO"
        assert tunnel.problem == ""
    assert not [thread for thread in threading.enumerate() if "minio-0" in thread.name]


@pytest.mark.parametrize(("how", "problem"), [("drop", "lost"), ("error", "connection refused")])
def test_a_tunnel_that_breaks_resets_its_client(server: Scripted, how: str, problem: str) -> None:
    """Half an answer never looks like a whole one."""

    def script(peer: Peer) -> None:
        if peer.read()[0] != BINARY:
            return
        peer.send(b"\x00half")
        if how == "error":
            peer.send(b"\x01dial tcp 127.0.0.1:9000: connection refused")
            peer.read()

    server.script = forward(script)
    with PodTunnel(server.client, "ns", "minio-0", 9000) as tunnel:
        with socket.create_connection(tunnel.address, 5) as connection:
            connection.sendall(b"hello")
            with pytest.raises(ConnectionResetError):
                while connection.recv(100):
                    pass
        assert problem in tunnel.problem


def test_a_tunnel_serves_so_many_and_ends_those_that_are_open(server: Scripted) -> None:
    """The third waits until one of two is gone; at the end all are reset and no thread is left."""

    def script(peer: Peer) -> None:
        while True:
            opcode, data = peer.read()
            if opcode != BINARY:
                return
            peer.send(data)

    server.script = forward(script)
    with PodTunnel(server.client, "ns", "minio-0", 9000, connections=2) as tunnel:
        made = [socket.create_connection(tunnel.address, 5) for _number in range(3)]
        for connection in made:
            connection.sendall(b"x")
        assert [connection.recv(1) for connection in made[:2]] == [b"x", b"x"]
        made[2].settimeout(0.05)
        with pytest.raises(TimeoutError):
            made[2].recv(1)
        made[0].close()
        made[2].settimeout(5)
        assert made[2].recv(1) == b"x"
    with pytest.raises(ConnectionResetError):
        made[1].recv(1)
    for connection in made:
        connection.close()
    assert not [thread for thread in threading.enumerate() if "minio-0" in thread.name]


def test_a_tunnel_to_a_pod_that_is_not_there_is_not_made(server: Scripted) -> None:
    """The server's word before anybody connects."""
    server.script = lambda peer: peer.refuse(404, b'{"message":"pods \\"minio-0\\" not found"}')
    with pytest.raises(ApiError, match="not found"), PodTunnel(server.client, "ns", "minio-0", 9000):
        raise AssertionError("made")
