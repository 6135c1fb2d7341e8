"""Whose language models can be asked, in one table: addresses, default models and the variables that say otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aragora.settings import AGENT_VARIABLES

CHECKED = "2026-11"  # when the default models were last looked up in the providers' own lists
_VARIABLES = {variable.name: variable for variable in AGENT_VARIABLES}


def setting(name: str, environ: Mapping[str, str]) -> Any:
    """The value of an agents' variable; raises ValueError, which names it, for one that does not fit."""
    return _VARIABLES[name].read(environ)


@dataclass(frozen=True, slots=True)
class Provider:
    """One row. Keys and addresses have the names that the provider's own clients use where there are such names.

    `base_url` is empty for servers of one's own, whose address must be given; `model` is empty where the one to ask
    for must be given; `key_needed` is false where a key is sent only if there is one. `limit` is the request's name
    for the longest answer, in tokens; `thinks` says that the default model thinks before it answers; `window` where the
    server tells how much a model has room for: in the list of models, in its properties, in Ollama's own API, or not.
    """

    name: str
    title: str
    base_url: str
    model: str
    prefix: str
    key_needed: bool = True
    api: Literal["openai", "anthropic"] = "openai"
    limit: str = "max_tokens"
    thinks: bool = False
    window: Literal["", "models", "props", "ollama"] = ""

    @property
    def key_variable(self) -> str:
        """Holds the key."""
        return f"{self.prefix}_API_KEY"

    @property
    def url_variable(self) -> str:
        """Holds the address, if it is another one than `base_url`."""
        return f"{self.prefix}_BASE_URL"

    @property
    def model_variable(self) -> str:
        """Holds the model that is asked when a debate names none."""
        return self.variable("MODEL")

    def variable(self, what: str) -> str:
        """The name of one of our own variables for this provider."""
        return f"ARAGORA_{self.prefix}_{what}"

    def missing(self, environ: Mapping[str, str], model: str | None = None) -> str | None:
        """The first variable without which it cannot be asked, for `model` or for the one of the settings."""
        if self.key_needed and not environ.get(self.key_variable):
            return self.key_variable
        if not self.base_url and not environ.get(self.url_variable):
            return self.url_variable
        if not model and not self.model and not environ.get(self.model_variable):
            return self.model_variable
        return None


PROVIDERS: tuple[Provider, ...] = (
    Provider(
        "anthropic",
        "Anthropic",
        "https://api.anthropic.com",
        "claude-sonnet-5-5",
        "ANTHROPIC",
        api="anthropic",
        window="models",
    ),
    Provider(
        "openai",
        "OpenAI",
        "https://api.openai.com/v1",
        "gpt-6-luna",
        "OPENAI",
        limit="max_completion_tokens",
        thinks=True,
    ),
    Provider(
        "openrouter",
        "OpenRouter",
        "https://openrouter.ai/api/v1",
        "openrouter/auto",
        "OPENROUTER",
        thinks=True,
        window="models",
    ),
    Provider("mistral", "Mistral", "https://api.mistral.ai/v1", "mistral-small-latest", "MISTRAL", window="models"),
    Provider("deepseek", "DeepSeek", "https://api.deepseek.com/v1", "deepseek-flash", "DEEPSEEK", thinks=True),
    Provider(
        "groq",
        "Groq",
        "https://api.groq.com/openai/v1",
        "openai/gpt-oss-120b",
        "GROQ",
        thinks=True,
        window="models",
    ),
    Provider("ollama", "Ollama server", "", "", "OLLAMA", key_needed=False, window="ollama"),
    Provider("vllm", "vLLM server", "", "", "VLLM", key_needed=False, window="models"),
    Provider("llamacpp", "llama.cpp server", "", "default", "LLAMACPP", key_needed=False, window="props"),
)


def find(name: str) -> Provider | None:
    """The provider of that name."""
    return next((provider for provider in PROVIDERS if provider.name == name), None)
