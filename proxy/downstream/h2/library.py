"""The `h2` library as the gateway uses it: it keeps states, windows and compression; messages are checked elsewhere.

What the library would check of a request itself, and who checks it instead (`h2` 4.4):

    HEADERS that open a stream    the characters and pseudo-header fields (a setting, switched off here): `h2_head`;
                                  `content-length` a number, `:status` 1xx with END_STREAM: `h2_head`
    DATA                          its sum against `content-length`: `BodySource.take`
    HEADERS that end a stream     END_STREAM: `Connection.came_trailers`; fields: `h2_head`;
    (trailers)                    the body's sum against `content-length`: never by the library, `BodySource.take`
    RST_STREAM                    nothing: a body that was cut off is `Incoming.LOST`, never complete

The library looks at a length where DATA comes and nowhere else, and what it finds wrong with one message it answers
with a GOAWAY that ends every other stream. A malformed message is an error of its stream (RFC 9113 section 8.1.1).
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream, StreamClosedBy, StreamInputs

from proxy.wire.h2_frames import MOST_RESETS
from proxy.wire.h2_sections import SectionDecoder, SectionEncoder

STREAM_WINDOW = 1 << 18
CONNECTION_WINDOW = 1 << 20
"""Bytes that a client may send before the gateway has taken them off a stream, and off all streams together."""

_BY_RESET = (StreamClosedBy.SEND_RST_STREAM, StreamClosedBy.RECV_RST_STREAM)
_MOST_RESET, _MOST_ENDED = 256, 16


class _Stream(H2Stream):
    """A stream of the library that looks at no message."""

    def receive_headers(
        self,
        headers: Iterable[Any],
        end_stream: bool,
        header_encoding: bool | str | None,  # noqa: ARG002 - the library's signature
    ) -> tuple[list[Any], list[events.Event]]:
        """As the library's. A second section that does not end the stream ends it with a reset, as it is malformed."""
        received: list[events.Event] = self.state_machine.process_input(StreamInputs.RECV_HEADERS)
        event: Any = received[0]
        event.headers = list(headers)
        frames: list[Any] = []
        if end_stream:
            received += self.state_machine.process_input(StreamInputs.RECV_END_STREAM)
            event.stream_ended = received[-1]
        elif isinstance(event, events.TrailersReceived):
            frames = self.reset_stream(ErrorCodes.PROTOCOL_ERROR)
        return frames, received

    def _track_content_length(self, length: int, end_stream: bool) -> None:
        """Lengths are compared where the body is taken."""


class _ClosedStreams(dict[int, StreamClosedBy | None]):
    """How streams were closed, as far as that makes a difference to frames that still come on them.

    The library keeps 65,536 of them, some 200 bytes each. Frames that were on their way when a stream was reset are no
    fault of the client's; behind END_STREAM it has nothing more to send, and only the code of the error differs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._reset: deque[int] = deque()
        self._ended: deque[int] = deque()

    def __setitem__(self, number: int, closed_by: StreamClosedBy | None) -> None:
        reset = closed_by in _BY_RESET
        kept, most = (self._reset, _MOST_RESET) if reset else (self._ended, _MOST_ENDED)
        if len(kept) >= most:
            del self[kept.popleft()]
        kept.append(number)
        super().__setitem__(number, closed_by)


class _Library(H2Connection):
    """The library with streams, and a memory of them, of our own."""

    def __init__(self, config: H2Configuration) -> None:
        super().__init__(config)
        self._closed_streams: Any = _ClosedStreams()

    def _begin_new_stream(self, stream_id: int, allowed_ids: Any) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream.__class__ = _Stream  # the library has no other place to say which class it makes
        return stream


def new_library(max_streams: int, max_head: int) -> H2Connection:
    """The library's state of a new connection, its SETTINGS queued; `max_head` in bytes."""
    h2 = _Library(
        H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    h2.local_settings = Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: max_streams,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: max_head,
            SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
        },
    )
    h2.encoder, h2.decoder = SectionEncoder(), SectionDecoder()
    h2.initiate_connection()
    h2.increment_flow_control_window(CONNECTION_WINDOW - 65535)
    # The library ends the connection over one stream too many; the gateway refuses that stream, within bounds.
    h2.local_settings.max_concurrent_streams = max_streams + MOST_RESETS
    h2.local_settings.acknowledge()
    return h2
