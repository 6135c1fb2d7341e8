"""Which types of agents there are, and how one is made from a debate's specification."""

from __future__ import annotations

from collections.abc import Mapping

from aragora.agents.agent import Agent, AgentFailed, AgentInfo
from aragora.agents.demo import DemoAgent, delay
from aragora.agents.providers import PROVIDERS, variables
from aragora.debate.spec import AgentSpec

VARIABLES: tuple[str, ...] = tuple(variables())


def available(environ: Mapping[str, str]) -> list[AgentInfo]:
    """Every type of agent, the demo last, and which variable each of them misses in ``environ``."""
    infos = []
    for provider in PROVIDERS:
        missing = provider.missing(environ)
        infos.append(AgentInfo(provider.name, provider.title, missing is None, missing))
    return [*infos, AgentInfo("demo", "Offline demo", True)]


def build(spec: AgentSpec, environ: Mapping[str, str]) -> Agent:
    """The agent of ``spec``; raises :class:`AgentFailed` when its type is unknown or misses a variable."""
    if spec.type == "demo":
        return DemoAgent(spec, delay(environ))
    raise AgentFailed("configuration", f"no agent {spec.type!r}")
