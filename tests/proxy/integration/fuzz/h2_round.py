"""One connection of HTTP/2 with several requests on it, and whether each came to its own end."""

import contextlib
from dataclasses import replace
from random import Random

from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from tests.proxy.integration.fuzz.h2_messages import Sender, Stream
from tests.proxy.integration.fuzz.ledger import Ledger, Verdict
from tests.proxy.integration.h2.raw import Raw

_PATIENCE = 10.0
_QUIET = 0.05
_BROKEN = 0.25
"""Share of the connections whose frames are changed."""


def run_h2(
    chance: Random, port: int, ledger: Ledger, name: str, *, streamed: bool, most: int = 8, breaks: bool = True
) -> int:
    """Send up to `most` requests at once, wait for what must come; returns how many there were.

    `name` makes their identities unique. If it `breaks` some connections, bytes of their frames are changed: nobody can
    say then what must come. Faults go to the ledger.
    """
    sender = Sender(chance, streamed=streamed)
    streams = [sender.stream(f"{name}-{index}") for index in range(chance.randrange(1, most + 1))]
    broken = breaks and chance.random() < _BROKEN
    if broken:
        for stream in streams:
            stream.message = replace(stream.message, verdict=Verdict.UNKNOWN)
    for stream in streams:
        ledger.expect(stream.message)
    with Raw(port) as client:
        client.sock.settimeout(_QUIET if broken else _PATIENCE)
        if broken:
            with contextlib.suppress(OSError):
                _send(chance, client, sender, streams, broken=True)
                while client.receive() is not None:
                    pass
        else:
            _Answers(_send(chance, client, sender, streams)).await_all(client, ledger)
    for stream in streams:
        if stream.message.verdict is Verdict.READ and not ledger.times_read(stream.message.identity):
            ledger.fault(f"{stream.message} was answered and not read")
    return len(streams)


def _send(
    chance: Random, client: Raw, sender: Sender, streams: list[Stream], *, broken: bool = False
) -> dict[int, Stream]:
    """Send all, in pieces of any size; the streams by their numbers."""
    numbers: dict[int, int] = {}
    pending: list[bytes | Frame] = []
    for index, step in sender.interleave(streams):
        number = numbers.setdefault(index, 1 + 2 * len(numbers))
        pending += step(client, number)
        if chance.random() < 0.1:
            pending.append(sender.noise())
        if chance.random() < 0.3:
            client.send(*(_changed(chance, pending) if broken else pending))
            pending = []
    client.send(*(_changed(chance, pending) if broken and pending else pending))
    return {number: streams[index] for index, number in numbers.items()}


def _changed(chance: Random, frames: list[bytes | Frame]) -> list[bytes | Frame]:
    """The same with a few bytes changed, lost or put in, in headers as often as in payloads."""
    data = bytearray(b"".join(one if isinstance(one, bytes) else one.serialize() for one in frames))
    for _ in range(chance.choice((0, 1, 1, 3))):
        at = chance.choice((chance.randrange(len(data)), chance.randrange(min(9, len(data)))))
        change = chance.choice((bytes([chance.randrange(256)]), b"", b"\0\0", bytes(data[at : at + 9])))
        data[at : at + 1] = change
        if not data:
            break
    return [bytes(data)]


class _Answers:
    """What has come on each stream."""

    def __init__(self, streams: dict[int, Stream]) -> None:
        self._streams = streams
        self._open = {number for number, stream in streams.items() if stream.answered}
        self._statuses: dict[int, str] = {}

    def await_all(self, client: Raw, ledger: Ledger) -> None:
        """Until each stream that must be answered has ended."""
        while self._open:
            try:
                found = client.receive()
            except TimeoutError:
                found = None
            if found is None or isinstance(found, GoAwayFrame):
                waiting = [self._streams[number].message for number in self._open]
                ledger.fault(f"the connection ended, or was silent, before {waiting}: {found}")
                return
            self._take(client, found, ledger)

    def _take(self, client: Raw, found: Frame, ledger: Ledger) -> None:
        number = found.stream_id
        stream = self._streams.get(number)
        if stream is None:
            return
        message = stream.message
        if isinstance(found, RstStreamFrame):
            if message.verdict is Verdict.READ and number in self._open:
                ledger.fault(f"{message} was reset: {found}")
            self._open.discard(number)
        elif isinstance(found, HeadersFrame):
            fields = client.fields(found)
            self._statuses[number] = fields.get(":status", self._statuses.get(number, ""))
            seen = fields.get("x-seen")
            if seen is not None and seen != message.identity:
                ledger.fault(f"{message} got the answer to {seen}")
            if message.verdict is Verdict.READ and self._statuses[number] not in ("100", "200"):
                ledger.fault(f"{message} was answered {fields}")
        elif isinstance(found, DataFrame) and self._statuses.get(number) == "200":
            own = b"seen " + message.identity.encode()
            if found.data not in (b"", own):
                ledger.fault(f"{message} got the body {found.data[:80]!r}")
        if "END_STREAM" in found.flags:
            self._open.discard(number)
