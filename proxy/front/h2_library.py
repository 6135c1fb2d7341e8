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

from collections.abc import Iterable
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream, StreamInputs

from proxy.route import Tables
from proxy.wire.h2_frames import MOST_RESETS
from proxy.wire.h2_sections import SectionDecoder, SectionEncoder

STREAM_WINDOW = 1 << 18
CONNECTION_WINDOW = 1 << 20
"""Bytes that a client may send before the gateway has taken them off a stream, and off all streams together."""


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


class _Library(H2Connection):
    """The library, remembering fewer of the streams that are closed."""

    MAX_CLOSED_STREAMS = 1024

    def _begin_new_stream(self, stream_id: int, allowed_ids: Any) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream.__class__ = _Stream  # the library has no other place to say which class it makes
        return stream


def new_library(tables: Tables) -> H2Connection:
    """The library's state of a new connection, its SETTINGS queued."""
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
            SettingCodes.MAX_CONCURRENT_STREAMS: tables.settings.max_streams,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: tables.head_limits.block,
            SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
        },
    )
    h2.encoder, h2.decoder = SectionEncoder(), SectionDecoder()
    h2.initiate_connection()
    h2.increment_flow_control_window(CONNECTION_WINDOW - 65535)
    # The library ends the connection over one stream too many; the gateway refuses that stream, within bounds.
    h2.local_settings.max_concurrent_streams = tables.settings.max_streams + MOST_RESETS
    h2.local_settings.acknowledge()
    return h2
