"""What a TLS client says first: the name it came for and the protocols it speaks (RFC 8446 section 4.1.2)."""

from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_HELLO = 5 + 16384
"""Bytes within which a hello must have come, its record's header included."""

_HEADER = 5
_RANDOM = 2 + 32  # legacy version and random
_SERVER_NAME = 0
_ALPN = 16


@dataclass(frozen=True, slots=True)
class Hello:
    """The parts of a ClientHello by which a connection can be told apart."""

    name: str | None
    protocols: tuple[str, ...]


class _Cut(Exception):  # noqa: N818 - names what happened
    """A field reaches beyond what holds it."""


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
        """Bytes behind their own length, a number of `size` bytes."""
        return self.take(self.number(size))


def parse_hello(data: bytes) -> Hello | None:
    """The hello that a connection begins with; None while it is incomplete, or if it is none."""
    try:
        reader = _Reader(data)
        reader.take(_HEADER - 2)
        message = _Reader(reader.vector(2))
        if message.number(1) != 1:
            return None
        body = _Reader(message.vector(3))
        body.take(_RANDOM)
        body.vector(1)  # session id
        body.vector(2)  # cipher suites
        body.vector(1)  # compression methods
        return _from_extensions(_Reader(body.vector(2)))
    except _Cut:
        return None


def _from_extensions(extensions: _Reader) -> Hello:
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
    return Hello(name, protocols)


def _protocols(names: _Reader) -> Iterator[str]:
    while names:
        yield names.vector(1).decode("latin-1")
