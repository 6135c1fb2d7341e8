"""A debate as a stream of chunks: what happens as the model's reasoning, the verdict as its content."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aragora.debate.events import Event, EventType
from aragora.debate.narration import described
from aragora.debate.usage import Usage
from aragora.errors import AragoraError, DebateEnded, NotFound
from aragora.server.completions import errors
from aragora.server.completions.response import DONE, Envelope, Result, sent
from aragora.server.cursor import Cursor
from aragora.server.watchers import Watchers
from aragora.service import Debates, views
from aragora.storage import Subscription

log = logging.getLogger("aragora.server.stream")


class CompletionSource:
    """The chunks of one debate; it sums up from the events what the last ones need."""

    def __init__(self, cursor: Cursor, envelope: Envelope, *, includes_usage: bool) -> None:
        self._cursor = cursor
        self._envelope = envelope
        self._includes_usage = includes_usage
        self._usage = Usage()
        self._consensus: Event | None = None

    @property
    def ended(self) -> bool:
        """Whether the debate has ended."""
        return self._cursor.ended

    def missing(self) -> list[tuple[Subscription, int]]:
        """What only the store has."""
        return self._cursor.missing()

    def at_hand(self) -> bool:
        """Whether the next events are in memory."""
        return self._cursor.at_hand()

    def take(self) -> bytes:
        """The chunks of the next events."""
        return b"".join(self._chunks(event) for event in self._cursor.take().events)

    def _chunks(self, event: Event) -> bytes:
        taken = event.data.get("usage")
        if isinstance(taken, dict):
            self._usage += Usage.from_json(taken)
        if event.type is EventType.CONSENSUS:
            self._consensus = event
        if event.type is EventType.DEBATE_END:
            return self._verdict(event)
        heading, text = described(views.event(event))
        said = "\n\n".join(part for part in (heading, text) if part)
        return self._envelope.chunk({"reasoning_content": f"{said}\n\n"}) if said else b""

    def _verdict(self, end: Event) -> bytes:
        verdict = views.verdict(self._consensus) or {"reached": False, "confidence": 0.0, "summary": ""}
        result = Result(
            debate_id=self._cursor.subscription.debate_id,
            status=str(end.data["status"]),
            answer=None if self._consensus is None else self._consensus.data.get("answer"),
            reached=verdict["reached"] or verdict.get("method") == "none",
            confidence=verdict["confidence"] or 0.0,
            summary=verdict["summary"],
            reason=end.data.get("reason"),
            usage=self._usage,
        )
        if result.failure:
            return sent(errors.form("debate_failed", result.failure, 502)) + DONE
        last = self._envelope.chunk({}, result.finish_reason, aragora=result.facts())
        took = self._envelope.usage(self._usage) if self._includes_usage else b""
        return self._envelope.chunk({"content": result.content}) + last + took + DONE


@dataclass(frozen=True, slots=True)
class CompletionStream:
    """The stream that answers one request. A client that leaves before its end wants no answer any more."""

    debates: Debates
    debate_id: str
    envelope: Envelope
    includes_usage: bool
    cancel: Callable[[], object]

    @property
    def opening(self) -> bytes:
        """The chunk that carries the speaker's role."""
        return self.envelope.chunk({"role": "assistant", "content": ""})

    @contextmanager
    def watching(self, watchers: Watchers, wake: Callable[[], None]) -> Iterator[CompletionSource]:
        """As a source of bytes; raises `TooManyRequests` and `NotFound`."""
        with watchers.admit(wake), self.debates.subscribe(self.debate_id, wake) as subscription:
            yield CompletionSource(Cursor(subscription, 0), self.envelope, includes_usage=self.includes_usage)

    def failed(self, error: AragoraError) -> bytes:
        """The error; OpenAI's clients raise it."""
        log.info("the completion by %s ends: %s", self.debate_id, error.message)
        gone = isinstance(error, NotFound)
        message = "the debate was deleted" if gone else f"the debate {self.debate_id} cannot be read at the moment"
        return sent(errors.form("debate_lost", message, 404 if gone else 503))

    def cut_short(self) -> bytes:
        """An error that says where the verdict will be."""
        message = f"the server restarts; the debate goes on at /api/debates/{self.debate_id}"
        return sent(errors.form("restarting", message, 503))

    def left(self) -> None:
        """The client has gone, so the verdict is not needed: no agent is asked any more."""
        try:
            self.cancel()
        except (DebateEnded, NotFound):
            pass
        except AragoraError as error:
            log.warning("%s goes on without its client: %s", self.debate_id, error.message)
