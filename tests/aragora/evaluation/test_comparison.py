"""The same questions by four methods; the models are scripted and know what they are asked."""

import json
from collections.abc import Callable

import pytest

from aragora.agents import AgentFailed
from aragora.agents.metering import Meter
from aragora.agents.prices import Price, Prices
from aragora.debate.ballots import labelled
from aragora.debate.questions import Kind, Purpose, Question, Reply
from aragora.debate.spec import AgentSpec, DebateSpec
from aragora.debate.usage import Usage
from aragora.evaluation import Case, Evaluator, Method, Report

CASE = Case("How much is 6 times 7?", ("42",))
FREE, PRICED = Price(0, 0, 0, 0), Price(1.0, 1.0, 1.0, 1.0)
Says = Callable[[Question], str]


class Scripted:
    def __init__(self, says: Says, usage: Usage | None) -> None:
        self._says = says
        self._usage = usage

    def ask(self, question, on_token, deadline, on_wait=None) -> Reply:
        text = self._says(question)
        if text == "fails":
            raise AgentFailed("timeout", "no answer in time", usage=self._usage)
        if text == "cannot":
            raise AgentFailed("auth", "the key is not known", final=True)
        return Reply(text, usage=self._usage)


def debating(first: dict[str, str], revised: str) -> Says:
    """Whoever debates: proposals by name, one revision for all, votes for the first answer that is right."""

    def says(question: Question) -> str:
        match question.purpose:
            case Purpose.PROPOSE:
                return f"So.\nAnswer: {first[question.agent.name]}"
            case Purpose.REVISE:
                return f"{question.agent.name} thinks again.\nAnswer: {revised}"
            case Purpose.CRITIQUE:
                letters = labelled(question.choices).values()
                item = {"issues": ["wrong"], "suggestions": [], "severity": 5, "reasoning": "r"}
                return json.dumps({"critiques": [{"answer": letter} | item for letter in letters]})
        right = [passage.label for passage in question.passages if passage.kind is Kind.ANSWER and "42" in passage.text]
        return json.dumps({"choice": (right or ["A"])[0], "confidence": 0.9, "reasoning": "r"})

    return says


def compare(debate: Says, alone: Says, *, usage: Usage | None = None, price: Price = FREE, samples: int | None = None):
    agents = tuple(AgentSpec(f"agent-{number}", "openai") for number in (1, 2, 3))
    meter = Meter(Prices({"openai": {"*": price}}), {})

    def build(spec: AgentSpec) -> Scripted:
        return Scripted(alone if spec.name == "alone" else debate, usage)

    rules = DebateSpec("…", agents, rounds=1)
    return Evaluator(build, meter, rules, AgentSpec("alone", "openai"), samples).compare(CASE)


def in_turn(*texts: str) -> Says:
    given = iter([*texts, *[texts[-1]] * 100])
    return lambda question: next(given)


WRONG_AT_FIRST = {"agent-1": "42", "agent-2": "41", "agent-3": "41"}


def test_each_method_is_judged_by_its_own_short_answer():
    alone = in_turn("Answer: 41", "Answer: 42.0", "Answer: 42", "I do not know.")
    found = compare(debating(WRONG_AT_FIRST, "42"), alone, samples=4).outcomes
    assert {method: (one.given, one.right) for method, one in found.items()} == {
        Method.ALONE: ("41", False),
        Method.MAJORITY: ("42.0", True),
        Method.FIRST: ("41", False),
        Method.DEBATE: ("42", True),
    }
    assert {method: one.spent.questions for method, one in found.items()} == {
        Method.ALONE: 1,
        Method.MAJORITY: 4,
        Method.FIRST: 3,
        Method.DEBATE: 12,
    }


@pytest.mark.parametrize(
    ("usage", "price"),
    [(Usage(90, 10), PRICED), (Usage(90, 10), FREE), (None, PRICED)],
    ids=["money", "tokens", "guessed"],
)
def test_the_one_model_is_asked_for_the_price_of_the_debate(usage, price):
    found = compare(debating(WRONG_AT_FIRST, "42"), in_turn("Answer: 42"), usage=usage, price=price).outcomes
    debate, many = found[Method.DEBATE].spent, found[Method.MAJORITY].spent
    each = many.measure(debate) / many.questions
    assert many.questions > 1
    assert many.measure(debate) <= debate.measure(debate) < many.measure(debate) + each + 1e-9 or many.questions == 64
    if usage is not None:
        assert many.questions == debate.questions == 12


def test_a_model_that_gives_no_short_answer_is_wrong():
    found = compare(debating(WRONG_AT_FIRST, "none of these"), in_turn("Hm."), samples=2).outcomes
    assert (found[Method.ALONE].given, found[Method.MAJORITY].right) == (None, False)


def test_failures_are_wrong_answers_that_say_why():
    found = compare(lambda question: "fails", in_turn("fails"), samples=2).outcomes
    assert [one.right for one in found.values()] == [False] * 4
    assert found[Method.MAJORITY].failed == "no answer in time"
    assert "no answer in time" in (found[Method.DEBATE].failed or "")


def test_what_cannot_be_asked_at_all_stops_everything():
    with pytest.raises(AgentFailed, match="not known"):
        compare(debating(WRONG_AT_FIRST, "42"), in_turn("cannot"))


def test_the_report_says_how_little_one_question_tells():
    found = compare(debating(WRONG_AT_FIRST, "42"), in_turn("Answer: 41"), samples=1)
    lines = list(Report([found] * 2).lines())
    assert lines[0].split()[:3] == ["method", "right", "accuracy"]
    assert lines[4].startswith("debate ")
    assert "2/2" in lines[4]
    assert "debate less one model, once: +100%" in lines[6]
    assert "too few questions to tell" in lines[6]
    told = Report([found] * 10).to_json()
    assert told["debate_against"]["alone"]["chance"] < 0.05
    assert told["methods"]["debate"]["accuracy"] == 1.0
    assert told["answers"][0]["alone"] == {"given": "41", "right": False, "asked": 1}
