"""The table of states in the architecture page is the one that the code has."""

import re
from pathlib import Path

from proxy.exchange.states import TRANSITIONS

PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"


def test_page_shows_the_table_of_states() -> None:
    rows = re.findall(r"^([A-Z]+) +-> (.+)$", PAGE.read_text(), re.MULTILINE)
    shown = {state: next_states.split(", ") for state, next_states in rows}
    table = {state.name: [follower.name for follower in sorted(TRANSITIONS[state])] for state in TRANSITIONS}
    assert shown == table
