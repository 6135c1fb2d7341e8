"""What a debate came to, as its `consensus` event says it: whose answer, by which votes, and what it lacks."""

from collections.abc import Sequence
from typing import Any

from aragora.debate import consensus
from aragora.debate.consensus import Election
from aragora.debate.passages import clean
from aragora.debate.questions import Purpose
from aragora.debate.spec import ConsensusMode
from aragora.debate.state import DebateState, Failed, QuestionId, Vote

LONGEST_REASON = 1000  # characters; the vote's own event has all

Data = dict[str, Any]


def verdict(
    state: DebateState,
    held: Election,
    debaters: Sequence[str],
    *,
    stopped_early: str | None = None,
    cut_short: bool = False,
) -> Data:
    """The data of the consensus event. What people voted is reported beside the agents' votes, never among them."""
    found = consensus.result(state, held)
    open_ended = held.spec.consensus == ConsensusMode.NONE
    stood = held.stood(found.choice)
    one_answer = len(held.choices) == 1
    data: Data = {
        "reached": found.reached and not cut_short,
        "confidence": 0.0 if open_ended else found.confidence,
        "answer": _side_by_side(state, held.choices) if open_ended else state.answers[found.choice],
        "method": str(held.spec.consensus),
        "choice": None if open_ended else found.choice,
        "share": found.share,
        "threshold": round(consensus.threshold(held.spec), 4),
        "tied": bool(held.votes) and found.tied,
        "votes": {} if open_ended else {choice: round(held.tally(choice), 3) for choice in held.choices},
        "quorum": {
            "needed": 0 if open_ended or one_answer else held.quorum(found.choice),
            "cast": len(stood),
        },
        "support": _support(held, found.choice),
        "reasons": [] if open_ended else [_reason(vote) for vote in held.votes if vote.choice == found.choice],
        "dissent": [] if open_ended else [_reason(vote) for vote in held.votes if vote.choice != found.choice],
        "user_votes": consensus.user_tally(state.user_votes, list(held.alike)),
    }
    if found.tie_break is not None and not open_ended:
        data["tie_break"] = found.tie_break
    if alike := _alike(held):
        data["alike"] = alike
    if state.synthesis is not None:
        data["synthesis"] = state.synthesis
    if stopped_early is not None:
        data["stopped_early"] = stopped_early
    if lacking := _lacking(state, held, debaters):
        missing = {item["agent"] for item in lacking}
        data["degraded"] = lacking
        data["took_part"] = {"agents": sum(name not in missing for name in debaters), "of": len(debaters)}
    if cut_short:
        data["cut_short"] = True
    return data


def _support(held: Election, choice: str) -> Data:
    """How many votes the choice got of how many it could have got; where there is one answer only, how many gave it."""
    if len(held.choices) == 1:
        return {"votes": len(held.alike), "of": held.voters}
    stood = held.stood(choice)
    return {"votes": sum(vote.choice == choice for vote in stood), "of": len(stood)}


def _reason(vote: Vote) -> Data:
    data: Data = {
        "agent": vote.agent,
        "choice": vote.choice,
        "confidence": vote.confidence,
        "reasoning": clean(vote.reasoning, LONGEST_REASON),
        "shown": list(vote.shown),
    }
    return data | {"judge": True} if vote.judge else data


def _alike(held: Election) -> dict[str, list[str]]:
    """Which authors gave the same answer, by the one that represents it."""
    groups = {choice: [name for name, standing in held.alike.items() if standing == choice] for choice in held.choices}
    return {choice: names for choice, names in groups.items() if len(names) > 1}


def _lacking(state: DebateState, held: Election, debaters: Sequence[str]) -> list[Data]:
    """What is missing for a result of all agents: answers, the last round's failed questions, answers cut off."""
    found = [
        _failure(question, failed)
        for question, failed in state.failures.items()
        if failed.given_up and question not in state.answered and _matters(state, question)
    ]
    found += [
        {
            "agent": name,
            "purpose": Purpose.REVISE.value,
            "kind": "cut",
            "message": f"the answer was cut: {state.cut[name]}",
        }
        for name in held.alike
        if name in state.cut
    ]
    said = {item["agent"] for item in found}
    found += [
        {"agent": name, "purpose": Purpose.PROPOSE.value, "kind": "missing", "message": "it gave no answer"}
        for name in debaters
        if name not in state.answers and name not in said
    ]
    order = [agent.name for agent in state.spec.agents]
    return sorted(found, key=lambda item: (order.index(item["agent"]), item["purpose"]))


def _matters(state: DebateState, question: QuestionId) -> bool:
    """Whether the failure still shows in the result: those of earlier rounds do where no answer came since."""
    return question.round == state.round or (
        question.purpose is Purpose.PROPOSE and question.agent not in state.answers
    )


def _failure(question: QuestionId, failed: Failed) -> Data:
    return {
        "agent": question.agent,
        "purpose": question.purpose.value,
        "kind": failed.kind,
        "message": failed.message,
    }


def _side_by_side(state: DebateState, choices: Sequence[str]) -> str:
    return "\n\n".join(f"{choice}:\n{state.answers[choice]}" for choice in choices)
