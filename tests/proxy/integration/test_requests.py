"""Every request case against the running gateway: whole, byte by byte, and behind another request."""

import re

import pytest

from tests.proxy.gateway import Gateway
from tests.proxy.integration import cases
from tests.proxy.integration.exchange import SENDERS, Client
from tests.proxy.integration.scripted import ScriptedUpstream

BEFORE = b"GET /before HTTP/1.1\r\nHost: case.example\r\n\r\n"
AFTER = b"GET /after HTTP/1.1\r\nHost: case.example\r\n\r\n"
CASES = cases.requests()


def own_fields_removed(data: bytes, port: int, upstream: bytes) -> bytes:
    """The request without the eight fields the gateway sets, each of which must stand there once, and be right.

    A Host that is the `upstream` is the gateway's own as well.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    host = next(line for line in lines if line.startswith(b"Host:"))[5:].strip()
    assert lines[1].startswith(b"Host:"), "Host does not come first"
    host = b"" if host == upstream else host
    for name, value in (
        (b"X-Forwarded-For", rb"127\.0\.0\.1"),
        (b"X-Real-IP", rb"127\.0\.0\.1"),
        (b"X-Forwarded-Proto", rb"http"),
        (b"X-Forwarded-Port", b"%d" % port),
        (b"X-Request-ID", rb"[0-9A-Za-z-]{16,}"),
        (b"Via", rb"1\.[01] aragora-[0-9a-f]+"),
        (b"Forwarded", rb"for=127\.0\.0\.1;proto=http" + (rb';host="?' + re.escape(host) + rb'"?' if host else b"")),
        *([(b"X-Forwarded-Host", re.escape(host))] if host else []),
    ):
        found = [line for line in lines if line.lower().startswith(name.lower() + b":")]
        assert len(found) == 1, f"{name!r} is sent {len(found)} times"
        assert re.fullmatch(name + b": " + value, found[0]), found[0]
        lines.remove(found[0])
    return b"\r\n".join(lines) + end + body


def same_request(data: bytes, expected: bytes) -> bool:
    """Whether two requests are the same, wherever among the fields the framing stands."""
    (head, _, body), (expected_head, _, expected_body) = data.partition(b"\r\n\r\n"), expected.partition(b"\r\n\r\n")
    framing = re.compile(rb"(?m)^(?:Content-Length|Connection|TE): .*\r?\n?")

    def parts(block: bytes) -> tuple[bytes, list[bytes]]:
        block += b"\r\n"
        return framing.sub(b"", block), sorted(found.strip() for found in framing.findall(block))

    return body == expected_body and parts(head) == parts(expected_head)


@pytest.mark.parametrize("way", ["whole", "bytewise", "pipelined"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_request(case: cases.RequestCase, way: str, gateway: Gateway, scripted: ScriptedUpstream) -> None:
    scripted.expect()
    send = SENDERS.get(way, Client.send)
    before = 1 if way == "pipelined" else 0
    with Client(gateway.address) as client:
        send(client, (BEFORE + case.send) if before else case.send)
        if before:
            assert client.answer().status == 200
        answer = client.final()
        assert answer.status == case.status, answer
        assert answer.whole
        if case.closes:
            assert answer.field("Connection") == "close"
            assert client.at_end()
        else:
            send(client, AFTER)
            assert client.answer().status == 200
    forwarded = scripted.received[before:]
    if case.upstream is None:
        assert forwarded == [], "a refused request reached the upstream"
        assert answer.field("X-Request-ID")
        assert answer.field("Proxy-Status")
    else:
        upstream = scripted.address.encode()
        data = own_fields_removed(forwarded[0].data, gateway.port, upstream)
        assert same_request(data, case.upstream.replace(b"<upstream>", upstream)), data
        assert [received.data.split()[1] for received in forwarded[1:]] == ([] if case.closes else [b"/after"])
    assert scripted.stray == b""


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
