"""Tokens of the database over HTTP: their own debates, their own limits, whatever one of their requests asks for."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from aragora.settings import load
from aragora.storage import Limits, Scope, Store
from tests.aragora.agents.provider import Call, Provider, provider
from tests.aragora.server.servers import QUESTION, THOROUGH, Server, running
from tests.waiting import until

ADMIN = {"Authorization": "Bearer the-administrator"}
SPENT = {"prompt_tokens": 1000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 400}}


def replies(call: Call) -> None:
    """A whole answer in one object, with its usage; a vote, a critique and prose at once, as far as that goes."""
    text = json.dumps({"choice": "A", "issues": ["vague"], "suggestions": [], "severity": 3, "confidence": 0.5})
    body = {"model": "gpt-real", "choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": SPENT}
    data = json.dumps(body).encode()
    call.begin(200, "application/json", Content_Length=str(len(data)))
    call.wfile.write(data)


@pytest.fixture(scope="module")
def models() -> Iterator[Provider]:
    """A provider that answers everything at once."""
    with provider(replies) as running_provider:
        yield running_provider


def environ(models: Provider, **more: str) -> dict[str, str]:
    return {
        "ARAGORA_API_TOKEN": "the-administrator",
        "OPENAI_API_KEY": "k",
        "OPENAI_BASE_URL": models.url,
        "ARAGORA_MAX_AGENT_ROUNDS": "100",
        "ARAGORA_DEBATE_MONEY": "0",
        "ARAGORA_OPENAI_CONCURRENCY": "0",
        **more,
    }


@pytest.fixture(scope="module", params=THOROUGH)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models: Provider
) -> Iterator[Server]:
    with running(request.param, tmp_path_factory.mktemp(f"{request.param}-tenants"), **environ(models)) as started:
        yield started


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    yield from opened(server.data)


def opened(directory: Path) -> Iterator[Store]:
    found = Store.open(load({"ARAGORA_DATA_DIR": str(directory)}))
    yield found
    for token in found.tokens.all():
        found.tokens.remove(token.name)
    found.close()


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def ask(server: Server, headers: dict[str, str], **more: Any) -> requests.Response:
    body = {"question": QUESTION, "agents": ["demo"] * 2, "rounds": 1} | more
    return server.request("POST", "/api/debates", json=body, headers=headers)


def ended(server: Server, debate_id: str, headers: dict[str, str] = ADMIN) -> dict[str, Any]:
    path = f"/api/debates/{debate_id}"

    def over() -> bool:
        try:
            return not server.get(path, headers=headers).json()["in_progress"]
        except requests.ConnectionError:  # of a worker that a test has killed
            return False

    until(over, "the debate ends")
    return dict(server.get(path, headers=headers).json())


def test_another_token_s_debate_is_nowhere_to_be_found(server: Server, store: Store) -> None:
    guest, other = (bearer(store.tokens.add(name, [Scope.CREATE])) for name in ("guest-1", "other-1"))
    made = ask(server, guest).json()["debate_id"]
    path = f"/api/debates/{made}"
    ended(server, made, guest)
    reads = (
        "",
        "/messages",
        "/votes",
        "/critiques",
        "/convergence",
        "/usage",
        "/events",
        "/events?wait=1",
        "/export/md",
    )
    for part in reads:
        assert server.get(path + part, headers=guest).ok, part
        assert server.get(path + part, headers=ADMIN).ok, part
        assert server.get(path + part, headers=other).status_code == 404, part
        assert server.get(path + part).status_code == 401, part
    assert server.get(f"{path}/events", headers={**other, "Accept": "text/event-stream"}).status_code == 404
    for method, part in (("PATCH", ""), ("POST", "/cancel"), ("POST", "/share"), ("DELETE", "/share"), ("DELETE", "")):
        assert server.request(method, path + part, json={"title": "x"}, headers=other).status_code == 404
    assert [row["id"] for row in server.get("/api/debates", headers=guest).json()["debates"]] == [made]
    assert server.get("/api/debates", headers=other).json()["debates"] == []
    assert server.get(path, headers=guest).json()["owner"] == "guest-1"


def test_a_reader_is_told_which_scope_it_lacks(server: Server, store: Store) -> None:
    reader = bearer(store.tokens.add("reader-2", [Scope.READ]))
    refused = ask(server, reader)
    assert refused.status_code == 403
    assert refused.json()["error"]["message"] == "this needs a token with the scope create; the one given has read"
    assert server.get("/api/agents", headers=reader).ok


def test_a_websocket_shows_its_token_s_debates_alone(server: Server, store: Store) -> None:
    secret = store.tokens.add("guest-3", [Scope.CREATE])
    reader = store.tokens.add("dashboard-3", [Scope.READ], owner="guest-3")
    foreign = ask(server, ADMIN).json()["debate_id"]
    own = ask(server, bearer(secret)).json()["debate_id"]
    with server.socket(subprotocols=[f"access_token.{secret}"]) as client:
        facts = client.receive()["data"]
        assert (facts["authenticated"], facts["write_access"]) == (True, True)
        assert foreign not in json.dumps(client.receive())
        client.send(type="subscribe", debate_id=own, replay_from_seq=0)
        assert client.until("sync")["data"]["id"] == own
        client.send(type="subscribe", debate_id=foreign)
        assert client.until("error")["error"]["code"] == "not_found"
        client.send(type="cancel", debate_id=foreign)
        assert client.until("error")["error"]["code"] == "not_found"
    with server.socket(header=[f"Authorization: Bearer {reader}"]) as client:
        assert client.receive()["data"]["write_access"] is False
        client.send(type="user_suggestion", debate_id=own, text="measure")
        assert client.until("error")["error"]["code"] in ("forbidden", "debate_ended")


def test_a_removed_token_is_refused_at_once(server: Server, store: Store) -> None:
    secret = store.tokens.add("guest-4", [Scope.CREATE])
    assert server.get("/api/debates", headers=bearer(secret)).ok
    renewed = store.tokens.rotate("guest-4")
    assert server.get("/api/debates", headers=bearer(secret)).status_code == 401
    assert server.get("/api/debates", headers=bearer(renewed)).ok
    store.tokens.remove("guest-4")
    assert server.get("/api/debates", headers=bearer(renewed)).status_code == 401
    with (
        pytest.raises(websocket.WebSocketBadStatusException),
        server.socket(header=[f"Authorization: Bearer {renewed}"]),
    ):
        pass


def test_a_share_link_opens_one_debate_until_it_is_withdrawn(server: Server, store: Store) -> None:
    guest = bearer(store.tokens.add("guest-5", [Scope.CREATE]))
    made = ask(server, guest, agents=["openai"] * 2, context="in confidence").json()["debate_id"]
    ended(server, made, guest)
    path = f"/api/debates/{made}/share"
    address = server.request("POST", path, headers=guest).json()["share"]
    assert server.request("POST", path, headers=guest).json()["share"] == address
    page, shown = server.get(address), server.get(f"{address}/json")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert (page.headers["Referrer-Policy"], page.headers["X-Robots-Tag"]) == ("no-referrer", "noindex, nofollow")
    assert page.headers["Cache-Control"] == shown.headers["Cache-Control"] == "no-store"
    assert QUESTION in page.text
    assert shown.json()["messages"]
    for told in (page.text, shown.text):
        assert "in confidence" not in told
        assert made not in told
    assert server.request("HEAD", address).status_code == 200
    assert server.request("DELETE", path, headers=guest).status_code == 204
    assert server.get(address).status_code == server.get(f"{address}/json").status_code == 404
    assert server.request("POST", path, headers=guest).json()["share"] != address


def test_what_was_spent_is_shown_everywhere(server: Server, store: Store, models: Provider) -> None:
    guest = bearer(store.tokens.add("guest-6", [Scope.CREATE]))
    before = len(models.calls)
    metered = server.metric('aragora_agent_tokens_total{agent="openai",kind="input"}')
    made = ask(server, guest, agents=["openai", "openai"]).json()["debate_id"]
    debate = ended(server, made, guest)
    asked = len(models.calls) - before
    usage = debate["usage"]
    assert asked == usage["questions"] > 0
    assert (usage["input"], usage["output"], usage["cached"]) == (1000 * asked, 500 * asked, 400 * asked)
    assert usage["cost"] > 0
    assert (usage["held_tokens"], usage["held_cost"]) == (0, 0)
    took = server.get(f"/api/debates/{made}/usage", headers=guest).json()
    assert took["total"] == usage
    assert sum(agent["input"] for agent in took["agents"]) == usage["input"]
    assert sum(agent["answers"] for agent in took["agents"]) == asked
    (day,) = server.get("/api/usage?days=1", headers=guest).json()["days"]
    assert (day["owner"], day["questions"], day["cost"]) == ("guest-6", asked, usage["cost"])
    assert "guest-6" in {row["owner"] for row in server.get("/api/usage", headers=ADMIN).json()["days"]}
    export = server.get(f"/api/debates/{made}/export/txt", headers=guest).text
    assert "tokens in" in export
    assert "Budget:     at most 5,000,000 tokens" in export
    until(lambda: server.metric('aragora_agent_tokens_total{agent="openai",kind="input"}') == metered + usage["input"])
    assert server.metric('aragora_agent_cost_dollars_total{agent="openai"}') > 0


def test_an_estimate_begins_nothing(server: Server, store: Store, models: Provider) -> None:
    guest = bearer(store.tokens.add("guest-7", [Scope.READ]))
    before = len(models.calls)
    body = {"question": QUESTION, "agents": ["openai"] * 3, "budget": {"money": 0.5}}
    found = server.request("POST", "/api/debates/estimate", json=body, headers=guest).json()
    assert found["summary"] == (
        f"at most {found['questions']} questions, about {round(found['tokens'], 1 - len(str(found['tokens'])) + 1):,} "
        f"tokens, {found['cost']:.2f} $"
    )
    assert found["budget"]["money"] == 0.5
    assert found["prices_checked"]
    assert len(models.calls) == before
    assert server.get("/api/debates", headers=guest).json()["count"] == 0
    wrong = server.request("POST", "/api/debates/estimate", json={"question": "four"}, headers=guest)
    assert wrong.status_code == 400


def test_one_request_spends_no_more_than_its_token_may(server: Server, store: Store, models: Provider) -> None:
    """Ten agents of the dearest model for ten rounds, with as much context as goes in."""
    guest = bearer(store.tokens.add("guest-8", [Scope.CREATE], Limits(questions=12)))
    before = len(models.calls)
    agents = [{"type": "openai", "model": "o1-pro"}] * 10
    made = ask(server, guest, agents=agents, rounds=10, early_stop=False, context="x" * 10_000).json()["debate_id"]
    debate = ended(server, made)
    assert debate["status"] == "timeout"
    assert debate["reason"] == "the API token may spend 12 questions a day, which does not allow another question"
    assert len(models.calls) - before == debate["usage"]["questions"] == 12

    refused = ask(server, guest, agents=agents)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    assert ask(server, guest).status_code == 202, "the offline demo costs nothing"


def test_the_defaults_bound_what_anybody_can_spend(tmp_path: Path, models: Provider) -> None:
    """A key in the environment, nothing else set: nobody has said what a debate may cost."""
    before = len(models.calls)
    agents = [{"type": "openai", "model": "o1-pro"}] * 10
    plain = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": models.url}
    with running("gunicorn", tmp_path, **plain) as server:
        refused = ask(server, {}, agents=agents, rounds=10, early_stop=False)
        assert refused.status_code == 400
        assert "10 models x 10 rounds, at most 50" in refused.text
        more = {"rounds": 5, "early_stop": False, "context": "x" * 100_000, "budget": {"money": 1e6}}
        assert ask(server, {}, agents=agents, **more).status_code == 400, "a request asks for no more than is allowed"
        del more["budget"]
        debate = ended(server, ask(server, {}, agents=agents, **more).json()["debate_id"], {})
    assert debate["status"] == "timeout"
    assert "10 $" in debate["reason"] or "10.00 $" in debate["reason"], debate["reason"]
    usage = debate["usage"]
    assert usage["cost"] + usage["held_cost"] <= 10
    assert usage["questions"] == len(models.calls) - before < 100


@pytest.mark.parametrize("limits", [Limits(tokens=200_000), Limits(cost=3_000_000)], ids=["tokens", "money"])
def test_tokens_and_money_are_bounded_as_questions_are(
    server: Server, store: Store, models: Provider, limits: Limits
) -> None:
    guest = bearer(store.tokens.add("bounded", [Scope.CREATE], limits))
    before = len(models.calls)
    already = sum(row["cost"] for row in server.get("/api/usage", headers=guest).json()["days"])
    agents = [{"type": "openai", "model": "gpt-5.5"}] * 5
    made = [ask(server, guest, agents=agents, rounds=10, early_stop=False).json()["debate_id"] for _ in range(3)]
    debates = [ended(server, debate) for debate in made]
    spent = [debate["usage"] for debate in debates]
    assert sum(usage["questions"] for usage in spent) == len(models.calls) - before > 0
    assert sum(usage["input"] + usage["output"] for usage in spent) <= (limits.tokens or 10**9)
    assert already + sum(usage["cost"] for usage in spent) <= (limits.cost or 10**12) / 1e6
    assert "timeout" in {debate["status"] for debate in debates}


def test_a_worker_that_is_killed_lets_nobody_spend_more(tmp_path: Path) -> None:
    """Answers hang until the workers are dead; whoever goes on finds that the questions have been asked."""
    most = 9

    def hangs(call: Call) -> None:
        if not call.server.released.is_set():
            call.server.released.wait(30)
            call.close_connection = True
            return
        replies(call)

    with provider(hangs) as models, running("gunicorn", tmp_path, **environ(models, ARAGORA_LEASE_TTL="1")) as server:
        (store,) = list(_kept(server.data))
        guest = bearer(store.tokens.add("guest-10", [Scope.CREATE], Limits(questions=most)))
        made = ask(server, guest, agents=["openai"] * 5, rounds=10, early_stop=False).json()["debate_id"]
        until(lambda: len(models.calls) == 5, "the first questions are asked")
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
        models.released.set()
        debate = ended(server, made)
        assert debate["status"] == "timeout"
        assert len(models.calls) == debate["usage"]["questions"] == most
        assert debate["usage"]["held_tokens"] > 0, "what the dead workers had asked may be charged"
        store.close()


def _kept(directory: Path) -> Iterator[Store]:
    yield Store.open(load({"ARAGORA_DATA_DIR": str(directory)}))
