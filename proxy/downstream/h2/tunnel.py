"""The client's side of a WebSocket that is one stream among others (RFC 8441)."""

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.downstream.h2.body import Incoming
from proxy.net.event_loop import NEVER

if TYPE_CHECKING:
    from proxy.downstream.h2.stream import ClientStream


class StreamSide:
    """A stream that looks like a connected socket to `proxy.exchange.tunnel`: END_STREAM is FIN, RST_STREAM is RST."""

    __slots__ = ("_callback", "_stream", "deadline", "descriptor", "sock", "watched")

    def __init__(self, stream: "ClientStream") -> None:
        self._stream = stream
        self._callback: Callable[[], object] | None = None
        self.sock = self
        self.watched = False
        self.descriptor = None
        self.deadline = NEVER

    def recv_into(self, buffer: memoryview) -> int:
        """As a socket's: 0 at the end. Raises `OSError`."""
        stream = self._stream
        if stream.incoming is Incoming.LOST:
            raise ConnectionResetError(errno.ECONNRESET, "the stream is gone")
        if stream.has_data:
            data = stream.pop()
            buffer[: len(data)] = data
            return len(data)
        if stream.ended:
            return 0
        raise BlockingIOError

    def watch_readable(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        self.watched = True
        if self._stream.has_data or self._stream.ended:
            self._stream.connection.hub.loop.run_callback(self.readable)

    def unwatch_readable(self) -> None:
        self.watched = False

    def readable(self) -> None:
        """Something has come from the client: call back as long as there is something to receive."""
        while self.watched and self._callback is not None and (self._stream.has_data or self._stream.ended):
            self._callback()

    def fail(self) -> None:
        """The client reset the stream, or its connection is gone: receiving says so, also where it has paused."""
        if self._callback is not None:
            self._callback()

    def send(self, data: bytes | memoryview) -> int:
        """As a sink's: 0 when there is no room. Raises `OSError`."""
        return self._stream.send(data)

    def watch_writable(self, callback: Callable[[], object]) -> None:
        self._stream.watch_writable(callback)

    def unwatch_writable(self) -> None:
        self._stream.unwatch_writable()

    def finish_sending(self) -> None:
        self._stream.end_answer()

    def cut_off(self) -> bool:
        self._stream.cancel()
        return False

    def close(self) -> None:
        self.watched = False
        self._stream.finish()
