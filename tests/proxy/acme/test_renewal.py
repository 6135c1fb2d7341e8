"""Certificates obtained and renewed from a real ACME server, and the timetable of renewals."""

import contextlib
import datetime
import fcntl
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

import pytest
import websocket

from proxy.acme.issuer import challenge_kinds
from proxy.acme.state import Failures, State, Suggestion
from proxy.acme.timetable import due, pause
from proxy.net.certificate_set import KeyPair
from proxy.net.certificates import DAY, self_signed
from proxy.net.private_file import write_private
from proxy.settings import Address, Settings
from tests.proxy.acme.network import AcmeServer, Network, Obtaining
from tests.proxy.authority import Authority
from tests.proxy.gateway import ROOT
from tests.waiting import until

SITE, OTHER, NOWHERE = "site.test", "other.test", "nowhere.test"
SOCKETS = 50
real = [pytest.mark.component("machine"), pytest.mark.component("caddy")]


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with contextlib.closing(Network(SITE, OTHER, elsewhere=NOWHERE)) as made:
        yield made


@pytest.fixture(scope="module")
def server(network: Network, tmp_path_factory: pytest.TempPathFactory) -> AcmeServer:
    return AcmeServer(network, tmp_path_factory.mktemp("caddy"))


@pytest.fixture
def start(network: Network, server: AcmeServer, tmp_path: Path) -> Iterator[Callable[..., Obtaining]]:
    """Start a gateway that obtains its certificates; ended with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *flags, **how: stack.enter_context(
            contextlib.closing(Obtaining(network, server, tmp_path, *flags, **how))
        )


class TestWithAnAuthority:
    pytestmark = real

    def test_by_http(self, start: Callable[..., Obtaining], server: AcmeServer) -> None:
        gateway = start("--respond", "hello", "--bind-plain", "127.0.0.1:80", "--domain", SITE, "--domain", OTHER)
        assert not gateway.trusted(server.trust(), SITE)
        for name in (SITE, OTHER):
            until(lambda name=name: gateway.trusted(server.trust(), name), f"the certificate for {name}", 40)
        until(lambda: len(gateway.obtained()) >= 2, "both are in the log")
        assert sorted(gateway.obtained()) == [OTHER, SITE]  # once each, of two workers
        assert "/.well-known/acme-challenge/" in gateway.log
        assert gateway.files("pending/*") == []
        for file in gateway.files("*"):
            assert file.stat().st_mode & 0o077 == 0, file
        assert "BEGIN" not in gateway.log

        account = gateway.files("account.json")[0].read_bytes()
        first = gateway.files(f"{SITE}.pem")[0].read_bytes()
        gateway.close()
        gateway.files(f"{SITE}.pem")[0].unlink()
        again = start("--respond", "hello", "--bind-plain", "127.0.0.1:80", "--domain", SITE, "--domain", OTHER)
        until(lambda: again.trusted(server.trust(), SITE), "another one", 40)
        assert until(again.obtained, "the log says so") == [SITE]
        assert again.files(f"{SITE}.pem")[0].read_bytes() != first
        assert again.files("account.json")[0].read_bytes() == account

    def test_in_a_tls_handshake(self, start: Callable[..., Obtaining], server: AcmeServer) -> None:
        gateway = start("--respond", "hello", "--domain", SITE, workers=1)
        until(lambda: gateway.trusted(server.trust(), SITE), "the certificate", 40)
        assert "/.well-known/acme-challenge/" not in gateway.log
        context = server.trust()
        context.set_alpn_protocols(["acme-tls/1"])
        with gateway.connect(context, SITE) as sock:  # nothing is pending any more
            assert sock.selected_alpn_protocol() is None

    def test_a_name_that_leads_elsewhere(self, start: Callable[..., Obtaining], server: AcmeServer) -> None:
        gateway = start("--respond", "hello", "--bind-plain", "127.0.0.1:80", "--domain", NOWHERE, "--domain", SITE)
        until(lambda: gateway.trusted(server.trust(), SITE), "the other name has one", 60)
        until(lambda: f"no certificate for {NOWHERE}: " in gateway.log, "the failure is told")
        assert "Traceback" not in gateway.log
        assert "the name must resolve to this machine" in gateway.log
        kept = json.loads(gateway.files(f"{NOWHERE}.failures")[0].read_bytes())
        assert kept["count"] == 1
        assert kept["until"] > time.time()
        insecure = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        insecure.check_hostname = False
        insecure.verify_mode = ssl.CERT_NONE
        gateway.connect(insecure, NOWHERE).close()

    @pytest.mark.component("uvicorn")
    def test_a_renewal_loses_no_websocket(
        self, start: Callable[..., Obtaining], server: AcmeServer, authority: Authority, tmp_path: Path
    ) -> None:
        """What is there at first has a third of its life left; it is served until the new one is there."""
        state = State(tmp_path / "state", server.directory)
        state.make()
        chain, key = authority.issue(
            SITE, file="old", begins=-datetime.timedelta(days=30), ends=datetime.timedelta(days=3)
        )
        write_private(state.certificate(SITE), key.read_bytes() + chain.read_bytes())
        application = tmp_path / "application.sock"
        behind = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--uds", str(application), "tests.proxy.integration.applications:asgi"],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            until(application.exists, "the application listens")
            gateway = start("--upstream", f"unix:{application}", "--bind-plain", "127.0.0.1:80", "--domain", SITE)
            stop = threading.Event()
            statuses: list[bytes] = []

            def ask() -> None:
                while not stop.is_set():
                    with gateway.connect(both, SITE) as sock:
                        sock.sendall(b"GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n")
                        heard = b""
                        while data := sock.recv(65536):
                            heard += data
                        statuses.append(heard[:15])

            both = authority.trust()
            both.load_verify_locations(str(server.ca))
            tunnels = [
                websocket.create_connection(f"wss://{SITE}/ws", timeout=20, socket=gateway.connect(both, SITE))
                for _ in range(SOCKETS)
            ]
            asking = threading.Thread(target=ask)
            asking.start()
            until(lambda: gateway.trusted(server.trust(), SITE), "the new certificate", 40)
            stop.set()
            asking.join()
            assert until(gateway.obtained, "the log says so") == [SITE]
            assert set(statuses) == {b"HTTP/1.1 200 OK"}
            for tunnel in tunnels:
                tunnel.send("still here")
                assert tunnel.recv() == "still here"
                tunnel.shutdown()
        finally:
            behind.terminate()
            behind.wait()


def test_a_certificate_is_due_at_two_thirds_of_its_life() -> None:
    assert due(None) == 0
    for number in range(50):
        pair = KeyPair(b"chain %d" % number, b"", ("a.test",), 1000, 1000 + 90 * DAY)
        assert 58 * DAY < due(pair) - 1000 <= 60 * DAY
        assert due(pair) == due(pair)
    assert len({due(KeyPair(b"%d" % number, b"", (), 0, 1000)) for number in range(20)}) > 15


def test_a_short_lived_one_is_due_at_half_of_its_life() -> None:
    pair = KeyPair(b"chain", b"", ("a.test",), 1000, 1000 + 6 * DAY)
    assert 2.8 * DAY < due(pair) - 1000 <= 3 * DAY


@pytest.mark.parametrize(("suggested", "when"), [(5, 5), (-5, -5), (80, 80), (89, 81), (500, 81)])
def test_the_authority_decides_when_within_reason(suggested: float, when: float) -> None:
    pair = KeyPair(b"chain", b"", ("a.test",), 1000, 1000 + 90 * DAY)
    assert due(pair, Suggestion(at=1000 + suggested * DAY)) == pytest.approx(1000 + when * DAY)
    assert due(pair, Suggestion()) == due(pair)


def test_failures_make_it_wait_longer_and_longer() -> None:
    waits = [pause(failures, lambda: 0.5) for failures in range(1, 12)]
    assert waits[:5] == [120, 240, 480, 960, 1920]
    assert max(waits) == 6 * 3600
    assert pause(1, lambda: 0.0) < 120 < pause(1, lambda: 1.0)


HTTP, TLS, DNS = "http-01", "tls-alpn-01", "dns-01"
HOOK = {"acme_dns_hook": Path("/bin/true")}


@pytest.mark.parametrize(
    ("domain", "plain", "more", "kinds"),
    [
        (SITE, True, {}, [(HTTP, TLS), (TLS, HTTP), (HTTP, TLS)]),
        (SITE, False, {}, [(TLS,), (TLS,)]),
        (SITE, True, HOOK, [(DNS, HTTP, TLS), (HTTP, TLS, DNS), (TLS, DNS, HTTP), (DNS, HTTP, TLS)]),
        (f"*.{SITE}", True, HOOK, [(DNS,), (DNS,)]),
        ("192.0.2.1", True, HOOK, [(HTTP, TLS), (TLS, HTTP)]),
        ("2001:db8::1", False, HOOK, [(TLS,)]),
    ],
)
def test_the_challenge_changes_with_each_failure(
    domain: str, plain: bool, more: dict[str, Path], kinds: list[tuple[str, ...]]
) -> None:
    settings = Settings(workers=1, bind_plain=(Address("0.0.0.0", 80),) if plain else (), **more)
    assert [challenge_kinds(settings, domain, failures) for failures in range(len(kinds))] == kinds


def test_state_gives_only_what_is_pending_and_keeps_it_private(tmp_path: Path) -> None:
    state = State(tmp_path, "https://ca.test/directory")
    state.make()
    token = "t" * 43
    assert state.response(token) is None
    with state.challenge(token, b"answer"):
        assert state.response(token) == b"answer"
        assert (state.pending / token).stat().st_mode & 0o777 == 0o600
    assert state.response(token) is None
    state.account.write_text("secret")
    for wicked in ("../account.json", "..%2faccount.json", "/etc/passwd", "", "short", f"{token}\0", f"{token}.pem"):
        assert state.response(wicked) is None
    assert state.validation_context("../account") is None
    assert state.validation_context(SITE) is None
    pair = self_signed((SITE,))
    with state.challenge(state.validation(SITE).name, pair.key + pair.chain):
        assert state.validation_context(SITE) is not None
    assert State(tmp_path, "https://other.test/directory").root != state.root


def test_challenges_that_a_killed_process_left_are_forgotten(tmp_path: Path) -> None:
    state = State(tmp_path, "https://ca.test/directory")
    state.make()
    left, asked = "l" * 43, "a" * 43
    for token in (left, asked):
        (state.pending / token).write_bytes(b"answer")
    (state.pending / "directory").mkdir()
    for name in (left, "directory"):
        os.utime(state.pending / name, (0, time.time() - 700))
    state.forget_leftovers(time.time())
    assert state.response(left) is None
    assert state.response(asked) == b"answer"


def test_one_worker_of_all_has_the_lock(tmp_path: Path) -> None:
    state = State(tmp_path, "https://ca.test/directory")
    state.make()
    with state.lock("lock") as first:
        assert first
        with state.lock("lock") as second:
            assert not second
    with state.lock("lock") as third:
        assert third


def test_a_lock_that_was_removed_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker removes what it takes for a leftover, between this one's opening and locking it."""
    state = State(tmp_path, "https://ca.test/directory")
    state.make()
    name, lock = state.order_lock(SITE), fcntl.flock
    path = state.root / name

    def late(file: FileIO, how: int) -> None:
        path.unlink()
        lock(file, how)

    with monkeypatch.context() as slow:
        slow.setattr(fcntl, "flock", late)
        assert state.acquire(name) is None
    with state.lock(name) as ours:
        assert ours


def test_old_locks_are_removed_unless_they_are_held(tmp_path: Path) -> None:
    state = State(tmp_path, "https://ca.test/directory")
    state.make()
    with state.lock(state.order_lock("held.test")), state.lock(state.order_lock("*.new.test")):
        with state.lock(state.order_lock("left.test")):
            pass
        for name in ("held.test", "left.test"):
            os.utime(state.orders / name, (0, time.time() - 700))
        state.forget_leftovers(time.time())
        assert sorted(path.name for path in state.orders.iterdir()) == ["@wildcard.new.test", "held.test"]
        with state.lock(state.order_lock("held.test")) as second:
            assert not second


def test_a_name_has_one_lock_at_all_authorities(tmp_path: Path) -> None:
    states = [State(tmp_path, f"https://{name}.test/directory") for name in ("one", "other")]
    for state in states:
        state.make()
    with states[0].lock(states[0].order_lock(SITE)) as ours, states[1].lock(states[1].order_lock(SITE)) as theirs:
        assert (ours, theirs) == (True, False)


def test_failures_outlive_the_process(tmp_path: Path) -> None:
    state = State(tmp_path, "https://ca.test/directory")
    state.make()
    assert state.failures(SITE) == Failures()
    state.note_failures(SITE, Failures(3, 12.5))
    assert State(tmp_path, "https://ca.test/directory").failures(SITE) == Failures(3, 12.5)
    state.note_failures(SITE, Failures())
    assert not list(state.root.glob("*.failures"))
