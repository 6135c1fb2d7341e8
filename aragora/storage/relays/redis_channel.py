"""Redis pub/sub between processes. Losing it loses no event: watchers poll the store meanwhile.

Nothing of it may slow a debate down: messages wait in a bounded queue for one sending thread (greenlet) and are dropped
when it is full or Redis is away. Another thread listens and connects again, with growing pauses.
"""

import json
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from aragora.errors import SettingsError

log = logging.getLogger(__name__)

CHANNEL = "aragora:changes"
QUEUE = 10_000  # messages waiting to be sent
BATCH = 100  # messages sent in one round trip
TIMEOUT = 5.0  # seconds for connecting and for one answer
SILENCE = 5.0  # seconds between checks of a silent connection
LISTEN = 0.25  # seconds that the listener waits at a time; the longest that closing takes
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between attempts to connect


class RedisChannel:
    """Carries everything, words too. Made by `aragora.storage.relays.open_relay`; raises `SettingsError`."""

    mode = "redis"
    title = "Redis"

    def __init__(self, url: str, name: str, received: Callable[[dict[str, Any]], None]) -> None:
        try:
            import redis
        except ImportError:
            raise SettingsError("ARAGORA_REDIS_URL names Redis: install aragora-gateway[redis]") from None
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._error = redis.RedisError
        try:
            # Its own retries are off: they sleep for seconds inside a call; the loops below know how to wait.
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
                health_check_interval=int(SILENCE),
                retry=Retry(NoBackoff(), 0),
                client_name="aragora",
            )
        except ValueError as error:
            raise SettingsError(f"ARAGORA_REDIS_URL: {error}; write redis://host:6379/0") from None
        self._received = received
        self._sender = name
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(QUEUE)
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listening = False
        self.failure = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether other processes' messages arrive now."""
        return self._listening

    def start(self) -> None:
        """Connect in the background."""
        for target in (self._listen, self._send):
            thread = threading.Thread(target=target, name=f"aragora-redis{target.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Disconnect; what waits to be sent is still tried once."""
        self._closed.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            pass
        for thread in self._threads:
            thread.join(timeout=2.0)
        self._client.close()

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message; dropped when Redis is away or the queue is full."""
        if not self._listening:
            return
        try:
            self._queue.put_nowait(message | {"from": self._sender})
        except queue.Full:
            pass

    def _listen(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed.is_set():
            try:
                with self._client.pubsub() as channel:  # type: ignore[no-untyped-call]
                    channel.subscribe(CHANNEL)
                    while not self._closed.is_set():
                        message = channel.get_message(timeout=LISTEN)
                        if message is None:
                            continue
                        pause = FIRST_PAUSE
                        if message["type"] == "subscribe":
                            self._found()
                        elif message["type"] == "message":
                            self._take(message["data"])
            except (self._error, OSError) as error:
                self._lost(error)
                self._closed.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        self._listening = False

    def _found(self) -> None:
        if not self._listening:
            log.info("Redis carries the changes")
        self._listening, self.failure = True, ""

    def _lost(self, error: Exception) -> None:
        if self._listening:
            log.warning("Redis is lost, polling instead: %s", error)
        self._listening, self.failure = False, str(error)[:200]

    def _take(self, payload: bytes) -> None:
        try:
            message = json.loads(payload)
        except ValueError:
            return
        if isinstance(message, dict) and message.get("from") != self._sender:
            self._received(message)

    def _send(self) -> None:
        while True:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            try:
                with self._client.pipeline(transaction=False) as pipeline:
                    for message in batch:
                        if message is not None:
                            pipeline.publish(CHANNEL, json.dumps(message, separators=(",", ":")))
                    pipeline.execute()
            except (self._error, OSError) as error:
                self.failure = str(error)[:200]
            if None in batch:
                return
