"""A client that is gone before its first request is read."""

import os
import signal
import socket
import struct
from pathlib import Path

import h2.connection

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.scripted import OK, Script, ScriptedUpstream
from tests.waiting import PATIENCE

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket whose close is a reset."""


def leave(gateway: Gateway) -> None:
    """Send a request and reset the connection, before the worker has accepted it."""
    session = h2.connection.H2Connection()
    session.initiate_connection()
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/left")]
    session.send_headers(1, fields, end_stream=True)
    with socket.create_connection(gateway.address, timeout=PATIENCE) as client:
        client.sendall(session.data_to_send())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def test_requests_of_a_lost_connection_are_not_begun(tmp_path: Path) -> None:
    upstream = ScriptedUpstream()
    upstream.expect(Script(OK))
    gateway = serve(tmp_path, upstream.address, "--h2c", "on")
    try:
        (worker,) = gateway.workers()
        os.kill(worker, signal.SIGSTOP)
        for _ in range(5):
            leave(gateway)
        os.kill(worker, signal.SIGCONT)
        with socket.create_connection(gateway.address, timeout=PATIENCE) as client:
            client.sendall(b"GET /stays HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        (request,) = upstream.wait_for(1)
        assert request.data.startswith(b"GET /stays")
    finally:
        gateway.close()
        upstream.close()
