"""Two peers, one of which hangs, flaps or is slow: errors only where they cannot be helped, each explained."""

import contextlib
import json
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.proxy.gateway import Gateway
from tests.proxy.integration.drills.conftest import FACTOR, Origin
from tests.proxy.integration.drills.load import load
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.scripted import Script, ScriptedUpstream
from tests.waiting import until


@pytest.fixture
def sick() -> Iterator[Origin]:
    """The peer that something will happen to."""
    running = Origin()
    yield running
    with contextlib.suppress(ProcessLookupError):
        running.process.send_signal(signal.SIGCONT)
    running.kill()


def begin(start: Callable[..., Gateway], origin: Origin, sick: Origin, *flags: str) -> Gateway:
    ejects = ("--eject-after", "2", "--eject-time", "60")
    return start(origin.address, "--upstream", sick.address, *ejects, *flags, admin=True)


def causes(gateway: Gateway) -> Counter[tuple[int, str | None, str]]:
    """Status, reason and peer of every exchange in the log that was not answered with 200."""
    lines = (line for line in gateway.logged() if line["status"] != 200)
    return Counter((line["status"], line["reason"], line["upstream"]) for line in lines)


def cost(gateway: Gateway, peer: Origin) -> int:
    """Requests that ran into their deadline, once the peer is left out and nothing is on its way there; 0 before."""
    with Client(gateway.admin) as client:
        client.send(b"GET /status.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        shown = json.loads(client.answer().body)
    [found] = [one for one in shown["routes"][0]["peers"] if one["peer"] == peer.address]
    counts = {row["reason"]: int(row["count"]) for row in shown["failures"]}
    return counts["response_timeout"] if found["state"] == "ejected" and not found["busy"] else 0


@pytest.mark.drill
def test_a_peer_that_hangs_costs_the_requests_it_had_and_no_more(
    origin: Origin, sick: Origin, start: Callable[..., Gateway]
) -> None:
    """Who sends to a peer that stands still cannot know it before the deadline; from then on nobody is sent there."""
    gateway = begin(start, origin, sick, "--read-timeout", "1s")
    with load(gateway.port) as traffic:
        traffic.go_on(200)
        sick.process.send_signal(signal.SIGSTOP)
        before = until(lambda: cost(gateway, sick), "the peer is noticed, and what it has runs into its deadline")
        traffic.go_on(500 * FACTOR)
    account = traffic.account
    print(account)
    assert account.statuses[504] == before >= 2, "requests were still sent to the peer that hangs"
    assert account.statuses[200] + account.statuses[504] == account.sent
    until(lambda: sum(causes(gateway).values()) >= before, "each error stands in the log")
    assert causes(gateway) == {(504, "response_timeout", sick.address): before}, "with its cause"


@pytest.mark.drill
def test_a_peer_that_flaps_costs_nothing(origin: Origin, sick: Origin, start: Callable[..., Gateway]) -> None:
    gateway = begin(start, origin, sick)
    with load(gateway.port) as traffic:
        for _ in range(3 * FACTOR):
            traffic.go_on(200)
            sick.kill()
            traffic.go_on(200)
            sick.start()
    print(traffic.account, causes(gateway))
    traffic.account.check()
    idempotent = Counter({cause: count for cause, count in causes(gateway).items() if cause[1] != "upstream_closed"})
    assert not idempotent, "only a POST that a killed peer had begun may fail"


@pytest.mark.drill
def test_a_slow_peer_slows_nobody_else(origin: Origin, start: Callable[..., Gateway]) -> None:
    """With least-connections a peer that keeps what it has gets nothing more, and all that it had is answered."""
    slow = ScriptedUpstream(Script(opened=threading.Event()))
    gateway = start(origin.address, "--upstream", slow.address, "--balance", "least-connections")
    with contextlib.closing(slow), load(gateway.port) as traffic:
        slow.wait_for(3)
        before = traffic.account.answered
        until(lambda: traffic.account.answered > before + 200 * FACTOR, "the peer that is well serves at its own speed")
        kept = len(slow.received)
        assert slow.script.opened is not None
        slow.script.opened.set()
        slow.wait_for(kept + 1)
    print(traffic.account, f"{kept} kept waiting")
    assert traffic.account.clean, traffic.account
    assert kept < 20, "some of the clients were served all the time"
