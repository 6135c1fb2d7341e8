"""Which requests of a route go to a new target that only a part of its clients are to see."""

from collections.abc import Collection
from hashlib import blake2b
from typing import Final, Protocol

from proxy.wire.fields import cookie_value
from proxy.wire.request import RequestFields


class Requested(Protocol):
    """A request, as far as the choice depends on it."""

    client: str
    fields: RequestFields


class Share:
    """A share of the clients, always the same ones: by a cookie's value, and so many of a hundred by their address."""

    def __init__(self, name: str, percent: int, cookie: str, values: Collection[str]) -> None:
        """`name` is the route's: the shares of two routes are different clients."""
        self._name: Final = name.encode()
        self._percent: Final = percent
        self._cookie: Final = cookie.encode()
        self._values: Final = frozenset(value.encode() for value in values)

    def has(self, request: Requested) -> bool:
        """Whether this request's client is among them."""
        if self._cookie and cookie_value(request.fields.lines, self._cookie) in self._values:
            return True
        if not self._percent:
            return False
        digest = blake2b(self._name + b"\0" + request.client.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % 100 < self._percent
