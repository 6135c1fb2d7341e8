"""What limits count by: 53-bit hashes, so that no address or credential of a client lies in shared memory.

The secret differs from start to start: nobody can choose values that fall together.
"""

import ipaddress
from hashlib import blake2b

from proxy.wire.addresses import unmapped
from proxy.wire.memo import BoundedMemo

_MOST_CLIENTS = 8192


def network_of(address: str) -> str:
    """The client an IP address stands for: itself, or its /64 network for IPv6, of which one customer has all.

    An IPv4 address mapped into IPv6 is the IPv4 one; what is no address (a unix socket's peer is "") stays as it is.
    """
    if ":" not in address:
        return address
    try:
        parsed = unmapped(ipaddress.IPv6Address(address))
    except ValueError:
        return address
    return str(parsed if parsed.version == 4 else ipaddress.IPv6Address(int(parsed) >> 64 << 64))


class Keys:
    """Keys of one family (a route's rate limit, say), remembered: the same clients come again and again."""

    def __init__(self, secret: bytes, family: str) -> None:
        self._state = blake2b(family.encode() + b"\0", digest_size=8, key=secret)
        self._clients: BoundedMemo[str, int] = BoundedMemo(_MOST_CLIENTS)

    def of_client(self, address: str) -> int:
        """The key of a client's address (of its /64 for IPv6)."""
        key = self._clients.get(address)
        if key is None:
            key = self._clients.remember(address, self.of_value(b"a" + network_of(address).encode()))
        return key

    def of_value(self, value: bytes) -> int:
        """The key of any other value; never 0, which marks an empty place, and such that a float holds it exactly."""
        state = self._state.copy()
        state.update(value)
        return int.from_bytes(state.digest(), "little") >> 11 or 1
