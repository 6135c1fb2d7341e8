"""Accepting connections."""

import errno
import socket
from collections.abc import Callable

from proxy.net.congestion import spare_pacing
from proxy.net.event_loop import READ, Hub
from proxy.net.sockets import Socket
from proxy.wire.addresses import unmapped_peer

_PAUSE = 0.1
"""Seconds without accepting after descriptors ran out: long enough for connections to end, short enough to notice."""

_COURTESY = 0.001
"""Seconds that a new connection is left to workers that hold fewer."""

_BACKLOG = 4096
"""Connections that may wait to be accepted, at most: the kernel's own bound, as Linux has it."""

_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Listener:
    """A listening socket; each accepted one is handed over, non-blocking and without Nagle's delay.

    A turn takes what has piled up, `batch` connections at most. The turn before says how many may be there:
    asking for one that is not there costs as much as five other system calls.

    All workers wait on the same socket, and the kernel tends to wake the same one first. A worker that holds more than
    its share of the connections, as `yields` says, therefore leaves a new one to the others for a moment.
    """

    def __init__(
        self,
        sock: socket.socket,
        hub: Hub,
        accepted: Callable[[Socket, str], None],
        exhausted: Callable[[], None],
        yields: Callable[[], bool],
        batch: int,
    ) -> None:
        self._sock = sock
        self._hub = hub
        self._accepted = accepted
        self._exhausted = exhausted
        self._yields = yields
        self.batch = batch
        self._expected = 1
        self._is_tcp = sock.family != socket.AF_UNIX
        # As plain numbers: a socket's own attributes make an enumeration's member each time.
        self._kind = int(sock.family), int(sock.type), sock.proto
        self._watcher = hub.loop.io(sock.fileno(), READ)
        self._pause = hub.loop.timer(_PAUSE)
        self._courtesy = hub.loop.timer(_COURTESY)
        sock.setblocking(False)
        if self._is_tcp:
            # Accepted sockets inherit both.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            spare_pacing(sock, sock.getsockname()[0])

    def start(self) -> None:
        self._watcher.start(self._take_turn)

    def stop(self) -> None:
        self._watcher.stop()
        self._pause.stop()
        self._courtesy.stop()

    def finish(self) -> None:
        """Accept the connections already in the backlog, and none after."""
        self.start()
        self._expected = _BACKLOG
        self._accept()
        self.stop()

    def pause(self) -> None:
        """Accept nothing for a moment; the kernel's backlog holds new connections."""
        self._watcher.stop()
        self._pause.start(self.start)

    def _take_turn(self) -> None:
        if self._yields():
            self._watcher.stop()
            self._courtesy.start(self._accept_what_is_left)
        else:
            self._accept()

    def _accept_what_is_left(self) -> None:
        self.start()
        self._accept()

    def _accept(self) -> None:
        for taken in range(self._expected):
            try:
                descriptor, address = self._sock._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, ConnectionAbortedError):
                self._expected = taken or 1
                return
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                self._exhausted()
                self.pause()
                return
            sock = Socket(*self._kind, fileno=descriptor)
            sock.setblocking(False)
            self._accepted(sock, unmapped_peer(address[0]) if self._is_tcp else "")
            if not self._watcher.active:
                return
        self._expected = min(2 * self._expected, self.batch)
