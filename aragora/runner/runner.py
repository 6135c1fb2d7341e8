"""Claims debates and keeps their leases, until it has to hand them over."""

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aragora.agents import Agent, build
from aragora.agents.metering import Bill, Meter
from aragora.agents.prices import Prices
from aragora.debate.spec import AgentSpec
from aragora.errors import AragoraError
from aragora.runner.run import Observer, Run
from aragora.storage import ChangeFeed, Lease, Limits, Store
from aragora.storage.records import UNBOUNDED

log = logging.getLogger(__name__)

SCAN = 0.5  # seconds between looks for debates that other processes left
CLAIM = 32  # debates claimed in one transaction
RENEWALS = 3  # per lease_ttl
STEPS = 4  # debates of one process that plan, store or begin to ask at the same moment


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """For metrics and /ready."""

    running: int
    capacity: int
    draining: bool


class Unobserved:
    """Counts nothing."""

    def asked(self, agent_type: str, purpose: str, seconds: float, failure: str | None) -> None:
        """Nothing."""

    def billed(self, agent_type: str, bill: Bill) -> None:
        """Nothing."""

    def ended(self, status: str, seconds: float) -> None:
        """Nothing."""


class Runner:
    """One per process, made after the fork. Any number of processes may run on one store.

    `prices` are the built-in ones by default; `daily` is what owners that are no stored tokens may spend on a day.
    """

    def __init__(
        self,
        store: Store,
        feed: ChangeFeed,
        agents_environ: Mapping[str, str],
        *,
        capacity: int = 1000,
        lease_ttl: float = 9.0,
        observer: Observer | None = None,
        prices: Prices | None = None,
        daily: Limits = UNBOUNDED,
        build: Callable[[AgentSpec, Mapping[str, str]], Agent] = build,
    ) -> None:
        self.store = store
        self.feed = feed
        self.agents_environ = agents_environ
        self.observer = observer or Unobserved()
        self.meter = Meter(prices or Prices.load(), agents_environ)
        self.daily = daily
        self.build = build
        self.owner = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._capacity = capacity
        self._ttl = lease_ttl
        self._runs: dict[Lease, Run] = {}
        # A thousand answers may come within one turn of the hub. Their threads take turns here, so that what
        # else the process serves waits for a few steps and not for a thousand.
        self.turn = threading.Semaphore(STEPS)
        self._work = threading.Event()
        self._draining = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to claim debates, in background threads (greenlets)."""
        self.feed.on_work(self.wake)
        for target in (self._claim, self._renew):
            thread = threading.Thread(target=target, name=f"aragora-runner{target.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Look for a debate to claim now."""
        self._work.set()

    def drain(self, grace: float) -> None:
        """Claim no more and hand every lease over at once; returns within `grace` seconds or a little more.

        Agents that are still answering are broken off; the process that takes over asks them again.
        """
        deadline = time.monotonic() + grace
        self._draining.set()
        self._work.set()
        runs = tuple(self._runs.values())
        for run in runs:
            run.stop()
        for thread in self._threads:
            thread.join(timeout=max(0.1, deadline - time.monotonic()))
        try:
            if self.store.leases.release_all(self.owner):
                self.feed.publish_work()
        except AragoraError as error:
            log.warning("leases not handed over, they expire in %g s: %s", self._ttl, error)
        for run in runs:
            run.join(max(0.0, deadline - time.monotonic()))

    def status(self) -> RunnerStatus:
        """What it does now."""
        return RunnerStatus(len(self._runs), self._capacity, self._draining.is_set())

    def _claim(self) -> None:
        while not self._draining.is_set():
            self._work.wait(SCAN)
            self._work.clear()
            try:
                while not self._draining.is_set() and self._claim_some():
                    pass
            except Exception as error:  # whatever it is, this process must not stop to claim
                log.warning("cannot claim debates: %s", error, exc_info=_unless_known(error))
                self._draining.wait(SCAN)

    def _claim_some(self) -> bool:
        """Whether more debates may wait."""
        free = min(CLAIM, self._capacity - len(self._runs))
        if free <= 0:
            return False
        leases = self.store.leases.claim(self.owner, self._ttl, free)
        for lease in leases:
            run = self._runs[lease] = Run(self, lease)
            run.start()
        return len(leases) == free

    def finished(self, run: Run) -> None:
        """Called by a run at its end."""
        self._runs.pop(run.lease, None)
        self.wake()

    def _renew(self) -> None:
        while not self._draining.wait(self._ttl / RENEWALS):
            runs = tuple(self._runs.values())
            if not runs:
                continue
            try:
                held = self.store.leases.renew(self.owner, self._ttl)
            except Exception as error:  # whatever it is, the next renewal may save what is held
                log.warning("cannot renew leases: %s", error, exc_info=_unless_known(error))
                continue
            for run in runs:
                if run.lease not in held:
                    run.stop()


def _unless_known(error: Exception) -> Exception | None:
    """What the log shows the trace of: unexpected failures."""
    return None if isinstance(error, AragoraError) else error
