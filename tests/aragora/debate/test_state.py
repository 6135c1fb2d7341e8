from aragora.debate.state import Consensus, Role, fold
from aragora.debate.status import Status
from tests.aragora.debate.simulation import failing, run, spec, well


def test_nothing_has_happened_yet():
    state = fold(spec(), [])
    assert (state.status, state.rounds_used, state.final_answer, state.confidence) == (Status.CREATED, 0, None, 0.0)
    assert not state.ended


def test_the_whole_debate():
    log = run(spec(rounds=2), well)
    state = fold(spec(rounds=2), log)
    assert state.status is Status.COMPLETED
    assert state.ended
    assert (state.started_at, state.ended_at) == (log[0].at, log[-1].at)
    assert state.last_seq == len(log)
    assert state.rounds_used == 1
    assert [message.role for message in state.messages] == [Role.PROPOSER] * 3 + [Role.REVISER] * 3
    assert len(state.critiques) == 6
    assert [vote.choice for vote in state.votes] == ["agent-2", "agent-1", "agent-1"]
    assert [point.status for point in state.convergence] == ["diverging"]
    assert state.consensus == Consensus(True, 0.8, state.answers["agent-1"])
    assert state.final_answer == state.answers["agent-1"]
    assert state.confidence == 0.8


def test_it_runs_from_the_start_to_the_end():
    log = run(spec(), well)
    assert {fold(spec(), log[:length]).status for length in range(1, len(log))} == {Status.RUNNING}


def test_errors_are_counted_and_the_second_leaves_out():
    rules = spec(rounds=1)
    log = run(rules, failing(lambda question: question.agent.name == "agent-2"))
    state = fold(rules, log)
    assert list(state.errors.values()) == [2]
    assert list(state.lost) == [(1, "agent-2")]
    assert "agent-2" not in state.answers
