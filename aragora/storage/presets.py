"""Presets: councils that are kept under a name, as requests are written."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from aragora.errors import NotFound, TooManyRequests
from aragora.storage.engine import Database
from aragora.storage.tables import presets

MOST = 200  # of one owner
_SAVE = sa.text(
    "INSERT INTO presets (owner, name, body, updated_at) VALUES (:owner, :name, :body, :at) "
    "ON CONFLICT (owner, name) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at"
).bindparams(sa.bindparam("body", type_=sa.JSON))


@dataclass(frozen=True, slots=True)
class Preset:
    """One of them; `updated_at` is in unix seconds."""

    owner: str
    name: str
    body: Mapping[str, Any]
    updated_at: float


class Presets:
    """Each owner's own; which callers may see which is the service's decision."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, owner: str, name: str, body: Mapping[str, Any]) -> Preset:
        """Keep `body` under this name, in place of what was there; raises `TooManyRequests`."""
        at = time.time()
        mine = sa.select(sa.func.count()).select_from(presets).where(presets.c.owner == owner, presets.c.name != name)
        with self._database.writing() as connection:
            if connection.execute(mine).scalar_one() >= MOST:
                raise TooManyRequests(f"there are {MOST} presets already: remove one first")
            connection.execute(_SAVE, {"owner": owner, "name": name, "body": dict(body), "at": at})
        return Preset(owner, name, body, at)

    def of(self, owners: tuple[str, ...]) -> list[Preset]:
        """All that these owners have, by name."""
        query = sa.select(presets).where(presets.c.owner.in_(owners)).order_by(presets.c.name, presets.c.owner)
        with self._database.reading() as connection:
            return [_preset(row) for row in connection.execute(query)]

    def remove(self, owner: str, name: str) -> None:
        """Forget one; raises `NotFound`."""
        gone = sa.delete(presets).where(presets.c.owner == owner, presets.c.name == name)
        with self._database.writing() as connection:
            if not connection.execute(gone).rowcount:
                raise no_such(name)


def no_such(name: str) -> NotFound:
    """The error of a name that no preset has."""
    return NotFound(f"no preset {name[:80]!r}")


def _preset(row: sa.Row[Any]) -> Preset:
    return Preset(row.owner, row.name, row.body, row.updated_at)
