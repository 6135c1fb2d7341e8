"""The offline demo agent: deterministic, and honest about what it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from aragora.agents.agent import AgentFailed
from aragora.debate.asks import Ask, Purpose, Reply
from aragora.debate.spec import AgentSpec

DELAY, MAX_DELAY = 0.3, 60.0  # seconds per answer
PIECES = 12  # of an answer, as it streams


def delay(environ: Mapping[str, str]) -> float:
    """Seconds per answer from ARAGORA_DEMO_DELAY, 0 to 60; anything else is the default."""
    try:
        value = float(environ.get("ARAGORA_DEMO_DELAY", DELAY))
    except ValueError:
        return DELAY
    return value if 0 <= value <= MAX_DELAY else DELAY


class DemoAgent:
    """Answers without any model."""

    def __init__(self, spec: AgentSpec, pause: float) -> None:
        self._spec = spec
        self._pause = pause

    def ask(self, ask: Ask, on_token: Callable[[str], None], deadline: float) -> Reply:
        """See :class:`~aragora.agents.agent.Agent`."""
        text = self._text(ask)
        words = text.split(" ")
        size = max(1, len(words) // PIECES)
        for start in range(0, len(words), size):
            if self._pause:
                time.sleep(self._pause / PIECES)
            if time.time() > deadline:
                raise AgentFailed("timeout", "the time of the debate is over")
            on_token((" " if start else "") + " ".join(words[start : start + size]))
        return Reply(text)

    def _text(self, ask: Ask) -> str:
        if ask.purpose is Purpose.CRITIQUE:
            return '{"issues": ["the offline demo sees no evidence"], "suggestions": ["name one"], "severity": 4}'
        if ask.purpose in (Purpose.VOTE, Purpose.JUDGE):
            return '{"choice": "1", "confidence": 0.6, "reasoning": "the offline demo takes the first"}'
        return f"{self._spec.name} (offline demo): it depends."
