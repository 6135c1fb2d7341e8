"""What the access log has of requests over HTTP/1 and HTTP/2, and which requests it leaves out."""

import subprocess
from collections.abc import Iterator

import bcrypt
import pytest

from tests.proxy.gateway import Gateway, serve
from tests.waiting import until

TOML = """\
tls = "self-signed"
log_fields = ["protocol", "status", "host", "user", "route", "path", "client", "reason"]
log_clients = "masked"
[[route]]
name = "private"
path = "/private"
respond = "in"
basic_auth = "{users}"
[[route]]
name = "up"
path = "/up"
respond = "ok"
log_requests = false
[[route]]
name = "broken"
path = "/broken"
upstream = "127.0.0.1:1"
retry_wait = 0
log_requests = "0.001%"
[[route]]
name = "site"
path = "/"
respond = "hello"
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("gateway")
    users = directory / "users"
    users.write_bytes(b"ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)))
    (directory / "settings.toml").write_text(TOML.format(users=users))
    running = serve(directory, "", "--config", str(directory / "settings.toml"))
    yield running
    running.close()
    assert "failed inside the gateway" not in running.log, running.log


@pytest.mark.component("curl")
@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2.0"])
def test_lines_have_host_user_and_route(gateway: Gateway, protocol: str) -> None:
    host = f"app.example:{gateway.port}"
    before = len(gateway.logged())
    for path, options in (
        ("/up", []),
        ("/private?key=1", ["--user", "ann:secret"]),
        ("/private", ["--user", "ann:wrong", "--header", "X-Forwarded-User: ann"]),
        ("/broken", []),
        ("/", []),
    ):
        version = "--http1.1" if protocol == "HTTP/1.1" else "--http2"
        reach = ["--resolve", f"{host}:127.0.0.1", "--max-time", "30"]
        subprocess.run(
            ["curl", "--silent", "--insecure", version, *reach, *options, f"https://{host}{path}"],
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
    until(lambda: len(gateway.logged()) >= before + 4, "all lines but those of /up")
    usual = {"protocol": protocol, "host": host, "client": "127.0.0.0"}
    assert gateway.logged()[before:] == [
        {**usual, "status": 200, "user": "ann", "route": "private", "path": "/private", "reason": None},
        {**usual, "status": 401, "user": None, "route": "private", "path": "/private", "reason": "unauthenticated"},
        {**usual, "status": 502, "user": None, "route": "broken", "path": "/broken", "reason": "connect_refused"},
        {**usual, "status": 200, "user": None, "route": "site", "path": "/", "reason": None},
    ]
