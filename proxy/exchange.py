"""One request and its response, from top to bottom: lease, send, await the head, relay, finish.

The order of things that can go wrong decides what may be repeated. Until a connection stands nothing was sent, so any
request may wait for its upstream and try again. A request that was sent on a reused connection and got no byte back
may have met a connection that was closing: it is repeated once, on a fresh connection, if its method is idempotent
(RFC 9110 section 9.2.2). After the first byte of an answer, or after a deadline, nothing is repeated.
"""

import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, time
from typing import Protocol

import gevent

from proxy import errors
from proxy.errors import Blame, ClientGone, DeadlinePassed, ExchangeError, Phase
from proxy.net.splice import Pipes
from proxy.net.spool import Spool
from proxy.net.stream import Deadlines, Hub, Stream, wait_either
from proxy.observe.accesslog import AccessLog, Entry
from proxy.observe.metrics import Counters
from proxy.relay import RelayLimits, SizedRelay, relay_chunked, relay_until_close
from proxy.settings import Settings
from proxy.tunnel import Tunnel
from proxy.upstream.cluster import Cluster
from proxy.upstream.pool import ConnectRefused, Pool, UpstreamConnection
from proxy.wire.body import LAST_CHUNK, chunk
from proxy.wire.fields import BODILESS, RequestIds, websocket_accept
from proxy.wire.head import END, HeadLimits, RequestFields, ResponseHead, parse_response_head

# A module's constant is found faster than an attribute of an enumeration.
QUEUE, CONNECT, REQUEST, RESPONSE, DATA, TUNNEL = (
    Phase.QUEUE,
    Phase.CONNECT,
    Phase.REQUEST,
    Phase.RESPONSE,
    Phase.DATA,
    Phase.TUNNEL,
)

_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})  # RFC 9110 section 9.2.2; TRACE is refused
_MOST_INFORMATIONAL = 16
_HOLD_PAUSE = 0.1
_EXPECT_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything one configuration says, ready for use; a reload builds a new one and swaps the reference."""

    settings: Settings
    head_limits: HeadLimits
    relay_limits: RelayLimits
    cluster: Cluster


@dataclass(frozen=True, slots=True)
class Resources:
    """What all exchanges of a process share, whatever the configuration."""

    hub: Hub
    deadlines: Deadlines
    pipes: Pipes
    buffer: memoryview
    counters: Counters
    access_log: AccessLog
    request_ids: RequestIds
    tunnels: set[Tunnel]


class StreamedBody(ABC):
    """A request body that is passed on while it comes."""

    expects_continue: bool

    @abstractmethod
    def read(self, upstream: Stream) -> bytes | None:
        """The next bytes, b"" at the end, None once the upstream speaks first.

        Raises `ExchangeError` or `ClientGone`.
        """

    @abstractmethod
    def proceed(self) -> None:
        """Tell a client that asked for it to send the body."""


class Request:
    """A request as the front read it. `block` holds the fields for the upstream, all but id and framing."""

    __slots__ = ("block", "body", "fields", "id", "length", "method", "minor", "received", "started", "target")

    def __init__(
        self, method: bytes, target: bytes, minor: int, fields: RequestFields, block: bytes, started: float
    ) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.fields = fields
        self.block = block
        self.started = started
        self.id = b""
        self.body: bytes | Spool | StreamedBody | None = None
        self.length: int | None = None
        """The body's length if there is a body and its length is known."""
        self.received = 0


class Downstream(Protocol):
    """The client's side of an exchange, whatever its protocol."""

    client: str
    sent: int
    begun: bool

    @property
    def plain(self) -> Stream | None:
        """The connection itself, if bytes may be written to it as they are."""

    def inform(self, response: ResponseHead) -> None:
        """Pass on a 1xx answer."""

    def begin(self, response: ResponseHead, length: int | None, body: bytes, *, stream: bool) -> bytes:
        """Send the head, and `body` with it; returns what of the body the client did not take at once.

        `length` is the Content-Length to announce; `stream` announces a body of unknown length instead.
        """

    def write(self, data: bytes) -> None: ...

    def end(self, trailers: list[bytes]) -> None: ...

    def answer(self, error: ExchangeError) -> None:
        """Send an answer of the gateway's own."""

    def abort(self) -> None:
        """The answer cannot be completed: end the connection so that the client notices."""

    def switch(self, response: ResponseHead) -> bytes:
        """Send a 101 and leave the protocol; returns what the client already sent behind its request."""


class _Stale(Exception):  # noqa: N818 - names what happened
    """The upstream closed without a byte of an answer."""


class Exchange:
    """One request on its way through the gateway."""

    __slots__ = (
        "_answered",
        "_connect",
        "_downstream",
        "_first_byte",
        "_heard",
        "_lease",
        "_peer",
        "_phase",
        "_queue",
        "_reason",
        "_request",
        "_resources",
        "_reusable",
        "_status",
        "_tables",
        "_termination",
        "_tunnel",
    )

    def __init__(self, tables: Tables, resources: Resources, downstream: Downstream, request: Request) -> None:
        self._tables = tables
        self._resources = resources
        self._downstream = downstream
        self._request = request
        self._lease: UpstreamConnection | None = None
        self._reusable = True
        self._tunnel: Tunnel | None = None
        self._peer = ""
        self._phase = QUEUE
        self._status = 0
        self._termination = "--"
        self._reason = ""
        self._queue = self._connect = self._first_byte = -1.0
        self._heard = b""  # bytes of the answer that came while the request was still being sent
        self._answered: tuple[ResponseHead, bytes] | None = None

    def run(self) -> None:
        """Answer the request, one way or the other. Raises nothing."""
        try:
            response, rest = self._obtain()
            self._status = response.status
            if response.status == 101:
                self._upgrade(response, rest)
            else:
                self._phase = DATA
                self._relay(response, rest)
        except ExchangeError as error:
            self._failed(error)
        except ClientGone:
            self._failed(ExchangeError(errors.CLIENT_CLOSED))
        if self._tunnel is None:
            if self._lease is not None:
                self._lease.close()
            self._record()

    # Obtaining a response.

    def _obtain(self) -> tuple[ResponseHead, bytes]:
        """Send the request and return the final response's head and the bytes behind it."""
        request = self._request
        repeatable = request.method in _IDEMPOTENT and not isinstance(request.body, StreamedBody)
        fresh = request.fields.websocket
        while True:
            lease = self._lease = self._acquire(fresh=fresh, repeatable=repeatable)
            try:
                self._phase = REQUEST
                self._send(lease)
                self._phase = RESPONSE
                return self._await_response(lease)
            except _Stale as stale:
                self._lease = None
                lease.close()
                if not (lease.reused and repeatable):
                    lease.pool.counters.failure()
                    raise ExchangeError(errors.UPSTREAM_CLOSED, str(stale)) from None
                fresh = True
                self._resources.counters.retry()

    def _acquire(self, *, fresh: bool, repeatable: bool) -> UpstreamConnection:
        """An idle connection to the peer whose turn it is, or a new one."""
        pools = self._tables.cluster.in_turn()
        if not fresh:
            pool = pools[0]
            lease = pool.lease(self._request.started, repeatable=repeatable)
            if lease is not None:
                self._peer = pool.name
                return lease
        return self._connect_to_one(pools)

    def _connect_to_one(self, pools: Sequence[Pool]) -> UpstreamConnection:
        """A new connection to the first peer that accepts; while none does, wait for one that restarts."""
        settings = self._tables.settings
        started = begun = monotonic()
        held = False
        while True:
            for pool in pools:
                self._peer = pool.name
                self._phase = CONNECT
                try:
                    lease = pool.connect(settings.connect_timeout)
                except ConnectRefused as refused:
                    detail = str(refused)
                else:
                    now = monotonic()
                    self._connect = now - begun
                    self._queue = begun - started
                    return lease
            self._phase = QUEUE
            if monotonic() - started + _HOLD_PAUSE > settings.hold:
                raise ExchangeError(errors.UNAVAILABLE if settings.hold else errors.CONNECT_REFUSED, detail)
            if not held:
                held = True
                self._resources.counters.hold()
            gevent.sleep(_HOLD_PAUSE)
            begun = monotonic()

    # Sending the request.

    def _send(self, lease: UpstreamConnection) -> None:
        """Send the request's head and body. Raises `_Stale` if the peer is gone without an answer."""
        request = self._request
        body = request.body
        framing = b""
        if request.length is not None:
            framing = b"Content-Length: %d\r\n" % request.length
        elif isinstance(body, StreamedBody):
            framing = b"Transfer-Encoding: chunked\r\n"
        if isinstance(body, StreamedBody) and body.expects_continue:
            framing += b"Expect: 100-continue\r\n"
        head = b"%s %s HTTP/1.1\r\n%s%sX-Request-ID: %s\r\n\r\n" % (
            request.method,
            request.target,
            request.block,
            framing,
            request.id,
        )
        if isinstance(body, bytes):
            head += body
        try:
            sent = lease.send(head)
            if sent != len(head) and not self._send_all(lease, head[sent:]):
                return
            if isinstance(body, Spool):
                self._send_spool(lease, body)
            elif isinstance(body, StreamedBody):
                self._send_stream(lease, body)
        except OSError as error:
            # An answer may have come before the connection broke: look for it first (RFC 9112 section 9.5).
            self._reusable = False
            if not _has_bytes(lease):
                raise _Stale(error.strerror or "") from None
        except DeadlinePassed:
            raise ExchangeError(errors.SEND_TIMEOUT) from None

    def _send_all(self, lease: UpstreamConnection, data: bytes) -> bool:
        """Send everything; False if the upstream has answered meanwhile and wants no more."""
        view = memoryview(data)
        while True:
            view = view[lease.send(view) :]
            if not view:
                return True
            if not self._may_send(lease):
                return False

    def _send_spool(self, lease: UpstreamConnection, body: Spool) -> None:
        offset = 0
        while offset < body.length:
            sent = body.send_to(lease.sock, offset)
            offset += sent
            if not sent and not self._may_send(lease):
                return

    def _send_stream(self, lease: UpstreamConnection, body: StreamedBody) -> None:
        if body.expects_continue and not self._await_continue(lease, body):
            return
        chunked = self._request.length is None
        while True:
            data = body.read(lease)
            if data is None:
                self._reusable = False
                return
            if not data:
                break
            if not self._send_all(lease, b"".join(chunk(data)) if chunked else data):
                return
        if chunked:
            self._send_all(lease, LAST_CHUNK)

    def _may_send(self, lease: UpstreamConnection) -> bool:
        """Wait until the upstream takes more; False if it has begun to answer (or is gone)."""
        wait_either(lease, lease, monotonic() + self._tables.settings.send_timeout)
        if _spoke(lease):
            self._reusable = False
            return False
        return True

    def _await_continue(self, lease: UpstreamConnection, body: StreamedBody) -> bool:
        """Let the upstream say whether it wants the body (RFC 9110 section 10.1.1); silence means yes."""
        try:
            lease.wait_readable(monotonic() + _EXPECT_PATIENCE)
        except DeadlinePassed:
            body.proceed()
            return True
        response, rest = self._next_head(lease, b"")
        if response.status == 100:
            body.proceed()
            self._heard = rest
            return True
        self._answered = response, rest
        self._reusable = False
        return False

    # Awaiting the response.

    def _await_response(self, lease: UpstreamConnection) -> tuple[ResponseHead, bytes]:
        """The final response's head and the bytes behind it; 1xx ones are passed on (RFC 9110 section 15.2)."""
        if self._answered is not None:
            return self._answered
        rest = self._heard
        for _ in range(_MOST_INFORMATIONAL):
            response, rest = self._next_head(lease, rest)
            if response.status >= 200 or response.status == 101:
                return response, rest
            if self._request.minor:
                self._downstream.inform(response)
        raise ExchangeError(errors.BAD_RESPONSE, f"over {_MOST_INFORMATIONAL} informational answers")

    def _next_head(self, lease: UpstreamConnection, data: bytes) -> tuple[ResponseHead, bytes]:
        settings = self._tables.settings
        deadline = monotonic() + settings.read_timeout
        while True:
            end = data.find(END)
            if end >= 0:
                if end > settings.max_response_head:
                    raise ExchangeError(errors.BAD_RESPONSE, "head too large")
                return parse_response_head(data[:end]), data[end + 4 :]
            if len(data) > settings.max_response_head or (data and not data.startswith(b"HTTP/1."[: len(data)])):
                raise ExchangeError(errors.BAD_RESPONSE, "head")
            try:
                more = lease.receive(deadline)
            except DeadlinePassed:
                raise ExchangeError(errors.RESPONSE_TIMEOUT) from None
            except OSError as error:
                more = b""
                reason = error.strerror or ""
            else:
                reason = "closed without an answer"
            if not more:
                if data:
                    raise ExchangeError(errors.UPSTREAM_CLOSED, "in the response head")
                raise _Stale(reason)
            if self._first_byte < 0:
                self._first_byte = monotonic() - self._request.started
            data = data + more if data else more

    # Relaying it.

    def _relay(self, response: ResponseHead, rest: bytes) -> None:
        downstream = self._downstream
        status = response.status
        length = response.content_length
        if status in BODILESS or self._request.method == b"HEAD":
            self._relay_bodiless(response, rest)
        elif length is not None:
            if downstream.plain is None:
                raise NotImplementedError
            self._relay_sized(response, rest, length, downstream.plain)
        else:
            downstream.begin(response, None, b"", stream=True)
            assert self._lease is not None
            limits = self._tables.relay_limits
            if response.chunked:
                behind = relay_chunked(self._lease, rest, downstream, limits)
                self._release(response, clean=not behind)
            else:
                relay_until_close(self._lease, rest, downstream, limits)
                self._release(response, clean=False)

    def _relay_bodiless(self, response: ResponseHead, rest: bytes) -> None:
        """A response that has no body, whatever its fields announce (RFC 9112 section 6.3)."""
        status = response.status
        announced = response.chunked or bool(response.content_length)
        # What a 205 or 204 announces may follow all the same: such a connection is not used again.
        self._release(response, clean=not rest and (status == 304 or self._request.method == b"HEAD" or not announced))
        length = None
        if status == 205:
            length = 0
        elif status != 204:
            length = response.content_length
        self._downstream.begin(response, length, b"", stream=False)

    def _relay_sized(self, response: ResponseHead, rest: bytes, length: int, target: Stream) -> None:
        have = len(rest)
        if have >= length:
            # Returned before the client is served: another request may be waiting for it.
            self._release(response, clean=have == length)
            source: Stream = target
            pending = self._downstream.begin(response, length, rest[:length], stream=False)
            if not pending:
                return
        else:
            assert self._lease is not None
            source = self._lease
            pending = self._downstream.begin(response, length, rest, stream=False)
        resources = self._resources
        relay = SizedRelay(
            source,
            target,
            max(0, length - have),
            resources.pipes,
            self._tables.relay_limits,
            lambda: self._release(response, clean=True),
        )
        try:
            relay.run(pending)
        finally:
            self._downstream.sent += relay.sent

    def _release(self, response: ResponseHead, *, clean: bool) -> None:
        """Return the connection, or close it if anything about it is in doubt."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        if clean and self._reusable and not response.close:
            lease.pool.give_back(lease, monotonic())
        else:
            lease.close()

    # The upgrade (RFC 6455 section 4).

    def _upgrade(self, response: ResponseHead, rest: bytes) -> None:
        fields = self._request.fields
        if not fields.websocket or fields.websocket_key is None:
            raise ExchangeError(errors.BAD_UPGRADE, "a 101 that was not asked for")
        if response.upgrade != b"websocket" or response.websocket_accept != websocket_accept(fields.websocket_key):
            raise ExchangeError(errors.BAD_UPGRADE, "Upgrade or Sec-WebSocket-Accept differs")
        client = self._downstream.plain
        assert client is not None
        assert self._lease is not None
        early = self._downstream.switch(response)
        self._phase = TUNNEL
        resources = self._resources
        settings = self._tables.settings
        tunnel = self._tunnel = Tunnel(
            resources.hub,
            resources.deadlines,
            resources.pipes,
            resources.buffer,
            client,
            self._lease,
            idle_timeout=settings.websocket_timeout,
            half_close_timeout=settings.half_close_timeout,
            ended=self._tunnel_ended,
        )
        resources.tunnels.add(tunnel)
        resources.counters.tunnel()
        tunnel.start(early, rest)

    def _tunnel_ended(self, blame: Blame, to_client: int, to_upstream: int) -> None:
        assert self._tunnel is not None
        self._resources.tunnels.discard(self._tunnel)
        self._resources.counters.tunnel_bytes(to_upstream, to_client)
        self._downstream.sent += to_client
        self._request.received += to_upstream
        self._termination = blame + (TUNNEL if blame is not Blame.NOBODY else Phase.DONE)
        self._record()

    # The end.

    def _failed(self, error: ExchangeError) -> None:
        """Tell the client what can still be told, and note who ended it in which phase."""
        failure = error.failure
        self._termination = failure.blame + self._phase
        self._reason = failure.reason
        if self._lease is not None and self._phase is RESPONSE:
            self._lease.pool.counters.failure()
        downstream = self._downstream
        if downstream.begun or failure.status == 499:
            self._status = self._status or failure.status
            downstream.abort()
        else:
            self._status = failure.status
            downstream.answer(error)

    def _record(self) -> None:
        request = self._request
        downstream = self._downstream
        resources = self._resources
        total = monotonic() - request.started
        resources.counters.request(request.method, self._status, total, request.received, downstream.sent)
        if resources.access_log.enabled:
            fields = request.fields
            resources.access_log.record(
                Entry(
                    time() - total,
                    downstream.client,
                    request.method,
                    request.target,
                    request.minor,
                    self._status,
                    downstream.sent,
                    request.received,
                    fields.referer,
                    fields.user_agent,
                    request.id,
                    self._peer,
                    self._queue,
                    self._connect,
                    self._first_byte,
                    total,
                    self._termination,
                    self._reason,
                )
            )


def _spoke(lease: UpstreamConnection) -> bool:
    """Whether the upstream has sent or closed; either ends the sending of a request."""
    try:
        lease.sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _has_bytes(lease: UpstreamConnection) -> bool:
    try:
        return bool(lease.sock.recv(1, socket.MSG_PEEK))
    except OSError:
        return False
