"""All clients together: visits that begin at random moments at a given rate, whether those before have ended or not."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from endurance.clients import Http1, Http2, Visitor
from endurance.ledger import Ledger
from endurance.rude import Rude, Slow
from endurance.site import Site

SOCKETS = 8
"""WebSockets that are open at the same time."""
BROWSERS = 3
"""HTTP/2 clients, each with a connection of its own for up to BROWSER_SECONDS."""
BROWSER_SECONDS = 50.0
MOST_VISITS = 100
"""Visits of one kind under way; a visit that would be one more is not made."""
SHARES = {"get": 0.5, "upload": 0.12, "page": 0.12, "page upload": 0.05, "rude": 0.2, "slow": 0.01}
"""How many of all visits are of which kind."""
SEED = 11

Kind = TypeVar("Kind", bound=Visitor)


@dataclass(frozen=True)
class Event:
    """What is done to the site again and again, after so many seconds each; `act` is given its number, from 0."""

    seconds: float
    act: Callable[[int], Awaitable[None]]


@dataclass
class Traffic:
    """Drives a site for so many seconds, `rate` visits a second; `run` may be called once."""

    site: Site
    ledger: Ledger
    seconds: float
    rate: float
    events: Sequence[Event]

    async def run(self, stop: asyncio.Event) -> None:
        """Visit, with the events, until the time is over or `stop` is set; returns when every visit has ended."""
        self.stop, self.until = stop, time.monotonic() + self.seconds
        one, rude, slow = self.visitor(Http1, 1), self.visitor(Rude, 2), self.visitor(Slow, 3)
        await one.open()
        try:
            async with asyncio.TaskGroup() as group:
                start = group.create_task
                alone = {"get": one.get, "upload": one.upload, "rude": rude.visit, "slow": slow.visit}
                for kind, visit in alone.items():
                    start(self.visits(kind, self.rate * SHARES[kind], visit))
                for number in range(SOCKETS):
                    start(self.sockets(one, number))
                for number in range(BROWSERS):
                    start(self.browser(number))
                for event in self.events:
                    start(self.every(event))
        finally:
            await one.close()

    def visitor(self, kind: type[Kind], number: int) -> Kind:
        """A client of this kind with dice of its own."""
        site, choice = self.site, random.Random(SEED + number)  # noqa: S311 - variety, not secrecy
        plain, secure = f"http://127.0.0.1:{site.plain}", f"https://127.0.0.1:{site.secure}"
        return kind(self.ledger, plain, secure, site.authority, choice, self.until)

    async def visits(self, name: str, rate: float, visit: Callable[[], Awaitable[None]], until: float = 0) -> None:
        """Visits at this rate until then, and to the end of each."""
        choice, under_way = random.Random(f"{SEED} {name}"), set[asyncio.Future[None]]()  # noqa: S311
        until = until or self.until
        while await self.pause(choice.expovariate(rate)) and time.monotonic() < until:
            if len(under_way) < MOST_VISITS:
                task = asyncio.ensure_future(visit())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def sockets(self, client: Http1, number: int) -> None:
        """One WebSocket after the other."""
        await self.pause(number)
        while await self.pause(1):
            await client.websocket()

    async def browser(self, number: int) -> None:
        """One HTTP/2 connection after the other."""
        client, pages, uploads = self.visitor(Http2, 10 + number), "page", "page upload"
        while not self.stop.is_set() and (left := self.until - time.monotonic()) > 0:
            until = time.monotonic() + min(left, client.choice.uniform(BROWSER_SECONDS / 5, BROWSER_SECONDS))
            await client.open()
            try:
                await asyncio.gather(
                    self.visits(f"{pages} {number}", self.rate * SHARES[pages] / BROWSERS, client.page, until),
                    self.visits(f"{uploads} {number}", self.rate * SHARES[uploads] / BROWSERS, client.upload, until),
                )
            finally:
                await client.close()

    async def every(self, event: Event) -> None:
        """One kind of event, again and again."""
        number = 0
        while await self.pause(event.seconds):
            await event.act(number)
            number += 1

    async def pause(self, seconds: float) -> bool:
        """Wait so long, but not beyond the end; whether there is time left."""
        left = self.until - time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), max(0.0, min(seconds, left)))
        return seconds < left and not self.stop.is_set()
