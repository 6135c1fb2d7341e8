"""Text that streams in from an agent, on its way to those who watch."""

import time
from collections.abc import Callable

from aragora.debate.engine import Question
from aragora.storage import ChangeFeed

TOKENS = 0.05  # seconds that streamed text is gathered before watchers get it


class Abandoned(Exception):  # noqa: N818 - not a failure: it ends an answer that nobody waits for
    """Raised into an agent's stream when its debate was cancelled, handed over, or ran out of time."""


class Tokens:
    """Receives an answer's text as it streams in and passes it on in a few pieces a second."""

    def __init__(self, feed: ChangeFeed, debate_id: str, question: Question, over: Callable[[], bool]) -> None:
        self._feed = feed
        self._debate_id = debate_id
        self._question = question
        self._over = over
        self._text: list[str] = []
        self._sent = 0.0

    def __call__(self, text: str) -> None:
        """Raises `Abandoned` when nobody waits for the answer any more."""
        if self._over():
            raise Abandoned
        if text:
            self._text.append(text)
        if time.monotonic() - self._sent >= TOKENS:
            self.flush()

    def flush(self) -> None:
        """Pass on what is left."""
        if not self._text:
            return
        text = "".join(self._text)
        self._text.clear()
        self._sent = time.monotonic()
        self._feed.publish_live(
            self._debate_id,
            {
                "agent": self._question.agent.name,
                "round": self._question.round,
                "purpose": self._question.purpose.value,
                "text": text,
            },
        )
