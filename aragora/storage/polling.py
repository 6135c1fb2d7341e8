"""The look at the store that finds what other processes wrote, when no notice came.

**One poller per process**, which runs only while there are watchers. On SQLite it asks `PRAGMA data_version`, which
takes microseconds and changes with every commit of another connection, and reads the heads of watched debates only when
that moved; on PostgreSQL it reads the heads, seldom while nothing happens.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from aragora.errors import AragoraError
from aragora.storage.store import Store
from aragora.storage.topic import Topic

log = logging.getLogger(__name__)

CALM = 5  # a poller finding nothing slows down to this many intervals
SAFETY = 2.0  # seconds between polls while a relay does the work
SETTLE = 1.0  # seconds in which a sibling tells of a change itself, after the words that led to it


class Poller:
    """Looks for changes of the watched debates, which `topics` lists.

    `relayed` says whether changes are announced as well, `accompanied` whether another process of this machine
    announces words. What such a process changed is left to it to tell, words first; only what it has not told in
    `SETTLE` seconds is taken from the store.
    """

    def __init__(
        self,
        store: Store,
        interval: float,
        topics: Callable[[], tuple[Topic, ...]],
        relayed: Callable[[], bool],
        accompanied: Callable[[], bool],
    ) -> None:
        self.failure = ""
        self._store = store
        self._interval = interval
        self._topics = topics
        self._relayed = relayed
        self._accompanied = accompanied
        self._watched = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="aragora-changes", daemon=True)
        self._untold: dict[str, float] = {}  # debates that have moved, and since when that is known

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def resume(self) -> None:
        """A first watcher came."""
        self._watched.set()

    def pause(self) -> None:
        """The last watcher left."""
        if not self._closed.is_set():
            self._watched.clear()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        self._watched.set()
        if self._thread.is_alive():
            self._thread.join(timeout=SAFETY)

    def _run(self) -> None:
        pulse = Pulse(self._store.database.path)
        quiet = 0
        try:
            while not self._closed.is_set():
                self._watched.wait()
                if self._closed.wait(self._pause(quiet)):
                    return
                try:
                    due = pulse.moved() or bool(self._untold)
                    quiet = 0 if due and self._look() else min(quiet + 1, 100)
                    self.failure = ""
                except Exception as error:  # whatever it is, watchers need the next look
                    pulse.forget()
                    if not self.failure:
                        known = isinstance(error, AragoraError | sqlite3.Error)
                        log.warning("cannot look for changes: %s", error, exc_info=None if known else error)
                    self.failure = str(error)
        finally:
            pulse.close()

    def _pause(self, quiet: int) -> float:
        if self._relayed():
            return SAFETY
        if self._store.database.path is not None:
            return self._interval
        return self._interval * min(CALM, 1 + quiet // 20)

    def _look(self) -> bool:
        """Compare the heads of the watched debates with what is known; whether one had moved."""
        known = {topic.debate_id: topic for topic in self._topics()}
        heads = self._store.heads(known)
        moved = [topic for topic in known.values() if heads.get(topic.debate_id, 0) > topic.head]
        now = time.monotonic()
        patience = SETTLE if self._accompanied() else 0.0
        noticed = {topic.debate_id: self._untold.get(topic.debate_id, now) for topic in moved}
        self._untold = {debate_id: since for debate_id, since in noticed.items() if now - since < patience}
        for topic in moved:
            if topic.debate_id not in self._untold:
                topic.observe(heads[topic.debate_id])
        for debate_id in known.keys() - heads.keys():
            if not known[debate_id].deleted:
                known[debate_id].vanish()
        return bool(moved)


class Pulse:
    """Whether anything was committed since the last look; always yes where that cannot be asked cheaply."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._version: int | None = None

    def moved(self) -> bool:
        """Whether a look is worth it; raises `sqlite3.Error`."""
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
        """Ask no more."""
        if self._connection is not None:
            self._connection.close()
