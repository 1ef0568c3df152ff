"""The database: one engine, short transactions, and tables that are always the newest.

What differs between SQLite and PostgreSQL is in this file only. SQLite is set up so that many threads and a second
process can use it at a time, and so that what was committed is on the disk:

- WAL: readers never wait for the writer, nor the writer for them.
- `synchronous=FULL`: in WAL mode NORMAL would lose the last commits at a power cut, and with them a create that a
  client was told of. The price is one fsync a write transaction, so what can be had again (a running job's steps) is
  written with NORMAL: it survives a killed process, and a power cut loses at most its last moments, never its order.
- `BEGIN IMMEDIATE` for writes: a transaction that reads first and then asks for the write lock fails at once when
  another was quicker, whatever `busy_timeout` says; asking first makes it wait in line.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from tuningfork.domain.errors import FailedPrecondition
from tuningfork.store.full_disk import told_of_full_disk

BUSY_TIMEOUT_SECONDS = 30
"""How long a writer waits for another process. Our own threads stand in line for a lock instead of polling."""

_MIGRATION_LOCK = 0x7475_6E69
"""The PostgreSQL advisory lock under which one of several starting servers migrates ("tuni")."""

Transaction: TypeAlias = Connection
"""What `Database.read` and `Database.write` hand out. The rooms above pass it on and know no more of it."""

_WRITES = "tuningfork_writes"
_DURABLE = "tuningfork_durable"


class Database:
    """Durable state. Safe for any number of threads; every transaction has a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._watching = _Watch(engine.url.database) if self._is_sqlite else None
        self._writing: AbstractContextManager[object] = threading.Lock() if self._is_sqlite else nullcontext()

    @classmethod
    def open(cls, url: str) -> "Database":
        """Connect and bring the tables to the newest revision; several processes may do so at once.

        Args:
            url: an SQLAlchemy URL, `sqlite:////path/to/file.db` or `postgresql+psycopg://...`.

        Raises:
            FailedPrecondition: a newer Tuningfork has already changed the tables, or there is no database that can be
                used: a damaged file, a directory that is not writable, a server that does not answer, no URL at all.

        """
        try:
            database = cls(_create_engine(url))
        except OSError as error:
            raise _unusable(url, error) from error
        except (ArgumentError, ImportError, ValueError) as error:
            raise _no_database(error) from error
        try:
            database._migrate()
        except DBAPIError as error:
            database.close()
            raise _unusable(url, error.orig) from error
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that sees one state of the database throughout, and writes nothing."""
        options = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Transaction]:
        """A transaction that is committed at the end, or rolled back by an exception. Keep it short.

        With `durable` false, a power cut may undo it, and with it nothing that was committed before.

        Raises:
            ResourceExhausted: the disk is full; nothing was committed.

        """
        options = {_WRITES: True, _DURABLE: durable}
        with (
            told_of_full_disk(),
            self._writing,
            self._engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            yield connection

    def version(self) -> int | None:
        """A number that is another one after any commit, by whatever process; told in microseconds and without waiting.

        What was read after it was told is true for as long as it is told again. None: nobody can know.
        """
        return None if self._watching is None else self._watching.version()

    def close(self) -> None:
        """Close all connections."""
        if self._watching is not None:
            self._watching.close()
        self._engine.dispose()

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", "tuningfork.store:migrations")
        config.set_main_option("path_separator", "os")
        # On both databases DDL is part of the transaction: a start that is killed half-way leaves the old tables.
        with self.write() as connection:
            if not self._is_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise FailedPrecondition(
                    f"The database {self._engine.url.render_as_string()} was written by a newer version of Tuningfork "
                    f"({error}). Install that version or newer, or use another data directory."
                ) from error


class _Watch:
    """A connection to a SQLite file that only looks whether others have changed it."""

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def version(self) -> int | None:
        # In memory every connection would be a database of its own.
        if not self._file or self._file == ":memory:" or self._file.startswith("file:"):
            return None
        with self._lock:
            if self._connection is None:
                self._connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
            try:
                number: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error:
                # Such as a file that cannot be read at the moment: whoever reads it will be told.
                return None
        return number

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def hold_word(connection: Transaction, word: str) -> None:
    """Let no other transaction go on that holds the same word, until this one ends.

    For PostgreSQL, where writers run side by side; on SQLite there is only ever one.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(word, 0))))


def is_duplicate(error: IntegrityError, table: str) -> bool:
    """Whether the error says that a primary key or unique value of this table is taken already."""
    message = str(error.orig)
    sqlite = f"UNIQUE constraint failed: {table}."
    postgresql = ("duplicate key value violates unique constraint", f"_{table}")
    return sqlite in message or all(part in message for part in postgresql)


def _unusable(url: str, reason: BaseException | None) -> FailedPrecondition:
    return FailedPrecondition(
        f"The database {make_url(url).render_as_string()} cannot be used ({reason}). Restore it from a copy, or use "
        "another data directory."
    )


def _no_database(error: Exception) -> FailedPrecondition:
    """The error for a URL that names none. The URL itself may hold a password, and is not told."""
    match error:
        case ImportError():
            reason = f"the package {error.name} is not installed"
        case ArgumentError():
            reason = str(error)
        case _:
            reason = "its port is no number"
    return FailedPrecondition(
        f"The setting database_url leads to no database: {reason}. Write sqlite:////path/to/file.db, or "
        "postgresql+psycopg://user:password@host/database, which needs pip install 'tuningfork[postgresql]'."
    )


def _create_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
        event.listen(engine, "begin", _begin_postgresql)
        return engine
    _create_private(parsed.database)
    # Connections are cheap here, and a request thread that waits for one is not: more of them than threads.
    engine = create_engine(
        parsed,
        # Errors end in the log, and some parameters are secrets: those of keys, and people's texts.
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "isolation_level": None},
        pool_size=16,
        max_overflow=64,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _create_private(file: str | None) -> None:
    """Make the file before SQLite does, which would let everybody read it. Its companions copy its permissions."""
    if file and file != ":memory:" and not file.startswith("file:"):
        Path(file).touch(mode=0o600)


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    _switch_to_wal(connection)
    connection.execute("PRAGMA foreign_keys = ON")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """The mode is kept in the file, so only the first connection ever switches it.

    Two processes that make a new file at once both try, and for this SQLite answers "database is locked" without
    waiting for `busy_timeout` although a moment later it would have succeeded.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # The driver is told to begin nothing itself (`isolation_level` None); it would always begin DEFERRED.
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if options.get(_DURABLE, True) else 'NORMAL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES, False) else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if not connection.get_execution_options().get(_DURABLE, True):
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
