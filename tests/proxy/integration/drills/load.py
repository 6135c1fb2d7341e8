"""Steady traffic in a thread of its own that accounts for every request it sends."""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.waiting import PATIENCE, until

GET = b"GET /1024 HTTP/1.1\r\nHost: drill.example\r\nUser-Agent: drill\r\n\r\n"
POST = b"POST /64 HTTP/1.1\r\nHost: drill.example\r\nContent-Length: 64\r\n\r\n" + b"x" * 64
PAUSE = 0.002


@dataclass
class Account:
    """What became of every request. sent == answered + lost + cut + refused."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    """Sent on a connection that then ended without a byte of an answer."""
    cut: int = 0
    """Answered in part."""
    refused: int = 0
    """Not sent: no connection could be made."""
    slowest: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return sum(self.statuses.values())

    @property
    def clean(self) -> bool:
        """Every request had a 200."""
        return bool(self.sent) and self.statuses[200] == self.sent and not self.refused

    @property
    def waiting(self) -> int:
        """Sent, with no answer yet."""
        return self.sent - self.answered - self.lost - self.cut

    def check(self) -> None:
        """Nothing is unaccounted for."""
        assert self.sent == self.answered + self.lost + self.cut, self

    @property
    def p99(self) -> float:
        ordered = sorted(self.latencies)
        return ordered[len(ordered) * 99 // 100] if ordered else 0.0

    def __str__(self) -> str:
        return (
            f"{self.sent} sent, {dict(self.statuses)} answered, {self.lost} lost, {self.cut} cut, "
            f"{self.refused} refused, slowest {self.slowest:.2f} s"
        )


class Load:
    """`connections` clients, each asking again as soon as it is answered (after a short pause)."""

    def __init__(self, port: int, connections: int, requests: tuple[bytes, ...] = (GET,)) -> None:
        self.account = Account()
        self._port = port
        self._connections = connections
        self._requests = requests
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    async def _run(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(self._connections)))
        await asyncio.sleep(0.01)  # connections that were aborted close in the loop's next turns, which nothing tells

    async def _client(self, number: int) -> None:
        while not self._stopping:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.account.refused += 1
                await asyncio.sleep(0.05)  # as a client does: a pause before it comes again
                continue
            try:
                await self._ask(reader, writer, number)
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        """Requests on one connection until it ends."""
        account = self.account
        turn = number
        while not self._stopping:
            turn += 1
            began = time.monotonic()
            writer.write(self._requests[turn % len(self._requests)])
            account.sent += 1
            seen = False
            try:
                line = await asyncio.wait_for(reader.readuntil(b"\r\n"), PATIENCE)
                seen = True
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
                lowered = head.lower()
                length = int(lowered.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await asyncio.wait_for(reader.readexactly(length), PATIENCE)
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                account.cut += seen
                account.lost += not seen
                return
            took = time.monotonic() - began
            account.statuses[int(line[9:12])] += 1
            account.latencies.append(took)
            account.slowest = max(account.slowest, took)
            if b"connection: close" in lowered:
                return
            await asyncio.sleep(PAUSE)  # the pause of a steady client

    def go_on(self, requests: int) -> None:
        """Return when so many more requests have been answered."""
        wanted = self.account.answered + requests
        until(lambda: self.account.answered >= wanted, lambda: f"{requests} more answers: {self.account}")

    def stand_still(self) -> None:
        """Return when every client waits for an answer."""
        until(lambda: self.account.waiting == self._connections, lambda: f"all clients wait: {self.account}")

    def stop(self) -> Account:
        """Let every client have its answer; the whole account."""
        self._stopping = True
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive(), "a client waits for ever"
        self.account.check()
        return self.account

    def start(self) -> "Load":
        self._thread.start()
        return self


@contextlib.contextmanager
def load(port: int, connections: int = 20, requests: tuple[bytes, ...] = (GET,)) -> Iterator[Load]:
    """Traffic while the block runs; the account is complete behind it."""
    running = Load(port, connections, requests).start()
    try:
        yield running
    finally:
        running.stop()
