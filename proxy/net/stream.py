"""A connected socket and the greenlet that waits for it.

Theory of operation. Each socket has one read watcher that is started once and stays on: stopping and starting one
costs two failed epoll_ctl calls per wait. Who is told of readiness is the watcher's callback, and changing that is
one assignment:

    state            callback                     what readiness means
    waiting          the greenlet's own switch    data or EOF for whoever waits
    otherwise        `on_readable`                    by default: nobody asked, stop watching until somebody does

Subclasses give `on_readable` its meaning: a parked client connection takes a greenlet, an idle upstream connection is
discarded, a client that closes while its answer is pending ends the exchange.

The order is wait first, then read: a read that fails with EAGAIN costs a system call and an exception. Deadlines are
numbers; one sweeper a second compares them (`Deadlines`), so a wait may last up to a second longer than asked.
"""

import fcntl
import socket
import sys
import termios
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

import gevent
from gevent import get_hub
from greenlet import getcurrent, greenlet

from proxy.errors import DeadlinePassed

READ, WRITE = 1, 2
NEVER = float("inf")
RECEIVE_SIZE = 65536

HEAD_RECEIVE_SIZE = 16384
"""Enough for nearly every head with what comes along; asking for more makes the allocator move the heap's end."""

END_FOLLOWS: int = getattr(socket, "MSG_MORE", 0)
"""Flag for `send`: the end of the connection follows at once, and travels with the data where the kernel can do that.

It spares each end two segments of an answer over TLS (2.8 of 7.9 us here); if no end followed, the kernel would send
after 200 ms."""

Socket = socket.SocketType


class Hub:
    """This process' event loop, looked up once: `switch` leaves the current greenlet until something wakes it."""

    def __init__(self) -> None:
        hub = get_hub()
        self.loop: Any = hub.loop
        self.switch: Callable[[], Any] = hub.switch
        self.greenlet = hub

    def spawn(self, run: Callable[..., object], *args: object) -> greenlet:
        """A raw greenlet whose parent is the hub, started in the loop's next round."""
        spawned = greenlet(run, self.greenlet)
        self.loop.run_callback(spawned.switch, *args)
        return spawned


def give_way() -> None:
    """Let the loop see to its I/O before the calling greenlet goes on: between two stretches of long computing.

    `gevent.sleep(0)` would not: the loop runs callbacks, new ones too, before it polls again. A hundred stretches of
    half a millisecond went by with one look at I/O.
    """
    gevent.sleep(1e-6)


class Expiring(Protocol):
    """What has a deadline (monotonic seconds) and knows what its passing means."""

    deadline: float

    def expire(self) -> None: ...


class Deadlines:
    """All that may have a deadline; `sweep` ends what is over."""

    def __init__(self) -> None:
        self.streams: set[Expiring] = set()

    def sweep(self) -> None:
        now = monotonic()
        for stream in [stream for stream in self.streams if stream.deadline < now]:
            # One that ended before may have ended this one too, or given it more time.
            if stream.deadline < now and stream in self.streams:
                stream.deadline = NEVER
                stream.expire()


class Sink(Protocol):
    """Where a body of known length is written to: a connection, or one of the streams that share it.

    `descriptor` is the file descriptor when bytes may go to it past Python (splice, sendfile), else None.
    """

    @property
    def descriptor(self) -> int | None: ...

    @property
    def starved(self) -> bool:
        """While it is full: whether that is the client's doing, who gives it no room."""

    @property
    def undelivered(self) -> int:
        """Bytes that were sent and have not come to the client; 0 where that cannot be known."""

    def send(self, data: bytes | memoryview) -> int:
        """What is taken at once, 0 if it is full; the rest is offered again, unchanged. Raises `OSError`."""

    def wait_writable(self, deadline: float) -> None:
        """Return when bytes can be sent. Raises `DeadlinePassed`."""

    def watch_writable(self, callback: Callable[[], object]) -> None:
        """Call back each time bytes can be sent, until `unwatch_writable`."""

    def unwatch_writable(self) -> None: ...


class Stream:
    """A non-blocking connected socket. At most one greenlet waits for it at a time."""

    __slots__ = ("__weakref__", "deadline", "deadlines", "hub", "reader", "sock", "waiter", "writer")

    def __init__(self, sock: Socket, hub: Hub, deadlines: Deadlines, reader: Any = None) -> None:
        """`reader` is the socket's read watcher, active, if it has one already."""
        self.sock = sock
        self.hub = hub
        self.deadlines = deadlines
        self.deadline = NEVER
        self.waiter: greenlet | None = None
        if reader is None:
            self.reader: Any = hub.loop.io(sock.fileno(), READ)
            self.reader.start(self.on_readable)
        else:
            self.reader = reader
            reader.callback = self.on_readable
        self.writer: Any = None
        deadlines.streams.add(self)

    @property
    def closed(self) -> bool:
        return self.reader is None

    @property
    def descriptor(self) -> int | None:
        return self.sock.fileno()

    @property
    def starved(self) -> bool:
        return True

    @property
    def buffered(self) -> bool:
        """Whether something waits to be received that the descriptor does not tell of."""
        return False

    def on_readable(self) -> None:
        """Readiness that nobody waits for: leave it in the kernel, where it is bounded, until somebody asks."""
        self.reader.stop()

    def expire(self) -> None:
        """The deadline passed: end the wait, or the connection if nobody waits."""
        if self.waiter is not None:
            self.waiter.throw(DeadlinePassed)
        else:
            self.close()

    def wait_readable(self, deadline: float) -> None:
        """Return when data, EOF or an error can be read. Raises `DeadlinePassed`."""
        self.waiter = waiter = getcurrent()
        self.deadline = deadline
        reader = self.reader
        reader.callback = waiter.switch
        if not reader.active:
            reader.start(waiter.switch)
        try:
            self.hub.switch()
        finally:
            self.waiter = None
            self.deadline = NEVER
            reader.callback = self.on_readable

    def watch_readable(self, callback: Callable[[], object]) -> None:
        """Call back each time something can be read, until another callback takes this one's place."""
        if self.reader is not None:
            self.reader.callback = callback
            if not self.reader.active:
                self.reader.start(callback)

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
        if self.writer is None:
            self.writer = self.hub.loop.io(self.sock.fileno(), WRITE)
        self.writer.start(callback)

    def unwatch_writable(self) -> None:
        if self.writer is not None:
            self.writer.stop()

    def receive(self, deadline: float, size: int = RECEIVE_SIZE) -> bytes:
        """The next bytes, or b"" at EOF. Raises `DeadlinePassed` or `OSError`."""
        while True:
            self.wait_readable(deadline)
            try:
                return self.sock.recv(size)
            except BlockingIOError:
                continue

    def send(self, data: bytes | memoryview) -> int:
        """What the kernel takes at once, 0 if it is full. Raises `OSError`."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    def send_all(self, data: bytes, timeout: float) -> None:
        """Send everything; `timeout` is the longest time without progress. Raises `DeadlinePassed` or `OSError`."""
        sent = self.send(data)
        if sent == len(data):
            return
        view = memoryview(data)[sent:]
        while view:
            self.wait_writable(monotonic() + timeout)
            view = view[self.send(view) :]

    def give_up(self) -> None:
        """Stop watching the socket, and leave it open to whoever serves it from now on."""
        self.reader.stop()
        self.reader.close()
        self.reader = None
        self.deadlines.streams.discard(self)

    def close(self) -> None:
        """Close at once; closing twice is harmless. A greenlet that still waits is not woken."""
        if self.reader is None:
            return
        self.reader.stop()
        self.reader.close()
        self.reader = None
        if self.writer is not None:
            self.writer.stop()
            self.writer.close()
            self.writer = None
        self.deadlines.streams.discard(self)
        self.sock.close()

    def reset(self) -> None:
        """Close with RST, so that the peer cannot take what it got for the whole."""
        if self.reader is None:
            return
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        except OSError:
            pass
        self.close()

    @property
    def undelivered(self) -> int:
        """Bytes that were sent and that the peer's kernel has not acknowledged; 0 where that cannot be known."""
        try:
            return int.from_bytes(fcntl.ioctl(self.sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    def finish_sending(self) -> None:
        """Send FIN and keep reading."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut_off(self) -> bool:
        """The same where what was sent is not the whole: its framing shows it. Whether an answer may come: it may."""
        self.finish_sending()
        return True


def wait_either(reading: Stream, writing: Sink, deadline: float) -> None:
    """Return when one can be read or the other written. Raises `DeadlinePassed`, told to `reading`."""
    writing.watch_writable(getcurrent().switch)
    try:
        reading.wait_readable(deadline)
    finally:
        writing.unwatch_writable()
