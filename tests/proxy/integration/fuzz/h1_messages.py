"""Requests of HTTP/1 as bytes: right ones, ones that must be refused, and right ones with bytes changed by chance."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from tests.proxy.integration.fuzz.ledger import Message, Verdict, smuggled

_MODES = ("plain", "plain", "early", "chunked", "close")
_METHODS = (b"GET", b"POST", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS")

BENIGN: list[list[bytes]] = [
    [],
    [],
    [b"Connection: keep-alive"],
    [b"Connection: content-length, transfer-encoding, host"],
    [b"Connection: x-dropped", b"X-Dropped: 1"],
    [b"Expect: 100-continue"],
    [b"X-Forwarded-For: 6.6.6.6", b"X-Request-ID: smuggled", b"Forwarded: for=6.6.6.6"],
    [b"X_Under: 1", b"Proxy: x", b"X.Dot: 1"],
    [b"Cookie: a=1", b"Accept: */*", b"User-Agent: fuzz"],
    [b"X-Long: " + b"a" * 3000],
    [b"X-Empty:", b"X-Tab:\t1\t"],
]
"""Fields beside which a request stays what it is."""

Wrong = Callable[[bytes, bytes], bytes]
"""Of a first line and the body the bytes of a request that must be refused."""


def _message(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([line, b"Host: example.org", *fields, b"", b""]) + body


def _chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def _length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


_HANDSHAKE = (
    b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13"
    b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)
_TE = b"Transfer-Encoding: chunked"
WRONG: list[Wrong] = [
    # Lengths.
    lambda line, body: _message(line, _length(body), b"Content-Length: %d" % (len(body) + 5), body=body),
    lambda line, body: _message(line, b"Content-Length: +%d" % len(body), body=body),
    lambda line, body: _message(line, b"Content-Length: -1", body=body),
    lambda line, body: _message(line, b"Content-Length: 0x%x" % len(body), body=body),
    lambda line, body: _message(line, b"Content-Length: %d, 0" % len(body), body=body),
    lambda line, body: _message(line, b"Content-Length: %d 0" % len(body), body=body),
    lambda line, body: _message(line, b"Content-Length: 99999999999999999999999", body=body),
    lambda line, body: _message(line, b"Content-Length : %d" % len(body), body=body),
    lambda line, body: _message(line, b"Content-Length:", body=body),
    lambda line, body: _message(line, b"Content-Length: %d\r\n 1" % len(body), body=body),
    # Both, and codings.
    lambda line, body: _message(line, _length(_chunked(body)), _TE, body=_chunked(body)),
    lambda line, body: _message(line, _TE, b"Content-Length: 0", body=_chunked(body)),
    lambda line, body: _message(line, b"Transfer-Encoding: chunked, identity", body=_chunked(body)),
    lambda line, body: _message(line, b"Transfer-Encoding: xchunked", body=_chunked(body)),
    lambda line, body: _message(line, b"Transfer-Encoding: gzip, chunked", body=_chunked(body)),
    lambda line, body: _message(line, b"Transfer-Encoding: \x0bchunked", body=_chunked(body)),
    lambda line, body: _message(line, b"Transfer-Encoding : chunked", body=_chunked(body)),
    lambda line, body: _message(line, b"Transfer-Encoding:\r\n chunked", body=_chunked(body)),
    lambda line, body: _message(line, _TE, _TE, body=_chunked(body)),
    lambda line, body: _message(line.replace(b"/1.1", b"/1.0"), _TE, body=_chunked(body)),
    # Chunks.
    lambda line, body: _message(line, _TE, body=b"0x%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)),
    lambda line, body: _message(line, _TE, body=b"+%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)),
    lambda line, body: _message(line, _TE, body=b"-1\r\n%b\r\n0\r\n\r\n" % body),
    lambda line, body: _message(line, _TE, body=b"1%016x\r\n%b\r\n0\r\n\r\n" % (len(body), body)),
    lambda line, body: _message(line, _TE, body=b"%x\n%b\r\n0\r\n\r\n" % (len(body), body)),
    lambda line, body: _message(line, _TE, body=b"%x\r\n%bXX0\r\n\r\n" % (len(body), body)),
    lambda line, body: _message(line, _TE, body=b"%x;a\nb\r\n%b\r\n0\r\n\r\n" % (len(body), body)),
    lambda line, body: _message(line, _TE, body=b"\r\n%b" % _chunked(body)),
    # Heads.
    lambda line, body: b"%b\r\n%b\r\n\r\n%b" % (line, _length(body), body),
    lambda line, body: _message(line, b"Host: other.org", _length(body), body=body),
    lambda line, body: _message(line, b"X-Folded: 1\r\n\tContent-Length: 0", _length(body), body=body),
    lambda line, body: _message(line, b"X-Nul: a\0b", _length(body), body=body),
    lambda line, body: _message(line, b"X-Return: a\rb", _length(body), body=body),
    lambda line, body: _message(line, b"X Name: 1", _length(body), body=body),
    lambda line, body: _message(line, b"no colon", _length(body), body=body),
    lambda line, body: _message(line.replace(b"HTTP/1.1", b"HTTP/2.0"), _length(body), body=body),
    lambda line, body: _message(line.lower(), _length(body), body=body),
    lambda line, body: _message(line.replace(b" HTTP", b" x HTTP"), _length(body), body=body),
    lambda line, body: _message(line.replace(b" HTTP", b"%0d%0aX HTTP"), _length(body), body=body),
]


@dataclass
class Wire:
    """One request as it is sent, and how its client is to read the answer."""

    message: Message
    data: bytes


class Writer:
    """Draws requests from a source of chance; `streamed` says that bodies are passed on while they come."""

    def __init__(self, chance: Random, *, streamed: bool) -> None:
        self._chance = chance
        self._streamed = streamed

    def pipeline(self, name: str, most: int) -> list[Wire]:
        """Requests that are sent one behind the other on a connection; what is behind a wrong one goes nowhere."""
        chance = self._chance
        pipeline = [self._right(f"{name}-{index}") for index in range(chance.randrange(1, most + 1))]
        draw = chance.random()
        if draw < 0.35:
            at = chance.randrange(len(pipeline))
            self._become(pipeline, at, Verdict.NEVER)
            pipeline[at].data = self._wrong(pipeline[at].message)
        elif draw < 0.7:
            at = chance.randrange(len(pipeline))
            self._become(pipeline, at, Verdict.UNKNOWN)
            for _ in range(chance.choice((1, 1, 2, 4))):
                pipeline[at].data = self._mutated(pipeline[at].data)
        elif draw < 0.75:
            last = pipeline[-1]
            self._become(pipeline, len(pipeline) - 1, Verdict.NEVER)
            last.data = last.data[: chance.randrange(len(last.data))]
        return pipeline

    @staticmethod
    def _become(pipeline: list[Wire], at: int, verdict: Verdict) -> None:
        for wire in pipeline[at:]:
            was = wire.message
            wire.message = Message(was.identity, was.method, was.target, was.body, verdict)

    def _body(self, identity: str) -> bytes:
        inner = smuggled(identity)
        part = inner[: self._chance.randrange(len(inner))]
        return self._chance.choice((b"", b"a", b"0\r\n\r\n", inner, inner * 3, part, bytes(9000)))

    def _line(self, identity: str) -> tuple[bytes, bytes, bytes]:
        method, mode = self._chance.choice(_METHODS), self._chance.choice(_MODES)
        target = f"/{mode}/{identity}".encode()
        shown = b"http://example.org" + target if self._chance.random() < 0.1 else target
        return method, target, b"%b %b HTTP/1.1" % (method, shown)

    def _right(self, identity: str) -> Wire:
        method, target, line = self._line(identity)
        fields = list(self._chance.choice(BENIGN))
        body = self._body(identity)
        framing = self._chance.choice(("none", "length", "length", "chunked", "chunked"))
        content = body
        if framing == "none":
            content = body = b""
        elif framing == "length":
            fields.insert(self._chance.randrange(len(fields) + 1), _length(body))
        else:
            fields.insert(self._chance.randrange(len(fields) + 1), _TE)
            content = self._chunks(body)
        overtaken = self._streamed and target.startswith(b"/early/") and framing != "none"
        verdict = Verdict.MAYBE if overtaken else Verdict.READ
        message = Message(identity, method.decode(), target.decode(), body, verdict)
        return Wire(message, _message(line, *fields, body=content))

    def _chunks(self, body: bytes) -> bytes:
        """The body in chunks of any sizes, with extensions, zeros and trailers."""
        chance = self._chance
        cuts = sorted({chance.randrange(len(body) + 1) for _ in range(chance.choice((0, 1, 3)))} - {0, len(body)})
        written = b""
        for start, end in pairwise([0, *cuts, len(body)]):
            if end > start:
                size = chance.choice((b"%x", b"%X", b"0%x")) % (end - start)
                written += size + chance.choice((b"", b"", b";a=b", b';a="b;c"')) + b"\r\n" + body[start:end] + b"\r\n"
        return written + b"0\r\n" + chance.choice((b"", b"", b"X-Sum: 1\r\n")) + b"\r\n"

    def _wrong(self, message: Message) -> bytes:
        line = f"{message.method} {message.target} HTTP/1.1".encode()
        body = message.body or smuggled(message.identity)
        return self._chance.choice(WRONG)(line, body)

    def _mutated(self, data: bytes) -> bytes:
        """A few bytes changed, lost, doubled or put in."""
        chance = self._chance
        at = chance.randrange(len(data))
        end = min(len(data), at + chance.randrange(1, 12))
        put = chance.choice((b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"\xff", b"\r\n\r\n"))
        return chance.choice(
            (
                data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :],
                data[:at] + data[end:],
                data[:end] + data[at:],
                data[:at] + put + data[at:],
                data.replace(b"\r\n", b"\n", 1),
                data.replace(b": ", b" : ", 1),
                data.replace(b"Content-Length: ", b"Content-Length: 0", 1),
                data.replace(b"Transfer-Encoding", b"Content-Length: 3\r\nTransfer-Encoding", 1),
                data.replace(b"HTTP/1.1", b"HTTP/1.0", 1),
                data.replace(b"Host: example.org", b"Host: example.org\r\nUpgrade: h2c\r\nConnection: upgrade", 1),
                data.replace(b"Host: example.org", b"Host: example.org" + _HANDSHAKE, 1),
            )
        )
