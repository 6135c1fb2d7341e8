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
    cache_dir: Annotated[
        Path | None, Setting(kinds.PATH, "directory of what is stored; default: cache in the state directory")
    ] = None
    cache_size: Annotated[int, Setting(kinds.BOUND, "most bytes of all stored responses")] = 1 << 30
    cache_entries: Annotated[int, Setting(kinds.COUNT, "most stored responses")] = 100_000
