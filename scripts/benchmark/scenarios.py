"""What is measured, in which unit, and how much of it the gateway may cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MIB = 1024 * 1024
PLAIN, DEPLOYED, SECURE, TUNNEL = FLEETS = ("http", "deployed", "tls", "tunnel")


@dataclass(frozen=True)
class Bar:
    """An upper bound: `factor` times what `of` takes, or `factor` itself where `of` is empty."""

    factor: float
    of: str = ""

    def __str__(self) -> str:
        return f"<= {self.factor:g} x {self.of}" if self.of else f"<= {self.factor:g}"

    def met(self, value: float, others: Mapping[str, float]) -> bool | None:
        """Whether `value` passes; None when what it is held against was not measured."""
        if not self.of:
            return value <= self.factor
        return value <= self.factor * others[self.of] if self.of in others else None


@dataclass(frozen=True)
class Scenario:
    """One kind of traffic.

    `kind` is get, post, limited (the gateway alone counts rates), deployed (each proxy with its usual pool), websocket,
    tls, handshake (full ones, and nothing else), resumed (a new connection for each, with the ticket of the last),
    http2, idle-http or idle-websocket.
    """

    name: str
    title: str
    kind: str
    connections: int
    unit: str
    target: str = "/"
    body: int = 0
    bars: tuple[Bar, ...] = field(default=())
    lasting: int = 1
    """How many times as long as others its rounds are: what is measured is requests, not the opening of thousands of
    connections before them."""

    def wanted(self, peer: str) -> bool:
        """Whether a bar of this scenario needs `peer`: the gateway itself, or one that it is held against."""
        return peer == "proxy" or any(bar.of == peer for bar in self.bars)

    @property
    def idle(self) -> bool:
        """Measured by waiting, not by load."""
        return self.kind.startswith("idle")

    @property
    def fleet(self) -> str:
        """Which servers it is measured with: with the WebSocket origin, with TLS, with usual pools, or plain ones."""
        if self.kind == "deployed":
            return DEPLOYED
        if self.kind.endswith("websocket"):
            return TUNNEL
        return SECURE if self.kind in ("tls", "handshake", "resumed", "http2") else PLAIN


HANDSHAKE = "us/handshake"
REQUEST, MESSAGE, PER_MIB, KIB, SHARE = "us/request", "us/message", "us/MiB", "KiB/connection", "% of a core"

SCENARIOS = (
    Scenario("get-1k", "GET 1 KiB, 32 connections", "get", 32, REQUEST, "/1k",
             bars=(Bar(1.4, "nginx"), Bar(1.05, "haproxy"), Bar(0.6, "caddy"))),
    Scenario("get-1k-1000", "GET 1 KiB, 1,000 connections", "get", 1000, REQUEST, "/1k",
             bars=(Bar(1.0, "nginx"), Bar(1.2, "haproxy")), lasting=2),
    Scenario("get-1k-deployed", "GET 1 KiB, 1,000 connections, usual pools", "deployed", 1000, REQUEST, "/1k",
             bars=(Bar(1.0, "nginx"), Bar(1.2, "haproxy")), lasting=2),
    Scenario("get-1k-3000", "GET 1 KiB, 3,000 connections", "get", 3000, REQUEST, "/1k", bars=(Bar(1.3, "get-1k"),),
             lasting=5),
    Scenario("limited-1k", "GET 1 KiB, rates counted", "limited", 32, REQUEST, "/1k", bars=(Bar(1.05, "get-1k"),)),
    Scenario("post-1k", "POST 1 KiB", "post", 32, REQUEST, "/post", 1024, bars=(Bar(1.6, "nginx"),)),
    Scenario("get-64k", "GET 64 KiB", "get", 32, REQUEST, "/64k", bars=(Bar(1.1, "nginx"),)),
    Scenario("get-10m", "GET 10 MiB", "get", 8, PER_MIB, "/10m", bars=(Bar(0.35, "nginx"), Bar(0.6, "haproxy"))),
    Scenario("upload-10m", "upload 10 MiB", "post", 8, PER_MIB, "/upload", 10 * MIB, bars=(Bar(1.0, "nginx"),)),
    Scenario("websocket-125", "WebSocket echo, 125 B", "websocket", 32, MESSAGE, body=125, bars=(Bar(1.1, "nginx"),)),
    Scenario("websocket-16k", "WebSocket echo, 16 KiB", "websocket", 32, MESSAGE, body=16384,
             bars=(Bar(0.4, "nginx"),)),
    Scenario("tls-1k", "TLS, GET 1 KiB, 32 connections", "tls", 32, REQUEST, "/1k",
             bars=(Bar(1.8, "nginx"), Bar(0.7, "caddy"))),
    Scenario("tls-handshake", "TLS handshake", "handshake", 4, HANDSHAKE,
             bars=(Bar(1.5, "nginx"),)),
    Scenario("tls-resumed", "TLS session resumed and GET 1 KiB", "resumed", 32, REQUEST, "/1k"),
    Scenario("http2-1k", "HTTP/2 over TLS, GET 1 KiB, 32 connections x 10 streams", "http2", 32, REQUEST, "/1k",
             bars=(Bar(0.9, "caddy"),)),
    Scenario("idle-http", "memory of an idle connection", "idle-http", 3000, KIB, "/1k", bars=(Bar(2.0),)),
    Scenario("idle-cpu", "3,000 idle connections", "idle-http", 3000, SHARE, "/1k", bars=(Bar(1.0),)),
    Scenario("idle-websocket", "memory of an idle WebSocket", "idle-websocket", 1000, KIB, body=125, bars=(Bar(10.0),)),
)  # fmt: skip


def groups(scenarios: Sequence[Scenario]) -> list[list[Scenario]]:
    """Scenarios that are held against each other stand together, to be measured in the same rounds."""
    leaders = {scenario.name: [scenario] for scenario in scenarios}
    for scenario in scenarios:
        for bar in scenario.bars:
            if bar.of in leaders:
                leaders[bar.of].extend(leaders.pop(scenario.name))
    return list(leaders.values())
