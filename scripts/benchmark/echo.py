"""A WebSocket echo origin that costs next to nothing: one epoll loop, frames sent back with their mask cut out.

Understands exactly what benchmark.heads sends: one binary message per frame, masked with zeros.
"""

import base64
import hashlib
import select
import socket
import sys

ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
READ_BYTES = 1 << 18


def handshake(head: bytes) -> bytes:
    """The 101 that answers this upgrade request."""
    key = b""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            key = value.strip()
    accept = base64.b64encode(hashlib.sha1(key + ACCEPT_SALT).digest())  # noqa: S324 - RFC 6455 says SHA-1
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


class Peer:
    """One connection: a head first, frames after it."""

    __slots__ = ("pending", "sock", "upgraded")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.pending = b""
        self.upgraded = False

    def answer(self, data: bytes) -> bytes:
        """What to send for these bytes; incomplete frames are kept for the next call."""
        if self.pending:
            data = self.pending + data
        if not self.upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self.pending = head
                return b""
            self.upgraded = True
            self.pending = b""
            return handshake(head) + (self.answer(data) if data else b"")
        replies = []
        position = 0
        while len(data) - position >= 8:
            length = data[position + 1] & 0x7F
            start = position + 2
            if length == 126:
                length = int.from_bytes(data[start : start + 2], "big")
                start += 2
            if len(data) < start + 4 + length:
                break
            replies.append(bytes((data[position], data[position + 1] & 0x7F)) + data[position + 2 : start])
            replies.append(data[start + 4 : start + 4 + length])
            position = start + 4 + length
        self.pending = data[position:]
        return b"".join(replies)


def serve(port: int) -> None:
    """Echo on 127.0.0.1 until killed."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    poller = select.epoll()
    poller.register(listener, select.EPOLLIN)
    peers: dict[int, Peer] = {}
    while True:
        for fd, _ in poller.poll(-1, 1024):
            peer = peers.get(fd)
            if peer is None:
                accept(listener, poller, peers)
                continue
            try:
                data = peer.sock.recv(READ_BYTES)
                if data:
                    reply = peer.answer(data)
                    if reply and peer.sock.send(reply) != len(reply):
                        raise ConnectionError("the echo's reader is too slow")
                    continue
            except ConnectionError:
                pass
            del peers[fd]
            peer.sock.close()


def accept(listener: socket.socket, poller: select.epoll, peers: dict[int, Peer]) -> None:
    """Take one connection, if it is still there. Replies are small enough for a blocking send never to wait."""
    try:
        sock, _ = listener.accept()
    except OSError:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    peers[sock.fileno()] = Peer(sock)
    poller.register(sock, select.EPOLLIN)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
