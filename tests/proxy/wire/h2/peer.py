"""A client's frames for a session, and a clock that stands still."""

from collections.abc import Iterable

from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame

from proxy.wire.h2.frames import PREFACE
from proxy.wire.h2.session import ServerSession
from tests.proxy.integration.h2.raw import GET, POST

MAX_STREAMS = 20


class Clock:
    """Seconds, as a test likes them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Peer:
    """What a client sends; each call is one frame or more, as bytes."""

    def __init__(self) -> None:
        self.encoder = Encoder()

    def block(self, fields: Iterable[tuple[str, str]]) -> bytes:
        return self.encoder.encode(list(fields))

    def headers(self, stream: int, fields: Iterable[tuple[str, str]] = GET, *flags: str) -> bytes:
        """HEADERS with END_HEADERS; END_STREAM unless a flag is named."""
        flags = ("END_HEADERS", *(flags or ("END_STREAM",)))
        return HeadersFrame(stream, data=self.block(fields), flags=list(flags)).serialize()

    def open(self, stream: int, fields: Iterable[tuple[str, str]] = POST) -> bytes:
        return HeadersFrame(stream, data=self.block(fields), flags=["END_HEADERS"]).serialize()


def data(stream: int, payload: bytes = b"", *, ends: bool = False, padding: int = 0) -> bytes:
    flags = [*(["END_STREAM"] if ends else []), *(["PADDED"] if padding else [])]
    return DataFrame(stream, data=payload, pad_length=padding, flags=flags).serialize()


def begun(clock: Clock | None = None, settings: dict[int, int] | None = None) -> ServerSession:
    """A session whose client has said its preface; what it answers was taken."""
    session = ServerSession(MAX_STREAMS, 32768, clock or Clock())
    assert session.receive(PREFACE + SettingsFrame(0, settings=settings or {}).serialize()) == []
    session.sender.take()
    return session


def sent(session: ServerSession) -> list[Frame]:
    """The frames that the session wants to send."""
    rest = session.sender.take()
    found = []
    while rest:
        one, length = Frame.parse_frame_header(memoryview(rest[:9]))
        one.parse_body(memoryview(rest[9 : 9 + length]))
        found.append(one)
        rest = rest[9 + length :]
    return found
