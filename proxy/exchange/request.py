"""A request on its way to an upstream."""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from proxy.limits.buckets import Bucket
from proxy.net.client_certificate import ClientCertificate
from proxy.upstream.body import Body, framing
from proxy.wire.fields import RequestIds, field_value
from proxy.wire.head import CRLF
from proxy.wire.request import RequestFields
from proxy.wire.tracing import Trace, TraceContext


class Request:
    """A request as its client's protocol gave it. `block` holds the fields for the upstream, but for id and framing.

    `client` is the address of the client behind the trusted proxies; `scheme` is http or https; `host` is the target's
    authority. `trace_context` is the id and the trace that it came with, None for the usual request; `certificate` is
    what its client has proven by TLS, None where it is not asked. `upgrade` is the protocol that the upstream is asked
    to switch to, empty if none.
    """

    __slots__ = (
        "block",
        "body",
        "bucket",
        "certificate",
        "client",
        "fields",
        "host",
        "id",
        "length",
        "method",
        "minor",
        "received",
        "release",
        "response_fields",
        "scheme",
        "started",
        "target",
        "trace",
        "trace_context",
        "upgrade",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        minor: int,
        fields: RequestFields,
        block: bytes,
        started: float,
        client: str = "",
        scheme: bytes = b"http",
        host: bytes | None = None,
        trace_context: TraceContext | None = None,
        certificate: ClientCertificate | None = None,
        upgrade: bytes = b"",
    ) -> None:
        self.method = method
        self.target = target
        self.client = client
        self.scheme = scheme
        self.host = host
        self.minor = minor
        self.fields = fields
        self.block = block
        self.started = started
        self.trace_context = trace_context
        self.certificate = certificate
        self.upgrade = upgrade
        self.trace: Trace | None = None
        """The trace that the upstream is sent."""
        self.id = b""
        self.body: Body | None = None
        self.length: int | None = None
        """The body's length if there is a body and its length is known."""
        self.received = 0
        self.response_fields = b""
        """Field lines, with their ends, of whatever response the client gets."""
        self.bucket: Bucket | None = None
        """What its route's rate is counted in, once known: the same for the same request on the same connection."""
        self.release: Callable[[], None] | None = None
        """Called when the exchange has ended, to release what was acquired for it."""

    def identify(self, ids: RequestIds) -> None:
        """Give it its id, and the trace that its upstream is sent."""
        context = self.trace_context
        if context is None:
            self.id = ids.make()
        else:
            self.id = context.request_id or ids.make()
            self.trace = context.outgoing()

    def renew(self, ids: RequestIds, started: float) -> "Request":
        """The same request, which its client has sent once more after its exchange has ended.

        Takes a sixth of the time of making another one. Nothing may hold on to a request beyond its exchange: the log
        and the list of slowest requests copy what they need.
        """
        self.started = started
        self.body = None
        self.length = None
        self.response_fields = b""
        self.release = None
        if self.trace_context is None:
            self.id = ids.make()
        else:
            self.identify(ids)
        return self

    def again(self, method: bytes, target: bytes, started: float) -> "Request":
        """Another request of the same client, with the same fields for the same host and route."""
        request = Request(
            method, target, self.minor, self.fields, self.block, started, self.client, self.scheme, self.host
        )
        request.trace_context, request.certificate = self.trace_context, self.certificate
        return request

    def message(self, body: bytes | None) -> bytes:
        """The whole request as the upstream is sent it, whose body is in memory. Raises `ExchangeError` (`framing`)."""
        if body is None and self.length is None and self.trace is None:
            return b"%s %s HTTP/1.1\r\n%sX-Request-ID: %s\r\n\r\n" % (self.method, self.target, self.block, self.id)
        return b"%s%s\r\n%s" % (self.head(), framing(body, self.length), body or b"")

    def head(self) -> bytes:
        """The request line and the fields for the upstream, but for those of framing and the empty line."""
        if self.trace is not None:
            return b"%s %s HTTP/1.1\r\n%s%sX-Request-ID: %s\r\n" % (
                self.method,
                self.target,
                self.block,
                self.trace.lines,
                self.id,
            )
        return b"%s %s HTTP/1.1\r\n%sX-Request-ID: %s\r\n" % (self.method, self.target, self.block, self.id)

    def sent_as(self, target: bytes, block: bytes) -> "Request":
        """The same request with another target and other fields for the upstream."""
        sent = Request(
            self.method,
            target,
            self.minor,
            self.fields,
            block,
            self.started,
            client=self.client,
            scheme=self.scheme,
            host=self.host,
            certificate=self.certificate,
            upgrade=self.upgrade,
        )
        sent.id, sent.body, sent.length, sent.received = self.id, self.body, self.length, self.received
        sent.trace = self.trace
        return sent

    def addressed(self, host: bytes) -> "Request":
        """The same request with another Host, whose line is the first of `block`."""
        return self.sent_as(self.target, b"Host: %s\r\n%s" % (host, self.block.partition(CRLF)[2]))

    @property
    def user(self) -> bytes | None:
        """The user that a filter has authenticated: no client can set this field."""
        return field_value(self.block.split(CRLF), b"x-forwarded-user") or None

    def replace_fields(self, names: AbstractSet[bytes], lines: Iterable[bytes]) -> None:
        """Put `lines` for the upstream in the place of all fields with these lower-case names.

        Idempotent, because a request that `renew` returns was changed before.
        """
        kept = [line for line in self.block.split(CRLF)[:-1] if line.partition(b":")[0].lower() not in names]
        self.block = b"".join(line + CRLF for line in [*kept, *lines])
