"""The response half of an exchange, where the body is still to come: relayed as it comes, or compressed first."""

from collections.abc import Callable

from proxy.exchange.context import ExchangeContext
from proxy.exchange.delivery import send_rest
from proxy.exchange.downstream import Downstream
from proxy.exchange.intake import Intake, body_decoder, keep
from proxy.exchange.local_sender import send_kept
from proxy.exchange.recoding import Recoding, may_be_stored
from proxy.exchange.relay import Relay, RelayLimits
from proxy.net.spool import Spool
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.upload import Upload
from proxy.wire.coding import encoder
from proxy.wire.negotiation import IDENTITY
from proxy.wire.response import ResponseHead


class DownstreamLeg:
    """One response on its way; `release` is told when its last byte has come, and whether nothing stood behind it."""

    def __init__(
        self,
        downstream: Downstream,
        context: ExchangeContext,
        limits: RelayLimits,
        lease: UpstreamConnection,
        upload: Upload | None,
        response: ResponseHead,
        release: Callable[[bool], None],
    ) -> None:
        self._downstream = downstream
        self._context = context
        self._limits = limits
        self._lease = lease
        self._upload = upload
        self._response = response
        self._release = release

    def relay(self, head: ResponseHead, rest: bytes, coding: bytes) -> None:
        """Send `head`, then the body that begins with `rest`, in this content coding.

        Raises `ExchangeError` or `ClientGone`.
        """
        response = self._response
        length = response.content_length
        intake = self._intake(coding)
        if coding != IDENTITY and length is not None and may_be_stored(response, length, self._limits.spool_size):
            self._relay_compressed(intake, head, rest)
            return
        first = intake.begin(rest)
        stream = length is None or coding != IDENTITY
        pending = self._downstream.begin(head, None if stream else length, first, stream=stream)
        self._relay_on(intake, pending, stream=stream, spools=not (response.unbuffered or response.event_stream))

    def _intake(self, coding: bytes) -> Intake:
        """The body behind this head; its connection is released when the last byte has come."""
        response = self._response
        recoding = None
        if not response.chunked and response.content_length is None:
            self._lease.reusable = False  # the connection's end will be the body's
        if coding != IDENTITY:
            flushes = response.unbuffered or response.event_stream or response.content_length is None
            recoding = Recoding(encoder(coding), flushes=flushes)
        intake = Intake(
            self._lease,
            body_decoder(response),
            self._limits.read_timeout,
            buffer=self._context.buffer,
            nominated=response.nominated,
            recoding=recoding,
            upload=self._upload,
            taken=lambda: self._release(intake.clean),
        )
        return intake

    def _relay_compressed(self, intake: Intake, head: ResponseHead, rest: bytes) -> None:
        """Compress the body at the upstream's pace, so that its length can be told and nobody waits for the client."""
        downstream, limits = self._downstream, self._limits
        spool = Spool(limits.spool_memory, limits.spool_dir)
        try:
            unstored = keep(intake, rest, spool)
            if not unstored:
                send_kept(downstream, head, spool, limits.pace)
                return
            downstream.begin(head, None, b"", stream=True)
            for piece in spool.pieces():
                framed = downstream.framed(piece)
                send_rest(downstream.sink, framed, limits.pace)
                downstream.sent += len(framed)
        finally:
            spool.close()
        self._relay_on(intake, downstream.framed(unstored), stream=True, spools=False)

    def _relay_on(self, intake: Intake, pending: bytes, *, stream: bool, spools: bool) -> None:
        """Pass on the rest of a body whose head was sent, behind `pending`; `stream`: its length was not told."""
        downstream = self._downstream
        relay = Relay(
            intake,
            downstream.sink,
            downstream.framed if stream else None,
            self._context.pipes,
            self._limits,
            spools=spools,
            upload=self._upload,
        )
        try:
            relay.run(pending)
        finally:
            downstream.sent += relay.sent
        if stream:
            downstream.end(intake.trailers)
