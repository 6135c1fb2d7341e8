"""A stored response as its next client gets it: whole, in part, or as 304 (RFC 9111 section 4)."""

import os
from typing import Final

from proxy import errors
from proxy.cache.index import Entry
from proxy.errors import ExchangeError
from proxy.exchange.local_response import EncodedForms, File, LocalResponse
from proxy.exchange.partial_response import partial_response
from proxy.exchange.request import Request
from proxy.wire.conditions import Validators, conditions, date
from proxy.wire.fields import field_value

PEER: Final = "cache"
"""What the log has in the place of a peer's address."""

_OF_BODIES: Final = (b"content-length:", b"content-type:", b"content-encoding:", b"content-range:")

Body = bytes | int
"""Of an entry, or the descriptor of its file."""


def age_of(entry: Entry, now: float) -> float:
    """Its age in seconds (RFC 9111 section 4.2.3)."""
    return entry.age + max(0.0, now - entry.stored)


def is_fresh(entry: Entry, now: float) -> bool:
    return age_of(entry, now) < entry.lifetime


def serves_error(entry: Entry, now: float) -> bool:
    """Whether it may be used where the application fails (RFC 5861 section 4)."""
    return age_of(entry, now) < entry.lifetime + entry.error


def serves_stale(entry: Entry, now: float) -> bool:
    """Whether it may be used while a newer one is fetched (RFC 5861 section 3)."""
    return age_of(entry, now) < entry.lifetime + entry.revalidate


def lines_of(entry: Entry) -> list[bytes]:
    """The field lines as they were stored."""
    return entry.lines.split(b"\n") if entry.lines else []


def cache_status(detail: str) -> bytes:
    """The field that says what the cache did (RFC 9211)."""
    return b"Cache-Status: aragora-proxy; " + detail.encode()


def hit_status(entry: Entry, now: float) -> str:
    """What Cache-Status says of a response that was stored."""
    return f"hit; ttl={int(entry.lifetime - age_of(entry, now))}"


def about_age(age: float, detail: str) -> tuple[bytes, bytes]:
    """The fields of a stored response that are other ones each second: its last."""
    return b"Age: %d" % age, cache_status(detail)


def respond(
    entry: Entry, body: Body, request: Request, now: float, detail: str, forms: EncodedForms | None = None
) -> LocalResponse:
    """The response, as far as conditions and ranges of the request want it. A descriptor is its own from now on.

    `forms` are those of the whole body.

    Raises `ExchangeError` (416).
    """
    stored = lines_of(entry)
    lines = [line for line in stored if line[:4].lower() != b"age:"]
    last = about_age(age_of(entry, now), detail)
    if entry.status != 200:
        return LocalResponse(entry.status, (*lines, *last), _whole(entry, body), PEER, forms=forms)
    asked = conditions(request.fields.lines)
    came = date(field_value(stored, b"date")) or entry.stored
    if asked.verdict(request.method, _validators(stored, came, weak=True)) == 304:
        _drop(body)
        kept = [line for line in lines if not line.lower().startswith(_OF_BODIES)]
        return LocalResponse(304, (*kept, *last), b"", PEER)
    if field_value(lines, b"accept-ranges") is None:
        lines.append(b"Accept-Ranges: bytes")
    parts = asked.wanted(request.method, _validators(stored, came, weak=False), entry.size, came)
    if parts is None:
        return LocalResponse(200, (*lines, *last), _whole(entry, body), PEER, forms=forms)
    if not parts:
        _drop(body)
        raise ExchangeError(errors.FILE_RANGE, fields=(b"Content-Range: bytes */%d" % entry.size,))
    content_type = field_value(lines, b"content-type") or b"application/octet-stream"
    others = [*(line for line in lines if line[:13].lower() != b"content-type:"), *last]
    return partial_response(body, entry.size, parts, content_type, others, PEER)


def _validators(lines: list[bytes], came: float, *, weak: bool) -> Validators:
    """`weak`: a weak tag is taken for the one that it names; else it is equal to none."""
    tag = field_value(lines, b"etag") or b""
    if tag[:2] == b"W/":
        tag = tag[2:] if weak else b""
    changed = date(field_value(lines, b"last-modified"))
    return Validators(tag, came if changed is None else changed)


def _whole(entry: Entry, body: Body) -> bytes | File:
    return body if isinstance(body, bytes) else File(body, 0, entry.size)


def _drop(body: Body) -> None:
    if isinstance(body, int):
        os.close(body)
