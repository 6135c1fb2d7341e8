"""The loop of all watchers, decided without waiting and driven by threads and by event loops alike."""

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest

from aragora.server.async_watchers import Pool
from aragora.server.async_watchers import follow as follow_on_a_loop
from aragora.server.following import Following, Signal, follow
from aragora.storage import Subscription


class Queued:
    """A source that hands out what was put into it."""

    def __init__(self, *portions: str, ended: bool = False) -> None:
        self.portions = deque(portions)
        self.ended = ended
        self.near = True
        self.threads: set[str] = set()

    def missing(self) -> list[tuple[Subscription, int]]:
        return []

    def at_hand(self) -> bool:
        return self.near

    def take(self) -> str:
        self.threads.add(threading.current_thread().name)
        return self.portions.popleft() if self.portions else ""


def never() -> bool:
    return False


def test_everything_is_handed_out_before_the_end() -> None:
    following = Following(Queued("a", "b", ended=True), 60, never)
    assert [following.step() for _ in range(3)] == ["a", "b", Signal.OVER]


def test_draining_ends_after_what_is_there() -> None:
    following = Following(Queued("a"), 60, lambda: True)
    assert [following.step() for _ in range(2)] == ["a", Signal.OVER]


def test_beats_come_between_pauses() -> None:
    following = Following(Queued(), 60, never)
    pause = following.step()
    assert isinstance(pause, float)
    assert 59 < pause <= 60
    assert Following(Queued(), 0, never).step() is Signal.BEAT


def test_a_thread_follows_what_comes_later() -> None:
    source, changed = Queued("a"), threading.Event()
    found = []
    for step in follow(Following(source, 60, never), changed):
        found.append(step)
        if step == "a":
            threading.Timer(0.05, lambda: (source.portions.append("b"), changed.set())).start()
        else:
            source.ended = True
    assert found == ["a", "b"]


@pytest.mark.parametrize("near", [True, False])
def test_a_loop_asks_in_a_thread_only_for_what_is_not_at_hand(near: bool) -> None:
    source = Queued("a", "b", ended=True)
    source.near = near

    async def found() -> list[object]:
        with ThreadPoolExecutor(1, thread_name_prefix="pool") as threads:
            steps = follow_on_a_loop(Following(source, 60, never), asyncio.Event(), Pool(threads))
            return [step async for step in steps]

    assert asyncio.run(found()) == ["a", "b"]
    assert {name.partition("_")[0] for name in source.threads} == {"MainThread" if near else "pool"}
