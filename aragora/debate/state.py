"""What a debate's log amounts to: one pass over the events, oldest first."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from aragora.debate.events import Event, EventType
from aragora.debate.questions import Purpose
from aragora.debate.spec import DebateSpec
from aragora.debate.status import Status

ATTEMPTS = 2  # of one question: an agent that fails is asked once more
SYNTHESIS = ("answer", "agreements", "disputes", "minority")
UNUSABLE = "unusable"  # the kind of agent_error of an answer that came but cannot be read


class Role(StrEnum):
    """What an agent's message is."""

    PROPOSER = "proposer"
    REVISER = "reviser"


@dataclass(frozen=True, slots=True)
class Message:
    """A proposal or a revision; `at` is in unix seconds."""

    seq: int
    at: float
    round: int
    agent: str
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Critique:
    """What `agent` holds against the answer of `target`; severity 0 to 10, None where it said none.

    `shown` are the authors of the answers that it knew as A, B, C; empty in debates of older versions.
    """

    round: int
    agent: str
    target: str
    issues: tuple[str, ...]
    suggestions: tuple[str, ...]
    severity: float | None
    reasoning: str
    shown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Vote:
    """Whose answer `agent` takes, and how sure it is, 0 to 1; `judge` when its word alone decides.

    `shown` are the authors of the answers between which it chose, known to it as A, B, C (empty in debates of older
    versions: between all); `ranking` all of them, the best first, where it was asked to rank.
    """

    round: int
    agent: str
    choice: str
    confidence: float
    reasoning: str
    judge: bool = False
    shown: tuple[str, ...] = ()
    ranking: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Convergence:
    """How alike the answers were at the end of a round, 0 to 1."""

    round: int
    similarity: float
    status: str


@dataclass(frozen=True, slots=True)
class Consensus:
    """The outcome; `answer` is None when no agent proposed anything, `cut_short` when time ran out before it."""

    reached: bool
    confidence: float
    answer: str | None
    cut_short: bool = False


@dataclass(frozen=True, slots=True)
class UserVote:
    """A person's vote; `user` is None for an unnamed person."""

    choice: str
    user: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """The last of a question's failures, and whether the question was given up.

    `excerpt` is how an answer begins that came but could not be read; None where none came.
    """

    kind: str
    message: str
    excerpt: str | None
    given_up: bool


@dataclass(frozen=True, slots=True)
class QuestionId:
    """Which question an answer or an error belongs to.

    A critic is asked once for all answers (`target` is None); in debates of older versions, for each of them.
    """

    round: int
    purpose: Purpose
    agent: str
    target: str | None = None


@dataclass(slots=True)
class DebateState:
    """The debate as its log tells it. Times are unix seconds, None until then.

    `answers` holds the newest proposal or revision of each agent, and `cut` why that is not whole, where it is not;
    `errors` how often a question failed, `failures` how it did last, and `lost` the agents that a round has
    given up on.
    """

    spec: DebateSpec
    status: Status = Status.CREATED
    last_seq: int = 0
    round: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    messages: list[Message] = field(default_factory=list)
    critiques: list[Critique] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)
    convergence: list[Convergence] = field(default_factory=list)
    consensus: Consensus | None = None
    user_votes: list[UserVote] = field(default_factory=list)
    suggestions: list[str] = field(default_factory=list)
    synthesis: dict[str, Any] | None = None
    answers: dict[str, str] = field(default_factory=dict)
    cut: dict[str, str] = field(default_factory=dict)
    answered: set[QuestionId] = field(default_factory=set)
    errors: dict[QuestionId, int] = field(default_factory=dict)
    failures: dict[QuestionId, Failed] = field(default_factory=dict)
    lost: dict[tuple[int, str], Failed] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing can happen any more."""
        return self.status.final

    @property
    def rounds_used(self) -> int:
        """Rounds that have begun."""
        return self.round

    @property
    def final_answer(self) -> str | None:
        """The outcome's answer, whether or not it was agreed upon."""
        return self.consensus.answer if self.consensus else None

    @property
    def confidence(self) -> float:
        """The outcome's confidence, 0 to 1."""
        return self.consensus.confidence if self.consensus else 0.0

    def open(self, question: QuestionId) -> bool:
        """Whether it is still worth asking."""
        return (
            question not in self.answered
            and self.errors.get(question, 0) < ATTEMPTS
            and (question.round, question.agent) not in self.lost
        )

    def critiques_of(self, target: str, number: int) -> list[Critique]:
        """What was said in round `number` against the answer of `target`."""
        return [critique for critique in self.critiques if critique.round == number and critique.target == target]

    def add(self, event: Event) -> None:
        """Take the next event in."""
        self.last_seq = event.seq
        data = event.data
        match event.type:
            case EventType.DEBATE_START:
                self.status = Status.RUNNING
                self.started_at = event.at
            case EventType.ROUND_START:
                self.round = event.round
            case EventType.AGENT_MESSAGE | EventType.CRITIQUE | EventType.VOTE | EventType.SYNTHESIS:
                self._add_answer(event, event.agent or "")
            case EventType.AGENT_ERROR:
                self._add_failure(event, event.agent or "")
            case EventType.CONVERGENCE:
                self.convergence.append(Convergence(event.round, data["similarity"], data["status"]))
            case EventType.CONSENSUS:
                self.consensus = Consensus(
                    data["reached"], data["confidence"], data["answer"], data.get("cut_short", False)
                )
            case EventType.USER_VOTE:
                self.user_votes.append(UserVote(data["choice"], data.get("user")))
            case EventType.USER_SUGGESTION:
                self.suggestions.append(data["text"])
            case EventType.DEBATE_END:
                self.status = Status(data["status"])
                self.ended_at = event.at

    def _add_answer(self, event: Event, agent: str) -> None:
        data = event.data
        match event.type:
            case EventType.AGENT_MESSAGE:
                message = Message(event.seq, event.at, event.round, agent, data["role"], data["content"])
                self.messages.append(message)
                self.answers[agent] = message.content
                self.cut.pop(agent, None)
                if data.get("cut"):
                    self.cut[agent] = data["cut"]
                purpose = Purpose.PROPOSE if message.role == Role.PROPOSER else Purpose.REVISE
                self.answered.add(QuestionId(event.round, purpose, agent))
            case EventType.CRITIQUE:
                self.critiques.append(_critique(event.round, agent, data))
                self.answered.add(QuestionId(event.round, Purpose.CRITIQUE, agent, data["target"]))
            case EventType.VOTE:
                judge = data.get("judge", False)
                self.votes.append(_vote(event.round, agent, data))
                self.answered.add(QuestionId(event.round, Purpose.JUDGE if judge else Purpose.VOTE, agent))
            case EventType.SYNTHESIS:
                self.synthesis = {"agent": agent} | {name: data[name] for name in SYNTHESIS}
                self.answered.add(QuestionId(event.round, Purpose.SYNTHESIZE, agent))

    def _add_failure(self, event: Event, agent: str) -> None:
        """Count it. A failed question costs that question; an agent that proposes nothing, or fails at two questions of
        different kinds in one round, is lost to that round."""
        data = event.data
        question = QuestionId(event.round, Purpose(data["purpose"]), agent, data["target"])
        spent = data["attempt"] if data["retry"] else ATTEMPTS
        self.errors[question] = max(spent, self.errors.get(question, 0))
        given_up = self.errors[question] >= ATTEMPTS
        failed = Failed(data["kind"], data["message"], data.get("excerpt"), given_up)
        self.failures[question] = failed
        if not given_up or failed.kind == UNUSABLE:
            return
        if question.purpose is Purpose.PROPOSE or self._failed_elsewhere(question):
            self.lost.setdefault((event.round, agent), failed)

    def _failed_elsewhere(self, question: QuestionId) -> bool:
        """Whether the agent was given up at a question of another kind in the same round."""
        return any(
            other.round == question.round and other.agent == question.agent and other.purpose is not question.purpose
            for other, failed in self.failures.items()
            if failed.given_up and failed.kind != UNUSABLE
        )


def _vote(number: int, agent: str, data: dict[str, Any]) -> Vote:
    return Vote(
        round=number,
        agent=agent,
        choice=data["choice"],
        confidence=data["confidence"],
        reasoning=data["reasoning"],
        judge=data.get("judge", False),
        shown=tuple(data.get("shown", ())),
        ranking=tuple(data.get("ranking", ())),
    )


def _critique(number: int, agent: str, data: dict[str, Any]) -> Critique:
    return Critique(
        round=number,
        agent=agent,
        target=data["target"],
        issues=tuple(data["issues"]),
        suggestions=tuple(data["suggestions"]),
        severity=data["severity"],
        reasoning=data["reasoning"],
        shown=tuple(data.get("shown", ())),
    )


def fold(spec: DebateSpec, history: Iterable[Event]) -> DebateState:
    """The state after `history`, whose events have no gaps and begin with the first."""
    state = DebateState(spec)
    for event in history:
        state.add(event)
    return state
