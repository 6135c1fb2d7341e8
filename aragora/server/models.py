"""What the API answers: the models that serialise answers and document them.

Requests are validated by the models of `aragora.service.requests`; `aragora.server.openapi` turns both into the served
document, so what is documented is what is checked and sent.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from aragora.debate.events import EventType
from aragora.debate.spec import ConsensusMode
from aragora.debate.status import Status
from aragora.server.verdicts import Verdict
from aragora.storage import Relation


class Problem(BaseModel):
    """One member of the request and what is wrong with it."""

    field: str
    problem: str


class ErrorBody(BaseModel):
    """What went wrong; `trace_id` finds it in the log."""

    code: str = Field(examples=["validation_error"])
    message: str
    trace_id: str
    details: list[Problem] | None = None
    traceback: list[str] | None = Field(None, description="Development server only.")


class ErrorAnswer(BaseModel):
    """The one shape of every error."""

    error: ErrorBody


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
    timestamp: str = Field(description="ISO 8601, UTC.")
    model: str | None = Field(description="The one that answered, where it is known.")
    usage: dict[str, Any] | None = Field(description="What the answer took: tokens, and `cost` in dollars.")


class Tokens(BaseModel):
    """What answers took. `cached` and `written` are parts of `input`, `thought` is one of `output`."""

    input: int = Field(description="Tokens that models read.")
    output: int = Field(description="Tokens that they wrote.")
    cached: int = Field(description="Of the input: read from a prompt cache.")
    written: int = Field(description="Of the input: stored into a prompt cache.")
    thought: int = Field(description="Of the output: reasoning.")
    cost: float = Field(description="Dollars, by the price table.")


class SpentTokens(Tokens):
    """What was spent. What is held belongs to questions without an answer and counts as the most that they may take."""

    questions: int = Field(description="Asked of language models; the offline demo's are not counted.")
    held_tokens: int
    held_cost: float = Field(description="Dollars.")


class Budget(BaseModel):
    """The most that the debate may take; null is no bound."""

    money: float | None = Field(description="Dollars.")
    tokens: int | None
    questions: int | None


class Parent(BaseModel):
    """What a debate came of; that one may be gone."""

    id: str
    relation: Relation


class DebateSummary(BaseModel):
    """A debate without what was said in it. Times are ISO 8601 in UTC."""

    id: str
    debate_id: str = Field(description="The same as `id`.")
    slug: str
    task: str
    title: str
    context: str = Field(description="In lists, its beginning.")
    context_length: int = Field(description="Characters of the whole.")
    agents: list[str] = Field(description="Their names in this debate.")
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
    is_public: bool = Field(description="Whether it may be read without a token, by whoever knows its id.")
    metadata: dict[str, Any]
    last_seq: int = Field(description="Number of its newest event.")
    created_at: str
    updated_at: str
    ended_at: str | None
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
    created_at: str
    ended_at: str | None
    duration_seconds: float
    verdict: Verdict | None
    messages: list[Message]
    critiques: list["CritiqueAnswer"]
    votes: list["VoteAnswer"]


class Shared(BaseModel):
    """The debate may be read by whoever has the address."""

    debate_id: str
    share: str = Field(description="Path on this server; with `/json` behind it as JSON.")


class EstimateAnswer(BaseModel):
    """What the debate would take: at most so many questions, unless answers fail, and about so many tokens."""

    questions: int
    input: int
    output: int
    tokens: int
    cost: float = Field(description="Dollars, by the price table.")
    summary: str = Field(examples=["at most 30 questions, about 64,000 tokens, 0.08 $"])
    assumed: list[str] = Field(
        description="Models without a row in the price table, as `type/model`: a price is assumed."
    )
    prices_checked: str = Field(description="When the built-in price table was checked.")
    budget: Budget = Field(description="What the debate may take in any case.")


class AgentUsage(Tokens):
    """What the answers of one agent took."""

    agent: str
    answers: int


class UsageAnswer(BaseModel):
    """What a debate took, and each of its agents whose answers are counted."""

    debate_id: str
    total: SpentTokens
    agents: list[AgentUsage]


class DayAnswer(SpentTokens):
    """What the debates of one owner spent on one day."""

    day: str = Field(description="In UTC.")
    owner: str = Field(description="Name of the token; empty where none was needed.")


class SpendingAnswer(BaseModel):
    """Newest day first; administrators see every owner."""

    days: list[DayAnswer]
    count: int


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


class EventAnswer(BaseModel):
    """One entry of the debate's log, the same over HTTP, SSE and WebSocket."""

    type: EventType
    debate_id: str
    loop_id: str = Field(description="The same as `debate_id`.")
    seq: int = Field(description="From 1, without gaps.")
    round: int
    agent: str | None
    timestamp: float = Field(description="Unix seconds.")
    data: dict[str, Any]


class EventList(BaseModel):
    """Events after `since`; ask again with `since` = `next_seq`."""

    events: list[EventAnswer]
    next_seq: int


class Finding(BaseModel):
    """Something the engine computed or somebody said: what its event carries, and who, when, in which round."""

    model_config = ConfigDict(extra="allow")

    seq: int
    round: int
    agent: str | None
    timestamp: str


class VoteAnswer(Finding):
    """One vote; those of people have the type `user_vote` and no agent."""

    type: Literal["vote", "user_vote"]
    choice: str | None = None
    confidence: float | None = Field(None, description="0 to 1; agents only.")
    reasoning: str | None = None


class VoteList(BaseModel):
    """Who chose whom."""

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


class Cancelled(BaseModel):
    """The debate ends; no agent is called again."""

    success: bool = True
    debate_id: str
    status: Status


class AgentAnswer(BaseModel):
    """A type of agent."""

    name: str
    title: str
    available: bool
    missing: str | None = Field(description="The variable to set, when it is not available.")


class AgentList(BaseModel):
    """The types of agents."""

    agents: list[AgentAnswer]
    count: int


class ProbeTokens(BaseModel):
    """What it took, in tokens."""

    input: int
    output: int
    cached: int
    written: int
    thought: int


class OfferedModel(BaseModel):
    """A model that can be asked."""

    id: str
    context: int | None = Field(description="Tokens of prompt and answer that it has room for; null where unknown.")


class OfferAnswer(BaseModel):
    """What one provider offers."""

    type: str = Field(description="The type of its agents.")
    title: str
    default: str = Field(description="The model that is asked when a debate names none; empty: one has to be named.")
    checked: str | None = Field(description="When our own default was looked up; null where the settings name one.")
    models: list[OfferedModel]
    problem: str | None = Field(description="Why its models are not known.")


class OfferList(BaseModel):
    """What the providers offer."""

    providers: list[OfferAnswer]
    count: int


class ProbeAnswer(BaseModel):
    """What asking a model one word came to."""

    type: str
    model: str
    ok: bool
    seconds: float
    answer: str | None = Field(description="Its word; null where there is none.")
    kind: str | None = Field(description="Of which kind the failure is, as in `agent_error`.")
    message: str | None = Field(description="The failure in words, the provider's own among them, and what to do.")
    usage: ProbeTokens | None


class Availability(BaseModel):
    """Which agents can run now, and what the others lack."""

    available: list[str]
    missing: dict[str, str]


class Check(BaseModel):
    """One condition of readiness."""

    ok: bool
    detail: str


class Alive(BaseModel):
    """The process serves."""

    status: Literal["ok"]


class Health(BaseModel):
    """Liveness with facts about the process."""

    status: Literal["ok"]
    version: str
    build: str
    uptime_seconds: float


class Readiness(BaseModel):
    """Whether this worker may be sent requests, and every reason."""

    status: Literal["ready", "unavailable"]
    checks: dict[str, Check]
