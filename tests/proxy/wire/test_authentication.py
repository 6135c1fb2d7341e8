"""Which fields are about authenticating a connection."""

import pytest

from proxy.wire.authentication import binds_connection


@pytest.mark.parametrize(
    "value",
    [
        b"NTLM",
        b"ntlm TlRMTVNTUAAB",
        b"Negotiate",
        b"NEGOTIATE YII",
        b"Nego2",
        b'Basic realm="a", NTLM',
        b'Digest realm="a, b", nonce="x",Negotiate abc==',
        b",\tnegotiate",
    ],
)
def test_it_is(value: bytes) -> None:
    assert binds_connection(value)


@pytest.mark.parametrize(
    "value", [b"", b"Basic bnRsbQ==", b"Bearer ntlm", b'Basic realm="ntlm"', b"XNTLM", b"Digest a=b"]
)
def test_it_is_not(value: bytes) -> None:
    assert not binds_connection(value)
