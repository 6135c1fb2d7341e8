"""IPv4 addresses that came mapped into IPv6 (RFC 4291 section 2.5.5.2): the same clients under another name."""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def unmapped(address: Address) -> Address:
    """The IPv4 address that is mapped into an IPv6 address; any other address itself."""
    return getattr(address, "ipv4_mapped", None) or address


def unmapped_peer(text: str) -> str:
    """The same for the address of a socket's peer, in the one form in which the kernel gives it."""
    return text.removeprefix("::ffff:") if "." in text else text
