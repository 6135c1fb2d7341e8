"""A provider of language models on a port of its own: real HTTP, both APIs, and every way of failing."""

import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.serving import serving

Act = Callable[["Call"], None]
STALL = 10.0  # seconds after which a stall ends even if nobody releases it


class Call(BaseHTTPRequestHandler):
    """One request; what happens to it is the next act of the provider, the last of which repeats."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Provider"
    body: dict[str, Any]

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        act = self.server.take(self.path, dict(self.headers), self.body)
        try:
            act(self)
        except (BrokenPipeError, ConnectionResetError):
            self.server.hung_up.set()
        if self.close_connection:
            self.connection.close()

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path)
        status(404 if page is None else 200, page)(self)

    def begin(self, status: int = 200, content_type: str = "text/event-stream", **fields: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in fields:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so by its class
        pass


class Provider(ThreadingHTTPServer):
    """`calls` are the POST requests so far: path, fields, body; `pages` is what a GET finds, by its path."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, acts: Iterable[Act], certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Call)
        self._scheme = "http"
        if certificate is not None:
            self._scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.acts = list(acts)
        self.calls: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.pages: dict[str, Any] = {}
        self.released = threading.Event()
        self.hung_up = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.server_address[1]}"

    def take(self, path: str, fields: dict[str, str], body: dict[str, Any]) -> Act:
        with self._lock:
            self.calls.append((path, fields, body))
            return self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]


@contextmanager
def provider(*acts: Act, certificate: Path | None = None) -> Iterator[Provider]:
    with serving(Provider(acts, certificate)) as server:
        try:
            yield server
        finally:
            server.released.set()


def sse(*events: object) -> bytes:
    return b"".join(b"data: " + (e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n\n" for e in events)


class OpenAI:
    """What a chat completions server sends."""

    name = "openai"
    path = "/v1/chat/completions"
    variables = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ARAGORA_OPENAI_MODEL")

    def first(self) -> bytes:
        return sse({"model": "gpt-real", "choices": [{"delta": {"role": "assistant", "content": ""}}]})

    def text(self, text: str) -> bytes:
        return sse({"choices": [{"delta": {"content": text}, "finish_reason": None}]})

    def finish(self, reason: str = "stop") -> bytes:
        return sse({"choices": [{"delta": {}, "finish_reason": reason}]}, {"choices": [], "usage": {"x": 1}})

    def done(self) -> bytes:
        return b"data: [DONE]\n\n"

    def error(self, words: str) -> bytes:
        return sse({"error": {"message": words, "type": "server_error"}})

    def body(self, text: str) -> dict[str, Any]:
        return {"model": "gpt-real", "choices": [{"message": {"content": text}, "finish_reason": "stop"}]}

    cut, refused = "length", "content_filter"


class Anthropic:
    """What Anthropic sends."""

    name = "anthropic"
    path = "/v1/messages"
    variables = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ARAGORA_ANTHROPIC_MODEL")

    def first(self) -> bytes:
        return (
            b"event: message_start\n"
            + sse({"type": "message_start", "message": {"model": "gpt-real", "content": []}})
            + sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
            + b"event: ping\n"
            + sse({"type": "ping"})
            + sse({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "secret thought"}})
        )

    def text(self, text: str) -> bytes:
        return b"event: content_block_delta\n" + sse(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
        )

    def finish(self, reason: str = "end_turn") -> bytes:
        return sse({"type": "content_block_stop", "index": 0}) + sse(
            {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3}}
        )

    def done(self) -> bytes:
        return b"event: message_stop\n" + sse({"type": "message_stop"})

    def error(self, words: str) -> bytes:
        return b"event: error\n" + sse({"type": "error", "error": {"type": "overloaded_error", "message": words}})

    def body(self, text: str) -> dict[str, Any]:
        content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": text}]
        return {"type": "message", "model": "gpt-real", "content": content, "stop_reason": "end_turn"}

    cut, refused = "max_tokens", "refusal"


Api = OpenAI | Anthropic


def answers(api: Api, *texts: str, reason: str | None = None) -> Act:
    """A whole stream, text by text."""

    def act(call: Call) -> None:
        call.begin()
        call.chunk(api.first())
        for text in texts:
            call.chunk(api.text(text))
        call.chunk(api.finish(reason) if reason else api.finish())
        call.chunk(api.done())
        call.wfile.write(b"0\r\n\r\n")

    return act


def sends(data: bytes, *, piece: int = 1 << 16) -> Act:
    """These bytes as a stream, whatever they mean."""

    def act(call: Call) -> None:
        call.begin()
        for start in range(0, len(data), piece):
            call.chunk(data[start : start + piece])
        call.wfile.write(b"0\r\n\r\n")

    return act


def breaks_off(data: bytes) -> Act:
    """These bytes, then the connection is gone in the middle of a chunk."""

    def act(call: Call) -> None:
        call.begin()
        call.chunk(data)
        call.wfile.write(b"ff\r\nhalf of it")
        call.close_connection = True

    return act


def stalls(data: bytes = b"") -> Act:
    """These bytes, then silence."""

    def act(call: Call) -> None:
        if data:
            call.begin()
            call.chunk(data)
        call.server.released.wait(STALL)
        call.close_connection = True

    return act


def repeats(data: bytes, times: int) -> Act:
    """The same bytes again and again."""

    def act(call: Call) -> None:
        call.begin()
        for _ in range(times):
            call.chunk(data)
        call.wfile.write(b"0\r\n\r\n")

    return act


def status(code: int, body: object = None, **fields: str) -> Act:
    """A status with a JSON body."""

    def act(call: Call) -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        call.begin(code, "application/json", Content_Length=str(len(text)), **fields)
        call.wfile.write(text)

    return act


def hangs_up(call: Call) -> None:
    """No answer at all."""
    call.close_connection = True
