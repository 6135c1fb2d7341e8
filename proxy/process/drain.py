"""The end of a worker: take nothing new, finish what is in flight, close WebSockets gradually."""

from time import monotonic

import gevent
from gevent.event import Event

from proxy.exchange.context import ExchangeContext
from proxy.exchange.tunnel import GOING_AWAY, SERVICE_RESTART
from proxy.observe.metrics import Board
from proxy.observe.numbers import Gauge
from proxy.process.frontends import Frontends
from proxy.settings import Settings

_PARKED_GRACE = 1.0
"""Seconds after the start of a drain in which a parked connection may still bring a request that was on its way."""

_POLL = 0.05  # seconds between two looks at what is in flight


class Drain:
    """Begins at most once; `finished` is set when nothing is in flight any more, or `graceful` seconds have passed."""

    def __init__(self, context: ExchangeContext, board: Board) -> None:
        self.finished = Event()
        self._context = context
        self._board = board
        self._begun = False

    def is_active(self) -> bool:
        return self._begun

    def begin(self, frontends: Frontends, settings: Settings) -> None:
        """Drain in a greenlet of its own."""
        if not self._begun:
            self._begun = True
            gevent.spawn(self._run, frontends, settings)

    def _run(self, frontends: Frontends, settings: Settings) -> None:
        end = monotonic() + settings.graceful
        self._context.counters.gauge(Gauge.DRAINING, 1)
        frontends.drain()
        gevent.spawn(self._close_tunnels, min(settings.websocket_drain, settings.graceful))
        parked_until = monotonic() + min(_PARKED_GRACE, settings.graceful / 2)
        while monotonic() < end:
            if monotonic() >= parked_until:
                frontends.close_parked()
            if not frontends.connections:
                break
            gevent.sleep(_POLL)
        self.finished.set()

    def _close_tunnels(self, seconds: float) -> None:
        """Close WebSockets spread over `seconds`, so that their clients do not all reconnect at once."""
        tunnels = list(self._context.tunnels)
        pause = seconds * 0.8 / len(tunnels) if tunnels else 0.0
        for tunnel in tunnels:
            tunnel.shut(GOING_AWAY if self._board.stopping else SERVICE_RESTART, max(1.0, seconds * 0.2))
            gevent.sleep(pause)
