"""Messages that are sent when a debate ends: kept with the debate, and sent at least once.

A message becomes due in the transaction that ends its debate, so that none is lost with a process. Its sender
takes it for a while first; one whose sender died is due again when that time is over, under the same id.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from aragora.debate.status import Status
from aragora.errors import DebateEnded, TooManyRequests
from aragora.storage.engine import Database
from aragora.storage.rows import no_such
from aragora.storage.tables import debates, notifications

TAKEN = 60.0  # seconds for which a message is its sender's


class NotificationKind(StrEnum):
    """The form of a message: signed JSON, or what Slack and those like it take."""

    WEBHOOK = "webhook"
    SLACK = "slack"


class Delivery(StrEnum):
    """`WAITING` for the end of the debate or for the next try; the others are final."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where a message goes, and by which secret it is signed."""

    kind: NotificationKind
    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Notification:
    """A message and what became of it; `next_at` in unix seconds, None before its debate has ended and at the end."""

    id: str
    debate_id: str
    recipient: Recipient
    state: Delivery
    attempts: int
    next_at: float | None
    problem: str | None


class Notifications:
    """Kept, taken, and told what became of them; each is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, debate_id: str) -> list[Notification]:
        """Those of a debate, in a fixed order."""
        mine = sa.select(notifications).where(notifications.c.debate_id == debate_id).order_by(notifications.c.id)
        with self._database.reading() as connection:
            return [_notification(row) for row in connection.execute(mine)]

    def add(self, debate_id: str, recipient: Recipient, most: int) -> Notification:
        """Send a message when the debate ends; raises `NotFound`, `DebateEnded` and `TooManyRequests` beyond `most`."""
        with self._database.writing() as connection:
            held = sa.select(debates.c.status).where(debates.c.id == debate_id).with_for_update()
            status = connection.execute(held).scalar_one_or_none()
            if status is None:
                raise no_such(debate_id)
            if Status(status).final:
                raise DebateEnded(f"the debate has ended: {status}")
            mine = sa.select(sa.func.count()).where(notifications.c.debate_id == debate_id)
            if connection.execute(mine).scalar_one() >= most:
                raise TooManyRequests(f"a debate has at most {most} notifications")
            row = insert(connection, debate_id, [recipient])[0]
            found = connection.execute(sa.select(notifications).where(notifications.c.id == row["id"])).one()
        return _notification(found)

    def take(self, limit: int) -> list[Notification]:
        """Up to `limit` messages that are due; they are the caller's for `TAKEN` seconds."""
        now = self._database.now()
        due = (
            sa.select(notifications.c.id)
            .where(notifications.c.state == Delivery.WAITING.value, notifications.c.next_at <= now)
            .limit(limit)
        )
        with self._database.reading() as connection:
            # The usual answer is "nothing": found without the write lock.
            if connection.execute(due.limit(1)).first() is None:
                return []
        chosen = due.order_by(notifications.c.next_at).with_for_update(skip_locked=True).cte("chosen")
        take = (
            sa.update(notifications)
            .where(notifications.c.id.in_(sa.select(chosen.c.id)))
            .values(attempts=notifications.c.attempts + 1, next_at=now + TAKEN)
            .returning(notifications)
        )
        with self._database.writing() as connection:
            return [_notification(row) for row in connection.execute(take)]

    def settle(self, taken: Notification, state: Delivery, problem: str | None, delay: float | None) -> None:
        """Say what became of a message; one that waits on is due again after `delay` seconds."""
        next_at = None if delay is None else self._database.now() + delay
        mine = (notifications.c.id == taken.id, notifications.c.attempts == taken.attempts)
        change = sa.update(notifications).where(*mine).values(state=state.value, problem=problem, next_at=next_at)
        with self._database.writing() as connection:
            connection.execute(change)


def insert(connection: Connection, debate_id: str, recipients: Sequence[Recipient]) -> list[dict[str, Any]]:
    """The rows of messages that wait for the debate's end, within the transaction of `connection`."""
    rows: list[dict[str, Any]] = [
        {
            "id": str(uuid.uuid4()),
            "debate_id": debate_id,
            "kind": recipient.kind.value,
            "url": recipient.url,
            "secret": recipient.secret,
            "state": Delivery.WAITING.value,
            "attempts": 0,
        }
        for recipient in recipients
    ]
    if rows:
        connection.execute(sa.insert(notifications), rows)
    return rows


def ended(connection: Connection, debate_id: str, at: float) -> None:
    """The debate's messages are due, within the transaction that ends it."""
    mine = (notifications.c.debate_id == debate_id, notifications.c.next_at.is_(None))
    connection.execute(sa.update(notifications).where(*mine).values(next_at=at))


def _notification(row: sa.Row[Any]) -> Notification:
    recipient = Recipient(NotificationKind(row.kind), row.url, row.secret)
    state = Delivery(row.state)
    return Notification(row.id, row.debate_id, recipient, state, row.attempts, row.next_at, row.problem)
