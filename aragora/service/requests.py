"""What a caller may ask for, validated once for every door: HTTP, WebSocket and the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from aragora.errors import Problem, ValidationFailed

# PostgreSQL stores no NUL, UTF-8 knows no lone surrogate: refused here, so that both databases behave the same.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MAX_METADATA = 16_384


def is_storable(text: str) -> bool:
    """Whether both databases can hold ``text`` in a column."""
    return not _UNSTORABLE.search(text)


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("contains a NUL character or half a surrogate pair")
    return text


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(metadata, allow_nan=False)
    except ValueError:
        raise ValueError("NaN and Infinity are not JSON") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if len(text) > _MAX_METADATA:
        raise ValueError(f"at most {_MAX_METADATA} characters of JSON")
    return metadata


Text = Annotated[str, AfterValidator(_storable)]
Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
Consensus = Literal["majority", "supermajority", "unanimous", "weighted", "judge", "none"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class NewAgent(_Model):
    """One participant: which kind of agent, and how it appears."""

    type: Annotated[Text, StringConstraints(min_length=1, max_length=64)]
    name: Annotated[Text, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")] | None = None
    model: Annotated[Text, StringConstraints(min_length=1, max_length=128)] | None = None
    role: Annotated[Text, StringConstraints(min_length=1, max_length=200)] | None = None


class NewDebate(_Model):
    """The body of `POST /api/debates`."""

    question: Annotated[Text, StringConstraints(strip_whitespace=True, min_length=10, max_length=2000)] = Field(
        validation_alias=AliasChoices("question", "task"),
        description="what is argued; `task` is an alias",
    )
    agents: (
        Annotated[
            list[Annotated[Text, StringConstraints(min_length=1, max_length=64)] | NewAgent],
            Field(min_length=2, max_length=10),
        ]
        | None
    ) = Field(default=None, description="default: the available ones, else three demo agents")
    rounds: Annotated[int, Field(ge=1, le=10)] = 3
    consensus: Consensus = "majority"
    threshold: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="share of the votes that decides; default by the kind of consensus"
    )
    context: Annotated[Text, StringConstraints(max_length=10_000)] = ""
    early_stop: bool = True
    timeout: Annotated[float, Field(ge=1, le=1800)] = Field(default=600.0, description="seconds")
    title: Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] | None = None
    metadata: Metadata = Field(default_factory=dict)

    @classmethod
    def parse(cls, body: object) -> NewDebate:
        """The request in ``body``; raises :class:`ValidationFailed` naming each field."""
        return _parse(cls, body)


class DebateChanges(_Model):
    """The body of `PATCH /api/debates/{id}`; what is left out stays."""

    title: Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] | None = None
    metadata: Metadata | None = None
    is_public: bool | None = None

    @classmethod
    def parse(cls, body: object) -> DebateChanges:
        """The changes in ``body``; raises :class:`ValidationFailed` naming each field."""
        return _parse(cls, body)


_Request = TypeVar("_Request", bound=BaseModel)


def _parse(model: type[_Request], body: object) -> _Request:
    if not isinstance(body, Mapping):
        raise ValidationFailed.of(Problem("", "the body must be a JSON object"))
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise ValidationFailed.of(*problems(error)) from None


def problems(error: ValidationError) -> list[Problem]:
    """Each failed field in the words of the contract, as ``agents.1.type``; at most 20."""
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False)[:20]:
        where = ".".join(str(part) for part in item["loc"] if not _is_branch(part))
        found.append(Problem(where, _words(item["msg"])))
    return found


def _is_branch(part: int | str) -> bool:
    """Whether pydantic named a branch of a union rather than a field."""
    return isinstance(part, str) and (part == "NewAgent" or part.startswith(("constrained-", "function-")))


def _words(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("String should have ")
    message = message.removeprefix("List should have ")
    return message[:1].lower() + message[1:]
