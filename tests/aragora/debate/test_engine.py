import pytest

from aragora.debate import engine
from aragora.debate.engine import Failure, Purpose, Question, Reply
from aragora.debate.events import Draft, Event, EventType
from aragora.debate.spec import AgentSpec
from tests.aragora.debate.simulation import decision, end, failing, of, run, shape, spec, voting, well

TURN = ["agent_message", "critique", "agent_message", "convergence", "vote"]


def test_a_debate_goes_through_every_phase_of_every_round():
    log = run(spec(early_stop=False), well)
    first = ["round_start", *TURN[:-1]]
    second = ["round_start", *TURN[1:]]
    assert shape(log) == ["debate_start", *first, *second, "consensus", "debate_end"]
    assert end(log) == {"status": "completed", "rounds": 2, "duration": log[-1].at - log[0].at - 1}
    assert [event.data["role"] for event in of(log, EventType.AGENT_MESSAGE)] == ["proposer"] * 3 + ["reviser"] * 6


def test_everybody_criticises_everybody_else_once_a_round():
    log = run(spec(count=3, rounds=1), well)
    pairs = [(event.agent, event.data["target"]) for event in of(log, EventType.CRITIQUE)]
    names = ["agent-1", "agent-2", "agent-3"]
    assert sorted(pairs) == sorted((one, other) for one in names for other in names if one != other)


def test_asks_of_one_phase_come_together():
    rules = spec()
    plan = engine.plan(rules, [], 5.0)
    assert [draft.type for draft in plan.drafts] == [EventType.DEBATE_START, EventType.ROUND_START]
    assert [
        (question.agent.name, question.purpose, question.round, question.attempt) for question in plan.questions
    ] == [(name, Purpose.PROPOSE, 1, 1) for name in ("agent-1", "agent-2", "agent-3")]
    assert not plan.finished


def test_the_log_says_by_which_rules_the_debate_runs():
    start = run(spec(consensus="weighted", threshold=0.7), well)[0]
    assert start.round == 0
    assert start.data["question"] == "Should we adopt event sourcing?"
    assert start.data["agents"][0] == {
        "name": "agent-1",
        "type": "demo",
        **dict.fromkeys(("model", "role", "persona", "effort")),
    }
    assert (start.data["consensus"], start.data["threshold"], start.data["rounds"]) == ("weighted", 0.7, 2)


def test_all_voting_the_same_ends_it_early():
    log = run(spec(rounds=5), well)
    assert end(log)["rounds"] == 1
    assert end(log)["reason"] == "stopped early: all votes agree"
    assert decision(log)["stopped_early"] == "all votes agree"
    assert decision(log)["reached"]


def test_no_early_stop_when_it_is_not_wanted():
    log = run(spec(rounds=3, early_stop=False), well)
    assert end(log)["rounds"] == 3
    assert "reason" not in end(log)
    assert {event.round for event in of(log, EventType.VOTE)} == {3}


def test_a_split_vote_goes_on():
    votes = {"agent-1": "agent-2", "agent-2": "agent-3", "agent-3": "agent-1"}
    assert end(run(spec(rounds=3), voting(votes)))["rounds"] == 3


def test_unanimous_guesses_below_the_threshold_go_on():
    rules = spec(rounds=3, consensus="unanimous", count=4)
    answer = failing(
        lambda question: question.purpose is Purpose.VOTE and question.agent.name in ("agent-3", "agent-4")
    )
    log = run(rules, answer)
    assert end(log)["rounds"] == 3
    assert decision(log)["quorum"] == {"needed": 2, "cast": 1}
    assert not decision(log)["reached"]


@pytest.mark.parametrize("early_stop", [True, False])
def test_converged_answers_end_it_early(early_stop):
    def alike(question: Question) -> Reply | Failure:
        words = f"The same words for everybody in one very long answer that differs by one word: {question.agent.name}"
        return Reply(words) if question.purpose is Purpose.REVISE else split(question)

    split = voting({"agent-1": "agent-2", "agent-2": "agent-3", "agent-3": "agent-1"})
    log = run(spec(rounds=3, early_stop=early_stop), alike)
    measure = of(log, EventType.CONVERGENCE)[0].data
    assert measure == {"similarity": 0.8547, "status": "converged", "method": "tfidf-cosine", "threshold": 0.85}
    assert end(log)["rounds"] == (1 if early_stop else 3)
    if early_stop:
        assert end(log)["reason"] == "stopped early: the answers are 85% alike"
        assert decision(log)["stopped_early"] == "the answers are 85% alike"
        assert decision(log)["tied"]


def test_without_a_vote_all_answers_stand_side_by_side():
    log = run(spec(consensus="none"), well)
    assert not of(log, EventType.VOTE)
    found = decision(log)
    assert (found["reached"], found["choice"], found["votes"]) == (False, None, {})
    assert all(f"agent-{number}:\n" in found["answer"] for number in (1, 2, 3))
    assert end(log)["status"] == "completed"


class TestJudge:
    def rules(self, *roles, **changes):
        agents = tuple(AgentSpec(f"agent-{number}", "demo", None, role) for number, role in enumerate(roles, 1))
        return spec(**{"agents": agents, "consensus": "judge", "rounds": 1} | changes)

    def test_the_judge_does_not_argue(self):
        log = run(self.rules(None, "Judge", None), voting({"agent-2": "agent-3"}))
        assert {event.agent for event in of(log, EventType.AGENT_MESSAGE)} == {"agent-1", "agent-3"}
        (cast,) = of(log, EventType.VOTE)
        assert (cast.agent, cast.data["choice"], cast.data["judge"]) == ("agent-2", "agent-3", True)
        assert decision(log)["reached"]
        assert decision(log)["confidence"] == 0.8

    def test_a_debater_judges_when_nobody_else_can(self):
        log = run(self.rules("judge", None), well)
        assert {event.agent for event in of(log, EventType.AGENT_MESSAGE)} == {"agent-1", "agent-2"}
        assert [event.agent for event in of(log, EventType.VOTE)] == ["agent-1"]

    def test_the_next_one_judges_when_the_judge_fails(self):
        answer = failing(lambda question: question.purpose is Purpose.JUDGE and question.agent.name == "agent-3")
        log = run(self.rules(None, None, "judge"), answer)
        assert [event.agent for event in of(log, EventType.VOTE)] == ["agent-1"]
        assert len(of(log, EventType.AGENT_ERROR)) == 2
        assert end(log)["status"] == "completed"

    def test_no_decision_when_nobody_judges_readably(self):
        def answer(question: Question) -> Reply:
            return Reply("no idea") if question.purpose is Purpose.JUDGE else well(question)

        log = run(self.rules(None, None, None), answer)
        assert len(of(log, EventType.AGENT_ERROR)) == 6
        assert not decision(log)["reached"]
        assert decision(log)["answer"]
        assert end(log)["status"] == "completed"

    def test_a_judge_less_sure_than_the_threshold_decides_nothing(self):
        log = run(self.rules(None, None, "judge", threshold=0.9), voting({"agent-3": "agent-2"}))
        assert not decision(log)["reached"]
        assert decision(log)["choice"] == "agent-2"

    def test_the_judge_is_asked_in_the_last_round_only(self):
        log = run(self.rules(None, None, "judge", rounds=3), well)
        assert [event.round for event in of(log, EventType.VOTE)] == [3]


def _third(question: Question) -> bool:
    return question.agent.name == "agent-3"


class TestFailures:
    def test_a_failing_agent_is_asked_once_more(self):
        log = run(spec(rounds=1), failing(lambda question: question.agent.name == "agent-2" and question.attempt == 1))
        assert end(log)["status"] == "completed"
        errors = of(log, EventType.AGENT_ERROR)
        assert {event.agent for event in errors} == {"agent-2"}
        assert all(event.data["retry"] for event in errors)
        assert "agent-2" in {event.agent for event in of(log, EventType.VOTE)}

    def test_without_a_proposal_it_is_left_out_and_back_in_the_next(self):
        votes = {"agent-1": "agent-1", "agent-2": "agent-3", "agent-3": "agent-3"}
        later = voting(votes)

        def answer(question: Question) -> Reply | Failure:
            if question.agent.name == "agent-2" and question.round == 1:
                return Failure("server", "HTTP 500")
            return later(question)

        log = run(spec(rounds=2), answer)
        first = [event for event in log if event.round == 1 and event.agent == "agent-2"]
        assert [(event.type, event.data["attempt"], event.data["retry"]) for event in first] == [
            (EventType.AGENT_ERROR, 1, True),
            (EventType.AGENT_ERROR, 2, False),
        ]
        second = [event.data["role"] for event in of(log, EventType.AGENT_MESSAGE) if event.agent == "agent-2"]
        assert second == ["proposer", "reviser"]
        assert of(log, EventType.VOTE)[-2].agent == "agent-2"

    @pytest.mark.parametrize("purpose", [Purpose.CRITIQUE, Purpose.REVISE, Purpose.VOTE])
    def test_a_failed_question_costs_that_question_only(self, purpose):
        log = run(spec(count=2, rounds=1), failing(lambda question: question.purpose is purpose and _third(question)))
        assert end(log)["status"] == "completed"
        log = run(spec(count=3, rounds=1), failing(lambda question: question.purpose is purpose and _third(question)))
        assert end(log)["status"] == "completed"
        voters = {"agent-1", "agent-2", "agent-3"} - ({"agent-3"} if purpose is Purpose.VOTE else set())
        assert {event.agent for event in of(log, EventType.VOTE)} == voters
        assert list(decision(log)["votes"]) == ["agent-1", "agent-2", "agent-3"]
        lacking = {"agent": "agent-3", "purpose": purpose.value, "kind": "timeout", "message": "no answer in time"}
        assert decision(log)["degraded"] == [lacking]
        assert decision(log)["took_part"] == {"agents": 2, "of": 3}

    def test_failing_at_two_kinds_of_questions_ends_ones_round(self):
        answer = failing(lambda question: _third(question) and question.purpose is not Purpose.PROPOSE)
        log = run(spec(rounds=1), answer)
        purposes = [event.data["purpose"] for event in of(log, EventType.AGENT_ERROR)]
        assert purposes == ["critique", "critique", "revise", "revise"]
        assert "agent-3" in decision(log)["votes"]

    def test_what_cannot_succeed_is_asked_once(self):
        def answer(question: Question) -> Reply | Failure:
            if _third(question) and question.purpose is Purpose.PROPOSE:
                return Failure("auth", "the key is not known", final=True)
            return well(question)

        log = run(spec(rounds=1), answer)
        (error,) = of(log, EventType.AGENT_ERROR)
        assert not error.data["retry"]
        assert decision(log)["degraded"][0]["message"] == "the key is not known"

    def test_failing_while_voting_costs_the_vote_and_not_the_answer(self):
        votes = {"agent-1": "agent-3", "agent-2": "agent-3", "agent-3": "agent-3"}

        def answer(question: Question) -> Reply | Failure:
            if question.agent.name == "agent-3" and question.purpose is Purpose.VOTE:
                return Failure("timeout", "no answer in time")
            return voting(votes)(question)

        log = run(spec(rounds=1), answer)
        assert decision(log)["choice"] == "agent-3"
        assert decision(log)["quorum"] == {"needed": 2, "cast": 2}
        assert decision(log)["reached"]

    def test_below_two_live_agents_it_has_failed_and_says_why(self):
        answer = failing(lambda question: question.purpose is Purpose.PROPOSE and question.agent.name != "agent-1")
        log = run(spec(), answer)
        assert end(log)["status"] == "failed"
        reason = "fewer than 2 agents are left in round 1: agent-2: no answer in time; agent-3: no answer in time"
        assert end(log)["reason"] == reason

    def test_a_failed_debate_keeps_what_was_answered(self):
        log = run(spec(), failing(lambda question: question.purpose is not Purpose.PROPOSE))
        assert end(log)["status"] == "failed"
        assert end(log)["reason"].startswith("fewer than 2 agents are left in round 1: agent-1: no answer in time")
        assert decision(log)["answer"].startswith("propose agent-")
        assert not decision(log)["reached"]

    def test_nobody_voting_is_no_decision(self):
        log = run(spec(rounds=1), failing(lambda question: question.purpose is Purpose.VOTE))
        assert end(log)["status"] == "completed"
        assert not decision(log)["reached"]
        assert len(decision(log)["degraded"]) == 3

    def test_two_agents_stay_alive_when_one_votes_unreadably(self):
        def answer(question: Question) -> Reply:
            return (
                Reply("hm") if question.purpose is Purpose.VOTE and question.agent.name == "agent-2" else well(question)
            )

        log = run(spec(count=2, rounds=1), answer)
        assert end(log)["status"] == "completed"
        assert decision(log)["quorum"] == {"needed": 2, "cast": 1}
        assert not decision(log)["reached"]

    def test_an_empty_proposal_is_none(self):
        def answer(question: Question) -> Reply:
            return Reply(" \n ") if question.agent.name == "agent-2" else well(question)

        log = run(spec(count=2), answer)
        assert end(log)["status"] == "failed"
        assert {event.data["kind"] for event in of(log, EventType.AGENT_ERROR)} == {"unusable"}

    def test_an_empty_revision_leaves_the_answer_as_it_was(self):
        def answer(question: Question) -> Reply:
            return (
                Reply("") if question.purpose is Purpose.REVISE and question.agent.name == "agent-1" else well(question)
            )

        log = run(spec(rounds=1), answer)
        assert decision(log)["answer"].startswith("propose agent-1")


class TestTime:
    def test_it_ends_with_the_answer_that_is_ahead(self):
        rules = spec(timeout=30.0, rounds=10, early_stop=False)
        log = run(rules, well)
        assert end(log)["status"] == "timeout"
        assert end(log)["reason"] == "not done within 30 s"
        assert (decision(log)["cut_short"], decision(log)["reached"]) == (True, False)
        assert decision(log)["answer"]

    def test_without_any_answer_it_just_ends(self):
        rules = spec(timeout=2.0)
        log = run(rules, well)[:2]
        plan = engine.plan(rules, log, 2000.0)
        assert [draft.type for draft in plan.drafts] == [EventType.DEBATE_END]
        assert plan.drafts[0].data["status"] == "timeout"
        assert plan.finished

    def test_a_round_that_could_not_be_finished_is_not_begun(self):
        rules = spec(rounds=2, early_stop=False)
        log = run(rules, well)
        second = [event.type for event in log].index(EventType.ROUND_START, 2)
        plan = engine.plan(rules, log[:second], log[0].at + rules.timeout)
        assert [draft.type for draft in plan.drafts] == [EventType.CONSENSUS, EventType.DEBATE_END]
        assert plan.drafts[1].data["rounds"] == 1

    def test_votes_that_are_all_in_are_counted_however_late(self):
        rules = spec(rounds=1)
        log = run(rules, well)
        plan = engine.plan(rules, log[:-2], 10.0 * rules.timeout)
        assert plan.drafts[-1].data["status"] == "completed"

    def test_half_an_election_counts_as_far_as_it_went(self):
        rules = spec(rounds=1)
        log = run(rules, voting({"agent-1": "agent-3", "agent-2": "agent-1", "agent-3": "agent-1"}))
        plan = engine.plan(rules, log[:-4], log[0].at + rules.timeout)
        assert plan.drafts[0].data["choice"] == "agent-3"
        assert not plan.drafts[0].data["reached"]

    def test_time_counts_from_the_start_not_from_a_suggestion(self):
        rules = spec(timeout=50.0)
        early = Event(1, EventType.USER_SUGGESTION, 10.0, 0, None, {"text": "cost?", "user": None})
        assert engine.deadline(rules, [early]) is None
        plan = engine.plan(rules, [early], 500.0)
        assert len(plan.questions) == 3
        start = Event(2, EventType.DEBATE_START, 500.0, 0, None, plan.drafts[0].data)
        assert engine.deadline(rules, [early, start]) == 550.0

    def test_nothing_is_asked_that_has_no_time_left(self):
        rules = spec(timeout=50.0)
        started = run(rules, well)[:2]
        assert engine.plan(rules, started, started[0].at + 49.9).questions
        assert not engine.plan(rules, started, started[0].at + 50.0 - engine.LEAST / 2).questions

    def test_a_clock_that_goes_backwards_makes_no_negative_duration(self):
        rules = spec(rounds=1)
        log = run(rules, well)
        assert engine.plan(rules, log[:-1], 0.0).drafts[0].data["duration"] == 0.0


class TestPeople:
    SUGGESTION = Draft(EventType.USER_SUGGESTION, 0, None, {"text": "Think of the cost.", "user": "ann"})

    def test_suggestions_are_shown_to_every_agent_afterwards(self):
        seen: list[bool] = []

        def answer(question: Question) -> Reply:
            seen.append("Think of the cost." in question.prompt)
            return well(question)

        log = run(spec(rounds=1), answer, between=lambda seq: [self.SUGGESTION] if seq == 3 else [])
        assert log[3].type is EventType.USER_SUGGESTION
        assert seen == [False] * 3 + [True] * 9

    def test_votes_are_reported_beside_those_of_the_agents(self):
        def between(seq: int) -> list[Draft]:
            if seq not in (0, 2, 4, 6, 10, 13):
                return []
            choice = "agent-2" if seq != 4 else "agent-3"
            user = "ann" if seq in (4, 6) else None
            return [Draft(EventType.USER_VOTE, 1, None, {"choice": choice, "reasoning": "", "user": user})]

        log = run(spec(rounds=1), well, between=between)
        assert decision(log)["user_votes"] == {"agent-2": 4}
        assert decision(log)["votes"] == {"agent-1": 2.0, "agent-2": 1.0, "agent-3": 0.0}
        assert decision(log)["choice"] == "agent-1"


class TestCancellation:
    @pytest.mark.parametrize("length", [0, 1, 2, 5, 12])
    def test_it_ends_for_good(self, length):
        rules = spec()
        log = run(rules, well)[:length]
        (draft,) = engine.cancelled(rules, log)
        assert draft.data["status"] == "cancelled"
        ended = [*log, Event(length + 1, draft.type, 1e9, draft.round, None, draft.data)]
        assert engine.plan(rules, ended, 1e9) == engine.Plan((), (), True)
        assert engine.cancelled(rules, ended) == ()

    def test_what_has_ended_stays_as_it_ended(self):
        rules = spec()
        assert engine.cancelled(rules, run(rules, well)) == ()


def test_an_end_that_the_runner_wrote_is_an_end():
    rules = spec()
    data = {"status": "failed", "reason": "internal error", "rounds": 0, "duration": 0.0}
    log = [*run(rules, well)[:4], Event(5, EventType.DEBATE_END, 1005.0, 0, None, data)]
    assert engine.plan(rules, log, 1006.0).finished
