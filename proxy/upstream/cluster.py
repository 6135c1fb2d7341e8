"""The peers of one application and the choice among them."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from time import monotonic, time
from typing import Final, Protocol

from proxy import errors
from proxy.errors import ExchangeError
from proxy.observe.numbers import PeerSnapshot, PeerState
from proxy.settings.values.web import Key
from proxy.upstream.pool import Pool
from proxy.upstream.queue import Queue
from proxy.upstream.rollout import Share
from proxy.wire.fields import cookie_value, field_value
from proxy.wire.request import RequestFields

CLIENT: Final = Key("client")


class Balanced(Protocol):
    """A request, as far as the choice of its peer depends on it."""

    client: str
    scheme: bytes
    fields: RequestFields


class Peer:
    """A pool as one route sees it. `weight` is its share at this moment, of `full_weight`."""

    __slots__ = ("draining", "full_weight", "limit", "name", "pool", "weight")

    def __init__(self, pool: Pool, weight: int = 1, limit: int = 0, *, draining: bool = False) -> None:
        self.pool = pool
        self.name = pool.name
        self.full_weight = weight
        self.weight = float(weight)
        self.limit = limit
        self.draining = draining

    @property
    def busy(self) -> int:
        return self.pool.busy

    @property
    def full(self) -> bool:
        """Whether it has as many connections as it may have."""
        return bool(self.limit) and self.pool.busy >= self.limit

    def snapshot(self, now: float) -> PeerSnapshot:
        """What the status shows of it."""
        state = PeerState.DRAINING if self.draining else self.pool.health.state(now)
        pool, health = self.pool, self.pool.health
        since = int(time() - now + health.since) if health.since else 0
        return PeerSnapshot(
            state,
            pool.idle_count,
            pool.busy,
            self.full_weight,
            health.last_probe,
            since,
            health.outages,
            int(health.downtime),
        )


class Cluster:
    """Peers that serve the same application.

    A peer that is down or ejected is left out while another is not; if none is left, all are tried, because an
    application that restarts is worth waiting for. A peer that an operator drains is never tried.
    """

    def __init__(
        self,
        peers: Sequence[Peer],
        choose: Callable[[Sequence[Peer], bytes], Sequence[Peer]],
        *,
        key: Key = CLIENT,
        sticky: str = "",
        queue: Queue | None = None,
        pause: Queue | None = None,
        rollout: "tuple[Share, Cluster] | None" = None,
    ) -> None:
        """`pause`: where requests wait while the route is paused, whatever peers it has; `rollout`: a share of the
        clients, and the peers that serve them."""
        self.peers: tuple[Peer, ...] = tuple(peers) if rollout is None else (*peers, *rollout[1].peers)
        self._rollout = rollout
        self.queue = queue if pause is None else pause
        self._pause = pause
        self._candidates = tuple(peer for peer in peers if not peer.draining)
        self._choose = choose
        self._key = key
        self.sticky = sticky.encode()
        """The name of the cookie that keeps a client at its peer, or nothing."""
        self._tokens = {_token(peer): peer for peer in self._candidates}
        limited = any(peer.limit for peer in self._candidates)
        plain = len(self._candidates) == 1 and not limited and not sticky and pause is None and rollout is None
        self.only: Final = self._candidates[0].pool if plain else None
        """The pool of every request, if there is nothing to choose and none has to wait for room."""
        self.successor: Cluster | None = None
        """The same route's cluster in the tables that replaced this one's."""

    @property
    def newest(self) -> "Cluster":
        """The cluster that serves the route now, so that a waiting request does not wait for peers that are gone."""
        cluster = self
        while cluster.successor is not None:
            cluster = cluster.successor
        return cluster

    @property
    def pools(self) -> Sequence[Pool]:
        return tuple(peer.pool for peer in self.peers)

    def cohort(self, request: Balanced) -> bytes:
        """Which of a route's versions serves this request: empty, or the names of a rollout's peers."""
        if self._rollout is None or not self._rollout[0].has(request):
            return b""
        return b" ".join([peer.name.encode() for peer in self._rollout[1].peers])

    @property
    def rolls_out(self) -> bool:
        """Whether a part of its clients is served by other peers."""
        return self._rollout is not None

    def in_turn(self, request: Balanced) -> Sequence[Pool]:
        """The peers this request should try, best first. Waits while the route is paused, or if all have as many
        connections as they may have.

        Raises `ExchangeError`.
        """
        if self._pause is not None:
            return self._resumed(self._pause).in_turn(request)
        if self._rollout is not None and self._rollout[0].has(request):
            return self._rolled_out(self._rollout[1], request)
        return [peer.pool for peer in self._with_room(request)] if self.only is None else (self.only,)

    def _rolled_out(self, cluster: "Cluster", request: Balanced) -> Sequence[Pool]:
        """The peers of a rollout, or the own ones of the route while those are down."""
        now = monotonic()
        own = [peer.pool for peer in self._candidates if not peer.full]
        if own and not any(peer.pool.health.usable(now) for peer in cluster._candidates):
            return own
        return [*cluster.in_turn(request), *own]

    def _resumed(self, pause: Queue) -> "Cluster":
        """Wait for the end of the pause. Returns the cluster that serves the route then."""
        since = monotonic()
        while True:
            pause.wait(since, again=False)
            cluster = self.newest
            if cluster is self:  # the route is gone
                raise ExchangeError(errors.DRAINED)
            if cluster._pause is None:
                return cluster
            pause = cluster._pause

    def _with_room(self, request: Balanced) -> Sequence[Peer]:
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

    def _ordered(self, peers: Sequence[Peer], request: Balanced) -> Sequence[Peer]:
        if self.sticky:
            preferred = self._tokens.get(self._cookie(request))
            if preferred is not None and preferred in peers:
                return [preferred, *(peer for peer in peers if peer is not preferred)]
        return self._choose(peers, self._key_of(request)) if len(peers) > 1 else peers

    def _key_of(self, request: Balanced) -> bytes:
        """The key of this request's client; its address if the field or cookie is missing."""
        kind, name = self._key.kind, self._key.name.encode()
        value = None
        if kind == "header":
            value = field_value(request.fields.lines, name)
        elif kind == "cookie":
            value = cookie_value(request.fields.lines, name)
        return value or request.client.encode()

    # Sticky cookies: an opaque name of a peer, so that a browser returns to it.

    def _cookie(self, request: Balanced) -> bytes:
        return cookie_value(request.fields.lines, self.sticky) or b""

    def sticky_line(self, request: Balanced, peer_name: str) -> bytes | None:
        """The Set-Cookie line that keeps this client at the peer that served it; None if it has that cookie."""
        token = next((token for token, peer in self._tokens.items() if peer.name == peer_name), None)
        if token is None or self._cookie(request) == token:
            return None
        secure = b"; Secure" if request.scheme == b"https" else b""
        return b"Set-Cookie: %s=%s; Path=/; HttpOnly; SameSite=Lax%s" % (self.sticky, token, secure)


def _token(peer: Peer) -> bytes:
    return blake2b(peer.name.encode(), digest_size=8).hexdigest().encode()
