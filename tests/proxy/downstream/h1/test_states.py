"""The table of an HTTP/1 connection's states: the page shows it, and it can be walked."""

from pathlib import Path

from proxy.downstream.h1.states import CLOSED, IDLE, TRANSITIONS, State

PAGE = Path(__file__).parents[4] / "docs" / "architecture.md"


def test_the_page_shows_the_table() -> None:
    rows = [
        f"{state.name:11} -> " + ", ".join(following.name for following in State if following in TRANSITIONS[state])
        for state in State
        if TRANSITIONS[state]
    ]
    assert "```text\n" + "\n".join(rows) + "\n```" in PAGE.read_text()


def test_every_state_is_reached_and_leads_to_closed() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {IDLE}
    for _ in State:
        reached |= {following for state in reached for following in TRANSITIONS[state]}
    assert reached == set(State)
    assert all(CLOSED in TRANSITIONS[state] for state in State if state is not CLOSED)
    assert not TRANSITIONS[CLOSED]
