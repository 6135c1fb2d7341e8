"""Real programs between an agent and a model: LiteLLM's proxy, and Prism, which refuses what no API describes."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from aragora.agents import Agent
from aragora.agents.agent import AgentFailed
from aragora.agents.complaints import Kind
from aragora.debate.questions import Question, Reply
from tests.aragora.agents.conftest import KEY
from tests.aragora.agents.provider import Act, OpenAI, answers, breaks_off, provider, sends, sse, status
from tests.aragora.agents.test_requests import RULES, SCHEMAS, questions
from tests.conftest import CACHE
from tests.waiting import until

Make = Callable[..., Agent]
LONG = 60.0
ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


@pytest.fixture
def api() -> OpenAI:
    return OpenAI()


@contextmanager
def running(command: list[str], port: int, path: str, log: Path, **environ: str) -> Iterator[str]:
    """A server at `port` that answers at `path`; its address."""
    base = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environ)

    def answers_there() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            requests.get(base + path, timeout=5)
        except requests.RequestException:
            return False
        return True

    try:
        until(answers_there, log.name, seconds=240)
        yield base
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def description() -> dict[str, Any]:
    """An OpenAPI description of chat completions, of the schema that other tests hold requests to."""
    schema = json.loads((SCHEMAS / "chat_completions.json").read_text().replace("#/$defs/", "#/components/schemas/"))
    definitions = schema.pop("$defs")
    del schema["$schema"]
    content = {"application/json": {"schema": schema}}
    answer = {"description": "An answer.", "content": {"application/json": {"example": ANSWER}}}
    operation = {"requestBody": {"required": True, "content": content}, "responses": {"200": answer}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Chat completions", "version": "1"},
        "paths": {"/v1/chat/completions": {"post": operation}},
        "components": {"schemas": definitions},
    }


def ask(agent: Agent, question: Question) -> Reply:
    return agent.ask(question, lambda text: None, time.time() + LONG)


@pytest.mark.component("prism")
def test_prism_finds_nothing_wrong_with_our_requests(agent: Make, tmp_path: Path) -> None:
    spec = tmp_path / "openapi.json"
    spec.write_text(json.dumps(description()))
    at = port()
    command = [str(CACHE / "prism/node_modules/.bin/prism"), "mock", "--errors", "--host", "127.0.0.1"]
    with running(
        [*command, "--port", str(at), str(spec)], at, "/", tmp_path / "prism.log", PATH="/usr/bin:/bin"
    ) as base:
        asked = agent(base)
        replies = [ask(asked, question) for rules in RULES for question in questions(**rules)]
        wrong = {"model": "m", "messages": [{"role": "user", "content": "?"}], "temperature": "warm"}
        refused = requests.post(f"{base}/v1/chat/completions", json=wrong, timeout=LONG)
    assert len(replies) > 30
    assert {reply.text for reply in replies} == {"Yes."}
    assert all(reply.usage is not None and reply.usage.input == 9 for reply in replies)
    assert refused.status_code == 422, "it does look at requests"


@contextmanager
def litellm(upstream: str, directory: Path) -> Iterator[str]:
    """LiteLLM's proxy before a provider at `upstream`."""
    model = {"model": "openai/gpt-small", "api_base": f"{upstream}/v1", "api_key": "sk-upstream", "max_retries": 0}
    settings = {
        "model_list": [{"model_name": "small", "litellm_params": model}],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
    }
    file = directory / "litellm.json"
    file.write_text(json.dumps(settings))  # which is YAML, too
    at = port()
    home = CACHE / "litellm/venv/bin"
    command = [str(home / "litellm"), "--config", str(file), "--host", "127.0.0.1", "--port", str(at)]
    environ = {
        "PATH": f"{home}:/usr/bin:/bin",
        "HOME": str(directory),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches one from the internet
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_MASTER_KEY": KEY,
    }
    with running(command, at, "/health/liveliness", directory / "litellm.log", **environ) as base:
        yield base


COUNTED = sse(
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}},
)
OVERLOADED = sse({"error": {"message": "Overloaded", "type": "server_error", "code": 503}})
TEMPORARY: dict[str, Act] = {
    "rate": status(429, {"error": {"message": "Rate limit reached", "type": "requests"}}, Retry_After="1"),
    "server": status(500, {"error": {"message": "Internal error", "type": "server_error"}}),
    "stream": sends(OVERLOADED),
    "broken": breaks_off(b""),
}


@pytest.mark.component("litellm")
@pytest.mark.long
@pytest.mark.timeout(600)  # it takes a minute to start where others are at work
def test_litellm_may_stand_between(agent: Make, api: OpenAI, tmp_path: Path, question: Question) -> None:
    whole = api.first() + api.text("Begin ") + api.text("small.") + COUNTED + api.done()
    with provider(sends(whole)) as models, litellm(models.url, tmp_path) as base:
        asked = agent(base, model="small")
        for put in questions(**RULES[0]):
            reply = ask(asked, put)
            assert (reply.text, reply.cut) == ("Begin small.", None)
            assert reply.usage is not None
            assert (reply.usage.input, reply.usage.output) == (9, 2)

        for name, act in TEMPORARY.items():
            models.acts = [act, answers(api, "Yes.")]
            assert ask(asked, question).text == "Yes.", name

        models.acts = [status(401, {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}})]
        with pytest.raises(AgentFailed) as failed:
            ask(asked, question)
        assert (failed.value.kind, failed.value.final) == (Kind.AUTH, True)

        models.acts = [answers(api, "Yes.")]
        with pytest.raises(AgentFailed) as failed:
            ask(agent(base, model="unknown"), question)
        assert (failed.value.kind, failed.value.final) == (Kind.MODEL, True)
