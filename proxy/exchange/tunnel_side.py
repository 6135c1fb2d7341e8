"""What a tunnel has at either end: a connection, or one HTTP/2 stream that behaves like one."""

from collections.abc import Callable
from typing import Protocol


class SideSocket(Protocol):
    """What bytes are received from and sent to: a socket, or something that looks like one."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """As a socket's: 0 at the end. Raises `BlockingIOError` or `OSError`."""

    def send(self, data: bytes | memoryview, /) -> int:
        """Send as much as there is room for. Raises `OSError`."""


class Side(Protocol):
    """A connection, or a stream of one."""

    deadline: float

    @property
    def sock(self) -> SideSocket: ...

    @property
    def watched(self) -> bool:
        """Whether readiness calls back at all."""

    def watch_readable(self, callback: Callable[[], object]) -> None:
        """Call back each time something can be received, until `unwatch_readable`."""

    def unwatch_readable(self) -> None: ...

    @property
    def descriptor(self) -> int | None:
        """For splicing; None if the bytes must pass through Python."""

    def watch_writable(self, callback: Callable[[], object]) -> None: ...

    def unwatch_writable(self) -> None: ...

    def finish_sending(self) -> None: ...

    @property
    def undelivered(self) -> int:
        """Bytes that were sent and have not reached the side; 0 where that cannot be known."""

    def reset(self) -> None:
        """Close such that the side sees that something is missing, at the cost of what has not reached it."""

    def cut_off(self) -> bool:
        """End the sending such that the peer can tell that bytes are missing; whether it may still send."""

    def close(self) -> None: ...
