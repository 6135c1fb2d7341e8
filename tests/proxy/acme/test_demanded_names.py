"""Names that clients asked for: the service that allows them, and which of them are renewed or forgotten."""

import os
import socket
import ssl
import threading
import time
from pathlib import Path
from tomllib import loads as load_toml
from typing import Any
from wsgiref.simple_server import make_server

import gevent
import gevent.socket
import pytest

from proxy.acme import permission
from proxy.acme.demanded_names import UNUSED, DemandedNames
from proxy.acme.issuer import Issuer, _in_a_thread
from proxy.acme.names import is_orderable
from proxy.acme.permission import Answer, Permission
from proxy.acme.state import Failures, State
from proxy.log import log
from proxy.net.certificates import self_signed
from proxy.process.surroundings import permission_lines
from proxy.settings import AcmeServer, Settings
from tests.deployment.pages import blocks
from tests.deployment.processes import CHECKOUT
from tests.proxy.acme.asked import asked
from tests.proxy.authority import Authority
from tests.serving import serving

pytestmark = pytest.mark.measured

HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    made = Issuer(AcmeServer("https://ca.test/dir"), Settings(workers=1, state_dir=tmp_path), "test", log)
    made.state.make()
    return made


@pytest.fixture
def state(issuer: Issuer) -> State:
    return issuer.state


def kept(state: State, names: DemandedNames, name: str, *, days: int = 90, used: float = 0.0) -> None:
    """Store a certificate for a name that was used last so many seconds ago."""
    pair = self_signed((name,), days)
    state.certificate(name).write_bytes(pair.key + pair.chain)
    names.add(name)
    moment = time.time() - used
    os.utime(state.demand(name), (moment, moment))


def ask(service: Permission, name: str) -> Answer:
    """In a greenlet, while the service's threads run."""
    return gevent.spawn(service.ask, name).get(timeout=20)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (0, Answer.ALLOWED), (204, Answer.ALLOWED), (302, Answer.UNKNOWN), (403, Answer.DENIED), (404, Answer.DENIED),
        (429, Answer.UNKNOWN), (500, Answer.UNKNOWN),
    ],
)  # fmt: skip
def test_statuses_of_the_service(status: int, answer: Answer) -> None:
    with asked("a.test") as service:
        service.status = status
        permission_of = Permission(service.url, "test")
        assert permission_of.known("a.test") is None
        assert ask(permission_of, "a.test") is answer
        assert permission_of.known("a.test") is answer
        assert service.questions == ["a.test"], "a redirect is not followed"


def test_a_service_over_https_has_to_prove_its_name(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with asked("a.test") as service:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("localhost", file="asked"))
        service.wrap(context)
        secure = service.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
        assert ask(Permission(secure, "test"), "a.test") is Answer.UNKNOWN
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert ask(Permission(secure, "test"), "a.test") is Answer.ALLOWED
        other = service.url.replace("http:", "https:")
        assert ask(Permission(other, "test"), "a.test") is Answer.UNKNOWN


@pytest.mark.parametrize(
    ("status", "told"), [(200, "so strangers choose the names"), (403, ""), (502, "no usable answer: status 502")]
)
def test_check_asks_for_a_name_that_cannot_exist(status: int, told: str) -> None:
    with asked() as service:
        service.status = status
        settings = Settings(workers=1, on_demand_ask=service.url)
        lines = gevent.spawn(permission_lines, settings).get(timeout=20)
        assert [told in line for line in lines] == [True] * bool(told)
        assert [name.rpartition(".")[2] for name in service.questions] == ["invalid"]


def test_a_query_of_the_address_is_kept() -> None:
    with asked("a.test") as service:
        assert ask(Permission(f"{service.url}?token=1", "test"), "a.test") is Answer.ALLOWED


def test_an_answer_replaces_the_one_before() -> None:
    with asked("a.test") as service:
        asking = Permission(service.url, "test")
        assert ask(asking, "a.test") is Answer.ALLOWED
        service.allowed.clear()
        assert ask(asking, "a.test") is Answer.DENIED
        assert asking.known("a.test") is Answer.DENIED


def test_a_silent_service_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission, "_DEADLINE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asking = Permission(f"http://127.0.0.1:{silent.getsockname()[1]}/", "test")
        assert ask(asking, "a.test") is Answer.UNKNOWN


def test_strangers_names_push_out_no_allowed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission, "_MOST", 2)
    with asked("a.test") as service:
        asking = Permission(service.url, "test")
        for name in ("a.test", "b.test", "c.test", "d.test"):
            ask(asking, name)
        assert [asking.known(name) for name in ("a.test", "b.test")] == [Answer.ALLOWED, None]
        assert asking.known("d.test") is Answer.DENIED


def test_unused_and_expired_names_are_forgotten(issuer: Issuer, state: State) -> None:
    names = DemandedNames([issuer], Permission("http://127.0.0.1:9/", "test"))
    kept(state, names, "used.test", used=DAY)
    kept(state, names, "unused.test", used=UNUSED + HOUR)
    kept(state, names, "expired.test", days=0)
    assert names.counted() == 3
    assert list(names.all()) == ["used.test"]
    assert names.count == 1
    assert sorted(path.name for path in state.root.glob("*.test.*")) == ["used.test.demand", "used.test.pem"]


def test_a_name_that_moved_into_the_settings_is_never_forgotten(issuer: Issuer, state: State) -> None:
    """Its certificate is renewed, and its use no longer noted, as that of a domain."""
    names = DemandedNames([issuer], Permission("http://127.0.0.1:9/", "test"), {"moved.test"})
    kept(state, names, "moved.test", used=UNUSED + HOUR)
    kept(state, names, "used.test")
    assert list(names.all()) == ["used.test"]
    assert (names.counted(), [name for name, _ in names.next_to_expire()]) == (1, ["used.test"])
    assert state.pair("moved.test") is not None


def test_an_authority_that_is_slow_leaves_threads_for_others() -> None:
    """Names are resolved in the hub's, of which there are ten."""
    released = threading.Event()
    orders = [gevent.spawn(_in_a_thread, lambda: (released.wait(20), None)[1]) for _ in range(12)]
    try:
        gevent.sleep(0)
        assert gevent.spawn(gevent.socket.getaddrinfo, "localhost", 80).get(timeout=10)
    finally:
        released.set()
        gevent.joinall(orders)


def test_old_files_of_names_without_one_are_removed(issuer: Issuer, state: State) -> None:
    names = DemandedNames([issuer], Permission("http://127.0.0.1:9/", "test"))
    state.note_failures("failed.test", Failures(1, 5.0, 1.0))
    state.note_failures("failing.test", Failures(1, 5.0, 1.0))
    with state.lock(state.order_lock("failed.test")):
        pass
    for path in (*state.orders.iterdir(), *state.root.glob("failed.test.*")):
        os.utime(path, (1.0, 1.0))
    assert list(names.all()) == []
    assert sorted(path.name for path in state.root.iterdir()) == ["failing.test.failures", "pending"]
    assert list(state.orders.iterdir()) == []


def test_use_is_noted_once_an_hour(issuer: Issuer, state: State) -> None:
    names = DemandedNames([issuer], Permission("http://127.0.0.1:9/", "test"))
    kept(state, names, "old.test", used=UNUSED - HOUR)
    kept(state, names, "new.test", used=60.0)
    before = state.demand("new.test").stat().st_mtime
    for name in ("old.test", "new.test", "unknown.test"):
        names.use(name)
    assert time.time() - state.demand("old.test").stat().st_mtime < HOUR
    assert state.demand("new.test").stat().st_mtime == before
    assert "unknown.test" not in names


def test_only_what_is_still_allowed_is_renewed(issuer: Issuer, state: State) -> None:
    with asked("kept.test") as service:
        names = DemandedNames([issuer], Permission(service.url, "test"))
        kept(state, names, "gone.test")
        assert gevent.spawn(names.wanted, "kept.test").get(timeout=20)
        assert not gevent.spawn(names.wanted, "gone.test").get(timeout=20)
        assert list(names.all()) == ["gone.test"], "served until its certificate expires"
        service.status = 500
        assert not gevent.spawn(names.wanted, "kept.test").get(timeout=20)


def test_the_guides_service_allows_its_customers() -> None:
    guide = CHECKOUT / "docs" / "howto" / "certificates.md"
    [program] = blocks(guide, "python")
    names: dict[str, Any] = {}
    exec(program.text, names)
    with serving(make_server("127.0.0.1", 0, names["app"])) as server:
        url = next(
            load_toml(block.text)["on_demand_ask"] for block in blocks(guide, "toml") if "on_demand" in block.text
        )
        asking = Permission(url.replace(":5000", f":{server.server_port}"), "test")
        assert ask(asking, "shop.example.com") is Answer.ALLOWED
        assert ask(asking, "git.shop.example.com") is Answer.DENIED


def test_files_of_the_longest_name_can_be_written(issuer: Issuer, state: State) -> None:
    names = DemandedNames([issuer], Permission("http://127.0.0.1:9/", "test"))
    longest = ".".join(["a" * 56] * 4) + ".b"
    assert is_orderable(longest[1:])
    state.note_failures(longest[1:], Failures(1, 2.0, 1.0))
    names.add(longest[1:])
    assert longest[1:] in names
    assert not is_orderable(longest)


def test_a_handshake_asks_for_any_name(issuer: Issuer) -> None:
    names = DemandedNames([issuer], Permission("http://127.0.0.1:9/", "test"))
    assert "a" * 300 + ".test" not in names
