"""The session beside the `h2` library: the same events for the same frames, or both refuse.

What differs on purpose, and is left out or made alike here:

- the library ends the connection for a second field section that does not end its stream, for a body of another length
  than announced, and for one stream too many; those are errors of a stream, and told or answered as such;
- it lets RST_STREAM pass on a stream that never was (RFC 9113 section 6.4), and SETTINGS that acknowledge and set;
- it answers whatever comes on a stream that it has reset with another RST_STREAM (section 5.1 has it ignored);
- it adjusts the windows of streams that are closed, and minds where they overflow;
- it measures a frame when it is whole, and has no bounds on what a client may make it do;
- GOAWAY ends its own sending side, so that nothing that follows is compared.
"""

from collections.abc import Callable
from itertools import pairwise

from h2 import events as theirs
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.wire.h2.events import DataReceived, Event, PingAcknowledged, RequestReceived, StreamReset, TrailersReceived
from proxy.wire.h2.faults import ConnectionFault, ErrorCode
from proxy.wire.h2.frames import PREFACE
from proxy.wire.h2.session import CONNECTION_WINDOW, STREAM_WINDOW, ServerSession
from proxy.wire.h2.streams import Stream
from tests.proxy.integration.h2.raw import GET, POST
from tests.proxy.wire.h2.peer import Clock, Peer, sent

MANY = 1000

Told = tuple[object, ...]
Step = Callable[[Peer], bytes]


class Library:
    """The library, set up as the session is."""

    def __init__(self) -> None:
        config = H2Configuration(
            client_side=False, header_encoding=None, validate_inbound_headers=False, normalize_inbound_headers=False
        )
        self.connection = H2Connection(config)
        self.connection.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: MANY,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_HEADER_LIST_SIZE: 32768,
                SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )
        self.connection.initiate_connection()
        self.connection.increment_flow_control_window(CONNECTION_WINDOW - 65535)
        self.connection.local_settings.acknowledge()

    def receive(self, data: bytes) -> list[Told] | None:
        """What it tells, or None if it refuses."""
        try:
            received = self.connection.receive_data(data)
        except ProtocolError:
            return None
        return [told for event in received if (told := self._told(event)) is not None]

    @staticmethod
    def _told(event: theirs.Event) -> Told | None:
        if isinstance(event, theirs.RequestReceived):
            return "request", event.stream_id, tuple(map(tuple, event.headers)), event.stream_ended is not None
        if isinstance(event, theirs.TrailersReceived):
            return "trailers", event.stream_id, tuple(map(tuple, event.headers))
        if isinstance(event, theirs.DataReceived):
            size, ended = event.flow_controlled_length, event.stream_ended is not None
            return "data", event.stream_id, event.data, size, ended
        if isinstance(event, theirs.StreamReset):
            return "reset", event.stream_id, int(event.error_code), event.remote_reset
        if isinstance(event, theirs.PingAckReceived):
            return "ping", event.ping_data
        return None

    def respond(self, stream: int) -> bool:
        try:
            self.connection.send_headers(stream, [(":status", "200")])
            self.connection.send_data(stream, b"", end_stream=True)
        except ProtocolError:
            return False
        return True

    def reset(self, stream: int) -> bool:
        try:
            self.connection.reset_stream(stream, ErrorCode.CANCEL)
        except ProtocolError:
            return False
        return True


class Ours:
    """The session, with the streams that it told of."""

    def __init__(self) -> None:
        self.session = ServerSession(MANY, 32768, Clock())
        self._streams: dict[int, Stream] = {}

    def receive(self, data: bytes) -> list[Told] | None:
        try:
            received = self.session.receive(data)
        except ConnectionFault:
            return None
        return [self._told(event) for event in received]

    def _told(self, event: Event) -> Told:
        if isinstance(event, PingAcknowledged):
            return "ping", event.opaque
        number = event.stream.number
        if isinstance(event, RequestReceived):
            self._streams[number] = event.stream
            return "request", number, event.section, event.ended
        if isinstance(event, DataReceived):
            return "data", number, event.data, event.size, event.ended
        if isinstance(event, StreamReset):
            return "reset", number, int(event.code), event.by_peer
        assert isinstance(event, TrailersReceived)
        return "trailers", number, event.section

    def respond(self, number: int) -> bool:
        stream = self._streams.get(number)
        if stream is None or not stream.writable:
            return False
        self.session.sender.send_section(stream, ((b":status", b"200"),), ends=False)
        self.session.sender.send_data(stream, b"", ends=True)
        return True

    def reset(self, number: int) -> bool:
        stream = self._streams.get(number)
        if stream is None or not (stream.writable or stream.readable):
            return False
        self.session.sender.reset(stream, ErrorCode.CANCEL)
        return True


STREAMS = st.sampled_from([1, 1, 3, 3, 5, 7, 9, 2])
FLAGS = st.sets(st.sampled_from(["END_STREAM", "PADDED", "PRIORITY"])).map(sorted)
FIELDS = st.sampled_from([GET, POST, [*GET, ("x-thing", "1")], [(":method", "HEAD"), *GET[1:]]])


def headers(stream: int, fields: list[tuple[str, str]], flags: list[str], depends_on: int) -> Step:
    def step(peer: Peer) -> bytes:
        one = HeadersFrame(stream, data=peer.block(fields), flags=["END_HEADERS", *flags], depends_on=depends_on)
        one.pad_length = 7 if "PADDED" in flags else 0
        return one.serialize()

    return step


def continued(stream: int, cuts: list[int], other: int) -> Step:
    def step(peer: Peer) -> bytes:
        block = peer.block(GET)
        at = [0, *sorted(cut % len(block) for cut in cuts), len(block)]
        first, *rest = [block[start:end] for start, end in pairwise(at)]
        made: list[Frame] = [HeadersFrame(stream, data=first, flags=["END_STREAM"])]
        made += [ContinuationFrame(other if n else stream, data=piece) for n, piece in enumerate(rest)]
        made[-1].flags.add("END_HEADERS")
        return b"".join(one.serialize() for one in made)

    return step


def plain(made: Frame) -> Step:
    return lambda _peer: made.serialize()


def data_frame(stream: int, size: int, flags: list[str]) -> Step:
    return plain(DataFrame(stream, data=bytes(size), flags=flags, pad_length=3 if "PADDED" in flags else 0))


STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(headers, STREAMS, FIELDS, FLAGS, st.sampled_from([0, 0, 11])),
    st.builds(headers, STREAMS, FIELDS, FLAGS, st.just(0)),
    st.builds(continued, STREAMS, st.lists(st.integers(0, 30), max_size=3), st.sampled_from([1, 3, 3])),
    st.builds(
        data_frame,
        STREAMS,
        st.sampled_from([0, 1, 100, 16000]),
        st.sets(st.sampled_from(["END_STREAM", "PADDED"])).map(sorted),
    ),
    st.builds(lambda stream: plain(RstStreamFrame(stream, error_code=8)), STREAMS),
    st.builds(
        lambda stream, size: plain(WindowUpdateFrame(stream, window_increment=size)),
        st.one_of(STREAMS, st.just(0)),
        st.sampled_from([1, 1000, (1 << 31) - 1 - 65535, (1 << 31) - 1]),
    ),
    st.builds(
        lambda window, table: plain(SettingsFrame(0, settings={4: window, 1: table})),
        st.sampled_from([0, 65535, 1 << 20, (1 << 31) - 1]),
        st.sampled_from([0, 100, 4096, 65536]),
    ),
    st.builds(lambda ack: plain(PingFrame(0, opaque_data=b"12345678", flags=["ACK"] * ack)), st.booleans()),
    st.builds(lambda stream, on: plain(PriorityFrame(stream, depends_on=on)), STREAMS, st.sampled_from([0, 1])),
    st.just(plain(SettingsFrame(0, flags=["ACK"]))),
)
ACTIONS = st.lists(st.one_of(STEPS, STEPS, STEPS, STREAMS, STREAMS.map(lambda stream: -stream)), max_size=14)


def run(actions: list[Step | int]) -> None:
    peer, library, ours = Peer(), Library(), Ours()
    start = PREFACE + SettingsFrame(0).serialize()
    assert library.receive(start) == ours.receive(start) == []
    library.connection.data_to_send()
    ours.session.sender.take()
    opened: set[int] = set()
    for action in actions:
        if isinstance(action, int):
            # The library ends its connection for what is not allowed, so that it is asked second.
            done = ours.reset(-action) if action < 0 else ours.respond(action)
            assert not done or (library.reset(-action) if action < 0 else library.respond(action))
            continue
        received = action(peer)
        if is_reset_of_idle(received, opened):
            continue
        expected, found = library.receive(received), ours.receive(received)
        if expected is None and found is not None and is_more_lenient(received, found):
            return
        assert found == expected, received
        if expected is None:
            return
        opened |= {int(str(told[1])) for told in expected if told[0] == "request"}
        assert acknowledgements(library.connection.data_to_send()) == acknowledgements_of(ours.session)


def is_more_lenient(received: bytes, found: list[Told]) -> bool:
    """Whether the session rightly goes on: behind a second section without an end, and SETTINGS for streams of old."""
    return (received[3] == 4 and not found) or [told[0] for told in found] == ["trailers"]


def is_reset_of_idle(received: bytes, opened: set[int]) -> bool:
    number = int.from_bytes(received[5:9], "big")
    return received[3] == 3 and (number > max(opened, default=0) or not number & 1)


def acknowledgements(output: bytes) -> list[tuple[str, bytes]]:
    """The SETTINGS and PING frames in what was sent."""
    found = []
    while output:
        length = int.from_bytes(output[:3], "big")
        if output[3] in (4, 6):
            found.append((str(output[3]), output[9 : 9 + length]))
        output = output[9 + length :]
    return found


def acknowledgements_of(session: ServerSession) -> list[tuple[str, bytes]]:
    return acknowledgements(b"".join(one.serialize() for one in sent(session)))


@settings(max_examples=400, deadline=None)
@example([headers(1, POST, [], 0), 1, data_frame(1, 5, ["END_STREAM"])])
@example([headers(1, GET, ["END_STREAM"], 0), -1, data_frame(1, 5, [])])
@given(ACTIONS)
def test_both_tell_the_same_or_refuse(actions: list[Step | int]) -> None:
    run(actions)
