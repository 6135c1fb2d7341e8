"""Clients that give no room: what they hold up ends, what lives on the same connection lives on."""

import threading
from collections.abc import Callable

import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, RstStreamFrame

from tests.proxy.gateway import Gateway
from tests.proxy.integration.h2.raw import Raw
from tests.proxy.integration.scripted import Manual, Script, ScriptedUpstream
from tests.waiting import until

Start = Callable[..., Gateway]
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + bytes(400_000)
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def reset(client: Raw, count: int) -> set[int]:
    """The streams of the next `count` resets, which say that their client is to blame."""
    found = [client.until(RstStreamFrame) for _ in range(count)]
    assert {one.error_code for one in found} == {8}
    return {one.stream_id for one in found}


def test_paused_downloads_end_and_a_live_stream_lives_on(start: Start, manual: Manual) -> None:
    gateway = start(manual.address, "--write-timeout", "1s")
    paused = [3 + 2 * n for n in range(12)]
    with Raw(gateway.port) as client:
        client.send(client.widen(0, 1 << 30), client.headers(1))
        events = manual.accept()
        events.recv(65536)
        events.sendall(STREAM + b"3\r\none\r\n")
        assert client.until(DataFrame, stream=1).data == b"one"
        for stream in paused:
            client.send(client.headers(stream))
            video = manual.accept()
            video.recv(65536)
            video.sendall(LONG)
        seen: set[int] = set()
        while len(seen) < len(paused):
            found = client.until(RstStreamFrame, GoAwayFrame)
            assert isinstance(found, RstStreamFrame), "only the paused ones end"
            seen.add(found.stream_id)
        assert seen == set(paused)
        events.sendall(b"3\r\ntwo\r\n0\r\n\r\n")
        assert client.until(DataFrame, stream=1).data == b"two"
        assert client.alive()


def test_a_request_that_waits_for_the_application_is_alive(start: Start, manual: Manual) -> None:
    gateway = start(manual.address, "--write-timeout", "1s")
    with Raw(gateway.port) as client:
        client.send(client.widen(0, 1 << 30), client.headers(1))
        slow = manual.accept()
        slow.recv(65536)
        for stream in range(3, 23, 2):
            client.send(client.headers(stream))
            other = manual.accept()
            other.recv(65536)
            other.sendall(LONG)
        assert reset(client, 10) == set(range(3, 23, 2))
        slow.sendall(HELLO)
        assert client.until(DataFrame, stream=1).data == b"hello"


def test_a_closed_connection_window_ends_what_waits_for_it(start: Start, manual: Manual) -> None:
    gateway = start(manual.address, "--write-timeout", "1s")
    with Raw(gateway.port, settings={4: 1 << 20}) as client:
        client.send(client.headers(1))
        slow = manual.accept()
        slow.recv(65536)
        for stream in (3, 5):
            client.send(client.headers(stream))
            other = manual.accept()
            other.recv(65536)
            other.sendall(LONG)
        assert reset(client, 2) == {3, 5}
        client.send(client.widen(0, 1000))
        slow.sendall(HELLO)
        assert client.until(DataFrame, stream=1).data == b"hello"


def test_a_connection_on_which_nothing_else_lives_ends(start: Start, origin: ScriptedUpstream) -> None:
    origin.expect(Script(LONG))
    gateway = start(origin.address, "--write-timeout", "1s")
    with Raw(gateway.port, settings={4: 1 << 20}) as client:
        client.send(client.headers(1), client.headers(3))
        assert reset(client, 2) == {1, 3}
        assert client.error() == "GOAWAY ENHANCE_YOUR_CALM"
        assert client.error() == "CLOSED"


def test_connection_window_opened_by_bytes_buffers_nothing(start: Start, origin: ScriptedUpstream) -> None:
    origin.expect(Script(LONG))
    gateway = start(origin.address, "--write-timeout", "1s", "--min-read-rate", "1M")
    with Raw(gateway.port, settings={4: 1 << 20}) as client:
        client.send(client.headers(1))
        taken = 0
        while taken < 65535:
            taken += len(client.until(DataFrame).data)
        while True:
            client.send(client.widen(0, 1))
            found = client.until(DataFrame, RstStreamFrame)
            if isinstance(found, RstStreamFrame):
                break
        assert found.error_code == 8
        assert client.error() == "GOAWAY ENHANCE_YOUR_CALM"


@pytest.mark.parametrize("head", [LONG.partition(b"\r\n\r\n")[0], STREAM[:-4]], ids=["length", "chunked"])
def test_stream_window_opened_by_bytes_buffers_nothing(start: Start, manual: Manual, head: bytes) -> None:
    gateway = start(manual.address, "--write-timeout", "1s", "--min-read-rate", "1M")
    with Raw(gateway.port, settings={4: 1}) as client:
        client.send(client.headers(1), client.open(3))
        upstream = manual.accept()
        upstream.recv(65536)
        upstream.sendall(head + b"\r\n\r\n" + (b"61a80\r\n" if b"chunked" in head else b"") + bytes(400_000))
        while isinstance(found := client.until(DataFrame, RstStreamFrame), DataFrame):
            client.send(client.widen(1, 1))
        assert found.error_code == 8
        assert client.alive()


def test_any_rate_may_be_allowed(start: Start, origin: ScriptedUpstream) -> None:
    origin.expect(Script(LONG))
    gateway = start(origin.address, "--write-timeout", "1s", "--min-read-rate", "0")
    with Raw(gateway.port, settings={4: 1 << 20}) as client:
        client.send(client.headers(1))
        taken = 0
        while taken < 65535:
            taken += len(client.until(DataFrame).data)
        passed = threading.Event()
        with Raw(gateway.port, settings={4: 0}) as other:
            threading.Thread(target=_stall_twice, args=(other, passed), daemon=True).start()
            while not passed.is_set():
                client.send(client.widen(0, 1))
                assert len(client.until(DataFrame).data) == 1


def _stall_twice(client: Raw, passed: threading.Event) -> None:
    """Two write timeouts, one after the other."""
    for stream in (1, 3):
        client.send(client.headers(stream))
        client.until(RstStreamFrame, stream=stream)
    passed.set()


def test_a_client_that_does_not_read_is_not_read(start: Start, origin: ScriptedUpstream) -> None:
    """Heads are under no window."""
    origin.expect(Script(b"HTTP/1.1 204 No Content\r\nX-Long: " + b"~" * 30_000 + b"\r\n\r\n"))
    gateway = start(origin.address)
    with Raw(gateway.port, narrow=True) as client:
        for asked in range(0, 1000, 50):
            client.send(*[client.headers(1 + 2 * (asked + n)) for n in range(50)])
            try:
                until(lambda: len(origin.received) >= asked + 50, seconds=2)  # noqa: B023 - asked at once
            except AssertionError:
                break
        assert asked <= 150
