"""Several peers behind the running gateway: who is asked, what becomes of one that fails, who has to wait."""

import contextlib
import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.exchange import PATIENCE
from tests.proxy.integration.scripted import Manual, Script, ScriptedUpstream
from tests.waiting import until


def reply(name: str) -> Script:
    return Script(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name.encode()))


@pytest.fixture(name="peers")
def _peers() -> Iterator[list[ScriptedUpstream]]:
    """Peers that answer with their own name."""
    peers = [ScriptedUpstream(reply(name)) for name in ("a", "b", "c")]
    yield peers
    for peer in peers:
        peer.close()


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    with contextlib.ExitStack() as started:

        def run(*flags: str) -> Gateway:
            gateway = serve(tmp_path, flags[0], *flags[1:], admin=True)
            started.callback(gateway.close)
            return gateway

        yield run


def ask(gateway: Gateway, path: str = "/", **fields: str) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(*gateway.address, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=fields)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers


def addresses(peers: list[ScriptedUpstream], *flags: str) -> list[str]:
    first, *others = peers
    return [first.address, *(part for peer in others for part in ("--upstream", peer.address)), *flags]


def test_weights_decide_how_often_a_peer_is_asked(run: Callable[..., Gateway], peers: list[ScriptedUpstream]) -> None:
    gateway = run(f"{peers[0].address} weight=3", "--upstream", peers[1].address)
    assert Counter(ask(gateway)[1] for _ in range(12)) == {"a": 9, "b": 3}


def test_a_hash_keeps_a_client_at_its_peer(run: Callable[..., Gateway], peers: list[ScriptedUpstream]) -> None:
    gateway = run(*addresses(peers, "--balance", "hash", "--hash-by", "header:X-User"))
    answers = {user: {ask(gateway, **{"X-User": user})[1] for _ in range(4)} for user in "stuvwxyz"}
    assert all(len(names) == 1 for names in answers.values())
    assert len(set.union(*answers.values())) > 1


def test_a_cookie_keeps_a_browser_at_its_peer(run: Callable[..., Gateway], peers: list[ScriptedUpstream]) -> None:
    gateway = run(*addresses(peers, "--sticky-cookie", "peer"))
    _, name, headers = ask(gateway)
    cookie, _, attributes = headers["Set-Cookie"].partition(";")
    assert "HttpOnly" in attributes
    again = [ask(gateway, Cookie=f"x=1; {cookie}") for _ in range(6)]
    assert {answer for _, answer, _ in again} == {name}
    assert not any("Set-Cookie" in fields for _, _, fields in again)
    assert "Set-Cookie" in ask(gateway, Cookie="peer=forged")[2]


def test_a_peer_that_is_gone_costs_no_request(run: Callable[..., Gateway], peers: list[ScriptedUpstream]) -> None:
    gateway = run(*addresses(peers[:2], "--eject-after", "2", "--eject-time", "60"))
    peers[1].close()
    assert Counter(ask(gateway)[1] for _ in range(12)) == {"a": 12}
    scraped = http.client.HTTPConnection(*gateway.admin, timeout=PATIENCE)
    with contextlib.closing(scraped):
        scraped.request("GET", "/metrics")
        text = scraped.getresponse().read().decode()
    assert f'upstream_failures_total{{peer="{peers[1].address}"}} 2.0' in text


def test_probes_take_a_peer_out_and_back_in(run: Callable[..., Gateway], peers: list[ScriptedUpstream]) -> None:
    gateway = run(
        *addresses(
            peers[:2],
            "--health-path",
            "/ready",
            "--health-interval",
            "50ms",
            "--health-fall",
            "2",
            "--health-rise",
            "1",
        )
    )
    peers[1].script = Script(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    until(lambda: f"upstream {peers[1].address} is down: /ready answered 503" in gateway.log, "the peer is down")
    assert {ask(gateway)[1] for _ in range(6)} == {"a"}
    peers[1].script = reply("b")
    until(lambda: f"upstream {peers[1].address} is up" in gateway.log, "the peer is up")
    assert {ask(gateway)[1] for _ in range(6)} == {"a", "b"}


def test_a_full_peer_makes_requests_wait_in_order(run: Callable[..., Gateway], peers: list[ScriptedUpstream]) -> None:
    """One connection, one place in the queue: the first is served, the second waits, the third is refused."""
    upstream = peers[0]
    released = threading.Event()
    upstream.script.opened = released
    gateway = run(upstream.address, "--peer-connections", "1", "--queue", "1")
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(ask(gateway)[0]))
    first.start()
    until(lambda: upstream.received, "the first request is with the upstream")
    second = threading.Thread(target=lambda: answers.append(ask(gateway)[0]))
    second.start()
    until(lambda: _waiting(gateway) == 1, "the second waits")
    status, body, fields = ask(gateway, Accept="application/json")
    assert (status, json.loads(body)["error"]["code"], fields["Retry-After"]) == (503, "queue_full", "5")
    released.set()
    first.join(2 * PATIENCE)
    second.join(2 * PATIENCE)
    assert answers == [200, 200]
    assert len(upstream.received) == 2


def _waiting(gateway: Gateway) -> float:
    connection = http.client.HTTPConnection(*gateway.admin, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    return float(next(line for line in text.splitlines() if line.startswith("aragora_proxy_queue_waiting")).split()[1])


def test_a_peer_that_only_says_something_informational_is_down(run: Callable[..., Gateway]) -> None:
    manual = Manual()
    gateway = run(
        manual.address,
        "--health-path",
        "/ready",
        "--health-interval",
        "50ms",
        "--health-timeout",
        "500ms",
        "--health-fall",
        "1",
    )
    probe = manual.accept()
    told = threading.Event()

    def talk() -> None:
        with contextlib.suppress(OSError):
            while not told.wait(0.02):
                probe.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    talking = threading.Thread(target=talk)
    talking.start()
    until(lambda: f"upstream {manual.address} is down: " in gateway.log, "the peer is down")
    told.set()
    talking.join()
    for kept in manual.kept:
        kept.close()
