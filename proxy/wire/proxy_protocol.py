"""The PROXY protocol, versions 1 and 2: a header with the client's address before the first byte of a connection.

Version 1 is one line of text, version 2 a binary header (HAProxy's specification, sections 2.1 and 2.2). Parsing is
strict and bounded. Extensions of version 2 are skipped, except the checksum, which must be correct if present.
"""

import ipaddress
import re
from dataclasses import dataclass

from proxy.wire.addresses import Address, unmapped

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAX_V1 = 107
"""Bytes of the longest line of version 1, including its end."""

MAX_V2 = 4096
"""Bytes of the longest accepted header of version 2: the addresses, and room for extensions."""

_PREFIX = b"PROXY "
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_HEAD = 16
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_SIZES = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX: 216}
_CHECKSUM = 0x03


class ProxyHeaderError(ValueError):
    """An invalid PROXY protocol header; the argument says why."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Both ends of the connection that the sender accepted, each with IP address and port."""

    source: str
    source_port: int
    destination: str
    destination_port: int


def parse_header(data: bytes) -> tuple[Endpoints | None, int] | None:
    """The endpoints a header names and its length in bytes; None while it is incomplete.

    No endpoints: the connection is the sender's own (version 2 LOCAL, a health check), they are unknown (UNKNOWN,
    UNSPEC), or it came by a unix socket; the sender's address then counts. Raises `ProxyHeaderError`.
    """
    if data.startswith(SIGNATURE[: len(data)]):
        return _parse_v2(data)
    if data.startswith(_PREFIX[: len(data)]):
        return _parse_v1(data)
    raise ProxyHeaderError("neither version 1 nor 2")


def _parse_v1(data: bytes) -> tuple[Endpoints | None, int] | None:
    end = data.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        if len(data) >= MAX_V1 or b"\n" in data or b"\r" in data[:-1]:
            raise ProxyHeaderError("line of version 1")
        return None
    words = data[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return None, end + 2
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise ProxyHeaderError("line of version 1")
    kind = ipaddress.IPv4Address if words[1] == b"TCP4" else ipaddress.IPv6Address
    source, destination = (_text_address(word, kind) for word in words[2:4])
    source_port, destination_port = (_text_port(word) for word in words[4:])
    return Endpoints(source, source_port, destination, destination_port), end + 2


def _text_address(word: bytes, kind: type[Address]) -> str:
    try:
        if b"%" in word:
            raise ProxyHeaderError("address with a zone")
        return str(unmapped(kind(word.decode("ascii"))))
    except ValueError:
        raise ProxyHeaderError("address") from None


def _text_port(word: bytes) -> int:
    if not _PORT.fullmatch(word) or int(word) > 65535:
        raise ProxyHeaderError("port")
    return int(word)


def _parse_v2(data: bytes) -> tuple[Endpoints | None, int] | None:
    if len(data) < _HEAD:
        return None
    command, family = data[12], data[13]
    end = _HEAD + int.from_bytes(data[14:_HEAD], "big")
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("version or command")
    if end > MAX_V2:
        raise ProxyHeaderError(f"over {MAX_V2} bytes")
    if command == _PROXY and family not in _SIZES:
        raise ProxyHeaderError("address family")
    if len(data) < end:
        return None
    if command == _LOCAL:
        return None, end
    size = _SIZES[family]
    if end - _HEAD < size:
        raise ProxyHeaderError("addresses cut short")
    _check_extensions(data[:end], _HEAD + size)
    return _binary_endpoints(data[_HEAD : _HEAD + size], family), end


def _binary_endpoints(block: bytes, family: int) -> Endpoints | None:
    if family not in (_TCP4, _TCP6):
        return None
    size = 4 if family == _TCP4 else 16
    source, destination = (str(unmapped(ipaddress.ip_address(block[at : at + size]))) for at in (0, size))
    ports = [int.from_bytes(block[at : at + 2], "big") for at in (2 * size, 2 * size + 2)]
    return Endpoints(source, ports[0], destination, ports[1])


def _check_extensions(header: bytes, at: int) -> None:
    """Walk the type-length-value entries from `at` to the end, and verify a checksum among them."""
    while at < len(header):
        end = at + 3 + int.from_bytes(header[at + 1 : at + 3], "big")
        if at + 3 > len(header) or end > len(header):
            raise ProxyHeaderError("extension cut short")
        if header[at] == _CHECKSUM:
            checksum = header[at + 3 : end]
            blanked = header[: at + 3] + bytes(len(checksum)) + header[end:]
            if checksum != crc32c(blanked).to_bytes(4, "big"):
                raise ProxyHeaderError("checksum")
        at = end


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum (RFC 3720 appendix B.4)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _CRC_TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def header(version: str, endpoints: Endpoints | None) -> bytes:
    """The header of a connection for one client, or for none; `version` is v1, v2 or off."""
    if version == "off":
        return b""
    return make_v1(endpoints) if version == "v1" else make_v2(endpoints)


def endpoints_of(client: str, peer: object, own: object) -> Endpoints | None:
    """The endpoints for the header of a client whose connection is between the socket names `peer` and `own`.

    Unknown values are 0: the port of a client behind another proxy, or where a client on a unix socket arrived.
    """
    if not client:
        return None
    source = str(unmapped(ipaddress.ip_address(client.partition("%")[0])))
    port = peer[1] if isinstance(peer, tuple) and peer[0] == client else 0
    if not isinstance(own, tuple):
        return Endpoints(source, port, "::" if ":" in source else "0.0.0.0", 0)
    return Endpoints(source, port, str(unmapped(ipaddress.ip_address(own[0].partition("%")[0]))), own[1])


def make_v1(endpoints: Endpoints | None) -> bytes:
    """A line of version 1, for UNKNOWN without endpoints."""
    if endpoints is None:
        return b"PROXY UNKNOWN\r\n"
    source, destination = _one_family(endpoints)
    line = f"PROXY TCP{source.version} {source} {destination} {endpoints.source_port} {endpoints.destination_port}\r\n"
    return line.encode("ascii")


def make_v2(endpoints: Endpoints | None) -> bytes:
    """A header of version 2, LOCAL without endpoints."""
    if endpoints is None:
        return SIGNATURE + bytes([_LOCAL, _UNSPECIFIED, 0, 0])
    source, destination = _one_family(endpoints)
    block = source.packed + destination.packed
    block += endpoints.source_port.to_bytes(2, "big") + endpoints.destination_port.to_bytes(2, "big")
    family = _TCP4 if source.version == 4 else _TCP6
    return SIGNATURE + bytes([_PROXY, family]) + len(block).to_bytes(2, "big") + block


def _one_family(endpoints: Endpoints) -> tuple[Address, Address]:
    """Both addresses packed for the header: if one is IPv6, the other is mapped into it."""
    source, destination = ipaddress.ip_address(endpoints.source), ipaddress.ip_address(endpoints.destination)
    if source.version == destination.version:
        return source, destination
    return _mapped(source), _mapped(destination)


def _mapped(address: Address) -> Address:
    return address if address.version == 6 else ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
