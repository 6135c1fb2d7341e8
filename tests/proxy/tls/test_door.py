"""The front door: which certificate a client is shown, and what it may speak."""

import datetime
import socket
import ssl
import sys
import time
from dataclasses import replace

import pytest

from proxy.net.certificates import read_authorities, read_pair
from proxy.net.keyring import KeyPair, Keyring
from proxy.net.tls import TlsSocket
from proxy.net.tls_contexts import FrontDoor, ignore_unreadable_names
from tests.proxy.tls.authority import Authority
from tests.proxy.tls.wire import Client, shake_hands


@pytest.fixture(scope="module")
def keyring(authority: Authority) -> Keyring:
    first = read_pair(*authority.issue("first.test", "www.first.test"))
    wild = read_pair(*authority.issue("*.wild.test"))
    exact = read_pair(*authority.issue("one.wild.test"))
    return Keyring((first, wild, exact))


def furnished(keyring: Keyring) -> FrontDoor:
    door = FrontDoor()
    door.furnish(keyring)
    return door


def connect(
    door: FrontDoor,
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
    return TlsSocket(near, door.context), client


def end(near: TlsSocket, client: Client) -> None:
    near.close()
    client.far.close()


def visit(door: FrontDoor, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSession | None:
    """The session that a client takes home. Raises if the handshake fails on either side."""
    near, client = connect(door, context, "first.test", session)
    try:
        shake_hands(near, client)
        near.send(b"x")
        client.pull()
        client.read()
        return client.tls.session
    finally:
        end(near, client)


def shown(door: FrontDoor, context: ssl.SSLContext, name: str | None) -> set[str]:
    """The names of the certificate that a client is shown."""
    context.check_hostname = False
    near, client = connect(door, context, name)
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
def test_the_certificate_is_the_names_own_then_a_wildcards_then_the_first(
    authority: Authority, keyring: Keyring, asked: str, expected: str
) -> None:
    assert expected in shown(furnished(keyring), authority.trust(), asked or None)


def test_alpn_offers_http2_only_where_it_is_on(authority: Authority, keyring: Keyring) -> None:
    context = authority.trust()
    context.set_alpn_protocols(["h2", "http/1.1"])
    for http2, expected in ((True, "h2"), (False, "http/1.1")):
        near, client = connect(furnished(Keyring(keyring.pairs, http2=http2)), context, "first.test")
        shake_hands(near, client)
        assert near.protocol == client.tls.selected_alpn_protocol() == expected
        end(near, client)


def test_the_oldest_version_changes_with_the_keyring(authority: Authority, keyring: Keyring) -> None:
    old = authority.trust()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    door = furnished(keyring)
    near, client = connect(door, old, "first.test")
    shake_hands(near, client)
    assert near.version == "TLSv1.2"
    end(near, client)
    door.furnish(Keyring(keyring.pairs, oldest="1.3"))
    near, client = connect(door, old, "first.test")
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
def test_the_cheapest_cipher_is_chosen_unless_the_client_has_no_aes(
    authority: Authority, keyring: Keyring, offered: str, expected: str
) -> None:
    context = authority.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"ECDHE+{offered}:ECDHE+AESGCM:ECDHE+CHACHA20:AES128-SHA")
    near, client = connect(furnished(keyring), context, "first.test")
    shake_hands(near, client)
    cipher = client.tls.cipher()
    assert cipher is not None
    assert expected in cipher[0]
    assert cipher[0].startswith("ECDHE-ECDSA-")
    end(near, client)


def test_ciphers_without_forward_secrecy_are_refused(authority: Authority, keyring: Keyring) -> None:
    context = authority.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for weak in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256"):
        context.set_ciphers(weak)
        near, client = connect(furnished(keyring), context, "first.test")
        with pytest.raises(ssl.SSLError):
            shake_hands(near, client)
        end(near, client)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_outlives_a_reload(authority: Authority, keyring: Keyring, version: ssl.TLSVersion) -> None:
    context = authority.trust()
    context.maximum_version = version
    door = furnished(keyring)
    session = None
    for resumed in (False, True, True):
        near, client = connect(door, context, "one.wild.test", session)
        shake_hands(near, client)
        assert near.resumed is resumed
        near.send(b"x")
        client.pull()
        assert client.read() == b"x"
        session = client.tls.session
        end(near, client)
        door.furnish(keyring)


def test_a_keyring_that_openssl_refuses_changes_nothing(authority: Authority, keyring: Keyring) -> None:
    door = furnished(keyring)
    broken = Keyring((keyring.pairs[0],), client_ca="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(ssl.SSLError):
        door.furnish(broken)
    assert "*.wild.test" in shown(door, authority.trust(), "a.wild.test")


def test_an_unfurnished_door_says_so(authority: Authority) -> None:
    near, client = connect(FrontDoor(), authority.trust(), "first.test")
    with pytest.raises(ssl.SSLError):
        shake_hands(near, client)
    end(near, client)


def test_a_name_that_is_not_ascii_fails_without_a_traceback(
    authority: Authority, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    ignore_unreadable_names()
    near, client = connect(furnished(keyring), authority.trust(), "first.test")
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

    def keyring(self, keyring: Keyring, clients: Authority, *, required: bool) -> Keyring:
        return Keyring(keyring.pairs, client_ca=read_authorities(clients.file), client_required=required)

    def attempt(self, door: FrontDoor, context: ssl.SSLContext) -> bytes | None:
        """The certificate that the server has seen. Raises if the handshake fails on either side."""
        near, client = connect(door, context, "first.test")
        try:
            shake_hands(near, client)
            near.send(b"x")
            client.pull()
            client.read()
            return near.peer_certificate()
        finally:
            end(near, client)

    def test_one_of_the_authority_is_let_in(self, authority: Authority, keyring: Keyring, clients: Authority) -> None:
        context = authority.trust()
        context.load_cert_chain(*clients.issue("somebody"))
        assert self.attempt(furnished(self.keyring(keyring, clients, required=True)), context)

    def test_none_is_refused_where_it_is_required(
        self, authority: Authority, keyring: Keyring, clients: Authority
    ) -> None:
        with pytest.raises(ssl.SSLError):
            self.attempt(furnished(self.keyring(keyring, clients, required=True)), authority.trust())
        door = furnished(self.keyring(keyring, clients, required=False))
        assert self.attempt(door, authority.trust()) is None

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    @pytest.mark.parametrize("where", ["worker", "master"])
    def test_no_session_from_before_is_resumed_where_none_was_asked_for(
        self,
        authority: Authority,
        keyring: Keyring,
        clients: Authority,
        version: ssl.TLSVersion,
        where: str,
    ) -> None:
        context = authority.trust()
        context.maximum_version = version
        door = furnished(keyring)
        session = visit(door, context)
        strict = self.keyring(keyring, clients, required=True)
        if where == "master":  # it furnishes nothing, and forks the workers that do
            door.demand(strict)
        door.furnish(strict)
        with pytest.raises(ssl.SSLError):
            visit(door, context, session)

    def test_a_strangers_is_refused(self, authority: Authority, keyring: Keyring, clients: Authority) -> None:
        context = authority.trust()
        context.load_cert_chain(*authority.issue("stranger"))
        for required in (True, False):
            with pytest.raises(ssl.SSLError):
                self.attempt(furnished(self.keyring(keyring, clients, required=required)), context)


@pytest.fixture(scope="module")
def both(authority: Authority) -> tuple[KeyPair, KeyPair]:
    return (
        read_pair(*authority.issue("both.test", file="ecdsa")),
        read_pair(*authority.issue("both.test", "more.test", file="rsa", rsa_bits=2048)),
    )


class TestAlgorithms:
    """RSA and ECDSA for one name: each client is shown the one that it can read."""

    def algorithm(self, door: FrontDoor, context: ssl.SSLContext, name: str, readable: str) -> str:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(":".join(f"ECDHE-{one}-AES128-GCM-SHA256" for one in readable.split()))
        near, client = connect(door, context, name)
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
        keyring: Keyring,
        both: tuple[KeyPair, KeyPair],
        order: tuple[int, int],
        *,
        beside: bool,
    ) -> None:
        pairs = tuple(both[place] for place in order)
        door = furnished(Keyring(pairs + keyring.pairs if beside else pairs))
        assert self.algorithm(door, authority.trust(), "both.test", "RSA") == "RSA"
        assert self.algorithm(door, authority.trust(), "both.test", "ECDSA") == "ECDSA"
        assert self.algorithm(door, authority.trust(), "both.test", "RSA ECDSA") == "ECDSA"
        assert self.algorithm(door, authority.trust(), "more.test", "RSA") == "RSA"
        assert set(door.served) == set(pairs + keyring.pairs if beside else pairs)

    def test_one_that_is_gone_is_shown_no_more(self, authority: Authority, both: tuple[KeyPair, KeyPair]) -> None:
        ecdsa, rsa = both
        door = furnished(Keyring((ecdsa,)))
        for pairs, gone in (((ecdsa, rsa), ""), ((ecdsa,), "RSA"), ((rsa,), "ECDSA"), ((rsa, ecdsa), "")):
            door.furnish(Keyring(pairs))
            for one in ("RSA", "ECDSA"):
                if one == gone:
                    with pytest.raises(ssl.SSLError):
                        self.algorithm(door, authority.trust(), "both.test", one)
                else:
                    assert self.algorithm(door, authority.trust(), "both.test", one) == one


def test_a_certificate_that_openssl_refuses_is_left_out_alone(authority: Authority, keyring: Keyring) -> None:
    first, wild, exact = keyring.pairs
    broken = replace(exact, key=first.key, chain=exact.chain)
    door = FrontDoor()
    refused = door.furnish(Keyring((broken, wild, first)))
    assert [pair for pair, _ in refused] == [broken]
    assert "first.test" in shown(door, authority.trust(), "first.test")
    assert "*.wild.test" in shown(door, authority.trust(), "one.wild.test")
    assert "*.wild.test" in shown(door, authority.trust(), "unknown.test")
    with pytest.raises(ssl.SSLError):
        door.furnish(Keyring((broken,)))
    assert "first.test" in shown(door, authority.trust(), "first.test")


def test_the_valid_one_takes_over_when_the_other_expires(authority: Authority) -> None:
    pairs = [
        read_pair(*authority.issue("turn.test", file=name, ends=datetime.timedelta(days=days)))
        for name, days in (("soon", 1), ("later", 9))
    ]
    now = time.time()
    door = FrontDoor(lambda: now)
    assert door.stale
    door.furnish(Keyring(tuple(pairs)))
    assert door.served == (pairs[0],)
    assert not door.stale
    now = pairs[0].expires + 1
    assert door.stale
    door.furnish(Keyring(tuple(pairs)))
    assert door.served == (pairs[1],)
    assert not door.stale
    now = time.time()  # the clock was wrong
    assert door.stale
    door.furnish(Keyring(tuple(pairs)))
    assert door.served == (pairs[0],)
