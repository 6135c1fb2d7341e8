"""Live events on an event loop: SSE and WebSocket without a thread per watcher.

The conversation itself is `aragora.server.session`'s, as everywhere. Whatever may ask the store runs in the pool; a
watcher whose next events are in memory, and that is nearly always, is served on the loop.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Executor
from typing import Any, Never, TypeVar

from aragora.errors import AragoraError
from aragora.server import auth, handshake, process, stream
from aragora.server.audit import Caller
from aragora.server.session import GOING_AWAY, TOO_BIG, TRY_AGAIN, UNSUPPORTED, Closed, Session, ending
from aragora.server.websocket import ABNORMAL, INBOX, STALL_SECONDS
from aragora.storage import Subscription

log = logging.getLogger("aragora.server.websocket")

# Fields of a handshake that decide who may speak with us.
HANDSHAKE = ("ORIGIN", "HOST", "AUTHORIZATION", "X_FORWARDED_FOR")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Result = TypeVar("Result")


class Wakeup:
    """Wakes coroutines from other threads; however many are to be woken, the loop is interrupted once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._rung: set[asyncio.Event] = set()

    def ring(self, event: asyncio.Event) -> None:
        """Set `event`, soon, on the loop; from any thread."""
        with self._lock:
            first = not self._rung
            self._rung.add(event)
        if first:
            try:
                self._loop.call_soon_threadsafe(self._set)
            except RuntimeError:
                log.debug("the loop has ended; nobody is left to wake")

    def _set(self) -> None:
        with self._lock:
            rung, self._rung = self._rung, set()
        for event in rung:
            event.set()


class Pool:
    """Runs blocking calls in threads, and what many watchers need at once only once."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._fetching: dict[str, asyncio.Future[Any]] = {}

    async def run(self, call: Callable[..., Result], *args: Any) -> Result:
        """The result of `call`, made in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    async def fetch(self, subscription: Subscription, since: int) -> None:
        """Bring what follows `since` into the memory that the debate's watchers share."""
        key = subscription.debate_id
        if key not in self._fetching:
            self._fetching[key] = asyncio.ensure_future(self.run(subscription.events, since, stream.PORTION))
            self._fetching[key].add_done_callback(lambda _: self._fetching.pop(key, None))
        await asyncio.wait([self._fetching[key]])


async def send_stream(
    wanted: stream.StreamEvents, start: Message, receive: Receive, send: Send, wakeup: Wakeup, pool: Pool
) -> None:
    """Answer with the debate's events until it has ended, the client is gone, or this process drains."""
    here = process.current()
    changed = asyncio.Event()
    since = wanted.since
    start["headers"] = [(name, value) for name, value in start["headers"] if name != b"content-length"]

    def wake() -> None:
        wakeup.ring(changed)

    with here.watchers.admit(wake), await pool.run(here.debates.subscribe, wanted.debate_id, wake) as subscription:
        await send(start)
        await _send_part(send, stream.SSE_OPENING)
        gone = asyncio.ensure_future(_until_gone(receive, wake))
        try:
            while not (here.draining or gone.done()):
                changed.clear()
                events = await following(subscription, since, pool)
                if events:
                    since = events[-1].seq
                    here.metrics.fanout_seconds.observe(max(0.0, time.time() - events[0].at))
                    await _send_part(send, b"".join(stream.sse_event(wanted.debate_id, event) for event in events))
                    if stream.is_last(events[-1]):
                        break
                elif not await _wait(changed, stream.HEARTBEAT_SECONDS):
                    await _send_part(send, stream.SSE_HEARTBEAT)
        except AragoraError as error:
            # Deleted, or the database is away: an EventSource connects again, and learns it from the status.
            log.info("the stream of %s ends: %s", wanted.debate_id, error.message)
        finally:
            gone.cancel()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def await_change(wanted: stream.AwaitEvents | stream.AwaitEnd, wakeup: Wakeup, pool: Pool) -> bool:
    """Wait for what a resource left to us; whether the debate has ended, as far as that was asked."""
    here = process.current()
    changed = asyncio.Event()

    def wake() -> None:
        wakeup.ring(changed)

    deadline = time.monotonic() + wanted.timeout
    with here.watchers.admit(wake), await pool.run(here.debates.subscribe, wanted.debate_id, wake) as subscription:
        record = await pool.run(here.debates.get, wanted.debate_id)
        if isinstance(wanted, stream.AwaitEvents):
            since, ended = wanted.since, record.ended
        else:
            since, ended = record.last_seq, record.ended
        while not (ended or here.draining):
            changed.clear()
            events = await following(subscription, since, pool)
            if events and isinstance(wanted, stream.AwaitEvents):
                break
            if events:
                since = events[-1].seq
                ended = stream.is_last(events[-1])
            elif not await _wait(changed, deadline - time.monotonic()):
                break
        return ended


async def following(subscription: Subscription, since: int, pool: Pool) -> list[Any]:
    """The next events after `since`; the store is asked in a thread, and once for all who wait."""
    if not subscription.at_hand(since):
        await pool.fetch(subscription, since)
    if not subscription.at_hand(since):
        return await pool.run(subscription.events, since, stream.PORTION)
    return subscription.events(since, stream.PORTION)


async def _wait(changed: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await changed.wait()
    except TimeoutError:
        return False
    return True


async def _send_part(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})


async def _until_gone(receive: Receive, wake: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    wake()


class AsyncSession:
    """One WebSocket of an ASGI server."""

    def __init__(self, scope: Message, receive: Receive, send: Send, wakeup: Wakeup, pool: Pool) -> None:
        self._scope = scope
        self._receive = receive
        self._deliver = send
        self._wakeup = wakeup
        self._pool = pool
        self._changed = asyncio.Event()
        self._inbox: asyncio.Queue[str | Closed] = asyncio.Queue(INBOX)
        self._gone = False

    async def run(self, request_id: str) -> AragoraError | None:
        """Accept the client and serve it until one side ends; or what it is to be answered in place of that."""
        begun = time.monotonic()
        await self._receive()
        token = auth.token_subprotocol(self._scope.get("subprotocols") or ())
        environ = self._environ(request_id)
        end: Closed | None = None
        try:
            await self._pool.run(handshake.admit, environ, token)
        except AragoraError as error:
            return error
        except Closed as refusal:
            end = refusal
        here = process.current()
        caller = Caller.of(environ, token)
        headers = [(b"x-request-id", request_id.encode())]
        await self._deliver({"type": "websocket.accept", "subprotocol": token, "headers": headers})
        served = end is None
        if end is None:
            end = await self._serve(here, caller)
        if not self._gone:
            await self._say_goodbye(here, end)
        level = logging.INFO if served else logging.DEBUG  # refusals are the audit log's, which counts them
        log.log(
            level,
            "websocket %s from %s closed with %d after %.3f s",
            request_id,
            caller.client,
            end.code,
            _since(begun),
        )
        return None

    def _environ(self, request_id: str) -> dict[str, Any]:
        """What the handshake says, under the names that WSGI gives it."""
        said = {f"HTTP_{name}": self._header(name.lower().replace("_", "-").encode()) for name in HANDSHAKE}
        return {**said, "REMOTE_ADDR": (self._scope.get("client") or [""])[0], "aragora.request_id": request_id}

    def _header(self, name: bytes) -> str | None:
        found: bytes | None = next((value for key, value in self._scope["headers"] if key == name), None)
        return None if found is None else found.decode("latin-1")

    async def _serve(self, here: process.Process, caller: Caller) -> Closed:
        session = Session(here, self._wake, caller)
        listener = asyncio.ensure_future(self._listen())
        here.metrics.sockets.inc()
        here.metrics.active.inc()
        try:
            with here.watchers.admit(self._wake):
                await self._converse(here, session)
        except Exception as error:  # noqa: BLE001 - told by a close code, and logged there
            return ending(error)
        finally:
            listener.cancel()
            session.close()
            here.metrics.sockets.dec()
            here.metrics.active.dec()

    async def _converse(self, here: process.Process, session: Session) -> Never:
        await self._write(here, await self._pool.run(session.greeting))
        beat = time.monotonic() + stream.HEARTBEAT_SECONDS
        while True:
            await _wait(self._changed, beat - time.monotonic())
            self._changed.clear()
            while await self._answer(here, session):
                pass
            if here.draining:
                raise Closed(GOING_AWAY, "going away")
            if time.monotonic() >= beat:
                beat = time.monotonic() + stream.HEARTBEAT_SECONDS
                await self._write(here, [await self._pool.run(session.heartbeat)])

    async def _answer(self, here: process.Process, session: Session) -> bool:
        """Work off what was heard and send what is new; whether there was anything."""
        answers: list[str] = []
        while not self._inbox.empty():
            item = self._inbox.get_nowait()
            if isinstance(item, Closed):
                raise item
            answers.extend(await self._pool.run(session.receive, item))
        for subscription, cursor in session.missing():
            await self._pool.fetch(subscription, cursor)
        at_hand = not session.missing()
        answers.extend(session.pending() if at_hand else await self._pool.run(session.pending))
        await self._write(here, answers)
        return bool(answers)

    async def _write(self, here: process.Process, texts: list[str]) -> None:
        """Send messages; the server holds us back while the client does not read. Raises `Closed` when it stalls."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                for text in texts:
                    await self._deliver({"type": "websocket.send", "text": text})
        except TimeoutError:
            raise Closed(TRY_AGAIN, "too slow; reconnect with replay_from_seq") from None
        except (OSError, RuntimeError):
            # uvicorn raises the first, and the second once it has noticed.
            self._gone = True
            raise Closed(ABNORMAL, "the client is gone") from None
        if texts:
            here.metrics.messages.labels("out").inc(len(texts))

    async def _listen(self) -> None:
        """Hand over what the client says, until it has said its last, or we fail to hear it."""
        try:
            await self._hear()
        except Exception as error:  # noqa: BLE001 - told by a close code, and logged there
            await self._inbox.put(ending(error))
            self._changed.set()

    async def _hear(self) -> None:
        """Fill the inbox; while it is full, the client's next words wait in its socket."""
        end: Closed | None = None
        while end is None:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._gone = True
                end = Closed(message.get("code") or ABNORMAL, "the client has closed")
            elif message.get("text") is None:
                end = Closed(UNSUPPORTED, "text messages only")
            elif len(message["text"].encode()) > stream.MAX_MESSAGE_BYTES:
                end = Closed(TOO_BIG, f"at most {stream.MAX_MESSAGE_BYTES} bytes a message")
            await self._inbox.put(end or message["text"])
            self._changed.set()

    def _wake(self) -> None:
        self._wakeup.ring(self._changed)

    async def _say_goodbye(self, here: process.Process, why: Closed) -> None:
        here.metrics.closes.labels(str(why.code)).inc()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                for text in why.farewell:
                    await self._deliver({"type": "websocket.send", "text": text})
                await self._deliver({"type": "websocket.close", "code": why.code, "reason": why.reason})
        except (OSError, RuntimeError, TimeoutError) as error:
            log.debug("no goodbye: %s", error)


def _since(begun: float) -> float:
    return time.monotonic() - begun
