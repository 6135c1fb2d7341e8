"""What Prometheus scrapes: counts of all workers of the machine, whichever of them answers.

Labels are bounded: routes are templates, methods and outcomes come from fixed sets, agents are named by their type.
"""

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from aragora.agents.metering import Bill
from aragora.agents.prices import MICRODOLLARS
from aragora.server import build
from aragora.server.slots import Slots
from aragora.storage import Backlog, LastBackup

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Seconds. Requests may be long polls, agents may think for minutes, fan-out should take milliseconds.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
AGENT_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300)
DEBATE_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800)
FANOUT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The counters of this process, in files under `directory` that every process of the machine reads."""

    def __init__(self, directory: Path) -> None:
        self._slots = Slots(directory)
        self._slots.number()
        # prometheus_client takes its directory from the environment, and the kind of value it makes from a module
        # variable; both are its documented way to count by another name than the pid.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        values.ValueClass = values.MultiProcessValue(self._slots.number)  # type: ignore[no-untyped-call]
        own = CollectorRegistry()
        self._measure_requests(own)
        self._measure_debates(own)
        self._measure_agents(own)
        self._measure_process(own)

    def _measure_requests(self, own: CollectorRegistry) -> None:
        """Requests over HTTP."""
        self.requests = Counter(
            "aragora_http_requests", "Requests answered.", ["method", "route", "status"], registry=own
        )
        self.request_seconds = Histogram(
            "aragora_http_request_duration_seconds",
            "Time from request to the end of its answer; those that asked to wait or for a stream are left out.",
            ["route"],
            buckets=REQUEST_BUCKETS,
            registry=own,
        )

    def _measure_debates(self, own: CollectorRegistry) -> None:
        """Debates, and the copies of their database."""
        self.debates = Counter("aragora_debates", "Debates ended here, by outcome.", ["outcome"], registry=own)
        self.debate_seconds = Histogram(
            "aragora_debate_duration_seconds",
            "From the creation of a debate to its end.",
            buckets=DEBATE_BUCKETS,
            registry=own,
        )
        self.running = _gauge("aragora_debates_running", "Debates being advanced.", own)
        self.unfinished = _shared("aragora_debates_unfinished", "Debates of the database that have not ended.", own)
        self.waiting = _shared("aragora_debates_waiting", "Unfinished debates that no runner advances.", own)
        self.silence = _shared(
            "aragora_debates_silence_seconds",
            "Since the last event of the unfinished debate that has been silent longest.",
            own,
        )
        self.backup_at = _shared(
            "aragora_backup_last_success_timestamp_seconds",
            "Unix time that the last verified copy made on this machine shows; 0 without one.",
            own,
        )
        self.backup_size = _shared("aragora_backup_last_size_bytes", "Size of that copy.", own)

    def _measure_agents(self, own: CollectorRegistry) -> None:
        """Answers of agents: time, failures, tokens, cost."""
        self.agent_seconds = Histogram(
            "aragora_agent_duration_seconds",
            "Time of one answer of an agent.",
            ["agent", "purpose"],
            buckets=AGENT_BUCKETS,
            registry=own,
        )
        self.agent_failures = Counter(
            "aragora_agent_failures", "Answers an agent failed to give.", ["agent", "kind"], registry=own
        )
        self.agent_tokens = Counter(
            "aragora_agent_tokens",
            "Tokens that answers took. Of the input, cached was read from a prompt cache and written stored into one; "
            "of the output, thought is reasoning.",
            ["agent", "kind"],
            registry=own,
        )
        self.agent_cost = Counter(
            "aragora_agent_cost_dollars", "What answers cost by the price table.", ["agent"], registry=own
        )

    def _measure_process(self, own: CollectorRegistry) -> None:
        """Watchers, and what a worker process holds."""
        self.notifications = Counter(
            "aragora_notifications", "Messages about ends of debates, by outcome.", ["kind", "outcome"], registry=own
        )
        self.fanout_seconds = Histogram(
            "aragora_event_fanout_lag_seconds",
            "From the storing of an event to its sending to a watcher that follows live.",
            buckets=FANOUT_BUCKETS,
            registry=own,
        )
        self.sockets = _gauge("aragora_websocket_connections", "Open WebSockets.", own)
        self.messages = Counter("aragora_websocket_messages", "WebSocket messages.", ["direction"], registry=own)
        self.closes = Counter("aragora_websocket_closes", "WebSockets we closed, by code.", ["code"], registry=own)
        self.active = _gauge("aragora_worker_active_connections", "Requests and WebSockets being served.", own)
        self.capacity = _gauge("aragora_worker_connections", "Connections the workers may hold.", own)
        self.workers = _gauge("aragora_workers", "Worker processes.", own)
        self.workers.set(1)
        self.cpu = Counter("aragora_worker_cpu_seconds", "Processor time of the workers.", registry=own)
        self.audit_lost = Counter(
            "aragora_audit_lost_lines", "Lines of the audit log that could not be written.", registry=own
        )
        self.build = Gauge(
            "aragora_build_info", "Always 1.", ["version", "python"], multiprocess_mode="livemax", registry=own
        )
        self.build.labels(build.version(), platform.python_version()).set(1)

    def http(self, method: str, route: str, status: str, seconds: float | None) -> None:
        """Count one answered request; `route` is a template, never a path, `seconds` None where it chose them."""
        self.requests.labels(method if method in METHODS else "other", route, status).inc()
        if seconds is not None:
            self.request_seconds.labels(route).observe(seconds)

    def asked(self, agent_type: str, purpose: str, seconds: float, failure: str | None) -> None:
        """Count one question to an agent; see `aragora.runner.Observer`."""
        self.agent_seconds.labels(agent_type, purpose).observe(seconds)
        if failure is not None:
            self.agent_failures.labels(agent_type, failure).inc()

    def billed(self, agent_type: str, bill: Bill) -> None:
        """Count what an answer took; see `aragora.runner.Observer`."""
        for kind, tokens in bill.usage.to_json().items():
            if tokens:
                self.agent_tokens.labels(agent_type, kind).inc(tokens)
        if bill.cost:
            self.agent_cost.labels(agent_type).inc(bill.cost / MICRODOLLARS)

    def notified(self, kind: str, outcome: str) -> None:
        """Count a try to send a message; see `aragora.service.Notifier`."""
        self.notifications.labels(kind, outcome).inc()

    def ended(self, status: str, seconds: float) -> None:
        """Count one debate that this process brought to its end; see `aragora.runner.Observer`."""
        self.debates.labels(status).inc()
        self.debate_seconds.observe(seconds)

    def backlog(self, found: Backlog) -> None:
        """Note how the database's unfinished debates stand."""
        self.unfinished.set(found.unfinished)
        self.waiting.set(found.waiting)
        self.silence.set(found.silence)

    def backup(self, last: LastBackup | None) -> None:
        """Note the last verified copy of the database, if there is any."""
        self.backup_at.set(0.0 if last is None else last.at)
        self.backup_size.set(0.0 if last is None else last.size)

    def render(self) -> bytes:
        """The text of every process of the machine together."""
        return generate_latest(_Machine(self._slots))

    def close(self) -> None:
        """Free this process' place, so that its gauges no longer count."""
        self._slots.release()


def _gauge(name: str, meaning: str, registry: CollectorRegistry) -> Gauge:
    """A gauge whose value is the sum over the living processes."""
    return Gauge(name, meaning, multiprocess_mode="livesum", registry=registry)


def _shared(name: str, meaning: str, registry: CollectorRegistry) -> Gauge:
    """A gauge of something outside the processes, which all of them see; the last look counts."""
    return Gauge(name, meaning, multiprocess_mode="livemostrecent", registry=registry)


class _Machine(Collector):
    """Reads the files of all processes, without the gauges of dead ones."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots

    def collect(self) -> Iterable[Metric]:
        merged: Iterable[Metric] = MultiProcessCollector.merge(self._slots.files())  # type: ignore[no-untyped-call]
        return merged
