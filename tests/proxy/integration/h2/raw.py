"""A client that sends whatever frames a test likes, and says what came back."""

import socket
import ssl
from collections import deque
from collections.abc import Iterable

from h2.errors import ErrorCodes
from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from proxy.wire.h2.frames import PREFACE
from tests.proxy.integration.exchange import PATIENCE

GET = [(":method", "GET"), (":scheme", "http"), (":authority", "example.org"), (":path", "/")]
POST = [(":method", "POST"), *GET[1:]]
CONNECT = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    *GET[1:],
    ("sec-websocket-version", "13"),
]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Any bytes as a frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


class Raw:
    """A connection; the preface and empty SETTINGS are sent unless `greet` is False."""

    def __init__(
        self,
        port: int,
        *,
        greet: bool = True,
        settings: dict[int, int] | None = None,
        tls: ssl.SSLContext | None = None,
        narrow: bool = False,
    ) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE)
        if narrow:  # the kernels on both sides then keep some 100 kB instead of megabytes
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="127.0.0.1")
        self.encoder = Encoder()
        self.decoder = Decoder()
        self._pending = b""
        self._kept: deque[Frame] = deque()
        self._sections: dict[int, dict[str, str]] = {}
        self._decoded: list[HeadersFrame] = []  # kept alive, so that their identities stay theirs
        self.closed = False
        self.reset = False
        if greet:
            self.send(PREFACE, SettingsFrame(0, settings=settings or {}))

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.sock.close()

    def send(self, *frames: bytes | Frame) -> None:
        """Send frames together, as they are."""
        self.sock.sendall(b"".join(f if isinstance(f, bytes) else f.serialize() for f in frames))

    def block(self, fields: Iterable[tuple[str, str]]) -> bytes:
        """An encoded field section."""
        return self.encoder.encode(list(fields))

    def headers(self, stream: int, fields: Iterable[tuple[str, str]] = GET, *flags: str) -> HeadersFrame:
        """HEADERS with END_HEADERS; END_STREAM unless a flag is named."""
        return HeadersFrame(stream, data=self.block(fields), flags=["END_HEADERS", *(flags or ("END_STREAM",))])

    def open(self, stream: int, fields: Iterable[tuple[str, str]] = POST) -> HeadersFrame:
        """HEADERS of a request whose body follows."""
        return HeadersFrame(stream, data=self.block(fields), flags=["END_HEADERS"])

    def receive(self) -> Frame | None:
        """The next frame, or None at the end. Field sections are decoded in the order in which they come."""
        if self._kept:
            return self._kept.popleft()
        return self._receive()

    def _receive(self) -> Frame | None:
        while True:
            if len(self._pending) >= 9:
                found, length = Frame.parse_frame_header(memoryview(self._pending[:9]))
                if len(self._pending) >= 9 + length:
                    found.parse_body(memoryview(self._pending[9 : 9 + length]))
                    self._pending = self._pending[9 + length :]
                    if isinstance(found, HeadersFrame):
                        section = self.decoder.decode(found.data)
                        self._sections[id(found)] = fields = dict(section)
                        assert len(fields) == len(section), f"a field stands there twice: {section}"
                        self._decoded.append(found)
                    return found
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
                self.reset = True
            except BrokenPipeError:  # newer OpenSSL sends an alert at an end without close_notify, even half-closed
                data = b""
            if not data:
                self.closed = True
                return None
            self._pending += data

    @property
    def unfinished(self) -> bool:
        """Whether part of a frame has come and the rest has not."""
        return bool(self._pending)

    def fields(self, head: Frame) -> dict[str, str]:
        """The fields of a HEADERS frame that was received."""
        return self._sections[id(head)]

    def until(self, *kinds: type[Frame], stream: int | None = None) -> Frame:
        """The next frame of one of these kinds; with a stream, what is for others is kept for later."""
        passed: list[Frame] = []
        while (found := self.receive()) is not None:
            if isinstance(found, kinds) and (stream is None or found.stream_id == stream):
                self._kept.extendleft(reversed(passed))
                return found
            if stream is not None:
                passed.append(found)
        raise AssertionError(f"the connection ended before {kinds}")

    def response(self, stream: int) -> tuple[dict[str, str], bytes]:
        """Fields and body of an answer, once it is complete; what is for others is kept for later."""
        fields: dict[str, str] = {}
        body = b""
        passed: list[Frame] = []
        while True:
            found = self.until(HeadersFrame, DataFrame, RstStreamFrame, GoAwayFrame)
            assert not isinstance(found, RstStreamFrame | GoAwayFrame), found
            if found.stream_id != stream:
                passed.append(found)
                continue
            if isinstance(found, HeadersFrame):
                fields |= self.fields(found)
            if isinstance(found, DataFrame):
                body += found.data
            if "END_STREAM" in found.flags:
                self._kept.extendleft(reversed(passed))
                return fields, body

    def error(self) -> str:
        """How the gateway reacts: `GOAWAY code`, `RST_STREAM code`, or `CLOSED`."""
        while (found := self.receive()) is not None:
            if isinstance(found, GoAwayFrame):
                return f"GOAWAY {ErrorCodes(found.error_code).name}"
            if isinstance(found, RstStreamFrame):
                return f"RST_STREAM {ErrorCodes(found.error_code).name}"
        return "CLOSED"

    def alive(self) -> bool:
        """Whether a PING is answered before anything goes wrong."""
        self.send(PingFrame(0, opaque_data=b"12345678"))
        while (found := self.receive()) is not None:
            if isinstance(found, PingFrame) and "ACK" in found.flags and found.opaque_data == b"12345678":
                return True
            if isinstance(found, GoAwayFrame):
                return False
        return False

    def widen(self, stream: int, size: int) -> WindowUpdateFrame:
        return WindowUpdateFrame(stream, window_increment=size)
