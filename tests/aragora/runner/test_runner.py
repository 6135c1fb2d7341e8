"""The runner on both databases: it finishes debates, hands them over, and never writes what is not its own."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from aragora.agents import AgentFailed
from aragora.debate.events import EventType
from aragora.errors import DebateEnded, NotFound
from aragora.runner.run import Run
from aragora.runner.runner import Unobserved
from aragora.service import NewDebate
from aragora.storage import DebateRecord
from tests.aragora.runner.conftest import Parts
from tests.waiting import until

SOON = 20.0
Start = Callable[..., Parts]


def ask(parts: Parts, **changes: Any) -> DebateRecord:
    body = {"question": "Should we adopt event sourcing?", "agents": ["demo", "demo", "demo"], "rounds": 2} | changes
    return parts.debates.create(NewDebate.parse(body))


def ended(parts: Parts, record: DebateRecord) -> DebateRecord:
    until(lambda: parts.debates.get(record.id).ended, "the debate ends")
    return parts.debates.get(record.id)


def gapless(parts: Parts, record: DebateRecord) -> list[EventType]:
    events = parts.store.history(record.id)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [event.type for event in events]


def test_a_debate_is_carried_to_its_end(process: Start) -> None:
    here = process()
    record = ask(here)

    assert ended(here, record).status == "completed"
    types = gapless(here, record)
    assert types[0] is EventType.DEBATE_START
    assert types[-1] is EventType.DEBATE_END
    assert here.agent.calls


def test_events_are_read_from_another_process_as_they_come(process: Start) -> None:
    here, there = process(), process(capacity=0)
    record = ask(here)
    seen = []
    with there.debates.subscribe(record.id) as watch:
        while not seen or seen[-1].type is not EventType.DEBATE_END:
            seen += watch.events(len(seen))
            watch.wait(1)
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))


def test_many_debates_share_few_places(process: Start) -> None:
    here, there = process(capacity=2), process(capacity=2)
    records = [ask(here, rounds=1) for _ in range(12)]

    for record in records:
        assert ended(here, record).status == "completed"
        gapless(here, record)
    until(lambda: here.runner.status().running == there.runner.status().running == 0)


def test_tokens_reach_watchers_and_are_not_stored(process: Start) -> None:
    here = process()
    here.agent.hold.clear()
    record = ask(here)
    with here.debates.subscribe(record.id, words=True) as watch:
        pieces = until(watch.take_words)
        here.agent.hold.set()
        ended(here, record)
    assert pieces[0].agent.startswith("demo-")
    assert "word" in pieces[0].text


def test_cancelling_stops_at_once_and_calls_nobody_any_more(process: Start) -> None:
    here, there = process(), process(capacity=0)
    here.agent.hold.clear()
    record = ask(here)
    until(lambda: len(here.agent.calls) == 3)

    assert there.debates.cancel(record.id).status == "cancelled"
    until(lambda: here.agent.broken_off == 3)
    until(lambda: here.runner.status().running == 0)
    assert len(here.agent.calls) == 3
    assert gapless(here, record)[-1] is EventType.DEBATE_END
    with pytest.raises(DebateEnded):
        here.debates.cancel(record.id)


def test_deleting_stops_it(process: Start) -> None:
    here, there = process(), process(capacity=0)
    here.agent.hold.clear()
    record = ask(here)
    until(lambda: len(here.agent.calls) == 3)

    there.debates.delete(record.id)
    until(lambda: here.runner.status().running == 0)
    with pytest.raises(NotFound):
        here.debates.get(record.id)


def test_people_join_in_while_it_runs(process: Start) -> None:
    here, there = process(), process(capacity=0)
    here.agent.hold.clear()
    record = ask(here)
    until(lambda: len(here.agent.calls) == 3)
    there.debates.user_suggestion(record.id, "think of the costs")
    there.debates.user_vote(record.id, "demo-2")
    here.agent.hold.set()

    assert ended(here, record).status == "completed"
    types = gapless(here, record)
    assert EventType.USER_VOTE in types
    assert EventType.USER_SUGGESTION in types
    with pytest.raises(DebateEnded):
        there.debates.user_vote(record.id, "demo-2")


def test_draining_hands_over_at_once(process: Start) -> None:
    here = process(lease_ttl=120)
    here.agent.hold.clear()
    record = ask(here)
    until(lambda: len(here.agent.calls) == 3)
    there = process(lease_ttl=120)

    began = time.monotonic()
    here.runner.drain(5)
    assert here.runner.status().draining
    assert ended(there, record).status == "completed"
    assert time.monotonic() - began < 60  # and not the 120 s of the lease
    gapless(there, record)
    assert here.agent.broken_off == 3


def test_silent_process_loses_its_debate_and_stops_writing(process: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    here = process(lease_ttl=0.5)
    here.agent.hold.clear()
    record = ask(here)
    until(lambda: len(here.agent.calls) >= 3)
    # As if it were suspended: its leases run out, and it does not know.
    monkeypatch.setattr(here.store.leases, "renew", lambda *_: {run.lease for run in here.runner._runs.values()})
    monkeypatch.setattr(here.store.leases, "claim", lambda *_: [])
    there = process()

    assert ended(there, record).status == "completed"
    events = there.store.history(record.id)
    here.agent.hold.set()  # it wakes, has its answers, and finds that they are not wanted
    until(lambda: here.runner.status().running == 0)
    assert there.store.history(record.id) == events


def test_time_runs_out(process: Start) -> None:
    here = process()
    here.agent.hold.clear()
    record = ask(here, timeout=1)

    assert ended(here, record).status == "timeout"
    until(lambda: here.agent.broken_off == 3 or here.runner.status().running == 0)
    gapless(here, record)


def test_agents_that_always_fail_end_the_debate_as_failed(process: Start) -> None:
    here = process()
    here.agent.failure = lambda ask: AgentFailed("server", "503 for ever")
    record = ask(here)

    assert ended(here, record).status == "failed"
    assert EventType.AGENT_ERROR in gapless(here, record)


def test_unknown_agent_error_fails_that_agent_only(process: Start, caplog: pytest.LogCaptureFixture) -> None:
    here = process()
    here.agent.failure = lambda ask: RuntimeError("sk-secret") if ask.agent.name == "demo-1" else None
    record = ask(here)

    assert ended(here, record).status == "completed"
    assert "sk-secret" not in str(here.store.history(record.id))
    assert "unknown way" in caplog.text


def test_our_own_mistake_ends_the_debate_once(
    process: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("aragora.debate.engine.plan", broken)
    here = process()
    record = ask(here)

    assert ended(here, record).status == "failed"
    assert gapless(here, record)[-1] is EventType.DEBATE_END
    assert "cannot go on" in caplog.text


def test_a_database_that_goes_away_is_waited_for(process: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from aragora.errors import Unavailable

    here = process()
    append = here.store.append
    failures = iter([True] * 3)

    def sometimes(*given: Any, **named: Any) -> Any:
        if next(failures, False):
            raise Unavailable("away")
        return append(*given, **named)

    monkeypatch.setattr(here.store, "append", sometimes)
    record = ask(here)
    assert ended(here, record).status == "completed"
    gapless(here, record)


class Counting(Unobserved):
    """Remembers the ends that a runner claims as its own doing."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def ended(self, status: str, seconds: float) -> None:
        self.ends.append(status)


def test_an_end_is_counted_by_whoever_made_it(process: Start) -> None:
    here = process(capacity=0)
    here.runner.observer = seen = Counting()
    record = ask(here)
    (lease,) = here.store.leases.claim(here.runner.owner, 60)
    here.debates.cancel(record.id)
    run = Run(here.runner, lease)
    run.start()
    run.join(SOON)
    assert seen.ends == []

    other = ask(here)
    (lease,) = here.store.leases.claim(here.runner.owner, 60)
    run = Run(here.runner, lease)
    run.start()
    assert ended(here, other).status == "completed"
    until(lambda: seen.ends == ["completed"])
