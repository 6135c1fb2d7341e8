"""Which responses a shared cache may store, and how long they are fresh (RFC 9111 sections 3 and 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.cache.directives import NO_STORE, directives, seconds
from proxy.wire.conditions import date
from proxy.wire.fields import field_value
from proxy.wire.head import tokens
from proxy.wire.response import ResponseHead

_STORED: Final = frozenset({200, 203, 301, 302, 307, 308, 404, 410})
"""Statuses that are stored if the application says for how long. Parts (206) and its errors are not."""
_STORED_BY_DEFAULT: Final = frozenset({200, 203, 301, 308})
"""Statuses to which `cache_ttl` applies."""
_SPEAKS_OF_IT: Final = (b"cache-control", b"expires", b"pragma")
_SHARED: Final = (b"public", b"s-maxage", b"must-revalidate")
"""Directives that allow to store the response to a request with Authorization (section 3.5)."""
_LONGEST_AGE: Final = 1 << 31
_ROUNDING: Final = 1.0
"""Seconds that the Date of a response that was just made may seem to lie in the past."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long a response may be used. All in seconds.

    `age` is how old it was when it came. `default`: the application has said nothing, `cache_ttl` applies.
    """

    lifetime: float
    age: float
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    default: bool = False


def freshness(
    response: ResponseHead,
    default: float,
    now: float,
    *,
    authorized: bool,
    delay: float = 0.0,
    stale_if_error: float = 0.0,
) -> Freshness | None:
    """How long the response to a GET may be used; None if it may not be stored.

    `default` is the lifetime of responses that say nothing of it, 0 for none; `delay` is how long the response took;
    `authorized`: the request had Authorization; `stale_if_error` applies where the response says nothing of that. One
    that is to be validated each time has a lifetime of 0.
    """
    lines = response.lines
    found = directives(lines)
    if response.status not in _STORED or response.private or NO_STORE in found or b"private" in found:
        return None
    if authorized and not any(name in found for name in _SHARED):
        return None
    if _is_partial_or_endless(response) or b"*" in varying(lines):
        return None
    age = _age(lines, now) + delay
    if b"no-cache" in found:
        return Freshness(0.0, age) if _validated(lines) else None
    lifetime = _lifetime(lines, found, now)
    silent = lifetime is None and not any(field_value(lines, name) is not None for name in _SPEAKS_OF_IT)
    if silent and default and response.status in _STORED_BY_DEFAULT:
        return Freshness(default, age, 0.0, stale_if_error, default=True)
    if lifetime is None:
        return None
    revalidate = error = 0.0
    if b"must-revalidate" not in found and b"proxy-revalidate" not in found:
        said = seconds(found, b"stale-if-error")
        error = stale_if_error if said is None else said
        revalidate = seconds(found, b"stale-while-revalidate") or 0
    if age >= lifetime + max(revalidate, error) and not _validated(lines):
        return None
    return Freshness(lifetime, age, revalidate, error)


def varying(lines: Sequence[bytes]) -> frozenset[bytes]:
    """The lower-case names in Vary."""
    return frozenset(tokens(field_value(lines, b"vary") or b"")) - {b""}


def _is_partial_or_endless(response: ResponseHead) -> bool:
    """Whether its body is not the whole, or its end is not certain or not to be expected."""
    bounded = response.chunked or response.content_length is not None
    endless = response.event_stream or response.unbuffered or not bounded
    return endless or bool(response.fault) or field_value(response.lines, b"content-range") is not None


def _validated(lines: Sequence[bytes]) -> bool:
    return any(field_value(lines, name) for name in (b"etag", b"last-modified"))


def _lifetime(lines: Sequence[bytes], found: dict[bytes, bytes], now: float) -> float | None:
    """Section 4.2.1."""
    for name in (b"s-maxage", b"max-age"):
        lifetime = seconds(found, name)
        if lifetime is not None:
            return lifetime
    expires = field_value(lines, b"expires")
    if expires is None:
        return None
    until = date(expires)
    begins = date(field_value(lines, b"date"))
    return 0 if until is None else max(0.0, until - (now if begins is None else begins))


def _age(lines: Sequence[bytes], now: float) -> float:
    """Section 4.2.3."""
    given = field_value(lines, b"age") or b""
    said = min(int(given), _LONGEST_AGE) if given.isdigit() and len(given) < 20 else 0
    sent = date(field_value(lines, b"date"))
    apparent = 0.0 if sent is None else now - sent
    return max(apparent if apparent > _ROUNDING else 0.0, said)
