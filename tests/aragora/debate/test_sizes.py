"""How many questions a debate asks, and how long its prompts are."""

import json
from collections import Counter

import pytest

from aragora.debate import ballots, passages
from aragora.debate.questions import Purpose, Question, Reply
from tests.aragora.debate.simulation import run, spec, vote, well


def asked(longest: int = 0, **rules: object) -> list[Question]:
    """Every question of a debate whose answers have `longest` characters and never agree."""
    found = []

    def answer(question: Question) -> Reply:
        found.append(question)
        own = question.agent.name
        match question.purpose:
            case Purpose.PROPOSE | Purpose.REVISE if longest:
                return Reply(f"{own} " * (longest // (len(own) + 1)))
            case Purpose.CRITIQUE if longest:
                said = {
                    "issues": ["i" * 400] * 5,
                    "suggestions": ["s" * 400] * 5,
                    "severity": 4,
                    "reasoning": "r" * 300,
                }
                letters = ballots.labelled(question.choices).values()
                return Reply(json.dumps({"critiques": [{"answer": letter} | said for letter in letters]}))
            case Purpose.VOTE:
                later = min((name for name in question.choices if name > own), default=min(question.choices))
                return vote(question, later)
        return well(question)

    run(spec(**rules), answer)
    return found


@pytest.mark.parametrize(("agents", "first", "later"), [(2, 8, 6), (3, 12, 9), (10, 40, 30)])
def test_a_round_asks_each_agent_once_for_everything(agents: int, first: int, later: int) -> None:
    found = Counter(question.round for question in asked(2000, count=agents, rounds=3, secret="s"))
    assert found[1] == first
    assert {found[2], found[3]} == {later}


def test_a_prompt_stays_within_its_bounds() -> None:
    """Ten agents, answers of the greatest length, a full context."""
    for question in asked(12_000, count=10, rounds=1, context="c" * 10_000):
        said = [passage.text for passage in question.passages if passage.kind.value not in ("question", "context")]
        assert sum(map(len, said)) <= max(passages.BUDGET, passages.SHORTEST * len(said))
        assert len(question.prompt) < passages.BUDGET + 20_000


def test_an_ordinary_prompt_is_short() -> None:
    sizes = Counter()
    for question in asked(2400, rounds=1):
        sizes[question.purpose] = max(
            sizes[question.purpose], len(question.system + question.opening + question.prompt)
        )
    assert sizes[Purpose.PROPOSE] < 1_400
    assert sizes[Purpose.CRITIQUE] < 7_500
    assert max(sizes.values()) < 30_000
