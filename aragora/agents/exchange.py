"""One request to a provider and its streamed answer: every wait ends, every size has a bound, no secret gets out."""

import functools
import http.client
import re
import ssl
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

from aragora.agents import complaints
from aragora.agents.account import Account
from aragora.agents.agent import AgentFailed
from aragora.agents.complaints import PASSING, Complaint, Kind, redacted
from aragora.agents.watchdog import Until, Watchdog

CONNECT = 10.0  # seconds for a connection
LINGER = 1.0  # seconds for the count of tokens that follows an answer
FAREWELL = 0.2  # seconds for the end of the stream
MAX_BYTES = 8 << 20  # of one answer; most of a stream is wrapping
MAX_ERROR = 16_384  # bytes of an error that are read
_PIECE = 16_384
_PROVIDERS = 16  # whose connections are kept
_POOL = 1000  # idle connections that are kept for one of them
_LOST = (requests.ConnectionError, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)
# What a proxy or a balancer says while the server behind it restarts. A plain 500 is more often about the question.
_AWAY = frozenset({0, 408, 425, 502, 503, 504, 520, 521, 522, 523, 524, 529})
_AGAIN_IN = re.compile(r"(?:try again|retry) (?:in|after) (\d{1,6}(?:\.\d{1,6})?)\s*(ms|s|m)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
_ADVICE = {
    Kind.AUTH: "check {key}",
    Kind.QUOTA: "the account needs credit",
    Kind.MODEL: "name a model that it offers in {model}",
    Kind.CONTEXT: "give the model more room, or the debate a shorter context",
    Kind.CONFIGURATION: "check {url}",
}


class Busy(AgentFailed):
    """The provider could not answer now and may soon: worth trying again.

    `away` says that it is not there at all, as while it restarts; `retry_after` are the seconds that it asks for;
    `complaint` is there where it may be about the request nevertheless.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        away: bool = False,
        retry_after: float | None = None,
        complaint: Complaint | None = None,
    ) -> None:
        super().__init__(kind, message)
        self.away = away
        self.retry_after = retry_after
        self.complaint = complaint


class Refused(AgentFailed):
    """The provider will not answer this request, whenever it is made; another one perhaps."""

    def __init__(self, kind: str, message: str, complaint: Complaint) -> None:
        super().__init__(kind, message, final=True)
        self.complaint = complaint


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a provider: a POST of `body`, or a GET without one. `streams` says that it is to be answered
    bit by bit."""

    account: Account
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] | None = field(repr=False, default=None)
    streams: bool = False


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
    """The authorities that requests trusts by default, read once."""
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
    """A context manager from the request to the end of the answer; raises `AgentFailed`: `Busy` where it may help to
    try again, `Refused` where another request may be answered. `deadline` and `clock` are in unix seconds."""

    def __init__(
        self,
        connections: requests.Session,
        request: Request,
        deadline: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = request.account
        self._request = request
        self._clock = clock
        self._over = Until(deadline, f"{self._account.title} did not finish in time")
        self._last = self._first_word()
        self._begun = False
        self._response = self._send(connections)
        self._watchdog = Watchdog(self._last, self._break_off, clock)
        if not self._response.ok or self._response.is_redirect:
            with self:
                raise self._refusal()

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        self._response.close()

    def begin(self) -> None:
        """Called with the first word of the answer, and at no ping before it: from now on it may take as long as
        answers may, with pauses as long as those may be."""
        if not self._begun:
            self._begun = True
            allowed = self._account.patience.answer
            reason = f"{self._account.title} did not finish its answer within {allowed:g} s (ARAGORA_AGENT_TIMEOUT)"
            self._last = self._sooner(allowed, reason)
            self._hold()

    def end(self, seconds: float) -> None:
        """Called when the answer has ended: what follows is read if it comes within so many seconds."""
        self._last = self._sooner(seconds, "")
        self._watchdog.hold(self._last)

    def pieces(self, limit: int = MAX_BYTES) -> Iterator[bytes]:
        """The body as it comes."""
        raw = self._response.raw
        total = 0
        while True:
            try:
                piece = raw.read1(_PIECE, decode_content=True)
            except (TimeoutError, urllib3.exceptions.TimeoutError):
                raise AgentFailed(Kind.TIMEOUT, self._last.reason) from None
            except _LOST:
                self._look_at_the_time()
                raise Busy(Kind.CONNECTION, f"{self._account.title} broke its answer off") from None
            self._look_at_the_time()
            if not piece:
                return
            self._hold()
            total += len(piece)
            if total > limit:
                raise AgentFailed(Kind.TOO_LONG, f"{self._account.title} answered more than {limit} bytes")
            yield piece

    def _first_word(self) -> Until:
        patience = self._account.patience
        allowed = patience.beginning if self._request.streams else patience.beginning + patience.answer
        reason = f"{self._account.title} did not begin to answer within {allowed:g} s (ARAGORA_FIRST_BYTE_TIMEOUT)"
        return self._sooner(allowed, reason)

    def _sooner(self, seconds: float, reason: str) -> Until:
        """So many seconds from now, or when the time is over."""
        until = Until(self._clock() + seconds, reason)
        return until if until.moment < self._over.moment else self._over

    def _hold(self) -> None:
        """Wait for the next piece."""
        until = self._last
        if self._begun:
            allowed = self._account.patience.silence
            reason = f"{self._account.title} was silent for {allowed:g} s (ARAGORA_SILENCE_TIMEOUT)"
            until = min(until, Until(self._clock() + allowed, reason), key=lambda until: until.moment)
        self._watchdog.hold(until)

    def _look_at_the_time(self) -> None:
        if self._watchdog.barked is not None:
            raise AgentFailed(Kind.TIMEOUT, self._watchdog.barked.reason)
        if self._over.moment <= self._clock():
            raise AgentFailed(Kind.TIMEOUT, self._over.reason)

    def _break_off(self) -> None:
        """Wake the reader of a server that sends nothing, or a byte now and then, endlessly."""
        try:
            self._response.raw.shutdown()
        except (AttributeError, OSError, RuntimeError, ValueError):
            pass  # it has just ended

    def _send(self, connections: requests.Session) -> requests.Response:
        title = self._account.title
        wait = self._last.moment - self._clock()
        if wait <= 0:
            raise AgentFailed(Kind.TIMEOUT, self._over.reason)
        try:
            return connections.request(
                "GET" if self._request.body is None else "POST",
                self._request.url,
                json=self._request.body,
                # With an `auth` of its own a request never takes credentials from ~/.netrc.
                auth=lambda prepared: _with(prepared, self._request.headers),
                timeout=(min(CONNECT, wait), wait),
                stream=True,
                allow_redirects=False,
            )
        except requests.ConnectTimeout:
            raise Busy(Kind.CONNECTION, f"{title} cannot be reached: no connection in time", away=True) from None
        except requests.Timeout:
            raise AgentFailed(Kind.TIMEOUT, self._last.reason) from None
        except requests.exceptions.SSLError:
            raise AgentFailed(Kind.CONNECTION, f"{title}: its certificate is not trusted", final=True) from None
        except requests.exceptions.ProxyError:
            message = f"{title} cannot be reached through the proxy of the environment"
            raise Busy(Kind.CONNECTION, message, away=True) from None
        except requests.ConnectionError as error:
            if any(isinstance(cause, urllib3.exceptions.ProtocolError) for cause in error.args):
                raise Busy(Kind.CONNECTION, f"{title} broke the connection off") from None
            raise Busy(Kind.CONNECTION, f"{title} cannot be reached at {self._place()}", away=True) from None
        except (requests.RequestException, ValueError):
            message = f"{title}: no request can be made of its settings"
            raise AgentFailed(Kind.CONFIGURATION, message, final=True) from None

    def _place(self) -> str:
        """The server's address, which is no secret: it holds no key."""
        return self._account.base_url.partition("://")[2].partition("/")[0]

    def _refusal(self) -> AgentFailed:
        """The failure that an error status stands for."""
        status = self._response.status_code
        if self._response.is_redirect:
            message = f"{self._account.title} answered with a redirection ({status}): correct "
            return AgentFailed(Kind.CONFIGURATION, message + self._account.provider.url_variable, final=True)
        try:
            body = b"".join(self.pieces(MAX_ERROR))
        except AgentFailed:
            body = b""
        return failure(self._account, complaints.read(status, body), self._retry_after())

    def _retry_after(self) -> float | None:
        """Seconds, RFC 9110 section 10.2.3; milliseconds where a provider has that field of its own."""
        milliseconds = self._response.headers.get("Retry-After-Ms", "").strip()
        if milliseconds.isascii() and milliseconds.isdecimal() and len(milliseconds) < 10:
            return float(milliseconds) / 1000
        value = self._response.headers.get("Retry-After", "").strip()
        if value.isascii() and value.isdecimal() and len(value) < 10:
            return float(value)
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - self._clock())
        except (ValueError, OverflowError):
            return None


def failure(account: Account, complaint: Complaint, retry_after: float | None = None) -> AgentFailed:
    """What a complaint amounts to, in its own words without keys."""
    kind = complaints.kind(complaint)
    words = redacted(complaint.words, account.key)
    code = complaints.named(complaint, account.key)
    answered = f"answered {complaint.status}" if complaint.status else "failed within its answer"
    message = f"{account.title} {answered}" + (f" ({code})" if code else "") + (f": {words}" if words else "")
    if kind in PASSING:
        named = _AGAIN_IN.search(complaint.text)
        if retry_after is None and named is not None:
            retry_after = float(named[1]) * _UNITS[named[2] or ""]
        if complaint.status == 500:  # what some servers say of everything, a field that they do not know among it
            return Busy(kind, message, retry_after=retry_after, complaint=complaint)
        return Busy(kind, message, away=complaint.status in _AWAY, retry_after=retry_after)
    provider = account.provider
    if kind in _ADVICE:
        variables = {"key": provider.key_variable, "model": provider.model_variable, "url": provider.url_variable}
        message = f"{message.rstrip('. ')}; {_ADVICE[kind].format(**variables)}"
    return Refused(kind, message, complaint)


def _with(prepared: requests.PreparedRequest, headers: Mapping[str, str]) -> requests.PreparedRequest:
    prepared.headers.update(headers)
    return prepared
