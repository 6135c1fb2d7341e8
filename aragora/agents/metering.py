"""What a question may take at most, and what its answer took: tokens, and microdollars by the price table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aragora.agents.account import lengths
from aragora.agents.prices import MICRODOLLARS, Price, Prices
from aragora.agents.providers import PROVIDERS
from aragora.debate.questions import Failure, Question, Reply
from aragora.debate.spec import AgentSpec
from aragora.debate.usage import Usage

FRAME = 64  # tokens that an API adds around the two messages of a question
BYTES = 4  # of text for a token, about, in most languages
# Failures that may have been charged although no usage came with them: the model had the question.
_CHARGED = frozenset({"timeout", "protocol", "too_long", "internal"})


@dataclass(frozen=True, slots=True)
class Bill:
    """What an answer took; `cost` in microdollars. `estimated` where the provider did not count."""

    usage: Usage
    cost: int
    estimated: bool = False

    def to_json(self) -> dict[str, Any]:
        """As events carry it, with the cost in dollars."""
        shown = {**self.usage.to_json(), "cost": self.cost / MICRODOLLARS}
        return shown | ({"estimated": True} if self.estimated else {})


class Meter:
    """Prices questions and answers of the agents that `environ` configures."""

    def __init__(self, prices: Prices, environ: Mapping[str, str]) -> None:
        self._prices = prices
        self._environ = environ
        try:
            self._lengths = lengths(environ)
        except ValueError:  # with such a variable no model is asked
            self._lengths = lengths({})

    @property
    def checked(self) -> str:
        """When the built-in prices were checked, as 2026-01-31."""
        return self._prices.checked

    def is_counted(self, agent: AgentSpec) -> bool:
        """Whether asking it takes anything: the offline demo takes nothing."""
        return any(provider.name == agent.type for provider in PROVIDERS)

    def model(self, agent: AgentSpec) -> str:
        """The model that is asked for."""
        provider = next((provider for provider in PROVIDERS if provider.name == agent.type), None)
        if provider is None:
            return agent.model or ""
        return agent.model or self._environ.get(provider.model_variable) or provider.model

    def price(self, agent: AgentSpec) -> Price:
        """What that model costs."""
        return self._prices.of(agent.type, self.model(agent))

    def most(self, question: Question) -> tuple[int, int]:
        """The most tokens and microdollars that one try may take.

        No tokenizer makes more tokens of a text than it has bytes, and no answer is longer than what is asked for.
        """
        read = _told(question) + FRAME
        written = self._lengths.most(question)
        return read + written, self.price(question.agent).most(read, written)

    def bill(self, question: Question, result: Reply | Failure) -> Bill:
        """What the answer, or the vain attempt, took."""
        model = result.model if isinstance(result, Reply) else None
        if result.usage is not None:
            return self._bill(question.agent, model, result.usage, estimated=False)
        if isinstance(result, Reply):
            return self._guess(question, result.text, model)
        return self._guess(question, "", None) if result.kind in _CHARGED else Bill(Usage(), 0)

    def _guess(self, question: Question, text: str, model: str | None) -> Bill:
        """What an answer of this `text` took, as far as lengths tell."""
        read = -(-_told(question) // BYTES) + FRAME
        return self._bill(question.agent, model, Usage(read, -(-_bytes(text) // BYTES)), estimated=True)

    def _bill(self, agent: AgentSpec, model: str | None, usage: Usage, *, estimated: bool) -> Bill:
        """By the price of the model that answered, where it has one of its own: a router may have chosen another."""
        price = self.price(agent)
        if model is not None and not (answered := self._prices.of(agent.type, model)).assumed:
            price = answered
        return Bill(usage, price.of(usage), estimated)


def _told(question: Question) -> int:
    """Bytes of everything that the agent is sent."""
    return _bytes(question.system) + _bytes(question.opening) + _bytes(question.shown)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
