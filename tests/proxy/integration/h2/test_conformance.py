"""What RFC 9113 and RFC 7541 say a server does with each broken frame, in the order of their sections.

Where the RFC asks for a stream error, a connection error of the same code is allowed (section 5.4.2 lets an endpoint
choose), but the tests name what the gateway does.
"""

import struct
from collections.abc import Callable

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
)

from proxy.wire.h2.frames import PREFACE
from tests.proxy.gateway import Gateway
from tests.proxy.integration.h2.raw import CONNECT, GET, POST, Raw, frame
from tests.proxy.integration.scripted import Script, ScriptedUpstream

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
Sends = Callable[[Raw], list[bytes | Frame]]


def setting(key: int, value: int) -> bytes:
    return struct.pack("!HI", key, value)


CONNECTION_ERRORS: dict[str, tuple[Sends, str]] = {
    # 4.1, 4.2: frame format and size
    "frame over the size limit": (lambda c: [c.open(1), frame(DATA, 0, 1, bytes(16385))], "FRAME_SIZE_ERROR"),
    "HEADERS over the size limit": (lambda c: [frame(HEADERS, 5, 1, bytes(16385))], "FRAME_SIZE_ERROR"),
    "unknown frame over the size limit": (lambda c: [frame(99, 0, 0, bytes(16385))], "FRAME_SIZE_ERROR"),
    # 4.3, RFC 7541: field section compression
    "index 0": (lambda c: [frame(HEADERS, 5, 1, b"\x80")], "COMPRESSION_ERROR"),
    "index beyond the table": (lambda c: [frame(HEADERS, 5, 1, b"\xff\x20")], "COMPRESSION_ERROR"),
    "literal with an index beyond the table": (lambda c: [frame(HEADERS, 5, 1, b"\x7f\x20\x01a")], "COMPRESSION_ERROR"),
    "truncated literal": (lambda c: [frame(HEADERS, 5, 1, b"\x40\x05ab")], "COMPRESSION_ERROR"),
    "integer without an end": (lambda c: [frame(HEADERS, 5, 1, b"\xff" * 20)], "COMPRESSION_ERROR"),
    "huffman padding longer than 7 bits": (
        lambda c: [frame(HEADERS, 5, 1, b"\x82\x84\x86\x41\x86\x1d\x0b\xef\xff\xff\xff")],
        "COMPRESSION_ERROR",
    ),
    "huffman padding of zeros": (lambda c: [frame(HEADERS, 5, 1, b"\x40\x81\x1c\x81\x18")], "COMPRESSION_ERROR"),
    "huffman EOS": (lambda c: [frame(HEADERS, 5, 1, b"\x40\x84\xff\xff\xff\xff\x01a")], "COMPRESSION_ERROR"),
    "table size over the limit": (
        lambda c: [frame(HEADERS, 5, 1, b"\x3f\xe2\x1f" + c.block(GET))],
        "COMPRESSION_ERROR",
    ),
    "table size update behind a field": (
        lambda c: [frame(HEADERS, 5, 1, c.block(GET) + b"\x20")],
        "COMPRESSION_ERROR",
    ),
    # 5.1: streams that are idle
    "DATA on an idle stream": (lambda c: [DataFrame(1, data=b"x")], "PROTOCOL_ERROR"),
    "RST_STREAM on an idle stream": (lambda c: [RstStreamFrame(1)], "PROTOCOL_ERROR"),
    "WINDOW_UPDATE on an idle stream": (lambda c: [c.widen(1, 1)], "PROTOCOL_ERROR"),
    "CONTINUATION on an idle stream": (lambda c: [ContinuationFrame(1, data=c.block(GET))], "PROTOCOL_ERROR"),
    # 5.1.1: stream identifiers
    "a stream of the server's": (lambda c: [c.headers(2)], "PROTOCOL_ERROR"),
    "a lower stream": (lambda c: [c.open(5), c.headers(3)], "PROTOCOL_ERROR"),
    # 5.3.1
    "HEADERS that depend on themselves": (
        lambda c: [HeadersFrame(1, data=c.block(GET), depends_on=1, flags=["END_HEADERS", "END_STREAM", "PRIORITY"])],
        "PROTOCOL_ERROR",
    ),
    "PRIORITY that depends on itself": (lambda c: [PriorityFrame(1, depends_on=1)], "PROTOCOL_ERROR"),
    # 6.1 DATA
    "DATA on stream 0": (lambda c: [frame(DATA, 0, 0, b"x")], "PROTOCOL_ERROR"),
    "DATA with too much padding": (lambda c: [c.open(1), frame(DATA, 8, 1, b"\x05abc")], "PROTOCOL_ERROR"),
    # 6.2 HEADERS
    "HEADERS on stream 0": (lambda c: [frame(HEADERS, 5, 0, c.block(GET))], "PROTOCOL_ERROR"),
    "HEADERS with too much padding": (lambda c: [frame(HEADERS, 0xD, 1, b"\xff" + c.block(GET))], "PROTOCOL_ERROR"),
    "PRIORITY within a header block": (
        lambda c: [frame(HEADERS, 1, 1, c.block(GET)), PriorityFrame(1, depends_on=0)],
        "PROTOCOL_ERROR",
    ),
    "HEADERS of another stream within a header block": (
        lambda c: [frame(HEADERS, 1, 1, c.block(GET)), c.headers(3)],
        "PROTOCOL_ERROR",
    ),
    "an unknown frame within a header block": (
        lambda c: [frame(HEADERS, 1, 1, c.block(GET)), frame(0x16, 0, 0, b"x")],
        "PROTOCOL_ERROR",
    ),
    "GOAWAY within a header block": (
        lambda c: [frame(HEADERS, 1, 1, c.block(GET)), GoAwayFrame(0)],
        "PROTOCOL_ERROR",
    ),
    # 6.3 PRIORITY
    "PRIORITY on stream 0": (lambda c: [frame(PRIORITY, 0, 0, bytes(5))], "PROTOCOL_ERROR"),
    "PRIORITY of 4 bytes": (lambda c: [frame(PRIORITY, 0, 1, bytes(4))], "FRAME_SIZE_ERROR"),
    # 6.4 RST_STREAM
    "RST_STREAM on stream 0": (lambda c: [frame(RST, 0, 0, bytes(4))], "PROTOCOL_ERROR"),
    "RST_STREAM of 3 bytes": (lambda c: [c.open(1), frame(RST, 0, 1, bytes(3))], "FRAME_SIZE_ERROR"),
    # 6.5 SETTINGS
    "SETTINGS ACK with a payload": (lambda c: [frame(SETTINGS, 1, 0, bytes(6))], "FRAME_SIZE_ERROR"),
    "SETTINGS on a stream": (lambda c: [frame(SETTINGS, 0, 1, setting(3, 1))], "PROTOCOL_ERROR"),
    "SETTINGS of 3 bytes": (lambda c: [frame(SETTINGS, 0, 0, bytes(3))], "FRAME_SIZE_ERROR"),
    "ENABLE_PUSH 2": (lambda c: [frame(SETTINGS, 0, 0, setting(2, 2))], "PROTOCOL_ERROR"),
    "INITIAL_WINDOW_SIZE over the maximum": (
        lambda c: [frame(SETTINGS, 0, 0, setting(4, 1 << 31))],
        "FLOW_CONTROL_ERROR",
    ),
    "MAX_FRAME_SIZE under the minimum": (lambda c: [frame(SETTINGS, 0, 0, setting(5, 16383))], "PROTOCOL_ERROR"),
    "MAX_FRAME_SIZE over the maximum": (lambda c: [frame(SETTINGS, 0, 0, setting(5, 1 << 24))], "PROTOCOL_ERROR"),
    "INITIAL_WINDOW_SIZE that makes a window overflow": (
        lambda c: [c.open(1), c.widen(1, (1 << 31) - 1 - 65535), frame(SETTINGS, 0, 0, setting(4, 65536))],
        "FLOW_CONTROL_ERROR",
    ),
    # 6.6 PUSH_PROMISE
    "PUSH_PROMISE of a client": (
        lambda c: [c.open(1), PushPromiseFrame(1, promised_stream_id=2, data=c.block(GET), flags=["END_HEADERS"])],
        "PROTOCOL_ERROR",
    ),
    # 6.7 PING
    "PING on a stream": (lambda c: [frame(PING, 0, 1, bytes(8))], "PROTOCOL_ERROR"),
    "PING of 6 bytes": (lambda c: [frame(PING, 0, 0, bytes(6))], "FRAME_SIZE_ERROR"),
    # 6.8 GOAWAY
    "GOAWAY on a stream": (lambda c: [frame(GOAWAY, 0, 1, bytes(8))], "PROTOCOL_ERROR"),
    "GOAWAY of 4 bytes": (lambda c: [frame(GOAWAY, 0, 0, bytes(4))], "FRAME_SIZE_ERROR"),
    # 6.9 WINDOW_UPDATE
    "WINDOW_UPDATE 0 on the connection": (lambda c: [frame(WINDOW, 0, 0, bytes(4))], "PROTOCOL_ERROR"),
    "WINDOW_UPDATE 0 on a stream": (lambda c: [c.open(1), frame(WINDOW, 0, 1, bytes(4))], "PROTOCOL_ERROR"),
    "WINDOW_UPDATE of 3 bytes": (lambda c: [frame(WINDOW, 0, 0, bytes(3))], "FRAME_SIZE_ERROR"),
    "the connection's window overflows": (lambda c: [c.widen(0, (1 << 31) - 1)], "FLOW_CONTROL_ERROR"),
    # 6.10 CONTINUATION
    "CONTINUATION behind END_HEADERS": (
        lambda c: [c.open(1), ContinuationFrame(1, data=b"", flags=["END_HEADERS"])],
        "PROTOCOL_ERROR",
    ),
    "CONTINUATION on stream 0": (
        lambda c: [frame(HEADERS, 1, 1, c.block(GET)), frame(CONTINUATION, 4, 0)],
        "PROTOCOL_ERROR",
    ),
    "CONTINUATION behind DATA": (
        lambda c: [c.open(1), DataFrame(1, data=b"x"), ContinuationFrame(1, flags=["END_HEADERS"])],
        "PROTOCOL_ERROR",
    ),
}


@pytest.mark.parametrize("name", CONNECTION_ERRORS)
def test_a_broken_rule_ends_the_connection_with_its_code(gateway: Gateway, name: str) -> None:
    sends, code = CONNECTION_ERRORS[name]
    with Raw(gateway.port) as client:
        client.send(*sends(client))
        error = client.error()
        while error.startswith("RST_STREAM"):  # of the answers that will not be
            error = client.error()
        assert error == f"GOAWAY {code}"
        client.sock.shutdown(1)
        assert client.error() in ("CLOSED", "RST_STREAM CANCEL", "RST_STREAM INTERNAL_ERROR")


STREAM_ERRORS: dict[str, tuple[Sends, str]] = {
    # 5.1: half-closed (remote) and closed
    "DATA behind END_STREAM": (lambda c: [c.headers(1, HANGING), DataFrame(1, data=b"x")], "STREAM_CLOSED"),
    "HEADERS behind END_STREAM": (lambda c: [c.headers(1, HANGING), c.headers(1, HANGING)], "STREAM_CLOSED"),
    "DATA behind RST_STREAM": (lambda c: [c.open(1), RstStreamFrame(1), DataFrame(1, data=b"x")], "STREAM_CLOSED"),
    "HEADERS behind RST_STREAM": (lambda c: [c.open(1), RstStreamFrame(1), c.headers(1)], "STREAM_CLOSED"),
    # 6.9.1
    "the stream's window overflows": (lambda c: [c.open(1), c.widen(1, (1 << 31) - 1)], "FLOW_CONTROL_ERROR"),
    # 8.1, 8.2, 8.3: malformed requests
    "upper case": (lambda c: [c.headers(1, [*GET, ("X-Thing", "1")])], "PROTOCOL_ERROR"),
    "an unknown pseudo-header field": (lambda c: [c.headers(1, [*GET, (":thing", "1")])], "PROTOCOL_ERROR"),
    "a response's pseudo-header field": (lambda c: [c.headers(1, [*GET, (":status", "200")])], "PROTOCOL_ERROR"),
    "a pseudo-header field behind a regular one": (
        lambda c: [c.headers(1, [*GET[:3], ("x", "1"), GET[3]])],
        "PROTOCOL_ERROR",
    ),
    "connection": (lambda c: [c.headers(1, [*GET, ("connection", "keep-alive")])], "PROTOCOL_ERROR"),
    "transfer-encoding": (lambda c: [c.headers(1, [*GET, ("transfer-encoding", "chunked")])], "PROTOCOL_ERROR"),
    "te other than trailers": (lambda c: [c.headers(1, [*GET, ("te", "trailers, deflate")])], "PROTOCOL_ERROR"),
    "an empty path": (lambda c: [c.headers(1, [*GET[:3], (":path", "")])], "PROTOCOL_ERROR"),
    "no method": (lambda c: [c.headers(1, GET[1:])], "PROTOCOL_ERROR"),
    "no scheme": (lambda c: [c.headers(1, [GET[0], *GET[2:]])], "PROTOCOL_ERROR"),
    "no path": (lambda c: [c.headers(1, GET[:3])], "PROTOCOL_ERROR"),
    "two methods": (lambda c: [c.headers(1, [GET[0], *GET])], "PROTOCOL_ERROR"),
    "two paths": (lambda c: [c.headers(1, [*GET, GET[3]])], "PROTOCOL_ERROR"),
    "a length without a body": (lambda c: [c.headers(1, [*GET, ("content-length", "5")])], "PROTOCOL_ERROR"),
    "a protocol without CONNECT": (lambda c: [c.headers(1, [*GET, (":protocol", "websocket")])], "PROTOCOL_ERROR"),
    "a pseudo-header field among trailers": (
        lambda c: [c.open(1), c.headers(1, [(":method", "GET")])],
        "PROTOCOL_ERROR",
    ),
    "a framing field among trailers": (
        lambda c: [c.open(1), c.headers(1, [("transfer-encoding", "chunked")])],
        "PROTOCOL_ERROR",
    ),
    "a status among trailers": (lambda c: [c.open(1), c.headers(1, [(":status", "100")])], "PROTOCOL_ERROR"),
    "an informational status": (lambda c: [c.headers(1, [(":status", "100"), *GET])], "PROTOCOL_ERROR"),
    # 8.1: what follows the first field section
    "a second field section without END_STREAM": (lambda c: [c.open(1), c.open(1, [("x", "y")])], "PROTOCOL_ERROR"),
    "a second field section without END_STREAM, with priority": (
        lambda c: [c.open(1), HeadersFrame(1, data=c.block([("x", "y")]), flags=["END_HEADERS", "PRIORITY"])],
        "PROTOCOL_ERROR",
    ),
}
HANGING = [*GET, ("x-test", "hangs")]


@pytest.mark.parametrize("name", STREAM_ERRORS)
def test_a_broken_rule_of_one_stream_ends_that_stream(gateway: Gateway, origin: ScriptedUpstream, name: str) -> None:
    origin.expect()
    sends, code = STREAM_ERRORS[name]
    with Raw(gateway.port) as client:
        client.send(*sends(client))
        assert client.error() == f"RST_STREAM {code}"
        client.send(client.headers(101))
        assert client.response(101)[0][":status"] == "200"


REFUSED: dict[str, tuple[list[tuple[str, str]], str]] = {
    "a lower-case method": ([(":method", "get"), *GET[1:]], "400"),
    "TRACE": ([(":method", "TRACE"), *GET[1:]], "405"),
    "CONNECT": ([(":method", "CONNECT"), GET[2]], "405"),
    "another protocol": ([CONNECT[0], (":protocol", "connect-ip"), *CONNECT[2:]], "501"),
    "userinfo": ([*GET[:2], (":authority", "me@example.org"), GET[3]], "400"),
    "no authority": ([*GET[:2], GET[3]], "400"),
    "another host": ([*GET, ("host", "other.org")], "400"),
    "a path that climbs": ([*GET[:3], (":path", "/a/../b")], "400"),
    "a path with a fragment": ([*GET[:3], (":path", "/a#b")], "400"),
    "an absolute path": ([*GET[:3], (":path", "http://example.org/")], "400"),
    "a path that is too long": ([*GET[:3], (":path", "/" + "a" * 8200)], "414"),
    "a field that is too long": ([*GET, ("x", "a" * 9000)], "431"),
    "too many fields": ([*GET, *[(f"x-{n}", "1") for n in range(120)]], "431"),
    "an expectation": ([*GET, ("expect", "the-unexpected")], "417"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_http_1_refuses_is_refused_with_the_same_status(gateway: Gateway, name: str) -> None:
    fields, status = REFUSED[name]
    with Raw(gateway.port) as client:
        client.send(client.open(1, fields) if fields[0][1] == "CONNECT" else client.headers(1, fields))
        assert client.response(1)[0][":status"] == status
        assert client.alive()


IGNORED: dict[str, Sends] = {
    "an unknown frame": lambda c: [frame(0x16, 0xFF, 0, b"whatever")],
    "an unknown frame on a stream": lambda c: [frame(0x16, 0xFF, 1, b"whatever")],
    "undefined flags": lambda c: [frame(PING, 0xFE, 0, b"undefine")],
    "the reserved bit": lambda c: [frame(PING, 0, 1 << 31, b"reserved")],
    "an unknown setting": lambda c: [frame(SETTINGS, 0, 0, setting(0xFF, 1))],
    "a PING that is an answer": lambda c: [frame(PING, 1, 0, b"whatever")],
    "PRIORITY on an idle stream": lambda c: [PriorityFrame(7, depends_on=0, stream_weight=255)],
    "a window as wide as can be": lambda c: [c.widen(0, (1 << 31) - 1 - 65535)],
    "a larger frame size": lambda c: [frame(SETTINGS, 0, 0, setting(5, (1 << 24) - 1))],
    "WINDOW_UPDATE on a closed stream": lambda c: [c.open(1), RstStreamFrame(1), c.widen(1, 100)],
    "RST_STREAM on a closed stream": lambda c: [c.open(1), RstStreamFrame(1), RstStreamFrame(1)],
    "PRIORITY on a closed stream": lambda c: [c.open(1), RstStreamFrame(1), PriorityFrame(1, depends_on=0)],
    "an unused table size": lambda c: [frame(SETTINGS, 0, 0, setting(1, 1 << 30))],
}


@pytest.mark.parametrize("name", IGNORED)
def test_what_is_allowed_changes_nothing(gateway: Gateway, origin: ScriptedUpstream, name: str) -> None:
    origin.expect()
    with Raw(gateway.port) as client:
        client.send(*IGNORED[name](client), client.headers(9))
        assert client.response(9) == ({":status": "200", "content-length": "2", "date": DATE}, b"ok")
        assert client.alive()


class _Any(str):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


DATE = _Any()

ANSWERED: dict[str, Sends] = {
    "padding": lambda c: [
        HeadersFrame(1, data=c.block(POST), flags=["END_HEADERS", "PADDED"], pad_length=7),
        DataFrame(1, data=b"body", flags=["END_STREAM", "PADDED"], pad_length=200),
    ],
    "priority": lambda c: [
        HeadersFrame(1, data=c.block(GET), flags=["END_HEADERS", "END_STREAM", "PRIORITY"], depends_on=0),
    ],
    "CONTINUATION": lambda c: [
        frame(HEADERS, 1, 1, (block := c.block([*GET, ("x", "a" * 30)]))[:9]),
        frame(CONTINUATION, 0, 1, block[9:12]),
        frame(CONTINUATION, 0, 1, b""),
        frame(CONTINUATION, 4, 1, block[12:]),
    ],
    "a frame as large as can be": lambda c: [c.open(1), frame(DATA, 1, 1, bytes(16384))],
    "trailers": lambda c: [c.open(1), DataFrame(1, data=b"body"), c.headers(1, [("x-sum", "1")])],
    "trailers that nobody may use": lambda c: [
        c.open(1),
        DataFrame(1, data=b"body"),
        c.headers(1, [("content-length", "1"), ("content-digest", "x"), ("host", "a"), ("x_y", "z")]),
    ],
    "an empty body": lambda c: [c.open(1), DataFrame(1, flags=["END_STREAM"])],
    "OPTIONS *": lambda c: [c.headers(1, [(":method", "OPTIONS"), *GET[1:3], (":path", "*")])],
    "a literal that is never indexed": lambda c: [frame(HEADERS, 5, 1, c.block(GET) + b"\x10\x01x\x01y")],
    "a table size update": lambda c: [frame(HEADERS, 5, 1, b"\x20\x3f\xe1\x1f" + c.block(GET))],
    "two requests in one piece": lambda c: [c.headers(1), c.headers(3)],
    "settings twice": lambda c: [SettingsFrame(0, settings={4: 1}), SettingsFrame(0, settings={4: 100}), c.headers(1)],
}


@pytest.mark.parametrize("name", ANSWERED)
def test_whatever_the_protocol_offers_is_understood(gateway: Gateway, origin: ScriptedUpstream, name: str) -> None:
    origin.expect()
    with Raw(gateway.port) as client:
        client.send(*ANSWERED[name](client))
        assert client.response(1)[1] == b"ok"


def test_another_preface_ends_the_connection(gateway: Gateway) -> None:
    with Raw(gateway.port, greet=False) as client:
        client.send(PREFACE.replace(b"SM", b"XX"), SettingsFrame(0))
        assert client.sock.recv(9) == b"HTTP/1.1 "  # it is read as HTTP/1, and refused


def test_settings_are_acknowledged_and_pings_answered(gateway: Gateway) -> None:
    with Raw(gateway.port) as client:
        first = client.until(SettingsFrame)
        assert "ACK" not in first.flags
        assert first.settings[3] == 20
        assert first.settings[8] == 1
        while "ACK" not in client.until(SettingsFrame).flags:
            pass
        client.send(PingFrame(0, opaque_data=b"exactly8"))
        assert client.until(PingFrame).opaque_data == b"exactly8"


def test_a_stream_over_the_limit_is_refused_and_the_others_go_on(gateway: Gateway) -> None:
    with Raw(gateway.port) as client:
        client.send(*[client.open(1 + 2 * n) for n in range(21)])
        refused = client.until(RstStreamFrame)
        assert (refused.stream_id, refused.error_code) == (41, 7)
        client.send(DataFrame(1, flags=["END_STREAM"]))
        assert client.response(1)[0][":status"] == "200"


def test_windows_are_kept_to_the_byte(gateway: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect(Script(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world"))
    with Raw(gateway.port, settings={4: 1}) as client:
        client.send(client.headers(1))
        assert client.until(DataFrame).data == b"h"
        client.send(SettingsFrame(0, settings={4: 3}))
        assert client.until(DataFrame).data == b"el"
        client.send(SettingsFrame(0, settings={4: 0}), client.widen(1, 4))
        assert client.until(DataFrame).data == b"l"  # 3 were sent, 4 given, 3 taken back
        client.send(client.widen(1, 100))
        last = client.until(DataFrame)
        assert last.data == b"o, world"
        assert "END_STREAM" in last.flags


def test_goaway_of_the_client_lets_it_have_its_answers(gateway: Gateway, origin: ScriptedUpstream) -> None:
    origin.expect()
    with Raw(gateway.port) as client:
        client.send(client.open(1), GoAwayFrame(0))
        assert client.alive()
        client.send(DataFrame(1, data=b"x", flags=["END_STREAM"]))
        assert client.response(1)[1] == b"ok"
        assert client.error() == "GOAWAY NO_ERROR"
        assert client.error() == "CLOSED"


def test_last_goaway_names_the_last_processed_stream(gateway: Gateway) -> None:
    with Raw(gateway.port) as client:
        client.send(client.open(5))
        assert client.alive()
        client.send(frame(PING, 0, 1, bytes(8)))
        assert client.until(GoAwayFrame).last_stream_id == 5


CLOSED: dict[str, tuple[Sends, str]] = {
    "DATA": (lambda c: [DataFrame(1, data=b"x", flags=["END_STREAM"])], "RST_STREAM STREAM_CLOSED"),
    "HEADERS": (lambda c: [c.headers(1)], "GOAWAY STREAM_CLOSED"),
    "CONTINUATION": (lambda c: [ContinuationFrame(1, data=c.block(GET), flags=["END_HEADERS"])], "GOAWAY"),
    "trailers": (lambda c: [c.headers(1, [("x", "y")])], "GOAWAY STREAM_CLOSED"),
}


@pytest.mark.parametrize("name", CLOSED)
def test_a_stream_that_was_answered_is_closed(gateway: Gateway, origin: ScriptedUpstream, name: str) -> None:
    origin.expect()
    sends, expected = CLOSED[name]
    with Raw(gateway.port) as client:
        client.send(client.headers(1))
        client.response(1)
        client.send(*sends(client))
        assert client.error().startswith(expected)


@pytest.mark.parametrize("name", ["WINDOW_UPDATE", "RST_STREAM", "PRIORITY"])
def test_some_frames_may_still_come_on_a_closed_stream(gateway: Gateway, origin: ScriptedUpstream, name: str) -> None:
    origin.expect()
    with Raw(gateway.port) as client:
        client.send(client.headers(1))
        client.response(1)
        late = {"WINDOW_UPDATE": client.widen(1, 9), "RST_STREAM": RstStreamFrame(1), "PRIORITY": PriorityFrame(1)}
        client.send(late[name])
        assert client.alive()


@pytest.mark.parametrize("behind", [frame(CONTINUATION, 4, 1), frame(PUSH, 4, 1, bytes(4))], ids=["C", "PUSH"])
def test_other_frames_on_a_half_closed_stream_end_the_connection(gateway: Gateway, behind: bytes) -> None:
    with Raw(gateway.port) as client:
        client.send(client.headers(1, HANGING), behind)
        assert client.error() in ("GOAWAY PROTOCOL_ERROR", "GOAWAY STREAM_CLOSED")
