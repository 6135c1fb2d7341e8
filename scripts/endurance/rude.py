"""Clients that leave in the middle, and one that takes its response slowly. They use bare sockets."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.exceptions

from endurance.clients import HTTP_1, HTTP_2, PATIENCE, Visitor, check, leave
from endurance.origin import BLOCK

READ = 1 << 16
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket whose close is a reset."""
PATH = "/pieces/262144"
SLOW_SIZE, SLOW_PAUSE = 1 << 20, 0.1


class Rude(Visitor):
    """Leaves wherever leaving is awkward for a proxy."""

    @contextlib.asynccontextmanager
    async def dialled(
        self, *, secure: bool = False, alpn: str = HTTP_1
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection that is dropped at the end, by a reset or in the usual way."""
        where = (self.secure if secure else self.plain).rpartition(":")[2]
        context = self.contexts[alpn] if secure else None
        reader, writer = await asyncio.open_connection("127.0.0.1", int(where), ssl=context)
        try:
            yield reader, writer
        finally:
            if self.choice.random() < 0.5:
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()
            else:
                writer.close()
                with contextlib.suppress(OSError, TimeoutError):
                    await asyncio.wait_for(writer.wait_closed(), PATIENCE)

    async def visit(self) -> None:
        """One of the ways to leave."""
        await self.choice.choice((self.in_head, self.in_body, self.in_response, self.in_websocket, self.in_streams))()

    async def in_head(self) -> None:
        """Half a head, or nothing at all."""
        with self.ledger.exchange("left within the head"):
            async with self.dialled(secure=self.choice.random() < 0.5) as (_, writer):
                writer.write(b"GET /whole/1024 HTTP/1.1\r\nHost: exam"[: self.choice.randint(0, 38)])
                await asyncio.sleep(self.choice.uniform(0, 0.2))
            leave()

    async def in_body(self) -> None:
        """Less of a body than was announced."""
        with self.ledger.exchange("left within an upload"):
            async with self.dialled(secure=self.choice.random() < 0.5) as (_, writer):
                writer.write(b"POST /upload HTTP/1.1\r\nHost: example\r\nContent-Length: 500000\r\n\r\n")
                writer.write(BLOCK[: self.choice.randint(0, 300_000)])
                await asyncio.sleep(self.choice.uniform(0, 0.2))
            leave()

    async def in_response(self) -> None:
        """Before the response, or in the middle of it."""
        with self.ledger.exchange("left within a response"):
            form = self.choice.choice((b"whole", b"pieces"))
            async with self.dialled(secure=self.choice.random() < 0.5) as (reader, writer):
                writer.write(b"GET /" + form + b"/1048576 HTTP/1.1\r\nHost: example\r\n\r\n")
                for _ in range(self.choice.randint(0, 3)):
                    await asyncio.wait_for(reader.read(READ), PATIENCE)
            leave()

    async def in_websocket(self) -> None:
        """Within a frame."""
        with self.ledger.exchange("left within a WebSocket"):
            async with self.dialled(secure=self.choice.random() < 0.5) as (reader, writer):
                writer.write(
                    b"GET /echo HTTP/1.1\r\nHost: example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                )
                await asyncio.wait_for(reader.read(READ), PATIENCE)
                writer.write(b"\x82\xfe\x10\x00\0\0\0\0" + bytes(self.choice.randint(0, 4000)))
                await asyncio.sleep(self.choice.uniform(0, 0.2))
            leave()

    async def in_streams(self) -> None:
        """HTTP/2: some streams are reset, then the connection is dropped with others open."""
        with self.ledger.exchange("left within HTTP/2 streams"):
            async with self.dialled(secure=True, alpn=HTTP_2) as (reader, writer):
                session = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
                session.initiate_connection()
                fields = [(":method", "GET"), (":scheme", "https"), (":authority", "example"), (":path", PATH)]
                for stream in (1, 3, 5, 7):
                    session.send_headers(stream, fields, end_stream=True)
                writer.write(session.data_to_send())
                with contextlib.suppress(TimeoutError):  # no window is ever opened: the data stop soon
                    for _ in range(self.choice.randint(0, 3)):
                        session.receive_data(await asyncio.wait_for(reader.read(READ), 1))
                for stream in (1, 5):
                    with contextlib.suppress(h2.exceptions.StreamClosedError):
                        session.reset_stream(stream, 8)
                writer.write(session.data_to_send())
                await asyncio.sleep(self.choice.uniform(0, 0.2))
            leave()


class Slow(Rude):
    """Takes a long response slowly, through a small receive buffer, and all of it."""

    async def visit(self) -> None:
        with self.ledger.exchange("slow reader"):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 15)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            began = time.monotonic()
            with sock:
                await loop.sock_connect(sock, ("127.0.0.1", int(self.plain.rpartition(":")[2])))
                request = f"GET /whole/{SLOW_SIZE} HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n"
                await loop.sock_sendall(sock, request.encode())
                received = bytearray()
                while data := await asyncio.wait_for(loop.sock_recv(sock, READ), PATIENCE):
                    received += data
                    await asyncio.sleep(SLOW_PAUSE if time.monotonic() - began < PATIENCE / 2 else 0)
                head, _, body = bytes(received).partition(b"\r\n\r\n")
                check(int(head[9:12] or b"0"), body, SLOW_SIZE)
