"""Processes are killed at random moments; every debate ends, and its log has no gap and nothing twice."""

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping

import pytest

from aragora.debate.events import Event, EventType
from aragora.service import Debates, NewDebate
from aragora.settings import load
from aragora.storage import ChangeFeed, Store

PROCESSES = 3
DEBATES = 8
KILLS = 20
DEADLINE = 90.0

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["aragora.runner", "aragora.service", "psycopg"])


def advance(environ: Mapping[str, str]) -> None:
    """What a worker process does: everything is opened after the fork, and nothing is ever closed."""
    from aragora.runner import Runner

    settings = load(environ)
    store = Store.open(settings)
    feed = ChangeFeed(store, settings)
    feed.start()
    runner = Runner(store, feed, settings.agents_environ, lease_ttl=settings.lease_ttl)
    runner.start()
    signal.pause()


def started(environ: Mapping[str, str]) -> multiprocessing.process.BaseProcess:
    process = forks.Process(target=advance, args=(dict(environ),), daemon=True)
    process.start()
    return process


@pytest.mark.drill
@pytest.mark.parametrize("seed", [1])
def test_killed_at_any_moment(environ: dict[str, str], seed: int) -> None:
    chance = random.Random(seed)
    environ |= {"ARAGORA_LEASE_TTL": "1", "ARAGORA_DEMO_DELAY": "0.3"}
    settings = load(environ)
    store = Store.open(settings)
    debates = Debates(store, ChangeFeed(store, settings), settings.agents_environ)
    body = {"question": "Should we adopt event sourcing?", "agents": ["demo"] * 3, "rounds": 3, "early_stop": False}
    ids = [debates.create(NewDebate.parse(body)).id for _ in range(DEBATES)]
    processes = [started(environ) for _ in range(PROCESSES)]
    deadline = time.monotonic() + DEADLINE
    kills = 0
    try:
        while not all(debates.get(debate_id).ended for debate_id in ids):
            assert time.monotonic() < deadline, [debates.get(debate_id) for debate_id in ids]
            time.sleep(chance.uniform(0.05, 0.5))  # a process is killed at any moment, not at an event
            if kills < KILLS:
                kills += 1
                victim = chance.randrange(PROCESSES)
                os.kill(processes[victim].pid or 0, signal.SIGKILL)
                processes[victim].join()
                processes[victim] = started(environ)
    finally:
        for process in processes:
            process.kill()
            process.join()

    for debate_id in ids:
        assert debates.get(debate_id).status == "completed"
        whole(store.history(debate_id))
    store.close()
    assert kills >= 5


def whole(events: list[Event]) -> None:
    """Gapless, begun once, ended once and last, and nothing said twice."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    types = Counter(event.type for event in events)
    assert types[EventType.DEBATE_START] == types[EventType.DEBATE_END] == 1
    assert events[-1].type is EventType.DEBATE_END
    said = Counter(
        (event.type, event.round, event.agent, event.data.get("role"), event.data.get("target"))
        for event in events
        if event.type in (EventType.AGENT_MESSAGE, EventType.CRITIQUE, EventType.VOTE)
    )
    assert [key for key, times in said.items() if times > 1] == []
