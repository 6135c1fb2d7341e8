"""One POST to a provider and its streamed answer: every wait ends, every size has a bound, no error holds a secret."""

import functools
import http.client
import json
import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from aragora.agents.agent import AgentFailed

log = logging.getLogger(__name__)

CONNECT = 10.0  # seconds for a connection
SILENCE = 60.0  # seconds between two pieces of an answer, and before the first
FAREWELL = 0.2  # seconds for what follows the end of an answer
MAX_BYTES = 8 << 20  # of one answer; most of a stream is wrapping
MAX_ERROR = 16_384  # bytes of an error that are read
_MESSAGE = 200  # characters of a provider's own words
_PIECE = 16_384
_PROVIDERS = 16  # whose connections are kept
_POOL = 1000  # idle connections that are kept for one of them
_LOST = (requests.ConnectionError, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
# Providers quote part of a refused key.
_KEYLIKE = re.compile(r"\b(?:sk|pk|gsk|key|bearer)[-_ ][\w*.-]{6,}", re.IGNORECASE)


class Busy(AgentFailed):
    """The provider could not answer now and may soon: worth trying again."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question as a provider takes it. `title` names the provider in errors, `key` is kept out of them."""

    title: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)
    key: str = field(repr=False, default="")


@functools.cache
def session() -> requests.Session:
    """The connections of this process, made at the first question and thus after any fork. Holds no cookies, so that
    threads may share it."""
    shared = requests.Session()
    shared.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    shared.mount("https://", Connections(pool_connections=_PROVIDERS, pool_maxsize=_POOL))
    shared.mount("http://", HTTPAdapter(pool_connections=_PROVIDERS, pool_maxsize=_POOL))
    return shared


@functools.cache
def authorities() -> ssl.SSLContext:
    """Whom requests trusts by default, read once."""
    return ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)


class Connections(HTTPAdapter):
    """Connections by TLS. Reading the authorities takes tens of milliseconds, and requests would do it for each
    connection; those named by REQUESTS_CA_BUNDLE are still read each time."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Called by requests."""
        super().init_poolmanager(*args, ssl_context=authorities(), **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Called by requests."""
        if verify is not True:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]


class Exchange:
    """A context manager from the request to the end of the answer; raises AgentFailed, `Busy` where it may help
    to try again. `deadline` and `clock` are in unix seconds."""

    def __init__(
        self,
        connections: requests.Session,
        request: Request,
        deadline: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._request = request
        self._deadline = deadline
        self._clock = clock
        self._response = self._send(connections)
        self._watchdog = self._watch(deadline - clock())
        if not self._response.ok or self._response.is_redirect:
            with self:
                raise self._refusal()

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        self._response.close()

    @property
    def streams(self) -> bool:
        """Whether the answer comes as server-sent events; a server may prefer to answer with one JSON object."""
        return not self._response.headers.get("Content-Type", "").startswith("application/json")

    def finish(self) -> None:
        """Read what follows the end of the answer, if it comes at once: only then can the connection be used again."""
        self._watchdog.cancel()
        self._watchdog = self._watch(min(FAREWELL, self._deadline - self._clock()))
        try:
            for _ in self.pieces(MAX_ERROR):
                pass
        except AgentFailed:
            self._response.close()

    def _watch(self, seconds: float) -> threading.Timer:
        """Break the answer off after so long: a timeout of the socket begins anew with every byte."""
        watchdog = threading.Timer(max(0.0, seconds), _break_off, (self._response,))
        watchdog.daemon = True
        watchdog.start()
        return watchdog

    def pieces(self, limit: int = MAX_BYTES) -> Iterator[bytes]:
        """The body as it comes."""
        raw = self._response.raw
        total = 0
        while True:
            try:
                piece = raw.read1(_PIECE, decode_content=True)
            except (TimeoutError, urllib3.exceptions.TimeoutError):
                raise self._late(SILENCE) from None
            except _LOST:
                self._wait(SILENCE)  # broken off by the watchdog
                raise Busy("connection", f"{self._request.title} broke its answer off") from None
            self._wait(SILENCE)
            if not piece:
                return
            total += len(piece)
            if total > limit:
                raise AgentFailed("too_long", f"{self._request.title} answered more than {limit} bytes")
            yield piece

    def _send(self, connections: requests.Session) -> requests.Response:
        request = self._request
        wait = self._wait(SILENCE)
        try:
            return connections.post(
                request.url,
                json=request.body,
                # With an `auth` of its own a request never takes credentials from ~/.netrc.
                auth=lambda prepared: _with(prepared, request.headers),
                timeout=(min(CONNECT, wait), wait),
                stream=True,
                allow_redirects=False,
            )
        except requests.ConnectTimeout:
            raise Busy("connection", f"{request.title} cannot be reached: no connection in time") from None
        except requests.Timeout:
            raise self._late(wait) from None
        except requests.exceptions.SSLError:
            raise AgentFailed("connection", f"{request.title}: its certificate is not trusted") from None
        except requests.exceptions.ProxyError:
            raise Busy(
                "connection", f"{request.title} cannot be reached through the proxy of the environment"
            ) from None
        except requests.ConnectionError:
            raise Busy("connection", f"{request.title} cannot be reached") from None
        except (requests.RequestException, ValueError):
            raise AgentFailed("configuration", f"{request.title}: no request can be made of its settings") from None

    def _wait(self, longest: float) -> float:
        left = self._deadline - self._clock()
        if left <= 0:
            raise AgentFailed("timeout", f"{self._request.title} did not finish in time")
        return min(longest, left)

    def _late(self, waited: float) -> AgentFailed:
        return AgentFailed("timeout", f"{self._request.title} was silent for {waited:.3g} s")

    def _refusal(self) -> AgentFailed:
        """The failure that an error status stands for."""
        status = self._response.status_code
        title = self._request.title
        code = self._code()
        said = f" ({code})" if code else ""
        if status in (401, 403):
            return AgentFailed("auth", f"{title} refused the key: {status}{said}")
        if self._response.is_redirect:
            return AgentFailed("configuration", f"{title} answered with a redirection ({status}): mend its address")
        reason = f"{title} answered {status}{said}"
        if status == 402 or code in _SPENT:
            return AgentFailed("quota", f"{reason}: the account has no credit")
        if status == 429:
            return Busy("rate_limit", reason, self._retry_after())
        if status >= 500 or status in (408, 409, 425):
            return Busy("server", reason, self._retry_after())
        return AgentFailed("configuration" if status == 404 else "refused", reason)

    def _code(self) -> str:
        """The provider's short name of the failure, if it has one. Its words may name the account: they are logged."""
        try:
            body = b"".join(self.pieces(MAX_ERROR))
        except AgentFailed:
            return ""
        found = parsed(body.decode("utf-8", "replace"))
        words = next((text for path in _WORDS if isinstance(text := dig(found, *path), str)), "")
        title, key = self._request.title, self._request.key
        log.warning("%s answered %d: %s", title, self._response.status_code, redacted(words, key))
        return code(found, key)

    def _retry_after(self) -> float | None:
        """Seconds, RFC 9110 section 10.2.3."""
        value = self._response.headers.get("Retry-After", "").strip()
        if value.isascii() and value.isdecimal() and len(value) < 10:
            return float(value)
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - self._clock())
        except (ValueError, OverflowError):
            return None


_WORDS = (("error", "message"), ("error",), ("message",), ("detail",))


def code(complaint: Any, key: str) -> str:
    """What an API calls the failure in `complaint`, as `insufficient_quota`; empty if it has no such word."""
    for path in (("error", "code"), ("error", "type")):
        word = dig(complaint, *path)
        if isinstance(word, str) and _CODE.fullmatch(word) and redacted(word, key) == word:
            return word
    return ""


def _break_off(response: requests.Response) -> None:
    """Wake whoever reads from a server that sends a byte now and then, for ever."""
    try:
        response.raw.shutdown()
    except (AttributeError, OSError, RuntimeError, ValueError):
        pass  # it has just ended


def _with(prepared: requests.PreparedRequest, headers: Mapping[str, str]) -> requests.PreparedRequest:
    prepared.headers.update(headers)
    return prepared


def redacted(words: str, key: str) -> str:
    """One line of `words`, without `key` and whatever else looks like one."""
    if key:
        words = words.replace(key, "[key]")
    words = _KEYLIKE.sub("[key]", " ".join(words.split()))
    return words if len(words) <= _MESSAGE else words[:_MESSAGE] + " …"


def parsed(text: str) -> Any:
    """The JSON in `text`, None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def dig(value: Any, *path: str | int) -> Any:
    """What lies at `path` in a JSON value; None where there is no such place."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value
