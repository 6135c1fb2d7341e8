"""Biases of voters: where an answer stands, and whose it is, must not decide."""

from collections import Counter

import pytest

from aragora.debate import ballots
from aragora.debate.events import EventType
from aragora.debate.questions import Purpose, Question, Reply
from tests.aragora.debate.simulation import Answer, decision, of, run, spec, vote, well

SECRETS = [f"secret {number}" for number in range(120)]


def biased(bias: str) -> Answer:
    """Voters that look at nothing but where an answer stands, or whether it is their own."""

    def answer(question: Question) -> Reply:
        if question.purpose is not Purpose.VOTE:
            return well(question)
        own = question.agent.name
        chosen = {"first": question.choices[0], "last": question.choices[-1]}.get(bias, question.choices[0])
        return vote(question, own if bias == "selfish" and own in question.choices else chosen)

    return answer


@pytest.mark.parametrize("bias", ["first", "last", "selfish"])
@pytest.mark.parametrize("agents", [2, 3, 4])
def test_a_bias_of_the_voters_favours_no_agent(bias: str, agents: int) -> None:
    logs = [run(spec(agents, rounds=1, secret=secret), biased(bias)) for secret in SECRETS]
    ahead = Counter(decision(log)["choice"] for log in logs)
    assert set(ahead) == {f"agent-{number}" for number in range(1, agents + 1)}
    assert max(ahead.values()) < 2 * len(SECRETS) / agents
    if agents > 2:
        assert not any(event.agent == event.data["choice"] for log in logs for event in of(log, EventType.VOTE))
    # With two agents that vote for themselves there is a tie, which is said; otherwise chance decides many a debate.
    decided = sum(decision(log)["reached"] for log in logs)
    assert (decided == 0) == (bias == "selfish" and agents == 2)
    for log in logs:
        assert decision(log)["tied"] == ("tie_break" in decision(log))


def test_an_order_is_the_readers_own_and_stays() -> None:
    rules, names = spec(secret="x"), ("a", "b", "c", "d")
    orders = {reader: ballots.shuffled(rules, names, 1, reader) for reader in "pqrstuvwxyz"}
    assert all(sorted(order) == sorted(names) for order in orders.values())
    assert len(set(orders.values())) > 5
    assert orders["p"] == ballots.shuffled(rules, reversed(names), 1, "p")
    assert orders != {reader: ballots.shuffled(spec(secret="y"), names, 1, reader) for reader in "pqrstuvwxyz"}


def test_a_debate_without_a_secret_has_an_order_too() -> None:
    assert ballots.shuffled(spec(), ("a", "b"), 1, "p") == ballots.shuffled(spec(), ("b", "a"), 1, "p")


def test_answers_with_the_same_words_are_one() -> None:
    answers = {"a": "Yes, begin!", "b": "yes begin", "c": "Begin? Yes.", "d": "!!", "e": "??", "f": "!!"}
    assert ballots.distinct(answers) == {"a": "a", "b": "a", "c": "c", "d": "d", "e": "e", "f": "d"}


def test_letters_get_their_names_and_only_where_they_are_letters() -> None:
    assert ballots.named("Answer B beats option A, a plan.", ("x", "y")) == "Answer B (y) beats option A (x), a plan."
    assert ballots.named("Answer C is not there; an answer a reader needs.", ("x", "y")) == (
        "Answer C is not there; an answer a reader needs."
    )
