"""Huffman's code: what RFC 7541 says of it, and what another implementation makes of the same bytes."""

import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.h2 import huffman

REFERENCE = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)

EXAMPLES = {  # RFC 7541 appendix C
    "www.example.com": "f1e3c2e5f23a6ba0ab90f4ff",
    "no-cache": "a8eb10649cbf",
    "custom-key": "25a849e95ba97d7f",
    "custom-value": "25a849e95bb8e8b4bf",
    "302": "6402",
    "private": "aec3771a4b",
    "Mon, 21 Oct 2013 20:13:21 GMT": "d07abe941054d444a8200595040b8166e082a62d1bff",
    "https://www.example.com": "9d29ad171863c78f0b97c8e9ae82ae43d3",
    "307": "640eff",
    "gzip": "9bd9ab",
    "": "",
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_of_the_rfc(text: str) -> None:
    data, code = text.encode(), bytes.fromhex(EXAMPLES[text])
    assert huffman.encode(data) == code
    assert huffman.decode(code) == data


@given(st.binary(max_size=200))
def test_every_string_comes_back(data: bytes) -> None:
    code = huffman.encode(data)
    assert code == REFERENCE.encode(data)
    assert huffman.decode(code) == data


@given(st.binary(max_size=12))
def test_any_bytes_mean_what_they_mean_to_another(code: bytes) -> None:
    try:
        expected: bytes | None = decode_huffman(code)
    except HPACKDecodingError:
        expected = None
    assert huffman.decode(code) == expected


@pytest.mark.parametrize(
    "code",
    ["ffffffff", "ffffffffff", "f1ff", "1c", "0000", "f8ff", "ffffffffff00"],
    ids=["EOS", "EOS and more", "a byte of ones", "zeros", "zeros for padding", "8 ones", "EOS in between"],
)
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(HPACKDecodingError):
        decode_huffman(bytes.fromhex(code))
    assert huffman.decode(bytes.fromhex(code)) is None
