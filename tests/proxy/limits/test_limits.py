"""Rates and counts over several processes: exact, bounded, and undisturbed by a process that is killed."""

import multiprocessing
import multiprocessing.synchronize
import os
import signal
from collections.abc import Callable
from contextlib import contextmanager
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.exchange.request import Request
from proxy.filters.rates import RateLimit
from proxy.limits import Limits, WorkerLimits
from proxy.limits.buckets import WAYS
from proxy.limits.concurrency import Counted
from proxy.limits.keys import network_of
from proxy.settings.values.web import Key, Rate
from proxy.wire.fields import RequestIds
from proxy.wire.request import RequestFields
from tests.waiting import PATIENCE

FORK = multiprocessing.get_context("fork")


def alone(count: int = 64) -> WorkerLimits:
    limits = Limits(count, 4)
    limits.begin(0)
    return limits.worker(0)


def taker(worker: WorkerLimits) -> Callable[[int, float, int, float], float]:
    """Takes a token from the bucket of a key, with a rate, a burst and a time; as one who was never here before."""

    def take(key: int, rate: float, burst: int, now: float) -> float:
        return worker.buckets.meter(rate, burst)(worker.buckets.bucket(key), now)

    return take


@contextmanager
def worker_of(limits: Limits, slot: int, work: Callable[[WorkerLimits], None]):
    """A process that does `work` in a slot; killed if it is still there at the end, and buried in any case."""
    limits.begin(slot)
    process = FORK.Process(target=lambda: work(limits.worker(slot)))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(PATIENCE)
        limits.end(slot)


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    take = taker(alone())
    assert [take(1, 2.0, 3, 100.0) for _ in range(3)] == [2.0, 1.0, 0.0]
    assert take(1, 2.0, 3, 100.0) == pytest.approx(-0.5)
    assert take(1, 2.0, 3, 100.25) == pytest.approx(-0.25)
    assert take(1, 2.0, 3, 100.5) == pytest.approx(0.0)
    assert take(2, 2.0, 3, 100.5) == 2.0, "another key has a bucket of its own"
    assert take(1, 2.0, 3, 200.0) == 2.0, "a bucket holds no more than its burst"


def test_a_token_that_was_not_needed_is_put_back() -> None:
    worker = alone()
    take = taker(worker)
    assert take(1, 1e-6, 2, 5.0) == 1.0
    worker.buckets.give_back(worker.buckets.bucket(1))
    worker.buckets.give_back(worker.buckets.bucket(2))
    assert [take(1, 1e-6, 2, 5.0) for _ in range(2)] == [1.0, 0.0]
    assert take(1, 1e-6, 2, 5.0) < 0


def test_a_changed_limit_keeps_what_was_taken() -> None:
    take = taker(alone())
    for _ in range(10):
        take(1, 100.0, 10, 50.0)
    assert take(1, 1.0, 12, 50.0) == pytest.approx(1.0), "two more than before"
    assert take(1, 0.1, 5, 50.0) < 0


@given(
    rate=st.floats(0.01, 1000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(-0.5, 2.0), min_size=1, max_size=200),
)
def test_never_more_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]) -> None:
    """Whatever the pauses, in any stretch of time; clocks of other processes may be a little behind."""
    take = taker(alone(16))
    now = latest = 1000.0
    passed: list[float] = []
    for pause in pauses:
        now = max(1000.0, now + pause)
        latest = max(latest, now)
        left = take(7, rate, burst, now)
        if left >= 0:
            passed.append(latest)
            assert left <= burst - 1
        else:
            assert -left <= 1 / rate * (1 + 1e-6)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + rate * (passed[last] - passed[first]) + 1e-6


@given(st.integers(1, 20), st.floats(0.5, 50))
def test_waiting_as_long_as_told_is_enough(burst: int, rate: float) -> None:
    take = taker(alone(16))
    now = 10.0
    for _ in range(burst):
        assert take(3, rate, burst, now) >= 0
    wait = -take(3, rate, burst, now)
    assert wait > 0
    assert take(3, rate, burst, now + wait * (1 + 1e-9) + 1e-9) >= 0


def test_rate_fields_are_well_formed_for_any_route_name() -> None:
    limit = RateLimit('50% "off"\\ \u2713', Rate(90, 60), 0, Key("client"), alone())
    for minutes, told in ((0, b"r=1"), (0, b"r=0"), (2, b"r=1")):
        request = Request(b"GET", b"/", 1, RequestFields(), b"", 1000.0 + 60 * minutes, client="192.0.2.1")
        limit.check(request)
        assert request.response_fields == (
            b'RateLimit-Policy: "50% _off__ ?";q=2;w=2\r\nRateLimit: "50% _off__ ?";' + told + b";t=1\r\n"
        )


@pytest.mark.parametrize("by", [Key("client"), Key("route"), Key("header", "x-key")], ids=lambda key: key.kind)
def test_repeated_request_is_counted_like_a_new_one(by: Key) -> None:
    limit = RateLimit("api", Rate(1, 60), 4, by, alone())

    def asked(value: bytes) -> Request:
        fields = RequestFields()
        fields.lines = [b"X-Key: " + value]
        return Request(b"GET", b"/", 1, fields, b"", 1000.0, client="192.0.2.1")

    def left(request: Request) -> bytes:
        limit.check(request)
        return request.response_fields.partition(b"r=")[2][:1]

    one, alike, other = asked(b"a"), asked(b"a"), asked(b"b")
    assert [left(one), left(one.renew(RequestIds(), 1000.0)), left(alike)] == [b"3", b"2", b"1"]
    assert left(other) == (b"3" if by.kind == "header" else b"0")


def test_a_full_table_lets_the_oldest_go() -> None:
    take = taker(alone(WAYS))
    for key in range(1, WAYS + 1):
        take(key, 0.001, 5, float(key))
    take(1, 0.001, 5, 50.0)
    take(99, 0.001, 5, 51.0)
    assert take(1, 0.001, 5, 52.0) == pytest.approx(2.0, abs=0.1), "it was used a moment ago"
    assert take(99, 0.001, 5, 52.0) == pytest.approx(3.0, abs=0.1)
    assert take(2, 0.001, 5, 52.0) == 4.0, "it was the oldest, and is forgotten"


def test_a_bucket_that_had_to_go_begins_anew_elsewhere() -> None:
    """One that a worker remembers is looked for again when another key stands in its place."""
    buckets = alone(WAYS).buckets
    take = buckets.meter(0.001, 5)
    known = [buckets.bucket(key) for key in range(1, WAYS + 2)]
    for now, bucket in enumerate(known):
        assert take(bucket, float(now)) == 4.0, "the last one takes the place of the first"
    assert take(known[0], 100.0) == 4.0, "the first is forgotten, and takes the place of the second"
    assert take(known[0], 100.0) == 3.0
    assert take(known[WAYS], 100.0) == pytest.approx(3.0, abs=0.1), "the last is undisturbed"


def test_workers_that_remember_a_bucket_follow_it_when_it_moves() -> None:
    limits = Limits(WAYS, 2)
    one, two = limits.worker(0).buckets, limits.worker(1).buckets
    here, there = one.bucket(1), two.bucket(1)
    assert one.meter(0.001, 5)(here, 1.0) == 4.0
    assert two.meter(0.001, 5)(there, 1.0) == 3.0
    for key in range(2, WAYS + 2):
        one.meter(0.001, 5)(one.bucket(key), float(key))
    assert two.meter(0.001, 5)(there, 50.0) == 4.0
    assert one.meter(0.001, 5)(here, 50.0) == 3.0


@pytest.fixture(params=["semaphore", "file"])
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Limits:
    """With either kind of lock: the second is for machines without shared memory."""
    if request.param == "file":

        def no_shared_memory(*_: object, **__: object) -> None:
            raise FileNotFoundError("/dev/shm")

        monkeypatch.setattr(multiprocessing.synchronize.SemLock, "__init__", no_shared_memory)
    made = Limits(64, 4)
    monkeypatch.undo()
    return made


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("not:an:address", "not:an:address"),
    ],
)
def test_clients_are_addresses_or_networks(address: str, network: str) -> None:
    assert network_of(address) == network


def test_keys_differ_by_family_and_start() -> None:
    limits, others = Limits(16, 1), Limits(16, 1)
    keys = limits.worker(0).keys("route one")
    assert all(0 < keys.of_value(b"%d" % number) < 2**53 for number in range(100)), "a float holds it exactly"
    assert keys.of_client("2001:db8::1") == keys.of_client("2001:db8::2")
    assert keys.of_client("192.0.2.1") != keys.of_client("192.0.2.2")
    assert keys.of_client("192.0.2.1") != limits.worker(0).keys("route two").of_client("192.0.2.1")
    assert keys.of_client("192.0.2.1") != others.worker(0).keys("route one").of_client("192.0.2.1")
    assert keys.of_client("192.0.2.1") == limits.worker(0).keys("route one").of_client("192.0.2.1")


def test_shared_bucket_passes_exactly_burst_and_rate(limits: Limits) -> None:
    results = FORK.SimpleQueue()
    begin = FORK.Barrier(3)
    burst, rate, moments = 500, 2000.0, (100.0, 100.25, 103.0)

    def hammer(worker: WorkerLimits) -> None:
        take, bucket = worker.buckets.meter(rate, burst), worker.buckets.bucket(42)
        passed = []
        for moment in moments:
            begin.wait(PATIENCE)
            passed.append(sum(take(bucket, moment) >= 0 for _ in range(3000)))
        results.put(passed)

    with worker_of(limits, 0, hammer), worker_of(limits, 1, hammer), worker_of(limits, 2, hammer):
        answers = [results.get() for _ in range(3)]
    assert [sum(passed) for passed in zip(*answers, strict=True)] == [500, 500, 500]


def test_a_worker_killed_inside_the_lock_stops_nobody(limits: Limits) -> None:
    inside = FORK.Event()

    def die_inside(worker: WorkerLimits) -> None:
        assert limits.lock.take(1)
        inside.set()
        os.kill(os.getpid(), signal.SIGKILL)

    limits.begin(0)
    with worker_of(limits, 1, die_inside) as process:
        assert inside.wait(PATIENCE)
        process.join(PATIENCE)
    assert taker(limits.worker(0))(1, 1.0, 2, 1.0) == 1.0


def test_a_lock_is_given_back_once() -> None:
    limits = Limits(64, 4)
    assert limits.lock.take(1)
    limits.lock.bury(1)
    limits.lock.bury(1)
    limits.lock.give_back()
    assert limits.lock.take(0)
    assert not limits.lock.take(2), "not twice"
    limits.lock.give_back()


def test_a_lock_whose_holder_did_not_say_so_is_given_back_later() -> None:
    limits = Limits(64, 4)
    assert limits.lock.take(1)
    limits.lock.give_back()
    assert limits.lock.acquire(False), "the worker of slot 2 has it, and is killed at this very moment"
    assert not limits.lock.take(0)
    limits.lock.bury(2)
    assert limits.lock.take(0)
    limits.lock.give_back()


def test_a_lock_that_cannot_be_had_refuses_nobody() -> None:
    limits = Limits(64, 2)
    limits.begin(0)
    assert limits.lock.take(1)
    worker = limits.worker(0)
    assert taker(worker)(1, 1.0, 2, 1.0) == 2.0
    assert worker.concurrency.acquire(1, Counted.CONNECTIONS, 1)
    limits.lock.give_back()
    limits.lock.give_back()
    assert taker(worker)(1, 1.0, 2, 1.0) == 1.0


def test_workers_killed_at_random_leave_the_bucket_exact() -> None:
    limits = Limits(64, 4)
    ready = FORK.Event()
    burst = 100_000_000

    def hammer(worker: WorkerLimits) -> None:
        take, bucket = worker.buckets.meter(1e-9, burst), worker.buckets.bucket(5)
        ready.set()
        while True:
            take(bucket, monotonic())

    limits.begin(0)
    buckets = limits.worker(0).buckets
    take, bucket = buckets.meter(1e-9, burst), buckets.bucket(5)
    for _ in range(5):
        ready.clear()
        with worker_of(limits, 1, hammer):
            assert ready.wait(PATIENCE)
            for _ in range(200):
                take(bucket, monotonic())
    before = take(bucket, monotonic())
    assert take(bucket, monotonic()) == pytest.approx(before - 1, abs=1e-3)


def test_connections_are_counted_over_all_workers() -> None:
    limits = Limits(64, 4)
    limits.begin(0)
    limits.begin(1)
    one, two = limits.worker(0).concurrency, limits.worker(1).concurrency
    assert one.acquire(9, Counted.CONNECTIONS, 2)
    assert two.acquire(9, Counted.CONNECTIONS, 2)
    assert not one.acquire(9, Counted.CONNECTIONS, 2)
    assert not two.acquire(9, Counted.CONNECTIONS, 2)
    assert two.acquire(9, Counted.WEBSOCKETS, 1), "WebSockets are counted apart"
    assert one.acquire(8, Counted.CONNECTIONS, 1), "other clients too"
    two.release(9, Counted.CONNECTIONS)
    assert one.acquire(9, Counted.CONNECTIONS, 2)
    two.release(9, Counted.CONNECTIONS)
    assert one.count(9, Counted.CONNECTIONS) == 2, "leaving more often than entering takes nothing from others"


def test_a_killed_workers_connections_are_gone() -> None:
    limits = Limits(64, 4)
    limits.begin(0)
    inside = FORK.Event()

    def hold(worker: WorkerLimits) -> None:
        for _ in range(3):
            worker.concurrency.acquire(9, Counted.WEBSOCKETS, 3)
        inside.set()
        signal.pause()

    own = limits.worker(0).concurrency
    with worker_of(limits, 1, hold):
        assert inside.wait(PATIENCE)
        assert own.count(9, Counted.WEBSOCKETS) == 3
        assert not own.acquire(9, Counted.WEBSOCKETS, 3)
    assert own.acquire(9, Counted.WEBSOCKETS, 3)
    limits.begin(1)
    assert own.count(9, Counted.WEBSOCKETS) == 1, "the next worker of the slot begins at zero"


def test_a_crowded_table_counts_who_it_can_and_refuses_nobody() -> None:
    concurrency = alone(WAYS).concurrency
    for key in range(1, WAYS + 1):
        assert concurrency.acquire(key, Counted.CONNECTIONS, 1)
    assert not concurrency.acquire(1, Counted.CONNECTIONS, 1)
    assert concurrency.acquire(99, Counted.CONNECTIONS, 1)
    assert concurrency.acquire(99, Counted.CONNECTIONS, 1)
    concurrency.release(1, Counted.CONNECTIONS)
    assert concurrency.acquire(99, Counted.CONNECTIONS, 1), "a client that left made room"
    assert not concurrency.acquire(99, Counted.CONNECTIONS, 1)
