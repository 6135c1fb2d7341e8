"""What all exchanges of a process share, whatever the configuration."""

from dataclasses import dataclass

from proxy.exchange.downstream import OpenTunnel, TunnelOrigin
from proxy.limits import WorkerLimits
from proxy.net.event_loop import Deadlines, Hub
from proxy.net.splice import Pipes
from proxy.observe.accesslog import AccessLog
from proxy.observe.metrics import Counters
from proxy.wire.fields import RequestIds


class Waiting:
    """How many are inside the `with` block at this moment."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(self, *_exception: object) -> None:
        self.count -= 1


@dataclass(slots=True)
class ExchangeContext:
    """One of each for the process. Only `logs_states` is ever changed, by a reload."""

    hub: Hub
    deadlines: Deadlines
    pipes: Pipes
    buffer: memoryview
    counters: Counters
    access_log: AccessLog
    request_ids: RequestIds
    tunnels: dict[OpenTunnel, TunnelOrigin]
    retry_waiting: Waiting
    """Requests that wait for an upstream that refuses connections."""
    limits: WorkerLimits
    logs_states: bool = False
    """Whether exchanges log where they stand (log level debug)."""
