"""One request and its response, from top to bottom: lease, send, await the head, relay, finish.

The order of things that can go wrong decides what may be repeated. Until a connection stands nothing was sent, so any
request may wait for its upstream and try again. A request that was sent and got no byte back before the connection
closed may have met an upstream that was stopping, or a reused connection that was closing: it is repeated once, on a
fresh connection, if its method is idempotent (RFC 9110 section 9.2.2). After the first byte of an answer, or after a
deadline, nothing is repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, time
from typing import Protocol

import gevent

from proxy import errors
from proxy.errors import Blame, ClientGone, ExchangeError, Phase
from proxy.net.splice import Pipes
from proxy.net.stream import Deadlines, Hub, Stream
from proxy.observe.accesslog import AccessLog
from proxy.observe.metrics import Counters
from proxy.relay import RelayLimits, SizedRelay, relay_chunked, relay_until_close
from proxy.settings import Settings
from proxy.tunnel import Tunnel
from proxy.upstream.cluster import Cluster
from proxy.upstream.connection import Stale, UpstreamConnection
from proxy.upstream.pool import ConnectRefused, Pool
from proxy.upstream.request import Request, StreamedBody
from proxy.wire.fields import BODILESS, RequestIds, websocket_accept
from proxy.wire.request import HeadLimits
from proxy.wire.response import ResponseHead

# A module's constant is found faster than an attribute of an enumeration.
QUEUE, CONNECT, REQUEST, RESPONSE, DATA, TUNNEL = (
    Phase.QUEUE,
    Phase.CONNECT,
    Phase.REQUEST,
    Phase.RESPONSE,
    Phase.DATA,
    Phase.TUNNEL,
)

_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})  # RFC 9110 section 9.2.2; TRACE is refused
_MOST_INFORMATIONAL = 16
_HOLD_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything one configuration says, ready for use; a reload builds a new one and swaps the reference."""

    settings: Settings
    head_limits: HeadLimits
    relay_limits: RelayLimits
    cluster: Cluster


class Tally:
    """How many are inside the `with` block at this moment."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_exception: object) -> None:
        self.count -= 1


@dataclass(frozen=True, slots=True)
class Resources:
    """What all exchanges of a process share, whatever the configuration."""

    hub: Hub
    deadlines: Deadlines
    pipes: Pipes
    buffer: memoryview
    counters: Counters
    access_log: AccessLog
    request_ids: RequestIds
    tunnels: set[Tunnel]
    held: Tally
    """Requests that wait for an upstream."""


class Downstream(Protocol):
    """The client's side of an exchange, whatever its protocol."""

    client: str
    sent: int
    begun: bool

    @property
    def plain(self) -> Stream:
        """The connection itself, to write a body of known length to as it is."""

    def inform(self, response: ResponseHead) -> None:
        """Pass on a 1xx answer."""

    def begin(self, response: ResponseHead, length: int | None, body: bytes, *, stream: bool) -> bytes:
        """Send the head, and `body` with it; returns what of the body the client did not take at once.

        `length` is the Content-Length to announce; `stream` announces a body of unknown length instead.
        """

    def write(self, data: bytes) -> None: ...

    def end(self, trailers: list[bytes]) -> None: ...

    def answer(self, error: ExchangeError) -> None:
        """Send an answer of the gateway's own."""

    def abort(self) -> None:
        """The answer cannot be completed: end the connection so that the client notices."""

    def switch(self, response: ResponseHead) -> bytes:
        """Send a 101 and leave the protocol; returns what the client already sent behind its request."""


class Exchange:
    """One request on its way through the gateway."""

    __slots__ = (
        "_connect",
        "_downstream",
        "_first_byte",
        "_lease",
        "_peer",
        "_phase",
        "_queue",
        "_reason",
        "_request",
        "_resources",
        "_status",
        "_tables",
        "_termination",
        "_tunnel",
    )

    def __init__(self, tables: Tables, resources: Resources, downstream: Downstream, request: Request) -> None:
        self._tables = tables
        self._resources = resources
        self._downstream = downstream
        self._request = request
        self._lease: UpstreamConnection | None = None
        self._tunnel: Tunnel | None = None
        self._peer = ""
        self._phase = QUEUE
        self._status = 0
        self._termination = "--"
        self._reason = ""
        self._queue = self._connect = self._first_byte = -1.0

    def run(self) -> None:
        """Answer the request, one way or the other. Raises nothing."""
        try:
            response, rest = self._obtain()
            self._status = response.status
            if response.status == 101:
                self._upgrade(response, rest)
            else:
                self._phase = DATA
                self._relay(response, rest)
        except ExchangeError as error:
            self._failed(error)
        except ClientGone:
            self._failed(ExchangeError(errors.CLIENT_CLOSED))
        if self._tunnel is None:
            if self._lease is not None:
                self._lease.close()
            self._record()

    # Obtaining a response.

    def _obtain(self) -> tuple[ResponseHead, bytes]:
        """Send the request and return the final response's head and the bytes behind it."""
        request = self._request
        settings = self._tables.settings
        body = request.body
        # The look at None comes first: asking an abstract class for its instances is slow.
        repeatable = request.method in _IDEMPOTENT and (body is None or not isinstance(body, StreamedBody))
        fresh = request.fields.websocket
        repeated = False
        while True:
            now = monotonic()
            lease = self._lease = self._acquire(now, fresh=fresh, repeatable=repeatable)
            try:
                self._phase = REQUEST
                lease.send_request(request, settings.send_timeout, settings.max_response_head)
                self._phase = RESPONSE
                return self._await_response(lease)
            except Stale as stale:
                self._lease = None
                lease.close()
                if repeated or not repeatable:
                    lease.pool.counters.failure()
                    raise ExchangeError(errors.UPSTREAM_CLOSED, str(stale)) from None
                fresh = repeated = True
                self._resources.counters.retry()
                # An upstream that is killed loses its connections a moment before its listener: let it finish dying.
                self._phase = QUEUE
                gevent.sleep(_HOLD_PAUSE)

    def _await_response(self, lease: UpstreamConnection) -> tuple[ResponseHead, bytes]:
        """The final response's head and the bytes behind it; 1xx ones are passed on (RFC 9110 section 15.2)."""
        settings = self._tables.settings
        deadline = monotonic() + settings.read_timeout
        response, rest = lease.first_head(deadline, settings.max_response_head)
        self._first_byte = lease.first_byte - self._request.started
        informational = 0
        while response.status < 200 and response.status != 101:
            informational += 1
            if informational > _MOST_INFORMATIONAL:
                raise ExchangeError(errors.BAD_RESPONSE, f"over {_MOST_INFORMATIONAL} informational answers")
            if self._request.minor:
                self._downstream.inform(response)
            response, rest = lease.read_head(rest, monotonic() + settings.read_timeout, settings.max_response_head)
        return response, rest

    def _acquire(self, now: float, *, fresh: bool, repeatable: bool) -> UpstreamConnection:
        """An idle connection to the peer whose turn it is, or a new one."""
        pools = self._tables.cluster.in_turn()
        if not fresh:
            pool = pools[0]
            lease = pool.lease(now, repeatable=repeatable)
            if lease is not None:
                self._peer = pool.name
                return lease
        return self._connect_to_one(pools)

    def _connect_to_one(self, pools: Sequence[Pool]) -> UpstreamConnection:
        """A new connection to the first peer that accepts; while none does, wait for one that restarts."""
        settings = self._tables.settings
        started = begun = monotonic()
        held = False
        while True:
            for pool in pools:
                self._peer = pool.name
                self._phase = CONNECT
                try:
                    lease = pool.connect(settings.connect_timeout)
                except ConnectRefused as refused:
                    detail = str(refused)
                else:
                    now = monotonic()
                    self._connect = now - begun
                    self._queue = begun - started
                    return lease
            self._phase = QUEUE
            if monotonic() - started + _HOLD_PAUSE > settings.hold:
                raise ExchangeError(errors.UNAVAILABLE if settings.hold else errors.CONNECT_REFUSED, detail)
            if not held:
                held = True
                self._resources.counters.hold()
            with self._resources.held:
                gevent.sleep(_HOLD_PAUSE)
            begun = monotonic()

    # Relaying it.

    def _relay(self, response: ResponseHead, rest: bytes) -> None:
        downstream = self._downstream
        status = response.status
        length = response.content_length
        if status in BODILESS or self._request.method == b"HEAD":
            self._relay_bodiless(response, rest)
        elif length is not None:
            self._relay_sized(response, rest, length, downstream.plain)
        else:
            downstream.begin(response, None, b"", stream=True)
            assert self._lease is not None
            limits = self._tables.relay_limits
            if response.chunked:
                behind = relay_chunked(self._lease, rest, downstream, limits)
                self._release(response, clean=not behind)
            else:
                relay_until_close(self._lease, rest, downstream, limits)
                self._release(response, clean=False)

    def _relay_bodiless(self, response: ResponseHead, rest: bytes) -> None:
        """A response that has no body, whatever its fields announce (RFC 9112 section 6.3)."""
        status = response.status
        announced = response.chunked or bool(response.content_length)
        # What a 205 or 204 announces may follow all the same: such a connection is not used again.
        self._release(response, clean=not rest and (status == 304 or self._request.method == b"HEAD" or not announced))
        length = None
        if status == 205:
            length = 0
        elif status != 204:
            length = response.content_length
        self._downstream.begin(response, length, b"", stream=False)

    def _relay_sized(self, response: ResponseHead, rest: bytes, length: int, target: Stream) -> None:
        have = len(rest)
        if have >= length:
            # Returned before the client is served: another request may be waiting for it.
            self._release(response, clean=have == length)
            source: Stream = target
            pending = self._downstream.begin(response, length, rest[:length], stream=False)
            if not pending:
                return
        else:
            assert self._lease is not None
            source = self._lease
            pending = self._downstream.begin(response, length, rest, stream=False)
        resources = self._resources
        relay = SizedRelay(
            source,
            target,
            max(0, length - have),
            resources.pipes,
            resources.buffer,
            self._tables.relay_limits,
            lambda: self._release(response, clean=True),
            spools=not (response.unbuffered or response.event_stream),
        )
        try:
            relay.run(pending)
        finally:
            self._downstream.sent += relay.sent

    def _release(self, response: ResponseHead, *, clean: bool) -> None:
        """Return the connection, or close it if anything about it is in doubt."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        if clean and not lease.spoiled and not response.close:
            lease.pool.give_back(lease, monotonic())
        else:
            lease.close()

    # The upgrade (RFC 6455 section 4).

    def _upgrade(self, response: ResponseHead, rest: bytes) -> None:
        fields = self._request.fields
        if not fields.websocket or fields.websocket_key is None:
            raise ExchangeError(errors.BAD_UPGRADE, "a 101 that was not asked for")
        if response.upgrade != b"websocket" or response.websocket_accept != websocket_accept(fields.websocket_key):
            raise ExchangeError(errors.BAD_UPGRADE, "Upgrade or Sec-WebSocket-Accept differs")
        client = self._downstream.plain
        assert self._lease is not None
        early = self._downstream.switch(response)
        self._phase = TUNNEL
        resources = self._resources
        settings = self._tables.settings
        tunnel = self._tunnel = Tunnel(
            resources.hub,
            resources.deadlines,
            resources.pipes,
            resources.buffer,
            client,
            self._lease,
            idle_timeout=settings.websocket_timeout,
            half_close_timeout=settings.half_close_timeout,
            ended=self._tunnel_ended,
        )
        resources.tunnels.add(tunnel)
        resources.counters.tunnel()
        tunnel.start(early, rest)

    def _tunnel_ended(self, blame: Blame, to_client: int, to_upstream: int) -> None:
        assert self._tunnel is not None
        self._resources.tunnels.discard(self._tunnel)
        self._resources.counters.tunnel_bytes(to_upstream, to_client)
        self._downstream.sent += to_client
        self._request.received += to_upstream
        self._termination = blame + (TUNNEL if blame is not Blame.NOBODY else Phase.DONE)
        self._record()

    # The end.

    def _failed(self, error: ExchangeError) -> None:
        """Tell the client what can still be told, and note who ended it in which phase."""
        failure = error.failure
        self._termination = failure.blame + self._phase
        self._reason = failure.reason
        if self._lease is not None and self._phase is RESPONSE:
            self._lease.pool.counters.failure()
        downstream = self._downstream
        if downstream.begun or failure.status == 499:
            self._status = self._status or failure.status
            downstream.abort()
        else:
            self._status = failure.status
            downstream.answer(error)

    def _record(self) -> None:
        request = self._request
        downstream = self._downstream
        resources = self._resources
        total = monotonic() - request.started
        resources.counters.request(request.method, self._status, total, request.received, downstream.sent)
        if resources.access_log.enabled:
            fields = request.fields
            resources.access_log.record(
                # A plain tuple in the order of `Entry`: making a named one takes four times as long.
                (
                    time() - total,
                    downstream.client,
                    request.method,
                    request.target,
                    request.minor,
                    self._status,
                    downstream.sent,
                    request.received,
                    fields.referer,
                    fields.user_agent,
                    request.id,
                    self._peer,
                    self._queue,
                    self._connect,
                    self._first_byte,
                    total,
                    self._termination,
                    self._reason,
                )
            )
