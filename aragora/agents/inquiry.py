"""One question to one model, from the gate to the answer: how it is put, when it is put again, when it is given up."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import requests

from aragora.agents import lessons, sse, trimming
from aragora.agents.account import Account
from aragora.agents.agent import AgentFailed, Waiting
from aragora.agents.complaints import Kind
from aragora.agents.endpoint import Endpoint
from aragora.agents.exchange import FAREWELL, LINGER, Busy, Exchange, Refused, Request
from aragora.agents.facts import Form, Order
from aragora.agents.json_values import parsed
from aragora.agents.pieces import CUTS, Answer, End, Piece
from aragora.debate.questions import Question, Reply
from aragora.debate.usage import Usage

log = logging.getLogger(__name__)

PAUSES = (0.5, 1.0, 2.0)  # seconds before each further try of a provider that is there and fails
LONGEST_PAUSE = 10.0  # between tries of one that is away
NOTICE = 1.0  # seconds between looks, in a pause, whether anybody still waits for the answer
LESSONS = 6  # refusals of one question that may teach something
GOES_ON = 3  # how often an answer that paused is asked to go on
MARGIN = 48  # tokens that a chat template puts around the messages
LEAST = 64  # tokens; an answer that may not be longer is not worth asking for


class Dialect(Protocol):
    """How one API puts it. `schemas` are the forms in which it holds a model to a schema."""

    schemas: frozenset[Form]

    def request(self, account: Account, order: Order) -> Request:
        """The question."""

    def streamed(self, event: Mapping[str, Any]) -> Piece:
        """What one event of a stream says."""

    def whole(self, body: Mapping[str, Any]) -> Piece:
        """What an answer in one JSON object says."""


class Inquiry:
    """One question on its way. `usage` is what it has taken so far."""

    def __init__(
        self,
        account: Account,
        dialect: Dialect,
        endpoint: Endpoint,
        connections: requests.Session,
        question: Question,
        deadline: float,
        on_token: Callable[[str], None],
        on_wait: Callable[[Waiting], None],
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._account = account
        self._dialect = dialect
        self._endpoint = endpoint
        self._connections = connections
        self._question = question
        self._deadline = deadline
        self._on_token = on_token
        self._on_wait = on_wait
        self._clock = clock
        self._sleep = sleep
        self._facts = endpoint.facts(account)
        self._streams = True
        self._pauses: Iterator[float] = iter(PAUSES)
        self._away = 0
        self.usage: Usage | None = None

    def reply(self) -> Reply:
        """The answer, however often it has to be asked for; raises AgentFailed."""
        while True:
            try:
                return self._learning()
            except Busy as busy:
                self._rest(self._pause(busy), busy)

    def _pause(self, busy: Busy) -> float:
        """Seconds until the next try; raises `busy` when none is worth it."""
        now = self._clock()
        log.info("%s: %s", self._account.model, busy.message)
        if busy.away:
            self._away += 1
            wait = max(min(PAUSES[0] * 2.0 ** (self._away - 1), LONGEST_PAUSE), busy.retry_after or 0.0)
            left = self._endpoint.outage.until(now, self._account.patience.outage, self._deadline) - now
            if left < PAUSES[0] or (busy.retry_after or 0.0) > left:
                raise busy
            return min(wait, left)
        self._endpoint.outage.over()
        if busy.retry_after is not None:
            if now + busy.retry_after >= self._deadline:
                raise busy
            return max(busy.retry_after, PAUSES[0])
        pause = next(self._pauses, None)
        if pause is None or now + pause >= self._deadline:
            raise busy
        if busy.kind == Kind.PROTOCOL:
            self._streams = False  # a stream that breaks off has no room for the reason; a whole answer has
        return pause

    def _rest(self, seconds: float, busy: Busy) -> None:
        """Pause; a debate that ends meanwhile asks no agent any more: then `on_token` raises."""
        self._on_wait(Waiting(0, f"{busy.message}; asked again in {seconds:.3g} s"))
        while seconds > 0:
            self._on_token("")
            self._sleep(min(seconds, NOTICE))
            seconds -= NOTICE
        self._on_token("")

    def _learning(self) -> Reply:
        """The answer, put again by whatever its refusals teach."""
        for _ in range(LESSONS):
            order, omitted = self._order()
            try:
                answer = self._going_on(order)
            except (Refused, Busy) as refused:
                if refused.complaint is None or not lessons.learn(self._facts, refused.complaint, order):
                    raise
                last: AgentFailed = refused
                continue
            if lessons.observe(self._facts, answer, order):
                last = AgentFailed(Kind.TOO_LONG, f"{self._account.title} came to no answer")
                continue
            answer.check()
            cut = answer.end if answer.end in CUTS else None
            return Reply(answer.text, answer.model, self.usage, cut and cut.value, omitted)
        raise last

    def _order(self) -> tuple[Order, tuple[str, ...]]:
        """The question as it fits the model; raises AgentFailed when it cannot."""
        facts, lengths = self._facts, self._account.lengths
        needed = lengths.of(self._question)
        tokens = needed + (lengths.thinking if facts.thinks else 0)
        tokens = min(tokens, facts.longest or tokens)
        held = self._is_held()
        question = self._question if held else replace(self._question, prompt=self._question.shown, example="")
        omitted: tuple[str, ...] = ()
        if facts.window is not None:
            question, tokens, omitted = self._fitted(question, facts.window, needed, tokens)
        streams = self._account.streams and self._streams and facts.streams
        return Order(question, replace(facts), tokens, streams, held=held), omitted

    def _is_held(self) -> bool:
        """Whether the server makes the model keep to the schema, so that an example would only be repeated."""
        facts = self._facts
        takes = self._question.schema is not None and facts.form in self._dialect.schemas
        return takes and (self._question.attempt == 1 if facts.holds is None else facts.holds)

    def _fitted(
        self, question: Question, window: int, needed: int, tokens: int
    ) -> tuple[Question, int, tuple[str, ...]]:
        """The question and the length of its answer in a window of so many tokens.

        The answer gives way first, down to what it needs or to a third of the window; then the prompt.
        """
        count = self._facts.count
        room = window - MARGIN - window // 50
        tokens = max(min(tokens, needed, window // 3), min(tokens, room - trimming.size(question, count)))
        question, omitted = trimming.trimmed(question, count, room - tokens)
        tokens = min(tokens, room - trimming.size(question, count))
        if tokens < min(LEAST, needed):
            told = f"the shortest prompt has about {trimming.size(question, count)} tokens"
            room_for = f"{self._account.model} has room for {window} with the answer"
            message = f"{self._account.title}: {told}, {room_for}; give it more, or name another model"
            raise AgentFailed(Kind.CONTEXT, message, final=True)
        return question, tokens, omitted

    def _going_on(self, order: Order) -> Answer:
        """The answer, which goes on where it paused."""
        answer = self._answer(order)
        for _ in range(GOES_ON):
            so_far = answer.text.rstrip()
            if answer.end is not End.PAUSE or not so_far:
                break
            try:
                answer.go_on(self._answer(replace(order, so_far=so_far)))
            except AgentFailed as failed:
                log.warning("%s did not go on with its answer: %s", self._account.title, failed.message)
                break
        return answer

    def _answer(self, order: Order) -> Answer:
        answer = Answer(self._account, begins_in_thought=self._facts.begins_in_thought)
        request = self._dialect.request(self._account, order)
        with Exchange(self._connections, request, self._deadline, self._clock) as exchange:
            self._endpoint.outage.over()
            try:
                self._gather(exchange, answer)
            except AgentFailed as failed:
                if answer.end is None:
                    # Part of it has been shown: a new try begins a new answer, which is the engine's to ask for.
                    raise (AgentFailed(failed.kind, failed.message) if answer.length else failed) from None
            finally:
                self._spend(answer.usage)
        if rest := answer.rest():
            self._on_token(rest)
        if answer.usage is not None:
            self._facts.measured(order.question, answer.usage.input)
        return answer

    def _gather(self, exchange: Exchange, answer: Answer) -> None:
        """Read to the end of the answer, and what follows it if it comes at once."""
        pieces = self._pieces(exchange)
        for piece in pieces:
            if piece.begins:
                exchange.begin()
            if text := answer.add(piece):
                self._on_token(text)
            if answer.end is End.CIRCLES:
                return
            if piece.last:
                break
            if answer.end is not None and (piece.end is not None or piece.text):
                exchange.end(LINGER if answer.usage is None else FAREWELL)
        exchange.end(FAREWELL)
        for _ in pieces:
            pass

    def _pieces(self, exchange: Exchange) -> Iterator[Piece]:
        """What the parts of the body say: events or one JSON object, whatever its type is said to be."""
        title = self._account.title
        head = b""
        body = exchange.pieces()
        for part in body:
            head += part
            if head.removeprefix(sse.BYTE_ORDER_MARK).strip():
                break
        begins = head.removeprefix(sse.BYTE_ORDER_MARK).lstrip()[:1]
        if begins in (b"{", b"["):
            whole = (head + b"".join(body)).decode("utf-8-sig", "replace")
            yield self._dialect.whole(self._object(parsed(whole)))
            return
        if begins == b"<":
            raise AgentFailed(Kind.PROTOCOL, f"{title} answered with a page: is its address that of the API?")
        try:
            for data in sse.events(itertools.chain([head], body)):
                if data.strip() == "[DONE]":
                    yield Piece(last=True)
                else:
                    yield self._dialect.streamed(self._object(parsed(data)))
        except sse.TooLong:
            raise AgentFailed(Kind.PROTOCOL, f"{title} sent an event that is too long") from None

    def _object(self, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise AgentFailed(Kind.PROTOCOL, f"{self._account.title} sent something else than JSON objects")
        return value

    def _spend(self, usage: Usage | None) -> None:
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage + usage
