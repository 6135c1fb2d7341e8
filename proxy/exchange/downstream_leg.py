"""The response half of an exchange: a head and a body at hand, a body relayed as it comes, or a refusal."""

from collections.abc import Callable
from typing import Final

from proxy import errors
from proxy.errors import Blame, ExchangeError, Failure
from proxy.exchange.context import ExchangeContext
from proxy.exchange.delivery import PaceLimits, send_file_part, send_rest, send_spool
from proxy.exchange.downstream import Downstream, OpenTunnel, TunnelOrigin
from proxy.exchange.fault import log_fault
from proxy.exchange.intake import Intake
from proxy.exchange.keep_alive import Pings
from proxy.exchange.local_response import EncodedForms, File, FileParts, LocalResponse
from proxy.exchange.recoding import encode, may_be_stored
from proxy.exchange.relay import Relay, RelayLimits
from proxy.exchange.request import Request
from proxy.exchange.route import Route
from proxy.exchange.tunnel import Tunnel
from proxy.net.disk import read_file_part
from proxy.net.spool import Spool
from proxy.settings import Settings
from proxy.upstream.connection import UpstreamConnection
from proxy.wire.local_response import error_response
from proxy.wire.negotiation import IDENTITY
from proxy.wire.response import ResponseHead
from proxy.wire.upgrade import WEBSOCKET

_REFUSAL_PACE: Final = PaceLimits(10.0, 0)
"""For the refusal of a request that no route takes."""


class DownstreamLeg:
    """What the client has been given of the response. Its methods raise `ExchangeError` or `ClientGone`."""

    __slots__ = ("_context", "_rest", "downstream", "status")

    def __init__(self, context: ExchangeContext, downstream: Downstream) -> None:
        self._context: Final = context
        self.downstream: Final = downstream
        self.status = 0
        """Of the response; 0 before there is one."""
        self._rest = b""
        """What the client did not take at once."""

    # A body that is in memory.

    def send(self, head: ResponseHead, length: int | None, body: bytes) -> bool:
        """Send a whole response without waiting; False if `send_rest` must send the rest of it."""
        self.status = head.status
        rest = self.downstream.begin(head, length, body, stream=False)
        if rest:
            self._rest = rest
            return False
        return True

    def send_rest(self, route: Route | None) -> None:
        """Wait until the client has taken the rest, which it must do at the pace of its route."""
        pace = _REFUSAL_PACE if route is None else route.relay_limits.pace
        rest, self._rest = self._rest, b""
        send_rest(self.downstream.sink, rest, pace)
        self.downstream.sent += len(rest)

    def refusal(self, error: ExchangeError, request: Request, route: Route | None) -> tuple[ResponseHead, bytes]:
        """Head and body of the response to a request that failed, in the route's style if there is one.

        That is left out after a fault of the gateway's own, which may be in it.
        """
        if route is not None and route.rewrite is not None and error.failure is not errors.INTERNAL:
            try:
                return route.rewrite.refusal(request, error)
            except Exception as fault:  # noqa: BLE001 - the client gets an answer even so
                log_fault(fault, request)
                error = ExchangeError(errors.INTERNAL)
        return error_response(error, request.id, request.fields.accept)

    def open_tunnel(
        self,
        response: ResponseHead,
        rest: bytes,
        lease: UpstreamConnection,
        settings: Settings,
        origin: TunnelOrigin,
        ended: Callable[[OpenTunnel, Blame, int, int], None],
    ) -> None:
        """Pass on a 101, and relay both ways from now on; `rest` is what the upstream sent behind it."""
        self.status = 101
        context = self._context
        side, early = self.downstream.upgrade(response)
        framed = origin.protocol == WEBSOCKET
        tunnel = Tunnel(
            context.deadlines,
            context.pipes,
            context.buffer,
            side,
            lease,
            framed=framed,
            pings=Pings.of(settings) if framed else None,
            idle_timeout=settings.websocket_timeout,
            half_close_timeout=settings.half_close_timeout,
            ended=ended,
        )
        tunnel.start(early, rest)
        context.counters.tunnel()
        if not tunnel.closed:
            context.tunnels[tunnel] = origin

    def break_off(self, failure: Failure) -> None:
        """The response cannot be completed, or the client is gone before it had any of it."""
        self.status = self.status or failure.status
        if failure is errors.CLIENT_STALLED:
            self.downstream.abort()
        else:
            self.downstream.break_off()

    # A response of the gateway's own.

    def send_local(self, request: Request, response: LocalResponse, route: Route, *, waits: bool) -> bool | None:
        """Send it, changed as the route changes all responses; False if `send_rest` must send the rest of it.

        None, with nothing sent, if that takes waiting and the caller may not wait.
        """
        plain, coding = response.head(), IDENTITY
        head = plain
        if route.rewrite is not None:
            plain, head, coding = route.rewrite.local(request, response)
        body = response.body
        if request.method == b"HEAD":
            return self.send(head, head.content_length, b"")
        if coding == IDENTITY and isinstance(body, bytes):
            return self.send(head, head.content_length, body)
        forms = response.forms
        if forms is not None:
            form = forms.ready(coding)
            if form is not None:
                return self.send(head, len(form), form)
        if not waits:
            return None
        self.send_stored(plain, head, body, coding, route.relay_limits, forms)
        return True

    # A body that is in a file, or is encoded first.

    def send_stored(
        self,
        plain: ResponseHead,
        head: ResponseHead,
        body: bytes | File | FileParts,
        coding: bytes,
        limits: RelayLimits,
        forms: EncodedForms | None = None,
    ) -> None:
        """Send a response whose body is in a file or is to be encoded, which then has `head`.

        A body that there is no room to encode is sent as it is, with the `plain` head. What is encoded is kept in its
        `forms`, and found there the next time.
        """
        if coding != IDENTITY and not isinstance(body, FileParts):
            if forms is not None and self._send_form(head, coding, limits, forms):
                return
            if self._send_encoded(head, body, coding, limits, forms):
                return
        self._send_body(plain, body, limits)

    def _send_form(self, head: ResponseHead, coding: bytes, limits: RelayLimits, forms: EncodedForms) -> bool:
        """Send what is kept of a body in this coding; False, and nothing was sent, if there is nothing."""
        form = forms.open(coding)
        if form is None:
            return False
        try:
            self._send_body(head, form, limits)
        finally:
            if isinstance(form, File):
                form.close()
        return True

    def _send_body(self, head: ResponseHead, body: bytes | File | FileParts, limits: RelayLimits) -> None:
        """Send a body as it is."""
        if isinstance(body, bytes):
            self._send_whole(head, len(body), body, limits.pace)
            return
        self._send_whole(head, body.length, b"", limits.pace)
        downstream = self.downstream
        for before, offset, length in body.pieces:
            send_rest(downstream.sink, before, limits.pace)
            downstream.sent += len(before)
            downstream.sent += send_file_part(downstream.sink, body.descriptor, offset, length, limits.pace)

    def _send_encoded(
        self, head: ResponseHead, body: bytes | File, coding: bytes, limits: RelayLimits, forms: EncodedForms | None
    ) -> bool:
        """Send it encoded; False, and nothing was sent, if there is no room on disk for all of it."""
        spool = Spool(limits.spool_memory, limits.spool_dir)
        try:
            pieces = read_file_part(body.descriptor, body.offset, body.length) if isinstance(body, File) else [body]
            if not encode(pieces, coding, spool):
                return False
            if forms is not None:
                forms.keep(coding, spool.pieces())
            self._send_spool(head, spool, limits.pace)
            return True
        finally:
            spool.close()

    def _send_spool(self, head: ResponseHead, spool: Spool, pace: PaceLimits) -> None:
        self._send_whole(head, spool.length, spool.in_memory(), pace)
        self.downstream.sent += send_spool(self.downstream.sink, spool, pace)

    def _send_whole(self, head: ResponseHead, length: int | None, body: bytes, pace: PaceLimits) -> None:
        self.status = head.status
        rest = self.downstream.begin(head, length, body, stream=False)
        if rest:
            send_rest(self.downstream.sink, rest, pace)
            self.downstream.sent += len(rest)

    # A body that comes from the upstream.

    def relay(
        self, response: ResponseHead, head: ResponseHead, rest: bytes, intake: Intake, limits: RelayLimits
    ) -> None:
        """Send `head`, then the body that begins with `rest`; `response` is its head as the upstream sent it."""
        self.status = head.status
        length = response.content_length
        if intake.recodes and length is not None and may_be_stored(response, length, limits.spool_size):
            self._relay_encoded(intake, head, rest, limits)
            return
        first = intake.begin(rest)
        stream = length is None or intake.recodes
        pending = self.downstream.begin(head, None if stream else length, first, stream=stream)
        spools = not (response.unbuffered or response.event_stream)
        self._relay_rest(intake, pending, limits, stream=stream, spools=spools)

    def _relay_encoded(self, intake: Intake, head: ResponseHead, rest: bytes, limits: RelayLimits) -> None:
        """Encode the body at the upstream's pace, so that its length is known and the upstream never waits."""
        downstream = self.downstream
        spool = Spool(limits.spool_memory, limits.spool_dir)
        try:
            unstored = intake.store(rest, spool)
            if not unstored:
                self._send_spool(head, spool, limits.pace)
                return
            downstream.begin(head, None, b"", stream=True)
            for piece in spool.pieces():
                framed = downstream.framed(piece)
                send_rest(downstream.sink, framed, limits.pace)
                downstream.sent += len(framed)
        finally:
            spool.close()
        self._relay_rest(intake, downstream.framed(unstored), limits, stream=True, spools=False)

    def _relay_rest(self, intake: Intake, pending: bytes, limits: RelayLimits, *, stream: bool, spools: bool) -> None:
        """Relay the rest of a body whose head was sent, behind `pending`; `stream`: its length was not announced."""
        downstream = self.downstream
        framed = downstream.framed if stream else None
        relay = Relay(intake, downstream.sink, framed, self._context.pipes, limits, spools=spools)
        try:
            relay.run(pending)
        finally:
            downstream.sent += relay.sent
        if stream:
            downstream.end(intake.trailers)
