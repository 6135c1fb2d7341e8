"""Debates, with and without what was said in them."""

from typing import Any

from pydantic import BaseModel, Field

from aragora.debate.spec import ConsensusMode, Effort
from aragora.debate.status import Status
from aragora.server.models.findings import CritiqueAnswer, VoteAnswer
from aragora.server.models.spending import Budget, SpentTokens
from aragora.server.models.times import Moment
from aragora.server.verdicts import Verdict
from aragora.storage import Relation


class Created(BaseModel):
    """A debate was accepted; its address is in `Location`."""

    success: bool = True
    debate_id: str
    status: Status
    task: str


class Message(BaseModel):
    """A proposal, a revision or another utterance of an agent."""

    index: int = Field(description="Position in the debate, from 0.")
    role: str | None
    agent: str | None
    content: str | None
    round: int
    timestamp: Moment
    model: str | None = Field(description="The one that answered, where it is known.")
    usage: dict[str, Any] | None = Field(description="What the answer took: tokens, and `cost` in dollars.")
    cut: str | None = Field(description="Why it is not whole, if so, as `length` or `content_filter`.")
    omitted: list[str] = Field(description="What the agent was not shown, because its model has no room for it.")


class Parent(BaseModel):
    """What a debate came of; that one may be gone."""

    id: str
    relation: Relation


class Participant(BaseModel):
    """One agent as the debate was asked for."""

    name: str
    type: str
    model: str | None
    role: str | None
    persona: str | None
    effort: Effort | None


class DebateSummary(BaseModel):
    """A debate without what was said in it."""

    id: str
    debate_id: str = Field(description="The same as `id`.")
    slug: str
    task: str
    title: str
    context: str = Field(description="In lists, its beginning.")
    context_length: int = Field(description="Characters of the whole.")
    agents: list[str] = Field(description="Their names in this debate.")
    participants: list[Participant] = Field(description="What they are.")
    consensus: ConsensusMode = Field(description="How it is decided.")
    threshold: float | None
    rounds: int
    rounds_used: int
    status: Status
    in_progress: bool
    consensus_reached: bool
    confidence: float
    final_answer: str | None
    conclusion: str | None = Field(description="The same as `final_answer`.")
    reason: str | None = Field(description="Why it ended as it did, where the status does not say.")
    criteria: str = Field(description="What answers are to be judged by.")
    synthesis: bool = Field(description="Whether a chairman sums it up.")
    budget: Budget
    usage: SpentTokens
    owner: str | None = Field(
        description="Name of the token that made it, empty where none was needed; null for those it does not belong to."
    )
    parent: Parent | None = Field(description="The debate that it came of.")
    share: str | None = Field(description="Address of its share link on this server, for its owner.")
    is_public: bool = Field(description="Whether it may be read without a token, by any client that knows its id.")
    metadata: dict[str, Any]
    last_seq: int = Field(description="Number of its newest event.")
    created_at: Moment
    updated_at: Moment
    ended_at: Moment | None
    duration_seconds: float


class Debate(DebateSummary):
    """A debate with its verdict and its messages."""

    verdict: Verdict | None = Field(description="Null until there is one.")
    messages: list[Message]


class SharedDebate(BaseModel):
    """A debate as its share link shows it."""

    slug: str
    task: str
    title: str
    agents: list[str]
    consensus: ConsensusMode
    threshold: float | None
    rounds: int
    rounds_used: int
    status: Status
    in_progress: bool
    consensus_reached: bool
    confidence: float
    final_answer: str | None
    created_at: Moment
    ended_at: Moment | None
    duration_seconds: float
    verdict: Verdict | None
    messages: list[Message]
    critiques: list[CritiqueAnswer]
    votes: list[VoteAnswer]


class Shared(BaseModel):
    """The debate may be read by any client that has the address."""

    debate_id: str
    share: str = Field(description="Path on this server; with `/json` behind it as JSON.")


class DebateList(BaseModel):
    """Newest first."""

    debates: list[DebateSummary]
    count: int
    next_cursor: str | None = Field(description="Pass as `cursor`; null on the last page.")


class MessageList(BaseModel):
    """Messages in the order they were said."""

    debate_id: str
    messages: list[Message]
    total: int
    limit: int
    offset: int
    has_more: bool


class Cancelled(BaseModel):
    """The debate ends; no agent is called again."""

    success: bool = True
    debate_id: str
    status: Status
