"""Where debates live: one Store over SQLite or PostgreSQL, and the notification of changes."""

from aragora.storage.changes import ChangeFeed, FeedStatus, Subscription
from aragora.storage.records import DebateRecord, Lease, Page
from aragora.storage.store import Store

__all__ = ["ChangeFeed", "DebateRecord", "FeedStatus", "Lease", "Page", "Store", "Subscription"]
