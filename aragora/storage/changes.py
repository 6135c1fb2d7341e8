"""Who is told when a debate changes: watchers in this process, wherever the change was made.

    append in this process ──► publish ──┐
    Redis, when configured ──► relay ────┼──► Topic (one per watched debate) ──► Subscription, Subscription, ...
    poll of the store ───────────────────┘      head, recent events

A publication in this process wakes its watchers at once. What other processes write is found by **one poller per
process**, which runs only while somebody watches: on SQLite it asks `PRAGMA data_version` (microseconds; it changes
with every commit of another connection) and reads the heads of watched debates only when that moved; on PostgreSQL it
reads the heads, seldom while nothing happens. Redis, when configured, makes both immediate and carries what is not
stored (token deltas); the poller then is the safety net, and takes over when Redis is lost.

A wake-up promises nothing: it says "look". A reader compares `seq`, so a lost or doubled one does no harm. Events
are read from the store once per change and kept in the topic, whether one watcher asks or a thousand.
"""

import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from aragora.debate.events import Event
from aragora.errors import AragoraError, NotFound
from aragora.settings import Settings
from aragora.storage.relay import Relay
from aragora.storage.store import Store

log = logging.getLogger(__name__)

RECENT = 512  # events that a topic keeps
LIVE = 256  # live payloads kept for a watcher that does not take them
CALM = 5  # a poller finding nothing slows down to this many intervals
SAFETY = 2.0  # seconds between polls while Redis does the work


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """How changes travel now. `mode`: sqlite, postgresql or redis; degraded: Redis is lost, polling replaces it."""

    mode: str
    degraded: bool
    detail: str


class Subscription:
    """One watcher of one debate; a context manager. Its methods belong to one thread (greenlet)."""

    def __init__(self, topic: "Topic", wake: Callable[[], None] | None) -> None:
        self._topic = topic
        self._wake = wake
        self._changed = threading.Event()
        self._live: deque[dict[str, Any]] = deque(maxlen=LIVE)

    @property
    def debate_id(self) -> str:
        """The watched debate."""
        return self._topic.debate_id

    @property
    def last_seq(self) -> int:
        """The newest seq known to exist."""
        return self._topic.head

    @property
    def deleted(self) -> bool:
        """Whether the debate is gone."""
        return self._topic.deleted

    def wait(self, timeout: float) -> bool:
        """Block until something may be new since the last call, or `timeout` seconds; whether something may."""
        changed = self._changed.wait(timeout)
        self._changed.clear()
        return changed

    def events(self, since: int, limit: int = 500) -> list[Event]:
        """Events with seq > `since`; raises `NotFound` when the debate was deleted."""
        return self._topic.events(since, limit)

    def at_hand(self, since: int) -> bool:
        """Whether `events(since)` can be answered from memory, without asking the store."""
        return self._topic.at_hand(since)

    def take_live(self) -> list[dict[str, Any]]:
        """Live payloads (token deltas) since the last call; the oldest are dropped when nobody takes them."""
        taken = []
        while self._live:
            taken.append(self._live.popleft())
        return taken

    def notify(self) -> None:
        """Called by the feed: something may be new."""
        self._changed.set()
        if self._wake is not None:
            self._wake()

    def hand(self, payload: dict[str, Any]) -> None:
        """Called by the feed: a live payload."""
        waiting = bool(self._live)
        self._live.append(payload)
        if not waiting:
            self.notify()

    def close(self) -> None:
        """Watch no longer."""
        self._topic.leave(self)

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Topic:
    """A watched debate: its head, its recent events and its watchers."""

    def __init__(self, debate_id: str, feed: "ChangeFeed") -> None:
        self.debate_id = debate_id
        self.head = 0
        self.deleted = False
        self.watchers: set[Subscription] = set()
        self._feed = feed
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

    def hand(self, payload: dict[str, Any]) -> None:
        """Give every watcher a live payload."""
        for watcher in tuple(self.watchers):
            watcher.hand(payload)

    def leave(self, watcher: Subscription) -> None:
        """The watcher is gone; the last one takes the topic with it."""
        self._feed.forget(self, watcher)

    def events(self, since: int, limit: int) -> list[Event]:
        """Events with seq > `since`, from memory when they are recent."""
        if self.deleted:
            raise NotFound(f"no debate {self.debate_id!r}")
        if since >= self.head:
            return []
        with self._reading:
            if not self._recent:
                self._keep(self._feed.store.events(self.debate_id, since, RECENT))
            elif self._recent[-1].seq < self.head:
                self._keep(self._feed.store.events(self.debate_id, self._recent[-1].seq, RECENT))
            if self._recent and self._recent[0].seq <= since + 1 <= self._recent[-1].seq:
                start = since + 1 - self._recent[0].seq
                return list(islice(self._recent, start, start + limit))
        return self._feed.store.events(self.debate_id, since, limit)

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


class ChangeFeed:
    """Made once per process, after the fork; nothing runs before `start`."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self._interval = settings.poll_interval
        self._topics: dict[str, Topic] = {}
        self._lock = threading.Lock()
        self._watched = threading.Event()
        self._closed = threading.Event()
        self._failure = ""
        self._poller: threading.Thread | None = None
        self._relay = Relay(settings.redis_url, self._received) if settings.redis_url else None
        self._on_work: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to listen; a second call does nothing."""
        with self._lock:
            if self._poller is not None:
                return
            self._poller = threading.Thread(target=self._poll, name="aragora-changes", daemon=True)
        self._poller.start()
        if self._relay is not None:
            self._relay.start()

    def close(self) -> None:
        """Stop, and wake every watcher."""
        self._closed.set()
        self._watched.set()
        if self._relay is not None:
            self._relay.close()
        if self._poller is not None:
            self._poller.join(timeout=SAFETY)
        for topic in tuple(self._topics.values()):
            topic.wake()

    def status(self) -> FeedStatus:
        """For /ready: how changes travel, and what is wrong."""
        kind = self.store.database.kind
        if self._relay is None:
            return FeedStatus(kind, degraded=bool(self._failure), detail=self._failure or "polling")
        if self._relay.connected:
            return FeedStatus("redis", degraded=bool(self._failure), detail=self._failure or "connected")
        return FeedStatus(kind, degraded=True, detail=f"Redis is lost, polling instead: {self._relay.failure}")

    def publish(self, debate_id: str, seq: int, events: Sequence[Event] = ()) -> None:
        """Tell everybody that `debate_id` now ends at `seq`; `events` spare this process a read."""
        topic = self._topics.get(debate_id)
        if topic is not None:
            topic.observe(seq, events)
        if self._relay is not None:
            self._relay.send({"id": debate_id, "seq": seq})

    def publish_live(self, debate_id: str, payload: dict[str, Any]) -> None:
        """Pass on something that is not stored. Without Redis it reaches this process' watchers only."""
        topic = self._topics.get(debate_id)
        if topic is not None:
            topic.hand(payload)
        if self._relay is not None:
            self._relay.send({"id": debate_id, "live": payload})

    def publish_deleted(self, debate_id: str) -> None:
        """Tell everybody that the debate is gone."""
        topic = self._topics.get(debate_id)
        if topic is not None:
            topic.vanish()
        if self._relay is not None:
            self._relay.send({"id": debate_id, "deleted": True})

    def publish_work(self) -> None:
        """Tell every runner that a debate waits to be claimed."""
        self._on_work()
        if self._relay is not None:
            self._relay.send({"work": True})

    def on_work(self, wake: Callable[[], None]) -> None:
        """`wake` is called when a debate waits to be claimed; the runner of this process registers itself."""
        self._on_work = wake

    def subscribe(self, debate_id: str, wake: Callable[[], None] | None = None) -> Subscription:
        """Watch a debate. `wake` is called (from any thread, must not block) at each change, beside `wait`.

        Subscribe first, then read the debate's head and `observe` it: nothing falls in between.
        """
        with self._lock:
            topic = self._topics.get(debate_id)
            if topic is None:
                topic = self._topics[debate_id] = Topic(debate_id, self)
            watcher = Subscription(topic, wake)
            topic.watchers.add(watcher)
            self._watched.set()
        return watcher

    def observe(self, debate_id: str, seq: int) -> None:
        """Somebody read the debate and found that it ends at `seq`."""
        topic = self._topics.get(debate_id)
        if topic is not None:
            topic.observe(seq)

    def forget(self, topic: Topic, watcher: Subscription) -> None:
        """Called by a subscription that closes."""
        with self._lock:
            topic.watchers.discard(watcher)
            if not topic.watchers and self._topics.get(topic.debate_id) is topic:
                del self._topics[topic.debate_id]
            if not self._topics and not self._closed.is_set():
                self._watched.clear()

    def watchers(self) -> int:
        """Subscriptions now open, for metrics."""
        return sum(len(topic.watchers) for topic in tuple(self._topics.values()))

    def _received(self, message: dict[str, Any]) -> None:
        """A message of another process, through Redis."""
        if message.get("work"):
            self._on_work()
            return
        topic = self._topics.get(str(message.get("id")))
        if topic is None:
            return
        if isinstance(message.get("seq"), int):
            topic.observe(message["seq"])
        elif message.get("deleted"):
            topic.vanish()
        elif isinstance(message.get("live"), dict):
            topic.hand(message["live"])

    def _poll(self) -> None:
        pulse = _Pulse(self.store.database.path)
        quiet = 0
        try:
            while not self._closed.is_set():
                self._watched.wait()
                if self._closed.wait(self._pause(quiet)):
                    return
                try:
                    quiet = 0 if pulse.moved() and self._look() else min(quiet + 1, 100)
                    self._failure = ""
                except Exception as error:  # whatever it is, those who watch need the next look
                    pulse.forget()
                    if not self._failure:
                        known = isinstance(error, AragoraError | sqlite3.Error)
                        log.warning("cannot look for changes: %s", error, exc_info=None if known else error)
                    self._failure = str(error)
        finally:
            pulse.close()

    def _pause(self, quiet: int) -> float:
        if self._relay is not None and self._relay.connected:
            return SAFETY
        if self.store.database.path is not None:
            return self._interval
        return self._interval * min(CALM, 1 + quiet // 20)

    def _look(self) -> bool:
        """Compare the heads of the watched debates with what is known; whether one had moved."""
        known = {topic.debate_id: topic for topic in tuple(self._topics.values())}
        heads = self.store.heads(known)
        moved = False
        for debate_id, topic in known.items():
            head = heads.get(debate_id)
            if head is None:
                if not topic.deleted:
                    topic.vanish()
            elif head > topic.head:
                moved = True
                topic.observe(head)
        return moved


class _Pulse:
    """Whether anything was committed since the last look; always yes where that cannot be asked cheaply."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None

    def moved(self) -> bool:
        if self._path is None:
            return True
        if self._connection is None:
            # Without a wait: SQLite would wait in C, and every greenlet with it. The next look is soon.
            self._connection = sqlite3.connect(self._path, timeout=0, check_same_thread=False)
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        moved: bool = version != self._version
        self._version = version
        return moved

    def forget(self) -> None:
        """What moved was not looked at: it counts as moved next time."""
        self._version = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
