"""From a debate's history to its next steps.

    debate_start ► round_start ► propose ► critique ► revise ► convergence ► vote ─┬► consensus ► debate_end
                        ▲        (who has no answer yet)                           │
                        └──────────────────────────────────────────────────────────┘

`plan` looks at the log alone, so any process may continue any debate after any event; what nobody answered is
asked again. Votes are taken in the last round; with early stop in each, because a unanimous vote ends the debate, as do
answers that have converged. A judge is asked at the end only.

An agent whose call fails is asked once more and then left out until the next round; when fewer than two are left the
debate has failed. An answer that came but cannot be read is asked for once more and then missing, which costs its
author a vote or a critique, not the round.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aragora.debate import consensus, convergence, prompts, replies
from aragora.debate.events import Draft, Event, EventType
from aragora.debate.limits import FEWEST_AGENTS
from aragora.debate.passages import line
from aragora.debate.questions import Failure, Kind, Passage, Purpose, Question, Reply
from aragora.debate.spec import AgentSpec, ConsensusMode, DebateSpec
from aragora.debate.state import DebateState, QuestionId, fold
from aragora.debate.status import Status

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

JUDGE = "judge"  # the role of an agent that judges and does not argue
MAX_NOTICE = 300  # characters of what a question waits for
LEAST = 0.05  # seconds that must be left for a question to be worth asking


@dataclass(frozen=True, slots=True)
class Plan:
    """Append `drafts` first; then carry out all `asks` in parallel; then plan again, unless `finished`."""

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
        questions = [] if state.status is Status.CREATED else _open(state)
        if questions and spent is None and not _late(state, now):
            return Plan(tuple(drafts), tuple(_questions(state, questions)), finished=False)
        over = spent or f"not done within {spec.timeout:g} s"
        draft = _cut_short(state, now, over) if questions else _transition(state, now, over)
        drafts.append(draft)
        state.add(Event(state.last_seq + 1, draft.type, now, draft.round, draft.agent, draft.data))
    return Plan(tuple(drafts), (), finished=True)


def record(spec: DebateSpec, question: Question, reply: Reply | Failure) -> tuple[Draft, ...]:  # noqa: ARG001
    """What one answer, or its absence, adds to the log. The next plan asks again where that is worth it."""
    return replies.drafts(question, reply)


def waiting(question: Question, place: int, message: str) -> Draft:
    """That a question is not being answered yet: its place in the line before its provider, from 1, or 0."""
    data = {
        "purpose": question.purpose.value,
        "target": question.target,
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


def _open(state: DebateState) -> list[QuestionId]:
    """What is open in the current phase; nothing when the next thing to happen needs no agent."""
    if state.round == 0 or state.consensus is not None or len(_present(state)) < FEWEST_AGENTS:
        return []
    for phase in (_proposals, _critiques, _revisions):
        if found := [question for question in phase(state) if state.open(question)]:
            return found
    if not _measured(state):
        return []
    return [question for question in _ballots(state) if state.open(question)]


def _questions(state: DebateState, questions: Sequence[QuestionId]) -> Iterator[Question]:
    agents = {agent.name: agent for agent in state.spec.agents}
    for question in questions:
        choices: Sequence[str] = ()
        if question.purpose in (Purpose.VOTE, Purpose.JUDGE):
            choices = _rotated(_standing(state), list(agents).index(question.agent))
        yield prompts.question(state, agents[question.agent], question, choices)


def _transition(state: DebateState, now: float, over: str) -> Draft:
    """The next event when no agent is to be asked; `over` is why the debate ends if it is cut short."""
    if state.status is Status.CREATED:
        return Draft(EventType.DEBATE_START, 0, None, _rules(state.spec))
    if state.consensus is not None:
        if state.consensus.cut_short:
            return _end(state, Status.TIMEOUT, now, over)
        return _end(state, Status.COMPLETED, now, _early(state))
    if state.round == 0:
        return _round(state, 1)
    if len(_present(state)) < FEWEST_AGENTS:
        return _end(state, Status.FAILED, now, f"fewer than {FEWEST_AGENTS} agents are left in round {state.round}")
    if not _measured(state):
        value = convergence.similarity([state.answers[name] for name in _standing(state)])
        data = {
            "similarity": value,
            "status": convergence.status(value),
            "method": convergence.METHOD,
            "threshold": convergence.CONVERGED,
        }
        return Draft(EventType.CONVERGENCE, state.round, None, data)
    if _last_round(state) or _agreed(state):
        return Draft(EventType.CONSENSUS, state.round, None, consensus.outcome(state, _election(state)))
    return _cut_short(state, now, over) if _late(state, now) else _round(state, state.round + 1)


def _cut_short(state: DebateState, now: float, over: str) -> Draft:
    """The answer that is ahead; the end at once when there is none."""
    if not _standing(state):
        return _end(state, Status.TIMEOUT, now, over)
    return Draft(EventType.CONSENSUS, state.round, None, consensus.outcome(state, _election(state), cut_short=True))


def _round(state: DebateState, number: int) -> Draft:
    return Draft(EventType.ROUND_START, number, None, {"round": number, "rounds": state.spec.rounds})


def _end(state: DebateState, status: Status, now: float, reason: str | None = None) -> Draft:
    duration = 0.0 if state.started_at is None else max(0.0, now - state.started_at)
    data: dict[str, Any] = {"status": status.value, "rounds": state.round, "duration": round(duration, 3)}
    if reason is not None:
        data["reason"] = reason
    return Draft(EventType.DEBATE_END, state.round, None, data)


def _early(state: DebateState) -> str | None:
    """Why rounds were left over."""
    if state.round >= state.spec.rounds:
        return None
    return f"the answers converged in round {state.round}" if _last_round(state) else "all votes agree"


def _rules(spec: DebateSpec) -> dict[str, Any]:
    names = ("question", "agents", "rounds", "consensus", "threshold", "early_stop", "timeout", "budget")
    stored = spec.to_json()
    return {name: stored[name] for name in names}


# Who takes part. Proposals are revised, voted for and counted only while their authors are in the round.


def _judges(spec: DebateSpec) -> list[AgentSpec]:
    """Agents that judge and do not argue, as long as two others do."""
    if spec.consensus != ConsensusMode.JUDGE:
        return []
    found = [agent for agent in spec.agents if (agent.role or "").strip().casefold() == JUDGE]
    return found if len(spec.agents) - len(found) >= FEWEST_AGENTS else []


def _debaters(spec: DebateSpec) -> list[str]:
    judges = _judges(spec)
    return [agent.name for agent in spec.agents if agent not in judges]


def _present(state: DebateState) -> list[str]:
    """Debaters who were not left out of the round and have, or may still make, a proposal."""
    return [
        name
        for name in _debaters(state.spec)
        if (state.round, name) not in state.left_out
        and (name in state.answers or state.open(QuestionId(state.round, Purpose.PROPOSE, name)))
    ]


def _standing(state: DebateState) -> list[str]:
    """Whose answers stand for election: an agent that fails while voting loses its vote, not its answer."""
    voting = (None, Purpose.VOTE, Purpose.JUDGE)
    return [
        name
        for name in _debaters(state.spec)
        if name in state.answers and state.left_out.get((state.round, name)) in voting
    ]


# The phases of a round, each as its questions, answered or not.


def _proposals(state: DebateState) -> Iterator[QuestionId]:
    """From everybody who has none: all at first, later those who were left out."""
    for name in _present(state):
        if name not in state.answers:
            yield QuestionId(state.round, Purpose.PROPOSE, name)


def _critiques(state: DebateState) -> Iterator[QuestionId]:
    """Of everybody's answer, even that of an agent which is left out meanwhile: who fails at a critique must not depend
    on the order in which the critiques come in, or a debate that was interrupted would end otherwise."""
    targets = [name for name in _debaters(state.spec) if name in state.answers]
    for name in _present(state):
        for target in targets:
            if target != name:
                yield QuestionId(state.round, Purpose.CRITIQUE, name, target)


def _revisions(state: DebateState) -> Iterator[QuestionId]:
    for name in _present(state):
        yield QuestionId(state.round, Purpose.REVISE, name)


def _ballots(state: DebateState) -> Iterator[QuestionId]:
    mode = state.spec.consensus
    if mode == ConsensusMode.NONE:
        return
    if mode != ConsensusMode.JUDGE:
        if _last_round(state) or state.spec.early_stop:
            for name in _present(state):
                yield QuestionId(state.round, Purpose.VOTE, name)
        return
    if _last_round(state) and not any(vote.judge and vote.round == state.round for vote in state.votes):
        bench = [*(agent.name for agent in _judges(state.spec)), *_present(state)]
        candidates = [QuestionId(state.round, Purpose.JUDGE, name) for name in bench]
        yield from [question for question in candidates if state.open(question)][:1]


# Where the round stands.


def _measured(state: DebateState) -> bool:
    return bool(state.convergence) and state.convergence[-1].round == state.round


def _last_round(state: DebateState) -> bool:
    """Whether there is none after it: by the rules, or because the answers have converged."""
    converged = _measured(state) and state.convergence[-1].similarity >= convergence.CONVERGED
    return state.round >= state.spec.rounds or (state.spec.early_stop and converged)


def _agreed(state: DebateState) -> bool:
    """Whether all who are in the round voted, for the same, and that decides."""
    held = _election(state)
    return (
        state.spec.early_stop
        and held.unanimous
        and {vote.agent for vote in held.votes} >= set(_present(state))
        and consensus.result(state, held).reached
    )


def _election(state: DebateState) -> consensus.Election:
    return consensus.election(state, _standing(state), len(_debaters(state.spec)))


def _rotated(names: list[str], by: int) -> list[str]:
    """Each voter reads the answers in another order, so that none gains from standing first."""
    by %= len(names)
    return names[by:] + names[:by]
