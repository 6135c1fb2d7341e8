"""Frames of HTTP/2 at random, most of which may well make sense where they stand."""

import random
from collections.abc import Callable, Sequence

from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.proxy.integration.h2.raw import CONNECT, GET, POST

Section = Sequence[tuple[str, str]]

_SECTIONS: tuple[Section, ...] = (GET, POST, [*POST, ("content-length", "5")], CONNECT, [("x-trailer", "1")], GET[1:])


def some_frame(chance: random.Random, block: Callable[[Section], bytes]) -> bytes:
    """One frame; `block` compresses a field section as the client of this connection does."""
    stream = chance.choice((1, 1, 3, 3, 5, 7, 9, 2))
    section = chance.choice((*_SECTIONS, [*GET, ("x-a", "b" * chance.randrange(300))]))
    ends, whole = ["END_STREAM"] * (chance.random() < 0.5), ["END_HEADERS"] * (chance.random() < 0.9)
    increment = chance.choice((1, 1000, 1 << 30, (1 << 31) - 1))
    window = chance.choice((0, 1, 1000, 1 << 20))
    made: Frame = chance.choice(
        (
            lambda: HeadersFrame(stream, data=block(section), flags=[*ends, *whole]),
            lambda: HeadersFrame(stream, data=block(section), flags=[*ends, *whole]),
            lambda: DataFrame(stream, data=bytes(chance.randrange(60)), flags=ends),
            lambda: RstStreamFrame(stream, error_code=chance.randrange(20)),
            lambda: SettingsFrame(0, settings={4: window, 1: chance.choice((0, 100, 9999))}),
            lambda: WindowUpdateFrame(chance.choice((0, stream)), window_increment=increment),
            lambda: PingFrame(0, flags=["ACK"] * chance.randrange(2)),
            lambda: PriorityFrame(stream, depends_on=0),
            lambda: ContinuationFrame(stream, data=b"", flags=whole),
            lambda: GoAwayFrame(0),
        )
    )()
    return made.serialize()
