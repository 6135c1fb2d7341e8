"""What is measured, in which unit, and how much of it the gateway may cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MIB = 1024 * 1024
PURE, COMPILED, BARE, RELAY = "proxy", "compiled", "bare", "relay"
"""The gateway in its two forms: as it is written, and with its hot path compiled; what no proxy of this kind gets
below: its event loop with nothing but receiving and sending; and what no proxy does: the same in C."""
FLOORS = BARE, RELAY
"""They understand no message."""
LAB_POOL, LARGE_POOL, USUAL_POOL = 64, 4096, 0
"""Idle upstream connections that each proxy may keep: those of the bars; enough for the busiest scenario to close none;
as many as it keeps where it is deployed."""


@dataclass(frozen=True)
class Fleet:
    """Servers that several scenarios are measured with: the pool of each, TLS or not, which origin is behind, whether
    they store its responses, as those in `CACHING` can."""

    name: str
    pool: int = LAB_POOL
    secure: bool = False
    tunnel: bool = False
    cached: bool = False


PLAIN, LARGE, DEPLOYED, SECURE, SECURE_LARGE, TUNNEL, CACHED = FLEETS = (
    Fleet("http"),
    Fleet("large", LARGE_POOL),
    Fleet("deployed", USUAL_POOL),
    Fleet("tls", secure=True),
    Fleet("tls-large", LARGE_POOL, secure=True),
    Fleet("tunnel", tunnel=True),
    Fleet("cache", cached=True),
)


CACHING = (PURE, COMPILED, "nginx", "nginx-current", "haproxy", "haproxy-current")


@dataclass(frozen=True)
class Bar:
    """An upper bound for one form of the gateway: `factor` times what `of` takes; `factor` itself if `of` is empty."""

    factor: float
    of: str = ""
    form: str = PURE

    def __str__(self) -> str:
        return f"<= {self.factor:g} x {self.of}" if self.of else f"<= {self.factor:g}"

    def met(self, value: float, others: Mapping[str, float]) -> bool | None:
        """Whether `value` passes; None when what it is held against was not measured."""
        if not self.of:
            return value <= self.factor
        return value <= self.factor * others[self.of] if self.of in others else None


def bars(of: str, pure: float, compiled: float) -> tuple[Bar, Bar]:
    """One bound for each form."""
    return Bar(pure, of), Bar(compiled, of, COMPILED)


@dataclass(frozen=True)
class Scenario:
    """One kind of traffic.

    `kind` is get, post, limited (the gateway alone counts rates), paced (at a fixed rate, whatever the answers take),
    websocket, tls, handshake (full ones, and nothing else), resumed (a new connection for each, with the ticket of the
    last), http2, idle-http or idle-websocket.
    """

    name: str
    title: str
    kind: str
    connections: int
    unit: str
    target: str = "/"
    body: int = 0
    bars: tuple[Bar, ...] = field(default=())
    fleet: Fleet = PLAIN
    lasting: int = 1
    """How many times as long as others its rounds are: what is measured is requests, not the opening of thousands of
    connections before them."""
    current: bool = False
    """Whether today's releases of the peers are measured as well."""

    def rounds(self, most: int) -> int:
        """How many of a run's rounds it takes part in: without a bar, two say enough."""
        return most if self.bars else min(most, 2)

    def wanted(self, peer: str) -> bool:
        """Whether a bar of this scenario needs `peer`: the gateway itself, or one that it is held against."""
        return peer in (PURE, COMPILED) or any(bar.of == peer for bar in self.bars)

    @property
    def idle(self) -> bool:
        """Measured by waiting, not by load."""
        return self.kind.startswith("idle")


HANDSHAKE = "us/handshake"
REQUEST, MESSAGE, PER_MIB, KIB, SHARE = "us/request", "us/message", "us/MiB", "KiB/connection", "% of a core"
LATENCY = "ms, p99"

GROWING = (32, 100, 1000, 3000, 10_000)
"""Connections over which the same rate is spread, to see what connections cost by themselves."""

SCENARIOS = (
    Scenario("get-1k", "GET 1 KiB, 32 connections", "get", 32, REQUEST, "/1k",
             bars=(*bars("nginx", 1.3, 1.0), *bars("haproxy", 1.05, 0.85), Bar(0.6, "caddy")), current=True),
    Scenario("get-1k-deployed", "GET 1 KiB, 1,000 connections, usual pools", "get", 1000, REQUEST, "/1k",
             bars=bars("nginx", 0.8, 0.7), fleet=DEPLOYED, lasting=2),
    Scenario("get-1k-1000", "GET 1 KiB, 1,000 connections, large pools", "get", 1000, REQUEST, "/1k",
             bars=(Bar(1.2, "haproxy"),), fleet=LARGE, lasting=2),
    Scenario("get-1k-3000", "GET 1 KiB, 3,000 connections, large pools", "get", 3000, REQUEST, "/1k", fleet=LARGE,
             lasting=3),
    Scenario("limited-1k", "GET 1 KiB, rates counted", "limited", 32, REQUEST, "/1k", bars=bars("get-1k", 1.05, 1.05)),
    Scenario("hit-1k", "GET 1 KiB, stored by the proxy", "get", 32, REQUEST, "/1k", fleet=CACHED),
    Scenario("hit-64k", "GET 64 KiB, stored by the proxy", "get", 32, REQUEST, "/64k", fleet=CACHED),
    Scenario("post-1k", "POST 1 KiB", "post", 32, REQUEST, "/post", 1024, bars=(Bar(1.6, "nginx"),)),
    Scenario("get-64k", "GET 64 KiB", "get", 32, REQUEST, "/64k", bars=bars("nginx", 1.05, 0.95), current=True),
    Scenario("get-10m", "GET 10 MiB", "get", 8, PER_MIB, "/10m", bars=(*bars("nginx", 0.2, 0.2), Bar(0.6, "haproxy"))),
    Scenario("upload-10m", "upload 10 MiB", "post", 8, PER_MIB, "/upload", 10 * MIB, bars=bars("nginx", 0.35, 0.35)),
    *(Scenario(f"paced-{count}", f"GET 1 KiB at a fixed rate, {count:,} connections", "paced", count, REQUEST, "/1k")
      for count in GROWING),
    Scenario("p99-1k", "GET 1 KiB at a fixed rate, 64 connections: latency", "paced", 64, LATENCY, "/1k", lasting=2,
             current=True),
    Scenario("websocket-125", "WebSocket echo, 125 B", "websocket", 32, MESSAGE, body=125, fleet=TUNNEL,
             bars=(Bar(1.1, BARE), Bar(1.1, "nginx", COMPILED))),
    Scenario("websocket-16k", "WebSocket echo, 16 KiB", "websocket", 32, MESSAGE, body=16384, fleet=TUNNEL,
             bars=(Bar(1.1, BARE), Bar(0.45, "nginx", COMPILED))),
    Scenario("tls-1k", "TLS, GET 1 KiB, 32 connections", "tls", 32, REQUEST, "/1k", fleet=SECURE,
             bars=(*bars("nginx", 1.3, 1.1), Bar(0.7, "caddy")), current=True),
    Scenario("tls-handshake", "TLS handshake", "handshake", 4, HANDSHAKE, bars=(Bar(1.5, "nginx"),), fleet=SECURE),
    Scenario("tls-resumed", "TLS session resumed and GET 1 KiB", "resumed", 32, REQUEST, "/1k", fleet=SECURE),
    Scenario("http2-1k", "HTTP/2 over TLS, GET 1 KiB, 32 connections x 10 streams", "http2", 32, REQUEST, "/1k",
             bars=(*bars("nginx", 2.2, 1.6), *bars("caddy", 0.4, 0.3), Bar(1.0, "envoy")), fleet=SECURE, current=True),
    Scenario("http2-1k-large", "HTTP/2 over TLS, GET 1 KiB, 32 connections x 10 streams, large pools", "http2", 32,
             REQUEST, "/1k", fleet=SECURE_LARGE),
    Scenario("idle-http", "memory of an idle connection", "idle-http", 3000, KIB, "/1k", bars=(Bar(2.0),)),
    Scenario("idle-cpu", "3,000 idle connections", "idle-http", 3000, SHARE, "/1k", bars=(Bar(1.0),)),
    Scenario("idle-websocket", "memory of an idle WebSocket", "idle-websocket", 1000, KIB, body=125, bars=(Bar(10.0),),
             fleet=TUNNEL),
)  # fmt: skip


def groups(scenarios: Sequence[Scenario]) -> list[list[Scenario]]:
    """Scenarios that are held against each other stand together, to be measured in the same rounds."""
    leaders = {scenario.name: [scenario] for scenario in scenarios}
    for scenario in scenarios:
        for bar in scenario.bars:
            if bar.of in leaders and scenario.name in leaders:
                leaders[bar.of].extend(leaders.pop(scenario.name))
    return list(leaders.values())
