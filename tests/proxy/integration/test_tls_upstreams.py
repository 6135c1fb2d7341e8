"""Applications behind TLS, through one whole gateway: what it verifies and proves, what passes, what the log says."""

import hashlib
import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
import websocket

from tests.proxy.authority import DAY, Authority
from tests.proxy.gateway import Gateway
from tests.proxy.integration import tls_upstreams, upstreams
from tests.proxy.integration.applications import content, read_events
from tests.proxy.integration.tls_upstreams import Script, scripted, server_context
from tests.waiting import PATIENCE, until

NAME = "app.test"
pytestmark = [pytest.mark.component("nginx"), pytest.mark.component("uvicorn")]

TOP = """\
bind = "127.0.0.1:0"
admin = "127.0.0.1:0"
access_log = "off"
workers = 1
h2c = true
retry_wait = 0
upstream_keepalive = "60s"
"""


def fixed(raw: ssl.SSLSocket, _header: bytes) -> None:
    """A response to each request until the client ends."""
    while raw.recv(65536):
        raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def told(raw: ssl.SSLSocket, header: bytes) -> None:
    """The PROXY header that came."""
    raw.recv(65536)
    raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(header), header))


def cut_short(raw: ssl.SSLSocket, _header: bytes) -> None:
    """A body that the connection's end ends, without a close_notify; with one for /whole."""
    asked = raw.recv(65536)
    raw.sendall(b"HTTP/1.1 200 OK\r\n\r\nbody")
    if b"/whole" in asked:
        raw.unwrap().close()


class Place:
    """The gateway, and what stands behind it."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self.gateway = gateway
        self.folder = folder

    def get(self, host: str, path: str = "/", http2: bool = False, **how: object) -> httpx.Response:
        with httpx.Client(timeout=PATIENCE, http1=not http2, http2=http2) as client:
            return client.request(str(how.pop("method", "GET")), self.gateway.url + path, headers={"Host": host}, **how)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def place(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("tls-upstreams")
    pair = authority.issue(NAME, "127.0.0.1", "localhost", file="upstream")
    named = authority.issue(NAME, file="named")
    expired = authority.issue(NAME, file="expired", begins=-3 * DAY, ends=-DAY)
    own = Authority(folder, "self signed").issue(NAME, file="own")
    client = authority.issue("gateway.test", file="client")
    ca, identity = f'upstream_ca = "{authority.file}"', f'upstream_cert = "{client[0]}"\nupstream_key = "{client[1]}"'
    with ExitStack() as stack:

        def script(how: Script, context: ssl.SSLContext) -> str:
            return stack.enter_context(scripted(context, how, header=how is told))

        gunicorn = stack.enter_context(closing(tls_upstreams.gunicorn(folder, pair)))
        uvicorn = stack.enter_context(closing(tls_upstreams.uvicorn(folder, pair)))
        nginx = stack.enter_context(closing(tls_upstreams.nginx(folder / "nginx", pair, authority.file)))
        plain = stack.enter_context(closing(upstreams.application("gthread", folder)))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        ok = server_context(pair)
        routes = {
            "wsgi": (gunicorn.address, ca),
            "asgi": (uvicorn.address, ca),
            "system": (gunicorn.address, ""),
            "misnamed": (script(fixed, server_context(named)), ca),
            "renamed": (script(fixed, server_context(named)), f'{ca}\nupstream_name = "{NAME}"'),
            "localhost": (gunicorn.address.replace("127.0.0.1", "localhost"), ca),
            "expired": (script(fixed, server_context(expired)), f'{ca}\nupstream_name = "{NAME}"'),
            "own": (script(fixed, server_context(own)), f'upstream_ca = "{own[0]}"\nupstream_name = "{NAME}"'),
            "strange": (script(fixed, server_context(own)), f'{ca}\nupstream_name = "{NAME}"'),
            "proven": (nginx.address, f"{ca}\n{identity}"),
            "unproven": (nginx.address, ca),
            "demanding": (script(fixed, server_context(pair, authority.file)), ca),
            "plain": (f"https://{plain.address}", ca),
            "tls": (gunicorn.address.removeprefix("https://"), ""),
            "tls-nginx": (nginx.address.removeprefix("https://"), ""),
            "silent": (f"https://127.0.0.1:{silent.getsockname()[1]}", f'{ca}\nconnect_timeout = "1s"'),
            "peer-host": (nginx.address, f'{ca}\n{identity}\nupstream_host = "upstream"'),
            "given-host": (nginx.address, f'{ca}\n{identity}\nupstream_host = "given.test"'),
            "cut-short": (script(cut_short, ok), ca),
            "second": ([script(fixed, server_context(expired)), gunicorn.address], ca),
            "asking": (plain.address, f'forward_auth = "{gunicorn.address}/"\nforward_auth_ca = "{authority.file}"'),
            "probed": (gunicorn.address, f'{ca}\nhealth_path = "/ready"'),
            "probed-badly": (uvicorn.address, 'health_path = "/ready"\nhealth_fall = 1'),
            "header": (script(told, ok), f'{ca}\nproxy_protocol_out = "v1"'),
        }  # fmt: skip
        toml = TOP + "".join(
            f'[[route]]\nname = "{name}"\nhost = "{name}.test"\nupstream = {json.dumps(where)}\n{more}\n'
            for name, (where, more) in routes.items()
        )
        gateway = Gateway(folder / "gateway", toml=toml)
        stack.callback(gateway.close)
        gateway.address, gateway.admin = gateway.announced(2)
        gateway.wait_for("Booting worker")
        yield Place(gateway, folder)
        assert "failed inside the gateway" not in gateway.log, gateway.log
        assert "Traceback" not in gateway.log, gateway.log


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 200_000, 5_000_000])
def test_bodies_of_any_size_pass_both_ways(place: Place, size: int, http2: bool) -> None:
    body = content(size)
    seen = place.get("wsgi.test", "/up", http2, method="POST", content=body).json()
    assert (seen["length"], seen["sha256"]) == (size, hashlib.sha256(body).hexdigest())
    assert place.get("wsgi.test", f"/bytes?n={size}", http2).content == body


@pytest.mark.parametrize("http2", [False, True])
def test_streams_and_chunked_uploads_pass(place: Place, http2: bool) -> None:
    assert len(place.get("wsgi.test", "/stream", http2).content) == 200_000
    pieces = [content(50_000)] * 20
    seen = place.get("asgi.test", "/up", http2, method="POST", content=iter(pieces)).json()
    assert seen["sha256"] == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_events_come_as_they_are_sent(place: Place, tmp_path: Path) -> None:
    address = f"{place.gateway.url}/events?place={tmp_path}"
    with (
        httpx.Client(timeout=PATIENCE) as client,
        client.stream("GET", address, headers={"Host": "wsgi.test"}) as answer,
    ):
        assert read_events(answer.iter_lines(), tmp_path) == ["data: 0", "data: 1", "data: 2"]


def test_websockets_pass(place: Place) -> None:
    url = place.gateway.url.replace("http", "ws") + "/"
    with closing(websocket.create_connection(url, timeout=PATIENCE, host="asgi.test")) as client:
        for size in (1, 125, 70_000, 1_000_000):
            client.send_binary(content(size))
            assert client.recv() == content(size)


def test_the_application_is_told_how_the_client_came(place: Place) -> None:
    fields = place.get("wsgi.test", "/a").json()["fields"]
    assert (fields["host"], fields["x-forwarded-proto"], fields["scheme"]) == ("wsgi.test", "http", "http")


def test_connections_are_pooled(place: Place) -> None:
    with httpx.Client(timeout=PATIENCE, headers={"Host": "own.test"}) as client:
        for _ in range(20):
            assert client.get(place.gateway.url).text == "ok"
    (route,) = [route for route in place.gateway.status()["routes"] if route["name"] == "own"]
    assert route["peers"][0]["connects"] == 1


def test_sessions_are_resumed(place: Place) -> None:
    for _ in range(3):
        answer = place.get("proven.test", "/old").text
    assert answer == "r"


@pytest.mark.parametrize("host", ["wsgi", "renamed", "localhost", "own", "second"])
def test_an_upstream_that_proves_its_name_is_served(place: Place, host: str) -> None:
    assert place.get(f"{host}.test").status_code == 200


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("system", "unable to get local issuer certificate; set upstream_ca to the file of its authority"),
        ("strange", "unable to get local issuer certificate; set upstream_ca to the file of its authority"),
        ("misnamed", "IP address mismatch, certificate is not valid for '127.0.0.1'.; set upstream_name"),
        ("expired", "certificate has expired; renew it, or correct this machine's clock"),
        ("demanding", "if it asks for a certificate, set upstream_cert and upstream_key"),
        ("plain", "it answers without TLS; write its address without https://"),
    ],
)
def test_what_keeps_tls_from_coming_about_is_in_the_log(place: Place, host: str, told: str) -> None:
    answer = place.get(f"{host}.test")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_tls")
    assert told.split(";")[0] not in answer.text
    until(lambda: told in place.gateway.log, told)


@pytest.mark.parametrize(("host", "status"), [("tls", 502), ("tls-nginx", 400)])
def test_an_upstream_that_speaks_tls_unasked_is_named(place: Place, host: str, status: int) -> None:
    assert place.get(f"{host}.test").status_code == status
    (route,) = [route for route in place.gateway.status()["routes"] if route["name"] == host]
    peer = route["peers"][0]["peer"]
    place.gateway.wait_for(f'upstream {peer} speaks TLS: write "https://{peer}" as its address')
    assert place.get(f"{host}.test").status_code == status
    assert place.gateway.log.count(f"upstream {peer} speaks TLS") == 1


def test_the_gateway_shows_its_own_certificate(place: Place) -> None:
    assert place.get("proven.test").text == "CN=gateway.test proven.test"
    assert place.get("unproven.test").status_code == 403


def test_the_host_that_the_upstream_gets_is_chosen(place: Place) -> None:
    assert place.get("peer-host.test").text.startswith("CN=gateway.test 127.0.0.1:")
    assert place.get("given-host.test").text == "CN=gateway.test given.test"
    assert place.get("given-host.test", method="POST", content=b"x").text == "CN=gateway.test given.test"


def test_a_handshake_has_a_deadline_and_holds_up_nobody(place: Place) -> None:
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(place.get("silent.test").status_code))
    waiting.start()
    assert place.get("wsgi.test").status_code == 200
    assert not found
    waiting.join(PATIENCE)
    assert found == [504]


def test_a_body_that_the_end_ends_must_be_ended_by_tls(place: Place) -> None:
    assert place.get("cut-short.test", "/whole").text == "body"
    with pytest.raises(httpx.RemoteProtocolError):
        place.get("cut-short.test", "/short")
    until(lambda: "without close_notify" in place.gateway.log, "why")


def test_an_authorization_service_over_tls_is_asked(place: Place) -> None:
    assert place.get("asking.test").status_code == 200


def test_probes_go_over_tls(place: Place) -> None:
    states = {route["name"]: route["peers"][0] for route in place.gateway.status()["routes"]}
    assert states["probed"]["state"] == "up"
    assert states["probed"]["probed"]
    place.gateway.wait_for("is down: No TLS connection to the application can be made: its certificate is not accepted")


def test_the_proxy_header_comes_before_tls(place: Place) -> None:
    assert place.get("header.test").text.startswith("PROXY TCP4 127.0.0.1 127.0.0.1 ")


def test_a_route_is_switched_to_an_upstream_over_tls(place: Place) -> None:
    (route,) = [route for route in place.gateway.status()["routes"] if route["name"] == "wsgi"]
    new = route["peers"][0]["peer"]
    done = switch(place, "expired", new)
    assert done.returncode == 0, done.stderr
    assert place.get("expired.test").status_code == 200
    done = switch(place, "system", new, "--timeout", "1")
    assert done.returncode == 1
    assert "nothing changed" in done.stderr
    assert "set upstream_ca" in done.stderr


def switch(place: Place, route: str, upstream: str, *flags: str) -> "subprocess.CompletedProcess[str]":
    """`python -m proxy switch`, against the gateway."""
    arguments = ["switch", route, upstream, "--wait-ready", "/ready", "--admin", place.gateway.admin_address, *flags]
    return subprocess.run([sys.executable, "-m", "proxy", *arguments], capture_output=True, text=True, check=False)
