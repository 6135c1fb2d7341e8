"""HTTP/1 connections in this process, with both ends of each in the test's hands."""

import gc
import logging
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from proxy.downstream.h1.connection import Connection
from proxy.downstream.h1.reader import Memo
from proxy.downstream.h1.states import HALF_CLOSED, IDLE, LINGERING, SERVING
from proxy.downstream.h1.writer import ResponseWriter
from proxy.exchange.machine import Exchange
from proxy.exchange.request import Request
from proxy.exchange.upstream_leg import UpstreamLeg
from tests.proxy.exchange.harness import ClientEnd, Harness

REQUEST = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(params=[True, False], ids=["callbacks", "greenlet"])
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    made = Harness(at_once=request.param)
    made.check_connections()
    yield made
    made.close()
    assert not made.violations


def ask(harness: Harness, client: ClientEnd, data: bytes, response: bytes = RESPONSE) -> None:
    client.sock.sendall(data)
    harness.settle()
    harness.upstreams[0].sock.sendall(response)
    harness.settle()


def only(harness: Harness) -> Any:
    (connection,) = harness.front.connections
    assert isinstance(connection, Connection)
    return connection


def test_each_change_of_state_is_in_the_debug_log(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.getMessage().startswith("connection ")]

    client = harness.connect()
    ask(harness, client, REQUEST % b"quiet")
    assert not lines()
    with caplog.at_level(logging.DEBUG, "gunicorn.error.proxy"):
        harness.front.apply(harness.front.tables)
        ask(harness, client, REQUEST % b"logged")
        client.sock.close()
        harness.clients.remove(client)
        harness.settle()
    logged = lines()
    states = [line.split(": ")[1].split(" -> ") for line in logged]
    assert ["SERVING", "IDLE"] in states
    assert states[0][0] == "IDLE"
    assert states[-1][1] == "CLOSED"
    assert [after for _, after in states[:-1]] == [before for before, _ in states[1:]]
    assert all("of 127.0.0.1: " in line for line in logged)


def test_pipelined_requests_are_served_behind_a_half_close() -> None:
    harness = Harness(at_once=True, half_close="allow")
    harness.check_connections()
    client = harness.connect()
    client.sock.sendall(REQUEST % b"1" + REQUEST % b"2")
    client.sock.shutdown(1)
    harness.settle()
    assert only(harness).state is HALF_CLOSED
    for _ in range(2):
        harness.upstreams[0].sock.sendall(RESPONSE)
        harness.settle()
    assert client.responses([b"GET", b"GET"]) == ([(200, b"ok"), (200, b"ok")], False)
    assert client.ended
    assert not harness.front.connections
    harness.close()
    assert not harness.violations


def test_second_of_two_requests_notices_that_its_client_left(harness: Harness) -> None:
    client = harness.connect()
    client.sock.sendall(REQUEST % b"1" + REQUEST % b"2")
    harness.settle()
    client.sock.shutdown(1)
    harness.settle()
    harness.upstreams[0].sock.sendall(RESPONSE)
    harness.settle()
    assert only(harness).state is HALF_CLOSED
    harness.late()
    assert not harness.front.connections
    assert harness.finished == 2
    assert harness.busy == 0


@pytest.mark.parametrize("whole", [True, False])
def test_close_delimited_connections_are_forgotten(harness: Harness, *, whole: bool) -> None:
    """A response that only the connection's end ends is known as such for as long as it is under way."""
    client = harness.connect()
    ask(harness, client, b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nbegun")
    assert harness.front.close_delimited == {only(harness)}
    if whole:
        harness.upstreams[0].close()
        harness.settle()
        assert only(harness).state is LINGERING
    else:
        client.sock.close()
        harness.clients.remove(client)
        harness.upstreams[0].sock.sendall(b"more")
        harness.settle()
        harness.late()
    assert not harness.front.close_delimited


def test_nothing_holds_a_request_beyond_its_exchange(harness: Harness) -> None:
    """The object of a repeated request is used again, so the log and the rest must have copied what they show."""
    client = harness.connect()
    for _ in range(3):
        ask(harness, client, REQUEST % b"same")
    connection = only(harness)
    assert connection.state is IDLE
    request = connection._reader.memo.request
    assert isinstance(request, Request)
    holders = {type(holder) for holder in gc.get_referrers(request)}
    assert holders - {FrameType} <= {Memo, ResponseWriter, Exchange, UpstreamLeg}


def test_idle_connection_remembers_its_client_for_two_seconds(harness: Harness) -> None:
    client = harness.connect()
    ask(harness, client, REQUEST % b"same")
    ask(harness, client, REQUEST % b"same")
    connection = only(harness)
    assert connection._reader.memo is not None
    connection.deadline = -1.0
    harness.deadlines.sweep()
    assert connection.state is IDLE
    assert connection._reader.memo is connection._exchange is connection._writer.request is None
    ask(harness, client, REQUEST % b"same")
    assert client.responses([b"GET"] * 3)[0] == [(200, b"ok")] * 3


def test_connection_that_is_served_is_neither_idle_nor_shed(harness: Harness) -> None:
    client = harness.connect()
    client.sock.sendall(REQUEST % b"1")
    harness.settle()
    assert only(harness).state is SERVING
    assert harness.front.serving == 1
    assert harness.front.shed() == 0
    harness.upstreams[0].sock.sendall(RESPONSE)
    harness.settle()
    assert harness.front.serving == 0
    assert harness.front.shed() == 1
