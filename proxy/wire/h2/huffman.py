"""The Huffman code of HPACK's strings (RFC 7541 section 5.2 and appendix B).

The code is canonical: the lengths of its codes tell all of it. Decoding takes a byte at a time. What a byte means
depends on the bits that were left of the code before it, the node of the tree that they lead to:

    row of a node    byte  ->  the symbols it completes, and the node that its last bits lead to

A row is made when it is needed first: text touches some 50 of the 256.
"""

from collections.abc import Iterator
from typing import Final

_LENGTHS: Final[dict[int, bytes]] = {
    5: b"012aceiost",
    6: b" %-./3456789=A_bdfghlmnpru",
    7: b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
    8: b"&*,;XZ",
    10: b'!"()?',
    11: b"'+|",
    12: b"#>",
    13: b"\x00$@[]~",
    14: b"^}",
    15: b"<`{",
    19: b"\\\xc3\xd0",
    20: b"\x80\x82\x83\xa2\xb8\xc2\xe0\xe2",
    21: b"\x99\xa1\xa7\xac\xb0\xb1\xb3\xd1\xd8\xd9\xe3\xe5\xe6",
    22: b"\x81\x84\x85\x86\x88\x92\x9a\x9c\xa0\xa3\xa4\xa9\xaa\xad\xb2\xb5\xb9\xba\xbb\xbd\xbe\xc4\xc6\xe4\xe8\xe9",
    23: b"\x01\x87\x89\x8a\x8b\x8c\x8d\x8f\x93\x95\x96\x97\x98\x9b\x9d\x9e\xa5\xa6\xa8\xae\xaf\xb4\xb6\xb7\xbc\xbf\xc5"
    b"\xe7\xef",
    24: b"\t\x8e\x90\x91\x94\x9f\xab\xce\xd7\xe1\xec\xed",
    25: b"\xc7\xcf\xea\xeb",
    26: b"\xc0\xc1\xc8\xc9\xca\xcd\xd2\xd5\xda\xdb\xee\xf0\xf2\xf3\xff",
    27: b"\xcb\xcc\xd3\xd4\xd6\xdd\xde\xdf\xf1\xf4\xf5\xf6\xf7\xf8\xfa\xfb\xfc\xfd\xfe",
    28: b"\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x14\x15\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"
    b"\xdc\xf9",
    30: b"\n\r\x16",
}
"""The symbols whose codes have so many bits, in the order of their codes."""

_EOS: Final = 256
"""The symbol that no string contains; its code, 30 ones, is what strings are padded with."""

_ROOT: Final = 0
_FAILED: Final = 256
"""Where a string leads that holds EOS: one behind the inner nodes, of which a code of 257 symbols has 256."""

_LONGEST_PADDING: Final = 7

_Step = tuple[bytes, int]
"""The symbols that a byte completes, and the node that its last bits lead to."""


def _codes() -> Iterator[tuple[int, str]]:
    """Each symbol with its code, as bits."""
    code = before = 0
    for length, symbols in _LENGTHS.items():
        code <<= length - before
        before = length
        for symbol in symbols:
            yield symbol, f"{code:0{length}b}"
            code += 1
    yield _EOS, "1" * before


def _tree(codes: dict[int, str]) -> list[list[int]]:
    """The inner nodes, each with its two children: an inner node's number, or the complement of a symbol's."""
    nodes = [[_ROOT, _ROOT]]
    for symbol, code in codes.items():
        node = _ROOT
        for bit in code[:-1]:
            children = nodes[node]
            if children[int(bit)] == _ROOT:
                children[int(bit)] = len(nodes)
                nodes.append([_ROOT, _ROOT])
            node = children[int(bit)]
        nodes[node][int(code[-1])] = ~symbol
    return nodes


_CODES: Final = dict(_codes())
_NODES: Final = _tree(_CODES)
_BITS: Final = [_CODES[symbol] for symbol in range(256)]


def _padding() -> frozenset[int]:
    """The nodes that may be left at the end of a string: no more than seven ones lead there."""
    node = _ROOT
    found = {node}
    for _ in range(_LONGEST_PADDING):
        node = _NODES[node][1]
        found.add(node)
    return frozenset(found)


_ENDS: Final = _padding()


def _step(node: int, byte: int) -> _Step:
    symbols = bytearray()
    for shift in range(7, -1, -1):
        node = _NODES[node][byte >> shift & 1]
        if node < 0:
            if ~node == _EOS:
                return b"", _FAILED
            symbols.append(~node)
            node = _ROOT
    return bytes(symbols), node


_rows: Final[list[list[_Step]]] = [[] for _ in _NODES]
_rows.append([(b"", _FAILED)] * 256)


def _row(node: int) -> list[_Step]:
    row = _rows[node] = [_step(node, byte) for byte in range(256)]
    return row


def decode(data: bytes) -> bytes | None:
    """The string that was encoded, or None if it holds EOS or is padded with anything but up to seven ones."""
    decoded: list[bytes] = []
    append = decoded.append
    rows = _rows
    node = _ROOT
    for byte in data:
        symbols, node = (rows[node] or _row(node))[byte]
        append(symbols)
    return b"".join(decoded) if node in _ENDS else None


def encode(data: bytes) -> bytes:
    """The code of a string, padded to whole bytes."""
    bits = "".join([_BITS[byte] for byte in data])
    bits += "1" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) >> 3, "big")
