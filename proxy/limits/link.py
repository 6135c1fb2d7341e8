"""One worker's link to the Redis server in which several gateways count together.

    LOST   -> LINKED   a trial in the background was answered in time
    LINKED -> LOST     an error, no connection, or several answers in a row too late

A request waits for an answer until a deadline, and not at all while the server is lost: the gateway counts alone then.
"""

import random
from functools import cache
from hashlib import scrypt
from time import monotonic, time
from typing import Any, Final

import gevent
from gevent.event import Event
from gevent.queue import LifoQueue
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError

from proxy.limits.keys import Keys
from proxy.limits.outage import Outage
from proxy.limits.script import SETTLE, TRIAL, Script
from proxy.log import log
from proxy.net.redis_connection import RedisConnection, redis_tls
from proxy.observe.metrics import Counters
from proxy.observe.numbers import Gauge, StoreState
from proxy.settings import Settings

CONNECTIONS: Final = 8
"""At most so many, each for one command at a time."""

_MISSES: Final = 3
"""Answers in a row that come too late before the server counts as lost."""

_PAUSE: Final = 1.0
"""Seconds between two trials, give or take a tenth."""

_PATIENCE: Final = 1.0
"""Seconds in which a connection must be open: more than a request waits, so the next ones have it."""


class Link:
    """The connections, and whether anything is asked on them."""

    def __init__(self, settings: Settings, outage: Outage, counters: Counters) -> None:
        """`settings` name a server. Raises `OSError` if OpenSSL refuses the authorities."""
        assert settings.shared_limits is not None
        self._address = settings.shared_limits
        self._password = settings.shared_limits_password
        self._tls = redis_tls(settings.shared_limits_tls) if self._address.tls else None
        self.timeout = settings.shared_limits_timeout
        """Seconds that a request may wait."""
        self._leases = bool(settings.max_client_connections or settings.max_client_websockets)
        """Whether what clients have open is counted too, which takes other commands than rates do."""
        self._secret = _secret(settings.shared_limits_password)
        self._outage = outage
        self._counters = counters
        self._idle: Any = LifoQueue()
        self._open = 0
        """Connections, idle, in use, or about to be."""
        self._waiting = 0
        """Requests that wait for a connection."""
        self._misses = 0
        self.fault = ""
        """Why the server is lost; nothing while it is not."""
        self._tried = Event()
        self._see(StoreState.LOST)
        self._trials = gevent.spawn(self._try_until_linked, 0.0)

    def keys(self, family: str) -> Keys:
        """The keys of one limit, the same in all gateways with the same password."""
        return Keys(self._secret, family)

    def settle(self) -> None:
        """Wait until it is known whether the server answers: some seconds at most."""
        self._tried.wait()

    def run(self, script: Script, key: bytes, *arguments: float) -> bytes | None:
        """As `ask`, for a request, which is counted if the server is lost or late."""
        answer = self.ask(script, key, *arguments)
        if answer is None:
            self._counters.limited_alone()
        return answer

    def ask(self, script: Script, key: bytes, *arguments: str | float) -> bytes | None:
        """What a script answers about a key; None if the server is lost or late. Waits."""
        if self.state is StoreState.LINKED:
            started = monotonic()
            deadline = gevent.Timeout.start_new(self.timeout)
            try:
                return self._asked(script, key, arguments)
            except gevent.Timeout as passed:
                if passed is not deadline:
                    raise
                self._missed(monotonic() - started)
            except (RedisError, OSError) as error:
                self._lose(str(error))
            finally:
                deadline.close()
        return None

    def close(self) -> None:
        """Ask nothing more. Commands under way end as they would."""
        self._trials.kill(block=False)
        self._outage.end()
        self._see(StoreState.OFF)
        self._release()

    def _asked(self, script: Script, key: bytes, arguments: tuple[str | float, ...]) -> bytes:
        kept = self._idle.qsize()
        for _ in range(kept):
            try:
                return self._ask(self._take(), script, key, arguments)
            except Disconnected:  # the server closes connections that are idle for long, and all when it restarts
                continue
        return self._ask(self._take(), script, key, arguments)

    def _take(self) -> RedisConnection:
        """An idle connection, or the first that becomes so. Waits."""
        if self._idle.empty() and self._open < CONNECTIONS:
            self._open += 1
            gevent.spawn(self._add)
        self._waiting += 1
        try:
            connection: RedisConnection | None = self._idle.get()
        finally:
            self._waiting -= 1
        if connection is None:
            raise Disconnected(self.fault)
        return connection

    def _add(self) -> None:
        connection = self._new()
        try:
            with gevent.Timeout(_PATIENCE):
                connection.open()
        except (gevent.Timeout, RedisError, OSError) as error:
            self._drop(connection)
            self._lose(_words(error))
        else:
            self._give_back(connection)

    def _new(self) -> RedisConnection:
        return RedisConnection(self._address, self._password, self._tls)

    def _ask(
        self, connection: RedisConnection, script: Script, key: bytes, arguments: tuple[str | float, ...]
    ) -> bytes:
        try:
            answer = script.run(connection, key, arguments)
        except BaseException:
            self._drop(connection)
            raise
        self._misses = 0
        self._give_back(connection)
        return answer

    def _give_back(self, connection: RedisConnection) -> None:
        if self.state is StoreState.LINKED:
            self._idle.put(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: RedisConnection) -> None:
        self._open -= 1
        connection.close()

    def _release(self) -> None:
        """Close idle connections, and end the waits for one."""
        idle, self._idle = self._idle, LifoQueue()
        while not idle.empty():
            self._drop(idle.get())
        for _ in range(self._waiting):
            idle.put(None)

    def _missed(self, seconds: float) -> None:
        if seconds > 2 * self.timeout:  # this process was busy meanwhile, which says nothing about the server
            return
        self._misses += 1
        if self._misses >= _MISSES:
            self._lose(f"no answer within {self.timeout * 1000:.0f} ms")

    def _lose(self, fault: str) -> None:
        if self.state is StoreState.LINKED:
            self._see(StoreState.LOST)
            self._note(fault)
            self._release()
            self._trials = gevent.spawn(self._try_until_linked, _PAUSE)

    def _note(self, fault: str) -> None:
        self.fault = fault
        if self._outage.begin(int(time())):
            log.warning(
                "shared limits: %s is lost (%s); this gateway counts alone until it answers", self._address, fault
            )

    def _try_until_linked(self, pause: float) -> None:
        while True:
            gevent.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
            pause = _PAUSE
            self._open += 1
            connection = self._new()
            try:
                with gevent.Timeout(_PATIENCE):
                    connection.open()
                with gevent.Timeout(self.timeout):
                    TRIAL.run(connection, b"trial", ())
                    if self._leases:  # a user of the server may have no right to all commands
                        SETTLE.run(connection, b"trial:open", ("trial", 1000, "key", 1, 1, 1))
            except (gevent.Timeout, RedisError, OSError) as error:
                self._drop(connection)
                self._note(_words(error))
                self._tried.set()
            else:
                self._linked(connection)
                return

    def _linked(self, connection: RedisConnection) -> None:
        self._misses = 0
        self.fault = ""
        self._see(StoreState.LINKED)
        self._give_back(connection)
        self._tried.set()
        if self._outage.end():
            log.warning("shared limits: %s answers again; the gateways count together", self._address)

    def _see(self, state: StoreState) -> None:
        self.state = state
        self._counters.gauge(Gauge.SHARED_LIMITS, state)
        self._counters.gauge(Gauge.STORE_LOST, int(time()) if state is StoreState.LOST else 0)


def _words(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, gevent.Timeout) else str(error)


@cache
def _secret(password: str) -> bytes:
    """What keys are hashed with, so that they tell no client's address; slow, so that passwords cannot be tried."""
    return scrypt(password.encode(), salt=b"aragora shared limits", n=1 << 14, r=8, p=1, dklen=16)
