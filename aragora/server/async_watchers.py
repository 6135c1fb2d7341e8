"""Live events on an event loop: SSE and WebSocket without a thread per watcher.

The conversation itself is `aragora.server.session`'s, as everywhere. Whatever may ask the store runs in the pool; a
watcher whose next events are in memory, and that is nearly always, is served on the loop.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, TypeVar

from aragora.errors import AragoraError
from aragora.server import auth, handshake, process
from aragora.server.audit import Caller
from aragora.server.context import KEY, RequestContext
from aragora.server.conversation import Conversation
from aragora.server.cursor import PORTION, News
from aragora.server.following import HEARTBEAT_SECONDS, Following, Portion, Signal
from aragora.server.session import GOING_AWAY, TOO_BIG, TRY_AGAIN, UNSUPPORTED, Closed, Session, ending
from aragora.server.stream import SSE_HEARTBEAT, Outcome, ServerSent, Wait
from aragora.server.texts import MAX_MESSAGE_BYTES
from aragora.server.websocket import ABNORMAL, STALL_SECONDS
from aragora.storage import Subscription

log = logging.getLogger("aragora.server.websocket")

FULL_SECONDS = 0.05  # between looks whether a client that says too much at once may go on

# Fields of a handshake that decide whether its client may connect.
HANDSHAKE = ("ORIGIN", "HOST", "AUTHORIZATION", "X_FORWARDED_FOR")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Result = TypeVar("Result")
Watched = TypeVar("Watched")


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
                log.debug("the loop has ended; no watcher is left to wake")

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
            self._fetching[key] = asyncio.ensure_future(self.run(subscription.events, since, PORTION))
            self._fetching[key].add_done_callback(lambda _: self._fetching.pop(key, None))
        await asyncio.wait([self._fetching[key]])


async def follow(following: Following[Portion], changed: asyncio.Event, pool: Pool) -> AsyncIterator[Portion | Signal]:
    """Each portion as it comes, and beats; the store is read in a thread, and once for all waiting watchers."""
    source = following.source
    while True:
        changed.clear()
        for subscription, cursor in source.missing():
            await pool.fetch(subscription, cursor)
        step = following.step() if source.at_hand() else await pool.run(following.step)
        if isinstance(step, float):
            await _wait(changed, step)
        elif step is Signal.OVER:
            return
        else:
            yield step


@asynccontextmanager
async def opened(watching: AbstractContextManager[Watched], pool: Pool) -> AsyncIterator[Watched]:
    """Enter `watching`, which asks the store, in a thread."""
    source = await pool.run(watching.__enter__)
    try:
        yield source
    finally:
        watching.__exit__(None, None, None)


async def send_stream(
    sent: ServerSent, start: Message, receive: Receive, send: Send, wakeup: Wakeup, pool: Pool
) -> None:
    """Answer with a stream until its source has ended, the client is gone, or this process drains."""
    watchers = process.current().watchers
    changed = asyncio.Event()
    start["headers"] = [(name, value) for name, value in start["headers"] if name != b"content-length"]

    def wake() -> None:
        wakeup.ring(changed)

    async with opened(sent.watching(watchers, wake), pool) as source:
        await send(start)
        await _send_part(send, sent.opening)
        gone = asyncio.ensure_future(_until_gone(receive, wake))
        following = Following(source, HEARTBEAT_SECONDS, lambda: watchers.draining or gone.done())
        last = b""
        try:
            async for step in follow(following, changed, pool):
                await _send_part(send, SSE_HEARTBEAT if isinstance(step, Signal) else step)
            if not source.ended:
                last = sent.cut_short()
        except AragoraError as error:
            last = sent.failed(error)
        finally:
            left = gone.done() and not source.ended
            gone.cancel()
    if left:
        await pool.run(sent.left)
    await send({"type": "http.response.body", "body": last, "more_body": False})


async def wait(wanted: Wait, wakeup: Wakeup, pool: Pool) -> Outcome:
    """Wait for what a resource left to us; raises `AragoraError`."""
    watchers = process.current().watchers
    changed = asyncio.Event()
    last: News | Signal | None = None
    async with opened(wanted.watching(watchers, lambda: wakeup.ring(changed)), pool) as cursor:
        async for step in follow(Following(cursor, wanted.timeout, lambda: watchers.draining), changed, pool):
            if wanted.satisfied(step):
                last = step
                break
    return wanted.outcome(last)


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await changed.wait()
    except TimeoutError:
        pass


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
        return {
            **said,
            "REMOTE_ADDR": (self._scope.get("client") or [""])[0],
            KEY: RequestContext(request_id=request_id),
        }

    def _header(self, name: bytes) -> str | None:
        found: bytes | None = next((value for key, value in self._scope["headers"] if key == name), None)
        return None if found is None else found.decode("latin-1")

    async def _serve(self, here: process.Process, caller: Caller) -> Closed:
        conversation = Conversation(Session(here, self._wake, caller))
        listener = asyncio.ensure_future(self._listen(conversation))
        here.metrics.sockets.inc()
        here.metrics.active.inc()
        try:
            with here.watchers.admit(self._wake):
                return await self._converse(here, conversation)
        except Exception as error:  # noqa: BLE001 - told by a close code, and logged there
            return ending(error)
        finally:
            listener.cancel()
            conversation.session.close()
            here.metrics.sockets.dec()
            here.metrics.active.dec()

    async def _converse(self, here: process.Process, conversation: Conversation) -> Closed:
        """Answer, send what is new, give signs of life; why that ends, which `Closed` may also be raised for."""
        session = conversation.session
        await self._write(here, await self._pool.run(session.greeting))
        following = Following(conversation, HEARTBEAT_SECONDS, lambda: here.draining)
        async for step in follow(following, self._changed, self._pool):
            await self._write(here, [await self._pool.run(session.heartbeat)] if isinstance(step, Signal) else step)
        return Closed(GOING_AWAY, "going away")

    async def _write(self, here: process.Process, texts: Iterable[str | bytes]) -> None:
        """Send messages; the server holds us back while the client does not read. Raises `Closed` when it stalls."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                for text in texts:
                    await self._deliver({"type": "websocket.send", "text": text})
                    here.metrics.messages.labels("out").inc()
        except TimeoutError:
            raise Closed(TRY_AGAIN, "too slow; reconnect with replay_from_seq") from None
        except (OSError, RuntimeError):
            # uvicorn raises the first, and the second once it has noticed.
            self._gone = True
            raise Closed(ABNORMAL, "the client is gone") from None

    async def _listen(self, conversation: Conversation) -> None:
        """Hand over what the client says, until it has said its last, or we fail to hear it."""
        try:
            await self._hear(conversation)
        except Exception as error:  # noqa: BLE001 - told by a close code, and logged there
            conversation.hear(ending(error))
            self._changed.set()

    async def _hear(self, conversation: Conversation) -> None:
        """Fill the conversation; while it is full, the client's next words wait in its socket."""
        end: Closed | None = None
        while end is None:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._gone = True
                end = Closed(message.get("code") or ABNORMAL, "the client has closed")
            elif message.get("text") is None:
                end = Closed(UNSUPPORTED, "text messages only")
            elif len(message["text"].encode()) > MAX_MESSAGE_BYTES:
                end = Closed(TOO_BIG, f"at most {MAX_MESSAGE_BYTES} bytes a message")
            while not conversation.hear(end or message["text"]):
                await asyncio.sleep(FULL_SECONDS)
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
