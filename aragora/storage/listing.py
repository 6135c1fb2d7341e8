"""Debates in the order of lists, newest first, and those among them that have the words of a search.

Words may be anywhere in a text, so a search reads every debate until it has found enough. It reads them in pieces: what
ten thousand at once take, everything else in the process would wait for.
"""

import time
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from aragora.storage.engine import Database
from aragora.storage.records import DebateRecord
from aragora.storage.rows import LISTED, folded, record_of
from aragora.storage.tables import debates

MOST_WORDS = 12  # of a search that count
PIECE = 500  # debates whose texts are read without a pause

Place = tuple[float, str]
Conditions = Sequence[sa.ColumnElement[bool]]
_PLACE = sa.tuple_(debates.c.created_at, debates.c.id)
_NEWEST = (debates.c.created_at.desc(), debates.c.id.desc())


def having(search: str) -> Conditions:
    """What makes a debate one that has each word of `search`, or words that it is a part of."""
    return [
        debates.c.search.contains(word, autoescape=True) | debates.c.answer_search.contains(word, autoescape=True)
        for word in folded(search).split()[:MOST_WORDS]
    ]


def newest(
    database: Database, limit: int, after: Place | None, conditions: Conditions, words: Conditions
) -> list[DebateRecord]:
    """At most `limit` debates behind the place `after` that meet `conditions`, and `words`, which are slow to check."""
    found: list[DebateRecord] = []
    while True:
        left = [*conditions] if after is None else [*conditions, sa.tuple_(*after) > _PLACE]
        with database.reading() as connection:
            last = _end_of_piece(connection, left) if words else None
            piece = left if last is None else [*left, sa.tuple_(*last) <= _PLACE]
            query = sa.select(*LISTED).where(*piece, *words).order_by(*_NEWEST).limit(limit - len(found))
            found += [record_of(row) for row in connection.execute(query)]
        if last is None or len(found) == limit:
            return found
        after = last
        time.sleep(0)


def _end_of_piece(connection: Connection, left: Conditions) -> Place | None:
    """The place of the last debate of the next piece; None where fewer are left."""
    query = sa.select(debates.c.created_at, debates.c.id).where(*left).order_by(*_NEWEST).offset(PIECE - 1).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.created_at, row.id)
