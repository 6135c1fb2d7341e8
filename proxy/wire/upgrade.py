"""Which protocols clients may upgrade their connections to (RFC 9110 section 7.8), and whether an upstream has agreed.

An upstream is asked for one protocol: the first that the client offers and the route permits. Other versions of HTTP,
and TLS, are never among them: inside those a client could make requests past every rule of the gateway.
"""

from collections.abc import Iterable
from typing import Final

from proxy.wire.fields import websocket_accept
from proxy.wire.request import RequestFields
from proxy.wire.response import ResponseHead

WEBSOCKET: Final = b"websocket"
ANY: Final = "*"

WITH_REQUESTS: Final = frozenset({b"http", b"h2", b"h2c", b"h3", b"tls"})
"""Names of protocols, without their versions, that carry requests of HTTP."""


class Upgrades:
    """The protocols that a route permits: lower-case names, with or without a version; `*` is any."""

    __slots__ = ("_any", "_names")

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower().encode() for name in names)
        self._any = ANY.encode() in self._names

    def choose(self, fields: RequestFields) -> bytes:
        """The protocol to ask the upstream for, as the client spells it; empty if it offers none that is permitted."""
        for offered in fields.upgrades:
            protocol = offered.lower()
            name = protocol.partition(b"/")[0]
            if name == WEBSOCKET:  # only with the fields of its handshake
                if protocol == name and fields.websocket and (self._any or name in self._names):
                    return WEBSOCKET
            elif name not in WITH_REQUESTS and (self._any or name in self._names or protocol in self._names):
                return offered
        return b""


WEBSOCKETS: Final = Upgrades(["websocket"])


def fault_of_switch(protocol: bytes, fields: RequestFields, response: ResponseHead, *, whole: bool) -> str:
    """What is wrong with a 101 to a request for `protocol`, empty if nothing is; `whole`: all of the request was sent.

    RFC 9110 sections 7.8 and 15.2.2.
    """
    if not protocol:
        return "a 101 to a request without Upgrade"
    if not whole:
        return "a 101 before the whole request was sent"
    if response.upgrade != protocol.lower():
        return "Upgrade differs"
    if protocol == WEBSOCKET and response.websocket_accept != websocket_accept(fields.websocket_key or b""):
        return "Sec-WebSocket-Accept differs"
    return ""
