"""The client's side of HTTP/1: connections, their requests, the framing of their answers.

A connection between two requests is parked: a read watcher and this object, no greenlet. When bytes come, what takes
no waiting is sent on from the watcher's callback; for anything else an idle greenlet takes the connection, answers what
was asked, in order, and parks it again.

    parked ──bytes──► serving ──answered, nothing more in the buffer──► parked
      │                  ├──answered with close, refused, client gone──► closed (after lingering, if it still sends)
      └──deadline, EOF   └──101──► left to the tunnel
"""

import socket
from time import monotonic

from greenlet import getcurrent, greenlet

from proxy import errors
from proxy.downstream.frontend import Frontend
from proxy.downstream.h1.reader import Reader
from proxy.downstream.h1.writer import Ending
from proxy.errors import ClientGone, DeadlinePassed, ExchangeError
from proxy.exchange.machine import Exchange
from proxy.exchange.request import Request
from proxy.log import log
from proxy.net.event_loop import NEVER, Watcher
from proxy.net.sockets import HEAD_RECEIVE_SIZE, RECEIVE_SIZE, Socket
from proxy.net.tls_socket import TlsSocket
from proxy.wire.head import END
from proxy.wire.outline import outline

_HALF_CLOSE_GRACE = 1.0
_MEMO_LIFE = 2.0
"""Seconds a parked connection remembers its client's fields; an idle one costs no more than its socket."""

_LINGER_SECONDS = 30.0


class Connection(Reader):
    """One client's connection: parked, read, served."""

    __slots__ = (
        "_answered",
        "_exchange",
        "_lingers_until",
        "_spare",
        "half_closed",
        "owner",
    )

    def __init__(self, sock: Socket | TlsSocket, front: Frontend, client: str, watcher: Watcher | None = None) -> None:
        super().__init__(sock, front, client, watcher)
        self.owner: greenlet | None = None
        self.half_closed = False
        self._exchange: Exchange | None = None
        """One that runs in the loop's callbacks."""
        self._spare: Exchange | None = None
        """The last such one, for the next request of a client that asks the same again."""
        self._answered = False
        """That one has ended, and the connection waits for a greenlet to go on."""
        self._lingers_until = 0.0
        """When the wait for the client's end is over at the latest (monotonic seconds); 0 before it begins."""
        self.deadline = monotonic() + front.tables.settings.first_request_timeout
        front.connections.add(self)

    # Parked, or busy while the client does something unexpected.

    def on_readable(self) -> None:
        if self.owner is not None or self._exchange is not None:
            self._disturbed()
        elif not self.front.at_once or not self._serve_at_once():
            self.front.resume(self)

    @property
    def parked(self) -> bool:
        """Whether no request is in flight."""
        return self.owner is None and self._exchange is None and not self.detached and not self._lingers_until

    def _serve_at_once(self) -> bool:
        """Begin the exchange of a request whose head has come, without a greenlet; thousands in flight need no stacks.

        False: the head is incomplete or malformed, and its bytes are left for a greenlet.
        """
        started = monotonic()
        try:
            self.buffer = data = self.sock.recv(HEAD_RECEIVE_SIZE)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self.close()
            return True
        tables = self.front.tables
        request = self._recall(data, started, tables)
        if request is None:
            end = data.find(END)
            if end < 0:
                return False
            try:
                request = self._parse(data[:end], started, tables)
            except ExchangeError:
                return False  # the greenlet refuses it, or fails at it
            self._take(request, data, end + 4)
        self.begun = self._chunked = False
        self.sent = 0
        self.deadline = NEVER
        exchange = self._spare
        if exchange is None:
            exchange = Exchange(self._route, self.front.context, self, request)
        else:
            exchange.renew(self._route, request)
        self._exchange = exchange
        exchange.drive_inline()
        return True

    def resume_exchange(self) -> None:
        self.front.resume(self)

    def exchange_ended(self) -> None:
        self._spare = self._exchange if self._memo is not None else None
        self._exchange = None
        if self.closed or (self._keep and self.buffer):
            self._answered = True
            self.front.resume(self)
            return
        self._request = None
        if self._keep:
            self._park()
        else:
            self._linger()

    def _disturbed(self) -> None:
        """The client sends or ends while its answer is pending: bytes wait in the kernel, an end may abort.

        EOF alone does not tell a client that left from one that only finished sending. It gets a moment to turn out
        to be gone, then counts as gone unless half-closing is allowed.
        """
        self.read_watcher.stop()
        try:
            ended = not self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self.read_watcher.start(self.on_readable)
            return
        except OSError:
            self._abandon()
            return
        if ended:
            self.half_closed = True
            if self.front.tables.settings.half_close == "abort" and self.waiter is None:
                self.deadline = monotonic() + _HALF_CLOSE_GRACE

    def _abandon(self) -> None:
        """The client is gone: so is its exchange."""
        self.half_closed = True
        if self.owner is not None:
            self.owner.throw(ClientGone)
        elif self._exchange is not None:
            self._exchange.abandon()
            self._exchange = None
            self.close()

    def expire(self) -> None:
        if self.waiter is not None:
            self.waiter.throw(DeadlinePassed)
        elif self._lingers_until:
            self._reset_once_delivered() if self.ending is Ending.RESET else self.close()
        elif not self.parked:
            self._abandon()
        elif self._memo is not None:
            self._memo = self._spare = None
            self.deadline = monotonic() + max(0.0, self.front.tables.settings.keepalive_timeout - _MEMO_LIFE)
        else:
            self.close()

    def close(self) -> None:
        self._spare = None  # it knows this connection
        if not self.closed:
            self.front.connections.discard(self)
            self.front.ended(self.sock.fileno())
            if self.private is not None:
                self.private.pool.discard(self.private)
        super().close()

    # Serving.

    def serve(self) -> None:
        """Bytes have come: answer requests, in order, until the client pauses. Raises nothing."""
        self.owner = getcurrent()
        self.deadline = NEVER
        keep = False
        try:
            keep = self._begin_serving()
            while keep and self.buffer:
                keep = self._serve_one()
        except (ClientGone, DeadlinePassed, OSError):
            keep = False
            self.close()
        except Exception:
            log.exception("a request failed inside the gateway")
            keep = False
            self.break_off()
        self.owner = None
        self._request = None
        if self.detached:
            self._memo = self._spare = None
            self.buffer = b""
        elif keep:
            self._park()
        else:
            self._linger()

    def _begin_serving(self) -> bool:
        """Answer a request, or end the one begun without a greenlet; whether the connection may carry another."""
        if self._exchange is not None:
            self._exchange.drive_blocking()
            self._exchange = None
        elif not self._answered:
            return self._serve_one()
        self._answered = False
        return self._keep and not self.closed and not self.detached

    def _park(self) -> None:
        if self.half_closed or self.front.draining:
            self.close()
            return
        timeout = self.front.tables.settings.keepalive_timeout
        self.deadline = monotonic() + (timeout if self._memo is None else min(_MEMO_LIFE, timeout))
        if self.tls is not None or not self.read_watcher.active:
            self.watch_readable(self.on_readable)

    def _serve_one(self) -> bool:
        """Answer one request; whether the connection may carry another."""
        self.begun = False
        self.sent = 0
        self._chunked = False
        started = monotonic()
        tables = self.front.tables
        try:
            request = self._read_request(started, tables)
            if request is None:
                return False
        except ExchangeError as error:
            self._refuse(error, started)
            return False
        except ClientGone:
            self._refuse(ExchangeError(errors.CLIENT_CLOSED), started)
            return False
        self.front.exchange(self, request, self._route)
        return self._keep and not self.closed and not self.detached

    # Refusing, and closing so that the refusal is heard.

    def _refuse(self, error: ExchangeError, started: float) -> None:
        """Answer a request that goes no further and close: what follows it cannot be trusted."""
        self._keep = False
        front = self.front
        method, target, minor, fields = outline(self.buffer)
        # What the request before was like decides nothing: its HEAD would cut the text off behind its length.
        self._minor, self._head_only = minor, False
        request = self._request = Request(
            method, target, minor, fields, b"", started, client=self.client, scheme=front.scheme
        )
        request.id = front.context.request_ids.make()
        request.received = len(self.buffer)
        Exchange(None, front.context, self, request).refuse(error)

    def _linger(self) -> None:
        """Half-close, and close when the client has: a reset would take its answer away (RFC 9112 section 9.6).

        What it still sends is dropped: an upload over the limit is the very case, so its size is no reason to stop.
        Bounded in silence and in time; takes no greenlet.
        """
        ending = self.ending
        if self.begun and ending is Ending.CUT and not self.closed:
            self.cut_off()
        if not self.begun or self.closed or (self.half_closed and ending is not Ending.RESET):
            self.close()
            return
        settings = self.front.tables.settings
        now = monotonic()
        if ending is Ending.RESET:
            self._lingers_until = now + settings.write_timeout
            self._reset_once_delivered()
        else:
            if ending is Ending.WHOLE:
                self.front.unmarked.discard(self)
                self.finish_sending()
            self._lingers_until = now + _LINGER_SECONDS
            self.deadline = now + settings.linger_timeout
        if not self.closed and not self.half_closed:
            self.watch_readable(self._discard)

    def _reset_once_delivered(self) -> None:
        """A reset takes away what the client has not got yet: look again with the next sweep."""
        now = monotonic()
        if self.undelivered and now < self._lingers_until:
            self.deadline = now
        else:
            self.reset()

    def _discard(self) -> None:
        """The client has sent something, or its end."""
        try:
            data = self.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now = monotonic()
        if self.ending is Ending.RESET:
            if not data:
                self.read_watcher.stop()
        elif not data or now >= self._lingers_until:
            self.close()
        else:
            self.deadline = min(self._lingers_until, now + self.front.tables.settings.linger_timeout)
