"""The least that a proxy on this event loop can cost: connections joined in pairs, their bytes received and sent.

It understands nothing, logs nothing, has no deadlines and gives up on a side that does not take its bytes at once, as
with long bodies. What the gateway costs above it is the gateway's own; what it costs itself is the kernel's, the
interpreter's and the loop's.
"""

import socket
import sys
from typing import Any

from gevent.hub import get_hub

READ = 1
BUFFER = memoryview(bytearray(1 << 17))


class Half:
    """What comes from `source` goes to `target`."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.source = source
        self.receive = source.recv_into
        self.send = target.send
        self.shutdown = target.shutdown
        self.watcher: Any = get_hub().loop.io(source.fileno(), READ)
        self.watcher.start(self.relay)

    def relay(self) -> None:
        """The source can be read."""
        try:
            count = self.receive(BUFFER)
            if count and self.send(BUFFER[:count]) == count:
                return
            self.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        self.watcher.stop()


class Front:
    """Accepts, and joins each connection with one of its own to the upstream."""

    def __init__(self, port: int, upstream: int) -> None:
        self.upstream = upstream
        self.listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.listener.setblocking(False)
        self.watcher: Any = get_hub().loop.io(self.listener.fileno(), READ)
        self.watcher.start(self.accept)
        self.halves: list[Half] = []

    def accept(self) -> None:
        """Take one connection, if it is still there."""
        try:
            client, _ = self.listener.accept()
        except OSError:
            return
        self.halves = [half for half in self.halves if half.watcher.active]
        upstream = socket.create_connection(("127.0.0.1", self.upstream))
        for sock in (client, upstream):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")  # as the gateway within a machine
            sock.setblocking(False)
        self.halves += Half(client, upstream), Half(upstream, client)


if __name__ == "__main__":
    front = Front(int(sys.argv[1]), int(sys.argv[2]))
    get_hub().join()
