"""A debate's log as it grows: what long poll, SSE and WebSocket share.

Every watcher has a cursor (the last `seq` it was sent) and nothing else: what it has not been sent yet stays in the
feed's memory or in the store, never in a queue of its own. A slow watcher therefore costs no memory and misses nothing;
it is sent the next portion when it has taken the last one. Each event is serialised once per process, however many
watch.

An asynchronous server must not hold a thread per watcher: it sets `aragora.asynchronous` in the environ, and a
resource that would wait describes the wait with `defer` instead.
"""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import falcon

from aragora.debate.events import Event, EventType
from aragora.errors import AragoraError
from aragora.server.process import Process
from aragora.service import views
from aragora.storage import DebateRecord, Piece, Subscription

log = logging.getLogger("aragora.server.stream")

HEARTBEAT_SECONDS = 15.0
PORTION = 100  # events sent at once, so that many watchers take turns
MAX_MESSAGE_BYTES = 65_536
KEPT_BYTES = 8 << 20
KEPT_WORDS = 256


@dataclass(frozen=True, slots=True)
class AwaitEnd:
    """Answer again as `GET` of the debate once it ended, or as answered now after `timeout` seconds."""

    debate_id: str
    timeout: float


@dataclass(frozen=True, slots=True)
class AwaitEvents:
    """Ask the same again, without `wait`, once there are events after `since`, or after `timeout` seconds."""

    debate_id: str
    since: int
    timeout: float


@dataclass(frozen=True, slots=True)
class StreamEvents:
    """Answer with a stream of the events after `since`."""

    debate_id: str
    since: int


def defer(req: falcon.Request, what: AwaitEnd | AwaitEvents | StreamEvents) -> bool:
    """Leave a wait to an asynchronous server; whether there is one."""
    if not req.env.get("aragora.asynchronous"):
        return False
    req.env["aragora.deferred"] = what
    return True


def describe(debate_id: str, event: Event) -> dict[str, Any]:
    """An event with the debate it belongs to, as it travels."""
    return views.event(event) | {"debate_id": debate_id, "loop_id": debate_id}


class Texts:
    """Events as JSON text, made once for all watchers of this process; the oldest are forgotten first."""

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._size = 0
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int], str] = {}
        self._words: dict[tuple[str, int, int], str] = {}

    def of(self, debate_id: str, event: Event) -> str:
        """The text of one event, at most `MAX_MESSAGE_BYTES` long."""
        key = (debate_id, event.seq)
        found = self._kept.get(key)
        if found is not None:
            return found
        text = fitted(describe(debate_id, event))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = text
                self._size += len(text)
            while self._size > self._limit:
                self._size -= len(self._kept.pop(next(iter(self._kept))))
        return text

    def of_words(self, debate_id: str, piece: Piece) -> str:
        """The text of a `token_delta`. Watchers that keep up are handed the same pieces."""
        key = (piece.answer, piece.offset, len(piece.text))
        found = self._words.get(key)
        if found is not None:
            return found
        data = {
            "agent": piece.agent,
            "round": piece.round,
            "purpose": piece.purpose,
            "answer": piece.answer,
            "offset": piece.offset,
            "text": piece.text,
        }
        named = {"debate_id": debate_id, "loop_id": debate_id, "agent": piece.agent}
        text = fitted({"type": "token_delta", **named, "data": data})
        with self._lock:
            self._words[key] = text
            while len(self._words) > KEPT_WORDS:
                del self._words[next(iter(self._words))]
        return text


def fitted(message: dict[str, Any]) -> str:
    """The JSON of `message`; text that does not fit one frame is cut, and the message says so.

    The whole text is always to be had from `GET /api/debates/{id}/events`.
    """
    text = json.dumps(message, separators=(",", ":"))
    if len(text) <= MAX_MESSAGE_BYTES:
        return text
    # ASCII escapes take up to six characters for one: an eighth of the frame always fits.
    data = {name: _cut(value, MAX_MESSAGE_BYTES // 8) for name, value in list(message["data"].items())[:6]}
    return json.dumps({**message, "data": {**data, "truncated": True}}, separators=(",", ":"))


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value[: limit // 6]
    text = json.dumps(value)
    return value if len(text) <= limit else text[: limit // 6]


texts = Texts()


@contextmanager
def watching(here: Process, debate_id: str) -> Iterator[tuple[Subscription, threading.Event]]:
    """Watch a debate from this thread: the subscription, and what is set when something may be new."""
    changed = threading.Event()
    with here.watchers.admit(changed.set), here.debates.subscribe(debate_id, changed.set) as subscription:
        yield subscription, changed


def is_last(event: Event) -> bool:
    """Whether nothing follows this event."""
    return event.type == EventType.DEBATE_END


def await_events(here: Process, debate_id: str, since: int, limit: int, timeout: float) -> list[Event]:
    """Events after `since`, waiting up to `timeout` seconds for the first; an ended debate is not waited for."""
    deadline = time.monotonic() + timeout
    with watching(here, debate_id) as (subscription, changed):
        ended = here.debates.get(debate_id).ended
        while True:
            changed.clear()
            events = subscription.events(since, limit)
            remaining = deadline - time.monotonic()
            if events or ended or here.draining or remaining <= 0:
                return events
            changed.wait(remaining)


def await_end(here: Process, debate_id: str, timeout: float) -> DebateRecord:
    """The debate once it ended, or as it is after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    with watching(here, debate_id) as (subscription, changed):
        record = here.debates.get(debate_id)
        seen = record.last_seq
        ended = record.ended
        while not ended:
            changed.clear()
            events = subscription.events(seen, PORTION)
            if events:
                seen = events[-1].seq
                ended = is_last(events[-1])
                continue
            remaining = deadline - time.monotonic()
            if remaining <= 0 or here.draining:
                break
            changed.wait(remaining)
    return here.debates.get(debate_id)


SSE_OPENING = b"retry: 2000\n\n"
SSE_HEARTBEAT = b": heartbeat\n\n"


def sse_event(debate_id: str, event: Event) -> bytes:
    """One event of an event stream (HTML standard, section 9.2)."""
    return f"id: {event.seq}\nevent: {event.type}\ndata: {texts.of(debate_id, event)}\n\n".encode()


class EventStream:
    """The events after `since` as a server-sent stream, until the debate has ended or is deleted, or this process
    drains.

    Made before the response begins, so that a refusal is still an ordinary answer; whoever iterates it closes it.
    """

    def __init__(self, here: Process, debate_id: str, since: int) -> None:
        self._here = here
        self._debate_id = debate_id
        self._since = since
        self._opened = False
        self._ended = False
        self._watch = ExitStack()
        self._subscription, self._changed = self._watch.enter_context(watching(here, debate_id))

    def __iter__(self) -> "EventStream":
        return self

    def __next__(self) -> bytes:
        if not self._opened:
            self._opened = True
            return SSE_OPENING
        while not (self._ended or self._here.draining):
            self._changed.clear()
            try:
                events = self._subscription.events(self._since, PORTION)
            except AragoraError as error:
                # Deleted, or the database is away: an EventSource connects again, and learns it from the status.
                log.info("the stream of %s ends: %s", self._debate_id, error.message)
                break
            if events:
                self._since = events[-1].seq
                self._ended = is_last(events[-1])
                self._here.metrics.fanout_seconds.observe(max(0.0, time.time() - events[0].at))
                return b"".join(sse_event(self._debate_id, event) for event in events)
            if not self._changed.wait(HEARTBEAT_SECONDS):
                return SSE_HEARTBEAT
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Watch no longer."""
        self._watch.close()
