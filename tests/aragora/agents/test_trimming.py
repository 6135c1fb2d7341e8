"""Prompts that are made to fit, and say what they leave out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aragora.agents import trimming
from aragora.debate.questions import Kind, Passage, Purpose, Question
from aragora.debate.spec import AgentSpec

SIZES = {Kind.QUESTION: 100, Kind.CONTEXT: 4000, Kind.ANSWER: 1500, Kind.CRITIQUE: 900, Kind.SUGGESTION: 200}


def passage(kind: Kind, number: int, size: int) -> Passage:
    return Passage(kind, (f"{kind.value} {number} " + "word " * size)[:size].rstrip(), "somebody")


def question(*passages: Passage) -> Question:
    opening = [f"<<{item.text}>>\n" for item in passages if item.kind in (Kind.QUESTION, Kind.CONTEXT)]
    rest = [f"<<{item.text}>>\n" for item in passages if item.kind not in (Kind.QUESTION, Kind.CONTEXT)]
    return Question(
        AgentSpec("a", "openai"),
        Purpose.REVISE,
        1,
        1,
        "The rules.",
        "".join(rest) + "The task.",
        passages=passages,
        opening="".join(opening),
    )


FULL = question(
    passage(Kind.QUESTION, 1, 100),
    passage(Kind.CONTEXT, 1, 4000),
    passage(Kind.ANSWER, 1, 1500),
    passage(Kind.ANSWER, 2, 700),
    passage(Kind.CRITIQUE, 1, 900),
    passage(Kind.CRITIQUE, 2, 600),
    passage(Kind.SUGGESTION, 1, 200),
)
WHOLE = trimming.size(FULL, len)


def shown(kind: Kind, cut: Question) -> list[int]:
    return [len(item.text) for item in cut.passages if item.kind is kind]


def test_what_fits_stays_whole() -> None:
    assert trimming.trimmed(FULL, len, WHOLE) == (FULL, ())


def test_critiques_are_shortened_first_and_evenly() -> None:
    cut, omitted = trimming.trimmed(FULL, len, WHOLE - 400)
    assert shown(Kind.CONTEXT, cut) == shown(Kind.CONTEXT, FULL)
    assert shown(Kind.ANSWER, cut) == shown(Kind.ANSWER, FULL)
    assert all(240 <= length <= 560 for length in shown(Kind.CRITIQUE, cut))
    assert omitted[0].startswith("critiques beyond")
    assert len(omitted) == 1


def test_then_they_are_left_out_and_the_context_is_cut() -> None:
    cut, omitted = trimming.trimmed(FULL, len, WHOLE - 3000)
    assert shown(Kind.CRITIQUE, cut) == [3, 3]
    assert 1000 < shown(Kind.CONTEXT, cut)[0] < 3000
    assert shown(Kind.ANSWER, cut) == shown(Kind.ANSWER, FULL)
    assert omitted[0] == "critiques (1500 characters)"
    assert omitted[1] == "people's suggestions (200 characters)"
    assert omitted[2].startswith("the context beyond ")


def test_answers_are_cut_last_and_the_longest_most() -> None:
    cut, omitted = trimming.trimmed(FULL, len, 1600)
    assert shown(Kind.CONTEXT, cut) == [3]
    first, second = shown(Kind.ANSWER, cut)
    assert abs(first - second) < 50
    assert first >= 400
    assert omitted[-1].startswith("answers beyond")


def test_the_question_and_the_task_stay_whole() -> None:
    cut, _ = trimming.trimmed(FULL, len, 10)
    assert FULL.passages[0].text in cut.opening
    assert cut.prompt.endswith("The task.")
    assert cut.system == FULL.system


@given(
    st.lists(st.tuples(st.sampled_from(list(SIZES)), st.integers(0, 900)), max_size=8),
    st.integers(0, 4000),
)
def test_the_prompt_shows_exactly_the_passages(parts: list[tuple[Kind, int]], budget: int) -> None:
    passages = [passage(kind, number, size) for number, (kind, size) in enumerate(parts)]
    passages.sort(key=lambda item: item.kind not in (Kind.QUESTION, Kind.CONTEXT))
    cut, omitted = trimming.trimmed(question(*passages), len, budget)
    assert cut == question(*cut.passages)
    assert bool(omitted) == (cut.passages != tuple(passages))


@pytest.mark.parametrize("budget", [0, 300, 1000, 3000])
def test_as_much_as_fits_is_kept(budget: int) -> None:
    cut, _ = trimming.trimmed(FULL, len, budget)
    assert trimming.size(cut, len) <= max(budget, 1100)
    if 1600 < budget < WHOLE:
        assert trimming.size(cut, len) > budget - 60
