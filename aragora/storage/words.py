"""What agents are saying right now in one debate: text that is kept until all its listeners have it.

A listener has a cursor into each answer, as a watcher has one into the log, and no queue: a listener that falls behind
is handed more at once, and one that comes in the middle of an answer is handed what was said so far. Nothing here is
stored; the event that ends an answer has all of it.

Pieces may arrive twice or out of order (several paths lead from one process to another): the offset of each says where
it belongs.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

PIECE = 4096  # characters handed out at once: they fit one frame however JSON escapes them
ANSWERS = 64  # answers kept of one debate: more than its agents can give at once
LONGEST = 1 << 18  # characters kept of one answer; of a longer one only its end
OVER = 256  # ended answers whose names are remembered, so that a late piece does not begin them again


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of an answer: `text` follows its first `offset` characters. The last piece is `ended`, and may be empty."""

    answer: str
    agent: str
    round: int
    purpose: str
    offset: int
    text: str
    ended: bool = False

    @classmethod
    def read(cls, value: Any) -> "Piece | None":
        """What another process wrote with `dataclasses.asdict`, or None for anything else."""
        if not isinstance(value, dict) or value.keys() != _KINDS.keys():
            return None
        right = all(type(value[name]) is kind for name, kind in _KINDS.items())
        return cls(**value) if right and value["offset"] >= 0 else None


_KINDS = {field.name: field.type for field in fields(Piece)}


class Answer:
    """One answer as far as it is known here: `text` from the character `start` on; `source` is None if it is ours.

    `progress` is what cursors count: the characters given so far, and one more for the end. `waiting` are the listeners
    that have yet to take the end of an answer that is `ended`.
    """

    __slots__ = ("_cut", "end", "ended", "facts", "name", "progress", "source", "start", "text", "waiting")

    def __init__(self, piece: Piece, source: str | None) -> None:
        self.name = piece.answer
        self.facts = (piece.agent, piece.round, piece.purpose)
        self.source = source
        self.start = self.end = self.progress = piece.offset
        self.text = ""
        self.ended = False
        self.waiting = 0
        self._cut: dict[int, list[Piece]] = {}

    def add(self, piece: Piece) -> bool:
        """Whether `piece` brought anything new. Where something is missing, what came before the gap is dropped."""
        if self.start <= piece.offset <= self.end:
            self.text += piece.text[self.end - piece.offset :]
        elif piece.offset + len(piece.text) >= self.end:
            self.start, self.text = piece.offset, piece.text
        self.end = self.start + len(self.text)
        if len(self.text) > LONGEST:
            self.start, self.text = self.end - LONGEST, self.text[-LONGEST:]
        self.ended = self.ended or piece.ended
        before, self.progress = self.progress, self.end + self.ended
        self._cut.clear()
        return self.progress != before

    def after(self, progress: int) -> list[Piece]:
        """What a cursor at `progress` has not passed yet; the same pieces for all cursors there."""
        found = self._cut.get(progress)
        if found is None:
            found = self._cut[progress] = list(self._pieces(progress))
        return found

    def _pieces(self, progress: int) -> Iterator[Piece]:
        at = min(max(progress, self.start), self.end)
        while at < self.end or progress < self.progress:
            text = self.text[at - self.start : at - self.start + PIECE]
            at += len(text)
            last = self.ended and at == self.end
            yield Piece(self.name, *self.facts, at - len(text), text, last)
            progress = at + last


class Listener:
    """Takes words at its own pace; `own`: only those of this process. Made by `Words.listen`."""

    def __init__(self, words: "Words", wake: Callable[[], None], own: bool) -> None:
        self.wake = wake
        self.own = own
        self.cursors: dict[str, int] = {}
        self.woken = False
        self._words = words

    def hears(self, answer: Answer) -> bool:
        """Whether this answer is among those it listens to."""
        return answer.source is None or not self.own

    def take(self) -> list[Piece]:
        """What was said since the last call, in the order in which the answers began."""
        return self._words.taken(self) if self.woken else []

    def close(self) -> None:
        """Listen no longer."""
        self._words.leave(self)


class Words:
    """The answers of one debate that are being given; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()
        self._listeners: set[Listener] = set()

    def listen(self, wake: Callable[[], None], *, own: bool = False) -> Listener:
        """Hear every answer that is being given, from its beginning.

        `wake` is called, from any thread, when there are words after none were left; it must not block.
        """
        listener = Listener(self, wake, own)
        with self._lock:
            # What has ended is in the log.
            listener.cursors = {name: answer.progress for name, answer in self._answers.items() if answer.ended}
            self._listeners.add(listener)
            listener.woken = any(not answer.ended for answer in self._answers.values() if listener.hears(answer))
        if listener.woken:
            wake()
        return listener

    def add(self, piece: Piece, source: str | None = None) -> None:
        """Part of an answer was given; `source` names the process that told us, None is this one."""
        with self._lock:
            if piece.answer in self._over:
                return
            answer = self._answers.get(piece.answer)
            if answer is None:
                answer = self._answers[piece.answer] = Answer(piece, source)
                if len(self._answers) > ANSWERS:
                    self._drop(next(iter(self._answers.values())))
            if not answer.add(piece):
                return
            hearing = [listener for listener in self._listeners if listener.hears(answer)]
            to_wake = [listener for listener in hearing if not listener.woken]
            for listener in to_wake:
                listener.woken = True
            if answer.ended:
                answer.waiting = len(hearing)
                self._let_go(answer)
        for listener in to_wake:
            listener.wake()

    def lose(self, source: str) -> None:
        """The process `source` is gone: the answers that it has begun will never end."""
        with self._lock:
            for answer in [answer for answer in self._answers.values() if answer.source == source]:
                self._drop(answer)

    def own(self) -> list[Piece]:
        """What this process has told so far of answers that are being given."""
        with self._lock:
            given = [answer for answer in self._answers.values() if answer.source is None and not answer.ended]
            return [piece for answer in given for piece in answer.after(0)]

    def taken(self, listener: Listener) -> list[Piece]:
        """Called by a listener: what it has not been handed yet."""
        pieces: list[Piece] = []
        with self._lock:
            listener.woken = False
            for answer in tuple(self._answers.values()):
                cursor = listener.cursors.get(answer.name, 0)
                if cursor < answer.progress and listener.hears(answer):
                    pieces += answer.after(cursor)
                    listener.cursors[answer.name] = answer.progress
                    if answer.ended:
                        answer.waiting -= 1
                        self._let_go(answer)
        return pieces

    def leave(self, listener: Listener) -> None:
        """Called by a listener that goes."""
        with self._lock:
            if listener not in self._listeners:
                return
            self._listeners.discard(listener)
            for answer in tuple(self._answers.values()):
                behind = listener.cursors.get(answer.name, 0) < answer.progress
                if answer.ended and behind and listener.hears(answer):
                    answer.waiting -= 1
                    self._let_go(answer)

    def _let_go(self, answer: Answer) -> None:
        """Forget an answer that has ended and that all its listeners have taken."""
        if answer.waiting <= 0:
            self._drop(answer)
            self._over[answer.name] = None
            if len(self._over) > OVER:
                self._over.popitem(last=False)

    def _drop(self, answer: Answer) -> None:
        del self._answers[answer.name]
        for listener in self._listeners:
            listener.cursors.pop(answer.name, None)
