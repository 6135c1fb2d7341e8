"""How much a client may send, take and open, and where bodies wait."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from proxy.settings.table.row import Reload, Setting, routed
from proxy.settings.values import kinds, web
from proxy.settings.values.web import Key, Rate

CLIENT = Key("client")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes in bytes."""

    __slots__ = ()
    GROUP: ClassVar = "Limits"

    max_request_line: Annotated[int, Setting(kinds.BOUND, "longest request line; beyond it 414")] = 8190
    max_field: Annotated[int, Setting(kinds.BOUND, "longest field line; beyond it 431 (gunicorn's own limit)")] = 8190
    max_fields: Annotated[
        int, Setting(kinds.COUNT, "most fields of a request, including those the gateway adds; beyond it 431")
    ] = 100
    max_head: Annotated[int, Setting(kinds.BOUND, "largest request head; beyond it 431")] = 32 << 10
    max_body: Annotated[int, routed(kinds.LIMIT, "largest request body; beyond it 413; 0 or 'off': no limit")] = (
        50 << 20
    )
    max_response_head: Annotated[int, Setting(kinds.BOUND, "largest head of an upstream's response; beyond it 502")] = (
        64 << 10
    )
    max_connections: Annotated[int, Setting(kinds.COUNT, "most client connections per worker")] = 16384
    max_client_connections: Annotated[
        int,
        Setting(
            web.NUMBER,
            "most connections per client address, over all workers and, with 'shared_limits', gateways; 0: no limit",
        ),
    ] = 0
    max_client_websockets: Annotated[
        int,
        Setting(web.NUMBER, "most WebSockets per client address, counted in the same way; beyond it 429; 0: no limit"),
    ] = 0
    min_rate: Annotated[
        int,
        routed(
            kinds.SIZE,
            "slowest average, in bytes per second, of a buffered request body after its first 10 s; below it 408; 0: "
            "any rate",
        ),
    ] = 500
    min_read_rate: Annotated[
        int,
        routed(
            kinds.SIZE,
            "slowest rate, in bytes per second, at which a client may take a response, averaged over each "
            "write_timeout; 0: any rate",
        ),
    ] = 240
    rate: Annotated[Rate | None, routed(web.RATE, "requests per client, such as 20/s; beyond it 429")] = None
    burst: Annotated[
        int, routed(web.NUMBER, "requests per client that may arrive at once; 0: as many as in one second of 'rate'")
    ] = 0
    rate_by: Annotated[Key, routed(web.RATE_BY, "what identifies a client for the rate")] = CLIENT
    rate_keys: Annotated[
        int,
        Setting(
            kinds.COUNT, "clients remembered for rates and limits; the oldest are forgotten", reload=Reload.RESTART
        ),
    ] = 65536


@dataclass(frozen=True, kw_only=True)
class Buffers:
    """Sizes in bytes."""

    __slots__ = ()
    GROUP: ClassVar = "Buffers"

    request_buffering: Annotated[
        bool, routed(kinds.SWITCH, "read a request body completely before forwarding the request")
    ] = True
    response_buffering: Annotated[
        bool, routed(kinds.SWITCH, "read a response from the upstream faster than a slow client takes it")
    ] = True
    body_memory: Annotated[
        int, Setting(kinds.SIZE, "part of a request body kept in memory; the rest goes to a temporary file")
    ] = 64 << 10
    response_memory: Annotated[
        int,
        Setting(kinds.SIZE, "part of a response kept in memory for a slow client; the rest goes to a temporary file"),
    ] = 64 << 10
    response_spool: Annotated[
        int, Setting(kinds.SIZE, "most bytes of one response kept on disk for a slow client; 0: wait for the client")
    ] = 1 << 30
    spool_total: Annotated[
        int,
        Setting(
            kinds.LIMIT,
            "most bytes of all bodies on disk, over all workers; responses may use half of it, then they wait for "
            "their clients",
        ),
    ] = 4 << 30
    spool_dir: Annotated[
        Path | None, Setting(kinds.PATH, "directory for the temporary files; default: the system's")
    ] = None
