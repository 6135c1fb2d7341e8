"""Server-sent events, as far as language model APIs use them: bytes in, the data of each event out.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation; lines end with CR, LF or
both, events with an empty line. What follows the last one is an event too (some servers leave its empty line away);
names and ids are not needed.
"""

import re
from collections.abc import Iterable, Iterator

MAX_EVENT = 1 << 20  # bytes
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BREAK = re.compile(b"\r\n|\n|\r")


class TooLong(Exception):  # noqa: N818 - it is the event that is too long
    """One event has more than MAX_EVENT bytes."""


def events(pieces: Iterable[bytes]) -> Iterator[str]:
    """The data of each event; raises `TooLong`."""
    data: list[str] = []
    size = 0
    for line in _lines(pieces):
        if line.startswith(b"data:"):
            size += len(line)
            if size > MAX_EVENT:
                raise TooLong
            data.append(line[5:].removeprefix(b" ").decode("utf-8", "replace"))
        elif not line and data:
            yield "\n".join(data)
            data, size = [], 0
    if data:
        yield "\n".join(data)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Each line as soon as its end has come: after a CR it does not wait for the LF that may belong to it."""
    rest = bytearray()
    begun = after_cr = False
    for piece in pieces:
        if after_cr and piece:
            piece = piece.removeprefix(b"\n")  # noqa: PLW2901 - the other half of the line's end
        if not piece:
            continue
        after_cr = piece.endswith(b"\r")
        *ends, last = _BREAK.split(piece)
        for end in ends:
            line = bytes(rest + end)
            rest.clear()
            yield line if begun else line.removeprefix(BYTE_ORDER_MARK)
            begun = True
        rest += last
        if len(rest) > MAX_EVENT:
            raise TooLong
    if rest:
        yield bytes(rest) if begun else bytes(rest).removeprefix(BYTE_ORDER_MARK)
