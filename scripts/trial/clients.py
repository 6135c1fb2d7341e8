"""Users of one site: sessions that ask, WebSockets that watch. What they saw, with every fault in words."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp

from trial.sites import Site

PATIENCE = aiohttp.ClientTimeout(total=60)
OPENING = 16
"""WebSockets that are opened at the same time."""
MOST_FAULTS = 20
"""Faults of one site that are kept in words; all are counted."""


@dataclass
class Seen:
    """What the clients of one site saw: latencies in ms, and how often what happened."""

    api: list[float] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, kind: str, text: str) -> None:
        """Something that must not happen: `errors`, `gaps` or `repeats`."""
        self.counts[kind] += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)


class Pace:
    """The most requests a second from one address, so that the site's own limit is never what is measured."""

    def __init__(self, rate: float) -> None:
        self.pause = 1 / rate
        self.next = 0.0

    async def turn(self) -> None:
        """Return when the next request may be made."""
        now = asyncio.get_running_loop().time()
        at = max(now, self.next)
        self.next = at + self.pause
        if at > now:
            await asyncio.sleep(at - now)


class Client:
    """One user with one kept connection, on loopback from an address of its own."""

    def __init__(self, site: Site, number: int, pace: Pace, seen: Seen) -> None:
        self.site, self.pace, self.seen = site, pace, seen
        own = (f"127.{1 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}", 0) if site.spread else None
        fields = {"Authorization": f"Bearer {site.token}"} if site.token else {}
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=site.context, local_addr=own), headers=fields, timeout=PATIENCE
        )

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.close()

    async def ask(self, path: str, latencies: list[float], body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """One request that must succeed; its answer, or None and a fault."""
        await self.pace.turn()
        began = time.perf_counter()
        method = "GET" if body is None else "POST"
        try:
            async with self.session.request(method, self.site.base + path, json=body) as answer:
                told: dict[str, Any] = await answer.json(content_type=None)
                if answer.status >= 300:
                    self.seen.fault("errors", f"{method} {path}: {answer.status} {str(told)[:200]}")
                    return None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self.seen.fault("errors", f"{method} {path}: {error!r}")
            return None
        latencies.append((time.perf_counter() - began) * 1000)
        return told


class Watcher:
    """One WebSocket. It follows one debate after the other; a gap, a repetition or an early end is a fault."""

    def __init__(self, client: Client) -> None:
        self.client, self.seen = client, client.seen
        self.debate = ""
        self.last = 0
        self.replayed = False
        self.ended: asyncio.Future[bool] | None = None
        self.reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect and begin to read. Raises aiohttp.ClientError or OSError when there is no such WebSocket."""
        await self.client.pace.turn()
        place = self.client.site.base.replace("http", "ws", 1) + "/ws"
        self.channel = await self.client.session.ws_connect(place)
        self.reading = asyncio.create_task(self._read())

    async def follow(self, debate: str) -> bool:
        """See every event of a debate, from the first to the last; whether it was seen to complete."""
        self.debate, self.last, self.replayed = debate, 0, False
        self.ended = asyncio.get_running_loop().create_future()
        try:
            await self.channel.send_json({"type": "subscribe", "debate_id": debate, "replay_from_seq": 0})
        except (aiohttp.ClientError, OSError) as error:
            self._finish(repr(error))
        if self.reading is None or self.reading.done():  # its end would never be reported
            self._finish("the WebSocket is closed")
        return await self.ended

    async def close(self) -> None:
        """Say goodbye and stop reading."""
        if self.reading is not None:
            self.reading.cancel()
            with suppress(asyncio.CancelledError):
                await self.reading
            await self.channel.close()
        await self.client.session.close()

    async def _read(self) -> None:
        async for message in self.channel:
            now = time.time()
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            self.seen.counts["messages"] += 1
            self._take(message.json(), now)
        self._finish(f"closed with {self.channel.close_code}")

    def _take(self, message: dict[str, Any], now: float) -> None:
        kind = message["type"]
        if kind == "replay_end":
            self.replayed = True
        elif kind == "error":
            self._finish(str(message)[:200])
        if message.get("seq") is None or message["debate_id"] != self.debate:
            return
        if message["seq"] <= self.last:
            self.seen.fault("repeats", f"{self.debate}: {message['seq']} after {self.last}")
        elif message["seq"] > self.last + 1:
            self.seen.fault("gaps", f"{self.debate}: {message['seq']} after {self.last}")
        self.last = message["seq"]
        self.seen.counts["events"] += 1
        if self.replayed:  # what was stored before the subscription is not late
            self.seen.delivered.append((now - message["timestamp"]) * 1000)
        if kind == "debate_end":
            status = message["data"]["status"]
            self._finish("" if status == "completed" else f"ended as {status}")

    def _finish(self, fault: str) -> None:
        if self.ended is not None and not self.ended.done():
            if fault:
                self.seen.fault("errors", f"watcher of {self.debate}, at {self.last}: {fault}")
            self.ended.set_result(not fault)


async def open_all(watchers: list[Watcher]) -> list[Watcher]:
    """Open WebSockets, a few at a time; those that are open."""
    several = asyncio.Semaphore(OPENING)

    async def one(watcher: Watcher) -> bool:
        async with several:
            try:
                await watcher.open()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                watcher.seen.fault("errors", f"WebSocket: {error!r}")
                await watcher.close()
                return False
            return True

    opened = await asyncio.gather(*(one(watcher) for watcher in watchers))
    return [watcher for watcher, fine in zip(watchers, opened, strict=True) if fine]
