"""What the connections of one listener share, and the greenlets that serve them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from greenlet import getcurrent, greenlet

from proxy.exchange import Resources
from proxy.net.stream import Socket
from proxy.route import Route, Tables
from proxy.upstream.request import Request
from proxy.wire.fields import Clock

if TYPE_CHECKING:
    from proxy.front.h1 import Connection


class Front:
    """What the connections of one listener share. `tables` is replaced on reload; a request keeps those it began with.

    `exchange` answers one request on one connection; `protocol` makes a connection of an accepted socket.
    """

    def __init__(
        self,
        tables: Tables,
        resources: Resources,
        exchange: Callable[["Connection", Request, Route | None], None],
        protocol: Callable[[Socket, "Front", str], "Connection"],
        scheme: bytes,
        port: bytes,
    ) -> None:
        self.tables = tables
        self.resources = resources
        self.exchange = exchange
        self._protocol = protocol
        self.scheme = scheme
        self.port = port
        self.clock = Clock()
        self.draining = False
        self.connections: set[Connection] = set()
        self._idle: list[greenlet] = []
        self._greenlets = 0

    def accept(self, sock: Socket, client: str) -> None:
        """Take a new connection; over the limit, the one that has been idle longest makes room."""
        if len(self.connections) >= self.tables.settings.max_connections and not self.shed(1):
            sock.close()
            return
        self.resources.counters.accepted()
        self._protocol(sock, self, client)

    def resume(self, connection: "Connection") -> None:
        """Give a parked connection to an idle greenlet."""
        if self._idle:
            worker = self._idle.pop()
        else:
            worker = greenlet(self._work, self.resources.hub.greenlet)
            self._greenlets += 1
        worker.switch(connection)

    def _work(self, connection: "Connection") -> None:
        hub_switch = self.resources.hub.switch
        while True:
            connection.serve()
            self._idle.append(getcurrent())
            connection = hub_switch()

    def trim(self) -> None:
        """Let some of the idle greenlets go; called once a second, so that a past peak's are gone within a minute."""
        surplus = len(self._idle) // 16
        self._greenlets -= surplus
        del self._idle[:surplus]

    @property
    def serving(self) -> int:
        """Connections with a request in flight."""
        return self._greenlets - len(self._idle)

    def shed(self, most: int = 64) -> int:
        """Close the parked connections that have been idle longest; return how many."""
        parked = sorted((c for c in self.connections if c.owner is None and not c.detached), key=lambda c: c.deadline)
        for connection in parked[:most]:
            connection.close()
        return len(parked[:most])

    def drain(self) -> None:
        """Take no more requests: close what is parked, let the rest end with its answer."""
        self.draining = True
        self.shed(len(self.connections))
