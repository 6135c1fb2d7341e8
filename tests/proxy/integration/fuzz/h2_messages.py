"""Requests of HTTP/2 as frames: right ones, and ones that are wrong in their heads, lengths, trailers or ends."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, PingFrame, PriorityFrame, RstStreamFrame

from tests.proxy.integration.fuzz.ledger import Message, Verdict, smuggled
from tests.proxy.integration.h2.raw import Raw, frame

Fields = list[tuple[str, str]]
Filter = Callable[[Raw, int], list[bytes | Frame]]

_SAME: Fields = [(":scheme", "http"), (":authority", "example.org")]
_MODES = ("plain", "plain", "early", "chunked", "close")
_METHODS = ("GET", "POST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

MALFORMED: list[Callable[[Fields], Fields]] = [
    lambda head: [*head, ("X-Upper", "1")],
    lambda head: [*head, ("connection", "keep-alive")],
    lambda head: [*head, ("transfer-encoding", "chunked")],
    lambda head: [*head, ("upgrade", "h2c")],
    lambda head: [*head, ("te", "gzip")],
    lambda head: [*head, (":path", "/smuggled/late")],
    lambda head: [head[-1], *head[:-1], ("x", "1"), head[0]],
    lambda head: [*head[:3], (":unknown", "1"), *head[3:]],
    lambda head: head[1:],
    lambda head: [*head, ("x-space", " 1")],
    lambda head: [*head, ("x-split", "1\r\nx-injected: 1")],
    lambda head: [*head, ("x-ends", "1\r\n\r\nGET /smuggled/x HTTP/1.1\r\nhost: x\r\n\r\n")],
    lambda head: [*head, ("x-nul", "1\0")],
    lambda head: [*head, ("x name", "1")],
    lambda head: [*head, ("x:name", "1")],
    lambda head: [*head, ("x\r\nname", "1")],
    lambda head: [*head, ("", "1")],
]
"""What a stream is reset for (RFC 9113 sections 8.1.1, 8.2 and 8.3)."""

REFUSED: list[Callable[[Fields], Fields]] = [
    lambda head: [*head, ("content-length", "x")],
    lambda head: [*head, ("content-length", "+5")],
    lambda head: [*head, ("content-length", "5, 5")],
    lambda head: [*head, ("host", "other.org")],
    lambda head: [*head, ("expect", "the-unexpected")],
    lambda head: [(name, value + " HTTP/1.1" if name == ":path" else value) for name, value in head],
    lambda head: [(name, value + "\r\nx: y" if name == ":path" else value) for name, value in head],
    lambda head: [(name, value + "#a" if name == ":path" else value) for name, value in head],
    lambda head: [(name, value + "%00" if name == ":path" else value) for name, value in head],
    lambda head: [(name, "/a/../" + value if name == ":path" else value) for name, value in head],
    lambda head: [(name, "http://x" + value if name == ":path" else value) for name, value in head],
    lambda head: [(name, value + " X" if name == ":method" else value) for name, value in head],
    lambda head: [(name, "get" if name == ":method" else value) for name, value in head],
    lambda head: [(name, "me@example.org" if name == ":authority" else value) for name, value in head],
]
"""What is answered with an error on its stream."""

BENIGN: list[Fields] = [
    [("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2")],
    [("host", "example.org")],
    [("te", "trailers")],
    [("accept", "*/*"), ("user-agent", "fuzz")],
    [("x-forwarded-for", "6.6.6.6"), ("x-request-id", "smuggled"), ("forwarded", "for=6.6.6.6")],
    [("x_under", "1"), ("proxy", "1")],
    [("expect", "100-continue")],
    [("x-long", "a" * 3000)],
]
_GOOD_TRAILERS: list[Fields] = [[("x-sum", "1")], [("x-sum", "1"), ("grpc-status", "0")], []]
_BAD_TRAILERS: list[Fields] = [
    [(":path", "/smuggled/trailer")],
    [("connection", "close")],
    [("X-Upper", "1")],
    [("x-split", "1\r\n\r\nGET /smuggled/trailer HTTP/1.1\r\n\r\n")],
]


@dataclass
class Stream:
    """One request: its steps in their order, and what becomes of it."""

    message: Message
    steps: list[Filter]
    answered: bool
    """Whether an answer, or a reset, must come."""


class Sender:
    """Draws streams from a source of chance; `streamed` says that bodies are passed on while they come."""

    def __init__(self, chance: Random, *, streamed: bool) -> None:
        self._chance = chance
        self._streamed = streamed

    def stream(self, identity: str) -> Stream:
        draw = self._chance.random()
        if draw < 0.5:
            return self._right(identity)
        if draw < 0.85:
            return self._wrong_length(identity)
        if draw < 0.93:
            return self._wrong_head(identity)
        return self._taken_back(identity)

    # Heads.

    def _head(self, identity: str, *, bodied: bool = False) -> tuple[str, str, Fields]:
        method = self._chance.choice(_METHODS[1:5] if bodied else _METHODS)
        target = f"/{self._chance.choice(_MODES)}/{identity}"
        return method, target, [(":method", method), *_SAME, (":path", target)]

    def _headers(self, fields: Fields, *, ends: bool) -> Filter:
        """HEADERS, perhaps padded, perhaps with priority, perhaps continued."""
        chance = self._chance
        padding, priority = chance.choice((0, 0, 7, 255)), chance.random() < 0.2
        cuts = sorted(chance.random() for _ in range(chance.choice((0, 0, 0, 1, 2, 5))))

        def step(client: Raw, number: int) -> list[bytes | Frame]:
            block = client.block(fields)
            at = [0, *(int(cut * len(block)) for cut in cuts), len(block)]
            pieces = [block[start:end] for start, end in pairwise(at)]
            first = HeadersFrame(number, data=pieces[0], flags=["END_STREAM"] if ends else [])
            if padding and pieces[0]:  # the library takes padding of nothing for too much of it
                first.pad_length = padding
                first.flags.add("PADDED")
            if priority:
                first.flags.add("PRIORITY")
            frames: list[bytes | Frame] = [first, *(ContinuationFrame(number, data=piece) for piece in pieces[1:])]
            last = frames[-1]
            assert isinstance(last, Frame)
            last.flags.add("END_HEADERS")
            return frames

        return step

    # Bodies.

    def _body(self, identity: str) -> bytes:
        inner = smuggled(identity)
        return self._chance.choice(
            (b"", b"a", inner, inner * 3, inner[: self._chance.randrange(len(inner))], bytes(9000))
        )

    def _data(self, body: bytes, *, ends: bool) -> list[Filter]:
        """DATA frames of any sizes, some of them empty or padded; the last may end the stream."""
        chance = self._chance
        cuts = sorted(chance.randrange(len(body) + 1) for _ in range(chance.choice((0, 0, 1, 2, 4))))
        at = [0, *cuts, len(body)]
        pieces = [body[start:end] for start, end in pairwise(at)]
        if ends and chance.random() < 0.3:
            pieces.append(b"")
        steps: list[Filter] = []
        for index, piece in enumerate(pieces):
            last = ends and index == len(pieces) - 1
            padding = chance.choice((0, 0, 0, 1, 100))
            steps.append(self._data_frame(piece, padding, last=last))
        return steps

    @staticmethod
    def _data_frame(piece: bytes, padding: int, *, last: bool) -> Filter:
        flags = [*(["END_STREAM"] if last else []), *(["PADDED"] if padding else [])]
        return lambda _client, number: [DataFrame(number, data=piece, pad_length=padding, flags=flags)]

    def _ended(self, body: bytes, trailers: Fields | None) -> list[Filter]:
        """The body and its end: by DATA, or by trailers."""
        if trailers is None:
            return self._data(body, ends=True)
        return [*(self._data(body, ends=False) if body else []), self._headers(trailers, ends=True)]

    # Requests.

    def _right(self, identity: str) -> Stream:
        method, target, head = self._head(identity)
        head += self._chance.choice(BENIGN) if self._chance.random() < 0.4 else []
        if self._chance.random() < 0.3:
            steps, body = [self._headers(head, ends=True)], b""
        else:
            body = self._body(identity)
            if self._chance.random() < 0.6:
                head.append(("content-length", str(len(body))))
            trailers = self._chance.choice(_GOOD_TRAILERS) if self._chance.random() < 0.4 else None
            steps = [self._headers(head, ends=False), *self._ended(body, trailers)]
        # A streamed body is no longer passed on once its whole answer has come.
        overtaken = self._streamed and target.startswith("/early/") and len(steps) > 1
        verdict = Verdict.MAYBE if overtaken else Verdict.READ
        return Stream(Message(identity, method, target, body, verdict), steps, answered=True)

    def _wrong_length(self, identity: str) -> Stream:
        """Too short or too long, or wrong trailers, in every way to end."""
        method, target, head = self._head(identity, bodied=True)
        body = self._body(identity) or b"abc"
        length = self._chance.choice((0, len(body) - 1, len(body) + 1, len(body) * 2, len(body) + 400))
        trailers = self._chance.choice((None, *_GOOD_TRAILERS))
        if self._chance.random() < 0.2:
            length, trailers = len(body), self._chance.choice(_BAD_TRAILERS)
        steps = [self._headers([*head, ("content-length", str(length))], ends=False), *self._ended(body, trailers)]
        verdict = Verdict.NEVER
        if self._chance.random() < 0.1 and length:
            steps = [self._headers([*head, ("content-length", str(length))], ends=True)]
        elif self._streamed and length <= len(body):
            verdict = Verdict.MAYBE  # what was announced may have been passed on when the rest comes
        return Stream(Message(identity, method, target, body[:length], verdict), steps, answered=True)

    def _wrong_head(self, identity: str) -> Stream:
        method, target, head = self._head(identity)
        head = self._chance.choice([*MALFORMED, *REFUSED])(head)
        steps = [self._headers(head, ends=False), *self._ended(self._body(identity), None)]
        if self._chance.random() < 0.5:
            steps = [self._headers(head, ends=True)]
        return Stream(Message(identity, method, target, b"", Verdict.NEVER), steps, answered=True)

    def _taken_back(self, identity: str) -> Stream:
        """Reset by the client, or never ended."""
        method, target, head = self._head(identity, bodied=True)
        body = self._body(identity) or b"abc"
        reset: Filter = lambda _client, number: [RstStreamFrame(number, error_code=8)]  # noqa: E731
        if self._chance.random() < 0.3:
            steps = [self._headers(head, ends=False), *self._ended(body, None), reset]
            return Stream(Message(identity, method, target, body, Verdict.MAYBE), steps, answered=False)
        if self._chance.random() < 0.6:
            head.append(("content-length", str(len(body) + self._chance.choice((0, 1, 300)))))
        steps = [self._headers(head, ends=False), *self._data(body, ends=False)]
        verdict = Verdict.NEVER
        if self._streamed and head[-1] == ("content-length", str(len(body))):
            verdict = Verdict.MAYBE
        if self._chance.random() < 0.7:
            steps.append(reset)
        return Stream(Message(identity, method, target, body, verdict), steps, answered=False)

    def noise(self) -> bytes | Frame:
        """A frame that means nothing here."""
        return self._chance.choice((PingFrame(0), PriorityFrame(1, depends_on=0), frame(0x55, 3, 1, b"unknown")))

    def interleave(self, streams: list[Stream]) -> Iterator[tuple[int, Filter]]:
        """All steps in some order that keeps each stream's own, with the index of the stream."""
        left = [(index, list(stream.steps)) for index, stream in enumerate(streams)]
        while left:
            at = self._chance.randrange(len(left))
            index, steps = left[at]
            yield index, steps.pop(0)
            if not steps:
                del left[at]
