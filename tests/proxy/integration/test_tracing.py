"""Spans as a collector gets them, over OTLP: what they say, of which requests, and that no request waits for them."""

import re
import signal
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from proxy.observe.spans import CAPACITY
from tests.ports import ports
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.collector import Collector
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.h2.raw import GET, Raw
from tests.proxy.integration.scripted import Script, ScriptedUpstream
from tests.waiting import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
SERVER, ERROR = 2, 2  # of the protocol's enumerations

pytest.importorskip("opentelemetry.proto", reason="pip install 'aragora-gateway[tracing]'")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(
    scripted: ScriptedUpstream, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway behind a trusted proxy, the test, that traces all but one route."""
    upstream = scripted.address
    toml = f"""
        bind = "127.0.0.1:0"
        admin = "127.0.0.1:0"
        h2c = true
        workers = 1
        tracing = true
        trace_collector = "{collector.url}"
        trusted_proxies = "127.0.0.1"
        log_clients = "masked"
        read_timeout = "2s"
        [[route]]
        name = "up"
        path = "/up"
        trace_sample = false
        upstream = "{upstream}"
        [[route]]
        name = "shop"
        path = "/"
        upstream = "{upstream}"
    """
    directory = tmp_path_factory.mktemp("traced")
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=of-the-test", "OTEL_RESOURCE_ATTRIBUTES": "zone=a"}
    gateway = Gateway(directory, toml=toml, environ=environ)
    gateway.address, gateway.admin = gateway.announced(2)
    yield gateway
    gateway.close()
    assert "failed inside the gateway" not in gateway.log, gateway.log


@pytest.fixture(autouse=True)
def nothing_left(collector: Collector) -> Iterator[None]:
    collector.spans.clear()
    yield
    collector.spans.clear()


def ask(gateway: Gateway, protocol: str, target: str, **fields: str) -> str:
    """The status of one request."""
    if protocol == "2":
        with Raw(gateway.port) as raw:
            head = [(name, target if name == ":path" else value) for name, value in GET]
            raw.send(raw.headers(1, [*head, *fields.items()]))
            return str(raw.response(1)[0][":status"])
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with Client(gateway.address) as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: example.org\r\n{lines}\r\n".encode())
        return str(client.final().status)


def sent_on(upstream: ScriptedUpstream) -> str:
    """The `traceparent` of the last request that the application got."""
    found = re.findall(rb"traceparent: (\S+)", upstream.received[-1].data)
    return str(found[-1].decode())


@pytest.mark.parametrize("protocol", ["1.1", "2"])
def test_an_exchange_is_a_span_with_its_phases(
    traced: Gateway, scripted: ScriptedUpstream, collector: Collector, protocol: str
) -> None:
    scripted.expect()
    fields = {"traceparent": PARENT, "tracestate": "a=1", "user-agent": "test/1", "x-forwarded-for": "192.0.2.77"}
    begun = time.time_ns()
    assert ask(traced, protocol, "/a/b?secret=1", **fields) == "200"
    (span,) = collector.await_spans(1)
    assert (span.trace_id, span.parent, span.state, span.kind) == (TRACE, SPAN, "a=1", SERVER)
    assert sent_on(scripted) == f"00-{TRACE}-{span.span_id}-01", "the application's span is beneath this one"
    assert span.name == "GET shop"
    expected = {
        "http.request.method": "GET",
        "url.path": "/a/b",
        "url.scheme": "http",
        "server.address": "example.org",
        "client.address": "192.0.2.0",
        "user_agent.original": "test/1",
        "network.protocol.version": protocol,
        "http.response.status_code": 200,
        "aragora.route": "shop",
        "aragora.upstream": scripted.address,
        "aragora.termination": "--",
    }
    assert {name: span.attributes[name] for name in expected} == expected
    assert "secret" not in str(span)
    assert span.resource["service.name"] == "aragora-proxy"
    assert span.resource["zone"] == "a"
    assert collector.fields[-1]["api-key"] == "of-the-test"
    moments = [begun, span.start, *span.events.values(), span.end, time.time_ns()]
    slack = 2_000_000  # two clocks
    assert all(one <= other + slack for one, other in pairwise(moments)), span
    assert list(span.events)[-2:] == ["request sent", "response begun"]
    assert span.status == 0


def test_a_new_connection_is_among_the_phases(
    traced: Gateway, scripted: ScriptedUpstream, collector: Collector
) -> None:
    scripted.expect(Script(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "closes"))
    ask(traced, "1.1", "/first")
    scripted.expect()
    ask(traced, "1.1", "/second")
    spans = {span.attributes["url.path"]: span for span in collector.await_spans(2)}
    phases = ["request read", "connecting to the upstream", "connected", "request sent", "response begun"]
    assert list(spans["/second"].events) == phases


@pytest.mark.parametrize("protocol", ["1.1", "2"])
def test_a_failure_is_an_error_with_its_reason(
    traced: Gateway, scripted: ScriptedUpstream, collector: Collector, protocol: str
) -> None:
    scripted.expect(Script(b"nonsense\r\n\r\n"))
    assert ask(traced, protocol, "/broken") == "502"
    (span,) = collector.await_spans(1)
    assert span.status == ERROR
    assert span.attributes["error.type"] == "bad_response"
    assert span.attributes["aragora.termination"] == "SH"
    assert "response begun" not in span.events


@pytest.mark.parametrize("protocol", ["1.1", "2"])
def test_traces_that_are_not_sampled_have_no_spans(
    traced: Gateway, scripted: ScriptedUpstream, collector: Collector, protocol: str
) -> None:
    scripted.expect()
    ask(traced, protocol, "/up")
    assert sent_on(scripted).endswith("-00"), "a trace begins here, of a route that records none"
    ask(traced, protocol, "/a", traceparent=PARENT.removesuffix("1") + "0")
    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", sent_on(scripted)), "a proxy in front has decided"
    ask(traced, protocol, "/up", traceparent=PARENT)
    (span,) = collector.await_spans(1)
    assert span.attributes["url.path"] == "/up", "a proxy in front has decided"
    traced.admin_text("/metrics")
    ask(traced, protocol, "/last")
    assert [span.attributes["url.path"] for span in collector.await_spans(2)] == ["/up", "/last"]


def start_traced(directory: Path, upstream: ScriptedUpstream, collector: str, *flags: str) -> Gateway:
    tracing = ("--tracing", "on", "--trace-collector", collector)
    return serve(directory, upstream.address, *tracing, *flags, admin=True)


def test_spans_are_lost_while_the_collector_is_gone(scripted: ScriptedUpstream, tmp_path: Path) -> None:
    (port,) = ports(1)
    gateway = start_traced(tmp_path, scripted, f"http://127.0.0.1:{port}")
    try:
        scripted.expect()
        assert ask(gateway, "1.1", "/lost") == "200"
        gateway.wait_for("spans are lost: Connection refused; requests are served as before")
        assert gateway.metric("trace_collector_faults") == 1
        assert until(lambda: gateway.metric("spans_lost_total"), "it is counted") == 1
        with Collector(port) as collector:
            ask(gateway, "1.1", "/taken")
            assert [span.attributes["url.path"] for span in collector.await_spans(1)] == ["/taken"]
            gateway.wait_for("takes spans again")
            until(lambda: gateway.metric("spans_sent_total") == 1, "it is counted")
            assert gateway.metric("trace_collector_faults") == 0
            collector.status = 403
            ask(gateway, "1.1", "/refused")
            gateway.wait_for("spans are lost: 403 Forbidden")
    finally:
        gateway.close()


def test_requests_do_not_wait_for_a_collector_that_hangs(scripted: ScriptedUpstream, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gateway = start_traced(tmp_path, scripted, "http://127.0.0.1:{}".format(*silent.getsockname()[1:]))
        try:
            scripted.expect()
            ask(gateway, "1.1", "/")
            held, _ = silent.accept()  # the exporter waits for its response from now on
            more = 100
            with held, Client(gateway.address) as client:
                for _ in range(CAPACITY + more):
                    client.send(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
                    assert client.final().status == 200
            assert gateway.metric("spans_lost_total") >= more
            assert gateway.end() == 0, "nor does the end of a worker"
        finally:
            gateway.close()


def test_a_reload_changes_what_is_traced_and_for_whom(
    scripted: ScriptedUpstream, collector: Collector, tmp_path: Path
) -> None:
    plain = f'bind = "127.0.0.1:0"\nadmin = "127.0.0.1:0"\nworkers = 1\nupstream = "{scripted.address}"\n'
    traced = f'{plain}tracing = true\ntrace_collector = "{collector.url}"\n'
    gateway = Gateway(tmp_path, toml=plain)
    try:
        gateway.address, gateway.admin = gateway.announced(2)
        scripted.expect()
        ask(gateway, "1.1", "/before", traceparent=PARENT)
        assert sent_on(scripted) == PARENT, "a trace passes through"
        (worker,) = gateway.workers()
        assert "/google/_upb/" not in Path(f"/proc/{worker}/maps").read_text(), "no library is loaded for nothing"
        reload(gateway, traced)
        ask(gateway, "1.1", "/during", traceparent=PARENT)
        (span,) = collector.await_spans(1)
        assert (span.attributes["url.path"], span.parent) == ("/during", "")
        assert span.trace_id != TRACE, "a client that is not trusted joins no trace"
        assert sent_on(scripted) == f"00-{span.trace_id}-{span.span_id}-01"
        reload(gateway, f'{traced}trace_clients = "all"\ntrace_sample = "off"\n')
        ask(gateway, "1.1", "/joined", traceparent=PARENT)
        assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", sent_on(scripted)), "nor decides about its recording"
        reload(gateway, plain)
        ask(gateway, "1.1", "/after")
        assert b"traceparent" not in scripted.received[-1].data
    finally:
        gateway.close()
    assert len(collector.spans) == 1


def reload(gateway: Gateway, toml: str) -> None:
    gateway.configure(toml)
    before = gateway.status()["totals"]["reloads"]
    gateway.signal(signal.SIGHUP)
    until(lambda: gateway.status()["totals"]["reloads"] > before, "the worker has the new settings")
