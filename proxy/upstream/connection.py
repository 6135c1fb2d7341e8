"""One connection to a peer: sending a request on it, reading the heads that come back."""

import socket
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, NoReturn

from proxy import errors
from proxy.errors import DeadlinePassed, ExchangeError
from proxy.net.spool import Spool
from proxy.net.stream import HEAD_RECEIVE_SIZE, Socket, Stream, wait_either
from proxy.upstream.request import Request, StreamedBody
from proxy.wire.body import LAST_CHUNK, chunk
from proxy.wire.fields import BODILESS
from proxy.wire.head import END, bare_line_feed
from proxy.wire.response import ResponseHead, parse_response_head

if TYPE_CHECKING:
    from proxy.upstream.pool import Pool

_EXPECT_PATIENCE = 1.0
"""Seconds that an upstream has to say whether it wants the body of a request with Expect: 100-continue."""

_INFORMATIONAL = b"HTTP/1.1 1"
_CONTINUE = b"HTTP/1.1 100"
_MOST_HEARD = 1 << 16
"""Bytes of informational answers that may come before the whole request has been sent."""


class Stale(Exception):  # noqa: N818 - names what happened
    """The upstream closed without a byte of an answer: it may never have seen the request."""


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
        "reused",
        "spoiled",
    )

    def __init__(self, sock: Socket, pool: "Pool") -> None:
        super().__init__(sock, pool.hub, pool.deadlines)
        self.pool = pool
        pool.open += 1
        self.reused = False
        self.idle_since = 0.0
        """When its last answer ended (monotonic seconds); 0 while leased."""
        self.spoiled = False
        self.preamble = b""
        """What is sent before the first request: a PROXY protocol header."""
        self.first_byte = 0.0
        self._heard = b""  # bytes of the answer that came while the request was still being sent
        self._callback: Callable[[], None] | None = None

    def unasked(self) -> None:
        if self.idle_since:
            self.pool.discard(self)
        else:
            self.reader.stop()

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

    def _has_bytes(self) -> bool:
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    # Without waiting, for an exchange that runs in the loop's callbacks.

    def send_at_once(self, request: Request) -> bytes:
        """Send a request whose body, if it has one, is here; what was not taken at once is returned, for `send_rest`.

        Raises `OSError` if nothing was sent, `ExchangeError` as `send_request`.
        """
        data = _head(request, _framing(request))
        if isinstance(request.body, bytes):
            data += request.body
        sent = self.sock.send(data)
        return data[sent:]

    def await_callback(self, callback: Callable[[], None], deadline: float) -> None:
        """Call back when the answer, or EOF, can be read, or when the deadline has passed."""
        self._callback = callback
        self.deadline = deadline
        reader = self.reader
        if reader.active:
            reader.callback = callback
        else:
            reader.start(callback)

    def end_callback(self) -> None:
        """The answer is here, or the rest of it is for `first_head`."""
        self._callback = None
        self.reader.callback = self.unasked

    def whole_answer(self, most: int) -> tuple[ResponseHead, bytes] | None:
        """A final answer that came in one piece, with its body; anything else is left for `first_head`, and None."""
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
        status = response.status
        body = data[size:]
        if response.content_length != len(body) or size > most + 4 or status < 200 or status in BODILESS:
            return None
        self._heard = b""
        self.end_callback()
        return response, body

    # Sending the request.

    def send_request(self, request: Request, timeout: float) -> None:
        """Send head and body; `timeout` is the longest time without progress, in seconds.

        Returns early if the upstream gives its final answer before it has everything. Raises `Stale`, `ExchangeError`
        or, from a streamed body, `ClientGone`. A body of another length than is announced is never sent: the rest of
        it, or of the announcement, would be read as the next request (RFC 9112 section 6.3).
        """
        body = request.body
        framing = _framing(request)
        if body is not None and isinstance(body, StreamedBody) and body.expects_continue:
            framing += b"Expect: 100-continue\r\n"
        head = _head(request, framing)
        if body is not None and isinstance(body, bytes):
            head += body
        if self.preamble:
            head = self.preamble + head
        try:
            sent = self.send(head)
            if sent != len(head) and not self._send_whole(head[sent:], timeout):
                return
            if body is not None and isinstance(body, Spool):
                self._send_spool(body, timeout)
            elif body is not None and isinstance(body, StreamedBody):
                self._send_stream(body, timeout, request.length)
        except OSError as error:
            self._sent_in_vain(error)
        except DeadlinePassed:
            raise ExchangeError(errors.SEND_TIMEOUT) from None

    def send_rest(self, data: bytes, timeout: float) -> None:
        """Send what `send_at_once` left; as `send_request`."""
        try:
            self._send_whole(data, timeout)
        except OSError as error:
            self._sent_in_vain(error)
        except DeadlinePassed:
            raise ExchangeError(errors.SEND_TIMEOUT) from None

    def _sent_in_vain(self, error: OSError) -> None:
        """An answer may have come before the connection broke: look for it first (RFC 9112 section 9.5)."""
        self.spoiled = True
        if not self._has_bytes():
            raise Stale(error.strerror or "") from None

    def _send_whole(self, data: bytes, timeout: float) -> bool:
        """Send everything; False if the upstream has answered meanwhile and wants no more."""
        view = memoryview(data)
        while True:
            view = view[self.send(view) :]
            if not view:
                return True
            if not self._may_send(timeout):
                return False

    def _send_spool(self, body: Spool, timeout: float) -> None:
        offset = 0
        while offset < body.length:
            sent = body.send_to(self, offset)
            offset += sent
            if not sent and not self._may_send(timeout):
                return

    def _send_stream(self, body: StreamedBody, timeout: float, length: int | None) -> None:
        left = length
        if body.expects_continue and not self._await_continue(body):
            return
        while True:
            data = body.read(self)
            if data is None:
                if self._listens():
                    continue
                return
            if not data:
                break
            if left is None:
                data = b"".join(chunk(data))
            else:
                left -= len(data)
                if left < 0:
                    self._break_off("longer")
            if not self._send_whole(data, timeout):
                return
        if left or not body.done:
            self._break_off("shorter")
        if left is None:
            self._send_whole(LAST_CHUNK, timeout)

    def _break_off(self, than: str) -> NoReturn:
        """End a request that cannot be completed; the connection cannot carry another. Raises `ExchangeError`."""
        self.spoiled = True
        raise ExchangeError(errors.INTERNAL, f"a streamed body is {than} than announced")

    def _may_send(self, timeout: float) -> bool:
        """Wait until the upstream takes more; False if it has begun its final answer (or is gone)."""
        wait_either(self, self, monotonic() + timeout)
        return self._listens()

    def _listens(self) -> bool:
        """Whether the upstream still wants the rest: it has said nothing final (RFC 9110 section 15.2) nor closed.

        What it said is kept for `first_head`.
        """
        try:
            data = self.sock.recv(HEAD_RECEIVE_SIZE)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if data:
            self.first_byte = self.first_byte or monotonic()
            self._heard += data
            heads = self._heard.split(END)
            if len(self._heard) <= _MOST_HEARD and all(_INFORMATIONAL.startswith(head[:10]) for head in heads):
                return True
        self.spoiled = True
        return False

    def _await_continue(self, body: StreamedBody) -> bool:
        """Let the upstream say whether it wants the body (RFC 9110 section 10.1.1); silence means yes."""
        deadline = monotonic() + _EXPECT_PATIENCE
        try:
            while _CONTINUE not in self._heard:
                self.wait_readable(deadline)
                if not self._listens():
                    return False
        except DeadlinePassed:
            pass
        body.proceed()
        return True

    # Reading what comes back.

    def first_head(self, deadline: float, most: int) -> tuple[ResponseHead, bytes]:
        """The first head of the answer and the bytes behind it; arguments and errors as for `read_head`."""
        heard, self._heard = self._heard, b""
        return self.read_head(heard, deadline, most)

    def read_head(self, data: bytes, deadline: float, most: int) -> tuple[ResponseHead, bytes]:
        """The next head and the bytes behind it; `data` was read before, a head over `most` bytes is refused.

        Raises `Stale` if the upstream closes without a byte, else `ExchangeError`.
        """
        while True:
            if data:
                end = data.find(END)
                if end > most or (end < 0 and not _may_become_head(data, most)):
                    raise ExchangeError(errors.BAD_RESPONSE, "head")
                if end >= 0:
                    return parse_response_head(data[:end]), data[end + 4 :]
            try:
                more = self.receive(deadline, HEAD_RECEIVE_SIZE)
            except DeadlinePassed:
                raise ExchangeError(errors.RESPONSE_TIMEOUT) from None
            except OSError as error:
                raise self._closed_early(data, error.strerror or "") from None
            if not more:
                raise self._closed_early(data, "closed without an answer")
            if not data:
                self.first_byte = self.first_byte or monotonic()
                data = more
            else:
                data += more

    def _closed_early(self, data: bytes, reason: str) -> Exception:
        if data or self.first_byte:
            return ExchangeError(errors.UPSTREAM_CLOSED, "in the response head")
        return Stale(reason)


def _may_become_head(data: bytes, most: int) -> bool:
    """Whether more bytes could make a head of what has come so far."""
    return len(data) <= most and data.startswith(b"HTTP/1."[: len(data)]) and not bare_line_feed(data)


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
