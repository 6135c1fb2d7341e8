"""The end of an HTTP/1 connection after its last response (RFC 9112 section 9.6).

Closing at once would reset the connection if the client is still sending, and a reset takes away the response that it
has not read yet. So our side is closed first, what the client still sends is dropped, and the rest follows when the
client has closed too. An upload over the limit is the very case, so its size is no reason to stop. Bounded in silence
and in time; takes no greenlet.
"""

from time import monotonic
from typing import Final

from proxy.downstream.h1.writer import CLOSE, CUT, RESET, ResponseWriter
from proxy.net.sockets import RECEIVE_SIZE
from proxy.net.stream import Stream
from proxy.settings import Settings

_LONGEST: Final = 30.0
"""Seconds."""


class Lingering:
    """One connection on which nothing more is said; `resets`: the client must not take what it got for the whole."""

    __slots__ = ("_resets", "_silence", "_stream", "_until")

    def __init__(self, stream: Stream, settings: Settings, *, resets: bool) -> None:
        now = monotonic()
        self._stream = stream
        self._resets = resets
        self._silence = settings.linger_timeout
        self._until = now + (settings.write_timeout if resets else _LONGEST)
        stream.deadline = now + self._silence
        if resets:
            self.expire()

    def expire(self) -> None:
        """The deadline has passed. A reset waits until the client has what was sent: look again with the next sweep."""
        stream, now = self._stream, monotonic()
        if not self._resets:
            stream.close()
        elif stream.undelivered and now < self._until:
            stream.deadline = now
        else:
            stream.reset()

    def discard(self) -> None:
        """The client has sent something, or its end."""
        stream = self._stream
        try:
            data = stream.sock.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now = monotonic()
        if self._resets:
            if not data:
                stream.unwatch_readable()
        elif not data or now >= self._until:
            stream.close()
        else:
            stream.deadline = min(self._until, now + self._silence)


def linger(stream: Stream, writer: ResponseWriter, settings: Settings, *, half_closed: bool) -> Lingering | None:
    """End a connection on which no request follows; `half_closed`: its client has ended already.

    None if nothing has to be waited for, and the connection is closed.
    """
    ending = writer.ending
    if writer.begun and ending is CUT:
        stream.cut_off()
    if not writer.begun or (half_closed and ending is not RESET):
        stream.close()
        return None
    if ending is CLOSE:
        stream.finish_sending()
    lingering = Lingering(stream, settings, resets=ending is RESET)
    if not half_closed:
        stream.watch_readable(lingering.discard)
    return lingering
