"""A connected socket and the greenlet that waits for it.

Theory of operation. Each socket has one read watcher that is started once and stays on: stopping and starting one
costs two failed epoll_ctl calls per wait. The watcher's callback decides what readiness means, and changing it is one
assignment:

    state            callback                      what readiness means
    waiting          the waiting greenlet's switch  data or EOF for that greenlet
    watched          set by `watch_readable`        data or EOF for the callback
    otherwise        `on_readable`                  by default: nothing waits, so stop watching until something does

Subclasses give `on_readable` its meaning: an idle client connection begins a request, an idle upstream connection is
discarded, a client that closes while its response is pending ends the exchange.

The order is wait first, then read: a read that fails with EAGAIN costs a system call and an exception.

Over TLS, plaintext can be readable although the descriptor is not: it was decrypted together with what was read before.
The socket says so (`TlsSocket.readable`), and a stream then calls back, or returns from a wait, without its watcher.
"""

import fcntl
import socket
import sys
import termios
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from greenlet import getcurrent, greenlet

from proxy.errors import DeadlinePassed
from proxy.net.event_loop import NEVER, READ, WRITE, Deadlines, Hub, Watcher
from proxy.net.sockets import RECEIVE_SIZE, Socket, SocketLike
from proxy.net.tls_socket import TlsSocket

LONGEST_JOINED: Final = 16384
"""Bytes of a body that are copied behind its head: up to about here that costs less than handing over both."""

_RESET = b"\x01\0\0\0\0\0\0\0"  # SO_LINGER: on, for no time at all


class ClosedWatcher:
    """The read watcher of a closed stream, whose descriptor may belong to another connection by now."""

    callback: Callable[..., object] | None = None
    events = READ
    active = False

    def start(self, callback: Callable[..., object]) -> None:  # noqa: ARG002 - a watcher's signature
        raise RuntimeError("the stream is closed")

    def stop(self) -> None: ...

    def close(self) -> None: ...


_CLOSED = ClosedWatcher()


class Sink(Protocol):
    """Where a body of known length is written to: a connection, or one of the streams that share it.

    `descriptor` is the file descriptor when bytes may go to it past Python (splice, sendfile), else None.
    """

    @property
    def descriptor(self) -> int | None: ...

    @property
    def starved(self) -> bool:
        """While it is full: whether only the client is to blame, by giving it no room."""

    @property
    def undelivered(self) -> int:
        """Bytes that were sent and have not reached the client; 0 where that cannot be known."""

    def send(self, data: bytes | memoryview) -> int:
        """Send what fits now, 0 bytes if it is full; the rest is offered again, unchanged. Raises `OSError`."""

    def wait_writable(self, deadline: float) -> None:
        """Return when bytes can be sent. Raises `DeadlinePassed`."""

    def watch_writable(self, callback: Callable[[], object]) -> None:
        """Call back each time bytes can be sent, until `unwatch_writable`."""

    def unwatch_writable(self) -> None: ...


class Stream:
    """A non-blocking connected socket, plain or TLS. At most one greenlet waits for it at a time."""

    __slots__ = (
        "deadline",
        "deadlines",
        "hub",
        "read_watcher",
        "sock",
        "tls",
        "waiter",
        "write_watcher",
    )

    def __init__(
        self,
        sock: SocketLike,
        hub: Hub,
        deadlines: Deadlines,
        watcher: Watcher | None = None,
        *,
        swept: bool = False,
    ) -> None:
        """`watcher` is the socket's read watcher, active, if it has one already; `swept`: something else keeps the
        stream in a set that `deadlines` includes."""
        self.sock = sock
        self.tls: TlsSocket | None = None
        self.hub = hub
        self.deadlines = deadlines
        self.deadline = NEVER
        self.waiter: greenlet | None = None
        if watcher is None:
            watcher = hub.loop.io(sock.fileno(), READ)
            watcher.start(self.on_readable)
        else:
            watcher.callback = self.on_readable
        self.read_watcher: Watcher = watcher
        self.write_watcher: Watcher | None = None
        if isinstance(sock, TlsSocket):
            self.tls = sock
            sock.on_end = self._look_again
        if not swept:
            deadlines.streams.add(self)

    @property
    def closed(self) -> bool:
        return self.read_watcher is _CLOSED

    @property
    def descriptor(self) -> int | None:
        """The descriptor on which bytes can be moved past Python; None over TLS, and on a shared connection."""
        sock = self.sock
        return sock.fileno() if isinstance(sock, Socket) else None

    @property
    def starved(self) -> bool:
        return True

    @property
    def buffered(self) -> bool:
        """Whether something can be received although the descriptor may not be readable."""
        return self.tls is not None and self.tls.readable

    def on_readable(self) -> None:
        """Readiness that nothing waits for: leave the data in the kernel, where it is bounded."""
        self.read_watcher.stop()

    def expire(self) -> None:
        """The deadline passed: end the wait, or the connection if no greenlet waits."""
        if self.waiter is not None:
            self.waiter.throw(DeadlinePassed)
        else:
            self.close()

    # Receiving.

    def wait_readable(self, deadline: float) -> None:
        """Return when data, EOF or an error can be read. Raises `DeadlinePassed`."""
        if self.tls is not None and self.tls.readable:
            return
        self.waiter = waiter = getcurrent()
        self.deadline = deadline
        watcher = self.read_watcher
        watcher.callback = waiter.switch
        if not watcher.active:
            watcher.start(waiter.switch)
        try:
            self.hub.switch()
        finally:
            self.waiter = None
            self.deadline = NEVER
            watcher.callback = self.on_readable

    @property
    def watched(self) -> bool:
        """Whether readiness calls back at all."""
        return self.read_watcher.active

    def watch_readable(self, callback: Callable[[], object]) -> None:
        """Call back each time something can be read, until another callback takes this one's place."""
        if self.closed:
            return
        self.read_watcher.callback = callback
        if not self.read_watcher.active:
            self.read_watcher.start(callback)
        if self.tls is not None:
            self._look_again()

    def unwatch_readable(self) -> None:
        self.read_watcher.stop()

    def _look_again(self) -> None:
        """Call back in the loop's next round if something is readable that the descriptor does not show."""
        if self.buffered and self.read_watcher.active:
            self.hub.loop.run_callback(self._tell_readable)

    def _tell_readable(self) -> None:
        watcher = self.read_watcher
        if watcher.active and watcher.callback is not None and self.buffered:
            watcher.callback()
            self._look_again()

    def peek(self) -> bytes | None:
        """The next byte, which stays to be received; b"" at EOF, None if there is nothing. Raises `OSError`."""
        try:
            return self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None

    def receive(self, deadline: float, size: int = RECEIVE_SIZE) -> bytes:
        """The next bytes, or b"" at EOF. Raises `DeadlinePassed` or `OSError`."""
        while True:
            self.wait_readable(deadline)
            try:
                return self.sock.recv(size)
            except BlockingIOError:
                continue

    # Sending.

    def wait_writable(self, deadline: float) -> None:
        """Return when bytes can be sent. Raises `DeadlinePassed`."""
        self.waiter = waiter = getcurrent()
        self.deadline = deadline
        self.watch_writable(waiter.switch)
        try:
            self.hub.switch()
        finally:
            self.waiter = None
            self.deadline = NEVER
            self.unwatch_writable()

    def watch_writable(self, callback: Callable[[], object]) -> None:
        if self.write_watcher is None:
            self.write_watcher = self.hub.loop.io(self.sock.fileno(), WRITE)
        self.write_watcher.start(callback)

    def unwatch_writable(self) -> None:
        if self.write_watcher is not None:
            self.write_watcher.stop()

    def send(self, data: bytes | memoryview) -> int:
        """Send what the kernel takes now, 0 bytes if it is full; returns how many. Raises `OSError`."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    def send_apart(self, head: bytes, body: bytes, flags: int) -> int:
        """Send both at once without copying them together first; how many bytes were taken. Not over TLS.

        Raises `OSError`, and `BlockingIOError` if nothing was taken.
        """
        assert isinstance(self.sock, Socket)
        return self.sock.sendmsg((head, body), (), flags)

    def send_all(self, data: bytes, timeout: float) -> None:
        """Send everything; `timeout` is the longest time without progress. Raises `DeadlinePassed` or `OSError`."""
        sent = self.send(data)
        if sent == len(data):
            return
        view = memoryview(data)[sent:]
        while view:
            self.wait_writable(monotonic() + timeout)
            sent = self.send(view)
            view = view[sent:]

    @property
    def undelivered(self) -> int:
        """Bytes that were sent and that the peer's kernel has not acknowledged; 0 where that cannot be known."""
        try:
            return int.from_bytes(fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    # Ending.

    def finish_sending(self) -> None:
        """Send FIN, after a close_notify over TLS, and keep reading."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut_off(self) -> bool:
        """Send FIN behind a message that its framing shows to be incomplete; True: the peer may still send."""
        if self.tls is not None:
            self.tls.silence()  # a close_notify would deny that something is missing
        self.finish_sending()
        return True

    def hand_over(self) -> Watcher:
        """Leave the socket open to the object that serves it from now on, and the active read watcher with it."""
        watcher, self.read_watcher = self.read_watcher, _CLOSED
        self._stop_watching()
        return watcher

    def close(self) -> None:
        """Close at once; closing twice is harmless. A greenlet that still waits is not woken."""
        if not self.closed:
            self._stop_watching()
            self.sock.close()

    def reset(self) -> None:
        """Close with RST, so that the peer cannot take what it got for the whole."""
        if self.closed:
            return
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        except OSError:
            pass
        self.close()

    def _stop_watching(self) -> None:
        if self.tls is not None:
            self.tls.on_end = None  # each would keep the other, and what OpenSSL has allocated, until a collection
        self.read_watcher.stop()
        self.read_watcher.close()
        self.read_watcher = _CLOSED
        if self.write_watcher is not None:
            self.write_watcher.stop()
            self.write_watcher.close()
            self.write_watcher = None
        self.deadlines.streams.discard(self)


def wait_either(reading: Stream, writing: Sink, deadline: float) -> None:
    """Return when one can be read or the other written. Raises `DeadlinePassed`; the deadline is `reading`'s."""
    writing.watch_writable(getcurrent().switch)
    try:
        reading.wait_readable(deadline)
    finally:
        writing.unwatch_writable()
