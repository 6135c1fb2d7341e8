"""Applications to stand behind the gateway: the same answers as WSGI and as ASGI, WebSocket echo with ASGI."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.waiting import until

Environ = dict[str, Any]
Scope = dict[str, Any]
Message = dict[str, Any]
EVENTS = 3


def content(size: int) -> bytes:
    """`size` bytes that are different everywhere."""
    block = hashlib.sha256(b"content").digest() * 32
    return (block * (size // len(block) + 1))[:size]


def events(place: Path) -> Iterator[bytes]:
    """A stream whose every event is sent when the one before it was read: see `read_events`."""
    for number in range(EVENTS):
        if number:
            until((place / str(number)).exists, f"event {number} is asked for")
        yield b"data: %d\n\n" % number


def read_events(lines: Iterable[str], place: Path) -> list[str]:
    """What `/events?place=...` sends, asking for each next event when one has been read."""
    seen: list[str] = []
    for line in lines:
        if line:
            seen.append(line)
            (place / str(len(seen))).touch()
    return seen


def report(method: str, path: str, fields: dict[str, str], body: bytes) -> bytes:
    """What the application was asked, as JSON."""
    digest = hashlib.sha256(body).hexdigest()
    shown = {"method": method, "path": path, "fields": fields, "length": len(body), "sha256": digest}
    return json.dumps(shown).encode()


def wsgi(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The WSGI application."""
    path = environ["PATH_INFO"]
    query = parse_qs(environ["QUERY_STRING"])
    if path == "/bytes":
        body = content(int(query["n"][0]))
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
        return [body]
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return (content(10_000) for _ in range(20))
    if path == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")])
        return events(Path(query["place"][0]))
    if path == "/hints":
        environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
    if path in ("/204", "/304"):
        start_response("204 No Content" if path == "/204" else "304 Not Modified", [])
        return []
    body = environ["wsgi.input"].read()
    fields = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    fields["scheme"] = environ["wsgi.url_scheme"]
    answer = report(environ["REQUEST_METHOD"], path, fields, body)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]


async def asgi(scope: Scope, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Any]) -> None:
    """The ASGI application; echoes what WebSockets send."""
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif scope["type"] == "http":
        await answer_http(scope, receive, send)


async def echo(receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Any]) -> None:
    """Send every message back; 'bye' closes with 1000."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "bye":
            await send({"type": "websocket.close", "code": 1000})
            return
        kind = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", kind: message[kind]})


async def answer_http(scope: Scope, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Any]) -> None:
    """One HTTP answer, by way of the WSGI application."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break

    class Input:
        def read(self) -> bytes:
            return body

    started: list[Any] = []
    environ: Environ = {
        "PATH_INFO": scope["path"],
        "QUERY_STRING": scope["query_string"].decode(),
        "REQUEST_METHOD": scope["method"],
        "wsgi.input": Input(),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.early_hints": lambda _: None,
        **{f"HTTP_{name.decode().replace('-', '_').upper()}": value.decode() for name, value in scope["headers"]},
    }
    pieces = wsgi(environ, lambda *start: started.append(start))
    for number, piece in enumerate(pieces):
        if not number:
            await begin(started[0], send)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    if not pieces:
        await begin(started[0], send)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def begin(start: Any, send: Callable[[Message], Any]) -> None:
    """Send the head."""
    fields = [(name.lower().encode(), value.encode()) for name, value in start[1]]
    await send({"type": "http.response.start", "status": int(start[0][:3]), "headers": fields})
