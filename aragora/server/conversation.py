"""What a WebSocket client says, and what it is to be sent: the source that every transport follows."""

import threading
from collections import deque

from aragora.server.session import Closed, Session
from aragora.storage import Subscription

INBOX = 16


class Conversation:
    """Between the part that listens and the part that writes, each in a thread of its own. Ends by raising `Closed`."""

    ended = False

    def __init__(self, session: Session) -> None:
        self.session = session
        self._heard: deque[str | bytes | Closed] = deque()
        self._room = threading.Semaphore(INBOX)

    def hear(self, item: str | bytes | Closed, patience: float = 0.0) -> bool:
        """A message of the client, a frame that it is owed for one (a pong), or why nothing follows.

        False when so much was heard that there was no room within `patience` seconds: the client's next words have to
        wait in its socket.
        """
        if not isinstance(item, Closed) and not self._room.acquire(timeout=patience):
            return False
        self._heard.append(item)
        return True

    def missing(self) -> list[tuple[Subscription, int]]:
        """Subscriptions and cursors whose next events only the store has."""
        return self.session.missing()

    def at_hand(self) -> bool:
        """Whether nothing was heard, which may ask for anything, and all events are in memory."""
        return not self._heard and not self.session.missing()

    def take(self) -> list[str | bytes]:
        """What answers the client, then what is new: texts, and the frames that were heard. Raises `AragoraError`."""
        answers: list[str | bytes] = []
        while self._heard:
            item = self._heard[0]
            if isinstance(item, Closed):
                if answers:
                    return answers
                raise item
            self._heard.popleft()
            self._room.release()
            answers += [item] if isinstance(item, bytes) else self.session.receive(item)
        return [*answers, *self.session.pending()]
