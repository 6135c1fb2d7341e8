"""PostgreSQL's LISTEN and NOTIFY between processes: changes at once without Redis, but no words.

One thread listens on a connection of its own, another tells, through the pool. What waits to be told is the newest
state of each debate, not a queue. A pooler in transaction mode (PgBouncer) takes LISTEN and brings nothing, so we count
as connected only while our own notifications come back.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from aragora.storage.engine import Database, first_line

log = logging.getLogger(__name__)

CHANNEL = "aragora_changes"
PAYLOAD = 7000  # bytes; PostgreSQL takes less than 8000
ECHO = 5.0  # seconds between notifications to ourselves
SILENCE = 12.0  # seconds without one of them after which the connection counts as lost
LISTEN = 0.5  # seconds that the listener waits at a time; the longest that closing takes
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between attempts to connect
NOTHING = "nothing arrives; a pooler in transaction mode keeps it"

_NOTIFY = sa.select(sa.func.pg_notify(CHANNEL, sa.bindparam("b_payload")))


class Notifications:
    """Carries heads, deletions and work. Made by `aragora.storage.relays.open_relay`."""

    mode = "postgresql"
    title = "PostgreSQL's notification"

    def __init__(self, database: Database, name: str, received: Callable[[dict[str, Any]], None]) -> None:
        self.failure = "not connected yet"
        self._database = database
        self._sender = name
        self._received = received
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._closed = threading.Event()
        self._heads: dict[str, int | None] = {}
        self._work = False
        self._echoed = float("-inf")
        self._threads: list[threading.Thread] = []

    @property
    def connected(self) -> bool:
        """Whether our own notifications came back lately."""
        return time.monotonic() - self._echoed < SILENCE

    def start(self) -> None:
        """Connect in the background."""
        for target in (self._listen, self._tell):
            thread = threading.Thread(target=target, name=f"aragora-notifications{target.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Disconnect."""
        self._closed.set()
        self._due.set()
        for thread in self._threads:
            thread.join(timeout=2.0)

    def send(self, message: dict[str, Any]) -> None:
        """Tell the others soon; words are not carried."""
        with self._lock:
            if "seq" in message:
                self._heads[message["id"]] = max(message["seq"], self._heads.get(message["id"]) or 0)
            elif "deleted" in message:
                self._heads[message["id"]] = None
            elif "work" in message:
                self._work = True
            else:
                return
        self._due.set()

    def _tell(self) -> None:
        while not self._closed.is_set():
            told = self._due.wait(ECHO)
            self._due.clear()
            if told or self._echoed != float("-inf"):
                self._notify()

    def _notify(self) -> None:
        with self._lock:
            heads, self._heads = self._heads, {}
            work, self._work = self._work, False
        messages: list[dict[str, Any]] = [{"work": True}] if work else []
        for debate_id, seq in heads.items():
            messages.append({"id": debate_id, "deleted": True} if seq is None else {"id": debate_id, "seq": seq})
        try:
            for payload in _payloads(self._sender, messages):
                with self._database.writing() as connection:
                    connection.execute(_NOTIFY, {"b_payload": payload})
        except Exception as error:  # noqa: BLE001 - whatever it is, the next change is announced again
            log.debug("changes not told: %s", error)

    def _listen(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed.is_set():
            try:
                with self._connection() as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    since = time.monotonic()
                    self._echoed = since - SILENCE  # not connected before the first echo
                    self._due.set()
                    while not self._closed.is_set():
                        for notification in connection.notifies(timeout=LISTEN):
                            pause = FIRST_PAUSE
                            self._take(notification.payload)
                        self._look(since)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may succeed
                self._lost(first_line(error))
                self._closed.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """A connection of psycopg outside of the pool, made as those of the pool are."""
        with self._database.engine.connect() as connection:
            connection.detach()
            driver: Any = connection.connection.dbapi_connection
            driver.autocommit = True
            yield driver

    def _look(self, since: float) -> None:
        """Notice that nothing comes back; raises `ConnectionError` when it did before."""
        if self.connected or time.monotonic() - since < SILENCE:
            return
        if not self.failure:
            raise ConnectionError(NOTHING)
        self.failure = NOTHING

    def _lost(self, reason: str) -> None:
        if not self.failure:
            log.warning("PostgreSQL's notifications are lost, polling instead: %s", reason)
        self._echoed, self.failure = float("-inf"), reason

    def _take(self, payload: str) -> None:
        try:
            message = json.loads(payload)
            sender, messages = message["from"], message["messages"]
        except (ValueError, KeyError, TypeError):
            return
        if sender == self._sender:
            if self.failure:
                log.info("PostgreSQL's notifications carry the changes")
            self._echoed, self.failure = time.monotonic(), ""
            return
        for one in messages if isinstance(messages, list) else ():
            if isinstance(one, dict):
                self._received(one | {"from": sender})


def _payloads(sender: str, messages: list[dict[str, Any]]) -> Iterator[str]:
    """As few payloads as fit; at least one, which is our echo."""
    portion: list[dict[str, Any]] = []
    size = 0
    for message in messages:
        size += len(json.dumps(message)) + 2
        if size > PAYLOAD:
            yield json.dumps({"from": sender, "messages": portion})
            portion, size = [], len(json.dumps(message)) + 2
        portion.append(message)
    yield json.dumps({"from": sender, "messages": portion})
