"""Field sections, compressed (RFC 7541): a decoder and an encoder, each with the table of one direction.

Both remember their own output. A client that repeats its fields sends the same few bytes again, and most responses
repeat those before them: as long as the table has not changed in between, the same bytes mean the same fields and the
other way round.
"""

from typing import Final

from proxy.wire.h2 import huffman
from proxy.wire.h2.faults import ConnectionFault, ErrorCode, compression_fault
from proxy.wire.h2.tables import LAST_STATIC, OVERHEAD, STATIC, TABLE_SIZE, DynamicTable, Field, Section, entry_size
from proxy.wire.memo import BoundedMemo

_INDEXED: Final = 0x80
_INDEXING: Final = 0x40
_SIZE_UPDATE: Final = 0x20
_NEVER: Final = 0x10
_PLAIN: Final = 0x00
_HUFFMAN: Final = 0x80

_LONGEST_INTEGER: Final = 4
"""Bytes behind the prefix of an integer: 28 bits, far more than any index or length can be (RFC 7541 section 5.1)."""

_MOST_SECTIONS: Final = 16
_LONGEST_BLOCK: Final = 512
_MOST_FIELDS: Final = 64
"""A few bytes may stand for many fields: such a section is not remembered."""


class Decoder:
    """Decodes the sections that a peer sends, in their order. `most` bounds a section's size, in bytes.

    Every failure is one of the connection (RFC 9113 section 4.3): `ConnectionFault`.
    """

    __slots__ = ("_allowed", "_known", "_most", "_table")

    def __init__(self, most: int) -> None:
        self._most = most
        self._table = DynamicTable(TABLE_SIZE)
        self._allowed = TABLE_SIZE
        self._known: dict[bytes, Section] = {}

    def allow(self, size: int) -> None:
        """The peer has acknowledged this SETTINGS_HEADER_TABLE_SIZE.

        If it is less than the table's size, the next section begins with a smaller one (RFC 7541 section 4.2).
        """
        self._allowed = size
        self._known.clear()

    def decode(self, block: bytes) -> Section:
        """The fields that a block stands for."""
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            start = self._update_size(block)
            section, changed = self._read_fields(block, start)
        except IndexError:  # of the block: an index into a table is compared before it is used
            raise compression_fault("a block that ends too early") from None
        size = OVERHEAD * len(section)
        for name, value in section:
            size += len(name) + len(value)
        if size > self._most:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"a field section of {size} bytes")
        if changed:
            self._known.clear()
        elif not start and len(block) <= _LONGEST_BLOCK and len(section) <= _MOST_FIELDS:
            if len(self._known) >= _MOST_SECTIONS:
                self._known.clear()
            self._known[block] = section
        return section

    def _update_size(self, block: bytes) -> int:
        """Take note of the table's new sizes, which may precede the fields; where these begin."""
        position = 0
        table = self._table
        while position < len(block) and block[position] & 0xE0 == _SIZE_UPDATE:
            size, position = _read_integer(block, position, 0x1F)
            if size > self._allowed:
                raise compression_fault("a table larger than allowed")
            table.resize(size)
            self._known.clear()
        if table.limit > self._allowed:
            raise compression_fault("a table that was not made smaller")
        return position

    def _read_fields(self, block: bytes, position: int) -> tuple[Section, bool]:
        """The fields from a position on, and whether the table has changed."""
        end = len(block)
        table = self._table
        entries = table.entries
        fields: list[Field] = []
        changed = False
        while position < end:
            byte = block[position]
            if byte & _INDEXED:
                if byte == 0xFF:
                    index, position = _read_integer(block, position, 0x7F)
                else:
                    index = byte & 0x7F
                    position += 1
                if 0 < index <= LAST_STATIC:
                    fields.append(STATIC[index - 1])
                elif LAST_STATIC < index <= LAST_STATIC + len(entries):
                    fields.append(entries[index - LAST_STATIC - 1])
                else:
                    raise compression_fault("an index beyond the table")
            elif byte & _INDEXING:
                field, position = self._read_literal(block, position, 0x3F)
                table.add(field)
                fields.append(field)
                changed = True
            elif byte & _SIZE_UPDATE:
                raise compression_fault("a change of the table's size behind a field")
            else:
                field, position = self._read_literal(block, position, 0x0F)
                fields.append(field)
        return tuple(fields), changed

    def _read_literal(self, block: bytes, position: int, mask: int) -> tuple[Field, int]:
        """A field whose name may be an index, and whose value is a string; and where the next one begins."""
        index, position = _read_integer(block, position, mask)
        if not index:
            name, position = _read_string(block, position)
        elif index <= LAST_STATIC:
            name = STATIC[index - 1][0]
        elif index <= LAST_STATIC + len(self._table.entries):
            name = self._table.entries[index - LAST_STATIC - 1][0]
        else:
            raise compression_fault("an index beyond the table")
        value, position = _read_string(block, position)
        return (name, value), position


def _read_integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    """The integer whose prefix are a byte's bits in `mask`, and what follows it (RFC 7541 section 5.1)."""
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    for shift in range(0, 7 * _LONGEST_INTEGER, 7):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise compression_fault("an integer that is too long")


def _read_string(block: bytes, position: int) -> tuple[bytes, int]:
    """The string that begins there, and what follows it (RFC 7541 section 5.2)."""
    compressed = block[position] & _HUFFMAN
    length, start = _read_integer(block, position, 0x7F)
    end = start + length
    data = block[start:end]
    if end > len(block):
        raise compression_fault("a string longer than its block")
    if not compressed:
        return data, end
    decoded = huffman.decode(data)
    if decoded is None:
        raise compression_fault("a string in another code than Huffman's")
    return decoded, end


# Encoding.


SECRETS: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"})
"""Fields that are kept out of every table, by intermediaries as well (RFC 7541 section 7.1.3)."""

_UNSTEADY: Final = frozenset(
    {
        b":path",
        b"age",
        b"content-length",
        b"content-range",
        b"etag",
        b"if-modified-since",
        b"if-none-match",
        b"last-modified",
        b"location",
    }
)
"""Their values belong to one resource: in a table they would only push out what is said of all."""

_MOST_NUMBERS: Final = 2 * TABLE_SIZE // OVERHEAD
_LONGEST_LITERAL: Final = 256

_INDICES: Final = {field: index for index, field in enumerate(STATIC, 1)}
_NAME_INDICES: Final = {name: index for index, (name, _) in reversed(list(enumerate(STATIC, 1)))}


def _integer(pattern: int, mask: int, value: int) -> bytes:
    """An integer in a byte's bits in `mask`, beside `pattern`, and in as many bytes more as it needs."""
    if value < mask:
        return bytes([pattern | value])
    encoded = bytearray([pattern | mask])
    value -= mask
    while value > 0x7F:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _string(data: bytes) -> bytes:
    """A string in the shorter of its two forms."""
    compressed = huffman.encode(data)
    if len(compressed) < len(data):
        return _integer(_HUFFMAN, 0x7F, len(compressed)) + compressed
    return _integer(0, 0x7F, len(data)) + data


_REFERENCES: Final = [_integer(_INDEXED, 0x7F, index) for index in range(LAST_STATIC + 1 + TABLE_SIZE // OVERHEAD)]
"""What stands for a field in a table, by its index."""


class _Literal:
    """What stands for a field that is in no dynamic table: the same on every connection.

    `plain` leaves the table as it is; `indexing` adds the field to it, and is empty where that is of no use.
    """

    __slots__ = ("indexing", "plain")

    def __init__(self, plain: bytes, indexing: bytes) -> None:
        self.plain = plain
        self.indexing = indexing


_literals: Final[BoundedMemo[Field, _Literal]] = BoundedMemo(1024)
"""Those of fields that were sent before, on any connection. Emptied when full."""


def _encode_first(field: Field) -> bytes:
    """What stands for a field that was not sent before; it is remembered, unless it is a secret or long."""
    name, value = field
    index = _NAME_INDICES.get(name, 0)
    rest = (b"" if index else _string(name)) + _string(value)
    if name in SECRETS:
        return _integer(_NEVER, 0x0F, index) + rest
    if field in _INDICES:
        literal = _Literal(_REFERENCES[_INDICES[field]], b"")
    else:
        indexing = b"" if name in _UNSTEADY else _integer(_INDEXING, 0x3F, index) + rest
        literal = _Literal(_integer(_PLAIN, 0x0F, index) + rest, indexing)
    if len(name) + len(value) <= _LONGEST_LITERAL:
        _literals.remember(field, literal)
    return literal.plain


class Encoder:
    """Encodes the sections that go to a peer, in their order.

    A field that was never sent before, on any connection, may never come again: it joins the table the second time.
    """

    __slots__ = ("_added", "_announced", "_known", "_least", "_numbers", "_table")

    def __init__(self) -> None:
        self._table = DynamicTable(TABLE_SIZE)
        self._added = 0  # fields that the table has been given so far
        self._numbers: dict[Field, int] = {}
        """The number of each of them; those that have left the table are cleared away now and then."""
        self._announced = TABLE_SIZE  # the size that the peer knows of
        self._least = TABLE_SIZE  # the smallest that the table has had since then
        self._known: dict[int, tuple[Section, bytes]] = {}
        """Sections by their identity, which is theirs alone as long as they are held here; and their blocks."""

    def allow(self, size: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE. What changes is announced before the next section."""
        size = min(size, TABLE_SIZE)
        self._table.resize(size)
        self._least = min(self._least, size)
        self._known.clear()

    def encode(self, section: Section) -> bytes:
        """The block that stands for a section."""
        known = self._known.get(id(section))
        if known is not None:
            return known[1]
        pieces = self._size_updates()
        steady = not pieces  # whether the same section means the same block the next time
        for field in section:
            number = self._numbers.get(field)
            if number is not None and self._added - number < len(self._table.entries):
                pieces.append(_REFERENCES[LAST_STATIC + 1 + self._added - number])
                continue
            literal = _literals.get(field)
            if literal is None:
                pieces.append(_encode_first(field))
                steady = False
            elif literal.indexing and self._add(field):
                pieces.append(literal.indexing)
                steady = False
            else:
                pieces.append(literal.plain)
        block = b"".join(pieces)
        if steady:
            if len(self._known) >= _MOST_SECTIONS:
                self._known.clear()
            self._known[id(section)] = section, block
        return block

    def _add(self, field: Field) -> bool:
        """Add a field to the table, if it is not larger than that."""
        table = self._table
        if entry_size(field[0], field[1]) > table.limit:
            return False
        table.add(field)
        self._added += 1
        self._numbers[field] = self._added
        self._known.clear()
        if len(self._numbers) > _MOST_NUMBERS:
            oldest = self._added - len(table.entries)
            self._numbers = {field: number for field, number in self._numbers.items() if number > oldest}
        return True

    def _size_updates(self) -> list[bytes]:
        """What the peer has to be told of the table's size (RFC 7541 section 4.2): the smallest it had, and today's."""
        pieces: list[bytes] = []
        if self._least < self._announced:
            self._announced = self._least
            pieces.append(_integer(_SIZE_UPDATE, 0x1F, self._announced))
        limit = self._least = self._table.limit
        if limit != self._announced:
            self._announced = limit
            pieces.append(_integer(_SIZE_UPDATE, 0x1F, limit))
        return pieces
