"""The receive low-water mark (SO_RCVLOWAT): from how many waiting bytes on a socket can be read.

A long body arrives in pieces of some 100 KiB, each of which wakes the process for a few microseconds' work. With a
higher mark the kernel wakes it for several pieces at once: a fifth as often, for some tenth less processor time.
The end of the stream, an error and a full receive buffer make a socket readable below the mark too.
"""

import socket

from proxy.net.splice import WORTHWHILE
from proxy.net.stream import Stream

MARK = 1 << 18

_PATIENCE = 0.02
"""Seconds that bytes may wait below the mark. An upstream that pauses is read as it comes from then on."""


class LowWater:
    """The mark of one stream: raised while pieces come fast and enough is left, one byte otherwise.

    Its maker closes it, before the stream waits for anything else.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._timer = stream.hub.loop.timer(_PATIENCE, _PATIENCE)
        self._raised = False

    def wait_readable(self, deadline: float) -> None:
        """Return when there is enough to read, or anything and patience is over. Raises `DeadlinePassed`."""
        if not self._raised:
            self._stream.wait_readable(deadline)
            return
        # `start` would go on with what a stopped timer had left. When the mark sinks, the kernel wakes the greenlet.
        self._timer.again(self.lower)
        try:
            self._stream.wait_readable(deadline)
        finally:
            self._timer.stop()

    def passed(self, count: int, left: int) -> None:
        """`count` bytes were read at once and `left` will come: where should the mark stand?"""
        if count < WORTHWHILE or left < MARK:
            self.lower()
        elif not self._raised:
            self._set(MARK)
            self._raised = True

    def lower(self) -> None:
        if self._raised:
            self._raised = False
            self._timer.stop()  # once is enough, however long the pause
            self._set(1)

    def close(self) -> None:
        self.lower()
        self._timer.close()

    def _set(self, mark: int) -> None:
        if not self._stream.closed:
            self._stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
