"""Addresses between the clients' view of an application that is mounted below a path, and its own.

The application believes to be at the root of its host. Addresses in its responses get the prefix that clients know
(RFC 9110 sections 8.7 and 10.2.2, RFC 6265 section 5.1.4), unless they have it already because the application has
read X-Forwarded-Prefix. In requests it is taken off the one field that has an address: Destination (RFC 4918 section
10.3).
"""

import re

from proxy import errors
from proxy.errors import ExchangeError
from proxy.exchange.request import Request
from proxy.wire.authority import AUTHORITIES
from proxy.wire.route_path import RoutePath
from proxy.wire.target import normalised, quoted, without_prefix

_ABSOLUTE = re.compile(rb"(https?)://([^/?#\\]*)(.*)", re.IGNORECASE | re.DOTALL)
_REFRESH = re.compile(rb"([0-9.]+[ \t]*[;,][ \t]*(?:url[ \t]*=[ \t]*)?[\"']?)(.*)", re.IGNORECASE | re.DOTALL)
_BEHIND = (b"/", b"?", b"#")
_ROOTED = b"__host-"
"""Cookies of this prefix are valid for the path / only (RFC 6265bis section 4.1.3.2)."""


class Mount:
    """An application that is mounted where a route applies; `host` is the Host it is sent in place of the client's."""

    def __init__(self, path: RoutePath, host: bytes) -> None:
        self._path = path
        self._host = host

    def response(self, lines: list[bytes], request: Request) -> list[bytes]:
        """The field lines of the application's response with the prefix put into their addresses."""
        prefix = self._prefix(request)
        return [self._line(line, prefix, request) for line in lines] if prefix else lines

    def destination(self, lines: list[bytes], request: Request) -> list[bytes]:
        """The field lines of a request with the prefix taken off Destination.

        Raises `ExchangeError` (502, RFC 4918 section 9.9.4) if that is on this host but outside of the application.
        """
        return [self._inside(line, request) if line[:12].lower() == b"destination:" else line for line in lines]

    def _prefix(self, request: Request) -> bytes:
        prefix = self._path.prefix(request.target) if request.target[:1] == b"/" else b""
        return quoted(prefix) if self._path.variable else prefix

    def _line(self, line: bytes, prefix: bytes, request: Request) -> bytes:
        name, _, value = line.partition(b":")
        kind = name.lower()
        if kind in (b"location", b"content-location"):
            return name + b": " + self._address(value.strip(b" \t"), prefix, request)
        if kind == b"set-cookie":
            return line if value.lstrip().lower().startswith(_ROOTED) else _with_path(line, prefix)
        found = _REFRESH.fullmatch(value.strip(b" \t")) if kind == b"refresh" else None
        if found is None:
            return line
        return name + b": " + found[1] + self._address(found[2], prefix, request)

    def _address(self, address: bytes, prefix: bytes, request: Request) -> bytes:
        if address[:1] == b"/" and address[1:2] not in (b"/", b"\\"):
            return prefixed(address, prefix)
        found = _ABSOLUTE.fullmatch(address)
        if found is None:
            return address
        scheme, authority, rest = found.groups()
        if self._host and authority == self._host and request.host:
            scheme, authority = request.scheme, request.host
        elif not _same(authority, request.host, scheme):
            return address
        return scheme + b"://" + authority + prefixed(rest if rest[:1] == b"/" else b"/" + rest, prefix)

    def _inside(self, line: bytes, request: Request) -> bytes:
        name, _, value = line.partition(b":")
        address = value.strip(b" \t")
        found = _ABSOLUTE.fullmatch(address)
        if found is not None:
            scheme, authority, rest = found.groups()
            if not _same(authority, request.host, scheme):
                return line
            origin, path = scheme + b"://" + authority, rest
        else:
            origin, path = b"", address
        prefix = self._path.prefix(request.target)
        if path[:1] != b"/" or not (normalised(path) + b"/").startswith(prefix + b"/"):
            raise ExchangeError(errors.DESTINATION)
        return name + b": " + origin + without_prefix(prefix, path)


def prefixed(path: bytes, prefix: bytes) -> bytes:
    """A path below a prefix, which it may have already."""
    if path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix) : len(prefix) + 1] in _BEHIND):
        return path
    return prefix + path


def _with_path(line: bytes, prefix: bytes) -> bytes:
    pair, *attributes = line.split(b";")
    return b";".join([pair, *(_attribute(attribute, prefix) for attribute in attributes)])


def _attribute(attribute: bytes, prefix: bytes) -> bytes:
    name, equals, value = attribute.partition(b"=")
    path = value.strip(b" \t")
    if name.strip(b" \t").lower() != b"path" or path[:1] != b"/":
        return attribute
    # The path /app is that of /app/x too (RFC 6265 section 5.1.4), and without its slash of /app itself.
    return name + equals + (prefix if path == b"/" else prefixed(path, prefix))


def _same(authority: bytes, host: bytes | None, scheme: bytes) -> bool:
    mine, theirs = AUTHORITIES[host or b""], AUTHORITIES[authority]
    return mine is not None and theirs is not None and mine.same_as(theirs, scheme.lower())
