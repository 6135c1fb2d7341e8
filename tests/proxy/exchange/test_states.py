"""The tables of states in the architecture page are those that the code has."""

import re
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path

import pytest

from proxy.exchange.states import TRANSITIONS
from proxy.exchange.tunnel_states import TUNNEL_TRANSITIONS

PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"


@pytest.mark.parametrize(
    ("module", "transitions"),
    [("states", TRANSITIONS), ("tunnel_states", TUNNEL_TRANSITIONS)],
    ids=["exchange", "tunnel"],
)
def test_page_shows_the_table_of_states(module: str, transitions: Mapping[IntEnum, frozenset[IntEnum]]) -> None:
    after = PAGE.read_text().partition(f"`proxy/exchange/{module}.py`")[2]
    block = after.partition("```text\n")[2].partition("```")[0]
    rows = re.findall(r"^([A-Z_]+) +-> (.+)$", block, re.MULTILINE)
    shown = {state: next_states.split(", ") for state, next_states in rows}
    table = {state.name: [follower.name for follower in sorted(transitions[state])] for state in transitions}
    assert shown == {name: followers for name, followers in table.items() if followers}
