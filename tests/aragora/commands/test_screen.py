"""A debate on a terminal: everything is shown, and nothing that was written steers the terminal."""

import io
import re

import pytest
from rich.console import Console

from aragora.commands.screen import Plain, Terminal

HOSTILE = "[bold]markup[/bold] <b>HTML</b> \x1b]0;title\x07 \x1b[2J \u202e text"
DEBATE = {
    "id": "adhoc_x",
    "task": HOSTILE,
    "agents": ["demo-1", "demo-2"],
    "participants": [{"name": "demo-1", "type": "demo"}, {"name": "demo-2", "type": "openai"}],
    "budget": {"money": 0.5, "tokens": 5_000_000, "questions": None},
    "rounds": 1,
    "rounds_used": 1,
    "consensus": "majority",
    "status": "completed",
    "consensus_reached": True,
    "confidence": 0.5,
    "duration_seconds": 1.25,
    "final_answer": HOSTILE,
    "reason": "stopped early: all votes agree",
    "verdict": {
        "summary": HOSTILE,
        "reached": True,
        "choice": "demo-2",
        "support": {"votes": 1, "of": 1},
        "votes": {"demo-1": 1.0, "demo-2": 1.0},
        "tied": True,
        "tie_break": "confidence",
        "reasons": [],
        "dissent": [
            {
                "agent": "demo-2",
                "choice": "demo-1",
                "confidence": 0.5,
                "reasoning": f"Answer A {HOSTILE}",
                "shown": ["demo-1"],
            }
        ],
        "degraded": [{"agent": "demo-3", "purpose": "vote", "kind": "timeout", "message": HOSTILE}],
        "synthesis": {"agent": "x", "answer": HOSTILE, "agreements": [HOSTILE], "disputes": [], "minority": ""},
    },
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
            ("agent_message", {"role": "reviser", "content": "First, we", "cut": "length"}),
            ("agent_waiting", {"message": "third in line for Ollama server", "place": 3}),
            ("critique", critique),
            ("synthesis", {"answer": HOSTILE}),
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
    assert "<b>HTML</b>" in plain
    for words in (
        "majority; at most 0.50 $, 5,000,000 tokens",
        "demo-1 (proposer)",
        "demo-1 (reviser, cut off: length)",
        "demo-1 waits: third in line for Ollama server",
        "severity 5",
        "votes for",
        "50% alike",
        "failed:",
        "A person suggests",
        "completed:",
        "ahead by the voters' confidence",
        "demo-2 for demo-1 (50% sure): Answer A (demo-1)",
        "demo-3 failed at voting",
        "Synthesis",
        "Agreed",
    ):
        assert words in plain


def test_markdown_is_laid_out() -> None:
    out = io.StringIO()
    with Terminal(Console(file=out, force_terminal=True, width=80, color_system=None)) as terminal:
        terminal.begin(DEBATE)
        said = (
            "## Why\n\n- **bold** [link](http://example.com)\n\n```py\nif a < b:\n    c\n```\n\n"
            "| a | b |\n|---|---|\n| 1 | 2 |"
        )
        data = {"role": "proposer", "content": said}
        terminal.show({"type": "agent_message", "round": 1, "agent": "demo-1", "seq": 1, "data": data})
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert "• bold link (http://example.com)" in plain
    assert "if a < b:" in plain
    assert not {"##", "**", "```", "|---|"} & set(plain.split())


def test_a_pipe_is_told_the_budget_of_what_may_cost(capsys: pytest.CaptureFixture[str]) -> None:
    Plain().begin(DEBATE)
    assert "demo-1, demo-2; 1 rounds; at most 0.50 $, 5,000,000 tokens" in capsys.readouterr().out
    Plain().begin({**DEBATE, "participants": [{"name": "demo-1", "type": "demo"}]})
    assert "at most" not in capsys.readouterr().out
