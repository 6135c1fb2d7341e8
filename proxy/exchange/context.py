"""What all exchanges of a process share, whatever the configuration."""

from typing import Final

from proxy.exchange.downstream import OpenTunnel, TunnelOrigin
from proxy.limits import WorkerLimits
from proxy.net.event_loop import Deadlines, Hub
from proxy.net.splice import Pipes
from proxy.observe.accesslog import AccessLog
from proxy.observe.exchange_counters import UNROUTED
from proxy.observe.metrics import Counters
from proxy.observe.spans import Spans
from proxy.wire.fields import RequestIds


class Waiting:
    """How many are inside the `with` block at this moment."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_exception: object) -> None:
        self.count -= 1


class ExchangeContext:
    """One of each for the process. Only `logs_states` and `spans` are ever changed, by a reload.

    No dataclass: compiled ones cannot have a `memoryview` for a field.
    """

    __slots__ = (
        "access_log",
        "buffer",
        "counters",
        "deadlines",
        "hub",
        "limits",
        "logs_states",
        "pipes",
        "request_ids",
        "retry_waiting",
        "spans",
        "tunnels",
        "unrouted",
    )

    def __init__(
        self,
        hub: Hub,
        deadlines: Deadlines,
        pipes: Pipes,
        buffer: memoryview,
        counters: Counters,
        access_log: AccessLog,
        request_ids: RequestIds,
        tunnels: dict[OpenTunnel, TunnelOrigin],
        retry_waiting: Waiting,
        limits: WorkerLimits,
        *,
        logs_states: bool = False,
    ) -> None:
        """`retry_waiting` counts requests that wait for an upstream that refuses connections."""
        self.hub: Final = hub
        self.deadlines: Final = deadlines
        self.pipes: Final = pipes
        self.buffer: Final = buffer
        self.counters: Final = counters
        self.unrouted: Final = counters.route(UNROUTED)
        """Of requests that no route takes."""
        self.access_log: Final = access_log
        self.request_ids: Final = request_ids
        self.tunnels: Final = tunnels
        self.retry_waiting: Final = retry_waiting
        self.limits: Final = limits
        self.logs_states = logs_states
        """Whether exchanges log where they stand (log level debug)."""
        self.spans: Spans | None = None
        """Where the spans of sampled traces go; None if they go nowhere."""
