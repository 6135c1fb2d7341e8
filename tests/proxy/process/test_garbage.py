"""What a client leaves behind is freed when it goes, not when Python next looks for cycles."""

import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import h2.connection
import pytest

from tests.proxy.gateway import Gateway
from tests.proxy.integration.scripted import OK, Script, ScriptedUpstream
from tests.waiting import PATIENCE, until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
TOO_LARGE = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\nx"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
AWAY = b"GET /away HTTP/1.1\r\nHost: a\r\n\r\n"
ROUTES = """[[route]]
path = "/away"
upstream = "unix:{directory}/away.sock"
retry_wait = 0
"""
"""A peer that refuses connections."""
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
CUT = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok"
UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
OF_CLIENTS = {
    "Connection", "TlsSocket", "UpstreamConnection", "Exchange", "UpstreamLeg", "DownstreamLeg", "Intake", "Upload",
    "ChunkedDecoder", "Lingering", "Tunnel", "Direction", "ServerSession", "Output", "ClientStream", "Decoder",
}  # fmt: skip
"""Classes whose objects belong to one client, by name."""


class Counted:
    """A gateway that serves over TLS and counts its objects."""

    def __init__(self, directory: Path, upstream: ScriptedUpstream) -> None:
        self.socket = directory / "census"
        arguments = [
            "--bind", "127.0.0.1:0", "--upstream", upstream.address, "--workers", "1", "--admin", "off",
            "--tls", "self-signed", "--access-log", "off", "--max-body", "1000", "--linger-timeout", "100ms",
        ]  # fmt: skip
        program = ("-m", "tests.proxy.process.counted")
        self.gateway = Gateway(
            directory,
            arguments,
            toml=ROUTES.format(directory=directory),
            program=program,
            environ={"CENSUS": str(self.socket)},
        )
        self.gateway.address = self.gateway.announced(1)[0]
        until(self.socket.exists, "a worker")

    def objects(self) -> dict[str, int]:
        """How many there are of each class that belongs to a client."""
        with socket.socket(socket.AF_UNIX) as caller:
            caller.settimeout(PATIENCE)
            caller.connect(str(self.socket))
            found = json.loads(b"".join(iter(lambda: caller.recv(65536), b"")))
        return {name: count for name, count in found.items() if name.rpartition(".")[2] in OF_CLIENTS}

    def dial(self, protocol: str = "http/1.1") -> ssl.SSLSocket:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([protocol])
        plain = socket.create_connection(self.gateway.address, timeout=PATIENCE)
        return context.wrap_socket(plain, server_hostname="localhost")


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    running = ScriptedUpstream()
    yield running
    running.close()


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory, upstream: ScriptedUpstream) -> Iterator[Counted]:
    running = Counted(tmp_path_factory.mktemp("counted"), upstream)
    yield running
    running.gateway.close()
    assert "Traceback" not in running.gateway.log, running.gateway.log


def ask(request: bytes, status: bytes = b"200") -> Callable[[Counted], None]:
    def visit(counted: Counted) -> None:
        with counted.dial() as client:
            client.sendall(request)
            assert client.recv(65536).startswith(b"HTTP/1.1 " + status)

    return visit


def leave(request: bytes) -> Callable[[Counted], None]:
    def visit(counted: Counted) -> None:
        with counted.dial() as client:
            client.sendall(request)

    return visit


def multiplex(authority: str = "a", path: str = "/") -> Callable[[Counted], None]:
    def visit(counted: Counted) -> None:
        with counted.dial("h2") as client:
            session = h2.connection.H2Connection()
            session.initiate_connection()
            for stream in (1, 3, 5):
                fields = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path)]
                session.send_headers(stream, fields, end_stream=True)
            session.reset_stream(5)
            client.sendall(session.data_to_send())
            ended = 0
            while ended < 2:
                events = session.receive_data(client.recv(65536))
                ended += sum(type(event).__name__ == "StreamEnded" for event in events)

    return visit


def break_tls(counted: Counted) -> None:
    with counted.dial() as client, socket.socket(fileno=os.dup(client.fileno())) as below:
        below.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        below.settimeout(PATIENCE)
        while below.recv(65536):
            pass


CASES: dict[str, tuple[Callable[[Counted], None], Script]] = {
    "GET": (ask(GET), Script()),
    "chunked response": (ask(GET), Script(CHUNKED)),
    "response cut off": (ask(GET), Script(CUT, "closes")),
    "chunked upload": (ask(UPLOAD + b"0\r\n\r\n"), Script()),
    "upload over the limit": (ask(TOO_LARGE, b"413"), Script()),
    "malformed": (ask(b"GET / HTTP/1.1\r\n\r\n", b"400"), Script()),
    "WebSocket": (ask(HANDSHAKE, b"101"), Script(UPGRADED)),
    "left before the response": (leave(GET), Script(b"")),
    "left within an upload": (leave(UPLOAD), Script()),
    "HTTP/2": (multiplex(), Script(OK)),
    "HTTP/2, refused with its head": (multiplex("a:b"), Script()),
    "no peer": (ask(AWAY, b"50"), Script()),
    "no peer, HTTP/2": (multiplex(path="/away"), Script()),
    "broken TLS record": (break_tls, Script()),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_a_client_waits_for_a_collection(counted: Counted, upstream: ScriptedUpstream, case: str) -> None:
    visit, script = CASES[case]
    upstream.expect(script)
    visit(counted)
    until(lambda: not counted.objects(), "everything is freed")
