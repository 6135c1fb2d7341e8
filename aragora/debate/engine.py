"""From a debate's history to its next steps.

    debate_start ► round_start ► propose ► critique ► revise ► convergence ► vote ─┬► synthesis ► consensus ► debate_end
                        ▲      (agents without an answer)                          │  (if wanted)
                        └──────────────────────────────────────────────────────────┘

`plan` looks at the log alone, so any process may continue any debate after any event; unanswered questions are
asked again. Votes are taken in the last round; with early stop in each, because a unanimous vote ends the debate, as do
answers that have converged. A judge and a chairman are asked at the end only.

A question that fails is asked once more and then missing; `aragora.debate.phases` says what that costs. When fewer than
two agents are left before the votes, the debate has failed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aragora.debate import convergence, phases, prompts, replies
from aragora.debate.events import Draft, Event, EventType
from aragora.debate.limits import FEWEST_AGENTS
from aragora.debate.passages import line
from aragora.debate.questions import Failure, Kind, Passage, Purpose, Question, Reply
from aragora.debate.spec import DebateSpec
from aragora.debate.state import DebateState, QuestionId, fold
from aragora.debate.status import Status
from aragora.debate.verdict import verdict

__all__ = [
    "Failure",
    "Kind",
    "Passage",
    "Plan",
    "Purpose",
    "Question",
    "Reply",
    "cancelled",
    "deadline",
    "plan",
    "record",
    "waiting",
]

MAX_NOTICE = 300  # characters of what a question waits for
LONGEST_REASON = 600  # characters of why a debate ended
LEAST = 0.05  # seconds that must be left for a question to be worth asking


@dataclass(frozen=True, slots=True)
class Plan:
    """Append `drafts` first; then ask all `questions` in parallel; then plan again, unless `finished`."""

    drafts: tuple[Draft, ...]
    questions: tuple[Question, ...]
    finished: bool


def plan(spec: DebateSpec, history: Sequence[Event], now: float, spent: str | None = None) -> Plan:
    """What is to be done after `history`; `now` is in unix seconds.

    `spent` says why no more questions may be asked, where they cost more than may be spent: the debate then ends as it
    does when its time is over.
    """
    state = fold(spec, history)
    drafts: list[Draft] = []
    while not state.ended:
        over = spent or (f"not done within {spec.timeout:g} s" if _late(state, now) else None)
        wanted = phases.open_questions(state, over=over is not None)
        if wanted and over is None:
            return Plan(tuple(drafts), tuple(_questions(state, wanted)), finished=False)
        draft = _cut_short(state, now, over) if wanted else _transition(state, now, over)
        drafts.append(draft)
        state.add(Event(state.last_seq + 1, draft.type, now, draft.round, draft.agent, draft.data))
    return Plan(tuple(drafts), (), finished=True)


def record(question: Question, reply: Reply | Failure) -> tuple[Draft, ...]:
    """What one answer, or its absence, adds to the log. The next plan asks again where that is worth it."""
    return replies.drafts(question, reply)


def waiting(question: Question, place: int, message: str) -> Draft:
    """That a question is not being answered yet: its place in the line before its provider, from 1, or 0."""
    data = {
        "purpose": question.purpose.value,
        "target": None,
        "place": place,
        "message": line(message, MAX_NOTICE),
    }
    return Draft(EventType.AGENT_WAITING, question.round, question.agent.name, data)


def cancelled(spec: DebateSpec, history: Sequence[Event]) -> tuple[Draft, ...]:
    """The drafts that end it for good; none when it has ended."""
    state = fold(spec, history)
    if state.ended:
        return ()
    return (_end(state, Status.CANCELLED, history[-1].at if history else 0.0),)


def deadline(spec: DebateSpec, history: Sequence[Event]) -> float | None:
    """When the debate's time is over, in unix seconds; None before it has begun."""
    started = next((event.at for event in history if event.type is EventType.DEBATE_START), None)
    return None if started is None else started + spec.timeout


def _late(state: DebateState, now: float) -> bool:
    return state.started_at is not None and now + LEAST >= state.started_at + state.spec.timeout


def _questions(state: DebateState, wanted: Sequence[QuestionId]) -> Iterator[Question]:
    agents = {agent.name: agent for agent in state.spec.agents}
    for which in wanted:
        yield prompts.question(state, agents[which.agent], which, phases.choices(state, which))


def _transition(state: DebateState, now: float, over: str | None) -> Draft:
    """The next event when no agent is to be asked; `over` is why none may be asked any more, if so."""
    if state.status is Status.CREATED:
        return Draft(EventType.DEBATE_START, 0, None, _rules(state.spec))
    if state.consensus is not None:
        return _after_consensus(state, now, over)
    if state.round == 0:
        return _round(state, 1)
    if phases.short_handed(state):
        return _result_so_far(state) or _end(state, Status.FAILED, now, _who_is_missing(state))
    if not phases.measured(state):
        value = convergence.similarity([state.answers[name] for name in phases.standing(state)])
        data = {
            "similarity": value,
            "status": convergence.status(value),
            "method": convergence.METHOD,
            "threshold": convergence.CONVERGED,
        }
        return Draft(EventType.CONVERGENCE, state.round, None, data)
    if phases.decided(state):
        return _verdict(state, stopped_early=_stopped_early(state))
    return _cut_short(state, now, over) if over else _round(state, state.round + 1)


def _after_consensus(state: DebateState, now: float, over: str | None) -> Draft:
    if state.consensus is None or not state.consensus.cut_short:
        early = _stopped_early(state)
        return _end(state, Status.COMPLETED, now, None if early is None else f"stopped early: {early}")
    if phases.short_handed(state):
        return _end(state, Status.FAILED, now, _who_is_missing(state))
    return _end(state, Status.TIMEOUT, now, over)


def _cut_short(state: DebateState, now: float, over: str | None) -> Draft:
    """The answer that is ahead; the end at once when there is none."""
    return _result_so_far(state) or _end(state, Status.TIMEOUT, now, over)


def _result_so_far(state: DebateState) -> Draft | None:
    return _verdict(state, cut_short=True) if phases.standing(state) else None


def _verdict(state: DebateState, *, stopped_early: str | None = None, cut_short: bool = False) -> Draft:
    data = verdict(
        state,
        phases.election(state),
        phases.debaters(state.spec),
        stopped_early=stopped_early,
        cut_short=cut_short,
    )
    return Draft(EventType.CONSENSUS, state.round, None, data)


def _who_is_missing(state: DebateState) -> str:
    """Why the debate cannot go on, with each agent's last failure."""
    failures = {agent: failed for (number, agent), failed in state.lost.items() if number == state.round}
    failures |= {
        question.agent: failed
        for question, failed in state.failures.items()
        if question.round == state.round and question.purpose is Purpose.PROPOSE and failed.given_up
    }
    details = "; ".join(f"{agent}: {failed.message}" for agent, failed in failures.items())
    reason = f"fewer than {FEWEST_AGENTS} agents are left in round {state.round}"
    return line(f"{reason}: {details}" if details else reason, LONGEST_REASON)


def _round(state: DebateState, number: int) -> Draft:
    return Draft(EventType.ROUND_START, number, None, {"round": number, "rounds": state.spec.rounds})


def _end(state: DebateState, status: Status, now: float, reason: str | None = None) -> Draft:
    duration = 0.0 if state.started_at is None else max(0.0, now - state.started_at)
    data: dict[str, Any] = {"status": status.value, "rounds": state.round, "duration": round(duration, 3)}
    if reason is not None:
        data["reason"] = reason
    return Draft(EventType.DEBATE_END, state.round, None, data)


def _stopped_early(state: DebateState) -> str | None:
    """Why rounds were left over."""
    if state.round >= state.spec.rounds:
        return None
    if phases.last_round(state):
        return f"the answers are {state.convergence[-1].similarity:.0%} alike"
    return "all votes agree"


def _rules(spec: DebateSpec) -> dict[str, Any]:
    """All but the context, which may be long, and the secret."""
    return {name: value for name, value in spec.to_json().items() if name not in ("context", "secret")}
