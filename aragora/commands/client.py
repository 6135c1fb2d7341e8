"""The command line's side of the API: requests over HTTP, live events over the WebSocket."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import requests
import websocket

from aragora.errors import AragoraError, SettingsError
from aragora.settings import Settings

Row = dict[str, Any]

TIMEOUT = (5.0, 90.0)  # seconds to connect, and of silence within an answer
SILENCE = 40.0  # seconds without a message, heartbeats included, after which a connection counts as dead
PATIENCE = 60.0  # seconds of failing to connect again before giving up
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
MAX_ANSWER = 64 << 20
FINAL = "debate_end"


class Refused(AragoraError):  # noqa: N818 - named for what happened, as aragora.errors names its own
    """The server answered, but not with what was asked for."""


class Unreachable(AragoraError):  # noqa: N818 - as above
    """No server answers at the address."""


class Client:
    """One server, named by ARAGORA_URL and opened with ARAGORA_API_TOKEN."""

    def __init__(self, settings: Settings, url: str | None = None) -> None:
        self.url = (url or settings.url).rstrip("/")
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise SettingsError(f"--url: {self.url[:80]!r} does not fit: write http://HOST:PORT")
        self._headers = {"User-Agent": "aragora-cli"}
        if settings.api_tokens:
            self._headers["Authorization"] = f"Bearer {settings.api_tokens[0]}"
        self._session = requests.Session()
        self._session.headers.update(self._headers)

    def create(self, body: Row) -> Row:
        """Begin a debate."""
        return self._json("POST", "/api/debates", json=body)

    def descend(self, debate_id: str, relation: str, body: Row) -> Row:
        """Begin a debate that comes of another: `follow-up`, `fork` or `ask-again`."""
        return self._json("POST", f"/api/debates/{quote(debate_id, safe='')}/{relation}", json=body)

    def estimate(self, body: Row) -> Row:
        """What a debate would take."""
        return self._json("POST", "/api/debates/estimate", json=body)

    def presets(self) -> Row:
        """The councils that are kept under a name."""
        return self._json("GET", "/api/presets")

    def preset(self, name: str) -> Row:
        """One of them."""
        return self._json("GET", f"/api/presets/{quote(name, safe='')}")

    def save_preset(self, name: str, body: Row) -> Row:
        """Keep one."""
        return self._json("PUT", f"/api/presets/{quote(name, safe='')}", json=body)

    def remove_preset(self, name: str) -> None:
        """Forget one."""
        self._request("DELETE", f"/api/presets/{quote(name, safe='')}")

    def usage(self, debate_id: str) -> Row:
        """What a debate took, and each of its agents."""
        return self._json("GET", f"/api/debates/{quote(debate_id, safe='')}/usage")

    def models(self, name: str | None) -> Row:
        """What the providers offer, or the one called `name`."""
        return self._json("GET", "/api/agents/models", params={"type": name} if name else {})

    def spending(self, days: int) -> Row:
        """What was spent on each of the last days."""
        return self._json("GET", "/api/usage", params={"days": days})

    def share(self, debate_id: str) -> str:
        """The address at which everybody may read the debate from now on."""
        shared = self._json("POST", f"/api/debates/{quote(debate_id, safe='')}/share")
        return self.url + str(shared["share"])

    def unshare(self, debate_id: str) -> None:
        """Withdraw that address."""
        self._request("DELETE", f"/api/debates/{quote(debate_id, safe='')}/share")

    def debate(self, debate_id: str) -> Row:
        """One debate with its messages."""
        return self._json("GET", f"/api/debates/{quote(debate_id, safe='')}")

    def cancel(self, debate_id: str) -> Row:
        """End a debate for good."""
        return self._json("POST", f"/api/debates/{quote(debate_id, safe='')}/cancel")

    def page(self, **query: str | int | None) -> Row:
        """One page of debates, newest first."""
        given = {name: value for name, value in query.items() if value is not None}
        return self._json("GET", "/api/debates", params=given)

    def export(self, debate_id: str, form: str, table: str) -> bytes:
        """A download."""
        path = f"/api/debates/{quote(debate_id, safe='')}/export/{quote(form, safe='')}"
        return self._request("GET", path, params={"table": table}).content

    def watch(self, debate_id: str, since: int = 0) -> Iterator[Row]:
        """Every event after `since` and, between them, live tokens; ends after the last event.

        A lost connection is made again and continues behind the last event that came.
        """
        pause, failing_since = FIRST_PAUSE, None
        while True:
            try:
                for message in self._messages(debate_id, since):
                    pause, failing_since = FIRST_PAUSE, None
                    seq = message.get("seq")
                    if isinstance(seq, int):
                        if seq <= since:
                            continue
                        since = seq
                    yield message
                    if message["type"] == FINAL:
                        return
            except (OSError, websocket.WebSocketException) as error:
                if isinstance(error, websocket.WebSocketBadStatusException) and error.status_code in (401, 403):
                    raise Refused(f"{self.url} answers the WebSocket handshake with {error.status_code}") from None
                now = time.monotonic()
                failing_since = failing_since or now
                if now - failing_since > PATIENCE:
                    raise Unreachable(f"{self.url} does not answer: {error}") from None
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _messages(self, debate_id: str, since: int) -> Iterator[Row]:
        """What one connection brings about the debate."""
        connection = websocket.create_connection(
            f"ws{self.url.removeprefix('http')}/ws",
            timeout=SILENCE,
            header=[f"{name}: {value}" for name, value in self._headers.items()],
            suppress_origin=True,
        )
        try:
            connection.send(json.dumps({"type": "subscribe", "debate_id": debate_id, "replay_from_seq": since}))
            while text := connection.recv():
                message = json.loads(text)
                if message.get("type") == "error":
                    raise Refused(str(message.get("error", message.get("data", {})).get("message", "refused")))
                if message.get("debate_id") == debate_id and ("seq" in message or message["type"] == "token_delta"):
                    yield message
        finally:
            # close() leaves the socket open once the server has said goodbye; shutdown() does not.
            connection.close(timeout=1)
            connection.shutdown()  # type: ignore[no-untyped-call]

    def _json(self, method: str, path: str, **given: Any) -> Row:
        response = self._request(method, path, **given)
        try:
            body = response.json()
        except ValueError:
            raise Refused(
                f"{self.url} answered {response.status_code} without JSON: is it an Aragora server?"
            ) from None
        if not isinstance(body, dict):
            raise Refused(f"{self.url} answered with JSON of another shape: is it an Aragora server?")
        return body

    def _request(self, method: str, path: str, **given: Any) -> requests.Response:
        try:
            response = self._session.request(
                method, self.url + path, timeout=TIMEOUT, allow_redirects=False, stream=True, **given
            )
            _bounded(response)
        except requests.ConnectionError:
            raise Unreachable(
                f"no server answers at {self.url}: start one with scripts/up, or name another with ARAGORA_URL"
            ) from None
        except requests.RequestException as error:
            raise Unreachable(f"{self.url}: {error}") from None
        if response.status_code >= 300:
            raise Refused(_refusal(response))
        return response


def _bounded(response: requests.Response) -> None:
    """Read the body, up to a limit."""
    parts, size = [], 0
    for part in response.iter_content(65_536):
        size += len(part)
        if size > MAX_ANSWER:
            response.close()
            raise Refused(f"the answer is longer than {MAX_ANSWER >> 20} MiB")
        parts.append(part)
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
