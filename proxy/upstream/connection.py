"""One connection to a peer: sending a request on it, reading the heads that come back."""

import socket
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from proxy import errors
from proxy.errors import DeadlinePassed, ExchangeError
from proxy.exchange.request import Request, StreamedBody
from proxy.net.sockets import HEAD_RECEIVE_SIZE, Socket
from proxy.net.spool import Spool
from proxy.net.stream import Stream
from proxy.upstream.upload import Stale, Upload
from proxy.wire.fields import is_bodiless
from proxy.wire.head import END, bare_line_feed
from proxy.wire.lenient import split_head
from proxy.wire.response import ResponseHead, parse_response_head

if TYPE_CHECKING:
    from proxy.upstream.pool import Pool


_FIRST = ord("H")  # of every HTTP/1 answer

_SETTINGS = b"\x04"
"""The type of the frame with which an HTTP/2 server begins (RFC 9113 section 3.4), its fourth byte."""

_TLS_ALERT = b"\x15\x03"


class UpstreamConnection(Stream):
    """A connection, leased for one exchange at a time or idle in its pool.

    `spoiled` says that it cannot carry another exchange; `first_byte` is when this one's answer began (monotonic
    seconds, 0 before).
    """

    __slots__ = (
        "_callback",
        "_heard",
        "first_byte",
        "idle_since",
        "pool",
        "preamble",
        "private",
        "reused",
        "spoiled",
        "upload",
    )

    def __init__(self, sock: Socket, pool: "Pool") -> None:
        super().__init__(sock, pool.hub, pool.deadlines)
        self.pool = pool
        pool.open += 1
        self.reused = False
        self.idle_since = 0.0
        """When its last answer ended (monotonic seconds); 0 while leased."""
        self.spoiled = False
        self.private = False
        """One client has authenticated it, or is asked to: nobody else may have it."""
        self.preamble = b""
        """What is sent before the first request: a PROXY protocol header."""
        self.first_byte = 0.0
        self.upload: Upload | None = None
        """What sends the rest of a request, where it did not go out at once."""
        self._heard = b""  # bytes of the response that `whole_response` left
        self._callback: Callable[[], None] | None = None

    def on_readable(self) -> None:
        if self.idle_since:
            self.pool.disturbed(self)
        else:
            self.read_watcher.stop()

    def expire(self) -> None:
        if self.idle_since:
            self.pool.discard(self)
        elif self._callback is not None:
            self._callback()
        else:
            super().expire()

    def close(self) -> None:
        if not self.closed:
            self.pool.open -= 1
            if self.upload is not None:
                self.upload.stop()
            super().close()
            if self.idle_since == 0.0:
                self.pool.has_room()

    def alive(self) -> bool:
        """Whether the peer has neither closed nor spoken at this moment."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def has_bytes(self) -> bool:
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    # Without waiting, for an exchange that runs in the loop's callbacks.

    def send_at_once(self, request: Request) -> bytes:
        """Send a request whose body, if it has one, is here; what was not taken at once is returned, for `send_rest`.

        Raises `OSError` if nothing was sent, `ExchangeError` as `send_request`.
        """
        body = request.body
        data = _head(request, b"" if body is None and request.length is None else _framing(request))
        if isinstance(body, bytes):
            data += body
        sent = self.sock.send(data)
        return data[sent:]

    def await_callback(self, callback: Callable[[], None], deadline: float) -> None:
        """Call back when the answer, or EOF, can be read, or when the deadline has passed."""
        self._callback = callback
        self.deadline = deadline
        reader = self.read_watcher
        if reader.active:
            reader.callback = callback
        else:
            reader.start(callback)

    def end_callback(self) -> None:
        """The answer is here, or the rest of it is for `first_head`."""
        self._callback = None
        self.read_watcher.callback = self.on_readable

    def whole_response(self, method: bytes, most: int) -> tuple[ResponseHead, bytes] | None:
        """A final response that came in one piece, with its body; anything else is left for `first_head`, and None."""
        try:
            data = self.sock.recv(HEAD_RECEIVE_SIZE)
        except OSError:
            return None
        if data:
            self.first_byte = monotonic()
            self._heard = data
        pool = self.pool
        if data.startswith(pool.last_head):
            response = pool.last_response
            size = len(pool.last_head)
        else:
            size = data.find(END) + 4
            if size < 4:
                return None
            try:
                response = parse_response_head(data[: size - 4])
            except ExchangeError:
                return None
            if not response.private:
                pool.last_head, pool.last_response = data[:size], response
        body = data[size:]
        status = response.status
        if status < 200 or size > most + 4:
            return None
        if (response.content_length != len(body) or response.fault) and not is_bodiless(method, status):
            return None
        self._heard = b""
        self.end_callback()
        return response, body

    # Sending the request.

    def send_request(self, request: Request, timeout: float) -> None:
        """Send head and body. What does not go at once is sent by `upload`, beside the reading of the answer.

        `timeout` is the longest time without progress, in seconds. Raises `Stale`, `ExchangeError` or, from a streamed
        body, `ClientGone`: here, or in the greenlet that called. A body of another length than is announced is never
        sent: the rest of it, or of the announcement, would be read as the next request (RFC 9112 section 6.3).
        """
        body = request.body
        framing = _framing(request)
        if body is not None and isinstance(body, StreamedBody) and body.expects_continue:
            framing += b"Expect: 100-continue\r\n"
        data = self.preamble + _head(request, framing)
        if body is None or isinstance(body, bytes):
            self.send_rest(data + (body or b""), timeout)
        else:
            self.upload = Upload(self, data, body, request.length, timeout)
            self.upload.start()

    def send_rest(self, data: bytes, timeout: float) -> None:
        """Send a request, or what `send_at_once` left of it; as `send_request`."""
        try:
            sent = self.send(data)
        except OSError as error:
            self.spoiled = True
            if not self.has_spoken:
                raise Stale(error.strerror or "") from None
            return
        if sent != len(data):
            self.upload = Upload(self, data[sent:], None, None, timeout)
            self.upload.start()

    @property
    def has_spoken(self) -> bool:
        """Whether bytes of an answer have come, read or not (RFC 9112 section 9.5)."""
        return bool(self.first_byte) or self.has_bytes()

    @property
    def reusable(self) -> bool:
        """Whether it may carry another exchange once the answer to this one was read to its end."""
        return not self.spoiled and (self.upload is None or self.upload.whole)

    # Reading what comes back.

    def first_head(self, deadline: float, most: int, *, lenient: bool = False) -> tuple[ResponseHead, bytes]:
        """The first head of the answer and the bytes behind it; arguments and errors as for `read_head`."""
        heard, self._heard = self._heard, b""
        return self.read_head(heard, deadline, most, lenient=lenient)

    def read_head(
        self, data: bytes, deadline: float, most: int, *, lenient: bool = False
    ) -> tuple[ResponseHead, bytes]:
        """The next head and the bytes behind it; `data` was read before, a head over `most` bytes is refused.

        `lenient` takes those of old servers too (`proxy.wire.lenient`).
        The time up to `deadline` begins anew when all of the request was sent, if that is later. Raises `Stale` if the
        upstream closes without a byte, else `ExchangeError`; from a streamed body, `ClientGone`.
        """
        upload = self.upload
        silence = 0.0 if upload is None else deadline - monotonic()
        while True:
            if data:
                found = _split_head(data, most, lenient=lenient)
                if found is not None:
                    response = parse_response_head(found[0])
                    if upload is not None:
                        upload.answered(response.status)
                    return response, found[1]
            if upload is not None and upload.held:
                deadline = min(deadline, upload.held_until)
            try:
                more = self.receive(deadline, HEAD_RECEIVE_SIZE)
            except DeadlinePassed:
                deadline = self._deadline_after(silence)
                continue
            except OSError as error:
                raise self._closed_early(data, error.strerror or "") from None
            if not more:
                raise self._closed_early(data, "closed without an answer")
            if not data:
                self.first_byte = self.first_byte or monotonic()
                data = more
            else:
                data += more

    def _deadline_after(self, silence: float) -> float:
        """The deadline that follows one that has passed: for an answer whose request was still being sent."""
        upload = self.upload
        if upload is not None:
            if upload.held:
                upload.proceed()
            deadline = upload.quiet_since + silence
            if deadline > monotonic():
                return deadline
        raise ExchangeError(errors.RESPONSE_TIMEOUT) from None

    def _closed_early(self, data: bytes, reason: str) -> Exception:
        if data or self.first_byte:
            return ExchangeError(errors.UPSTREAM_CLOSED, "in the response head")
        return Stale(reason)


def _split_head(data: bytes, most: int, *, lenient: bool) -> tuple[bytes, bytes] | None:
    """The head that has come, and the bytes behind it; None if it can still become one. Raises `ExchangeError`."""
    if lenient:
        found = split_head(data)
        end = -1 if found is None else len(data) - len(found[1])
    else:
        end = data.find(END)
        found = None if end < 0 else (data[:end], data[end + 4 :])
    if data[0] != _FIRST or end > most or (end < 0 and not _may_become_head(data, most, lenient=lenient)):
        raise ExchangeError(errors.BAD_RESPONSE, _spoken(data))
    return found


def _may_become_head(data: bytes, most: int, *, lenient: bool) -> bool:
    """Whether more bytes could make a head of what has come so far."""
    return len(data) <= most and data.startswith(b"HTTP/1."[: len(data)]) and (lenient or not bare_line_feed(data))


def _spoken(data: bytes) -> str:
    """What an answer is that is not HTTP/1, for the operator: usually the address is another service's."""
    if data[:2] == b"\0\0" and data[3:4] == _SETTINGS:
        return "the application speaks HTTP/2 alone, as gRPC does; the gateway asks applications over HTTP/1.1"
    if data[:2] == _TLS_ALERT:
        return "the application speaks TLS; the gateway asks applications without it"
    return f"its head begins with {data[:16]!r}"


def _framing(request: Request) -> bytes:
    """The field line that frames the body; the length of one that is streamed is seen to as it is sent.

    Raises `ExchangeError` for a body at hand that is not as long as announced.
    """
    length, body = request.length, request.body
    if body is None:
        if length is None:
            return b""
        at_hand = 0
    elif isinstance(body, bytes):
        at_hand = len(body)
    elif isinstance(body, Spool):
        at_hand = body.length
    else:
        return b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
    if length != at_hand:
        raise ExchangeError(errors.INTERNAL, f"a body of {at_hand} bytes is announced with {length}")
    return b"Content-Length: %d\r\n" % at_hand


def _head(request: Request, framing: bytes) -> bytes:
    """The head that the upstream is sent: `block` holds every field but the ones that differ each time."""
    if request.trace is not None:
        framing += request.trace.lines
    return b"%s %s HTTP/1.1\r\n%s%sX-Request-ID: %s\r\n\r\n" % (
        request.method,
        request.target,
        request.block,
        framing,
        request.id,
    )
