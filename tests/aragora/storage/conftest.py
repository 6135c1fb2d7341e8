"""Every storage test runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator

import pytest

from aragora.settings import Settings
from aragora.storage import Store
from tests.aragora.storage.databases import (
    empty_environ,
    environ,
    postgresql,
    postgresql_template,
    settings,
    sqlite_template,
)

__all__ = ["empty_environ", "environ", "postgresql", "postgresql_template", "settings", "sqlite_template", "store"]


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """An open store with current tables."""
    opened = Store.open(settings)
    yield opened
    opened.close()
