"""A collector of spans for tests: takes OTLP over HTTP and reads it with the protocol's published messages."""

import gzip
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.waiting import until


@dataclass
class Received:
    """A span as it came."""

    name: str
    trace_id: str
    span_id: str
    parent: str
    kind: int
    status: int
    start: int  # nanoseconds
    end: int
    attributes: dict[str, Any]
    events: dict[str, int]
    resource: dict[str, Any]
    state: str


def values(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


class Collector(ThreadingHTTPServer):
    """Keeps what it receives. `status` is what it answers."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.spans: list[Received] = []
        self.fields: list[dict[str, str]] = []
        self.status = 200
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def await_spans(self, count: int) -> list[Received]:
        """The first `count` spans."""
        return until(lambda: list(self.spans) if len(self.spans) >= count else [], f"{count} spans")

    def take(self, path: str, fields: dict[str, str], body: bytes) -> None:
        assert path == "/v1/traces", path
        assert fields["content-type"] == "application/x-protobuf"
        message = ExportTraceServiceRequest.FromString(
            gzip.decompress(body) if fields.get("content-encoding") == "gzip" else body
        )
        self.fields.append(fields)
        for group in message.resource_spans:
            resource = values(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [_received(span, resource) for span in scope.spans]


def _received(span: Any, resource: dict[str, Any]) -> Received:
    return Received(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.status.code,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        values(span.attributes),
        {event.name: event.time_unix_nano for event in span.events},
        resource,
        span.trace_state,
    )


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200:
            self.server.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing is written: a failed assertion ends the connection, and the spans are missing."""
