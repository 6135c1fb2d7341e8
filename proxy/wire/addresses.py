"""IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2): another spelling of IPv4 clients."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def unmapped(address: Address) -> Address:
    """The IPv4 address that is mapped into an IPv6 address; any other address itself."""
    return getattr(address, "ipv4_mapped", None) or address


def unmapped_peer(text: str) -> str:
    """The same for the text of a socket's peer address, in the one form that the kernel uses."""
    return text.removeprefix("::ffff:") if "." in text else text
