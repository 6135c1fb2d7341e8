"""Fields that a route sets or removes, in requests and in responses."""

import re
from collections.abc import Callable
from typing import Any

from proxy.settings.values import template
from proxy.settings.values.kinds import Kind
from proxy.settings.values.web import AUTHORITY, MOST, is_name, read_tokens, show_list

_VALUE = re.compile(r"[\t -~\x80-\U0010ffff]*")

# Framing, the connection, and the forwarding fields, which only the gateway sets. A content coding belongs to the body.
_RESERVED = {
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "proxy-connection",
    "expect",
    "date",
    "content-encoding",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "proxy-status",
}
_RESERVED_PREFIXES = ("sec-websocket-",)

_LEADING = {"location", "content-location", "refresh", "set-cookie"}
"""Response fields whose value a browser acts upon: nothing of a request may be part of it."""

Fields = tuple[tuple[str, str], ...]


def _check_not_reserved(name: str) -> None:
    if name.lower() in _RESERVED or name.lower().startswith(_RESERVED_PREFIXES):
        raise ValueError(f"'{name}' is the gateway's own to set; remove it")


def _names(raw: Any) -> tuple[str, ...]:
    found = read_tokens(raw)
    for name in found:
        _check_not_reserved(name)
        if name.lower() == "host":
            raise ValueError("'Host' cannot be missing (RFC 9112 section 3.2); remove it here")
    return found


def _read(check: Callable[[str, str], None]) -> Callable[[Any], Fields]:
    def read(raw: Any) -> Fields:
        if not isinstance(raw, dict) or len(raw) > MOST:
            raise ValueError('expected a table of field names and values, such as { X-Frame-Options = "DENY" }')
        for name, value in raw.items():
            if not is_name(name):
                raise ValueError(f"'{name}' is not a field name (RFC 9110 section 5.6.2); use letters, digits and -")
            _check_not_reserved(name)
            if not isinstance(value, str) or not _VALUE.fullmatch(value):
                raise ValueError(f"{name}: expected text without control characters")
            check(name, value)
        return tuple(raw.items())

    return read


def _check_request_field(name: str, value: str) -> None:
    if name.lower() != "host" or value == "{upstream}":
        return
    try:
        named = AUTHORITY.read(value)
    except ValueError:
        named = ""
    if not named:
        raise ValueError(f"{name}: expected a host such as app.internal:8080, or {{upstream}}")


def _check_response_field(name: str, value: str) -> None:
    if name.lower() == "host":
        raise ValueError("'Host' is a request field; remove it")
    if name.lower() in _LEADING and (found := template.names(value)):
        raise ValueError(f"{name}: {{{found[0]}}} would let a client's request say where others go; use redirect")


def _show(found: Fields) -> str:
    return ", ".join(f"{name}: {value}" for name, value in found) or "none"


CERTIFICATE_FIELDS = (
    "Client-Cert",
    "X-SSL-Client-Verify",
    "X-SSL-Client-S-DN",
    "X-SSL-Client-I-DN",
    "X-SSL-Client-Serial",
    "X-SSL-Client-Fingerprint",
    "X-SSL-Client-Cert",
)
"""What an upstream can be sent of a client's certificate (`proxy.net.client_certificate`)."""


def _certificate_fields(raw: Any) -> tuple[str, ...]:
    known = {name.lower(): name for name in CERTIFICATE_FIELDS}
    found = read_tokens(raw)
    for name in found:
        if name.lower() not in known:
            raise ValueError(
                f"'{name}' is no field of a client's certificate; known are {', '.join(CERTIFICATE_FIELDS)}"
            )
    return tuple(dict.fromkeys(known[name.lower()] for name in found))


OF_CERTIFICATES = Kind("names", _certificate_fields, show_list, "NAME", repeatable=True)
NAMES = Kind("names", _names, show_list, "NAME", repeatable=True)
OF_REQUESTS = Kind("table", _read(_check_request_field), _show, "TABLE")
OF_RESPONSES = Kind("table", _read(_check_response_field), _show, "TABLE")
