import pytest

from aragora.debate import consensus
from aragora.debate.state import Critique, DebateState, UserVote, Vote
from aragora.debate.verdict import verdict
from tests.aragora.debate.simulation import spec

NAMES = ("agent-1", "agent-2", "agent-3", "agent-4")


def outcome(
    mode: str, votes: str, confidences: tuple[float, ...] = (), threshold: float | None = None, **changes
) -> dict:
    """`votes`: whom agent-1, agent-2 ... voted for, by number; "-" for no vote. Nothing says between which answers."""
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
    return verdict(state, held, names)


@pytest.mark.parametrize(
    ("mode", "votes", "threshold", "reached"),
    [
        ("majority", "112", None, True),
        ("majority", "1122", None, False),
        ("majority", "1123", None, False),
        ("majority", "1123", 0.5, True),
        ("majority", "1122", 0.5, False),  # by lot only
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


def test_confidence_is_share_times_how_sure_its_supporters_are():
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


def test_a_tie_is_resolved_by_confidence_and_says_so():
    found = outcome("majority", "1122", (0.5, 0.5, 0.9, 0.9), threshold=0.5)
    assert (found["tied"], found["tie_break"]) == (True, "confidence")
    assert (found["reached"], found["choice"]) == (True, "agent-2")
    assert not outcome("majority", "1122", (0.5, 0.5, 0.9, 0.9))["reached"]  # half is no majority


def test_tied_votes_and_confidence_go_to_least_criticised():
    critiques = [
        Critique(1, "agent-3", name, (), (), severity, "") for name, severity in (("agent-1", 6.0), ("agent-2", 2.0))
    ]
    found = outcome("majority", "1122", critiques=critiques)
    assert (found["choice"], found["tie_break"]) == ("agent-2", "criticism")


def test_a_tie_that_only_the_lot_resolves_decides_nothing():
    found = outcome("majority", "1122", threshold=0.5)
    assert (found["tied"], found["tie_break"], found["reached"]) == (True, "lot", False)
    assert found["choice"] in NAMES[:2]
    assert outcome("majority", "1122", threshold=0.5) == found


def ballot(agent: int, ranking: str, confidence: float = 0.8, mode: str = "majority") -> Vote:
    """The vote of one agent, who was shown every answer of three but its own."""
    names = tuple(f"agent-{number}" for number in ranking)
    shown = tuple(name for name in NAMES[:3] if name != f"agent-{agent}")
    return Vote(1, f"agent-{agent}", names[0], confidence, "", shown=shown, ranking=names if mode == "borda" else ())


def of_three(mode: str, *votes: Vote) -> dict:
    state = DebateState(spec(3, consensus=mode), round=1)
    state.answers = {name: f"answer of {name}" for name in NAMES[:3]}
    state.votes = list(votes)
    held = consensus.election(state, NAMES[:3], 3)
    return verdict(state, held, NAMES[:3])


def test_a_share_is_of_the_ballots_on_which_the_answer_stood():
    found = of_three("unanimous", ballot(1, "2"), ballot(2, "1"), ballot(3, "1"))
    assert (found["choice"], found["share"], found["reached"]) == ("agent-1", 1.0, True)
    assert found["support"] == {"votes": 2, "of": 2}
    assert found["quorum"] == {"needed": 2, "cast": 2}


def test_two_who_praise_each_other_are_no_majority_of_three():
    assert not of_three("majority", ballot(1, "2"), ballot(2, "1"))["reached"]
    assert of_three("majority", ballot(1, "3"), ballot(2, "3"))["reached"]


def test_votes_in_a_circle_decide_nothing():
    found = of_three("majority", ballot(1, "2", 0.9), ballot(2, "3"), ballot(3, "1"))
    assert (found["share"], found["reached"]) == (0.5, False)
    assert (found["choice"], found["tie_break"]) == ("agent-2", "confidence")


def test_rankings_count_by_the_answers_that_they_put_below():
    votes = [ballot(1, "23", mode="borda"), ballot(2, "31", mode="borda"), ballot(3, "21", mode="borda")]
    found = of_three("borda", *votes)
    assert found["votes"] == {"agent-1": 0.0, "agent-2": 2.0, "agent-3": 1.0}
    assert (found["choice"], found["share"], found["reached"]) == ("agent-2", 1.0, True)


def test_a_ranking_that_names_the_best_only_leaves_the_rest_even():
    state = DebateState(spec(4, consensus="borda"), round=1)
    state.answers = {name: f"answer of {name}" for name in NAMES}
    state.votes = [Vote(1, "agent-4", "agent-1", 0.8, "", shown=NAMES[:3], ranking=("agent-1",))]
    held = consensus.election(state, NAMES, 4)
    assert [held.tally(name) for name in NAMES] == [2.0, 0.5, 0.5, 0.0]


def test_answers_that_are_alike_are_one_answer():
    state = DebateState(spec(3), round=1)
    state.answers = {"agent-1": "Begin small.", "agent-2": "begin small", "agent-3": "Do not begin."}
    state.votes = [
        Vote(1, "agent-1", "agent-1", 0.8, "", shown=("agent-3", "agent-1")),
        Vote(1, "agent-2", "agent-2", 0.8, "", shown=("agent-1", "agent-3")),
        Vote(1, "agent-3", "agent-3", 0.8, "", shown=("agent-3", "agent-1")),
    ]
    found = verdict(state, consensus.election(state, NAMES[:3], 3), NAMES[:3])
    assert (found["votes"], found["reached"]) == ({"agent-1": 2.0, "agent-3": 1.0}, True)
    assert found["alike"] == {"agent-1": ["agent-1", "agent-2"]}


def test_the_verdict_says_who_voted_why():
    state = DebateState(spec(3), round=1)
    state.answers = {name: f"answer of {name}" for name in NAMES[:3]}
    shown = ("agent-2", "agent-1")
    state.votes = [
        Vote(1, "agent-1", "agent-2", 0.9, "It is complete.", shown=("agent-3", "agent-2")),
        Vote(1, "agent-3", "agent-1", 0.4, "It is short.", shown=shown),
    ]
    found = verdict(state, consensus.election(state, NAMES[:3], 3), NAMES[:3])
    assert [(item["agent"], item["reasoning"]) for item in found["reasons"]] == [("agent-1", "It is complete.")]
    assert [(item["agent"], item["choice"]) for item in found["dissent"]] == [("agent-3", "agent-1")]
    assert found["dissent"][0]["shown"] == ["agent-2", "agent-1"]


def test_the_answer_is_the_chosen_ones():
    found = outcome("majority", "221")
    assert found["answer"] == "answer of agent-2"
    assert found["quorum"] == {"needed": 2, "cast": 3}
    assert found["threshold"] == 0.5
    assert found["method"] == "majority"


def test_votes_of_other_rounds_or_withdrawn_answers_do_not_count():
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
