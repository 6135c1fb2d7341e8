"""A debate's log as it grows, over HTTP: a long poll, or a stream of server-sent events.

An asynchronous server must not hold a thread per watcher: a resource that would wait leaves it what to wait for.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from aragora.debate.events import Event
from aragora.errors import AragoraError
from aragora.server.cursor import PORTION, Cursor, News
from aragora.server.following import HEARTBEAT_SECONDS, Following, Signal, Source, follow
from aragora.server.metrics import Metrics
from aragora.server.texts import texts
from aragora.server.watchers import Watchers
from aragora.service import Debates

log = logging.getLogger("aragora.server.stream")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a wait for a debate ended."""

    debate_id: str
    events: list[Event]


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait up to `timeout` seconds for events after `since`, or, when that is None, for the debate's end."""

    debates: Debates
    debate_id: str
    timeout: float
    since: int | None = None
    limit: int = PORTION

    @contextmanager
    def watching(self, watchers: Watchers, wake: Callable[[], None]) -> Iterator[Cursor]:
        """The cursor of this wait, whose `wake` is called when something may be new. Raises `TooManyRequests`."""
        with watchers.admit(wake), self.debates.subscribe(self.debate_id, wake) as subscription:
            record = self.debates.get(self.debate_id)
            cursor = Cursor(subscription, record.last_seq if self.since is None else self.since, self.limit)
            cursor.ended = record.ended
            yield cursor

    def satisfied(self, step: News | Signal) -> bool:
        """Whether the wait is over with this step: the time is up, or there is what was waited for."""
        return isinstance(step, Signal) or self.since is not None

    def outcome(self, last: News | Signal | None) -> Outcome:
        """What came of it; `last` is the step that ended it."""
        return Outcome(self.debate_id, last.events if isinstance(last, News) else [])

    def block(self, watchers: Watchers) -> Outcome:
        """Wait in this thread."""
        changed = threading.Event()
        last: News | Signal | None = None
        with self.watching(watchers, changed.set) as cursor:
            for step in follow(Following(cursor, self.timeout, lambda: watchers.draining), changed):
                if self.satisfied(step):
                    last = step
                    break
        return self.outcome(last)


class ServerSent(Protocol):
    """A response of server-sent events (HTML standard, section 9.2)."""

    @property
    def opening(self) -> bytes:
        """What is sent at once."""

    def watching(self, watchers: Watchers, wake: Callable[[], None]) -> AbstractContextManager[Source[bytes]]:
        """Where the rest comes from. Raises `AragoraError` where an ordinary response shall say why not."""

    def failed(self, error: AragoraError) -> bytes:
        """What is sent last when the source fails."""

    def cut_short(self) -> bytes:
        """What is sent last when this process drains."""

    def left(self) -> None:
        """Called when the client has left before the end; may ask the store."""


SSE_HEARTBEAT = b": heartbeat\n\n"


class SentEvents:
    """Events and words as server-sent events; what a `Cursor` takes, written down."""

    def __init__(self, cursor: Cursor, metrics: Metrics) -> None:
        self._cursor = cursor
        self._metrics = metrics
        self.missing = cursor.missing
        self.at_hand = cursor.at_hand

    @property
    def ended(self) -> bool:
        """Whether the debate has ended."""
        return self._cursor.ended

    def take(self) -> bytes:
        """The next portion."""
        news = self._cursor.take()
        if news.events:
            self._metrics.fanout_seconds.observe(max(0.0, time.time() - news.events[0].at))
        debate_id = self._cursor.subscription.debate_id
        words = "".join(f"event: token_delta\ndata: {texts.of_words(debate_id, piece)}\n\n" for piece in news.words)
        events = "".join(
            f"id: {event.seq}\nevent: {event.type}\ndata: {texts.of(debate_id, event)}\n\n" for event in news.events
        )
        return (words + events).encode()


@dataclass(frozen=True, slots=True)
class DebateEvents:
    """The stream of a debate's events after `since`, and of what is said meanwhile, until the debate has ended."""

    debates: Debates
    metrics: Metrics
    debate_id: str
    since: int
    opening: bytes = b"retry: 2000\n\n"

    @contextmanager
    def watching(self, watchers: Watchers, wake: Callable[[], None]) -> Iterator[SentEvents]:
        """As a source of bytes; raises `TooManyRequests` and `NotFound`."""
        with watchers.admit(wake), self.debates.subscribe(self.debate_id, wake, words=True) as subscription:
            yield SentEvents(Cursor(subscription, self.since), self.metrics)

    def failed(self, error: AragoraError) -> bytes:
        """Nothing: deleted, or the database is away. An EventSource connects again, and learns it from the status."""
        log.info("the stream of %s ends: %s", self.debate_id, error.message)
        return b""

    def cut_short(self) -> bytes:
        """Nothing: an EventSource connects again."""
        return b""

    def left(self) -> None:
        """Nothing: the debate goes on without its watchers."""


class EventStream:
    """A stream as WSGI wants it: an iterator of bytes that is closed in the end.

    Made before the response begins, so that a refusal is still an ordinary answer.
    """

    def __init__(self, watchers: Watchers, sent: ServerSent) -> None:
        self._watchers = watchers
        self._sent = sent
        self._changed = threading.Event()
        self._over = False
        self._watch = ExitStack()
        self._source = self._watch.enter_context(sent.watching(watchers, self._changed.set))

    def __iter__(self) -> Iterator[bytes]:
        yield self._sent.opening
        following = Following(self._source, HEARTBEAT_SECONDS, lambda: self._watchers.draining)
        last = b""
        try:
            for step in follow(following, self._changed):
                yield SSE_HEARTBEAT if isinstance(step, Signal) else step
            if not self._source.ended:
                last = self._sent.cut_short()
        except AragoraError as error:
            last = self._sent.failed(error)
        self._over = True
        self.close()
        if last:
            yield last

    def close(self) -> None:
        """Watch no longer; called by the server in any case, and again behind the end."""
        self._watch.close()
        if not self._over:
            self._over = True
            self._sent.left()
