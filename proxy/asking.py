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
from proxy.downstream import Downstream
from proxy.errors import ExchangeError, Phase
from proxy.resources import Resources
from proxy.route import Route
from proxy.settings import Settings
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.pool import ConnectRefused, Pool
from proxy.upstream.request import Request, StreamedBody
from proxy.upstream.upload import Stale, Upload
from proxy.wire.fields import field_value, is_bodiless
from proxy.wire.proxy_protocol import endpoints_of, header
from proxy.wire.response import ResponseHead

# A module's constant is found faster than an attribute of an enumeration.
QUEUE, CONNECT, REQUEST, RESPONSE = Phase.QUEUE, Phase.CONNECT, Phase.REQUEST, Phase.RESPONSE

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})  # RFC 9110 section 9.2.2; TRACE is refused
_MOST_INFORMATIONAL = 16
_HOLD_PAUSE = 0.1


class Asking:
    """A request, and how far the upstream has come with it. Durations are seconds, -1 for what did not happen."""

    __slots__ = (
        "_connect",
        "_deadline",
        "_downstream",
        "_first_byte",
        "_lease",
        "_peer",
        "_peers",
        "_phase",
        "_queue",
        "_request",
        "_resources",
        "_unsent",
        "_upload",
    )

    def __init__(self, resources: Resources, downstream: Downstream, request: Request) -> None:
        self._resources = resources
        self._downstream = downstream
        self._ask(request)

    def _ask(self, request: Request) -> None:
        """Begin with a request."""
        self._request = request
        self._lease: UpstreamConnection | None = None
        self._deadline = 0.0
        """For the answer to a request that was sent already; 0: not sent, or answered."""
        self._unsent = b""
        """What is left of a request that was sent in part."""
        self._upload: Upload | None = None
        """What sends the rest of the request, if it did not go out at once."""
        self._peers: Sequence[Pool] = ()
        """Whose turn it is, if that was asked for already."""
        self._peer = ""
        self._phase = Phase.HEAD
        self._queue = self._connect = self._first_byte = -1.0

    def _obtain(self, route: Route) -> tuple[ResponseHead, bytes]:
        """Send the request and return the final response's head and the bytes behind it."""
        request = self._request
        if route.edits is not None:
            request = route.edits.outgoing(request)
        settings = route.settings
        body = request.body
        idempotent = request.method in IDEMPOTENT or (settings.repeat_keyed and _is_keyed(request))
        # The look at None comes first: asking an abstract class for its instances is slow.
        repeatable = idempotent and (body is None or not isinstance(body, StreamedBody))
        fresh = request.fields.websocket
        repeated = False
        preamble = b""
        if settings.proxy_protocol_out != "off":
            preamble = header(settings.proxy_protocol_out, endpoints_of(request.client, *self._downstream.names()))
        while True:
            lease = self._lease
            try:
                if lease is None:
                    lease = self._lease = self._acquire(monotonic(), route, fresh=fresh, repeatable=repeatable)
                    lease.private = lease.private or request.fields.binding
                    lease.preamble = preamble
                    self._phase = REQUEST
                    self._send(lease, request, settings)
                elif self._unsent:
                    unsent, self._unsent = self._unsent, b""
                    lease.send_rest(unsent, settings.send_timeout)
                    self._upload = lease.upload
                self._phase = RESPONSE
                return self._await_response(lease, settings)
            except Stale as stale:
                assert lease is not None
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

    def _send(self, lease: UpstreamConnection, request: Request, settings: Settings) -> None:
        try:
            lease.send_request(request, settings.send_timeout)
        finally:
            self._upload = lease.upload  # it is closed with the exchange, though it failed at once

    def _await_response(self, lease: UpstreamConnection, settings: Settings) -> tuple[ResponseHead, bytes]:
        """The final response's head and the bytes behind it; 1xx ones are passed on (RFC 9110 section 15.2)."""
        deadline = self._deadline or monotonic() + settings.read_timeout
        self._deadline = 0.0
        most, lenient = settings.max_response_head, settings.lenient_responses
        response, rest = lease.first_head(deadline, most, lenient=lenient)
        self._first_byte = lease.first_byte - self._request.started
        informational = 0
        fields = self._request.fields
        while response.status < 200 and response.status != 101:
            informational += 1
            if informational > _MOST_INFORMATIONAL:
                raise ExchangeError(errors.BAD_RESPONSE, f"over {_MOST_INFORMATIONAL} informational answers")
            if self._request.minor and not (response.status == 100 and fields.expect):  # the gateway has sent that one
                self._downstream.inform(response)
            response, rest = lease.read_head(rest, monotonic() + settings.read_timeout, most, lenient=lenient)
        if response.fault and response.status != 101 and not is_bodiless(self._request.method, response.status):
            raise ExchangeError(errors.BAD_RESPONSE, response.fault)
        return response, rest

    def _acquire(self, now: float, route: Route, *, fresh: bool, repeatable: bool) -> UpstreamConnection:
        """An idle connection to the peer whose turn it is, or a new one."""
        pools = self._peers or route.cluster.in_turn(self._request)
        self._peers = ()
        if not fresh:
            lease = self._resume_private(now, pools, repeatable=repeatable)
            if lease is None:
                lease = pools[0].lease(now, repeatable=repeatable)
            if lease is not None:
                self._peer = lease.pool.name
                return lease
        return self._connect_to_one(pools, route)

    def _resume_private(self, now: float, pools: Sequence[Pool], *, repeatable: bool) -> UpstreamConnection | None:
        """The client's own connection to one of these peers, if it has one that is still good."""
        kept = self._downstream.kept()
        if kept is None:
            return None
        if kept.pool in pools:
            return kept.pool.resume(kept, now, repeatable=repeatable)
        kept.pool.discard(kept)
        return None

    def _connect_to_one(self, pools: Sequence[Pool], route: Route) -> UpstreamConnection:
        """A new connection to the first peer that accepts; while none does, wait for one that restarts or comes."""
        settings = route.settings
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
            pools = route.cluster.newest.in_turn(self._request)
            begun = monotonic()


def _is_keyed(request: Request) -> bool:
    """Whether the client has named the request, so that the application can tell a repetition from a second one."""
    return field_value(request.fields.lines, b"idempotency-key") is not None
