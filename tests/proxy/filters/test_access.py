"""Who is let in, through a running gateway: address lists, rates, passwords, another service's word."""

import base64
import contextlib
import ipaddress
import json
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from proxy.errors import ExchangeError
from proxy.exchange.request import Request
from proxy.filters.access import AccessList
from proxy.settings import load, notes
from proxy.settings.users import read_users
from proxy.wire.request import RequestFields
from tests.ports import ports
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.exchange import Answer, Client
from tests.proxy.integration.h2.raw import GET, Raw
from tests.proxy.integration.scripted import Script, ScriptedUpstream
from tests.waiting import until

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}",
)  # fmt: skip
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


@pytest.fixture(scope="module")
def judge() -> Iterator[ScriptedUpstream]:
    """The service that is asked who may pass."""
    service = ScriptedUpstream()
    yield service
    service.close()


@pytest.fixture(scope="module")
def guarded(
    scripted: ScriptedUpstream, judge: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway with a route for each kind of protection, two workers, behind a trusted proxy: the test."""
    directory = tmp_path_factory.mktemp("guarded")
    users = directory / "users"
    users.write_bytes(b"# who works here\nann:" + bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)) + b"\n")
    config = directory / "proxy.toml"
    config.write_text(f"""
trusted_proxies = ["127.0.0.0/8"]
max_client_websockets = 2
h2c = true

[[route]]
name = "lists"
path = "/lists"
allow = ["192.0.2.0/24", "2001:db8::/32"]
deny = "192.0.2.66"

[[route]]
name = "rated"
path = "/rated"
rate = "1/m"
burst = 5

[[route]]
name = "keyed"
path = "/keyed"
rate = "1/h"
burst = 2
rate_by = "header:X-Api-Key"

[[route]]
name = "whole"
path = "/whole"
rate = "1/h"
burst = 3
rate_by = "route"

[[route]]
name = "users"
path = "/users"
basic_auth = "{users}"

[[route]]
name = "asked"
path = "/asked"
forward_auth = "http://{judge.address}/judge?by=gateway"
forward_auth_fields = ["X-User", "X-Groups"]

[[route]]
name = "asked-little"
path = "/asked-little"
forward_auth = "http://{judge.address}/judge"
forward_auth_fields = "X-User"
forward_auth_request_fields = ["cookie", "X-Api-Key"]
forward_auth_skip_preflights = true
""")
    running = serve(directory / "gateway", scripted.address, "--config", str(config), workers=2)
    yield running
    running.close()
    assert "failed inside the gateway" not in running.log, running.log


def get(gateway: Gateway, path: str, *lines: str, client: str = "192.0.2.1", method: str = "GET") -> Answer:
    with Client(gateway.address) as connection:
        return ask(connection, path, *lines, client=client, method=method)


def ask(
    connection: Client, path: str, *lines: str, client: str = "192.0.2.1", method: str = "GET", body: str = ""
) -> Answer:
    head = [f"{method} {path} HTTP/1.1", "Host: h", f"X-Forwarded-For: {client}", *lines, "", body]
    connection.send("\r\n".join(head).encode())
    return connection.answer()


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("client", "status"),
    [("192.0.2.1", 200), ("192.0.2.66", 403), ("198.51.100.1", 403), ("2001:db8::9", 200), ("2001:db9::9", 403)],
)
def test_addresses_are_let_in_or_not(guarded: Gateway, client: str, status: int) -> None:
    answer = get(guarded, "/lists", client=client)
    assert answer.status == status
    if status == 403:
        assert b"forbidden" in answer.body


def test_lists_without_an_address() -> None:
    network = (ipaddress.ip_network("192.0.2.0/24"),)
    request = Request(b"GET", b"/", 1, RequestFields(), b"", 0.0, client="")
    AccessList((), network).check(request)
    with pytest.raises(ExchangeError):
        AccessList(network, ()).check(request)


def test_a_rate_counts_over_connections_and_workers(guarded: Gateway) -> None:
    answers = [get(guarded, "/rated", client="192.0.2.5") for _ in range(8)]
    passed = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 429]
    assert len(passed) == 5, "the burst"
    assert [answer.field("RateLimit") for answer in passed] == [f'"rated";r={left};t=60' for left in (4, 3, 2, 1, 0)]
    assert passed[0].field("RateLimit-Policy") == refused[0].field("RateLimit-Policy") == '"rated";q=5;w=300'
    wait = refused[0].field("Retry-After")
    assert 0 < int(wait or 0) <= 60
    assert refused[0].field("RateLimit") == f'"rated";r=0;t={wait}'
    assert refused[0].field("Proxy-Status") == 'aragora-proxy; details="rate"'
    assert get(guarded, "/rated", client="192.0.2.6").status == 200, "another client has its own"


def test_a_rate_counts_an_ipv6_network_as_one_client(guarded: Gateway) -> None:
    statuses = [get(guarded, "/rated", client=f"2001:db8:1:2::{last}").status for last in range(1, 9)]
    assert statuses == [200] * 5 + [429] * 3
    assert get(guarded, "/rated", client="2001:db8:1:3::1").status == 200


def test_a_rate_by_header_falls_back_to_the_address(guarded: Gateway) -> None:
    assert [get(guarded, "/keyed", "X-Api-Key: one").status for _ in range(3)] == [200, 200, 429]
    clients = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
    assert [get(guarded, "/keyed", "x-api-key: two", client=client).status for client in clients] == [200, 200, 429]
    assert [get(guarded, "/keyed").status for _ in range(3)] == [200, 200, 429]
    refused = get(guarded, "/keyed")
    assert refused.field("Retry-After") == re.search(r"t=(\d+)", refused.field("RateLimit") or "")[1]
    assert 3500 < int(refused.field("Retry-After") or 0) <= 3600


def test_a_rate_of_a_route_is_shared_by_all(guarded: Gateway) -> None:
    statuses = [get(guarded, "/whole", client=f"192.0.2.{n}").status for n in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


def test_counts_outlive_a_reload_and_a_killed_worker(
    start: Callable[..., Gateway], scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    config = tmp_path / "proxy.toml"
    config.write_text('rate = "1/h"\nburst = 2\n')
    gateway = start(scripted.address, "--config", str(config), admin=True, workers=2)
    until(lambda: len(shown(gateway)["workers"]) == 2, "both workers serve")
    assert [get(gateway, "/").status for _ in range(3)] == [200, 200, 429]
    config.write_text('rate = "2/h"\nburst = 4\n')
    gateway.signal(signal.SIGHUP)
    until(lambda: shown(gateway)["totals"]["reloads"] == 2, "both workers have reloaded")
    assert [get(gateway, "/").status for _ in range(3)] == [200, 200, 429], "two more, not four"
    for pid in gateway.workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: gateway.log.count("Booting worker") == 4, "new workers")
    assert get(gateway, "/").status == 429


def shown(gateway: Gateway) -> dict[str, Any]:
    with Client(gateway.admin) as client:
        client.send(b"GET /status.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        return dict(json.loads(client.answer().body))


def test_a_password_is_asked_for(guarded: Gateway, scripted: ScriptedUpstream) -> None:
    for lines in ((), ("Authorization: Bearer x",), ("Authorization: Basic ???",), (basic("ann", ""),)):
        answer = get(guarded, "/users", *lines)
        assert answer.status == 401
        assert answer.field("WWW-Authenticate") == 'Basic realm="users", charset="UTF-8"'
    scripted.expect()
    for _ in range(3):
        assert get(guarded, "/users", basic("ann", "s3cret"), "X-Forwarded-User: root").status == 200
    for request in scripted.wait_for(3):
        users = [line for line in request.data.split(b"\r\n") if b"forwarded-user" in line.lower()]
        assert users == [b"X-Forwarded-User: ann"]


def test_a_long_password_is_compared_as_far_as_it_was_hashed(
    start: Callable[..., Gateway], scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    """Its first 72 bytes, as htpasswd takes them and nginx compares them."""
    password = "correct horse battery staple " * 3
    users = tmp_path / "users"
    users.write_bytes(b"ann:" + bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)))
    gateway = start(scripted.address, "--basic-auth", str(users))
    scripted.expect()
    for given, status in ((password, 200), (password[:72], 200), (password[:71], 401), ("x" + password[1:], 401)):
        assert get(gateway, "/", basic("ann", given)).status == status


def test_the_application_is_told_who_it_is_under_any_name(
    start: Callable[..., Gateway], scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    users = tmp_path / "users"
    users.write_bytes(b"ann:" + bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)))
    config = tmp_path / "proxy.toml"
    config.write_text(
        f'set_request_fields = {{ X-WEBAUTH-USER = "{{user}}", Host = "app.internal" }}\n'
        f'[[route]]\npath = "/users"\nbasic_auth = "{users}"\nupstream = "{scripted.address}"\n'
    )
    gateway = start(scripted.address, "--config", str(config))
    for path, user in (("/users", [b"ann"]), ("/", [])):
        scripted.expect()
        forged = ("X-Webauth-User: root", "x_webauth_user: root", "X-Forwarded-User: root")
        for _ in range(2):
            assert get(gateway, path, basic("ann", "s3cret"), *forged).status == 200
        for request in scripted.wait_for(2):
            lines = [line.partition(b": ") for line in request.data.split(b"\r\n")]
            assert [value for name, _, value in lines if name.lower().replace(b"_", b"-") == b"x-webauth-user"] == user
            assert [value for name, _, value in lines if name.lower() == b"host"] == [b"app.internal"]
            assert [value for name, _, value in lines if name.lower() == b"x-forwarded-user"] == user


def test_wrong_passwords_are_few(guarded: Gateway) -> None:
    attacker = "192.0.2.200"
    statuses = [get(guarded, "/users", basic("ann", f"guess{n}"), client=attacker).status for n in range(14)]
    assert statuses[:10] == [401] * 10
    assert set(statuses[11:]) == {429}
    refused = get(guarded, "/users", basic("nobody", "x"), client=attacker)
    assert (refused.status, int(refused.field("Retry-After") or 0)) >= (429, 1)
    assert get(guarded, "/users", basic("nobody", "x" * 100)).status == 401
    assert get(guarded, "/users", basic("ann", "s3cret")).status == 200, "others still come in"


def test_concurrent_password_checks_are_shared_and_bounded(
    start: Callable[..., Gateway], scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    users = tmp_path / "users"
    users.write_bytes(b"ann:" + bcrypt.hashpw(b"s3cret", bcrypt.gensalt(8)))
    gateway = start(scripted.address, "--basic-auth", str(users), "--trusted-proxies", "127.0.0.1")
    scripted.expect()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(gateway.address)) for _ in range(150)]
        for client in clients:
            client.sock.settimeout(60)  # as long as the checks of all who wait may take

        def statuses(asked: Sequence[Client], password: str, address: str) -> set[int]:
            for number, client in enumerate(asked):
                lines = (
                    "GET / HTTP/1.1",
                    "Host: h",
                    f"X-Forwarded-For: {address.format(number)}",
                    basic("ann", password.format(number)),
                    "",
                    "",
                )
                client.send("\r\n".join(lines).encode())
            return {client.answer().status for client in asked}

        assert statuses(clients[:30], "s3cret", "192.0.2.1") == {200}, "more than may fail"
        assert statuses(clients, "guess{}", "198.51.100.{}") == {401, 503}
    assert get(gateway, "/", basic("ann", "s3cret")).status == 200


def test_another_service_lets_pass(guarded: Gateway, judge: ScriptedUpstream, scripted: ScriptedUpstream) -> None:
    judge.expect(Script(b"HTTP/1.1 204 No Content\r\nX-User: ann\r\nX-Groups: a\r\nX-Groups: b\r\nX-Other: no\r\n\r\n"))
    scripted.expect()
    with Client(guarded.address) as connection:
        for _ in range(2):
            answer = ask(
                connection,
                "/asked/x?y",
                "X-User: root",
                "Cookie: c=1",
                "Authorization: Bearer t",
                "X-Requested-With: XMLHttpRequest",
                "If-None-Match: *",
                "Range: bytes=0-1",
                "Content-Type: text/plain",
                "Content-Length: 2",
                method="POST",
                body="hi",
            )
            assert answer.status == 200
    first, _ = (request.data.decode() for request in judge.wait_for(2))
    assert first.startswith("GET /judge?by=gateway HTTP/1.1\r\nHost: " + judge.address + "\r\n")
    for line in (
        "X-Forwarded-Method: POST",
        "X-Forwarded-Uri: /asked/x?y",
        "X-Forwarded-Host: h",
        "Cookie: c=1",
        "Authorization: Bearer t",
        "X-Requested-With: XMLHttpRequest",
        "X-Real-IP: 192.0.2.1",
    ):
        assert line in first.split("\r\n")
    names = [line.partition(":")[0].lower() for line in first.split("\r\n")]
    assert not {"if-none-match", "range", "content-type", "content-length", "x-user"} & set(names)
    assert names.count("host") == 1
    assert judge.received[0].connection == judge.received[1].connection, "the connection is kept"
    for request in scripted.wait_for(2):
        lines = request.data.split(b"\r\n")
        assert [line for line in lines if line.lower().startswith((b"x-user", b"x-groups", b"x-other"))] == [
            b"X-User: ann",
            b"X-Groups: a",
            b"X-Groups: b",
        ]
        assert request.data.endswith(b"\r\n\r\nhi")


def test_a_listed_field_alone_is_sent_to_the_service(guarded: Gateway, judge: ScriptedUpstream) -> None:
    judge.expect(Script(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"))
    get(guarded, "/asked-little", "Cookie: c=1", "X-API-Key: k", "Authorization: Bearer t", "Accept: a/b")
    (question,) = judge.wait_for(1)
    names = {line.partition(b":")[0].lower() for line in question.data.split(b"\r\n")[1:-2]}
    assert {b"cookie", b"x-api-key", b"x-forwarded-uri", b"x-forwarded-for", b"x-real-ip"} < names
    assert not {b"authorization", b"accept"} & names


def test_cookies_of_the_service_reach_the_client(
    guarded: Gateway, judge: ScriptedUpstream, scripted: ScriptedUpstream
) -> None:
    passed = b"HTTP/1.1 200 OK\r\nSet-Cookie: s=%d; Path=/\r\nContent-Length: 0\r\n\r\n"
    scripted.expect(Script(b"HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nContent-Length: 2\r\n\r\nok"))
    with Client(guarded.address) as connection:
        for number in range(3):  # the same request again is answered by a shorter way
            judge.expect(Script(passed % number))
            answer = ask(connection, "/asked")
            assert [value for name, value in answer.fields if name == "Set-Cookie"] == ["own=1", f"s={number}; Path=/"]
    scripted.expect()
    with Raw(guarded.port) as raw:
        raw.send(raw.headers(1, [(name, "/asked" if name == ":path" else value) for name, value in GET]))
        fields, body = raw.response(1)
    assert (fields[":status"], fields["set-cookie"], body) == ("200", "s=2; Path=/", b"ok")
    scripted.expect(Script(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"))
    assert get(guarded, "/asked").field("Set-Cookie") == "s=2; Path=/", "whatever the application says"
    scripted.expect(Script(SWITCHED))
    assert get(guarded, "/asked", *UPGRADE).field("Set-Cookie") == "s=2; Path=/"


def test_preflights_pass_without_a_question_where_set(
    guarded: Gateway, judge: ScriptedUpstream, scripted: ScriptedUpstream
) -> None:
    judge.expect(Script(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"))
    scripted.expect()
    origin, asks = "Origin: https://b.example", "Access-Control-Request-Method: PUT"
    assert get(guarded, "/asked-little", origin, asks, "X-User: root", method="OPTIONS").status == 200
    assert b"root" not in scripted.wait_for(1)[0].data, "nobody is the user of a preflight"
    assert judge.received == []
    for lines, method in (((origin,), "OPTIONS"), ((asks,), "OPTIONS"), ((origin, asks), "PUT")):
        assert get(guarded, "/asked-little", *lines, "Content-Length: 0", method=method).status == 302
    assert get(guarded, "/asked", origin, asks, method="OPTIONS").status == 302, "by default they are asked about"


@pytest.mark.parametrize(
    ("reply", "status", "body"),
    [
        (
            b"HTTP/1.1 401 No\r\n" + DATE + b"WWW-Authenticate: Bearer\r\nContent-Length: 4\r\n\r\nwho?",
            401,
            b"who?",
        ),
        (b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 403, b"no"),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", 302, b""),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 502, None),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 502, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", 502, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 300_000, 502, None),
        (b"HTTP/1.1 101 Hm\r\n\r\n", 502, None),
        (b"nonsense\r\n\r\n", 502, None),
        (b"", 503, None),
    ],
)
def test_another_service_refuses(
    guarded: Gateway, judge: ScriptedUpstream, scripted: ScriptedUpstream, reply: bytes, status: int, body: bytes | None
) -> None:
    judge.expect(Script(reply, then="closes"))
    scripted.expect()
    answer = get(guarded, "/asked")
    assert answer.status == status
    if body is not None:
        assert answer.body == body
    assert scripted.received == [], "nothing passed"
    if status == 401:
        assert answer.field("WWW-Authenticate") == "Bearer"
        assert answer.field("Date") != "Sun, 06 Nov 1994 08:49:37 GMT", "there is one, the gateway's"
    if status == 302:
        assert answer.field("Location") == "/login"


def test_a_service_that_is_not_there_lets_nobody_in(start: Callable[..., Gateway], scripted: ScriptedUpstream) -> None:
    gone = f"127.0.0.1:{ports(1)[0]}"
    gateway = start(scripted.address, "--forward-auth", f"http://{gone}/")
    scripted.expect()
    answer = get(gateway, "/")
    assert answer.status == 503
    assert b"auth_unavailable" in answer.body
    assert gone.encode() not in answer.body, "addresses inside are not the client's business"
    assert f"{gone}: Connection refused" in gateway.log
    assert scripted.received == []


def test_websockets_of_one_client_are_counted(guarded: Gateway, scripted: ScriptedUpstream) -> None:
    scripted.expect(Script(SWITCHED))
    with contextlib.ExitStack() as stack:

        def open_one(client: str) -> tuple[Client, int]:
            connection = stack.enter_context(Client(guarded.address))
            return connection, ask(connection, "/", *UPGRADE, client=client).status

        one, status = open_one("192.0.2.30")
        assert status == 101
        assert open_one("192.0.2.30")[1] == 101
        assert open_one("192.0.2.30")[1] == 429
        assert open_one("192.0.2.31")[1] == 101
        one.sock.close()
        until(lambda: open_one("192.0.2.30")[1] == 101, "the closed one makes room")
    scripted.expect(Script(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
    assert [get(guarded, "/", *UPGRADE, client="192.0.2.32").status for _ in range(4)] == [403] * 4


def test_connections_of_one_client_are_counted(start: Callable[..., Gateway], scripted: ScriptedUpstream) -> None:
    scripted.expect()
    gateway = start(scripted.address, "--max-client-connections", "3", workers=2)
    with contextlib.ExitStack() as stack:

        def connect() -> tuple[Client, Answer]:
            connection = stack.enter_context(Client(gateway.address))
            return connection, ask(connection, "/")

        kept = [connect() for _ in range(3)]
        assert [answer.status for _, answer in kept] == [200] * 3
        refused, answer = connect()
        assert answer.status == 429
        assert answer.field("Retry-After") == "10"
        assert refused.at_end()
        kept[0][0].sock.close()
        until(lambda: connect()[1].status == 200, "the closed one makes room")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"rate": "20/s"}, True),
        ({"deny": "192.0.2.1"}, True),
        ({"max_client_connections": "9"}, True),
        ({"rate": "20/s", "trusted_proxies": "127.0.0.1"}, False),
        ({"rate": "20/s", "bind": ["0.0.0.0:8000"]}, False),
        ({}, False),
    ],
)
def test_a_check_notes_limits_that_see_one_client(flags: dict[str, str | list[str]], told: bool) -> None:
    assert any("count as one client" in note for note in notes(load({"upstream": ["127.0.0.1:8080"], **flags}))) is told


@pytest.mark.parametrize(
    ("content", "fix"),
    [
        ("", "no users; add one"),
        ("ann", "line 1: expected USER:HASH"),
        ("\nann:secret", "line 2: not a bcrypt hash"),
        ("ann:$apr1$x$y", "not a bcrypt hash"),
        ("ann:$2y$20$" + "x" * 53, "cost 20"),
        ("ann:$2y$05$" + "x" * 53 + "\nann:$2y$05$" + "x" * 53, "line 2: duplicate user"),
        ("x" * (1 << 20) + "y", "larger than"),
    ],
)
def test_a_bad_file_of_users_is_explained(tmp_path: Path, content: str, fix: str) -> None:
    path = tmp_path / "users"
    path.write_text(content)
    with pytest.raises(ValueError, match=re.escape(fix)):
        read_users(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_users(tmp_path / "missing")
