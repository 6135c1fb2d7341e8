"""Where debates live: one Store over SQLite or PostgreSQL, and the notification of changes."""

from aragora.storage.backup import LastBackup, last_backup
from aragora.storage.changes import ChangeFeed, FeedStatus
from aragora.storage.engine import load_driver
from aragora.storage.leases import Backlog
from aragora.storage.ledger import Granted, Hold, Settlement, Shortage
from aragora.storage.records import (
    ApiToken,
    DayOfSpending,
    DebateRecord,
    Lease,
    Limits,
    Origin,
    Page,
    Relation,
    Scope,
    Spending,
)
from aragora.storage.store import Store
from aragora.storage.topic import Subscription
from aragora.storage.words import Piece

__all__ = [
    "ApiToken",
    "Backlog",
    "ChangeFeed",
    "DayOfSpending",
    "DebateRecord",
    "FeedStatus",
    "Granted",
    "Hold",
    "LastBackup",
    "Lease",
    "Limits",
    "Origin",
    "Page",
    "Piece",
    "Relation",
    "Scope",
    "Settlement",
    "Shortage",
    "Spending",
    "Store",
    "Subscription",
    "last_backup",
    "load_driver",
]
