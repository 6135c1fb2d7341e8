"""The downstream half of an exchange: a response goes on to the client, its connection back to the pool."""

from time import monotonic

from proxy.answering import send_kept, send_whole
from proxy.asking import Asking
from proxy.delivery import send_rest
from proxy.gate.compression import may_be_kept
from proxy.intake import Intake, Recoding, body_decoder, keep
from proxy.net.spool import Spool
from proxy.relay import Relay, RelayLimits
from proxy.route import Route
from proxy.wire.coding import encoder
from proxy.wire.fields import is_bodiless
from proxy.wire.negotiation import IDENTITY
from proxy.wire.response import ResponseHead


class Responding(Asking):
    """A request whose response has begun to come."""

    __slots__ = ()

    def _relay(self, response: ResponseHead, rest: bytes, route: Route) -> None:
        """Send the answer on: `head` is what the client gets of it, `response` what frames its body."""
        edits = route.edits
        head, coding = edits.incoming(self._request, response) if edits is not None else (response, IDENTITY)
        limits = route.relay_limits
        length = response.content_length
        if is_bodiless(self._request.method, response.status):
            self._relay_bodiless(response, head, rest, limits)
        elif coding != IDENTITY and length is not None and may_be_kept(response, length, limits):
            self._relay_compressed(response, head, rest, coding, limits)
        elif coding == IDENTITY and length is not None and len(rest) >= length:
            # Returned before the client is served: another request may be waiting for it.
            self._release(response, clean=len(rest) == length)
            send_whole(self._downstream, head, length, rest[:length], limits.pace)
        else:
            self._relay_body(response, head, rest, coding, limits)

    def _relay_body(
        self, response: ResponseHead, head: ResponseHead, rest: bytes, coding: bytes, limits: RelayLimits
    ) -> None:
        """Pass the body on as it comes; where it is long, or the client slow, through a spool."""
        intake = self._intake(response, coding, limits)
        first = intake.begin(rest)
        stream = response.content_length is None or coding != IDENTITY
        pending = self._downstream.begin(head, None if stream else response.content_length, first, stream=stream)
        spools = not (response.unbuffered or response.event_stream)
        self._relay_on(intake, pending, limits, stream=stream, spools=spools)

    def _relay_on(self, intake: Intake, pending: bytes, limits: RelayLimits, *, stream: bool, spools: bool) -> None:
        """Pass on the rest of a body whose head was sent, behind `pending`; `stream`: its length was not told."""
        downstream = self._downstream
        relay = Relay(
            intake,
            downstream.outlet,
            downstream.framed if stream else None,
            self._resources.pipes,
            limits,
            spools=spools,
            upload=self._upload,
        )
        try:
            relay.run(pending)
        finally:
            downstream.sent += relay.sent
        if stream:
            downstream.end(intake.trailers)

    def _intake(self, response: ResponseHead, coding: bytes, limits: RelayLimits) -> Intake:
        """The body behind this head; its connection is released when the last byte has come."""
        assert self._lease is not None
        recoding = None
        if not response.chunked and response.content_length is None:
            self._lease.spoiled = True  # the connection's end will be the body's
        if coding != IDENTITY:
            flushes = response.unbuffered or response.event_stream or response.content_length is None
            recoding = Recoding(encoder(coding), flushes=flushes)
        intake = Intake(
            self._lease,
            body_decoder(response),
            limits.read_timeout,
            buffer=self._resources.buffer,
            nominated=response.nominated,
            recoding=recoding,
            upload=self._upload,
            taken=lambda: self._release(response, clean=intake.clean),
        )
        return intake

    def _relay_compressed(
        self, response: ResponseHead, head: ResponseHead, rest: bytes, coding: bytes, limits: RelayLimits
    ) -> None:
        """Compress the body at the upstream's pace, so that its length can be told and nobody waits for the client."""
        downstream = self._downstream
        intake = self._intake(response, coding, limits)
        spool = Spool(limits.spool_memory, limits.spool_dir)
        try:
            unstored = keep(intake, rest, spool)
            if not unstored:
                send_kept(downstream, head, spool, limits.pace)
                return
            downstream.begin(head, None, b"", stream=True)
            for piece in spool.pieces():
                framed = downstream.framed(piece)
                send_rest(downstream.outlet, framed, limits.pace)
                downstream.sent += len(framed)
        finally:
            spool.close()
        self._relay_on(intake, downstream.framed(unstored), limits, stream=True, spools=False)

    def _relay_bodiless(self, response: ResponseHead, head: ResponseHead, rest: bytes, limits: RelayLimits) -> None:
        """A response that has no body, whatever its fields announce (RFC 9112 section 6.3)."""
        status = response.status
        announced = response.chunked or bool(response.content_length)  # where it is in doubt, `close` is said
        if rest and self._lease is not None:
            self._lease.spoiled = self._lease.pool.conduct.sends_bodies = True
        self._release(response, clean=True, doubtful=announced)
        length = None
        if status == 205:
            length = 0
        elif status != 204:
            length = head.content_length
        send_whole(self._downstream, head, length, b"", limits.pace)

    def _release(self, response: ResponseHead, *, clean: bool, doubtful: bool = False) -> None:
        """Return the connection, or close it if it is of no use any more.

        `clean`: nothing stood behind the answer; `doubtful`: something may still come.
        """
        lease, self._lease = self._lease, None
        if lease is None:
            return
        if not clean:
            lease.pool.overran(monotonic())
        if clean and lease.reusable and not response.close:
            if response.binding:
                lease.private = True
            lease.pool.give_back(lease, monotonic(), doubtful=doubtful)
            if lease.private:
                self._downstream.keep(lease)
        else:
            lease.pool.answered()
            lease.close()
