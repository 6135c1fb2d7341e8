"""Running a test's code inside the event loop, and the near and far ends of connections in it."""

import fcntl
import functools
import inspect
import resource
import socket
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent import socket as gevent_socket

from proxy.net.event_loop import Deadlines, Hub
from proxy.net.stream import Stream
from tests import waiting
from tests.waiting import PATIENCE, readable


class Loop:
    """A hub with its deadlines, and streams in it."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.deadlines = Deadlines()
        self._open: list[Any] = []

    def _opened(self, near: socket.socket, far: socket.socket) -> tuple[Stream, Any]:
        near.setblocking(False)
        stream = Stream(near, self.hub, self.deadlines)
        cooperative = gevent_socket.socket(fileno=far.detach())
        self._open += [stream, cooperative]
        return stream, cooperative

    def close(self) -> None:
        for end in self._open:
            end.close()

    def sweeping(self) -> Any:
        """The sweeper of deadlines, as the gateway runs it, until its `stop`."""
        timer = self.hub.loop.timer(0.005, 0.005)
        timer.start(self.deadlines.sweep)
        return timer

    def pair(self) -> tuple[Stream, Any]:
        """A stream and the other end of its connection, as a cooperative socket."""
        near, far = socket.socketpair()
        return self._opened(near, far)

    def tcp_pair(self, *, receives: int = 4096, sends: int = 4096) -> tuple[Stream, Any]:
        """As `pair`, over TCP with small buffers, so that a slow side is noticed soon."""
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        far.connect(listener.getsockname())
        near, _ = listener.accept()
        listener.close()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sends)
        return self._opened(near, far)


def in_loop(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a greenlet with a `Loop` as its first argument; pytest fills in the others.

    The test's exception is raised here. A test that hangs fails; what its loop opened is closed.
    """

    @functools.wraps(test)
    def run(*args: object, **fixtures: object) -> None:
        loop = Loop()
        try:
            with gevent.Timeout(PATIENCE):
                gevent.spawn(test, loop, *args, **fixtures).get()
        finally:
            loop.close()

    signature = inspect.signature(test)
    _loop, *others = signature.parameters.values()
    run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
    return run


until = functools.partial(waiting.until, pause=gevent.sleep)
"""Let the loop run until a condition holds; the arguments of `tests.waiting.until`."""


def arrives(stream: Stream) -> None:
    """Return when data, an end or a reset has come to a stream; the loop does not run meanwhile, nor notice it."""
    assert readable(stream.sock, PATIENCE)


def undelivered(sock: Any) -> int:
    """Bytes that were sent on a socket and have not come to its peer's kernel."""
    return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def read_all(sock: Any) -> bytes:
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def read_exactly(sock: Any, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece, f"ended after {len(data)} of {count} bytes"
        data += piece
    return data


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Those that are open stay, and the process gets no other."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
