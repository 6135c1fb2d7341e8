"""Several gateways keep together what each client may have open, in one Redis, and each alone while that is lost."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import httpx
import pytest
import websocket
from h2.errors import ErrorCodes
from hyperframe.frame import HeadersFrame, RstStreamFrame, SettingsFrame

from proxy.limits.leases import LEASE
from tests.proxy.gateway import Gateway, children
from tests.proxy.integration.h2.raw import CONNECT, Raw
from tests.proxy.integration.test_shared_limits import PASSWORD, SHARED, started, state
from tests.proxy.redis_server import RedisServer
from tests.proxy.websocket_echo import websocket_echo
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.component("redis")

MOST = 6
REQUEST = b"GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    directory = tmp_path_factory.mktemp("redis")
    (directory / "password").write_text(f"{PASSWORD}\n")
    server = RedisServer(directory, "--requirepass", PASSWORD, password=PASSWORD)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    with websocket_echo() as address:
        yield address


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer, echo: str) -> Iterator[Callable[..., Gateway]]:
    gateways: list[Gateway] = []

    def begin(limits: str, workers: int = 1) -> Gateway:
        fixed = '[[route]]\npath = "/fixed"\nrespond = "passed"\n'
        toml = f'upstream = "{echo}"\n{limits}\n{SHARED.format(redis=redis)}{fixed}'
        gateways.append(started(tmp_path_factory.mktemp("gateway") / "one", toml, workers))
        until(lambda: state(gateways[-1]) == "linked", "the gateway finds Redis")
        return gateways[-1]

    yield begin
    for gateway in gateways:
        gateway.close()
        assert "Traceback" not in gateway.log


@pytest.fixture(scope="module")
def pair(start: Callable[..., Gateway]) -> list[Gateway]:
    """Two gateways; the second has two workers."""
    limits = f"h2c = true\nmax_client_connections = {MOST}\nmax_client_websockets = 4"
    return [start(limits), start(limits, 2)]


def opened(gateway: Gateway, header: bytes = b"") -> tuple[socket.socket, int]:
    """A connection, and the status of its first response."""
    connection = socket.create_connection(("127.0.0.1", gateway.port), PATIENCE)
    connection.sendall(header + REQUEST)
    return connection, int(connection.recv(65536).split()[1])


def served(connections: list[tuple[socket.socket, int]], kept: ExitStack) -> int:
    """How many were served; they are kept open, the others closed."""
    for connection, status in connections:
        if status == 200:
            kept.enter_context(connection)
        else:
            assert status == 429
            connection.close()
    return sum(status == 200 for _, status in connections)


def serves(gateway: Gateway, kept: ExitStack, header: bytes = b"") -> bool:
    return bool(served([opened(gateway, header)], kept))


def http2_status(gateway: Gateway) -> int:
    with httpx.Client(http1=False, http2=True, timeout=PATIENCE) as client:
        return client.get(f"{gateway.url}/fixed").status_code


def leased(*gateways: Gateway) -> int:
    return sum(int(gateway.metric("shared_limits_leased")) for gateway in gateways)


def all_free(gateways: list[Gateway]) -> None:
    until(lambda: leased(*gateways) == 0, "all shares have been given back")


def test_connections_over_two_gateways_never_exceed_the_limit(pair: list[Gateway]) -> None:
    all_free(pair)
    alone = [gateway.metric("limited_alone_total") for gateway in pair]
    with ExitStack() as kept, ThreadPoolExecutor(8) as threads:
        tries = [threads.submit(opened, gateway) for _ in range(10) for gateway in pair]
        assert served([one.result() for one in tries], kept) == MOST
        assert pair[0].status()["shared_limits"]["leased"] + pair[1].status()["shared_limits"]["leased"] == MOST
        assert not serves(pair[0], kept)
        assert http2_status(pair[1]) == 429
    with ExitStack() as kept:
        until(lambda: http2_status(pair[1]) == 200, "what was closed is free")
        for _ in range(MOST):
            until(lambda: serves(pair[0], kept), "what the other had is free")
        assert not serves(pair[1], kept)
    assert [gateway.metric("limited_alone_total") for gateway in pair] == alone


def test_each_gateway_counts_alone_while_redis_is_lost(redis: RedisServer, pair: list[Gateway]) -> None:
    all_free(pair)
    redis.kill()
    with ExitStack() as kept:
        for gateway in pair:
            assert sum(serves(gateway, kept) for _ in range(MOST + 3)) == MOST
        until(lambda: [state(gateway) for gateway in pair] == ["lost"] * 2, "both have noticed")
        redis.start()
        until(lambda: leased(*pair) == 2 * MOST, "what was opened meanwhile is leased")
        assert not any(serves(gateway, kept) for gateway in pair)
    all_free(pair)
    with ExitStack() as kept:
        assert serves(pair[0], kept)


def test_the_share_of_a_gateway_that_died_comes_back(start: Callable[..., Gateway], pair: list[Gateway]) -> None:
    dying = start(f"max_client_connections = {MOST}")
    all_free(pair)
    with ExitStack() as kept:
        assert sum(serves(dying, kept) for _ in range(MOST)) == MOST
        assert not serves(pair[0], kept)
        workers = children(dying.process.pid)
        for process in (dying.process.pid, *workers):
            os.kill(process, signal.SIGKILL)
        died = monotonic()
        until(lambda: serves(pair[0], kept), "the lease passes", 3 * LEASE)
        assert monotonic() - died < LEASE + 5


def websocket_status(gateway: Gateway, kept: ExitStack) -> int:
    try:
        connection = websocket.create_connection(f"ws://127.0.0.1:{gateway.port}/", timeout=PATIENCE)
    except websocket.WebSocketBadStatusException as refused:
        return refused.status_code
    kept.callback(connection.close)
    connection.send("hello")
    assert connection.recv() == "hello"
    return 101


def test_websockets_over_two_gateways_never_exceed_the_limit(pair: list[Gateway]) -> None:
    for _ in range(2):
        all_free(pair)
        with ExitStack() as kept:
            found = [websocket_status(gateway, kept) for _ in range(3) for gateway in pair]
            assert sorted(found) == [101] * 4 + [429] * 2
            until(lambda: serves(pair[0], kept), "other requests pass")


def test_websockets_of_streams_count_with_those_of_connections(pair: list[Gateway]) -> None:
    """Of two HTTP/2 connections, one to each gateway, and of an HTTP/1 connection."""
    all_free(pair)
    with ExitStack() as kept:
        clients = [kept.enter_context(Raw(gateway.port)) for gateway in pair]
        for client in clients:
            client.until(SettingsFrame)
        found = []
        for stream in (1, 3, 5):
            for client in clients:
                client.send(client.open(stream, CONNECT))
                found.append(client.fields(client.until(HeadersFrame, stream=stream))[":status"])
        assert sorted(found) == ["200"] * 4 + ["429"] * 2
        assert websocket_status(pair[0], kept) == 429
        clients[0].send(RstStreamFrame(1, error_code=ErrorCodes.CANCEL))
        until(lambda: websocket_status(pair[1], kept) == 101, "the place of a stream that ended")


def test_shares_of_a_high_limit_are_leased_in_advance(start: Callable[..., Gateway], redis: RedisServer) -> None:
    gateway = start('max_client_connections = 400\nproxy_protocol = true\ntrusted_proxies = "127.0.0.1"')
    client_1, client_2 = (b"PROXY TCP4 192.0.2.%d 192.0.2.9 1 2\r\n" % number for number in (1, 2))
    with ExitStack() as kept, redis.client() as client:
        assert serves(gateway, kept, client_1)
        until(lambda: 1 < leased(gateway) <= 100, "some are kept for the next connections")
        before = client.info("commandstats")["cmdstat_hset"]["calls"]
        assert all(serves(gateway, kept, client_1) for _ in range(10))
        assert client.info("commandstats")["cmdstat_hset"]["calls"] == before
        assert serves(gateway, kept, client_2)
        assert client.info("commandstats")["cmdstat_hset"]["calls"] == before + 1
    all_free([gateway])


def test_a_user_without_the_rights_is_named_once(redis: RedisServer, tmp_path: Path) -> None:
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", "few", "on", f">{PASSWORD}", "~*", "+@all", "-zadd")
    shared = SHARED.format(redis=redis).replace("redis://", "redis://few@")
    gateway = started(tmp_path / "one", f'upstream = "127.0.0.1:1"\nmax_client_connections = 6\n{shared}')
    try:
        until(lambda: "run" in gateway.status()["shared_limits"]["fault"], "that it cannot run a command")
        assert (state(gateway), gateway.log.count("is lost"), gateway.log.count("answers again")) == ("lost", 1, 0)
    finally:
        gateway.close()


def test_a_connection_that_waits_for_redis_is_served_in_a_drain(
    start: Callable[..., Gateway], redis: RedisServer
) -> None:
    gateway = start(f"max_client_connections = {MOST}")
    redis.suspend()
    try:
        with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as connection:
            connection.sendall(REQUEST)
            accepted = "connections_accepted_total"
            until(lambda: gateway.metric(accepted) > 0, "it is accepted")
            gateway.signal(signal.SIGTERM)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        redis.resume()
