"""The ClientHello of TLS: the server name and the protocols (RFC 8446 section 4.1.2)."""

from collections.abc import Iterator
from dataclasses import dataclass

_LONGEST = 16384
"""Largest hello that is parsed here. OpenSSL accepts more; an ACME validation server sends less."""

_MOST_RECORDS = 8
"""Most records of a hello: all received bytes are parsed again whenever more arrive."""

_RECORD = b"\x16\x03"  # a handshake, any version
_RECORD_HEADER = 5
_LARGEST_RECORD = 16384  # RFC 8446 section 5.1
_HELLO = b"\x01"
_MESSAGE_HEADER = 4
_RANDOM = 2 + 32  # legacy version and random
_SERVER_NAME = 0
_ALPN = 16


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The parts of a ClientHello that distinguish connections."""

    name: str | None
    protocols: tuple[str, ...]


class ClientHelloIncomplete(Exception):  # noqa: N818 - names what happened
    """The hello is incomplete: more bytes are needed."""


class _Cut(Exception):  # noqa: N818 - names what happened
    """A field extends beyond its container."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._data)

    def take(self, count: int) -> bytes:
        if count > len(self._data):
            raise _Cut
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Bytes preceded by their length, a number of `size` bytes."""
        return self.take(self.number(size))


def parse_client_hello(data: bytes) -> ClientHello | None:
    """The hello at the start of a connection; None for anything else, which OpenSSL then judges.

    Raises `ClientHelloIncomplete` only if all received bytes belong to a hello that continues.
    """
    message = _first_message(data)
    if message is None:
        return None
    body = _Reader(message)
    try:
        body.take(_RANDOM)
        body.vector(1)  # session id
        body.vector(2)  # cipher suites
        body.vector(1)  # compression methods
        return _from_extensions(_Reader(body.vector(2)))
    except _Cut:
        return None


def _first_message(data: bytes) -> bytes | None:
    """The body of the hello, joined from its records, of which there may be several (RFC 8446 section 5.1)."""
    message = b""
    start = 0
    for _ in range(_MOST_RECORDS):
        header = data[start : start + _RECORD_HEADER]
        if not _RECORD.startswith(header[:2]):
            return None
        if len(header) < _RECORD_HEADER:
            raise ClientHelloIncomplete
        size = int.from_bytes(header[3:], "big")
        start += _RECORD_HEADER
        message += data[start : start + size]
        start += size
        length = _MESSAGE_HEADER + int.from_bytes(message[1:_MESSAGE_HEADER], "big")
        if not 0 < size <= _LARGEST_RECORD or not _HELLO.startswith(message[:1]) or length > _LONGEST:
            return None
        if len(message) >= length:
            return message[_MESSAGE_HEADER:length]
        if len(data) < start:
            raise ClientHelloIncomplete
    return None


def _from_extensions(extensions: _Reader) -> ClientHello:
    name: str | None = None
    protocols: tuple[str, ...] = ()
    while extensions:
        kind = extensions.number(2)
        content = _Reader(extensions.vector(2))
        if kind == _SERVER_NAME:
            names = _Reader(content.vector(2))
            if names.number(1) == 0:
                name = names.vector(2).decode("latin-1").lower()
        elif kind == _ALPN:
            protocols = tuple(_protocols(_Reader(content.vector(2))))
    return ClientHello(name, protocols)


def _protocols(names: _Reader) -> Iterator[str]:
    while names:
        yield names.vector(1).decode("latin-1")
