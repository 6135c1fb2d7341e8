"""One request and its response, from top to bottom: gate, body, lease, send, await the head, relay, finish.

The order of things that can go wrong decides what may be repeated. Until a connection stands nothing was sent, so any
request may wait for its upstream and try again. A request that was sent and got no byte back before the connection
closed may have met an upstream that was stopping, or a reused connection that was closing: it is repeated once, on a
fresh connection, if its method is idempotent (RFC 9110 section 9.2.2). After the first byte of an answer, or after a
deadline, nothing is repeated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic, time
from typing import NamedTuple, Protocol

import gevent

from proxy import errors
from proxy.errors import Blame, ClientGone, ExchangeError, Phase
from proxy.gate.answer import Answer, File
from proxy.gate.compression import Collected, EncodingSink
from proxy.limits import WorkerLimits
from proxy.net.splice import Pipes
from proxy.net.spool import Spool
from proxy.net.stream import Deadlines, Hub, Outlet, Stream
from proxy.observe.accesslog import AccessLog
from proxy.observe.metrics import Counters
from proxy.relay import (
    RelayLimits,
    Sink,
    SizedRelay,
    relay_chunked,
    relay_counted,
    relay_until_close,
    send_file_part,
    send_rest,
)
from proxy.route import Route
from proxy.settings import Settings
from proxy.upstream.connection import Stale, UpstreamConnection
from proxy.upstream.pool import ConnectRefused, Pool
from proxy.upstream.request import Request, StreamedBody
from proxy.wire.answer import own_answer
from proxy.wire.fields import BODILESS, RequestIds, websocket_accept
from proxy.wire.negotiation import IDENTITY
from proxy.wire.proxy_protocol import endpoints_of, header
from proxy.wire.response import ResponseHead

# A module's constant is found faster than an attribute of an enumeration.
HEAD, BODY, QUEUE, CONNECT, REQUEST, RESPONSE, DATA, TUNNEL = (
    Phase.HEAD,
    Phase.BODY,
    Phase.QUEUE,
    Phase.CONNECT,
    Phase.REQUEST,
    Phase.RESPONSE,
    Phase.DATA,
    Phase.TUNNEL,
)

_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})  # RFC 9110 section 9.2.2; TRACE is refused
_BEFORE_UPSTREAM = (HEAD, BODY)
_UPSTREAM = (Blame.UPSTREAM, Blame.UPSTREAM_SLOW)
_MOST_INFORMATIONAL = 16
_HOLD_PAUSE = 0.1
_REFUSAL_TIMEOUT = 10.0
"""Seconds that a client may take to read why its request was not understood."""


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
    tunnels: dict["OpenTunnel", "TunnelOrigin"]
    held: Tally
    """Requests that wait for an upstream."""
    limits: WorkerLimits


class OpenTunnel(Protocol):
    """An upgraded connection, whatever the client's protocol."""

    closed: bool

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes to the client and to the upstream so far."""

    def shut(self, code: int, patience: float) -> None:
        """Send close frames as soon as each direction is between two frames; end after `patience` seconds."""


class TunnelOrigin(NamedTuple):
    """The request that an open tunnel began with."""

    client: str
    target: bytes
    upstream: str
    since: float  # unix time


TunnelEnded = Callable[[OpenTunnel, Blame, int, int], None]
"""Called once: the tunnel, who ended it, bytes to the client, bytes to the upstream."""


class Downstream(Protocol):
    """The client's side of an exchange, whatever its protocol."""

    sent: int
    begun: bool

    @property
    def outlet(self) -> Outlet:
        """Where a body of known length is written to as it is."""

    def names(self) -> tuple[object, object]:
        """The socket names of the client's end of its connection and of ours. Raises `ClientGone`."""

    def read_body(self, request: Request, settings: Settings) -> None:
        """Set `request.body` and its length: read to the end, or a stream where buffering is off.

        Raises `ExchangeError` or `ClientGone`.
        """

    def inform(self, response: ResponseHead) -> None:
        """Pass on a 1xx answer."""

    def begin(self, response: ResponseHead, length: int | None, body: bytes, *, stream: bool) -> bytes:
        """Send the head, and `body` with it; returns what of the body the client did not take at once.

        `length` is the Content-Length to announce; `stream` announces a body of unknown length instead.
        """

    def write(self, data: bytes) -> None: ...

    def end(self, trailers: list[bytes]) -> None: ...

    def abort(self) -> None:
        """The answer cannot be completed: end the connection so that the client notices."""

    def tunnel(
        self, response: ResponseHead, upstream: Stream, early: bytes, settings: Settings, ended: TunnelEnded
    ) -> OpenTunnel:
        """Accept the upgrade and relay both ways from now on; `early` is what the upstream sent behind its head."""


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
        "_route",
        "_status",
        "_termination",
        "_tunnelled",
    )

    def __init__(self, route: Route | None, resources: Resources, downstream: Downstream, request: Request) -> None:
        self._route = route
        self._resources = resources
        self._downstream = downstream
        self._request = request
        self._lease: UpstreamConnection | None = None
        self._tunnelled = False
        self._peer = ""
        self._phase = HEAD
        self._status = 0
        self._termination = "--"
        self._reason = ""
        self._queue = self._connect = self._first_byte = -1.0

    def run(self) -> None:
        """Answer the request, one way or the other. Raises nothing."""
        request = self._request
        route = self._route
        try:
            if route is None:
                raise ExchangeError(errors.NO_ROUTE)
            answer = route.gate.check(request) if route.gate is not None else None
            if answer is not None:
                self._phase = DATA
                self._answer_here(answer, route)
            else:
                if request.fields.chunked or request.fields.content_length is not None:
                    self._phase = BODY
                    self._downstream.read_body(request, route.settings)
                self._pass_on(route)
        except ExchangeError as error:
            self._failed(error)
        except ClientGone:
            self._failed(ExchangeError(errors.CLIENT_CLOSED))
        if not self._tunnelled:
            if self._lease is not None:
                self._lease.close()
            if request.body is not None and isinstance(request.body, Spool):
                request.body.close()
            self._record()

    def refuse(self, error: ExchangeError, phase: Phase = HEAD) -> None:
        """End an exchange whose request could not be read. Raises nothing."""
        self._phase = phase
        self._failed(error)
        self._record()

    def _answer_here(self, answer: Answer, route: Route) -> None:
        """Send an answer that needs no upstream."""
        self._status = answer.status
        downstream = self._downstream
        response = ResponseHead(1, answer.status, b"").with_lines([*answer.fields], sized=False)
        if route.edits is not None:
            response = route.edits.own(self._request, response)
        body = answer.body
        length = None if answer.status in (204, 304) else answer.length
        timeout = route.settings.write_timeout
        if not isinstance(body, File):
            self._send_whole(response, length, body, timeout)
            return
        try:
            self._send_whole(response, length, b"", timeout)
            if self._request.method != b"HEAD":
                downstream.sent += send_file_part(downstream.outlet, body.descriptor, body.offset, body.length, timeout)
        finally:
            body.close()

    def _send_whole(self, response: ResponseHead, length: int | None, body: bytes, timeout: float) -> None:
        """Send a head and a body that is at hand."""
        downstream = self._downstream
        rest = downstream.begin(response, length, body, stream=False)
        if rest:
            send_rest(downstream.outlet, rest, timeout)
            downstream.sent += len(rest)

    def _pass_on(self, route: Route) -> None:
        """Let the upstream answer."""
        self._phase = QUEUE
        response, rest = self._obtain(route)
        self._status = response.status
        if route.cluster.sticky:
            line = route.cluster.sticky_line(self._request, self._peer)
            response = response.with_line(line) if line else response
        if response.status == 101:
            self._upgrade(response, rest, route.settings)
        else:
            self._phase = DATA
            self._relay(response, rest, route)

    # Obtaining a response.

    def _obtain(self, route: Route) -> tuple[ResponseHead, bytes]:
        """Send the request and return the final response's head and the bytes behind it."""
        request = self._request
        if route.edits is not None:
            request = route.edits.outgoing(request)
        settings = route.settings
        body = request.body
        # The look at None comes first: asking an abstract class for its instances is slow.
        repeatable = request.method in _IDEMPOTENT and (body is None or not isinstance(body, StreamedBody))
        fresh = request.fields.websocket
        repeated = False
        while True:
            now = monotonic()
            lease = self._lease = self._acquire(now, route, fresh=fresh, repeatable=repeatable)
            try:
                self._phase = REQUEST
                lease.send_request(request, settings.send_timeout, settings.max_response_head)
                self._phase = RESPONSE
                return self._await_response(lease, settings)
            except Stale as stale:
                self._lease = None
                lease.close()
                if repeated or not repeatable:
                    lease.pool.failed()
                    raise ExchangeError(errors.UPSTREAM_CLOSED, str(stale)) from None
                fresh = repeated = True
                self._resources.counters.retry()
                # An upstream that is killed loses its connections a moment before its listener: let it finish dying.
                self._phase = QUEUE
                gevent.sleep(_HOLD_PAUSE)

    def _await_response(self, lease: UpstreamConnection, settings: Settings) -> tuple[ResponseHead, bytes]:
        """The final response's head and the bytes behind it; 1xx ones are passed on (RFC 9110 section 15.2)."""
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

    def _acquire(self, now: float, route: Route, *, fresh: bool, repeatable: bool) -> UpstreamConnection:
        """An idle connection to the peer whose turn it is, or a new one."""
        pools = route.cluster.in_turn(self._request)
        if not fresh:
            pool = pools[0]
            lease = pool.lease(now, repeatable=repeatable)
            if lease is not None:
                self._peer = pool.name
                return lease
        return self._connect_to_one(pools, route.settings)

    def _connect_to_one(self, pools: Sequence[Pool], settings: Settings) -> UpstreamConnection:
        """A new connection to the first peer that accepts; while none does, wait for one that restarts."""
        started = begun = monotonic()
        held = False
        preamble = b""
        if settings.proxy_protocol_out != "off":
            endpoints = endpoints_of(self._request.client, *self._downstream.names())
            preamble = header(settings.proxy_protocol_out, endpoints)
        while True:
            for pool in pools:
                self._peer = pool.name
                self._phase = CONNECT
                try:
                    lease = pool.connect(settings.connect_timeout)
                except ConnectRefused as refused:
                    detail = str(refused)
                else:
                    lease.preamble = preamble
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

    def _relay(self, response: ResponseHead, rest: bytes, route: Route) -> None:
        """Send the answer on: `head` is what the client gets of it, `response` what frames its body."""
        edits = route.edits
        head, coding = edits.incoming(self._request, response) if edits is not None else (response, IDENTITY)
        status = response.status
        length = response.content_length
        if status in BODILESS or self._request.method == b"HEAD":
            self._relay_bodiless(response, head, rest)
        elif coding != IDENTITY:
            self._relay_encoded(response, head, rest, coding, route.relay_limits)
        elif length is not None:
            self._relay_sized(response, head, rest, length, route)
        else:
            self._downstream.begin(head, None, b"", stream=True)
            self._relay_through(response, rest, self._downstream, route.relay_limits)

    def _relay_through(self, response: ResponseHead, rest: bytes, sink: Sink, limits: RelayLimits) -> None:
        """Pass the body through a sink as it comes."""
        assert self._lease is not None
        if response.chunked:
            behind = relay_chunked(self._lease, rest, sink, limits)
        elif response.content_length is not None:
            behind = relay_counted(self._lease, rest, response.content_length, sink, limits)
        else:
            relay_until_close(self._lease, rest, sink, limits)
            behind = b"closed"
        self._release(response, clean=not behind)

    def _relay_encoded(
        self, response: ResponseHead, head: ResponseHead, rest: bytes, coding: bytes, limits: RelayLimits
    ) -> None:
        """Compress the body: a short one in one go, so that its length can be told, else as it comes."""
        length = response.content_length
        if length is not None and length <= limits.spool_memory:
            collected = Collected()
            self._relay_through(response, rest, collected, limits)
            body = collected.encoded(coding)
            self._send_whole(head, len(body), body, limits.write_timeout)
        else:
            self._downstream.begin(head, None, b"", stream=True)
            sink = EncodingSink(self._downstream, coding, flushes=length is None)
            self._relay_through(response, rest, sink, limits)

    def _relay_bodiless(self, response: ResponseHead, head: ResponseHead, rest: bytes) -> None:
        """A response that has no body, whatever its fields announce (RFC 9112 section 6.3)."""
        status = response.status
        announced = response.chunked or bool(response.content_length)
        # What a 205 or 204 announces may follow all the same: such a connection is not used again.
        self._release(response, clean=not rest and (status == 304 or self._request.method == b"HEAD" or not announced))
        length = None
        if status == 205:
            length = 0
        elif status != 204:
            length = head.content_length
        self._downstream.begin(head, length, b"", stream=False)

    def _relay_sized(self, response: ResponseHead, head: ResponseHead, rest: bytes, length: int, route: Route) -> None:
        have = len(rest)
        downstream = self._downstream
        limits = route.relay_limits
        if have >= length:
            # Returned before the client is served: another request may be waiting for it.
            self._release(response, clean=have == length)
            self._send_whole(head, length, rest[:length], limits.write_timeout)
            return
        assert self._lease is not None
        pending = downstream.begin(head, length, rest, stream=False)
        resources = self._resources
        relay = SizedRelay(
            self._lease,
            downstream.outlet,
            length - have,
            resources.pipes,
            resources.buffer,
            limits,
            lambda: self._release(response, clean=True),
            spools=not (response.unbuffered or response.event_stream),
        )
        try:
            relay.run(pending)
        finally:
            downstream.sent += relay.sent

    def _release(self, response: ResponseHead, *, clean: bool) -> None:
        """Return the connection, or close it if anything about it is in doubt."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        if clean and not lease.spoiled and not response.close:
            lease.pool.give_back(lease, monotonic())
        else:
            lease.pool.answered()
            lease.close()

    # The upgrade (RFC 6455 section 4).

    def _upgrade(self, response: ResponseHead, rest: bytes, settings: Settings) -> None:
        fields = self._request.fields
        if not fields.websocket or fields.websocket_key is None:
            raise ExchangeError(errors.BAD_UPGRADE, "a 101 that was not asked for")
        if response.upgrade != b"websocket" or response.websocket_accept != websocket_accept(fields.websocket_key):
            raise ExchangeError(errors.BAD_UPGRADE, "Upgrade or Sec-WebSocket-Accept differs")
        assert self._lease is not None
        self._lease.pool.answered()
        resources = self._resources
        self._phase = TUNNEL
        tunnel = self._downstream.tunnel(response, self._lease, rest, settings, self._tunnel_ended)
        self._tunnelled = True
        resources.counters.tunnel()
        if not tunnel.closed:
            resources.tunnels[tunnel] = TunnelOrigin(self._request.client, self._request.target, self._peer, time())

    def _tunnel_ended(self, tunnel: OpenTunnel, blame: Blame, to_client: int, to_upstream: int) -> None:
        self._resources.tunnels.pop(tunnel, None)
        self._resources.counters.tunnel_bytes(to_upstream, to_client)
        self._downstream.sent += to_client
        self._request.received += to_upstream
        self._termination = blame + (TUNNEL if blame is not Blame.NOBODY else Phase.DONE)
        self._record()

    # The end.

    def _failed(self, error: ExchangeError) -> None:
        """Tell the client what can still be told, and note who ended it in which phase."""
        failure = error.failure
        self._termination = (failure.blame or Blame.CLIENT) + self._phase
        self._reason = failure.reason
        counters = self._resources.counters
        if self._phase in _BEFORE_UPSTREAM and failure.status != 499:
            counters.rejected(failure.reason)
        else:
            counters.failed(failure.reason)
        if self._lease is not None and self._phase is RESPONSE and failure.blame in _UPSTREAM:
            self._lease.pool.failed()
        downstream = self._downstream
        if downstream.begun or failure.status == 499:
            self._status = self._status or failure.status
            downstream.abort()
        else:
            self._status = failure.status
            self._tell(error)

    def _tell(self, error: ExchangeError) -> None:
        """Send an answer of the gateway's own, in the route's style if there is one."""
        request = self._request
        route = self._route
        if route is not None and route.edits is not None:
            head, body = route.edits.refusal(request, error)
        else:
            head, body = own_answer(error, request.id, request.fields.accept)
        timeout = route.settings.write_timeout if route is not None else _REFUSAL_TIMEOUT
        try:
            self._send_whole(head, len(body), body, timeout)
        except (ClientGone, ExchangeError):
            self._downstream.abort()

    def _record(self) -> None:
        request = self._request
        downstream = self._downstream
        resources = self._resources
        total = monotonic() - request.started
        if request.release is not None:
            request.release()
        resources.counters.request(request.method, self._status, total, request.received, downstream.sent)
        if resources.access_log.enabled:
            fields = request.fields
            resources.access_log.record(
                # A plain tuple in the order of `Entry`: making a named one takes four times as long.
                (
                    time() - total,
                    request.client,
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
                    b"" if request.trace is None else request.trace.trace_id,
                )
            )
