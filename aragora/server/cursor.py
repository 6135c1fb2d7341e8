"""Where a watcher is in a debate: the last event it was sent, and how much of what is being said.

Nothing else is kept for a watcher. What it has not been sent yet stays in the feed's memory or in the store, so that a
slow watcher costs no memory and misses nothing; it is sent the next portion when it has taken the last one.
"""

from typing import NamedTuple

from aragora.debate.events import Event, EventType
from aragora.storage import Piece, Subscription

PORTION = 100  # events sent at once, so that many watchers take turns


class News(NamedTuple):
    """What is new in a debate: words that were said before these events, and the events."""

    words: list[Piece]
    events: list[Event]

    def __bool__(self) -> bool:
        return bool(self.words or self.events)


class Cursor:
    """One watcher's place in one debate; the source of what follows `since`."""

    def __init__(self, subscription: Subscription, since: int, limit: int = PORTION) -> None:
        self.subscription = subscription
        self.seq = since
        self.ended = False
        self._limit = limit

    def missing(self) -> list[tuple[Subscription, int]]:
        """The subscription, if its next events are in the store only."""
        return [] if self.at_hand() else [(self.subscription, self.seq)]

    def at_hand(self) -> bool:
        """Whether the next events are in memory."""
        return self.subscription.at_hand(self.seq)

    def take(self) -> News:
        """The next portion; raises `NotFound` when the debate was deleted."""
        events = self.subscription.events(self.seq, self._limit)
        if events:
            self.seq = events[-1].seq
            self.ended = events[-1].type == EventType.DEBATE_END
        # Taken after the events, and handed out before them: no event overtakes the words that led to it.
        return News(self.subscription.take_words(), events)
