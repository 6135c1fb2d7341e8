"""A debate on a terminal: everything is shown, and nothing that was written steers the terminal."""

import io
import re

from rich.console import Console

from aragora.commands.screen import Terminal

HOSTILE = "[bold]markup[/bold] \x1b]0;title\x07 \x1b[2J \u202e text"
DEBATE = {
    "id": "adhoc_x",
    "task": HOSTILE,
    "agents": ["demo-1", "demo-2"],
    "rounds": 1,
    "rounds_used": 1,
    "consensus": "majority",
    "status": "completed",
    "consensus_reached": True,
    "confidence": 0.5,
    "duration_seconds": 1.25,
    "final_answer": HOSTILE,
}


def test_every_event_is_shown_and_hostile_text_is_text() -> None:
    out = io.StringIO()
    terminal = Terminal(Console(file=out, force_terminal=True, width=100, color_system=None))
    critique = {"target": "demo-2", "issues": [HOSTILE], "suggestions": [HOSTILE], "severity": 5}
    with terminal:
        terminal.begin(DEBATE)
        for kind, data in (
            ("round_start", {}),
            ("token_delta", {"purpose": "propose", "text": HOSTILE}),
            ("token_delta", {"purpose": "vote", "text": "{"}),
            ("agent_message", {"role": "proposer", "content": HOSTILE}),
            ("critique", critique),
            ("vote", {"choice": HOSTILE, "confidence": 0.5, "reasoning": HOSTILE}),
            ("convergence", {"similarity": 0.5, "status": HOSTILE}),
            ("agent_error", {"message": HOSTILE}),
            ("user_vote", {"choice": HOSTILE}),
            ("user_suggestion", {"text": HOSTILE}),
            ("debate_end", {}),
        ):
            terminal.show({"type": kind, "round": 1, "agent": "demo-1", "seq": 1, "data": data})
        terminal.finish(DEBATE)
    shown = out.getvalue()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)

    assert "\x1b]0;" not in shown
    assert "\x1b[2J" not in shown.replace("\x1b[2K", "")
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "[bold]markup[/bold]" in plain
    for words in (
        "demo-1 (proposer)",
        "severity 5",
        "votes for",
        "50% alike",
        "failed:",
        "A person suggests",
        "completed:",
    ):
        assert words in plain
