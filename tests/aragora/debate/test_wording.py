import pytest

from aragora.debate import wording

VERDICT = {
    "reached": True,
    "choice": "b",
    "method": "majority",
    "support": {"votes": 2, "of": 3},
    "votes": {"a": 1.0, "b": 2.0},
    "tied": False,
    "alike": None,
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "b's answer, by 2 of 3 votes"),
        ({"reached": False}, "b's answer, by 2 of 3 votes, which decides nothing"),
        ({"method": "judge", "support": {"votes": 1, "of": 1}}, "b's answer, chosen by the judge"),
        (
            {"method": "judge", "support": {"votes": 0, "of": 0}, "reached": False},
            "b's answer, not chosen by any judge, which decides nothing",
        ),
        ({"method": "borda"}, "b's answer, ranked first by 2 of 3"),
        ({"alike": {"b": ["b", "c"]}}, "the answer of b, c, by 2 of 3 votes"),
        ({"alike": {"b": ["b", "c"]}, "votes": {"b": 0.0}}, "the answer of b, c, given by 2 of 3"),
        ({"choice": None, "method": "none"}, "all answers stand side by side"),
        ({"choice": None, "method": None}, "an answer"),
        ({"support": None}, "b's answer"),
        (
            {"took_part": {"agents": 2, "of": 3}},
            "b's answer, by 2 of 3 votes; 2 of 3 agents took part in full",
        ),
    ],
)
def test_the_headline_says_whose_answer_and_by_how_many_votes(changes, words):
    assert wording.headline(VERDICT | changes) == words


def test_only_what_there_is_to_say_is_said():
    assert wording.details(VERDICT) == []


def test_votes_name_the_authors_behind_their_letters():
    vote = {
        "agent": "a",
        "choice": "b",
        "confidence": 0.75,
        "reasoning": "Answer B beats answer A.",
        "shown": ["c", "b"],
    }
    (found,) = wording.details(VERDICT | {"reasons": [vote]})
    assert found == ("Reasons", "a (75% sure): Answer B (b) beats answer A (c).")
    (found,) = wording.details(VERDICT | {"dissent": [vote | {"judge": True, "reasoning": ""}]})
    assert found == ("Dissent", "a, the judge for b (75% sure): no reason given")


def test_what_is_lacking_is_named():
    lacks = [
        {"agent": "c", "purpose": "propose", "kind": "auth", "message": "the key is not known"},
        {"agent": "b", "purpose": "revise", "kind": "cut", "message": "the answer was cut: length"},
        {"agent": "a", "purpose": "vote", "kind": "timeout", "message": ""},
    ]
    assert wording.degraded({"degraded": lacks}) == (
        "c failed at proposing: the key is not known; b's answer is not whole: the answer was cut: length; "
        "a failed at voting"
    )


def test_a_budget_is_told_in_words():
    assert wording.budget({"money": 0.5, "tokens": 200_000, "questions": 40}) == (
        "at most 0.50 $, 200,000 tokens, 40 questions"
    )
    assert wording.budget({"money": None, "tokens": None, "questions": None}) == ""
