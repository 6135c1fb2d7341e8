"""The audit log on every kind of server: who, what, when, result; no secrets; rotated; never in anybody's way."""

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from aragora.server.audit import CAPACITY, CLIENTS, DENIAL_SECONDS, HANDSHAKES, OPEN, AuditLog, Caller, Denials
from tests.aragora.server.servers import CHECKOUT, QUESTION, THOROUGH, Server, running
from tests.waiting import PATIENCE, readable, until

TOKEN = "a-token-of-the-tests"
KNOWN = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "203.0.113.9"}
Q1 = {"X-Request-ID": "q1", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
CALLER = Caller("203.0.113.9", None, "token 01234567", "r1")


@pytest.fixture(scope="module", params=THOROUGH)
def audited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp(f"{request.param}-audited")
    environ = {"ARAGORA_API_TOKEN": TOKEN, "ARAGORA_AUDIT_LOG": str(directory / "audit.log")}
    with running(request.param, directory, **environ) as started:
        yield started


def entry(server: Server, request_id: str) -> dict[str, Any]:
    """The line of that request, once it is there."""
    log = server.directory / "audit.log"

    def lines() -> list[str]:
        whole = log.read_text().rpartition("\n")[0] if log.exists() else ""
        return [line for line in whole.splitlines() if f'"{request_id}"' in line]

    (found,) = until(lines, f"the line of {request_id}")
    return dict(json.loads(found))


def test_what_changes_something_is_recorded_with_who_and_result(audited: Server) -> None:
    begun = time.time()
    body = {"question": QUESTION, "agents": ["demo"] * 2, "rounds": 1}
    asked = audited.request("POST", "/api/debates?wait=20&x=secret", json=body, headers=KNOWN | Q1)
    debate = asked.json()["debate_id"]
    found = entry(audited, "q1")
    assert begun - 1 < datetime.fromisoformat(found.pop("time")).timestamp() < time.time() + 1
    who = found.pop("who")
    assert who == f"token {hashlib.sha256(TOKEN.encode()).hexdigest()[:8]}"
    assert found == {
        "client": "203.0.113.9",
        "what": "POST /api/debates",
        "object": f"/api/debates/{debate}",
        "status": asked.status_code,
        "result": "done",
        "request_id": "q1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    }
    refused = audited.request("PATCH", f"/api/debates/{debate}", json={"id": 1}, headers=KNOWN | {"X-Request-ID": "q2"})
    assert refused.status_code == 400
    found = entry(audited, "q2")
    assert (found["who"], found["what"], found["status"], found["result"]) == (
        who,
        f"PATCH /api/debates/{debate}",
        400,
        "refused",
    )
    audited.request("DELETE", f"/api/v1/debates/{debate}", headers=KNOWN | {"X-Request-ID": "q3"})
    assert entry(audited, "q3")["result"] == "done"


def test_the_documented_line_has_the_fields_of_a_real_one(audited: Server) -> None:
    audited.request("POST", "/api/debates", headers={"X-Request-ID": "f1"})
    page = (CHECKOUT / "docs" / "deployment" / "SECURITY.md").read_text()
    shown = json.loads(page.partition("```json\n")[2].partition("```")[0])
    assert list(shown) == list(entry(audited, "f1"))


def test_who_was_denied_is_recorded(audited: Server) -> None:
    audited.get("/api/debates", headers={"Authorization": "Bearer wrong", "X-Request-ID": "d1"})
    found = entry(audited, "d1")
    assert (found["who"], found["what"], found["status"], found["result"]) == (
        "unknown token",
        "GET /api/debates",
        401,
        "denied",
    )
    audited.request("POST", "/api/debates", headers={"X-Request-ID": "d2"})
    assert entry(audited, "d2")["who"] == "nobody"


def test_what_a_websocket_changes_or_is_denied_is_recorded(audited: Server) -> None:
    body = {"question": QUESTION, "agents": ["demo"] * 2, "rounds": 10, "early_stop": False}
    debate = audited.request("POST", "/api/debates", json=body, headers=KNOWN).json()["debate_id"]
    with audited.socket(header=[f"Authorization: Bearer {TOKEN}", "X-Request-ID: w1"]) as client:
        client.send(type="cancel", debate_id=debate)
        client.until("ack")
    found = entry(audited, "w1")
    assert (found["what"], found["object"], found["status"]) == ("WebSocket cancel", debate, 200)
    assert found["who"].startswith("token ")
    with pytest.raises(websocket.WebSocketBadStatusException), audited.socket(header=["X-Request-ID: w2"]):
        pass
    found = entry(audited, "w2")
    assert (found["what"], found["status"], found["result"]) == ("WebSocket open", 401, "denied")
    options = {"suppress_origin": False, "header": [f"Authorization: Bearer {TOKEN}", "X-Request-ID: w3"]}
    with audited.socket(origin="https://evil.example", **options) as client:
        assert client.closed() == 4003
    assert entry(audited, "w3")["object"] == "https://evil.example"


def test_reading_is_not_recorded_and_no_secret_is(audited: Server) -> None:
    assert audited.get("/api/debates", headers=KNOWN | {"X-Request-ID": "r1"}).ok
    audited.request("POST", "/api/debates", json={}, headers=KNOWN | {"X-Request-ID": "r2"})
    entry(audited, "r2")
    text = (audited.directory / "audit.log").read_text()
    assert '"r1"' not in text
    for secret in (TOKEN, "wrong", QUESTION, "secret", "wait="):
        assert secret not in text, secret


def test_a_rotated_log_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with running("gunicorn", tmp_path, ARAGORA_API_TOKEN=TOKEN, ARAGORA_AUDIT_LOG=str(path)) as server:
        server.get("/api/debates", headers={"X-Request-ID": "before"})
        entry(server, "before")
        path.rename(tmp_path / "audit.log.1")
        server.process.send_signal(signal.SIGUSR1)
        server.get("/api/debates", headers={"X-Request-ID": "after"})
        entry(server, "after")
        assert "before" not in path.read_text()


def test_a_reader_that_stands_still_holds_up_no_request(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with running("gunicorn", tmp_path, ARAGORA_API_TOKEN=TOKEN, ARAGORA_AUDIT_LOG=str(path)) as server:
            with requests.Session() as session:
                for number in range(600):  # lines for more than two pipes full
                    headers = {"X-Request-ID": f"p{number}"}
                    assert session.get(f"{server.base}/api/debates", headers=headers, timeout=10).status_code == 401
            found: set[str] = set()
            rest = b""
            while len(found) < 600 and readable(reader, PATIENCE):
                *lines, rest = (rest + os.read(reader, 1 << 16)).split(b"\n")
                found |= {json.loads(line)["request_id"] for line in lines}
            assert len(found) == 600
    finally:
        os.close(reader)


def test_lines_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    lost: list[int] = []
    told = threading.Event()

    def note(lines: int) -> None:
        lost.append(lines)
        told.set()

    log = AuditLog(str(tmp_path / "none" / "audit.log"), note)
    log.record(CALLER, "POST /", "/", 202)
    assert told.wait(10)
    (tmp_path / "none").mkdir()
    log.record(CALLER, "POST /", "/", 202)
    log.close()
    assert lost == [1]
    assert len((tmp_path / "none" / "audit.log").read_text().splitlines()) == 1


def test_the_queue_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)  # nobody opens it for reading: the first write waits
    lost: list[int] = []
    log = AuditLog(str(path), lost.append)
    for _ in range(2 * CAPACITY + 100):
        log.record(CALLER, "POST /", "/", 202)
    assert 0 < sum(lost) < 2 * CAPACITY + 100
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # lets the writer go
    log.close()
    os.close(reader)


def test_denials_of_one_client_do_not_fill_the_log(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path), lambda _: None)
    other = CALLER._replace(client="203.0.113.10")
    for _ in range(500):
        log.record(CALLER, OPEN, "-", 401)
    log.record(other, OPEN, "-", 401)
    log.record(CALLER, "DELETE /api/debates/x", "/api/debates/x", 204)
    log.record(CALLER, "POST /api/debates", "/api/debates", 401)
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["client"] for line in lines].count(CALLER.client) == HANDSHAKES + 2
    assert lines[HANDSHAKES]["client"] == other.client
    assert [line["status"] for line in lines[-2:]] == [204, 401]


def test_what_was_not_listed_is_counted_in_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("aragora.server.audit.time.monotonic", lambda: clock[0])
    denials = Denials()
    told = [denials.unlisted(CALLER, handshake=True) for _ in range(HANDSHAKES + 5)]
    assert told == [0] * HANDSHAKES + [None] * 5
    clock[0] += DENIAL_SECONDS
    assert denials.unlisted(CALLER, handshake=True) == 5
    assert denials.unlisted(CALLER, handshake=True) is None
    for number in range(CLIENTS):
        assert denials.unlisted(CALLER._replace(client=str(number)), handshake=True) == 0
    assert denials.unlisted(CALLER, handshake=True) == 0  # forgotten meanwhile


def test_without_a_path_nothing_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lost: list[int] = []
    before = set(threading.enumerate())
    log = AuditLog("", lost.append)
    for _ in range(2 * CAPACITY):
        log.record(CALLER, "POST /", "/", 202)
    assert set(threading.enumerate()) == before, "nothing to write needs no writer"
    log.close()
    assert (lost, list(tmp_path.iterdir())) == ([], [])
