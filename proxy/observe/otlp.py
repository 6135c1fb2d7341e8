"""Spans as collectors take them: protobuf over HTTP (OTLP), made and sent by OpenTelemetry's own libraries.

Everything here runs in a thread, the import included. Attributes have the names of OpenTelemetry's conventions for HTTP
servers; those of the gateway alone begin with `aragora.`. Query strings are left out: they may hold secrets.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from proxy.observe.log_formats import masked_address
from proxy.observe.spans import Span

TIMEOUT: Final = 5.0  # seconds for a message, repetitions included
_LONGEST_RESPONSE: Final = 64 << 10  # bytes
_LONGEST_TEXT: Final = 1024  # characters
_VERSIONS: Final = ("1.0", "1.1", "2")
_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS"})
_NANOSECONDS: Final = 1_000_000_000


class Collector:
    """What receives spans at one URL. `version` is the gateway's; `masks`: clients' addresses are masked."""

    def __init__(self, url: str, version: str, *, masks: bool) -> None:
        logging.getLogger("opentelemetry").disabled = True
        self._masks = masks
        self._session = _Session()
        self._exporter = OTLPSpanExporter(endpoint=url, timeout=TIMEOUT, session=self._session)
        own = Resource({"service.name": "aragora-proxy", "service.version": version})
        self._resource = own.merge(OTELResourceDetector().detect())
        self._scope = InstrumentationScope("aragora-proxy", version)

    def send(self, spans: Sequence[Span]) -> str:
        """Send spans in one message, repeatedly where that may help. Returns why they are lost, "" if they are not."""
        self._session.fault = ""
        result = self._exporter.export([self._readable(span) for span in spans])
        return "" if result is SpanExportResult.SUCCESS else self._session.fault or "no response"

    def _readable(self, span: Span) -> ReadableSpan:
        begun = int(span.started * _NANOSECONDS)
        state = TraceState.from_header([span.state.decode("ascii")]) if span.state else None
        trace_id = int(span.trace_id, 16)

        def context(span_id: bytes, *, remote: bool) -> SpanContext:
            return SpanContext(trace_id, int(span_id, 16), remote, TraceFlags(TraceFlags.SAMPLED), state)

        failed = span.reason or span.status >= 500
        return ReadableSpan(
            name=_name(span),
            context=context(span.span_id, remote=False),
            parent=context(span.parent, remote=True) if span.parent else None,
            resource=self._resource,
            attributes=self._attributes(span),
            events=[Event(name, timestamp=begun + int(moment * _NANOSECONDS)) for name, moment in span.events],
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR, span.reason or None) if failed else Status(StatusCode.UNSET),
            start_time=begun,
            end_time=begun + int(span.seconds * _NANOSECONDS),
            instrumentation_scope=self._scope,
        )

    def _attributes(self, span: Span) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            "http.request.method": _method(span),
            "url.scheme": _text(span.scheme),
            "url.path": _text(span.target.partition(b"?")[0]),
            "server.address": _text(span.host),
            "client.address": masked_address(span.client) if self._masks else span.client,
            "user_agent.original": _text(span.user_agent),
            "network.protocol.name": "http",
            "network.protocol.version": _VERSIONS[span.minor],
            "http.response.status_code": span.status,
            "http.request.size": span.received,
            "http.response.size": span.sent,
            "error.type": span.reason or (str(span.status) if span.status >= 500 else ""),
            "aragora.route": span.route,
            "aragora.upstream": span.upstream,
            "aragora.request_id": _text(span.request_id),
            "aragora.termination": span.termination,
        }
        return {name: value for name, value in attributes.items() if value not in ("", 0)}


class _Session(requests.Session):
    """Keeps why the last request failed, which the exporter only logs; reads a bounded part of the response."""

    fault = ""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        try:
            response = super().send(request, **{**options, "stream": True})
            response._content = response.raw.read(_LONGEST_RESPONSE)
            response.close()
        except Exception as error:
            self.fault = _cause(error)
            raise
        self.fault = "" if response.ok else f"{response.status_code} {response.reason}"
        return response


def _cause(error: BaseException) -> str:
    """The system's words for a failure, if it is one of the system's."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.strerror:
            return link.strerror
        link = link.__cause__ or link.__context__
    return type(error).__name__


def _name(span: Span) -> str:
    """Of few values, as names of spans should be."""
    method = _method(span)
    return f"{'HTTP' if method == '_OTHER' else method} {span.route}".rstrip()


def _method(span: Span) -> str:
    return span.method.decode("ascii") if span.method in _METHODS else "_OTHER"


def _text(value: bytes) -> str:
    return value[:_LONGEST_TEXT].decode("utf-8", "backslashreplace")
