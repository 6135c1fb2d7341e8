"""The peers of one application and the choice among them."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from time import monotonic

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.request import Request
from proxy.observe.metrics import PeerSnapshot, PeerState
from proxy.settings.values.web import Key
from proxy.upstream.pool import Pool
from proxy.upstream.queue import Queue
from proxy.wire.fields import cookie_value, field_value

CLIENT = Key("client")


class Peer:
    """A pool as one route sees it. `weight` is its share at this moment, of `full_weight`."""

    __slots__ = ("draining", "full_weight", "limit", "name", "pool", "weight")

    def __init__(self, pool: Pool, weight: int = 1, limit: int = 0, *, draining: bool = False) -> None:
        self.pool = pool
        self.name = pool.name
        self.full_weight = weight
        self.weight: float = weight
        self.limit = limit
        self.draining = draining

    @property
    def busy(self) -> int:
        return self.pool.busy

    @property
    def full(self) -> bool:
        """Whether it has all the connections it may have."""
        return bool(self.limit) and self.pool.busy >= self.limit

    def snapshot(self, now: float) -> PeerSnapshot:
        """What the status shows of it."""
        state = PeerState.DRAINING if self.draining else self.pool.health.state(now)
        pool = self.pool
        return PeerSnapshot(state, pool.idle_count, pool.busy, self.full_weight, pool.health.last_probe)


class Cluster:
    """Peers that serve the same application.

    A peer that is down or ejected is left out while another is not; where none is left all are tried, because an
    application that restarts is worth waiting for. A peer that drains by order is never tried.
    """

    def __init__(
        self,
        peers: Sequence[Peer],
        choose: Callable[[Sequence[Peer], bytes], Sequence[Peer]],
        *,
        key: Key = CLIENT,
        sticky: str = "",
        queue: Queue | None = None,
    ) -> None:
        self.peers = tuple(peers)
        self.queue = queue
        self._candidates = tuple(peer for peer in peers if not peer.draining)
        self._choose = choose
        self._key = key
        self.sticky = sticky.encode()
        """The name of the cookie that keeps a client at its peer, or nothing."""
        self._tokens = {_token(peer): peer for peer in self._candidates}
        limited = any(peer.limit for peer in self._candidates)
        plain = len(self._candidates) == 1 and not limited and not sticky
        self._only = (self._candidates[0].pool,) if plain else None
        self.successor: Cluster | None = None
        """The same route's cluster in the tables that replaced this one's."""

    @property
    def newest(self) -> "Cluster":
        """The cluster that serves the route now: a request that waits for a peer need not wait for one that left."""
        cluster = self
        while cluster.successor is not None:
            cluster = cluster.successor
        return cluster

    @property
    def pools(self) -> Sequence[Pool]:
        return tuple(peer.pool for peer in self.peers)

    def in_turn(self, request: Request) -> Sequence[Pool]:
        """The peers this request should try, best first. Waits where all have the connections they may have.

        Raises `ExchangeError`.
        """
        return self._only or [peer.pool for peer in self._with_room(request)]

    def _with_room(self, request: Request) -> Sequence[Peer]:
        if not self._candidates:
            raise ExchangeError(errors.DRAINED)
        queue = self.queue
        waited = False
        since = monotonic()
        while True:
            usable = self._usable(monotonic())
            ready = [peer for peer in usable if not peer.full]
            if ready and (waited or not queue):
                return self._ordered(ready, request)
            if queue is None:
                raise ExchangeError(errors.QUEUE_FULL)
            queue.wait(since, again=waited)
            waited = True

    def _usable(self, now: float) -> Sequence[Peer]:
        usable = [peer for peer in self._candidates if peer.pool.health.usable(now)] or self._candidates
        for peer in usable:
            peer.weight = peer.full_weight * peer.pool.health.share(now)
        return usable

    def _ordered(self, peers: Sequence[Peer], request: Request) -> Sequence[Peer]:
        if self.sticky:
            kept = self._tokens.get(self._cookie(request))
            if kept is not None and kept in peers:
                return [kept, *(peer for peer in peers if peer is not kept)]
        return self._choose(peers, self._key_of(request)) if len(peers) > 1 else peers

    def _key_of(self, request: Request) -> bytes:
        """What tells this request's client from others; its address where the field or cookie is missing."""
        kind, name = self._key.kind, self._key.name.encode()
        value = None
        if kind == "header":
            value = field_value(request.fields.lines, name)
        elif kind == "cookie":
            value = cookie_value(request.fields.lines, name)
        return value or request.client.encode()

    # Sticky cookies: an opaque name of a peer, so that a browser comes back to it.

    def _cookie(self, request: Request) -> bytes:
        return cookie_value(request.fields.lines, self.sticky) or b""

    def sticky_line(self, request: Request, peer_name: str) -> bytes | None:
        """The Set-Cookie line that keeps this client at the peer that served it, if it has no such cookie yet."""
        token = next((token for token, peer in self._tokens.items() if peer.name == peer_name), None)
        if token is None or self._cookie(request) == token:
            return None
        secure = b"; Secure" if request.scheme == b"https" else b""
        return b"Set-Cookie: %s=%s; Path=/; HttpOnly; SameSite=Lax%s" % (self.sticky, token, secure)


def _token(peer: Peer) -> bytes:
    return blake2b(peer.name.encode(), digest_size=8).hexdigest().encode()
