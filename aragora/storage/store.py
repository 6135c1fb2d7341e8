"""Debates and their event logs in SQLite or PostgreSQL; one code for both.

**Fencing.** `append` first moves `last_seq` of the debate's row from the value its caller expects, under the
caller's lease token and only while the debate is not over, and inserts the events in the same transaction. Of two
runners, two cancellations or a runner and a cancellation, exactly one passes; the others learn why not. The primary
key (debate_id, seq) would stop them even if that row were wrong.
"""

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import ReturningUpdate

from aragora.debate.events import Draft, Event, EventType
from aragora.debate.limits import DEBATES_PAGE_DEFAULT, EVENTS_PAGE, LONGEST_TITLE
from aragora.debate.spec import DebateSpec
from aragora.debate.status import Status
from aragora.errors import AragoraError, Conflict, DebateEnded, LeaseLost, SeqConflict
from aragora.settings import Settings
from aragora.storage import listing, migrations, notifications
from aragora.storage.engine import Database, open_database
from aragora.storage.leases import Leases
from aragora.storage.ledger import Hold, Ledger, Settlement, admit, settled
from aragora.storage.notifications import Notifications, Recipient
from aragora.storage.presets import Presets
from aragora.storage.records import UNBOUNDED, DebateRecord, Lease, Limits, Origin, Page
from aragora.storage.rows import (
    ID_FORM,
    LISTED,
    cursor_of,
    event_of,
    event_row,
    no_such,
    position_of,
    record_of,
    search_text,
    slug,
    summary,
)
from aragora.storage.shares import Shares
from aragora.storage.tables import RUNNABLE, debates, events
from aragora.storage.tokens import ApiTokens

_ID_BATCH = 500
PIECE = 50  # events that are read without a pause


# Statements of the hot paths are built once: putting one together costs more than carrying it out.
_ONE = sa.select(*LISTED).where(debates.c.id == sa.bindparam("b_id"))
_EVENTS = (
    sa.select(events)
    .where(events.c.debate_id == sa.bindparam("b_id"), events.c.seq > sa.bindparam("b_since"))
    .order_by(events.c.seq)
    .limit(sa.bindparam("b_limit", type_=sa.Integer))
)
_INSERT = sa.insert(events)


def _move(*conditions: sa.ColumnElement[bool]) -> ReturningUpdate[Any]:
    """Moves the end of a debate's log, if it may be moved."""
    return (
        sa.update(debates)
        .where(debates.c.id == sa.bindparam("b_id"), RUNNABLE, *conditions)
        .values(last_seq=debates.c.last_seq + sa.bindparam("b_count"), updated_at=sa.bindparam("b_at"))
        .returning(debates.c.last_seq, debates.c.owner)
    )


_AT_END = debates.c.last_seq == sa.bindparam("b_expected")
_HELD = (debates.c.lease_token == sa.bindparam("b_token"), debates.c.lease_owner == sa.bindparam("b_owner"))
# By whether the caller names the end it expects, and whether it holds a lease.
_MOVES = {
    (False, False): _move(),
    (True, False): _move(_AT_END),
    (False, True): _move(*_HELD),
    (True, True): _move(_AT_END, *_HELD),
}


def _new_row(spec: DebateSpec, title: str | None, metadata: Mapping[str, Any] | None, now: float) -> dict[str, Any]:
    """The columns of a debate that no runner has begun yet."""
    debate_id = f"adhoc_{secrets.token_hex(13)}"
    title = title or spec.question[:LONGEST_TITLE]
    return {
        "id": debate_id,
        "slug": slug(spec.question, debate_id),
        "title": title,
        "spec": spec.to_json(),
        "metadata": dict(metadata or {}),
        "is_public": False,
        "search": search_text(spec.question, title),
        "status": Status.CREATED.value,
        "rounds_used": 0,
        "consensus_reached": False,
        "confidence": 0.0,
        "created_at": now,
        "updated_at": now,
        "last_seq": 0,
        "lease_token": 0,
        "lease_expires": 0.0,
    }


class Store:
    """Opened after fork, one per process; every method is one short transaction.

    Every method raises `Unavailable` when the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.leases = Leases(database)
        self.ledger = Ledger(database)
        self.tokens = ApiTokens(database)
        self.shares = Shares(database)
        self.presets = Presets(database)
        self.notifications = Notifications(database)

    @classmethod
    def open(cls, settings: Settings) -> "Store":
        """Connect and bring the tables up to date when the settings allow it.

        Raises `SettingsError` when the database cannot be used as it is.
        """
        store = cls(open_database(settings))
        try:
            if settings.migrate:
                migrations.upgrade(store.database)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def ping(self) -> None:
        """Ask the database one trivial question."""
        with self.database.reading() as connection:
            connection.execute(sa.select(sa.literal(1)))

    def migrations_current(self) -> bool:
        """Whether the tables have exactly the shape this code was written for."""
        return migrations.revision(self.database) == migrations.HEAD

    def create(
        self,
        spec: DebateSpec,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        request_hash: str | None = None,
        owner: str = "",
        limits: Limits = UNBOUNDED,
        least: Hold | None = None,
        origin: Origin | None = None,
        recipients: Sequence[Recipient] = (),
    ) -> DebateRecord:
        """A new debate; or the one that was made with the same idempotency key and request.

        `owner` is whose it is, `limits` what that owner may spend, and `least` what the first question takes, None
        where no question costs anything. `origin` is what it came of, `recipients` are notified of its end. Raises
        `Conflict` when the key was used for another request, and `TooManyRequests` when the owner may not begin
        another debate.
        """
        now = time.time()
        row = _new_row(spec, title, metadata, now) | {
            "idempotency_key": idempotency_key,
            "request_hash": request_hash,
            "owner": owner,
        }
        debate_id = row["id"]
        inherited: list[Event] = []
        if origin is not None:
            inherited = [
                Event(seq, draft.type, now, draft.round, draft.agent, draft.data)
                for seq, draft in enumerate(origin.drafts, 1)
            ]
            row |= {"parent_id": origin.parent_id, "relation": origin.relation.value, "last_seq": len(inherited)}
            row |= summary(origin.drafts, now)
        if idempotency_key is not None and (before := self._created_before(idempotency_key, request_hash)) is not None:
            return before
        try:
            with self.database.writing() as connection:
                admit(connection, owner, limits, least, now)
                connection.execute(sa.insert(debates).values(row))
                notifications.insert(connection, debate_id, recipients)
                if inherited:
                    connection.execute(_INSERT, [event_row(debate_id, event) for event in inherited])
        except IntegrityError:
            if idempotency_key is None:
                raise
            if (before := self._created_before(idempotency_key, request_hash)) is None:
                raise Conflict("the debate of this Idempotency-Key was just deleted") from None
            return before
        return self.get(debate_id)

    def _created_before(self, key: str, request_hash: str | None) -> DebateRecord | None:
        query = sa.select(debates.c.request_hash, *LISTED).where(debates.c.idempotency_key == key)
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is not None and row.request_hash != request_hash:
            raise Conflict("this Idempotency-Key was used for another request")
        return None if row is None else record_of(row)

    def get(self, debate_id: str) -> DebateRecord:
        """One debate; raises `NotFound`."""
        if ID_FORM.match(debate_id):
            with self.database.reading() as connection:
                row = connection.execute(_ONE, {"b_id": debate_id}).one_or_none()
            if row is not None:
                return record_of(row)
        raise no_such(debate_id)

    def page(
        self,
        limit: int = DEBATES_PAGE_DEFAULT,
        cursor: str | None = None,
        status: Status | None = None,
        q: str | None = None,
        owner: str | None = None,
        parent: str | None = None,
    ) -> Page:
        """Debates, newest first, of this status, owner and parent that have each word of `q`, or words that it is
        a part of, in question, title or answer.

        Raises `BadRequest` for a cursor that is not ours.
        """
        conditions: list[sa.ColumnElement[bool]] = []
        if status:
            conditions.append(debates.c.status == status.value)
        if parent is not None:
            conditions.append(debates.c.parent_id == parent)
        if owner is not None:
            conditions.append(debates.c.owner == owner)
        after = position_of(cursor) if cursor else None
        found = listing.newest(self.database, limit + 1, after, conditions, listing.having(q or ""))
        more = len(found) > limit
        return Page(tuple(found[:limit]), cursor_of(found[limit - 1]) if more else None)

    def update(
        self,
        debate_id: str,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        is_public: bool | None = None,
    ) -> DebateRecord:
        """Change what is not None; raises `NotFound`."""
        record = self.get(debate_id)
        values: dict[str, Any] = {"updated_at": max(time.time(), record.updated_at)}
        if title is not None:
            values |= {"title": title, "search": search_text(record.spec.question, title)}
        if metadata is not None:
            values["metadata"] = dict(metadata)
        if is_public is not None:
            values["is_public"] = is_public
        with self.database.writing() as connection:
            connection.execute(sa.update(debates).where(debates.c.id == debate_id).values(values))
        return self.get(debate_id)

    def delete(self, debate_id: str) -> None:
        """Remove the debate and its events; raises `NotFound`. Its runner fails at the next append."""
        with self.database.writing() as connection:
            gone = connection.execute(sa.delete(debates).where(debates.c.id == debate_id)).rowcount
        if not gone:
            raise no_such(debate_id)

    def events(self, debate_id: str, since: int = 0, limit: int = EVENTS_PAGE) -> list[Event]:
        """Stored events with `seq` > `since`, in order; raises `NotFound`."""
        given = {"b_id": debate_id, "b_since": since, "b_limit": limit}
        with self.database.reading() as connection:
            found = [event_of(row) for row in connection.execute(_EVENTS, given)]
        if not found:
            self.get(debate_id)
        return found

    def select(
        self, debate_id: str, types: Iterable[EventType], limit: int | None = None, offset: int = 0
    ) -> tuple[list[Event], int]:
        """Events of some types in order, from the `offset`-th on, and how many there are in all."""
        wanted = (events.c.debate_id == debate_id, events.c.type.in_([kind.value for kind in types]))
        query = sa.select(events).where(*wanted).order_by(events.c.seq).limit(limit).offset(offset)
        with self.database.reading() as connection:
            total: int = connection.execute(sa.select(sa.func.count()).select_from(events).where(*wanted)).scalar_one()
            found = [event_of(row) for row in connection.execute(query)]
        if not total:
            self.get(debate_id)
        return found, total

    def each(self, record: DebateRecord, types: Iterable[EventType]) -> Iterator[Event]:
        """The events of some types that `record` knows of, in order, read in small pieces with a pause after each.

        What it takes to read, or to pass over, ten thousand at once, everything else in the process would wait for.
        """
        of_types = events.c.type.in_([kind.value for kind in types])
        for since in range(0, record.last_seq, PIECE):
            piece = (events.c.debate_id == record.id, events.c.seq.between(since + 1, since + PIECE), of_types)
            with self.database.reading() as connection:
                found = [
                    event_of(row) for row in connection.execute(sa.select(events).where(*piece).order_by(events.c.seq))
                ]
            yield from found
            time.sleep(0)

    def history(self, debate_id: str, since: int = 0) -> list[Event]:
        """Every event with `seq` > `since`, read in pieces with a pause after each; raises `NotFound`."""
        found: list[Event] = []
        while piece := self.events(debate_id, found[-1].seq if found else since, PIECE):
            found += piece
            time.sleep(0)
        return found

    def heads(self, debate_ids: Iterable[str]) -> dict[str, int]:
        """The newest `seq` of each debate that exists."""
        wanted = list(debate_ids)
        found: dict[str, int] = {}
        with self.database.reading() as connection:
            for start in range(0, len(wanted), _ID_BATCH):
                batch = debates.c.id.in_(wanted[start : start + _ID_BATCH])
                rows = connection.execute(sa.select(debates.c.id, debates.c.last_seq).where(batch))
                found.update((row.id, row.last_seq) for row in rows)
        return found

    def append(
        self,
        debate_id: str,
        expected_seq: int | None,
        drafts: Sequence[Draft],
        *,
        lease: Lease | None,
        at: float,
        settlements: Sequence[Settlement] = (),
    ) -> list[Event]:
        """Store drafts behind event `expected_seq` (None: at the end, wherever that is) and return them as events.

        `settlements` are what the answers among them took.
        Raises `SeqConflict`, `LeaseLost`, `DebateEnded` or `NotFound`, and stores nothing.
        """
        move = _MOVES[expected_seq is not None, lease is not None]
        if changed := summary(drafts, at):
            move = move.values(changed)
        given = {"b_id": debate_id, "b_count": len(drafts), "b_at": at}
        if expected_seq is not None:
            given["b_expected"] = expected_seq
        if lease is not None:
            given |= {"b_owner": lease.owner, "b_token": lease.token}
        with self.database.writing() as connection:
            moved = connection.execute(move, given).one_or_none()
            if moved is None:
                raise _refusal(connection, debate_id, expected_seq)
            first = moved.last_seq - len(drafts) + 1
            added = [
                Event(seq, draft.type, at, draft.round, draft.agent, draft.data)
                for seq, draft in enumerate(drafts, first)
            ]
            connection.execute(_INSERT, [event_row(debate_id, event) for event in added])
            settled(connection, debate_id, moved.owner, settlements)
            if any(draft.type is EventType.DEBATE_END for draft in drafts):
                notifications.ended(connection, debate_id, at)
        return added


def _refusal(connection: Connection, debate_id: str, expected_seq: int | None) -> AragoraError:
    query = sa.select(debates.c.status, debates.c.last_seq).where(debates.c.id == debate_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return no_such(debate_id)
    if Status(row.status).final:
        return DebateEnded(f"the debate has ended: {row.status}")
    if expected_seq is not None and row.last_seq != expected_seq:
        return SeqConflict(f"the log ends at {row.last_seq}, not at {expected_seq}")
    return LeaseLost("another process holds the debate")
