"""When a worker may leave: known to every process that was forked with the memory."""

import os

from aragora.server.succession import MEBIBYTE, Allowance, Succession, resident


def in_a_child(call: object, *arguments: int) -> None:
    child = os.fork()
    if child == 0:
        try:
            call(*arguments)  # type: ignore[operator]
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_without_a_reload_nobody_waits() -> None:
    assert Succession().complete(1)


def test_old_workers_wait_for_all_that_a_reload_brings() -> None:
    succession = Succession()
    succession.begin(last=2, count=2)
    assert not succession.complete(1)
    in_a_child(succession.arrived, 3)
    assert not succession.complete(2)
    in_a_child(succession.arrived, 4)
    assert succession.complete(1)
    assert succession.complete(2)


def test_new_workers_wait_for_nobody() -> None:
    succession = Succession()
    succession.begin(last=2, count=2)
    assert succession.complete(3)


def test_a_worker_of_before_counts_for_nobody() -> None:
    succession = Succession()
    succession.begin(last=2, count=1)
    in_a_child(succession.arrived, 2)
    assert not succession.complete(1)


def test_a_successor_that_failed_is_replaced_by_the_next() -> None:
    succession = Succession()
    succession.begin(last=2, count=2)
    in_a_child(succession.arrived, 3)
    in_a_child(succession.arrived, 5)
    assert succession.complete(2)


def test_each_reload_begins_anew() -> None:
    succession = Succession()
    succession.begin(last=2, count=1)
    in_a_child(succession.arrived, 3)
    succession.begin(last=3, count=1)
    assert not succession.complete(3)


def test_memory_is_limited_only_after_a_least_life() -> None:
    assert resident() > MEBIBYTE
    assert Allowance(1, least_life=0.0).exceeded() > MEBIBYTE
    assert not Allowance(1, least_life=3600.0).exceeded()
    assert not Allowance(1 << 20, least_life=0.0).exceeded()
    assert not Allowance(0, least_life=0.0).exceeded()
