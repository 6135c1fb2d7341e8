"""The winner: ballots are counted, never interpreted.

An answer's share is what it got of what it could have got: of the ballots on which it stood, since voters do not vote
for their own. Answers that are alike count as one.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from aragora.debate.ballots import distinct, shuffled
from aragora.debate.spec import ConsensusMode, DebateSpec
from aragora.debate.state import DebateState, UserVote, Vote

SUPERMAJORITY = 2 / 3
# More than half; the others are reached by equality.
_MAJORITY = (ConsensusMode.MAJORITY, ConsensusMode.WEIGHTED, ConsensusMode.BORDA)
_THRESHOLDS = {
    ConsensusMode.MAJORITY: 0.5,
    ConsensusMode.WEIGHTED: 0.5,
    ConsensusMode.BORDA: 0.5,
    ConsensusMode.SUPERMAJORITY: SUPERMAJORITY,
    ConsensusMode.UNANIMOUS: 1.0,
}
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Election:
    """Which answers stand for election, whose they are, how many agents may vote, and what they voted.

    `alike` maps each author to the one that represents its answer; `votes` name, and were shown, only those.
    """

    spec: DebateSpec
    alike: Mapping[str, str]
    voters: int
    votes: tuple[Vote, ...]

    @property
    def choices(self) -> tuple[str, ...]:
        """The authors that represent an answer, in the order of the agents."""
        return tuple(dict.fromkeys(self.alike.values()))

    @property
    def by_judge(self) -> bool:
        """Whether one judge decides."""
        return self.spec.consensus == ConsensusMode.JUDGE

    def stood(self, choice: str) -> list[Vote]:
        """The votes that might have been for `choice`."""
        return [vote for vote in self.votes if not vote.shown or choice in vote.shown]

    def quorum(self, choice: str) -> int:
        """How many of those must have been cast for a decision: more than half of the electorate; one judge."""
        if self.by_judge:
            return 1
        excluded = any(vote.shown and choice not in vote.shown for vote in self.votes)
        return (self.voters - excluded) // 2 + 1

    def tally(self, choice: str) -> float:
        """What it got: votes; the sum of their confidences when weighted; points when ranked."""
        match self.spec.consensus:
            case ConsensusMode.WEIGHTED:
                return math.fsum(vote.confidence for vote in self.votes if vote.choice == choice)
            case ConsensusMode.BORDA:
                return math.fsum(self._points(vote, choice) for vote in self.stood(choice))
        return float(sum(vote.choice == choice for vote in self.votes))

    def share(self, choice: str) -> float:
        """What it got of what it could have got, 0 to 1."""
        stood = self.stood(choice)
        match self.spec.consensus:
            case ConsensusMode.WEIGHTED:
                most = math.fsum(vote.confidence for vote in stood)
            case ConsensusMode.BORDA:
                most = math.fsum(self._most_points(vote) for vote in stood)
            case _:
                most = float(len(stood))
        return self.tally(choice) / most if most else 0.0

    def unanimous(self, choice: str) -> bool:
        """Whether every agent that could vote for it did."""
        return bool(stood := self.stood(choice)) and all(vote.choice == choice for vote in stood)

    def _most_points(self, vote: Vote) -> float:
        return max(1.0, len(vote.shown or self.choices) - 1.0)

    def _points(self, vote: Vote, choice: str) -> float:
        """Borda's: one for each answer ranked below. Those that were not ranked share what is left evenly."""
        shown, ranking = vote.shown or self.choices, vote.ranking or (vote.choice,)
        if choice in ranking:
            return self._most_points(vote) - ranking.index(choice)
        return (len(shown) - len(ranking) - 1) / 2


@dataclass(frozen=True, slots=True)
class Result:
    """`share` is the choice's part of what it could have got, 0 to 1.

    `tied` when another one got as much; then `tie_break` says by what rule this one comes first.
    """

    reached: bool
    choice: str
    share: float
    confidence: float
    tied: bool
    tie_break: str | None


def threshold(spec: DebateSpec) -> float:
    """The share of the votes that decides; the judge's confidence when a judge does."""
    if spec.threshold is not None:
        return spec.threshold
    return _THRESHOLDS.get(spec.consensus, 0.0)


def election(state: DebateState, choices: Sequence[str], voters: int) -> Election:
    """This round's votes; of several by one agent the last counts, and none for an answer that does not stand."""
    by_judge = state.spec.consensus == ConsensusMode.JUDGE
    alike = distinct({name: state.answers[name] for name in choices})
    cast = {
        vote.agent: _merged(vote, alike)
        for vote in state.votes
        if vote.round == state.round and vote.choice in choices and vote.judge == by_judge
    }
    in_order = [cast[agent.name] for agent in state.spec.agents if agent.name in cast]
    return Election(state.spec, alike, voters, tuple(in_order))


def _merged(vote: Vote, alike: Mapping[str, str]) -> Vote:
    """The vote in terms of the authors that represent an answer."""
    return replace(
        vote,
        choice=alike[vote.choice],
        shown=tuple(dict.fromkeys(alike[name] for name in vote.shown if name in alike)),
        ranking=tuple(dict.fromkeys(alike[name] for name in vote.ranking if name in alike)),
    )


def result(state: DebateState, held: Election) -> Result:
    """The outcome. The rules by which one is ahead: votes, the supporters' confidence, the mildest criticism, the lot.

    A tie that only the lot resolves decides nothing.
    """
    if len(held.choices) == 1 and held.spec.consensus != ConsensusMode.NONE:
        share = round(len(held.alike) / held.voters, 4)
        return Result(share > 1 / 2, held.choices[0], share, share, tied=False, tie_break=None)
    lot = shuffled(held.spec, held.choices, "lot", state.round)
    tally = {choice: held.tally(choice) for choice in held.choices}
    sureness = {choice: _sureness(held, choice) for choice in held.choices}
    mildness = {choice: -severity for choice, severity in _severities(state, held.choices).items()}
    best = max(lot, key=lambda choice: (tally[choice], sureness[choice], mildness[choice], -lot.index(choice)))
    rivals = [choice for choice in lot if choice != best and math.isclose(tally[choice], tally[best])]
    tie_break = _tie_break(best, rivals, {"confidence": sureness, "criticism": mildness})
    share = held.share(best)
    supporters = [vote for vote in held.votes if vote.choice == best] or held.stood(best)
    sure = math.fsum(vote.confidence for vote in supporters) / max(1, len(supporters))
    reached = (
        held.spec.consensus != ConsensusMode.NONE
        and len(held.stood(best)) >= held.quorum(best)
        and share > 0
        and tie_break != "lot"
        and _enough(held.spec, share * sure if held.by_judge else share)
    )
    return Result(reached, best, round(share, 4), round(share * sure, 4), bool(rivals), tie_break)


def _sureness(held: Election, choice: str) -> float:
    """The confidence of all agents that ranked it first, together."""
    return math.fsum(vote.confidence for vote in held.votes if vote.choice == choice)


def _tie_break(best: str, rivals: Sequence[str], rules: Mapping[str, Mapping[str, float]]) -> str | None:
    """The first rule by which the best one is ahead of each rival that is as far by the rules before."""
    left = list(rivals)
    used = None
    for name, values in rules.items():
        if left and any(not math.isclose(values[rival], values[best], abs_tol=_ROUNDING) for rival in left):
            left = [rival for rival in left if math.isclose(values[rival], values[best], abs_tol=_ROUNDING)]
            used = name
    return "lot" if left else used


def user_tally(votes: Sequence[UserVote], choices: Sequence[str]) -> dict[str, int]:
    """The people's votes: the last vote under each name, and every vote without a name."""
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
