"""Field compression: RFC 7541's own examples, its limits, and another implementation at the other end."""

import pytest
from hpack import Decoder as ReferenceDecoder
from hpack import Encoder as ReferenceEncoder
from hpack import HPACKError
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.wire.h2 import hpack as module
from proxy.wire.h2.faults import ConnectionFault, ErrorCode
from proxy.wire.h2.hpack import Decoder, Encoder
from proxy.wire.h2.tables import STATIC, DynamicTable, Field, Section, entry_size

MOST = 65536
START = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")]
SECURE = [(":method", "GET"), (":scheme", "https"), (":path", "/index.html"), (":authority", "www.example.com")]
MOVED = [
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
    ("location", "https://www.example.com"),
]
GZIPPED = [
    (":status", "200"),
    ("cache-control", "private"),
    ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
    ("location", "https://www.example.com"),
    ("content-encoding", "gzip"),
    ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
]
TO_256 = "3fe101"
"""Makes the table as small as the examples have it."""

EXAMPLES: dict[str, list[tuple[str, list[tuple[str, str]]]]] = {
    "C.2.1": [("400a637573746f6d2d6b65790d637573746f6d2d686561646572", [("custom-key", "custom-header")])],
    "C.2.2": [("040c2f73616d706c652f70617468", [(":path", "/sample/path")])],
    "C.2.3": [("100870617373776f726406736563726574", [("password", "secret")])],
    "C.2.4": [("82", [(":method", "GET")])],
    "C.3": [
        ("828684410f7777772e6578616d706c652e636f6d", START),
        ("828684be58086e6f2d6361636865", [*START, ("cache-control", "no-cache")]),
        (
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
            [*SECURE, ("custom-key", "custom-value")],
        ),
    ],
    "C.4": [
        ("828684418cf1e3c2e5f23a6ba0ab90f4ff", START),
        ("828684be5886a8eb10649cbf", [*START, ("cache-control", "no-cache")]),
        ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", [*SECURE, ("custom-key", "custom-value")]),
    ],
    "C.5": [
        (
            TO_256
            + "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
            + "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            [(":status", "302"), *MOVED],
        ),
        ("4803333037c1c0bf", [(":status", "307"), *MOVED]),
        (
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48"
                "514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31"
            ),
            GZIPPED,
        ),
    ],
    "C.6": [
        (
            TO_256
            + "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff"
            + "6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            [(":status", "302"), *MOVED],
        ),
        ("4883640effc1c0bf", [(":status", "307"), *MOVED]),
        (
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960"
                "d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
            ),
            GZIPPED,
        ),
    ],
}


def section(fields: list[tuple[str, str]]) -> Section:
    return tuple((name.encode(), value.encode()) for name, value in fields)


def code_of(block: bytes, decoder: Decoder | None = None) -> ErrorCode:
    with pytest.raises(ConnectionFault) as caught:
        (decoder or Decoder(MOST)).decode(block)
    return caught.value.code


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_rfc(name: str) -> None:
    decoder = Decoder(MOST)
    for block, fields in EXAMPLES[name]:
        assert decoder.decode(bytes.fromhex(block)) == section(fields)


@pytest.mark.parametrize(
    ("encoded", "mask", "value"), [("0a", 0x1F, 10), ("1f9a0a", 0x1F, 1337), ("2a", 0xFF, 42), ("ff00", 0xFF, 255)]
)
def test_integers_of_the_rfc(encoded: str, mask: int, value: int) -> None:
    assert module._integer(0, mask, value) == bytes.fromhex(encoded)
    assert module._read_integer(bytes.fromhex(encoded), 0, mask) == (value, len(encoded) // 2)


@given(st.integers(0, (1 << 28) - 1), st.sampled_from([0x0F, 0x1F, 0x3F, 0x7F]))
def test_integers_come_back(value: int, mask: int) -> None:
    encoded = module._integer(0, mask, value)
    assert module._read_integer(encoded + b"x", 0, mask) == (value, len(encoded))


BROKEN = {
    "index 0": "80",
    "an index beyond the table": "be",
    "a long index beyond the table": "ff20",
    "a name beyond the table": "7f200161",
    "a plain name beyond the table": "0f300161",
    "no value": "41",
    "no name": "40",
    "a value that is cut off": "410561",
    "a name that is cut off": "40056162",
    "an integer that is cut off": "ff",
    "an integer that is cut off later": "ffff",
    "an integer without an end": "ff" * 20,
    "an integer of zeros": "ff8080808000",
    "a length beyond all bounds": "417fffffffff7f61",
    "Huffman with EOS": "4184ffffffff",
    "Huffman with a byte of padding": "4182f1ff",
    "a size over the limit": "3fe21f",
    "a size behind a field": "8220",
    "a size that is cut off": "3f",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_decoded_ends_the_connection(name: str) -> None:
    assert code_of(bytes.fromhex(BROKEN[name])) is ErrorCode.COMPRESSION_ERROR


def test_a_section_that_grows_out_of_few_bytes_is_refused() -> None:
    decoder = Decoder(1000)
    decoder.decode(b"\x40\x01x\x7f\xf5\x05" + b"a" * 884)
    assert code_of(b"\xbe\xbe", decoder) is ErrorCode.ENHANCE_YOUR_CALM
    assert code_of(b"\xbe\xbe", decoder) is ErrorCode.ENHANCE_YOUR_CALM


def test_an_empty_section_is_one() -> None:
    assert Decoder(MOST).decode(b"") == ()
    assert Encoder().encode(()) == b""


def test_the_same_block_means_the_same_until_the_table_changes() -> None:
    decoder = Decoder(MOST)
    decoder.decode(b"\x40\x01a\x01b")
    first = decoder.decode(b"\x82\xbe")
    assert first == ((b":method", b"GET"), (b"a", b"b"))
    assert decoder.decode(b"\x82\xbe") is first
    decoder.decode(b"\x40\x01c\x01d")
    assert decoder.decode(b"\x82\xbe") == ((b":method", b"GET"), (b"c", b"d"))
    decoder.decode(b"\x20")
    assert code_of(b"\x82\xbe", decoder) is ErrorCode.COMPRESSION_ERROR


def test_the_blocks_that_are_remembered_are_few_and_short() -> None:
    decoder = Decoder(MOST)
    for number in range(100):
        decoder.decode(b"\x00\x01a\x03%03d" % number)
    decoder.decode(b"\x00\x01a\x7f\x81\x04" + b"b" * 640)
    decoder.decode(b"\x82" * 65)
    assert len(decoder._known) <= 16
    assert max(map(len, decoder._known)) <= 16


def test_a_size_may_be_said_each_time() -> None:
    decoder = Decoder(MOST)
    for size, encoded in ((0, b"\x20"), (4096, b"\x3f\xe1\x1f"), (100, b"\x3f\x45")):
        assert decoder.decode(encoded + b"\x82") == ((b":method", b"GET"),)
        assert decoder._table.limit == size
        assert decoder.decode(encoded + b"\x82") == ((b":method", b"GET"),)


def test_a_table_that_has_to_shrink_is_said_to_do_so() -> None:
    decoder = Decoder(MOST)
    decoder.decode(b"\x40\x01a\x01b")
    decoder.allow(100)
    assert code_of(b"\xbe", decoder) is ErrorCode.COMPRESSION_ERROR
    assert code_of(b"\x3f\x46\xbe", decoder) is ErrorCode.COMPRESSION_ERROR
    assert decoder.decode(b"\x3f\x45\xbe") == ((b"a", b"b"),)
    assert decoder.decode(b"\xbe") == ((b"a", b"b"),)


def test_a_table_holds_no_more_than_its_limit() -> None:
    table = DynamicTable(100)
    table.add((b"a", b"1" * 30))
    table.add((b"b", b"2"))
    assert [name for name, _ in table.entries] == [b"b", b"a"]
    table.add((b"c", b"3"))
    assert [name for name, _ in table.entries] == [b"c", b"b"]
    table.add((b"d", b"4" * 100))
    assert table.entries == []
    table.add((b"e", b"5"))
    table.resize(33)
    assert table.entries == []


# The encoder.

NAMES = st.sampled_from([name for name, _ in STATIC] + [b"x-a", b"x-b", b"x-request-id", b"server-timing"])
VALUES = st.one_of(st.sampled_from([b"", b"200", b"GET", b"gzip", b"a" * 100]), st.binary(max_size=60))
FIELDS: st.SearchStrategy[Field] = st.tuples(NAMES, VALUES)
SECTIONS: st.SearchStrategy[list[Section]] = st.lists(st.lists(FIELDS, max_size=8).map(tuple), max_size=12)


@settings(max_examples=300)
@given(SECTIONS, st.lists(st.tuples(st.integers(0, 11), st.integers(0, 5000)), max_size=3))
def test_two_other_decoders_understand_the_encoder(sections: list[Section], sizes: list[tuple[int, int]]) -> None:
    module._literals.clear()
    encoder, ours, theirs = Encoder(), Decoder(MOST), ReferenceDecoder()
    for index, one in enumerate([*sections, *sections]):
        for at, size in sizes:
            if at == index:
                encoder.allow(size)
                ours.allow(min(size, 4096))
                theirs.max_allowed_table_size = size
        block = encoder.encode(one)
        assert ours.decode(block) == one
        assert tuple((name, value) for name, value in theirs.decode(block, raw=True)) == one
        assert encoder._table.entries == ours._table.entries


@settings(max_examples=200)
@given(SECTIONS, st.booleans())
def test_the_decoder_understands_another_encoder(sections: list[Section], huffman: bool) -> None:
    encoder, decoder = ReferenceEncoder(), Decoder(MOST)
    for one in [*sections, *sections]:
        assert decoder.decode(encoder.encode(list(one), huffman=huffman)) == one


@settings(max_examples=500)
@given(st.lists(st.binary(max_size=24), min_size=1, max_size=4))
def test_any_block_is_decoded_as_by_another_or_refused_by_both(blocks: list[bytes]) -> None:
    ours, theirs = Decoder(MOST), ReferenceDecoder()
    for block in blocks:
        try:
            expected = tuple((bytes(name), bytes(value)) for name, value in theirs.decode(block, raw=True))
        except HPACKError:
            assert code_of(block, ours) is ErrorCode.COMPRESSION_ERROR
            return
        try:
            assert ours.decode(block) == expected
        except ConnectionFault as fault:
            # The other takes integers with any number of zeros at their end, and a size said behind a field.
            assert fault.detail in (
                "an integer that is too long",
                "a change of the table's size behind a field",
            )
            return


def test_fields_that_come_again_shrink_to_a_byte_each() -> None:
    module._literals.clear()
    encoder = Encoder()
    one: Section = ((b":status", b"200"), (b"x-thing", b"a long value"), (b"date", b"today"))
    sizes = [len(encoder.encode(one)) for _ in range(4)]
    assert sizes[0] > sizes[2] == sizes[3] == 3
    assert len(Encoder().encode(one)) == sizes[1] > sizes[2]


def test_what_belongs_to_one_resource_stays_out_of_the_table() -> None:
    encoder = Encoder()
    for _ in range(3):
        encoder.encode(((b"content-length", b"77"), (b"etag", b'"7"')))
    assert encoder._table.entries == []


@pytest.mark.parametrize("name", [b"set-cookie", b"authorization", b"cookie", b"proxy-authorization"])
def test_secrets_are_never_indexed_nor_remembered(name: bytes) -> None:
    encoder = Encoder()
    for _ in range(3):
        block = encoder.encode(((name, b"secret"),))
        assert block[0] & 0xF0 == 0x10
    assert encoder._table.entries == []
    assert (name, b"secret") not in module._literals


def test_a_field_larger_than_the_table_leaves_it_alone() -> None:
    encoder = Encoder()
    encoder.encode(((b"x-a", b"1"),))
    encoder.encode(((b"x-a", b"1"),))
    assert encoder._table.entries == [(b"x-a", b"1")]
    encoder.allow(40)
    encoder.encode(((b"x-large", b"1" * 20),))
    encoder.encode(((b"x-large", b"1" * 20),))
    assert encoder._table.entries == [(b"x-a", b"1")]


def test_a_table_larger_than_needed_is_not_used() -> None:
    encoder = Encoder()
    encoder.allow(1 << 30)
    assert encoder.encode(((b":status", b"200"),)) == b"\x88"
    assert encoder._table.limit == 4096


def test_sizes_are_said_before_the_next_section() -> None:
    encoder = Encoder()
    encoder.allow(100)
    encoder.allow(0)
    encoder.allow(2000)
    assert encoder.encode(((b":status", b"200"),)) == b"\x20\x3f\xb1\x0f\x88"
    assert encoder.encode(((b":status", b"200"),)) == b"\x88"
    encoder.allow(100)
    assert encoder.encode(()) == b"\x3f\x45"
    encoder.allow(4096)
    assert encoder.encode(()) == b"\x3f\xe1\x1f"


def test_everything_that_is_remembered_is_bounded() -> None:
    encoder = Encoder()
    for number in range(6000):
        one = ((b"x-number", b"%d" % number),)
        encoder.encode(one)
        encoder.encode(one)
        encoder.encode(one)
    assert sum(entry_size(name, value) for name, value in encoder._table.entries) <= 4096
    assert len(encoder._numbers) <= 256
    assert len(encoder._known) <= 16
    assert len(module._literals) <= 4096
    encoder.encode(((b"x-long", b"a" * 300),))
    assert (b"x-long", b"a" * 300) not in module._literals
    kept = [((b":status", b"%d" % status),) for status in range(100, 140)]
    for _ in range(3):
        for one in kept:
            encoder.encode(one)
    for one in [((b"content-length", b"%d" % number),) for number in range(40)] * 2:
        encoder.encode(one)
    assert len(encoder._known) <= 16
