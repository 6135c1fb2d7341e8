"""The variables of the agents' providers. `aragora.agents` reads them under these very names, by these very rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aragora.settings.forms import FLAG, TEXT, Form, number


@dataclass(frozen=True, slots=True)
class AgentVariable:
    """One row. `read` gives the value in an environment, and raises ValueError with the name and the fix."""

    name: str
    help: str
    form: Form = TEXT
    default: Any = ""
    unit: str = ""
    secret: bool = False

    def read(self, environ: Mapping[str, str]) -> Any:
        """The value, or the default where the variable is not set or empty."""
        text = environ.get(self.name)
        if not text:
            return self.default
        try:
            return self.form.parse(text)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None


# Prefix of a provider's variables, how it is called, and how many questions it is asked at once unless told otherwise:
# servers of one's own that answer one after the other are not helped by a queue inside them. 0 is no limit.
PROVIDERS = (
    ("ANTHROPIC", "Anthropic API", 0),
    ("OPENAI", "OpenAI API", 0),
    ("OPENROUTER", "OpenRouter API", 0),
    ("MISTRAL", "Mistral API", 0),
    ("DEEPSEEK", "DeepSeek API", 0),
    ("GROQ", "Groq API", 0),
    ("OLLAMA", "Ollama server", 1),
    ("VLLM", "vLLM server", 0),
    ("LLAMACPP", "llama.cpp server", 1),
)

_SECONDS = number(float, 0.1, 86_400)
_TOKENS = number(int, 16, 1_000_000)
_COUNT = number(int, 0, 100_000_000)

GENERAL = (
    AgentVariable(
        "ARAGORA_DEMO_DELAY",
        "time that the offline demo takes for an answer",
        number(float, 0, 60),
        0.3,
        "seconds",
    ),
    AgentVariable(
        "ARAGORA_FIRST_BYTE_TIMEOUT",
        "time that a provider may take to begin an answer: to load the model, to read the prompt, to come to this "
        "question in a queue of its own",
        _SECONDS,
        300.0,
        "seconds",
    ),
    AgentVariable(
        "ARAGORA_SILENCE_TIMEOUT",
        "longest pause within an answer that has begun",
        _SECONDS,
        60.0,
        "seconds",
    ),
    AgentVariable(
        "ARAGORA_AGENT_TIMEOUT",
        "time that an answer may take from its first word to its last",
        _SECONDS,
        240.0,
        "seconds",
    ),
    AgentVariable(
        "ARAGORA_OUTAGE_TIMEOUT",
        "time for which a provider that cannot be reached, or answers 5xx, is waited for, but at most half of the time "
        "that the debate has left",
        number(float, 0, 86_400),
        300.0,
        "seconds",
    ),
    AgentVariable("ARAGORA_PROSE_TOKENS", "longest answer in prose", _TOKENS, 1200, "tokens"),
    AgentVariable("ARAGORA_JSON_TOKENS", "longest critique or vote", _TOKENS, 600, "tokens"),
    AgentVariable(
        "ARAGORA_THINKING_TOKENS",
        "what a model that thinks before it answers gets in addition",
        number(int, 0, 1_000_000),
        8192,
        "tokens",
    ),
)


def _of_provider(prefix: str, title: str, concurrency: int) -> Iterator[AgentVariable]:
    own = f"ARAGORA_{prefix}"
    yield AgentVariable(f"{prefix}_API_KEY", f"key of the {title}", secret=True)
    yield AgentVariable(f"{prefix}_BASE_URL", f"address of the {title}")
    yield AgentVariable(f"{own}_MODEL", f"model that is asked at the {title} when a debate names none")
    at_once = f"questions that the {title} is asked at once by all processes of this machine; 0: no limit"
    yield AgentVariable(f"{own}_CONCURRENCY", at_once, number(int, 0, 100_000), concurrency)
    in_a_minute = f"questions that the {title} is asked within any minute; 0: no limit"
    yield AgentVariable(f"{own}_REQUESTS_PER_MINUTE", in_a_minute, number(int, 0, 100_000), 0)
    tokens = f"tokens, of prompts and answers, that the {title} is asked for within any minute; 0: no limit"
    yield AgentVariable(f"{own}_TOKENS_PER_MINUTE", tokens, _COUNT, 0)
    window = f"tokens of prompt and answer together that a model of the {title} has room for; 0: the server is asked"
    yield AgentVariable(f"{own}_CONTEXT", window, _COUNT, 0)
    yield AgentVariable(f"{own}_STREAM", f"let the {title} stream its answers", FLAG, True)


AGENT_VARIABLES: tuple[AgentVariable, ...] = (
    *GENERAL,
    *(variable for row in PROVIDERS for variable in _of_provider(*row)),
)
