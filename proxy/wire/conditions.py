"""Conditional and range requests for the gateway's own files (RFC 9110 sections 13 and 14)."""

import re
from calendar import timegm
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate, parsedate

from proxy.wire.ranges import parts_of

_ENTITY_TAG = re.compile(rb'(W/)?("[!#-~\x80-\xff]*")')
_STRONG_AFTER = 2.0
"""Age in seconds after which a modification time in whole seconds is a strong validator (RFC 9110 section 8.8.2.2)."""


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of a resource's state. `changed` is in seconds since the epoch."""

    tag: bytes
    """A strong entity tag, with its quotes."""
    changed: float

    def last_modified(self, now: float) -> bytes:
        """The value of Last-Modified in a response sent now, never in its future (RFC 9110 section 8.8.2.1).

        Another change in the same second could not be distinguished, so until the second has passed an earlier one is
        sent: a client that revalidates with it gets what it has missed.
        """
        second = int(self.changed) if now - self.changed >= _STRONG_AFTER else int(min(self.changed, now)) - 1
        return formatdate(max(0, second), usegmt=True).encode()


@dataclass(frozen=True, slots=True)
class Conditions:
    """The preconditions of one request, as in its fields."""

    if_match: bytes | None = None
    if_none_match: bytes | None = None
    if_modified_since: bytes | None = None
    if_unmodified_since: bytes | None = None
    if_range: bytes | None = None
    range: bytes | None = None

    def verdict(self, method: bytes, validators: Validators) -> int:
        """200 to proceed, 304 or 412, evaluated in the order of RFC 9110 section 13.2.2. Invalid dates are ignored."""
        if self.if_match is not None:
            if not _matches(self.if_match, validators.tag, weak=False):
                return 412
        elif (since := date(self.if_unmodified_since)) is not None and int(validators.changed) > since:
            return 412
        safe = method in (b"GET", b"HEAD")
        if self.if_none_match is not None:
            if _matches(self.if_none_match, validators.tag, weak=True):
                return 304 if safe else 412
        elif safe and (since := date(self.if_modified_since)) is not None and int(validators.changed) <= since:
            return 304
        return 200

    def wanted(self, method: bytes, validators: Validators, size: int, now: float) -> list[slice] | None:
        """The parts of the body to send, as `parts_of` gives them: None for the whole, [] if it has none of them."""
        if self.range is None or method != b"GET" or not self._still_the_same(validators, now):
            return None
        return parts_of(self.range, size)

    def _still_the_same(self, validators: Validators, now: float) -> bool:
        """Evaluate If-Range: a strong tag, or the exact date of a change long enough ago (RFC 9110 section 13.1.5)."""
        if self.if_range is None:
            return True
        if _ENTITY_TAG.fullmatch(self.if_range):
            return self.if_range == validators.tag
        return self.if_range == validators.last_modified(now) and now - validators.changed >= _STRONG_AFTER


_NAMES = {
    b"if-match": "if_match",
    b"if-none-match": "if_none_match",
    b"if-modified-since": "if_modified_since",
    b"if-unmodified-since": "if_unmodified_since",
    b"if-range": "if_range",
    b"range": "range",
}


def conditions(lines: Iterable[bytes]) -> Conditions:
    """The preconditions among a request's field lines; tags on several lines count as one list."""
    found: dict[str, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        attribute = _NAMES.get(name.lower())
        if attribute is not None:
            value = value.strip(b" \t")
            found[attribute] = found[attribute] + b", " + value if attribute in found else value
    return Conditions(**found)


def _matches(tags: bytes, tag: bytes, *, weak: bool) -> bool:
    if tags.strip(b" \t") == b"*":
        return True
    return any(found[2] == tag and (weak or not found[1]) for found in _ENTITY_TAG.finditer(tags))


def date(value: bytes | None) -> int | None:
    """Seconds since the epoch of an HTTP date, in any of its three forms (RFC 9110 section 5.6.7); None for others."""
    if not value:
        return None
    found = parsedate(value.decode("latin-1"))
    if found is None:
        return None
    try:
        return timegm(found)
    except (ValueError, OverflowError):
        return None
