"""An application behind the gateway: bodies of any length at once or in pieces, uploads, echoing WebSockets.

Every body is a beginning of BLOCK, so that a client can tell one byte too many, too few or out of place.
"""

import asyncio
import hashlib
import random
import sys

from aiohttp import WSCloseCode, WSMsgType, web

BLOCK = random.Random(7).randbytes(2 << 20)  # noqa: S311 - a known body, no secret
PIECE = 16 * 1024
SHUTDOWN_SECONDS = 2.0
SOCKETS = web.AppKey("sockets", set[web.WebSocketResponse])


async def whole(request: web.Request) -> web.Response:
    """So many bytes, with their length."""
    return web.Response(body=BLOCK[: int(request.match_info["size"])])


async def pieces(request: web.Request) -> web.StreamResponse:
    """So many bytes, chunked, with a pause after each piece."""
    response = web.StreamResponse()
    await response.prepare(request)
    size = int(request.match_info["size"])
    for start in range(0, size, PIECE):
        await response.write(BLOCK[start : min(size, start + PIECE)])
        await asyncio.sleep(0.01)
    await response.write_eof()
    return response


async def upload(request: web.Request) -> web.Response:
    """The digest of what came."""
    digest = hashlib.sha256()
    async for part in request.content.iter_chunked(1 << 16):
        digest.update(part)
    return web.Response(text=digest.hexdigest())


async def echo(request: web.Request) -> web.WebSocketResponse:
    """A WebSocket that sends every message back."""
    sockets = request.app[SOCKETS]
    channel = web.WebSocketResponse(max_msg_size=len(BLOCK))
    await channel.prepare(request)
    sockets.add(channel)
    try:
        async for message in channel:
            if message.type is WSMsgType.BINARY:
                await channel.send_bytes(message.data)
    finally:
        sockets.discard(channel)
    return channel


async def dismiss(app: web.Application) -> None:
    """Close WebSockets as an application that restarts does."""
    sockets = app[SOCKETS]
    for channel in tuple(sockets):
        await channel.close(code=WSCloseCode.GOING_AWAY)


def application() -> web.Application:
    """The application of one peer."""
    app = web.Application(client_max_size=len(BLOCK))
    sockets: set[web.WebSocketResponse] = set()
    app[SOCKETS] = sockets
    app.router.add_get("/whole/{size}", whole)
    app.router.add_get("/pieces/{size}", pieces)
    app.router.add_post("/upload", upload)
    app.router.add_get("/echo", echo)
    app.on_shutdown.append(dismiss)
    return app


if __name__ == "__main__":
    web.run_app(
        application(), host="127.0.0.1", port=int(sys.argv[1]), shutdown_timeout=SHUTDOWN_SECONDS,
        access_log=None, print=None,
    )  # fmt: skip
