"""Responses of the gateway's own: from a file, compressed, or as the word on a failure."""

from proxy.errors import ExchangeError
from proxy.exchange.delivery import PaceLimits, send_file_part, send_rest, send_spool
from proxy.exchange.downstream import Downstream
from proxy.exchange.local_response import File, LocalResponse
from proxy.exchange.recoding import MOST_STORED, encode
from proxy.exchange.relay import RelayLimits
from proxy.exchange.request import Request
from proxy.exchange.route import Route
from proxy.net.disk import read_file_part
from proxy.net.spool import Spool
from proxy.wire.fields import field_value
from proxy.wire.local_response import own_answer
from proxy.wire.negotiation import IDENTITY
from proxy.wire.response import ResponseHead

REFUSAL_PACE = PaceLimits(10.0, 0)
"""For the word on why a request was not understood."""


def send_whole(downstream: Downstream, head: ResponseHead, length: int | None, body: bytes, pace: PaceLimits) -> None:
    """Send a head and a body. Raises `ExchangeError` or `ClientGone`."""
    rest = downstream.begin(head, length, body, stream=False)
    if rest:
        send_rest(downstream.sink, rest, pace)
        downstream.sent += len(rest)


def send_kept(downstream: Downstream, head: ResponseHead, spool: Spool, pace: PaceLimits) -> None:
    """Send a head and a body that was kept until it was complete. Errors as for `send_whole`."""
    send_whole(downstream, head, spool.length, spool.in_memory(), pace)
    downstream.sent += send_spool(downstream.sink, spool, pace)


def local_heads(answer: LocalResponse, request: Request, route: Route) -> tuple[ResponseHead, ResponseHead, bytes]:
    """The head of an answer that needs no upstream: as it is, and with the content coding that its body may have."""
    head = ResponseHead(1, answer.status, b"").with_lines([*answer.fields], sized=False)
    head.content_length = None if answer.status in (204, 304) else answer.length
    head.private = field_value(answer.fields, b"set-cookie") is not None
    rewrite = route.rewrite
    if rewrite is None:
        return head, head, IDENTITY
    plain = rewrite.own(request, head)
    if answer.length > MOST_STORED:
        return plain, plain, IDENTITY
    return plain, *rewrite.incoming(request, head)


def send_stored(
    downstream: Downstream,
    plain: ResponseHead,
    head: ResponseHead,
    body: bytes | File,
    coding: bytes,
    limits: RelayLimits,
) -> None:
    """Send an answer whose body stands in a file or is compressed now. Errors as for `send_whole`.

    What there is no room to compress goes as it is, with the `plain` head.
    """
    if coding != IDENTITY and _send_encoded(downstream, head, body, coding, limits):
        return
    if isinstance(body, File):
        send_whole(downstream, plain, body.length, b"", limits.pace)
        downstream.sent += send_file_part(downstream.sink, body.descriptor, body.offset, body.length, limits.pace)
    else:
        send_whole(downstream, plain, plain.content_length, body, limits.pace)


def _send_encoded(
    downstream: Downstream, head: ResponseHead, body: bytes | File, coding: bytes, limits: RelayLimits
) -> bool:
    """Send it compressed; False, and nothing was sent, if there is no room on disk for all of it."""
    spool = Spool(limits.spool_memory, limits.spool_dir)
    try:
        pieces = read_file_part(body.descriptor, body.offset, body.length) if isinstance(body, File) else [body]
        if not encode(pieces, coding, spool):
            return False
        send_kept(downstream, head, spool, limits.pace)
        return True
    finally:
        spool.close()


def refusal(error: ExchangeError, request: Request, route: Route | None) -> tuple[ResponseHead, bytes]:
    """Head and body of the word on a failure, in the route's style if there is one."""
    if route is not None and route.rewrite is not None:
        return route.rewrite.refusal(request, error)
    return own_answer(error, request.id, request.fields.accept)
