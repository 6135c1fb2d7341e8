"""A fault inside the gateway ends one request, with a response where none has begun, whatever drives the exchange."""

from collections.abc import Callable
from typing import Any

import pytest

from proxy import errors
from proxy.downstream.h1.connection import Connection as Http1
from proxy.downstream.h2.connection import Connection as Http2
from proxy.exchange import machine
from proxy.exchange.downstream_leg import DownstreamLeg
from proxy.exchange.upstream_leg import UpstreamLeg
from proxy.filters.rewrite import Rewrite
from proxy.upstream.connection import UpstreamConnection
from tests.proxy.exchange.exchanges import OK, Http2Client, respond, warm
from tests.proxy.exchange.harness import Harness

PROTOCOLS = {"http1": Http1, "http2": Http2}
compiled = pytest.mark.pure("replaces methods of compiled classes")
BEFORE_RESPONSE: dict[str, list[tuple[Any, str]]] = {
    "connection to the upstream": [(UpstreamLeg, "send_inline"), (UpstreamLeg, "acquire")],
    "response's head": [(UpstreamConnection, "whole_response"), (UpstreamLeg, "read_response")],
    "changes of responses": [(Rewrite, "incoming"), (Rewrite, "refusal")],
    "changes of refusals": [(Rewrite, "refusal")],
    "end of the upstream's turn": [(UpstreamLeg, "release")],
}
"""What is at fault, for both drivers."""
CHANGES = ("changes of responses", "changes of refusals")
"""Those that no form of the gateway has compiled."""


class UnexpectedError(Exception):
    """What no code expects."""


def _fail(*_arguments: object, **_options: object) -> None:
    raise UnexpectedError


def ask(harness: Harness, protocol: Callable[..., object]) -> Callable[[], str]:
    """Send a request of a new client; its response so far."""
    client = harness.connect()
    if protocol is Http1:
        client.sock.sendall(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        harness.settle()
        return lambda: str(client.received, "latin-1")
    http2 = Http2Client(client)
    stream = http2.send([(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/1")])
    harness.settle()
    return lambda: b"\n".join(
        part if isinstance(part, bytes) else str(part).encode() for part in http2.response(stream)
    ).decode()


@pytest.mark.parametrize("at_once", [True, False], ids=["callbacks", "greenlet"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "place", [pytest.param(place, marks=[] if place in CHANGES else compiled) for place in BEFORE_RESPONSE]
)
def test_fault_before_the_response_is_answered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str, protocol: str, at_once: bool
) -> None:
    with warm(at_once=at_once, protocol=PROTOCOLS[protocol], hsts="1d") as harness:
        with monkeypatch.context() as broken:
            for owner, name in BEFORE_RESPONSE[place]:
                broken.setattr(owner, name, _fail)
            answer = ask(harness, PROTOCOLS[protocol])
            respond(harness, b"no response" if place == "changes of refusals" else OK)
            harness.settle()
            assert "500" in answer()
            assert errors.INTERNAL.message in answer()
            assert '"trace_id"' in answer()
        logged = [record for record in caplog.records if record.exc_info]
        assert [record.getMessage().partition(" failed")[2] for record in logged] == [" inside the gateway"]
        assert logged[0].exc_info is not None
        assert logged[0].exc_info[0] is UnexpectedError
        counted = {reason: count for slot in harness.board.slots() for reason, _, count in slot.reasons() if count}
        assert counted == {"bad_response" if place == "changes of refusals" else "internal": 1}
        assert harness.busy == 0
        again = ask(harness, PROTOCOLS[protocol])
        respond(harness, OK)
        assert "200" in again()


@compiled
@pytest.mark.parametrize("at_once", [True, False], ids=["callbacks", "greenlet"])
def test_upstream_connection_is_not_used_again(monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    with warm(at_once=at_once, protocol=Http1) as harness:
        with monkeypatch.context() as broken:
            broken.setattr(UpstreamConnection, "whole_response", _fail)
            broken.setattr(UpstreamLeg, "read_response", _fail)
            ask(harness, Http1)
            respond(harness, OK)
        assert [end.ended for end in harness.upstreams] == [True]
        ask(harness, Http1)
        _, other = harness.upstreams
        assert b"GET /1" in other.received


@compiled
@pytest.mark.parametrize("at_once", [True, False], ids=["callbacks", "greenlet"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_fault_of_the_record_leaves_the_response(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, protocol: str, at_once: bool
) -> None:
    with warm(at_once=at_once, protocol=PROTOCOLS[protocol]) as harness:
        with monkeypatch.context() as broken:
            broken.setattr(machine, "record", _fail)
            answer = ask(harness, PROTOCOLS[protocol])
            respond(harness, OK)
        assert "200" in answer()
        assert answer().rstrip().endswith("ok")
        assert len([record for record in caplog.records if record.exc_info]) == 1
        again = ask(harness, PROTOCOLS[protocol])
        respond(harness, OK)
        assert "200" in again()


@compiled
@pytest.mark.parametrize("at_once", [True, False], ids=["callbacks", "greenlet"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_fault_of_the_refusal_ends_the_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, protocol: str, at_once: bool
) -> None:
    """Nothing can be sent then; the client is not left waiting."""
    with warm(at_once=at_once, protocol=PROTOCOLS[protocol]) as harness:
        with monkeypatch.context() as broken:
            for name in ("refusal", "send"):
                broken.setattr(DownstreamLeg, name, _fail)
            answer = ask(harness, PROTOCOLS[protocol])
            respond(harness, OK)
            harness.settle()
            assert "200" not in answer()
            if protocol == "http1":
                assert harness.clients[-1].ended
            else:
                assert "StreamReset" in answer()
        assert harness.busy == 0
