"""The connection between two processes, and the lines that travel on it."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Protocol

from aragora.storage.words import PIECE, Listener, Words

log = logging.getLogger(__name__)

HELLO = 5.0  # seconds for connecting and for the first line
STALL = 30.0  # seconds in which a process takes nothing, after which it is let go
LONGEST_LINE = 1 << 18  # bytes
BATCH = 500  # names of debates in one line
MOST_WATCHED = 100_000  # debates that one process hears of through us
READ = 65_536
assert PIECE * 12 + READ < LONGEST_LINE  # a piece fits, with every character escaped

Message = dict[str, Any]


class Audience(Protocol):
    """What the siblings need of the process they belong to."""

    def watched(self) -> list[str]:
        """The debates watched here."""

    def words(self, debate_id: str) -> Words | None:
        """What is said in a debate, if it is watched or carried on here."""

    def heard(self, source: str, message: Message) -> None:
        """Another process told something about a debate."""

    def lost(self, source: str) -> None:
        """Another process is gone."""


class Malformed(Exception):  # noqa: N818  named for what happened, as aragora.errors names its own
    """A line that none of us writes."""


class Sibling:
    """The connection to one other process. One thread reads it, another writes."""

    def __init__(self, sock: socket.socket, name: str, audience: Audience) -> None:
        self.name = name
        self._sock = sock
        self._audience = audience
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._closed = False
        # What the other process watches, and which listeners it has for what is said there.
        self._interests: dict[str, Listener | None] = {}
        # What it is to be told: each is where a cursor stands, not a queue.
        self._watches: dict[str, bool] = {}
        self._heads: dict[str, int] = {}
        self._deleted: set[str] = set()
        self._spoken: dict[str, None] = {}
        self._last_words: list[tuple[str, Listener]] = []

    def serve(self, said: Iterator[Message]) -> None:
        """Pass on what the other process tells until the connection ends; raises `OSError` and `Malformed`."""
        for debate_id in self._audience.watched():
            self._watches.setdefault(debate_id, True)
        self._due.set()
        threading.Thread(target=self._write, name="aragora-sibling-writer", daemon=True).start()
        for message in said:
            for debate_id in _names(message.get("watch", [])):
                self._watch(debate_id)
            for debate_id in _names(message.get("unwatch", [])):
                self._unwatch(debate_id)
            if "id" in message:
                self._audience.heard(self.name, message)

    def close(self) -> None:
        """End the connection."""
        self._closed = True
        self._due.set()
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        for debate_id in list(self._interests):
            self._unwatch(debate_id)
        for _, listener in self._last_words:
            listener.close()

    def announce(self, debate_id: str, watched: bool) -> None:
        """A debate is watched here, or no longer."""
        self._watches[debate_id] = watched
        self._due.set()

    def tell(self, debate_id: str, seq: int | None) -> None:
        """A debate ends at `seq` now, or was deleted."""
        if debate_id not in self._interests:
            return
        with self._lock:
            if seq is None:
                self._deleted.add(debate_id)
            else:
                self._heads[debate_id] = max(seq, self._heads.get(debate_id, 0))
        self._due.set()

    def listen(self, debate_id: str, words: Words) -> None:
        """Words can be had here of a debate; tell them if the other process watches it."""
        with self._lock:
            if debate_id in self._interests and self._interests[debate_id] is None:
                self._interests[debate_id] = words.listen(lambda: self._speak(debate_id), own=True)

    def finish(self, debate_id: str) -> None:
        """Nothing more will be said here in a debate; what was said last is still told."""
        with self._lock:
            listener = self._interests.get(debate_id)
            if listener is not None:
                self._interests[debate_id] = None
                self._last_words.append((debate_id, listener))
        self._due.set()

    def _speak(self, debate_id: str) -> None:
        self._spoken[debate_id] = None
        self._due.set()

    def _watch(self, debate_id: str) -> None:
        if len(self._interests) >= MOST_WATCHED:
            return
        self._interests.setdefault(debate_id, None)
        words = self._audience.words(debate_id)
        if words is not None:
            self.listen(debate_id, words)

    def _unwatch(self, debate_id: str) -> None:
        listener = self._interests.pop(debate_id, None)
        if listener is not None:
            listener.close()

    def _write(self) -> None:
        try:
            while True:
                self._due.wait()
                self._due.clear()
                if self._closed:
                    return
                for portion in _portions(self._outgoing()):
                    self._sock.sendall(portion)
        except OSError as error:
            log.debug("process %s takes nothing more: %s", self.name, error)
            self.close()

    def _outgoing(self) -> Iterator[Message]:
        """What the other process does not know yet. Words that came before an event are sent before it."""
        with self._lock:
            watches, self._watches = self._watches, {}
            heads, self._heads = self._heads, {}
            deleted, self._deleted = self._deleted, set()
            last_words, self._last_words = self._last_words, []
        for watched, verb in ((True, "watch"), (False, "unwatch")):
            names = [name for name, state in watches.items() if state is watched]
            for start in range(0, len(names), BATCH):
                yield {verb: names[start : start + BATCH]}
        for debate_id, listener in last_words:
            yield from _said(debate_id, listener)
            listener.close()
        while self._spoken:
            debate_id, _ = self._spoken.popitem()
            speaking = self._interests.get(debate_id)
            if speaking is not None:
                yield from _said(debate_id, speaking)
        for debate_id, seq in heads.items():
            yield {"id": debate_id, "seq": seq}
        for debate_id in deleted:
            yield {"id": debate_id, "deleted": True}


def _said(debate_id: str, listener: Listener) -> Iterator[Message]:
    for piece in listener.take():
        yield {"id": debate_id, "words": asdict(piece)}


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise Malformed("a list of debates was expected")
    return value


def _portions(messages: Iterator[Message]) -> Iterator[bytes]:
    portion = bytearray()
    for message in messages:
        portion += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if len(portion) >= READ:
            yield bytes(portion)
            portion.clear()
    if portion:
        yield bytes(portion)


def lines(sock: socket.socket) -> Iterator[Message]:
    """The messages of the other side, to its end; raises `OSError` and `Malformed`."""
    received = bytearray()
    while True:
        try:
            part = sock.recv(READ)
        except TimeoutError:
            if sock.gettimeout() == HELLO:
                raise
            continue
        if not part:
            return
        received += part
        *whole, rest = received.split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise Malformed("a line has no end")
        received = bytearray(rest)
        for line in whole:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                raise Malformed("a line is not JSON") from None
            if not isinstance(message, dict):
                raise Malformed("a line is no JSON object")
            yield message
