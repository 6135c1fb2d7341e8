"""One request and its response, from top to bottom: gate, body, lease, send, await the head, relay, finish.

What needs no waiting is done in the loop's callbacks: `start` sends, `_heard` answers. Everything else is `run` in a
greenlet, from its beginning or from where the callbacks had to stop.
"""

import logging
from time import monotonic, time

from proxy import errors
from proxy.answering import send_answer, send_refusal
from proxy.asking import IDEMPOTENT, QUEUE, REQUEST, RESPONSE
from proxy.delivery import send_rest
from proxy.downstream import Downstream, OpenTunnel, Patron, TunnelOrigin
from proxy.errors import Blame, ClientGone, ExchangeError, Phase
from proxy.gate.answer import Answer
from proxy.net.spool import Spool
from proxy.resources import Resources
from proxy.responding import Responding
from proxy.route import Route
from proxy.settings import Settings
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.request import Request
from proxy.wire.fields import websocket_accept
from proxy.wire.response import ResponseHead

# A module's constant is found faster than an attribute of an enumeration.
HEAD, BODY, DATA, TUNNEL = Phase.HEAD, Phase.BODY, Phase.DATA, Phase.TUNNEL

log = logging.getLogger("gunicorn.error.proxy")

_BEFORE_UPSTREAM = (HEAD, BODY)
_UPSTREAM = (Blame.UPSTREAM, Blame.UPSTREAM_SLOW)


class Exchange(Responding):
    """One request on its way through the gateway."""

    __slots__ = (
        "_admitted",
        "_patron",
        "_pending",
        "_reason",
        "_route",
        "_status",
        "_termination",
        "_tunnelled",
        "_verdict",
    )

    def __init__(self, route: Route | None, resources: Resources, downstream: Downstream, request: Request) -> None:
        super().__init__(resources, downstream, request)
        self._begin(route)

    def renew(self, route: Route, request: Request) -> None:
        """Begin with the next request of the same downstream; the one before has ended."""
        self._ask(request)
        self._begin(route)

    def _begin(self, route: Route | None) -> None:
        self._route = route
        self._admitted = False
        """The gate was passed, or has given its verdict."""
        self._verdict: Answer | ExchangeError | None = None
        self._tunnelled = False
        self._patron: Patron | None = None
        self._pending = b""
        """What of an answer the client did not take at once."""
        self._status = 0
        self._termination = "--"
        self._reason = ""

    # In the loop's callbacks: the simplest exchange needs no greenlet.

    def start(self, route: Route, patron: Patron) -> bool:
        """Send the request now, if that takes no waiting; `patron` is told when it is answered.

        A body is here already. False: the exchange is for `run`, from its beginning or with the rest of the request.
        """
        request = self._request
        cluster = route.cluster
        fields = request.fields
        # The answer to HEAD announces a body that does not come.
        if cluster.queue is not None or request.method == b"HEAD" or fields.websocket or fields.binding:
            return False
        if route.gate is not None:
            self._admitted = True
            try:
                self._verdict = route.gate.check(request)
            except ExchangeError as error:
                self._verdict = error
            if self._verdict is not None:
                return False
        now = monotonic()
        try:
            self._peers = cluster.in_turn(request)
        except ExchangeError:
            return False
        pool = self._peers[0]
        lease = pool.lease(now, repeatable=request.method in IDEMPOTENT)
        if lease is None:
            return False
        try:
            self._unsent = lease.send_at_once(request)
        except (OSError, ExchangeError):  # before the first byte: nothing was sent
            lease.close()
            return False
        self._lease = lease
        self._peer = pool.name
        if self._unsent:
            self._phase = REQUEST
            return False
        self._phase = RESPONSE
        self._patron = patron
        self._deadline = now + route.settings.read_timeout
        lease.await_callback(self._heard, self._deadline)
        return True

    def _heard(self) -> None:
        """The upstream has answered, closed, or let its deadline pass. Raises nothing."""
        lease, route, patron = self._lease, self._route, self._patron
        assert lease is not None
        assert route is not None
        assert patron is not None
        try:
            self._answer_at_once(lease, route, patron)
        except Exception:
            log.exception("a request failed inside the gateway")
            self.abandon()
            patron.exchange_ended()

    def _answer_at_once(self, lease: UpstreamConnection, route: Route, patron: Patron) -> None:
        found = lease.whole_answer(route.settings.max_response_head)
        if found is None:
            lease.end_callback()
            patron.resume_exchange()
            return
        response, body = found
        self._first_byte = lease.first_byte - self._request.started
        self._status = response.status
        self._release(response, clean=True)
        try:
            pending = self._downstream.begin(response, len(body), body, stream=False)
        except ClientGone:
            self._failed(ExchangeError(errors.CLIENT_CLOSED))
            pending = b""
        if pending:
            self._pending = pending
            patron.resume_exchange()
        else:
            self._record()
            patron.exchange_ended()

    def abandon(self) -> None:
        """The client is gone while `start` waits for the upstream."""
        self._failed(ExchangeError(errors.CLIENT_CLOSED))
        if self._lease is not None:
            self._lease.close()
        self._record()

    # In a greenlet.

    def run(self) -> None:
        """Answer the request, one way or the other. Raises nothing."""
        request = self._request
        try:
            self._go_on()
        except ExchangeError as error:
            self._failed(error)
        except ClientGone as gone:
            self._failed(ExchangeError(gone.failure))
        if not self._tunnelled:
            if self._lease is not None:
                self._lease.close()
            if self._upload is not None:
                self._upload.close()
            if request.body is not None and isinstance(request.body, Spool):
                request.body.close()
            self._record()

    def _go_on(self) -> None:
        """From where the exchange stands: at its beginning, or where `start` could not go on without waiting."""
        request = self._request
        route = self._route
        if route is None:
            raise ExchangeError(errors.NO_ROUTE)
        if self._pending:
            self._phase = DATA
            send_rest(self._downstream.outlet, self._pending, route.relay_limits.pace)
            self._downstream.sent += len(self._pending)
        elif self._lease is not None:
            self._pass_on(route)
        else:
            if route.gate is not None and not self._admitted:
                self._verdict = route.gate.check(request)
            if isinstance(self._verdict, ExchangeError):
                raise self._verdict
            if self._verdict is not None:
                self._phase = DATA
                self._status = self._verdict.status
                send_answer(self._downstream, self._verdict, request, route)
                return
            if request.length is None and (request.fields.chunked or request.fields.content_length is not None):
                self._phase = BODY
                self._downstream.read_body(request, route.settings)
            self._phase = QUEUE
            self._pass_on(route)

    def refuse(self, error: ExchangeError, phase: Phase = HEAD) -> None:
        """End an exchange whose request could not be read. Raises nothing."""
        self._phase = phase
        self._failed(error)
        self._record()

    def _pass_on(self, route: Route) -> None:
        """Let the upstream answer."""
        response, rest = self._obtain(route)
        self._status = response.status
        if response.offload:
            route.tell_of(response.offload)
        if route.cluster.sticky:
            line = route.cluster.sticky_line(self._request, self._peer)
            response = response.with_line(line) if line else response
        if response.status == 101:
            self._upgrade(response, rest, route.settings)
        else:
            self._phase = DATA
            self._relay(response, rest, route)

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
        if self._phase is RESPONSE and self._upload is not None and self._upload.under_way:
            self._phase = REQUEST
        self._termination = (failure.blame or Blame.CLIENT) + self._phase
        self._reason = failure.reason
        if error.detail and failure.blame is not Blame.CLIENT:
            peer = f" of {self._peer}" if self._peer else ""
            log.info("request %s%s: %s", self._request.id.decode("latin-1"), peer, error)
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
            if failure is errors.CLIENT_STALLED:
                downstream.abort()
            else:
                downstream.break_off()
        else:
            self._status = failure.status
            send_refusal(downstream, error, self._request, self._route)

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
