"""Hosts and ports: validity and equality (RFC 3986 sections 3.2 and 6.2, RFC 9110 section 4.2.3).

An ambiguous host is refused even if the grammar allows it: percent-encoded, or with a comma, which separates the values
of X-Forwarded-Host.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from proxy.wire.memo import BoundedMemo

DEFAULT_PORTS = {b"http": 80, b"https": 443}
_HIGHEST_PORT = 65535

_LABEL = rb"[0-9A-Za-z_~!$&'()*+;=-]"
_AUTHORITY = re.compile(rb"(%b(?:%b|\.)*|\[[0-9A-Fa-f:.]{2,45}\])(?::0*([0-9]{0,5}))?" % (_LABEL, _LABEL))

_PORT = re.compile(rb":[0-9]+$")

_LONGEST_REMEMBERED = 256


class Authority(NamedTuple):
    """A host with an optional port, as written (`text`) and normalised for comparison (`host`, `port`)."""

    text: bytes
    """What is forwarded: the client's spelling, without the colon of an empty port."""
    host: bytes
    """In lower case, without a trailing dot; an IPv6 address in its shortest form, in brackets."""
    port: int | None

    def same_as(self, other: "Authority", scheme: bytes) -> bool:
        """Whether both are equal for a scheme (in lower case); a missing port is the scheme's default."""
        default = DEFAULT_PORTS[scheme]
        mine = default if self.port is None else self.port
        theirs = default if other.port is None else other.port
        return self.host == other.host and mine == theirs


class _Authorities(BoundedMemo[bytes, Authority | None]):
    """Parsed authorities; None for what is not one."""

    def __missing__(self, text: bytes) -> Authority | None:
        found = _parse(text)
        if len(text) <= _LONGEST_REMEMBERED:
            self.remember(text, found)
        return found


AUTHORITIES = _Authorities(1024)
"""Raw bytes to `Authority`, or None if they are invalid or not served here."""


def _parse(text: bytes) -> Authority | None:
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    host, digits = match.groups()
    port = int(digits or b"0") if digits is not None else None
    if port is not None and port > _HIGHEST_PORT:
        return None
    if text.endswith(b":"):
        text, port = text[:-1], None
    if host[:1] != b"[":
        return Authority(text, host.lower().rstrip(b"."), port)
    try:
        address = IPv6Address(host[1:-1].decode("ascii"))
    except AddressValueError:
        return None
    return Authority(text, b"[%s]" % address.compressed.encode("ascii"), port)


def without_port(authority: bytes) -> bytes:
    """The host of a valid authority."""
    return _PORT.sub(b"", authority)
