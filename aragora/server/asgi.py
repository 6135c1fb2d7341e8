"""The ASGI application: `uvicorn aragora.server.asgi:application`, or gunicorn with an ASGI worker.

Requests are answered by the WSGI application in a pool of threads; what would hold a thread for long (a stream, a long
poll, a wait for a debate's end) it leaves to this module, which waits on the loop (`aragora.server.async_watchers`).
"""

import asyncio
import io
import logging
import re
import signal
import socket
import threading
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, cast

from a2wsgi.wsgi import Body, build_environ

from aragora.errors import AragoraError, BadRequest, SettingsError
from aragora.server import async_watchers, handshake, process, sources, wsgi
from aragora.server.async_watchers import Message, Receive, Send
from aragora.server.context import KEY, RequestContext
from aragora.server.stream import Wait

log = logging.getLogger("aragora.server")

THREADS = 32
BODY_LIMIT = 1 << 20
TCP = (socket.AF_INET, socket.AF_INET6)


class Loop:
    """What belongs to one event loop: its bell and its threads."""

    def __init__(self) -> None:
        self.wakeup = async_watchers.Wakeup()
        self.pool = async_watchers.Pool(ThreadPoolExecutor(THREADS, thread_name_prefix="aragora-request"))


_loops: dict[asyncio.AbstractEventLoop, Loop] = {}


def _loop() -> Loop:
    running = asyncio.get_running_loop()
    if running not in _loops:
        _loops.clear()
        _loops[running] = Loop()
    return _loops[running]


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one connection; what an ASGI server calls."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        here = _loop()
        if scope["path"] not in handshake.PATHS:
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        error = await async_watchers.AsyncSession(scope, receive, send, here.wakeup, here.pool).run(_request_id(scope))
        if error is not None:
            await _deny(scope, send, error, here)
    else:
        await _answer(scope, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    pool = _loop().pool
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await pool.run(process.start)
            except SettingsError as error:
                await send({"type": "lifespan.startup.failed", "message": error.message})
                return
            _answer_at_once()
            _drain_at_signal()
            await send({"type": "lifespan.startup.complete"})
        else:
            await pool.run(process.discard)
            await send({"type": "lifespan.shutdown.complete"})
            return


def _answer_at_once() -> None:
    """Turn Nagle's algorithm off where the server has not: on the listeners, whose connections inherit it.

    `uvicorn --workers` and `--fd` leave it on, and write an answer in two pieces: each would wait for the client's
    delayed acknowledgement, 40 ms.
    """
    directory = Path("/dev/fd")
    for entry in directory.iterdir() if directory.is_dir() else ():
        try:
            # Only looked through: the descriptor stays its owner's.
            listener = socket.socket(fileno=int(entry.name))
        except OSError:
            continue
        try:
            if listener.family in TCP and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        finally:
            listener.detach()


def _drain_at_signal() -> None:
    """Drain when the signal comes: a server that first waits for open streams to end would wait endlessly.

    The server's own handler runs as before.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    before = signal.getsignal(signal.SIGTERM)

    def terminate(number: int, frame: FrameType | None) -> None:
        # In a thread of its own: the interrupted code may hold a lock that draining needs.
        threading.Thread(target=process.stop, name="aragora-drain", daemon=True).start()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, terminate)


async def _answer(scope: Message, receive: Receive, send: Send) -> None:
    here = _loop()
    body, whole = await _body(scope, receive)
    environ = cast(dict[str, Any], build_environ(cast(Any, scope), cast(Body, io.BytesIO(body))))
    context = environ[KEY] = RequestContext(asynchronous=True)
    if not whole:
        context.error = BadRequest("the body broke off on the way")
    # The length that counts is that of what was read: a longer body was cut just above the limit.
    environ["CONTENT_LENGTH"] = str(max(len(body), int(environ.get("CONTENT_LENGTH") or 0)))
    start, content = await here.pool.run(_call, environ)
    wanted, context.deferred = context.deferred, None
    try:
        if isinstance(wanted, Wait):
            context.outcome = await async_watchers.wait(wanted, here.wakeup, here.pool)
        elif wanted is not None:
            await async_watchers.send_stream(wanted, start, receive, send, here.wakeup, here.pool)
            wsgi.count(environ, "200")
            return
    except AragoraError as error:
        context.error = error
    if wanted is not None:
        start, content = await here.pool.run(_call, {**environ, "wsgi.input": io.BytesIO(body)})
    if isinstance(content, Streamed):
        await _send_parts(start, content, send, here)
        return
    await send(start)
    await send({"type": "http.response.body", "body": content, "more_body": False})


class Streamed:
    """A body that is made while it is sent."""

    def __init__(self, answer: Iterable[bytes]) -> None:
        self._parts = iter(answer)
        self.close: Callable[[], None] = getattr(answer, "close", lambda: None)

    def part(self) -> bytes:
        """The next part; empty behind the last one."""
        return next(self._parts, b"")


async def _send_parts(start: Message, body: Streamed, send: Send, here: Loop) -> None:
    """Send each part when the last one has left; they are made in threads."""
    try:
        await send(start)
        while part := await here.pool.run(body.part):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        await here.pool.run(body.close)


def _call(environ: dict[str, Any]) -> tuple[Message, bytes | Streamed]:
    """The WSGI application's answer as an ASGI start message and a body."""
    started: list[Message] = []

    def start_response(status: str, headers: list[tuple[str, str]], _error: object = None) -> None:
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        started.append({"type": "http.response.start", "status": int(status[:3]), "headers": fields})

    answer = wsgi.application(environ, start_response)
    if RequestContext.of(environ).streamed:
        return started[-1], Streamed(answer)
    try:
        content = b"".join(answer)
    finally:
        if hasattr(answer, "close"):
            answer.close()
    return started[-1], content


async def _deny(scope: Message, send: Send, error: AragoraError, here: Loop) -> None:
    """Answer a handshake by HTTP where the server can (ASGI's WebSocket Denial Response); all others answer 403."""
    asked = {**scope, "type": "http", "method": "GET"}
    environ = cast(dict[str, Any], build_environ(cast(Any, asked), cast(Body, io.BytesIO())))
    handshake.refuse(environ, error)
    start, content = await here.pool.run(_call, environ)
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await send({**start, "type": "websocket.http.response.start"})
        await send({"type": "websocket.http.response.body", "body": content})
    else:
        await send({"type": "websocket.close"})


async def _body(scope: Message, receive: Receive) -> tuple[bytes, bool]:
    """The request's body, cut above what its resource accepts, and False when the client went away before its end."""
    limit = BODY_LIMIT
    if process.is_running():
        settings = process.current().settings
        limit = settings.max_source if scope["path"].endswith(sources.PATH) else settings.max_body
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body), False
        body += message.get("body", b"")
        if len(body) > limit or not message.get("more_body", False):
            break
    return bytes(body[: limit + 1]), True


def _request_id(scope: Message) -> str:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"").decode("latin-1")
    return given if re.fullmatch(wsgi.REQUEST_ID, given) else uuid.uuid4().hex
