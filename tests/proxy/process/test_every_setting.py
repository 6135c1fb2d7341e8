"""Whether HUP reaches a setting: one answer for each row of the table, and each is true."""

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.settings import Reload, Setting, table
from tests.ports import ports
from tests.proxy.gateway import children
from tests.proxy.process.running import TinyGateway
from tests.waiting import PATIENCE, until

Start = Callable[..., TinyGateway]
ROWS = {row.name: row for row in table()}
BASE = {
    "bind": '"127.0.0.1:{front}"',
    "admin": '"127.0.0.1:{admin}"',
    "upstream": '"127.0.0.1:1"',
    "workers": "1",
    "access_log": '"off"',
    "graceful": "5",
    "websocket_drain": "1",
}
# What each kind of value is changed to; None for what has no other value of its own accord.
CHANGES: dict[str, Callable[[Setting], str]] = {
    "switch": lambda row: str(not row.default).lower(),
    "count": lambda row: str(row.default + 1),
    "number": lambda row: str(row.default + 1),
    "duration": lambda row: str(row.default + 1),
    "size": lambda row: str(row.default * 2),
    "size or off": lambda row: str(row.default + 1),
    "choice": lambda row: json.dumps(next(one for one in row.kind.choices if one != row.default)),
}
# Values for the others, and what else a value needs beside it.
OTHERS = {
    "bind": '["127.0.0.1:{front}", "127.0.0.1:{more}"]',
    "bind_plain": '["127.0.0.1:{more}"]\ntls = "self-signed"',
    "upstream": '"127.0.0.1:2"',
    "admin": '"127.0.0.1:{more}"',
    "admin_token_file": '"{files}/token"',
    "admin_socket": '"off"',
    "admin_group": '"daemon"',
    "socket_mode": '"600"',
    "trusted_proxies": '"10.0.0.0/8"',
    "upgrade": '"*"',
    "proxy_protocol": 'true\ntrusted_proxies = "127.0.0.1"',
    "workers": "2",
    "user": '"daemon"',
    "group": '"daemon"',
    "pidfile": '"{files}/pid"',
    "state_dir": '"{files}/state"',
    "access_log": '"{files}/access.log"',
    "log_fields": '["status", "path"]\nlog_format = "json"',
    "log_requests": '"10%"',
    "error_log": '"{files}/error.log"',
    "log_level": '"debug"',
    "trace_sample": '"10%"',
    "trace_collector": '"http://127.0.0.1:1"\ntracing = true',
    "graceful": "6",
    "websocket_drain": "2",
    "tls_cert": '"{files}/one.crt"\ntls_key = "{files}/one.key"',
    "tls_key": '"{files}/one.key"\ntls_cert = "{files}/one.crt"',
    "tls": '"self-signed"',
    "tls_client_ca": '"{files}/one.crt"\ntls = "self-signed"',
    "tls_client_fields": '"Client-Cert"',
    "acme": '"me@example.com"\ndomain = "a.example"\nacme_directory = "http://127.0.0.1:1/"\nstate_dir = "{files}"',
    "acme_directory": '"http://127.0.0.1:2/"',
    "acme_dns_hook": '"/bin/true"',
    "acme_dns_server": '"192.0.2.1"',
    "acme_dns_key_file": '"{files}/tsig"',
    "acme_eab_kid": '"me"\nacme_eab_key_file = "{files}/token"',
    "acme_eab_key_file": '"{files}/token"\nacme_eab_kid = "me"',
    "acme_profile": '"shortlived"',
    "acme_ca": '"{files}/one.crt"',
    "on_demand_ask": (
        '"http://127.0.0.1:3/allowed"\nacme = "me@example.com"\nacme_directory = "http://127.0.0.1:1/"\n'
        'state_dir = "{files}"'
    ),
    "on_demand_rate": '"30/m"',
    "on_demand_client_rate": '"30/m"',
    "domain": '"a.example"\ntls = "self-signed"',
    "max_head": "65536",
    "max_request_line": "4096",
    "max_field": "4096",
    "rate": '"20/s"',
    "shared_certificates": (
        '"{files}"\nacme = "me@example.com"\ndomain = "a.example"\nacme_directory = "http://127.0.0.1:1/"\n'
        'state_dir = "{files}/state"'
    ),
    "shared_limits": '"redis://127.0.0.1:1"',
    "shared_limits_password_file": '"{files}/token"\nshared_limits = "redis://127.0.0.1:1"',
    "shared_limits_ca": '"{files}/one.crt"\nshared_limits = "rediss://127.0.0.1:1"',
    "rate_by": '"header:x-key"',
    "hash_by": '"header:x-key"',
    "spool_dir": '"{files}"',
    "proxy_protocol_out": '"v1"',
    "upstream_host": '"upstream"',
    "upstream_ca": '"{files}/one.crt"',
    "upstream_name": '"a.example"',
    "upstream_cert": '"{files}/one.crt"\nupstream_key = "{files}/one.key"',
    "upstream_key": '"{files}/one.key"\nupstream_cert = "{files}/one.crt"',
    "forward_auth_ca": '"{files}/one.crt"',
    "sticky_cookie": '"peer"',
    "cache": 'true\ncache_dir = "{files}"',
    "cache_dir": '"{files}"',
    "cache_ttl": '1\ncache = true\ncache_dir = "{files}"',
    "health_path": '"/up"',
    "health_host": '"a.example"',
    "health_status": '"200"',
    "set_request_fields": '{{ X-A = "b" }}',
    "set_response_fields": '{{ X-A = "b" }}',
    "remove_request_fields": '"X-A"',
    "remove_response_fields": '"X-A"',
    "forward_auth": '"http://127.0.0.1:2/"',
    "forward_auth_fields": '"X-A"',
    "forward_auth_request_fields": '"Cookie"',
    "redirect": '"https://a.example/"',
    "redirect_status": "302",
    "respond": '"hello"',
    "respond_status": "404",
    "respond_type": '"text/html"',
    "root": '"{files}"',
    "index": '"home.html"',
    "listing": 'true\nroot = "{files}"',
    "fallback": '"/index.html"\nroot = "{files}"',
    "sendfile_root": '"{files}"',
    "internal": 'true\nroot = "{files}"',
    "rewrite": '"/new{{rest}}"',
    "gateway_health": "true",
    "allow": '"127.0.0.0/8"',
    "deny": '"10.0.0.0/8"',
    "maintenance_allow": '"10.0.0.0/8"',
    "basic_auth": '"{files}/users"',
    "error_pages": '"{files}"',
    "maintenance_page": '"{files}/page.html"',
    "cors_origins": '"https://a.example"',
    "cors_methods": '"GET"',
    "cors_fields": '"X-A"',
    "compress_types": '"text/html"',
}
INSTEAD = ("redirect", "respond", "root", "listing", "fallback", "gateway_health")  # of an upstream
AS_ROOT = ("user", "group")


def changed(row: Setting, places: dict[str, object]) -> str:
    """The base with another value of this setting."""
    value = OTHERS.get(row.name) or CHANGES[row.kind.name](row)
    lines = {name: text for name, text in BASE.items() if name != row.name}
    if row.name in INSTEAD:
        del lines["upstream"]
    lines[row.name] = value
    return "".join(f"{name} = {text}\n" for name, text in lines.items()).format(**places)


@pytest.fixture
def places(tmp_path: Path) -> dict[str, object]:
    """What the values above name."""
    files = tmp_path / "files"
    files.mkdir(mode=0o755)
    (files / "token").write_text("0123456789abcdef0123456789abcdef")
    (files / "tsig").write_text('key "a" {\n\talgorithm hmac-sha256;\n\tsecret "c2VjcmV0";\n};\n')
    (files / "users").write_text("me:$2y$05$abcdefghijklmnopqrstuuJ3Zm2Z5bGkCkXn6mP0sQ2rT8vW4yA1a\n")
    (files / "page.html").write_text("<p>closed")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "9",
            ),
            *("-subj", "/CN=a.example", "-addext", "subjectAltName=DNS:a.example"),
            *("-keyout", str(files / "one.key"), "-out", str(files / "one.crt")),
        ],
        capture_output=True,
        check=True,
    )
    front, admin, more = ports(3)
    return {"front": front, "admin": admin, "more": more, "files": files}


def base(places: dict[str, object], **more: str) -> str:
    return "".join(f"{name} = {text}\n" for name, text in {**BASE, **more}.items()).format(**places)


@pytest.mark.component("openssl")
def test_each_row_says_rightly_what_a_reload_does_about_it(start: Start, places: dict[str, object]) -> None:
    """In the workers that run, by new ones, or not at all: then the log says so, and no word of it otherwise."""
    gateway = start(toml=base(places), program=("-m", "proxy"))
    gateway.wait_for("Booting worker")
    rows = [row for row in table() if row.name != "config" and (os.geteuid() == 0 or row.name not in AS_ROOT)]
    for row in rows:
        settled(gateway, places)
        before = set(children(gateway.process.pid))
        seen = [len(text) for text in told(gateway, places)]
        reload(gateway, places, changed(row, places))
        said = "".join(text[start:] for text, start in zip(told(gateway, places), seen, strict=True))
        assert "reload failed" not in said, f"{row.name}: {said}"
        assert "Traceback" not in said, f"{row.name}: {said}"
        reaches_not = f"{row.name}: a reload does not apply this change"
        assert (reaches_not in said) == (row.reload is Reload.RESTART), f"{row.name}: {said}"
        switches_tls = row.name.startswith("tls") or row.name == "acme" or "tls =" in OTHERS.get(row.name, "")
        if row.reload is Reload.NEW_WORKERS or (
            switches_tls and row.name not in ("tls_min", "tls_client_auth", "tls_client_fields")
        ):
            gone(gateway, before, f"{row.name}: the workers from before are still there")
        else:
            assert before <= set(children(gateway.process.pid)), f"{row.name}: workers were replaced"


def gone(gateway: TinyGateway, workers: set[int], otherwise: str) -> None:
    """Wait until these have drained, and others have taken their place."""
    until(lambda: (now := set(children(gateway.process.pid))) and not workers & now, otherwise)


def told(gateway: TinyGateway, places: dict[str, object]) -> tuple[str, str]:
    """What the gateway has said so far: to standard error, and to the log that a setting named."""
    other = Path(str(places["files"]), "error.log")
    return gateway.log, other.read_text() if other.exists() else ""


def reload(gateway: TinyGateway, places: dict[str, object], toml: str) -> None:
    """Reload, until the master has done with it: it takes one signal after the other."""

    def others() -> int:
        return sum(text.count("Handling signal: usr1") for text in told(gateway, places))

    count = others()
    gateway.configure(toml)
    gateway.signal(signal.SIGHUP)
    gateway.signal(signal.SIGUSR1)
    until(lambda: others() > count, "the signal behind the reload")


def settled(gateway: TinyGateway, places: dict[str, object]) -> None:
    """Back to the base, with one worker."""
    reload(gateway, places, base(places))
    until(lambda: len(set(children(gateway.process.pid))) == 1, "one worker")


@pytest.mark.component("openssl")
@pytest.mark.parametrize("kind", ["plain", "TLS"])
def test_what_was_read_of_the_settings_before_is_read_again(
    start: Start, places: dict[str, object], tmp_path: Path, kind: str
) -> None:
    """What a process keeps of the settings that it began with, and never looks at again, a reload has not reached."""
    more = {"health_path": '"/up"', "retry_wait": "1"}
    if kind == "TLS":
        more |= {"tls_cert": '"{files}/one.crt"', "tls_key": '"{files}/one.key"', "bind_plain": '"127.0.0.1:{more}"'}
        more |= {"state_dir": '"{files}/state"', "tls_client_ca": '"{files}/one.crt"', "tls_client_auth": '"optional"'}
    trace = tmp_path / "trace"
    gateway = start(
        toml=base(places, **more),
        program=("-m", "tests.proxy.process.traced"),
        environ={"TRACE": str(trace)},
    )
    scheme = "https" if kind == "TLS" else "http"

    def visit() -> None:
        subprocess.run(["curl", "-sk", "-o", os.devnull, f"{scheme}://127.0.0.1:{places['front']}/x"], check=True)
        urllib.request.urlopen(f"http://127.0.0.1:{places['admin']}/status.json", timeout=PATIENCE).close()

    def serves() -> bool:
        try:
            visit()
        except (OSError, subprocess.CalledProcessError):
            return False
        return True

    until(serves, "a worker")
    worker = set(children(gateway.process.pid))
    gateway.configure(base(places, **{**more, "retry_wait": "2"}))
    gateway.signal(signal.SIGHUP)
    gateway.wait_for("settings reloaded")
    assert set(children(gateway.process.pid)) == worker

    def read() -> dict[str, dict[str, set[str]]]:
        found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for line in trace.read_text().splitlines():
            process, retry_wait, name = line.split()
            found[process][retry_wait].add(name)
        return found

    until(lambda: all(read()[str(pid)]["2"] for pid in worker), "the workers have followed")
    reached = {row.name for row in table() if row.reload is Reload.IN_PLACE and row.name != "config"}
    assert all(read()[str(process)]["1"] for process in (gateway.process.pid, *worker)), "the trace works"

    def stale() -> set[str]:
        visit()
        found = [read()[str(process)] for process in (gateway.process.pid, *worker)]
        return {name for seen in found for name in seen["1"] - seen["2"]} & reached

    try:
        until(lambda: not stale(), "none is left", 10)
    except AssertionError:
        assert stale() == set()


# Those that were told to be applied and were not.


def test_prior_knowledge_of_http2_is_switched_on_and_off(start: Start, places: dict[str, object]) -> None:
    gateway = start(
        toml=base(places, respond='"x"', upstream="[]").replace("upstream = []\n", ""), program=("-m", "proxy")
    )

    def version() -> str:
        asked = ["curl", "-s", "-m", "5", "--http2-prior-knowledge", "-o", os.devnull, "-w", "%{http_version}"]
        return subprocess.run(
            [*asked, f"http://127.0.0.1:{places['front']}/"], capture_output=True, text=True, check=False
        ).stdout

    until(lambda: answers(places["front"]), "the gateway")
    assert version() == "0"
    for on, expected in (("true", "2"), ("false", "0")):
        toml = base(places, respond='"x"', upstream="[]", h2c=on).replace("upstream = []\n", "")
        reload(gateway, places, toml)
        until(lambda expected=expected: version() == expected, f"h2c = {on}")  # type: ignore[misc]


def answers(port: object) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(str(port))), 5).close()
    except OSError:
        return False
    return True
