"""An application that speaks HTTP/2 alone, made of the library `h2`: it echoes, and breaks off for some paths."""

import hashlib
import json
import socket
import ssl
import threading
from collections import defaultdict
from contextlib import suppress

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.proxy.integration.applications import content
from tests.waiting import PATIENCE


class Http2Upstream:
    """Serves each connection in a thread. `asked` has the number of the connection and the path of each request."""

    def __init__(
        self, context: ssl.SSLContext | None = None, streams: int = 100, path: str = "", *, connects: bool = False
    ) -> None:
        """`connects`: it takes extended CONNECT (RFC 8441), and echoes the bytes of such streams."""
        self._context = context
        self._streams = streams
        self._connects = connects
        self._path = path
        if path:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(path)
            self._listener.listen()
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = 0 if path else self._listener.getsockname()[1]
        self.asked: list[tuple[int, str]] = []
        self.resets: list[int] = []
        self.connected: list[dict[str, str]] = []
        """Fields of extended CONNECTs."""
        self.received = 0
        """Bytes of bodies."""
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def address(self) -> str:
        if self._path:
            return f"h2c://unix:{self._path}"
        return f"{'h2' if self._context else 'h2c'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                raw = self._listener.accept()[0]
            except OSError:
                return
            raw.settimeout(PATIENCE)
            number += 1
            thread = threading.Thread(target=self._serve, args=(raw, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket, number: int) -> None:
        with raw, suppress(OSError, h2.exceptions.ProtocolError):
            if self._context is not None:
                raw = self._context.wrap_socket(raw, server_side=True)
            with raw:
                Conversation(self, raw, number).run(self._streams, connects=self._connects)


class Conversation:
    """One connection."""

    def __init__(self, upstream: Http2Upstream, sock: socket.socket, number: int) -> None:
        self.upstream = upstream
        self.sock = sock
        self.number = number
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)
        self.wire = h2.connection.H2Connection(config)
        self.requests: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self.outgoing: dict[int, bytes] = {}
        self.over: set[int] = set()
        """Streams that this side has reset."""

    def run(self, streams: int, *, connects: bool) -> None:
        codes = h2.settings.SettingCodes
        most = {codes.MAX_CONCURRENT_STREAMS: streams, codes.ENABLE_CONNECT_PROTOCOL: int(connects)}
        self.wire.local_settings = h2.settings.Settings(client=False, initial_values=most)
        self.wire.initiate_connection()
        self.sock.sendall(self.wire.data_to_send())
        while data := self.sock.recv(65536):
            for event in self.wire.receive_data(data):
                if self._handle(event):
                    self.sock.sendall(self.wire.data_to_send())
                    return
            for stream in list(self.outgoing):
                self._push(stream)
            self.sock.sendall(self.wire.data_to_send())

    def _handle(self, event: object) -> bool:
        """Whether the connection ends by it."""
        if getattr(event, "stream_id", 0) in self.over:
            return False
        if isinstance(event, h2.events.RequestReceived):
            fields = self.requests[event.stream_id] = dict(event.headers)
            self.upstream.asked.append((self.number, fields[":path"]))
            if ":protocol" in fields:
                return self._connect(event.stream_id, fields)
            return self._begin(event.stream_id, fields[":path"])
        if ":protocol" in self.requests.get(getattr(event, "stream_id", 0), {}):
            self._echo(event)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] += event.data
            self.upstream.received += len(event.data)
            if self.requests[event.stream_id][":path"].startswith("/unread"):
                return False
            self.wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._answer(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.upstream.resets.append(event.error_code)
        return False

    def _connect(self, stream: int, fields: dict[str, str]) -> bool:
        path = fields[":path"]
        self.upstream.connected.append(fields)
        if path == "/declined":
            self.wire.send_headers(stream, [(":status", "403"), ("content-length", "2")])
            self.wire.send_data(stream, b"no", end_stream=True)
            return False
        self.wire.send_headers(
            stream, [(":status", "200"), ("sec-websocket-protocol", "chat"), ("content-length", "9")]
        )
        if path == "/hello":
            self.wire.send_data(stream, b"\x82\x05hello", end_stream=True)
        elif path == "/reset":
            self.wire.send_data(stream, b"\x82\x04last")
            self.wire.reset_stream(stream, 8)
            self.over.add(stream)
        return False

    def _echo(self, event: object) -> None:
        if isinstance(event, h2.events.DataReceived) and event.data:
            self.wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            unmasked = bytes((event.data[0], event.data[1] & 0x7F)) + event.data[6:]  # short frames, masked with zeros
            self.wire.send_data(event.stream_id, unmasked)
        elif isinstance(event, h2.events.StreamEnded) and self.requests[event.stream_id][":path"] == "/":
            self.wire.send_data(event.stream_id, b"\x82\x03end", end_stream=True)
        elif isinstance(event, h2.events.StreamReset):
            self.upstream.resets.append(event.error_code)

    def _begin(self, stream: int, path: str) -> bool:
        first = [asked for _, asked in self.upstream.asked].count(path) == 1
        if path.startswith("/refused") and first:
            self.wire.reset_stream(stream, 7)
            self.over.add(stream)
        elif path.startswith("/goaway") and first:
            self.wire.close_connection(last_stream_id=0)
            return True
        elif path.startswith("/cut"):
            self.wire.send_headers(stream, [(":status", "200")])
            self.wire.send_data(stream, b"half")
            self.wire.reset_stream(stream, 2)
        elif path.startswith("/injected"):
            self.wire.send_headers(stream, [(":status", "200"), ("x-a", "b\r\nSet-Cookie: c=d")])
        elif path.startswith("/informed"):
            for _ in range(20):
                self.wire.send_headers(stream, [(":status", "103")])
            self.wire.send_headers(stream, [(":status", "200"), ("content-length", "0")], end_stream=True)
        elif path.startswith("/early"):
            self.wire.send_headers(stream, [(":status", "413"), ("content-length", "0")], end_stream=True)
            self.wire.reset_stream(stream, 0)
            self.over.add(stream)
        elif path.startswith("/silent"):
            pass
        return False

    def _answer(self, stream: int) -> None:
        fields = self.requests[stream]
        path = fields[":path"]
        if path.startswith(("/silent", "/cut", "/injected", "/informed", "/unread")):
            return
        if path.startswith("/bytes"):
            body = content(int(path.partition("n=")[2]))
        else:
            digest = hashlib.sha256(self.bodies.pop(stream, b"")).hexdigest()
            body = json.dumps({"sha256": digest, "fields": fields}).encode()
        self.wire.send_headers(stream, [(":status", "200"), ("x-connection", str(self.number))])
        self.outgoing[stream] = body

    def _push(self, stream: int) -> None:
        while body := self.outgoing[stream]:
            room = min(self.wire.local_flow_control_window(stream), self.wire.max_outbound_frame_size)
            if not room:
                return
            self.wire.send_data(stream, body[:room])
            self.outgoing[stream] = body[room:]
        del self.outgoing[stream]
        self.wire.send_headers(stream, [("x-trailer", "last")], end_stream=True)
