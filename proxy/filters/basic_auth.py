"""Basic authentication (RFC 7617) against bcrypt hashes.

A check takes a hundred milliseconds of processor time on purpose. It runs in threads, so no other request waits for it,
and a success is remembered for a minute, as a hash keyed with a secret of this process. Each client has a few failures,
then one every few seconds; a check in progress counts as one until it succeeds.
"""

import base64
import binascii
import os
from functools import cache
from hashlib import blake2b
from pathlib import Path
from time import monotonic

import bcrypt
from gevent.event import Event
from gevent.threadpool import ThreadPool

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.request import Request
from proxy.limits import WorkerLimits
from proxy.log import log
from proxy.settings.users import read_users
from proxy.wire.fields import field_value

FAILURES = 10
FAILURE_RATE = 1 / 6
"""Failures that a client may have at once, and a second."""

_REMEMBERED_FOR = 60.0
_MOST_REMEMBERED = 1024
_AT_A_TIME = 2
_MOST_OPEN = 64
_LONGEST_PASSWORD = 72
"""Bytes; bcrypt heeds no more, and `htpasswd -B` has hashed no more of a longer password."""


class Checks:
    """Comparisons with hashes, in threads of this process, so many at a time and so many that wait."""

    def __init__(self) -> None:
        self._threads = ThreadPool(_AT_A_TIME)
        self._open = 0

    def matches(self, password: bytes, hashed: bytes) -> bool:
        """Raises `ExchangeError` (503) when too many wait already."""
        if self._open >= _MOST_OPEN:
            raise ExchangeError(errors.OVERLOADED)
        self._open += 1
        try:
            return bool(self._threads.apply(_matches, (password, hashed)))
        finally:
            self._open -= 1


@cache
def _checks() -> Checks:
    """Those of this process, made when a worker first needs them."""
    return Checks()


class BasicAuth:
    """Requires a user of the file at `path`; the upstream gets the name in X-Forwarded-User."""

    def __init__(self, route: str, path: Path, limits: WorkerLimits) -> None:
        try:
            self._users = read_users(path)
        except ValueError as problem:
            # It was valid when the settings were checked. All requests are refused until it is again.
            log.warning("basic_auth %s: %s; all requests are refused", path, problem)
            self._users = {}
        # What a name that does not exist is compared with, so that it takes as long as one that does.
        self._decoy = next(iter(self._users.values()), b"")
        self._keys = limits.keys("basic auth")
        self._failures = limits.buckets
        self._take = limits.buckets.meter(FAILURE_RATE, FAILURES)
        self._secret = os.urandom(16)
        self._right: dict[bytes, float] = {}
        self._under_way: dict[bytes, Event] = {}
        realm = route.translate({0x22: "_", 0x5C: "_"}).encode("ascii", "replace")
        self._challenge = (b'WWW-Authenticate: Basic realm="%s", charset="UTF-8"' % realm,)

    def check(self, request: Request) -> None:
        """Raises `ExchangeError`: 401 without a right name and password, 429 after too many wrong ones."""
        value = field_value(request.fields.lines, b"authorization")
        credentials = _credentials(value) if value is not None else None
        if credentials is None:
            raise ExchangeError(errors.UNAUTHENTICATED, fields=self._challenge)
        user, password = credentials
        key = blake2b(b"%d:%s%s" % (len(user), user, password), digest_size=16, key=self._secret).digest()
        now = monotonic()
        under_way = self._under_way.get(key)
        if under_way is not None:
            # A browser asks for many things at once: one check is enough for all, and counts once.
            under_way.wait()
        if self._right.get(key, 0.0) < now:
            done = self._under_way[key] = Event()
            try:
                self._verify(request.client, user, password, now)
                self._remember(key, now)
            finally:
                self._under_way.pop(key, None)
                done.set()
        request.replace_fields({b"x-forwarded-user"}, [b"X-Forwarded-User: " + user])

    def _verify(self, client: str, user: bytes, password: bytes, now: float) -> None:
        failures = self._failures.bucket(self._keys.of_client(client))
        left = self._take(failures, now)
        if left < 0.0:
            raise ExchangeError(errors.LOGINS, fields=(b"Retry-After: %d" % (1 - left // 1),))
        right = _checks().matches(password, self._users.get(user, self._decoy)) and user in self._users
        if not right:
            raise ExchangeError(errors.UNAUTHENTICATED, fields=self._challenge)
        self._failures.give_back(failures)

    def _remember(self, key: bytes, now: float) -> None:
        if len(self._right) >= _MOST_REMEMBERED:
            self._right = {known: until for known, until in self._right.items() if until >= now}
            if len(self._right) >= _MOST_REMEMBERED:
                self._right.clear()
        self._right[key] = now + _REMEMBERED_FOR


def _matches(password: bytes, hashed: bytes) -> bool:
    return bool(hashed) and bcrypt.checkpw(password[:_LONGEST_PASSWORD], hashed)


def _credentials(value: bytes) -> tuple[bytes, bytes] | None:
    """User and password of an Authorization field (RFC 7617 section 2), or None."""
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(b" "), validate=True).partition(b":")
    except binascii.Error:
        return None
    if not colon or not user or not password or b"\0" in password:
        return None
    return user, password
