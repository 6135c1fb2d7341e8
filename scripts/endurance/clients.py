"""Clients of the gateway. Each is a coroutine that makes one visit and says in the ledger what came of it."""

import asyncio
import hashlib
import random
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import httpx

from endurance.ledger import ConnectionEndedError, Ledger, LeftOnPurpose, WrongResponseError
from endurance.origin import BLOCK, PIECE

HTTP_1, HTTP_2 = "http/1.1", "h2"
SIZES = (0, 300, 1024, 16 << 10, 64 << 10, 256 << 10, 1 << 20)
LIKELY = (1, 4, 8, 6, 4, 2, 1)
"""How often each of SIZES is asked for, against the others."""
UPLOADS = (1, 1024, 60 << 10, 70 << 10, 512 << 10, 2 << 20)
MESSAGES = (0, 2, 125, 126, 4096, 70_000)
PATIENCE = 40.0
"""Seconds within which everything is answered: longer than the gateway holds requests while peers are away."""


@dataclass
class Visitor:
    """What every client knows: where the gateway is, its authorities, and where to write down what happened."""

    ledger: Ledger
    plain: str
    secure: str
    authority: Path
    choice: random.Random
    until: float
    """When long visits come to their end, by the monotonic clock."""

    def __post_init__(self) -> None:
        self.contexts = {protocol: context(self.authority, protocol) for protocol in (HTTP_1, HTTP_2)}

    def size(self) -> int:
        """That of a body to ask for."""
        return self.choice.choices(SIZES, LIKELY)[0]


def context(authority: Path, protocol: str) -> ssl.SSLContext:
    """For TLS with the gateway, offering this protocol alone."""
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols([protocol])
    return context


def check(status: int, body: bytes, size: int) -> None:
    """Raises WrongResponseError unless this is the response with the first `size` bytes of the block."""
    if status != 200:
        raise WrongResponseError(f"{status} {body[:120]!r}")
    if body != BLOCK[:size]:
        raise WrongResponseError(f"a body of {len(body)} bytes that is not the one of {size} bytes")


@dataclass
class Connection:
    """What a request is sent on: whether others were before."""

    kept: bool = False


async def reused(
    _session: aiohttp.ClientSession, request: SimpleNamespace, _: aiohttp.TraceConnectionReuseconnParams
) -> None:
    """A kept connection was taken for a request."""
    if isinstance(connection := request.trace_request_ctx, Connection):
        connection.kept = True


class Http1(Visitor):
    """HTTP/1.1 by aiohttp over kept connections, plain and TLS in turn."""

    async def open(self) -> None:
        """Make the session; its connections are closed before the gateway would close them."""
        connector = aiohttp.TCPConnector(ssl=self.contexts[HTTP_1], limit=0, keepalive_timeout=20)
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(reused)
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        self.session = aiohttp.ClientSession(connector=connector, timeout=timeout, trace_configs=[trace])
        self.uploads = 0

    async def close(self) -> None:
        await self.session.close()

    def base(self) -> str:
        return self.choice.choice((self.plain, self.secure))

    async def get(self) -> None:
        """A body with its length or in chunks; one connection in twenty is not kept."""
        size, base = self.size(), self.base()
        form = "pieces" if self.choice.random() < 0.2 else "whole"
        fields = {"Connection": "close"} if self.choice.random() < 0.05 else {}
        with self.ledger.exchange(f"HTTP/1.1 GET{' over TLS' if base is self.secure else ''}"):
            async with self.session.get(f"{base}/{form}/{size}", headers=fields) as response:
                check(response.status, await response.read(), size)

    async def upload(self) -> None:
        """A body with its length or in chunks; the response is its digest."""
        body = BLOCK[: self.choice.choice(UPLOADS)]
        sent: bytes | AsyncIterator[bytes] = in_pieces(body) if self.choice.random() < 0.5 else body
        self.uploads += 1
        target, connection = f"/upload?{self.uploads}", Connection()
        with self.ledger.exchange("HTTP/1.1 upload"):
            try:
                response = await self.session.post(f"{self.base()}{target}", data=sent, trace_request_ctx=connection)
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
                if connection.kept:
                    raise ConnectionEndedError(target) from error
                raise
            async with response:
                check_digest(response.status, await response.read(), body)

    async def websocket(self) -> None:
        """One WebSocket for up to a minute: messages of many lengths, each echoed, and a proper end."""
        channel: aiohttp.ClientWebSocketResponse | None = None
        with self.ledger.exchange("WebSocket opening"):
            channel = await self.session.ws_connect(f"{self.base()}/echo", max_msg_size=len(BLOCK))
        last, until = time.monotonic(), min(self.until, time.monotonic() + self.choice.uniform(1, 60))
        if channel is None:
            return
        while time.monotonic() < until:
            message = BLOCK[: self.choice.choice(MESSAGES)]
            with self.ledger.exchange("WebSocket message", last) as echoed:
                await channel.send_bytes(message)
                answer = await channel.receive(PATIENCE)
                if answer.data != message:
                    raise WrongResponseError(f"{answer.type.name} {str(answer.data)[:80]}, not {len(message)} bytes")
            if echoed.failed:
                await channel.close()
                return
            last = time.monotonic()
            await asyncio.sleep(self.choice.expovariate(2))
        with self.ledger.exchange("WebSocket end", last):
            await channel.close()
            if channel.close_code != aiohttp.WSCloseCode.OK:
                raise WrongResponseError(f"closed with {channel.close_code}")


class Http2(Visitor):
    """HTTP/2 by httpx: the requests of one client share a connection."""

    async def open(self) -> None:
        self.client = httpx.AsyncClient(http2=True, http1=False, verify=self.contexts[HTTP_2], timeout=PATIENCE)
        self.worked = time.monotonic()
        """When the connection was last seen to work."""

    async def close(self) -> None:
        await self.client.aclose()

    async def page(self) -> None:
        """A page: several requests at once."""
        await asyncio.gather(*(self.get() for _ in range(self.choice.randint(1, 6))))

    async def get(self) -> None:
        size = self.size()
        form = "pieces" if self.choice.random() < 0.2 else "whole"
        with self.ledger.exchange("HTTP/2 GET", kept=self.worked):
            response = await self.client.get(f"{self.secure}/{form}/{size}")
            check(response.status_code, response.content, size)
            self.worked = time.monotonic()

    async def upload(self) -> None:
        body = BLOCK[: self.choice.choice(UPLOADS)]
        sent: bytes | AsyncIterator[bytes] = in_pieces(body) if self.choice.random() < 0.5 else body
        with self.ledger.exchange("HTTP/2 upload", kept=self.worked):
            response = await self.client.post(f"{self.secure}/upload", content=sent)
            check_digest(response.status_code, response.content, body)
            self.worked = time.monotonic()


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    """The body as a client sends it that does not know its length."""
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]
        await asyncio.sleep(0)


def check_digest(status: int, answer: bytes, body: bytes) -> None:
    """Raises WrongResponseError unless the response is the digest of the body that was sent."""
    if status != 200 or answer != hashlib.sha256(body).hexdigest().encode():
        raise WrongResponseError(f"{status} {answer[:120]!r} for {len(body)} bytes")


def leave() -> None:
    """The client's end of an exchange that it never meant to finish."""
    raise LeftOnPurpose
