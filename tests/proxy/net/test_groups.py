"""Which groups a handshake may exchange keys over: elliptic curves, whatever context serves it."""

import contextlib
import ctypes
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.net import groups
from proxy.net.certificate_set import CertificateSet
from proxy.net.certificates import read_authorities, read_pair, self_signed
from proxy.net.tls_contexts import TlsContexts, validation_context
from proxy.net.tls_socket import TlsSocket
from tests.proxy.authority import Authority
from tests.proxy.gateway import serve
from tests.proxy.net.tls_client import HOST, hello, pair, shake_hands, vector

CURVES = {"X25519": 29, "P-256": 23, "P-384": 24}
FINITE_FIELDS = {"ffdhe2048": 256, "ffdhe3072": 257, "ffdhe4096": 258, "ffdhe6144": 259, "ffdhe8192": 260}
_X25519MLKEM768 = 4588
_HANDSHAKE, _ALERT = 0x16, 0x15
_HANDSHAKE_FAILURE = 40


def hello_for(*offered: int, shares: bytes = b"") -> bytes:
    """A hello of TLS 1.3 that offers these groups (RFC 8446 section 4.2.7)."""
    return hello(
        (0, vector(2, b"\0" + vector(2, b"first.test"))),
        (43, vector(1, b"\x03\x04")),
        (10, vector(2, b"".join(group.to_bytes(2, "big") for group in offered))),
        (13, vector(2, b"\x04\x03\x08\x04")),
        (51, vector(2, shares)),
        ciphers=b"\x13\x01\x13\x02",
    )


def accepted(context: ssl.SSLContext, said: bytes) -> bool:
    """Whether the server goes on with a hello: it asks for a key share, or it sends handshake_failure."""
    near, far = socket.socketpair()
    with far:
        for end in (near, far):
            end.setblocking(False)
        server = TlsSocket(near, context)
        far.sendall(said)
        with contextlib.suppress(ssl.SSLError):
            server.shake_hands()
        heard = far.recv(4096)
        server.close()
    assert heard[0] in (_HANDSHAKE, _ALERT)
    assert heard[0] == _HANDSHAKE or heard[6] == _HANDSHAKE_FAILURE
    return heard[0] == _HANDSHAKE


def _furnished(*keyrings: CertificateSet) -> ssl.SSLContext:
    tls_contexts = TlsContexts()
    for certificate_set in keyrings:
        tls_contexts.install(certificate_set)
    return tls_contexts.context


Contexts = Callable[[str], ssl.SSLContext]


@pytest.fixture
def contexts(authority: Authority, tmp_path: Path) -> Contexts:
    first, other = read_pair(*authority.issue("first.test")), read_pair(*authority.issue("other.test"))
    mutual = CertificateSet((first,), client_ca=read_authorities(authority.file))

    def made(kind: str) -> ssl.SSLContext:
        match kind:
            case "one certificate":
                return _furnished(CertificateSet((first,)))
            case "chosen by name":
                return _furnished(CertificateSet((other, first)))
            case "client certificates":
                return _furnished(mutual)
            case "renewed":
                return _furnished(CertificateSet((other, first)), CertificateSet((first, other)))
            case "client certificates after a reload":
                return _furnished(CertificateSet((first,)), mutual)
            case _:
                pair = self_signed(("first.test",))
                file = tmp_path / "challenge.pem"
                file.write_bytes(pair.key + pair.chain)
                return validation_context(file)

    return made


KINDS = (
    "one certificate",
    "chosen by name",
    "client certificates",
    "renewed",
    "client certificates after a reload",
    "ACME challenge",
)


@pytest.mark.parametrize("kind", KINDS)
def test_no_context_agrees_on_a_finite_field(contexts: Contexts, kind: str) -> None:
    context = contexts(kind)
    for name, group in FINITE_FIELDS.items():
        assert not accepted(context, hello_for(group)), name
    assert not accepted(context, hello_for(*FINITE_FIELDS.values()))
    for name, group in CURVES.items():
        assert accepted(context, hello_for(group)), name
    assert accepted(context, hello_for(*FINITE_FIELDS.values(), CURVES["X25519"]))
    if ssl.OPENSSL_VERSION_INFO >= (3, 5):
        assert accepted(context, hello_for(_X25519MLKEM768))


def test_finite_field_key_share_beside_a_curve_costs_nothing(contexts: Contexts) -> None:
    """The server asks for a key on the curve instead, although the share that it got is usable."""
    share = FINITE_FIELDS["ffdhe2048"].to_bytes(2, "big") + vector(2, b"\x7f" * 256)
    assert accepted(contexts("one certificate"), hello_for(256, 29, shares=share))


def test_where_openssl_cannot_be_called_one_curve_is_left(contexts: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_name: str | None) -> ctypes.CDLL:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", none)
    groups._openssl.cache_clear()
    try:
        context = contexts("one certificate")
    finally:
        groups._openssl.cache_clear()
    assert [accepted(context, hello_for(group)) for group in FINITE_FIELDS.values()] == [False] * 5
    assert accepted(context, hello_for(CURVES["P-256"]))
    assert accepted(context, hello_for(CURVES["X25519"], CURVES["P-256"]))


@pytest.mark.component("openssl")
@pytest.mark.parametrize("acme", [False, True], ids=["", "with ACME"])
def test_openssls_own_client_is_refused_a_finite_field(authority: Authority, tmp_path: Path, *, acme: bool) -> None:
    cert, key = authority.issue("first.test")
    flags = ["--acme", "a@first.test", "--domain", "second.test", "--state-dir", str(tmp_path / "state"),
             "--acme-directory", "http://127.0.0.1:9/directory"] if acme else []  # fmt: skip

    def shaken(*flags: str) -> bool:
        client = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-servername", "first.test", *flags],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)  # fmt: skip
        return b"Verify return code" in client.stdout and client.returncode == 0

    running = serve(
        tmp_path / "gateway",
        "127.0.0.1:9",
        "--tls-cert",
        str(cert),
        "--tls-key",
        str(key),
        *flags,
        plain=True,
        admin=True,
    )
    with contextlib.closing(running) as gateway:
        assert shaken("-tls1_3", "-groups", "X25519")
        assert shaken("-tls1_3", "-groups", "P-256")
        assert shaken("-tls1_3", "-groups", "ffdhe8192:X25519")
        assert shaken("-tls1_2", "-groups", "P-256")
        for group in FINITE_FIELDS:
            assert not shaken("-tls1_3", "-groups", group), group
        assert not shaken("-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_clients_certificate_may_be_on_any_of_the_usual_curves(
    authority: Authority, version: ssl.TLSVersion, curve: ec.EllipticCurve
) -> None:
    """TLS 1.2 asks for its curve among the groups (RFC 8422 section 5.1)."""
    first = read_pair(*authority.issue(HOST))
    context = authority.trust()
    context.maximum_version = version
    context.load_cert_chain(*authority.issue("somebody", curve=curve))
    server = _furnished(CertificateSet((first,), client_ca=read_authorities(authority.file)))
    near, client = pair(server, context)
    shake_hands(near, client)
    assert near._tls.getpeercert(binary_form=True) is not None
    near.close()
    client.far.close()
