"""Finished spans of one worker, on their way to a collector (OpenTelemetry's protocol, OTLP over HTTP).

    an exchange ends ──► a list, at most CAPACITY ──► a thread, BATCH at a time ──► the collector

The event loop appends a tuple, nothing more. A thread makes messages of the tuples and sends them, in the only module
that needs OpenTelemetry's libraries (`proxy.observe.otlp`). A span that finds the list full, or that the collector does
not take, is lost and counted: no request ever waits for one.
"""

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import gevent
from gevent.threadpool import ThreadPool

from proxy.log import log
from proxy.observe.metrics import Counters
from proxy.observe.numbers import Gauge

if TYPE_CHECKING:
    from proxy.observe.otlp import Collector

CAPACITY: Final = 2048  # spans: some megabytes
PERIOD: Final = 1.0  # seconds between two rounds of sending
PAUSE: Final = 0.05  # seconds between two messages of a round: beyond some 1,200 spans a second they are lost
BATCH: Final = 64  # spans of a message, which takes some milliseconds to make
_TURN: Final = 0.0005  # seconds that the thread keeps the interpreter from the event loop; the default is tenfold
_CLOSE_PATIENCE: Final = 1.0  # seconds that a worker's exit waits for the collector


class Span(NamedTuple):
    """One exchange. `parent` and `state` are empty if there is none; `events` have seconds since its start."""

    trace_id: bytes  # hexadecimal digits, as are the next two
    span_id: bytes
    parent: bytes
    state: bytes
    started: float  # unix time
    seconds: float
    client: str
    method: bytes
    scheme: bytes
    host: bytes
    target: bytes
    minor: int  # minor version of HTTP/1, or 2 for HTTP/2
    user_agent: bytes
    status: int
    received: int  # bytes from the client
    sent: int  # bytes to the client
    request_id: bytes
    route: str
    upstream: str
    termination: str  # as in the access log
    reason: str
    events: tuple[tuple[str, float], ...]


class Spans:
    """The spans of one worker, made after the fork; spawn `run` in a greenlet. `version` is the gateway's."""

    def __init__(self, counters: Counters, version: str) -> None:
        self._counters: Final = counters
        self._version: Final = version
        self._waiting: list[Span] = []
        self._pool: Final = ThreadPool(1)
        self._delivery: _Delivery | None = None
        self._failing = False

    def change(self, collector: str, *, masks: bool) -> None:
        """Send to the collector with this URL from now on, also what was recorded before; to none if it is "".

        `masks`: clients' addresses are masked.
        """
        if not collector:
            self._delivery = None
            self._lose(len(self._waiting))
            self._waiting = []
        elif self._delivery is None or (self._delivery.url, self._delivery.masks) != (collector, masks):
            self._delivery = _Delivery(collector, self._version, masks=masks)
            sys.setswitchinterval(_TURN)

    def record(self, span: Span) -> None:
        """Have a span sent, a second later if the collector keeps up."""
        if len(self._waiting) < CAPACITY:
            self._waiting.append(span)
        else:
            self._lose(1)

    def run(self) -> None:
        """Send until killed."""
        while True:
            gevent.sleep(PERIOD)
            self.flush(PAUSE)

    def flush(self, pause: float = 0.0) -> None:
        """Send what was recorded, as long as the collector takes it; waits, so never called by a request.

        `pause`: seconds between two messages, which leave the processor to requests.
        """
        while self._waiting and self._delivery is not None:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            if not self._send(self._delivery, batch):
                return
            gevent.sleep(pause)

    def close(self) -> None:
        """Send what is left, if the collector takes it at once; the rest counts as lost."""
        with gevent.Timeout(_CLOSE_PATIENCE, False):
            self.flush()
        self._lose(len(self._waiting))
        self._waiting = []

    def _send(self, delivery: "_Delivery", batch: list[Span]) -> bool:
        """Whether the collector took a batch; what it does not take is lost."""
        fault = "unfinished"
        try:
            fault = self._pool.spawn(delivery.send, batch).get()
        finally:  # this greenlet may be killed while it waits
            if fault:
                self._lose(len(batch))
            else:
                self._counters.spans_sent(len(batch))
        self._tell(delivery.url, fault)
        return not fault

    def _lose(self, count: int) -> None:
        if count:
            self._counters.spans_lost(count)

    def _tell(self, url: str, fault: str) -> None:
        """Log when the collector begins to fail, and when it takes spans again."""
        failing = bool(fault)
        if failing == self._failing:
            return
        self._failing = failing
        self._counters.gauge(Gauge.COLLECTOR_FAULTS, failing)
        if failing:
            log.warning("trace_collector %s: spans are lost: %s; requests are served as before", url, fault)
        else:
            log.info("trace_collector %s: takes spans again", url)


class _Delivery:
    """What the thread does. The libraries are imported there, since that takes longer than the event loop may wait."""

    def __init__(self, url: str, version: str, *, masks: bool) -> None:
        self.url: Final = url
        self.masks: Final = masks
        self._version: Final = version
        self._collector: Collector | None = None

    def send(self, batch: list[Span]) -> str:
        """The reason why the spans are lost; empty if they are not. Raises nothing."""
        try:
            if self._collector is None:
                from proxy.observe.otlp import Collector

                self._collector = Collector(self.url, self._version, masks=self.masks)
            return self._collector.send(batch)
        except Exception as error:  # noqa: BLE001 - of other libraries, whose faults must not end the worker's greenlet
            return f"{type(error).__name__}: {error}"
