"""Connections to upstream peers, the choice among peers, and their health."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from proxy.settings.table.limits import CLIENT
from proxy.settings.table.row import Setting, routed
from proxy.settings.values import kinds, web
from proxy.settings.values.web import Key


@dataclass(frozen=True, kw_only=True)
class UpstreamConnections:
    """How connections are opened and reused."""

    __slots__ = ()
    GROUP: ClassVar = "Upstream connections"

    upstream_keepalive: Annotated[
        float,
        routed(
            kinds.DURATION,
            "how long the upstream keeps an idle connection open (gunicorn: 2 s); the gateway stops reusing it 1 s "
            "earlier",
        ),
    ] = 2.0
    pool_size: Annotated[int, Setting(kinds.COUNT, "most idle connections kept per peer and worker")] = 4096
    reuse_unsafe: Annotated[
        float,
        routed(
            kinds.DURATION,
            "how long after its last response a connection may carry a POST or PATCH; 0: always use a new one",
        ),
    ] = 1.0
    repeat_keyed: Annotated[
        bool,
        routed(
            kinds.SWITCH,
            "also retry a POST or PATCH that has an Idempotency-Key, which the application must honour",
        ),
    ] = False
    half_close: Annotated[
        str,
        Setting(
            kinds.HALF_CLOSE, "what to do when a client shuts down its sending side before it has received its response"
        ),
    ] = "abort"
    upgrade: Annotated[
        tuple[str, ...],
        routed(
            web.PROTOCOLS,
            "protocols, such as websocket or tcp, to which connections may be upgraded; '*': any but HTTP and TLS; "
            "off: none",
        ),
    ] = ("websocket",)
    proxy_protocol_out: Annotated[
        str,
        routed(
            kinds.PROXY_PROTOCOL,
            "send a PROXY protocol header on connections to the upstream; each connection then carries one request",
        ),
    ] = "off"


@dataclass(frozen=True, kw_only=True)
class UpstreamIdentity:
    """How upstreams are addressed, and what they and the gateway prove over TLS that they are."""

    __slots__ = ()
    GROUP: ClassVar = "TLS and Host of upstreams"

    upstream_host: Annotated[
        str,
        routed(
            web.UPSTREAM_HOST,
            "Host that the application is sent: 'client': the client's; 'upstream': the peer's own name or address; "
            "else this one",
        ),
    ] = "client"
    upstream_ca: Annotated[
        Path | None,
        routed(
            kinds.PATH,
            "CA certificates (PEM) to verify https:// upstreams with, or their self-signed certificates; read again "
            "by HUP; default: the system's",
        ),
    ] = None
    upstream_name: Annotated[
        str,
        routed(
            web.HOST_NAME,
            "name that https:// upstreams are asked for (SNI) and their certificates must have; default: the host in "
            "the address",
        ),
    ] = ""
    upstream_cert: Annotated[
        Path | None,
        routed(kinds.PATH, "certificate chain (PEM) that the gateway presents to https:// upstreams which ask for one"),
    ] = None
    upstream_key: Annotated[Path | None, routed(kinds.PATH, "private key (PEM) of that certificate")] = None
    forward_auth_ca: Annotated[
        Path | None,
        routed(kinds.PATH, "CA certificates (PEM) to verify an https:// forward_auth with; default: the system's"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Balancing:
    """How a request's peer is chosen, and the queue for a busy one."""

    __slots__ = ()
    GROUP: ClassVar = "Balancing"

    balance: Annotated[str, routed(kinds.BALANCE, "how the peer for a request is chosen")] = "round-robin"
    hash_by: Annotated[Key, routed(web.HASH_BY, "what 'hash' maps to a peer")] = CLIENT
    sticky_cookie: Annotated[
        str, routed(web.COOKIE, "name of the cookie that keeps a browser on one peer; default: none")
    ] = ""
    peer_connections: Annotated[
        int, routed(web.NUMBER, "most connections from one worker to one peer; 0: no limit")
    ] = 0
    queue: Annotated[
        int,
        routed(
            web.NUMBER,
            "most requests per worker that wait for a connection to a peer; beyond it 503; 0: no queue",
        ),
    ] = 64
    queue_timeout: Annotated[float, routed(kinds.DURATION, "longest wait in that queue; then 503")] = 30.0


@dataclass(frozen=True, kw_only=True)
class Health:
    """Probes, and ejection of peers that fail."""

    __slots__ = ()
    GROUP: ClassVar = "Health"

    health_path: Annotated[str, routed(web.PATH, "path that probes request, such as /ready; default: no probes")] = ""
    health_host: Annotated[
        str,
        routed(
            web.AUTHORITY,
            "Host of probes; default: the route's first host, else the first domain, else the peer's address",
        ),
    ] = ""
    health_scheme: Annotated[
        str,
        routed(
            kinds.PROBE_SCHEME,
            "X-Forwarded-Proto of probes; 'auto': https where clients are served over TLS",
        ),
    ] = "auto"
    health_status: Annotated[
        tuple[range, ...],
        routed(
            web.STATUSES,
            "statuses of a good probe; 'auto': 200-399, and also 400 and 421 if Host is the peer's address",
        ),
    ] = ()
    health_interval: Annotated[float, routed(kinds.WAIT, "time between two probes of a peer")] = 5.0
    health_timeout: Annotated[float, routed(kinds.WAIT, "longest time a probe may take")] = 3.0
    health_rise: Annotated[int, routed(kinds.COUNT, "consecutive good probes after which a peer is up")] = 2
    health_fall: Annotated[int, routed(kinds.COUNT, "consecutive bad probes after which a peer is down")] = 3
    eject_after: Annotated[
        int, routed(web.NUMBER, "consecutive failures after which a peer is ejected for a while; 0: never")
    ] = 5
    eject_time: Annotated[
        float, routed(kinds.DURATION, "length of the first ejection; doubles each time, up to 16 times")
    ] = 10.0
    slow_start: Annotated[
        float,
        routed(kinds.DURATION, "time over which a peer that came up reaches its full share; 0: at once"),
    ] = 0.0
