"""Building the caches of routes from their settings."""

from pathlib import Path

from proxy.cache.index import Purge, Totals
from proxy.cache.invalidation import Invalidation
from proxy.cache.route_cache import RouteCache
from proxy.cache.route_store import RouteStore
from proxy.cache.store import Store
from proxy.exchange.route import Rewrite
from proxy.observe.metrics import Counters
from proxy.settings import RouteSettings
from proxy.settings.values.template import names
from proxy.upstream.cluster import Cluster
from proxy.wire.via import Via


class Stores:
    """The stores of this process by their settings: a reload keeps those that stay the same."""

    def __init__(self) -> None:
        self._stores: dict[tuple[Path, int, int], Store] = {}

    def at(self, directory: Path, most_bytes: int, most_entries: int) -> Store:
        """The store in a directory, within these bounds."""
        key = directory, most_bytes, most_entries
        store = self._stores.get(key)
        if store is None:
            store = self._stores[key] = Store(directory, most_bytes, most_entries)
            store.sweep()
        return store

    def totals(self) -> Totals:
        """What the store has that was opened last: a reload with other bounds opens the same directory anew."""
        return next(reversed(self._stores.values())).index.totals() if self._stores else Totals()

    def purge(self, which: Purge, value: str) -> int | None:
        """Remove what is meant from all of them: how many, None if there is no cache or one cannot be written to."""
        counts = [store.purge(which, value) for store in self._stores.values()]
        removed = [count for count in counts if count is not None]
        return sum(removed) if removed and len(removed) == len(counts) else None


def build_cache(
    route: RouteSettings,
    stores: Stores,
    cluster: Cluster,
    rewrite: Rewrite | None,
    via: Via,
    counters: Counters,
    *,
    beside: bool,
) -> RouteCache | Invalidation | None:
    """Where a route's responses are stored, if they are; `beside` routes with that, what its writes make invalid."""
    settings = route.settings
    if settings.cache_place is None or not (settings.stores or (beside and settings.upstream)):
        return None
    store = stores.at(settings.cache_place, settings.cache_size, settings.cache_entries)
    times = settings.cache_ttl, settings.cache_stale_if_error, settings.cache_wait
    cohort = cluster.cohort if cluster.rolls_out else None
    kept = RouteStore(route.name, store, rewrite, via, counters.cached, *times, cohort=cohort)
    if not settings.stores:
        return Invalidation(kept)
    rewritten = (settings.rewrite, *(value for _, value in settings.set_request_fields))
    return RouteCache(kept, remembers=not any("request_id" in names(text) for text in rewritten))
