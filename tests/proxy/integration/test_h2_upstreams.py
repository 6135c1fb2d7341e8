"""Applications that speak HTTP/2, through whole gateways: what passes, what is repeated, what is in the log."""

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import httpx
import pytest

from tests.proxy.authority import Authority
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.applications import content
from tests.proxy.integration.exchange import Client
from tests.proxy.integration.h2_upstream import Http2Upstream
from tests.proxy.integration.scripted import ScriptedUpstream
from tests.proxy.integration.tls_upstreams import server_context
from tests.waiting import PATIENCE, until, writable

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Without the authorities that httpx would load for every client."""


@pytest.fixture(scope="module")
def behind() -> Iterator[Http2Upstream]:
    with closing(Http2Upstream()) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(behind: Http2Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("h2")
    file = directory / "proxy.toml"
    file.write_text(
        f'h2c = true\nread_timeout = "5s"\nupstream = "{behind.address}"\n'
        f'[[route]]\nhost = "streamed.test"\nrequest_buffering = false\nupstream = "{behind.address}"\n'
    )
    running = serve(directory, "", "--config", str(file))
    yield running
    running.close()
    assert "failed inside the gateway" not in running.log, running.log
    assert "Traceback" not in running.log, running.log


def ask(
    gateway: Gateway, path: str, *, http2: bool = False, body: bytes | None = None, host: str = "shop.test"
) -> httpx.Response:
    with httpx.Client(timeout=PATIENCE, http1=not http2, http2=http2, verify=NO_TLS) as client:
        method = "GET" if body is None else "POST"
        return client.request(method, gateway.url + path, content=body, headers={"Host": host})


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("size", [0, 1, 16_384, 100_000, 3_000_000])
def test_bodies_pass_both_ways(gateway: Gateway, size: int, http2: bool) -> None:
    body = content(size)
    answer = ask(gateway, "/echo", http2=http2, body=body).json()
    assert answer["sha256"] == hashlib.sha256(body).hexdigest()
    assert ask(gateway, f"/bytes?n={size}", http2=http2).content == body


def test_the_application_gets_the_request_of_the_client(gateway: Gateway) -> None:
    fields = ask(gateway, "/fields?a=b").json()["fields"]
    assert (fields[":method"], fields[":path"], fields[":authority"]) == ("GET", "/fields?a=b", "shop.test")
    assert (fields[":scheme"], fields["te"], fields["x-forwarded-host"]) == ("http", "trailers", "shop.test")
    assert not {"host", "connection", "transfer-encoding"} & fields.keys()


def test_trailers_reach_clients_that_take_them(gateway: Gateway) -> None:
    with Client(gateway.address) as client:
        client.send(b"GET /bytes?n=3 HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
        answer = client.answer()
    assert (answer.body, answer.field("trailer x-trailer")) == (content(3), "last")


def test_many_requests_share_one_connection(gateway: Gateway, behind: Http2Upstream) -> None:
    paths = [f"/shared/{number}" for number in range(60)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda path: ask(gateway, path), paths))
    assert [answer.json()["fields"][":path"] for answer in answers] == paths
    assert len({answer.headers["x-connection"] for answer in answers}) == 1


@pytest.mark.parametrize("path", ["/refused", "/goaway"])
@pytest.mark.parametrize("http2", [False, True])
def test_what_was_not_acted_upon_is_repeated(gateway: Gateway, behind: Http2Upstream, path: str, http2: bool) -> None:
    path = f"{path}/{http2}"
    assert ask(gateway, path, http2=http2, body=b"a POST").status_code == 200
    assert [asked for _, asked in behind.asked].count(path) == 2


@pytest.mark.parametrize("path", ["/refused/streamed", "/goaway/streamed"])
def test_a_body_under_way_is_sent_from_its_beginning(gateway: Gateway, behind: Http2Upstream, path: str) -> None:
    with Client(gateway.address) as client:
        client.send(f"POST {path} HTTP/1.1\r\nHost: streamed.test\r\nContent-Length: 10\r\n\r\nfirst".encode())
        until(lambda: [asked for _, asked in behind.asked].count(path) == 2, "the repetition")
        client.send(b"later")
        answer = json.loads(client.answer().body)
    assert answer["sha256"] == hashlib.sha256(b"firstlater").hexdigest()


def test_a_response_that_breaks_off_is_not_complete(gateway: Gateway) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(gateway, "/cut")
    assert ask(gateway, "/after").status_code == 200


def test_no_field_can_become_two(gateway: Gateway) -> None:
    answer = ask(gateway, "/injected")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "bad_response")
    until(lambda: "malformed HTTP/2: a field value" in gateway.log, "why")


def test_what_follows_a_broken_response_is_ignored(gateway: Gateway) -> None:
    """It comes in the same piece: the stream is reset, but nobody knows that yet."""
    answer = ask(gateway, "/informed")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "bad_response")
    assert ask(gateway, "/after").status_code == 200


def test_a_client_that_leaves_ends_its_stream_alone(gateway: Gateway, behind: Http2Upstream) -> None:
    before = len(behind.resets)
    with Client(gateway.address) as client:
        client.send(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: any(path == "/silent" for _, path in behind.asked), "the request")
    until(lambda: behind.resets[before:] == [8], "the reset")
    assert ask(gateway, "/after").status_code == 200


def test_silence_has_a_deadline(gateway: Gateway) -> None:
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(ask(gateway, "/silent/long").status_code))
    waiting.start()
    assert ask(gateway, "/others").status_code == 200
    waiting.join(PATIENCE)
    assert found == [504]


def test_a_response_before_the_end_of_the_request_passes(gateway: Gateway) -> None:
    assert ask(gateway, "/early", body=content(3_000_000)).status_code == 413


def test_an_upload_waits_for_an_application_that_does_not_read(gateway: Gateway, behind: Http2Upstream) -> None:
    """Its windows are full, and so are in turn the gateway's buffers, the client's connection, and the client's own."""
    before = behind.received
    with socket.create_connection(gateway.address, timeout=PATIENCE) as client:
        client.sendall(b"POST /unread HTTP/1.1\r\nHost: streamed.test\r\nContent-Length: 40000000\r\n\r\n")
        client.setblocking(False)
        sent, piece = 0, bytes(1 << 20)
        while writable(client, 1.0):
            sent += client.send(piece)
            assert sent < 30_000_000
    assert behind.received - before <= 65_535


def test_websockets_are_refused_with_the_reason(gateway: Gateway) -> None:
    with Client(gateway.address) as client:
        client.send(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert client.answer().status == 502
    until(lambda: "give their path a route with http:// or https://" in gateway.log, "why")


@pytest.fixture(scope="module")
def several(
    behind: Http2Upstream, scripted: ScriptedUpstream, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """One gateway, whose hosts are applications that are addressed well, or not."""
    pair = authority.issue("127.0.0.1", file="h2")
    context, http1 = server_context(pair), server_context(pair)
    context.set_alpn_protocols(["h2"])
    http1.set_alpn_protocols(["http/1.1"])
    directory = tmp_path_factory.mktemp("several")
    with ExitStack() as stack:
        narrow, closed, secure, old, local = (
            stack.enter_context(closing(upstream))
            for upstream in (
                Http2Upstream(streams=1),
                Http2Upstream(streams=0),
                Http2Upstream(context),
                Http2Upstream(http1),
                Http2Upstream(path=str(directory / "app.sock")),
            )
        )
        upstreams = {
            "narrow": narrow.address,
            "closed": closed.address,
            "unix": local.address,
            "secure": secure.address,
            "without-h2": old.address,
            "http1": f"h2c://{scripted.address}",
            "plain": f"127.0.0.1:{behind.port}",
            "https": f"https://127.0.0.1:{secure.port}",
        }
        routes = [f'[[route]]\nhost = "{host}.test"\nupstream = "{where}"\n' for host, where in upstreams.items()]
        file = directory / "proxy.toml"
        file.write_text(f'upstream_ca = "{authority.file}"\nretry_wait = 0\n' + "".join(routes))
        running = serve(directory, "", "--config", str(file))
        stack.callback(running.close)
        yield running
        assert "Traceback" not in running.log, running.log


def test_streams_beyond_the_limit_get_connections(several: Gateway) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda n: ask(several, f"/bytes?n={100_000 + n}", host="narrow.test"), range(12)))
    assert {answer.status_code for answer in answers} == {200}


def test_http_2_over_tls_is_agreed_upon(several: Gateway) -> None:
    assert ask(several, "/bytes?n=100000", host="secure.test").content == content(100_000)
    assert ask(several, "/fields", host="secure.test").json()["fields"][":scheme"] == "https"


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("closed", "it accepts no requests (SETTINGS_MAX_CONCURRENT_STREAMS is 0)"),
        ("without-h2", "it offers no HTTP/2 (ALPN); write https:// in place of h2://"),
        ("http1", "it answers in HTTP/1; write its address with http:// or https://"),
        ("plain", "speaks HTTP/2 only, as gRPC does; write h2c:// before its address"),
        ("https", "speaks HTTP/2 only, as gRPC does; write h2c:// before its address, or h2:// over TLS"),
    ],
)
def test_the_log_has_the_scheme_to_write(several: Gateway, host: str, why: str) -> None:
    assert ask(several, "/", host=f"{host}.test").status_code in (502, 503)
    until(lambda: why in several.log, why)


def test_a_unix_socket_can_speak_http_2(several: Gateway) -> None:
    assert ask(several, "/bytes?n=100000", host="unix.test").content == content(100_000)
