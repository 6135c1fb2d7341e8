"""What the gateway can be told, in one table.

The fields of `Settings` are the table: flag (`--connect-timeout`), key of the TOML file (`connect_timeout`), type,
default, unit and help. The command line, the file, the reference page and every error message are made from it.

A row that is `routed` may also stand in a `[[route]]` of the file. The top level then gives the default of all
routes, and a route's `settings` are the top level's with its own values laid over them: whoever serves a request reads
one `Settings`, its route's, and need not know where a value was written.
"""

import os
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from proxy.settings.values import Address, Peer, kinds, rewrite, web
from proxy.settings.values.kinds import Kind
from proxy.settings.values.web import Key, Network, Rate, Trusted

FRONT = Address("127.0.0.1", 8000)
ADMIN = Address("127.0.0.1", 9180)
CLIENT = Key("client")
NOBODY = Trusted()
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def available_cores() -> int:
    """Cores this process may use: its affinity mask, cut by a cgroup's processor quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, -(-int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        pass
    return max(1, cores)


class Reload(Enum):
    """What HUP does about a setting that has changed; the values are what the reference page says of it."""

    IN_PLACE = ""
    """It holds for all that begins from then on, in the workers that run."""
    NEW_WORKERS = "; HUP starts new workers and drains the old ones"
    RESTART = "; HUP does not reach it, and says so: restart, or upgrade with USR2"


@dataclass(frozen=True, slots=True)
class Row:
    """What the table says about a setting beside its name, type and default.

    `routed` settings may stand in a route; those without a `flag` only in the file.
    """

    kind: Kind
    group: str
    doc: str
    aliases: tuple[str, ...] = ()
    routed: bool = False
    flag: bool = True
    reload: Reload = Reload.IN_PLACE


def _time(doc: str, *aliases: str, routed: bool = False) -> Row:
    return Row(kinds.DURATION, "Timeouts", doc, aliases, routed)


def _wait(doc: str, *, routed: bool = False) -> Row:
    return Row(kinds.WAIT, "Timeouts", doc, (), routed)


def _bound(doc: str) -> Row:
    return Row(kinds.BOUND, "Limits", doc)


def _count(doc: str) -> Row:
    return Row(kinds.COUNT, "Limits", doc)


def _tls(kind: Kind, doc: str, *, routed: bool = False) -> Row:
    return Row(kind, "TLS", doc, (), routed)


def _routed(group: str, kind: Kind, doc: str, *, flag: bool = True) -> Row:
    return Row(kind, group, doc, (), True, flag)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and its key, both PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class RouteSettings:
    """Requests that are served alike: which (`hosts`, then the longest `path` or the `exact` one), and how.

    Without hosts a route serves every host. The name is the one that commands, metrics and logs use.
    """

    name: str
    hosts: tuple[str, ...]
    path: str
    exact: bool
    settings: "Settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the gateway was told. Durations are seconds, sizes bytes."""

    upstream: Annotated[
        tuple[Peer, ...], _routed("Addresses", kinds.PEERS, "where the application listens; repeat for several")
    ] = ()
    bind: Annotated[
        tuple[Address, ...],
        Row(
            kinds.LISTENERS,
            "Addresses",
            "where clients connect, with TLS once a certificate is configured; repeat for several",
            reload=Reload.NEW_WORKERS,
        ),
    ] = (FRONT,)
    bind_plain: Annotated[
        tuple[Address, ...],
        Row(
            kinds.LISTENERS,
            "Addresses",
            "where clients connect without TLS beside it; repeat for several",
            reload=Reload.NEW_WORKERS,
        ),
    ] = ()
    admin: Annotated[
        Address | None,
        Row(
            kinds.ADMIN,
            "Addresses",
            "metrics, health, status page; what is private, and commands, with the token; 'off' opens no such listener",
            reload=Reload.NEW_WORKERS,
        ),
    ] = ADMIN
    admin_token_file: Annotated[
        Path | None,
        Row(kinds.PATH, "Addresses", "file with the token that the admin address asks for; needed if it is public"),
    ] = None
    admin_socket: Annotated[
        str,
        Row(
            kinds.ADMIN_SOCKET,
            "Addresses",
            "unix socket for commands, of the account that starts the gateway; 'auto' is one in its runtime directory, "
            "which the command line finds",
            reload=Reload.NEW_WORKERS,
        ),
    ] = "auto"
    admin_group: Annotated[
        str, Row(kinds.TEXT, "Addresses", "group whose members may connect to that socket too, and so command")
    ] = ""
    socket_mode: Annotated[
        int, Row(kinds.MODE, "Addresses", "permissions of a unix socket that the gateway creates")
    ] = 0o660
    proxy_protocol: Annotated[
        bool, Row(kinds.SWITCH, "Addresses", "connections from trusted_proxies begin with a PROXY protocol header")
    ] = False
    trusted_proxies: Annotated[
        Trusted,
        Row(web.TRUSTED, "Addresses", "proxies in front whose forwarding fields count; 'unix' for unix sockets"),
    ] = NOBODY

    config: Annotated[Path | None, Row(kinds.PATH, "Process", "TOML file; read again on HUP")] = None
    workers: Annotated[
        int, Row(kinds.WORKERS, "Process", "worker processes; one for each available core if not given")
    ] = field(default_factory=available_cores)
    user: Annotated[
        str, Row(kinds.TEXT, "Process", "user the workers run as; needs a start as root", reload=Reload.NEW_WORKERS)
    ] = ""
    group: Annotated[str, Row(kinds.TEXT, "Process", "group the workers run as", reload=Reload.NEW_WORKERS)] = ""
    pidfile: Annotated[Path | None, Row(kinds.PATH, "Process", "file that holds the master's process id")] = None
    state_dir: Annotated[
        Path | None,
        Row(
            kinds.PATH,
            "Process",
            "directory of what outlives the process: the account, keys, certificates",
            reload=Reload.NEW_WORKERS,
        ),
    ] = None

    access_log: Annotated[
        str, Row(kinds.LOG, "Logs", "file for one line a request; '-' is standard output, 'off' writes none")
    ] = "-"
    log_format: Annotated[str, Row(kinds.LOG_FORMAT, "Logs", "shape of an access log line")] = "combined"
    error_log: Annotated[
        str, Row(kinds.ERROR_LOG, "Logs", "file for the gateway's own messages; '-' is standard error")
    ] = "-"
    log_level: Annotated[str, Row(kinds.LOG_LEVEL, "Logs", "least important message that is written")] = "info"
    tracing: Annotated[
        bool,
        Row(
            kinds.SWITCH, "Logs", "start a trace (traceparent) for requests that bring none, and continue those that do"
        ),
    ] = False

    tls_cert: Annotated[
        Path | None,
        _tls(kinds.PATH, "certificate chain (PEM) of the --bind addresses; more as [[certificate]] in the file"),
    ] = None
    tls_key: Annotated[Path | None, _tls(kinds.PATH, "key (PEM) of that certificate")] = None
    tls: Annotated[str, _tls(kinds.TLS, "'self-signed' makes a certificate of its own, for development")] = "off"
    tls_min: Annotated[str, _tls(kinds.TLS_VERSION, "oldest TLS version")] = "1.2"
    tls_client_ca: Annotated[
        Path | None,
        _tls(
            kinds.PATH,
            "certificates (PEM) of the authorities that clients' certificates must come from, up to a self-signed one; "
            "the application is not told whose certificate it was",
        ),
    ] = None
    tls_client_auth: Annotated[
        str,
        _tls(
            kinds.CLIENT_AUTH,
            "whether a client may go without a certificate when tls_client_ca is set; 'optional' refuses only "
            "certificates of other authorities",
        ),
    ] = "required"
    https_redirect: Annotated[
        bool,
        _tls(
            kinds.SWITCH,
            "answer requests to the --bind-plain addresses with a redirect to https, but for ACME challenges and for "
            "those that a trusted proxy took over https",
        ),
    ] = True
    hsts: Annotated[
        float, _tls(kinds.AGE, "Strict-Transport-Security of answers over TLS; 0 sends none", routed=True)
    ] = 0.0
    acme: Annotated[
        str,
        _tls(web.EMAIL, "obtain and renew certificates for the domains; the address is for the authority's warnings"),
    ] = ""
    domain: Annotated[tuple[str, ...], _tls(web.DOMAINS, "name to obtain a certificate for; repeat for several")] = ()
    acme_directory: Annotated[str, Row(web.URL, "TLS", "the authority's ACME directory", reload=Reload.NEW_WORKERS)] = (
        LETS_ENCRYPT
    )
    acme_ca: Annotated[
        Path | None,
        _tls(kinds.PATH, "authorities (PEM) of the ACME directory's own certificate; the system's if not given"),
    ] = None
    http2: Annotated[bool, _tls(kinds.SWITCH, "offer HTTP/2 over TLS")] = True
    h2c: Annotated[
        bool, _tls(kinds.SWITCH, "take HTTP/2 without TLS from clients that begin with it (prior knowledge)")
    ] = False
    max_streams: Annotated[int, _tls(kinds.COUNT, "most requests in flight on one HTTP/2 connection")] = 100

    connect_timeout: Annotated[float, _wait("longest wait for a connection to an upstream; then 504", routed=True)] = (
        60.0
    )
    send_timeout: Annotated[
        float, _wait("longest pause between two writes of a request to an upstream; then 504", routed=True)
    ] = 300.0
    read_timeout: Annotated[
        float,
        _wait(
            "longest pause between two reads of an upstream's answer; then 504, or cut off if it has begun", routed=True
        ),
    ] = 300.0
    websocket_timeout: Annotated[
        float, _wait("silence in both directions after which a WebSocket is closed", routed=True)
    ] = 3600.0
    head_timeout: Annotated[float, _wait("longest time a request head may take; then 408")] = 20.0
    body_timeout: Annotated[
        float, _wait("longest pause between two reads of a request body; then 408", routed=True)
    ] = 30.0
    keepalive_timeout: Annotated[float, _time("how long an idle client connection stays open; 0: none is kept")] = 60.0
    write_timeout: Annotated[
        float, _wait("longest time a client may take no byte of its answer; then it is dropped")
    ] = 60.0
    linger_timeout: Annotated[float, _time("how long to discard what a client still sends after its last answer")] = 5.0
    half_close_timeout: Annotated[
        float, _time("how long the open direction of a half-closed WebSocket may be silent")
    ] = 10.0
    hold: Annotated[
        float, _time("how long a request waits for an upstream that refuses connections; then 503", routed=True)
    ] = 10.0
    graceful: Annotated[
        float, _time("how long requests in flight may take when the gateway stops", "graceful_timeout")
    ] = 30.0
    websocket_drain: Annotated[
        float, _time("time over which WebSockets are closed when the gateway stops; at most 'graceful'")
    ] = 5.0

    max_request_line: Annotated[int, _bound("longest request line; 414 above it")] = 8190
    max_field: Annotated[int, _bound("longest field line; 431 above it (gunicorn's own limit)")] = 8190
    max_fields: Annotated[int, _count("most fields of a request, the gateway's own included; 431 above it")] = 100
    max_head: Annotated[int, _bound("largest request head; 431 above it")] = 32 << 10
    max_body: Annotated[
        int, _routed("Limits", kinds.LIMIT, "largest request body; 413 above it; 0 or 'off': no limit")
    ] = 50 << 20
    max_response_head: Annotated[int, _bound("largest head of an upstream's answer; 502 above it")] = 64 << 10
    max_connections: Annotated[int, _count("most client connections of one worker")] = 16384
    max_client_connections: Annotated[
        int, Row(web.NUMBER, "Limits", "most connections of one client address to this machine; 0: no limit")
    ] = 0
    max_client_websockets: Annotated[
        int, Row(web.NUMBER, "Limits", "most WebSockets of one client address; 429 above it; 0: no limit")
    ] = 0
    min_rate: Annotated[
        int,
        _routed(
            "Limits",
            kinds.SIZE,
            "bytes a second a buffered request body must average after its first 10 s; 408 below it. 0: any rate",
        ),
    ] = 500
    min_read_rate: Annotated[
        int,
        _routed(
            "Limits",
            kinds.SIZE,
            "bytes a second a client must take, in each write_timeout that an answer waits for it. 0: any rate",
        ),
    ] = 240
    rate: Annotated[Rate | None, _routed("Limits", web.RATE, "requests of one client, such as 20/s; 429 above it")] = (
        None
    )
    burst: Annotated[
        int, _routed("Limits", web.NUMBER, "requests of one client that may come at once; 0: one second's worth")
    ] = 0
    rate_by: Annotated[Key, _routed("Limits", web.RATE_BY, "what counts as one client for the rate")] = CLIENT
    rate_keys: Annotated[
        int,
        Row(
            kinds.COUNT,
            "Limits",
            "clients remembered for rates and limits; the oldest are forgotten",
            reload=Reload.RESTART,
        ),
    ] = 65536

    request_buffering: Annotated[
        bool, _routed("Buffers", kinds.SWITCH, "read a request body to its end before the upstream is asked")
    ] = True
    response_buffering: Annotated[
        bool, _routed("Buffers", kinds.SWITCH, "take an answer off the upstream faster than a slow client reads it")
    ] = True
    body_memory: Annotated[
        int, Row(kinds.SIZE, "Buffers", "part of a request body kept in memory; the rest goes to a temporary file")
    ] = 64 << 10
    response_memory: Annotated[
        int,
        Row(
            kinds.SIZE,
            "Buffers",
            "part of an answer kept in memory for a slow client; the rest goes to a temporary file",
        ),
    ] = 64 << 10
    response_spool: Annotated[
        int,
        Row(kinds.SIZE, "Buffers", "most of one answer kept on disk for a slow client; 0 waits for the client instead"),
    ] = 1 << 30
    spool_total: Annotated[
        int,
        Row(
            kinds.LIMIT,
            "Buffers",
            "most of all bodies on disk, of all workers; of it answers take half, and then wait for their clients",
        ),
    ] = 4 << 30
    spool_dir: Annotated[
        Path | None, Row(kinds.PATH, "Buffers", "directory of the temporary files; the system's if not given")
    ] = None

    upstream_keepalive: Annotated[
        float,
        _routed(
            "Upstream connections",
            kinds.DURATION,
            "how long the upstream keeps an idle connection (gunicorn: 2 s); it is reused up to 1 s less",
        ),
    ] = 2.0
    pool_size: Annotated[
        int, Row(kinds.COUNT, "Upstream connections", "most idle connections kept for each peer and worker")
    ] = 4096
    reuse_unsafe: Annotated[
        float,
        _routed(
            "Upstream connections",
            kinds.DURATION,
            "time since its last answer in which a connection may carry a POST or PATCH; 0: always a new one",
        ),
    ] = 1.0
    repeat_keyed: Annotated[
        bool,
        _routed(
            "Upstream connections",
            kinds.SWITCH,
            "repeat a POST or PATCH too if it has an Idempotency-Key, which the application must honour",
        ),
    ] = False
    half_close: Annotated[
        str,
        Row(
            kinds.HALF_CLOSE,
            "Upstream connections",
            "what it means when a client shuts its sending side before its answer came",
        ),
    ] = "abort"
    proxy_protocol_out: Annotated[
        str,
        _routed(
            "Upstream connections",
            kinds.PROXY_PROTOCOL,
            "begin connections to the upstream with a PROXY protocol header; each then carries one request",
        ),
    ] = "off"

    balance: Annotated[str, _routed("Balancing", kinds.BALANCE, "how a request's peer is chosen")] = "round-robin"
    hash_by: Annotated[Key, _routed("Balancing", web.HASH_BY, "what 'hash' sends to the same peer")] = CLIENT
    sticky_cookie: Annotated[
        str, _routed("Balancing", web.COOKIE, "name of a cookie that keeps a browser at its peer; none if not given")
    ] = ""
    peer_connections: Annotated[
        int, _routed("Balancing", web.NUMBER, "most connections of one worker to one peer; 0: no limit")
    ] = 0
    queue: Annotated[
        int,
        _routed(
            "Balancing",
            web.NUMBER,
            "requests of one worker that may wait for a peer's connection; then 503; 0: none waits",
        ),
    ] = 64
    queue_timeout: Annotated[
        float, _routed("Balancing", kinds.DURATION, "longest wait for a peer's connection; then 503")
    ] = 30.0

    health_path: Annotated[
        str, _routed("Health", web.PATH, "path that probes ask each peer for, such as /ready; no probes if not given")
    ] = ""
    health_host: Annotated[
        str,
        _routed(
            "Health",
            web.AUTHORITY,
            "Host of probes; the route's first host, else the first domain, else the peer's address",
        ),
    ] = ""
    health_scheme: Annotated[
        str,
        _routed(
            "Health",
            kinds.PROBE_SCHEME,
            "X-Forwarded-Proto of probes; 'auto' is https where clients are served over TLS",
        ),
    ] = "auto"
    health_status: Annotated[
        tuple[range, ...],
        _routed(
            "Health",
            web.STATUSES,
            "statuses of a good probe; 'auto' is 200-399, and 400 and 421 where probes have the peer's address as Host",
        ),
    ] = ()
    health_interval: Annotated[float, _routed("Health", kinds.WAIT, "time between two probes of a peer")] = 5.0
    health_timeout: Annotated[float, _routed("Health", kinds.WAIT, "longest time a probe may take")] = 3.0
    health_rise: Annotated[int, _routed("Health", kinds.COUNT, "good probes after which a peer is up")] = 2
    health_fall: Annotated[int, _routed("Health", kinds.COUNT, "bad probes after which a peer is down")] = 3
    eject_after: Annotated[
        int, _routed("Health", web.NUMBER, "failures in a row after which a peer is left out for a while; 0: never")
    ] = 5
    eject_time: Annotated[
        float, _routed("Health", kinds.DURATION, "how long it is left out at first; doubled each time, up to 16 times")
    ] = 10.0
    slow_start: Annotated[
        float,
        _routed("Health", kinds.DURATION, "time in which a peer that came up is given its full share; 0: at once"),
    ] = 0.0

    strip_prefix: Annotated[
        bool,
        _routed("Fields", kinds.SWITCH, "the upstream is asked without the route's path; X-Forwarded-Prefix tells it"),
    ] = False
    set_request_fields: Annotated[
        tuple[tuple[str, str], ...],
        _routed(
            "Fields",
            rewrite.OF_REQUESTS,
            "fields of the request to set for the upstream; {user} (of basic_auth, or what forward_auth sets as "
            "X-Forwarded-User), {client}, {scheme}, {host} (without port), {method}, {path}, {rest}, {query}, "
            "{request_id} and {upstream} (the first one's address) stand for the request's",
            flag=False,
        ),
    ] = ()
    remove_request_fields: Annotated[
        tuple[str, ...], _routed("Fields", rewrite.NAMES, "fields of the request to remove")
    ] = ()
    set_response_fields: Annotated[
        tuple[tuple[str, str], ...], _routed("Fields", rewrite.OF_ANSWERS, "fields of the answer to set", flag=False)
    ] = ()
    remove_response_fields: Annotated[
        tuple[str, ...], _routed("Fields", rewrite.NAMES, "fields of the answer to remove")
    ] = ()
    forwarded: Annotated[
        bool, _routed("Fields", kinds.SWITCH, "send the upstream Forwarded (RFC 7239) beside X-Forwarded-*")
    ] = True

    dot_segments: Annotated[
        str,
        _routed("Fields", kinds.DOT_SEGMENTS, "'pass': take paths with . and .. segments that lead to no other route"),
    ] = "refuse"
    underscores_in_fields: Annotated[
        bool,
        _routed(
            "Fields", kinds.SWITCH, "pass request fields with _ . or the like in their names, none like the gateway's"
        ),
    ] = False
    lenient_responses: Annotated[
        bool,
        _routed(
            "Fields", kinds.SWITCH, "take answers of old servers: bare LF, folded lines, equal lengths, chunks of 1.0"
        ),
    ] = False
    via: Annotated[
        bool,
        _routed("Fields", kinds.SWITCH, "name the gateway in Via to the upstream, and answer 508 to what comes back"),
    ] = True

    redirect: Annotated[
        str,
        _routed(
            "Local answers",
            web.REDIRECT,
            "answer with a redirect there; {scheme}, {host} (without port), {path}, {rest} (the path behind the "
            "route's) and {query} (with its question mark) stand for the request's",
        ),
    ] = ""
    redirect_status: Annotated[int, _routed("Local answers", web.REDIRECT_STATUS, "status of that redirect")] = 308
    respond: Annotated[str, _routed("Local answers", web.CONTENT, "answer with this text")] = ""
    respond_status: Annotated[int, _routed("Local answers", web.STATUS, "status of that answer")] = 200
    respond_type: Annotated[str, _routed("Local answers", web.CONTENT_TYPE, "content type of that answer")] = (
        "text/plain; charset=utf-8"
    )
    root: Annotated[Path | None, _routed("Local answers", kinds.PATH, "directory whose files to serve")] = None
    index: Annotated[str, _routed("Local answers", web.FILE_NAME, "file that stands for its directory")] = "index.html"
    gateway_health: Annotated[
        bool, _routed("Local answers", kinds.SWITCH, "answer 200 while the gateway serves, 503 while it stops")
    ] = False

    allow: Annotated[
        tuple[Network, ...], _routed("Access", web.NETWORKS, "client addresses that may come in; all if not given")
    ] = ()
    deny: Annotated[tuple[Network, ...], _routed("Access", web.NETWORKS, "client addresses that may not")] = ()
    basic_auth: Annotated[
        Path | None,
        _routed(
            "Access", kinds.OPTIONAL_PATH, "file of users and bcrypt hashes (htpasswd -B) of whom one is asked for"
        ),
    ] = None
    forward_auth: Annotated[str, _routed("Access", web.URL, "ask this URL for each request whether it may pass")] = ""
    forward_auth_fields: Annotated[
        tuple[str, ...], _routed("Access", rewrite.NAMES, "fields of its answer that the upstream is given")
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...], _routed("Access", web.ORIGINS, "origins whose pages may read answers; * for all")
    ] = ()
    cors_methods: Annotated[tuple[str, ...], _routed("Access", web.TOKENS, "methods such pages may use")] = (
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
    )
    cors_fields: Annotated[tuple[str, ...], _routed("Access", web.TOKENS, "fields such pages may send")] = (
        "Authorization",
        "Content-Type",
    )
    cors_credentials: Annotated[bool, _routed("Access", kinds.SWITCH, "such pages may send cookies")] = False
    cors_max_age: Annotated[
        float, _routed("Access", kinds.DURATION, "how long a browser may remember these answers")
    ] = 600.0

    compress: Annotated[bool, _routed("Answers", kinds.SWITCH, "compress answers for clients that accept it")] = False
    compress_types: Annotated[
        tuple[str, ...],
        _routed("Answers", web.MEDIA_TYPES, "content types worth compressing; * after a slash stands for all"),
    ] = ("text/*", "application/json", "application/javascript", "application/xml", "image/svg+xml")
    error_pages: Annotated[
        Path | None,
        _routed(
            "Answers",
            kinds.OPTIONAL_PATH,
            "directory of pages for the gateway's own errors: 404.html, 5xx.html, 5xx.json",
        ),
    ] = None
    maintenance_page: Annotated[
        Path | None,
        _routed(
            "Answers", kinds.OPTIONAL_PATH, "page that is shown while maintenance is on; the gateway's own if not given"
        ),
    ] = None
    maintenance_allow: Annotated[
        tuple[Network, ...], _routed("Answers", web.NETWORKS, "client addresses that are served all the same")
    ] = ()

    certificates: tuple[Certificate, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    admin_token: bytes = field(default=b"", repr=False)
    """What the file of that name holds: read by the master, which may read more than its workers."""

    @property
    def upstream_host(self) -> str:
        """The first upstream's address as a Host field has it."""
        if not self.upstream:
            return ""
        address = self.upstream[0].address
        return "localhost" if address.path else str(address)

    @property
    def first_request_timeout(self) -> float:
        """How long a new connection may wait with its first request; one that asks several at once, with the next."""
        return self.keepalive_timeout or self.head_timeout

    @property
    def secure(self) -> bool:
        """Whether the `bind` addresses speak TLS."""
        return bool(self.certificates or self.acme or self.tls == "self-signed")

    @property
    def all_routes(self) -> tuple[RouteSettings, ...]:
        """The file's routes, and the one for all other requests that the top level makes if it says how."""
        if self.upstream or serves_itself(self):
            return (*self.routes, RouteSettings("default", (), "/", False, self))
        return self.routes


def serves_itself(settings: Settings) -> bool:
    """Whether requests are answered here, without an upstream."""
    return bool(settings.redirect or settings.respond or settings.root or settings.gateway_health)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table, ready to be shown."""

    name: str
    kind: Kind
    default: Any
    doc: str
    group: str
    aliases: tuple[str, ...]
    routed: bool
    has_flag: bool
    reload: Reload

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
        if hasattr(hints[column.name], "__metadata__"):
            row: Row = hints[column.name].__metadata__[0]
            rows[column.name] = Setting(
                column.name, row.kind, column.default, row.doc, row.group, row.aliases, row.routed, row.flag, row.reload
            )
    return rows


ANSWERS = ("upstream", "redirect", "respond", "root", "gateway_health")
"""The settings that say how a request is answered: a route has one of them."""

TABLE = _read_table()
NAMES = {spelling: row for row in TABLE.values() for spelling in (row.name, *row.aliases)}


def table() -> list[Setting]:
    """The rows in the order of the reference page."""
    return list(TABLE.values())
