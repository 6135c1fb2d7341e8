"""The table: each field of `Settings` stands with its variable's name, form, default, unit and help."""

# ruff: noqa: RUF009  the call beside each field is its row of the table; it makes an immutable default

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aragora.settings.forms import (
    ADDRESS,
    FLAG,
    LIST,
    NETWORKS,
    ORIGINS,
    PATH,
    TEXT,
    WORKLOAD,
    Setting,
    choice,
    number,
    row,
    url,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What one process runs with. Made by `load`; never changes afterwards."""

    env: str = row(
        "ARAGORA_ENV",
        choice("development", "production"),
        "development",
        "production demands a token and takes the longer timeouts",
        group="General",
    )
    data_dir: Path = row(
        "ARAGORA_DATA_DIR",
        PATH,
        Path(),
        "holds `aragora.db`; default `$XDG_DATA_HOME/aragora` or `~/.local/share/aragora`",
        group="General",
    )
    log_level: str = row(
        "ARAGORA_LOG_LEVEL",
        choice("debug", "info", "warning", "error", "critical"),
        "info",
        "least important message that is logged",
        group="General",
    )
    api_tokens: tuple[str, ...] = row(
        "ARAGORA_API_TOKEN",
        LIST,
        (),
        "bearer tokens that may use the API; without one every client may, which production refuses",
        group="Access",
        secret=True,
    )
    allowed_origins: tuple[str, ...] = row(
        "ARAGORA_ALLOWED_ORIGINS",
        ORIGINS,
        (),
        "browser origins besides the server's own, as `https://app.example`",
        group="Access",
    )
    audit_log: str = row(
        "ARAGORA_AUDIT_LOG",
        TEXT,
        "",
        "file of the audit log, one JSON line for each call that changes something or is denied; `-` is standard "
        "output; empty: none, which production does not allow",
        group="Access",
        production="-",
    )
    max_body: int = row(
        "ARAGORA_MAX_BODY",
        number(int, 1024, 1 << 30),
        1 << 20,
        "longest request body",
        group="Access",
        unit="bytes",
    )
    max_watchers: int = row(
        "ARAGORA_MAX_WATCHERS",
        number(int, 1, 1_000_000),
        5000,
        "WebSocket and SSE connections of one process; more are refused with 429 or code 4029",
        group="Access",
    )
    database_url: str = row(
        "DATABASE_URL",
        url("postgresql", "postgres", "postgresql+psycopg", "sqlite"),
        "",
        "`postgresql://user:password@host/name`; default: SQLite in the data directory",
        group="Storage",
        secret=True,
    )
    database_pool: int = row(
        "ARAGORA_DATABASE_POOL",
        number(int, 1, 1000),
        10,
        "database connections of one process",
        group="Storage",
        unit="connections",
    )
    database_timeout: float = row(
        "ARAGORA_DATABASE_TIMEOUT",
        number(float, 0.1, 600),
        10.0,
        "longest wait for a connection, a lock or one statement",
        group="Storage",
        unit="seconds",
    )
    database_prepare: bool = row(
        "ARAGORA_DATABASE_PREPARE",
        FLAG,
        True,
        "let PostgreSQL remember statements of a connection; 0 behind PgBouncer in transaction mode",
        group="Storage",
    )
    migrate: bool = row(
        "ARAGORA_MIGRATE",
        FLAG,
        True,
        "bring the tables up to date at start; 0 leaves that to `aragora migrate`",
        group="Storage",
    )
    redis_url: str = row(
        "ARAGORA_REDIS_URL",
        url("redis", "rediss", "unix"),
        "",
        "carries changes and live tokens between machines; when it is lost they poll the database",
        group="Storage",
        secret=True,
    )
    backup_recipient: str = row(
        "ARAGORA_BACKUP_RECIPIENT",
        TEXT,
        "",
        "public key of age (`age1...`) that `aragora backup` encrypts to; empty: copies are not encrypted",
        group="Storage",
    )
    poll_interval: float = row(
        "ARAGORA_POLL_INTERVAL",
        number(float, 0.01, 10),
        0.1,
        "how often a process with watchers looks for changes it was not notified of",
        group="Storage",
        unit="seconds",
    )
    runner: bool = row(
        "ARAGORA_RUNNER",
        FLAG,
        True,
        "advance debates in this process; 0 makes it serve only",
        group="Debates",
    )
    max_debates: int = row(
        "ARAGORA_MAX_DEBATES",
        number(int, 1, 100_000),
        1000,
        "debates that one process advances at once; others wait for a free place in any process",
        group="Debates",
    )
    lease_ttl: float = row(
        "ARAGORA_LEASE_TTL",
        number(float, 1, 300),
        9.0,
        "a debate whose process fell silent this long ago is continued by another one",
        group="Debates",
        unit="seconds",
    )
    prices: Path = row(
        "ARAGORA_PRICES",
        PATH,
        Path(),
        "TOML file with prices of models, looked at before the built-in table (`aragora/agents/prices.toml`)",
        group="Spending",
    )
    models: tuple[str, ...] = row(
        "ARAGORA_MODELS",
        LIST,
        (),
        "models that may be asked, as `openai/gpt-5.6`, `anthropic/*` or `ollama`; empty: all",
        group="Spending",
    )
    max_agent_rounds: int = row(
        "ARAGORA_MAX_AGENT_ROUNDS",
        number(int, 2, 100),
        50,
        "most that agents times rounds of one debate may be; the offline demo is not counted",
        group="Spending",
    )
    debate_money: float = row(
        "ARAGORA_DEBATE_MONEY",
        number(float, 0, 1_000_000),
        10.0,
        "most that one debate may cost, whatever budget it asks for; 0: no limit",
        group="Spending",
        unit="dollars",
    )
    debate_tokens: int = row(
        "ARAGORA_DEBATE_TOKENS",
        number(int, 0, 1_000_000_000),
        5_000_000,
        "most tokens that one debate may take; 0: no limit",
        group="Spending",
    )
    debates_at_once: int = row(
        "ARAGORA_DEBATES_AT_ONCE",
        number(int, 0, 1_000_000),
        0,
        "unfinished debates of one token of ARAGORA_API_TOKEN, or of all callers where none is needed; 0: no limit. "
        "Tokens of `aragora tokens` have limits of their own",
        group="Spending",
    )
    daily_questions: int = row(
        "ARAGORA_DAILY_QUESTIONS",
        number(int, 0, 1_000_000_000),
        0,
        "questions to language models that such a token may ask on a day (UTC); 0: no limit",
        group="Spending",
    )
    daily_tokens: int = row(
        "ARAGORA_DAILY_TOKENS",
        number(int, 0, 1_000_000_000_000),
        0,
        "tokens of language models that it may take on a day; 0: no limit",
        group="Spending",
    )
    daily_money: float = row(
        "ARAGORA_DAILY_MONEY",
        number(float, 0, 1_000_000),
        0.0,
        "what it may spend on a day by the price table; 0: no limit",
        group="Spending",
        unit="dollars",
    )
    fetch: bool = row(
        "ARAGORA_FETCH",
        FLAG,
        True,
        "read pages and files that debates are given as URLs; only public addresses are asked",
        group="Sources and messages",
    )
    max_source: int = row(
        "ARAGORA_MAX_SOURCE",
        number(int, 1024, 1 << 30),
        10 << 20,
        "longest file or page that is read for a debate",
        group="Sources and messages",
        unit="bytes",
    )
    private_networks: tuple[str, ...] = row(
        "ARAGORA_PRIVATE_NETWORKS",
        NETWORKS,
        (),
        "networks that pages are fetched from and messages sent to although they are not public, as `10.1.0.0/16`",
        group="Sources and messages",
    )
    webhook_secret: str = row(
        "ARAGORA_WEBHOOK_SECRET",
        TEXT,
        "",
        "`whsec_` and base64: signs the webhooks of debates that bring no secret of their own",
        group="Sources and messages",
        secret=True,
    )
    bind: str = row("ARAGORA_BIND", ADDRESS, "127.0.0.1:8080", "address of the HTTP server", group="Server")
    ws_bind: str = row(
        "ARAGORA_WS_BIND",
        ADDRESS,
        "127.0.0.1:8766",
        "second address of the same application, where clients expect WebSocket",
        group="Server",
    )
    workload: str = row(
        "ARAGORA_WORKLOAD",
        WORKLOAD,
        "mixed",
        "worker processes: cores, 2 x cores + 1, 2 x cores, or that number",
        group="Server",
    )
    workers: int = row(
        "ARAGORA_WORKERS",
        number(int, 0, 1024),
        0,
        "worker processes; 0 takes ARAGORA_WORKLOAD",
        group="Server",
    )
    worker_connections: int = row(
        "ARAGORA_WORKER_CONNECTIONS",
        number(int, 1, 1_000_000),
        1000,
        "connections of one worker",
        group="Server",
    )
    timeout: int = row(
        "ARAGORA_TIMEOUT",
        number(int, 1, 86400),
        120,
        "a worker that is silent this long is replaced",
        group="Server",
        production=300,
        unit="seconds",
    )
    ws_timeout: int = row(
        "ARAGORA_WS_TIMEOUT",
        number(int, 1, 86400),
        600,
        "an idle WebSocket is closed after this long",
        group="Server",
        production=3600,
        unit="seconds",
    )
    graceful_timeout: int = row(
        "ARAGORA_GRACEFUL_TIMEOUT",
        number(int, 1, 3600),
        10,
        "time for requests in flight when a worker stops",
        group="Server",
        production=30,
        unit="seconds",
    )
    keepalive: int = row(
        "ARAGORA_KEEPALIVE",
        number(int, 0, 3600),
        5,
        "idle time of a kept connection",
        group="Server",
        unit="seconds",
    )
    max_requests: int = row(
        "ARAGORA_MAX_REQUESTS",
        number(int, 0, 100_000_000),
        0,
        "a worker is replaced after so many requests; 0 never",
        group="Server",
    )
    max_requests_jitter: int = row(
        "ARAGORA_MAX_REQUESTS_JITTER",
        number(int, 0, 10_000_000),
        50,
        "random addition to it, so that workers do not all go at once",
        group="Server",
    )
    max_memory: int = row(
        "ARAGORA_MAX_MEMORY",
        number(int, 0, 1 << 20),
        768,
        "a gevent worker that holds more is replaced, at most once an hour; 0 never",
        group="Server",
        unit="MiB",
    )
    preload: bool = row("ARAGORA_PRELOAD", FLAG, False, "load the application before forking workers", group="Server")
    access_log: str = row(
        "ARAGORA_ACCESS_LOG", TEXT, "-", "file of the access log; `-` is standard output", group="Server"
    )
    proc_name: str = row(
        "ARAGORA_PROC_NAME", TEXT, "aragora", "name in ps, with `setproctitle` installed", group="Server"
    )
    pidfile: str = row(
        "ARAGORA_PIDFILE", TEXT, "", "file that holds the master's process id; empty: none", group="Server"
    )
    forwarded_allow_ips: str = row(
        "ARAGORA_FORWARDED_ALLOW_IPS",
        TEXT,
        "127.0.0.1,::1",
        "addresses of gateways whose X-Forwarded-Proto is believed, comma separated",
        group="Server",
    )
    url: str = row(
        "ARAGORA_URL",
        url("http", "https"),
        "http://127.0.0.1:8000",
        "server that the command line talks to; without tokens, its host is served beside localhost and IP addresses",
        group="Command line",
    )
    agents_environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def production(self) -> bool:
        """Whether this is a production process."""
        return self.env == "production"


def _rows() -> Iterator[Setting]:
    for item in dataclasses.fields(Settings):
        if "name" in item.metadata:
            yield Setting(attribute=item.name, default=item.default, **item.metadata)


SETTINGS: tuple[Setting, ...] = tuple(_rows())
