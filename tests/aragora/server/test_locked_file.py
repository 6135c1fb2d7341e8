"""Another program holds the SQLite file: every kind of server says 503, and serves on afterwards."""

import json
from pathlib import Path

import pytest
import requests

from tests.aragora.server.servers import QUESTION, THOROUGH, Server, running
from tests.aragora.storage.test_locked_file import EXCLUSIVE, locked
from tests.waiting import until

BODY = {"question": QUESTION, "agents": ["demo"] * 3, "rounds": 3, "early_stop": False}
IMPATIENT = {"ARAGORA_DATABASE_TIMEOUT": "0.5"}


def unavailable(answer: requests.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["error"]["code"] == "unavailable"


@pytest.mark.parametrize("kind", THOROUGH)
def test_writing_is_unavailable_and_debates_go_on_later(kind: str, tmp_path: Path) -> None:
    with running(kind, tmp_path, ARAGORA_DEMO_DELAY="0.3", **IMPATIENT) as server:
        debate = server.ask(**{name: value for name, value in BODY.items() if name != "question"})
        until(lambda: server.get(f"/api/debates/{debate}").json()["last_seq"] > 2, "the debate's beginning")
        with locked(server.data):
            unavailable(server.request("POST", "/api/debates", json=BODY))
            unavailable(server.request("DELETE", f"/api/debates/{debate}"))
            unavailable(server.request("PATCH", f"/api/debates/{debate}", json={"title": "another"}))
            assert server.get("/healthz").ok
            assert server.get(f"/api/debates/{debate}").json()["in_progress"]
            with server.greeted() as client:
                client.send(type="user_vote", debate_id=debate, choice="demo-1")
                assert client.until("error")["error"]["code"] == "unavailable"
        until(lambda: not server.get(f"/api/debates/{debate}").json()["in_progress"], "the end of the debate")
        assert server.get(f"/api/debates/{debate}").json()["status"] == "completed"
        events = server.get(f"/api/debates/{debate}/events").json()["events"]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert not [event for event in events if event["type"] == "agent_error"], json.dumps(events)


@pytest.mark.parametrize("kind", THOROUGH)
def test_a_worker_starts_while_the_file_is_held(kind: str, tmp_path: Path) -> None:
    with running(kind, tmp_path) as server:
        server.ask()
    (tmp_path / "again").mkdir()
    server = Server(kind, tmp_path / "again", **IMPATIENT, ARAGORA_DATA_DIR=str(tmp_path / "data"))
    try:
        with locked(tmp_path / "data", EXCLUSIVE):
            until(lambda: serves(server), "a server that says that it is not ready")
            unavailable(server.get("/api/debates"))
            assert server.get("/healthz").ok
        server.await_ready()
        assert server.get("/api/debates").json()["count"] == 1
    finally:
        server.close()


def serves(server: Server) -> bool:
    try:
        return server.get("/ready").status_code == 503
    except requests.RequestException:
        return False
