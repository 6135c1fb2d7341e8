"""Every response case: a scripted upstream behind the running gateway, its bytes sent at once and one by one."""

from collections.abc import Iterator

import pytest

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration import cases
from tests.proxy.integration.exchange import Answer, Client
from tests.proxy.integration.scripted import Script, ScriptedUpstream
from tests.waiting import until

CASES = cases.responses()
LENIENT = cases.responses("lenient")
NEXT = b"GET /next HTTP/1.1\r\nHost: case.example\r\n\r\n"
OWN = {"date", "connection", "content-type", "cache-control", "x-content-type-options", "x-request-id", "proxy-status"}


def expected_answers(case: cases.ResponseCase) -> list[tuple[int, bytes, list[bytes], bytes]]:
    """Status, reason, fields and body of each answer the case promises; a body stands behind the last head only."""
    found = []
    rest = case.client
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        last = not rest.startswith(b"HTTP/1.1 ")
        found.append((int(line[9:12]), line[13:], fields, rest if last else b""))
        if last:
            break
    return found


def comparable(answer: Answer) -> list[bytes]:
    """Its fields as lines, without those that are the gateway's own on an answer it makes itself."""
    return [f"{name}: {value}".encode("latin-1") for name, value in answer.fields if name.lower() not in OWN]


@pytest.fixture(scope="module")
def lenient(scripted: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One that takes answers of old servers too."""
    running = serve(
        tmp_path_factory.mktemp("lenient"), scripted.address, "--lenient-responses", "on", "--retry-wait", "1"
    )
    yield running
    running.close()


@pytest.mark.parametrize("way", ["whole", "bytewise"])
@pytest.mark.parametrize("case", LENIENT, ids=lambda case: case.name)
def test_lenient(case: cases.ResponseCase, way: str, lenient: Gateway, scripted: ScriptedUpstream) -> None:
    test_response(case, way, lenient, scripted)
    if case.then == "stays":
        test_connection_is_kept_only_when_sure(case, lenient, scripted)


@pytest.mark.parametrize("way", ["whole", "bytewise"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_response(case: cases.ResponseCase, way: str, gateway: Gateway, scripted: ScriptedUpstream) -> None:
    if way == "bytewise" and len(case.reply) > 2000:
        pytest.skip("too long to send byte by byte")
    if way == "bytewise" and case.then == "resets":
        pytest.skip("a reset takes back bytes that were sent and not yet received")
    scripted.expect(Script(case.reply, case.then, bytewise=way == "bytewise"))
    with Client(gateway.address) as client:
        client.send(case.send)
        for status, reason, fields, body in expected_answers(case):
            answer = client.answer(head_only=case.send.startswith(b"HEAD"))
            assert answer.status == status, answer
            if status == 502:
                assert answer.field("Proxy-Status")
                assert answer.field("X-Request-ID")
                continue
            assert answer.reason.encode("latin-1") == reason
            assert sorted(comparable(answer)) == sorted(fields)
            assert answer.body == body if case.complete else body.startswith(answer.body)
            if status >= 200:
                assert answer.field("Date")
        assert answer.whole is case.complete
        if not case.complete or not case.client_open:
            assert client.at_end()
        else:
            used = scripted.received[-1].connection
            if not case.reused and not case.rests:  # or what still comes on it is taken for the next response
                until(lambda: used not in scripted.open, "the upstream's connection ends")
            scripted.expect(Script())
            client.send(NEXT)
            assert client.final().status == 200


@pytest.mark.parametrize("case", [case for case in CASES if case.then == "stays"], ids=lambda case: case.name)
def test_connection_is_kept_only_when_sure(
    case: cases.ResponseCase, gateway: Gateway, scripted: ScriptedUpstream
) -> None:
    scripted.expect(Script(case.reply, case.then))
    with Client(gateway.address) as client:
        client.send(case.send)
        client.final(head_only=case.send.startswith(b"HEAD"))
    used = scripted.received[-1].connection
    if not case.reused and not case.rests:
        until(lambda: used not in scripted.open, "the upstream's connection ends")
    scripted.expect()
    with Client(gateway.address) as client:
        client.send(NEXT)
        assert client.final().status == 200
    assert (scripted.received[0].connection == used) is case.reused
