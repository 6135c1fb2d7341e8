"""The client's side of a tunnel that is one stream among others (RFC 8441)."""

import errno
from collections.abc import Callable
from typing import Protocol

from proxy.downstream.h2.body import Arrival, IncomingBody
from proxy.net.event_loop import NEVER
from proxy.net.stream import Sink

Later = Callable[[Callable[[], object]], None]
"""Calls back in the loop's next round."""


class Upgraded(Protocol):
    """The stream of a tunnel, as its ends need it."""

    def end_response(self) -> None: ...

    def cancel(self) -> None: ...

    def finish(self) -> None: ...


class StreamSide:
    """A stream that looks like a connected socket to `proxy.exchange.tunnel`: END_STREAM is FIN, RST_STREAM is RST."""

    __slots__ = ("_body", "_callback", "_later", "_sink", "_stream", "deadline", "descriptor", "sock", "watched")

    def __init__(self, stream: Upgraded, sink: Sink, body: IncomingBody, later: Later) -> None:
        self._stream = stream
        self._sink = sink
        self._body = body
        self._later = later
        self._callback: Callable[[], object] | None = None
        self.sock = self
        self.watched = False
        self.descriptor = None
        self.deadline = NEVER

    def recv_into(self, buffer: memoryview) -> int:
        """As a socket's: 0 at the end. Raises `OSError`."""
        body = self._body
        if body.arrival is Arrival.LOST:
            raise ConnectionResetError(errno.ECONNRESET, "the stream is gone")
        if body.has_data:
            data = body.pop()
            buffer[: len(data)] = data
            return len(data)
        if body.ended:
            return 0
        raise BlockingIOError

    def watch_readable(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        self.watched = True
        if self._body.has_data or self._body.ended:
            self._later(self.readable)

    def unwatch_readable(self) -> None:
        self.watched = False

    def readable(self) -> None:
        """Something has come from the client: call back as long as there is something to receive."""
        while self.watched and self._callback is not None and (self._body.has_data or self._body.ended):
            self._callback()

    def fail(self) -> None:
        """The client reset the stream, or its connection is gone: receiving says so, also where it has paused."""
        if self._callback is not None:
            self._callback()

    def send(self, data: bytes | memoryview) -> int:
        """As a sink's: 0 when there is no room. Raises `OSError`."""
        return self._sink.send(data)

    def watch_writable(self, callback: Callable[[], object]) -> None:
        self._sink.watch_writable(callback)

    def unwatch_writable(self) -> None:
        self._sink.unwatch_writable()

    def finish_sending(self) -> None:
        self._stream.end_response()

    @property
    def undelivered(self) -> int:
        return 0  # a reset follows what was sent

    def reset(self) -> None:
        self._stream.cancel()

    def cut_off(self) -> bool:
        self._stream.cancel()
        return False

    def close(self) -> None:
        self.watched = False
        self._stream.finish()
