"""A stream whose database fails in the middle ends as a stream, under threads and on a loop."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from aragora.debate.events import Draft, EventType
from aragora.server import async_watchers, process
from aragora.server.stream import DebateEvents, EventStream
from aragora.service import NewDebate
from aragora.storage.topic import RECENT
from tests.aragora.server.test_slow_watchers import here

__all__ = ["here"]


@pytest.fixture
def long_debate(here: process.Process) -> str:
    """A debate with more events than are kept in memory."""
    new = NewDebate.parse({"question": "Should long logs be streamed?", "agents": ["demo"] * 2})
    record = here.debates.create(new)
    drafts = [Draft(EventType.USER_VOTE, 0, None, {"choice": "demo-1"}) for _ in range(RECENT + 200)]
    here.store.append(record.id, 0, drafts, lease=None, at=0.0)
    return record.id


def break_database(here: process.Process) -> None:
    with here.store.database.writing() as connection:
        connection.execute(sa.text("DROP TABLE events"))


def test_a_stream_of_a_thread(here: process.Process, long_debate: str) -> None:
    stream = EventStream(here.watchers, DebateEvents(here.debates, here.metrics, long_debate, 0))
    events = iter(stream)
    assert next(events).startswith(b"retry: ")
    assert next(events).startswith(b"id: 1\n")
    break_database(here)
    assert f"id: {RECENT + 1}\n".encode() not in b"".join(events)
    assert len(here.watchers) == 0


def test_a_stream_of_a_loop(here: process.Process, long_debate: str) -> None:
    sent: list[async_watchers.Message] = []

    async def receive() -> async_watchers.Message:
        await asyncio.Event().wait()  # the client stays
        return {"type": "http.disconnect"}

    async def send(message: async_watchers.Message) -> None:
        sent.append(message)
        if message.get("body", b"").startswith(b"id: 1\n"):
            break_database(here)

    async def run() -> None:
        with ThreadPoolExecutor(2) as threads:
            start = {"type": "http.response.start", "status": 200, "headers": []}
            wanted = DebateEvents(here.debates, here.metrics, long_debate, 0)
            await async_watchers.send_stream(
                wanted, start, receive, send, async_watchers.Wakeup(), async_watchers.Pool(threads)
            )

    asyncio.run(run())
    assert [message["type"] for message in sent].count("http.response.start") == 1
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert len(here.watchers) == 0
