"""No spelling of a protected path reaches its handler through a route that asks for nothing.

Real applications on real servers, behind a gateway whose routes ask for a password, an address, another service's word
or patience. Whatever the router of an application takes as the path it serves must be what the gateway protects.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import bcrypt
import pytest

from tests.deployment.processes import GUNICORN, Running, accepts, ports
from tests.deployment.protected import GATES, SECRET
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.exchange import Answer, Client
from tests.proxy.integration.h2.raw import GET, Raw
from tests.serving import serving
from tests.waiting import until

SERVERS = {
    "flask": (GUNICORN, "tests.deployment.protected:flask()", "--threads", "2", "--bind"),
    "django": (GUNICORN, "tests.deployment.protected:django()", "--threads", "2", "--bind"),
    "fastapi": (
        sys.executable, "-m", "uvicorn", "tests.deployment.protected:fastapi", "--factory", "--log-level", "warning",
        "--port",
    ),
}  # fmt: skip

BEHIND = (
    "", "/", "//", ".", "%2e", "..", ";", ";x=1", "%3b", "%20", "%00", "%09", "%0a", "%0A", "%0d", "%0b", "%0c",
    "%0d%0a", "%1c", "%1d", "%1e", "%1f", "%7f", "%85", "%c2%85", "%e2%80%a8", "%e2%80%a9", "%a0", "%c2%a0",
    "%ef%bb%bf", "%c0%8a", "%c0%80", "%e0%80%8a", "%e2%80%8b", "%ff", "?", "??", "?%0a", "%3f", "%3fx", "%23",
    "%23x", "%5c", "\\", "%2f", "%2F/", "%c0%af", "/.", "/%2e", "/..;/", "/;", "/%0a", "/%20", "%252f", "%250a",
    "%2500", "~", "*", "&", "|", "%25", ".json", ".html", ":", "@", "=", "+", "'", "%22", "[", "{", ",",
)  # fmt: skip
"""What may stand behind a path and mean nothing to a router."""

BEFORE = (
    "/", "//", "/.", "/%2e", "/x/..", "/x/%2e%2e", "/;", "/;x=1", "/%2f", "%2f", "\\", "/%5c", "/%20", "/%0a",
    "/%0d", "/%09", "/%00", "/%e2%80%8b", "/%ef%bb%bf", "/%c2%85", "///x/..", "/%c0%ae", "http:", "@", "/:",
    "/example.org",
)  # fmt: skip
"""What may stand before one."""


def spellings(path: str) -> list[str]:
    """Ways to write a path that some program takes as equal, and the path itself."""
    name = path.removeprefix("/")
    half = len(name) // 2
    inside = ("%00", "%0a", "%08", "%e2%80%8b", "%c2%ad", "%2e", "/", "//", "%2f", ";/", "/;", "\\")
    first = ord(name[0])
    overlong = f"%{0xC0 | first >> 6:02x}%{0x80 | first & 63:02x}"
    fullwidth = f"%ef%bd%{first - 0x20 + 0x60:02x}"
    initials = (f"%{first:02x}", f"%{first:02X}", f"%25{first:02x}", f"%u{first:04x}", overlong, fullwidth)
    return [
        *(path + text for text in BEHIND),
        *(before + path for before in BEFORE),
        *(f"{before}{path}{behind}" for before in ("/", "/%20") for behind in ("%0a", "%2f", ";", "%c2%85", "//")),
        *(f"/{name[:half]}{text}{name[half:]}" for text in inside),
        *(f"/{begin}{name[1:]}" for begin in initials),
        "/" + "".join(f"%{ord(letter):02x}" for letter in name),
        path.upper(),
        path.title(),
        *(f"{path}/inner{text}" for text in BEHIND),
        *(f"{path}{text}inner" for text in ("//", ";/", "%2f", "\\", "%5c", "/;/")),
    ]


class _Refusal(BaseHTTPRequestHandler):
    """A service that lets nobody in."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """The gateway's log has it."""


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _Refusal)) as server:
        yield server.server_port


@pytest.fixture(scope="module", params=SERVERS)
def gateway(
    request: pytest.FixtureRequest, service: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp(request.param)
    users = directory / "users"
    users.write_text(f"alice:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    users.chmod(0o600)
    (application,) = ports(1)
    gates = {
        "password": f'basic_auth = "{users}"',
        "listed": 'allow = "192.0.2.0/24"',
        "asked": f'forward_auth = "http://127.0.0.1:{service}/"',
        "limited": 'rate = "1/h"',
    }
    assert tuple(gates) == GATES
    config = directory / "gateway.toml"
    config.write_text(
        f'upstream = "127.0.0.1:{application}"\nh2c = true\n'
        + "".join(
            f'[[route]]\nname = "{gate}-{key}"\n{key} = "/{gate}{end}"\n{setting}\n'
            for gate, setting in gates.items()
            for key, end in (("path", ""), ("exact", "-only"))
        )
        + "".join(
            f'[[route]]\nname = "{gate}-pattern"\npath = "/v/{{version}}/{gate}-any"\nmethod = "GET"\n{setting}\n'
            for gate, setting in gates.items()
        )
    )
    with ExitStack() as running:
        *command, listen = SERVERS[request.param]
        address = str(application) if listen == "--port" else f"127.0.0.1:{application}"
        server = running.enter_context(Running(*command, listen, address, log=directory / "application.log"))
        until(partial(accepts, application), "the application listens")
        front = serve(directory / "gateway", "", "--config", str(config))
        running.callback(front.close)
        yield front
        assert "failed inside" not in front.log, front.log
        assert "Traceback" not in server.output(), server.output()


def ask(gateway: Gateway, *targets: str, host: str = "app.example") -> Iterator[Answer]:
    """The answer to each target, over HTTP/1.1."""
    client = Client(gateway.address)
    try:
        for target in targets:
            client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
            answer = client.final()
            yield answer
            if answer.field("Connection") == "close":
                client.sock.close()
                client = Client(gateway.address)
    finally:
        client.sock.close()


def told(body: bytes) -> bool:
    return SECRET.encode() in body


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("end", ["", "-only", "-any"])
def test_nothing_is_told_through_an_unprotected_route(gateway: Gateway, gate: str, end: str) -> None:
    path = f"/v/2/{gate}{end}" if end == "-any" else f"/{gate}{end}"
    if gate == "limited":
        list(ask(gateway, path, path))  # the one request an hour
    targets = [target for target in spellings(path) if end != "-only" or not target.startswith(f"{path}/inner")]
    found = [target for target, answer in zip(targets, ask(gateway, *targets), strict=True) if told(answer.body)]
    assert not found


@pytest.mark.parametrize("end", ["", "-only"])
def test_nor_in_absolute_form(gateway: Gateway, end: str) -> None:
    targets = [f"http://app.example{path}" for path in spellings(f"/listed{end}")]
    found = [target for target, answer in zip(targets, ask(gateway, *targets), strict=True) if told(answer.body)]
    assert not found


@pytest.mark.parametrize("end", ["", "-only"])
def test_nor_over_http2(gateway: Gateway, end: str) -> None:
    raw = Raw(gateway.port)
    found = []
    try:
        for number, path in enumerate(spellings(f"/listed{end}")):
            stream = 2 * number + 1
            raw.send(raw.headers(stream, [(name, path if name == ":path" else value) for name, value in GET]))
            _, body = raw.response(stream)
            if told(body):
                found.append(path)
    finally:
        raw.sock.close()
    assert not found


def test_the_handlers_are_there(gateway: Gateway) -> None:
    """Whoever may come in is told: otherwise the tests above would show nothing."""
    for path in ("/password", "/password/inner", "/password-only"):
        with Client(gateway.address) as client:
            client.send(
                f"GET {path} HTTP/1.1\r\nHost: app.example\r\nAuthorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n".encode()
            )
            assert told(client.final().body), path
