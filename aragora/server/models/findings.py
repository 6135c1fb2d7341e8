"""What the log of a debate says."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from aragora.server.models.event_data import EventFrame, TypedEvent
from aragora.server.models.times import Moment


class EventAnswer(EventFrame):
    """One entry of the debate's log, the same over HTTP, SSE and WebSocket."""

    data: dict[str, Any]

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe the data of each type; answered is what was stored, whatever its version."""
        return handler(TypeAdapter(TypedEvent).core_schema)


class EventList(BaseModel):
    """Events after `since`; ask again with `since` = `next_seq`."""

    events: list[EventAnswer]
    next_seq: int


class Finding(BaseModel):
    """A computed measure or an agent's statement: what its event carries, with agent, time and round."""

    model_config = ConfigDict(extra="allow")

    seq: int
    round: int
    agent: str | None
    timestamp: Moment


class VoteAnswer(Finding):
    """One vote; those of people have the type `user_vote` and no agent."""

    type: Literal["vote", "user_vote"]
    choice: str | None = None
    confidence: float | None = Field(None, description="0 to 1; agents only.")
    reasoning: str | None = None


class VoteList(BaseModel):
    """Which agent voted for which."""

    debate_id: str
    votes: list[VoteAnswer]
    count: int


class CritiqueAnswer(Finding):
    """What one agent holds against another's answer."""

    target: str | None = None
    issues: list[str] = Field(default_factory=list)
    suggestions: list[str] = Field(default_factory=list)
    severity: float | None = Field(None, description="0 to 10; null where the critique gave none.")
    reasoning: str | None = None


class CritiqueList(BaseModel):
    """Every critique in order."""

    debate_id: str
    critiques: list[CritiqueAnswer]
    count: int


class ConvergencePoint(Finding):
    """How near the answers were to each other after one round."""

    similarity: float | None = None
    status: str | None = None


class ConvergenceAnswer(BaseModel):
    """The similarity of the answers over the rounds."""

    debate_id: str
    rounds: list[ConvergencePoint]
