"""Every variable the application reads, in one table: the fields of :class:`Settings`.

Name, form, default, unit and help stand beside the typed field they fill; ``load`` checks an environment against them,
and ``docs/reference/settings.md`` is generated from them (``python -m aragora.settings``), so neither can drift.

A secret may also be given as a file, the way containers mount them: ``ARAGORA_API_TOKEN_FILE=/run/secrets/token``.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from aragora.errors import SettingsError

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_MAX_SECRET_FILE = 65_536


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written: ``name`` for people, ``parse`` raises ValueError with the mend."""

    name: str
    parse: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. ``production`` is the default under ARAGORA_ENV=production where it differs."""

    name: str
    attribute: str
    form: Form
    default: Any
    production: Any
    unit: str
    help: str
    secret: bool
    group: str


def _text(value: str) -> str:
    return value


def _flag(value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise ValueError("write 1 or 0")


def _listed(value: str) -> tuple[str, ...]:
    return tuple(item for item in (part.strip() for part in value.split(",")) if item)


def _path(value: str) -> Path:
    return Path(value).expanduser().absolute()


def _address(value: str) -> str:
    if value.startswith("unix:") and len(value) > len("unix:"):
        return value
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("write HOST:PORT, as 127.0.0.1:8080, or unix:/path")
    return value


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if urlsplit(value).scheme not in schemes or "://" not in value:
            raise ValueError(f"write a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return value

    return parse


def _choice(*values: str) -> Form:
    def parse(value: str) -> str:
        if value.lower() not in values:
            raise ValueError(f"write one of {', '.join(values)}")
        return value.lower()

    return Form(" \\| ".join(values), parse)


def _number(kind: type[int] | type[float], low: float, high: float) -> Form:
    what = "a whole number" if kind is int else "a number"

    def parse(value: str) -> int | float:
        try:
            number = kind(value)
        except ValueError:
            raise ValueError(f"write {what} from {low:g} to {high:g}") from None
        if not low <= number <= high:
            raise ValueError(f"write {what} from {low:g} to {high:g}")
        return number

    return Form(f"{'integer' if kind is int else 'number'} {low:g}–{high:g}", parse)


def _workload(value: str) -> str:
    if value.lower() in ("cpu", "io", "mixed"):
        return value.lower()
    if value.isdecimal() and 1 <= int(value) <= 1024:
        return value
    raise ValueError("write cpu, io, mixed or a number of workers from 1 to 1024")


TEXT = Form("text", _text)
FLAG = Form("1 \\| 0", _flag)
LIST = Form("comma-separated list", _listed)
PATH = Form("path", _path)
ADDRESS = Form("HOST:PORT \\| unix:PATH", _address)
_SAME: Any = object()


def _row(
    name: str,
    form: Form,
    default: Any,
    text: str,
    *,
    group: str,
    production: Any = _SAME,
    unit: str = "",
    secret: bool = False,
) -> Any:
    """A dataclass field that carries its row of the table."""
    metadata = {
        "name": name,
        "form": form,
        "production": default if production is _SAME else production,
        "unit": unit,
        "help": text,
        "secret": secret,
        "group": group,
    }
    return field(default=default, metadata=metadata, repr=not secret)


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Where a user's data belongs: XDG on Linux, Application Support on macOS."""
    home = Path(environ.get("HOME") or "~").expanduser()
    if environ.get("XDG_DATA_HOME"):
        return Path(environ["XDG_DATA_HOME"]) / "aragora"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "aragora"
    return home / ".local" / "share" / "aragora"


@dataclass(frozen=True, slots=True)
class Settings:
    """What one process runs with. Made by :func:`load`; never changes afterwards."""

    env: str = _row(
        "ARAGORA_ENV",
        _choice("development", "production"),
        "development",
        "production demands a token and takes the longer timeouts",
        group="General",
    )
    data_dir: Path = _row(
        "ARAGORA_DATA_DIR",
        PATH,
        Path(),
        "holds `aragora.db`; default `$XDG_DATA_HOME/aragora` or `~/.local/share/aragora`",
        group="General",
    )
    log_level: str = _row(
        "ARAGORA_LOG_LEVEL",
        _choice("debug", "info", "warning", "error", "critical"),
        "info",
        "least important message that is logged",
        group="General",
    )
    api_tokens: tuple[str, ...] = _row(
        "ARAGORA_API_TOKEN",
        LIST,
        (),
        "bearer tokens that may use the API; none means that everybody may, which production refuses",
        group="Access",
        secret=True,
    )
    allowed_origins: tuple[str, ...] = _row(
        "ARAGORA_ALLOWED_ORIGINS",
        LIST,
        (),
        "browser origins besides the server's own, as `https://app.example`",
        group="Access",
    )
    max_body: int = _row(
        "ARAGORA_MAX_BODY",
        _number(int, 1024, 1 << 30),
        1 << 20,
        "longest request body",
        group="Access",
        unit="bytes",
    )
    max_watchers: int = _row(
        "ARAGORA_MAX_WATCHERS",
        _number(int, 1, 1_000_000),
        5000,
        "WebSocket and SSE connections of one process; more are refused with 429 or code 4029",
        group="Access",
    )
    database_url: str = _row(
        "DATABASE_URL",
        Form("URL", _url("postgresql", "postgres", "postgresql+psycopg", "sqlite")),
        "",
        "`postgresql://user:password@host/name`; default: SQLite in the data directory",
        group="Storage",
        secret=True,
    )
    database_pool: int = _row(
        "ARAGORA_DATABASE_POOL",
        _number(int, 1, 1000),
        10,
        "database connections of one process",
        group="Storage",
        unit="connections",
    )
    database_timeout: float = _row(
        "ARAGORA_DATABASE_TIMEOUT",
        _number(float, 0.1, 600),
        10.0,
        "longest wait for a connection, a lock or one statement",
        group="Storage",
        unit="seconds",
    )
    migrate: bool = _row(
        "ARAGORA_MIGRATE",
        FLAG,
        True,
        "bring the tables up to date at start; 0 leaves that to `aragora migrate`",
        group="Storage",
    )
    redis_url: str = _row(
        "ARAGORA_REDIS_URL",
        Form("URL", _url("redis", "rediss", "unix")),
        "",
        "carries change notifications and live tokens between processes; when it is lost they poll the database",
        group="Storage",
        secret=True,
    )
    poll_interval: float = _row(
        "ARAGORA_POLL_INTERVAL",
        _number(float, 0.01, 10),
        0.1,
        "how often a process with watchers looks for changes made by other processes",
        group="Storage",
        unit="seconds",
    )
    runner: bool = _row(
        "ARAGORA_RUNNER",
        FLAG,
        True,
        "advance debates in this process; 0 makes it serve only",
        group="Debates",
    )
    max_debates: int = _row(
        "ARAGORA_MAX_DEBATES",
        _number(int, 1, 100_000),
        1000,
        "debates that one process advances at once; others wait for a free place in any process",
        group="Debates",
    )
    lease_ttl: float = _row(
        "ARAGORA_LEASE_TTL",
        _number(float, 1, 300),
        9.0,
        "a debate whose process fell silent this long ago is continued by another one",
        group="Debates",
        unit="seconds",
    )
    bind: str = _row("ARAGORA_BIND", ADDRESS, "127.0.0.1:8080", "address of the HTTP server", group="Server")
    ws_bind: str = _row(
        "ARAGORA_WS_BIND",
        ADDRESS,
        "127.0.0.1:8766",
        "second address of the same application, where clients expect WebSocket",
        group="Server",
    )
    workload: str = _row(
        "ARAGORA_WORKLOAD",
        Form("cpu \\| io \\| mixed \\| number", _workload),
        "mixed",
        "worker processes: cores, 2 × cores + 1, 2 × cores, or that number",
        group="Server",
    )
    workers: int = _row(
        "ARAGORA_WORKERS",
        _number(int, 0, 1024),
        0,
        "worker processes; 0 takes ARAGORA_WORKLOAD",
        group="Server",
    )
    worker_connections: int = _row(
        "ARAGORA_WORKER_CONNECTIONS",
        _number(int, 1, 1_000_000),
        1000,
        "connections of one worker",
        group="Server",
    )
    timeout: float = _row(
        "ARAGORA_TIMEOUT",
        _number(int, 1, 86400),
        120,
        "a worker that is silent this long is replaced",
        group="Server",
        production=300,
        unit="seconds",
    )
    ws_timeout: float = _row(
        "ARAGORA_WS_TIMEOUT",
        _number(int, 1, 86400),
        600,
        "an idle WebSocket is closed after this long",
        group="Server",
        production=3600,
        unit="seconds",
    )
    graceful_timeout: float = _row(
        "ARAGORA_GRACEFUL_TIMEOUT",
        _number(int, 1, 3600),
        10,
        "time for requests in flight when a worker stops",
        group="Server",
        production=30,
        unit="seconds",
    )
    keepalive: int = _row(
        "ARAGORA_KEEPALIVE",
        _number(int, 0, 3600),
        5,
        "idle time of a kept connection",
        group="Server",
        unit="seconds",
    )
    max_requests: int = _row(
        "ARAGORA_MAX_REQUESTS",
        _number(int, 0, 100_000_000),
        1000,
        "a worker is replaced after so many requests; 0 never",
        group="Server",
    )
    max_requests_jitter: int = _row(
        "ARAGORA_MAX_REQUESTS_JITTER",
        _number(int, 0, 10_000_000),
        50,
        "random addition to it, so that workers do not all go at once",
        group="Server",
    )
    preload: bool = _row("ARAGORA_PRELOAD", FLAG, False, "load the application before forking workers", group="Server")
    access_log: str = _row(
        "ARAGORA_ACCESS_LOG", TEXT, "-", "file of the access log; `-` is standard output", group="Server"
    )
    proc_name: str = _row(
        "ARAGORA_PROC_NAME", TEXT, "aragora", "name in ps, with `setproctitle` installed", group="Server"
    )
    pidfile: str = _row(
        "ARAGORA_PIDFILE", TEXT, "", "file that holds the master's process id; empty: none", group="Server"
    )
    forwarded_allow_ips: str = _row(
        "ARAGORA_FORWARDED_ALLOW_IPS",
        TEXT,
        "127.0.0.1,::1",
        "addresses of gateways whose X-Forwarded-Proto is believed, comma separated",
        group="Server",
    )
    url: str = _row(
        "ARAGORA_URL",
        Form("URL", _url("http", "https")),
        "http://127.0.0.1:8000",
        "server that the command line talks to",
        group="Command line",
    )
    agents_environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def production(self) -> bool:
        """Whether this is a production process."""
        return self.env == "production"

    @property
    def tokens_needed(self) -> bool:
        """Whether requests must carry a token."""
        return bool(self.api_tokens)


def _rows() -> Iterator[Setting]:
    for item in dataclasses.fields(Settings):
        if "name" in item.metadata:
            yield Setting(attribute=item.name, default=item.default, **item.metadata)


SETTINGS: tuple[Setting, ...] = tuple(_rows())


@dataclass(frozen=True, slots=True)
class AgentVariable:
    """A variable of the agents' providers, read by `aragora.agents` under this very name."""

    name: str
    help: str
    secret: bool = False


AGENT_VARIABLES: tuple[AgentVariable, ...] = (
    AgentVariable("OPENAI_API_KEY", "key of the OpenAI API", secret=True),
    AgentVariable("ANTHROPIC_API_KEY", "key of the Anthropic API", secret=True),
)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in ``environ`` (default: the process's).

    Raises :class:`SettingsError` naming the variable, its value (never a secret's) and the mend.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    production = _value(SETTINGS[0], environ) == "production"
    for row in SETTINGS:
        value = _value(row, environ)
        if value is None:
            value = row.production if production else row.default
        values[row.attribute] = value
    if values["data_dir"] == Path():
        values["data_dir"] = default_data_dir(environ)
    values["agents_environ"] = MappingProxyType(_agents_environ(environ))
    if production and not values["api_tokens"]:
        raise SettingsError(
            "ARAGORA_ENV=production needs ARAGORA_API_TOKEN (or ARAGORA_API_TOKEN_FILE): "
            "without a token everybody could use the API"
        )
    return Settings(**values)


def unknown(environ: Mapping[str, str]) -> Iterator[str]:
    """One warning for each ARAGORA_* variable that no row knows, with the nearest name."""
    known = {row.name for row in SETTINGS} | {f"{row.name}_FILE" for row in SETTINGS if row.secret}
    for name in sorted(environ):
        if name.startswith("ARAGORA_") and name not in known and name not in _FOREIGN:
            near = difflib.get_close_matches(name, known, n=1)
            yield f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "")


_FOREIGN = frozenset({"ARAGORA_REQUIRE_COMPONENTS"})


def _agents_environ(environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for variable in AGENT_VARIABLES:
        text = _read(variable.name, variable.secret, environ)
        if text:
            found[variable.name] = text
    return found


def _value(row: Setting, environ: Mapping[str, str]) -> Any:
    text = _read(row.name, row.secret, environ)
    if not text:
        return None
    try:
        return row.form.parse(text)
    except ValueError as error:
        shown = "its value" if row.secret else repr(text[:80])
        raise SettingsError(f"{row.name}: {shown} does not fit: {error}") from None


def _read(name: str, secret: bool, environ: Mapping[str, str]) -> str:
    """The text of a variable, from ``NAME_FILE`` when a secret is given that way."""
    text = environ.get(name, "").strip()
    file = environ.get(f"{name}_FILE", "").strip() if secret else ""
    if not file:
        return text
    if text:
        raise SettingsError(f"{name} and {name}_FILE are both set: remove one")
    try:
        with Path(file).open(encoding="utf-8") as stream:
            text = stream.read(_MAX_SECRET_FILE + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise SettingsError(f"{name}_FILE: cannot read {file}: {reason}") from None
    if not text or len(text) > _MAX_SECRET_FILE:
        raise SettingsError(f"{name}_FILE: {file} is {'empty' if not text else 'longer than 64 KiB'}")
    return text
