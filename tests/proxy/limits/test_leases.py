"""Shares of what clients may have open: never more than the limit over all workers, whatever order they come in."""

from collections import Counter
from collections.abc import Iterator

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.limits import Limits, WorkerLimits
from proxy.limits.concurrency import Counted
from proxy.limits.leases import Leases
from proxy.observe.metrics import Board
from proxy.settings import load
from tests.proxy.redis_server import RedisServer
from tests.waiting import until

pytestmark = pytest.mark.component("redis")

WORKERS = 3
STEPS = st.lists(st.tuples(st.integers(0, WORKERS - 1), st.sampled_from(["192.0.2.1", "192.0.2.2"]), st.booleans()))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def workers(redis: RedisServer) -> Iterator[list[WorkerLimits]]:
    limits, board = Limits(64, 8), Board()
    shared = load({"upstream": ["a:1"], "shared_limits": redis.url, "shared_limits_timeout": "5s"})
    made = [limits.worker(slot) for slot in range(WORKERS)]
    for slot, worker in enumerate(made):
        worker.share(shared, board.counters(board.take(range(slot))))
        assert worker.link is not None
        worker.link.settle()
    yield made
    for worker in made:
        worker.share(load({"upstream": ["a:1"]}), board.counters(0))
        assert worker.leases is None


@pytest.fixture(scope="module")
def leases(workers: list[WorkerLimits]) -> list[Leases]:
    return [worker.leases for worker in workers if worker.leases is not None]


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, most=st.sampled_from([1, 2, 5, 40]))
def test_all_workers_together_never_use_more_than_the_limit(
    leases: list[Leases], steps: list[tuple[int, str, bool]], most: int
) -> None:
    used: Counter[tuple[int, str]] = Counter()
    for number, address, takes in steps:
        worker, client = leases[number], f"{address} of {most}"
        key = worker.key(Counted.CONNECTIONS, client)
        if takes:
            total = sum(used[one, client] for one in range(WORKERS))
            took = worker.take(key, most)
            if not took and total < (most if most < 8 * WORKERS else most - most // 4):
                took = until(lambda: worker.take(key, most), "what was given back is free", pause=gevent.sleep)  # noqa: B023
            assert not took or total < most
            used[number, client] += took
        elif used[number, client]:
            worker.give_back(key)
            used[number, client] -= 1
    for (number, client), count in used.items():
        for _ in range(count):
            leases[number].give_back(leases[number].key(Counted.CONNECTIONS, client))


def test_shares_asked_for_at_once_go_in_one_command(leases: list[Leases], redis: RedisServer) -> None:
    with redis.client() as client:
        before = client.info("commandstats")["cmdstat_zadd"]["calls"]
        key = leases[0].key(Counted.WEBSOCKETS, "192.0.2.3")
        takers = [gevent.spawn(leases[0].take, key, 20) for _ in range(30)]
        assert sum(taker.get() for taker in takers) == 20
        assert client.info("commandstats")["cmdstat_zadd"]["calls"] - before < 10
    for _ in range(20):
        leases[0].give_back(key)
    other = leases[1].key(Counted.WEBSOCKETS, "192.0.2.3")
    until(lambda: leases[1].take(other, 1), "they are free", pause=gevent.sleep)
    leases[1].give_back(other)


def test_a_taker_that_is_killed_leaves_its_share(leases: list[Leases], redis: RedisServer) -> None:
    key = leases[2].key(Counted.WEBSOCKETS, "192.0.2.4")
    redis.suspend()
    taker = gevent.spawn(leases[2].take, key, 1)
    gevent.sleep(0)
    taker.kill()
    redis.resume()
    until(lambda: leases[2].take(key, 1), "it is free", pause=gevent.sleep)
    leases[2].give_back(key)
