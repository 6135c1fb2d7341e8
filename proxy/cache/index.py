"""The index of what is stored: a database in the cache's directory, which all workers of all gateways there share.

Losing it costs misses, no more: it is never synced to the disk, and rebuilt when it cannot be read. Its methods raise
nothing for what the disk or another process did.
"""

import sqlite3
import weakref
from collections.abc import Callable, Iterator
from enum import Enum
from hashlib import blake2b
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar

from proxy.cache.stamps import Stamps
from proxy.log import log

_VERSION: Final = 6
"""Of the tables: others are dropped with what they describe."""
_MOST_FAILURES: Final = 4
"""Failures one after another with which it counts as damaged, whatever the library calls them."""
_PATIENCE: Final = 0.1
"""Seconds that another worker may take to write."""
_SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entry (
    key BLOB PRIMARY KEY, resource BLOB NOT NULL, url BLOB NOT NULL, route TEXT NOT NULL, status INT NOT NULL,
    lines BLOB NOT NULL, object TEXT NOT NULL, size INT NOT NULL, checksum INT NOT NULL, stored REAL NOT NULL,
    age REAL NOT NULL, lifetime REAL NOT NULL, revalidate REAL NOT NULL, error REAL NOT NULL, used REAL NOT NULL,
    tags TEXT NOT NULL, whole TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_url ON entry (url);
CREATE INDEX IF NOT EXISTS entry_used ON entry (used);
CREATE INDEX IF NOT EXISTS entry_whole ON entry (whole) WHERE whole != '';
CREATE TABLE IF NOT EXISTS resource (
    key BLOB PRIMARY KEY, varies TEXT NOT NULL, whole REAL NOT NULL, passing REAL NOT NULL, until REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS resource_until ON resource (until);
CREATE TABLE IF NOT EXISTS total (
    bytes INT NOT NULL, entries INT NOT NULL, resources INT NOT NULL, purged REAL NOT NULL
);
INSERT INTO total SELECT 0, 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM total);
CREATE TABLE IF NOT EXISTS invalidated (slot INTEGER PRIMARY KEY, moment REAL NOT NULL);
CREATE TRIGGER IF NOT EXISTS entry_added AFTER INSERT ON entry
    BEGIN UPDATE total SET bytes = bytes + new.size, entries = entries + 1; END;
CREATE TRIGGER IF NOT EXISTS entry_removed AFTER DELETE ON entry
    BEGIN UPDATE total SET bytes = bytes - old.size, entries = entries - 1; END;
CREATE TRIGGER IF NOT EXISTS resource_added AFTER INSERT ON resource
    BEGIN UPDATE total SET resources = resources + 1; END;
CREATE TRIGGER IF NOT EXISTS resource_removed AFTER DELETE ON resource
    BEGIN UPDATE total SET resources = resources - 1; END;
COMMIT;
"""

_ADDRESS: Final = "CASE substr(:value, 1, 1) WHEN x'2f' THEN substr(url, instr(substr(url, 9), x'2f') + 8) ELSE url END"
_SLOTS: Final = 16_384
"""Marks of invalidated addresses: two that share one are taken for the same."""
_INVALIDATE: Final = "INSERT OR REPLACE INTO invalidated VALUES (?, ?)"
_OUTDATED: Final = """
SELECT 1 FROM total WHERE purged BETWEEN :asked AND :now
UNION ALL SELECT 1 FROM invalidated WHERE slot = :slot AND moment BETWEEN :asked AND :now
"""
_DELETE: Final = "DELETE FROM entry WHERE {} RETURNING object, resource"
_FORMS: Final = "whole != '' AND whole IN ({})"
_AT_ONCE: Final = 500
"""Values in one condition."""
_STRETCH: Final = 1000
"""Entries that are looked at before others are served."""
_STRETCH_END: Final = f"SELECT max(key) FROM (SELECT key FROM entry WHERE key > ? ORDER BY key LIMIT {_STRETCH})"  # noqa: S608
_MOST_SHRUNK: Final = 512
"""Entries that one response makes room by."""
_OLDEST: Final = "key IN (SELECT key FROM entry ORDER BY used LIMIT 16)"
_LEARN: Final = """
INSERT INTO resource VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET
    varies = excluded.varies, whole = excluded.whole, passing = excluded.passing, until = excluded.until
"""
_FORGET: Final = """
DELETE FROM resource WHERE key IN (
    SELECT key FROM resource ORDER BY until LIMIT (SELECT min(max(resources - ?, 0), 16) FROM total)
)
"""

Result = TypeVar("Result")

Removed = list[tuple[str, bytes]]
"""Objects of entries that were removed, and the resources of which they were."""


class Entry(NamedTuple):
    """One stored response. Times are seconds, `stored` and `used` since the epoch."""

    key: bytes
    resource: bytes
    """The key of its resource, whatever its requests vary in."""
    url: bytes
    route: str
    status: int
    lines: bytes
    """Field lines without their ends, separated by line feeds."""
    object: str
    """The name of its body's file."""
    size: int
    checksum: int
    stored: float
    age: float
    """How old it was when it was stored."""
    lifetime: float
    revalidate: float
    """How long it may be used while a newer one is fetched."""
    error: float
    """How long it may be used in the place of an error."""
    used: float
    tags: str = " "
    """What its application calls it, for purges: each with a space before and behind."""
    whole: str = ""
    """The object of the body of which this is an encoded form, which goes with that entry."""


class Purge(Enum):
    """Which entries a purge means: a condition on each. An address that begins with a slash means that of all hosts."""

    URL = f"{_ADDRESS} = :value"
    PREFIX = f"substr({_ADDRESS}, 1, length(:value)) = :value"
    TAG = "instr(tags, ' ' || :text || ' ') > 0"
    ALL = "1"


class Resource(NamedTuple):
    """What is known of a resource, and until when (seconds since the epoch)."""

    varies: frozenset[bytes] = frozenset()
    """The fields that its responses vary by."""
    whole: float = 0.0
    """Until when its requests are sent as they are."""
    passing: float = 0.0
    """Until when its requests do not wait for each other."""
    until: float = 0.0


class Totals(NamedTuple):
    bytes: int = 0
    entries: int = 0


class Index:
    """One worker's connection to it. It remembers at most `most_resources`.

    Each change is marked, as soon as it can be read, for what workers remember.
    """

    def __init__(self, directory: Path, stamps: Stamps, most_resources: int) -> None:
        self._file = directory / "index.sqlite"
        self._stamps = stamps
        self._most_resources = most_resources
        self._database: sqlite3.Connection | None = None
        self._closing: weakref.finalize[..., Index] | None = None
        self._opened_file: tuple[int, int] | None = None
        self._failures = 0
        self._warned = False
        self.busy = False
        """Whether the last failure was that another process was writing."""

    def entry(self, key: bytes) -> Entry | None:
        found = self._first("SELECT * FROM entry WHERE key = ?", key)
        return None if found is None else Entry(*found)

    def resource(self, key: bytes) -> Resource | None:
        found = self._first("SELECT varies, whole, passing, until FROM resource WHERE key = ?", key)
        return None if found is None else Resource(frozenset(found[0].encode().split()), *found[1:])

    def learn(self, key: bytes, resource: Resource) -> None:
        """Remember what is known of a resource."""
        row = key, b" ".join(sorted(resource.varies)).decode("latin-1"), *resource[1:]

        def write(database: sqlite3.Connection) -> None:
            database.execute(_LEARN, row)
            database.execute(_FORGET, (self._most_resources,))

        self._do(write)
        self._stamps.change([key])

    def put(self, entry: Entry, asked: float = inf) -> list[str] | None:
        """Store an entry in the place of another with its key: the objects left unused, None if it is not stored.

        `asked`: when the application was asked for it. What it was asked for before the last purge is not stored, nor
        before its address was invalidated (RFC 9111 section 4.4): it may be what was removed then. These moments are in
        monotonic seconds, which all processes of a machine share; later ones than now are of a former start of it.
        """
        slot = _slot(entry.url)
        marks = ", ".join("?" * len(entry))

        def write(database: sqlite3.Connection) -> Removed:
            database.execute("BEGIN IMMEDIATE")
            try:
                moments = {"asked": asked, "now": monotonic(), "slot": slot}
                if database.execute(_OUTDATED, moments).fetchone() is not None:
                    raise _OutdatedError
                unused = _removed(database, "key = ?", entry.key)
                database.execute(f"INSERT INTO entry VALUES ({marks})", entry)  # noqa: S608 - question marks alone
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
            return unused

        try:
            replaced = self._do(write)
        except _OutdatedError:
            return None
        self._stamps.change([entry.resource])
        return None if replaced is None else self._marked(replaced)

    def refresh(self, entry: Entry) -> None:
        """Store an entry anew whose object stays: its fields and its age."""
        sql = (
            "UPDATE entry SET lines = ?, stored = ?, age = ?, lifetime = ?, revalidate = ?, error = ?, used = ?"
            " WHERE key = ? AND object = ?"
        )
        row = entry.lines, entry.stored, entry.age, entry.lifetime, entry.revalidate, entry.error, entry.used
        self._do(lambda database: database.execute(sql, (*row, entry.key, entry.object)))
        self._stamps.change([entry.resource])

    def use(self, key: bytes, now: float) -> None:
        """Note that an entry was used."""
        self._do(lambda database: database.execute("UPDATE entry SET used = ? WHERE key = ?", (now, key)))

    def remove(self, key: bytes, name: str) -> list[str]:
        """Forget an entry whose object cannot be used; returns the objects that went with it."""
        return self._marked(self._do(lambda database: _removed(database, "key = ? AND object = ?", key, name)))

    def invalidate(self, url: bytes, now: float) -> list[str] | None:
        """Forget all entries of an address, and store none that was asked for until now (monotonic seconds).

        Returns their objects, None if it failed.
        """
        slot = _slot(url)

        def work(database: sqlite3.Connection) -> Removed:
            database.execute(_INVALIDATE, (slot, now))
            return _removed(database, "url = ?", url)

        removed = self._do(work)
        return None if removed is None else self._marked(removed)

    def purge(self, which: "Purge", value: str, now: float) -> Iterator[list[str] | None]:
        """Forget the entries that are meant, and store none that was asked for until now (monotonic seconds).

        Gives their objects, a stretch of the index at a time, so that others can be served between two; None at the end
        if it failed. What is stored meanwhile may go with them.
        """
        values = {"value": value.encode("latin-1", "replace"), "text": value}
        where = f"key > :after AND key <= :end AND {which.value}"
        after: bytes | None = b""

        def mark(database: sqlite3.Connection) -> bool:
            return database.execute("UPDATE total SET purged = ?", (now,)).rowcount > 0

        def work(database: sqlite3.Connection) -> tuple[Removed, bytes | None]:
            (end,) = database.execute(_STRETCH_END, (after,)).fetchone()
            return [] if end is None else _removed(database, where, **values, after=after, end=end), end

        if not self._do(mark):
            yield None
            return
        while after is not None:
            stretch = self._do(work)
            if stretch is None:
                yield None
                return
            removed, after = stretch
            yield self._marked(removed)

    def totals(self) -> Totals:
        found = self._first("SELECT bytes, entries FROM total")
        return Totals() if found is None else Totals(*found)

    def shrink(self, most_bytes: int, most_entries: int) -> list[str]:
        """Forget those that were not used for longest until the rest is within bounds; returns their objects.

        After bounds have become much smaller that takes more than one call.
        """
        gone: list[str] = []
        while len(gone) < _MOST_SHRUNK:
            totals = self.totals()
            if totals.bytes <= most_bytes and totals.entries <= most_entries:
                break
            removed = self._marked(self._do(lambda database: _removed(database, _OLDEST)))
            if not removed:
                break
            gone += removed
        return gone

    def objects(self) -> frozenset[str]:
        """The objects of all entries."""
        rows = self._do(lambda database: database.execute("SELECT object FROM entry").fetchall())
        return frozenset(name for (name,) in rows or ())

    def discard(self) -> None:
        """Begin anew: what was stored is found no more, and its objects are removed with others that no entry has."""
        self.close()
        for name in (self._file, *(self._file.with_name(self._file.name + end) for end in ("-wal", "-shm"))):
            try:
                name.unlink(missing_ok=True)
            except OSError:
                pass
        self._stamps.change_all()

    def close(self) -> None:
        self._database = None
        if self._closing is not None:
            self._closing()

    def _marked(self, removed: Removed | None) -> list[str]:
        """The objects of entries that were removed, which is marked."""
        self._stamps.change({resource for _, resource in removed or ()})
        return [name for name, _ in removed or ()]

    def _first(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        return self._do(lambda database: database.execute(sql, values).fetchone())

    def _do(self, work: Callable[[sqlite3.Connection], Result]) -> Result | None:
        """What `work` gives, or None where the database cannot be used at the moment."""
        try:
            result = work(self._opened())
        except sqlite3.Error as problem:
            self._warn(problem)
            self._failures += 1
            self.busy = getattr(problem, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            passing = isinstance(problem, sqlite3.OperationalError) and self._failures < _MOST_FAILURES
            if passing or getattr(problem, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                self.close()  # another worker may have made it anew
            else:
                self.discard()
            return None
        self._failures = 0
        return result

    def _opened(self) -> sqlite3.Connection:
        """The database that the other workers have: its file may have been removed, or rebuilt."""
        if self._database is not None and self._opened_file != _file_at(self._file):
            self.close()
        if self._database is None:
            self._database = database = _open(self._file)
            self._closing = weakref.finalize(self, database.close)
            self._opened_file = _file_at(self._file)
        return self._database

    def _warn(self, problem: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning("cache index %s: %s: responses are not stored, or forgotten, meanwhile", self._file, problem)


class _OutdatedError(Exception):
    """There was a purge meanwhile, or an invalidation."""


def _slot(url: bytes) -> int:
    """Where the mark of an address is."""
    return int.from_bytes(blake2b(url, digest_size=4).digest()) % _SLOTS


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file is there: device and inode."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _open(file: Path) -> sqlite3.Connection:
    # One thread uses it, but any may be the one that collects what is dropped.
    database = sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            if version:
                raise sqlite3.DatabaseError(f"version {version} of the index is not that of this gateway")
            database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        if version != _VERSION:
            database.executescript(_SCHEMA)
            database.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:
        database.close()
        raise
    return database


def _removed(database: sqlite3.Connection, where: str, *values: object, **named: object) -> Removed:
    """Delete the entries of a condition of ours, and the encoded forms of their bodies."""
    removed: Removed = database.execute(_DELETE.format(where), named or values).fetchall()
    names = [name for name, _ in removed]
    for begin in range(0, len(names), _AT_ONCE):
        some = names[begin : begin + _AT_ONCE]
        removed += database.execute(_DELETE.format(_FORMS.format(", ".join("?" * len(some)))), some)
    return removed
