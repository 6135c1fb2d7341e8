"""Every request of whole debates, against what the APIs publish of theirs."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from aragora.agents import Agent
from aragora.debate.questions import Question
from aragora.debate.spec import AgentSpec, ConsensusMode, DebateSpec
from tests.aragora.agents.debates import course
from tests.aragora.agents.provider import Anthropic, Api, OpenAI, answers, provider, status

Make = Callable[..., Agent]
SCHEMAS = Path(__file__).parent / "schemas"
LONG = 30.0


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


def questions(**rules: Any) -> Iterator[Question]:
    """Every question of a debate between demos, which answer them."""
    agents = tuple(
        AgentSpec(f"demo-{number}", "demo", role=role) for number, role in enumerate((None, "sceptic", None))
    )
    spec = DebateSpec("Should we adopt event sourcing?", agents, rounds=2, context="We have one team.", **rules)
    yield from course(spec, [])


RULES = [
    {"consensus": ConsensusMode.MAJORITY, "early_stop": False},
    {"consensus": ConsensusMode.BORDA, "early_stop": False},
    {"consensus": ConsensusMode.JUDGE, "synthesis": True, "criteria": "It must be cheap."},
]


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: str(rules["consensus"]))
@pytest.mark.parametrize("stream", ["1", "0"])
def test_requests_are_as_the_api_describes_them(agent: Make, api: Api, rules: dict[str, Any], stream: str) -> None:
    act = answers(api, "Yes.") if stream == "1" else status(200, api.body("Yes."))
    valid = validator("chat_completions" if api.name == "openai" else "messages")
    with provider(act) as server:
        asked = agent(server.url, {f"ARAGORA_{api.name.upper()}_STREAM": stream})
        for question in questions(**rules):
            asked.ask(question, lambda text: None, time.time() + LONG)
        bodies = [body for _, _, body in server.calls]
    assert len(bodies) > 10
    for body in bodies:
        valid.validate(body)


@pytest.mark.parametrize("api", [OpenAI()], indirect=True, ids=["openai"])
@pytest.mark.parametrize("name", ["mistral", "deepseek", "groq", "openrouter", "vllm", "ollama", "llamacpp"])
def test_other_servers_get_the_older_name_of_the_limit(agent: Make, api: OpenAI, name: str) -> None:
    valid = validator("chat_completions")
    with provider(answers(api, "Yes.")) as server:
        asked = agent(server.url, model="m", provider_name=name)
        for question in list(questions(**RULES[0]))[:4]:
            asked.ask(question, lambda text: None, time.time() + LONG)
        for _, _, body in server.calls:
            if body.get("model") == "m" and "messages" in body:
                valid.validate(body)
                assert "max_tokens" in body


@pytest.mark.parametrize("api", [OpenAI(), Anthropic()], indirect=True, ids=["openai", "anthropic"])
def test_all_questions_of_a_debate_begin_alike(agent: Make, api: Api) -> None:
    """What providers keep in their caches: the rules, the question and its context, word for word."""
    with provider(answers(api, "Yes.")) as server:
        asked = agent(server.url)
        for question in questions(**RULES[0]):
            asked.ask(replace(question, schema=None), lambda text: None, time.time() + LONG)
        bodies = [body for _, _, body in server.calls]
    if api.name == "anthropic":
        heads = {(body["system"], body["messages"][0]["content"][0]["text"]) for body in bodies}
        assert all("cache_control" in body["messages"][0]["content"][0] for body in bodies)
        assert len(heads) == 1
    else:
        heads = {body["messages"][0]["content"] for body in bodies}
        assert len(heads) == 1
        begins = [body["messages"][1]["content"] for body in bodies]
        assert all("We have one team." in text[: text.index("We have one team.") + 20] for text in begins)
        assert len({text[: text.index("We have one team.") + 17] for text in begins}) == 1
