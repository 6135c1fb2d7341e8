"""Which types of agents there are, and how one is made from a debate's specification."""

import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import requests

from aragora.agents.agent import Agent, AgentFailed, AgentInfo
from aragora.agents.anthropic import Messages
from aragora.agents.chat import Account, ChatAgent, Dialect
from aragora.agents.demo import DemoAgent, delay
from aragora.agents.openai import ChatCompletions
from aragora.agents.providers import PROVIDERS, TIMEOUT, TIMEOUT_DEFAULT, TIMEOUT_MOST, Provider, variables
from aragora.debate.spec import AgentSpec

DEMO = "demo"
VARIABLES: tuple[str, ...] = tuple(variables())


def available(environ: Mapping[str, str]) -> list[AgentInfo]:
    """Every type of agent, the demo last, and what each of them misses in `environ`. Nobody is asked for that."""
    titles = {provider.name: provider.title for provider in PROVIDERS} | {DEMO: "Offline demo"}
    infos = []
    for name, title in titles.items():
        missing = _missing(name, environ)
        infos.append(AgentInfo(name, title, missing is None, missing))
    return infos


def build(
    spec: AgentSpec,
    environ: Mapping[str, str],
    *,
    connections: requests.Session | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Agent:
    """The agent of `spec`; raises `AgentFailed` for an unknown type and a missing or wrong variable.

    `connections` are those of the process by default; clock (unix seconds) and sleep may be replaced.
    """
    if spec.type == DEMO:
        return DemoAgent(spec, delay(environ), clock=clock, sleep=sleep)
    provider = next((provider for provider in PROVIDERS if provider.name == spec.type), None)
    if provider is None:
        raise AgentFailed("configuration", f"no agent {spec.type!r}")
    missing = provider.missing(environ)
    if missing is not None:
        raise AgentFailed("configuration", f"{provider.title} needs {missing}")
    return ChatAgent(
        _account(provider, spec.model, environ),
        _DIALECTS[provider.api],
        connections=connections,
        clock=clock,
        sleep=sleep,
    )


def _missing(name: str, environ: Mapping[str, str]) -> str | None:
    """The variable to set, or to mend and how."""
    provider = next((provider for provider in PROVIDERS if provider.name == name), None)
    missing = None if provider is None else provider.missing(environ)
    if missing is None:
        try:
            build(AgentSpec(name, name), environ)
        except AgentFailed as failed:
            return failed.message
    return missing


_DIALECTS: Mapping[str, Dialect] = {"openai": ChatCompletions(), "anthropic": Messages()}


def _account(provider: Provider, model: str | None, environ: Mapping[str, str]) -> Account:
    key = environ.get(provider.key_variable, "")
    # What else is in there came in by a slip of the clipboard, and would be shown by the error it causes.
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise AgentFailed("configuration", f"{provider.key_variable} holds characters that no key has")
    return Account(
        provider.title,
        _address(provider, environ),
        key,
        model or environ.get(provider.model_variable) or provider.model,
        _timeout(environ),
        provider.limit,
    )


def _address(provider: Provider, environ: Mapping[str, str]) -> str:
    """Where the API's paths begin: /v1 belongs to it for chat completions, not for Anthropic, whatever people write."""
    address = environ.get(provider.url_variable) or provider.base_url
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment or "@" in parts.netloc:
        raise AgentFailed(
            "configuration", f"{provider.url_variable}: write an address as https://host/v1, without a key"
        )
    address = address.rstrip("/")
    if provider.api == "anthropic":
        return address.removesuffix("/v1")
    return address if parts.path.strip("/") else f"{address}/v1"


def _timeout(environ: Mapping[str, str]) -> float:
    try:
        seconds = float(environ.get(TIMEOUT) or TIMEOUT_DEFAULT)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= TIMEOUT_MOST:
        raise AgentFailed("configuration", f"{TIMEOUT}: write seconds from 1 to {TIMEOUT_MOST:g}")
    return seconds
