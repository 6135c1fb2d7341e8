"""Applying a content coding to a body on its way to the client."""

from collections.abc import Iterable
from typing import Final

from proxy.net.event_loop import give_way
from proxy.net.spool import Spool
from proxy.wire.coding import Encoder, encoder
from proxy.wire.response import ResponseHead

MOST_STORED: Final = 16 << 20
"""Longest body that is encoded before its first byte goes to the client; longer ones are encoded as they come."""

_SLICE: Final = 64 << 10
"""Most bytes that are encoded before other connections get their turn, about a millisecond."""


class Recoding:
    """A content coding that is applied on the way; `flushes` lets a client read each piece as soon as it came."""

    __slots__ = ("_engine", "_flushes")

    def __init__(self, engine: Encoder, *, flushes: bool) -> None:
        self._engine = engine
        self._flushes = flushes

    def feed(self, payload: bytes) -> bytes:
        if not payload:
            return b""
        ready = self._engine.feed(payload)
        return ready + self._engine.flush() if self._flushes else ready

    def finish(self, *, whole: bool) -> bytes:
        """The end of the body, or what there is of a body that breaks off."""
        return self._engine.finish() if whole else self._engine.flush()


def may_be_stored(response: ResponseHead, length: int, spool_size: int) -> bool:
    """Whether a body of `length` bytes may be encoded whole before its first byte goes to the client."""
    return not (response.unbuffered or response.event_stream) and length <= min(spool_size, MOST_STORED)


def encode(pieces: Iterable[bytes], coding: bytes, spool: Spool) -> bool:
    """Put a body into the spool, encoded; whether there was room for it. Raises what `pieces` raise."""
    engine = encoder(coding)
    for piece in pieces:
        for begin in range(0, len(piece), _SLICE):
            if begin:
                give_way()
            if not _stored(spool, engine.feed(piece[begin : begin + _SLICE])):
                return False
    return _stored(spool, engine.finish())


def _stored(spool: Spool, data: bytes) -> bool:
    try:
        spool.append(data)
    except OSError:
        return False
    return True
