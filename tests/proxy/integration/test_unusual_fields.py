"""Request fields with unusual names: dropped, counted and named once, unless a route passes them."""

from collections.abc import Callable
from http.client import HTTPConnection

import pytest

from proxy.observe.metrics import FIELDS as FIELDS_NAMED
from tests.proxy.gateway import Gateway
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.h2.raw import GET, Raw
from tests.proxy.integration.scripted import Received, ScriptedUpstream

FIELDS = {"x-amz-meta-my_key": "v", "x-amz-meta-do.t": "z", "x_real_ip": "192.0.2.1", "content_length": "7"}


def ask(gateway: Gateway, upstream: ScriptedUpstream, protocol: str, times: int = 1) -> list[Received]:
    """The same request again and again on one connection, as the upstream gets it."""
    upstream.expect()
    if protocol == "2":
        with Raw(gateway.port) as raw:
            for number in range(times):
                raw.send(raw.headers(2 * number + 1, [*GET, *FIELDS.items()]))
                assert raw.response(2 * number + 1)[0][":status"] == "200"
    else:
        lines = "".join(f"{name}: {value}\r\n" for name, value in FIELDS.items())
        with Client(gateway.address) as client:
            for _ in range(times):
                client.send(f"GET / HTTP/1.1\r\nHost: example.org\r\n{lines}\r\n".encode())
                assert client.final().status == 200
    return list(upstream.received)


def counted(gateway: Gateway) -> float:
    connection = HTTPConnection(*gateway.admin, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return float(text.partition("\naragora_proxy_request_fields_dropped_total ")[2].split()[0])


@pytest.mark.parametrize("protocol", ["1.1", "2"])
def test_they_are_dropped_counted_and_named_once(
    start: Callable[..., Gateway], scripted: ScriptedUpstream, protocol: str
) -> None:
    gateway = start(scripted.address, "--h2c", "on", admin=True)
    for received in ask(gateway, scripted, protocol, times=3):
        assert not any(name.encode() in received.data for name in FIELDS)
    assert counted(gateway) == 3 * len(FIELDS)
    dropped = {(row["message"], row["field"]): row["count"] for row in gateway.status()["dropped_fields"]}
    assert dropped == {("request", name): 3 for name in FIELDS}
    assert gateway.metric('fields_dropped_total{field="x_real_ip",message="request"}') == 3
    for name in FIELDS:
        assert gateway.log.count(f"the request field {name} is dropped") == 1


@pytest.mark.parametrize("protocol", ["1.1", "2"])
def test_a_route_passes_those_that_resemble_nothing(
    start: Callable[..., Gateway], scripted: ScriptedUpstream, protocol: str
) -> None:
    gateway = start(scripted.address, "--h2c", "on", "--underscores-in-fields", "on", admin=True)
    for received in ask(gateway, scripted, protocol, times=3):
        lines = received.data.split(b"\r\n")
        assert b"x-amz-meta-my_key: v" in lines
        assert b"x-amz-meta-do.t: z" in lines
        assert not any(name in received.data for name in (b"x_real_ip", b"content_length"))
    assert counted(gateway) == 3 * 2


def test_names_in_log_and_status_are_bounded(start: Callable[..., Gateway], scripted: ScriptedUpstream) -> None:
    gateway = start(scripted.address, admin=True)
    scripted.expect()
    with Client(gateway.address) as client:
        for batch in range(3):
            lines = "".join(f"x_{batch}_{number}_{'a' * 100}: v\r\n" for number in range(50))
            client.send(f"GET / HTTP/1.1\r\nHost: example.org\r\n{lines}\r\n".encode())
            assert client.final().status == 200
    assert gateway.log.count(" is dropped") == 64
    assert "a" * 64 not in gateway.log
    rows = gateway.status()["dropped_fields"]
    assert (len(rows), rows[0]["field"]) == (FIELDS_NAMED, "other")
    assert sum(row["count"] for row in rows) == 3 * 50
    assert all(len(row["field"]) <= 64 for row in rows)
