"""Every storage test runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator

import pytest

from aragora.settings import Settings
from aragora.storage import Store
from tests.aragora.storage.databases import environ, postgresql, settings

__all__ = ["environ", "postgresql", "settings", "store"]


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """An open store with current tables."""
    opened = Store.open(settings)
    yield opened
    opened.close()
