"""One question, and agents that ask a provider on this machine."""

import time
from collections.abc import Callable, Iterator, Mapping

import pytest
import requests

from aragora.agents import Agent, build, exchange
from aragora.agents.endpoint import Endpoints
from aragora.agents.providers import find
from aragora.debate.questions import Kind, Passage, Purpose, Question
from aragora.debate.spec import AgentSpec
from tests.aragora.agents.provider import Anthropic, Api, OpenAI

KEY = "sk-verysecret-0123456789"


class Naps:
    """Sleeping without time passing for anybody else: remembers each nap, and its clock runs ahead by them."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)

    def clock(self) -> float:
        return time.time() + sum(self.taken)


@pytest.fixture(params=[OpenAI(), Anthropic()], ids=lambda api: api.name)
def api(request: pytest.FixtureRequest) -> Api:
    return request.param


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[requests.Session]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with exchange.session.__wrapped__() as session:
        yield session


@pytest.fixture
def agent(api: Api, naps: Naps, connections: requests.Session) -> Callable[..., Agent]:
    """Makes the agent that asks at `url`."""

    endpoints = Endpoints()

    def make(
        url: str, extra: Mapping[str, str] | None = None, model: str | None = None, provider_name: str = ""
    ) -> Agent:
        found = find(provider_name or api.name)
        assert found is not None
        environ = {found.key_variable: KEY, found.url_variable: url, **(extra or {})}
        spec = AgentSpec(f"{found.name}-1", found.name, model)
        how = {"connections": connections, "clock": naps.clock, "sleep": naps.sleep}
        return build(spec, environ, endpoints=endpoints, **how)

    return make


@pytest.fixture
def question() -> Question:
    question = "Should we adopt event sourcing?"
    return Question(
        agent=AgentSpec("agent-1", "openai"),
        purpose=Purpose.PROPOSE,
        round=1,
        attempt=1,
        system="You are agent-1.",
        prompt=question,
        passages=(Passage(Kind.QUESTION, question),),
    )
