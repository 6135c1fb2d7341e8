"""The upstream half of an exchange: lease, send, await the head.

The order of things that can go wrong decides what may be repeated. Before there is a connection nothing was sent, so
any request may wait for its upstream and try again. A request that was sent and got no byte back before the connection
closed may have met an upstream that was stopping, or a reused connection that was closing: it is repeated once, on a
fresh connection, if its method is idempotent (RFC 9110 section 9.2.2), or if it has a key by which the application
recognises it and the settings say that it does. After the first byte of a response, or after a deadline, nothing is
repeated.
"""

from collections.abc import Sequence
from time import monotonic
from typing import Final

import gevent

from proxy import errors
from proxy.errors import ExchangeError, Phase
from proxy.exchange.caching import Copy
from proxy.exchange.context import ExchangeContext
from proxy.exchange.downstream import Downstream
from proxy.exchange.intake import Intake, body_decoder
from proxy.exchange.recoding import Recoding
from proxy.exchange.relay import RelayLimits
from proxy.exchange.request import Request
from proxy.exchange.route import Route
from proxy.exchange.states import AWAIT, LEASE, SEND, State
from proxy.settings import Settings
from proxy.upstream.body import StreamedBody, rewound
from proxy.upstream.connection import Awaiting, UpstreamConnection
from proxy.upstream.diagnosis import examine, is_doubtful
from proxy.upstream.faults import Stale, Unprocessed
from proxy.upstream.pool import ConnectRefused, Pool
from proxy.upstream.upload import Upload
from proxy.wire.coding import encoder
from proxy.wire.fields import BODILESS, field_value, is_bodiless
from proxy.wire.negotiation import IDENTITY
from proxy.wire.proxy_protocol import endpoints_of, header
from proxy.wire.response import ResponseHead
from proxy.wire.upgrade import fault_of_switch

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})  # RFC 9110 section 9.2.2, but TRACE
RETRY_PAUSE: Final = 0.1
"""Seconds between two attempts: an upstream that is killed loses its connections a moment before its listener."""

# A module's constant is found faster than an attribute of an enumeration.
QUEUE: Final = Phase.QUEUE
CONNECT: Final = Phase.CONNECT


class UpstreamLeg:
    """How far the upstream has come with a request. Durations are seconds, -1 for what did not happen."""

    __slots__ = (
        "_connecting", "_context", "_downstream", "_outgoing", "_peers", "_pool", "_repeatable", "_repeated",
        "_request", "_unsent", "_upload", "connect", "connected", "deadline", "first_byte", "hurried", "lease", "peer",
        "queue",
    )  # fmt: skip

    def __init__(self, context: ExchangeContext, downstream: Downstream, request: Request) -> None:
        self._context: Final = context
        self._downstream: Final = downstream
        self._request = request
        self._outgoing: Request | None = None
        """The request as the upstream gets it, once that is known."""
        self._repeatable = False
        """Whether the request may be sent a second time."""
        self._repeated = False
        self._unsent = b""
        """What is left of a request that was sent in part."""
        self._upload: Upload | None = None
        """What sends the rest of the request, if it did not go out at once."""
        self._peers: Sequence[Pool] = ()
        """The peers to try, if that was decided already."""
        self._pool: Pool | None = None
        """Of the leased connection, or of the peer that was tried last."""
        self._connecting = QUEUE
        """While it has no connection: whether it connects, or waits for a peer."""
        self.lease: UpstreamConnection | None = None
        self.peer = ""
        self.hurried = False
        """Whether it does not wait for an upstream that is down."""
        self.deadline = 0.0
        """For the head of the response (monotonic seconds)."""
        self.queue = -1.0
        self.connect = -1.0
        self.connected = 0.0
        """The moment at which a new connection was there (monotonic seconds)."""
        self.first_byte = -1.0

    def renew(self, request: Request) -> None:
        """Begin with the next request; what only a greenlet changes is as it was at first."""
        self._request = request
        self._outgoing = None
        self.peer = ""
        self.deadline = 0.0
        self.first_byte = -1.0

    # Without waiting.

    def send_inline(self, route: Route, exchange: Awaiting) -> State:
        """Lease an idle connection, send the request and await the response, as far as nothing has to wait.

        The state that was reached: still LEASE, SEND if a part of the request is left, or AWAIT. A request that needs a
        connection of its own, or whose body is not in memory, is left in LEASE.
        """
        request = self._request
        fields, cluster, body = request.fields, route.cluster, request.body
        if request.upgrade or fields.binding or self._downstream.private is not None:
            return LEASE
        if body is not None and not isinstance(body, bytes):
            return LEASE
        pool = cluster.only
        if pool is None:
            if cluster.queue is not None:
                return LEASE
            self._peers = cluster.in_turn(request)
            pool = self._peers[0]
        now = monotonic()
        if route.rewrite is None and request.method in IDEMPOTENT:
            self._outgoing = outgoing = request
            self._repeatable = True
        else:
            outgoing = self._prepare(route)
            if route.peer_host:
                outgoing = self._address(pool.host)
        lease = pool.lease(now, repeatable=self._repeatable)
        if lease is None:
            return LEASE
        self.lease = lease
        self._pool = pool
        self.peer = pool.name
        try:
            unsent = lease.send_inline(outgoing.message(body))
        except OSError:
            lease.close()
            self.lease = None
            return LEASE
        self.deadline = deadline = now + route.settings.read_timeout
        if unsent:
            self._unsent = unsent
            return SEND
        lease.await_response(exchange, deadline)
        return AWAIT

    # In a greenlet.

    def acquire(self, route: Route) -> None:
        """Lease an idle connection to the peer whose turn it is, or open a new one. Raises `ExchangeError`."""
        request = self._request
        self._prepare(route)
        self.lease = lease = self._lease_or_connect(monotonic(), route)
        lease.private = lease.private or request.fields.binding
        if route.peer_host:
            assert self._pool is not None
            self._address(self._pool.host)

    def send(self, settings: Settings) -> None:
        """Send the request, or what `send_inline` left of it. Raises `Stale`, `ExchangeError` or `ClientGone`."""
        lease, outgoing = self.lease, self._outgoing
        assert lease is not None
        assert outgoing is not None
        try:
            if self._unsent:
                unsent, self._unsent = self._unsent, b""
                lease.send_rest(unsent, settings.send_timeout)
            else:
                lease.send_request(outgoing.head(), outgoing.body, outgoing.length, settings.send_timeout)
        finally:
            self._upload = lease.upload  # it is closed with the exchange, though it failed at once
        self.deadline = monotonic() + settings.read_timeout

    def read_response(self, settings: Settings) -> tuple[ResponseHead, bytes]:
        """The final response's head and the bytes behind it; 1xx ones are passed on (RFC 9110 section 15.2)."""
        lease, request = self.lease, self._request
        assert lease is not None
        response, rest = lease.final_head(
            self.deadline,
            settings.read_timeout,
            settings.max_response_head,
            lenient=settings.lenient_responses,
            inform=self._inform if request.minor else None,
        )
        self.first_byte = lease.first_byte - request.started
        if response.fault and response.status != 101 and not is_bodiless(request.method, response.status):
            raise ExchangeError(errors.BAD_RESPONSE, response.fault)
        return response, rest

    def intake(self, response: ResponseHead, limits: RelayLimits, coding: bytes, copy: Copy | None) -> Intake:
        """The body behind this head, in this content coding; its connection is released when the last byte has come."""
        lease = self.lease
        assert lease is not None
        recoding = None
        if not response.chunked and response.content_length is None:
            lease.reusable = False  # the connection's end will be the body's
        if coding != IDENTITY:
            flushes = response.unbuffered or response.event_stream or response.content_length is None
            recoding = Recoding(encoder(coding), flushes=flushes)
        return Intake(
            lease,
            body_decoder(response),
            limits.read_timeout,
            buffer=self._context.buffer,
            nominated=response.nominated,
            recoding=recoding,
            upload=self._upload,
            taken=lambda clean: self.release(response, clean=clean),
            copy=copy,
        )

    def check_upgrade(self, response: ResponseHead) -> None:
        """Raises `ExchangeError` for a 101 that is no answer to the request (RFC 9110 section 7.8)."""
        whole = self._upload is None or self._upload.whole
        fault = fault_of_switch(self._request.upgrade, self._request.fields, response, whole=whole)
        if fault:
            raise ExchangeError(errors.BAD_UPGRADE, fault)
        assert self._pool is not None
        self._pool.responded()

    # The end.

    def release(self, response: ResponseHead, *, clean: bool, doubtful: bool = False) -> None:
        """Return the connection, or close it if it cannot be used again.

        `clean`: nothing followed the response; `doubtful`: something may still come.
        """
        lease, pool = self.lease, self._pool
        if lease is None:
            return
        assert pool is not None
        self.lease = None
        upload = lease.upload
        if clean and not response.close and lease.reusable and (upload is None or upload.whole):
            if response.binding:
                lease.private = True
            pool.give_back(lease, monotonic(), doubtful=doubtful)
            if lease.private:
                self._downstream.keep_private(lease)
            return
        if not clean:
            pool.overran(monotonic())
        if is_doubtful(response):
            examine(pool)
        pool.responded()
        lease.close()

    def release_bodiless(self, response: ResponseHead, rest: bytes) -> None:
        """As `release`, where the response has no body; `rest` is what came behind its head all the same."""
        if rest and self.lease is not None:
            assert self._pool is not None
            self.lease.reusable = False
            self._pool.conduct.sends_bodies = True
        self.release(response, clean=True, doubtful=response.chunked or bool(response.content_length))

    def discard(self, response: ResponseHead, rest: bytes) -> None:
        """As `release`, without the body: the connection can be used again only if there surely is none."""
        empty = response.status in BODILESS or (response.content_length == 0 and not response.chunked)
        if self.lease is not None and (rest or not empty):
            self.lease.reusable = False
        self.release(response, clean=True)

    def may_repeat(self, stale: Stale, route: Route | None) -> bool:
        """The upstream closed without a byte: whether the request may be sent once more, after `RETRY_PAUSE`."""
        assert self._pool is not None
        if self.lease is not None:
            self.lease.close()
            self.lease = None
        if self._upload is not None:
            self._upload.close()
        if self._repeated or not (self._repeatable or (isinstance(stale, Unprocessed) and rewound(self._request.body))):
            self._pool.failed(str(stale) or errors.UPSTREAM_CLOSED.message)
            examine(self._pool)
            return False
        self._repeated = True
        assert route is not None
        route.counted[self._pool.name].retry()
        return True

    def failed(self, fault: str) -> None:
        """The exchange could not be had from the peer."""
        if self.lease is not None and self._pool is not None:
            self._pool.failed(fault)

    def close(self) -> None:
        """The exchange has ended: close a connection that was not released."""
        if self.lease is not None:
            self.lease.close()
            self.lease = None
        if self._upload is not None:
            self._upload.close()

    def phase(self, phase: Phase) -> Phase:
        """The phase of a failure: this one, or a more exact one that only the upstream leg knows."""
        if phase is QUEUE:
            return self._connecting
        if phase is Phase.RESPONSE and self._upload is not None and self._upload.under_way:
            return Phase.REQUEST
        return phase

    # Leasing.

    def _prepare(self, route: Route) -> Request:
        """Make what the upstream is sent, once, and decide whether it may be sent twice (RFC 9110 section 9.2.2)."""
        if self._outgoing is not None:
            return self._outgoing
        request = self._request
        self._outgoing = request if route.rewrite is None else route.rewrite.outgoing(request)
        keyed = route.settings.repeat_keyed and field_value(request.fields.lines, b"idempotency-key") is not None
        idempotent = keyed or request.method in IDEMPOTENT
        # The look at None comes first: asking an abstract class for its instances is slow.
        self._repeatable = idempotent and (request.body is None or not isinstance(request.body, StreamedBody))
        return self._outgoing

    def _address(self, host: bytes) -> Request:
        """Name the peer itself in what it is sent."""
        assert self._outgoing is not None
        self._outgoing = outgoing = self._outgoing.addressed(host)
        return outgoing

    def _inform(self, response: ResponseHead) -> None:
        """Pass on an informational response, but for the 100 that the gateway has sent itself."""
        if response.status != 100 or not self._request.fields.expect:
            self._downstream.inform(response)

    def _lease_or_connect(self, now: float, route: Route) -> UpstreamConnection:
        pools = self._peers or route.cluster.in_turn(self._request)
        self._peers = ()
        if not (self._repeated or self._request.upgrade):
            lease = self._resume_private(now, pools)
            if lease is None:
                self._pool = pools[0]
                lease = self._pool.lease(now, repeatable=self._repeatable)
            if lease is not None:
                self.peer = lease.pool.name
                return lease
        return self._connect_to_one(pools, route)

    def _resume_private(self, now: float, pools: Sequence[Pool]) -> UpstreamConnection | None:
        """The client's own connection to one of these peers, if it has one that is still usable."""
        private = self._downstream.take_private()
        if private is None:
            return None
        for pool in pools:
            if pool is private.pool:
                self._pool = pool
                return pool.resume(private, now, repeatable=self._repeatable)
        private.pool.discard(private)
        return None

    def _connect_to_one(self, pools: Sequence[Pool], route: Route) -> UpstreamConnection:
        """A new connection to the first peer that accepts; while none does, wait for one that restarts or is added.

        Peers of which none was ever up do not restart: their address is wrong, or the application was not started.
        """
        settings = route.settings
        started = begun = monotonic()
        version = settings.proxy_protocol_out
        names = self._downstream.names() if version != "off" else None
        preamble = b"" if names is None else header(version, endpoints_of(self._request.client, *names))
        counted = False
        while True:
            for pool in pools:
                self._pool = pool
                self.peer = pool.name
                self._connecting = CONNECT
                try:
                    lease = pool.connect(settings.connect_timeout, preamble)
                except ConnectRefused as refused:
                    detail = str(refused)
                except ExchangeError as error:
                    # Nothing was sent: another peer may have a certificate that is in order.
                    if error.failure is not errors.UPSTREAM_TLS or pool is pools[-1]:
                        raise
                    detail = str(error)
                else:
                    self.connected = monotonic()
                    self.connect = self.connected - begun
                    self.queue = begun - started
                    return lease
            self._connecting = QUEUE
            if not counted and not any(pool.was_up() for pool in pools):
                raise ExchangeError(errors.CONNECT_REFUSED, f"{detail}; it has not accepted any connection yet")
            if self.hurried or monotonic() - started + RETRY_PAUSE > settings.retry_wait:
                raise ExchangeError(errors.UNAVAILABLE if settings.retry_wait else errors.CONNECT_REFUSED, detail)
            if not counted:
                counted = True
                self._context.counters.retry_waited()
            with self._context.retry_waiting:
                gevent.sleep(RETRY_PAUSE)
            pools = route.cluster.newest.in_turn(self._request)
            begun = monotonic()
