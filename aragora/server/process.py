"""What one worker process consists of, built once, after the fork, at the first need.

`start()` and `stop()` are called by gunicorn's hooks, by the ASGI lifespan and by the development server; an
application that is served without such hooks starts its parts at the first request through `current()`.
"""

import functools
import logging
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from aragora import settings as settings_table
from aragora.agents import build
from aragora.agents.endpoint import Endpoints
from aragora.agents.prices import Prices
from aragora.errors import AragoraError, Unavailable
from aragora.outbound import Outbound, networks
from aragora.runner import Runner
from aragora.server.audit import AuditLog
from aragora.server.metrics import Metrics
from aragora.server.watchers import Watchers
from aragora.service import Access, Debates, Notifications, Notifier, Policy, Providers, Sources, daily_limits
from aragora.settings import Settings
from aragora.storage import ChangeFeed, DebateRecord, Store, last_backup

log = logging.getLogger("aragora.server")

SAMPLE_SECONDS = 2.0
LOOK_SECONDS = 5.0  # between two looks at what the database and the data directory tell

_lock = threading.Lock()
_current: "Process | None" = None


@dataclass(slots=True)
class Process:
    """The parts of this process; `pid` tells a forked child that they belong to its parent."""

    settings: Settings
    store: Store
    feed: ChangeFeed
    runner: Runner
    notifier: Notifier
    debates: Debates
    providers: Providers
    sources: Sources
    access: Access
    metrics: Metrics
    watchers: Watchers
    audit: AuditLog
    pid: int = field(default_factory=os.getpid)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def draining(self) -> bool:
        """Whether this process is about to end and wants no more work."""
        return self.watchers.draining

    @classmethod
    def build(cls, settings: Settings) -> "Process":
        """Open the store and start every part; raises `SettingsError` or `Unavailable`."""
        _log_as_set(settings.log_level)
        prices = Prices.load(settings.prices if settings.prices != Path() else None)
        metrics = Metrics(settings.data_dir / "metrics")
        metrics.capacity.set(settings.worker_connections)
        store = Store.open(settings)
        feed = ChangeFeed(store, settings)
        feed.start()
        endpoints = Endpoints(settings.data_dir / "gates")
        runner = Runner(
            store,
            feed,
            settings.agents_environ,
            capacity=settings.max_debates,
            lease_ttl=settings.lease_ttl,
            observer=metrics,
            build=functools.partial(build, endpoints=endpoints),
            prices=prices,
            daily=daily_limits(settings),
        )
        if settings.runner:
            runner.start()
        audit = AuditLog(settings.audit_log, metrics.audit_lost.inc)
        policy = Policy.of(settings)
        outbound = Outbound(networks(settings.private_networks))
        sources = Sources(outbound, fetches=settings.fetch, limit=settings.max_source)
        debates = Debates(
            store,
            feed,
            settings.agents_environ,
            prices=prices,
            policy=policy,
            sources=sources,
            notifications=Notifications(store, outbound, settings.webhook_secret),
        )
        notifier = Notifier(store, outbound, settings.url, metrics.notified)
        if settings.runner:
            notifier.start()
        providers = Providers(settings.agents_environ, endpoints, runner.meter, policy)
        access = Access(settings, store.tokens)
        watchers = Watchers(settings.max_watchers)
        here = cls(
            settings, store, feed, runner, notifier, debates, providers, sources, access, metrics, watchers, audit
        )
        threading.Thread(target=here.sample, name="aragora-gauges", daemon=True).start()
        return here

    def sample(self) -> None:
        """Refresh the gauges that are not counted as they change; any worker may be the one that is scraped."""
        looked = -LOOK_SECONDS
        used = 0.0
        while True:
            used, before = time.process_time(), used
            self.metrics.cpu.inc(used - before)
            self.metrics.running.set(self.runner.status().running)
            if time.monotonic() - looked >= LOOK_SECONDS:
                looked = time.monotonic()
                self._look()
            if self.ended.wait(SAMPLE_SECONDS):
                return

    def _look(self) -> None:
        self.metrics.backup(last_backup(self.settings))
        try:
            self.metrics.backlog(self.store.leases.backlog())
        except AragoraError as error:
            log.debug("the backlog stays as it was: %s", error.message)

    def cancel(self, debates: Debates, debate_id: str) -> DebateRecord:
        """End one of the caller's `debates` for good, and count it: no runner sees this end."""
        record = debates.cancel(debate_id)
        self.metrics.ended(record.status, record.updated_at - record.created_at)
        return record

    def drain(self, grace: float) -> None:
        """Hand debates over within `grace` seconds and send watchers away; requests are still answered."""
        self.watchers.drain()
        self.runner.drain(grace)

    def close(self) -> None:
        """Let go of the store and of everything that listens."""
        self.ended.set()
        self.notifier.close()
        self.feed.close()
        self.store.close()
        self.audit.close()
        self.metrics.close()


def _log_as_set(level: str) -> None:
    """Send our log to standard error, unless the server that runs us has configured logging."""
    logger = logging.getLogger("aragora")
    logger.setLevel(level.upper())
    if not logger.hasHandlers():
        lines = logging.StreamHandler()
        lines.setFormatter(logging.Formatter("[%(asctime)s] [%(process)d] [%(levelname)s] %(name)s: %(message)s"))
        logger.addHandler(lines)


def start() -> None:
    """For a server's hooks: start this process' parts; raises `SettingsError`.

    A database that does not answer keeps no worker from saying so in /ready: the next request tries again.
    """
    try:
        current()
    except Unavailable as error:
        log.warning("not started yet, the next request tries again: %s", error.message)


def is_running() -> bool:
    """Whether this process' parts are there already."""
    return _current is not None and _current.pid == os.getpid()


def current() -> Process:
    """This process' parts, started on first use; raises `SettingsError` and `Unavailable`."""
    global _current
    found = _current
    if found is not None and found.pid == os.getpid():
        return found
    with _lock:
        if _current is None or _current.pid != os.getpid():
            _current = Process.build(settings_table.load())
        return _current


def stop(grace: float = 30.0) -> None:
    """Drain within `grace` seconds: leases are handed over, watchers are asked to reconnect."""
    found = _current
    if found is not None and found.pid == os.getpid():
        found.drain(grace)


def discard() -> None:
    """Stop and forget this process' parts, so that the next `start()` builds new ones; for servers that reload."""
    global _current
    found = _current
    if found is not None and found.pid == os.getpid():
        found.drain(0)
        found.close()
    _current = None
