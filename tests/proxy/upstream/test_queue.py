"""The queue before peers that have all the connections they may have."""

from time import monotonic

import gevent
import pytest

from proxy import errors
from proxy.errors import ExchangeError
from proxy.upstream.queue import Queue
from tests.proxy.net.loop import Loop, in_loop


@in_loop
def test_waiter_that_finds_no_room_keeps_place_and_deadline(loop: Loop) -> None:
    queue = Queue(loop.hub, loop.deadlines, 2, 5.0)
    told: list[str] = []

    def ask(name: str, since: float, turns: int) -> None:
        try:
            for turn in range(turns):
                queue.wait(since, again=turn > 0)
                told.append(f"{name} looks")
        except ExchangeError as error:
            told.append(f"{name}: {error.failure.reason}")

    now = monotonic()
    first = gevent.spawn(ask, "first", now, 3)
    second = gevent.spawn(ask, "second", now, 1)
    gevent.sleep(0)
    ask("third", now, 1)
    assert told == ["third: queue_full"]
    for _ in range(2):
        queue.wake()
        gevent.sleep(0)
    assert told[1:] == ["first looks", "first looks"], "the second was not before it"
    queue.wake()
    first.join()
    assert told[3:] == ["first looks"]
    late = gevent.spawn(ask, "late", now - 6, 2)
    gevent.sleep(0)
    loop.hub.loop.run_callback(loop.deadlines.sweep)
    late.join()
    assert told[4:] == ["late: queue_timeout"]
    queue.wake()
    second.join()
    assert told[5:] == ["second looks"]
    assert len(queue) == 0


@in_loop
def test_turn_of_a_dead_request_passes_to_the_next(loop: Loop) -> None:
    queue = Queue(loop.hub, loop.deadlines, 2, 5.0)
    gone = gevent.spawn(queue.wait, monotonic(), again=False)
    there = gevent.spawn(queue.wait, monotonic(), again=False)
    gevent.sleep(0)
    loop.hub.loop.run_callback(gone.throw, gevent.GreenletExit)
    queue.wake()  # its turn comes right behind its end
    there.join()
    assert len(queue) == 0


@in_loop
def test_a_release_lets_all_look_and_names_its_own_failures(loop: Loop) -> None:
    queue = Queue(loop.hub, loop.deadlines, 2, 5.0, full=errors.PAUSED, late=errors.PAUSED)
    waiting = [gevent.spawn(queue.wait, monotonic(), again=False) for _ in range(2)]
    gevent.sleep(0)
    with pytest.raises(ExchangeError) as full:
        queue.wait(monotonic(), again=False)
    assert full.value.failure is errors.PAUSED
    queue.release()
    gevent.joinall(waiting, raise_error=True)
    assert len(queue) == 0
