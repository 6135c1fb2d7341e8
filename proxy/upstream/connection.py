"""One connection to a peer: sending a request on it, reading the response heads that come back."""

import socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from proxy import errors
from proxy.errors import DeadlinePassed, ExchangeError
from proxy.net.client_contexts import explained
from proxy.net.event_loop import Deadlines, Hub, Watcher
from proxy.net.sockets import HEAD_RECEIVE_SIZE, SocketLike
from proxy.net.splice import WORTHWHILE
from proxy.net.stream import Stream
from proxy.upstream.body import Body, StreamedBody, framing
from proxy.upstream.faults import StreamFault, stale
from proxy.upstream.upload import Upload
from proxy.wire.fields import is_bodiless
from proxy.wire.head import END, bare_line_feed
from proxy.wire.lenient import split_head
from proxy.wire.response import ResponseHead, parse_response_head

MOST_INFORMATIONAL: Final = 16
"""Informational responses that may precede a final one."""

_FIRST: Final = ord("H")  # of every HTTP/1 response

_FIRST_FRAMES: Final = (b"\x04", b"\x07")
"""The fourth byte of an HTTP/2 server's first frame: SETTINGS (RFC 9113 section 3.4), or GOAWAY at once."""

_TLS_ALERT: Final = b"\x15\x03"


class ConnectionPool(Protocol):
    """The pool of a connection, as the connection sees it."""

    @property
    def name(self) -> str:
        """The peer's address."""

    def on_idle_readable(self, connection: "UpstreamConnection") -> None:
        """The peer has closed an idle connection, or sent something on it."""

    def on_closed(self, connection: "UpstreamConnection") -> None:
        """The connection was closed."""

    def discard(self, connection: "UpstreamConnection") -> None:
        """Close an idle connection."""


class Awaiting(Protocol):
    """An exchange that waits for the response in the event loop's callbacks."""

    def drive_inline(self) -> None:
        """The response, or EOF, can be read, or the deadline has passed."""


Inform = Callable[[ResponseHead], None]
"""What passes on an informational response."""


class LastHead:
    """The head of a peer's last response to its last byte, which is often the next one's too, and what it says."""

    __slots__ = ("data", "response")

    def __init__(self) -> None:
        self.data = END  # no response that can be read begins with it
        self.response = ResponseHead(1, 502, b"")


class UpstreamConnection(Stream):
    """A connection, leased for one exchange at a time or idle in its pool."""

    __slots__ = (
        "_last",
        "_received",
        "awaiting",
        "first_byte",
        "idle_since",
        "pool",
        "preamble",
        "private",
        "reusable",
        "upload",
    )

    def __init__(
        self,
        sock: SocketLike,
        hub: Hub,
        deadlines: Deadlines,
        pool: ConnectionPool,
        last: LastHead,
        watcher: Watcher | None = None,
    ) -> None:
        super().__init__(sock, hub, deadlines, watcher)
        self.pool: Final = pool
        self._last: Final = last
        self.idle_since = 0.0
        """When its last response ended (monotonic seconds); 0 while leased."""
        self.reusable = True
        """Whether another exchange may follow on it, as far as this one has come."""
        self.private = False
        """One client has authenticated it, or may do so: no other client may use it."""
        self.preamble = b""
        """What is sent before the first request: a PROXY protocol header."""
        self.first_byte = 0.0
        """When the response began (monotonic seconds); 0 before."""
        self.upload: Upload | None = None
        """What sends the rest of a request that did not go out at once."""
        self._received = b""  # bytes of the response that `whole_response` left
        self.awaiting: Awaiting | None = None

    def on_readable(self) -> None:
        awaiting = self.awaiting
        if awaiting is not None:
            self.awaiting = None
            awaiting.drive_inline()
        elif self.idle_since:
            # Over TLS the peer also says what is no part of HTTP, such as tickets for its session.
            if self.tls is None or not self.alive():
                self.pool.on_idle_readable(self)
        else:
            self.read_watcher.stop()

    def expire(self) -> None:
        awaiting = self.awaiting
        if self.idle_since:
            self.pool.discard(self)
        elif awaiting is not None:
            self.awaiting = None
            awaiting.drive_inline()
        else:
            super().expire()

    def close(self) -> None:
        if not self.closed:
            upload, self.upload = self.upload, None  # it knows this connection
            if upload is not None:
                upload.stop()
                self.reusable = False
            super().close()
            self.pool.on_closed(self)

    def alive(self) -> bool:
        """Whether the peer has neither closed nor sent anything at this moment."""
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

    def send_inline(self, data: bytes) -> bytes:
        """Send a whole request; what was not taken at once is returned, for `send_rest`.

        Raises `OSError` if nothing was sent.
        """
        try:
            sent = self.sock.send(data)
        except BlockingIOError:  # over TLS a part of it may be under way
            return data
        return b"" if sent == len(data) else data[sent:]

    def await_response(self, exchange: Awaiting, deadline: float) -> None:
        """Call the exchange once, when the response or EOF can be read or the deadline has passed."""
        self.awaiting = exchange
        self.deadline = deadline
        if not self.read_watcher.active:
            self.read_watcher.start(self.on_readable)

    def whole_response(self, method: bytes, most: int) -> tuple[ResponseHead, bytes] | None:
        """A final response that came in one piece, with its body; anything else is left for `final_head`, and None."""
        try:
            data = self.sock.recv(HEAD_RECEIVE_SIZE)
        except OSError:
            return None
        last = self._last
        if data.startswith(last.data):
            response = last.response
            size = len(last.data)
        else:
            size = data.find(END) + 4
            found = self._parse(data, size)
            if found is None:
                return None
            response = found
        body = data[size:]
        length = response.content_length
        if size > most + 4 or (length != len(body) and not is_bodiless(method, response.status)):
            if length is None or size > most + 4 or len(data) < HEAD_RECEIVE_SIZE:
                self._keep(data)
                return None
            more = self._receive_more(length - len(body))
            if len(body) + len(more) != length:
                self._keep(data + more)
                return None
            body += more
        self.first_byte = monotonic()
        return response, body

    def _receive_more(self, missing: int) -> bytes:
        """What is here of the bytes that follow a read that was full, up to `missing`; nothing of a long body."""
        if not 0 < missing < WORTHWHILE:
            return b""
        try:
            return self.sock.recv(missing)
        except OSError:  # there is nothing yet, or the next read tells
            return b""

    def _parse(self, data: bytes, size: int) -> ResponseHead | None:
        """The final head that is the first `size` bytes of what has come; None if it is none, which is then kept."""
        if size >= 4:
            try:
                response = parse_response_head(data[: size - 4])
            except ExchangeError:
                pass
            else:
                if response.status >= 200:
                    if not response.private:
                        self._last.data, self._last.response = data[:size], response
                    return response
        self._keep(data)
        return None

    def _keep(self, data: bytes) -> None:
        """Leave what was received to `final_head`."""
        if data:
            self.first_byte = monotonic()
            self._received = data

    # Sending the request.

    def send_request(self, head: bytes, body: Body | None, length: int | None, timeout: float) -> None:
        """Send a request; `upload` sends what does not go at once, while the response is read.

        `head` is the request line and the fields, but for those of framing and the empty line. `length` is the body's,
        None if there is none or it is not known; `timeout` the longest time without progress, in seconds. Raises
        `Stale`, `ExchangeError` or, from a streamed body, `ClientGone`: here, or in the greenlet that called. A body of
        another length than is announced is never sent.
        """
        framed = framing(body, length)
        if body is not None and isinstance(body, StreamedBody) and body.expects_continue:
            framed += b"Expect: 100-continue\r\n"
        data = b"%s%s%s\r\n" % (self.preamble, head, framed)
        if body is None or isinstance(body, bytes):
            self.send_rest(data + (body or b""), timeout)
        else:
            self.upload = Upload(self, data, body, length, timeout)
            self.upload.start()

    def send_rest(self, data: bytes, timeout: float) -> None:
        """Send a request, or what `send_inline` left of it; as `send_request`."""
        try:
            sent = self.send(data)
        except OSError as error:
            self.reusable = False
            if not self.has_spoken:
                raise stale(error) from None
            return
        if sent != len(data):
            self.upload = Upload(self, data[sent:], None, None, timeout)
            self.upload.start()

    @property
    def has_spoken(self) -> bool:
        """Whether bytes of a response have come, read or not (RFC 9112 section 9.5)."""
        return bool(self.first_byte) or self.has_bytes()

    @property
    def returnable(self) -> bool:
        """Whether it may carry another exchange once the response to this one was read to its end."""
        return self.reusable and (self.upload is None or self.upload.whole)

    # Reading what comes back.

    def final_head(
        self,
        deadline: float,
        timeout: float,
        most: int,
        *,
        lenient: bool = False,
        inform: Inform | None = None,
    ) -> tuple[ResponseHead, bytes]:
        """The final head of the response, or a 101, and the bytes behind it.

        `inform` gets the informational ones before it (RFC 9110 section 15.2), each of which moves the deadline
        `timeout` seconds from now if that is later. A head over `most` bytes is refused; `lenient` takes those of old
        servers too (`proxy.wire.lenient`). The time up to `deadline` begins anew when all of the request was sent, if
        that is later. Raises `Stale` if the upstream closes without a byte, else `ExchangeError`; from a streamed body,
        `ClientGone`.
        """
        data, self._received = self._received, b""
        response, data = self._read_head(data, deadline, most, lenient=lenient)
        informational = 0
        while response.status < 200 and response.status != 101:
            informational += 1
            if informational > MOST_INFORMATIONAL:
                raise ExchangeError(errors.BAD_RESPONSE, f"over {MOST_INFORMATIONAL} informational responses")
            if inform is not None:
                inform(response)
            deadline = max(deadline, monotonic() + timeout)
            response, data = self._read_head(data, deadline, most, lenient=lenient)
        return response, data

    def _read_head(self, data: bytes, deadline: float, most: int, *, lenient: bool) -> tuple[ResponseHead, bytes]:
        """The next head and the bytes behind it; `data` was read before."""
        upload = self.upload
        silence = 0.0 if upload is None else deadline - monotonic()
        while True:
            if data:
                found = _split_head(data, most, lenient=lenient)
                if found is not None:
                    response = parse_response_head(found[0])
                    if upload is not None:
                        upload.responded(response.status)
                    return response, found[1]
            if upload is not None and upload.held:
                deadline = min(deadline, upload.held_until)
            try:
                more = self.receive(deadline, HEAD_RECEIVE_SIZE)
            except DeadlinePassed:
                deadline = self._deadline_after(silence)
                continue
            except ssl.SSLError as error:
                raise ExchangeError(errors.UPSTREAM_TLS, explained(error)) from None
            except OSError as error:
                raise self._closed_early(data, error) from None
            if not more:
                raise self._closed_early(data, OSError(0, "closed without a response"))
            if not data:
                self.first_byte = self.first_byte or monotonic()
                data = more
            else:
                data += more

    def _deadline_after(self, silence: float) -> float:
        """The deadline that follows one that has passed while the request was still being sent."""
        upload = self.upload
        if upload is not None:
            if upload.held:
                upload.proceed()
            deadline = upload.quiet_since + silence
            if deadline > monotonic():
                return deadline
        raise ExchangeError(errors.RESPONSE_TIMEOUT) from None

    def _closed_early(self, data: bytes, error: OSError) -> Exception:
        if isinstance(error, StreamFault) and error.failure is not None:
            return ExchangeError(error.failure, error.strerror or "")
        if data or self.first_byte:
            return ExchangeError(errors.UPSTREAM_CLOSED, "in the response head")
        return stale(error)


def _split_head(data: bytes, most: int, *, lenient: bool) -> tuple[bytes, bytes] | None:
    """The head that has come, and the bytes behind it; None if it can still become one. Raises `ExchangeError`."""
    if lenient:
        found = split_head(data)
        end = -1 if found is None else len(data) - len(found[1])
    else:
        end = data.find(END)
        found = None if end < 0 else (data[:end], data[end + 4 :])
    if data[0] != _FIRST or end > most or (end < 0 and not _may_become_head(data, most, lenient=lenient)):
        raise ExchangeError(errors.BAD_RESPONSE, _explained(data))
    return found


def _may_become_head(data: bytes, most: int, *, lenient: bool) -> bool:
    """Whether more bytes could make a head of what has come so far."""
    return len(data) <= most and data.startswith(b"HTTP/1."[: len(data)]) and (lenient or not bare_line_feed(data))


def _explained(data: bytes) -> str:
    """What a response is that is not HTTP/1, for the operator: usually the address is another service's."""
    if data[:2] == b"\0\0" and data[3:4] in _FIRST_FRAMES:
        return "the application speaks HTTP/2 only, as gRPC does; write h2c:// before its address, or h2:// over TLS"
    if data[:2] == _TLS_ALERT:
        return "the application speaks TLS; write https:// before its address"
    return f"its head begins with {data[:16]!r}"
