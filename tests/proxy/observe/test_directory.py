"""Rows for what comes and goes: names are bounded, sums never fall, and a worker may die at any point."""

import itertools
import mmap
import os
import signal
import sys
from collections import Counter
from types import FrameType
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.observe import directory
from proxy.observe.directory import FOLDED, OVERFLOW, Directory, Holdings, Size
from proxy.observe.metrics import EXCHANGES, GONE, PEERS, Board
from tests.proxy.observe.test_metrics import in_child, samples

SIZE = Size(slots=8, entries=4, name=2, width=2)
SLOTS = st.integers(0, 2)
NAMES = st.sampled_from("abcdefg")


def made(size: Size = SIZE) -> Directory:
    memory = memoryview(mmap.mmap(-1, 8 * size.words)).cast("q")
    return Directory(memory, size, memoryview(bytearray((3).to_bytes(8, "little"))).cast("q"))


class Rows(RuleBasedStateMachine):
    """Three workers count under names, give them up, die and are replaced; the model knows what each has counted."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = made()
        self.workers = [Holdings(self.directory, slot) for slot in range(3)]
        self.held: list[set[str]] = [set(), set(), set()]
        self.vain: list[set[str]] = [set(), set(), set()]
        """Names that were given no entry; a worker asks again only when it has given something up."""
        self.counted: list[int] = [0, 0, 0]
        self.named: Counter[tuple[str, int]] = Counter()
        """What was counted under a name since it has had an entry."""

    @rule(slot=SLOTS, name=NAMES, number=st.integers(1, 9))
    def count(self, slot: int, name: str, number: int) -> None:
        before = self.names()
        everywhere = set.union(*self.held)
        entry = self.workers[slot].find(name)
        if name not in self.held[slot] and entry != OVERFLOW:
            self.held[slot].add(name)
        if entry == OVERFLOW and name not in self.vain[slot]:
            self.vain[slot].add(name)
            assert name not in everywhere
            assert len(everywhere) == SIZE.entries - 1, "there was room"
        for gone in before - self.names():
            assert gone not in everywhere, "a name was taken from its holder"
            for place in range(3):
                del self.named[gone, place]
        row = self.workers[slot].row(entry)
        row[1] += number
        self.counted[slot] += number
        if entry != OVERFLOW:
            self.named[name, slot] += number

    @rule(slot=SLOTS, name=NAMES)
    def give_up(self, slot: int, name: str) -> None:
        self.workers[slot].release([name])
        self.held[slot].discard(name)
        self.vain[slot].clear()

    @rule(slot=SLOTS)
    def die(self, slot: int) -> None:
        self.directory.leave(slot)
        self.workers[slot] = Holdings(self.directory, slot)
        self.held[slot].clear()
        self.vain[slot].clear()

    def names(self) -> set[str]:
        found = {name for name, _ in self.directory.read(range(3))}
        return found - {FOLDED, directory.OTHER}

    @invariant()
    def nothing_is_lost(self) -> None:
        for slot in range(3):
            found = dict(self.directory.read([slot]))
            assert sum(numbers[1] for numbers in found.values()) == self.counted[slot]
            for name in self.held[slot]:
                assert found[name][1] == self.named[name, slot]


TestRows = Rows.TestCase
TestRows.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)


def death_at(step: int) -> Any:
    """A trace function that kills the process at so many lines of the directory."""
    steps = itertools.count(1)

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code.co_filename != directory.__file__:
            return None
        if event == "line" and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def total(rows: list[tuple[str, list[int]]]) -> int:
    return sum(numbers[1] for _, numbers in rows)


def test_a_worker_may_die_at_any_line_of_a_change_of_names() -> None:
    step, lived = 0, False
    while not lived:
        step += 1
        names = made()
        workers = [Holdings(names, slot) for slot in range(3)]
        for worker in workers[:2]:
            for number, name in enumerate("abc", 1):
                worker.row(worker.find(name))[1] += number
            worker.release("abc")

        def work(worker: Holdings = workers[2], step: int = step) -> None:
            sys.settrace(death_at(step))
            worker.find("new")
            sys.settrace(None)
            worker.row(worker.find("new"))[1] += 1

        in_child(work)
        lived = ("new", [0, 1]) in names.read(range(3))
        assert total(names.read(range(3))) == 12 + lived
        names.leave(2)
        workers[0].row(workers[0].find("next"))[1] += 1
        assert ("next", [0, 1]) in names.read([0])
        assert total(names.read(range(3))) == 13 + lived


def test_after_many_deploys_the_newest_routes_have_their_metrics() -> None:
    board = Board()
    workers = [board.counters(board.take(range(slot))) for slot in range(2)]
    before: dict[tuple[str, tuple[str, ...]], float] = {}
    for deploy in range(1, 601):
        name, peer = f"route-{deploy}", f"10.0.{deploy // 250}.{deploy % 250}:80"
        for worker in workers:
            worker.keep([name, "always"], [peer])
            worker.route(name)[peer].exchange(b"GET", 200, 0.1, 1, 1)
            worker.route("always")[""].exchange(b"GET", 404, 0.1, 1, 1)
            worker.peer(peer).connect()
        if deploy % 100 == 0:
            found = samples(board)
            assert found["route_requests_total", ("2xx", peer, name)] == 2
            assert found["upstream_connects_total", (peer,)] == 2
            assert found["requests_total", ("2xx", "GET")] == 2 * deploy
            assert found["route_requests_total", ("4xx", "", "always")] == 2 * deploy
            falls = [key for key in found if key[0].endswith("_total") and found[key] < before.get(key, 0)]
            assert not falls
            before = found
    assert board.traffic()[GONE].requests == 2 * (600 - (EXCHANGES - 2))
    assert [slot.traffic().requests for slot in board.slots()] == [1200, 1200]
    assert len(list(board.slots()[0].peers())) == PEERS - 1


def test_an_exchange_that_ends_late_is_counted_where_it_may_be() -> None:
    board = Board()
    counters = board.counters(board.take([]))
    late = counters.route("gone")["a:1"]
    late.exchange(b"GET", 200, 0.1, 1, 1)
    counters.keep([], [])
    late.exchange(b"GET", 200, 0.1, 1, 1)
    counters.route("gone")["a:1"].exchange(b"GET", 200, 0.1, 1, 1)
    found = {pair: traffic.requests for pair, traffic in board.traffic().items()}
    assert found == {("gone", "a:1"): 2, (directory.OTHER, ""): 1}
