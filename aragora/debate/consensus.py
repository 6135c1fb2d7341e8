"""Who won: votes are counted, never interpreted."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aragora.debate.spec import ConsensusMode, DebateSpec
from aragora.debate.state import DebateState, UserVote, Vote

SUPERMAJORITY = 2 / 3
# More than half; the others are reached by equality.
_MAJORITY: tuple[ConsensusMode, ...] = (ConsensusMode.MAJORITY, ConsensusMode.WEIGHTED)
_THRESHOLDS = {
    ConsensusMode.MAJORITY: 0.5,
    ConsensusMode.WEIGHTED: 0.5,
    ConsensusMode.SUPERMAJORITY: SUPERMAJORITY,
    ConsensusMode.UNANIMOUS: 1.0,
}
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Election:
    """Whose answers stand for election, how many agents may vote, and what they voted."""

    spec: DebateSpec
    choices: tuple[str, ...]
    voters: int
    votes: tuple[Vote, ...]

    @property
    def quorum(self) -> int:
        """Votes that must be cast for a decision: more than half of all agents, left out or not; one judge."""
        return 1 if self.spec.consensus == ConsensusMode.JUDGE else self.voters // 2 + 1

    @property
    def tally(self) -> dict[str, float]:
        """What each answer got: votes, or the sum of their confidences when weighted."""
        weights = dict.fromkeys(self.choices, 0.0)
        for vote in self.votes:
            weights[vote.choice] += vote.confidence if self.spec.consensus == ConsensusMode.WEIGHTED else 1.0
        return weights

    @property
    def unanimous(self) -> bool:
        """Whether everybody who voted chose the same."""
        return len({vote.choice for vote in self.votes}) == 1


@dataclass(frozen=True, slots=True)
class Result:
    """`share` is the choice's part of the votes, 0 to 1; `tied` when another one has as many."""

    reached: bool
    choice: str
    share: float
    confidence: float
    tied: bool


def threshold(spec: DebateSpec) -> float:
    """The share of the votes that decides; the judge's confidence when a judge does."""
    if spec.threshold is not None:
        return spec.threshold
    return _THRESHOLDS.get(spec.consensus, 0.0)


def election(state: DebateState, choices: Sequence[str], voters: int) -> Election:
    """This round's votes; of several by one agent the last counts, and none for an answer that does not stand."""
    cast = {
        vote.agent: vote
        for vote in state.votes
        if vote.round == state.round
        and vote.choice in choices
        and vote.judge == (state.spec.consensus == ConsensusMode.JUDGE)
    }
    return Election(state.spec, tuple(choices), voters, tuple(cast.values()))


def result(state: DebateState, held: Election) -> Result:
    """The outcome. Without a decision it names the answer that is ahead: by votes, then by the supporters'
    confidence, then by the mildest criticism, then by the order of the agents."""
    tally = held.tally
    supporters = {choice: [vote for vote in held.votes if vote.choice == choice] for choice in held.choices}
    sureness = {choice: math.fsum(vote.confidence for vote in votes) for choice, votes in supporters.items()}
    severities = _severities(state, held.choices)
    best = max(
        held.choices,
        key=lambda choice: (tally[choice], sureness[choice], -severities[choice], -held.choices.index(choice)),
    )
    total = math.fsum(tally.values())
    share = tally[best] / total if total else 0.0
    tied = sum(math.isclose(weight, tally[best]) for weight in tally.values()) > 1
    sure = sureness[best] / len(supporters[best]) if supporters[best] else 0.0
    decided = share * sure if held.spec.consensus == ConsensusMode.JUDGE else share
    reached = (
        held.spec.consensus != ConsensusMode.NONE
        and len(held.votes) >= held.quorum
        and share > 0
        and not tied
        and _enough(held.spec, decided)
    )
    return Result(reached, best, round(share, 4), round(share * sure, 4), tied)


def outcome(state: DebateState, held: Election, *, cut_short: bool = False) -> dict[str, Any]:
    """The data of the consensus event. What people voted is reported beside the agents' votes, never among them."""
    found = result(state, held)
    nobody = held.spec.consensus == ConsensusMode.NONE
    data: dict[str, Any] = {
        "reached": found.reached and not cut_short,
        "confidence": 0.0 if nobody else found.confidence,
        "answer": _side_by_side(state, held.choices) if nobody else state.answers[found.choice],
        "method": str(held.spec.consensus),
        "choice": None if nobody else found.choice,
        "share": found.share,
        "threshold": round(threshold(held.spec), 4),
        "tied": bool(held.votes) and found.tied,
        "votes": {} if nobody else {choice: round(weight, 3) for choice, weight in held.tally.items()},
        "quorum": {"needed": 0 if nobody else held.quorum, "cast": len(held.votes)},
        "user_votes": user_tally(state.user_votes, held.choices),
    }
    if cut_short:
        data["cut_short"] = True
    return data


def user_tally(votes: Sequence[UserVote], choices: Sequence[str]) -> dict[str, int]:
    """What people voted: the last vote of everybody who gave a name, every vote of the others."""
    named = {vote.user: vote.choice for vote in votes if vote.user is not None}
    counted = Counter([*named.values(), *(vote.choice for vote in votes if vote.user is None)])
    return {choice: counted[choice] for choice in choices if counted[choice]}


def _enough(spec: DebateSpec, share: float) -> bool:
    if spec.threshold is None and spec.consensus in _MAJORITY:
        return share > threshold(spec) + _ROUNDING
    return share >= threshold(spec) - _ROUNDING


def _severities(state: DebateState, choices: Sequence[str]) -> dict[str, float]:
    """How severe the criticism of each answer was; where that is unknown, as severe as usual."""
    said = {
        choice: [item.severity for item in state.critiques_of(choice, state.round) if item.severity is not None]
        for choice in choices
    }
    means = {choice: math.fsum(found) / len(found) for choice, found in said.items() if found}
    usual = math.fsum(means.values()) / len(means) if means else 0.0
    return {choice: means.get(choice, usual) for choice in choices}


def _side_by_side(state: DebateState, choices: Sequence[str]) -> str:
    return "\n\n".join(f"{choice}:\n{state.answers[choice]}" for choice in choices)
