"""Requests to addresses that strangers name, against real servers: the tricks that have been published, and bounds."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from aragora.outbound import NotAnswered, NotPermitted, Outbound, networks
from tests.serving import serving

LOOPBACK = networks(["127.0.0.1"])
Act = Callable[["Page"], None]


class Page(BaseHTTPRequestHandler):
    """One request to a web server of a stranger."""

    protocol_version = "HTTP/1.1"
    server: "Web"
    body = b""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        try:
            self.server.act(self)
        except OSError:
            self.server.lost.set()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def send(self, body: bytes, status: int = 200, **fields: str) -> None:
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        for name, value in {"Content-Type": "text/plain", "Content-Length": str(len(body)), **named}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so by its class
        pass


class Web(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, act: Act) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        self.act = act
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.released = threading.Event()
        self.lost = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def web(act: Act | Web) -> Iterator[Any]:
    with serving(act if isinstance(act, Web) else Web(act)) as server:
        try:
            yield server
        finally:
            server.released.set()


def says(body: bytes = b"hello", **fields: str) -> Act:
    return lambda page: page.send(body, **fields)


def get(outbound: Outbound, url: str, limit: int = 100_000, seconds: float = 10.0) -> bytes:
    return outbound.get(url, {}, limit=limit, seconds=seconds).body


def resolves(*addresses: str) -> Callable[..., list[tuple[Any, ...]]]:
    """A name server under the control of a stranger; the first answer is given first, the last again and again."""
    given = list(addresses)

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        address = given.pop(0) if len(given) > 1 else given[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in address.split(",")]

    return resolve


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "localhost", "localhost.", "LOCALHOST", "2130706433"),
        *("0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "00000177.1", "127.0.0.1.", "127.000.000.001"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]"),
        *("[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fd00:ec2::254]", "169.254.169.254", "10.0.0.1"),
        *("[fe80::1%25lo]", "[::1%25lo]", "[::1%lo]", "100.64.0.1", "192.168.1.1", "[::ffff:169.254.169.254]"),
    ],
)
def test_this_machine_is_reached_under_none_of_its_names(host: str) -> None:
    with web(says()) as server:
        for scheme in ("http", "https"):
            with pytest.raises((NotPermitted, NotAnswered)):
                get(Outbound(), f"{scheme}://{host}:{server.port}/")
        assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        *(
            "file:///etc/passwd",
            "gopher://127.0.0.1:6379/_x",
            "ftp://example.com/",
            "dict://127.0.0.1:11211/",
            "//host/",
        ),
        *("http:/127.0.0.1/", "http:///x", "http://", "javascript:alert(1)", "data:text/plain,x", "unix:///run/x", ""),
        *("http://user@127.0.0.1/", "http://good.example@127.0.0.1/", "http://127.0.0.1#@good.example/x@y"),
        *("http://good.example\\@127.0.0.1/", "http://127.0.0.1\\.good.example/", "http:\\\\127.0.0.1\\"),
        *("http://good.example\r\nHost: x/", "http://127.0.0.1\t/", "http://127.0.0.1 /", "http://127.0.0.1%00.good/"),
        *(
            "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
            "http://\u24dbocalhost/",
            "http://loc\u00adalhost/",
            "http://127\u30020\u30020\u30021/",
            "http://exa%6Dple/",
        ),
        *("http://127.0.0.1:x/", "http://127.0.0.1:99999/", "http://[::1/", "http://[]/", "http://a..b/", "http://.a/"),
        *(
            "http://example.com:22/",
            "http://example.com:25/",
            "http://example.com:0/",
            "http://" + "a" * 254,
            "x" * 2001,
        ),
    ],
)
def test_an_address_that_is_none_is_not_asked(url: str) -> None:
    def nobody(*_: Any, **__: Any) -> Any:
        pytest.fail("it was looked up")

    with pytest.raises(NotPermitted):
        Outbound(resolve=nobody if "127.0.0.1" not in url else resolves("127.0.0.1")).get(url, {}, limit=9, seconds=5)


def test_a_name_that_leads_here_is_not_asked_and_not_told_apart() -> None:
    with web(says()) as server:
        for address in ("127.0.0.1", "10.0.0.1", "8.8.8.8,127.0.0.1", "127.0.0.1,8.8.8.8"):
            with pytest.raises(NotPermitted, match=r"^it leads to an address that is not public$"):
                get(Outbound(resolve=resolves(address)), f"http://rebind.example:{server.port}/")
        assert server.asked == []


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """The second look of a name server that changes its mind never comes."""
    outbound = Outbound(LOOPBACK, resolve=resolves("127.0.0.1", "10.255.255.1"))
    with web(says()) as server:
        assert get(outbound, f"http://pinned.example:{server.port}/") == b"hello"
        ((_, fields),) = server.asked
        assert fields["Host"] == f"pinned.example:{server.port}"
        assert "Cookie" not in fields
        assert "Authorization" not in fields


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_checked_like_the_address_before_it(status: int) -> None:
    with web(says()) as inside:
        targets = [
            f"http://localhost:{inside.port}/",
            "file:///etc/passwd",
            "http://10.0.0.1/",
            "//localhost:1/",
            "gopher://x/",
        ]
        for target in targets:
            with (
                web(lambda page, target=target: page.send(b"", status, Location=target)) as outside,
                pytest.raises(NotPermitted),
            ):
                get(Outbound(networks(["127.0.0.1"]), resolve=_only(outside.port)), outside.url)
        assert inside.asked == []


def _only(port: int) -> Callable[..., Any]:
    """Looks up as the machine does; the only port that is this machine's in disguise of a public one is given."""

    def resolve(host: str, asked: int, **options: Any) -> Any:
        if asked != port:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", asked))]
        return socket.getaddrinfo(host, asked, **options)

    return resolve


def test_redirects_within_bounds_are_followed() -> None:
    def act(page: Page) -> None:
        number = int(page.path.strip("/") or 0)
        page.send(b"there") if number == 4 else page.send(b"", 302, Location=f"/{number + 1}")

    with web(act) as server:
        answer = Outbound(LOOPBACK).get(server.url, {}, limit=100, seconds=5)
        assert (answer.body, answer.url) == (b"there", f"{server.url}/4")
    with web(lambda page: page.send(b"", 302, Location="/")) as server:
        with pytest.raises(NotAnswered, match="redirects more than 5 times"):
            get(Outbound(LOOPBACK), server.url)
        assert len(server.asked) == 6


def test_a_message_is_not_carried_on_by_a_redirect() -> None:
    with web(lambda page: page.send(b"", 307, Location="/elsewhere")) as server:
        answer = Outbound(LOOPBACK).post(server.url, {"Content-Type": "x"}, b"secret", limit=100, seconds=5)
        assert (answer.status, len(server.asked)) == (307, 1)


def endless(page: Page) -> None:
    page.send_response(200)
    page.send_header("Content-Type", "text/plain")
    page.end_headers()
    while not page.server.released.is_set():
        page.wfile.write(b"x" * 10_000)


def dripping(page: Page) -> None:
    page.send_response(200)
    page.send_header("Content-Length", "1000")
    page.end_headers()
    while not page.server.released.wait(0.05):
        page.wfile.write(b"x")


def dripping_head(page: Page) -> None:
    page.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not page.server.released.wait(0.05):
        page.wfile.write(b"X-A: b\r\n")


def silent(page: Page) -> None:
    page.server.released.wait(20)


def test_too_much_is_not_read() -> None:
    for act in (endless, says(b"x" * 100_001), says(gzip.compress(b"x" * 50_000_000), Content_Encoding="gzip")):
        with web(act) as server, pytest.raises(NotAnswered, match="longer than 100000 bytes"):
            get(Outbound(LOOPBACK), server.url)


@pytest.mark.parametrize("act", [dripping, dripping_head, silent])
def test_everything_ends_at_the_deadline(act: Act) -> None:
    with web(act) as server:
        began = time.monotonic()
        with pytest.raises(NotAnswered):
            get(Outbound(LOOPBACK), server.url, seconds=0.5)
        assert time.monotonic() - began < 4


def test_a_server_that_is_none_is_no_answer() -> None:
    with web(lambda page: page.wfile.write(b"\x15\x03\x01 not HTTP\r\n\r\n")) as server:
        for scheme in ("http", "https"):
            with pytest.raises(NotAnswered):
                get(Outbound(LOOPBACK), f"{scheme}://127.0.0.1:{server.port}/")
    with pytest.raises(NotAnswered, match="does not answer"):
        get(Outbound(LOOPBACK), server.url)
    with pytest.raises(NotAnswered, match="no address is known"):
        get(Outbound(), "http://does-not-exist.invalid/")


def test_compressed_pages_are_read() -> None:
    with web(says(gzip.compress(b"hello"), Content_Encoding="gzip")) as server:
        assert get(Outbound(LOOPBACK), server.url) == b"hello"


def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with web(says()) as server, web(says(b"proxy")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert get(Outbound(LOOPBACK), server.url) == b"hello"
        assert proxy.asked == []
