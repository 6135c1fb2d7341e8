"""An answer as it comes in: what one part of it says, whatever the API, and what all of them amount to."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from aragora.agents.account import Account
from aragora.agents.agent import AgentFailed
from aragora.agents.complaints import Complaint, Kind, redacted
from aragora.agents.exchange import Busy, failure
from aragora.debate import thinking
from aragora.debate.usage import Usage

MAX_TEXT = 100_000  # characters; an answer that goes on longer is running in circles
FRAGMENT = 200  # characters; less before a filter struck is no answer
CIRCLE = 200  # characters that are the same few words again and again
_LONGEST_PERIOD = 300
_TIMES = 4
_LOOK = 256  # characters between looks whether an answer runs in circles


class End(StrEnum):
    """How an answer ended; the values of those that cut it are stored in the log."""

    DONE = "done"
    LENGTH = "length"
    FILTER = "content_filter"
    WINDOW = "window"
    PAUSE = "pause"
    CIRCLES = "circles"
    REFUSED = "refused"
    FAILED = "failed"


CUTS = frozenset({End.LENGTH, End.FILTER, End.WINDOW, End.PAUSE, End.CIRCLES})


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer.

    `thought` says that it is one of thinking, whose text is not kept; `refused` has the words of a refusal; `last` that
    nothing follows; `error` is a failure that came in place of the rest.
    """

    text: str = ""
    model: str | None = None
    thought: bool = False
    end: End | None = None
    last: bool = False
    refused: str | None = None
    error: Complaint | None = None
    usage: Usage | None = None

    @property
    def begins(self) -> bool:
        """Whether the model is at work: this is no ping and no mere frame of the API."""
        return bool(self.text) or self.thought or self.end is not None


class Answer:
    """What has come in so far. `begins_in_thought` was learnt from an earlier answer of the model."""

    def __init__(self, account: Account, *, begins_in_thought: bool = False) -> None:
        self._account = account
        self._texts: list[str] = []
        self._visible = thinking.Visible(thinking=begins_in_thought)
        self._looked = 0
        self.model: str | None = None
        self.usage: Usage | None = None
        self.end: End | None = None
        self.thought = False
        self.length = 0

    @property
    def raw(self) -> str:
        """The text with whatever the model thought aloud in it."""
        return "".join(self._texts)

    @property
    def text(self) -> str:
        """The text without the thinking; without the circles, too, where it ran in them."""
        text = thinking.answer(self.raw)
        return _straight(text) if self.end is End.CIRCLES else text

    def add(self, piece: Piece) -> str:
        """Take the next piece in and return what may be shown; raises AgentFailed when no answer will come."""
        title = self._account.title
        if piece.usage is not None:
            self.usage = piece.usage if self.usage is None else _most(self.usage, piece.usage)
        if piece.error is not None:
            raise failure(self._account, piece.error)
        if piece.refused is not None:
            said = redacted(piece.refused, self._account.key)
            raise AgentFailed(Kind.REFUSED, f"{title} would not answer this" + (f": {said}" if said else ""))
        text = piece.text.encode("utf-8", "replace").decode()  # JSON can spell half a surrogate pair, no socket can
        self._texts.append(text)
        self.length += len(text)
        if self.length > MAX_TEXT:
            raise AgentFailed(Kind.TOO_LONG, f"{title} answered more than {MAX_TEXT} characters")
        self.model = piece.model or self.model
        self.thought = self.thought or piece.thought
        if piece.end is not None and self.end in (None, End.DONE):
            self.end = piece.end
        if piece.last and self.end is None and (self.length or self.thought):
            self.end = End.DONE
        if self.end is None and self.length - self._looked >= _LOOK:
            self._looked = self.length
            if _circles("".join(self._texts[-2 * _LOOK :])):
                self.end = End.CIRCLES
        return self._visible.add(text)

    def go_on(self, more: "Answer") -> None:
        """Take in how an answer that paused goes on."""
        self._texts = [self.text.rstrip(), more.text]
        self.length = sum(map(len, self._texts))
        self.end = more.end

    def rest(self) -> str:
        """What may be shown and was held back until the end."""
        return self._visible.rest()

    def check(self) -> None:
        """Raises AgentFailed for what is no answer: one that broke off, or was cut before it came to anything."""
        title = self._account.title
        if self.end is None:
            message = f"{title} broke its answer off"
            raise AgentFailed(Kind.PROTOCOL, message) if self.length else Busy(Kind.PROTOCOL, message)
        text = self.text.strip()
        if self.end is End.FAILED:
            message = f"{title} failed within its answer"
            raise AgentFailed(Kind.SERVER, message) if self.length else Busy(Kind.SERVER, message)
        if self.end is End.REFUSED or (self.end is End.FILTER and len(text) < FRAGMENT):
            raise AgentFailed(Kind.REFUSED, f"{title} would not answer this")
        if self.end in CUTS and not text:
            message = f"{title} used up the tokens it was allowed before it came to an answer"
            advice = "raise ARAGORA_THINKING_TOKENS, or take a model that thinks less"
            raise AgentFailed(Kind.TOO_LONG, f"{message}; {advice}")


def _most(one: Usage, other: Usage) -> Usage:
    """APIs report in parts, or again and again while the answer grows: each count only ever rises."""
    return Usage(
        max(one.input, other.input),
        max(one.output, other.output),
        max(one.cached, other.cached),
        max(one.written, other.written),
        max(one.thought, other.thought),
    )


def _period(text: str) -> int:
    """The length of what `text` ends with again and again; 0 when it does not."""
    for period in range(1, _LONGEST_PERIOD + 1):
        times = max(_TIMES, -(-CIRCLE // period))
        if len(text) >= period * times and text.endswith(text[-period:] * times):
            return period
    return 0


def _circles(text: str) -> bool:
    return _period(text[-_TIMES * _LONGEST_PERIOD :]) > 0


def _straight(text: str) -> str:
    """`text` up to the end of the first round of the circle that it ends in."""
    period = _period(text)
    if not period:
        return text
    start = len(text) - period
    while start > 0 and text[start - 1] == text[start - 1 + period]:
        start -= 1
    return text[: start + period]


FINISHES: Mapping[str, End] = {
    "stop": End.DONE,
    "length": End.LENGTH,
    "max_tokens": End.LENGTH,
    "model_length": End.WINDOW,
    "content_filter": End.FILTER,
    "safety": End.FILTER,
    "recitation": End.FILTER,
    "prohibited_content": End.FILTER,
    "tool_calls": End.REFUSED,
    "function_call": End.REFUSED,
    "error": End.FAILED,
    "abort": End.FAILED,
    "insufficient_system_resource": End.FAILED,
}


def finish(reason: object) -> End | None:
    """The end that a `finish_reason` of chat completions stands for; an unknown one is an end like any other."""
    if not isinstance(reason, str) or not reason:
        return None
    return FINISHES.get(reason.casefold(), End.DONE)
