"""A gateway with an idle connection to its upstream, and clients of both protocols that note what they got."""

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events

from proxy.downstream.h1.connection import Connection as Http1
from proxy.downstream.h2.connection import Connection as Http2
from tests.proxy.exchange.harness import ClientEnd, Harness, RecordedEnd

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WARM = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/warm")]

_OWN = re.compile(rb"(?i:x-request-id: |date: )[^\r]*|aragora-[0-9a-f]+|[0-9a-f]{16}-[0-9a-f]{8}")
"""What differs between two gateways, or from one second to the next."""


def common(data: bytes) -> bytes:
    return _OWN.sub(b"...", data)


@dataclass
class Http2Client:
    """A client of one connection, as the library h2 reads it."""

    end: ClientEnd
    reader: h2.connection.H2Connection = field(
        default_factory=lambda: h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    )
    events: list[h2.events.Event] = field(default_factory=list)
    _read: int = 0

    def __post_init__(self) -> None:
        self.reader.initiate_connection()

    def send(self, fields: list[tuple[str, str]], body: bytes = b"") -> int:
        stream = self.reader.get_next_available_stream_id()
        self.reader.send_headers(stream, fields, end_stream=not body)
        if body:
            self.reader.send_data(stream, body, end_stream=True)
        self.end.sock.sendall(self.reader.data_to_send())
        return stream

    def response(self, stream: int) -> list[object]:
        """Everything that came on a stream: heads, the body so far, how it ended."""
        self.events += self.reader.receive_data(self.end.received[self._read :])
        self._read = len(self.end.received)
        found: list[object] = []
        body = b""
        for event in self.events:
            if getattr(event, "stream_id", None) != stream:
                continue
            if isinstance(event, h2.events.DataReceived):
                body += event.data
            elif isinstance(event, (h2.events.ResponseReceived, h2.events.InformationalResponseReceived)):
                assert event.headers is not None
                found.append(common(b"\r\n".join(b"%s: %s" % header for header in event.headers)))
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.TrailersReceived)):
                found.append(type(event).__name__)
        return [*found, common(body)]


@contextlib.contextmanager
def warm(*, at_once: bool, protocol: Callable[..., object], scheme: bytes = b"http", **flags: Any) -> Iterator[Harness]:
    """A harness whose pool has an idle connection: without one every request needs a greenlet."""
    harness = Harness(at_once=at_once, protocol=protocol, scheme=scheme, upstream_end=RecordedEnd, **flags)
    try:
        client = harness.connect()
        if protocol is Http1:
            client.sock.sendall(b"GET /warm HTTP/1.1\r\nHost: a\r\n\r\n")
        else:
            Http2Client(client).send(WARM)
        harness.settle()
        respond(harness, OK)
        client.sock.close()
        harness.clients.remove(client)
        harness.settle()
        yield harness
    finally:
        harness.close()
    assert not harness.violations


def respond(harness: Harness, reply: bytes, then: str = "stays") -> None:
    """Reply on the one upstream connection that was sent something."""
    for end in harness.upstreams:
        if end.received and not end.closed and not end.ended:
            end.received = b""
            end.sock.sendall(reply)
            if then == "shuts":
                end.sock.shutdown(socket.SHUT_WR)
            elif then in ("closes", "resets"):
                end.close()
    harness.settle()


def sent_upstream(harness: Harness) -> list[bytes]:
    return [common(end.received) for end in harness.upstreams if end.received]


Outcome = tuple[list[bytes], object, bool]
"""What the upstream was sent, what the client was sent, whether its connection has ended."""


def run_http1(send: bytes, reply: bytes, then: str, *, at_once: bool, **flags: Any) -> Outcome:
    with warm(at_once=at_once, protocol=Http1, **flags) as harness:
        client = harness.connect()
        while send:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                send = send[client.sock.send(send) :]
            harness.settle()
            if client.ended:
                break
        sent = sent_upstream(harness)
        respond(harness, reply, then)
        harness.late()
        for _ in range(3):  # requests that stand behind it
            sent += sent_upstream(harness)
            respond(harness, OK)
        harness.late()
        return sent, common(client.received), client.ended


def run_http2(
    fields: list[tuple[str, str]], body: bytes, reply: bytes, then: str, *, at_once: bool, **flags: Any
) -> Outcome:
    with warm(at_once=at_once, protocol=Http2, **flags) as harness:
        client = Http2Client(harness.connect())
        stream = client.send(fields, body)
        harness.settle()
        sent = sent_upstream(harness)
        respond(harness, reply, then)
        harness.late()
        return sent, client.response(stream), False
