"""Debates and drafts for storage tests."""

import time

from aragora.debate.events import Draft, Event, EventType
from aragora.debate.spec import AgentSpec, DebateSpec
from aragora.storage import DebateRecord, Lease, Store


def spec(question: str = "Should we adopt event sourcing?", **changes: object) -> DebateSpec:
    values = {
        "question": question,
        "agents": (AgentSpec("demo-1", "demo", None, None), AgentSpec("demo-2", "demo", None, None)),
        "rounds": 2,
        "consensus": "majority",
        "threshold": None,
        "context": "",
        "early_stop": True,
        "timeout": 60.0,
    }
    return DebateSpec(**(values | changes))


START = Draft(EventType.DEBATE_START, 0, None, {})
END = Draft(EventType.DEBATE_END, 1, None, {"status": "completed", "rounds": 1, "duration": 1.0})


def message(text: str, agent: str = "demo-1") -> Draft:
    return Draft(EventType.AGENT_MESSAGE, 1, agent, {"role": "proposer", "content": text})


def append(store: Store, record: DebateRecord, *drafts: Draft, lease: Lease | None = None) -> list[Event]:
    """Add `drafts` at the end, whoever holds the debate."""
    expected = None if lease is None else store.get(record.id).last_seq
    return store.append(record.id, expected, drafts, lease=lease, at=time.time())
