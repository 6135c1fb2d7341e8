"""Asking another service whether a request may pass, before its body is read.

The service gets a GET with what is requested (X-Forwarded-Method, X-Forwarded-Uri, X-Forwarded-Host), the client's
address and the fields that the upstream would get, but for those about a body. With 2xx the request passes, with fields
of that response if some are wanted, and its cookies go to the client; 401, 403 and redirects are the client's response.
Anything else refuses the request.
"""

from collections.abc import Sequence
from time import monotonic
from urllib.parse import urlsplit

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.intake import Intake, body_decoder
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.filters.cors import is_preflight
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.faults import Stale
from proxy.upstream.pool import ConnectRefused, Pool
from proxy.wire.fields import BODILESS
from proxy.wire.head import CRLF
from proxy.wire.response import ResponseHead

PATIENCE = 10.0
"""Seconds that the service may be silent."""

_MOST_HEAD = 32 << 10
_MOST_BODY = 256 << 10
_ABOUT = (b"x-forwarded-", b"x-real-ip", b"forwarded", b"via", b"x-ssl-client-", b"client-cert")
"""Beginnings of names that the gateway itself sets, which are always sent."""

_UNSENT = frozenset({b"host", b"connection", b"upgrade", b"te", b"range"})
_BODY_FAMILIES = (b"content-", b"if-")
"""About bodies that the question does not have: If-None-Match could be answered with a 304."""

_TO_CLIENT = frozenset({301, 302, 303, 307, 308, 401, 403})


class ForwardAuth:
    """Asks the service at `url`, through `pool`.

    `sent` are the names of the client's fields that it gets, "*" stands for all; `wanted` are the fields of its
    response for the upstream. With `skip_preflights` a browser's preflight requests pass without a question.
    """

    def __init__(
        self,
        url: str,
        wanted: Sequence[str],
        pool: Pool,
        *,
        sent: Sequence[str] = ("*",),
        skip_preflights: bool = False,
    ) -> None:
        parts = urlsplit(url)
        self._target = (parts.path or "/").encode() + (b"?" + parts.query.encode() if parts.query else b"")
        self._host = parts.netloc.rpartition("@")[2].encode()
        self._wanted = {name.lower().encode() for name in wanted}
        self._sent = None if "*" in sent else {name.lower().encode() for name in sent}
        self._skip_preflights = skip_preflights
        self._pool = pool

    def check(self, request: Request) -> LocalResponse | None:
        """None lets the request pass, a response is the service's own refusal.

        Raises `ExchangeError`: 503 if the service cannot be reached, 502 if its response is neither.
        """
        if self._skip_preflights and is_preflight(request):
            request.replace_fields(self._wanted, ())
            return None
        try:
            response, body = self._ask(self._head(request), bound=request.fields.binding)
        except (ConnectRefused, Stale) as problem:
            raise ExchangeError(errors.AUTH_UNAVAILABLE, str(problem)) from None
        except ExchangeError as problem:
            answered = problem.failure.status == 502 and problem.failure is not errors.UPSTREAM_TLS
            failure = errors.AUTH_ANSWER if answered else errors.AUTH_UNAVAILABLE
            raise ExchangeError(failure, problem.detail or str(problem)) from None
        if 200 <= response.status < 300:
            request.replace_fields(self._wanted, [line for line in response.lines if _name(line) in self._wanted])
            request.response_fields += b"".join(line + CRLF for line in response.lines if _name(line) == b"set-cookie")
            return None
        if response.status in _TO_CLIENT:
            return LocalResponse(
                response.status, tuple(line for line in response.lines if _name(line) != b"date"), body
            )
        raise ExchangeError(errors.AUTH_ANSWER, f"status {response.status}")

    def _head(self, request: Request) -> bytes:
        """The head of the service's request, as `UpstreamConnection.send_request` takes it."""
        lines = [
            b"Host: " + self._host,
            b"X-Forwarded-Method: " + request.method,
            b"X-Forwarded-Uri: " + request.target,
            *(line for line in request.block.split(CRLF)[:-1] if self._sends(_name(line))),
            b"",
        ]
        trace = b"" if request.trace is None else request.trace.lines
        block = CRLF.join(lines)
        return b"GET %s HTTP/1.1\r\n%s%sX-Request-ID: %s\r\n" % (self._target, block, trace, request.id)

    def _sends(self, name: bytes) -> bool:
        # A request that is repeated still has the wanted fields of the response before.
        if name in self._wanted or name in _UNSENT or name.startswith(_BODY_FAMILIES):
            return False
        return self._sent is None or name in self._sent or name.startswith(_ABOUT)

    def _ask(self, head: bytes, *, bound: bool) -> tuple[ResponseHead, bytes]:
        """The final response and its body. A kept connection that turns out closed is replaced once."""
        connection = self._pool.lease(monotonic(), repeatable=True)
        if connection is not None:
            try:
                return self._ask_on(connection, head, bound=bound)
            except Stale:
                pass
        return self._ask_on(self._pool.connect(PATIENCE), head, bound=bound)

    def _ask_on(self, connection: UpstreamConnection, head: bytes, *, bound: bool) -> tuple[ResponseHead, bytes]:
        clean = False
        try:
            connection.send_request(head, None, None, PATIENCE)
            response, rest = connection.final_head(monotonic() + PATIENCE, PATIENCE, _MOST_HEAD)
            if response.status == 101:
                raise ExchangeError(errors.AUTH_ANSWER, "status 101")
            body, clean = _read_body(connection, response, rest)
            # The next question may be about another client.
            bound = bound or response.binding
            clean = clean and not bound and connection.returnable and not response.close
        finally:
            if clean:
                self._pool.give_back(connection, monotonic())
            else:
                connection.close()
        return response, body


def _read_body(connection: UpstreamConnection, response: ResponseHead, rest: bytes) -> tuple[bytes, bool]:
    """The body of a response, and whether nothing follows it."""
    if response.status in BODILESS:
        return b"", not rest and not response.chunked and not response.content_length
    if response.fault:
        raise ExchangeError(errors.AUTH_ANSWER, response.fault)
    intake = Intake(connection, body_decoder(response), PATIENCE)
    content = intake.begin(rest)
    while not intake.done:
        content += intake.receive()
        if len(content) > _MOST_BODY:
            raise ExchangeError(errors.AUTH_ANSWER, f"a body over {_MOST_BODY} bytes")
    intake.check()
    return content, intake.clean and (response.chunked or response.content_length is not None)


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()
