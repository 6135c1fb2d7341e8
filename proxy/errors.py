"""Every way an exchange can fail, in one table.

A row says who is to blame, which status the client gets, and the machine-readable reason that the answer, the
metrics and the access log carry. The phase in which it happened is known to the exchange alone; blame and phase
together are the two-letter termination code of the access log.
"""

from dataclasses import dataclass
from enum import StrEnum


class Blame(StrEnum):
    """First letter of a termination code: who ended the exchange."""

    NOBODY = "-"
    CLIENT = "C"  # the client broke a rule or went away
    CLIENT_SLOW = "c"  # the client let a deadline pass
    UPSTREAM = "S"  # the upstream broke a rule, refused or went away
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

    The detail is for the log unless it is about what the client sent: addresses and faults inside are not its business.
    `fields` are lines (without their ends) that the answer has beside its usual ones, such as a challenge.
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
        """What the client may know."""
        return str(self) if self.failure.blame in (Blame.CLIENT, Blame.CLIENT_SLOW) else self.failure.message


class DeadlinePassed(Exception):  # noqa: N818 - names what happened
    """Thrown by the sweeper into a greenlet whose stream did nothing until its deadline."""


class ClientGone(Exception):  # noqa: N818 - names what happened
    """Thrown into an exchange whose client closed or reset its connection, or broke a rule that ends its stream."""

    def __init__(self, failure: Failure | None = None) -> None:
        super().__init__(failure)
        self.failure = failure or CLIENT_CLOSED


class FramingError(Exception):
    """Body bytes that do not follow the message's framing; the argument says where."""


def _client(reason: str, status: int, message: str) -> Failure:
    return Failure(reason, Blame.CLIENT, status, message)


# Request heads (RFC 9112 sections 2 to 6). All are refused before a byte reaches the upstream.
REQUEST_LINE = _client("request_line", 400, "The request line is malformed")
TARGET = _client("target", 400, "The request target is malformed")
TARGET_PATH = _client("target_path", 400, "The path has dot segments, encoded control characters or broken escapes")
FIELD_LINE = _client("field_line", 400, "A field line is malformed")
LINE_ENDING = _client("line_ending", 400, "A line ends in a bare LF, or a control character stands in the head")
HOST = _client("host", 400, "The Host field is missing, repeated, invalid or differs from the target's authority")
CONTENT_LENGTH = _client("content_length", 400, "Content-Length is repeated or not a plain number")
TRANSFER_ENCODING = _client("transfer_encoding", 400, "Transfer-Encoding is not exactly one 'chunked'")
LENGTH_AND_ENCODING = _client("length_and_encoding", 400, "Content-Length and Transfer-Encoding stand together")
UPGRADE_BODY = _client("upgrade_body", 400, "An upgrade request must not have a body")
CHUNK = _client("chunk", 400, "The chunked body is malformed")
MALFORMED = _client("malformed", 400, "The request is malformed (RFC 9113 section 8.1.1)")
MALFORMED_BODY = _client("malformed_body", 400, "The body is not as long as announced, or its trailers are malformed")
NO_ROUTE = _client("no_route", 404, "Nothing is served here under this name and path")
METHOD = _client("method", 405, "This method is not served")
BODY_TIMEOUT = Failure("body_timeout", Blame.CLIENT_SLOW, 408, "The request body came too slowly")
BODY_RATE = Failure("min_rate", Blame.CLIENT_SLOW, 408, "The request body came too slowly")
HEAD_TIMEOUT = Failure("head_timeout", Blame.CLIENT_SLOW, 408, "The request head came too slowly")
BODY_TOO_LARGE = _client("body_too_large", 413, "The request body is too large")
TARGET_TOO_LONG = _client("target_too_long", 414, "The request line is too long")
EXPECT = _client("expect", 417, "Only 'Expect: 100-continue' is understood")
HEAD_TOO_LARGE = _client("head_too_large", 431, "The request's fields are too many or too large")
UNKNOWN_CODING = _client("unknown_coding", 501, "This transfer coding is not understood")
PROTOCOL = _client("protocol", 501, "Only WebSockets are opened by an extended CONNECT")
VERSION = _client("version", 505, "Only HTTP/1.0 and HTTP/1.1 are served here")

LOOP = _client("loop", 508, "The request has come back to the route that sent it on: an upstream leads here")

# TLS (RFC 8446). A handshake that fails has its own alerts: no status can be sent.
TLS_EXPECTED = _client("tls_expected", 400, "This port speaks HTTPS; write https:// before the address")
TLS_HANDSHAKE = _client("tls_handshake", 0, "The TLS handshake failed")
TLS_TIMEOUT = Failure("tls_timeout", Blame.CLIENT_SLOW, 0, "The TLS handshake took too long")

# The PROXY protocol: what comes before HTTP cannot be answered in it.
PROXY_HEADER = _client("proxy_header", 0, "A PROXY protocol header is malformed")
PROXY_HEADER_TIMEOUT = Failure("proxy_header_timeout", Blame.CLIENT_SLOW, 0, "A PROXY protocol header came too slowly")
NOT_TRUSTED = _client("not_trusted", 0, "Only trusted proxies may connect where the PROXY protocol is spoken")

# Who may not come in, or asks too much.
UNAUTHENTICATED = _client("unauthenticated", 401, "A user name and password are asked for")
FORBIDDEN = _client("forbidden", 403, "Clients of this address may not ask here")
RATE = _client("rate", 429, "Too many requests")
LOGINS = _client("logins", 429, "Too many wrong passwords")
WEBSOCKETS = Failure("websockets", Blame.CLIENT, 429, "Too many WebSockets of one client", retry_after=10)
CONNECTIONS = Failure("connections", Blame.CLIENT, 429, "Too many connections of one client", retry_after=10)

# Files that the gateway serves itself.
FILE_MISSING = _client("file_missing", 404, "There is no such file")
FILE_FORBIDDEN = _client("file_forbidden", 403, "The gateway may not read this file")
FILE_METHOD = _client("file_method", 405, "Files can only be read")
FILE_CHANGED = _client("file_changed", 412, "The file is not in the state the request names")
FILE_RANGE = _client("file_range", 416, "The file has no such part")
FILE_FAILED = Failure("file_failed", Blame.PROXY, 500, "The gateway cannot read this file")

# Pages of other origins, and a service that is down on purpose.
CORS_ORIGIN = _client("cors_origin", 403, "Pages of this origin may not ask here")
MAINTENANCE = Failure("maintenance", Blame.PROXY, 503, "The service is down for maintenance", retry_after=60)

# The client went away or does not take its answer; nothing can be sent any more.
CLIENT_CLOSED = _client("client_closed", 499, "The client closed the connection")
CLIENT_STALLED = Failure("client_stalled", Blame.CLIENT_SLOW, 499, "The client did not take the response")

# The upstream.
CONNECT_REFUSED = Failure("connect_refused", Blame.UPSTREAM, 502, "The application refused the connection")
UNAVAILABLE = Failure("unavailable", Blame.UPSTREAM, 503, "The application is not available", retry_after=5)
QUEUE_FULL = Failure("queue_full", Blame.UPSTREAM, 503, "Too many requests wait for the application", retry_after=5)
QUEUE_TIMEOUT = Failure("queue_timeout", Blame.UPSTREAM_SLOW, 503, "The application had no room in time", retry_after=5)
DRAINED = Failure("drained", Blame.PROXY, 503, "The application takes no requests at the moment", retry_after=5)
CONNECT_TIMEOUT = Failure("connect_timeout", Blame.UPSTREAM_SLOW, 504, "The application did not accept in time")
SEND_TIMEOUT = Failure("send_timeout", Blame.UPSTREAM_SLOW, 504, "The application did not take the request in time")
RESPONSE_TIMEOUT = Failure("response_timeout", Blame.UPSTREAM_SLOW, 504, "The application did not answer in time")
UPSTREAM_CLOSED = Failure("upstream_closed", Blame.UPSTREAM, 502, "The application closed the connection early")
BAD_RESPONSE = Failure("bad_response", Blame.UPSTREAM, 502, "The application's answer is not valid HTTP")
BAD_UPGRADE = Failure("bad_upgrade", Blame.UPSTREAM, 502, "The application's upgrade answer is wrong")
AUTH_UNAVAILABLE = Failure(
    "auth_unavailable", Blame.UPSTREAM, 503, "The service that decides on access is not available", retry_after=5
)
AUTH_ANSWER = Failure("auth_answer", Blame.UPSTREAM, 502, "The service that decides on access gave no valid answer")
TRUNCATED = Failure("truncated", Blame.UPSTREAM, 502, "The application's answer ended early")
BODY_STALLED = Failure("response_stalled", Blame.UPSTREAM_SLOW, 504, "The application's answer stalled")

# The gateway itself.
SPOOL = Failure("spool", Blame.PROXY, 503, "The gateway cannot store the body", retry_after=30)
OVERLOADED = Failure("overloaded", Blame.PROXY, 503, "The gateway has no connection left", retry_after=5)
DRAINING = Failure("draining", Blame.DRAIN, 503, "The gateway is stopping", retry_after=1)
INTERNAL = Failure("internal", Blame.PROXY, 500, "The gateway failed")
