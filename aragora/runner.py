"""Advances debates: claims a lease, asks the agents, stores what they say, until nothing is left to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aragora.storage import ChangeFeed, Store


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """For metrics and /ready."""

    running: int
    capacity: int
    draining: bool


class Runner:
    """One per process. Any number of processes may run on one store: a lease decides who advances which debate."""

    def __init__(
        self,
        store: Store,
        feed: ChangeFeed,
        agents_environ: Mapping[str, str],
        *,
        capacity: int = 1000,
        lease_ttl: float = 9.0,
    ) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Begin to claim debates, in background threads (greenlets)."""
        raise NotImplementedError

    def wake(self) -> None:
        """Look for a debate to claim now (one was just created)."""
        raise NotImplementedError

    def drain(self, grace: float) -> None:
        """Claim no more and hand every lease over at once; returns within ``grace`` seconds."""
        raise NotImplementedError

    def status(self) -> RunnerStatus:
        """What it does now."""
        raise NotImplementedError
