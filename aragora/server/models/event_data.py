"""What each type of event carries. Events of older versions lack some of it, which is why so little is required.

These describe the log and do not filter it: events are answered as they were stored.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # that of typing is not enough for pydantic before Python 3.12

from aragora.debate.events import EventType
from aragora.debate.questions import Purpose
from aragora.debate.spec import ConsensusMode, Effort
from aragora.debate.status import Status
from aragora.server.verdicts import Count, Lack, Participation, Synthesis


class AnswerTokens(TypedDict):
    """What an answer, or a failure, took."""

    input: int
    output: int
    cached: int
    written: int
    thought: int
    cost: NotRequired[Annotated[float, Field(description="Dollars, by the price table.")]]
    estimated: NotRequired[Annotated[bool, Field(description="Only when true: the provider did not count.")]]


Cut = Annotated[str, Field(description="Why it is not whole, if so.")]
Omitted = Annotated[list[str], Field(description="What the agent was not shown, for want of room.")]
Shown = Annotated[list[str], Field(description="Whose answers the agent knew as A, B, C.")]


class Seat(TypedDict):
    """One agent as the debate has it."""

    name: str
    type: str
    model: NotRequired[str | None]
    role: NotRequired[str | None]
    persona: NotRequired[str | None]
    effort: NotRequired[Effort | None]


class DebateStart(TypedDict):
    """`debate_start`."""

    question: str
    agents: list[Seat]
    rounds: int
    consensus: ConsensusMode
    threshold: float | None
    early_stop: bool
    timeout: Annotated[float, Field(description="Seconds.")]
    budget: NotRequired[dict[str, float | None]]
    criteria: NotRequired[str]
    synthesis: NotRequired[bool]


class RoundStart(TypedDict):
    """`round_start`."""

    round: int
    rounds: int


class AgentMessage(TypedDict):
    """`agent_message`."""

    role: Literal["proposer", "reviser"]
    content: Annotated[str, Field(description="Markdown.")]
    model: NotRequired[Annotated[str, Field(description="The one that answered, where it is known.")]]
    cut: NotRequired[Cut]
    omitted: NotRequired[Omitted]
    usage: NotRequired[AnswerTokens]


class Critique(TypedDict):
    """`critique`."""

    target: str
    issues: list[str]
    suggestions: list[str]
    severity: Annotated[float | None, Field(description="0 to 10; null where it gave none.")]
    reasoning: str
    shown: NotRequired[Shown]
    cut: NotRequired[Cut]
    omitted: NotRequired[Omitted]
    usage: NotRequired[AnswerTokens]


class Vote(TypedDict):
    """`vote`."""

    choice: Annotated[str, Field(description="An agent's name.")]
    confidence: Annotated[float, Field(ge=0, le=1)]
    reasoning: str
    judge: NotRequired[Annotated[bool, Field(description="Only when true.")]]
    ranking: NotRequired[Annotated[list[str], Field(description="The best first; only where it was asked for.")]]
    shown: NotRequired[Shown]
    cut: NotRequired[Cut]
    omitted: NotRequired[Omitted]
    usage: NotRequired[AnswerTokens]


class Convergence(TypedDict):
    """`convergence`."""

    similarity: Annotated[float, Field(ge=0, le=1)]
    status: str
    method: str
    threshold: float


class SynthesisData(TypedDict):
    """`synthesis`."""

    answer: str
    agreements: list[str]
    disputes: list[str]
    minority: str
    cut: NotRequired[Cut]
    omitted: NotRequired[Omitted]
    usage: NotRequired[AnswerTokens]


class Opinion(TypedDict):
    """One vote for or against the chosen answer, and why."""

    agent: str
    choice: str
    confidence: float
    reasoning: str
    judge: NotRequired[bool]
    shown: NotRequired[Shown]


class Quorum(TypedDict):
    """How many votes there had to be, and were."""

    needed: int
    cast: int


class Consensus(TypedDict):
    """`consensus`: the verdict."""

    reached: bool
    confidence: Annotated[float, Field(ge=0, le=1)]
    answer: Annotated[str, Field(description="Markdown.")]
    method: ConsensusMode
    choice: str | None
    share: float
    threshold: float
    tied: bool
    votes: dict[str, float]
    quorum: Quorum
    user_votes: dict[str, int]
    reasons: NotRequired[list[Opinion]]
    dissent: NotRequired[list[Opinion]]
    support: NotRequired[Count | None]
    tie_break: NotRequired[str]
    alike: NotRequired[dict[str, list[str]]]
    synthesis: NotRequired[Synthesis]
    stopped_early: NotRequired[str]
    degraded: NotRequired[list[Lack]]
    took_part: NotRequired[Participation]
    cut_short: NotRequired[bool]


class AgentWaiting(TypedDict):
    """`agent_waiting`."""

    purpose: Purpose
    target: str | None
    place: Annotated[int, Field(ge=0, description="In the line before its provider; 0 where the provider is away.")]
    message: str


class AgentError(TypedDict):
    """`agent_error`."""

    kind: str
    message: str
    purpose: Purpose
    target: str | None
    attempt: int
    retry: Annotated[bool, Field(description="Whether it is asked again.")]
    excerpt: NotRequired[Annotated[str, Field(description="How an unusable answer begins.")]]
    usage: NotRequired[AnswerTokens]


class UserVote(TypedDict):
    """`user_vote`."""

    choice: str
    reasoning: str
    user: str | None


class UserSuggestion(TypedDict):
    """`user_suggestion`."""

    text: str
    user: str | None


class DebateEnd(TypedDict):
    """`debate_end`."""

    status: Status
    rounds: int
    duration: Annotated[float, Field(description="Seconds.")]
    reason: NotRequired[Annotated[str, Field(description="Unless completed in time, or cancelled.")]]


class EventFrame(BaseModel):
    """What all events have."""

    type: EventType
    debate_id: str
    loop_id: str = Field(description="The same as `debate_id`.")
    seq: int = Field(description="From 1, without gaps.")
    round: int
    agent: str | None
    timestamp: float = Field(description="Unix seconds.")
    data: Any


class DebateStartEvent(EventFrame):
    """The debate begins: its rules and agents."""

    type: Literal[EventType.DEBATE_START]
    data: DebateStart


class RoundStartEvent(EventFrame):
    """A round begins."""

    type: Literal[EventType.ROUND_START]
    data: RoundStart


class AgentMessageEvent(EventFrame):
    """A proposal or a revision."""

    type: Literal[EventType.AGENT_MESSAGE]
    data: AgentMessage


class CritiqueEvent(EventFrame):
    """What an agent holds against another's answer."""

    type: Literal[EventType.CRITIQUE]
    data: Critique


class VoteEvent(EventFrame):
    """An agent's vote, or the judge's."""

    type: Literal[EventType.VOTE]
    data: Vote


class ConvergenceEvent(EventFrame):
    """How near the answers are."""

    type: Literal[EventType.CONVERGENCE]
    data: Convergence


class SynthesisEvent(EventFrame):
    """What the chairman makes of the debate."""

    type: Literal[EventType.SYNTHESIS]
    data: SynthesisData


class ConsensusEvent(EventFrame):
    """The verdict."""

    type: Literal[EventType.CONSENSUS]
    data: Consensus


class AgentWaitingEvent(EventFrame):
    """An agent waits in line for its provider."""

    type: Literal[EventType.AGENT_WAITING]
    data: AgentWaiting


class AgentErrorEvent(EventFrame):
    """An agent failed, and may be asked again."""

    type: Literal[EventType.AGENT_ERROR]
    data: AgentError


class UserVoteEvent(EventFrame):
    """A person's vote: shown, and never counted."""

    type: Literal[EventType.USER_VOTE]
    data: UserVote


class UserSuggestionEvent(EventFrame):
    """A person's suggestion, for the agents' next round."""

    type: Literal[EventType.USER_SUGGESTION]
    data: UserSuggestion


class DebateEndEvent(EventFrame):
    """The debate is over."""

    type: Literal[EventType.DEBATE_END]
    data: DebateEnd


EVENTS = (
    DebateStartEvent,
    RoundStartEvent,
    AgentMessageEvent,
    CritiqueEvent,
    VoteEvent,
    ConvergenceEvent,
    SynthesisEvent,
    ConsensusEvent,
    AgentWaitingEvent,
    AgentErrorEvent,
    UserVoteEvent,
    UserSuggestionEvent,
    DebateEndEvent,
)

TypedEvent = Annotated[
    DebateStartEvent
    | RoundStartEvent
    | AgentMessageEvent
    | CritiqueEvent
    | VoteEvent
    | ConvergenceEvent
    | SynthesisEvent
    | ConsensusEvent
    | AgentWaitingEvent
    | AgentErrorEvent
    | UserVoteEvent
    | UserSuggestionEvent
    | DebateEndEvent,
    Field(discriminator="type"),
]
