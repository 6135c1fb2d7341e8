"""Where the body of a response goes on an HTTP/2 stream, as far as its turn, its window and the connection's allow."""

from collections.abc import Callable

from greenlet import getcurrent

from proxy.downstream.h2.output import Output
from proxy.wire.h2.streams import Stream as WireStream


class StreamSink:
    """A stream's `Sink`. `left` is how much of the body is still to be sent, None where its length is not known.

    `pause` leaves the greenlet until it is switched to, or raises `DeadlinePassed`.
    """

    __slots__ = ("_left", "_output", "_pause", "_writable", "wire")

    descriptor = None
    undelivered = 0  # its bytes stand among those of others

    def __init__(self, wire: WireStream, output: Output, pause: Callable[[float], None], left: int | None) -> None:
        self.wire = wire
        self._output = output
        self._pause = pause
        self._left = left
        self._writable: Callable[[], object] | None = None

    @property
    def starved(self) -> bool:
        """Whether it is the stream's own window that is closed: then the client alone holds it up."""
        return self.wire.starved

    def send(self, data: bytes | memoryview) -> int:
        output = self._output
        if output.closed or not self.wire.writable:
            raise BrokenPipeError("the stream is closed")
        if not output.has_turn(self):
            return 0
        left = self._left
        sent = output.send_data(self.wire, data, last=left == len(data))
        if left is not None:
            self._left = left - sent
        return sent

    def wait_writable(self, deadline: float) -> None:
        self.watch_writable(getcurrent().switch)
        try:
            self._pause(deadline)
        finally:
            self.unwatch_writable()

    def watch_writable(self, callback: Callable[[], object]) -> None:
        self._writable = callback
        self._output.wait_for_room(self)

    def unwatch_writable(self) -> None:
        self._writable = None
        self._output.leave_room(self)

    def wake(self) -> None:
        """It is this stream's turn to send."""
        if self._writable is not None:
            self._writable()
