"""A provider's account: address, credentials and patience; its variables, read and checked once for an agent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aragora.agents.agent import AgentFailed
from aragora.agents.complaints import Kind
from aragora.agents.providers import Provider, setting
from aragora.agents.register import Limits
from aragora.debate.questions import Purpose, Question


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: until an answer begins, between two parts of it, from its first word to its last; and how long a
    provider that is away is waited for."""

    beginning: float
    silence: float
    answer: float
    outage: float


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of an answer, by what is asked for; `thinking` is added for models that think first."""

    prose: int
    json: int
    thinking: int

    def of(self, question: Question) -> int:
        """What an answer to `question` needs, without thinking: critiques are of several answers at a time."""
        match question.purpose:
            case Purpose.VOTE | Purpose.JUDGE:
                return self.json
            case Purpose.CRITIQUE:
                return self.json * max(1, len(question.choices))
        return self.prose if question.schema is None else self.prose + self.json

    def most(self, question: Question) -> int:
        """What an answer to `question` may take, with all the thinking there may be."""
        return self.of(question) + self.thinking


@dataclass(frozen=True, slots=True)
class Account:
    """One model of one provider, and how to ask it. `window` is None where the server is to be asked for it."""

    provider: Provider
    base_url: str
    key: str = field(repr=False)
    model: str
    patience: Patience
    lengths: Lengths
    limits: Limits
    window: int | None
    streams: bool

    @property
    def title(self) -> str:
        """How the provider is called in messages."""
        return self.provider.title


def account(provider: Provider, model: str | None, environ: Mapping[str, str]) -> Account:
    """The account that `environ` describes; raises `AgentFailed` naming the variable that is missing or wrong."""
    missing = provider.missing(environ, model)
    if missing is not None:
        raise AgentFailed(Kind.CONFIGURATION, f"{provider.title} needs {missing}", final=True)
    key = environ.get(provider.key_variable, "")
    # What else is in there came in by a slip of the clipboard, and would be shown by the error it causes.
    if not (key.isascii() and key.isprintable()) or " " in key:
        message = f"{provider.key_variable} holds characters that no key has"
        raise AgentFailed(Kind.CONFIGURATION, message, final=True)
    try:
        return Account(
            provider=provider,
            base_url=_address(provider, environ),
            key=key,
            model=model or environ.get(provider.model_variable) or provider.model,
            patience=Patience(
                setting("ARAGORA_FIRST_BYTE_TIMEOUT", environ),
                setting("ARAGORA_SILENCE_TIMEOUT", environ),
                setting("ARAGORA_AGENT_TIMEOUT", environ),
                setting("ARAGORA_OUTAGE_TIMEOUT", environ),
            ),
            lengths=lengths(environ),
            limits=Limits(
                setting(provider.variable("CONCURRENCY"), environ) or None,
                setting(provider.variable("REQUESTS_PER_MINUTE"), environ) or None,
                setting(provider.variable("TOKENS_PER_MINUTE"), environ) or None,
            ),
            window=setting(provider.variable("CONTEXT"), environ) or None,
            streams=setting(provider.variable("STREAM"), environ),
        )
    except ValueError as error:
        raise AgentFailed(Kind.CONFIGURATION, str(error), final=True) from None


def lengths(environ: Mapping[str, str]) -> Lengths:
    """How long answers may be; raises ValueError naming a variable that does not fit."""
    return Lengths(
        setting("ARAGORA_PROSE_TOKENS", environ),
        setting("ARAGORA_JSON_TOKENS", environ),
        setting("ARAGORA_THINKING_TOKENS", environ),
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
        raise ValueError(f"{provider.url_variable}: write an address as https://host/v1, without a key")
    address = address.rstrip("/")
    if provider.api == "anthropic":
        return address.removesuffix("/v1")
    return address if parts.path.strip("/") else f"{address}/v1"
