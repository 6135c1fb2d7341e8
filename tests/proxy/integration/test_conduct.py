"""What the gateway does when one side misbehaves, goes away, is slow, or restarts."""

import contextlib
import gzip
import os
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.wire.body import ChunkedDecoder
from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.exchange import PATIENCE, Client
from tests.proxy.integration.scripted import OK, Manual, Script, ScriptedUpstream, read_request, read_until
from tests.waiting import until, writable

GET = b"GET /a HTTP/1.1\r\nHost: case.example\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: case.example\r\nContent-Length: 5\r\n\r\nhello"


def last_log(gateway: Gateway, count: int = 1) -> dict[str, object]:
    """The newest line of the access log, once there are `count`."""
    return until(lambda: gateway.logged()[count - 1 :], f"{count} log lines")[-1]


# Timeouts.


def test_silent_upstream_is_504(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address, "--read-timeout", "0.5s")
    with Client(gateway.address) as client:
        client.send(GET)
        sock = manual.accept()
        assert client.answer().status == 504
        assert sock.recv(4096)
        assert sock.recv(1) == b""
    assert last_log(gateway)["termination"] == "sH"


def test_stalled_body_is_cut_visibly(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address, "--read-timeout", "0.5s")
    with Client(gateway.address) as client:
        client.send(GET)
        sock = manual.accept()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        answer = client.answer()
        assert (answer.status, answer.whole, answer.body) == (200, False, b"part")


def test_slow_head_is_408(gateway_quick: Gateway) -> None:
    with Client(gateway_quick.address) as client:
        client.send(b"GET /a HTTP/1.1\r\nHost")
        answer = client.answer()
        assert (answer.status, answer.field("Connection")) == (408, "close")
        assert client.at_end()


def test_slow_body_is_408_and_never_reaches_the_upstream(gateway_quick: Gateway, scripted: ScriptedUpstream) -> None:
    scripted.expect()
    with Client(gateway_quick.address) as client:
        client.send(POST[:-3])
        assert client.answer().status == 408
    assert scripted.received == []


def test_idle_connection_is_closed_without_a_word(gateway_quick: Gateway) -> None:
    with Client(gateway_quick.address) as used, Client(gateway_quick.address) as unused:
        used.send(GET)
        assert used.answer().status == 200
        assert used.at_end()
        assert unused.at_end()


@pytest.fixture(scope="module")
def gateway_quick(scripted: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway without patience for clients."""
    running = serve(
        tmp_path_factory.mktemp("quick"), scripted.address, "--head-timeout", "0.5s", "--body-timeout", "0.5s",
        "--keepalive-timeout", "1s",
    )  # fmt: skip
    yield running
    running.close()


# Answers before the whole request (RFC 9112 section 9.3).


def test_refusal_is_heard_while_the_client_still_uploads(gateway: Gateway) -> None:
    size = 30_000_000
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        client.send(bytes(size))
        answer = client.answer()
        assert (answer.status, answer.field("Connection")) == (413, "close")


def test_refusal_comes_before_100_continue(gateway: Gateway) -> None:
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n")
        assert client.answer().status == 413
        assert client.at_end()


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_early_answer_of_the_upstream_is_relayed(manual: Manual, start: Callable[..., Gateway], buffering: str) -> None:
    gateway = start(manual.address, "--request-buffering", buffering)
    size = 20_000_000
    with Client(gateway.address) as client:
        client.send(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        client.sock.setblocking(False)
        left = memoryview(bytes(size))
        answered = None
        deadline = time.monotonic() + PATIENCE
        while left and time.monotonic() < deadline:
            try:
                left = left[client.sock.send(left[:1_000_000]) :]
            except BlockingIOError:
                if answered is None and buffering == "off":
                    answered = self_answer(manual)
                writable(client.sock, 0.05)
        if answered is None:
            answered = self_answer(manual)
        client.sock.settimeout(PATIENCE)
        assert client.answer().status == 413


def self_answer(manual: Manual) -> socket.socket:
    """Read the head only, answer 413, close."""
    sock = manual.accept()
    read_until(sock, b"\r\n\r\n")
    sock.sendall(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 4\r\n\r\nmuch")
    sock.shutdown(socket.SHUT_WR)
    return sock


# Informational answers before the whole request (RFC 9110 section 15.2).


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_an_early_hint_does_not_end_the_upload(manual: Manual, start: Callable[..., Gateway], buffering: str) -> None:
    gateway = start(manual.address, "--request-buffering", buffering)
    request = b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n" + bytes(20_000_000)
    with Client(gateway.address) as client:
        sending = threading.Thread(target=client.send, args=(request,))
        sending.start()
        sock = manual.accept()
        sock.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        assert read_request(sock, b"")[0].endswith(b"\r\n\r\n" + bytes(20_000_000))
        sock.sendall(OK)
        assert [client.answer().status for _ in range(2)] == [103, 200]
        sending.join()


@pytest.mark.parametrize("hints", [b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"])
def test_an_upstream_may_be_late_to_ask_for_the_body(
    manual: Manual, start: Callable[..., Gateway], hints: bytes
) -> None:
    gateway = start(manual.address, "--request-buffering", "off")
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        sock = manual.accept()
        assert b"Expect: 100-continue" in sock.recv(4096)
        sock.sendall(hints)
        assert [client.answer().status for _ in range(2 if hints else 1)] == [103, 100][not hints :]
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.send(b"hello")
        assert sock.recv(5, socket.MSG_WAITALL) == b"hello"
        sock.sendall(OK)
        assert client.answer().status == 200


# Clients that go away, slow ones, busy ones.


def test_client_that_resets_frees_the_upstream(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address)
    client = Client(gateway.address)
    client.send(GET)
    sock = manual.accept()
    read_request(sock, b"")
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.sock.close()
    assert sock.recv(1) == b""
    entry = last_log(gateway)
    assert (entry["status"], str(entry["termination"])[0]) == (499, "C")


@pytest.mark.parametrize(("half_close", "status"), [("abort", 0), ("allow", 200)])
def test_half_closed_client(manual: Manual, start: Callable[..., Gateway], half_close: str, status: int) -> None:
    gateway = start(manual.address, "--half-close", half_close)
    with Client(gateway.address) as client:
        client.send(GET)
        sock = manual.accept()
        read_request(sock, b"")
        client.sock.shutdown(socket.SHUT_WR)
        if half_close == "abort":
            assert sock.recv(1) == b"", "the upstream was not let go"
        else:
            sock.sendall(OK)
        assert client.answer().status == status


def test_half_closed_client_gets_what_is_ready_within_the_grace(gateway: Gateway, scripted: ScriptedUpstream) -> None:
    scripted.expect()
    with Client(gateway.address) as client:
        client.send(GET)
        client.sock.shutdown(socket.SHUT_WR)
        assert client.answer().status == 200
        assert client.at_end()


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, scripted: ScriptedUpstream) -> None:
    scripted.expect()
    count = 50
    requests = [GET.replace(b"/a", b"/%d" % number) if number % 3 else POST for number in range(count)]
    with Client(gateway.address) as client:
        client.send(b"".join(requests))
        for _ in range(count):
            assert client.answer().status == 200
    paths = [received.data.split()[1] for received in scripted.received]
    assert paths == [b"/%d" % number if number % 3 else b"/a" for number in range(count)]


FRAMINGS = {
    "sized": (b"Content-Length: %d", b"%b", b""),
    "chunked": (b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n", b"0\r\n\r\n"),
    "closed": (b"Connection: close", b"%b", b""),
}


def answer_with(sock: socket.socket, framing: str, body: bytes, fields: bytes = b"", *, announced: int = 0) -> None:
    """Send an answer; fewer bytes than `announced` of it if that is more."""
    head, piece, end = FRAMINGS[framing]
    head = head % max(announced, len(body)) if b"%d" in head else head
    wrapped = piece % (len(body), body) if b"%x" in piece else body
    sock.sendall(b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\n%b%b" % (head, fields, wrapped, b"" if announced else end))


@pytest.mark.parametrize("compress", ["off", "on"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_slow_reader_does_not_hold_the_upstream(
    manual: Manual, start: Callable[..., Gateway], framing: str, compress: str
) -> None:
    gateway = start(manual.address, "--compress", compress, "--compress-types", "text/plain")
    body = os.urandom(30_000_000)
    client = Client(gateway.address)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.send(GET[:-2] + b"Accept-Encoding: gzip\r\n\r\n")
    sock = manual.accept()
    read_request(sock, b"")
    # Returns though the client takes nothing yet.
    answer_with(sock, framing, body, b"Content-Type: text/plain\r\n")
    if framing == "closed":
        sock.close()
    answer = client.answer()
    got = gzip.decompress(answer.body) if compress == "on" else answer.body
    assert (answer.whole, got == body) == (True, True)
    client.sock.close()


@pytest.mark.parametrize("mark", [b"Content-Type: text/event-stream\r\n", b"X-Accel-Buffering: no\r\n"])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_events_wait_for_a_slow_reader(
    manual: Manual, start: Callable[..., Gateway], framing: str, mark: bytes
) -> None:
    gateway = start(manual.address)
    with Client(gateway.address) as client:
        client.send(GET)
        sock = manual.accept()
        read_request(sock, b"")
        sock.settimeout(2)
        with pytest.raises(TimeoutError):
            answer_with(sock, framing, bytes(30_000_000), mark)


# Answers that their upstream breaks off: what was sent before is not taken away.


@pytest.mark.parametrize("framing", ["sized", "chunked"])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_what_was_sent_of_a_broken_answer_arrives(
    manual: Manual, start: Callable[..., Gateway], framing: str, version: bytes
) -> None:
    gateway = start(manual.address)
    body = os.urandom(1 << 20)
    with Client(gateway.address) as client:
        client.send(GET.replace(b"1.1", version))
        sock = manual.accept()
        read_request(sock, b"")
        answer_with(sock, framing, body, announced=len(body) + 100)
        sock.close()
        assert last_log(gateway)["termination"] == "SD"
        answered = b""
        ended = "closed"
        try:
            while data := client.sock.recv(65536):
                answered += data
        except ConnectionResetError:
            ended = "reset"
        head, _, got = answered.partition(b"\r\n\r\n")
        if b"Transfer-Encoding: chunked" in head:
            got = ChunkedDecoder().feed(got)
        assert got == body
        # Where nothing else marks the end of the body, that of the connection must not.
        unmarked = b"Content-Length" not in head and b"Transfer-Encoding" not in head
        assert ended == ("reset" if unmarked else "closed")


def test_a_client_that_reads_nothing_is_reset_in_the_end(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address, "--write-timeout", "1s")
    with Client(gateway.address) as client:
        client.send(GET.replace(b"1.1", b"1.0"))
        sock = manual.accept()
        read_request(sock, b"")
        answer_with(sock, "chunked", bytes(1 << 20), announced=1)
        sock.close()
        poller = select.poll()
        poller.register(client.sock, select.POLLRDHUP)
        assert poller.poll(PATIENCE * 1000)[0][1] & select.POLLERR
        assert last_log(gateway)["termination"] == "SD"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_makes_no_answer_look_complete(
    manual: Manual, start: Callable[..., Gateway], number: signal.Signals
) -> None:
    gateway = start(manual.address, "--graceful", "1s", "--websocket-drain", "1s")
    with Client(gateway.address) as client:
        client.send(GET.replace(b"1.1", b"1.0"))
        sock = manual.accept()
        read_request(sock, b"")
        answer_with(sock, "chunked", b"part", announced=1)
        while b"part" not in client.pending:
            client.pending += client.sock.recv(100)
        gateway.signal(number)
        with pytest.raises(ConnectionResetError):
            client.sock.recv(1)


def test_a_client_that_takes_next_to_nothing_is_left(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address, "--write-timeout", "1s", "--min-read-rate", "1m")
    with Client(gateway.address) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(GET)
        sock = manual.accept()
        read_request(sock, b"")
        answer_with(sock, "chunked", bytes(8_000_000))
        with contextlib.suppress(ConnectionResetError):
            while client.sock.recv(10_000):
                time.sleep(0.02)  # a slow client is what this is about
        line = last_log(gateway)
        assert (line["termination"], line["reason"]) == ("cD", "client_stalled")
        assert "(min_read_rate)" in gateway.log


def test_bodiless_heads_wait_for_a_client_not_reading(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address, "--upstream-keepalive", "60")
    count = 300
    answer = b"HTTP/1.1 204 No Content\r\nX-Fill: " + b"f" * 20_000 + b"\r\n\r\n"
    answered = []

    def serve() -> None:
        sock, pending = manual.accept(), b""
        while len(answered) < count:
            answered.append(read_request(sock, pending))
            pending = answered[-1][1]
            sock.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    with Client(gateway.address) as client:
        client.send(GET * count)
        until(lambda: answered, "the first request")
        seen = 0
        while len(answered) != seen:
            seen = len(answered)
            time.sleep(0.3)  # until the gateway stands still, which nothing tells
        for _ in range(count):
            head = client.answer()
            assert (head.status, len(head.field("X-Fill") or "")) == (204, 20_000)


def test_upload_is_read_to_its_end_before_the_upstream_is_asked(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address)
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + bytes(199_999))
        manual.listener.settimeout(0.3)
        with pytest.raises(TimeoutError):
            manual.accept()
        client.send(b"x")
        manual.listener.settimeout(PATIENCE)
        sock = manual.accept()
        assert len(read_request(sock, b"")[0]) > 200_000
        sock.sendall(OK)
        assert client.answer().status == 200


def test_streamed_upload_begins_at_once(manual: Manual, start: Callable[..., Gateway]) -> None:
    gateway = start(manual.address, "--request-buffering", "off")
    with Client(gateway.address) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        sock = manual.accept()
        data = b""
        while not data.endswith(b"5\r\nhello\r\n"):
            data += sock.recv(4096)
        assert b"\r\nTransfer-Encoding: chunked\r\n" in data
        client.send(b"0\r\n\r\n")
        assert sock.recv(4096) == b"0\r\n\r\n"
        sock.sendall(OK)
        assert client.answer().status == 200


# A gateway that stops.


def test_queued_connections_are_served_on_shutdown(start: Callable[..., Gateway], scripted: ScriptedUpstream) -> None:
    scripted.expect()
    gateway = start(scripted.address)
    [worker] = gateway.workers()
    os.kill(worker, signal.SIGSTOP)
    # Of two signals that wait the lower comes first: SIGTERM must not come before the worker stands still.
    until(lambda: stands_still(worker), "the worker stands still")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(gateway.address)) for _ in range(8)]
        for client in clients:
            client.send(GET)
        gateway.signal(signal.SIGTERM)
        until(lambda: awaits(worker, signal.SIGTERM), "the worker is told to stop")
        os.kill(worker, signal.SIGCONT)
        assert [client.answer().status for client in clients] == [200] * 8
        assert all(client.at_end() for client in clients)


def stands_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")


def awaits(pid: int, number: int) -> bool:
    """Whether a signal has come to a process that could not yet act on it."""
    found = re.search(r"(?m)^ShdPnd:\t([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text())
    return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)


# The gateway's own answers.


@pytest.mark.parametrize(
    ("accept", "kind"), [(b"text/html,*/*;q=0.8", "text/html"), (b"application/json", "application/json")]
)
def test_own_answers_suit_their_reader(gateway: Gateway, scripted: ScriptedUpstream, accept: bytes, kind: str) -> None:
    scripted.expect(Script(b"hello world", "closes"))
    with Client(gateway.address) as client:
        client.send(b"GET /<b> HTTP/1.1\r\nHost: a\r\nAccept: %s\r\n\r\n" % accept)
        answer = client.answer()
    assert answer.status == 502
    assert (answer.field("Content-Type") or "").startswith(kind)
    assert b"Traceback" not in answer.body
    assert b"<b>" not in answer.body
    assert (answer.field("X-Request-ID") or "").encode() in answer.body
    assert "bad_response" in (answer.field("Proxy-Status") or "")
