"""Stored responses that requests had, for the same requests once more.

Finding a stored response takes reading the index, and before that two or three keys of all that an application is sent.
A request that is the same in every byte has the same response for as long as nothing has changed in the index.
"""

from typing import Final

from proxy.cache.index import Entry
from proxy.cache.index_memory import REMEMBERED, Reading
from proxy.cache.objects import Held
from proxy.cache.stored_response import PEER, about_age, age_of, hit_status
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.wire.memo import BoundedMemo

_MOST: Final = 4096
_MOST_BYTES: Final = 4 << 20
"""Of the requests."""

Key = tuple[bytes, bytes, bytes, str, bytes, bytes | None, bytes | None]


def key_of(request: Request) -> Key:
    """All that a stored response depends on."""
    certificate = request.certificate
    return (
        request.method,
        request.target,
        request.block,
        request.client,
        request.scheme,
        request.host,
        None if certificate is None else certificate.subject,
    )


class Hit:
    """What a request had: an entry with its whole body, or a 304, whose `held` is None."""

    __slots__ = ("_begins", "_entry", "_held", "_lines", "_reading", "_response", "_second", "_status", "_until")

    def __init__(
        self,
        entry: Entry,
        held: Held | None,
        status: int,
        lines: tuple[bytes, ...],
        reading: Reading,
        now: float,
        until: float,
    ) -> None:
        """`lines`: field lines but for those that are other ones each second; `until`: when another response may have
        to be chosen."""
        self._entry = entry
        self._held = held
        self._status = status
        self._lines = lines
        self._reading = reading
        self._begins = now
        self._until = min(until, now + REMEMBERED, entry.stored + entry.lifetime - entry.age)
        self._response: LocalResponse | None = None
        self._second = -1

    def response(self, now: float) -> LocalResponse | None:
        """The response, which is the same object for a second; None if it has to be looked for again."""
        if not (self._begins <= now < self._until and self._reading.unchanged):
            return None
        entry, held = self._entry, self._held
        age = int(entry.age + now - entry.stored)
        if held is None:
            if self._second != age or self._response is None:
                self._response, self._second = self._made(b"", now), age
            return self._response
        data = held.data
        if data is None:
            return None
        if held.age != age or held.entry is not entry or held.response is None:
            held.response, held.entry, held.age = self._made(data, now), entry, age
        return held.response

    def _made(self, body: bytes, now: float) -> LocalResponse:
        entry = self._entry
        fields = (*self._lines, *about_age(age_of(entry, now), hit_status(entry, now)))
        made = LocalResponse(self._status, fields, body, PEER)
        forms = None if self._held is None else self._held.forms
        return LocalResponse(self._status, fields, body, PEER, made.head(), forms)


class Hits:
    """Those of one route in one worker."""

    def __init__(self) -> None:
        self._known: BoundedMemo[Key, Hit] = BoundedMemo(_MOST)
        self._held = 0

    def find(self, request: Request, now: float) -> LocalResponse | None:
        """What the same request had, if that is still right."""
        hit = self._known.get(key_of(request))
        return None if hit is None else hit.response(now)

    def remember(self, request: Request, hit: Hit) -> None:
        """Let the same request have this."""
        self._held += len(request.block) + len(request.target)
        if self._held > _MOST_BYTES:
            self._known.clear()
            self._held = 0
        self._known.remember(key_of(request), hit)
