"""OpenAI's own client asks a council as it asks a model, of every kind of server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from aragora.debate.limits import LONGEST_CONTEXT, LONGEST_QUESTION
from aragora.errors import ValidationFailed
from aragora.server.completions.errors import ContextTooLong
from aragora.server.completions.request import ChatRequest
from tests.aragora.server.servers import QUESTION, Server, running
from tests.waiting import until

FEW: dict[str, Any] = {"aragora": {"agents": ["demo", "demo"], "rounds": 1}}
ASKED: list[Any] = [{"role": "user", "content": QUESTION}]


def client_of(server: Server, token: str = "first-token", **more: Any) -> OpenAI:
    return OpenAI(base_url=f"{server.base}/v1", api_key=token, timeout=60, **more)


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with client_of(server) as opened:
        yield opened


def test_the_verdict_is_the_completion(server: Server, client: OpenAI) -> None:
    completion = client.chat.completions.create(model="aragora", messages=ASKED, extra_body=FEW)
    (choice,) = completion.choices
    assert choice.finish_reason == "stop"
    facts: Any = completion.model_extra
    debate = server.get(f"/api/debates/{facts['aragora']['debate_id']}").json()
    assert completion.id == f"chatcmpl-{debate['id']}"
    assert (debate["task"], len(debate["agents"]), debate["rounds"]) == (QUESTION, 2, 1)
    assert choice.message.content is not None
    assert choice.message.content.endswith(debate["final_answer"])
    assert completion.usage is not None
    assert completion.usage.total_tokens == debate["usage"]["input"] + debate["usage"]["output"]


def test_a_stream_thinks_aloud_and_ends_with_the_verdict(server: Server, client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="aragora", messages=ASKED, stream=True, stream_options={"include_usage": True}, extra_body=FEW
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    thoughts = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    content = "".join(delta.content or "" for delta in deltas)
    debate = server.get(f"/api/debates/{chunks[0].id.removeprefix('chatcmpl-')}").json()
    assert content.endswith(debate["final_answer"])
    for said in debate["messages"]:
        assert said["content"] in thoughts
    assert "demo-1 votes for" in thoughts
    assert deltas[0].role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


def test_the_models_are_the_councils(client: OpenAI) -> None:
    assert "aragora" in [model.id for model in client.models.list()]
    assert client.models.retrieve("aragora").owned_by == "aragora"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("gpt-1")
    assert refused.value.code == "model_not_found"


def test_a_preset_is_a_model(server: Server, client: OpenAI) -> None:
    body = {"agents": [{"type": "demo", "name": "Ann"}, {"type": "demo", "name": "Bob"}], "rounds": 1}
    assert server.request("PUT", "/api/presets/pair", json=body).ok
    assert "pair" in [model.id for model in client.models.list()]
    assert client.models.retrieve("pair").object == "model"
    completion = client.chat.completions.create(model="pair", messages=ASKED)
    debate = server.get(f"/api/debates/{completion.id.removeprefix('chatcmpl-')}").json()
    assert (completion.model, debate["agents"], debate["rounds"]) == ("pair", ["Ann", "Bob"], 1)
    assert server.request("DELETE", "/api/presets/pair").ok
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="pair", messages=ASKED)


def test_errors_have_the_form_that_the_client_reads(server: Server, client: OpenAI) -> None:
    create = client.chat.completions.create
    with pytest.raises(openai.NotFoundError) as unknown:
        create(model="gpt-1", messages=ASKED)
    assert (unknown.value.code, unknown.value.type) == ("model_not_found", "not_found_error")
    with pytest.raises(openai.BadRequestError) as wrong:
        create(model="aragora", messages=ASKED, extra_body={"aragora": {"rounds": 99}})
    assert wrong.value.param == "rounds"
    picture: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    with pytest.raises(openai.BadRequestError, match=r"messages\.0\.content"):
        create(model="aragora", messages=picture)
    with pytest.raises(openai.BadRequestError, match="a message of the user"):
        create(model="aragora", messages=[{"role": "system", "content": "Be brief."}])
    with pytest.raises(openai.BadRequestError) as several:
        create(model="aragora", messages=ASKED, n=2)
    assert several.value.param == "n"
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405)):
        answered = server.request(method, path)
        assert answered.status_code == status
        assert answered.json()["error"].keys() == {"message", "type", "param", "code", "trace_id"}


def test_a_token_is_asked_for_as_everywhere(guarded: Server) -> None:
    with client_of(guarded, "a-wrong-one") as stranger, pytest.raises(openai.AuthenticationError) as refused:
        stranger.models.list()
    assert refused.value.code == "invalid_api_key"
    with client_of(guarded) as known:
        assert known.chat.completions.create(model="aragora", messages=ASKED, extra_body=FEW).choices


def test_a_client_that_leaves_ends_the_debate(server: Server, client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="aragora", messages=ASKED, stream=True, extra_body={"aragora": {"rounds": 10, "early_stop": False}}
    )
    first = next(iter(stream))
    stream.close()
    debate_id = first.id.removeprefix("chatcmpl-")
    until(lambda: not server.get(f"/api/debates/{debate_id}").json()["in_progress"])
    assert server.get(f"/api/debates/{debate_id}").json()["status"] == "cancelled"


def test_a_repeated_request_with_a_key_is_one_debate(client: OpenAI) -> None:
    headers = {"Idempotency-Key": f"completion of {client.base_url}"}
    ids = {
        client.chat.completions.create(model="aragora", messages=ASKED, extra_body=FEW, extra_headers=headers).id
        for _ in range(2)
    }
    assert len(ids) == 1


@pytest.mark.parametrize("kind", ["gunicorn", "uvicorn"])
def test_a_debate_without_an_answer_is_an_error_and_not_repeated(kind: str, tmp_path: Path) -> None:
    rules = {"aragora": {"agents": ["demo", "demo"], "timeout": 1}}
    with running(kind, tmp_path, ARAGORA_DEMO_DELAY="30") as server, client_of(server, max_retries=2) as client:
        with pytest.raises(openai.InternalServerError, match="ended without an answer, timeout") as failed:
            client.chat.completions.create(model="aragora", messages=ASKED, extra_body=rules)
        assert (failed.value.status_code, failed.value.code) == (502, "debate_failed")
        with pytest.raises(openai.APIError, match="ended without an answer, timeout"):
            list(client.chat.completions.create(model="aragora", messages=ASKED, stream=True, extra_body=rules))
        assert server.get("/api/debates").json()["count"] == 2


def asked(*messages: tuple[str, str], **more: Any) -> Any:
    written = [{"role": role, "content": content} for role, content in messages]
    return ChatRequest.parse({"model": "aragora", "messages": written, **more}).debate({})


def test_what_was_said_before_is_context() -> None:
    debate = asked(
        ("system", "Answer in one sentence."),
        ("user", "What is event sourcing?"),
        ("assistant", "A log of what happened."),
        ("user", "Should we adopt it?"),
    )
    assert debate.question == "Should we adopt it?"
    assert debate.context == (
        "Instructions for the answer:\nAnswer in one sentence.\n\n"
        "The conversation so far:\n\nUser: What is event sourcing?\n\nAssistant: A log of what happened."
    )


@pytest.mark.parametrize("text", ["Hi", "?", "x" * 10, "x" * LONGEST_QUESTION, "x" * (LONGEST_QUESTION + 1)])
def test_messages_of_any_length_are_debated(text: str) -> None:
    debate = asked(("user", text))
    assert text in debate.question or debate.context == f"The whole question:\n{text}"


def test_a_long_conversation_loses_its_beginning_and_says_so() -> None:
    turns = [("user" if number % 2 == 0 else "assistant", f"turn {number} " + "x" * 990) for number in range(400)]
    debate = asked(*turns, ("user", "And what follows from that?"))
    assert len(debate.context) <= LONGEST_CONTEXT
    assert "turn 399" in debate.context
    assert "turn 0 " not in debate.context
    assert "Earlier messages are left out" in debate.context
    with pytest.raises(ContextTooLong):
        asked(("user", "x" * (LONGEST_CONTEXT + 1)))


def test_rules_of_the_debate_may_be_given_but_not_its_subject() -> None:
    assert asked(("user", QUESTION), aragora={"rounds": 2, "metadata": {"ticket": 7}}).metadata["ticket"] == 7
    with pytest.raises(ValidationFailed, match=r"aragora\.context"):
        asked(("user", QUESTION), aragora={"context": "mine"})


def test_what_means_nothing_to_a_debate_is_passed_over() -> None:
    assert asked(("user", QUESTION), temperature=0.2, max_tokens=5, tools=[], seed=1, user="u").question == QUESTION
