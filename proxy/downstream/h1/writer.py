"""The answering half of an HTTP/1 connection: framing and sending."""

from enum import Enum, auto

from proxy import errors
from proxy.downstream.frontend import Frontend
from proxy.downstream.origin import socket_names
from proxy.errors import ClientGone, DeadlinePassed, ExchangeError
from proxy.exchange.request import Request
from proxy.exchange.tunnel_side import Side
from proxy.net.event_loop import Watcher
from proxy.net.sockets import END_FOLLOWS, Socket
from proxy.net.stream import Sink, Stream
from proxy.net.tls_socket import TlsSocket
from proxy.upstream.body import StreamedBody
from proxy.upstream.connection import UpstreamConnection
from proxy.wire.body import LAST_CHUNK
from proxy.wire.fields import informational
from proxy.wire.head import CRLF
from proxy.wire.response import ResponseHead


class Ending(Enum):
    """How a connection ends when the last answer on it has gone as far as it goes (RFC 9112 section 9.6)."""

    WHOLE = auto()
    CUT = auto()  # FIN behind what was sent, without TLS's close_notify: length or chunks show that the end is missing
    RESET = auto()  # once the client has what was sent: its end would stand for that of the body


class Responder(Stream):
    """What an exchange sees of an HTTP/1 connection: its `Downstream`."""

    __slots__ = (
        "_chunked",
        "_head_only",
        "_keep",
        "_minor",
        "_request",
        "_unread",
        "begun",
        "buffer",
        "client",
        "detached",
        "ending",
        "front",
        "private",
        "sent",
    )

    def __init__(self, sock: Socket | TlsSocket, front: Frontend, client: str, watcher: Watcher | None = None) -> None:
        context = front.context
        super().__init__(sock, context.hub, context.deadlines, watcher)
        self.front = front
        self.client = client
        self.buffer = b""
        """Bytes that the client sent behind what was read so far."""
        self.sent = 0
        self.begun = False
        self.detached = False
        """Left to a tunnel: no more HTTP."""
        self.private: UpstreamConnection | None = None
        """An idle upstream connection that is this client's alone (`proxy.wire.authentication`)."""
        self._keep = True
        self._minor = 1
        self._chunked = False
        self._head_only = False
        self.ending = Ending.WHOLE
        self._request: Request | None = None
        self._unread = False
        """Part of the request's body has not been read (yet)."""

    @property
    def sink(self) -> Sink:
        return self

    def names(self) -> tuple[object, object]:
        return socket_names(self.sock)

    def keep_private(self, connection: UpstreamConnection) -> None:
        # Who stands behind another proxy, or at a unix socket, may be another client with each request.
        shared = not self.client or self.front.tables.trusted.trusts(self.client)
        if shared or self.closed or self.detached:
            connection.pool.discard(connection)
        else:
            self.private = connection

    def take_private(self) -> UpstreamConnection | None:
        connection, self.private = self.private, None
        return None if connection is None or connection.closed else connection

    def inform(self, response: ResponseHead) -> None:
        self._send_all(informational(response))

    def begin(self, response: ResponseHead, length: int | None, body: bytes, *, stream: bool) -> bytes:
        self.begun = True
        framing = b""
        if length is not None:
            framing = b"Content-Length: %d\r\n" % length
        elif stream:
            self._chunked = self._minor == 1
            if self._chunked:
                framing = b"Transfer-Encoding: chunked\r\n"
                if response.trailer is not None and self._takes_trailers():
                    framing += b"Trailer: %s\r\n" % response.trailer
            else:
                self._keep = False
                self.front.unmarked.add(self)
        request = self._request
        if request is not None:
            if self._unread:
                self._end_unread_body()
            framing += request.response_fields
        if not self._keep or self.front.draining:
            self._keep = False
            framing += b"Connection: close\r\n"
        elif not self._minor:
            framing += b"Connection: keep-alive\r\n"
        if not response.dated:
            framing += b"Date: %s\r\n" % self.front.clock.date()
        if stream and body:
            body = self.framed(body)
        data = b"%s%s\r\n%s" % (response.start, framing, b"" if self._head_only else body)
        last = not self._keep and (self._head_only or len(body) == length)
        try:
            sent = self.sock.send(data, END_FOLLOWS if last else 0)
        except BlockingIOError:
            return data
        except OSError as error:
            raise ClientGone from error
        self.sent += sent
        return b"" if sent == len(data) else data[sent:]

    def _end_unread_body(self) -> None:
        """An answer that comes before the whole request was read ends the connection (RFC 9112 section 9.3)."""
        body = self._request.body if self._request is not None else None
        if not isinstance(body, StreamedBody) or not body.done:
            self._keep = False

    def framed(self, data: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data

    def end(self, trailers: list[bytes]) -> None:
        if not self._chunked:
            return
        if trailers and self._takes_trailers():
            self._send_all(b"0\r\n" + b"".join(line + CRLF for line in trailers) + CRLF)
        else:
            self._send_all(LAST_CHUNK)

    def _takes_trailers(self) -> bool:
        """Whether the client reads trailers (RFC 9110 section 6.5.1)."""
        return self._request is not None and self._request.fields.te_trailers

    def break_off(self) -> None:
        self._keep = False
        self.ending = Ending.RESET if self in self.front.unmarked else Ending.CUT

    def abort(self) -> None:
        self._keep = False
        self.reset()

    def upgrade(self, response: ResponseHead) -> tuple[Side, bytes]:
        self.begun = True
        self._send_all(response.start + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        self.detached = True
        return self, self.buffer

    def _send_all(self, data: bytes) -> None:
        try:
            self.send_all(data, self.front.tables.settings.write_timeout)
        except DeadlinePassed:
            raise ExchangeError(errors.CLIENT_STALLED) from None
        except OSError as error:
            raise ClientGone from error
        self.sent += len(data)
