"""Bounds of what waits for certificates on demand, in this process."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from proxy.acme import on_demand
from proxy.acme.issuer import Issuer
from proxy.acme.on_demand import Admission, OnDemand, Outcome
from proxy.acme.permission import Permission
from proxy.log import log
from proxy.net.certificate_set import CertificateSet
from proxy.net.certificates import self_signed
from proxy.net.tls_contexts import TlsContexts
from proxy.settings import AcmeServer, Settings
from tests.proxy.acme.asked import Asked, asked
from tests.waiting import until

pytestmark = pytest.mark.measured

NAME = "a.test"


class Waiting:
    """One worker's orders, which a service keeps waiting until it is released."""

    def __init__(self, state_dir: Path, service: Asked) -> None:
        settings = Settings(workers=1, state_dir=state_dir)
        issuer = Issuer(AcmeServer("https://127.0.0.1:9/dir"), settings, "test", log)
        self.state = issuer.state
        self.contexts = TlsContexts()
        self.contexts.install(CertificateSet((self_signed(("x.test",)),)))
        self.outcomes: list[Outcome] = []
        self.clients: list[str] = []
        self.served: list[bool] = []
        self.accepted = 0
        self.service = service
        service.may_answer.clear()
        admission = Admission(self._client, lambda: True, self.outcomes.append, lambda _obtained: None)
        asking = Permission(service.url, "test")
        self.orders = OnDemand(settings, [issuer], asking, self.contexts, admission, log)

    def _client(self, client: str) -> bool:
        self.clients.append(client)
        return client != "greedy"

    def request(self, name: str = NAME, client: str = "client") -> bool:
        accepted = self.orders.request(name, client, self.served.append)
        self.accepted += accepted
        return accepted

    def release(self) -> None:
        """The service says no; the handshakes go on."""
        self.service.may_answer.set()
        until(lambda: len(self.served) == self.accepted, "the handshakes go on", pause=gevent.sleep)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Waiting]:
    with asked() as service:
        made = Waiting(tmp_path, service)
        yield made
        made.release()


def test_clients_of_a_name_wait_for_one_question(waiting: Waiting) -> None:
    assert [waiting.request() for _ in range(3)] == [True] * 3
    waiting.release()
    assert waiting.served == [False] * 3
    assert waiting.outcomes == [Outcome.DENIED] * 3
    assert waiting.service.questions == [NAME]
    assert waiting.clients == ["client"], "the client counts for the name once"
    assert not waiting.request(), "the answer is remembered"


def test_handshakes_that_wait_are_bounded(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "_MOST_WAITING_FOR_ONE", 2)
    monkeypatch.setattr(on_demand, "_MOST_WAITING", 3)
    assert [waiting.request() for _ in range(3)] == [True, True, False]
    assert [waiting.request("b.test"), waiting.request("b.test"), waiting.request("c.test")] == [True, False, False]
    waiting.release()
    assert len(waiting.served) == 3
    assert waiting.outcomes.count(Outcome.BUSY) == 3
    assert waiting.request("c.test"), "there is room again"


def test_names_that_are_ordered_at_once_are_bounded(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "_MOST_ORDERED", 1)
    assert [waiting.request(), waiting.request("b.test")] == [True, False]
    assert waiting.outcomes == [Outcome.BUSY]


def test_a_greedy_client_brings_no_more_names(waiting: Waiting) -> None:
    assert not waiting.request(client="greedy")
    assert waiting.outcomes == [Outcome.RATE]
    assert waiting.request(client="modest")


def test_what_is_no_host_name_costs_no_question(waiting: Waiting) -> None:
    assert not waiting.request("../state.test")
    assert waiting.outcomes == [Outcome.NAME]
    assert waiting.clients == []


def test_a_newer_file_is_served_after_half_a_minute(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    orders, state = waiting.orders, waiting.state
    state.make()
    assert not orders.serves(NAME)
    for days in (10, 20):
        pair = self_signed((NAME,), days)
        state.certificate(NAME).write_bytes(pair.key + pair.chain)
        assert orders.serves(NAME) is (days == 20), "only with its mark"
        state.demand(NAME).touch()
    known = waiting.contexts.has_obtained
    assert known(NAME)
    state.certificate(NAME).unlink()
    assert orders.serves(NAME), "not looked at again yet"
    monkeypatch.setattr(on_demand, "monotonic", lambda: gevent.get_hub().loop.now() + 10**9)
    assert not orders.serves(NAME)
