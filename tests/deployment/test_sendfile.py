"""Files that real applications name for the gateway to send: whole, in part, and nothing else."""

import email
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.deployment.pages import blocks, moved
from tests.deployment.processes import CHECKOUT, GUNICORN, Running, accepts, ports
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.exchange import Answer, Client
from tests.proxy.integration.h2.raw import GET, Raw
from tests.waiting import until

GUIDE = CHECKOUT / "docs" / "howto" / "sendfile.md"
REPORT = b"0123456789" * 1000


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The guide's file, before one application of each framework."""
    directory = tmp_path_factory.mktemp("sendfile")
    flask, django = ports(2)
    addresses = {"127.0.0.1:8081": f"127.0.0.1:{flask}", "127.0.0.1:8082": f"127.0.0.1:{django}"}
    text = moved(blocks(GUIDE, "toml")[0].text, directory, addresses)
    files = directory / "srv/shop/files"
    files.mkdir(parents=True, exist_ok=True)
    (files / "report one.pdf").write_bytes(REPORT)
    (files / ".hidden").write_bytes(b"hidden")
    config = directory / "proxy.toml"
    config.write_text(text.replace('bind = "127.0.0.1:8000"', 'bind = "127.0.0.1:0"\nh2c = true'))
    with ExitStack() as running:
        for name, port in (("flask", flask), ("django", django)):
            command = (GUNICORN, f"tests.deployment.offloading:{name}()", "--bind", f"127.0.0.1:{port}")
            running.enter_context(Running(*command, log=directory / f"{name}.log", FILES=str(files)))
            until(partial(accepts, port), "the application listens")
        front = serve(directory / "gateway", "", "--config", str(config))
        running.callback(front.close)
        yield front
        assert "failed inside" not in front.log, front.log


def ask(gateway: Gateway, target: str, *lines: str, method: str = "GET") -> Answer:
    client = Client(gateway.address)
    try:
        head = "".join(line + "\r\n" for line in (f"{method} {target} HTTP/1.1", "Host: app.example", *lines))
        client.send(head.encode() + b"\r\n")
        return client.final(head_only=method == "HEAD")
    finally:
        client.sock.close()


@pytest.mark.parametrize("path", ["/flask/report%20one.pdf", "/django/report%20one.pdf"])
def test_the_named_file_takes_the_place_of_the_response(gateway: Gateway, path: str) -> None:
    answer = ask(gateway, path)
    assert (answer.status, answer.body) == (200, REPORT)
    assert answer.field("Content-Type") == "application/pdf"
    assert answer.field("Content-Length") == "10000"
    assert answer.field("X-Sendfile") is None
    assert answer.field("X-Accel-Redirect") is None
    part = ask(gateway, path, "Range: bytes=10-14")
    assert (part.status, part.body, part.field("Content-Range")) == (206, b"01234", "bytes 10-14/10000")
    tag = answer.field("ETag")
    assert ask(gateway, path, f"If-None-Match: {tag}").status == 304
    head = ask(gateway, path, method="HEAD")
    assert (head.status, head.field("Content-Length")) == (200, "10000")


def test_the_applications_own_fields_stay(gateway: Gateway) -> None:
    answer = ask(gateway, "/flask/report%20one.pdf", "Content-Length: 0", method="POST")
    assert (answer.status, answer.body) == (200, REPORT)
    assert answer.field("Set-Cookie") == "seen=1; Path=/"
    assert "report one.pdf" in (answer.field("Content-Disposition") or "")
    assert ask(gateway, "/django/report%20one.pdf").field("Cache-Control") == "private"


def test_http2_clients_get_the_file_too(gateway: Gateway) -> None:
    with Raw(gateway.port) as raw:
        for stream, path in ((1, "/flask/report%20one.pdf"), (3, "/django/report%20one.pdf")):
            raw.send(raw.headers(stream, [(name, path if name == ":path" else value) for name, value in GET]))
            fields, body = raw.response(stream)
            assert (fields["content-type"], body) == ("application/pdf", REPORT)
            assert not {"x-sendfile", "x-accel-redirect"} & fields.keys()


def parts_of(kind: str, body: bytes) -> list[tuple[str, str, bytes]]:
    """The parts of a multipart body: type, range and bytes of each."""
    message = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    assert message.get_content_type() == "multipart/byteranges"
    return [
        (part.get_content_type(), part["Content-Range"], part.get_payload(decode=True))
        for part in message.walk()
        if not part.is_multipart()
    ]


@pytest.mark.parametrize("path", ["/flask/report%20one.pdf", "/django/report%20one.pdf"])
def test_several_ranges_of_the_named_file_are_parts(gateway: Gateway, path: str) -> None:
    several = "bytes=0-4,500-502,-3"
    expected = [
        ("application/pdf", "bytes 0-4/10000", b"01234"),
        ("application/pdf", "bytes 500-502/10000", b"012"),
        ("application/pdf", "bytes 9997-9999/10000", b"789"),
    ]
    answer = ask(gateway, path, f"Range: {several}")
    assert answer.status == 206
    assert parts_of(answer.field("Content-Type") or "", answer.body) == expected
    assert answer.field("Content-Length") == str(len(answer.body))
    assert answer.field("Content-Range") is None
    assert "report one.pdf" in (answer.field("Content-Disposition") or "report one.pdf")
    head = ask(gateway, path, f"Range: {several}", method="HEAD")
    assert (head.status, head.field("Content-Length")) == (200, "10000")  # RFC 9110 section 14.2: only for GET
    whole = ask(gateway, path, f"Range: {several}", 'If-Range: "another"')
    assert (whole.status, whole.body) == (200, REPORT)
    assert ask(gateway, path, "Range: bytes=20000-,30000-").status == 416
    with Raw(gateway.port) as raw:
        asked = [(name, path if name == ":path" else value) for name, value in GET]
        raw.send(raw.headers(1, [*asked, ("range", several)]))
        fields, body = raw.response(1)
        assert parts_of(fields["content-type"], body) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/flask-outside", "/flask/.hidden", "/django/none", "/django/.hidden", "/django/../x", "/django/%2e%2e/x",
        "/protected/report%20one.pdf", "/protected", "/protected/", "/%70rotected/report%20one.pdf",
    ],
)  # fmt: skip
def test_no_other_file_is_sent(gateway: Gateway, path: str) -> None:
    answer = ask(gateway, path)
    assert answer.status in (400, 404)
    assert b"hidden" not in answer.body
    assert b"not for clients" not in answer.body


def test_the_log_names_files_that_are_missing(gateway: Gateway) -> None:
    ask(gateway, "/django/gone")
    gateway.wait_for("the application named a file that is not there: /protected/gone")
