"""Connections: SQLite with its pragmas, or PostgreSQL through psycopg 3; and what differs between the two.

Made after the fork, one engine per process. SQLite calls block the whole process (and under gevent its hub) for the
microseconds they take, so every transaction is short, and writers of one process queue on a lock of ours: a greenlet
must never wait inside SQLite for a lock that another greenlet of the same hub holds. psycopg waits through `select`,
which gevent patches; psycopg notices that at its import and leaves its C wait aside, so the import happens here, late.
"""

import json
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from aragora.errors import SettingsError, Unavailable
from aragora.settings import Settings

FILE = "aragora.db"
PREPARE = 5  # a statement is prepared when it comes again so often, psycopg's own default
_UNDEFINED_TABLE = "42P01"
_MISTAKES = frozenset({"IntegrityError", "DataError", "ProgrammingError", "NotSupportedError"})


class Database:
    """An engine with its two kinds of transactions. `path` is the SQLite file, None on PostgreSQL.

    Nothing waits for longer than `patience` seconds.
    """

    def __init__(self, engine: Engine, path: Path | None, patience: float) -> None:
        self.engine = engine
        self.path = path
        self._patience = patience
        self._writing = threading.Lock()

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot; raises `Unavailable` when the database does not answer."""
        with _answering(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, committed at the end; an exception rolls it back."""
        with (
            _answering(),
            self._turn(),
            self.engine.connect().execution_options(aragora_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The writers of one process go one by one to a SQLite file."""
        if self.path is None:
            yield
            return
        if not self._writing.acquire(timeout=self._patience):
            raise Unavailable("the database does not answer: other writers wait for it too", retry_after=1.0)
        try:
            yield
        finally:
            self._writing.release()

    def now(self) -> sa.ColumnElement[float]:
        """The clock that leases are measured by.

        On PostgreSQL its own: runners on several machines need not agree. SQLite lives on one machine.
        """
        if self.path is None:
            return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)
        return sa.literal(time.time(), sa.Double)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


@contextmanager
def _answering() -> Iterator[None]:
    """Failures of the database, as opposed to failures of a statement, become `Unavailable`.

    The driver's own errors are looked at, wrapped by SQLAlchemy or not: what an event hook raises comes bare.
    """
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable("the database has no free connection", retry_after=1.0) from error
    except Exception as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        if "no such table" in str(cause) or getattr(cause, "sqlstate", None) == _UNDEFINED_TABLE:
            raise Unavailable("the database has no tables yet: run aragora migrate") from error
        invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
        if invalidated or _is_failure(cause):
            raise Unavailable(f"the database does not answer: {first_line(cause)}", retry_after=1.0) from error
        raise


def _is_failure(error: BaseException) -> bool:
    """Whether a driver's error says that the database failed, and not that it was asked wrongly (PEP 249).

    InternalError has a PostgreSQL that became read-only, DatabaseError itself a file that is no database any more.
    """
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return ("DatabaseError" in kinds and _MISTAKES.isdisjoint(kinds)) or "InterfaceError" in kinds


def first_line(error: BaseException | None) -> str:
    """What a driver says, without its statement, parameters or later lines."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def open_database(settings: Settings) -> Database:
    """The database that `settings` name; raises `SettingsError` for a URL or directory that cannot be used.

    No connection is made yet.
    """
    if not settings.database_url or settings.database_url.startswith("sqlite"):
        return _sqlite(settings)
    return _postgresql(settings)


def load_driver(settings: Settings) -> None:
    """Import what the database of `settings` needs, where one import serves many processes; connects to nothing."""
    if not settings.database_url or settings.database_url.startswith("sqlite"):
        import sqlalchemy.dialects.sqlite

        return
    import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401

    try:
        import psycopg  # noqa: F401
    except ImportError:
        pass  # opening the database says what is missing


def sqlite_path(settings: Settings) -> Path:
    """The file of the SQLite database."""
    if settings.database_url:
        database = sa.make_url(settings.database_url).database
        if not database or database == ":memory:":
            raise SettingsError("DATABASE_URL: SQLite in memory is not shared by processes; name a file")
        return Path(database).absolute()
    return settings.data_dir / FILE


def _sqlite(settings: Settings) -> Database:
    path = sqlite_path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingsError(
            f"ARAGORA_DATA_DIR: cannot make {path.parent}: {error.strerror}; name a directory you may write to"
        ) from None
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": settings.database_timeout, "check_same_thread": False},
        json_serializer=_json,
        pool_size=settings.database_pool,
        pool_timeout=settings.database_timeout,
        max_overflow=0,
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return Database(engine, path, settings.database_timeout)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # None: the driver begins no transactions of its own, so that ours can be IMMEDIATE.
    connection.isolation_level = None
    _locking(connection, "PRAGMA journal_mode = WAL")
    # In WAL mode NORMAL keeps every commit through a crash of the process, kill -9 included, and never corrupts the
    # file; a crash of the machine may lose the last moments. FULL would cost an fsync for each event.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_size_limit = 67108864")


def _begin_sqlite(connection: Connection) -> None:
    driver: Any = connection.connection.dbapi_connection
    if connection.get_execution_options().get("aragora_write"):
        # IMMEDIATE takes the write lock first: a read that turns into a write could only fail with SQLITE_BUSY.
        _locking(driver, "BEGIN IMMEDIATE")
    else:
        # A transaction begins to read at its first SELECT, and would wait for its lock there.
        _locking(driver, "BEGIN", "SELECT 1 FROM sqlite_schema LIMIT 1")


def _locking(driver: Any, *statements: str) -> None:
    """Carry out what takes a lock of the file; raises `sqlite3.OperationalError` when it stays taken for too long.

    While another process holds it we sleep here, not in SQLite's busy handler: this sleep lets other greenlets run.
    """
    patience = driver.execute("PRAGMA busy_timeout").fetchone()[0]
    deadline = time.monotonic() + patience / 1000
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                for statement in statements:
                    driver.execute(statement).fetchall()
                return
            except sqlite3.OperationalError as error:
                if driver.in_transaction:
                    driver.execute("ROLLBACK")
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.0005, 0.003))  # noqa: S311 - spreads waiting writers, hides nothing
    finally:
        driver.execute(f"PRAGMA busy_timeout = {patience}")


def _postgresql(settings: Settings) -> Database:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise SettingsError("DATABASE_URL names PostgreSQL: install aragora-gateway[postgres]") from None
    try:
        url = sa.make_url(settings.database_url).set(drivername="postgresql+psycopg")
    except (SQLAlchemyError, ValueError):
        raise SettingsError("DATABASE_URL: not a URL; write postgresql://user:password@host/name") from None
    milliseconds = int(settings.database_timeout * 1000)
    limits = f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={milliseconds}"
    engine = sa.create_engine(
        url,
        connect_args={
            "connect_timeout": max(2, int(settings.database_timeout)),
            "application_name": "aragora",
            "options": url.query.get("options", limits),
            "prepare_threshold": PREPARE if settings.database_prepare else None,
        },
        json_serializer=_json,
        pool_size=settings.database_pool,
        pool_timeout=settings.database_timeout,
        max_overflow=0,
        # A connection that a restart of the server closed is replaced instead of failing a request.
        pool_pre_ping=True,
        pool_recycle=1800,
    )
    return Database(engine, None, settings.database_timeout)


def _json(value: object) -> str:
    # ASCII: escapes carry half surrogates and NUL from a model's answer through either database.
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
