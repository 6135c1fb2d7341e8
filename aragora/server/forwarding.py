"""What a request tells of the way it came: whether a proxy handed it on, and which clients that proxy names."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

# Fields in which proxies, tunnels and content networks name the client, as WSGI calls them.
CLIENT_FIELDS = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_REAL_IP",
    "HTTP_FORWARDED",
    "HTTP_X_CLIENT_IP",
    "HTTP_X_CLUSTER_CLIENT_IP",
    "HTTP_X_ORIGINAL_FORWARDED_FOR",
    "HTTP_TRUE_CLIENT_IP",
    "HTTP_CF_CONNECTING_IP",
    "HTTP_CF_CONNECTING_IPV6",
    "HTTP_FASTLY_CLIENT_IP",
    "HTTP_FLY_CLIENT_IP",
)
# A gateway on a Unix socket knows no client's address, and still leaves one of these.
_MARKS = (*CLIENT_FIELDS, "HTTP_VIA", "HTTP_X_REQUEST_ID")
_MARK_PREFIX = "HTTP_X_FORWARDED_"
_SEPARATORS = re.compile(r'[\s,;="]+')


def is_forwarded(environ: Mapping[str, Any]) -> bool:
    """Whether anything says that a proxy handed the request on; without such a mark its sender is the client."""
    return any(name in environ for name in _MARKS) or any(name.startswith(_MARK_PREFIX) for name in environ)


def names_global_client(environ: Mapping[str, Any]) -> bool:
    """Whether a proxy names a client that has an address of the internet (RFC 7239 section 6, and what came before)."""
    words = (word for name in CLIENT_FIELDS for word in _SEPARATORS.split(environ.get(name, "")))
    return any(is_global(word) for word in words)


def is_global(text: str) -> bool:
    """Whether `text` is an address that the internet routes; a port, brackets and a zone may stand with it."""
    address = _address(text) or _address(text.rpartition(":")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_global
    return address is not None and address.is_global


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
