"""The offline demo agent: no model, no network, the same words on every run, and honest about all that.

It proposes what its persona says about the question, criticises what it misses in the answers of others, takes up what
others missed in its own, gives up its extreme stance under hard critique, and votes for the answer that comes nearest.
"""

import time
from collections.abc import Callable, Iterator, Mapping

from aragora.agents.agent import AgentFailed, Waiting, unwatched
from aragora.agents.complaints import Kind
from aragora.agents.demo.answers import Respondent
from aragora.agents.providers import setting
from aragora.debate.questions import Purpose, Question, Reply
from aragora.debate.spec import AgentSpec

PIECES = 12  # of an answer, as it streams
MODEL = "offline demo"
STUMBLING = "stumbling"  # the only other model: its critiques are prose at first, as those of real models may be
_STUMBLE = "The offline demo, told to stumble, first answers in prose, as language models sometimes do."


def delay(environ: Mapping[str, str]) -> float:
    """Seconds per answer from ARAGORA_DEMO_DELAY; raises `AgentFailed` for anything but 0 to 60."""
    try:
        return float(setting("ARAGORA_DEMO_DELAY", environ))
    except ValueError as error:
        raise AgentFailed(Kind.CONFIGURATION, str(error), final=True) from None


class DemoAgent:
    """Answers from the passages of the question alone."""

    def __init__(
        self,
        spec: AgentSpec,
        pause: float,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._stumbling = spec.model == STUMBLING
        self._pause = pause
        self._clock = clock
        self._sleep = sleep

    def ask(
        self,
        question: Question,
        on_token: Callable[[str], None],
        deadline: float,
        on_wait: Callable[[Waiting], None] = unwatched,  # noqa: ARG002 - the demo waits for no provider
    ) -> Reply:
        """See `aragora.agents.agent.Agent`."""
        stumbles = self._stumbling and question.purpose is Purpose.CRITIQUE and question.attempt == 1
        text = _STUMBLE if stumbles else Respondent(question).text()
        for piece in _pieces(text):
            left = deadline - self._clock()
            if left <= 0:
                raise AgentFailed(Kind.TIMEOUT, "the time of the debate is over")
            if self._pause:
                self._sleep(min(left, self._pause / PIECES))
            on_token(piece)
        return Reply(text, MODEL)


def _pieces(text: str) -> Iterator[str]:
    """At most PIECES parts of about the same length that join to `text`."""
    size = -(-len(text) // PIECES)
    for start in range(0, len(text), size):
        yield text[start : start + size]
