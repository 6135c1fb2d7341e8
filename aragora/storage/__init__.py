"""Where debates live: one Store over SQLite or PostgreSQL, and the notification of changes."""

from aragora.storage.backup import LastBackup, last_backup
from aragora.storage.changes import ChangeFeed, FeedStatus, Subscription
from aragora.storage.engine import load_driver
from aragora.storage.leases import Backlog
from aragora.storage.records import DebateRecord, Lease, Page
from aragora.storage.store import Store

__all__ = [
    "Backlog",
    "ChangeFeed",
    "DebateRecord",
    "FeedStatus",
    "LastBackup",
    "Lease",
    "Page",
    "Store",
    "Subscription",
    "last_backup",
    "load_driver",
]
