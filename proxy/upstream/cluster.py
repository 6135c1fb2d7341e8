"""The peers of one application and the choice among them."""

from collections.abc import Sequence
from itertools import count

from proxy.upstream.pool import Pool


class Cluster:
    """Peers that serve the same application; requests go round them in turn."""

    def __init__(self, pools: Sequence[Pool]) -> None:
        self.pools = tuple(pools)
        self._turn = count()

    def in_turn(self) -> Sequence[Pool]:
        """All peers in the order in which this request should try them: each request begins one further."""
        pools = self.pools
        if len(pools) == 1:
            return pools
        first = next(self._turn) % len(pools)
        return pools[first:] + pools[:first]

    def close(self) -> None:
        for pool in self.pools:
            pool.close()
