"""One request and its response: one machine, read from top to bottom, with two drivers.

    ADMIT ──► BODY ──► LEASE ──► SEND ──► AWAIT ──► RELAY ──► DONE
      │                  ▲         │        ││        ├──► DELIVER ──► DONE   the client has not taken all of it yet
      │                  └─ Stale ─┴────────┘└─ 101 ──► TUNNEL ──► DONE
      └──► LOCAL ──► DELIVER or DONE                    a response that needs no upstream
    a failure in any state: REFUSE, if the client has nothing yet, then DELIVER or DONE; else DONE

Each step does what it can without waiting and goes on with the next one. A step that would have to wait says so:

    Wait.RESPONSE   the upstream has the request, and calls `drive_inline` when it answers, closes or is late
    Wait.STACK      anything else: connecting, a slow side, a disk, a long body

`drive_inline` runs the steps in the event loop's callbacks until one needs a stack; most exchanges never do. In a
greenlet `drive_blocking` goes on from whatever state was reached, and there every step just waits.
"""

import logging
from time import monotonic, time

import gevent

from proxy import errors
from proxy.errors import Blame, ClientGone, ExchangeError, Failure, Phase
from proxy.exchange.context import ExchangeContext
from proxy.exchange.delivery import send_rest
from proxy.exchange.downstream import Downstream, OpenTunnel, TunnelOrigin
from proxy.exchange.downstream_leg import DownstreamLeg
from proxy.exchange.local_response import File, LocalResponse
from proxy.exchange.local_sender import REFUSAL_PACE, local_heads, refusal, send_stored
from proxy.exchange.request import Request
from proxy.exchange.route import Route
from proxy.exchange.states import (
    ADMIT,
    AWAIT,
    AWAIT_RESPONSE,
    BODY,
    DELIVER,
    DONE,
    LEASE,
    LOCAL,
    NEED_STACK,
    OVER,
    PHASES,
    REFUSE,
    RELAY,
    SEND,
    TUNNEL,
    Wait,
)
from proxy.exchange.tunnel import Tunnel
from proxy.exchange.upstream_leg import IDEMPOTENT, RETRY_PAUSE, UpstreamLeg
from proxy.net.spool import Spool
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.upload import Stale
from proxy.wire.fields import BODILESS, websocket_accept
from proxy.wire.negotiation import IDENTITY
from proxy.wire.response import ResponseHead

log = logging.getLogger("gunicorn.error.proxy")

_BEFORE_UPSTREAM = (Phase.HEAD, Phase.BODY)
_UPSTREAM = (Blame.UPSTREAM, Blame.UPSTREAM_SLOW)


class Exchange(UpstreamLeg):
    """One request on its way through the gateway."""

    __slots__ = (
        "_blocking",
        "_pending",
        "_reason",
        "_response",
        "_route",
        "_status",
        "_termination",
        "_verdict",
        "state",
    )

    def __init__(self, route: Route | None, context: ExchangeContext, downstream: Downstream, request: Request) -> None:
        super().__init__(context, downstream, request)
        self.state = DONE
        self._verdict: LocalResponse | None = None
        self._response: tuple[ResponseHead, bytes] | None = None
        """The final response's head, and what came behind it."""
        self._pending = b""
        """What of a response the client did not take at once."""
        self._begin(route)

    def renew(self, route: Route | None, request: Request) -> None:
        """Begin with the next request of the same downstream; the one before has ended."""
        self._ask(request)
        self._begin(route)

    def _begin(self, route: Route | None) -> None:
        self.state = ADMIT
        self._route = route
        self._blocking = False
        """Whether a greenlet drives it, so that steps may wait."""
        self._status = 0
        self._termination = "--"
        self._reason = ""

    # The drivers.

    def drive_inline(self) -> None:
        """Go on in the event loop's callbacks, where nothing may wait. The client's side is told what comes of it."""
        state = self.state
        try:
            # The two usual ones first: asking `_step` about them costs 1 % of a small request.
            if state is ADMIT:
                wait = self._admit()
            elif state is AWAIT:
                wait = self._await_response()
            else:
                wait = self._step()
        except Exception as error:  # noqa: BLE001 - nobody else would see it in the loop
            wait = self._recover(error)
        if wait is OVER:
            self._downstream.exchange_ended()
        elif wait is NEED_STACK:
            self._downstream.resume_exchange()

    def drive_blocking(self) -> None:
        """Go on in a greenlet, to the end or to a tunnel. Raises nothing but what is a fault of the gateway's."""
        self._blocking = True
        while True:
            try:
                self._step()
            except Stale as stale:
                error = self._stale(stale)
                if error is None:
                    self.state = LEASE
                    gevent.sleep(RETRY_PAUSE)
                    continue
                self._fail(error)
            except (ExchangeError, ClientGone) as error:
                self._recover(error)
            return

    def refuse(self, error: ExchangeError) -> None:
        """End an exchange whose request could not be read; in a greenlet. Raises nothing."""
        self._blocking = True
        self._fail(error)

    def abandon(self, failure: Failure = errors.CLIENT_CLOSED) -> None:
        """The client is gone while no greenlet waits."""
        if self.state is not DONE:
            self._fail(ExchangeError(failure))

    def _recover(self, error: Exception) -> Wait:
        if isinstance(error, ExchangeError):
            return self._fail(error)
        if isinstance(error, ClientGone):
            return self._fail(ExchangeError(error.failure))
        log.error("a request failed inside the gateway", exc_info=error)
        self.abandon()
        return OVER

    def _step(self) -> Wait:
        """Go on from the state that was reached; what follows calls its own next step."""
        state = self.state
        if state is ADMIT:
            return self._admit()
        if state is AWAIT:
            return self._await_response()
        if state is DELIVER:
            return self._deliver()
        if state is LEASE:
            return self._lease_connection()
        if state is RELAY:
            return self._relay()
        if state is SEND:
            return self._send()
        if state is BODY:
            return self._read_body()
        if state is LOCAL:
            return self._respond_locally()
        return OVER

    # The steps, in order.

    def _admit(self) -> Wait:
        route = self._route
        if route is None:
            raise ExchangeError(errors.NO_ROUTE)
        request = self._request
        # What is here already is taken before anybody refuses the request: the connection can then go on. A length says
        # that this was done, by the other driver.
        is_here = request.length is not None or self._downstream.take_body(request, route.settings)
        filters = route.filters
        if filters is not None:
            if not (filters.nonblocking or self._blocking):
                return NEED_STACK
            self._verdict = filters.check(request)
            if self._verdict is not None:
                self.state = LOCAL
                return self._respond_locally()
        if is_here:
            self.state = LEASE
            return self._lease_connection()
        self.state = BODY
        return self._read_body()

    def _read_body(self) -> Wait:
        if not self._blocking:
            return NEED_STACK
        route = self._route
        assert route is not None
        self._downstream.read_body(self._request, route.settings)
        self.state = LEASE
        return self._lease_connection()

    def _lease_connection(self) -> Wait:
        """An idle connection, where that needs no waiting; in a greenlet whatever it takes."""
        route = self._route
        assert route is not None
        if self._blocking:
            self._lease = self._acquire(route)
            self.state = SEND
            return self._send()
        request = self._request
        fields = request.fields
        cluster = route.cluster
        if cluster.queue is not None or fields.websocket or fields.binding or self._downstream.private is not None:
            return NEED_STACK
        if request.body is not None and not isinstance(request.body, bytes):
            return NEED_STACK
        self._peers = cluster.in_turn(request)
        pool = self._peers[0]
        now = monotonic()
        if route.rewrite is None and request.method in IDEMPOTENT:
            self._outgoing = request
            self._repeatable = True
        else:
            self._prepare(route)
        self._pool = pool
        lease = self._lease = pool.lease(now, repeatable=self._repeatable)
        if lease is None:
            return NEED_STACK
        self._peer = pool.name
        self._deadline = now + route.settings.read_timeout
        self.state = SEND
        return self._send_at_once(lease)

    def _send_at_once(self, lease: UpstreamConnection) -> Wait:
        request = self._outgoing
        assert request is not None
        assert request.body is None or isinstance(request.body, bytes)
        try:
            self._unsent = lease.send_at_once(request.head(), request.body, request.length)
        except OSError:  # before the first byte: nothing was sent
            lease.close()
            self._lease = None
            self.state = LEASE
            return NEED_STACK
        if self._unsent:
            return NEED_STACK
        self.state = AWAIT
        lease.await_response(self, self._deadline)
        return AWAIT_RESPONSE

    def _send(self) -> Wait:
        """Send the request, or what `_send_at_once` left of it; in a greenlet."""
        route, lease, request = self._route, self._lease, self._outgoing
        assert route is not None
        assert lease is not None
        assert request is not None
        timeout = route.settings.send_timeout
        try:
            if self._unsent:
                unsent, self._unsent = self._unsent, b""
                lease.send_rest(unsent, timeout)
            else:
                lease.send_request(request.head(), request.body, request.length, timeout)
        finally:
            self._upload = lease.upload  # it is closed with the exchange, though it failed at once
        self._deadline = monotonic() + route.settings.read_timeout
        self.state = AWAIT
        return self._await_response()

    def _await_response(self) -> Wait:
        route, lease = self._route, self._lease
        assert route is not None
        assert lease is not None
        if self._blocking:
            response, rest = self._read_response(lease, route.settings)
            if response.status == 101:
                return self._upgrade(response, rest, route)
        else:
            found = lease.whole_response(self._request.method, route.settings.max_response_head)
            if found is None:
                return NEED_STACK
            response, rest = found
            self._first_byte = lease.first_byte - self._request.started
        self.state = RELAY
        return self._pass_on(response, rest, route)

    def _relay(self) -> Wait:
        """Go on with a response that needs a greenlet."""
        assert self._response is not None
        assert self._route is not None
        return self._pass_on(*self._response, self._route)

    def _pass_on(self, response: ResponseHead, rest: bytes, route: Route) -> Wait:
        """Send the response on: `head` is what the client gets of it, `response` what frames its body."""
        status = self._status = response.status
        if response.offload:
            route.tell_of(response.offload)
        head, coding = response, IDENTITY
        if route.cluster.sticky:
            line = route.cluster.sticky_line(self._request, self._peer)
            head = response.with_line(line) if line else response
        if route.rewrite is not None:
            head, coding = route.rewrite.incoming(self._request, head)
        length = response.content_length
        if status in BODILESS or self._request.method == b"HEAD":
            return self._relay_bodiless(response, head, rest)
        if coding == IDENTITY and length is not None and len(rest) >= length:
            # Returned before the client is served: another request may be waiting for it.
            self._release(response, clean=len(rest) == length)
            self._pending = self._downstream.begin(head, length, rest[:length], stream=False)
            return self._deliver_rest() if self._pending else self._end()
        if self._blocking:
            return self._relay_body(response, head, rest, coding)
        self._response = response, rest
        return NEED_STACK

    def _relay_body(self, response: ResponseHead, head: ResponseHead, rest: bytes, coding: bytes) -> Wait:
        """Pass on a body that is still to come, or is compressed now."""
        route = self._route
        assert route is not None
        assert self._lease is not None
        DownstreamLeg(
            self._downstream,
            self._context,
            route.relay_limits,
            self._lease,
            self._upload,
            response,
            lambda clean: self._release(response, clean=clean),
        ).relay(head, rest, coding)
        return self._end()

    def _relay_bodiless(self, response: ResponseHead, head: ResponseHead, rest: bytes) -> Wait:
        """A response that has no body, whatever its fields announce (RFC 9112 section 6.3)."""
        status = response.status
        announced = response.chunked or bool(response.content_length)  # where it is in doubt, `close` is said
        if rest and self._lease is not None:
            assert self._pool is not None
            self._lease.reusable = False
            self._pool.conduct.sends_bodies = True
        self._release(response, clean=True, doubtful=announced)
        length = None
        if status == 205:
            length = 0
        elif status != 204:
            length = head.content_length
        return self._deliver_whole(head, length, b"")

    def _respond_locally(self) -> Wait:
        """Send a response that needs no upstream."""
        response, route, request = self._verdict, self._route, self._request
        assert response is not None
        assert route is not None
        self._status = response.status
        plain, head, coding = local_heads(response, request, route)
        body = response.body
        if isinstance(body, File) and not self._blocking:
            return NEED_STACK
        if request.method == b"HEAD":
            return self._deliver_whole(head, head.content_length, b"")
        if coding == IDENTITY and isinstance(body, bytes):
            return self._deliver_whole(head, head.content_length, body)
        if not self._blocking:
            return NEED_STACK
        send_stored(self._downstream, plain, head, body, coding, route.relay_limits)
        return self._end()

    def _deliver_whole(self, head: ResponseHead, length: int | None, body: bytes) -> Wait:
        self._pending = self._downstream.begin(head, length, body, stream=False)
        return self._deliver_rest() if self._pending else self._end()

    def _deliver_rest(self) -> Wait:
        self.state = DELIVER
        return self._deliver() if self._blocking else NEED_STACK

    def _deliver(self) -> Wait:
        pace = REFUSAL_PACE if self._route is None else self._route.relay_limits.pace
        send_rest(self._downstream.sink, self._pending, pace)
        self._downstream.sent += len(self._pending)
        return self._end()

    # The upgrade (RFC 6455 section 4).

    def _upgrade(self, response: ResponseHead, rest: bytes, route: Route) -> Wait:
        fields = self._request.fields
        if not fields.websocket or fields.websocket_key is None:
            raise ExchangeError(errors.BAD_UPGRADE, "a 101 that was not asked for")
        if response.upgrade != b"websocket" or response.websocket_accept != websocket_accept(fields.websocket_key):
            raise ExchangeError(errors.BAD_UPGRADE, "Upgrade or Sec-WebSocket-Accept differs")
        self._status = 101
        assert self._lease is not None
        assert self._pool is not None
        self._pool.answered()
        context = self._context
        self.state = TUNNEL
        client, early = self._downstream.upgrade(response)
        tunnel = Tunnel(
            context.deadlines,
            context.pipes,
            context.buffer,
            client,
            self._lease,
            idle_timeout=route.settings.websocket_timeout,
            half_close_timeout=route.settings.half_close_timeout,
            ended=self._tunnel_ended,
        )
        tunnel.start(early, rest)
        context.counters.tunnel()
        if not tunnel.closed:
            context.tunnels[tunnel] = TunnelOrigin(self._request.client, self._request.target, self._peer, time())
        return OVER

    def _tunnel_ended(self, tunnel: OpenTunnel, blame: Blame, to_client: int, to_upstream: int) -> None:
        self._context.tunnels.pop(tunnel, None)
        self._context.counters.tunnel_bytes(to_upstream, to_client)
        self._downstream.sent += to_client
        self._request.received += to_upstream
        self._termination = blame + (Phase.TUNNEL if blame is not Blame.NOBODY else Phase.DONE)
        self.state = DONE
        self._record()

    # The end.

    def _fail(self, error: ExchangeError) -> Wait:
        """Tell the client what can still be told, and note who ended it in which phase."""
        failure = error.failure
        downstream = self._downstream
        if self.state is DELIVER and self._reason:  # it was the word on a failure that the client did not take
            downstream.abort()
            return self._end()
        self._note(error)
        if downstream.begun or failure.status == 499:
            self._status = self._status or failure.status
            if failure is errors.CLIENT_STALLED:
                downstream.abort()
            else:
                downstream.break_off()
            return self._end()
        self._status = failure.status
        self.state = REFUSE
        head, body = refusal(error, self._request, self._route)
        try:
            return self._deliver_whole(head, len(body), body)
        except (ClientGone, ExchangeError):
            downstream.abort()
            return self._end()

    def _note(self, error: ExchangeError) -> None:
        """For the log, the counters, and the peer's health."""
        failure = error.failure
        phase = self._connecting if self.state is LEASE else PHASES[self.state]
        if phase is Phase.RESPONSE and self._upload is not None and self._upload.under_way:
            phase = Phase.REQUEST
        self._termination = (failure.blame or Blame.CLIENT) + phase
        self._reason = failure.reason
        if error.detail and failure.blame is not Blame.CLIENT:
            peer = f" of {self._peer}" if self._peer else ""
            log.info("request %s%s: %s", self._request.id.decode("latin-1"), peer, error)
        counters = self._context.counters
        if phase in _BEFORE_UPSTREAM and failure.status != 499:
            counters.rejected(failure.reason)
        else:
            counters.failed(failure.reason)
        if self._lease is not None and phase is Phase.RESPONSE and failure.blame in _UPSTREAM:
            assert self._pool is not None
            self._pool.failed()

    def _end(self) -> Wait:
        """Give back what it holds, and write its line."""
        self.state = DONE
        if self._blocking or self._lease is not None:
            self._let_go()
        self._record()
        return OVER

    def _let_go(self) -> None:
        """Of what only a greenlet takes, and of a connection that did not come to its end."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None
        if self._upload is not None:
            self._upload.close()
        if self._verdict is not None:
            if isinstance(self._verdict.body, File):
                self._verdict.body.close()
            self._verdict = None
        self._response = None
        self._pending = b""  # a parked connection keeps this object, and needs not keep a response
        body = self._request.body
        if body is not None and isinstance(body, Spool):
            body.close()

    def _record(self) -> None:
        request = self._request
        downstream = self._downstream
        context = self._context
        total = monotonic() - request.started
        if request.release is not None:
            request.release()
        context.counters.request(request.method, self._status, total, request.received, downstream.sent)
        if context.access_log.enabled:
            fields = request.fields
            context.access_log.record(
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
