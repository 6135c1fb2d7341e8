"""What the gateway can be told, in one table.

The fields of `Settings` are the table: flag (`--connect-timeout`), key of the TOML file (`connect_timeout`), type,
default, unit and help. The command line, the file, the reference page and every error message are made from it.
A value comes from the flag, else from the file, else from the default.
"""

import difflib
import grp
import os
import pwd
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from proxy import values
from proxy.values import Address, Kind

__all__ = ["Address", "Setting", "Settings", "SettingsError", "file_values", "load", "notes", "problems",
           "table"]

MAX_FILE = 1 << 20
FRONT = Address("127.0.0.1", 8000)
ADMIN = Address("127.0.0.1", 9180)


class SettingsError(Exception):
    """Settings that cannot be used; `mistakes` has one line for each, naming source, value and mend."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def available_cores() -> int:
    """Cores this process may use: its affinity mask, cut by a cgroup's processor quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, -(-int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        pass
    return max(1, cores)


@dataclass(frozen=True, slots=True)
class Row:
    """What the table says about a setting beside its name, type and default."""

    kind: Kind
    group: str
    doc: str
    aliases: tuple[str, ...] = ()


def _time(doc: str, *aliases: str) -> Row:
    return Row(values.DURATION, "Timeouts", doc, aliases)


def _size(doc: str) -> Row:
    return Row(values.SIZE, "Limits", doc)


def _count(doc: str) -> Row:
    return Row(values.COUNT, "Limits", doc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the gateway was told. Durations are seconds, sizes bytes."""

    upstream: Annotated[tuple[Address, ...], Row(
        values.PEERS, "Addresses", "where the application listens; repeat for several")] = ()
    bind: Annotated[tuple[Address, ...], Row(
        values.LISTENERS, "Addresses", "where clients connect; repeat for several")] = (FRONT,)
    admin: Annotated[Address | None, Row(
        values.ADMIN, "Addresses", "metrics and health; 'off' opens no such listener")] = ADMIN
    socket_mode: Annotated[int, Row(
        values.MODE, "Addresses", "permissions of a unix socket that the gateway creates")] = 0o660

    config: Annotated[Path | None, Row(values.PATH, "Process", "TOML file; read again on HUP")] = None
    workers: Annotated[int, Row(
        values.WORKERS, "Process", "worker processes; one for each available core if not given")] = field(
            default_factory=available_cores)
    user: Annotated[str, Row(values.TEXT, "Process", "user the workers run as; needs a start as root")] = ""
    group: Annotated[str, Row(values.TEXT, "Process", "group the workers run as")] = ""
    pidfile: Annotated[Path | None, Row(values.PATH, "Process", "file that holds the master's process id")] = None

    access_log: Annotated[str, Row(
        values.LOG, "Logs", "file for one line a request; '-' is standard output, 'off' writes none")] = "-"
    log_format: Annotated[str, Row(values.LOG_FORMAT, "Logs", "shape of an access log line")] = "combined"
    error_log: Annotated[str, Row(
        values.ERROR_LOG, "Logs", "file for the gateway's own messages; '-' is standard error")] = "-"
    log_level: Annotated[str, Row(values.LOG_LEVEL, "Logs", "least important message that is written")] = "info"

    connect_timeout: Annotated[float, _time("longest wait for a connection to an upstream; then 504")] = 60.0
    send_timeout: Annotated[float, _time(
        "longest pause between two writes of a request to an upstream; then 504")] = 300.0
    read_timeout: Annotated[float, _time(
        "longest pause between two reads of an upstream's answer; then 504, or cut off if it has begun")] = 300.0
    websocket_timeout: Annotated[float, _time("silence in both directions after which a WebSocket is closed")] = 3600.0
    head_timeout: Annotated[float, _time("longest time a request head may take; then 408")] = 20.0
    body_timeout: Annotated[float, _time("longest pause between two reads of a request body; then 408")] = 30.0
    keepalive_timeout: Annotated[float, _time("how long an idle client connection stays open")] = 60.0
    write_timeout: Annotated[float, _time(
        "longest time a client may take no byte of its answer; then it is dropped")] = 60.0
    linger_timeout: Annotated[float, _time("how long to discard what a client still sends after its last answer")] = 5.0
    half_close_timeout: Annotated[float, _time(
        "how long the open direction of a half-closed WebSocket may be silent")] = 10.0
    hold: Annotated[float, _time("how long a request waits for an upstream that refuses connections; then 503")] = 10.0
    graceful: Annotated[float, _time(
        "how long requests in flight may take when the gateway stops", "graceful_timeout")] = 30.0
    websocket_drain: Annotated[float, _time(
        "time over which WebSockets are closed when the gateway stops; at most 'graceful'")] = 5.0

    max_request_line: Annotated[int, _size("longest request line; 414 above it (gunicorn's own limit)")] = 4094
    max_field: Annotated[int, _size("longest field line; 431 above it (gunicorn's own limit)")] = 8190
    max_fields: Annotated[int, _count("most fields of a request, the gateway's own included; 431 above it")] = 100
    max_head: Annotated[int, _size("largest request head; 431 above it")] = 32 << 10
    max_body: Annotated[int, _size("largest request body; 413 above it")] = 50 << 20
    max_response_head: Annotated[int, _size("largest head of an upstream's answer; 502 above it")] = 64 << 10
    max_connections: Annotated[int, _count("most client connections of one worker")] = 16384
    min_rate: Annotated[int, _size(
        "bytes a second a request body must average after its first 10 s; 408 below it. 0: any rate")] = 500

    request_buffering: Annotated[bool, Row(
        values.SWITCH, "Buffers", "read a request body to its end before the upstream is asked")] = True
    response_buffering: Annotated[bool, Row(
        values.SWITCH, "Buffers", "take an answer off the upstream faster than a slow client reads it")] = True
    body_memory: Annotated[int, Row(
        values.SIZE, "Buffers", "part of a request body kept in memory; the rest goes to a temporary file")] = 64 << 10
    response_memory: Annotated[int, Row(
        values.SIZE, "Buffers",
        "part of an answer kept in memory for a slow client; the rest goes to a temporary file")] = 64 << 10
    response_spool: Annotated[int, Row(
        values.SIZE, "Buffers",
        "most of one answer kept on disk for a slow client; 0 waits for the client instead")] = 1 << 30
    spool_dir: Annotated[Path | None, Row(
        values.PATH, "Buffers", "directory of the temporary files; the system's if not given")] = None

    upstream_keepalive: Annotated[float, Row(
        values.DURATION, "Upstream connections",
        "how long the upstream keeps an idle connection (gunicorn: 2 s); it is reused up to 1 s less")] = 2.0
    pool_size: Annotated[int, Row(
        values.COUNT, "Upstream connections", "most idle connections kept for each peer and worker")] = 4096
    reuse_unsafe: Annotated[float, Row(
        values.DURATION, "Upstream connections",
        "time since its last answer in which a connection may carry a POST or PATCH; 0: always a new one")] = 1.0
    half_close: Annotated[str, Row(
        values.HALF_CLOSE, "Upstream connections",
        "what it means when a client shuts its sending side before its answer came")] = "abort"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table, ready to be shown."""

    name: str
    kind: Kind
    default: Any
    doc: str
    group: str
    aliases: tuple[str, ...]

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def default_text(self) -> str:
        if self.default is MISSING:
            return "cores"
        return self.kind.show(self.default)


def _read_table() -> dict[str, Setting]:
    rows: dict[str, Setting] = {}
    hints = get_type_hints(Settings, include_extras=True)
    for column in fields(Settings):
        row: Row = hints[column.name].__metadata__[0]
        rows[column.name] = Setting(column.name, row.kind, column.default, row.doc, row.group, row.aliases)
    return rows


_TABLE = _read_table()
_NAMES = {spelling: row for row in _TABLE.values() for spelling in (row.name, *row.aliases)}


def table() -> list[Setting]:
    """The rows in the order of the reference page."""
    return list(_TABLE.values())


def nearest(name: str, names: list[str]) -> str:
    """The mend of a misspelt name: the nearest known one, or where all are listed."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "python -m proxy --help lists all settings"


def load(flags: Mapping[str, str | list[str]], path: Path | None = None) -> Settings:
    """Read flags (by setting name, as typed) over the file at `path` over the defaults.

    Raises `SettingsError` with every mistake found, not the first only.
    """
    mistakes: list[str] = []
    chosen: dict[str, Any] = {}
    if path is not None:
        chosen.update(file_values(path, mistakes))
        chosen["config"] = path
    for name, raw in flags.items():
        row = _NAMES[name]
        try:
            chosen[row.name] = row.kind.read(raw)
        except ValueError as problem:
            shown = raw if isinstance(raw, str) else " ".join(raw)
            mistakes.append(f"{row.flag} {shown}: {problem}")
    if mistakes:
        raise SettingsError(mistakes)
    settings = Settings(**chosen)
    mistakes = problems(settings)
    if mistakes:
        raise SettingsError(mistakes)
    return settings


def file_values(path: Path, mistakes: list[str]) -> dict[str, Any]:
    """Values a TOML file gives, checked one by one; what is wrong is added to `mistakes`."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
        if len(raw) > MAX_FILE:
            mistakes.append(f"{path}: larger than {MAX_FILE} bytes; is it the right file?")
            return {}
        text = raw.decode()
        document = tomllib.loads(text)
    except OSError as problem:
        mistakes.append(f"{path}: cannot be read: {problem.strerror}")
        return {}
    except UnicodeDecodeError as problem:
        mistakes.append(f"{path}: not UTF-8 at byte {problem.start}; TOML files are UTF-8 text")
        return {}
    except tomllib.TOMLDecodeError as problem:
        mistakes.append(f"{path}: not valid TOML: {problem}")
        return {}
    chosen: dict[str, Any] = {}
    for key, value in document.items():
        row = _NAMES.get(key)
        place = f"{path}{_line(text, key)}: {key}"
        if row is None:
            mistakes.append(f"{place}: there is no such setting; {nearest(key, list(_NAMES))}")
        elif row.name == "config":
            mistakes.append(f"{place}: a file cannot name another; remove it")
        elif row.name in chosen:
            mistakes.append(f"{place}: given twice, as {row.name} and as an alias of it; remove one")
        else:
            try:
                chosen[row.name] = row.kind.read(value)
            except ValueError as problem:
                mistakes.append(f"{place} = {values.toml(value)}: {problem}")
    return chosen


def _line(text: str, key: str) -> str:
    found = re.search(rf"""^[ \t]*\[*[ \t]*["']?{re.escape(key)}["']?[ \t]*[=.\]]""", text, re.MULTILINE)
    return f":{text.count(chr(10), 0, found.start()) + 1}" if found else ""


def problems(settings: Settings) -> list[str]:
    """What is wrong with values that are each well-formed but do not fit together or this machine."""
    found: list[str] = []
    if not settings.upstream:
        found.append("--upstream is missing: say where the application listens, such as --upstream 127.0.0.1:8080")
    own = [address for address in (*settings.bind, settings.admin) if address and (address.port or address.path)]
    if settings.admin in settings.bind and settings.admin in own:
        found.append(f"--admin {settings.admin}: is also a --bind address; give it its own port, or 'off'")
    found += [f"--upstream {address}: is an address of the gateway itself; name the application's"
              for address in settings.upstream if address in own]
    found += [f"--bind 0.0.0.0:{address.port}: [::]:{address.port} also takes IPv4; leave one of them out"
              for address in own if address.host == "0.0.0.0" and Address("::", address.port) in own and address.port]
    if settings.websocket_drain > settings.graceful:
        found.append(f"--websocket-drain {settings.websocket_drain:g}s: longer than --graceful "
                     f"{settings.graceful:g}s; lower the first or raise the second")
    found += [f"{_TABLE[name].flag} {getattr(settings, name)}: larger than --max-head {settings.max_head}; "
              "lower the first or raise the second"
              for name in ("max_request_line", "max_field") if getattr(settings, name) > settings.max_head]
    found += _machine_problems(settings)
    return found


def notes(settings: Settings) -> list[str]:
    """What works as it stands but may surprise; shown by `check`."""
    found: list[str] = []
    if settings.graceful < settings.read_timeout:
        found.append(f"graceful {settings.graceful:g}s is shorter than read_timeout {settings.read_timeout:g}s: "
                     "an answer that takes longer than the first is cut off when the gateway stops")
    if settings.upstream_keepalive <= 1:
        found.append("upstream_keepalive is 1s or less: every request opens a connection of its own")
    if settings.admin and not settings.admin.loopback:
        found.append(f"admin {settings.admin}: other machines can read the metrics; they are not protected")
    return found


def _machine_problems(settings: Settings) -> list[str]:
    found: list[str] = []
    if settings.spool_dir is not None and not os.access(settings.spool_dir, os.W_OK | os.X_OK):
        found.append(f"--spool-dir {settings.spool_dir}: not a directory that can be written to; create it")
    for flag, file in (("--pidfile", settings.pidfile), ("--access-log", settings.access_log),
                       ("--error-log", settings.error_log)):
        if file and file not in ("-", "off"):
            if not Path(file).parent.is_dir():
                found.append(f"{flag} {file}: there is no directory {Path(file).parent}; create it")
            elif Path(file).is_dir():
                found.append(f"{flag} {file}: is a directory; name a file")
    for flag, name, known in (("--user", settings.user, _known_user), ("--group", settings.group, _known_group)):
        if name and not known(name):
            found.append(f"{flag} {name}: there is no such {flag[2:]} on this machine; create it or name another")
    if (settings.user or settings.group) and os.geteuid() != 0 and (
            settings.user != pwd.getpwuid(os.geteuid()).pw_name):
        found.append("--user/--group: only root can change user; start as root or leave them out")
    return found


def _known_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def _known_group(name: str) -> bool:
    try:
        return bool(grp.getgrnam(name))
    except KeyError:
        return False
