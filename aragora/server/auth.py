"""Which callers may use the API, under which host names, and from which web pages.

Tokens are compared in constant time and never logged. Health and metrics need none: they answer probes.

Without tokens any client that reaches the address may use the API, and a browser on this machine or in this network
reaches it for any page that it shows. Such a page may call the address by a name of its own (DNS rebinding) and is then
of our origin. So without tokens the Host field has to be an address, or a name that no stranger can own in the public
DNS: localhost, one without a dot, or the one that `ARAGORA_URL` names.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from aragora.errors import Forbidden, Unauthorized

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{0,5})?")
_UNOWNED = re.compile(r"\[.+\]|\d{1,3}(?:\.\d{1,3}){3}|(?:[a-z0-9_-]+\.)*localhost|[a-z0-9_-]+")

SUBPROTOCOL_PREFIX = "access_token."

# What answers without a token: probes, the pages (one asks for the token), the descriptions of the API, and debates
# under addresses that cannot be guessed.
PROBES = ("/healthz", "/ready", "/readyz", "/health", "/metrics")
PAGES = ("/", "/status", "/favicon.svg", "/favicon.ico", "/api", "/api/docs", "/docs")
DESCRIPTIONS = ("/api/openapi.json", "/api/asyncapi.json", "/openapi.json")
OPEN_PATHS = frozenset({*PROBES, *PAGES, *DESCRIPTIONS})
OPEN_PREFIXES = ("/console/", "/shared/")


def is_open(path: str) -> bool:
    """Whether `path` may be read without a token."""
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIXES)


def host_served(host: str | None, url: str, *, guarded: bool) -> bool:
    """Whether requests for `host` are answered: any where a token is needed, and any without a Host, which no browser
    omits.

    `url` is the configured address; its port does not count, as a gateway may listen on another one.
    """
    if guarded or host is None:
        return True
    found = _HOST.fullmatch(host.lower())
    return found is not None and (bool(_UNOWNED.fullmatch(found[1])) or found[1] == urlsplit(url).hostname)


def check_host(host: str | None, url: str, *, guarded: bool) -> None:
    """Raise `Forbidden` unless requests for `host` are answered."""
    if not host_served(host, url, guarded=guarded):
        raise Forbidden(
            "this Host is not served without a token: use localhost or an IP address, name the host in ARAGORA_URL, "
            "or set ARAGORA_API_TOKEN"
        )


def bearer(field: str | None) -> str | None:
    """The token of an Authorization field (RFC 6750 section 2.1), or None."""
    scheme, _, token = (field or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def given_token(field: str | None, subprotocol: str | None) -> str | None:
    """The token of a handshake or request: of the Authorization field, else of the subprotocol."""
    token = bearer(field)
    return subprotocol.removeprefix(SUBPROTOCOL_PREFIX) if token is None and subprotocol is not None else token


def unknown(token: str | None) -> Unauthorized:
    """The error of a request without a token that is known."""
    return Unauthorized("a token is needed: Authorization: Bearer TOKEN" if token is None else "the token is not known")


def token_subprotocol(offered: Iterable[str]) -> str | None:
    """The offered `access_token.…` subprotocol; browsers can send a token on a WebSocket in no other way."""
    return next((name for name in offered if name.startswith(SUBPROTOCOL_PREFIX)), None)


def origin_allowed(origin: str | None, host: str | None, allowed: tuple[str, ...]) -> bool:
    """Whether a page of `origin` may talk to us: programs send none, our own page sends our own host.

    Compared by host and port only: behind a gateway that ends TLS, the scheme we see is not the browser's.
    """
    if origin is None:
        return True
    if origin in allowed or "*" in allowed:
        return True
    _, separator, authority = origin.partition("://")
    return bool(separator and authority) and authority.lower() == (host or "").lower()


def cors_fields(origin: str | None, allowed: tuple[str, ...]) -> list[tuple[str, str]]:
    """The response fields that let a listed foreign page read an answer (Fetch standard, section 3.3)."""
    if not allowed:
        return []
    fields = [("Vary", "Origin")]
    if origin is not None and (origin in allowed or "*" in allowed):
        fields.append(("Access-Control-Allow-Origin", origin))
        fields.append(("Access-Control-Expose-Headers", "Location, X-Request-ID, Retry-After, Content-Disposition"))
    return fields


def preflight_fields(origin: str | None, allowed: tuple[str, ...]) -> list[tuple[str, str]]:
    """What a preflight of a listed page is answered besides `cors_fields`; nothing else is allowed anything."""
    if origin is None or not (origin in allowed or "*" in allowed):
        return []
    return [
        ("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE"),
        ("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-ID"),
        ("Access-Control-Max-Age", "7200"),
    ]
