"""An agent that is a language model behind an HTTP API: ask, retry while that is promising, gather the stream.

What differs between the APIs is a `Dialect`: how a question is put, and what one piece of an answer means.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import requests

from aragora.agents import sse
from aragora.agents.agent import AgentFailed
from aragora.agents.exchange import Busy, Exchange, Request, parsed, redacted, session
from aragora.debate.questions import Question, Reply

log = logging.getLogger(__name__)

TOKENS = 4096  # of one answer, reasoning included
MAX_TEXT = 100_000  # characters; an answer that goes on longer is running in circles
PAUSES = (0.5, 1.0, 2.0)  # seconds before each further try of a provider that is busy
LONGEST_PAUSE = 30.0  # a provider that asks for more fails, and says when it may be asked again
NOTICE = 1.0  # seconds between looks, in a pause, whether anybody still waits for the answer


@dataclass(frozen=True, slots=True)
class Account:
    """Where and as whom a provider is asked. `timeout` bounds one answer with all its tries, in seconds."""

    title: str
    base_url: str
    key: str = field(repr=False)
    model: str
    timeout: float
    limit: str = "max_tokens"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer. `ended` says that the model stopped, `cut` that it had to, at the limit of tokens;
    `refused` that it or its provider would not answer."""

    text: str = ""
    model: str | None = None
    ended: bool = False
    cut: bool = False
    refused: bool = False
    error: str | None = None
    busy: bool = False


class Dialect(Protocol):
    """How one API puts it."""

    def request(self, account: Account, question: Question) -> Request:
        """The question."""

    def streamed(self, event: Mapping[str, Any]) -> Piece:
        """What one event of a stream says."""

    def whole(self, body: Mapping[str, Any]) -> Piece:
        """What an answer in one JSON object says."""


class ChatAgent:
    """Asks one model of one account. Any number of threads may use it."""

    def __init__(
        self,
        account: Account,
        dialect: Dialect,
        *,
        connections: requests.Session | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account = account
        self._dialect = dialect
        self._connections = connections
        self._clock = clock
        self._sleep = sleep

    def ask(self, question: Question, on_token: Callable[[str], None], deadline: float) -> Reply:
        """See `aragora.agents.agent.Agent`."""
        deadline = min(deadline, self._clock() + self._account.timeout)
        request = self._dialect.request(self._account, question)
        for pause in PAUSES:
            try:
                return self._answer(request, on_token, deadline)
            except Busy as busy:
                wait = max(pause, busy.retry_after or 0.0)
                if wait > LONGEST_PAUSE or wait >= deadline - self._clock():
                    raise
            self._rest(wait, on_token)
        return self._answer(request, on_token, deadline)

    def _rest(self, seconds: float, on_token: Callable[[str], None]) -> None:
        """Pause; a debate that ends meanwhile asks nobody any more: then `on_token` raises."""
        while seconds > 0:
            on_token("")
            self._sleep(min(seconds, NOTICE))
            seconds -= NOTICE
        on_token("")

    def _answer(self, request: Request, on_token: Callable[[str], None], deadline: float) -> Reply:
        connections = self._connections or session()
        answer = Answer(self._account)
        with Exchange(connections, request, deadline, self._clock) as exchange:
            try:
                for piece in self._pieces(exchange):
                    text = answer.add(piece)
                    if text:
                        on_token(text)
                    if answer.ended:
                        exchange.finish()
                        break
            except AgentFailed as failed:
                if answer.length:  # not Busy: part of it has been shown, a new try begins a new answer
                    raise AgentFailed(failed.kind, failed.message, failed.retry_after) from None
                raise
        return answer.reply()

    def _pieces(self, exchange: Exchange) -> Iterator[Piece]:
        title = self._account.title
        if not exchange.streams:
            body = parsed(b"".join(exchange.pieces()).decode("utf-8", "replace"))
            yield self._dialect.whole(self._object(body))
            return
        try:
            for data in sse.events(exchange.pieces()):
                if data.strip() == "[DONE]":
                    return
                yield self._dialect.streamed(self._object(parsed(data)))
        except sse.TooLong:
            raise AgentFailed("protocol", f"{title} sent an event that is too long") from None

    def _object(self, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise AgentFailed("protocol", f"{self._account.title} sent something else than JSON objects")
        return value


class Answer:
    """What has come in so far."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._texts: list[str] = []
        self._model: str | None = None
        self._cut = False
        self.length = 0
        self.ended = False

    def add(self, piece: Piece) -> str:
        """Take the next piece in and return its text; raises AgentFailed when it says that no answer will come."""
        title = self._account.title
        if piece.error is not None:
            log.warning("%s failed within its answer: %s", title, redacted(piece.error, self._account.key))
            failure = Busy if piece.busy else AgentFailed
            raise failure("server", f"{title} failed within its answer")
        if piece.refused:
            raise AgentFailed("refused", f"{title} would not answer this")
        text = piece.text.encode("utf-8", "replace").decode()  # JSON can spell half a surrogate pair, no socket can
        self._texts.append(text)
        self.length += len(text)
        if self.length > MAX_TEXT:
            raise AgentFailed("too_long", f"{title} answered more than {MAX_TEXT} characters")
        self._model = piece.model or self._model
        self._cut = self._cut or piece.cut
        self.ended = self.ended or piece.ended
        return text

    def reply(self) -> Reply:
        """The answer; raises AgentFailed for one that broke off."""
        title = self._account.title
        if not self.ended:
            failure = AgentFailed if self.length else Busy
            raise failure("protocol", f"{title} broke its answer off")
        if self._cut and not "".join(self._texts).strip():
            raise AgentFailed("too_long", f"{title} used up {TOKENS} tokens before it came to an answer")
        return Reply("".join(self._texts), self._model)
