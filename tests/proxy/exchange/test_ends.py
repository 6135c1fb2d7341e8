"""Ends that the model has found once, each by itself."""

from collections.abc import Iterator

import pytest

from tests.proxy.exchange.harness import Harness


@pytest.fixture(params=[True, False], ids=["callbacks", "greenlet"])
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    made = Harness(at_once=request.param)
    made.check_connections()
    yield made
    made.close()
    assert not made.violations


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\nHost: a\r\n\r\n", b"G\0T / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHos"]
)
def test_refusal_after_head_request_has_its_body(harness: Harness, head: bytes) -> None:
    client = harness.connect()
    client.sock.sendall(b"HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    harness.settle()
    upstream = harness.upstreams[0]
    upstream.sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    harness.settle()
    client.sock.sendall(head)
    harness.settle()
    harness.late()
    (_, (status, body)), more = client.responses([b"HEAD", b"GET"])
    assert status in (400, 408)
    assert b'"error"' in body
    assert not more


def test_client_and_upstream_deadline_in_one_sweep(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(12):  # which of two deadlines comes first is the chance of a set's order
        client = harness.connect()
        client.sock.sendall(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
        harness.settle()
        client.sock.close()  # its moment of grace and the upstream's deadline will be over at once
        harness.settle()
    harness.late()
    assert harness.busy == 0
    assert harness.finished == 12
    assert not [record for record in caplog.records if record.exc_info]
