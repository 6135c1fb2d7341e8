"""Writing HTTP/1 responses: from heads and bodies to bytes, framed so that their end can be told."""

from enum import Enum, auto
from typing import Final

from proxy.exchange.request import Request
from proxy.settings import Settings
from proxy.wire.body import LAST_CHUNK
from proxy.wire.fields import Clock
from proxy.wire.head import CRLF
from proxy.wire.response import ResponseHead

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
"""What asks a client for the body that it holds back (RFC 9110 section 10.1.1)."""


class Framing(Enum):
    """How the client knows where a response ends (RFC 9112 section 6.3)."""

    UNSENT = auto()  # nothing was written of the final response
    LENGTH = auto()  # by its length, or by having no body
    CHUNKED = auto()
    CLOSE = auto()  # by the end of the connection


class Ending(Enum):
    """What becomes of the connection when a response has gone as far as it goes (RFC 9112 section 9.6)."""

    KEEP = auto()  # it carries another request
    CLOSE = auto()  # it is closed in order
    CUT = auto()  # FIN behind what was sent, without TLS's close_notify: length or chunks show that the end is missing
    RESET = auto()  # once the client has what was sent: its end would stand for that of the body


UNSENT: Final[Framing] = Framing.UNSENT
LENGTH: Final[Framing] = Framing.LENGTH
CHUNKED: Final[Framing] = Framing.CHUNKED
CLOSE_DELIMITED: Final[Framing] = Framing.CLOSE
KEEP: Final[Ending] = Ending.KEEP
CLOSE: Final[Ending] = Ending.CLOSE
CUT: Final[Ending] = Ending.CUT
RESET: Final[Ending] = Ending.RESET


class ResponseWriter:
    """Writes the responses of one connection, one after the other. It sends nothing itself."""

    __slots__ = ("ending", "framing", "head_only", "request")

    def __init__(self) -> None:
        self.framing = UNSENT
        self.ending = KEEP
        self.request: Request | None = None
        """The request that is answered; the last one, until it is forgotten."""
        self.head_only = False
        """Whether the response has no body, whatever its head announces: the request was HEAD."""

    def start(self, request: Request, settings: Settings) -> None:
        """Answer another request."""
        self.framing = UNSENT
        self.request = request
        self.head_only = request.method == b"HEAD"
        fields = request.fields
        keeps = (not fields.close if request.minor else fields.keep_alive) and settings.keepalive_timeout > 0
        self.ending = KEEP if keeps else CLOSE

    def close(self) -> None:
        """The connection carries no other request."""
        if self.ending is KEEP:
            self.ending = CLOSE

    def refuse(self) -> None:
        """The request cannot be trusted: the connection ends, and its client may read a body after all."""
        self.ending = CLOSE
        self.head_only = False

    def forget(self) -> None:
        self.request = None

    def begin(self, response: ResponseHead, length: int | None, body: bytes, clock: Clock, *, stream: bool) -> bytes:
        """The head, and `body` framed behind it; `length` and `stream` as for `Downstream.begin`."""
        request = self.request
        assert request is not None
        fields = request.response_fields
        if length is None and stream:
            fields = self._frame_stream(response, request) + fields
            if body:
                body = self.framed(body)
        else:
            self.framing = LENGTH
        if self.head_only:
            body = b""
        if self.ending is not KEEP:
            fields += b"Connection: close\r\n"
        elif not request.minor:
            fields += b"Connection: keep-alive\r\n"
        if not response.dated:
            fields += b"Date: %s\r\n" % clock.date()
        if length is not None:
            return b"%sContent-Length: %d\r\n%s\r\n%s" % (response.start, length, fields, body)
        return b"%s%s\r\n%s" % (response.start, fields, body)

    def _frame_stream(self, response: ResponseHead, request: Request) -> bytes:
        """Frame a body of unknown length."""
        if request.minor != 1:
            self.framing = CLOSE_DELIMITED
            self.ending = CLOSE
            return b""
        self.framing = CHUNKED
        if response.trailer is not None and request.fields.te_trailers:
            return b"Transfer-Encoding: chunked\r\nTrailer: %s\r\n" % response.trailer
        return b"Transfer-Encoding: chunked\r\n"

    def completes(self, body: bytes, length: int | None) -> bool:
        """Whether a response is complete with its head and this much of its body."""
        return self.head_only or len(body) == length

    def upgrade(self, response: ResponseHead) -> bytes:
        """The response that makes a tunnel of the connection."""
        request = self.request
        assert request is not None
        self.framing = LENGTH
        return b"%s%sUpgrade: %s\r\nConnection: Upgrade\r\n\r\n" % (
            response.start,
            request.response_fields,
            request.upgrade,
        )

    def framed(self, data: bytes) -> bytes:
        """A piece of a body of unknown length."""
        return b"%x\r\n%s\r\n" % (len(data), data) if self.framing is CHUNKED else data

    def end(self, trailers: list[bytes]) -> bytes:
        """What follows the last piece of a body of unknown length."""
        if self.framing is not CHUNKED:
            return b""
        assert self.request is not None
        if trailers and self.request.fields.te_trailers:
            return b"0\r\n" + b"".join(line + CRLF for line in trailers) + CRLF
        return LAST_CHUNK

    def break_off(self) -> None:
        """The response will not be complete: end the connection so that the client can tell."""
        self.ending = RESET if self.framing is CLOSE_DELIMITED else CUT

    @property
    def begun(self) -> bool:
        """Whether the client may have some of the final response."""
        return self.framing is not UNSENT
