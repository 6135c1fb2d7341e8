"""Request rates, and WebSockets per client."""

from math import ceil

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.filter_chain import NonBlocking
from proxy.exchange.request import Request
from proxy.limits import WorkerLimits
from proxy.limits.buckets import Bucket
from proxy.limits.concurrency import Counted
from proxy.limits.keys import Keys
from proxy.settings.values.web import Key, Rate
from proxy.wire.fields import field_value
from proxy.wire.forwarding import TrustedPeers
from proxy.wire.head import CRLF
from proxy.wire.memo import BoundedMemo

_MOST_CLIENTS = 4096


class CountedBy:
    """What identifies the client that a request counts for."""

    def __init__(self, by: Key) -> None:
        self.header = by.name.encode() if by.kind == "header" else b""
        """The field whose value it is; b"" for none."""
        self._route = by.kind == "route"

    def key(self, keys: Keys, request: Request) -> int:
        """The client's key among these."""
        value = field_value(request.fields.lines, self.header) if self.header else None
        if value is not None:
            return keys.of_value(b"h" + value)
        if self._route:
            return keys.of_value(b"route")
        # Without the header it is the address that counts: leaving the header out must not help.
        return keys.of_client(request.client)


class RateLimit(NonBlocking):
    """A token bucket for each client of a route: `burst` requests at once, then `rate`.

    Every response has the client's quota (draft-ietf-httpapi-ratelimit-headers-11): the quota is the burst, the window
    the time in which an empty bucket fills.
    """

    def __init__(self, route: str, rate: Rate, burst: int, by: Key, limits: WorkerLimits) -> None:
        self.rate = rate.count / rate.seconds
        """Tokens a second."""
        self.burst = burst or max(1, ceil(self.rate))
        self.client = CountedBy(by)
        self._keys = limits.keys(f"rate {route}")
        self._bucket = limits.buckets.bucket
        self._take = limits.buckets.meter(self.rate, self.burst)
        self._known: BoundedMemo[str, Bucket] = BoundedMemo(_MOST_CLIENTS)
        """Buckets of clients, where it is the client alone that counts."""
        # A string of RFC 9651 section 3.3.3, in a template.
        name = route.translate({0x22: "_", 0x5C: "_", 0x25: "%%"}).encode("ascii", "replace")
        policy = b'RateLimit-Policy: "%s";q=%d;w=%d\r\n' % (name, self.burst, ceil(self.burst / self.rate))
        self._left = policy + b'RateLimit: "%s";r=%%d;t=%%d\r\n' % name
        self._next = ceil(1 / self.rate)
        self._last = (0.0, 0.0, b"")
        """Field lines of the last response, with the range of tokens for which they hold: often the next ones too."""

    def check(self, request: Request) -> None:
        """Raises `ExchangeError` (429)."""
        left = self._take(request.bucket or self._bucket_of(request), request.started)
        tokens, above, lines = self._last
        if tokens <= left < above:
            request.response_fields = lines
        else:
            self.answer(request, left)

    def answer(self, request: Request, left: float) -> None:
        """Tell the client where it stands, or refuse the request; `left` is as `Buckets.meter` has it.

        Raises `ExchangeError` (429).
        """
        if left >= 0.0:
            request.response_fields = self._standing(int(left))
        else:
            wait = max(1, ceil(-left))
            exhausted = (self._left % (0, wait)).split(CRLF)[:-1]
            raise ExchangeError(errors.RATE, fields=(b"Retry-After: %d" % wait, *exhausted))

    def _standing(self, tokens: int) -> bytes:
        lines = self._left % (tokens, self._next)
        self._last = (float(tokens), tokens + 1.0, lines)
        return lines

    def _bucket_of(self, request: Request) -> Bucket:
        """The request's bucket, which it keeps."""
        bucket = self._known.get(request.client)
        if bucket is None:
            bucket = self._find(request)
        request.bucket = bucket
        return bucket

    def _find(self, request: Request) -> Bucket:
        bucket = self._bucket(self.client.key(self._keys, request))
        return bucket if self.client.header else self._known.remember(request.client, bucket)


class WebSocketLimit(NonBlocking):
    """At most so many WebSockets and other tunnels of one client at a time; trusted proxies' own are not counted."""

    def __init__(self, most: int, trusted: TrustedPeers, limits: WorkerLimits) -> None:
        self.most = most
        self._trusted = trusted
        self._concurrency = limits.concurrency
        self._keys = limits.keys("client")

    def check(self, request: Request) -> None:
        """Raises `ExchangeError` (429). What was acquired is released when the exchange ends."""
        if not request.upgrade or self._trusted.trusts(request.client):
            return
        key = self._keys.of_client(request.client)
        if not self._concurrency.acquire(key, Counted.WEBSOCKETS, self.most):
            raise ExchangeError(errors.WEBSOCKETS)
        request.release = lambda: self._concurrency.release(key, Counted.WEBSOCKETS)
