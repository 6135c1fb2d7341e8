"""One worker's shares of limits of what clients have open, which several gateways keep together in Redis.

A worker leases a client's shares before it uses them, so that all gateways together never use more than the limit. All
that it wants to change goes to Redis in one command at a time, which also renews its lease: what a worker that died had
is free when its lease has passed. Of a high limit a few shares more are leased than are used, for the connections that
come next: together at most a quarter of the limit. While Redis is lost or late nothing is leased, and what is used is
leased as soon as it answers.
"""

import os
from time import monotonic
from typing import Final

import gevent
from gevent.event import AsyncResult, Event

from proxy.limits.concurrency import Counted
from proxy.limits.link import Link
from proxy.limits.script import SETTLE
from proxy.observe.metrics import Counters
from proxy.observe.numbers import Gauge, StoreState

LEASE: Final = 10.0
"""Seconds after which a worker that is gone has nothing any more."""

_RENEWAL: Final = 2.5
_BATCH: Final = 64  # clients of one command
_MOST_WAITING: Final = 512  # connections that wait for shares; those beyond it are decided without
_RESERVED: Final = 4  # of a limit, one part in so many may be leased and not used


class Leases:
    """Shares by key, each the name of a client and of what is limited."""

    def __init__(self, link: Link, counters: Counters) -> None:
        self._link = link
        self._counters = counters
        self._keys = link.keys("client")
        self._name = os.urandom(8).hex()
        self._used: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._leased = 0
        """The sum of what is held."""
        self._most: dict[str, int] = {}
        self._waiting: dict[str, list[AsyncResult[bool]]] = {}
        self._changed: set[str] = set()
        self._settling: frozenset[str] = frozenset()
        """Keys of the command that is under way."""
        self._workers = 1
        """Of all gateways."""
        self._recorded = 0
        """How many keys Redis had after the last command; another number shows that it has forgotten them."""
        self._returns = 0.0
        """When shares that are not used go back."""
        self._wake = Event()
        self._clerk = gevent.spawn(self._run)

    def key(self, kind: Counted, client: str) -> str:
        """What a client has open, the same in all gateways with the same password."""
        return f"{kind.name.lower()}:{self._keys.of_client(client):x}"

    def take_held(self, key: str, most: int) -> bool:
        """Use a share without waiting: one that is held, or any while Redis is lost. Whether that was possible."""
        if self._link.state is not StoreState.LINKED:
            self._use_alone(key, most)
            return True
        if key in self._waiting or key in self._settling or self._used.get(key, 0) >= self._held.get(key, 0):
            return False
        self._use(key, most)
        return True

    def take(self, key: str, most: int) -> bool:
        """Use a share, of which there are `most`; False if all are used. Waits as long as a request may for Redis."""
        if self.take_held(key, most):
            return True
        if sum(map(len, self._waiting.values())) >= _MOST_WAITING:
            self._use_alone(key, most)
            return True
        answer: AsyncResult[bool] = AsyncResult()
        self._most[key] = most
        self._waiting.setdefault(key, []).append(answer)
        self._wake.set()
        try:
            answer.wait(self._link.timeout)
        except BaseException:
            if not self._forget(key, answer) and answer.value:
                self.give_back(key)
            raise
        if self._forget(key, answer):
            self._use_alone(key, most)
        return bool(answer.value)

    def give_back(self, key: str) -> None:
        """Undo one `take`."""
        used = self._used.get(key, 0) - 1
        if used > 0:
            self._used[key] = used
        else:
            self._used.pop(key, None)
        spare = self._reserve(key)
        if self._held.get(key, 0) - max(0, used) > spare or not (used > 0 or spare):
            self._changed.add(key)
            self._wake.set()

    def close(self) -> None:
        """Lease nothing more. What is held goes back when the lease has passed."""
        self._clerk.kill(block=False)
        for answer in (answer for answers in self._waiting.values() for answer in answers):
            answer.set(True)
        self._waiting = {}
        self._counters.gauge(Gauge.LEASED, 0)

    def _use(self, key: str, most: int) -> None:
        self._used[key] = self._used.get(key, 0) + 1
        self._most[key] = most

    def _use_alone(self, key: str, most: int) -> None:
        self._counters.limited_alone()
        self._use(key, most)
        self._changed.add(key)

    def _forget(self, key: str, answer: "AsyncResult[bool]") -> bool:
        """Wait for an answer no longer; whether it has not come."""
        if answer.ready():
            return False
        answer.set(True)
        waiting = self._waiting.get(key, [])
        if answer in waiting:
            waiting.remove(answer)
            if not waiting:
                del self._waiting[key]
        return True

    def _reserve(self, key: str) -> int:
        """How many shares may be held that are not used."""
        return max(0, self._most.get(key, 0) // (_RESERVED * self._workers) - 1)

    def _run(self) -> None:
        while True:
            self._wake.wait(_RENEWAL)
            self._wake.clear()
            if monotonic() >= self._returns:
                self._returns = monotonic() + _RENEWAL
                self._changed |= self._held.keys() - self._used.keys()
            if self._waiting or self._changed or self._recorded:
                self._settle()
            if self._waiting or (self._changed and self._link.state is StoreState.LINKED):
                self._wake.set()

    def _settle(self) -> None:
        """Bring Redis up to date about some keys, and answer the connections that wait for them."""
        keys = [*self._waiting, *(self._changed - self._waiting.keys())][:_BATCH]
        self._changed -= set(keys)
        waiting = {key: self._waiting.pop(key) for key in keys if key in self._waiting}
        asked: list[str | int] = []
        for key in keys:
            used, wanting = self._used.get(key, 0), len(waiting.get(key, ()))
            wanted = used + wanting + self._reserve(key) if used + wanting else 0
            if not wanting:
                wanted = min(wanted, max(used, self._held.get(key, 0)))
            asked += [key, used, wanted, self._most.get(key, 0)]
        self._settling = frozenset(keys)
        answer = self._link.ask(SETTLE, b"open", self._name, int(1000 * LEASE), *asked)
        self._settling = frozenset()
        if answer is None:
            self._changed |= set(keys)
            for key, answers in waiting.items():
                for one in answers:
                    if not one.ready():
                        self._use_alone(key, self._most.get(key, 0))
                        one.set(True)
            return
        before, after, self._workers, *held = map(int, answer.split())
        if before != self._recorded:
            self._changed |= self._used.keys() - set(keys)
        self._recorded = after
        for key, granted in zip(keys, held, strict=True):
            self._grant(key, granted, waiting.get(key, []))
        self._counters.gauge(Gauge.LEASED, self._leased)

    def _grant(self, key: str, granted: int, answers: "list[AsyncResult[bool]]") -> None:
        self._leased += granted - self._held.get(key, 0)
        self._held[key] = granted
        for answer in answers:
            if answer.ready():
                continue
            has_one = self._used.get(key, 0) < granted
            if has_one:
                self._use(key, self._most[key])
            answer.set(has_one)
        if not granted:
            del self._held[key]
            if not self._used.get(key) and key not in self._waiting:
                self._most.pop(key, None)
