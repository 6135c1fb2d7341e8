"""Which types of agents there are, and how one is made from a debate's specification."""

import time
from collections.abc import Callable, Mapping

import requests

from aragora.agents.account import account
from aragora.agents.agent import Agent, AgentFailed, AgentInfo
from aragora.agents.anthropic import Messages
from aragora.agents.chat import ChatAgent
from aragora.agents.complaints import Kind
from aragora.agents.demo import DemoAgent, delay
from aragora.agents.endpoint import Endpoints, process_endpoints
from aragora.agents.inquiry import Dialect
from aragora.agents.openai import ChatCompletions
from aragora.agents.providers import PROVIDERS, find
from aragora.debate.spec import AgentSpec

DEMO = "demo"
DIALECTS: Mapping[str, Dialect] = {"openai": ChatCompletions(), "anthropic": Messages()}


def available(environ: Mapping[str, str]) -> list[AgentInfo]:
    """Every type of agent, the demo last, and what each of them misses in `environ`. No provider is asked for that."""
    titles = {provider.name: provider.title for provider in PROVIDERS} | {DEMO: "Offline demo"}
    infos = []
    for name, title in titles.items():
        missing = lacking(name, None, environ)
        infos.append(AgentInfo(name, title, missing is None, missing))
    return infos


def build(
    spec: AgentSpec,
    environ: Mapping[str, str],
    *,
    endpoints: Endpoints | None = None,
    connections: requests.Session | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Agent:
    """The agent of `spec`; raises `AgentFailed` for an unknown type and a missing or wrong variable.

    `endpoints` and `connections` are those of the process by default; clock (unix seconds) and sleep may be replaced.
    """
    if spec.type == DEMO:
        return DemoAgent(spec, delay(environ), clock=clock, sleep=sleep)
    provider = find(spec.type)
    if provider is None:
        raise AgentFailed(Kind.CONFIGURATION, f"no agent {spec.type!r}", final=True)
    asked = account(provider, spec.model, environ)
    return ChatAgent(
        asked,
        DIALECTS[provider.api],
        (endpoints or process_endpoints()).of(asked),
        connections=connections,
        clock=clock,
        sleep=sleep,
    )


def lacking(name: str, model: str | None, environ: Mapping[str, str]) -> str | None:
    """The variable to set, or to correct and how, before an agent of the type `name` can ask `model`; None: none."""
    provider = find(name)
    missing = None if provider is None else provider.missing(environ, model)
    if missing is not None:
        return missing
    try:
        if provider is None:
            delay(environ)
        else:
            account(provider, model, environ)
    except AgentFailed as failed:
        return failed.message
    return None
