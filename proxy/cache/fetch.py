"""One request on its way past the cache: what is stored of its response, and what is sent in its place."""

from email.utils import formatdate
from time import monotonic
from typing import Final

from proxy.cache import key
from proxy.cache.encoded import Encoded
from proxy.cache.flights import Flight
from proxy.cache.freshness import Freshness, freshness, varying
from proxy.cache.index import Entry, Resource
from proxy.cache.objects import Incoming
from proxy.cache.route_store import Place, RouteStore
from proxy.cache.store import Store
from proxy.cache.stored_response import cache_status, lines_of, respond, serves_error
from proxy.errors import ExchangeError
from proxy.exchange.local_response import LocalResponse
from proxy.exchange.request import Request
from proxy.observe.numbers import Total
from proxy.wire.fields import field_value
from proxy.wire.head import CRLF
from proxy.wire.response import ResponseHead

_MOST_VARYING: Final = 16
"""Fields that the responses of one resource may vary by."""
_REMEMBERED: Final = 86_400.0
"""Seconds that a resource is remembered for after its last response went stale."""
_WHOLE: Final = 60.0
"""Seconds for which requests are sent whole after one that was not has failed."""
_ERRORS: Final = frozenset({500, 502, 503, 504})
"""Statuses in the place of which something stored may be sent (RFC 5861 section 4)."""
_OVERLOADED: Final = frozenset({429, 502, 503, 504})
"""Statuses with which an application says that another request would not help."""
_KEPT_BY_304: Final = frozenset(
    {b"content-length", b"content-encoding", b"content-type", b"content-range", b"set-cookie"}
)
"""Fields that a 304 does not replace: they describe the body that is stored (RFC 9111 section 3.2)."""


class Copy:
    """A body on its way into the store; its entry is stored when it is complete, and then those that wait go on."""

    def __init__(self, store: Store, incoming: Incoming, entry: Entry, asked: float, flight: Flight | None) -> None:
        """`asked`: when the application was asked for it, in monotonic seconds."""
        self._store = store
        self._asked = asked
        self._flight = flight
        self._entry = entry
        self._incoming: Incoming | None = incoming

    def write(self, data: bytes) -> None:
        incoming = self._incoming
        if incoming is None:
            return
        try:
            incoming.write(data)
        except OSError:  # the disk is full
            self.drop()
            return
        if incoming.size > self._store.largest:
            self.drop()

    def finish(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.close()
            self._store.put(self._entry._replace(size=incoming.size, checksum=incoming.checksum), self._asked)
        self._land()

    def drop(self) -> None:
        """It will not be complete, or cannot be stored."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            self._store.drop(incoming)
        self._land()

    def _land(self) -> None:
        if self._flight is not None:
            self._flight.release()


class Fetch:
    """Made with a `response` it needs no upstream. Without a `place` nothing is stored of what the upstream says.

    `why` is the reason for Cache-Status; `stale` is what the place has, to be validated, `spare` what replaces an
    error. Others that ask for the same wait for the `flight`, which it releases.
    """

    def __init__(
        self,
        kept: RouteStore,
        asked: Request,
        place: Place | None,
        why: str,
        response: LocalResponse | None = None,
        stale: Entry | None = None,
        spare: Entry | None = None,
        flight: Flight | None = None,
    ) -> None:
        self._kept = kept
        self._asked = asked
        self._place = place
        self._why = why
        self._stale = stale if stale is not None and validators_of(stale) else None
        self._spare = spare
        self._flight = flight
        self._began = kept.clock()
        self._moment = monotonic()
        self.response = response
        self.copy: Copy | None = None
        self.request = asked if place is None else _conditional(place.request, self._stale)

    @property
    def hurries(self) -> bool:
        """Whether waiting for an upstream that is down would help no client: there is something in its place."""
        return self._spare is not None

    def instead(self, error: ExchangeError) -> LocalResponse | None:
        """What is sent in the place of an upstream's response that could not be had."""
        if error.failure.status < 500:
            return None
        return self._in_place(f"fwd=stale; detail={error.failure.reason}")

    def take(self, response: ResponseHead) -> ResponseHead | LocalResponse | None:
        """What is sent for this response of the upstream; None to ask again with `request`. Raises `ExchangeError`."""
        if self._place is None:
            return self._passed(response)
        kept, now = self._kept, self._kept.clock()
        if response.status == 304 and self._stale is not None:
            return self._validated(self._stale, response, now)
        if response.status in _ERRORS:
            stored = self._in_place(f"fwd=stale; fwd-status={response.status}")
            if stored is not None:
                return stored
        authorized = field_value(self._place.block.split(CRLF), b"authorization") is not None
        fresh = freshness(response, kept.default, now, authorized=authorized, **self._times(now))
        too_long = (response.content_length or 0) > kept.store.largest
        varies = varying(response.lines)
        if fresh is None or too_long or not _can_be_kept(varies):
            return self._unstored(response, now)
        place = self._settled(self._place, varies, fresh, now)
        if place is None:
            self._ask_again(now)
            return None
        incoming = kept.store.incoming()
        if incoming is not None:
            self.copy = Copy(
                kept.store, incoming, self._entry(place.key, response, fresh, incoming, now), self._moment, self._flight
            )
        else:
            self._land()
        return self._marked(response, "; stored" if incoming is not None else "")

    def set_aside(self, response: ResponseHead) -> None:
        """Something else is sent in the place of this response, and nothing is stored."""
        self._invalidate(response)
        self._land()

    def close(self) -> None:
        """The exchange has ended."""
        if self.copy is not None:
            self.copy.drop()
        self._land()

    def _land(self) -> None:
        """Those that wait for this one go on."""
        if self._flight is not None:
            self._flight.release()

    def _times(self, now: float) -> dict[str, float]:
        return {"delay": now - self._began, "stale_if_error": self._kept.stale_if_error}

    def _in_place(self, detail: str) -> LocalResponse | None:
        """The stored response that replaces an error, if there still is one."""
        now, store = self._kept.clock(), self._kept.store
        spare = None if self._spare is None else store.index.entry(self._spare.key)
        if spare is None or not serves_error(spare, now):
            return None
        body = store.body(spare)
        if body is None:
            return None
        self._kept.count(Total.CACHE_STALE)
        return respond(spare, body, self._asked, now, detail, Encoded(store, spare))

    def _passed(self, response: ResponseHead) -> ResponseHead:
        """A response that is not stored."""
        if self._why:
            return self._marked(response, "")
        self._invalidate(response)
        return response

    def _invalidate(self, response: ResponseHead) -> None:
        """If its request may have changed the resource, what is stored of it is invalid (RFC 9111 section 4.4)."""
        if not self._why and 200 <= response.status < 400:
            self._kept.store.invalidate(key.url(self._asked))

    def _marked(self, response: ResponseHead, more: str) -> ResponseHead:
        self._kept.count(Total.CACHE_MISSES)
        line = cache_status(f"{self._why}; fwd-status={response.status}{more}")
        return response.with_lines([*response.lines, line], sized=True)

    def _unstored(self, response: ResponseHead, now: float) -> ResponseHead | None:
        """A response that may not be stored is only for a client whose own request it is the response to."""
        assert self._place is not None
        more = self._place.shared and self._place.block != self._kept.whole(self._asked).block
        if more and response.status not in _OVERLOADED:
            self._ask_again(now)
            return None
        if response.status not in _ERRORS:
            self._kept.let_pass(self._asked)
            if self._stale is not None:  # it is no longer what the application says
                self._kept.store.invalidate(self._stale.url)
        self._land()
        return self._marked(response, "")

    def _ask_again(self, now: float) -> None:
        """Ask once more, as the client did: its response needs more than what others were sent too."""
        base, known = self._kept.resource(self._asked)
        self._kept.store.index.learn(base, known._replace(whole=now + _WHOLE, until=now + _REMEMBERED))
        self._place = self._kept.whole(self._asked)
        self._stale = None
        self.request = self._place.request

    def _ask_anew(self, stale: Entry, now: float) -> None:
        """Ask for the whole of what cannot be validated any more."""
        self._kept.store.remove(stale)
        self._ask_again(now)

    def _settled(self, place: Place, varies: frozenset[bytes], fresh: Freshness, now: float) -> Place | None:
        """Where the response is stored, once it has said what it varies by; None if it depends on what was not sent."""
        kept = self._kept
        base, known = kept.resource(self._asked)
        names = known.varies | {name for name in varies if key.is_personal(name)}
        if fresh.default:
            names |= key.UNUSED
        kept.store.index.learn(base, Resource(names, known.whole, 0.0, now + fresh.lifetime + _REMEMBERED))
        shared = kept.shared(self._asked, names)
        if shared.block == place.block:
            return shared
        return None if place.shared else place

    def _validated(self, stale: Entry, response: ResponseHead, now: float) -> LocalResponse | None:
        """What is stored is still good (RFC 9111 section 4.3.4)."""
        assert self._place is not None
        lines = refreshed(lines_of(stale), _dated(response, now))
        head = ResponseHead(1, stale.status, b"")
        head.content_length = stale.size
        head.lines = lines
        fresh = freshness(head, self._kept.default, now, authorized=False, **self._times(now))
        varies = varying(lines)
        settled = fresh is not None and _can_be_kept(varies) and self._settled(self._place, varies, fresh, now)
        body = self._kept.store.body(stale) if settled else None
        if fresh is None or body is None:
            self._ask_anew(stale, now)
            return None
        entry = stale._replace(
            lines=b"\n".join(lines), stored=now, age=fresh.age, lifetime=fresh.lifetime,
            revalidate=fresh.stale_while_revalidate, error=fresh.stale_if_error, used=now,
        )  # fmt: skip
        self._kept.store.index.refresh(entry)
        self._kept.count(Total.CACHE_VALIDATED)
        self._land()
        forms = Encoded(self._kept.store, entry)
        return respond(entry, body, self._asked, now, "fwd=stale; fwd-status=304", forms)

    def _entry(self, place: bytes, response: ResponseHead, fresh: Freshness, incoming: Incoming, now: float) -> Entry:
        lines = _dated(response, now)
        return Entry(
            key=place,
            resource=self._kept.resource(self._asked)[0],
            url=key.url(self._asked),
            route=self._kept.route,
            status=response.status,
            lines=b"\n".join(lines),
            object=incoming.name,
            size=0,
            checksum=0,
            stored=now,
            age=fresh.age,
            lifetime=fresh.lifetime,
            revalidate=fresh.stale_while_revalidate,
            error=fresh.stale_if_error,
            used=now,
            tags=_tags(lines),
        )


def _can_be_kept(varies: frozenset[bytes]) -> bool:
    """Whether what varies by these fields can be found again."""
    return key.can_vary(varies) and len(varies) <= _MOST_VARYING


def _dated(response: ResponseHead, now: float) -> list[bytes]:
    """Its field lines; one without a date was made when it came (RFC 9110 section 6.6.1)."""
    lines = response.lines
    return lines if response.dated else [*lines, b"Date: " + formatdate(now, usegmt=True).encode()]


def _tags(lines: list[bytes]) -> str:
    """What the application calls a response, in the fields that content delivery networks read."""
    named = b" ".join(field_value(lines, name) or b"" for name in (b"cache-tag", b"surrogate-key"))
    return f" {' '.join(named.decode('latin-1').replace(',', ' ').split())} "


def validators_of(entry: Entry) -> list[bytes]:
    """The conditions that ask whether an entry is still good (RFC 9111 section 4.3.1)."""
    lines = lines_of(entry)
    found = []
    for name, condition in ((b"etag", b"If-None-Match: "), (b"last-modified", b"If-Modified-Since: ")):
        value = field_value(lines, name)
        if value:
            found.append(condition + value)
    return found


def refreshed(stored: list[bytes], newer: list[bytes]) -> list[bytes]:
    """Stored field lines with those of a 304 in the place of theirs, and without the age that they came with."""
    names = {_name(line) for line in newer} - _KEPT_BY_304
    kept = [line for line in stored if _name(line) not in names | {b"age"}]
    return kept + [line for line in newer if _name(line) in names]


def _conditional(request: Request, stale: Entry | None) -> Request:
    if stale is None:
        return request
    lines = b"".join([line + CRLF for line in validators_of(stale)])
    return request.sent_as(request.target, request.block + lines)


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()
