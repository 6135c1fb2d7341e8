"""A TLS client that does nothing by itself: the test moves every byte between it and the socket."""

import itertools
import socket
import ssl
from collections.abc import Sequence

import pytest

from proxy.net.tls_socket import TlsSocket

HOST = "example.test"


class Client:
    """The client's half of a connection, over the far end of a pair of sockets."""

    def __init__(self, context: ssl.SSLContext, far: socket.socket, host: str | None = HOST) -> None:
        self.far = far
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        self._waiting = b""

    def push(self, most: int = 1 << 20) -> bool:
        """Give up to `most` bytes of what was encrypted to the socket; whether anything is left."""
        self._waiting += self.outgoing.read()
        if self._waiting:
            try:
                self._waiting = self._waiting[self.far.send(self._waiting[:most]) :]
            except BlockingIOError:
                pass
        return bool(self._waiting)

    def pull(self, most: int = 1 << 20) -> None:
        """Take up to `most` bytes from the socket."""
        try:
            data = self.far.recv(most)
        except BlockingIOError:
            return
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def write(self, data: bytes) -> None:
        """Encrypt all of it."""
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view) :]

    def read(self) -> bytes | None:
        """What was decrypted, b"" at the end, None for nothing yet."""
        try:
            return self.tls.read(1 << 20)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def receive(self) -> bytes:
        """What is decrypted next, b"" at the end, where the socket blocks until it is there."""
        while (data := self.read()) is None:
            self.pull()
        return data


def pair(server: ssl.SSLContext, client: ssl.SSLContext, size: int | None = None) -> tuple[TlsSocket, Client]:
    """Both ends, not yet shaken hands; `size` bounds the kernel's buffers."""
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
        if size is not None:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    return TlsSocket(near, server), Client(client, far)


def shake_hands(near: TlsSocket, client: Client, most: int = 1 << 20) -> None:
    """Complete the handshake, at most `most` bytes at a time from the client."""
    done = [False, False]
    for _ in range(20_000):
        if all(done):
            return
        try:
            client.tls.do_handshake()
            done[1] = True
        except ssl.SSLWantReadError:
            pass
        client.push(most)
        done[0] = done[0] or near.shake_hands()
        client.pull(most)
    raise AssertionError("the handshake does not come to an end")


def hello_of(name: str | None, *protocols: str) -> bytes:
    """What Python's client says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(list(protocols))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def vector(size: int, content: bytes) -> bytes:
    """Bytes behind their own length, a number of `size` bytes (RFC 8446 section 3.4)."""
    return len(content).to_bytes(size, "big") + content


def record(message: bytes) -> bytes:
    """A handshake record of TLS (RFC 8446 section 5.1)."""
    return b"\x16\x03\x01" + vector(2, message)


def hello(*extensions: tuple[int, bytes], ciphers: bytes = b"\x13\x01") -> bytes:
    """A hello with these extensions alone."""
    written = b"".join(kind.to_bytes(2, "big") + vector(2, content) for kind, content in extensions)
    body = b"\x03\x03" + bytes(32) + vector(1, b"") + vector(2, ciphers) + vector(1, b"\0") + vector(2, written)
    return record(b"\x01" + vector(3, body))


def recut(data: bytes, cuts: Sequence[int]) -> bytes:
    """The message of one record in several: cut at these places."""
    message = data[5:]
    places = sorted({0, *(cut for cut in cuts if cut < len(message)), len(message)})
    return b"".join(record(message[start:end]) for start, end in itertools.pairwise(places))
