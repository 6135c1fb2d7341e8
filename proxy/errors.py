"""Every way an exchange can fail, in one table.

A row has the side to blame, the client's status, and the machine-readable reason for the response, the metrics and the
access log. Only the exchange knows the phase in which it happened; blame and phase together are the two-letter
termination code of the access log.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final


class Blame(StrEnum):
    """First letter of a termination code: the side that ended the exchange."""

    NOBODY = "-"
    CLIENT = "C"  # the client violated the protocol or went away
    CLIENT_SLOW = "c"  # the client let a deadline pass
    UPSTREAM = "S"  # the upstream violated the protocol, refused or went away
    UPSTREAM_SLOW = "s"  # the upstream let a deadline pass
    PROXY = "P"  # a limit or a fault of the gateway itself
    DRAIN = "K"  # the gateway is stopping


class Phase(StrEnum):
    """Second letter of a termination code: how far the exchange had come."""

    DONE = "-"
    HEAD = "R"  # reading the request head
    BODY = "B"  # reading the request body
    QUEUE = "Q"  # waiting for an upstream
    CONNECT = "C"  # connecting to the upstream
    REQUEST = "U"  # sending the request upstream
    RESPONSE = "H"  # waiting for the response head
    DATA = "D"  # relaying the response body
    TUNNEL = "T"  # relaying an upgraded connection


@dataclass(frozen=True, slots=True)
class Failure:
    """One row. `status` 0 means that nothing can or may be sent to the client."""

    reason: str
    blame: Blame
    status: int
    message: str
    retry_after: int = 0


class ExchangeError(Exception):
    """An exchange that cannot go on; `failure` says why, `detail` adds the fact at hand.

    The detail is for the log, except where it concerns what the client sent: clients do not learn internal addresses
    and faults. `fields` are lines (without their ends) to add to the response, such as a challenge.
    """

    def __init__(self, failure: Failure, detail: str = "", fields: tuple[bytes, ...] = ()) -> None:
        super().__init__(failure, detail)
        self.failure = failure
        self.detail = detail
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.failure.message}: {self.detail}" if self.detail else self.failure.message

    @property
    def client_message(self) -> str:
        """The message for the client."""
        return str(self) if self.failure.blame in (Blame.CLIENT, Blame.CLIENT_SLOW) else self.failure.message


class DeadlinePassed(Exception):  # noqa: N818 - names what happened
    """Thrown by the sweeper into a greenlet whose stream did nothing until its deadline."""


class ClientGone(Exception):  # noqa: N818 - names what happened
    """Thrown into an exchange whose client closed or reset its connection, or violated the protocol."""

    def __init__(self, failure: Failure | None = None) -> None:
        super().__init__(failure)
        self.failure = failure or CLIENT_CLOSED


class FramingError(Exception):
    """Body bytes that violate the message's framing; the argument says where."""


def _client(reason: str, status: int, message: str) -> Failure:
    return Failure(reason, Blame.CLIENT, status, message)


# Request heads (RFC 9112 sections 2 to 6). All are refused before a byte reaches the upstream.
REQUEST_LINE = _client("request_line", 400, "The request line is malformed")
TARGET = _client("target", 400, "The request target is malformed")
TARGET_PATH = _client("target_path", 400, "The path has dot segments, encoded control characters or broken escapes")
FIELD_LINE = _client("field_line", 400, "A field line is malformed")
LINE_ENDING = _client("line_ending", 400, "The head has a bare LF or a control character")
HOST = _client("host", 400, "The Host field is missing, repeated, invalid or differs from the target's authority")
CONTENT_LENGTH = _client("content_length", 400, "Content-Length is repeated or not a plain number")
TRANSFER_ENCODING = _client("transfer_encoding", 400, "Transfer-Encoding is not exactly one 'chunked'")
LENGTH_AND_ENCODING = _client("length_and_encoding", 400, "Content-Length and Transfer-Encoding exclude each other")
UPGRADE_BODY = _client("upgrade_body", 400, "A WebSocket handshake or extended CONNECT must not have a body")
CHUNK = _client("chunk", 400, "The chunked body is malformed")
MALFORMED = _client("malformed", 400, "The request is malformed (RFC 9113 section 8.1.1)")
MALFORMED_BODY = _client(
    "malformed_body", 400, "The body does not match its Content-Length, or its trailers are malformed"
)
NO_ROUTE = _client("no_route", 404, "No route for this host and path")
METHOD = _client("method", 405, "Method not allowed")
BODY_TIMEOUT = Failure("body_timeout", Blame.CLIENT_SLOW, 408, "The request body was sent too slowly")
BODY_RATE = Failure("min_rate", Blame.CLIENT_SLOW, 408, "The request body was sent too slowly")
HEAD_TIMEOUT = Failure("head_timeout", Blame.CLIENT_SLOW, 408, "The request head was sent too slowly")
BODY_TOO_LARGE = _client("body_too_large", 413, "The request body is too large")
TARGET_TOO_LONG = _client("target_too_long", 414, "The request line is too long")
EXPECT = _client("expect", 417, "Only 'Expect: 100-continue' is supported")
HEAD_TOO_LARGE = _client("head_too_large", 431, "The request's fields are too many or too large")
UNKNOWN_CODING = _client("unknown_coding", 501, "Transfer coding not supported")
PROTOCOL = _client("protocol", 501, "Extended CONNECT for this protocol is not permitted here")
VERSION = _client("version", 505, "HTTP version not supported")

LOOP = _client("loop", 508, "Request loop: an upstream leads back to this gateway")

# TLS (RFC 8446). A handshake that fails has its own alerts: no status can be sent.
TLS_EXPECTED = _client("tls_expected", 400, "This port requires HTTPS; use https:// in the address")
TLS_HANDSHAKE = _client("tls_handshake", 0, "The TLS handshake failed")
TLS_TIMEOUT = Failure("tls_timeout", Blame.CLIENT_SLOW, 0, "The TLS handshake took too long")

# The PROXY protocol: what comes before HTTP cannot be answered in it.
PROXY_HEADER = _client("proxy_header", 0, "The PROXY protocol header is malformed")
PROXY_HEADER_TIMEOUT = Failure(
    "proxy_header_timeout", Blame.CLIENT_SLOW, 0, "The PROXY protocol header was sent too slowly"
)
NOT_TRUSTED = _client("not_trusted", 0, "The PROXY protocol is accepted from trusted proxies only")

# Access control and rate limits.
UNAUTHENTICATED = _client("unauthenticated", 401, "Authentication required")
FORBIDDEN = _client("forbidden", 403, "Access from your address is not allowed")
RATE = _client("rate", 429, "Too many requests")
LOGINS = _client("logins", 429, "Too many failed logins")
WEBSOCKETS = Failure("websockets", Blame.CLIENT, 429, "Too many WebSockets from your address", retry_after=10)
CONNECTIONS = Failure("connections", Blame.CLIENT, 429, "Too many connections from your address", retry_after=10)

# Files that the gateway serves itself.
DESTINATION = _client("destination", 502, "The Destination is outside of the application")
FILE_MISSING = _client("file_missing", 404, "File not found")
FILE_FORBIDDEN = _client("file_forbidden", 403, "File not readable")
FILE_METHOD = _client("file_method", 405, "Method not allowed for files")
FILE_CHANGED = _client("file_changed", 412, "The file does not match the request's precondition")
FILE_RANGE = _client("file_range", 416, "Requested range not in the file")
NOT_CACHED = _client("not_cached", 504, "There is no stored response, and the request accepts no other")
FILE_FAILED = Failure("file_failed", Blame.PROXY, 500, "The gateway could not read the file")

# CORS, and planned maintenance.
CORS_ORIGIN = _client("cors_origin", 403, "Origin not allowed by CORS policy")
NOT_DEPLOYED = Failure("not_deployed", Blame.PROXY, 503, "Nothing is deployed here yet", retry_after=5)
MAINTENANCE = Failure("maintenance", Blame.PROXY, 503, "The service is down for maintenance", retry_after=60)

# The client went away or does not read its response; nothing can be sent any more.
CLIENT_CLOSED = _client("client_closed", 499, "The client closed the connection")
CLIENT_STALLED = Failure("client_stalled", Blame.CLIENT_SLOW, 499, "The client did not read the response in time")

# The upstream.
CONNECT_REFUSED = Failure("connect_refused", Blame.UPSTREAM, 502, "The application refused the connection")
UNAVAILABLE = Failure("unavailable", Blame.UPSTREAM, 503, "The application is not available", retry_after=5)
QUEUE_FULL = Failure(
    "queue_full", Blame.UPSTREAM, 503, "Too many requests are waiting for the application", retry_after=5
)
QUEUE_TIMEOUT = Failure(
    "queue_timeout", Blame.UPSTREAM_SLOW, 503, "The application was busy for too long", retry_after=5
)
PAUSED = Failure("paused", Blame.PROXY, 503, "The application is paused", retry_after=5)
DRAINED = Failure("drained", Blame.PROXY, 503, "The application is not accepting requests", retry_after=5)
CONNECT_TIMEOUT = Failure(
    "connect_timeout", Blame.UPSTREAM_SLOW, 504, "The application did not accept the connection in time"
)
UPSTREAM_TLS = Failure("upstream_tls", Blame.UPSTREAM, 502, "No TLS connection to the application can be made")
SEND_TIMEOUT = Failure("send_timeout", Blame.UPSTREAM_SLOW, 504, "The application did not read the request in time")
RESPONSE_TIMEOUT = Failure("response_timeout", Blame.UPSTREAM_SLOW, 504, "The application did not respond in time")
UPSTREAM_CLOSED = Failure(
    "upstream_closed", Blame.UPSTREAM, 502, "The application closed the connection before responding"
)
BAD_RESPONSE = Failure("bad_response", Blame.UPSTREAM, 502, "The application sent an invalid HTTP response")
BAD_UPGRADE = Failure("bad_upgrade", Blame.UPSTREAM, 502, "The application sent an invalid upgrade response")
AUTH_UNAVAILABLE = Failure(
    "auth_unavailable", Blame.UPSTREAM, 503, "The authorization service is not available", retry_after=5
)
AUTH_ANSWER = Failure("auth_answer", Blame.UPSTREAM, 502, "The authorization service sent an invalid response")
TRUNCATED = Failure("truncated", Blame.UPSTREAM, 502, "The application's response ended early")
BODY_STALLED = Failure("response_stalled", Blame.UPSTREAM_SLOW, 504, "The application's response stalled")

PING_TIMEOUT = Failure("ping_timeout", Blame.CLIENT_SLOW, 0, "A side of the WebSocket did not answer a ping")

# The gateway itself.
SPOOL = Failure("spool", Blame.PROXY, 503, "The gateway cannot store the body", retry_after=30)
OVERLOADED = Failure("overloaded", Blame.PROXY, 503, "Gateway connection limit reached", retry_after=5)
DRAINING = Failure("draining", Blame.DRAIN, 503, "The gateway is shutting down", retry_after=1)
INTERNAL = Failure("internal", Blame.PROXY, 500, "Internal gateway error")


DISK_ERRORS: Final = frozenset({errno.EIO, errno.ENODATA})
"""What a disk is to blame for while its bytes are sent; the latter where a page was cut off under sendfile."""


class blaming:  # noqa: N801 - read as a word: `with blaming(CLIENT_CLOSED):`
    """For the length of a `with` block, says what an error of a socket or a file means to the exchange.

    `OSError` becomes `failure`, or `disk` if a disk is to blame and that is given; `DeadlinePassed` becomes what `late`
    makes, if that is given. `BlockingIOError` passes. `CLIENT_CLOSED` is raised as `ClientGone`, all others as
    `ExchangeError`. A block costs two calls: where most requests come by, `except` clauses say the same.
    """

    __slots__ = ("_disk", "_failure", "_late")

    def __init__(
        self, failure: Failure, late: Callable[[], ExchangeError] | None = None, disk: Failure | None = None
    ) -> None:
        self._failure = failure
        self._late = late
        self._disk = disk

    def __enter__(self) -> None:
        return

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if isinstance(error, DeadlinePassed) and self._late is not None:
            raise self._late() from None
        if not isinstance(error, OSError) or isinstance(error, BlockingIOError):
            return
        if self._disk is not None and error.errno in DISK_ERRORS:
            raise ExchangeError(self._disk, error.strerror or "") from None
        if self._failure is CLIENT_CLOSED:
            raise ClientGone from error
        raise ExchangeError(self._failure, error.strerror or "") from None
