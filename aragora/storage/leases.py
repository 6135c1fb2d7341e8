"""Leases: which process advances which debate.

A lease is (owner, fencing number, expiry) in the debate's row. The number grows with each claim, and every append
names it, so a process that was suspended past its lease can wake and still write nothing. Expiry only decides when
another process may try; it is measured by the database's clock where several machines meet.
"""

from typing import NamedTuple

import sqlalchemy as sa

from aragora.storage.engine import Database
from aragora.storage.records import Lease
from aragora.storage.tables import RUNNABLE, debates

_HOLDS = sa.select(debates.c.id).where(
    RUNNABLE,
    debates.c.id == sa.bindparam("b_id"),
    debates.c.lease_owner == sa.bindparam("b_owner"),
    debates.c.lease_token == sa.bindparam("b_token"),
)


class Backlog(NamedTuple):
    """Unfinished debates of the whole database."""

    unfinished: int
    waiting: int  # those that no runner advances
    silence: float  # seconds since the last event of the one that has been silent longest


class Leases:
    """Claim, renew and release; each is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, owner: str, ttl: float, limit: int = 1) -> list[Lease]:
        """Take up to `limit` unfinished debates, oldest first, that no runner holds; for `ttl` seconds."""
        now = self._database.now()
        free = sa.select(debates.c.id).where(RUNNABLE, debates.c.lease_expires <= now).limit(limit)
        with self._database.reading() as connection:
            # The usual answer is "nothing": found without the write lock.
            if connection.execute(free.limit(1)).first() is None:
                return []
        chosen = free.order_by(debates.c.created_at).with_for_update(skip_locked=True).cte("chosen")
        take = (
            sa.update(debates)
            .where(debates.c.id.in_(sa.select(chosen.c.id)))
            .values(lease_owner=owner, lease_token=debates.c.lease_token + 1, lease_expires=now + ttl)
            .returning(debates.c.id, debates.c.lease_token, debates.c.created_at)
        )
        with self._database.writing() as connection:
            taken = sorted(connection.execute(take), key=lambda row: row.created_at)
        return [Lease(row.id, owner, row.lease_token) for row in taken]

    def renew(self, owner: str, ttl: float) -> set[Lease]:
        """Extend every lease of `owner` to `ttl` seconds from now; those it still holds."""
        extend = (
            sa.update(debates)
            .where(RUNNABLE, debates.c.lease_owner == owner)
            .values(lease_expires=self._database.now() + ttl)
            .returning(debates.c.id, debates.c.lease_token)
        )
        with self._database.writing() as connection:
            return {Lease(row.id, owner, row.lease_token) for row in connection.execute(extend)}

    def backlog(self) -> Backlog:
        """How many debates are unfinished, and whether they move."""
        now = self._database.now()
        waiting = sa.case((debates.c.lease_expires <= now, 1), else_=0)
        query = sa.select(
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(waiting), 0),
            sa.func.coalesce(sa.func.max(now - debates.c.updated_at), 0.0),
        ).where(RUNNABLE)
        with self._database.reading() as connection:
            unfinished, idle, silence = connection.execute(query).one()
        return Backlog(unfinished, idle, max(0.0, silence))

    def holds(self, lease: Lease) -> bool:
        """Whether the debate is unfinished and still this lease's."""
        given = {"b_id": lease.debate_id, "b_owner": lease.owner, "b_token": lease.token}
        with self._database.reading() as connection:
            return connection.execute(_HOLDS, given).first() is not None

    def release_all(self, owner: str) -> int:
        """Release every lease of `owner`; how many."""
        free = (
            sa.update(debates)
            .where(RUNNABLE, debates.c.lease_owner == owner)
            .values(lease_owner=None, lease_expires=0.0)
        )
        with self._database.writing() as connection:
            return connection.execute(free).rowcount
