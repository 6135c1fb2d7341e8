"""A request on its way to an upstream."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from proxy import errors
from proxy.errors import ExchangeError
from proxy.limits.buckets import Bucket
from proxy.net.spool import Spool
from proxy.wire.head import CRLF
from proxy.wire.request import RequestFields
from proxy.wire.tracing import Trace, TraceContext


def silent(timeout: float) -> ExchangeError:
    """The failure of a body of which nothing came for `timeout` seconds."""
    return ExchangeError(errors.BODY_TIMEOUT, f"nothing for {timeout:g} s (body_timeout)")


class StreamedBody(ABC):
    """A request body that is passed on while it comes; `timeout` is the longest silence in it, in seconds."""

    expects_continue: bool
    timeout: float
    done: bool
    """It was taken to its end."""

    @abstractmethod
    def take(self) -> bytes | None:
        """The next bytes that are here, b"" at the end, None if the rest has yet to come.

        Raises `ExchangeError` or `ClientGone`.
        """

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether `take` has something to give although nothing more comes from the client, be it the end."""

    @abstractmethod
    def watch(self, callback: Callable[[], object]) -> None:
        """Call back each time there may be something to take, until `unwatch`."""

    @abstractmethod
    def unwatch(self) -> None:
        """Leave what comes where it is; whether the client leaves is then seen as without a body."""

    @abstractmethod
    def proceed(self) -> None:
        """Tell a client that asked for it to send the body."""


class Request:
    """A request as the front read it. `block` holds the fields for the upstream, all but id and framing.

    `client` is the address of whoever asked, behind the proxies that are trusted; `scheme` is http or https; `host` is
    the target's authority. `trace_context` are what it brought to be told from others by, None for the usual request.
    """

    __slots__ = (
        "block",
        "body",
        "bucket",
        "client",
        "fields",
        "host",
        "id",
        "length",
        "method",
        "minor",
        "received",
        "release",
        "scheme",
        "started",
        "target",
        "told",
        "trace",
        "trace_context",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        minor: int,
        fields: RequestFields,
        block: bytes,
        started: float,
        *,
        client: str = "",
        scheme: bytes = b"http",
        host: bytes | None = None,
        trace_context: TraceContext | None = None,
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
        self.trace: Trace | None = None
        """The trace that the upstream is told of."""
        self.id = b""
        self.body: bytes | Spool | StreamedBody | None = None
        self.length: int | None = None
        """The body's length if there is a body and its length is known."""
        self.received = 0
        self.told = b""
        """Field lines (with their ends) that the client is told in whatever answer it gets."""
        self.bucket: Bucket | None = None
        """What its route's rate is counted in, once it was: the same for the same request on the same connection."""
        self.release: Callable[[], None] | None = None
        """Called when the exchange has ended, to give back what was counted for it."""

    def renew(self, started: float) -> "Request":
        """The same request, asked once more on its connection when its exchange has ended.

        Takes a sixth of the time that making another one does.
        """
        self.started = started
        self.trace = None
        self.body = None
        self.length = None
        self.told = b""
        self.release = None
        return self

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
        )
        sent.id, sent.body, sent.length, sent.received = self.id, self.body, self.length, self.received
        sent.trace = self.trace
        return sent

    def replace_fields(self, names: AbstractSet[bytes], lines: Iterable[bytes]) -> None:
        """Put `lines` for the upstream in the place of all fields with these lower-case names.

        Doing it again with the same names gives the same: a request that is repeated by heart was changed before.
        """
        kept = [line for line in self.block.split(CRLF)[:-1] if line.partition(b":")[0].lower() not in names]
        self.block = b"".join(line + CRLF for line in [*kept, *lines])
