"""The tables of HTTP/2's states: the page shows them, and connections and streams keep to them."""

from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

from proxy.downstream.h2.states import CONNECTION_TRANSITIONS, STREAM_TRANSITIONS, ConnectionState, StreamState
from proxy.wire.h2.streams import CLOSED, OPEN, TRANSITIONS, Cause, State

PAGE = Path(__file__).parents[4] / "docs" / "architecture.md"

TABLES: dict[str, tuple[type[IntEnum], Mapping[Any, frozenset[Any]]]] = {
    "connection": (ConnectionState, CONNECTION_TRANSITIONS),
    "stream": (StreamState, STREAM_TRANSITIONS),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_page_shows_the_table(name: str) -> None:
    states, table = TABLES[name]
    rows = [
        f"{state.name:9} -> " + ", ".join(following.name for following in states if following in table[state])
        for state in states
        if table[state]
    ]
    assert "```text\n" + "\n".join(rows) + "\n```" in PAGE.read_text()


@pytest.mark.parametrize("name", TABLES)
def test_every_state_is_in_the_table_and_leads_forward(name: str) -> None:
    states, table = TABLES[name]
    assert set(table) == set(states)
    first, *others = states
    reachable = {first}
    for state in states:  # in their order: nothing leads back
        assert all(following > state for following in table[state])
        if state in reachable:
            reachable |= table[state]
    assert reachable == {first, *others}


def test_stream_is_closed_once_both_sides_have_ended() -> None:
    for first, second in ((Cause.END_SENT, Cause.END_RECEIVED), (Cause.END_RECEIVED, Cause.END_SENT)):
        half = TRANSITIONS[OPEN, first]
        assert (half, first) not in TRANSITIONS
        assert TRANSITIONS[half, second] is CLOSED
    assert {state for state, cause in TRANSITIONS if cause is Cause.RESET} == set(State) - {CLOSED}
    assert not [state for state, _ in TRANSITIONS if state is CLOSED]
