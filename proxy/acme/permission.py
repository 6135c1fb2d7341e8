"""The service of the operator's that says for which names certificates may be ordered on demand.

It is asked `GET URL?domain=NAME`. A 2xx is a yes, a 4xx other than 429 a no. A redirect and the others are neither, nor
is silence: a name without a certificate gets none now, and nothing is forgotten because of it.
"""

import http.client
import ssl
from collections import OrderedDict
from enum import Enum
from time import monotonic
from urllib.parse import quote, urlsplit

import gevent
import gevent.socket
import gevent.ssl
from gevent.lock import BoundedSemaphore

from proxy.log import log

_DEADLINE = 5.0  # seconds for one answer, the wait for a turn included
_AT_ONCE = 8
_MOST = 4096
"""Remembered answers: as many names that are allowed, and as many others."""
_LOUD = 60.0  # seconds between two warnings


class Answer(Enum):
    """What the service says; the value is how many seconds it is remembered."""

    ALLOWED = 600.0
    DENIED = 60.0
    UNKNOWN = 5.0


class _Memory:
    """Answers by name; the oldest makes room."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, tuple[Answer, float]] = OrderedDict()

    def get(self, name: str) -> Answer | None:
        answer, until = self._until.get(name, (None, 0.0))
        return answer if monotonic() < until else None

    def put(self, name: str, answer: Answer) -> None:
        self._until.pop(name, None)
        self._until[name] = answer, monotonic() + answer.value
        if len(self._until) > _MOST:
            self._until.popitem(last=False)

    def drop(self, name: str) -> None:
        self._until.pop(name, None)


class Permission:
    """The service at `url`, an http or https URL without an account; `agent` is our user agent."""

    def __init__(self, url: str, agent: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._url = url
        self._agent = agent
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._authority = parts.netloc
        self._path = f"{parts.path or '/'}?{parts.query + '&' if parts.query else ''}domain="
        self._tls = _of_system() if parts.scheme == "https" else None
        self._turns = BoundedSemaphore(_AT_ONCE)
        self._allowed = _Memory()
        self._others = _Memory()  # apart, so that names made up by strangers push out no allowed one
        self._warned = -_LOUD
        self.fault = ""
        """Why its last answer was of no use, if it was of none."""

    def known(self, name: str) -> Answer | None:
        """What was answered lately."""
        return self._allowed.get(name) or self._others.get(name)

    def ask(self, name: str) -> Answer:
        """Ask, whatever was answered before. Blocks the greenlet for some seconds at most; raises nothing."""
        answer, self.fault = self.look(name)
        if answer is Answer.UNKNOWN:
            self._warn(name, self.fault)
        kept, dropped = (self._allowed, self._others) if answer is Answer.ALLOWED else (self._others, self._allowed)
        kept.put(name, answer)
        dropped.drop(name)
        return answer

    def look(self, name: str) -> tuple[Answer, str]:
        """What it answers, and why that is of no use. Remembers nothing; blocks and raises as `ask` does."""
        try:
            status = self._status(name)
        except (OSError, http.client.HTTPException, UnicodeError) as problem:
            return Answer.UNKNOWN, str(problem) or type(problem).__name__
        if 300 <= status < 400 or status == 429 or status >= 500:
            return Answer.UNKNOWN, f"status {status}"
        return (Answer.ALLOWED if 200 <= status < 300 else Answer.DENIED), ""

    def _status(self, name: str) -> int:
        """The status of the answer. Raises `OSError` or `HTTPException`."""
        late = TimeoutError(f"no answer within {_DEADLINE:.0f} s")
        with gevent.Timeout(_DEADLINE, late), self._turns:
            sock = gevent.socket.create_connection((self._host, self._port))
            try:
                if self._tls is not None:
                    sock = self._tls.wrap_socket(sock, server_hostname=self._host)
                connection = http.client.HTTPConnection(self._host, self._port)
                connection.sock = sock
                fields = {"Host": self._authority, "User-Agent": self._agent, "Connection": "close"}
                connection.request("GET", self._path + quote(name, safe=""), headers=fields)
                return connection.getresponse().status
            finally:
                sock.close()

    def _warn(self, name: str, reason: str) -> None:
        now = monotonic()
        if now - self._warned >= _LOUD:
            self._warned = now
            log.warning(
                "on_demand_ask %s: no usable answer for %s: %s; names without a certificate get none until it answers "
                "2xx or 4xx",
                self._url,
                name,
                reason,
            )


def _of_system() -> gevent.ssl.SSLContext:
    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs()
    return context
