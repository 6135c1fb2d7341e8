"""Which addresses callers may have us talk to: those of the public internet, and what the settings add.

The lists are our own: what Python takes for global differs from release to release, and has let through addresses that
carry a private one inside (https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry).
"""

import ipaddress
from collections.abc import Iterable, Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Networks = tuple[Network, ...]

_PRIVATE_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' own
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local: the metadata services of clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")  # all that is routed; unique local, link-local and multicast are outside
_PRIVATE_V6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_6TO4 = ipaddress.IPv6Network("2002::/16")


def networks(names: Iterable[str]) -> Networks:
    """The networks of these names, as `10.1.0.0/16` or `fd00::1`; raises ValueError for one that is none."""
    return tuple(ipaddress.ip_network(name, strict=False) for name in names)


def permitted(address: Address, allowed: Networks = ()) -> bool:
    """Whether we may talk to `address`: it is public, or in one of the `allowed` networks."""
    return all(_in(one, allowed) or _public(one) for one in (address, *_inside(address)))


def _in(address: Address, allowed: Networks) -> bool:
    return any(address.version == network.version and address in network for network in allowed)


def _public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _PRIVATE_V4)
    if address.ipv4_mapped is not None or address in _NAT64:
        return True  # the address inside tells
    return address in _GLOBAL_V6 and not any(address in network for network in _PRIVATE_V6)


def _inside(address: Address) -> Iterator[Address]:
    """The IPv4 address that an IPv6 address leads to, where it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
        if address in _NAT64:
            yield ipaddress.IPv4Address(address.packed[12:])
        if address in _6TO4:
            yield ipaddress.IPv4Address(address.packed[2:6])
