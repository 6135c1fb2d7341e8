"""What a caller may ask for, validated once for every door: HTTP, WebSocket and the command line."""

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    field_validator,
)

from aragora.debate import limits
from aragora.debate.spec import ConsensusMode, Effort
from aragora.errors import Problem, ValidationFailed
from aragora.storage.notifications import NotificationKind

# PostgreSQL stores no NUL, UTF-8 knows no lone surrogate: refused here, so that both databases behave the same.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_NAME_SIGNS = frozenset(" ._-")  # of an agent, besides letters, digits and the marks that belong to letters


def is_storable(text: str) -> bool:
    """Whether both databases can hold `text` in a column."""
    return not _UNSTORABLE.search(text)


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(metadata, allow_nan=False)
    except ValueError:
        raise ValueError("JSON knows no NaN and no Infinity") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if len(text) > limits.LONGEST_METADATA:
        raise ValueError(f"at most {limits.LONGEST_METADATA} characters of JSON")
    return metadata


def _readable(name: str) -> str:
    """An agent's name, in any script; nothing that could pass for a part of the page or of a prompt."""
    letters = all(one.isalnum() or one in _NAME_SIGNS or unicodedata.category(one) in ("Mn", "Mc") for one in name)
    if not 1 <= len(name) <= limits.LONGEST_NAME or not letters or not name[0].isalnum() or name[-1] == " ":
        raise ValueError(f"1 to {limits.LONGEST_NAME} letters and digits of any script, with spaces and . _ - between")
    return unicodedata.normalize("NFC", name)


Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
# A caller writes its name, which strict models would refuse.
Mode = Annotated[ConsensusMode, Field(strict=False)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=limits.LONGEST_TITLE)]
PresetName = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
QuestionText = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=limits.SHORTEST_QUESTION, max_length=limits.LONGEST_QUESTION),
]
AgentType = Annotated[str, StringConstraints(min_length=1, max_length=limits.LONGEST_NAME)]


class Request(BaseModel):
    """A body: unknown members, and texts that cannot be stored, are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    @classmethod
    def parse(cls, body: object) -> Self:
        """The request in `body`; raises `ValidationFailed` naming each field."""
        if not isinstance(body, Mapping):
            raise ValidationFailed.of(Problem("", "the body must be a JSON object"))
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise ValidationFailed.of(*problems(error)) from None

    @field_validator("*", mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        for text in value if isinstance(value, list) else (value,):
            if isinstance(text, str) and not is_storable(text):
                raise ValueError("contains a NUL character or half a surrogate pair")
        return value


class NewAgent(Request):
    """One participant: which kind of agent, and how it appears."""

    type: AgentType
    name: Annotated[str, AfterValidator(_readable)] | None = Field(
        default=None, description="letters and digits of any script, with spaces and `. _ -` between; at most 64"
    )
    model: Annotated[str, StringConstraints(min_length=1, max_length=limits.LONGEST_MODEL)] | None = None
    role: Annotated[str, StringConstraints(min_length=1, max_length=limits.LONGEST_ROLE)] | None = Field(
        default=None, description="the standpoint that it argues from; `judge` and `chairman` are offices"
    )
    persona: Annotated[str, StringConstraints(min_length=1, max_length=limits.LONGEST_PERSONA)] | None = Field(
        default=None, description="the agent's character, at greater length"
    )
    effort: Annotated[Effort, Field(strict=False)] | None = Field(
        default=None, description="how much the model is to think, where it can be told"
    )


def _branch(value: Any) -> str:
    return "name" if isinstance(value, str) else "agent"


Participant = Annotated[
    Annotated[AgentType, Tag("name")] | Annotated[NewAgent, Tag("agent")],
    Discriminator(_branch),
]


class NewNotification(Request):
    """A message that is sent when the debate ends."""

    kind: Annotated[NotificationKind, Field(strict=False)] = NotificationKind.WEBHOOK
    url: Annotated[str, StringConstraints(min_length=1, max_length=limits.LONGEST_ADDRESS)]
    secret: Annotated[str, StringConstraints(max_length=limits.LONGEST_TITLE)] | None = Field(
        default=None, description="`whsec_…`: webhooks are signed by it; default: the server's ARAGORA_WEBHOOK_SECRET"
    )


class NewBudget(Request):
    """The most that the debate may take; what is left out is bounded by the server's settings alone."""

    money: Annotated[float, Field(gt=0, le=limits.MOST_MONEY)] | None = Field(
        default=None, description="dollars, by the server's price table"
    )
    tokens: Annotated[int, Field(ge=1, le=limits.MOST_TOKENS)] | None = Field(
        default=None, description="read and written by the models"
    )
    questions: Annotated[int, Field(ge=1, le=limits.MOST_QUESTIONS)] | None = None


class NewDebate(Request):
    """The body of `POST /api/debates`."""

    question: QuestionText = Field(
        validation_alias=AliasChoices("question", "task"),
        description="what is argued; `task` is an alias",
    )
    agents: (
        Annotated[
            list[Participant],
            Field(min_length=limits.FEWEST_AGENTS, max_length=limits.MOST_AGENTS),
        ]
        | None
    ) = Field(default=None, description="default: the available ones, else three demo agents")
    preset: Annotated[str, StringConstraints(min_length=1, max_length=limits.LONGEST_NAME)] | None = Field(
        default=None, description="name of a preset, from which everything is taken that the request leaves out"
    )
    rounds: Annotated[int, Field(ge=1, le=limits.MOST_ROUNDS)] = limits.ROUNDS_DEFAULT
    consensus: Mode = ConsensusMode.MAJORITY
    threshold: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="share of the votes that decides; default by the kind of consensus"
    )
    context: Annotated[str, StringConstraints(max_length=limits.LONGEST_CONTEXT)] = ""
    sources: (
        Annotated[
            list[Annotated[str, StringConstraints(min_length=1, max_length=limits.LONGEST_ADDRESS)]],
            Field(max_length=limits.MOST_SOURCES),
        ]
        | None
    ) = Field(default=None, description="URLs of pages and files whose text is added to the context")
    criteria: Annotated[str, StringConstraints(max_length=limits.LONGEST_CRITERIA)] = Field(
        default="", description="what answers are to be judged by"
    )
    synthesis: bool | None = Field(
        default=None,
        description="whether a chairman sums the debate up; default: if an agent has the role `chairman`",
    )
    early_stop: bool = True
    timeout: Annotated[float, Field(ge=limits.SHORTEST_TIMEOUT, le=limits.LONGEST_TIMEOUT)] = Field(
        default=limits.TIMEOUT_DEFAULT, description="seconds"
    )
    budget: NewBudget | None = Field(
        default=None, description="ends the debate as its timeout does, before the first question that would pass it"
    )
    notify: Annotated[list[NewNotification], Field(max_length=limits.MOST_NOTIFICATIONS)] | None = Field(
        default=None, description="the recipients notified when the debate ends"
    )
    title: Title | None = None
    metadata: Metadata = Field(default_factory=dict)


class NewProbe(Request):
    """The body of `POST /api/agents/ask`: which model is to say one word; by default that of the settings."""

    type: AgentType
    model: Annotated[str, StringConstraints(min_length=1, max_length=limits.LONGEST_MODEL)] | None = None


class DebateChanges(Request):
    """The body of `PATCH /api/debates/{id}`; what is left out stays."""

    title: Title | None = None
    metadata: Metadata | None = None
    is_public: bool | None = Field(
        default=None, description="whether it may be read without a token, by any client that knows its id"
    )


def problems(error: ValidationError) -> list[Problem]:
    """Each failed field in the words of the contract, as `agents.1.type`; at most 20."""
    found = []
    for item in error.errors(include_url=False, include_input=False)[:20]:
        # After an index pydantic names the branch of the union that the participant took.
        where = ".".join(
            str(part)
            for before, part in zip((None, *item["loc"]), item["loc"], strict=False)
            if not (isinstance(before, int) and part in ("name", "agent"))
        )
        found.append(Problem(where, _words(item["type"], item["msg"], item.get("ctx", {}))))
    return found


_WORDS = {
    "missing": "is needed",
    "extra_forbidden": "is not known here",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "literal_error": "one of {expected}",
    "enum": "one of {expected}",
    "string_type": "write a text",
    "int_type": "write a whole number",
    "float_type": "write a number",
    "bool_type": "write true or false",
    "list_type": "write a list",
    "dict_type": "write an object",
    "model_type": "write an object",
    "model_attributes_type": "write a name or an object",
}


def _words(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind in _WORDS:
        return _WORDS[kind].format_map(context)
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
