"""The first line of a request: method, target and version (RFC 9112 section 3)."""

import re
from dataclasses import dataclass

from proxy import errors
from proxy.errors import ExchangeError
from proxy.wire.authority import AUTHORITIES, Authority
from proxy.wire.memo import BoundedMemo
from proxy.wire.target import has_dot_segment

SLASH = 0x2F

_TARGET_BYTES = bytes(b for b in range(0x21, 0x7F) if b != ord("#"))
_METHOD = re.compile(rb"[A-Z0-9_-]{1,20}")
_KNOWN_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"})
_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE", b"TRACK"})
_HTTP2 = "HTTP/2 is chosen in the TLS handshake (ALPN), or served without TLS where the gateway has h2c = true"
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]")
_ABSOLUTE = re.compile(rb"([Hh][Tt][Tt][Pp][Ss]?)://([^/?]*)(.*)")
# Broken escapes, and encoded control characters: some applications cut the path there, others (routers whose patterns
# end in "$") treat "/admin%0A" as "/admin", which is another path to the gateway.
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})|%(?:[01][0-9A-Fa-f]|7[Ff])")

# Valid request lines: few of them make up most requests.
_known_lines: BoundedMemo[bytes, tuple[bytes, bytes, int]] = BoundedMemo(1024)
_LONGEST_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bounds of a request head, in bytes, except `fields`, which counts lines."""

    line: int = 8190
    field: int = 8190
    fields: int = 100
    block: int = 32768
    dots: bool = False
    """Some route forwards dot segments, so they are checked once the route is known."""

    # Fields that the gateway itself adds towards the upstream, which counts them too.
    ADDED = 8

    # Errors name the exceeded setting, since their reader may be the operator.

    def long_line(self) -> ExchangeError:
        return ExchangeError(errors.TARGET_TOO_LONG, f"over {self.line} bytes, the gateway's max_request_line")

    def long_field(self) -> ExchangeError:
        return ExchangeError(errors.HEAD_TOO_LARGE, f"a field over {self.field} bytes, the gateway's max_field")

    def many_fields(self) -> ExchangeError:
        detail = f"over {self.fields} fields with those the gateway adds, its max_fields"
        return ExchangeError(errors.HEAD_TOO_LARGE, detail)

    def large_block(self) -> ExchangeError:
        return ExchangeError(errors.HEAD_TOO_LARGE, f"over {self.block} bytes, the gateway's max_head")


def parse_request_line(line: bytes, limits: HeadLimits) -> tuple[bytes, bytes, int]:
    """Method, target and minor version of a request line (RFC 9112 section 3).

    Raises `ExchangeError` for anything but `METHOD SP target SP HTTP/1.x`, with the status that says why.
    """
    if len(line) > limits.line:
        raise limits.long_line()
    known = _known_lines.get(line)
    if known is not None:
        return known
    if line.translate(None, _TARGET_BYTES) != b"  ":
        raise ExchangeError(errors.REQUEST_LINE)
    method, target, version = line.split(b" ")
    if method not in _KNOWN_METHODS:
        _check_method(method)
    if not target:
        raise ExchangeError(errors.REQUEST_LINE, "empty target")
    if version == b"HTTP/1.1":
        minor = 1
    elif version == b"HTTP/1.0":
        minor = 0
    else:
        if not _VERSION.fullmatch(version):
            raise ExchangeError(errors.REQUEST_LINE)
        raise ExchangeError(errors.VERSION, _HTTP2 if version == b"HTTP/2.0" else "")
    if b"%" in target or b"/." in target or b"\\" in target:
        _check_path(target)
        if has_dot_segment(target):
            if not limits.dots:
                raise ExchangeError(errors.TARGET_PATH)
            return method, target, minor  # not remembered: other settings would refuse it
    if len(line) <= _LONGEST_REMEMBERED:
        _known_lines.remember(line, (method, target, minor))
    return method, target, minor


def _check_method(method: bytes) -> None:
    if method in _REFUSED_METHODS:
        raise ExchangeError(errors.METHOD, method.decode())
    if not _METHOD.fullmatch(method):
        raise ExchangeError(errors.REQUEST_LINE, "method")


def _check_path(target: bytes) -> None:
    """Refuse a path that the gateway and the application might decode to different places."""
    if _BAD_ESCAPE.search(target.partition(b"?")[0]):
        raise ExchangeError(errors.TARGET_PATH)


def resolve_target(
    method: bytes, target: bytes, minor: int, host: bytes | None, *, chunked: bool
) -> tuple[bytes, bytes | None]:
    """The target without an authority, and the host it names (RFC 9112 section 3.2), once line and fields are known.

    Absolute-form must agree with Host: with two names a request could reach the wrong site. Only an HTTP/1.0 client may
    omit Host, and only an HTTP/1.1 client may use chunks (RFC 9112 section 6.1).
    """
    if minor == 0 and chunked:
        raise ExchangeError(errors.TRANSFER_ENCODING, "in HTTP/1.0")
    if minor and host is None:
        raise ExchangeError(errors.HOST, "missing")
    if target[0] != SLASH and not (target == b"*" and method == b"OPTIONS"):
        target, scheme, authority = _split_absolute(method, target)
        if host is not None and not is_same_host(authority, host, scheme):
            raise ExchangeError(errors.HOST, "differs from the target's authority")
        host = authority.text
    return target, host


def is_same_host(authority: Authority, host: bytes, scheme: bytes) -> bool:
    """Whether a valid Host field names this authority (RFC 9110 section 4.2.3)."""
    named = AUTHORITIES[host]
    return named is not None and authority.same_as(named, scheme)


def _split_absolute(method: bytes, target: bytes) -> tuple[bytes, bytes, Authority]:
    """An absolute-form target without its authority: a path, or `*` (RFC 9112 section 3.2.4); and the authority."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise ExchangeError(errors.TARGET)
    scheme, named, rest = absolute.groups()
    authority = AUTHORITIES[named]
    if authority is None:
        raise ExchangeError(errors.HOST, "in the target")
    if not rest and method == b"OPTIONS":
        return b"*", scheme.lower(), authority
    if rest[:1] != b"/":
        rest = b"/" + rest
    return rest, scheme.lower(), authority
