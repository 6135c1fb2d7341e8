"""Requests to an authority: user agent, deadlines, retries of nonces, and the authority's Retry-After."""

import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import requests
from acme import client, messages
from josepy.jwa import ES256

from proxy.acme.transport import Deadline, TimedAdapter

_TIMEOUT = 30  # seconds for one request, from the search for an address to the last byte of the response
_TOGETHER = 300.0  # seconds for all requests of one network
_LONGEST_RESPONSE = 1 << 20  # bytes
_PART = 1 << 16  # bytes of it at once
_NONCES = 5
"""Attempts for one request whose nonce was rejected through no fault of ours (RFC 8555 section 6.5); the library makes
two of each."""


class Network(client.ClientNetwork):
    """The transport of the library's client. The account's key is set later, once the account is known."""

    def __init__(self, agent: str, ca: Path | None) -> None:
        super().__init__(alg=ES256, user_agent=agent, timeout=_TIMEOUT)
        if ca is not None:
            self.verify_ssl = str(ca)  # type: ignore[assignment] # `requests` takes a file too
        self.session.hooks["response"].append(self._heard)
        self._deadline = Deadline(_TOGETHER)
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, TimedAdapter(self._deadline))
        self.wait = 0.0
        """Seconds that the last error response asked us to wait (RFC 8555 section 6.6); 0 if it named none."""

    def _heard(self, response: requests.Response, **_how: Any) -> None:
        """The head of a response is there, and a bounded part of its body is read. Raises `RequestException`."""
        content = bytearray()
        for part in response.iter_content(_PART):
            content += part
            if len(content) > _LONGEST_RESPONSE:
                response.close()
                raise requests.RequestException(f"{response.url} responds with more than {_LONGEST_RESPONSE} bytes")
        response._content, response._content_consumed = bytes(content), True  # type: ignore[attr-defined]
        if not response.ok:
            self.wait = retry_after(response.headers.get("Retry-After", ""), time.time())

    def _send_request(self, *arguments: Any, **named: Any) -> requests.Response:
        with self._deadline.request(_TIMEOUT):
            return super()._send_request(*arguments, **named)

    def post(self, *arguments: Any, **named: Any) -> requests.Response:
        for _ in range(_NONCES - 1):
            try:
                return super().post(*arguments, **named)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*arguments, **named)


def retry_after(value: str, now: float) -> float:
    """Seconds that a Retry-After field names (RFC 9110 section 10.2.3), 0 if it names none."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return 0.0
