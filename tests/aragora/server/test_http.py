"""The HTTP contract, the same from every kind of server."""

import concurrent.futures
import contextlib
import http.client
import json
import socket
import uuid
from typing import Any

import pytest
import requests

from aragora.server import console
from tests.aragora.documents.test_reading import pdf, shown
from tests.aragora.server.servers import QUESTION, Server
from tests.waiting import until

JSON = {"Content-Type": "application/json"}


def refused(answer: requests.Response, status: int, code: str) -> dict[str, Any]:
    """The error of an answer, after checking that it has the one shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    error = answer.json()["error"]
    assert error["code"] == code, error
    assert error["message"]
    assert error["trace_id"] == answer.headers["X-Request-ID"]
    assert "Traceback" not in answer.text
    return dict(error)


def test_a_debate_from_question_to_decision(server: Server) -> None:
    answer = server.request("POST", "/api/debates", json={"question": QUESTION, "agents": ["demo"] * 3, "rounds": 2})
    assert answer.status_code == 202
    created = answer.json()
    debate_id = created["debate_id"]
    assert created == {"success": True, "debate_id": debate_id, "status": "created", "task": QUESTION}
    assert answer.headers["Location"] == f"/api/debates/{debate_id}"

    events = []
    while not events or events[-1]["type"] != "debate_end":
        page = server.get(f"/api/debates/{debate_id}/events?since={len(events)}&wait=20").json()
        events += page["events"]
        assert page["next_seq"] == len(events)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "debate_start"
    assert {event["debate_id"] for event in events} == {debate_id}

    debate = server.get(f"/api/debates/{debate_id}").json()
    assert debate["status"] == "completed"
    assert not debate["in_progress"]
    assert debate["agents"] == ["demo-1", "demo-2", "demo-3"]
    assert debate["final_answer"] == debate["conclusion"]
    assert debate["last_seq"] == len(events)
    said = [event["data"]["content"] for event in events if event["type"] == "agent_message"]
    assert [message["content"] for message in debate["messages"]] == said


def test_waiting_for_the_end(server: Server) -> None:
    debate = server.finished()
    assert debate["status"] == "completed"
    assert debate["messages"]
    short = server.request("POST", "/api/debates?wait=0.01", json={"question": QUESTION, "agents": ["demo"] * 2})
    assert short.status_code == 202
    error = refused(
        server.request("POST", "/api/debates?wait=301", json={"question": QUESTION}), 400, "validation_error"
    )
    assert error["details"][0]["field"] == "wait"


@pytest.mark.parametrize("size", [0, 20_000])
def test_unread_body_keeps_or_announces_close_of_connection(server: Server, size: int) -> None:
    body = json.dumps({"question": QUESTION, "context": "x" * size})
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.connect()
        connection.auto_open = 0  # or it would connect again by itself
        for _ in range(3):
            connection.request("POST", "/api/debates?wait=301", body, JSON)
            answer = connection.getresponse()
            assert answer.status == 400
            assert json.loads(answer.read())["error"]["code"] == "validation_error"
            if answer.getheader("Connection", "").lower() == "close":
                break


def test_the_other_name_of_every_address(server: Server) -> None:
    debate_id = server.ask()
    assert server.get(f"/api/v1/debates/{debate_id}").json()["id"] == debate_id
    assert server.get(f"/api/v1/debates/{debate_id}/").json()["id"] == debate_id
    assert server.get("/api/v1/agents").json()["count"] > 1


def test_task_is_another_name_of_question(server: Server) -> None:
    answer = server.request("POST", "/api/debates", json={"task": QUESTION})
    assert answer.json()["task"] == QUESTION


def test_what_was_said_and_found(server: Server) -> None:
    debate = server.debate
    path = f"/api/debates/{debate['id']}"
    total = len(debate["messages"])
    pages = [server.get(f"{path}/messages?limit=2&offset={offset}").json() for offset in range(0, total, 2)]
    assert [message for page in pages for message in page["messages"]] == debate["messages"]
    assert [page["has_more"] for page in pages] == [True] * (len(pages) - 1) + [False]
    votes = server.get(f"{path}/votes").json()
    assert votes["count"] == len(votes["votes"]) >= 3
    assert {vote["choice"] for vote in votes["votes"]} <= set(debate["agents"])
    critiques = server.get(f"{path}/critiques").json()["critiques"]
    assert all(0 <= critique["severity"] <= 10 for critique in critiques)
    assert all(critique["target"] != critique["agent"] for critique in critiques)
    rounds = server.get(f"{path}/convergence").json()["rounds"]
    assert [point["round"] for point in rounds] == list(range(1, len(rounds) + 1))
    assert all(0 <= point["similarity"] <= 1 for point in rounds)


@pytest.mark.parametrize("form", ["json", "csv", "html", "txt", "md"])
def test_downloads(server: Server, form: str) -> None:
    debate_id = server.debate["id"]
    for table in ("summary", "messages", "critiques", "votes"):
        answer = server.get(f"/api/debates/{debate_id}/export/{form}?table={table}")
        assert answer.status_code == 200
        assert answer.content
        disposition = answer.headers["Content-Disposition"]
        assert disposition.startswith("attachment")
        assert f".{form}" in disposition
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    refused(server.get(f"/api/debates/{debate_id}/export/pdf"), 404, "not_found")
    refused(server.get(f"/api/debates/{debate_id}/export/{form}?table=secrets"), 400, "validation_error")


def test_changing_and_removing(server: Server) -> None:
    debate_id = server.ask()
    path = f"/api/debates/{debate_id}"
    changed = server.request("PATCH", path, json={"title": "Billing", "metadata": {"a": 1}, "is_public": True}).json()
    assert (changed["title"], changed["metadata"], changed["is_public"]) == ("Billing", {"a": 1}, True)
    refused(server.request("PATCH", path, json={"status": "completed"}), 400, "validation_error")
    deleted = server.request("DELETE", path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    refused(server.get(path), 404, "not_found")
    refused(server.get(f"{path}/events"), 404, "not_found")
    refused(server.request("DELETE", path), 404, "not_found")


def test_cancelling_is_for_good(server: Server) -> None:
    before = server.metric('aragora_debates_total{outcome="cancelled"}')
    debate_id = server.ask(rounds=10)
    path = f"/api/debates/{debate_id}"
    assert server.request("POST", f"{path}/cancel").json()["status"] == "cancelled"
    refused(server.request("POST", f"{path}/cancel"), 409, "debate_ended")
    assert server.metric('aragora_debates_total{outcome="cancelled"}') == before + 1
    events = server.get(f"{path}/events").json()["events"]
    assert events[-1]["type"] == "debate_end"
    assert server.get(f"{path}/events?since={len(events)}&wait=30").json()["events"] == []


def test_one_key_makes_one_debate(server: Server) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"question": QUESTION, "agents": ["demo"] * 2}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(requests.post, f"{server.base}/api/debates", json=body, headers=headers) for _ in range(4)]
        answers = [one.result() for one in sent]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["debate_id"] for answer in answers}) == 1
    other = server.request("POST", "/api/debates", json={**body, "rounds": 1}, headers=headers)
    refused(other, 409, "conflict")
    refused(
        server.request("POST", "/api/debates", json=body, headers={"Idempotency-Key": "x" * 256}), 400, "bad_request"
    )


def test_pages_of_debates(server: Server) -> None:
    word = f"w{uuid.uuid4().hex[:10]}"
    made = [server.ask(question=f"Should we do {word} number {number}?", rounds=1) for number in range(5)]
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = server.get(
            f"/api/debates?q={word}&limit=2&cursor={cursor}" if cursor else f"/api/debates?q={word}&limit=2"
        ).json()
        assert page["count"] == len(page["debates"]) <= 2
        found += [debate["id"] for debate in page["debates"]]
        cursor = page["next_cursor"]
    assert found == made[::-1]
    refused(server.get("/api/debates?cursor=nonsense"), 400, "bad_request")
    refused(server.get("/api/debates?limit=101"), 400, "validation_error")
    refused(server.get("/api/debates?status=thinking"), 400, "validation_error")
    long = refused(server.get(f"/api/debates?q={'x' * 201}"), 400, "validation_error")
    assert long["message"] == "q: at most 200 characters"
    refused(server.get("/api/debates?limit=1&limit=2"), 400, "validation_error")
    assert all(one["status"] == "completed" for one in server.get("/api/debates?status=completed").json()["debates"])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"question": "four"}, "question"),
        ({"question": " " * 40}, "question"),
        ({"question": "x" * 2001}, "question"),
        ({"agents": ["demo"]}, "agents"),
        ({"agents": ["demo"] * 11}, "agents"),
        ({"agents": ["demo", "nobody"]}, "agents.1"),
        ({"rounds": 0}, "rounds"),
        ({"rounds": 11}, "rounds"),
        ({"rounds": "3"}, "rounds"),
        ({"consensus": "dictate"}, "consensus"),
        ({"context": "x" * 100_001}, "context"),
        ({"timeout": 1801}, "timeout"),
        ({"metadata": {"a": "x" * 20_000}}, "metadata"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_each_wrong_field_is_named(server: Server, body: dict[str, Any], field: str) -> None:
    answer = server.request("POST", "/api/debates", json={"question": QUESTION, **body})
    error = refused(answer, 400, "validation_error")
    assert field in [item["field"] for item in error["details"]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"question": "\\ud800 half of a pair"}',
        b'{"question": "a NUL \\u0000 in it"}',
        b'{"question": NaN}',
        b'{"timeout": 1e999}',
        b'{"rounds": ' + b"9" * 5000 + b"}",
        b'{"question": "a question", "question": "another one"}',
        b'{"metadata": ' + b'{"a":' * 100 + b"1" + b"}" * 101,
        b"[" * 500_000,
    ],
)
def test_what_is_not_json_is_refused(server: Server, body: bytes) -> None:
    answer = server.request("POST", "/api/debates", data=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("bad_request", "validation_error")


def test_bodies_that_are_too_long_or_of_another_kind(server: Server) -> None:
    refused(server.request("POST", "/api/debates", data=b"x" * (2 << 20), headers=JSON), 413, "payload_too_large")
    refused(server.request("POST", "/api/debates", data=b"{}"), 415, "unsupported_media_type")
    refused(server.request("POST", "/api/debates", data={"question": QUESTION}), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("framing", "frame"),
    [
        ("Content-Length: 1000", "{}"),
        ("Transfer-Encoding: chunked", "fff\r\n{}"),
        ("Transfer-Encoding: chunked", "zz\r\n{}"),
    ],
)
def test_a_body_that_broke_off_begins_nothing(server: Server, framing: str, frame: str) -> None:
    question = uuid.uuid4().hex
    head = f"POST /api/debates HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall((head + frame.format(json.dumps({"question": question}))).encode())
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            # uvicorn ends the connection without a word
            status = answer.readline().split()[1:2]
    assert status in ([], [b"400"], [b"411"])
    assert server.get(f"/api/debates?q={question}").json()["debates"] == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/api/nothing", 404, "not_found"),
        ("GET", "/console/../wsgi.py", 404, "not_found"),
        ("GET", "/console/%2e%2e%2fwsgi.py", 404, "not_found"),
        ("GET", "/console/__init__.py", 404, "not_found"),
        ("PUT", "/api/debates", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("GET", "/api/debates/adhoc_00000000000000000000000000", 404, "not_found"),
        ("GET", "/api/debates/%00", 404, "not_found"),
        ("GET", "/api/debates/..%2f..%2fetc%2fpasswd", 404, "not_found"),
        ("GET", "/api/debates/1'%20OR%20'1'='1", 404, "not_found"),
        ("GET", "/api/debates/%F0%9F%92%A9/events", 404, "not_found"),
        ("DELETE", "/api/debates/*", 404, "not_found"),
        ("GET", "/api/debates?q=%00", 400, "validation_error"),
        ("GET", "/api/debates?limit=1e9", 400, "validation_error"),
        ("GET", "/ws", 426, "upgrade_required"),
    ],
)
def test_addresses_that_lead_nowhere(server: Server, method: str, path: str, status: int, code: str) -> None:
    request = requests.Request(method, server.base).prepare()
    request.url = server.base + path  # as it stands: requests would tidy it up
    error = refused(server.http.send(request, timeout=30), status, code)
    assert "sql" not in json.dumps(error).lower()


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/api/debates/adhoc_00000000000000000000000000", 404),
        ("/shared/nothing", 404),
        ("/v1/models/nothing", 404),
        ("/api/debates?limit=x", 400),
        ("/api/debates/x/cancel", 405),
    ],
)
def test_a_person_is_refused_with_a_page(server: Server, path: str, status: int) -> None:
    page = server.get(path, headers=BROWSER)
    assert (page.status_code, page.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Request-ID"] in page.text
    assert 'href="/"' in page.text
    assert "$" not in page.text
    assert "Accept" in page.headers["Vary"]
    head = server.request("HEAD", path, headers=BROWSER)
    assert (head.status_code, head.content) == (status, b"")
    assert head.headers["Content-Type"] == page.headers["Content-Type"]


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", "application/json, text/html;q=0.9", "text/event-stream", ";"]
)
def test_a_program_is_refused_with_json(server: Server, accept: str) -> None:
    answer = server.get("/nothing", headers={"Accept": accept})
    assert refused(answer, 404, "not_found")
    posted = server.request("POST", "/api/debates", headers=BROWSER, json={"question": "why"})
    assert posted.headers["Content-Type"] == "application/json"


def test_what_a_page_repeats_of_a_request_is_text() -> None:
    page = console.problem_page(400, "<b>", "<script>alert(1)</script> $status", "a'b").decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; $status" in page
    assert "<b>" not in page
    assert "a&#x27;b" in page


@pytest.mark.parametrize(
    ("guess", "address"),
    [("/docs", "/api/docs"), ("/api", "/api/docs"), ("/api/", "/api/docs"), ("/openapi.json", "/api/openapi.json")],
)
def test_addresses_that_people_guess_lead_on(server: Server, guess: str, address: str) -> None:
    answer = server.get(guess, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (307, address)
    assert server.get(guess).status_code == 200
    assert server.request("HEAD", guess, allow_redirects=False).status_code == 307


def test_the_old_name_of_the_icon_is_known(server: Server) -> None:
    assert server.get("/favicon.ico").content == server.get("/favicon.svg").content


def test_upgrade_insecure_requests_is_not_forwarded(server: Server) -> None:
    assert server.get("/ws").headers["Upgrade"] == "websocket"
    through = server.get("/ws", headers={"X-Forwarded-For": "203.0.113.9"})
    assert through.status_code == 426
    assert "Upgrade" not in through.headers


def test_request_ids(server: Server) -> None:
    given = server.get("/healthz", headers={"X-Request-ID": "abc-123"})
    assert given.headers["X-Request-ID"] == "abc-123"
    made = server.get("/healthz", headers={"X-Request-ID": "spaces are not taken"}).headers["X-Request-ID"]
    assert len(made) == 32
    assert server.get("/healthz").headers["X-Request-ID"] != made


def test_head_and_options(server: Server) -> None:
    head = server.request("HEAD", "/api/agents")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) == len(server.get("/api/agents").content)
    events = f"/api/debates/{server.debate['id']}/events"
    stream = server.request("HEAD", events, headers={"Accept": "text/event-stream"})
    assert (stream.status_code, stream.headers["Content-Type"]) == (200, "text/event-stream")
    assert "Content-Length" not in stream.headers
    options = server.request("OPTIONS", "/api/debates")
    assert options.status_code in (200, 204)
    assert "POST" in options.headers["Allow"]


def test_health_and_readiness(server: Server) -> None:
    assert server.get("/healthz").json() == {"status": "ok"}
    health = server.get("/health").json()
    assert health["status"] == "ok"
    assert health["uptime_seconds"] > 0
    for path in ("/ready", "/readyz"):
        ready = server.get(path).json()
        assert ready["status"] == "ready"
        assert set(ready["checks"]) == {"store", "migrations", "draining"}
        assert all(check["ok"] for check in ready["checks"].values())


def test_pages_let_nothing_foreign_run(server: Server) -> None:
    for path in ("/", "/api/docs", "/status"):
        page = server.get(path)
        assert page.headers["Content-Type"].startswith("text/html")
        policy = page.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "<script>" not in page.text
        assert "style=" not in page.text
    page = server.get("/console/console.js")
    again = server.get("/console/console.js", headers={"If-None-Match": page.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def sse(server: Server, path: str, **headers: str) -> list[tuple[int, str]]:
    """The events of a stream that ends by itself."""
    with server.get(path, headers={"Accept": "text/event-stream", **headers}, stream=True) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["X-Accel-Buffering"] == "no"
        text = answer.content.decode()
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "id" in fields:
            event = json.loads(fields["data"])
            assert event["seq"] == int(fields["id"])
            assert event["type"] == fields["event"]
            found.append((event["seq"], event["type"]))
    return found


def test_a_stream_of_events_and_its_resumption(server: Server) -> None:
    debate_id = server.ask(rounds=1)
    path = f"/api/debates/{debate_id}/events"
    found = sse(server, path)
    assert [seq for seq, _ in found] == list(range(1, len(found) + 1))
    assert found[-1][1] == "debate_end"
    assert sse(server, path, **{"Last-Event-ID": "5"}) == found[5:]
    over = server.get(path, headers={"Accept": "text/event-stream", "Last-Event-ID": str(len(found))})
    assert over.status_code == 204
    refused(server.get(path, headers={"Accept": "text/event-stream", "Last-Event-ID": "x"}), 400, "bad_request")
    refused(server.get("/api/debates/none/events", headers={"Accept": "text/event-stream"}), 404, "not_found")


def test_requests_are_counted_by_template(server: Server) -> None:
    name = 'aragora_http_requests_total{method="GET",route="/api/debates/{debate_id}",status="404"}'
    assert server.debate["status"] == "completed"  # what ended is counted
    before = server.metric(name)
    for _ in range(5):
        server.get(f"/api/debates/{uuid.uuid4().hex}")
    until(lambda: server.metric(name) == before + 5, "the five are counted")
    text = server.get("/metrics").text
    for metric in (
        "aragora_http_request_duration_seconds_bucket",
        "aragora_debates_total",
        "aragora_debates_running",
        "aragora_agent_duration_seconds_bucket",
        "aragora_event_fanout_lag_seconds_bucket",
        "aragora_websocket_connections",
        "aragora_worker_connections",
        "aragora_build_info",
    ):
        assert metric in text


def test_development_server_refuses_proxied_internet_clients(server: Server) -> None:
    outside = {"X-Forwarded-For": "8.8.8.8"}
    if server.kind != "dev":
        assert server.get("/api/debates", headers=outside).ok
        return
    for headers in (outside, {"Forwarded": 'for="[2606:4700::1]"'}, {"X-Real-IP": "8.8.8.8"}):
        answer = server.get("/api/debates", headers=headers)
        assert answer.status_code == 403
        assert "not for the internet" in answer.json()["error"]["message"]
    assert server.get("/api/debates", headers={"X-Forwarded-For": "192.168.1.7"}).ok


def test_files_are_read_as_text(server: Server) -> None:
    for body, kind, text in (
        (b"# Plan", "text/markdown", "# Plan"),
        (b"<h1>Plan</h1>", "text/html", "# Plan"),
        (pdf(shown(b"Plan")), "application/pdf", "Plan"),
    ):
        answer = server.request("POST", "/api/sources?name=plan", data=body, headers={"Content-Type": kind})
        assert answer.json() == {"name": "plan", "type": kind, "text": text, "characters": len(text), "cut": False}
    long = server.request(
        "POST", "/api/v1/sources", data=b"x" * 2_000_000, headers={"Content-Type": "text/plain"}
    ).json()
    assert (len(long["text"]), long["characters"], long["cut"]) == (100_000, 400_000, True)


def test_pages_inside_are_not_fetched(server: Server) -> None:
    for url in (
        f"{server.base}/metrics",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "file:///etc/passwd",
    ):
        answer = server.request("POST", "/api/sources", json={"url": url})
        assert answer.status_code == 400
        assert "aragora_" not in answer.text
    for body, kind, status in (
        (b"\x89PNG", "image/png", 400),
        (b"", "text/plain", 400),
        (b"[1]", "application/json", 400),
    ):
        assert server.request("POST", "/api/sources", data=body, headers={"Content-Type": kind}).status_code == status
    assert (
        server.request(
            "POST", "/api/sources", data=b"x" * (11 << 20), headers={"Content-Type": "text/plain"}
        ).status_code
        == 413
    )
