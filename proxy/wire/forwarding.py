"""Forwarding fields: what proxies in front say about the client, which of it is trusted, what the upstream is sent.

What a client says about itself is ignored. A proxy is trusted if its address is, and then only for the last entry of
each field, which that proxy itself wrote; the client's address is found by walking X-Forwarded-For from the right for
as long as trusted proxies wrote the entries, and is what the gateway appends to it.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from proxy.wire.addresses import Address, unmapped
from proxy.wire.authority import AUTHORITIES
from proxy.wire.grammar import QUOTED_STRING, TOKEN, is_token
from proxy.wire.memo import BoundedMemo
from proxy.wire.tracing import well_formed_id

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
ForwardingFields = Sequence[tuple[bytes, bytes]]
"""Lower-cased name and value of each field about the client, in order."""

_MOST_PEERS = 4096
_MOST_HOPS = 32
_LONGEST_CHAIN = 2048
_UNKNOWN = b"unknown"  # RFC 7239 section 6.3, for peers on unix sockets, which have no address
_PORT = re.compile(rb"[1-9][0-9]{0,4}")
_PAIR = TOKEN + rb"=(?:" + TOKEN + rb"|" + QUOTED_STRING + rb")"
_ELEMENT = rb"(?:" + _PAIR + rb")?(?:;(?:" + _PAIR + rb")?)*"
# RFC 7239 section 4. Possessive, so that white space between commas cannot backtrack exponentially.
_FORWARDED = re.compile(_ELEMENT + rb"(?:[ \t]*+,[ \t]*+" + _ELEMENT + rb")*+")

_PARTS = re.compile(rb"(,)|(" + TOKEN + rb")=(" + TOKEN + rb"|" + QUOTED_STRING + rb")")
_SCHEMES = {b"http": b"http", b"https": b"https", b"ws": b"http", b"wss": b"https"}
"""The scheme for each X-Forwarded-Proto; some proxies send ws and wss for WebSocket handshakes."""


class TrustedPeers:
    """Trusted proxies: addresses in these networks and, if `unix`, peers on unix sockets (address "")."""

    def __init__(self, networks: Iterable[Network] = (), *, unix: bool = False) -> None:
        self._networks = tuple(networks)
        self._unix_peers = unix
        self._known: BoundedMemo[str, bool] = BoundedMemo(_MOST_PEERS)

    def __bool__(self) -> bool:
        return bool(self._networks) or self._unix_peers

    def trusts(self, address: str) -> bool:
        """Whether the peer with this IP address is trusted; remembered."""
        known = self._known.get(address)
        if known is None:
            known = self._known.remember(address, within(address, self._networks) if address else self._unix_peers)
        return known


def within(address: str, networks: Iterable[Network]) -> bool:
    """Whether an IP address is in one of the networks; anything else is in none."""
    parsed = parse_node(address.encode("latin-1", "replace"))
    return parsed is not None and any(parsed in network for network in networks)


def parse_node(value: bytes) -> Address | None:
    """The IP address of an X-Forwarded-For entry: bare, with a port, in brackets or with a zone; None if invalid.

    A zone is meaningless on another machine and dropped; an IPv4-mapped address becomes IPv4.
    """
    text = value.strip(b" \t").decode("latin-1")
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not (port.startswith(":") and _PORT.fullmatch(port[1:].encode("latin-1")))):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _PORT.fullmatch(port.encode("latin-1")):
            return None
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0] if ":" in text else text)
    except ValueError:
        return None
    return unmapped(parsed)


def client_address(peer: str, chain: Sequence[bytes], trusted: TrustedPeers) -> str:
    """The client's address: the first entry from the right that is not a trusted proxy.

    `chain` are the entries of X-Forwarded-For. An invalid entry ends the search: the proxy that wrote it is the client.
    """
    client = peer
    for entry in reversed(chain[-_MOST_HOPS:]):
        if not trusted.trusts(client):
            break
        parsed = parse_node(entry)
        if parsed is None:
            break
        client = str(parsed)
    return client


class Origin(NamedTuple):
    """The origin of a request: client address or "", scheme, fields for the upstream, request id if given."""

    client: str
    scheme: bytes
    lines: bytes
    request_id: bytes | None = None


class Arrival(NamedTuple):
    """A connection as accepted: its peer's address ("" on a unix socket), our scheme and port."""

    peer: str
    scheme: bytes
    port: bytes


def origin_of(
    arrival: Arrival, host: bytes | None, forwarding_fields: ForwardingFields, trusted: TrustedPeers, *, forwarded: bool
) -> Origin:
    """The origin of a request, from its forwarding fields as far as trusted; `forwarded` adds RFC 7239's form."""
    if forwarding_fields and trusted.trusts(arrival.peer):
        return _claimed(arrival, host, forwarding_fields, trusted, forwarded=forwarded)
    peer = arrival.peer.partition("%")[0].encode("ascii")
    lines = _lines(peer, peer, arrival.scheme, arrival.port, host)
    if forwarded:
        lines += b"Forwarded: %s\r\n" % _element(arrival.peer, arrival.scheme, host)
    return Origin(arrival.peer, arrival.scheme, lines)


def _claimed(
    arrival: Arrival, host: bytes | None, forwarding_fields: ForwardingFields, trusted: TrustedPeers, *, forwarded: bool
) -> Origin:
    chain = _entries(forwarding_fields, b"x-forwarded-for")
    client = client_address(arrival.peer, chain, trusted)
    said = _last(forwarding_fields, b"x-forwarded-proto") or (b"" if chain else _proto(forwarding_fields))
    scheme = _SCHEMES.get(said.lower(), arrival.scheme)
    authority = AUTHORITIES[_last(forwarding_fields, b"x-forwarded-host")]
    named = authority.text if authority is not None else host or b""
    port = _last(forwarding_fields, b"x-forwarded-port")
    if not _PORT.fullmatch(port):
        port = arrival.port if scheme == arrival.scheme else {b"http": b"80", b"https": b"443"}[scheme]
    found = client.partition("%")[0].encode("ascii")
    # The client, not the peer: an application counts one proxy, the gateway, however many trusted ones are in front.
    hops = b", ".join(_bounded([*chain, found] if found else chain))
    lines = _lines(hops, found, scheme, port, named)
    if forwarded:
        own = _element(arrival.peer, arrival.scheme, host)
        lines += b"Forwarded: %s\r\n" % b", ".join([*_earlier_elements(forwarding_fields, chain), own])
    given = [value for name, value in forwarding_fields if name == b"x-request-id"]
    request_id = given[0] if len(given) == 1 and well_formed_id(given[0]) else None
    return Origin(client, scheme, lines, request_id)


def _lines(hops: bytes, client: bytes, scheme: bytes, port: bytes, host: bytes | None) -> bytes:
    # Always sent: an application that trusts local requests would take one without X-Forwarded-For as local.
    lines = b"X-Forwarded-For: %s\r\nX-Forwarded-Proto: %s\r\nX-Forwarded-Port: %s\r\n" % (
        hops or _UNKNOWN,
        scheme,
        port,
    )
    if client:
        lines += b"X-Real-IP: %s\r\n" % client
    if host:
        lines += b"X-Forwarded-Host: %s\r\n" % host
    return lines


def _entries(forwarding_fields: ForwardingFields, name: bytes) -> list[bytes]:
    """The members of a list field, over all its lines."""
    found = [entry.strip(b" \t") for known, value in forwarding_fields if known == name for entry in value.split(b",")]
    return [entry for entry in found if entry]


def _last(forwarding_fields: ForwardingFields, name: bytes) -> bytes:
    entries = _entries(forwarding_fields, name)
    return entries[-1] if entries else b""


def _bounded(chain: list[bytes]) -> list[bytes]:
    """The newest entries, so that a loop of proxies or a client's forgeries cannot make the head too large."""
    newest = chain[-_MOST_HOPS:]
    while len(newest) > 1 and sum(map(len, newest)) > _LONGEST_CHAIN:
        del newest[0]
    return newest


def _earlier_elements(forwarding_fields: ForwardingFields, chain: list[bytes]) -> list[bytes]:
    """The elements before our own: the peer's X-Forwarded-For in RFC 7239's form, else its Forwarded.

    Most proxies write only the first and pass a client's forged Forwarded through.
    """
    if not chain:
        joined = _forwarded(forwarding_fields)
        return [joined] if joined else []
    nodes = [parse_node(entry) for entry in chain[-_MOST_HOPS:]]
    return [b"for=" + _node(str(node) if node is not None else "") for node in nodes]


def _forwarded(forwarding_fields: ForwardingFields) -> bytes:
    """All Forwarded fields as one list; nothing if they are malformed or too long."""
    joined = b", ".join(value for name, value in forwarding_fields if name == b"forwarded")
    return joined if len(joined) <= _LONGEST_CHAIN and _FORWARDED.fullmatch(joined) else b""


def _proto(forwarding_fields: ForwardingFields) -> bytes:
    """The scheme in the last element of Forwarded, which the peer wrote (RFC 7239 section 5.4)."""
    found = b""
    for comma, name, value in _PARTS.findall(_forwarded(forwarding_fields)):
        if comma:
            found = b""
        elif name.lower() == b"proto":
            found = value.strip(b'"')
    return found


def _node(address: str) -> bytes:
    """An address as RFC 7239 section 6 writes it."""
    if not address:
        return _UNKNOWN
    bare = address.partition("%")[0]
    return f'"[{bare}]"'.encode("ascii") if ":" in bare else bare.encode("ascii")


def _element(peer: str, scheme: bytes, host: bytes | None) -> bytes:
    element = b"for=%s;proto=%s" % (_node(peer), scheme)
    if host:
        element += b";host=" + (host if is_token(host) else b'"%s"' % host)
    return element
