"""The keys of limits: 53-bit hashes, so that shared memory has no client's address or credential.

The secret is new at each start, so clients cannot construct collisions.
"""

import ipaddress
from hashlib import blake2b

from proxy.wire.addresses import unmapped
from proxy.wire.memo import BoundedMemo

_MOST_CLIENTS = 8192


def network_of(address: str) -> str:
    """The client that an IP address stands for: itself, or for IPv6 its /64 network, which belongs to one customer.

    An IPv4 address mapped into IPv6 counts as IPv4; anything else ("" for a unix socket) is returned unchanged.
    """
    if ":" not in address:
        return address
    try:
        parsed = unmapped(ipaddress.IPv6Address(address))
    except ValueError:
        return address
    return str(parsed if parsed.version == 4 else ipaddress.IPv6Address(int(parsed) >> 64 << 64))


class Keys:
    """Keys of one family, such as a route's rate limit. Remembered, since clients recur."""

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
        """The key of any other value; never 0, which marks an empty place, and exactly representable as a float."""
        state = self._state.copy()
        state.update(value)
        return int.from_bytes(state.digest(), "little") >> 11 or 1
