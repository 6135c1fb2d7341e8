"""Policies: every peer once, the right one first, in the right proportion."""

import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.balance import LeastConnections, RandomTwo, RoundRobin, by_hash, policy


@dataclass
class Peer:
    name: str
    weight: float = 1
    busy: int = 0


NAMES = ("round-robin", "least-connections", "random-two", "hash")
PEERS = st.lists(st.tuples(st.sampled_from([0.1, 1.0, 2.0, 7.0]), st.integers(0, 9)), min_size=1, max_size=6).map(
    lambda drawn: [Peer(f"peer-{number}", weight, busy) for number, (weight, busy) in enumerate(drawn)]
)


@pytest.mark.parametrize("name", NAMES)
@given(peers=PEERS, keys=st.lists(st.binary(max_size=8), min_size=1, max_size=5))
def test_every_peer_stands_in_the_order_once(name: str, peers: list[Peer], keys: list[bytes]) -> None:
    choose = policy(name)
    for key in keys:
        assert sorted(peer.name for peer in choose(peers, key)) == sorted(peer.name for peer in peers)


def firsts(choose: object, peers: list[Peer], times: int) -> Counter[str]:
    return Counter(choose(peers, b"%d" % number)[0].name for number in range(times))  # type: ignore[operator]


def test_round_robin_is_exact_and_even() -> None:
    assert firsts(RoundRobin(), [Peer("a"), Peer("b"), Peer("c")], 30) == {"a": 10, "b": 10, "c": 10}
    choose = RoundRobin()
    peers = [Peer("a", 5), Peer("b", 1), Peer("c", 1)]
    order = "".join(choose(peers, b"")[0].name for _ in range(14))
    assert Counter(order) == {"a": 10, "b": 2, "c": 2}
    assert "aaaaa" not in order


def test_the_least_busy_for_its_weight_is_first() -> None:
    assert LeastConnections()([Peer("a", 1, 3), Peer("b", 2, 4), Peer("c", 1, 9)], b"")[0].name == "b"
    assert firsts(LeastConnections(), [Peer("a"), Peer("b")], 10) == {"a": 5, "b": 5}


def test_random_two_avoids_the_busiest_and_follows_weights() -> None:
    choose = RandomTwo(random.Random(7))
    assert firsts(choose, [Peer("a", 1, 0), Peer("b", 1, 0), Peer("busy", 1, 50)], 300)["busy"] == 0
    drawn = firsts(RandomTwo(random.Random(7)), [Peer("a", 9), Peer("b", 1)], 1000)
    assert drawn["a"] > 800


@given(st.lists(st.binary(max_size=12), min_size=50, max_size=50, unique=True))
def test_only_the_keys_of_a_peer_that_goes_move(keys: list[bytes]) -> None:
    peers = [Peer("a"), Peer("b"), Peer("c", 2)]
    for key in keys:
        before = by_hash(peers, key)[0]
        after = by_hash([peer for peer in peers if peer.name != "b"], key)[0]
        assert before.name in ("b", after.name)


def test_hashing_follows_weights() -> None:
    shares = firsts(by_hash, [Peer("a", 3), Peer("b", 1)], 4000)
    assert 0.7 < shares["a"] / 4000 < 0.8
