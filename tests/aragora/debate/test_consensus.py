import pytest

from aragora.debate import consensus
from aragora.debate.state import Critique, DebateState, UserVote, Vote
from tests.aragora.debate.simulation import spec

NAMES = ("agent-1", "agent-2", "agent-3", "agent-4")


def outcome(
    mode: str, votes: str, confidences: tuple[float, ...] = (), threshold: float | None = None, **changes
) -> dict:
    """`votes`: whom agent-1, agent-2 ... voted for, by number; "-" for no vote."""
    rules = spec(len(votes), consensus=mode, threshold=threshold)
    state = DebateState(rules, round=1)
    names = NAMES[: len(votes)]
    state.answers = {name: f"answer of {name}" for name in names}
    for index, number in enumerate(votes):
        if number != "-":
            sure = confidences[index] if confidences else 0.8
            state.votes.append(Vote(1, names[index], f"agent-{number}", sure, "", judge=mode == "judge"))
    state.critiques = changes.get("critiques", [])
    held = consensus.election(state, names, len(names))
    return consensus.outcome(state, held)


@pytest.mark.parametrize(
    ("mode", "votes", "threshold", "reached"),
    [
        ("majority", "112", None, True),
        ("majority", "1122", None, False),
        ("majority", "1123", None, False),
        ("majority", "1123", 0.5, True),
        ("majority", "1122", 0.5, False),
        ("majority", "11-", None, True),
        ("majority", "1--", None, False),
        ("majority", "11--", None, False),
        ("majority", "111-", 0.9, True),
        ("supermajority", "112", None, True),
        ("supermajority", "1112", None, True),
        ("supermajority", "1122", None, False),
        ("supermajority", "1112", 0.8, False),
        ("unanimous", "1111", None, True),
        ("unanimous", "111-", None, True),
        ("unanimous", "1112", None, False),
        ("none", "1111", None, False),
        ("judge", "1---", None, True),
        ("judge", "----", None, False),
    ],
)
def test_what_decides(mode, votes, threshold, reached):
    assert outcome(mode, votes, threshold=threshold)["reached"] is reached


def test_confidence_is_share_times_supporters_certainty():
    found = outcome("majority", "1112", (1.0, 0.5, 0.6, 0.9))
    assert (found["choice"], found["share"]) == ("agent-1", 0.75)
    assert found["confidence"] == pytest.approx(0.75 * 0.7)


def test_weighted_votes_count_by_confidence():
    found = outcome("weighted", "122", (0.9, 0.3, 0.2))
    assert (found["choice"], found["reached"]) == ("agent-1", True)
    assert found["votes"] == {"agent-1": 0.9, "agent-2": 0.5, "agent-3": 0.0}
    assert found["share"] == pytest.approx(0.9 / 1.4, abs=1e-4)


def test_weightless_votes_decide_nothing():
    found = outcome("weighted", "111", (0.0, 0.0, 0.0))
    assert (found["reached"], found["share"], found["confidence"]) == (False, 0.0, 0.0)


def test_a_tie_is_no_decision_and_says_so():
    found = outcome("majority", "1122", (0.5, 0.5, 0.9, 0.9), threshold=0.5)
    assert (found["tied"], found["reached"], found["choice"]) == (True, False, "agent-2")


def test_tied_vote_and_confidence_go_to_least_criticised():
    critiques = [
        Critique(1, "agent-3", name, (), (), severity, "") for name, severity in (("agent-1", 6.0), ("agent-2", 2.0))
    ]
    assert outcome("majority", "1122", critiques=critiques)["choice"] == "agent-2"
    assert outcome("majority", "1122")["choice"] == "agent-1"


def test_the_answer_is_the_chosen_ones():
    found = outcome("majority", "221")
    assert found["answer"] == "answer of agent-2"
    assert found["quorum"] == {"needed": 2, "cast": 3}
    assert found["threshold"] == 0.5
    assert found["method"] == "majority"


def test_votes_of_other_rounds_or_for_withdrawn_do_not_count():
    state = DebateState(spec(), round=2)
    state.answers = dict.fromkeys(NAMES[:3], "x")
    state.votes = [
        Vote(1, "agent-1", "agent-1", 1.0, ""),
        Vote(2, "agent-2", "agent-3", 1.0, ""),
        Vote(2, "agent-1", "agent-2", 1.0, ""),
        Vote(2, "agent-1", "agent-1", 1.0, ""),
    ]
    held = consensus.election(state, ("agent-1", "agent-2"), 3)
    assert held.votes == (state.votes[-1],)


def test_people_who_gave_a_name_have_one_vote():
    votes = [UserVote("a", "ann"), UserVote("b", "ann"), UserVote("a", None), UserVote("a", None), UserVote("z", "zoe")]
    assert consensus.user_tally(votes, ("a", "b", "c")) == {"a": 2, "b": 1}
