"""The front door: which certificate a client is shown, and what it may speak."""

import datetime
import socket
import ssl
import sys
import time
from dataclasses import replace

import pytest

from proxy.net.certificate_set import CertificateSet, KeyPair
from proxy.net.certificates import read_authorities, read_pair, self_signed
from proxy.net.tls_contexts import TlsContexts, ignore_unreadable_names
from proxy.net.tls_socket import TlsSocket
from tests.proxy.authority import Authority
from tests.proxy.net.tls_client import Client, shake_hands


@pytest.fixture(scope="module")
def certificate_set(authority: Authority) -> CertificateSet:
    first = read_pair(*authority.issue("first.test", "www.first.test"))
    wild = read_pair(*authority.issue("*.wild.test"))
    exact = read_pair(*authority.issue("one.wild.test"))
    return CertificateSet((first, wild, exact))


def furnished(certificate_set: CertificateSet) -> TlsContexts:
    tls_contexts = TlsContexts()
    tls_contexts.install(certificate_set)
    return tls_contexts


def connect(
    tls_contexts: TlsContexts,
    context: ssl.SSLContext,
    name: str | None,
    session: ssl.SSLSession | None = None,
) -> tuple[TlsSocket, Client]:
    near, far = socket.socketpair()
    for end in (near, far):
        end.setblocking(False)
    client = Client(context, far, name)
    if session is not None:
        client.tls.session = session
    return TlsSocket(near, tls_contexts.context), client


def end(near: TlsSocket, client: Client) -> None:
    near.close()
    client.far.close()


def visit(
    tls_contexts: TlsContexts, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSession | None:
    """The session that a client takes home. Raises if the handshake fails on either side."""
    near, client = connect(tls_contexts, context, "first.test", session)
    try:
        shake_hands(near, client)
        near.send(b"x")
        client.pull()
        client.read()
        return client.tls.session
    finally:
        end(near, client)


def shown(tls_contexts: TlsContexts, context: ssl.SSLContext, name: str | None) -> set[str]:
    """The names of the certificate that a client is shown."""
    context.check_hostname = False
    near, client = connect(tls_contexts, context, name)
    shake_hands(near, client)
    certificate = client.tls.getpeercert()
    assert certificate is not None
    end(near, client)
    return {value for _, value in certificate["subjectAltName"]}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("first.test", "first.test"),
        ("WWW.First.Test", "first.test"),
        ("any.wild.test", "*.wild.test"),
        ("one.wild.test", "one.wild.test"),
        ("two.labels.wild.test", "first.test"),
        ("wild.test", "first.test"),
        ("elsewhere.test", "first.test"),
        ("", "first.test"),
    ],
)
def test_certificate_choice_exact_then_wildcard_then_first(
    authority: Authority, certificate_set: CertificateSet, asked: str, expected: str
) -> None:
    assert expected in shown(furnished(certificate_set), authority.trust(), asked or None)


def test_alpn_offers_http2_only_where_it_is_on(authority: Authority, certificate_set: CertificateSet) -> None:
    context = authority.trust()
    context.set_alpn_protocols(["h2", "http/1.1"])
    for http2, expected in ((True, "h2"), (False, "http/1.1")):
        near, client = connect(furnished(CertificateSet(certificate_set.pairs, http2=http2)), context, "first.test")
        shake_hands(near, client)
        assert near.protocol == client.tls.selected_alpn_protocol() == expected
        end(near, client)


def test_the_oldest_version_changes_with_the_keyring(authority: Authority, certificate_set: CertificateSet) -> None:
    old = authority.trust()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    tls_contexts = furnished(certificate_set)
    near, client = connect(tls_contexts, old, "first.test")
    shake_hands(near, client)
    assert near._tls.version() == "TLSv1.2"
    end(near, client)
    tls_contexts.install(CertificateSet(certificate_set.pairs, oldest="1.3"))
    near, client = connect(tls_contexts, old, "first.test")
    with pytest.raises(ssl.SSLError):
        shake_hands(near, client)
    end(near, client)


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ("AES256", "AES128"),
        ("CHACHA20", "CHACHA20"),
    ],
)
def test_cheapest_cipher_is_chosen_for_clients_with_aes(
    authority: Authority, certificate_set: CertificateSet, offered: str, expected: str
) -> None:
    context = authority.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"ECDHE+{offered}:ECDHE+AESGCM:ECDHE+CHACHA20:AES128-SHA")
    near, client = connect(furnished(certificate_set), context, "first.test")
    shake_hands(near, client)
    cipher = client.tls.cipher()
    assert cipher is not None
    assert expected in cipher[0]
    assert cipher[0].startswith("ECDHE-ECDSA-")
    end(near, client)


def test_ciphers_without_forward_secrecy_are_refused(authority: Authority, certificate_set: CertificateSet) -> None:
    context = authority.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for weak in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256"):
        context.set_ciphers(weak)
        near, client = connect(furnished(certificate_set), context, "first.test")
        with pytest.raises(ssl.SSLError):
            shake_hands(near, client)
        end(near, client)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_outlives_a_reload(
    authority: Authority, certificate_set: CertificateSet, version: ssl.TLSVersion
) -> None:
    context = authority.trust()
    context.maximum_version = version
    tls_contexts = furnished(certificate_set)
    session = None
    for resumed in (False, True, True):
        near, client = connect(tls_contexts, context, "one.wild.test", session)
        shake_hands(near, client)
        assert near.resumed is resumed
        near.send(b"x")
        client.pull()
        assert client.read() == b"x"
        session = client.tls.session
        end(near, client)
        tls_contexts.install(certificate_set)


def test_a_keyring_that_openssl_refuses_changes_nothing(authority: Authority, certificate_set: CertificateSet) -> None:
    tls_contexts = furnished(certificate_set)
    broken = CertificateSet(
        (certificate_set.pairs[0],), client_ca="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    )
    with pytest.raises(ssl.SSLError):
        tls_contexts.install(broken)
    assert "*.wild.test" in shown(tls_contexts, authority.trust(), "a.wild.test")


def test_an_unfurnished_door_says_so(authority: Authority) -> None:
    near, client = connect(TlsContexts(), authority.trust(), "first.test")
    with pytest.raises(ssl.SSLError):
        shake_hands(near, client)
    end(near, client)


def test_a_name_that_is_not_ascii_fails_without_a_traceback(
    authority: Authority, certificate_set: CertificateSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    ignore_unreadable_names()
    near, client = connect(furnished(certificate_set), authority.trust(), "first.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    hello = client.outgoing.read()
    assert b"first.test" in hello
    client.far.send(hello.replace(b"first.test", b"first\xfftest"))
    with pytest.raises(ssl.SSLError):
        near.shake_hands()
    assert reported == []
    end(near, client)


class TestClientCertificates:
    @pytest.fixture
    def clients(self, tmp_path_factory: pytest.TempPathFactory) -> Authority:
        return Authority(tmp_path_factory.mktemp("clients"), "clients")

    def certificate_set(self, certificate_set: CertificateSet, clients: Authority, *, required: bool) -> CertificateSet:
        return CertificateSet(certificate_set.pairs, client_ca=read_authorities(clients.file), client_required=required)

    def attempt(self, tls_contexts: TlsContexts, context: ssl.SSLContext) -> bytes | None:
        """The certificate that the server has seen. Raises if the handshake fails on either side."""
        near, client = connect(tls_contexts, context, "first.test")
        try:
            shake_hands(near, client)
            near.send(b"x")
            client.pull()
            client.read()
            return near._tls.getpeercert(binary_form=True)
        finally:
            end(near, client)

    def test_one_of_the_authority_is_let_in(
        self, authority: Authority, certificate_set: CertificateSet, clients: Authority
    ) -> None:
        context = authority.trust()
        context.load_cert_chain(*clients.issue("somebody"))
        assert self.attempt(furnished(self.certificate_set(certificate_set, clients, required=True)), context)

    def test_none_is_refused_where_it_is_required(
        self, authority: Authority, certificate_set: CertificateSet, clients: Authority
    ) -> None:
        with pytest.raises(ssl.SSLError):
            self.attempt(furnished(self.certificate_set(certificate_set, clients, required=True)), authority.trust())
        tls_contexts = furnished(self.certificate_set(certificate_set, clients, required=False))
        assert self.attempt(tls_contexts, authority.trust()) is None

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    @pytest.mark.parametrize("where", ["worker", "master"])
    def test_old_sessions_do_not_bypass_client_authentication(
        self,
        authority: Authority,
        certificate_set: CertificateSet,
        clients: Authority,
        version: ssl.TLSVersion,
        where: str,
    ) -> None:
        context = authority.trust()
        context.maximum_version = version
        tls_contexts = furnished(certificate_set)
        session = visit(tls_contexts, context)
        strict = self.certificate_set(certificate_set, clients, required=True)
        if where == "master":  # it furnishes nothing, and forks the workers that do
            tls_contexts.set_client_auth(strict)
        tls_contexts.install(strict)
        with pytest.raises(ssl.SSLError):
            visit(tls_contexts, context, session)

    def test_a_strangers_is_refused(
        self, authority: Authority, certificate_set: CertificateSet, clients: Authority
    ) -> None:
        context = authority.trust()
        context.load_cert_chain(*authority.issue("stranger"))
        for required in (True, False):
            with pytest.raises(ssl.SSLError):
                self.attempt(furnished(self.certificate_set(certificate_set, clients, required=required)), context)


@pytest.fixture(scope="module")
def both(authority: Authority) -> tuple[KeyPair, KeyPair]:
    return (
        read_pair(*authority.issue("both.test", file="ecdsa")),
        read_pair(*authority.issue("both.test", "more.test", file="rsa", rsa_bits=2048)),
    )


class TestAlgorithms:
    """RSA and ECDSA for one name: each client is shown the one that it can read."""

    def algorithm(self, tls_contexts: TlsContexts, context: ssl.SSLContext, name: str, readable: str) -> str:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(":".join(f"ECDHE-{one}-AES128-GCM-SHA256" for one in readable.split()))
        near, client = connect(tls_contexts, context, name)
        try:
            shake_hands(near, client)
            cipher = client.tls.cipher()
        finally:
            end(near, client)
        assert cipher is not None
        return cipher[0].split("-")[1]

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["ECDSA first", "RSA first"])
    @pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
    def test_every_client_is_served(
        self,
        authority: Authority,
        certificate_set: CertificateSet,
        both: tuple[KeyPair, KeyPair],
        order: tuple[int, int],
        *,
        beside: bool,
    ) -> None:
        pairs = tuple(both[place] for place in order)
        tls_contexts = furnished(CertificateSet(pairs + certificate_set.pairs if beside else pairs))
        assert self.algorithm(tls_contexts, authority.trust(), "both.test", "RSA") == "RSA"
        assert self.algorithm(tls_contexts, authority.trust(), "both.test", "ECDSA") == "ECDSA"
        assert self.algorithm(tls_contexts, authority.trust(), "both.test", "RSA ECDSA") == "ECDSA"
        assert self.algorithm(tls_contexts, authority.trust(), "more.test", "RSA") == "RSA"
        assert set(tls_contexts.served) == set(pairs + certificate_set.pairs if beside else pairs)

    def test_one_that_is_gone_is_shown_no_more(self, authority: Authority, both: tuple[KeyPair, KeyPair]) -> None:
        ecdsa, rsa = both
        tls_contexts = furnished(CertificateSet((ecdsa,)))
        for pairs, gone in (((ecdsa, rsa), ""), ((ecdsa,), "RSA"), ((rsa,), "ECDSA"), ((rsa, ecdsa), "")):
            tls_contexts.install(CertificateSet(pairs))
            for one in ("RSA", "ECDSA"):
                if one == gone:
                    with pytest.raises(ssl.SSLError):
                        self.algorithm(tls_contexts, authority.trust(), "both.test", one)
                else:
                    assert self.algorithm(tls_contexts, authority.trust(), "both.test", one) == one


def test_a_certificate_that_openssl_refuses_is_left_out_alone(
    authority: Authority, certificate_set: CertificateSet
) -> None:
    first, wild, exact = certificate_set.pairs
    broken = replace(exact, key=first.key, chain=exact.chain)
    tls_contexts = TlsContexts()
    refused = tls_contexts.install(CertificateSet((broken, wild, first)))
    assert [pair for pair, _ in refused] == [broken]
    assert "first.test" in shown(tls_contexts, authority.trust(), "first.test")
    assert "*.wild.test" in shown(tls_contexts, authority.trust(), "one.wild.test")
    assert "*.wild.test" in shown(tls_contexts, authority.trust(), "unknown.test")
    with pytest.raises(ssl.SSLError):
        tls_contexts.install(CertificateSet((broken,)))
    assert "first.test" in shown(tls_contexts, authority.trust(), "first.test")


def test_the_valid_one_takes_over_when_the_other_expires(authority: Authority) -> None:
    pairs = [
        read_pair(*authority.issue("turn.test", file=name, ends=datetime.timedelta(days=days)))
        for name, days in (("soon", 1), ("later", 9))
    ]
    now = time.time()
    tls_contexts = TlsContexts(lambda: now)
    assert tls_contexts.stale
    tls_contexts.install(CertificateSet(tuple(pairs)))
    assert tls_contexts.served == (pairs[0],)
    assert not tls_contexts.stale
    now = pairs[0].expires + 1
    assert tls_contexts.stale
    tls_contexts.install(CertificateSet(tuple(pairs)))
    assert tls_contexts.served == (pairs[1],)
    assert not tls_contexts.stale
    now = time.time()  # the clock was wrong
    assert tls_contexts.stale
    tls_contexts.install(CertificateSet(tuple(pairs)))
    assert tls_contexts.served == (pairs[0],)


def test_contexts_obtained_on_demand_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    contexts = TlsContexts(lambda: now)
    monkeypatch.setattr(contexts, "most_obtained", 2)
    names = ["a.test", "b.test", "c.test"]
    for name in names:
        contexts.add_obtained(name, self_signed((name,), 1))
    assert [contexts.has_obtained(name) for name in names] == [False, True, True]
    contexts.install(CertificateSet((self_signed(("x.test",)),)))
    assert not contexts.has_obtained("c.test"), "made for the settings before"
    contexts.add_obtained("c.test", self_signed(("c.test",), 1))
    now += 2 * 86400
    assert not contexts.has_obtained("c.test"), "expired"


def test_a_refused_name_gets_the_alert_or_what_is_served() -> None:
    contexts = TlsContexts()
    contexts.install(CertificateSet((replace(self_signed(("x.test",)), stands_in=True),)))
    assert contexts.knows("x.test")
    assert not contexts.knows("y.test")
    assert contexts.refusing() is not contexts.context
    contexts.install(CertificateSet((self_signed(("*.test",)),)))
    assert contexts.knows("y.test")
    assert contexts.refusing() is contexts.context
