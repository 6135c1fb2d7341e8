"""The table of states in the architecture page is the one that the code has."""

import re
from pathlib import Path

from proxy.exchange.states import TRANSITIONS

PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"


def test_page_shows_the_table_of_states() -> None:
    block = PAGE.read_text().partition("`proxy/exchange/states.py`")[2].partition("```text\n")[2].partition("```")[0]
    rows = re.findall(r"^([A-Z]+) +-> (.+)$", block, re.MULTILINE)
    shown = {state: next_states.split(", ") for state, next_states in rows}
    table = {state.name: [follower.name for follower in sorted(TRANSITIONS[state])] for state in TRANSITIONS}
    assert shown == table
