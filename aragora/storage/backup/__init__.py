"""Copies of the database that are checked before they are reported.

SQLite is copied with its own online backup: readers and writers go on meanwhile, and the copy is one consistent file.
PostgreSQL is dumped with `pg_dump -Fc` in one snapshot and restored with `pg_restore` in one transaction. A copy is
written beside its target, verified there, encrypted if a recipient is set, and gets its name last; a target therefore
is never half a copy.
"""

from aragora.storage.backup.contents import BackupFailed
from aragora.storage.backup.copies import Copy, back_up, kind, restore, verify
from aragora.storage.backup.directory import BackupDirectory, LastBackup, last_backup, note_backup

__all__ = [
    "BackupDirectory",
    "BackupFailed",
    "Copy",
    "LastBackup",
    "back_up",
    "kind",
    "last_backup",
    "note_backup",
    "restore",
    "verify",
]
