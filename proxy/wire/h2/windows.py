"""Flow control (RFC 9113 sections 5.2 and 6.9): how many bytes of bodies may be on their way.

A window for sending is a number, which `send` lowers and WINDOW_UPDATE raises up to `LARGEST`. One for receiving is
a `ReceiveWindow`: what was received takes its room, what was read gives it back, in pieces worth a frame.
"""

from typing import Final

from proxy.wire.h2.faults import ConnectionFault, ErrorCode

INITIAL: Final = 65535
LARGEST: Final = 2**31 - 1


class ReceiveWindow:
    """The room that the peer has been given, for a stream or for the connection: `size` bytes at first and at most."""

    __slots__ = ("_owed", "_room", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._room = size
        self._owed = 0

    def take(self, count: int) -> None:
        """The peer has sent so much, padding included. Raises `ConnectionFault` where it had no room for it."""
        self._room -= count
        if self._room < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the window has room for")

    def give_back(self, count: int) -> int:
        """So much was read. The increment to announce now; 0 while less than half of the window would be."""
        self._owed += count
        if 2 * self._owed < self._size:
            return 0
        increment, self._owed = self._owed, 0
        self._room += increment
        return increment
