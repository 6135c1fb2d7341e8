"""Routes that answer here, change fields, compress and tell of errors in their own words: the running gateway."""

import contextlib
import gzip
import http.client
import json
import os
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.filters import origin
from tests.proxy.filters.origin import BODY, EVENTS, LONG, NOISE, NOISE_TAKEN
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.h2.raw import GET, Raw
from tests.waiting import until

CONFIG = """
h2c = true
upstream = "127.0.0.1:{port}"
compress = true
cors_origins = ["https://app.example"]
cors_credentials = true
set_response_fields = {{ X-Frame-Options = "DENY" }}
error_pages = "{pages}"

[[route]]
path = "/api"
upstream = "127.0.0.1:{port}"
strip_prefix = true
set_request_fields = {{ X-Team = "blue" }}
remove_request_fields = ["X-Unwanted"]
remove_response_fields = ["Server-Secret"]

[[route]]
path = "/slashed/"
upstream = "127.0.0.1:{port}"
strip_prefix = true

[[route]]
path = "/whole"
upstream = "127.0.0.1:{port}"
strip_prefix = true

[[route]]
exact = "/whole"
upstream = "127.0.0.1:{port}"
strip_prefix = true

[[route]]
path = "/packed"
root = "{root}"
strip_prefix = true
compress = true

[[route]]
path = "/files"
compress = false
root = "{root}"
strip_prefix = true

[[route]]
path = "/mixed"
upstream = "127.0.0.1:{port}"
root = "{root}"
strip_prefix = true

[[route]]
path = "/page"
root = "{root}"
fallback = "/docs/index.html"
strip_prefix = true

[[route]]
path = "/old"
redirect = "https://{{host}}/new{{rest}}{{query}}"

[[route]]
exact = "/robots.txt"
respond = "User-agent: *\\nDisallow: /\\n"

[[route]]
exact = "/nothing"
respond = "this is not sent"
respond_status = 204

[[route]]
exact = "/up"
gateway_health = true

[[route]]
path = "/gone"
upstream = "127.0.0.1:9"
retry_wait = 0
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("local")
    root, pages = directory / "root", directory / "pages"
    (root / "docs").mkdir(parents=True)
    pages.mkdir()
    (root / "docs" / "index.html").write_text("<h1>docs</h1>")
    (root / "large.bin").write_bytes(bytes(range(256)) * 8192)
    (pages / "404.html").write_text("<p>nothing here, {request_id}</p>")
    (pages / "5xx.json").write_text('{"sorry": "{reason}"}')
    config = directory / "gateway.toml"
    with origin.origin() as port:
        config.write_text(CONFIG.format(port=port, root=root, pages=pages))
        running = serve(directory, f"127.0.0.1:{port}", "--config", str(config))
        try:
            yield running
        finally:
            running.close()


class LocalResponse:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.fields = response.headers
        self.body = response.read()


def ask(gateway: Gateway, path: str, method: str = "GET", **fields: str) -> LocalResponse:
    connection = http.client.HTTPConnection(*gateway.address, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, path, headers=named)
        return LocalResponse(connection.getresponse())
    finally:
        connection.close()


def test_prefix_and_fields_are_changed_on_the_way(gateway: Gateway) -> None:
    answer = ask(gateway, "/api/v1/x?y=1", X_Unwanted="1", X_Forwarded_Prefix="/forged", X_Team="red")
    asked = json.loads(answer.body)
    assert asked["path"] == "/v1/x?y=1"
    assert asked["fields"]["x-forwarded-prefix"] == "/api"
    assert asked["fields"]["x-team"] == "blue"
    assert "x-unwanted" not in asked["fields"]
    assert answer.fields["Server-Secret"] is None
    assert answer.fields["X-Frame-Options"] == "DENY"
    assert json.loads(ask(gateway, "/%61pi/a%2Fb").body)["path"] == "/a%2Fb"
    assert json.loads(ask(gateway, "/api", "POST").body)["path"] == "/"


@pytest.mark.parametrize(
    ("mount", "place"), [("/api", "/api/"), ("/files", "/files/"), ("/slashed", "/slashed/"), ("//api", "/api/")]
)
def test_a_mount_point_without_its_slash_is_redirected_to_it(gateway: Gateway, mount: str, place: str) -> None:
    """Relative links of the page that is mounted there would miss it."""
    for method in ("GET", "HEAD"):
        answer = ask(gateway, f"{mount}?x=//evil.example", method)
        assert (answer.status, answer.fields["Location"]) == (308, f"{place}?x=//evil.example")


def test_an_exact_route_beside_a_mount_point_is_the_exception(gateway: Gateway) -> None:
    answer = ask(gateway, "/whole")
    assert (answer.status, json.loads(answer.body)["path"]) == (200, "/")
    assert json.loads(answer.body)["fields"]["x-forwarded-prefix"] == "/whole"
    assert ask(gateway, "/whole?a").status == 200
    assert json.loads(ask(gateway, "/whole/b").body)["path"] == "/b"


def test_the_log_has_what_was_asked(gateway: Gateway) -> None:
    ask(gateway, "/api/logged")
    ask(gateway, "/files/none")
    assert _logged(gateway, "/api/logged")["status"] == 200
    assert _logged(gateway, "/files/none")["reason"] == "file_missing"


def _logged(gateway: Gateway, target: str) -> dict[str, Any]:
    """The newest line for a target."""
    return until(lambda: [one for one in gateway.logged() if one["target"] == target], "the line is in the log")[-1]


def test_files_with_ranges_and_conditions(gateway: Gateway) -> None:
    whole = ask(gateway, "/files/large.bin")
    assert (whole.status, len(whole.body)) == (200, 2097152)
    assert whole.body == bytes(range(256)) * 8192
    assert whole.fields["X-Frame-Options"] == "DENY"
    part = ask(gateway, "/files/large.bin", Range="bytes=1048570-1048580", If_Range=whole.fields["ETag"])
    assert (part.status, part.body) == (206, whole.body[1048570:1048581])
    assert part.fields["Content-Range"] == "bytes 1048570-1048580/2097152"
    assert ask(gateway, "/files/large.bin", If_None_Match=whole.fields["ETag"]).status == 304
    outside = ask(gateway, "/files/large.bin", Range="bytes=2097152-")
    assert (outside.status, outside.fields["Content-Range"]) == (416, "bytes */2097152")
    head = ask(gateway, "/files/large.bin", "HEAD")
    assert (head.fields["Content-Length"], head.body) == ("2097152", b"")
    moved = ask(gateway, "/files/docs")
    assert (moved.status, moved.fields["Location"]) == (301, "/files/docs/")
    assert ask(gateway, "/files/docs/").body == b"<h1>docs</h1>"
    posted = ask(gateway, "/files/docs/", "POST")
    assert (posted.status, posted.fields.get_all("Allow")) == (405, ["GET, HEAD"])


def test_files_come_before_the_application(gateway: Gateway) -> None:
    assert ask(gateway, "/mixed/docs/").body == b"<h1>docs</h1>"
    assert len(ask(gateway, "/mixed/large.bin").body) == 2097152
    for path, method in (("/mixed/none", "GET"), ("/mixed/docs", "GET"), ("/mixed/large.bin", "POST")):
        asked = json.loads(ask(gateway, path, method).body)
        assert (asked["path"], asked["fields"]["x-forwarded-prefix"]) == (path.removeprefix("/mixed"), "/mixed")
    assert ask(gateway, "/mixed/large.bin", Range="bytes=0-3").status == 206


def test_one_page_takes_the_place_of_missing_files(gateway: Gateway) -> None:
    page = ask(gateway, "/page/orders/7")
    assert (page.status, page.body, page.fields["Content-Type"]) == (200, b"<h1>docs</h1>", "text/html; charset=utf-8")
    assert ask(gateway, "/page/app.js").status == 404
    assert len(ask(gateway, "/page/large.bin").body) == 2097152
    with Raw(gateway.port) as raw:
        for stream, path in ((1, "/page/orders/7"), (3, "/mixed/docs/")):
            raw.send(raw.headers(stream, [(name, path if name == ":path" else value) for name, value in GET]))
            assert raw.response(stream)[1] == b"<h1>docs</h1>"


def test_a_slow_reader_gets_the_whole_file(gateway: Gateway) -> None:
    with socket.create_connection(gateway.address, timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(b"GET /files/large.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        got = 0
        while data := client.recv(65536):
            got += len(data)
    assert got > 2097152


def test_a_file_that_is_cut_while_it_is_sent_never_looks_whole(gateway: Gateway) -> None:
    path = gateway.access_log.parent / "root" / "growing.bin"
    path.touch()
    os.truncate(path, 64 << 20)
    with socket.create_connection(gateway.address, timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(b"GET /files/growing.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        got = len(client.recv(1024))
        os.truncate(path, 0)
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(1 << 20):
                got += len(data)
    assert got < 64 << 20
    assert _logged(gateway, "/files/growing.bin")["reason"] == "file_failed"


def test_answers_that_are_given_here(gateway: Gateway) -> None:
    moved = ask(gateway, "/old/a?b=c", Host="example.org:8000")
    assert (moved.status, moved.fields["Location"]) == (308, "https://example.org/new/a?b=c")
    robots = ask(gateway, "/robots.txt")
    assert (robots.body, robots.fields["Content-Type"]) == (
        b"User-agent: *\nDisallow: /\n", "text/plain; charset=utf-8"
    )  # fmt: skip
    head = ask(gateway, "/robots.txt", "HEAD")
    assert (head.fields["Content-Length"], head.body) == ("26", b"")
    assert ask(gateway, "/up").body == b"ok\n"


def test_several_answers_on_one_connection(gateway: Gateway) -> None:
    """What is answered here leaves the connection in order, whatever came with the request."""
    connection = http.client.HTTPConnection(*gateway.address, timeout=20)
    for path in ("/robots.txt", "/nothing", "/files/docs/", "/files/none", "/old/x", "/short", "/up"):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.getheader("Connection") is None
    connection.close()


def test_body_after_a_local_response_is_not_read_as_a_request(gateway: Gateway) -> None:
    with socket.create_connection(gateway.address, timeout=20) as client:
        smuggled = b"GET /short HTTP/1.1\r\nHost: a\r\n\r\n"
        client.sendall(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(smuggled), smuggled))
        client.shutdown(socket.SHUT_WR)
        answers = b""
        while data := client.recv(65536):
            answers += data
    assert answers.count(b"HTTP/1.1 ") == 1


def test_preflights_and_permissions(gateway: Gateway) -> None:
    allowed = ask(gateway, "/short", "OPTIONS", Origin="https://app.example", Access_Control_Request_Method="PUT")
    assert allowed.status == 204
    assert allowed.fields.get_all("Access-Control-Allow-Origin") == ["https://app.example"]
    assert allowed.fields["Access-Control-Allow-Credentials"] == "true"
    refused = ask(gateway, "/short", "OPTIONS", Origin="https://evil.example", Access_Control_Request_Method="PUT")
    assert (refused.status, refused.fields["Access-Control-Allow-Origin"]) == (403, None)
    answer = ask(gateway, "/short", Origin="https://app.example")
    assert answer.fields["Access-Control-Allow-Origin"] == "https://app.example"
    assert sorted(", ".join(answer.fields.get_all("Vary") or []).split(", ")) == ["Accept-Encoding", "Origin"]
    own = ask(gateway, "/own-cors", Origin="https://app.example")
    assert own.fields.get_all("Access-Control-Allow-Origin") == ["https://own.example"]
    failed = ask(gateway, "/gone", Origin="https://app.example")
    assert (failed.status, failed.fields["Access-Control-Allow-Origin"]) == (502, "https://app.example")


@pytest.mark.parametrize(("path", "body"), [("/short", BODY), ("/long", LONG), ("/until-close", BODY)])
def test_answers_are_compressed(gateway: Gateway, path: str, body: bytes) -> None:
    answer = ask(gateway, path, Accept_Encoding="gzip")
    assert gzip.decompress(answer.body) == body
    assert answer.fields["Content-Encoding"] == "gzip"
    assert answer.fields["Vary"] == "Origin"
    assert "Accept-Encoding" in (answer.fields.get_all("Vary") or [])
    length = answer.fields["Content-Length"]
    assert length == (None if path == "/until-close" else str(len(answer.body)))
    if path != "/until-close":
        assert answer.fields["ETag"] == 'W/"v1"'
        head = ask(gateway, path, "HEAD", Accept_Encoding="gzip")
        assert (head.fields["Content-Encoding"], head.fields["ETag"]) == ("gzip", 'W/"v1"')
        assert head.fields["Content-Length"] in (None, length)


def test_slow_client_of_compression_frees_the_application(gateway: Gateway) -> None:
    """The log tells that the upstream was done: its connection serves the next request while the first is unread."""
    with socket.create_connection(gateway.address, timeout=20) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        slow.sendall(b"GET /noise HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")
        until(lambda: NOISE_TAKEN.acquire(blocking=False), "the application has given everything")
        got = b""
        while data := slow.recv(65536):
            got += data
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert gzip.decompress(body) == NOISE


def test_an_update_names_the_state_that_was_read(gateway: Gateway) -> None:
    read = ask(gateway, "/short", Accept_Encoding="gzip")
    asked = json.loads(ask(gateway, "/any", If_Match=read.fields["ETag"]).body)
    assert asked["fields"]["if-match"] == '"v1"'


def test_files_are_compressed_where_that_is_asked_for(gateway: Gateway) -> None:
    root = gateway.access_log.parent / "root"
    (root / "app.css").write_text("body { color: red }\n" * 40_000)
    (root / "small.css").write_text("a {}")
    plain = ask(gateway, "/packed/app.css")
    packed = ask(gateway, "/packed/app.css", Accept_Encoding="gzip")
    assert gzip.decompress(packed.body) == plain.body == (root / "app.css").read_bytes()
    assert packed.fields["ETag"] == "W/" + plain.fields["ETag"]
    assert packed.fields["Content-Length"] == str(len(packed.body))
    assert ask(gateway, "/packed/app.css", If_None_Match=packed.fields["ETag"], Accept_Encoding="gzip").status == 304
    part = ask(gateway, "/packed/app.css", Range="bytes=0-3", Accept_Encoding="gzip")
    assert (part.status, part.body, part.fields["Content-Encoding"]) == (206, b"body", None)
    head = ask(gateway, "/packed/app.css", "HEAD", Accept_Encoding="gzip")
    assert (head.fields["Content-Encoding"], head.body) == ("gzip", b"")
    for path in ("/packed/small.css", "/packed/large.bin", "/files/app.css"):
        assert ask(gateway, path, Accept_Encoding="gzip").fields["Content-Encoding"] is None


def test_answers_that_are_not_compressed(gateway: Gateway) -> None:
    for path, fields in (
        ("/short", {}),
        ("/untyped", {"Accept_Encoding": "gzip"}),
        ("/cookie", {"Accept_Encoding": "gzip"}),
        ("/short", {"Accept_Encoding": "gzip", "Cookie": "a=1", "Sec_Fetch_Site": "cross-site"}),
    ):
        answer = ask(gateway, path, **fields)
        assert answer.body == BODY
        assert answer.fields["Content-Encoding"] is None
        assert answer.fields["Content-Length"] == str(len(BODY))


def test_each_event_arrives_before_the_next_is_sent(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection(*gateway.address, timeout=20)
    connection.request("GET", "/events", headers={"Accept-Encoding": "gzip"})
    EVENTS.release()
    response = connection.getresponse()
    decoder = zlib.decompressobj(31)
    events = b""
    for number in range(3):
        wanted = b"".join(b"data: %d\n\n" % one for one in range(number + 1))
        while events != wanted:
            piece = response.read1(65536)
            assert piece
            events += decoder.decompress(piece)
        EVENTS.release()
    connection.close()
    EVENTS.acquire()


def test_errors_in_the_operators_words(gateway: Gateway) -> None:
    page = ask(gateway, "/files/none", Accept="text/html")
    assert page.status == 404
    assert page.body == f"<p>nothing here, {page.fields['X-Request-ID']}</p>".encode()
    assert json.loads(ask(gateway, "/gone").body) == {"sorry": "connect_refused"}
    assert json.loads(ask(gateway, "/files/none").body)["error"]["code"] == "file_missing"
    assert page.fields["X-Frame-Options"] == "DENY"


def test_what_no_route_takes_is_nowhere(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('[[route]]\nhost = "a.example"\nrespond = "a"\n')
    running = serve(tmp_path / "run", "", "--config", str(config))
    try:
        assert ask(running, "/", Host="a.example").body == b"a"
        assert json.loads(ask(running, "/", Host="b.example").body)["error"]["code"] == "no_route"
    finally:
        running.close()
