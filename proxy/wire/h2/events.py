"""What a session tells of the bytes it was given."""

from proxy.wire.h2.streams import Stream
from proxy.wire.h2.tables import Section


class RequestReceived:
    """A stream was opened by a field section; `ended` where nothing follows on it."""

    __slots__ = ("ended", "section", "stream")

    def __init__(self, stream: Stream, section: Section, *, ended: bool) -> None:
        self.stream = stream
        self.section = section
        self.ended = ended


class DataReceived:
    """A piece of a body. `size` is what it took of the windows, padding included: `Session.give_back` it once read."""

    __slots__ = ("data", "ended", "size", "stream")

    def __init__(self, stream: Stream, data: bytes, size: int, *, ended: bool) -> None:
        self.stream = stream
        self.data = data
        self.size = size
        self.ended = ended


class TrailersReceived:
    """A second field section. One that does not end its stream is malformed (RFC 9113 section 8.1)."""

    __slots__ = ("ended", "section", "stream")

    def __init__(self, stream: Stream, section: Section, *, ended: bool) -> None:
        self.stream = stream
        self.section = section
        self.ended = ended


class StreamReset:
    """A stream is over before its end: the peer has reset it, or broke a rule for which it was reset."""

    __slots__ = ("by_peer", "code", "stream")

    def __init__(self, stream: Stream, code: int, *, by_peer: bool) -> None:
        self.stream = stream
        self.code = code
        self.by_peer = by_peer


class PingAcknowledged:
    """The peer has seen what was sent before a PING with these bytes."""

    __slots__ = ("opaque",)

    def __init__(self, opaque: bytes) -> None:
        self.opaque = opaque


class ResponseReceived:
    """A field section of a server: an informational head, the final one, or trailers; `ended`: nothing follows."""

    __slots__ = ("ended", "section", "stream")

    def __init__(self, stream: Stream, section: Section, *, ended: bool) -> None:
        self.stream = stream
        self.section = section
        self.ended = ended


class GoingAway:
    """GOAWAY: streams above `last_stream` were not acted upon, and may be repeated (RFC 9113 section 6.8)."""

    __slots__ = ("code", "last_stream", "reason")

    def __init__(self, last_stream: int, code: int, reason: bytes) -> None:
        self.last_stream = last_stream
        self.code = code
        self.reason = reason


Event = RequestReceived | DataReceived | TrailersReceived | StreamReset | PingAcknowledged
ServerEvent = ResponseReceived | DataReceived | StreamReset | GoingAway
