"""A client of the service for Python programs; it needs nothing but `requests`.

    from aragora.client import Client

    client = Client("http://127.0.0.1:8000", token="SECRET")
    debate = client.ask("Should we adopt event sourcing for billing?", agents=["demo", "demo"], rounds=1)
    print(debate["status"], debate["final_answer"])

What it hands out are the objects of the HTTP API, as docs/reference/http.md describes them. One client belongs to one
thread.
"""

import time
from collections.abc import Callable, Iterator
from json import loads
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import requests
from urllib3.exceptions import HTTPError

from aragora.agents import sse
from aragora.errors import AragoraError, SettingsError

Row = dict[str, Any]

TIMEOUT = (5.0, 90.0)  # seconds to connect, and of silence within an answer
SILENCE = 40.0  # seconds without an event, heartbeats included, after which a stream counts as dead
PATIENCE = 60.0  # seconds of failing to connect again before giving up
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
MAX_ANSWER = 64 << 20  # bytes
READ = 65_536
FINAL = "debate_end"
_IDEMPOTENT = {"GET", "PUT", "DELETE"}
_KEY = "Idempotency-Key"


class Refused(AragoraError):  # noqa: N818 - named for what happened, as aragora.errors names its own
    """The server answered, but not with what was asked for. `status` is HTTP's."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(AragoraError):  # noqa: N818 - as above
    """No server answers at the address."""


class Client:
    """One server. Every method raises `Refused` and `Unreachable`; ids of debates that do not exist are refused."""

    def __init__(self, url: str = "http://127.0.0.1:8000", token: str | None = None, *, agent: str = "aragora") -> None:
        """`token` is one of the server's, if it has any; `agent` names the program to it.

        Raises `SettingsError` for an address that is none.
        """
        self.url = url.rstrip("/")
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise SettingsError(f"{self.url[:80]!r} does not fit: write http://HOST:PORT")
        self._session = requests.Session()
        self._session.headers["User-Agent"] = agent
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, question: str, *, on_event: Callable[[Row], object] | None = None, **rules: Any) -> Row:
        """Have `question` debated, and the debate at its end: `status`, `final_answer`, `verdict`, `messages` ...

        `rules` are the other members of `POST /api/debates`: agents, rounds, consensus, context, budget ...
        `on_event` is handed each event and each piece of what is said.
        """
        debate_id = self.create({"question": question, **rules})["debate_id"]
        for event in self.watch(debate_id):
            if on_event is not None:
                on_event(event)
        return self.debate(debate_id)

    def create(self, body: Row) -> Row:
        """Begin a debate; its `debate_id` is in the answer."""
        return self._json("POST", "/api/debates", json=body, headers=_key())

    def descend(self, debate_id: str, relation: str, body: Row) -> Row:
        """Begin a debate that comes of another: `follow-up`, `fork` or `ask-again`."""
        return self._json("POST", f"{_address(debate_id)}/{_quoted(relation)}", json=body, headers=_key())

    def estimate(self, body: Row) -> Row:
        """What a debate would take."""
        return self._json("POST", "/api/debates/estimate", json=body)

    def debate(self, debate_id: str) -> Row:
        """One debate with its messages, also while it runs."""
        return self._json("GET", _address(debate_id))

    def page(self, **query: str | int | None) -> Row:
        """One page of debates, newest first: limit, cursor, status, q."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._json("GET", "/api/debates", params=given)

    def debates(self, **query: str | int | None) -> Iterator[Row]:
        """Every debate, newest first, page by page: status, q."""
        cursor: str | None = None
        while True:
            page = self.page(**{**query, "cursor": cursor})
            yield from page["debates"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def cancel(self, debate_id: str) -> Row:
        """End a debate for good."""
        return self._json("POST", f"{_address(debate_id)}/cancel")

    def delete(self, debate_id: str) -> None:
        """Remove a debate and its events."""
        self._request("DELETE", _address(debate_id))

    def export(self, debate_id: str, form: str = "md", table: str = "messages") -> bytes:
        """A download: json, csv, html, txt or md."""
        return self._request("GET", f"{_address(debate_id)}/export/{_quoted(form)}", params={"table": table}).content

    def share(self, debate_id: str) -> str:
        """The address at which anyone may read the debate from now on."""
        return self.url + str(self._json("POST", f"{_address(debate_id)}/share")["share"])

    def unshare(self, debate_id: str) -> None:
        """Withdraw that address."""
        self._request("DELETE", f"{_address(debate_id)}/share")

    def read_source(self, name: str, media_type: str, data: bytes) -> Row:
        """The text of a file (`text`, `characters`, `cut`), for the context of a debate."""
        headers = {"Content-Type": media_type}
        return self._json("POST", "/api/sources", data=data, headers=headers, params={"name": name[:200]})

    def presets(self) -> Row:
        """The councils that are kept under a name."""
        return self._json("GET", "/api/presets")

    def preset(self, name: str) -> Row:
        """One of them."""
        return self._json("GET", f"/api/presets/{_quoted(name)}")

    def save_preset(self, name: str, body: Row) -> Row:
        """Keep one."""
        return self._json("PUT", f"/api/presets/{_quoted(name)}", json=body)

    def remove_preset(self, name: str) -> None:
        """Forget one."""
        self._request("DELETE", f"/api/presets/{_quoted(name)}")

    def usage(self, debate_id: str) -> Row:
        """What a debate took, and each of its agents."""
        return self._json("GET", f"{_address(debate_id)}/usage")

    def spending(self, days: int = 30) -> Row:
        """What was spent on each of the last days."""
        return self._json("GET", "/api/usage", params={"days": days})

    def agents(self) -> Row:
        """Every type of agent, and whether it can run."""
        return self._json("GET", "/api/agents")

    def models(self, name: str | None = None) -> Row:
        """What the providers offer, or the one called `name`."""
        return self._json("GET", "/api/agents/models", params={"type": name} if name else {})

    def watch(self, debate_id: str, since: int = 0) -> Iterator[Row]:
        """Every event after `since` and, between them, what is being said (`token_delta`); ends after the last event.

        A lost connection is made again and continues behind the last event that came.
        """
        pause, failing_since = FIRST_PAUSE, None
        while True:
            try:
                response = self._stream(debate_id, since)
                if response is None:
                    return
                for message in _messages(response):
                    pause, failing_since = FIRST_PAUSE, None
                    seq = message.get("seq")
                    if isinstance(seq, int):
                        if seq <= since:
                            continue
                        since = seq
                    yield message
                    if message["type"] == FINAL:
                        return
            except Unreachable as error:
                now = time.monotonic()
                failing_since = failing_since or now
                if now - failing_since > PATIENCE:
                    raise Unreachable(f"{self.url} does not answer: {error}") from None
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _stream(self, debate_id: str, since: int) -> requests.Response | None:
        """The open stream of events after `since`; None when nothing will follow."""
        response = self._send(
            "GET",
            f"{_address(debate_id)}/events",
            headers={"Accept": "text/event-stream", "Last-Event-ID": str(since)},
            timeout=(TIMEOUT[0], SILENCE),
        )
        if response.status_code == 200:
            return response
        with response:
            if response.status_code == 204:
                return None
            if response.status_code in (429, 503):
                raise Unreachable(f"HTTP {response.status_code}")
            _read(response)
            raise Refused(_refusal(response), response.status_code)

    def _json(self, method: str, path: str, **given: Any) -> Row:
        response = self._request(method, path, **given)
        try:
            body = response.json()
        except ValueError:
            raise Refused(
                f"{self.url} answered {response.status_code} without JSON: is it an Aragora server?",
                response.status_code,
            ) from None
        if not isinstance(body, dict):
            raise Refused(
                f"{self.url} answered with JSON of another shape: is it an Aragora server?", response.status_code
            )
        return body

    def _request(self, method: str, path: str, **given: Any) -> requests.Response:
        response = self._send(method, path, **given)
        _read(response)
        if response.status_code >= 300:
            raise Refused(_refusal(response), response.status_code)
        return response

    def _send(self, method: str, path: str, **given: Any) -> requests.Response:
        try:
            try:
                return self._try(method, path, **given)
            except requests.ConnectionError:
                # A server may close a kept connection as a request comes; one that may be done twice is sent again
                # (RFC 9110 section 9.2.2).
                if method not in _IDEMPOTENT and _KEY not in given.get("headers", {}):
                    raise
                return self._try(method, path, **given)
        except requests.ConnectionError:
            raise Unreachable(
                f"no server answers at {self.url}: start one with scripts/up or aragora start, "
                "name another with ARAGORA_URL, or, where scripts/install has run, use aragora-service"
            ) from None
        except requests.RequestException as error:
            raise Unreachable(f"{self.url}: {error}") from None

    def _try(self, method: str, path: str, **given: Any) -> requests.Response:
        """Send once; raises `requests.RequestException`."""
        return self._session.request(
            method, self.url + path, allow_redirects=False, stream=True, **{"timeout": TIMEOUT, **given}
        )


def _messages(response: requests.Response) -> Iterator[Row]:
    """What a stream brings, to its end; raises `Unreachable` where it breaks off."""
    with response:
        try:
            for text in sse.events(iter(lambda: response.raw.read1(READ, decode_content=True), b"")):
                message = loads(text)
                if isinstance(message, dict) and isinstance(message.get("type"), str):
                    yield message
        except (HTTPError, OSError, ValueError, sse.TooLong) as error:
            raise Unreachable(f"the stream broke off: {error}") from None


def _key() -> dict[str, str]:
    """By which the server knows a request that is sent again."""
    return {_KEY: uuid4().hex}


def _quoted(part: str) -> str:
    return quote(part, safe="")


def _address(debate_id: str) -> str:
    return f"/api/debates/{_quoted(debate_id)}"


def _read(response: requests.Response) -> None:
    """Read the body, up to a limit."""
    parts, size = [], 0
    try:
        for part in response.iter_content(READ):
            size += len(part)
            if size > MAX_ANSWER:
                response.close()
                raise Refused(f"the answer is longer than {MAX_ANSWER >> 20} MiB", response.status_code)
            parts.append(part)
    except requests.RequestException as error:
        raise Unreachable(f"the answer broke off: {error}") from None
    response._content = b"".join(parts)


def _refusal(response: requests.Response) -> str:
    """The message of the one error shape, or what there is."""
    if response.status_code == 401:
        return "401: the server wants a token: set ARAGORA_API_TOKEN"
    try:
        error = response.json()["error"]
        return f"{response.status_code} {error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.reason}"
