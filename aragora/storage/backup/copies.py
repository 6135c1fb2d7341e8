"""Make a copy, read it back, make it the database again; whichever database it is."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aragora.settings import Settings
from aragora.storage import migrations
from aragora.storage.backup import encryption, postgresql, sqlite
from aragora.storage.backup.contents import BackupFailed, Contents, contents
from aragora.storage.engine import open_database, sqlite_path


@dataclass(frozen=True, slots=True)
class Copy:
    """A verified copy, or a restored and verified database."""

    path: Path
    size: int
    debates: int
    events: int


def kind(settings: Settings) -> str:
    """The end of a copy's name."""
    return ("db" if _is_sqlite(settings) else "dump") + (".age" if settings.backup_recipient else "")


def back_up(settings: Settings, target: Path, *, force: bool = False) -> Copy:
    """Copy the database to `target`; raises `BackupFailed`, and then leaves no file behind."""
    if target.exists() and not target.is_file():
        raise BackupFailed(f"{target} is no file: name one, or a directory")
    if target.exists() and not force:
        raise BackupFailed(f"{target} exists: name another file, or overwrite it with --force")
    partial = target.with_name(target.name + ".partial")
    sealed = target.with_name(target.name + ".sealed.partial")
    try:
        _empty(partial)
        if _is_sqlite(settings):
            sqlite.copy(sqlite_path(settings), partial)
        else:
            postgresql.dump(settings, partial)
        found = _reader(partial)(partial)
        finished = partial
        if settings.backup_recipient:
            _empty(sealed)
            encryption.seal(partial, sealed, settings.backup_recipient)
            finished = sealed
        sqlite.sync(finished)
        finished.replace(target)
        sqlite.sync(target.parent)
    except OSError as error:
        raise BackupFailed(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        for left in (partial, sealed, *sqlite.side_files(partial)):
            left.unlink(missing_ok=True)
    return Copy(target, target.stat().st_size, *found)


def verify(source: Path, identity: Path | None = None) -> Copy:
    """Read a copy from its first byte to its last; raises `BackupFailed` unless it could be restored."""
    _must_exist(source)
    with encryption.opened(source, identity) as plain:
        found = _reader(plain)(plain)
    return Copy(source, source.stat().st_size, *found)


def restore(settings: Settings, source: Path, *, force: bool = False, identity: Path | None = None) -> Copy:
    """Make the copy in `source` the database; raises `BackupFailed` and then changes nothing.

    Without `force` an existing database is refused. Nothing else may use it meanwhile.
    """
    _must_exist(source)
    with encryption.opened(source, identity) as plain:
        fits = sqlite.examine if _is_sqlite(settings) else postgresql.examine
        if _reader(plain) is not fits:
            wanted = "a SQLite file" if _is_sqlite(settings) else "a dump of PostgreSQL"
            raise BackupFailed(f"{source} does not fit DATABASE_URL: {wanted} is wanted")
        if _is_sqlite(settings):
            found = sqlite.put_back(plain, sqlite_path(settings), force=force)
        else:
            found = postgresql.put_back(settings, plain, force=force)
    database = open_database(settings)
    try:
        migrations.upgrade(database)
        if contents(database) != found:
            raise BackupFailed("the restored database does not hold what the copy holds")
    finally:
        database.close()
    return Copy(source, source.stat().st_size, *found)


def _is_sqlite(settings: Settings) -> bool:
    return not settings.database_url or settings.database_url.startswith("sqlite")


def _reader(plain: Path) -> Callable[[Path], Contents]:
    """What examines this file, by its first bytes; raises `BackupFailed`."""
    with plain.open("rb") as stream:
        beginning = stream.read(len(sqlite.MAGIC))
    if beginning == sqlite.MAGIC:
        return sqlite.examine
    if beginning.startswith(postgresql.MAGIC):
        return postgresql.examine
    raise BackupFailed(f"{plain} is not a copy of an aragora database")


def _empty(path: Path) -> None:
    """Make the file, for its owner alone: the copy holds everything that was ever said."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _must_exist(source: Path) -> None:
    if not source.is_file():
        raise BackupFailed(f"{source}: no such file")
