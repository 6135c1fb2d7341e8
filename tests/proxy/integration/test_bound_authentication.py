"""Authentication that holds for a connection (NTLM, Negotiate) is its client's alone, and works all the same."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.proxy.gateway import Gateway
from tests.proxy.integration.exchange import Answer, Client
from tests.proxy.integration.h2.raw import GET, Raw
from tests.proxy.integration.scripted import read_request
from tests.waiting import until

Start = Callable[..., Gateway]
KEPT = ("--upstream-keepalive", "60")


class Guarded:
    """Knows whom each of its connections belongs to, from the last step of an NTLM handshake on.

    It takes any credentials at once if `patient` is False: then no answer says what scheme it speaks.
    """

    def __init__(self, challenge: bytes = b"WWW-Authenticate: NTLM", *, patient: bool = True) -> None:
        self.challenge = challenge
        self.patient = patient
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.connections = 0
        self.open: set[int] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        self.open.add(number)
        user, asked, pending = b"", False, b""
        with contextlib.suppress(OSError), sock:
            while True:
                request, pending = read_request(sock, pending)
                if not request:
                    break
                given = [line for line in request.split(b"\r\n") if line.lower().startswith(b"authorization: ")]
                if given and given[0].endswith(b" hello"):
                    asked = True
                    sock.sendall(self._ask(request, self.challenge + b" challenge"))
                elif given and (asked or not self.patient):
                    user = given[0].split()[-1]
                    self._tell(sock, request, user)
                elif user:
                    self._tell(sock, request, user)
                else:
                    sock.sendall(self._ask(request, self.challenge) if self.patient else self._plain(request, b"who?"))
        self.open.discard(number)

    def _ask(self, request: bytes, challenge: bytes) -> bytes:
        body = b"" if request.startswith(b"HEAD") else b"who?"
        return b"HTTP/1.1 401 Unauthorized\r\n%b\r\nContent-Length: 4\r\n\r\n%b" % (challenge, body)

    def _plain(self, request: bytes, body: bytes) -> bytes:
        shown = b"" if request.startswith(b"HEAD") else body
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), shown)

    def _tell(self, sock: socket.socket, request: bytes, user: bytes) -> None:
        sock.sendall(self._plain(request, b"hello " + user))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def guard() -> Iterator[Callable[..., Guarded]]:
    made: list[Guarded] = []

    def make(*about: bytes, **how: bool) -> Guarded:
        made.append(Guarded(*about, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ask(client: Client, *, credentials: bytes = b"", method: bytes = b"GET", extra: bytes = b"") -> Answer:
    line = b"Authorization: %b\r\n" % credentials if credentials else b""
    body = b"body" if method == b"POST" else b""
    length = b"Content-Length: 4\r\n" if body else b""
    client.send(b"%b / HTTP/1.1\r\nHost: a\r\n%b%b%b\r\n%b" % (method, line, length, extra, body))
    return client.answer(head_only=method == b"HEAD")


def sign_in(client: Client, name: bytes, *, scheme: bytes = b"NTLM", method: bytes = b"GET") -> None:
    """The three steps of a handshake."""
    assert ask(client, method=method).status == 401
    assert ask(client, credentials=scheme + b" hello", method=method).status == 401
    assert ask(client, credentials=scheme + b" " + name, method=method).status == 200


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD"])
def test_a_handshake_works_and_holds_for_its_client(guard: Callable[..., Guarded], start: Start, method: bytes) -> None:
    upstream = guard()
    gateway = start(upstream.address, *KEPT)
    with Client(gateway.address) as alice, Client(gateway.address) as bob, Client(gateway.address) as stranger:
        sign_in(alice, b"alice", method=method)
        sign_in(bob, b"bob", method=method)
        for _ in range(3):
            assert ask(alice).body == b"hello alice"
            assert ask(bob).body == b"hello bob"
            assert ask(stranger).status == 401
        assert upstream.connections == 3


def test_what_a_client_had_ends_with_it(guard: Callable[..., Guarded], start: Start) -> None:
    upstream = guard()
    gateway = start(upstream.address, *KEPT)
    with Client(gateway.address) as alice:
        sign_in(alice, b"alice")
        assert upstream.open == {1}
    until(lambda: not upstream.open, "the end of the upstream connection")


def test_its_upstream_may_close_it_meanwhile(guard: Callable[..., Guarded], start: Start) -> None:
    upstream = guard()
    gateway = start(upstream.address, "--upstream-keepalive", "1.2")  # closed by the gateway itself then: the same
    with Client(gateway.address) as alice:
        sign_in(alice, b"alice")
        until(lambda: not upstream.open, "the end of the upstream connection")
        assert ask(alice).status == 401
        sign_in(alice, b"alice")
        assert ask(alice).body == b"hello alice"


OFFERS = [
    b"WWW-Authenticate: NTLM",
    b"www-authenticate: ntlm",
    b"WWW-Authenticate: Negotiate",
    b"WWW-Authenticate: Nego2",
    b'WWW-Authenticate: Basic realm="a, b"\r\nWWW-Authenticate: Negotiate',
    b'WWW-Authenticate: Basic realm="a", \tNTLM',
    b"WWW-Authenticate: negotiate oYG2MIGz, NTLM",
    b"Proxy-Authenticate: NTLM",
]


def test_every_spelling_of_an_offer_is_heard(guard: Callable[..., Guarded], start: Start) -> None:
    upstream = guard()
    gateway = start(upstream.address, *KEPT)
    for upstream.challenge in OFFERS:
        before = upstream.connections
        with Client(gateway.address) as first, Client(gateway.address) as second:
            assert ask(first).status == ask(second).status == ask(first).status == 401
        assert upstream.connections == before + 2, upstream.challenge


def test_credentials_say_it_too(guard: Callable[..., Guarded], start: Start) -> None:
    upstream = guard(patient=False)
    gateway = start(upstream.address, *KEPT)
    for scheme in (b"NTLM", b"Negotiate", b"ntlm", b"NEGOTIATE", b"Nego2"):
        for method in (b"GET", b"POST", b"HEAD"):
            with Client(gateway.address) as alice, Client(gateway.address) as stranger:
                assert ask(stranger).body == b"who?"  # leaves a connection in the pool, which may become hers
                assert ask(alice, credentials=scheme + b" alice", method=method).status == 200
                assert ask(stranger).body == b"who?", (scheme, method)
                assert ask(alice).body == b"hello alice"


def test_other_schemes_share_connections(guard: Callable[..., Guarded], start: Start) -> None:
    upstream = guard()
    gateway = start(upstream.address, *KEPT)
    for upstream.challenge in (b'WWW-Authenticate: Basic realm="ntlm"', b"WWW-Authenticate: Bearer"):
        for _ in range(3):
            with Client(gateway.address) as client:
                assert ask(client).status == 401
    assert upstream.connections == 1


def test_of_pipelined_requests_each_goes_on_the_same(guard: Callable[..., Guarded], start: Start) -> None:
    upstream = guard()
    gateway = start(upstream.address, *KEPT)
    with Client(gateway.address) as alice:
        sign_in(alice, b"alice")
        alice.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5)
        assert [alice.answer().body for _ in range(5)] == [b"hello alice"] * 5
        assert upstream.connections == 1


def test_trusted_proxys_clients_share_no_private_connection(guard: Callable[..., Guarded], start: Start) -> None:
    upstream = guard(patient=False)
    gateway = start(upstream.address, *KEPT, "--trusted-proxies", "127.0.0.1/32")
    with Client(gateway.address) as proxy:  # whose next request is another visitor's
        alice = b"X-Forwarded-For: 192.0.2.1\r\n"
        assert ask(proxy, credentials=b"NTLM alice", extra=alice).body == b"hello alice"
        assert ask(proxy, extra=b"X-Forwarded-For: 192.0.2.2\r\n").body == b"who?"
        assert ask(proxy).body == b"who?"


def test_an_idle_one_takes_no_place_of_its_peer(guard: Callable[..., Guarded], start: Start) -> None:
    upstream = guard()
    gateway = start(upstream.address, *KEPT, "--peer-connections", "1", "--queue", "8", "--queue-timeout", "5s")
    with Client(gateway.address) as alice, Client(gateway.address) as bob:
        sign_in(alice, b"alice")
        sign_in(bob, b"bob")
        assert (ask(alice).body, ask(bob).body) == (b"hello alice", b"hello bob")


def test_forward_auth_uses_an_unauthenticated_connection(guard: Callable[..., Guarded], start: Start) -> None:
    judge, upstream = guard(patient=False), guard(patient=False)
    judge._plain = lambda request, body: (  # type: ignore[method-assign]
        b"HTTP/1.1 %d OK\r\nContent-Length: 0\r\n\r\n" % (401 if body == b"who?" else 200)
    )
    gateway = start(upstream.address, *KEPT, "--forward-auth", f"http://{judge.address}/")
    with Client(gateway.address) as alice, Client(gateway.address) as stranger:
        assert ask(alice, credentials=b"Negotiate alice").status == 200
        assert ask(stranger).status == 401


def test_over_http_2_nothing_is_kept(guard: Callable[..., Guarded], start: Start) -> None:
    upstream = guard(patient=False)
    gateway = start(upstream.address, *KEPT, "--h2c", "on")
    with Raw(gateway.port) as client:
        client.send(client.headers(1, [*GET, ("authorization", "NTLM alice")]))
        assert client.response(1)[1] == b"hello alice"
        client.send(client.headers(3, GET))
        assert client.response(3)[1] == b"who?"
    with Client(gateway.address) as stranger:
        assert ask(stranger).body == b"who?"
