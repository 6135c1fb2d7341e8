"""Processes that die, reload and are replaced under load."""

import json
import os
import signal
import socket
from collections.abc import Callable

import pytest

from tests.proxy.gateway import Gateway, children
from tests.proxy.integration.drills.conftest import FACTOR, Origin
from tests.proxy.integration.drills.load import GET, PATIENCE, POST, load
from tests.proxy.integration.drills.sockets import WebSocket
from tests.proxy.integration.exchange import Client
from tests.waiting import until

pytestmark = pytest.mark.drill


SOME = 200 * FACTOR
"""Requests that are answered between two events, at least."""


def test_upstream_killed_and_restarted(origin: Origin, start: Callable[..., Gateway]) -> None:
    gateway = start(origin.address, "--retry-wait", "30s")
    with load(gateway.port) as traffic:
        for _ in range(3 * FACTOR):
            traffic.go_on(200)
            origin.kill()
            traffic.stand_still()
            origin.start()
        traffic.go_on(200)
    print(traffic.account)
    assert traffic.account.clean, traffic.account


def test_held_requests_of_any_method_succeed(origin: Origin, start: Callable[..., Gateway]) -> None:
    """Requests that come while the upstream is down are held; only those in flight at the kill may fail."""
    gateway = start(origin.address, "--retry-wait", "30s", "--reuse-unsafe", "0")
    with load(gateway.port) as before:  # only an upstream that was up is waited for
        before.go_on(1)
    origin.kill()
    with load(gateway.port, requests=(GET, POST)) as traffic:
        traffic.stand_still()
        origin.start()
        traffic.go_on(SOME)
    print(traffic.account)
    assert traffic.account.clean, traffic.account


def serving(gateway: Gateway) -> list[object]:
    """The workers that have begun to serve."""
    with Client(gateway.admin) as client:
        client.send(b"GET /status.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        found: list[object] = json.loads(client.answer().body)["workers"]
        return found


def test_worker_killed(origin: Origin, start: Callable[..., Gateway]) -> None:
    gateway = start(origin.address, workers=2, admin=True)
    until(lambda: len(serving(gateway)) == 2, "both workers serve")
    connections = 20
    with load(gateway.port, connections) as traffic:
        traffic.go_on(SOME)
        victim = gateway.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(set(gateway.workers()) - {victim}) == 2, "a new worker")
        traffic.go_on(2 * SOME)
    account = traffic.account
    print(account)
    assert account.statuses[200] == account.answered
    assert account.lost + account.cut <= connections, "more than the killed worker's own connections"
    assert account.refused == 0


def test_reloads_keep_websockets_and_requests(origin: Origin, start: Callable[..., Gateway], tmp_path: object) -> None:
    gateway = start(origin.address, workers=2)
    workers = sorted(gateway.workers())
    tunnels = [WebSocket(gateway.port) for _ in range(100)]
    rounds = 20 * FACTOR
    with load(gateway.port) as traffic:
        for number in range(rounds):
            gateway.signal(signal.SIGHUP)
            traffic.go_on(20)
            assert tunnels[number % len(tunnels)].echoes(b"%d" % number)
    print(traffic.account)
    assert traffic.account.clean, traffic.account
    assert all(tunnel.echoes(b"still here") for tunnel in tunnels), "a WebSocket was lost"
    assert sorted(gateway.workers()) == workers, "a reload replaced a worker"
    for tunnel in tunnels:
        tunnel.close()


def test_upgrade_refuses_nobody(origin: Origin, start: Callable[..., Gateway]) -> None:
    gateway = start(origin.address, "--graceful", "10s", "--websocket-drain", "1s", workers=2)
    old, old_workers = gateway.master, gateway.workers()
    tunnels = [WebSocket(gateway.port) for _ in range(10)]
    with load(gateway.port) as traffic:
        traffic.go_on(SOME)
        gateway.signal(signal.SIGUSR2)
        new = until(lambda: next((pid for pid in children(old) if pid not in old_workers), 0), "a new master")
        until(lambda: len(children(new)) == 2, "its workers")
        traffic.go_on(SOME)
        assert all(tunnel.echoes(b"old and new") for tunnel in tunnels)
        os.kill(old, signal.SIGTERM)
        gateway.process.wait(20)
        gateway.masters.append(new)
        traffic.go_on(SOME)
    print(traffic.account)
    assert traffic.account.clean, traffic.account
    for tunnel in tunnels:
        assert tunnel.read().startswith(b"\x88\x02\x03\xf4"), "no close frame that says: restarted, come again (1012)"
        tunnel.close()
    with socket.create_connection(gateway.address, timeout=PATIENCE) as sock:
        sock.sendall(GET)
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")


def test_stop_answers_what_was_asked(origin: Origin, start: Callable[..., Gateway]) -> None:
    gateway = start(origin.address, "--graceful", "10s", workers=2)
    with load(gateway.port) as traffic:
        traffic.go_on(SOME)
        gateway.signal(signal.SIGTERM)
        assert gateway.process.wait(20) == 0
        until(lambda: traffic.account.refused, "clients come again and are refused")
    account = traffic.account
    print(account)
    assert account.statuses[200] == account.answered == account.sent, account
