"""One connection of HTTP/1 with a pipeline of requests, and whether each got its own answer, in order."""

import contextlib
import re
import socket
from random import Random

import h11

from tests.proxy.integration.fuzz.h1_messages import Wire, Writer
from tests.proxy.integration.fuzz.ledger import Ledger, Verdict

_PATIENCE = 10.0
_QUIET = 0.05
"""Seconds without a byte after which no more answer is awaited, where nobody can say whether one comes."""

_SEEN = re.compile(rb"\r\nx-seen: ([!-~]*)\r\n", re.IGNORECASE)


def run_h1(chance: Random, port: int, ledger: Ledger, name: str, *, streamed: bool, most: int = 6) -> int:
    """Send up to `most` requests at once, wait for what must come; returns how many there were.

    `name` makes their identities unique. Faults go to the ledger.
    """
    pipeline = Writer(chance, streamed=streamed).pipeline(name, most)
    for wire in pipeline:
        ledger.expect(wire.message)
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # a refusal ends the connection while more is sent
            for piece in _pieces(chance, b"".join(wire.data for wire in pipeline)):
                sock.sendall(piece)
        _judge(sock, ledger, pipeline)
    for wire in pipeline:
        if wire.message.verdict is Verdict.READ and not ledger.times_read(wire.message.identity):
            ledger.fault(f"{wire.message} was answered and not read")
    return len(pipeline)


def _pieces(chance: Random, data: bytes) -> list[bytes]:
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 4))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _judge(sock: socket.socket, ledger: Ledger, pipeline: list[Wire]) -> None:
    """Read the answers that are sure to come one by one, then what else comes."""
    client = _Answers(sock)
    for wire in pipeline:
        message = wire.message
        if message.verdict not in (Verdict.READ, Verdict.MAYBE):
            break
        try:
            status, seen = client.answer(message.method.encode())
        except (h11.RemoteProtocolError, OSError) as error:
            ledger.fault(f"{message} got no answer: {error!r}")
            return
        if (status, seen) != (200, message.identity.encode()):
            ledger.fault(f"{message} was answered {status} to {seen!r}")
            return
    else:
        return
    rest = client.rest()
    own = [wire.message.identity for wire in pipeline]
    # Identities that were changed with the rest are nobody's.
    seen_ones = [one for one in map(bytes.decode, _SEEN.findall(rest)) if ledger.knows(one)]
    answerable = [message.identity] if message.target.startswith("/early/") else []  # before its body was read
    if message.verdict is Verdict.NEVER and seen_ones not in ([], answerable):
        ledger.fault(f"{message} or what is behind it was answered: {rest[:300]!r}")
    if not set(seen_ones) <= set(own) or seen_ones != sorted(seen_ones, key=own.index):
        ledger.fault(f"{own} got the answers to {seen_ones}")


class _Answers:
    """The client's side: `h11` again, told of each request by its method alone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left = b""

    def answer(self, method: bytes) -> tuple[int, bytes]:
        """Status of the next answer, and whose it is."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(self._left) if self._left else None
        status, seen, body = 0, b"", b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(self._sock.recv(65536))
            elif isinstance(event, h11.Response):
                status = event.status_code
                seen = dict(event.headers).get(b"x-seen", b"")
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                self._left = parser.trailing_data[0]
                if status == 200 and method != b"HEAD" and body != b"seen " + seen:
                    return status, b"mixed up: " + body
                return status, seen

    def rest(self) -> bytes:
        """Whatever else comes until the end, or until nothing does."""
        self._sock.settimeout(_QUIET)
        data = self._left
        with contextlib.suppress(OSError):
            while more := self._sock.recv(65536):
                data += more
        return data
