"""Whose language models can be asked, in one table: addresses, variables and default models.

`aragora.settings` lists the same variables for the reference page; a test keeps the two lists equal.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

TIMEOUT = "ARAGORA_AGENT_TIMEOUT"
TIMEOUT_DEFAULT, TIMEOUT_MOST = 120.0, 1800.0  # seconds


@dataclass(frozen=True, slots=True)
class Provider:
    """One row. Keys and addresses have the names that the provider's own clients use where there are such names.

    `base_url` is empty for servers of one's own, whose address must be given; `model` is empty where the one to ask
    for must be given; `key_needed` is false where a key is sent only if there is one. `limit` is the request's name
    for the longest answer, in tokens.
    """

    name: str
    title: str
    base_url: str
    model: str
    prefix: str
    key_needed: bool = True
    api: Literal["openai", "anthropic"] = "openai"
    limit: str = "max_tokens"

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
        return f"ARAGORA_{self.prefix}_MODEL"

    def missing(self, environ: Mapping[str, str]) -> str | None:
        """The first variable without which it cannot be asked."""
        if self.key_needed and not environ.get(self.key_variable):
            return self.key_variable
        if not self.base_url and not environ.get(self.url_variable):
            return self.url_variable
        if not self.model and not environ.get(self.model_variable):
            return self.model_variable
        return None


PROVIDERS: tuple[Provider, ...] = (
    Provider("anthropic", "Anthropic", "https://api.anthropic.com", "claude-sonnet-4-6", "ANTHROPIC", api="anthropic"),
    Provider("openai", "OpenAI", "https://api.openai.com/v1", "gpt-4.1-mini", "OPENAI", limit="max_completion_tokens"),
    Provider("openrouter", "OpenRouter", "https://openrouter.ai/api/v1", "openrouter/auto", "OPENROUTER"),
    Provider("mistral", "Mistral", "https://api.mistral.ai/v1", "mistral-small-latest", "MISTRAL"),
    Provider("deepseek", "DeepSeek", "https://api.deepseek.com/v1", "deepseek-chat", "DEEPSEEK"),
    Provider("groq", "Groq", "https://api.groq.com/openai/v1", "llama-3.3-70b-versatile", "GROQ"),
    Provider("ollama", "Ollama server", "", "", "OLLAMA", key_needed=False),
    Provider("vllm", "vLLM server", "", "", "VLLM", key_needed=False),
    Provider("llamacpp", "llama.cpp server", "", "default", "LLAMACPP", key_needed=False),
)


def variables() -> Iterator[str]:
    """The name of every variable that the agents read."""
    yield "ARAGORA_DEMO_DELAY"
    yield TIMEOUT
    for provider in PROVIDERS:
        yield from (provider.key_variable, provider.url_variable, provider.model_variable)
