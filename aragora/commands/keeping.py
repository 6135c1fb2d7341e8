"""``migrate``, ``backup`` and ``restore``: looking after the database, on the machine that can reach it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path

from aragora.commands.exits import FINE, Parser
from aragora.settings import Settings
from aragora.storage import backup, migrations
from aragora.storage.engine import open_database


def add_migrate(migrate: Parser) -> None:
    """The arguments of ``migrate``."""
    _add_json(migrate)
    migrate.set_defaults(run=run_migrate)


def add_backup(copy: Parser) -> None:
    """The arguments of ``backup``."""
    _add_json(copy)
    copy.add_argument("file", nargs="?", help="default: aragora-DATE.db or .dump in the current directory")
    copy.add_argument("--force", action="store_true", help="overwrite an existing file")
    copy.set_defaults(run=run_backup)


def add_restore(restore: Parser) -> None:
    """The arguments of ``restore``."""
    _add_json(restore)
    restore.add_argument("file")
    restore.add_argument("--force", action="store_true", help="replace an existing database")
    restore.set_defaults(run=run_restore)


def _add_json(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="JSON instead of words")


def run_migrate(given: argparse.Namespace, settings: Settings) -> int:
    """Migrate and say whether anything had to be done."""
    database = open_database(settings)
    try:
        done = migrations.upgrade(database)
    finally:
        database.close()
    if given.json:
        print(json.dumps({"migrated": done, "revision": migrations.HEAD}))
    else:
        print(f"the tables are at revision {migrations.HEAD}{'' if done else ', as they were'}")
    return FINE


def run_backup(given: argparse.Namespace, settings: Settings) -> int:
    """Copy and verify."""
    kind = "dump" if settings.database_url.startswith("postgres") else "db"
    name = given.file or f"aragora-{datetime.now(UTC):%Y%m%d-%H%M%S}.{kind}"
    return _tell(given, "copied to", backup.back_up(settings, Path(name), force=given.force))


def run_restore(given: argparse.Namespace, settings: Settings) -> int:
    """Restore and verify."""
    return _tell(given, "restored from", backup.restore(settings, Path(given.file), force=given.force))


def _tell(given: argparse.Namespace, what: str, copy: backup.Copy) -> int:
    if given.json:
        print(json.dumps(dataclasses.asdict(copy) | {"path": str(copy.path)}))
    else:
        print(f"{copy.debates} debates with {copy.events} events {what} {copy.path} ({copy.size} bytes), verified")
    return FINE
