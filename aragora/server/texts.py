"""Events and words as JSON text, made once for all watchers of this process."""

import json
import threading
from typing import Any

from aragora.debate.events import Event
from aragora.service import views
from aragora.storage import Piece

MAX_MESSAGE_BYTES = 65_536
KEPT_BYTES = 8 << 20
KEPT_WORDS = 256
_CLOSE = 16  # characters: nearer to what fits it makes no difference


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
    fits, too_long = 0, MAX_MESSAGE_BYTES
    while too_long - fits > _CLOSE:
        longest = (fits + too_long) // 2
        cut = _cut(message["data"], longest)
        tried = json.dumps({**message, "data": {**cut, "truncated": True}}, separators=(",", ":"))
        if len(tried) <= MAX_MESSAGE_BYTES:
            text, fits = tried, longest
        else:
            too_long = longest
    return text


def _cut(value: Any, longest: int) -> Any:
    """`value` with every text in it cut to `longest` characters, and no more members than that either."""
    match value:
        case str():
            return value[:longest]
        case list():
            return [_cut(item, longest) for item in value[:longest]]
        case dict():
            return {name: _cut(item, longest) for name, item in list(value.items())[:longest]}
    return value


texts = Texts()
