"""Text that streams in from an agent, on its way to the watchers."""

import secrets
import time
from collections.abc import Callable

from aragora.debate.engine import Question
from aragora.storage import ChangeFeed, Piece

TOKENS = 0.05  # seconds that streamed text is gathered before watchers get it


class Abandoned(Exception):  # noqa: N818 - not a failure: it ends an answer that is not waited for
    """Raised into an agent's stream when its debate was cancelled, handed over, or ran out of time."""


class Tokens:
    """Receives one answer's text as it streams in and passes it on in a few pieces a second; a context manager."""

    def __init__(self, feed: ChangeFeed, debate_id: str, question: Question, over: Callable[[], bool]) -> None:
        self._feed = feed
        self._debate_id = debate_id
        self._question = question
        self._over = over
        self._answer = secrets.token_hex(6)
        self._offset = 0
        self._text: list[str] = []
        self._sent = 0.0

    def __call__(self, text: str) -> None:
        """Raises `Abandoned` when the answer is not waited for any more."""
        if self._over():
            raise Abandoned
        if text:
            self._text.append(text)
        if self._text and time.monotonic() - self._sent >= TOKENS:
            self._pass_on(ended=False)

    def __enter__(self) -> "Tokens":
        return self

    def __exit__(self, *_: object) -> None:
        # Nothing follows, whether the answer is whole or not.
        if self._offset or self._text:
            self._pass_on(ended=True)

    def _pass_on(self, *, ended: bool) -> None:
        asked = self._question
        text = "".join(self._text)
        self._text.clear()
        self._sent = time.monotonic()
        piece = Piece(self._answer, asked.agent.name, asked.round, asked.purpose.value, self._offset, text, ended)
        self._offset += len(text)
        self._feed.say(self._debate_id, piece)
