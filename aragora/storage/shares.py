"""Share links: unguessable keys, each of which lets its holder read one debate."""

import re
import secrets

import sqlalchemy as sa

from aragora.errors import NotFound
from aragora.storage.engine import Database
from aragora.storage.records import DebateRecord
from aragora.storage.rows import LISTED, no_such, record_of
from aragora.storage.tables import debates

_KEY = re.compile(r"[A-Za-z0-9_-]{32}")


class Shares:
    """One key for a debate at most."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, debate_id: str) -> str:
        """The debate's key, made at the first call; raises `NotFound`."""
        free = debates.c.share_key.is_(None)
        make = sa.update(debates).where(debates.c.id == debate_id, free).values(share_key=secrets.token_urlsafe(24))
        with self._database.writing() as connection:
            connection.execute(make)
            found = connection.execute(sa.select(debates.c.share_key).where(debates.c.id == debate_id)).one_or_none()
        if found is None:
            raise no_such(debate_id)
        return str(found.share_key)

    def remove(self, debate_id: str) -> None:
        """Withdraw the key; the next one is another. Raises `NotFound`."""
        with self._database.writing() as connection:
            change = sa.update(debates).where(debates.c.id == debate_id).values(share_key=None)
            if not connection.execute(change).rowcount:
                raise no_such(debate_id)

    def find(self, key: str) -> DebateRecord:
        """The debate with this key; raises `NotFound`."""
        row = None
        if _KEY.fullmatch(key):
            with self._database.reading() as connection:
                row = connection.execute(sa.select(*LISTED).where(debates.c.share_key == key)).one_or_none()
        if row is None:
            raise NotFound("nothing is shared at this address")
        return record_of(row)
