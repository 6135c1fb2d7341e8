"""Content negotiation (RFC 9110 section 12): weights of media types and content codings."""

import re
from collections.abc import Iterator, Sequence

_WEIGHT = re.compile(rb"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.IGNORECASE)

IDENTITY = b"identity"

_ALIASES = {b"x-gzip": b"gzip", b"x-compress": b"compress"}  # RFC 9110 section 8.4.1


def choose_coding(accepted: bytes | None, offered: Sequence[bytes]) -> bytes:
    """The content coding to use among `offered` (best first), or `IDENTITY` (RFC 9110 section 12.5.3).

    The client's weights decide, then the order of `offered`. `IDENTITY` is the fallback even if the client excludes it:
    a response that it may be able to use is better than none.
    """
    if not accepted:
        return IDENTITY
    weights: dict[bytes, float] = {}
    for name, weight in _members(accepted):
        weights.setdefault(_ALIASES.get(name, name), weight)
    others = weights.get(b"*", 0.0)
    best, best_weight = IDENTITY, weights.get(IDENTITY, 0.0)
    for coding in offered:
        weight = weights.get(coding, others)
        if weight > best_weight or (weight == best_weight > 0 and best is IDENTITY):
            best, best_weight = coding, weight
    return best


def prefers_page(accept: bytes | None) -> bool:
    """Whether the client prefers a page to JSON: HTML is named, with no lower weight (RFC 9110 section 12.5.1)."""
    if accept is None or b"text/html" not in accept.lower():
        return False
    weights = dict(_members(accept))
    others = weights.get(b"*/*", 0.0)
    page = weights.get(b"text/html", 0.0)
    return page > 0 and page >= weights.get(b"application/json", weights.get(b"application/*", others))


def _members(value: bytes) -> Iterator[tuple[bytes, float]]:
    """Names and weights of a list; a malformed weight counts as 0, other parameters are ignored."""
    for member in value.lower().split(b","):
        name, *parameters = (part.strip(b" \t") for part in member.split(b";"))
        if not name:
            continue
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith(b"q="):
                found = _WEIGHT.fullmatch(parameter)
                weight = float(found[1]) if found else 0.0
        yield name, weight
