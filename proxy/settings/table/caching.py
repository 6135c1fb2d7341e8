"""The cache of responses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from proxy.settings.table.row import Setting, routed
from proxy.settings.values import kinds


@dataclass(frozen=True, kw_only=True)
class Caching:
    """Responses of upstreams that are stored and sent again."""

    __slots__ = ()
    GROUP: ClassVar = "Cache"

    cache: Annotated[
        bool,
        routed(
            kinds.SWITCH,
            "store responses that the upstream allows to be stored (Cache-Control, Expires, Vary), and send them again",
        ),
    ] = False
    cache_ttl: Annotated[
        float,
        routed(kinds.DURATION, "with cache: how long responses are fresh of which the upstream says nothing; 0: never"),
    ] = 0.0
    cache_stale_if_error: Annotated[
        float,
        routed(
            kinds.DURATION,
            "how much longer stored responses are sent while the upstream fails or is down, unless they say so",
        ),
    ] = 0.0
    cache_wait: Annotated[
        float,
        routed(
            kinds.DURATION,
            "how long requests wait for another one that asks the upstream for the same; 0: each asks for itself",
        ),
    ] = 5.0
    cache_dir: Annotated[
        Path | None, Setting(kinds.PATH, "directory of what is stored; default: cache in the state directory")
    ] = None
    cache_size: Annotated[int, Setting(kinds.BOUND, "most bytes of all stored responses")] = 1 << 30
    cache_entries: Annotated[int, Setting(kinds.COUNT, "most stored responses")] = 100_000
