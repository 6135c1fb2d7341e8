"""How the demo reads a question."""

import pytest

from aragora.agents.demo.persona import Stance, character, concerns, read


@pytest.mark.parametrize(
    ("question", "claim"),
    [
        ("Should we adopt event sourcing?", "Yes: adopt event sourcing."),
        ("Is it time to leave the monolith?", "Yes: time to leave the monolith."),
        ("PostgreSQL or MySQL for billing?", "Take “PostgreSQL”."),
        ("Our page is slow. How do we reduce latency?", "Begin with “reduce latency” and decide it as a whole."),
        ("我们应该采用事件溯源吗", "Begin with “我们应该采用事件溯源吗” and decide it as a whole."),
    ],
)
def test_a_claim_is_made_of_the_questions_own_words(question, claim):
    assert read(question).claim(Stance.FOR) == claim


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Should we use PostgreSQL or MySQL for the billing service?", ("PostgreSQL", "MySQL")),
        ("Tabs or spaces?", ("Tabs", "spaces")),
        ("Should we or should we not?", None),
        ("What is an oracle for?", None),
    ],
)
def test_alternatives_are_found(question, options):
    assert read(question).options == options


@pytest.mark.parametrize("question", ["", "?", "... !!", "the of and", "\u202e\ufeff", "x" * 2000, "or " * 600])
def test_anything_is_a_topic(question):
    topic = read(question)
    assert topic.keys
    assert all(len(topic.claim(stance)) < 600 for stance in Stance)


def test_the_three_claims_can_be_told_apart():
    for question in ("Should we go?", "Tea or coffee?", "How do we go on with this?"):
        topic = read(question)
        for stance in Stance:
            assert topic.stance(f"{topic.claim(stance)} And more.") is stance
        assert topic.stance("Something else.") is None


def test_a_concern_that_was_taken_in_is_found_again():
    topic = read("Should we adopt event sourcing?")
    concern = character("demo-2", topic).concern
    assert concerns(topic, f"First. {concern} Last.") == [concern]
    assert concerns(topic, "Nothing of the kind.") == []
