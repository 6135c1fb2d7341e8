"""The applications of one worker: connections to them, probes, and what waits for them."""

from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import gevent

from proxy import errors
from proxy.admin.commands import Trial
from proxy.cache.build import Stores
from proxy.exchange.context import ExchangeContext
from proxy.exchange.route import Tables
from proxy.limits import WorkerLimits
from proxy.net import listening
from proxy.observe.cells import OTHER, cell_name
from proxy.observe.metrics import Board
from proxy.observe.numbers import PeerSnapshot, PeerState
from proxy.process.probing import probe_host, probe_scheme
from proxy.settings import Address, RouteSettings, Settings
from proxy.settings.upstream_tls import NO_TLS, UpstreamTls
from proxy.settings.values import Peer as PeerSetting
from proxy.upstream.dialer import Dialer, Dialing
from proxy.upstream.h2.multiplexer import Multiplexer
from proxy.upstream.health import HealthLimits
from proxy.upstream.pool import ConnectRefused, Pool
from proxy.upstream.probe import Probe, Probing, probe, probe_connection
from proxy.upstream.queue import Queue
from proxy.upstream.transport import transport_of

_MOST_PAUSED = 1000
"""Requests that wait in one worker while a route is paused."""

_UPSTREAM_MARGIN = 1.0
"""An idle connection is given up this long before the upstream would close it."""


class Upstreams:
    """The pools and probes of this process, keyed by their settings: a reload keeps those that stay the same."""

    def __init__(self, context: ExchangeContext, log: Any, board: Board) -> None:
        self.context = context
        self.counters = context.counters
        self._log = log
        self._board = board
        self._pools: dict[tuple[object, ...], Pool] = {}
        self._probes: dict[tuple[Pool, Probing], Probe] = {}
        self._wanted: dict[tuple[Pool, Probing], Probing] = {}
        """The probing of each peer, by its settings; of several routes with different hosts the first counts."""
        self._pauses: dict[tuple[str, float], Queue] = {}
        self._held: dict[tuple[str, float], Queue] = {}
        """Those of the tables that are being built."""
        self._leaving: list[Pool] = []
        self._asked: set[Pool] = set()
        self.stores = Stores()

    @property
    def limits(self) -> WorkerLimits:
        return self.context.limits

    @property
    def pools(self) -> list[Pool]:
        return list(self._pools.values())

    @property
    def names(self) -> set[str]:
        """The peers in use, and those that serve what is still under way."""
        return {pool.name for pool in (*self.pools, *self._leaving)}

    def pool(self, address: Address, settings: Settings) -> Pool:
        """The pool for an address under these settings."""
        health = HealthLimits(
            settings.eject_after,
            settings.eject_time,
            settings.health_rise,
            settings.health_fall,
            settings.slow_start,
        )
        proxy_protocol = settings.proxy_protocol_out
        name, tls = (settings.upstream_name, settings.upstream_tls) if address.scheme else ("", NO_TLS)
        own = (address, name, tls, proxy_protocol)
        key = (*own, settings.upstream_keepalive, settings.pool_size, settings.reuse_unsafe, health)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = self._made(address, settings, health, self._dialer(address, settings, name, tls))
        return pool

    def _made(self, address: Address, settings: Settings, health: HealthLimits, dialer: Dialing) -> Pool:
        context = self.context
        return Pool(
            address,
            context.hub,
            context.deadlines,
            context.counters.peer(str(address)),
            size=settings.pool_size,
            idle_limit=settings.upstream_keepalive - _UPSTREAM_MARGIN,
            reuse_unsafe=settings.reuse_unsafe,
            health=health,
            proxy_protocol=settings.proxy_protocol_out,
            dialer=dialer,
            was_up=partial(self._was_up, str(address)),
        )

    def _dialer(self, address: Address, settings: Settings, name: str, tls: UpstreamTls) -> Dialing:
        hub, deadlines = self.context.hub, self.context.deadlines
        dialer = Dialer(address, transport_of(address, name, tls), hub, deadlines, settings.proxy_protocol_out)
        if not address.multiplexed:
            return dialer
        scheme = b"https" if address.scheme == "h2" else b"http"
        return Multiplexer(dialer, hub, deadlines, str(address), scheme, settings.upstream_keepalive - _UPSTREAM_MARGIN)

    def probe_once(self, route: RouteSettings, address: Address, trial: Trial, *, secure: bool) -> str:
        """Try an address as the route would connect to it: it must respond well, or without a path accept a
        connection. What is wrong, or nothing; raises nothing. `secure`: clients are served over TLS."""
        settings = route.settings
        dialer = self._dialer(address, settings, settings.upstream_name, settings.upstream_tls)
        pool = self._made(address, settings, HealthLimits(), dialer)
        host = trial.host or settings.health_host or probe_host(settings, route.hosts[0] if route.hosts else "")
        timeout = settings.health_timeout
        probing = Probing(trial.path, host, probe_scheme(settings, secure=secure), trial.statuses, 0.0, timeout)
        return probe(pool, probing) if trial.path else probe_connection(pool, timeout)

    def probe(self, pool: Pool, probing: Probing, host: str) -> None:
        """Probe a peer from `commit` on, under this host if `probing` names none."""
        self._wanted.setdefault((pool, probing), replace(probing, host=probing.host or host))

    def auth_pool(self, settings: Settings) -> Pool | None:
        """The pool of the service that authorises a route's requests."""
        if not settings.forward_auth:
            return None
        parts = urlsplit(settings.forward_auth)
        own = replace(settings, proxy_protocol_out="off", upstream_name="", upstream_tls=settings.forward_auth_tls)
        pool = self.pool(PeerSetting.parse(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}").address, own)
        self._asked.add(pool)
        return pool

    def queue(self, settings: Settings) -> Queue:
        """A queue for the requests of one route."""
        return Queue(self.context.hub, self.context.deadlines, settings.queue, settings.queue_timeout)

    def pause(self, route: str, seconds: float) -> Queue | None:
        """Where the requests of a paused route wait; the same as long as its pause does not change."""
        if not seconds:
            return None
        key = route, seconds
        pause = self._held.get(key) or self._pauses.get(key)
        if pause is None:
            context = self.context
            pause = Queue(context.hub, context.deadlines, _MOST_PAUSED, seconds, full=errors.PAUSED, late=errors.PAUSED)
        self._held[key] = pause
        return pause

    def commit(self, tables: Tables) -> None:
        """Close the pools, stop the probes and end the pauses that these tables do not use; start those that they do.

        What waited goes on with the successor of its cluster.
        """
        used = {pool for route in tables.routes for pool in route.cluster.pools} | self._asked
        for key, pool in list(self._pools.items()):
            if pool not in used:
                del self._pools[key]
                pool.close()
                self._leaving.append(pool)
        for key in self._pauses.keys() - self._held.keys():
            self._pauses[key].release()
        self._pauses, self._held = self._held, {}
        wanted = {(pool, probing) for (pool, _), probing in self._wanted.items()}
        for probed in self._probes.keys() - wanted:
            self._probes.pop(probed).stop()
        for pool, probing in wanted - self._probes.keys():
            self._probes[pool, probing] = Probe(pool, probing, self._changed)
        self._wanted = {}
        self._asked = set()

    def look(self) -> None:
        """Log the peers that were never up and do not listen now."""
        for pool in self.pools:
            if not pool.was_up():
                gevent.spawn(self._look_at, pool)

    def _look_at(self, pool: Pool) -> None:
        try:
            pool.addresses()
            fault = listening.fault(pool.address)
        except ConnectRefused as refused:
            fault = refused.fault
        if fault:
            self._log.warning(
                "upstream %s: %s: requests for it fail with 502; start the application, or correct the address",
                pool.name,
                fault,
            )

    def _was_up(self, name: str) -> bool:
        connected = self._board.connected()
        return cell_name(name) in connected or OTHER in connected

    def _changed(self, pool: Pool, fault: str) -> None:
        if pool.health.down:
            self._log.warning("upstream %s is down: %s", pool.name, fault)
        else:
            self._log.info("upstream %s is up", pool.name)

    def queued(self, tables: Tables) -> int:
        """Requests queued for a peer's connection."""
        return sum(len(route.cluster.queue) for route in tables.routes if route.cluster.queue is not None)

    def snapshots(self, tables: Tables) -> dict[str, PeerSnapshot]:
        """The snapshot of each peer; for a peer of several routes, the worst of their views.

        A peer that was removed from all routes is included until its last exchange has ended.
        """
        now = monotonic()
        seen: dict[str, PeerSnapshot] = {}
        for route in tables.routes:
            for peer in route.cluster.peers:
                snapshot = peer.snapshot(now)
                if peer.name not in seen or _gravity(seen[peer.name].state) < _gravity(snapshot.state):
                    seen[peer.name] = snapshot
        self._leaving = [pool for pool in self._leaving if pool.open]
        for pool in self._leaving:
            snapshot = seen.get(pool.name, PeerSnapshot(PeerState.DRAINING))
            seen[pool.name] = snapshot._replace(busy=snapshot.busy + pool.busy)
        return seen


def _gravity(state: PeerState) -> int:
    """Which of two routes' views of a peer is shown. Drains are left out: they are overrides of single routes."""
    return -1 if state is PeerState.DRAINING else state
