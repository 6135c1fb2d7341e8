"""What all code that handles sockets shares."""

import socket
from typing import Any, Final, Protocol

Socket = socket.SocketType
"""A plain socket, without the layer that Python's `socket.socket` puts above it."""


class SocketLike(Protocol):
    """A connected non-blocking socket, or what stands for one: TLS, a stream of a shared connection."""

    def recv(self, size: int, flags: int = ..., /) -> bytes:
        """Up to `size` bytes, b"" at the end. Raises `BlockingIOError` or `OSError`."""

    def recv_into(self, buffer: memoryview, size: int = ..., /) -> int:
        """As `recv`, into a buffer; returns the count."""

    def send(self, data: bytes | memoryview, flags: int = ..., /) -> int:
        """How much of the data is on its way. Raises `BlockingIOError` or `OSError`."""

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...

    def fileno(self) -> int: ...

    def getsockname(self) -> Any: ...

    def getpeername(self) -> Any: ...


RECEIVE_SIZE: Final = 65536

HEAD_RECEIVE_SIZE: Final = 16384
"""Enough for nearly every head with what comes along; asking for more makes the allocator move the heap's end."""

END_FOLLOWS: Final[int] = getattr(socket, "MSG_MORE", 0)
"""Flag for `send`: the end of the connection follows at once, and travels with the data where the kernel can do that.

It spares each end two segments of a response over TLS (2.8 of 7.9 us); if no end followed, the kernel would send after
200 ms."""
