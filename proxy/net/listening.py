"""Whether a socket of this machine accepts connections at an address, found out without connecting to it."""

import ipaddress
import sys
from collections.abc import Iterator
from pathlib import Path

from proxy.settings.values import Address

_TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_LISTEN = "0A"


def fault(address: Address) -> str:
    """Why a connection to `address` would be refused at this moment, or "" if that is not known.

    Only loopback addresses and unix sockets are looked at, and ports only where the kernel has /proc.
    """
    if address.path:
        return "" if address.path.startswith("@") or Path(address.path).is_socket() else "no such socket"
    if not address.loopback:
        return ""
    own = ipaddress.ip_address(address.host)
    try:
        takes = any(port == address.port and _takes(listener, own) for listener, port in _listeners())
    except (OSError, ValueError):
        return ""
    return "" if takes else "nothing listens there"


def _takes(listener: ipaddress.IPv4Address | ipaddress.IPv6Address, own: object) -> bool:
    mapped = getattr(listener, "ipv4_mapped", None)
    return listener.is_unspecified or own in (listener, mapped)


def _listeners() -> Iterator[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Address and port of each listening TCP socket (proc_net_tcp of the kernel's documentation)."""
    for table in _TABLES:
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state != _LISTEN:
                continue
            host, _, port = local.partition(":")
            words = (host[at : at + 8] for at in range(0, len(host), 8))
            packed = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
            yield ipaddress.ip_address(packed), int(port, 16)
