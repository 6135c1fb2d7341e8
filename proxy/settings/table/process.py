"""The processes and their logs."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from proxy.settings.table.row import Setting, fixed, routed
from proxy.settings.values import kinds, logged, web


def available_cores() -> int:
    """Cores this process may use: its affinity mask, cut by a cgroup's processor quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, -(-int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        pass
    return max(1, cores)


@dataclass(frozen=True, kw_only=True)
class Process:
    """Master and workers."""

    __slots__ = ()
    GROUP: ClassVar = "Process"

    config: Annotated[Path | None, Setting(kinds.PATH, "TOML file; read again on HUP")] = None
    workers: Annotated[int, Setting(kinds.WORKERS, "worker processes; default: one for each available core")] = field(
        default_factory=available_cores
    )
    user: Annotated[str, fixed(kinds.TEXT, "user that workers run as; the master must start as root")] = ""
    group: Annotated[str, fixed(kinds.TEXT, "group that workers run as")] = ""
    pidfile: Annotated[Path | None, Setting(kinds.PATH, "file for the master's process id")] = None
    state_dir: Annotated[
        Path | None,
        fixed(
            kinds.PATH,
            "directory for state that outlives the process: ACME account, keys, certificates; default: the "
            "StateDirectory of the systemd unit; with acme /var/lib/aragora-proxy for root, else "
            "~/.local/state/aragora-proxy",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Logs:
    """Access log and error log."""

    __slots__ = ()
    GROUP: ClassVar = "Logs"

    access_log: Annotated[
        str,
        Setting(
            logged.PLACE, "where one line per request goes: file, standard output ('-'), syslog, journald; 'off': none"
        ),
    ] = "-"
    log_format: Annotated[str, Setting(kinds.LOG_FORMAT, "format of access log lines")] = "combined"
    log_fields: Annotated[
        tuple[str, ...],
        Setting(logged.FIELDS, "fields of a line with log_format = json, in this order; repeatable"),
    ] = ()
    log_clients: Annotated[
        str, Setting(kinds.LOG_CLIENTS, "clients' addresses in the access log; 'masked': /24 of IPv4, /48 of IPv6")
    ] = "full"
    log_requests: Annotated[
        float,
        routed(logged.SHARE, "requests in the access log; of a share, failed ones are logged all the same"),
    ] = 1.0
    metrics: Annotated[
        bool, routed(kinds.SWITCH, "count requests in the metrics and the figures of the status page")
    ] = True
    error_log: Annotated[str, Setting(kinds.ERROR_LOG, "file for the gateway's own messages; '-': standard error")] = (
        "-"
    )
    log_level: Annotated[str, Setting(kinds.LOG_LEVEL, "least severe message that is logged")] = "info"


@dataclass(frozen=True, kw_only=True)
class Tracing:
    """Traces: W3C Trace Context, and OpenTelemetry's protocol."""

    __slots__ = ()
    GROUP: ClassVar = "Tracing"

    tracing: Annotated[
        bool, Setting(kinds.SWITCH, "start a trace (traceparent) for requests without one, and continue existing ones")
    ] = False
    trace_clients: Annotated[
        str,
        Setting(kinds.TRACE_CLIENTS, "whose traces are continued: those of trusted_proxies, or of all clients"),
    ] = "trusted"
    trace_sample: Annotated[
        float,
        routed(logged.SHARE, "traces marked as sampled, unless a trusted proxy has decided about a trace"),
    ] = 1.0
    trace_collector: Annotated[
        str,
        Setting(
            web.COLLECTOR,
            "where spans of sampled traces are sent: a collector of OpenTelemetry's, by OTLP over HTTP; without a path "
            "/v1/traces is added",
        ),
    ] = ""
