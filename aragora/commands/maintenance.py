"""`migrate`, `backup` and `restore`: looking after the database, on the machine that can reach it."""

import argparse
import dataclasses
import json
import time
from pathlib import Path

from aragora.commands.exit_codes import FINE, Parser, UsageError
from aragora.settings import Settings
from aragora.storage import backup, migrations
from aragora.storage.engine import open_database


def add_migrate(migrate: Parser) -> None:
    """The arguments of `migrate`."""
    _add_json(migrate)
    migrate.add_argument(
        "--to", metavar="REVISION", help="take the tables back for an older version; what only newer ones hold is lost"
    )
    migrate.set_defaults(run=run_migrate)


def add_backup(copy: Parser) -> None:
    """The arguments of `backup` and `backup verify`."""
    _add_json(copy)
    copy.add_argument(
        "words",
        nargs="*",
        metavar="FILE | DIRECTORY | verify FILE",
        help="where to; into a directory (default: the current one) copies go under dated names; "
        "`verify` reads existing copies back instead",
    )
    copy.add_argument("--keep", type=int, metavar="N", help="afterwards remove all but the N newest of the directory")
    copy.add_argument("--force", action="store_true", help="overwrite an existing file")
    _add_identity(copy)
    copy.set_defaults(run=run_backup)


def add_restore(restore: Parser) -> None:
    """The arguments of `restore`."""
    _add_json(restore)
    restore.add_argument("file")
    restore.add_argument("--force", action="store_true", help="replace an existing database")
    _add_identity(restore)
    restore.set_defaults(run=run_restore)


def _add_identity(command: Parser) -> None:
    command.add_argument("--identity", type=Path, metavar="FILE", help="age's secret key, to read an encrypted copy")


def _add_json(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="JSON instead of words")


def run_migrate(given: argparse.Namespace, settings: Settings) -> int:
    """Migrate and say whether anything had to be done."""
    database = open_database(settings)
    try:
        done = migrations.upgrade(database) if given.to is None else migrations.downgrade(database, given.to)
    finally:
        database.close()
    revision = given.to or migrations.HEAD
    if given.json:
        print(json.dumps({"migrated": done, "revision": revision}))
    else:
        print(f"the tables are at revision {revision}{'' if done else ', as they were'}")
    return FINE


def run_backup(given: argparse.Namespace, settings: Settings) -> int:
    """Copy and verify; or only verify what is there."""
    if given.words[:1] == ["verify"]:
        return _verify(given)
    if len(given.words) > 1:
        raise UsageError("backup: one file or directory at a time")
    target = Path(*given.words)
    if given.keep is not None and (given.keep < 1 or not target.is_dir()):
        raise UsageError("--keep: at least 1, and in a directory")
    at = time.time()
    if not target.is_dir():
        copy = backup.back_up(settings, target, force=given.force)
    else:
        directory = backup.BackupDirectory(target)
        with directory.held():
            copy = backup.back_up(settings, directory.place(backup.kind(settings), at), force=given.force)
            if given.keep is not None:
                directory.keep(given.keep)
    backup.note_backup(settings, backup.LastBackup(at, str(copy.path.absolute()), copy.size))
    return _tell(given, "copied to", copy)


def _verify(given: argparse.Namespace) -> int:
    if len(given.words) < 2:
        raise UsageError("backup verify: name at least one copy")
    for name in given.words[1:]:
        _tell(given, "in", backup.verify(Path(name), given.identity))
    return FINE


def run_restore(given: argparse.Namespace, settings: Settings) -> int:
    """Restore and verify."""
    copy = backup.restore(settings, Path(given.file), force=given.force, identity=given.identity)
    return _tell(given, "restored from", copy)


def _tell(given: argparse.Namespace, what: str, copy: backup.Copy) -> int:
    if given.json:
        print(json.dumps(dataclasses.asdict(copy) | {"path": str(copy.path)}))
    else:
        print(f"{copy.debates} debates with {copy.events} events {what} {copy.path} ({copy.size} bytes), verified")
    return FINE
