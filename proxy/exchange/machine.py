"""One request and its response: one machine, read from top to bottom, with two drivers.

    ADMIT ──► BODY ──► LEASE ──► SEND ──► AWAIT ──► RELAY ──► DONE
      │        │        ▲ ▲         │        ││        └──► DELIVER ──► DONE   the client has not taken all of it yet
      ├────────┴► LOOKUP┘ └─ Stale ─┴────────┘└─ 101 ──► TUNNEL ──► DONE
      └──► LOCAL ◄──┘ └──► DELIVER or DONE                 a response that needs no upstream
    RELAY ──► LOCAL, LEASE                                 another response in its place, or the same request once more
    a failure in any state: REFUSE, if the client has nothing yet, then DELIVER or DONE; else DONE

A step does what it can without waiting and goes on with the next one, or says what it waits for. `drive_inline` runs
them in the event loop's callbacks until one needs a stack; `drive_blocking` goes on in a greenlet.
"""

from collections.abc import Callable, Mapping
from typing import Final

import gevent

from proxy import errors
from proxy.errors import ClientGone, ExchangeError, Failure
from proxy.exchange.caching import Fetch
from proxy.exchange.context import ExchangeContext
from proxy.exchange.downstream import Downstream
from proxy.exchange.downstream_leg import DownstreamLeg
from proxy.exchange.fault import failure_of, log_fault
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.outcome import COMPLETE, Outcome, count_failure, record, release, stored_instead
from proxy.exchange.request import Request
from proxy.exchange.route import Offload, Route
from proxy.exchange.states import (
    ADMIT,
    AWAIT,
    AWAIT_RESPONSE,
    BODY,
    DELIVER,
    DONE,
    LEASE,
    LOCAL,
    LOOKUP,
    NEED_STACK,
    OVER,
    REFUSE,
    RELAY,
    SEND,
    TUNNEL,
    State,
    Wait,
)
from proxy.exchange.upgrade import open_tunnel
from proxy.exchange.upstream_leg import RETRY_PAUSE, UpstreamLeg
from proxy.log import log
from proxy.upstream.faults import Stale
from proxy.wire.fields import BODILESS
from proxy.wire.negotiation import IDENTITY
from proxy.wire.response import ResponseHead


class Exchange:
    """One request on its way through the gateway."""

    __slots__ = (
        "_blocking", "_context", "_fetch", "_local", "_outcome", "_response", "_route", "client", "request", "state",
        "upstream",
    )  # fmt: skip

    def __init__(self, route: Route | None, context: ExchangeContext, downstream: Downstream, request: Request) -> None:
        """`route` is None for a request that no route takes."""
        self.state: State = ADMIT
        self._context: Final = context
        self._route = route
        self.request = request
        self.upstream: Final = UpstreamLeg(context, downstream, request)
        self.client: Final = DownstreamLeg(context, downstream)
        self._blocking = False
        """Whether a greenlet drives it, so that steps may wait."""
        self._outcome: Outcome = COMPLETE
        self._local: LocalResponse | None = None
        """A response that needs no upstream."""
        self._fetch: Fetch | None = None
        """What the cache does with the upstream's response."""
        self._response: tuple[ResponseHead, bytes] | None = None
        """The upstream's final head and what came behind it, of a response that needs a greenlet."""

    def renew(self, route: Route | None, request: Request) -> None:
        """Begin with the client's next request. What only a greenlet changes is as it was at first."""
        assert not self._blocking
        self.state = ADMIT
        self._route = route
        self.request = request
        self.upstream.renew(request)
        self.client.status = 0
        self._outcome = COMPLETE

    def __str__(self) -> str:
        peer = f" of {self.upstream.peer}" if self.upstream.peer else ""
        return f"request {self.request.id.decode('latin-1')}{peer}: {self.state.name}"

    def drive_inline(self) -> None:
        """Go on in the event loop's callbacks, where nothing may wait. The client's side learns what comes of it."""
        try:
            # It waits here in these two states alone.
            wait = self._admit() if self.state is ADMIT else self._await_response()
        except Exception as error:  # noqa: BLE001 - in a callback of the loop it would be lost
            wait = self._recover(error)
        if self._context.logs_states:
            log.debug("%s", self)
        if wait is OVER:
            self.client.downstream.exchange_ended()
        elif wait is NEED_STACK:
            self.client.downstream.resume_exchange()

    def drive_blocking(self) -> None:
        """Go on in a greenlet, to the end or to a tunnel. Raises nothing."""
        self._blocking = True
        log.debug("%s, in a greenlet", self)
        goes_on, pause = True, 0.0
        while goes_on:
            goes_on = False
            try:
                if pause:  # the client may leave in it
                    gevent.sleep(pause)
                step = _STEPS.get(self.state)
                if step is not None:  # what follows it calls its own next step
                    step(self)
            except Stale as stale:
                if self.upstream.may_repeat(stale, self._route):
                    goes_on, self.state, pause = True, LEASE, RETRY_PAUSE
                    continue
                goes_on = self._fall_back(ExchangeError(errors.UPSTREAM_CLOSED, str(stale)))
            except Exception as error:  # noqa: BLE001 - what the gateway does wrong is answered too
                goes_on = self._fall_back(error)
            pause = 0.0
        log.debug("%s", self)

    def _fall_back(self, error: Exception) -> bool:
        """Whether it goes on, with what is stored. No frame of the failure keeps the error, which leads back to it."""
        stored = stored_instead(error, self.state, self._fetch, self._route, self.request, self.upstream, self._context)
        if stored is None:
            self._recover(error)
            return False
        self._local, self.state = stored, LOCAL
        return True

    def refuse(self, error: ExchangeError) -> None:
        """End an exchange whose request could not be read; in a greenlet. Raises nothing."""
        self._blocking = True
        self._recover(error)

    def abandon(self, failure: Failure = errors.CLIENT_CLOSED) -> None:
        """The client is gone while no greenlet waits."""
        if self.state is not DONE:
            self._recover(ExchangeError(failure))

    def _recover(self, error: Exception) -> Wait:
        """End it after a failure, which may be a fault of the gateway's own. Raises nothing."""
        try:
            failure = failure_of(error, self.request)
            return OVER if self.state is DONE else self._fail(failure)
        except Exception as fault:  # noqa: BLE001 - the response to the failure, or its record, is at fault
            log_fault(fault, self.request)
            self.upstream.close()
            self.client.downstream.abort()
            self.state = DONE
            return OVER

    # The steps, in order.

    def _admit(self) -> Wait:
        """Pass the filters. What is here of the body is taken before, so that a refusal need not end the connection."""
        route = self._route
        if route is None:
            raise ExchangeError(errors.NO_ROUTE)
        request = self.request
        fields = request.fields
        complete = (
            (fields.content_length is None and not fields.chunked)
            or request.length is not None  # taken by the other driver
            or self.client.downstream.take_body(request, route.settings)
        )
        filters = route.filters
        if filters is not None:
            if not (filters.nonblocking or self._blocking) and filters.waits(request):
                return NEED_STACK
            self._local = filters.check(request)
            if self._local is not None:
                return self._respond_locally()
        if not complete:
            return self._read_body()
        if route.cache is not None:
            return self._look_up()
        return self._lease() if route.responder is None else self._respond_locally()

    def _read_body(self) -> Wait:
        self.state = BODY
        if not self._blocking:
            return NEED_STACK
        route = self._route
        assert route is not None
        self.client.downstream.read_body(self.request, route.settings)
        if route.cache is not None:
            return self._look_up()
        return self._lease() if route.responder is None else self._respond_locally()

    def _look_up(self) -> Wait:
        """A stored response, or what the upstream is to be asked for so that its response can be stored."""
        assert self._route is not None
        cache, request = self._route.cache, self.request
        assert cache is not None
        self.state = LOOKUP
        if not self._blocking:
            self._local = cache.ready(request)
            if self._local is None:
                return NEED_STACK if cache.takes(request) else self._lease()
        elif cache.takes(request):
            self._fetch = fetch = cache.fetch(request)
            self._local = fetch.response
            if self._local is None:
                self.upstream.renew(fetch.request)
                self.upstream.hurried = fetch.hurries
                return self._lease()
        else:
            return self._lease()
        self.upstream.peer = self._local.peer
        return self._respond_locally()

    def _lease(self) -> Wait:
        """A connection to the upstream: an idle one, where that needs no waiting; in a greenlet whatever it takes."""
        self.state = LEASE
        route, upstream = self._route, self.upstream
        assert route is not None
        if self._blocking:
            upstream.acquire(route)
            return self._send()
        self.state = state = upstream.send_inline(route, self)
        return AWAIT_RESPONSE if state is AWAIT else NEED_STACK

    def _send(self) -> Wait:
        """Send the request, or what `send_inline` left of it."""
        self.state = SEND
        assert self._route is not None
        self.upstream.send(self._route.settings)
        self.state = AWAIT
        return self._await_response()

    def _await_response(self) -> Wait:
        route = self._route
        assert route is not None
        if self._blocking:
            response, rest = self.upstream.read_response(route.settings)
            if response.status == 101:
                return self._open_tunnel(response, rest, route)
            return self._respond(response, rest, route)
        lease, request = self.upstream.lease, self.request
        assert lease is not None
        whole = lease.whole_response(request.method, route.settings.max_response_head)
        if whole is None:
            return NEED_STACK
        response, rest = whole
        self.upstream.first_byte = lease.first_byte - request.started
        return self._respond(response, rest, route)

    def _relay(self) -> Wait:
        """Go on with a response that needs a greenlet."""
        assert self._response is not None
        assert self._route is not None
        return self._respond(*self._response, self._route)

    def _respond(self, response: ResponseHead, rest: bytes, route: Route) -> Wait:
        """Send the response on: `head` is what the client gets of it, `response` what frames its body."""
        self.state = RELAY
        request = self.request
        if response.offload:
            if route.offload is not None and route.offload.takes(response.offload):
                return self._offload(response, rest, route.offload)
            route.note_offload(response.offload, self._context.counters)
        fetch = self._fetch
        if fetch is not None:
            taken = fetch.take(response)
            if not isinstance(taken, ResponseHead):
                return self._replace(response, rest, taken)
            response = taken
        head, coding = response, IDENTITY
        if route.rewrite is not None:
            head, coding = route.rewrite.incoming(request, response, self.upstream.peer)
        if response.status in BODILESS or request.method == b"HEAD":
            return self._deliver_bodiless(response, head, rest)
        length = response.content_length
        if length is not None and len(rest) >= length and coding == IDENTITY and fetch is None:
            # Returned before the client is served: another request may be waiting for it.
            clean = len(rest) == length
            self.upstream.release(response, clean=clean)
            return self._end() if self.client.send(head, length, rest if clean else rest[:length]) else self._deliver()
        if not self._blocking:
            self._response = response, rest
            return NEED_STACK
        copy = None if fetch is None else fetch.copy
        intake = self.upstream.intake(response, route.relay_limits, coding, copy)
        self.client.relay(response, head, rest, intake, route.relay_limits)
        return self._end()

    def _deliver_bodiless(self, response: ResponseHead, head: ResponseHead, rest: bytes) -> Wait:
        """A response that has no body, whatever its fields announce (RFC 9112 section 6.3)."""
        self.upstream.release_bodiless(response, rest)
        length = 0 if response.status == 205 else None if response.status == 204 else head.content_length
        return self._deliver_whole(head, length, b"")

    def _replace(self, response: ResponseHead, rest: bytes, local: LocalResponse | None) -> Wait:
        """Send something else in the place of the upstream's response, or ask the upstream again."""
        self.upstream.discard(response, rest)
        self._local = local
        if local is not None or self._fetch is None:
            return self._respond_locally()
        self.upstream.renew(self._fetch.request)
        return self._lease()

    def _offload(self, response: ResponseHead, rest: bytes, offload: Offload) -> Wait:
        """Send what the upstream's response asks for in its place."""
        self._response = response, rest
        if not self._blocking:
            return NEED_STACK
        self.upstream.discard(response, rest)
        if self._fetch is not None:
            self._fetch.set_aside(response)
        return self._replace(response, rest, offload.response(self.request, response))

    def _respond_locally(self) -> Wait:
        """Send a response that needs no upstream: a filter's, or that of the route's responder."""
        self.state = LOCAL
        route, request = self._route, self.request
        assert route is not None
        response = self._local
        if response is None:
            if not self._blocking:
                return NEED_STACK
            assert route.responder is not None
            self.upstream.peer = route.responder.name
            response = self._local = route.responder.respond(request)
        sent = self.client.send_local(request, response, route, waits=self._blocking)
        if sent is None:
            return NEED_STACK
        return self._end() if sent else self._deliver()

    def _deliver_whole(self, head: ResponseHead, length: int | None, body: bytes) -> Wait:
        return self._end() if self.client.send(head, length, body) else self._deliver()

    def _deliver(self) -> Wait:
        """Send what the client has not taken yet."""
        self.state = DELIVER
        if not self._blocking:
            return NEED_STACK
        self.client.send_rest(self._route)
        return self._end()

    def _open_tunnel(self, response: ResponseHead, rest: bytes, route: Route) -> Wait:
        """Relay both ways from now on (RFC 9110 section 7.8)."""
        self.upstream.check_upgrade(response)
        self.state = TUNNEL
        open_tunnel(self._context, route, self.request, self.upstream, self.client, response, rest, self._tunnel_ended)
        return OVER

    def _tunnel_ended(self) -> None:
        self.state = DONE

    # The end.

    def _fail(self, error: ExchangeError) -> Wait:
        """Send the client what can still be sent, and note which side ended it in which phase."""
        failure, client = error.failure, self.client
        downstream = client.downstream
        if self.state is DELIVER and self._outcome is not COMPLETE:  # what the client did not take was the refusal
            downstream.abort()
            return self._end()
        self._outcome = count_failure(error, self._route, self.request, self.state, self.upstream, self._context)
        if downstream.begun or failure.status == 499:
            client.break_off(failure)
            return self._end()
        self.state = REFUSE
        head, body = client.refusal(error, self.request, self._route)
        try:
            return self._deliver_whole(head, len(body), body)
        except (ClientGone, ExchangeError):
            downstream.abort()
            return self._end()

    def _end(self) -> Wait:
        """Release what it holds, and write its line."""
        self.state = DONE
        if self._blocking or self._local is not None or self.upstream.lease is not None:
            release(self.upstream, self._local, self._fetch, self.request.body)
            self._local = self._fetch = self._response = None
        record(self._context, self._route, self.request, self.upstream, self.client, self._outcome)
        return OVER


_STEPS: Final[Mapping[State, Callable[[Exchange], Wait]]] = {
    ADMIT: Exchange._admit, BODY: Exchange._read_body, LOOKUP: Exchange._look_up, LEASE: Exchange._lease,
    SEND: Exchange._send, AWAIT: Exchange._await_response, RELAY: Exchange._relay, LOCAL: Exchange._respond_locally,
    DELIVER: Exchange._deliver,
}  # fmt: skip
