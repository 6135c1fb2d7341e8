"""Requests of HTTP/1 as field sections, and responses of field sections as HTTP/1 (RFC 9113 section 8).

An exchange speaks HTTP/1 to every upstream. For one that speaks HTTP/2 its requests, which the gateway has written
itself, are taken apart here, and the responses put together: what a server sent is checked before it becomes lines. An
upgrade becomes an extended CONNECT (RFC 8441), and the bytes behind it pass as they are once the server has agreed.
"""

from collections.abc import Mapping
from typing import Final

from proxy.wire.body import LAST_CHUNK, ChunkedDecoder, ClosedDecoder, Decoder, SizedDecoder, chunk
from proxy.wire.fields import websocket_accept
from proxy.wire.grammar import is_token
from proxy.wire.h2.response import section_of
from proxy.wire.h2.tables import Section
from proxy.wire.head import CRLF, LENGTH, LINE_BYTES

_HOP_BY_HOP: Final = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_REPLACED: Final = frozenset({*_HOP_BY_HOP, b"host", b"te"})
_TRAILERS: Final = (b"te", b"trailers")
"""Trailers are passed on; gRPC servers ask for the field (gRPC over HTTP/2, section "Requests")."""

_KEY: Final = b"sec-websocket-key"

_BODILESS: Final = (204, 304)
_MOST_INFORMATIONAL: Final = 16


class MalformedResponse(Exception):  # noqa: N818 - names what it is
    """A response that is not HTTP/2 (RFC 9113 section 8.1.1): its stream is reset."""


class RequestParts:
    """What a head of HTTP/1 becomes: the field section, and what finds the end of the body, None if there is none.

    `switch` are the lines of the 101 that a response of 2xx stands for; empty if the request is no upgrade. `connects`:
    whether it can be an extended CONNECT, which stands for a GET without a body.
    """

    __slots__ = ("body", "connects", "head_only", "section", "switch")

    def __init__(self, head: bytes, scheme: bytes) -> None:
        """`head` without the empty line at its end."""
        start, _, block = head.partition(CRLF)
        method, target, _ = start.split(b" ")
        fields = section_of(block.split(CRLF)) if block else ()
        found = dict(fields)
        self.head_only = method == b"HEAD"
        self.body: Decoder | None = None
        if b"transfer-encoding" in found:
            self.body = ChunkedDecoder()
        elif found.get(b"content-length", b"0") != b"0":
            self.body = SizedDecoder(int(found[b"content-length"]))
        upgrade = found.get(b"upgrade", b"")
        self.connects = method == b"GET" and self.body is None
        self.switch = _switch(upgrade, found) if upgrade else b""
        pseudo = [(b":method", method), (b":scheme", scheme), (b":authority", found.get(b"host", b""))]
        kept = [field for field in fields if field[0] not in _REPLACED]
        if not upgrade:
            self.section: Section = (*pseudo, (b":path", target), *kept, _TRAILERS)
            return
        self.body = ClosedDecoder()
        pseudo[0] = (b":method", b"CONNECT")
        kept = [field for field in kept if field[0] not in (_KEY, b"content-length")]
        self.section = (*pseudo, (b":path", target), (b":protocol", upgrade), *kept)


def _switch(upgrade: bytes, found: Mapping[bytes, bytes]) -> bytes:
    lines = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n" % upgrade
    if _KEY in found:  # which a server of HTTP/2 does not get (RFC 8441 section 5)
        return b"%sSec-WebSocket-Accept: %s\r\n" % (lines, websocket_accept(found[_KEY]))
    return lines


class ResponseText:
    """One response on its way to HTTP/1: `section` and `data` give the bytes for what has come.

    Both raise `MalformedResponse`. A body whose length is announced goes as it is, any other is chunked. With `switch`,
    a 2xx is a 101, and what follows passes as it is.
    """

    __slots__ = ("_chunked", "_head_only", "_informational", "_left", "_switch", "begun", "switched")

    def __init__(self, *, head_only: bool, switch: bytes = b"") -> None:
        self._head_only = head_only
        self._switch = switch
        self.begun = False
        """Its final head has come."""
        self.switched = False
        """The server has agreed to the upgrade."""
        self._chunked = False
        self._informational = 0
        self._left = 0  # of a body that is not chunked

    @property
    def declined(self) -> bool:
        """Whether the server has answered an upgrade in another way."""
        return self.begun and bool(self._switch) and not self.switched

    def section(self, section: Section, *, ended: bool) -> bytes:
        """A head, or trailers."""
        if self.begun:
            return self._end(section, ended=ended)
        if not section or section[0][0] != b":status" or not section[0][1].isdigit() or len(section[0][1]) != 3:
            raise MalformedResponse("no :status")
        status = int(section[0][1])
        if self._switch and 200 <= status < 300:
            return self._switched(section[1:])
        lines = [b"HTTP/1.1 %d " % status, *_lines(section[1:])]
        if status < 200:
            self._informational += 1
            if ended or status == 101 or self._informational > _MOST_INFORMATIONAL:
                raise MalformedResponse("an informational response")
        else:
            self.begun = True
            lines += self._framing(section, bodiless=self._head_only or status in _BODILESS, ended=ended)
        return b"".join([line + CRLF for line in (*lines, b"")])

    def _switched(self, fields: Section) -> bytes:
        """A 101, without what the server says of a body that there is not (RFC 9110 section 9.3.6)."""
        self.begun = self.switched = True
        kept = tuple(field for field in fields if field[0] not in (b"content-length", b"sec-websocket-accept"))
        return self._switch + b"".join([line + CRLF for line in (*_lines(kept), b"")])

    def _framing(self, section: Section, *, bodiless: bool, ended: bool) -> list[bytes]:
        """The fields that frame the body, where the response's own do not; what follows is held to them."""
        lengths = [value for name, value in section if name == b"content-length"]
        if len(lengths) > 1 or (lengths and not LENGTH.fullmatch(lengths[0])):
            raise MalformedResponse("content-length")
        if bodiless:
            return []
        if lengths:
            self._left = int(lengths[0])
            if ended and self._left:
                raise MalformedResponse("a length without a body")
            return []
        if ended:
            return [b"content-length: 0"]
        self._chunked = True
        return [b"transfer-encoding: chunked"]

    def data(self, data: bytes, *, ended: bool) -> bytes:
        """A piece of the body."""
        if not self.begun:
            raise MalformedResponse("DATA before the head")
        if self.switched:
            return data
        if self._chunked:
            return (b"".join(chunk(data)) if data else b"") + (LAST_CHUNK if ended else b"")
        self._left -= len(data)
        if self._left < 0 or (ended and self._left):
            raise MalformedResponse("another body than its content-length announces")
        return data

    def _end(self, section: Section, *, ended: bool) -> bytes:
        if not ended or self.switched:
            raise MalformedResponse("a second field section that does not end the stream")
        lines = _lines(section)
        if self._left:
            raise MalformedResponse("another body than its content-length announces")
        return b"".join([line + CRLF for line in (b"0", *lines, b"")]) if self._chunked else b""


def _lines(section: Section) -> list[bytes]:
    """Field lines (RFC 9113 sections 8.2.1 and 8.2.2)."""
    lines = []
    for name, value in section:
        if not is_token(name) or name != name.lower() or name in _HOP_BY_HOP:
            raise MalformedResponse("a field name")
        if value.translate(None, LINE_BYTES) or value != value.strip(b" \t"):
            raise MalformedResponse("a field value")
        lines.append(b"%s: %s" % (name, value))
    return lines
