"""Framing of message bodies (RFC 9112 sections 6 and 7): where a body ends, and the chunked codec."""

import re
from collections.abc import Callable
from typing import Protocol

from proxy.errors import FramingError
from proxy.wire.grammar import QUOTED_STRING, TOKEN

_EXTENSION = rb"[ \t]*;[ \t]*%b(?:=(?:%b|%b))?" % (TOKEN, TOKEN, QUOTED_STRING)
REQUEST_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:" + _EXTENSION + rb")*)")
"""A chunk size and its extensions, strictly (RFC 9112 section 7.1)."""

RESPONSE_SIZE = re.compile(rb"0*([0-9A-Fa-f]{1,16})([ \t]*(?:;[\t -~\x80-\xff]*)?)")
"""The same in responses, where padding is harmless since the body is re-chunked."""

_LONGEST_SIZE_LINE = 16 + 256
_MOST_EXTENSION_BYTES = 16 * 1024
_FREE_EXTENSION_BYTES = 16
"""Bytes of extensions per chunk that are not counted."""

_LONGEST_TRAILER_SECTION = 8 * 1024

LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes | memoryview) -> tuple[bytes, bytes | memoryview, bytes]:
    """One chunk as the three pieces to send."""
    return b"%x\r\n" % len(data), data, b"\r\n"


class Decoder(Protocol):
    """Finds the end of a body, and separates its bytes from the framing."""

    @property
    def done(self) -> bool:
        """Whether the body has ended."""

    @property
    def rest(self) -> bytes:
        """Bytes after its end, once `done`."""

    @property
    def salvaged(self) -> bytes:
        """Bytes of the body before the error that `feed` raised."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes off the connection; return the body's bytes among them. Raises `FramingError`."""

    def close(self) -> None:
        """The connection has ended. Raises `FramingError` if the body has not."""


class SizedDecoder:
    """A body of `left` bytes."""

    __slots__ = ("left", "rest")

    salvaged = b""

    def __init__(self, left: int) -> None:
        self.left = left
        self.rest = b""

    @property
    def done(self) -> bool:
        return not self.left

    def feed(self, data: bytes) -> bytes:
        body, self.rest = data[: self.left], data[self.left :]
        self.left -= len(body)
        return body

    def close(self) -> None:
        raise FramingError(f"{self.left} bytes short")


class ClosedDecoder:
    """A body that ends with the connection, so there is no telling whether it is complete."""

    __slots__ = ("done",)

    salvaged = b""
    rest = b""

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> bytes:
        return data

    def close(self) -> None:
        self.done = True


class ChunkedDecoder:
    """Decodes a chunked body from pieces of any size.

    `size` is the grammar of the line before each chunk; extensions are bounded and dropped, every line ends in CR LF.
    Raises `FramingError` for anything else. A body with more extensions than data, or with endless trailers, is refused
    once they exceed their bounds.
    """

    __slots__ = ("_extension_bytes", "_left", "_pending", "_section", "_size", "done", "rest", "salvaged", "trailers")

    def __init__(self, size: re.Pattern[bytes] = REQUEST_SIZE) -> None:
        self.done = False
        self.rest = b""
        """Bytes after the end of the body, once `done`."""
        self.salvaged = b""
        """Bytes of the body before the error that `feed` raised."""
        self.trailers = b""
        """The raw trailer section without its final empty line, once `done`."""
        self._size = size
        self._pending = b""
        self._left = 0
        # A function and no bound method: the decoder would refer to itself, and outlive its body until a collection.
        self._section: Callable[[ChunkedDecoder, bytes, int, list[bytes]], int] = ChunkedDecoder._read_size
        self._extension_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes off the connection; return the body's bytes among them."""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        out: list[bytes] = []
        position = 0
        while position < len(data) and not self.done:
            try:
                following = self._section(self, data, position, out)
            except FramingError:
                self.salvaged = b"".join(out)
                raise
            if following < 0:
                self._pending = data[position:]
                return b"".join(out)
            position = following
        if self.done:
            self.rest = data[position:]
        return b"".join(out) if len(out) != 1 else out[0]

    def close(self) -> None:
        raise FramingError("in a chunked body")

    def _read_size(self, data: bytes, position: int, _out: list[bytes]) -> int:
        end = data.find(b"\n", position, position + _LONGEST_SIZE_LINE + 2)
        if end < 0:
            self._check_partial_size(data[position:])
            return -1
        line = data[position : end - 1]
        match = self._size.fullmatch(line)
        if match is None or data[end - 1] != 13 or end == position:
            raise FramingError("chunk size")
        self._left = int(match[1], 16)
        if match[2]:
            self._count_extensions(len(match[2]))
        self._section = ChunkedDecoder._read_data if self._left else ChunkedDecoder._read_trailers
        return end + 1

    def _count_extensions(self, size: int) -> None:
        """Extensions are allowed in proportion to data, so a body that consists of them is refused."""
        self._extension_bytes = max(0, self._extension_bytes + size - self._left - _FREE_EXTENSION_BYTES)
        if self._extension_bytes > _MOST_EXTENSION_BYTES:
            raise FramingError("chunk extensions")

    def _check_partial_size(self, partial: bytes) -> None:
        """Refuse a size line that cannot become valid, without waiting for its end."""
        if len(partial) > _LONGEST_SIZE_LINE:
            raise FramingError("chunk size line")
        digits = partial.rstrip(b"\r").split(b";", 1)[0].rstrip(b" \t")
        if digits and self._size.fullmatch(digits) is None:
            raise FramingError("chunk size")

    def _read_data(self, data: bytes, position: int, out: list[bytes]) -> int:
        piece = data[position : position + self._left]
        out.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._section = ChunkedDecoder._read_data_end
        return position + len(piece)

    def _read_data_end(self, data: bytes, position: int, _out: list[bytes]) -> int:
        if data[position : position + 1] != b"\r" or data[position + 1 : position + 2] not in (b"\n", b""):
            raise FramingError("no CR LF after a chunk")
        if len(data) - position < 2:
            return -1
        self._section = ChunkedDecoder._read_size
        return position + 2

    def _read_trailers(self, data: bytes, position: int, _out: list[bytes]) -> int:
        if data[position : position + 2] == b"\r\n":
            self.done = True
            return position + 2
        end = data.find(b"\r\n\r\n", position)
        section = data[position : end if end >= 0 else None]
        if len(section) > _LONGEST_TRAILER_SECTION:
            raise FramingError("trailer section too large")
        if section.count(b"\n") != section.count(b"\r\n") or section[:1] == b"\n":
            raise FramingError("bare LF in the trailer section")
        if end < 0:
            return -1
        self.trailers = section
        self.done = True
        return end + 4
