"""What models a provider offers, and how much they have room for, as far as its server tells.

`GET /v1/models` is OpenAI's and all have it; the length of a context goes by many names there, or with llama.cpp in
`/props` and with Ollama in `/api/ps` (what a loaded model got) and `/api/show` (what its Modelfile asks for).
"""

import logging
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from aragora.agents import anthropic, openai
from aragora.agents.account import Account
from aragora.agents.agent import AgentFailed
from aragora.agents.complaints import Kind
from aragora.agents.exchange import Busy, Exchange, Request
from aragora.agents.facts import Facts
from aragora.agents.json_values import count, dig, parsed, word

log = logging.getLogger(__name__)

WAIT = 10.0  # seconds for a list
LATER = 60.0  # seconds until a server that was away is asked again
MAX_LIST = 4 << 20  # bytes; OpenRouter's list of all its models has about one mebibyte
MOST = 2000  # models of a list
_NAMES = (
    ("max_model_len",),  # vLLM
    ("context_length",),  # OpenRouter, LM Studio
    ("context_window",),  # Groq
    ("max_context_length",),  # Mistral
    ("max_input_tokens",),  # Anthropic, LiteLLM
    ("meta", "n_ctx"),  # llama.cpp
    ("meta", "n_ctx_train"),
)
_OLLAMA_ASKED_FOR = re.compile(r"^num_ctx\s+(\d+)", re.MULTILINE)
_OLLAMA_LEAST = 4096  # what Ollama gives a model on a machine with little memory, unless configured otherwise


@dataclass(frozen=True, slots=True)
class Model:
    """A model on offer; `context` is how many tokens it has room for, None where the provider does not say."""

    id: str
    context: int | None


def models(
    account: Account, connections: requests.Session, deadline: float, clock: Callable[[], float] = time.time
) -> list[Model]:
    """What the provider offers, in its order; raises AgentFailed. `deadline` and `clock` are in unix seconds."""
    base = f"{account.base_url}/v1" if account.provider.api == "anthropic" else account.base_url
    suffix = "?limit=1000" if account.provider.api == "anthropic" else ""
    found = _get(account, f"{base}/models{suffix}", connections, deadline, clock)
    rows = dig(found, "data") or dig(found, "models") or (found if isinstance(found, list) else None)
    if not isinstance(rows, list):
        raise AgentFailed(Kind.PROTOCOL, f"{account.title} has no list of models at {base}/models")
    names = ((word(dig(row, "id")) or word(dig(row, "name")), row) for row in rows[:MOST])
    return list({name: Model(name, _context(row)) for name, row in names if name}.values())


def look_up_window(
    account: Account,
    facts: Facts,
    connections: requests.Session,
    deadline: float,
    clock: Callable[[], float] = time.time,
) -> None:
    """Ask once how much the model has room for, where its provider is one that tells."""
    if facts.window is not None or account.provider.window == "" or clock() < facts.ask_at:
        return
    facts.ask_at = math.inf
    try:
        facts.window = _WINDOWS[account.provider.window](account, connections, min(deadline, clock() + WAIT), clock)
    except AgentFailed as failed:
        if isinstance(failed, Busy):
            facts.ask_at = clock() + LATER
        log.info("%s does not tell the context of %s: %s", account.title, account.model, failed.message)
    if facts.window is not None:
        log.info("%s has room for %d tokens in %s", account.title, facts.window, account.model)


def _context(row: Any) -> int | None:
    return next((found for name in _NAMES if (found := count(dig(row, *name)))), None)


def _listed(account: Account, connections: requests.Session, deadline: float, clock: Callable[[], float]) -> int | None:
    """From the list of models; the only one of a list is the one that answers, whatever it is called."""
    found = models(account, connections, deadline, clock)
    named = next((model for model in found if model.id == account.model), found[0] if len(found) == 1 else None)
    return named.context if named is not None else None


def _llamacpp(
    account: Account, connections: requests.Session, deadline: float, clock: Callable[[], float]
) -> int | None:
    """From the running server's properties; llama-cpp-python has none, and no other place that tells."""
    try:
        found = _get(account, f"{_root(account)}/props", connections, deadline, clock)
    except Busy:
        raise
    except AgentFailed:
        return None
    return count(dig(found, "default_generation_settings", "n_ctx")) or count(dig(found, "n_ctx")) or None


def _ollama(account: Account, connections: requests.Session, deadline: float, clock: Callable[[], float]) -> int | None:
    """What the loaded model got; before it is loaded what it asks for, or what Ollama gives it at least."""
    loaded = dig(_get(account, f"{_root(account)}/api/ps", connections, deadline, clock), "models")
    for row in loaded if isinstance(loaded, list) else ():
        if account.model in (dig(row, "name"), dig(row, "model")) and count(dig(row, "context_length")):
            return count(dig(row, "context_length"))
    shown = _get(account, f"{_root(account)}/api/show", connections, deadline, clock, {"model": account.model})
    asked_for = _OLLAMA_ASKED_FOR.search(word(dig(shown, "parameters")) or "")
    info = dig(shown, "model_info")
    trained = max((count(value) for name, value in (info or {}).items() if name.endswith(".context_length")), default=0)
    given = int(asked_for[1]) if asked_for is not None else _OLLAMA_LEAST
    return min(given, trained) if trained else given


_WINDOWS = {"models": _listed, "props": _llamacpp, "ollama": _ollama}


def _root(account: Account) -> str:
    return account.base_url.removesuffix("/v1")


def _get(
    account: Account,
    url: str,
    connections: requests.Session,
    deadline: float,
    clock: Callable[[], float],
    body: Mapping[str, Any] | None = None,
) -> Any:
    """The JSON that is found there, None if it is none."""
    fields = anthropic.headers(account) if account.provider.api == "anthropic" else openai.headers(account)
    with Exchange(connections, Request(account, url, fields, body), deadline, clock) as exchange:
        return parsed(b"".join(exchange.pieces(MAX_LIST)).decode("utf-8", "replace"))
