"""One request to an address that a caller names.

A name is looked up once, every address it has must be permitted, and the connection is made to one of these very
addresses: a name that leads elsewhere a moment later changes nothing. Redirects are followed by the same rules. No
proxy, no cookie and no key of ours takes part. Every size has a bound, and one deadline ends everything.
"""

import http.client
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from aragora.agents.exchange import authorities
from aragora.agents.watchdog import Until, Watchdog
from aragora.outbound.addresses import Address, Networks, permitted

CONNECT = 5.0  # seconds for a connection
LONGEST_URL = 2000
MOST_REDIRECTS = 5
MOST_ADDRESSES = 3  # of a name that are tried
PORTS = frozenset({80, 443})  # below 1024; a web server behind another one is no web server of strangers
_PIECE = 65_536
_URL = re.compile(r"[!-\[\]-~]+")  # visible ASCII without the backslash, which some readers take for a slash
_HOST = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LOST = (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError)

Resolve = Callable[..., Sequence[tuple[Any, ...]]]


class NotPermitted(Exception):  # noqa: N818 - named for what happened
    """The address is none that we talk to; the message says why, without what a name leads to."""


class NotAnswered(Exception):  # noqa: N818 - as above
    """Nothing usable came from the address; trying again may help."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; `url` is where it came from in the end, `body` is decoded."""

    status: int
    url: str
    content_type: str
    body: bytes = field(repr=False)
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL and the address that its host was found at."""

    parts: SplitResult
    addresses: tuple[Address, ...]

    @property
    def host(self) -> str:
        """The host's name, as certificates have it."""
        return (self.parts.hostname or "").rstrip(".")

    @property
    def port(self) -> int:
        """The port, by default the scheme's."""
        return self.parts.port or (443 if self.parts.scheme == "https" else 80)

    @property
    def path(self) -> str:
        """What the request line has."""
        return (self.parts.path or "/") + (f"?{self.parts.query}" if self.parts.query else "")


class Outbound:
    """Makes such requests. `allowed` are networks that need not be public; `clock` is in unix seconds."""

    def __init__(
        self,
        allowed: Networks = (),
        *,
        resolve: Resolve = socket.getaddrinfo,
        clock: Callable[[], float] = time.time,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._clock = clock
        self._context = context

    def get(self, url: str, headers: Mapping[str, str], *, limit: int, seconds: float) -> Answer:
        """What stands at `url`, at most `limit` bytes, behind at most `MOST_REDIRECTS` redirects.

        Raises `NotPermitted` and `NotAnswered`.
        """
        deadline = self._clock() + seconds
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._exchange("GET", url, headers, None, limit, deadline)
            if answer.status not in _REDIRECTS or answer.location is None:
                return answer
            url = urljoin(url, answer.location)
        raise NotAnswered(f"it redirects more than {MOST_REDIRECTS} times")

    def post(self, url: str, headers: Mapping[str, str], body: bytes, *, limit: int, seconds: float) -> Answer:
        """What `url` answers to `body`; redirects are not followed. Raises `NotPermitted` and `NotAnswered`."""
        return self._exchange("POST", url, headers, body, limit, self._clock() + seconds)

    def check(self, url: str) -> SplitResult:
        """The parts of `url`; raises `NotPermitted` for one that is never requested, whatever it leads to."""
        if len(url) > LONGEST_URL or not _URL.fullmatch(url):
            raise NotPermitted(f"write up to {LONGEST_URL} visible ASCII characters")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise NotPermitted("it is no URL") from None
        if parts.scheme not in ("http", "https") or "@" in parts.netloc:
            raise NotPermitted("write http:// or https://, without a user")
        host = parts.hostname or ""
        if not (_literal(host) or (_HOST.fullmatch(host) and len(host) <= 253)):
            raise NotPermitted("its host is neither a name nor an address")
        if port is not None and port < 1024 and port not in PORTS:
            raise NotPermitted(f"port {port} is none of a web server")
        return parts

    def _target(self, url: str) -> Target:
        parts = self.check(url)
        host = parts.hostname or ""
        try:
            found = self._resolve(host, parts.port or 443, type=socket.SOCK_STREAM)
        except OSError:
            raise NotAnswered(f"no address is known of {host}") from None
        except UnicodeError:
            raise NotPermitted("its host is no name") from None
        addresses = tuple(dict.fromkeys(ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found))
        if not addresses or not all(permitted(address, self._allowed) for address in addresses):
            raise NotPermitted("it leads to an address that is not public")
        return Target(parts, addresses[:MOST_ADDRESSES])

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, limit: int, deadline: float
    ) -> Answer:
        target = self._target(url)
        connection, watchdog = self._connected(target, deadline)
        try:
            fields = {"Host": _authority(target), "Accept-Encoding": "gzip, deflate", **headers}
            connection.request(method, target.path, body, fields, preload_content=False, decode_content=True)
            response = connection.getresponse()
            content = _read(response, limit)
        except _LOST as error:
            problem = watchdog.barked.reason if watchdog.barked else f"it broke off: {type(error).__name__}"
            raise NotAnswered(problem) from None
        finally:
            watchdog.cancel()
            connection.close()
        if watchdog.barked is not None:  # what we ended ourselves may look whole: a head or a body without a length
            raise NotAnswered(watchdog.barked.reason)
        named = response.headers
        return Answer(response.status, url, named.get("Content-Type", ""), content, named.get("Location"))

    def _connected(self, target: Target, deadline: float) -> tuple[HTTPConnection, Watchdog]:
        """A connection to one of the addresses, and what ends it at the deadline."""
        problem = "it does not answer"
        for address in target.addresses:
            left = deadline - self._clock()
            if left <= 0:
                break
            connection = self._connection(target, address, min(CONNECT, left))

            def break_off(connection: HTTPConnection = connection) -> None:
                if connection.sock is not None:
                    try:
                        connection.sock.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        pass

            watchdog = Watchdog(Until(deadline, "it did not finish in time"), break_off, self._clock)
            try:
                connection.connect()
                connection.sock.settimeout(max(0.1, deadline - self._clock()))
            except _LOST as error:
                watchdog.cancel()
                connection.close()
                problem = _told(error)
                continue
            return connection, watchdog
        raise NotAnswered(problem)

    def _connection(self, target: Target, address: Address, timeout: float) -> HTTPConnection:
        if target.parts.scheme == "http":
            return HTTPConnection(str(address), target.port, timeout=timeout)
        return HTTPSConnection(
            str(address),
            target.port,
            timeout=timeout,
            server_hostname=target.host,
            assert_hostname=target.host,
            ssl_context=self._context or authorities(),
        )


def _literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def _authority(target: Target) -> str:
    host = target.parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return shown if target.parts.port is None else f"{shown}:{target.parts.port}"


def _read(response: Any, limit: int) -> bytes:
    """The decoded body; raises `NotAnswered` when it is longer than `limit`."""
    parts = bytearray()
    while part := response.read1(_PIECE):
        parts += part
        if len(parts) > limit:
            raise NotAnswered(f"the content is longer than {limit} bytes")
    return bytes(parts)


def _told(error: BaseException) -> str:
    certificate = isinstance(error, ssl.SSLError | urllib3.exceptions.SSLError)
    return "its certificate cannot be trusted" if certificate else "it does not answer"
