"""Answers that are at hand, and how they go to the client: whole, from a file, or as the word on a failure."""

from proxy.delivery import PaceLimits, send_file_part, send_rest, send_spool
from proxy.downstream import Downstream
from proxy.errors import ClientGone, ExchangeError
from proxy.gate.answer import Answer, File
from proxy.gate.compression import MOST_KEPT, encode
from proxy.net.disk import read_file_part
from proxy.net.spool import Spool
from proxy.relay import RelayLimits
from proxy.route import Route
from proxy.upstream.request import Request
from proxy.wire.answer import own_answer
from proxy.wire.fields import field_value
from proxy.wire.negotiation import IDENTITY
from proxy.wire.response import ResponseHead

_REFUSAL_PACE = PaceLimits(10.0, 0)
"""For the word on why a request was not understood."""


def send_whole(downstream: Downstream, head: ResponseHead, length: int | None, body: bytes, pace: PaceLimits) -> None:
    """Send a head and a body. Raises `ExchangeError` or `ClientGone`."""
    rest = downstream.begin(head, length, body, stream=False)
    if rest:
        send_rest(downstream.outlet, rest, pace)
        downstream.sent += len(rest)


def send_kept(downstream: Downstream, head: ResponseHead, spool: Spool, pace: PaceLimits) -> None:
    """Send a head and a body that was kept until it was complete. Errors as for `send_whole`."""
    send_whole(downstream, head, spool.length, spool.in_memory(), pace)
    downstream.sent += send_spool(downstream.outlet, spool, pace)


def send_answer(downstream: Downstream, answer: Answer, request: Request, route: Route) -> None:
    """Send an answer that needs no upstream. Errors as for `send_whole`."""
    body = answer.body
    plain = head = ResponseHead(1, answer.status, b"").with_lines([*answer.fields], sized=False)
    head.content_length = None if answer.status in (204, 304) else answer.length
    head.private = field_value(answer.fields, b"set-cookie") is not None
    coding = IDENTITY
    edits = route.edits
    if edits is not None:
        plain = edits.own(request, head)
        head, coding = edits.incoming(request, head) if answer.length <= MOST_KEPT else (plain, IDENTITY)
    limits = route.relay_limits
    try:
        if request.method == b"HEAD":
            send_whole(downstream, head, head.content_length, b"", limits.pace)
            return
        if coding != IDENTITY:
            if _send_encoded(downstream, head, body, coding, limits):
                return
            head = plain
        if isinstance(body, File):
            send_whole(downstream, head, body.length, b"", limits.pace)
            downstream.sent += send_file_part(downstream.outlet, body.descriptor, body.offset, body.length, limits.pace)
        else:
            send_whole(downstream, head, head.content_length, body, limits.pace)
    finally:
        if isinstance(body, File):
            body.close()


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


def send_refusal(downstream: Downstream, error: ExchangeError, request: Request, route: Route | None) -> None:
    """Tell the client what went wrong, in the route's style if there is one. Raises nothing."""
    if route is not None and route.edits is not None:
        head, body = route.edits.refusal(request, error)
    else:
        head, body = own_answer(error, request.id, request.fields.accept)
    pace = route.relay_limits.pace if route is not None else _REFUSAL_PACE
    try:
        send_whole(downstream, head, len(body), body, pace)
    except (ClientGone, ExchangeError):
        downstream.abort()
