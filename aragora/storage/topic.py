"""A watched debate in the memory of one process, with its watchers.

A wake-up promises nothing: it says "look". A reader compares `seq`, so a lost or doubled one does no harm. Events are
read from the store once per change and kept in the topic, whether one watcher asks or a thousand.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from types import TracebackType
from typing import Protocol

from aragora.debate.events import Event
from aragora.errors import NotFound
from aragora.storage.words import Listener, Piece, Words

RECENT = 512  # events that a topic keeps


class Log(Protocol):
    """Where events are read that are not in memory: the store."""

    def events(self, debate_id: str, since: int, limit: int) -> list[Event]:
        """Events with seq > `since`, at most `limit`."""


class Topic:
    """A watched debate: its head, its recent events, what is said in it, and its watchers."""

    def __init__(self, debate_id: str, log: Log) -> None:
        self.debate_id = debate_id
        self.head = 0
        self.deleted = False
        self.words = Words()
        self.watchers: set[Subscription] = set()
        self._log = log
        self._reading = threading.Lock()
        self._recent: deque[Event] = deque(maxlen=RECENT)

    def observe(self, seq: int, events: Sequence[Event] = ()) -> None:
        """The debate now ends at `seq`; `events` are its newest, when they are at hand."""
        if events:
            with self._reading:
                self._keep(events)
        if seq > self.head:
            self.head = seq
            self.wake()

    def vanish(self) -> None:
        """The debate was deleted."""
        self.deleted = True
        self.wake()

    def wake(self) -> None:
        """Tell every watcher to look."""
        for watcher in tuple(self.watchers):
            watcher.notify()

    def events(self, since: int, limit: int) -> list[Event]:
        """Events with `since` < seq <= `head`, from memory when they are recent; raises `NotFound` for a deleted one.

        The store may have more. What led to that, the words of an agent, is still on its way.
        """
        if self.deleted:
            raise NotFound(f"no debate {self.debate_id!r}")
        limit = min(limit, self.head - since)
        if limit <= 0:
            return []
        with self._reading:
            if not self._recent:
                self._keep(self._log.events(self.debate_id, since, RECENT))
            elif self._recent[-1].seq < self.head:
                self._keep(self._log.events(self.debate_id, self._recent[-1].seq, RECENT))
            if self._recent and self._recent[0].seq <= since + 1 <= self._recent[-1].seq:
                start = since + 1 - self._recent[0].seq
                return list(islice(self._recent, start, start + limit))
        return self._log.events(self.debate_id, since, limit)

    def at_hand(self, since: int) -> bool:
        """Whether `events(since)` needs no store."""
        recent = self._recent
        return since >= self.head or (
            bool(recent) and recent[0].seq <= since + 1 and recent[-1].seq >= max(self.head, since + 1)
        )

    def _keep(self, events: Sequence[Event]) -> None:
        """Remember `events`, as far as they follow what is remembered."""
        for event in events:
            if not self._recent or event.seq == self._recent[-1].seq + 1:
                self._recent.append(event)


class Subscription:
    """One watcher of one debate; a context manager. Its methods belong to one thread (greenlet).

    `wake` is called (from any thread, must not block) at each change, beside `wait`; `left` when it is closed. With
    `words`, what agents say counts as a change too.
    """

    def __init__(
        self, topic: Topic, wake: Callable[[], None] | None, left: Callable[["Subscription"], None], *, words: bool
    ) -> None:
        self.topic = topic
        self._wake = wake
        self._left = left
        self._changed = threading.Event()
        topic.watchers.add(self)
        self._listener: Listener | None = topic.words.listen(self.notify) if words else None

    @property
    def debate_id(self) -> str:
        """The watched debate."""
        return self.topic.debate_id

    @property
    def last_seq(self) -> int:
        """The newest seq known to exist."""
        return self.topic.head

    @property
    def deleted(self) -> bool:
        """Whether the debate is gone."""
        return self.topic.deleted

    def wait(self, timeout: float) -> bool:
        """Block until something may be new since the last call, or `timeout` seconds; whether something may."""
        changed = self._changed.wait(timeout)
        self._changed.clear()
        return changed

    def events(self, since: int, limit: int = 500) -> list[Event]:
        """Events with seq > `since`; raises `NotFound` when the debate was deleted."""
        return self.topic.events(since, limit)

    def at_hand(self, since: int) -> bool:
        """Whether `events(since)` can be answered from memory, without asking the store."""
        return self.topic.at_hand(since)

    def take_words(self) -> list[Piece]:
        """What agents said since the last call; at the first, what they have said so far of what they are saying."""
        return [] if self._listener is None else [piece for piece in self._listener.take() if piece.text]

    def notify(self) -> None:
        """Called when something may be new."""
        self._changed.set()
        if self._wake is not None:
            self._wake()

    def close(self) -> None:
        """Watch no longer."""
        if self._listener is not None:
            self._listener.close()
        self._left(self)

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
