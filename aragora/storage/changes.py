"""Notices of changed debates and of agents' words: to the watchers in this process, wherever the change happened.

    append, words in this process ──► publish, say ──┐
    the same in another process of this machine ─────┼──► Topic ──► Subscription, Subscription, ...
    the same on another machine ──► relay ───────────┤
    look at the store ──► heads ─────────────────────┘

A change made here is passed on at once: to watchers here, to this machine's other processes (`siblings`), and to other
machines by Redis or PostgreSQL (`relays`). All of that may be lost, and no event with it: a poller finds them in the
store. Words travel between the processes of one machine, and between machines by Redis.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aragora.debate.events import Event
from aragora.settings import Settings
from aragora.storage.polling import Poller
from aragora.storage.relays import open_relay
from aragora.storage.siblings import Siblings
from aragora.storage.store import Store
from aragora.storage.topic import Subscription, Topic
from aragora.storage.words import Piece, Words

FAR = "relay"  # the source of words that came from another machine


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """How changes travel now. `mode`: sqlite, postgresql or redis; degraded: a relay is lost, polling replaces it."""

    mode: str
    degraded: bool
    detail: str


class ChangeFeed:
    """Made once per process, after the fork; nothing runs before `start`."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self._topics: dict[str, Topic] = {}
        self._lock = threading.Lock()
        self._started = False
        self._siblings = Siblings(settings.data_dir, self)
        self._relay = open_relay(settings, store.database, self._siblings.name, self._received)
        self._poller = Poller(
            store,
            settings.poll_interval,
            lambda: tuple(self._topics.values()),
            lambda: self._relay is not None and self._relay.connected,
            lambda: len(self._siblings) > 0,
        )
        self._on_work: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to listen; a second call does nothing."""
        with self._lock:
            if self._started:
                return
            self._started = True
        self._poller.start()
        self._siblings.start()
        if self._relay is not None:
            self._relay.start()

    def close(self) -> None:
        """Stop, and wake every watcher."""
        if self._relay is not None:
            self._relay.close()
        self._siblings.close()
        self._poller.close()
        for topic in tuple(self._topics.values()):
            topic.wake()

    def status(self) -> FeedStatus:
        """For /ready: how changes travel, and what is wrong."""
        kind = self.store.database.kind
        failure = self._poller.failure or self._siblings.failure
        if self._relay is None:
            return FeedStatus(kind, degraded=bool(failure), detail=failure or "polling")
        if self._relay.connected:
            return FeedStatus(self._relay.mode, degraded=bool(failure), detail=failure or "connected")
        return FeedStatus(
            kind, degraded=True, detail=f"{self._relay.title} is lost, polling instead: {self._relay.failure}"
        )

    def publish(self, debate_id: str, seq: int, events: Sequence[Event] = ()) -> None:
        """Notify all watchers that `debate_id` now ends at `seq`; `events` spare this process a read."""
        topic = self._topics.get(debate_id)
        if topic is not None:
            topic.observe(seq, events)
        self._siblings.tell(debate_id, seq)
        if self._relay is not None:
            self._relay.send({"id": debate_id, "seq": seq})

    def say(self, debate_id: str, piece: Piece) -> None:
        """Pass on to all watchers what an agent of a debate carried on here is saying."""
        topic = self._topics.get(debate_id)
        if topic is not None:
            topic.words.add(piece)
        if self._relay is not None:
            self._relay.send({"id": debate_id, "words": asdict(piece)})

    def publish_deleted(self, debate_id: str) -> None:
        """Notify all watchers that the debate is gone."""
        topic = self._topics.get(debate_id)
        if topic is not None:
            topic.vanish()
        self._siblings.tell(debate_id, None)
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

    def subscribe(self, debate_id: str, wake: Callable[[], None] | None = None, *, words: bool = False) -> Subscription:
        """Watch a debate; `words`: what agents are saying, too. See `Subscription` for `wake`.

        Subscribe first, then read the debate's head and `observe` it: nothing falls in between.
        """
        with self._lock:
            topic = self._topics.get(debate_id)
            begun = topic is None
            if topic is None:
                topic = self._topics[debate_id] = Topic(debate_id, self.store)
                # Under the lock, so that the others hear of beginnings and ends in their order.
                self._siblings.watch(debate_id, topic.words)
            watcher = Subscription(topic, wake, self._forget, words=words)
            self._poller.resume()
        if begun and self._relay is not None:
            self._relay.send({"watch": debate_id})
        return watcher

    def observe(self, debate_id: str, seq: int) -> None:
        """A reader of the debate found that it ends at `seq`; what a topic knows first.

        Later, beside other processes of this machine, that is left to them and to the poller: words come first.
        """
        topic = self._topics.get(debate_id)
        if topic is not None and not (topic.head and len(self._siblings)):
            topic.observe(seq)

    def _forget(self, watcher: Subscription) -> None:
        """A subscription closes; the last one takes its topic with it."""
        topic = watcher.topic
        with self._lock:
            topic.watchers.discard(watcher)
            over = not topic.watchers and self._topics.get(topic.debate_id) is topic
            if over:
                del self._topics[topic.debate_id]
                self._siblings.unwatch(topic.debate_id)
            if not self._topics:
                self._poller.pause()

    def watched(self) -> list[str]:
        """For siblings: the debates watched here."""
        return list(self._topics)

    def words(self, debate_id: str) -> Words | None:
        """For siblings: what is said in a debate that is watched or carried on here."""
        topic = self._topics.get(debate_id)
        return None if topic is None else topic.words

    def heard(self, source: str, message: dict[str, Any]) -> None:
        """Another process told something; what cannot be read is passed over."""
        topic = self._topics.get(str(message.get("id")))
        if topic is None:
            return
        if type(message.get("seq")) is int:
            topic.observe(message["seq"])
        elif message.get("deleted") is True:
            topic.vanish()
        elif (piece := Piece.read(message.get("words"))) is not None:
            topic.words.add(piece, source)

    def lost(self, source: str) -> None:
        """For siblings: another process of this machine is gone."""
        for topic in tuple(self._topics.values()):
            topic.words.lose(source)

    def _received(self, message: dict[str, Any]) -> None:
        """A relay brought a message of another process; those of this machine have told the rest already."""
        if message.get("work"):
            self._on_work()
        elif message.get("from") in self._siblings:
            return
        elif self._relay is not None and (topic := self._topics.get(str(message.get("watch")))) is not None:
            for piece in topic.words.own():
                self._relay.send({"id": topic.debate_id, "words": asdict(piece)})
        else:
            self.heard(FAR, message)
