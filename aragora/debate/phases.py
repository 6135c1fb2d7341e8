"""Which agents take part in a round, and what each of its phases asks of which, answered or not.

A failed question costs that question. An answer is up for election until its author writes another, whatever else its
author fails at; only an agent without an answer, or lost to the round, does not take part in it.
"""

from collections.abc import Iterator
from enum import StrEnum

from aragora.debate import consensus, convergence
from aragora.debate.ballots import distinct, shuffled
from aragora.debate.limits import FEWEST_AGENTS
from aragora.debate.questions import Purpose
from aragora.debate.spec import AgentSpec, ConsensusMode, DebateSpec
from aragora.debate.state import ATTEMPTS, DebateState, QuestionId

SECRET_FROM = 3  # answers from which on no agent votes for its own: with two, each could only choose the other


class Office(StrEnum):
    """Roles of agents that do not argue."""

    JUDGE = "judge"
    CHAIRMAN = "chairman"


def officers(spec: DebateSpec, office: Office) -> list[AgentSpec]:
    """The agents that hold `office` and therefore do not argue, as long as two others do."""
    wanted = {Office.JUDGE: spec.consensus == ConsensusMode.JUDGE, Office.CHAIRMAN: spec.synthesis}
    roles = {agent: (agent.role or "").strip().casefold() for agent in spec.agents}
    arguing = [agent for agent in spec.agents if not any(wanted[one] and roles[agent] == one for one in Office)]
    if not wanted[office] or len(arguing) < FEWEST_AGENTS:
        return []
    return [agent for agent in spec.agents if roles[agent] == office]


def debaters(spec: DebateSpec) -> list[str]:
    """The agents that argue."""
    idle = [agent for office in Office for agent in officers(spec, office)]
    return [agent.name for agent in spec.agents if agent not in idle]


def present(state: DebateState) -> list[str]:
    """Debaters that are not lost to the round and have, or may still make, a proposal."""
    return [
        name
        for name in debaters(state.spec)
        if (state.round, name) not in state.lost
        and (name in state.answers or state.open(QuestionId(state.round, Purpose.PROPOSE, name)))
    ]


def standing(state: DebateState) -> list[str]:
    """Whose answers stand for election."""
    return [name for name in debaters(state.spec) if name in state.answers]


def candidates(state: DebateState) -> dict[str, str]:
    """The agent that represents the answer of each of those: the first of all that gave the same."""
    return distinct({name: state.answers[name] for name in standing(state)})


def election(state: DebateState) -> consensus.Election:
    """The round's votes, as far as they are in."""
    return consensus.election(state, standing(state), len(debaters(state.spec)))


def short_handed(state: DebateState) -> bool:
    """Whether too few are left to argue on. An agent that fails while voting costs a vote only."""
    return state.round > 0 and not measured(state) and len(present(state)) < FEWEST_AGENTS


def open_questions(state: DebateState, *, over: bool) -> list[QuestionId]:
    """What is open in the current phase; nothing when the next thing to happen needs no agent.

    A synthesis is not waited for when no more questions may be asked: the votes are counted without it.
    """
    if state.round == 0 or state.consensus is not None or short_handed(state):
        return []
    for phase in (_ballots, _syntheses) if measured(state) else (_proposals, _critiques, _revisions):
        if over and phase is _syntheses:
            continue
        if found := [question for question in phase(state) if state.open(question)]:
            return found
    return []


def choices(state: DebateState, question: QuestionId) -> tuple[str, ...]:
    """Whose answers a question is about, in the order in which the agent is shown them."""
    reader = question.agent
    match question.purpose:
        case Purpose.CRITIQUE:
            names = _uncriticised(state, reader)
        case Purpose.REVISE:
            names = [name for name in standing(state) if name != reader]
        case Purpose.VOTE:
            standing_for = candidates(state)
            names = list(dict.fromkeys(standing_for.values()))
            if len(names) >= SECRET_FROM:
                names = [name for name in names if name != standing_for.get(reader)]
        case Purpose.JUDGE | Purpose.SYNTHESIZE:
            names = list(dict.fromkeys(candidates(state).values()))
        case _:
            names = []
    return shuffled(state.spec, names, state.round, reader)


def measured(state: DebateState) -> bool:
    """Whether the answers of the round were compared; nothing is written any more then."""
    return bool(state.convergence) and state.convergence[-1].round == state.round


def last_round(state: DebateState) -> bool:
    """Whether there is none after it: by the rules, or because the answers have converged."""
    converged = measured(state) and state.convergence[-1].similarity >= convergence.CONVERGED
    return state.round >= state.spec.rounds or (state.spec.early_stop and converged)


def agreed(state: DebateState) -> bool:
    """Whether all agents in the round voted, all that could for the same answer, and that decides."""
    if not state.spec.early_stop:
        return False
    held = election(state)
    found = consensus.result(state, held)
    complete = {vote.agent for vote in held.votes} >= set(present(state))
    return complete and held.unanimous(found.choice) and found.reached


def decided(state: DebateState) -> bool:
    """Whether the verdict is next."""
    return last_round(state) or agreed(state)


def _proposals(state: DebateState) -> Iterator[QuestionId]:
    """From every agent without one: all at first, later those that made none before."""
    for name in present(state):
        if name not in state.answers:
            yield QuestionId(state.round, Purpose.PROPOSE, name)


def _critiques(state: DebateState) -> Iterator[QuestionId]:
    for name in present(state):
        if _uncriticised(state, name):
            yield QuestionId(state.round, Purpose.CRITIQUE, name)


def _uncriticised(state: DebateState, critic: str) -> list[str]:
    """Whose answers the critic has not criticised in this round, nor failed to where each was asked for alone."""
    ids = {name: QuestionId(state.round, Purpose.CRITIQUE, critic, name) for name in standing(state) if name != critic}
    return [name for name, one in ids.items() if one not in state.answered and state.errors.get(one, 0) < ATTEMPTS]


def _revisions(state: DebateState) -> Iterator[QuestionId]:
    for name in present(state):
        yield QuestionId(state.round, Purpose.REVISE, name)


def _ballots(state: DebateState) -> Iterator[QuestionId]:
    """Votes in the last round, with early stop in each; one judge at the end; none where there is nothing to choose."""
    mode = state.spec.consensus
    if mode == ConsensusMode.NONE or len(set(candidates(state).values())) < 2:
        return
    if mode != ConsensusMode.JUDGE:
        if last_round(state) or state.spec.early_stop:
            for name in present(state):
                yield QuestionId(state.round, Purpose.VOTE, name)
        return
    if last_round(state) and not any(vote.judge and vote.round == state.round for vote in state.votes):
        bench = [agent.name for agent in officers(state.spec, Office.JUDGE)]
        yield from _first(state, Purpose.JUDGE, [*bench, *present(state)])


def _syntheses(state: DebateState) -> Iterator[QuestionId]:
    """One, from the chairman; where there is none, or it fails, from a judge, then from a debater drawn by lot."""
    if not state.spec.synthesis or state.synthesis is not None or not decided(state):
        return
    bench = [agent.name for office in (Office.CHAIRMAN, Office.JUDGE) for agent in officers(state.spec, office)]
    drawn = shuffled(state.spec, present(state), "chairman", state.round)
    yield from _first(state, Purpose.SYNTHESIZE, [*bench, *drawn])


def _first(state: DebateState, purpose: Purpose, bench: list[str]) -> Iterator[QuestionId]:
    """The question to the first on the bench that has not failed at it."""
    questions = [QuestionId(state.round, purpose, name) for name in bench]
    yield from [question for question in questions if state.open(question)][:1]
