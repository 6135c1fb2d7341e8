"""A body is as long as its content-length says, or its stream is reset, wherever and however it ends.

RFC 9113 section 8.1.1. What the application was sent of such a request is never followed by another one's bytes.
"""

from collections.abc import Callable, Iterator

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame

from tests.proxy.gateway import Gateway, serve
from tests.proxy.integration.h2.raw import GET, POST, Raw
from tests.proxy.integration.scripted import Manual, ScriptedUpstream, read_until
from tests.waiting import until

Sends = Callable[[Raw], list[Frame]]
Start = Callable[..., Gateway]


def announced(length: int, method: str = "POST") -> list[tuple[str, str]]:
    return [(":method", method), *GET[1:], ("content-length", str(length))]


def trailers(client: Raw) -> HeadersFrame:
    return client.headers(3, [("x-sum", "1")])


def data(payload: bytes, padding: int = 0, *, ends: bool = False) -> DataFrame:
    flags = [*(["END_STREAM"] if ends else []), *(["PADDED"] if padding else [])]
    return DataFrame(3, data=payload, pad_length=padding, flags=flags)


WRONG: dict[str, Sends] = {
    "no DATA, trailers": lambda c: [c.open(3, announced(5)), trailers(c)],
    "less DATA, trailers": lambda c: [c.open(3, announced(5)), data(b"abcd"), trailers(c)],
    "more DATA, trailers": lambda c: [c.open(3, announced(5)), data(b"abcdef"), trailers(c)],
    "padding for DATA, trailers": lambda c: [c.open(3, announced(5)), data(b"ab", 2), trailers(c)],
    "less DATA": lambda c: [c.open(3, announced(5)), data(b"abcd", ends=True)],
    "less DATA, padded": lambda c: [c.open(3, announced(5)), data(b"abcd", 1, ends=True)],
    "an empty DATA": lambda c: [c.open(3, announced(5)), data(b"", ends=True)],
    "an empty DATA behind less": lambda c: [c.open(3, announced(5)), data(b"abcd"), data(b"", ends=True)],
    "more DATA": lambda c: [c.open(3, announced(5)), data(b"abcdef", ends=True)],
    "more DATA without an end": lambda c: [c.open(3, announced(5)), data(b"abcdef")],
    "more DATA in pieces": lambda c: [c.open(3, announced(5)), data(b"abc"), data(b"def")],
    "a length and no body": lambda c: [c.headers(3, announced(5))],
    "less DATA of a GET, trailers": lambda c: [c.open(3, announced(5, "GET")), data(b"abc"), trailers(c)],
    "less DATA of a HEAD": lambda c: [c.open(3, announced(5, "HEAD")), data(b"abc", ends=True)],
    "a length among the trailers": lambda c: [
        c.open(3, announced(5)),
        data(b"abcd"),
        c.headers(3, [("content-length", "4")]),
    ],
    "less DATA, trailers without an end": lambda c: [
        c.open(3, announced(5)),
        data(b"abcd"),
        c.open(3, [("x-sum", "1")]),
    ],
    "the head before was right": lambda c: [
        c.open(5, announced(5)),
        DataFrame(5, data=b"12345", flags=["END_STREAM"]),
        c.open(7, announced(5)),
        DataFrame(7, data=b"abcd"),
        c.headers(7, [("x-sum", "1")]),
    ],
}


@pytest.fixture(scope="module", params=["on", "off"], ids=["buffered", "streamed"])
def lengths(
    request: pytest.FixtureRequest, origin: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("lengths")
    running = serve(directory, origin.address, "--h2c", "on", "--request-buffering", request.param)
    yield running
    running.close()
    assert "Traceback" not in running.log, running.log


@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
@pytest.mark.parametrize("name", WRONG)
def test_another_body_than_announced_resets_its_stream_alone(
    lengths: Gateway, origin: ScriptedUpstream, name: str, apart: bool
) -> None:
    origin.expect()
    with Raw(lengths.port) as client:
        client.send(client.open(1, [*POST, ("content-length", "8")]))
        for frames in [[frame] for frame in WRONG[name](client)] if apart else [WRONG[name](client)]:
            client.send(*frames, PingFrame(0))
            client.until(PingFrame, stream=0)
        reset = client.until(RstStreamFrame)  # at once, though the upstream may wait for the rest
        assert reset.error_code == ErrorCodes.PROTOCOL_ERROR
        client.send(DataFrame(1, data=b"lives on", flags=["END_STREAM"]), client.headers(101))
        for stream in (1, 101):
            assert client.until(DataFrame, stream=stream).data == b"ok"
        assert client.alive()
    kept = [one.data.partition(b"\r\n\r\n")[2] for one in origin.received]
    assert sorted(body for body in kept if body != b"12345") == [b"", b"lives on"]


@pytest.mark.parametrize("name", ["no DATA, trailers", "less DATA, trailers", "less DATA", "more DATA in pieces"])
@pytest.mark.parametrize("answers", ["before", "behind"])
def test_connection_with_half_a_request_is_not_reused(start: Start, manual: Manual, name: str, answers: str) -> None:
    gateway = start(manual.address, "--request-buffering", "off")
    with Raw(gateway.port) as client:
        head, *rest = WRONG[name](client)
        client.send(head)
        first = manual.accept()
        seen = read_until(first, b"\r\n\r\n")
        if answers == "before":
            first.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
            assert client.fields(client.until(HeadersFrame))[":status"] == "404"
        client.send(*rest)
        if answers == "behind":
            assert client.error() == "RST_STREAM PROTOCOL_ERROR"
        assert client.alive()
        client.send(client.headers(5, [(":method", "GET"), *GET[1:3], (":path", "/next")]))
        second = manual.accept()
        assert second.recv(65536).startswith(b"GET /next ")
        seen += b"".join(iter(lambda: first.recv(65536), b""))
        assert seen.partition(b"\r\n\r\n")[2] in (b"", b"abc", b"abcd")


@pytest.mark.parametrize("sizes", [(1, 1), (43, 12), (1023, 1, 1024), (1,) * 100, (0, 5, 0)])
def test_a_body_in_small_pieces_is_as_long_as_they_are(
    lengths: Gateway, origin: ScriptedUpstream, sizes: tuple[int, ...]
) -> None:
    origin.expect()
    with Raw(lengths.port) as client:
        frames = [data(b"x" * size, size % 3) for size in sizes]
        client.send(client.open(3, announced(sum(sizes))), *frames, data(b"", ends=True))
        assert client.until(DataFrame, stream=3).data == b"ok"
    assert bodies(origin) == [b"x" * sum(sizes)]


def bodies(origin: ScriptedUpstream) -> list[bytes]:
    return [one.data.partition(b"\r\n\r\n")[2] for one in origin.received]


def test_the_access_log_tells_of_it(start: Start, origin: ScriptedUpstream) -> None:
    gateway = start(origin.address)
    with Raw(gateway.port) as client:
        client.send(client.open(3, announced(5)))
        assert client.alive()
        client.send(data(b"abcd"), trailers(client))
        assert client.error() == "RST_STREAM PROTOCOL_ERROR"
    entry = until(gateway.logged, "a line in the access log")[0]
    assert (entry["status"], entry["reason"], entry["received"]) == (400, "malformed_body", 4)


def test_a_length_that_is_none_is_refused_and_the_others_go_on(gateway: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect()
    with Raw(gateway.port) as client:
        client.send(client.open(1))
        for stream, values in enumerate(
            (["x"], ["-1"], ["+5"], ["5 "], ["5", "5"], ["5", "6"], ["5,5"], ["0x5"], [""])
        ):
            fields = [("content-length", value) for value in values]
            client.send(client.open(3 + 2 * stream, [*POST, *fields]))
        answers = {stream: client.until(HeadersFrame, stream=stream) for stream in (3, 5, 7, 11, 13, 15, 17, 19)}
        assert {client.fields(head)[":status"] for head in answers.values()} == {"400"}
        client.send(DataFrame(1, data=b"lives on", flags=["END_STREAM"]))
        assert client.until(DataFrame, stream=1).data == b"ok"


def test_a_body_where_none_is_announced_goes_nowhere(lengths: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect()
    with Raw(lengths.port) as client:
        client.send(client.open(3, announced(0)), data(b"GET /inner HTTP/1.1\r\nHost: x\r\n\r\n", ends=True))
        assert client.alive()
        client.send(client.headers(5))
        assert client.until(DataFrame, stream=5).data == b"ok"
    assert not any(b"inner" in one.data for one in origin.received)
