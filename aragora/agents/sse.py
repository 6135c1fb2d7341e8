"""Server-sent events, as far as language model APIs use them: bytes in, the data of each event out.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation; events end with an empty
line, what follows the last one is an event too (some servers leave its empty line away), names and ids are not needed.
"""

from collections.abc import Iterable, Iterator

MAX_EVENT = 1 << 20  # bytes


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
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.removesuffix(b"\r") for line in lines)
        if len(rest) > MAX_EVENT:
            raise TooLong
    if rest:
        yield rest.removesuffix(b"\r")
