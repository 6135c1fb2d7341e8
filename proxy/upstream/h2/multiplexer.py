"""Many requests over few connections: each channel on the first connection with room, a new one if none has."""

import errno
from time import monotonic

from gevent.event import Event

from proxy.errors import DeadlinePassed
from proxy.net.event_loop import Deadlines, Hub, Watcher
from proxy.upstream.dialer import Dialer, Link
from proxy.upstream.h2.connection import MultiplexedConnection


class Multiplexer:
    """Opens the connections of one peer, one at a time, by `dialer`; `scheme` is that of the requests, `idle_limit` the
    seconds that a connection is kept without any."""

    def __init__(
        self, dialer: Dialer, hub: Hub, deadlines: Deadlines, peer: str, scheme: bytes, idle_limit: float
    ) -> None:
        self._dialer = dialer
        self._hub = hub
        self._deadlines = deadlines
        self._peer = peer
        self._scheme = scheme
        self._idle_limit = idle_limit
        self._connections: list[MultiplexedConnection] = []
        self._opening: Event | None = None
        """Set when the connection that is being opened is there, or is not."""

    def dial(self, deadline: float, preamble: bytes) -> Link:  # noqa: ARG002 - as the protocol; refused by the settings
        while True:
            self._connections = [one for one in self._connections if one.usable]
            for connection in self._connections:
                if connection.has_room:
                    return _link(connection)
            opening = self._opening
            if opening is None:
                return _link(self._open(deadline))
            if not opening.wait(max(0.0, deadline - monotonic())):
                raise DeadlinePassed

    def _open(self, deadline: float) -> MultiplexedConnection:
        opening = self._opening = Event()
        try:
            link = self._dialer.dial(deadline, b"")
            watcher: Watcher | None = link.watcher
            assert watcher is not None
            connection = MultiplexedConnection(
                link.sock, self._hub, self._deadlines, watcher, self._peer, self._scheme, self._idle_limit
            )
            self._connections.append(connection)
            connection.await_ready(deadline)
        finally:
            self._opening = None
            opening.set()
        if not connection.has_room:
            connection.close()
            raise OSError(errno.EPROTO, "it accepts no requests (SETTINGS_MAX_CONCURRENT_STREAMS is 0)")
        return connection

    def close(self) -> None:
        for connection in self._connections:
            connection.retire()


def _link(connection: MultiplexedConnection) -> Link:
    channel = connection.channel()
    return Link(channel, channel.hub, None, b"")
