"""Tokens, foreign pages and the bound on watchers, on every kind of server."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import pytest
import requests
import websocket

from aragora.server import auth
from tests.aragora.server.conftest import ORIGIN
from tests.aragora.server.servers import QUESTION, Server
from tests.waiting import until

KNOWN = {"Authorization": "Bearer second-token"}


def test_only_known_tokens_open_the_api(guarded: Server) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic Zm9v"},
        {"Authorization": "Bearer "},
    ):
        for path in ("/api/debates", "/api/v1/agents", "/api/debates/x/events", "/api/nothing"):
            answer = guarded.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "unauthorized"
    for token in ("first-token", "second-token"):
        assert guarded.get("/api/debates", headers={"Authorization": f"bearer {token}"}).ok


def test_idempotency_keys_are_each_token_s_own(guarded: Server) -> None:
    def ask(token: str, question: str = QUESTION) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "the-same-key"}
        body = {"question": question, "agents": ["demo"] * 2, "rounds": 1}
        return guarded.request("POST", "/api/debates", json=body, headers=headers)

    first, again, other = (ask(token).json()["debate_id"] for token in ("first-token", "first-token", "second-token"))
    assert first == again
    assert first != other
    assert ask("first-token", "Should we adopt something else?").status_code == 409
    assert ask("second-token").json()["debate_id"] == other


def test_public_debate_is_readable_without_a_token(guarded: Server) -> None:
    body = {"question": QUESTION, "agents": ["demo"] * 2, "rounds": 1}
    answer = guarded.request("POST", "/api/debates?wait=50", json=body, headers=KNOWN).json()
    path = f"/api/debates/{answer['id']}"
    parts = ("", "/messages", "/votes", "/critiques", "/convergence", "/events", "/export/html?table=messages")
    assert {guarded.get(path + part).status_code for part in parts} == {401}

    guarded.request("PATCH", path, json={"is_public": True}, headers=KNOWN)
    for part in parts:
        assert guarded.get(path + part).ok, part
        assert guarded.request("HEAD", path + part).ok, part
        assert guarded.get(f"/api/v1{path.removeprefix('/api')}{part}").ok, part
    assert guarded.get(path).json()["messages"]
    assert guarded.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert guarded.get("/api/debates").status_code == 401
    assert guarded.get(f"{path}/events?wait=1").status_code == 401
    assert guarded.get(f"{path}/events", headers={"Accept": "text/event-stream"}).status_code == 401
    for method, part in (("PATCH", ""), ("DELETE", ""), ("POST", "/cancel")):
        assert guarded.request(method, path + part, json={"title": "x"}).status_code == 401
    assert guarded.get("/api/debates/adhoc_" + "0" * 26).status_code == 401

    guarded.request("PATCH", path, json={"is_public": False}, headers=KNOWN)
    assert {guarded.get(path + part).status_code for part in parts} == {401}
    guarded.request("DELETE", path, headers=KNOWN)


def test_probes_and_pages_need_no_token(guarded: Server) -> None:
    probes = ("/healthz", "/ready", "/health", "/metrics")
    pages = ("/", "/status", "/api/docs", "/docs", "/api", "/favicon.ico", "/console/dom.js")
    for path in (*probes, *pages, "/api/openapi.json", "/openapi.json"):
        assert guarded.get(path).ok, path


def test_a_person_without_a_token_is_led_to_the_console(guarded: Server) -> None:
    page = guarded.get("/api/debates", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "enter your access token" in page.text


@pytest.mark.parametrize(
    "outside",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Host": "api.example"},
        {"X-Real-IP": "203.0.113.9"},
        {"Forwarded": "for=unknown"},
        {"Via": "1.1 gateway"},
        {"X-Request-ID": "q1"},
        {"CF-Connecting-IP": "203.0.113.9"},
        {"True-Client-IP": "203.0.113.9"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_metrics_are_not_for_those_who_come_through_a_proxy(guarded: Server, outside: dict[str, str]) -> None:
    assert guarded.get("/metrics", headers=outside).status_code == 404
    assert guarded.get("/metrics", headers={**outside, "Authorization": "Bearer wrong"}).status_code == 404
    assert guarded.get("/metrics", headers={**outside, **KNOWN}).ok


def test_a_listed_page_may_read_and_others_may_not(guarded: Server) -> None:
    listed = guarded.get("/api/debates", headers={**KNOWN, "Origin": ORIGIN})
    assert listed.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert listed.headers["Vary"] == "Origin"
    other = guarded.get("/api/debates", headers={**KNOWN, "Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers
    assert other.headers["Vary"] == "Origin"
    refusal = guarded.get("/api/debates", headers={"Origin": ORIGIN})
    assert refusal.status_code == 401
    assert refusal.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_preflight_needs_no_token(guarded: Server) -> None:
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = guarded.request("OPTIONS", "/api/debates", headers=asked)
    assert answer.ok
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    other = guarded.request("OPTIONS", "/api/debates", headers={**asked, "Origin": "https://evil.example"})
    assert "Access-Control-Allow-Methods" not in other.headers


def test_websocket_token_subprotocol_is_echoed(guarded: Server) -> None:
    with guarded.socket(subprotocols=["access_token.first-token"]) as client:
        assert client.raw.getsubprotocol() == "access_token.first-token"
        assert client.receive()["data"]["authenticated"] is True
    with guarded.socket(header=["Authorization: Bearer second-token"]) as client:
        assert client.receive()["type"] == "connection_info"


def refused_handshake(server: Server, **options: Any) -> websocket.WebSocketBadStatusException:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused, server.socket(**options):
        pass
    return refused.value


def test_unknown_token_is_refused_before_the_websocket_opens(guarded: Server) -> None:
    for options in ({}, {"subprotocols": ["access_token.wrong"]}, {"header": ["Authorization: Bearer wrong"]}):
        refused = refused_handshake(guarded, **options)
        assert refused.status_code == 401
        assert refused.resp_headers["www-authenticate"] == "Bearer"
        assert json.loads(refused.resp_body)["error"]["code"] == "unauthorized"


def test_a_page_without_a_known_token_is_told_by_a_close_code(guarded: Server) -> None:
    options = {"suppress_origin": False, "origin": ORIGIN}
    for subprotocols in ([], ["access_token.wrong"]):
        with guarded.socket(subprotocols=subprotocols, **options) as client:
            assert client.closed() == 4001


def test_refused_pages_hold_nothing_however_many_come(guarded: Server) -> None:
    """None of them answers the goodbye; the last is told as fast as the first."""
    options = {"suppress_origin": False, "origin": ORIGIN}
    with ExitStack() as stack:
        clients = [stack.enter_context(guarded.socket(**options)) for _ in range(100)]
        assert [client.closed() for client in clients] == [4001] * 100
        assert guarded.get("/healthz").ok


def test_a_websocket_of_a_foreign_page_is_closed(guarded: Server) -> None:
    options = {"suppress_origin": False, "header": ["Authorization: Bearer first-token"]}
    with guarded.socket(origin="https://evil.example", **options) as client:
        assert client.closed() == 4003
    for origin in (ORIGIN, f"http://127.0.0.1:{guarded.port}"):
        with guarded.socket(origin=origin, **options) as client:
            assert client.receive()["type"] == "connection_info"


def test_watchers_are_bounded(guarded: Server) -> None:
    header = ["Authorization: Bearer first-token"]
    body = {"question": QUESTION, "agents": ["demo"] * 2, "rounds": 10, "early_stop": False}
    debate = guarded.request("POST", "/api/debates", json=body, headers=KNOWN).json()["debate_id"]
    with ExitStack() as stack:
        # Four a process; two workers may share them unevenly, so ask until one refuses.
        clients = [stack.enter_context(guarded.socket(header=header)) for _ in range(9)]
        codes = []
        for client in clients:
            kind, content = client.raw.recv_data()
            codes.append(int.from_bytes(content[:2], "big") if kind == websocket.ABNF.OPCODE_CLOSE else 0)
        assert 4029 in codes

        def refusal() -> Mapping[str, str]:
            answer = requests.get(
                f"{guarded.base}/api/debates/{debate}/events",
                headers={**KNOWN, "Accept": "text/event-stream"},
                stream=True,
                timeout=30,
            )
            answer.close()
            return answer.headers if answer.status_code == 429 else {}

        assert int(until(refusal, "a process that is full")["Retry-After"]) > 0
    guarded.request("POST", f"/api/debates/{debate}/cancel", headers=KNOWN)


STRANGERS = (
    "evil.example",
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.localhost.example",
    "evil@localhost",
    "localhost,evil.example",
    "localhost.",
    "[::1",
    "127.0.0.1:8000:80",
    "",
)


def test_without_tokens_only_local_host_names_are_served(server: Server) -> None:
    for host in STRANGERS[:3]:
        page = {"Host": host, "Origin": f"http://{host}"}
        for method, path in (
            ("GET", "/"),
            ("GET", "/api/debates"),
            ("POST", "/api/debates"),
            ("OPTIONS", "/api/debates"),
            ("GET", "/api/debates/adhoc_0123456789abcdef0123456789/events"),
            ("GET", "/metrics"),
            ("GET", "/console/dom.js"),
        ):
            answer = server.request(method, path, headers=page)
            assert answer.status_code == 403, (host, path)
            assert answer.json()["error"]["code"] == "forbidden"
            assert "Access-Control-Allow-Origin" not in answer.headers
        assert refused_handshake(server, suppress_origin=False, origin=f"http://{host}", host=host).status_code == 403
        assert server.get("/healthz", headers={"Host": host}).ok
    for host in ("localhost", f"127.0.0.1:{server.port}", "[::1]:8000", "aragora", "app.localhost:8000"):
        assert server.get("/api/debates", headers={"Host": host}).ok, host
        with server.socket(suppress_origin=False, origin=f"http://{host}", host=host) as client:
            assert client.receive()["type"] == "connection_info"


def test_with_tokens_any_host_is_served(guarded: Server) -> None:
    assert guarded.get("/api/debates", headers={**KNOWN, "Host": "debates.example"}).ok


@pytest.mark.parametrize("host", STRANGERS)
def test_hosts_of_strangers(host: str) -> None:
    assert not auth.host_served(host, "http://127.0.0.1:8000", guarded=False)
    assert auth.host_served(host, "http://127.0.0.1:8000", guarded=True)


def test_the_configured_address_is_served_on_every_port() -> None:
    for host in ("debates.example", "Debates.Example:8000", "debates.example:443"):
        assert auth.host_served(host, "https://debates.example", guarded=False)
    assert not auth.host_served("debates.example.evil", "https://debates.example", guarded=False)
    assert auth.host_served(None, "https://debates.example", guarded=False)


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "expected"),
    [
        (None, "a", (), True),
        ("http://a:8000", "a:8000", (), True),
        ("https://A:8000", "a:8000", (), True),
        ("http://b", "a", (), False),
        ("http://b", "a", ("http://b",), True),
        ("http://b.evil", "a", ("http://b",), False),
        ("null", "a", (), False),
        ("null", None, (), False),
        ("http://anything", "a", ("*",), True),
        ("http://[::1", "[::1", (), True),
        ("http://[::1", "a", (), False),
        ("a", "a", (), False),
    ],
)
def test_origins(origin: str | None, host: str | None, allowed: tuple[str, ...], expected: bool) -> None:
    assert auth.origin_allowed(origin, host, allowed) is expected


def test_only_bearer_tokens_are_read() -> None:
    assert auth.bearer("Bearer  abc ") == "abc"
    assert auth.bearer("Token abc") is None
    assert auth.bearer(None) is None
