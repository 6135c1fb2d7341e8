"""How often a client may ask, and how many WebSockets it may have."""

from math import ceil

from proxy import errors
from proxy.errors import ExchangeError
from proxy.gate.gate import Prompt
from proxy.limits import WorkerLimits
from proxy.limits.presence import Kept
from proxy.upstream.request import Request
from proxy.values.web import Key, Rate
from proxy.wire.fields import field_value
from proxy.wire.forwarding import TrustedPeers
from proxy.wire.head import CRLF

_MOST_REMEMBERED = 4096


class RateLimit(Prompt):
    """A token bucket for each client of a route: `burst` requests at once, then `rate`.

    Every answer tells the client where it stands (draft-ietf-httpapi-ratelimit-headers-11): the quota is the burst, the
    window the time in which an empty bucket fills.
    """

    def __init__(self, route: str, rate: Rate, burst: int, by: Key, limits: WorkerLimits) -> None:
        self._rate = rate.count / rate.seconds
        self._burst = burst or max(1, ceil(self._rate))
        self._keys = limits.keys(f"rate {route}")
        self._take = limits.buckets.take
        self._route_key = self._keys.of_value(b"route") if by.kind == "route" else 0
        self._known: dict[str, int] = {}
        self._header = by.name.encode() if by.kind == "header" else b""
        # A string of RFC 9651 section 3.3.3, in a template.
        name = route.translate({0x22: "_", 0x5C: "_", 0x25: "%%"}).encode("ascii", "replace")
        policy = b'RateLimit-Policy: "%s";q=%d;w=%d\r\n' % (name, self._burst, ceil(self._burst / self._rate))
        self._left = policy + b'RateLimit: "%s";r=%%d;t=%%d\r\n' % name
        self._next = ceil(1 / self._rate)
        self._last = (-1, b"")
        """What was told last, and for how many tokens: it is often the same again."""

    def check(self, request: Request) -> None:
        """Raises `ExchangeError` (429)."""
        key = self._route_key or self._known.get(request.client) or self._key_of(request)
        left = self._take(key, self._rate, self._burst, request.started)
        if left >= 0.0:
            tokens = int(left)
            if tokens != self._last[0]:
                self._last = (tokens, self._left % (tokens, self._next))
            request.told = self._last[1]
            return
        wait = max(1, ceil(-left))
        told = (self._left % (0, wait)).split(CRLF)[:-1]
        raise ExchangeError(errors.RATE, fields=(b"Retry-After: %d" % wait, *told))

    def _key_of(self, request: Request) -> int:
        value = field_value(request.fields.lines, self._header) if self._header else None
        if value is not None:
            return self._keys.of_value(b"h" + value)
        # Without the header it is the address that counts: leaving the header out must not help.
        key = self._keys.of_client(request.client)
        if not self._header:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[request.client] = key
        return key


class WebSocketLimit(Prompt):
    """At most so many WebSockets of one client at a time; those of trusted proxies' own are not counted."""

    def __init__(self, most: int, trusted: TrustedPeers, limits: WorkerLimits) -> None:
        self._most = most
        self._trusted = trusted
        self._presence = limits.presence
        self._keys = limits.keys("client")

    def check(self, request: Request) -> None:
        """Raises `ExchangeError` (429). What was counted is given back when the exchange ends."""
        if not request.fields.websocket or self._trusted.trusts(request.client):
            return
        key = self._keys.of_client(request.client)
        if not self._presence.enter(key, Kept.WEBSOCKETS, self._most):
            raise ExchangeError(errors.WEBSOCKETS)
        request.release = lambda: self._presence.leave(key, Kept.WEBSOCKETS)
