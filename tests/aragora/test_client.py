"""The client against connections that break: it resumes behind the last event, and gives up in time."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from aragora import client
from aragora.client import Client, Refused, Unreachable
from aragora.errors import SettingsError
from tests.serving import serving

ID = "adhoc_x"
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def server(answer: Answer) -> Iterator[Client]:
    """A client of a server whose every request is answered by `answer`, and which then closes unannounced."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            answer(self)

        do_POST = do_GET  # noqa: N815 - the library's names

        def log_message(self, *_: Any) -> None:
            pass

    with (
        serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as listening,
        Client(f"http://127.0.0.1:{listening.server_port}") as opened,
    ):
        yield opened


def begin(request: BaseHTTPRequestHandler) -> int:
    """Answer with a stream; the seq behind which it was asked for."""
    request.send_response(200)
    request.send_header("Content-Type", "text/event-stream")
    request.send_header("Connection", "close")
    request.end_headers()
    return int(request.headers["Last-Event-ID"])


def write(request: BaseHTTPRequestHandler, seq: int | None, kind: str = "agent_message", **data: Any) -> None:
    message = {"type": kind, "debate_id": ID, "data": data} | ({} if seq is None else {"seq": seq})
    named = "" if seq is None else f"id: {seq}\n"
    request.wfile.write(f"{named}event: {kind}\ndata: {json.dumps(message)}\n\n".encode())


def test_a_broken_connection_is_resumed_behind_the_last_event() -> None:
    since: list[int] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        since.append(begin(request))
        first = since[-1] + 1
        write(request, max(1, first - 1))  # one that came before: not shown again
        request.wfile.write(b": heartbeat\n\n")
        for seq in range(first, min(first + 2, 7)):
            write(request, seq, "debate_end" if seq == 6 else "agent_message")
        request.wfile.write(b'data: {"type": "agent_mess')

    with server(answer) as there:
        seen = [message["seq"] for message in there.watch(ID)]
    assert seen == [1, 2, 3, 4, 5, 6]
    assert since == [0, 2, 4]


def test_words_pass_between_events() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        begin(request)
        write(request, None, "token_delta", text="tok")
        write(request, 1, "debate_end")

    with server(answer) as there:
        assert [message["type"] for message in there.watch(ID)] == ["token_delta", "debate_end"]


def test_a_debate_that_has_ended_brings_nothing() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(204)
        request.end_headers()

    with server(answer) as there:
        assert list(there.watch(ID, 7)) == []


def test_a_refusal_is_final() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        body = json.dumps({"error": {"code": "not_found", "message": "no such debate"}}).encode()
        request.send_response(404)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with server(answer) as there:
        with pytest.raises(Refused, match="404 not_found: no such debate") as refused:
            list(there.watch(ID))
        assert refused.value.status == 404
        with pytest.raises(Refused, match="no such debate"):
            there.debate(ID)


def test_a_busy_server_is_asked_again() -> None:
    asked: list[int] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(1)
        if len(asked) == 1:
            request.send_response(503)
            request.send_header("Content-Length", "0")
            request.end_headers()
        else:
            begin(request)
            write(request, 1, "debate_end")

    with server(answer) as there:
        assert [message["seq"] for message in there.watch(ID)] == [1]
    assert len(asked) == 2


def test_what_may_be_done_twice_is_sent_again_when_dropped() -> None:
    """Here the server takes every other request and closes."""
    keys: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        keys.append(request.headers["Idempotency-Key"])
        request.rfile.read(int(request.headers["Content-Length"] or 0))
        if len(keys) % 2 == 0:
            body = json.dumps({"debate_id": ID}).encode()
            request.send_response(200)
            request.send_header("Content-Length", str(len(body)))
            request.send_header("Connection", "close")  # so that only what is not answered is sent again
            request.end_headers()
            request.wfile.write(body)

    with server(answer) as there:
        assert there.debate(ID) == {"debate_id": ID}
        assert there.create({"question": "?"}) == {"debate_id": ID}
        assert there.descend(ID, "fork", {}) == {"debate_id": ID}
        assert keys[2] == keys[3] != keys[4] == keys[5]
        with pytest.raises(Unreachable):
            there.cancel(ID)
        assert len(keys) == 7, "what may not be done twice is sent once"


def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.3)
    with Client("http://127.0.0.1:1") as nobody, pytest.raises(Unreachable, match="does not answer"):
        list(nobody.watch(ID))


def test_an_address_that_is_none_is_told() -> None:
    with pytest.raises(SettingsError, match="write http://HOST:PORT"):
        Client("127.0.0.1:8000")
