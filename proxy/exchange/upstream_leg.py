"""The upstream half of an exchange: lease, send, await the head.

The order of things that can go wrong decides what may be repeated. Until a connection stands nothing was sent, so any
request may wait for its upstream and try again. A request that was sent and got no byte back before the connection
closed may have met an upstream that was stopping, or a reused connection that was closing: it is repeated once, on a
fresh connection, if its method is idempotent (RFC 9110 section 9.2.2), or has a key by which the application knows it
again and the settings say that it does. After the first byte of an answer, or after a
deadline, nothing is repeated.
"""

from collections.abc import Sequence
from time import monotonic

import gevent

from proxy import errors
from proxy.errors import ExchangeError, Phase
from proxy.exchange.context import ExchangeContext
from proxy.exchange.downstream import Downstream
from proxy.exchange.request import Request
from proxy.exchange.route import Route
from proxy.settings import Settings
from proxy.upstream.body import StreamedBody
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.pool import ConnectRefused, Pool
from proxy.upstream.upload import Stale, Upload
from proxy.wire.fields import field_value, is_bodiless
from proxy.wire.proxy_protocol import endpoints_of, header
from proxy.wire.response import ResponseHead

# A module's constant is found faster than an attribute of an enumeration.
QUEUE, CONNECT = Phase.QUEUE, Phase.CONNECT

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})  # RFC 9110 section 9.2.2; TRACE is refused
RETRY_PAUSE = 0.1
"""Seconds between two attempts: an upstream that is killed loses its connections a moment before its listener."""


class UpstreamLeg:
    """A request, and how far the upstream has come with it. Durations are seconds, -1 for what did not happen."""

    __slots__ = (
        "_connect",
        "_connecting",
        "_context",
        "_deadline",
        "_downstream",
        "_first_byte",
        "_lease",
        "_outgoing",
        "_peer",
        "_peers",
        "_pool",
        "_queue",
        "_repeatable",
        "_repeated",
        "_request",
        "_unsent",
        "_upload",
    )

    def __init__(self, context: ExchangeContext, downstream: Downstream, request: Request) -> None:
        self._context = context
        self._repeatable = False
        """Whether the request may be sent a second time."""
        self._deadline = 0.0
        """For the head of the response (monotonic seconds)."""
        self._downstream = downstream
        self._ask(request)

    def _ask(self, request: Request) -> None:
        """Begin with a request."""
        self._request = request
        self._outgoing: Request | None = None
        """The request as the upstream gets it."""
        self._repeated = False
        self._lease: UpstreamConnection | None = None
        self._unsent = b""
        """What is left of a request that was sent in part."""
        self._pool: Pool | None = None
        """Where the leased connection came from."""
        self._upload: Upload | None = None
        """What sends the rest of the request, if it did not go out at once."""
        self._peers: Sequence[Pool] = ()
        """Whose turn it is, if that was asked for already."""
        self._peer = ""
        self._connecting = QUEUE
        """Whether it connects or waits for that, while it has no connection."""
        self._queue = self._connect = self._first_byte = -1.0

    def _acquire(self, route: Route) -> UpstreamConnection:
        """A connection for the request: an idle one to the peer whose turn it is, or a new one."""
        request = self._request
        settings = route.settings
        self._prepare(route)
        lease = self._lease_or_connect(monotonic(), route)
        lease.private = lease.private or request.fields.binding
        if settings.proxy_protocol_out != "off":
            names = self._downstream.names()
            lease.preamble = header(settings.proxy_protocol_out, endpoints_of(request.client, *names))
        return lease

    def _prepare(self, route: Route) -> bool:
        """Make what the upstream is sent; whether that may be sent a second time (RFC 9110 section 9.2.2)."""
        if self._outgoing is None:
            request = self._request
            body = request.body
            self._outgoing = route.rewrite.outgoing(request) if route.rewrite is not None else request
            idempotent = request.method in IDEMPOTENT or (route.settings.repeat_keyed and _is_keyed(request))
            # The look at None comes first: asking an abstract class for its instances is slow.
            self._repeatable = idempotent and (body is None or not isinstance(body, StreamedBody))
        return self._repeatable

    def _stale(self, stale: Stale) -> ExchangeError | None:
        """The upstream closed without a word: why the exchange fails, or None to ask once more after `RETRY_PAUSE`."""
        lease, self._lease = self._lease, None
        assert lease is not None
        assert self._pool is not None
        lease.close()
        if self._repeated or not self._repeatable:
            self._pool.failed()
            return ExchangeError(errors.UPSTREAM_CLOSED, str(stale))
        self._repeated = True
        self._context.counters.retry()
        return None

    def _release(self, response: ResponseHead, *, clean: bool, doubtful: bool = False) -> None:
        """Return the connection, or close it if it is of no use any more.

        `clean`: nothing stood behind the answer; `doubtful`: something may still come.
        """
        lease, self._lease = self._lease, None
        if lease is None:
            return
        pool = self._pool
        assert pool is not None
        if not clean:
            pool.overran(monotonic())
        if clean and lease.returnable and not response.close:
            if response.binding:
                lease.private = True
            pool.give_back(lease, monotonic(), doubtful=doubtful)
            if lease.private:
                self._downstream.keep(lease)
        else:
            pool.answered()
            lease.close()

    def _read_response(self, lease: UpstreamConnection, settings: Settings) -> tuple[ResponseHead, bytes]:
        """The final response's head and the bytes behind it; 1xx ones are passed on (RFC 9110 section 15.2)."""
        response, rest = lease.final_head(
            self._deadline,
            settings.read_timeout,
            settings.max_response_head,
            lenient=settings.lenient_responses,
            inform=self._inform if self._request.minor else None,
        )
        self._first_byte = lease.first_byte - self._request.started
        if response.fault and response.status != 101 and not is_bodiless(self._request.method, response.status):
            raise ExchangeError(errors.BAD_RESPONSE, response.fault)
        return response, rest

    def _inform(self, response: ResponseHead) -> None:
        """Pass on an informational response, but for the 100 that the gateway has sent itself."""
        if response.status != 100 or not self._request.fields.expect:
            self._downstream.inform(response)

    def _lease_or_connect(self, now: float, route: Route) -> UpstreamConnection:
        pools = self._peers or route.cluster.in_turn(self._request)
        self._peers = ()
        if not (self._repeated or self._request.fields.websocket):
            lease = self._resume_private(now, pools, repeatable=self._repeatable)
            if lease is None:
                self._pool = pools[0]
                lease = self._pool.lease(now, repeatable=self._repeatable)
            if lease is not None:
                self._peer = lease.pool.name
                return lease
        return self._connect_to_one(pools, route)

    def _resume_private(self, now: float, pools: Sequence[Pool], *, repeatable: bool) -> UpstreamConnection | None:
        """The client's own connection to one of these peers, if it has one that is still good."""
        kept = self._downstream.kept()
        if kept is None:
            return None
        for pool in pools:
            if pool is kept.pool:
                self._pool = pool
                return pool.resume(kept, now, repeatable=repeatable)
        kept.pool.discard(kept)
        return None

    def _connect_to_one(self, pools: Sequence[Pool], route: Route) -> UpstreamConnection:
        """A new connection to the first peer that accepts; while none does, wait for one that restarts or comes."""
        settings = route.settings
        started = begun = monotonic()
        held = False
        while True:
            for pool in pools:
                self._pool = pool
                self._peer = pool.name
                self._connecting = CONNECT
                try:
                    lease = pool.connect(settings.connect_timeout)
                except ConnectRefused as refused:
                    detail = str(refused)
                else:
                    now = monotonic()
                    self._connect = now - begun
                    self._queue = begun - started
                    return lease
            self._connecting = QUEUE
            if monotonic() - started + RETRY_PAUSE > settings.retry_wait:
                raise ExchangeError(errors.UNAVAILABLE if settings.retry_wait else errors.CONNECT_REFUSED, detail)
            if not held:
                held = True
                self._context.counters.retry_waited()
            with self._context.retry_waiting:
                gevent.sleep(RETRY_PAUSE)
            pools = route.cluster.newest.in_turn(self._request)
            begun = monotonic()


def _is_keyed(request: Request) -> bool:
    """Whether the client has named the request, so that the application can tell a repetition from a second one."""
    return field_value(request.fields.lines, b"idempotency-key") is not None
