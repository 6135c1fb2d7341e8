"""The order in which a request tries the peers. Pure: peers in, the same peers in order out.

The first is the policy's choice, the others follow as substitutes should it refuse.
"""

import math
import random
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import count
from typing import Protocol, TypeVar


class Weighed(Protocol):
    """What a policy looks at: `weight` may be a fraction, `busy` counts connections with an exchange."""

    name: str
    weight: float

    @property
    def busy(self) -> int: ...


P = TypeVar("P", bound=Weighed)

# A policy is called with peers (at least one) and the request's key, which only `by_hash` looks at.


class RoundRobin:
    """Peers in turn, each as often as its weight says, spread evenly: the largest credit goes first."""

    def __init__(self) -> None:
        self._turn = count()
        self._credit: dict[str, float] = {}

    def __call__(self, peers: Sequence[P], _key: bytes) -> Sequence[P]:
        weight = peers[0].weight
        if all(peer.weight == weight for peer in peers):
            first = next(self._turn) % len(peers)
        else:
            first = self._richest(peers)
        return [*peers[first:], *peers[:first]]

    def _richest(self, peers: Sequence[P]) -> int:
        credit = self._credit
        for peer in peers:
            credit[peer.name] = credit.get(peer.name, 0.0) + peer.weight
        first = max(range(len(peers)), key=lambda index: credit[peers[index].name])
        credit[peers[first].name] -= sum(peer.weight for peer in peers)
        return first


class LeastConnections:
    """The peer with fewest busy connections for its weight; those alike take turns."""

    def __init__(self) -> None:
        self._turns = RoundRobin()

    def __call__(self, peers: Sequence[P], key: bytes) -> Sequence[P]:
        return sorted(self._turns(peers, key), key=_load)


class RandomTwo:
    """The less busy of two that are drawn by weight: close to the least busy, without a herd running to it."""

    def __init__(self, draw: random.Random | None = None) -> None:
        self._random = draw or random.Random()  # noqa: S311 - which peer is no secret

    def __call__(self, peers: Sequence[P], _key: bytes) -> Sequence[P]:
        drawn = sorted(peers, key=lambda peer: -(self._random.random() ** (1.0 / peer.weight)))
        if len(drawn) > 1 and _load(drawn[1]) < _load(drawn[0]):
            drawn[0], drawn[1] = drawn[1], drawn[0]
        return drawn


def by_hash(peers: Sequence[P], key: bytes) -> Sequence[P]:
    """The same peer for the same key; when one goes, only its keys move (rendezvous hashing, weighted)."""
    return sorted(peers, key=lambda peer: _distance(key, peer))


def _distance(key: bytes, peer: Weighed) -> float:
    digest = blake2b(key + b"\0" + peer.name.encode(), digest_size=8).digest()
    point = (int.from_bytes(digest, "big") + 1) / ((1 << 64) + 1)
    return -math.log(point) / peer.weight


def _load(peer: Weighed) -> float:
    return peer.busy / peer.weight


def policy(name: str) -> RoundRobin | LeastConnections | RandomTwo | Callable[[Sequence[P], bytes], Sequence[P]]:
    """The policy of that name in the settings table."""
    match name:
        case "least-connections":
            return LeastConnections()
        case "random-two":
            return RandomTwo()
        case "hash":
            return by_hash
        case _:
            return RoundRobin()
