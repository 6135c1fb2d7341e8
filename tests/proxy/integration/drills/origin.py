"""A fast upstream for drills, as a process of its own so that it can be killed: HTTP keep-alive and WebSocket echo.

`python -m tests.proxy.integration.drills.origin PORT`; /N answers N bytes, /ws echoes frames.
"""

import asyncio
import base64
import hashlib
import sys

BLOCK = bytes(65536)


class Connection(asyncio.Protocol):
    """One client of the origin."""

    def __init__(self) -> None:
        self.pending = b""
        self.echoing = False
        self.paused = False
        self.left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.echoing:
            self.echo(data)
            return
        self.pending += data
        while (end := self.pending.find(b"\r\n\r\n")) >= 0:
            head = self.pending[:end].lower().split(b"\r\n")
            fields = dict(line.split(b": ", 1) for line in head[1:] if b": " in line)
            length = int(fields.get(b"content-length", b"0"))
            if len(self.pending) < end + 4 + length:
                return
            if fields.get(b"upgrade") == b"websocket":
                lines = self.pending.split(b"\r\n")
                key = next(line for line in lines if line.lower().startswith(b"sec-websocket-key"))
                self.upgrade(key.partition(b":")[2].strip())
                return
            self.pending = self.pending[end + 4 + length :]
            self.answer(head[0].split()[1])

    def answer(self, path: bytes) -> None:
        """So many bytes as the path says."""
        size = int(path[1:]) if path[1:].isdigit() else 0
        first = BLOCK[:size]
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + first)
        self.left = size - len(first)
        self.resume_writing()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        """Go on with the body, in pieces: one slow client must not keep the others waiting."""
        self.paused = False
        while self.left and not self.paused:
            piece = BLOCK[: self.left]
            self.left -= len(piece)
            self.transport.write(piece)

    def upgrade(self, key: bytes) -> None:
        """Accept the WebSocket."""
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.echoing = True
        self.pending = b""

    def echo(self, data: bytes) -> None:
        """Send short frames back whose mask is zero; end at a close frame."""
        self.pending += data
        while len(self.pending) >= 6 and len(self.pending) >= 6 + (size := self.pending[1] & 0x7F):
            self.transport.write(self.pending[:1] + bytes((size,)) + self.pending[6 : 6 + size])
            closing = self.pending[0] & 0x0F == 8
            self.pending = self.pending[6 + size :]
            if closing:
                self.transport.close()
                return


async def serve(port: int) -> None:
    """Until killed."""
    server = await asyncio.get_running_loop().create_server(
        Connection, "127.0.0.1", port, backlog=4096, reuse_address=True
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
