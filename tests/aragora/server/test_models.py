"""Language models behind a real server: one line before a provider for all workers, and what failures say to whom."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.aragora.agents.provider import OpenAI, Provider, answers, provider, status
from tests.aragora.server.servers import QUESTION, Server, running
from tests.waiting import until

api = OpenAI()
VOTE = {"reasoning": "It is complete.", "choice": "A", "confidence": 0.8}
WORKERS = 3


class OneAtATime:
    """A model server that takes a while for an answer, and knows how many it was asked for at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0

    def __call__(self, call: Any) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        call.server.released.wait(0.25)
        schema = call.server.calls[-1][2].get("response_format")
        name = schema["json_schema"]["name"] if schema else ""
        text = f"Begin small, says question {len(call.server.calls)}, and measure."
        if name in ("vote", "judge"):
            text = json.dumps(VOTE)
        elif name == "critique":
            item = {"reasoning": "vague", "issues": ["no figures"], "suggestions": ["give some"], "severity": 3}
            text = json.dumps({"critiques": [{"answer": letter, **item} for letter in "AB"]})
        with self.lock:
            self.now -= 1
        answers(api, text)(call)


@pytest.fixture
def one_at_a_time() -> Iterator[tuple[OneAtATime, Provider]]:
    act = OneAtATime()
    with provider(act) as server:
        yield act, server


def agents(number: int, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "llamacpp", "name": f"Agent {letter}", **more} for letter in "ABC"[:number]]


def ended(server: Server, debate_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = server.get(f"/api/debates/{debate_id}").json()
        return None if found["in_progress"] else found

    return until(look, seconds=60)


def events(server: Server, debate_id: str, kind: str) -> list[dict[str, Any]]:
    found = server.get(f"/api/debates/{debate_id}/events?limit=500").json()["events"]
    return [event for event in found if event["type"] == kind]


def test_workers_stand_in_one_line_before_a_provider(
    tmp_path: Path, one_at_a_time: tuple[OneAtATime, Provider]
) -> None:
    act, server = one_at_a_time
    environ = {"LLAMACPP_BASE_URL": server.url, "ARAGORA_WORKERS": str(WORKERS), "ARAGORA_MAX_DEBATES": "1"}
    with running("gunicorn", tmp_path, **environ) as application:
        body = {"question": QUESTION, "agents": agents(3), "rounds": 1}
        started = [application.request("POST", "/api/debates", json=body).json()["debate_id"] for _ in range(WORKERS)]
        ends = [ended(application, debate_id) for debate_id in started]
        waits = [event["data"] for debate_id in started for event in events(application, debate_id, "agent_waiting")]
        errors = [event["data"] for debate_id in started for event in events(application, debate_id, "agent_error")]
    assert [end["status"] for end in ends] == ["completed"] * WORKERS
    assert errors == []
    assert act.most == 1
    assert max(wait["place"] for wait in waits) > 3, "questions of other workers stand in the same line"
    assert all(wait["message"].endswith("in line for llama.cpp server") for wait in waits)


def test_a_restart_of_the_model_server_is_waited_out(tmp_path: Path) -> None:
    away = status(503, {"error": {"message": "Loading model"}})
    with (
        provider(OneAtATime(), away, away, away, OneAtATime()) as server,
        running("gunicorn", tmp_path, LLAMACPP_BASE_URL=server.url) as application,
    ):
        body = {"question": QUESTION, "agents": agents(2), "rounds": 1}
        debate_id = application.request("POST", "/api/debates", json=body).json()["debate_id"]
        assert ended(application, debate_id)["status"] == "completed"
        waits = [event["data"] for event in events(application, debate_id, "agent_waiting")]
        assert events(application, debate_id, "agent_error") == []
    assert any(wait["place"] == 0 and "Loading model" in wait["message"] for wait in waits)


def test_the_words_of_a_provider_are_not_for_strangers(tmp_path: Path) -> None:
    refusal = status(401, {"error": {"message": "Incorrect key for organization org-77"}})
    known = {"Authorization": "Bearer first-token"}
    with provider(refusal) as server:
        environ = {"LLAMACPP_BASE_URL": server.url, "ARAGORA_API_TOKEN": "first-token"}
        with running("gunicorn", tmp_path, **environ) as application:
            body = {"question": QUESTION, "agents": agents(2), "rounds": 1}
            path = "/api/debates?wait=30"
            debate = application.request("POST", path, json=body, headers=known).json()
            address = f"/api/debates/{debate['debate_id']}"
            application.request("PATCH", address, json={"is_public": True}, headers=known)
            own, public = (application.get(f"{address}/events", headers=fields).text for fields in (known, {}))
            shown = application.get(address).text + application.get(f"{address}/export/json").text
    assert debate["status"] == "failed"
    assert own.count("org-77") == 2 + 2, "asked once each, and told again at the end"
    assert "org-77" not in public
    assert "org-77" not in shown
    assert "the agent failed: auth" in public


def test_models_are_listed_and_asked(server: Server, tmp_path: Path) -> None:
    with provider(answers(api, "Ready.")) as models:
        models.pages = {"/v1/models": {"data": [{"id": "small", "meta": {"n_ctx": 4096}}]}}
        with running(server.kind, tmp_path, LLAMACPP_BASE_URL=models.url) as application:
            (offer,) = application.get("/api/agents/models").json()["providers"]
            assert offer["models"] == [{"id": "small", "context": 4096}]
            assert application.get("/api/agents/models?type=oracle").status_code == 404
            asked = application.request("POST", "/api/agents/ask", json={"type": "llamacpp", "model": "small"}).json()
            assert (asked["ok"], asked["answer"], asked["kind"]) == (True, "Ready.", None)
            wrong = application.request("POST", "/api/agents/ask", json={"type": "oracle"})
            assert wrong.status_code == 400


def test_one_that_waits_in_line_says_so_to_who_asks(tmp_path: Path) -> None:
    began = time.monotonic()
    with provider(OneAtATime()) as models, running("dev", tmp_path, LLAMACPP_BASE_URL=models.url) as application:
        answer = application.request("POST", "/api/agents/ask", json={"type": "llamacpp"}).json()
    assert answer["ok"]
    assert time.monotonic() - began < 60
