"""Requests and answers on streams: bodies, windows, turns, early and broken ends."""

import signal
import socket
import threading
import time
from collections.abc import Callable

import pytest
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.proxy.gateway import Gateway
from tests.proxy.integration.exchange import PATIENCE
from tests.proxy.integration.h2.conftest import BODY_LIMIT
from tests.proxy.integration.h2.raw import GET, POST, Raw
from tests.proxy.integration.scripted import Manual, Script, ScriptedUpstream, read_request, read_until
from tests.waiting import until

Start = Callable[..., Gateway]


def logged(gateway: Gateway, path: str) -> dict[str, object]:
    """The access log's entry for a path."""
    return until(lambda: [one for one in gateway.logged() if one["target"] == path], f"a log line for {path}")[0]


def to(path: str, fields: list[tuple[str, str]] = GET) -> list[tuple[str, str]]:
    return [(name, path if name == ":path" else value) for name, value in fields]


def test_the_upstream_sees_a_request_of_http_1(gateway: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect()
    extra = [("cookie", "a=1"), ("x-thing", "t"), ("cookie", "b=2"), ("x-forwarded-for", "6.6.6.6"), ("x_evil", "1")]
    with Raw(gateway.port) as client:
        client.send(client.headers(1, [*to("/seen?q=1"), *extra]))
        client.response(1)
    lines = origin.wait_for(1)[0].data.decode().split("\r\n")
    assert lines[0] == "GET /seen?q=1 HTTP/1.1"
    assert "Host: example.org" in lines
    assert "X-Forwarded-For: 127.0.0.1" in lines
    assert "X-Forwarded-Proto: http" in lines
    assert "x-thing: t" in lines
    assert "cookie: a=1; b=2" in lines
    assert not [line for line in lines if "6.6.6.6" in line or "evil" in line]


def test_the_log_names_the_protocol(gateway: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect()
    with Raw(gateway.port) as client:
        client.send(client.headers(1, to("/logged")))
        client.response(1)
    entry = logged(gateway, "/logged")
    assert entry["protocol"] == "HTTP/2.0"
    assert (entry["status"], entry["sent"]) == (200, 2)


@pytest.mark.parametrize("announced", [True, False], ids=["length", "no length"])
@pytest.mark.parametrize("size", [0, 1, 60_000, 300_000])
def test_a_body_arrives_whole_and_with_its_length(
    gateway: Gateway, origin: ScriptedUpstream, size: int, announced: bool
) -> None:
    origin.expect()
    body = bytes(n % 251 for n in range(size))
    fields = [*POST, ("content-length", str(size))] if announced else POST
    with Raw(gateway.port) as client:
        pieces = [DataFrame(1, data=body[at : at + 16000]) for at in range(0, size, 16000)]
        sent, window = 0, 65535
        client.send(client.open(1, fields))
        for piece in pieces:
            while sent + len(piece.data) > window:
                update = client.until(WindowUpdateFrame)
                window += update.window_increment if update.stream_id else 0
            client.send(piece)
            sent += len(piece.data)
            window = max(window, 262144) if sent > 60_000 else window
        client.send(DataFrame(1, flags=["END_STREAM"]))
        assert client.response(1)[1] == b"ok"
    request = origin.wait_for(1)[0].data
    head, _, got = request.partition(b"\r\n\r\n")
    assert got == body
    assert b"Content-Length: %d" % size in head
    assert b"ransfer-" not in head


def test_body_over_the_limit_is_refused_and_not_read_on(gateway: Gateway) -> None:
    with Raw(gateway.port) as client:
        client.send(client.open(1, [*POST, ("content-length", str(BODY_LIMIT + 1))]))
        assert client.response(1)[0][":status"] == "413"
        reset = client.until(RstStreamFrame)
        assert (reset.stream_id, reset.error_code) == (1, 0)
        client.send(DataFrame(1, data=b"late"))  # was on its way
        assert client.alive()


def test_a_client_may_finish_sending_what_was_refused(gateway: Gateway) -> None:
    size = 70 << 20
    with Raw(gateway.port) as client:
        client.send(client.open(1, [*POST, ("content-length", str(size))]))
        assert client.response(1)[0][":status"] == "413"
        room = {0: 1 << 20, 1: 1 << 18}
        while size:
            piece = min(16000, size)
            while min(room.values()) < piece:
                update = client.until(WindowUpdateFrame)
                room[update.stream_id] += update.window_increment
            size -= piece
            client.send(DataFrame(1, data=bytes(piece), flags=[] if size else ["END_STREAM"]))
            room = {key: value - piece for key, value in room.items()}
        assert client.alive()
        client.send(client.headers(3))
        assert client.response(3)[0][":status"] == "200"


def test_a_client_that_asks_first_is_told_to_go_on(gateway: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect()
    with Raw(gateway.port) as client:
        client.send(client.open(1, [*POST, ("expect", "100-continue"), ("content-length", "4")]))
        informational = client.until(HeadersFrame)
        assert client.fields(informational) == {":status": "100"}
        assert "END_STREAM" not in informational.flags
        client.send(DataFrame(1, data=b"body", flags=["END_STREAM"]))
        assert client.response(1)[0][":status"] == "200"


def test_early_hints_come_before_the_answer(gateway: Gateway, origin: ScriptedUpstream) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    origin.expect(Script(hints + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    with Raw(gateway.port) as client:
        client.send(client.headers(1))
        assert client.fields(client.until(HeadersFrame)) == {":status": "103", "link": "</a.css>"}
        assert client.response(1)[0][":status"] == "200"


@pytest.mark.parametrize("wants", [True, False])
def test_trailers_reach_a_client_that_wants_them(gateway: Gateway, origin: ScriptedUpstream, wants: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    trailers = b"X-Sum: 9\r\nContent-Length: 0\r\nConnection: close\r\nContent-Digest: d\r\nTE: trailers\r\n\r\n"
    origin.expect(Script(head + b"2\r\nok\r\n0\r\n" + trailers))
    with Raw(gateway.port) as client:
        client.send(client.headers(1, [*GET, *([("te", "trailers")] if wants else [])]))
        fields, body = client.response(1)
        assert body == b"ok"
        assert fields.get("x-sum") == ("9" if wants else None)
        assert fields.get("trailer") == ("X-Sum" if wants else None)
        assert fields.get("content-digest") == ("d" if wants else None)
        assert not fields.keys() & {"content-length", "connection", "te"}


@pytest.mark.parametrize("length", [b"Content-Length: 0", b"Content-Length: 1\r\nContent-Length: 2"])
def test_head_is_answered_however_its_answer_is_framed(
    gateway: Gateway, origin: ScriptedUpstream, length: bytes
) -> None:
    origin.expect(Script(b"HTTP/1.1 200 OK\r\n%s\r\nTransfer-Encoding: chunked\r\nX-A : b\0\r\n\r\n" % length))
    with Raw(gateway.port) as client:
        client.send(client.headers(1, [(":method", "HEAD"), *GET[1:]]))
        head = client.until(HeadersFrame)
        assert "END_STREAM" in head.flags
        fields = client.fields(head)
        assert (fields[":status"], fields["x-a"]) == ("200", "b")
        assert "content-length" not in fields


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_end_with_their_head(gateway: Gateway, origin: ScriptedUpstream, status: int) -> None:
    origin.expect(Script(b'HTTP/1.1 %d x\r\nETag: "a"\r\n\r\n' % status))
    with Raw(gateway.port) as client:
        client.send(client.headers(1))
        head = client.until(HeadersFrame)
        assert "END_STREAM" in head.flags
        assert client.fields(head)[":status"] == str(status)


def test_head_gets_the_length_and_no_body(gateway: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect(Script(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"))
    with Raw(gateway.port) as client:
        client.send(client.headers(1, [(":method", "HEAD"), *GET[1:]]))
        head = client.until(HeadersFrame)
        assert "END_STREAM" in head.flags
        assert client.fields(head)["content-length"] == "7"


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ],
)
def test_an_answer_that_breaks_off_does_not_look_whole(
    gateway: Gateway, origin: ScriptedUpstream, reply: bytes
) -> None:
    origin.expect(Script(reply, then="closes"))
    with Raw(gateway.port) as client:
        client.send(client.headers(1))
        assert client.error() == "RST_STREAM INTERNAL_ERROR"
        assert client.alive()


def test_a_stream_that_its_client_resets_ends_its_exchange_alone(start: Start, manual: Manual) -> None:
    gateway = start(manual.address)
    with Raw(gateway.port) as client:
        client.send(client.headers(1, to("/given-up")), client.headers(3, to("/kept")))
        requests = {read_request(sock, b"")[0].split(b" ")[1]: sock for sock in (manual.accept(), manual.accept())}
        client.send(RstStreamFrame(1, error_code=8))
        assert requests[b"/given-up"].recv(1) == b""
        requests[b"/kept"].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nkept")
        assert client.response(3)[1] == b"kept"
        assert logged(gateway, "/given-up")["status"] == 499


def test_exchanges_end_with_their_connection(start: Start, manual: Manual) -> None:
    gateway = start(manual.address)
    with Raw(gateway.port) as client:
        client.send(client.headers(1, to("/one")), client.headers(3, to("/two")))
        socks = [manual.accept(), manual.accept()]
        for sock in socks:
            read_request(sock, b"")
    for sock in socks:
        assert sock.recv(1) == b""


def test_a_stream_without_room_holds_up_no_other(gateway: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect(Script(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000))
    with Raw(gateway.port, settings={4: 10}) as client:
        client.send(client.widen(0, 1 << 30), client.headers(1))
        assert len(client.until(DataFrame).data) == 10
        client.send(client.headers(3), client.widen(3, 1 << 20))
        assert len(client.response(3)[1]) == 500_000
        client.send(client.widen(1, 1 << 20))
        assert len(client.response(1)[1]) == 500_000 - 10


def test_streams_send_in_turn(gateway: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect(Script(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000))
    with Raw(gateway.port, settings={4: 0}) as client:
        client.send(client.headers(1), client.headers(3), client.headers(5))
        for stream in (1, 3, 5):
            client.until(HeadersFrame, stream=stream)
        client.send(SettingsFrame(0, settings={4: 1 << 24}))  # now all have something to send
        order: list[int] = []
        consumed = 0
        left = {1: 900_000, 3: 900_000, 5: 900_000}
        while any(left.values()):
            data = client.until(DataFrame)
            order.append(data.stream_id)
            left[data.stream_id] -= len(data.data)
            consumed += len(data.data)
            if consumed > 30_000:  # less than the connection's window, so that there is always somebody who waits
                client.send(client.widen(0, consumed))
                consumed = 0
    halfway = order[: len(order) // 2]
    shares = [halfway.count(stream) for stream in (1, 3, 5)]
    assert min(shares) > max(shares) / 3, shares


def test_a_slow_client_does_not_hold_the_application(start: Start, manual: Manual) -> None:
    gateway = start(manual.address, "--response-spool", "64m")
    with Raw(gateway.port) as client:
        client.send(client.headers(1))
        sock = manual.accept()
        read_request(sock, b"")
        size = 8 << 20  # far more than windows and socket buffers take
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        sock.sendall(bytes(size))  # returns once the gateway has taken nearly all of it
        left = size
        while left:
            data = client.until(DataFrame)
            left -= len(data.data)
            client.send(client.widen(0, len(data.data)), client.widen(1, len(data.data)))


def test_an_unbuffered_body_is_passed_on_while_it_comes(start: Start, manual: Manual) -> None:
    gateway = start(manual.address, "--request-buffering", "off")
    with Raw(gateway.port) as client:
        client.send(client.open(1), DataFrame(1, data=b"first"))
        sock = manual.accept()
        got = read_until(sock, b"first")
        assert b"Transfer-Encoding: chunked" in got
        client.send(DataFrame(1, data=b"second", flags=["END_STREAM"]))
        got = read_until(sock, b"0\r\n\r\n", got)
        assert got.endswith(b"6\r\nsecond\r\n0\r\n\r\n")
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert client.response(1)[1] == b"ok"


def test_unwanted_unbuffered_body_is_stopped(start: Start, manual: Manual) -> None:
    gateway = start(manual.address, "--request-buffering", "off", "--linger-timeout", "1")
    with Raw(gateway.port) as client:
        client.send(client.open(1), DataFrame(1, data=b"first"))
        sock = manual.accept()
        read_until(sock, b"first")
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        assert client.response(1)[0][":status"] == "403"
        reset = client.until(RstStreamFrame)
        assert (reset.stream_id, reset.error_code) == (1, 0)


def test_room_for_bodies_is_given_back_only_as_they_are_read(start: Start, manual: Manual) -> None:
    gateway = start(manual.address, "--request-buffering", "off")
    with Raw(gateway.port) as client:
        client.send(client.open(1))
        sock = manual.accept()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.sock.settimeout(1)
        sent = 0
        room = {0: 1 << 20, 1: 1 << 18}

        def note(update: WindowUpdateFrame) -> None:
            room[update.stream_id] += update.window_increment

        try:
            while sent < 64 << 20:
                while min(room.values()) < 16384:
                    note(client.until(WindowUpdateFrame))  # type: ignore[arg-type]
                client.send(DataFrame(1, data=bytes(16384)))
                sent += 16384
                room = {key: value - 16384 for key, value in room.items()}
        except TimeoutError:
            pass
        assert sent < 16 << 20, "the gateway took far more than it could pass on"


def test_idle_connections_are_told_and_closed(impatient: Gateway) -> None:
    with Raw(impatient.port) as client:
        assert client.error() == "GOAWAY NO_ERROR"
        assert client.error() == "CLOSED"


def test_a_head_that_does_not_end_is_not_waited_for(impatient: Gateway) -> None:
    with Raw(impatient.port) as client:
        client.send(HeadersFrame(1, data=client.block(GET)))
        begun = time.monotonic()
        assert client.error() == "GOAWAY NO_ERROR"
        assert time.monotonic() - begun < 10


def test_a_body_that_does_not_come_ends_its_stream_alone(impatient: Gateway) -> None:
    with Raw(impatient.port) as client:
        client.send(client.open(1))
        assert client.response(1)[0][":status"] == "408"
        assert client.alive()


def test_draining_says_goaway_twice_and_answers_what_it_took(start: Start, manual: Manual) -> None:
    gateway = start(manual.address)
    with Raw(gateway.port) as client:
        client.send(client.headers(1, to("/before")))
        sock = manual.accept()
        read_request(sock, b"")
        gateway.signal(signal.SIGTERM)
        first = client.until(GoAwayFrame)
        assert (first.last_stream_id, first.error_code) == ((1 << 31) - 1, 0)
        client.send(client.headers(3, to("/on-its-way")))
        answer_pings(client)
        second_sock = manual.accept()
        read_request(second_sock, b"")
        second = client.until(GoAwayFrame)
        assert (second.last_stream_id, second.error_code) == (3, 0)
        client.send(client.headers(5, to("/too-late")))
        refused = client.until(RstStreamFrame)
        assert (refused.stream_id, refused.error_code) == (5, 7)
        for held in (sock, second_sock):
            held.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert {client.until(DataFrame).stream_id, client.until(DataFrame).stream_id} == {1, 3}
        assert client.error() in ("GOAWAY NO_ERROR", "CLOSED")
    assert gateway.process.wait(20) == 0


def answer_pings(client: Raw) -> None:
    ping = client.until(PingFrame)
    client.send(PingFrame(0, opaque_data=ping.opaque_data, flags=["ACK"]))


def test_many_clients_at_once_get_each_its_own(gateway: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect()
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            with Raw(gateway.port) as client:
                client.send(*[client.headers(1 + 2 * n) for n in range(15)])
                left = {1 + 2 * n for n in range(15)}
                while left:
                    data = client.until(DataFrame)
                    assert data.data == b"ok"
                    left.discard(data.stream_id)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    assert not failures


def test_upload_may_pause_longer_than_the_idle_timeout(start: Start, origin: ScriptedUpstream) -> None:
    origin.expect()
    gateway = start(origin.address, "--request-buffering", "off", "--upstream-keepalive", "2s")
    with Raw(gateway.port) as client:
        client.send(client.open(1), client.open(3))
        client.send(*[DataFrame(stream, data=b"x", flags=["END_STREAM"]) for stream in (1, 3)])
        answered = {client.until(DataFrame).stream_id for _ in range(2)}
        assert answered == {1, 3}
        kept = set(origin.open)
        client.send(client.open(5, [*POST, ("content-length", "4")]), DataFrame(5, data=b"ab"))
        until(lambda: len(kept & origin.open) == 1, "the connection beside it is no longer kept")
        client.send(DataFrame(5, data=b"cd", flags=["END_STREAM"]))
        assert client.until(DataFrame, stream=5).data == b"ok"


@pytest.mark.parametrize(
    ("path", "extra", "reason", "target"),
    [
        ("/h2/a/../b", "", "target_path", "/h2/a/../b"),
        ("/" + "b" * 9000, "", "target_too_long", "/" + "b" * 1023 + "..."),
        ("/h2/large", "a" * 9000, "head_too_large", "/h2/large"),
    ],
)
def test_a_refused_request_is_logged_with_what_was_read_of_it(
    gateway: Gateway, path: str, extra: str, reason: str, target: str
) -> None:
    fields = [*to(path), ("user-agent", "uploader/1.0"), ("x-a", extra)]
    with Raw(gateway.port) as client:
        client.send(client.headers(1, fields))
        assert int(client.response(1)[0][":status"]) >= 400
    entry = logged(gateway, target)
    assert (entry["reason"], entry["method"], entry["protocol"]) == (reason, "GET", "HTTP/2.0")
    assert entry["user_agent"] == "uploader/1.0"


@pytest.mark.parametrize(
    ("malformed", "target"),
    [
        ([(":method", "GET"), (":path", "/no/scheme")], "/no/scheme"),
        ([*to("/bad/name"), ("x bad", "1")], "/bad/name"),
        ([*to("/connection"), ("connection", "close")], "/connection"),
        ([(":method", "GET"), (":scheme", "http"), (":authority", "a")], "-"),
    ],
)
def test_a_malformed_request_is_logged_though_nobody_is_told(
    gateway: Gateway, malformed: list[tuple[str, str]], target: str
) -> None:
    before = len(gateway.logged())
    with Raw(gateway.port) as client:
        client.send(client.headers(1, [*malformed, ("user-agent", "uploader/1.0")]))
        assert client.until(RstStreamFrame).error_code == 1
        assert client.alive()
    entry = until(lambda: gateway.logged()[before:], "the request is in the log")[0]
    assert (entry["reason"], entry["method"], entry["target"], entry["status"]) == ("malformed", "GET", target, 400)
    assert entry["user_agent"] == "uploader/1.0"
