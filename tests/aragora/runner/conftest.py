"""A process' parts, as often as a test needs them."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aragora.runner import Runner
from aragora.service import Debates
from aragora.settings import Settings
from aragora.storage import ChangeFeed, Store
from tests.aragora.runner.agents import Scripted
from tests.aragora.storage.databases import environ, postgresql, postgresql_template, settings, sqlite_template

__all__ = ["environ", "postgresql", "postgresql_template", "settings", "sqlite_template"]


@dataclasses.dataclass
class Parts:
    """What one process runs."""

    store: Store
    feed: ChangeFeed
    runner: Runner
    debates: Debates
    agent: Scripted

    def close(self) -> None:
        self.runner.drain(5)
        self.feed.close()
        self.store.close()


@pytest.fixture
def process(settings: Settings) -> Iterator[Callable[..., Parts]]:
    """Starts another process' parts on the same database."""
    started: list[Parts] = []

    def start(**options: Any) -> Parts:
        store = Store.open(settings)
        feed = ChangeFeed(store, settings)
        feed.start()
        agent = Scripted()
        runner = Runner(store, feed, {}, build=agent.build, **{"lease_ttl": 30.0} | options)
        parts = Parts(store, feed, runner, Debates(store, feed, {}), agent)
        started.append(parts)
        runner.start()
        return parts

    yield start
    for parts in started:
        parts.agent.hold.set()
        parts.close()
