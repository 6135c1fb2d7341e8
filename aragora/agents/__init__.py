"""The participants of a debate: language models behind HTTP, and an offline demo."""

from aragora.agents.agent import Agent, AgentFailed, AgentInfo, Waiting
from aragora.agents.registry import available, build, lacking
from aragora.debate.usage import Usage

__all__ = ["Agent", "AgentFailed", "AgentInfo", "Usage", "Waiting", "available", "build", "lacking"]
