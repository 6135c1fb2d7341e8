"""One WebSocket client, without its socket: decoded messages in, messages out.

The WSGI, ASGI and development servers move the messages; what they mean is decided here, once. `receive` and `pending`
may read the store; nothing here waits for the client. A subscription is a cursor into the debate's log (see
`aragora.server.cursor`): `pending` is asked for the next portion whenever the transport has got rid of the last one, so
that a slow client is held back by its own socket and by nothing else.
"""

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aragora import errors
from aragora.debate.status import Status
from aragora.server import body
from aragora.server.audit import Caller
from aragora.server.cursor import Cursor
from aragora.server.following import HEARTBEAT_SECONDS
from aragora.server.process import Process
from aragora.server.texts import MAX_MESSAGE_BYTES, fitted, texts
from aragora.service import STRANGER
from aragora.storage import Scope, Subscription

log = logging.getLogger("aragora.server.websocket")

MAX_SUBSCRIPTIONS = 100
# A client may send this many messages at once, and so many a second on average.
BURST = 100
RATE = 20.0
MAX_LOOPS = 100
CHANGING = frozenset({"cancel", "user_vote", "user_suggestion"})

GOING_AWAY = 1001
UNSUPPORTED = 1003
TOO_BIG = 1009
INTERNAL = 1011
TRY_AGAIN = 1013
UNAUTHORIZED = 4001
FORBIDDEN_ORIGIN = 4003
NO_SUCH_DEBATE = 4004
TOO_MANY = 4029


class Closed(Exception):  # noqa: N818 - the ordinary end of a session, not an error
    """The session ends: the transport sends `farewell`, then closes with `code`."""

    def __init__(self, code: int, reason: str, farewell: list[str] | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.farewell = farewell or []


def ending(error: Exception) -> Closed:
    """How a session ends that failed: after a 101 a close code is the only thing that may be said (RFC 6455 7.4.1)."""
    match error:
        case Closed():
            return error
        case errors.TooManyRequests():
            return Closed(TOO_MANY, error.message)
        case errors.Unavailable():
            log.warning("a WebSocket ends: %s", error.message)
            return Closed(TRY_AGAIN, "not available at the moment; reconnect with replay_from_seq")
    log.error("a WebSocket ends by a failure of ours", exc_info=error)
    return Closed(INTERNAL, "internal error")


@dataclass(slots=True)
class Watched:
    """One subscribed debate: where its client is in the log."""

    cursor: Cursor
    replay_until: int | None = None
    replayed: int = 0


class Session:
    """The conversation with one client."""

    def __init__(self, here: Process, wake: Callable[[], None], caller: Caller) -> None:
        self._here = here
        self._caller = caller
        self._principal = caller.principal or STRANGER
        self._debates = here.debates.on_behalf_of(self._principal)
        self._wake = wake
        self._client_id = secrets.token_hex(8)
        self._watched: dict[str, Watched] = {}
        self._allowance = float(BURST)
        self._refilled = time.monotonic()
        self._answers: dict[str, Callable[[dict[str, Any]], list[str]]] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "get_loops": self._loops,
            "ping": self._ping,
            "cancel": self._cancel,
            "user_vote": self._user_vote,
            "user_suggestion": self._user_suggestion,
        }

    def greeting(self) -> list[str]:
        """What every client is sent first."""
        facts = {
            "client_id": self._client_id,
            "authenticated": bool(self._principal.name),
            "write_access": self._principal.may(Scope.CREATE),
            "heartbeat_seconds": HEARTBEAT_SECONDS,
            "max_message_bytes": MAX_MESSAGE_BYTES,
        }
        return [_message("connection_info", facts), *self._loops({})]

    def receive(self, text: str) -> list[str]:
        """Answer one message of the client; raises `Closed` when the session is over because of it."""
        self._here.metrics.messages.labels("in").inc()
        self._spend()
        try:
            message = body.parse(text)
            if not isinstance(message, dict) or not isinstance(message.get("type"), str):
                raise errors.BadRequest('write a JSON object with a "type"')
            if message["type"] not in self._answers:
                known = ", ".join(self._answers)
                raise errors.BadRequest(f"the type is not known; known types: {known}")
            return self._answer(message)
        except errors.AragoraError as error:
            return [_failure(error, _named(text, error))]

    def _answer(self, message: dict[str, Any]) -> list[str]:
        """Do what is asked, and leave word of what changes a debate."""
        kind = message["type"]
        status = 200
        try:
            return self._answers[kind](message)
        except errors.AragoraError as error:
            status = error.http_status
            raise
        finally:
            if kind in CHANGING:
                debate = str(message.get("debate_id", message.get("loop_id")))
                self._here.audit.record(self._caller, f"WebSocket {kind}", debate, status)

    def missing(self) -> list[tuple[Subscription, int]]:
        """The subscriptions, with their cursors, whose next events only the store has."""
        return [missing for watched in self._watched.values() for missing in watched.cursor.missing()]

    def pending(self) -> list[str]:
        """The next portion of what is subscribed to, in order; empty when the client has everything."""
        portion: list[str] = []
        for debate_id, watched in list(self._watched.items()):
            try:
                news = watched.cursor.take()
            except errors.NotFound as error:
                self._forget(debate_id)
                portion.append(_failure(error, debate_id))
                if not self._watched:
                    raise Closed(NO_SUCH_DEBATE, "the debate was deleted", portion) from None
                continue
            portion.extend(texts.of_words(debate_id, piece) for piece in news.words)
            portion.extend(texts.of(debate_id, event) for event in news.events)
            if watched.replay_until is not None:
                watched.replayed += len(news.events)
            elif news.events:
                self._here.metrics.fanout_seconds.observe(max(0.0, time.time() - news.events[0].at))
            if watched.replay_until is not None and watched.cursor.seq >= watched.replay_until:
                watched.replay_until = None
                portion.append(self._replayed(debate_id, watched))
        return portion

    def heartbeat(self) -> str:
        """The sign of life, with the newest `seq` of each subscribed debate.

        Raises `Closed` once the client's token is not known any more.
        """
        if not self._here.access.is_current(self._principal):
            raise Closed(UNAUTHORIZED, "the token is not known any more")
        newest = {debate_id: watched.cursor.subscription.last_seq for debate_id, watched in self._watched.items()}
        return _message("heartbeat", {"timestamp": time.time(), "last_seq": newest})

    def close(self) -> None:
        """Watch nothing any longer."""
        for debate_id in list(self._watched):
            self._forget(debate_id)

    def _spend(self) -> None:
        """A leaky bucket over the client's messages."""
        now = time.monotonic()
        self._allowance = min(BURST, self._allowance + (now - self._refilled) * RATE)
        self._refilled = now
        if self._allowance < 1:
            raise Closed(TOO_MANY, "too many messages")
        self._allowance -= 1

    def _subscribe(self, message: dict[str, Any]) -> list[str]:
        debate_id = _debate_id(message)
        since = message.get("replay_from_seq")
        if since is not None and (isinstance(since, bool) or not isinstance(since, int) or not 0 <= since < 2**53):
            raise errors.ValidationFailed.of(
                errors.Problem("replay_from_seq", "write the seq of the last event you saw, or 0")
            )
        if debate_id not in self._watched and len(self._watched) >= MAX_SUBSCRIPTIONS:
            raise Closed(TOO_MANY, f"at most {MAX_SUBSCRIPTIONS} debates on one connection")
        try:
            subscription = self._debates.subscribe(debate_id, self._wake, words=True)
        except errors.NotFound as error:
            # Other debates on this connection go on; without any there is nothing to stay for.
            told = [_failure(error, debate_id)]
            if not self._watched:
                raise Closed(NO_SUCH_DEBATE, "no such debate", told) from None
            return told
        self._forget(debate_id)
        newest = subscription.last_seq
        watched = self._watched[debate_id] = Watched(Cursor(subscription, newest if since is None else since))
        answer = [self._sync(debate_id, newest)]
        if since is not None:
            watched.replay_until = newest
            facts = {"from_seq": since, "latest_seq": newest, "event_count": max(0, newest - since)}
            answer.append(_message("replay_start", facts, debate_id))
            if since >= newest:
                # Nothing to replay; a client ahead of the log (restored from a backup) follows from its end.
                watched.cursor.seq = newest
                watched.replay_until = None
                answer.append(self._replayed(debate_id, watched))
        return answer

    def _sync(self, debate_id: str, newest: int) -> str:
        """How the debate stands, without what was said in it."""
        state = self._debates.summary(self._debates.get(debate_id))
        return fitted(
            {"type": "sync", "debate_id": debate_id, "loop_id": debate_id, "data": {**state, "last_seq": newest}}
        )

    def _replayed(self, debate_id: str, watched: Watched) -> str:
        facts = {"replayed_count": watched.replayed, "latest_seq": watched.cursor.seq}
        return _message("replay_end", facts, debate_id)

    def _unsubscribe(self, message: dict[str, Any]) -> list[str]:
        debate_id = _debate_id(message)
        if debate_id not in self._watched:
            raise errors.NotFound("this connection is not subscribed to that debate")
        self._forget(debate_id)
        return [_message("ack", {"action": "unsubscribe"}, debate_id)]

    def _loops(self, _message_in: dict[str, Any]) -> list[str]:
        page = self._debates.page
        active = [*page(MAX_LOOPS, status=Status.RUNNING).debates, *page(MAX_LOOPS, status=Status.CREATED).debates]
        loops = [
            {
                "loop_id": record.id,
                "debate_id": record.id,
                "name": record.title,
                "status": record.status,
                "started_at": record.created_at,
            }
            for record in active[:MAX_LOOPS]
        ]
        return [_message("loop_list", {"loops": loops, "count": len(loops)})]

    def _ping(self, message: dict[str, Any]) -> list[str]:
        stamp = message.get("ts")
        if stamp is not None and (isinstance(stamp, bool) or not isinstance(stamp, int | float)):
            raise errors.ValidationFailed.of(errors.Problem("ts", "write a number"))
        return [_message("pong", {"ts": stamp, "timestamp": time.time()}, ts=stamp)]

    def _cancel(self, message: dict[str, Any]) -> list[str]:
        record = self._here.cancel(self._debates, _debate_id(message))
        return [_message("ack", {"action": "cancel", "status": record.status}, record.id)]

    def _user_vote(self, message: dict[str, Any]) -> list[str]:
        debate_id = _debate_id(message)
        given = _payload(message)
        event = self._debates.user_vote(
            debate_id, _text(given, "choice"), _text(given, "reasoning", optional=True), self._client_id
        )
        return [_message("ack", {"action": "user_vote", "seq": event.seq}, debate_id)]

    def _user_suggestion(self, message: dict[str, Any]) -> list[str]:
        debate_id = _debate_id(message)
        given = _payload(message)
        field = "text" if "text" in given else "suggestion"
        event = self._debates.user_suggestion(debate_id, _text(given, field), self._client_id)
        return [_message("ack", {"action": "user_suggestion", "seq": event.seq}, debate_id)]

    def _forget(self, debate_id: str) -> None:
        watched = self._watched.pop(debate_id, None)
        if watched is not None:
            watched.cursor.subscription.close()


def _message(kind: str, data: dict[str, Any], debate_id: str | None = None, **more: Any) -> str:
    named = {} if debate_id is None else {"debate_id": debate_id, "loop_id": debate_id}
    return fitted({"type": kind, **named, **more, "data": data})


def _failure(error: errors.AragoraError, debate_id: str | None) -> str:
    """An error in the one shape; `data` repeats it for clients of the original."""
    rendered = errors.render(error)["error"]
    if error.http_status >= 500:
        rendered["message"] = "not available at the moment; try again"
    return _message("error", rendered, debate_id, error=rendered)


def _named(text: str, error: errors.AragoraError) -> str | None:
    """The debate that a refused message was about, when it can be read at all."""
    if isinstance(error, errors.BadRequest):
        return None
    message = body.parse(text)
    debate_id = message.get("debate_id", message.get("loop_id"))
    return debate_id if isinstance(debate_id, str) and len(debate_id) <= 64 else None


def _debate_id(message: dict[str, Any]) -> str:
    found = message.get("debate_id", message.get("loop_id"))
    if not isinstance(found, str) or not found:
        raise errors.ValidationFailed.of(errors.Problem("debate_id", "is needed"))
    return found


def _payload(message: dict[str, Any]) -> dict[str, Any]:
    """Members are siblings of the type, or in `payload` as the original's clients write them."""
    payload = message.get("payload")
    if payload is None:
        return message
    if not isinstance(payload, dict):
        raise errors.ValidationFailed.of(errors.Problem("payload", "write an object"))
    return payload


def _text(given: dict[str, Any], field: str, *, optional: bool = False) -> str:
    value = given.get(field)
    if value is None and optional:
        return ""
    if not isinstance(value, str) or not value.strip():
        raise errors.ValidationFailed.of(errors.Problem(field, "write some text"))
    return value
