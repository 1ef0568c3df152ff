"""The database: one engine, short transactions, and tables that are migrated when it is opened.

What differs between SQLite and PostgreSQL is in this file only. SQLite is set up so that many threads and a second
process can use it at a time, and so that what was committed is on the disk:

- WAL: readers never wait for the writer, nor the writer for them. - `synchronous=FULL`: in WAL mode NORMAL would lose
the last commits at a power cut, and with them a create that a client was told of. The price is one fsync a write
transaction, so what can be had again (a running job's steps) is written with NORMAL: it survives a killed process, and
a power cut loses at most its last moments, never its order. - `BEGIN IMMEDIATE` for writes: a transaction that reads
first and then asks for the write lock fails at once when another was quicker, whatever `busy_timeout` says; asking for
it first makes the transaction wait.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from pathlib import Path
from typing import TypeAlias

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from tuningfork.domain.errors import Busy, FailedPrecondition, TuningforkError
from tuningfork.store import migrating
from tuningfork.store.full_disk import full_disk_reported
from tuningfork.store.write_turns import OF_REQUESTS, OF_WORK, WriteTurns, busy_reported

BUSY_TIMEOUT_SECONDS = 30
"""How long a writer waits for another process. Threads of this process wait for a lock instead of polling."""

_POSTGRESQL_CONNECTIONS = 32
"""The most connections of one server to PostgreSQL, which has 100 in all by default."""
_POSTGRESQL_WRITES = 8
"""How many requests of one server write to PostgreSQL at a time."""

_MIGRATION_LOCK = 0x7475_6E69
"""The PostgreSQL advisory lock that lets only one of several starting servers migrate at a time ("tuni")."""

Transaction: TypeAlias = Connection
"""A transaction, as `Database.read` and `Database.write` yield it. Higher packages only pass it on."""

_WRITES = "tuningfork_writes"
_DURABLE = "tuningfork_durable"
_PATIENCE = "tuningfork_patience"


class Database:
    """The database of a server. Thread-safe; every transaction has its own connection."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._watching = _Watch(engine.url.database) if self._is_sqlite else None
        self._turns = WriteTurns(together=1 if self._is_sqlite else _POSTGRESQL_WRITES)
        self.patience = OF_WORK

    @classmethod
    def open(cls, url: str, *, migrate: bool | None = True) -> "Database":
        """Connect to a database and migrate its tables; several processes may do so at once.

        Args:
            url: an SQLAlchemy URL, `sqlite:////path/to/file.db` or `postgresql+psycopg://...`.
            migrate: False leaves tables of another version as they are, and refuses them. None leaves them as they are,
                whatever their version; then the caller does not rely on a table or a column.

        Raises:
            FailedPrecondition: a newer version of Tuningfork has changed the tables, or the database cannot be used:
                the file is damaged, its directory is not writable, the server does not answer, or the URL is invalid.

        """
        try:
            database = cls(_create_engine(url))
        except OSError as error:
            raise _unusable(url, error) from error
        except (ArgumentError, ImportError, ValueError) as error:
            raise _no_database(error) from error
        try:
            if migrate:
                database._migrate()
            elif migrate is False:
                database._check_revision()
            else:
                with database.read():
                    pass
        except DBAPIError as error:
            database.close()
            raise _unusable(url, error.orig) from error
        except Busy as error:
            database.close()
            raise FailedPrecondition(
                f"The database {shown(url)} is taken by other servers and commands at the moment. Try again later."
            ) from error
        except BaseException:
            database.close()
            raise
        return database

    def for_requests(self) -> "Database":
        """The same database for use by requests: see `write_turns.OF_REQUESTS`. Close the original only."""
        own = copy(self)
        own.patience = OF_REQUESTS
        return own

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A read-only transaction that sees one state of the database throughout.

        Raises:
            Busy: others were using all connections for too long, or the database refuses further ones.

        """
        options = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with (
            busy_reported(),
            self._engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Transaction]:
        """A transaction that is committed at the end, or rolled back by an exception. Keep it short.

        With `durable` false, a power cut may undo this transaction, but none that was committed before it.

        Raises:
            ResourceExhausted: the disk is full; nothing was committed.
            Busy: others were writing for too long; nothing was done.

        """
        with self._write({_DURABLE: durable}, nullcontext) as connection:
            yield connection

    @contextmanager
    def _write(
        self, options: dict[str, bool], around: Callable[[Transaction], AbstractContextManager[object]]
    ) -> Iterator[Transaction]:
        """A transaction for writing with these options, begun and ended within the context `around` its connection."""
        with (
            full_disk_reported(),
            self._turns.turn(self.patience) if self._takes_turns else busy_reported(),
            self._engine.connect().execution_options(
                **options, **{_WRITES: True, _PATIENCE: self.patience.seconds}
            ) as connection,
            around(connection),
            connection.begin(),
        ):
            yield connection

    @property
    def _takes_turns(self) -> bool:
        # On PostgreSQL only requests do: of other threads there are few, and they need not wait for those of requests.
        return self._is_sqlite or self.patience.most_waiting is not None

    def refusal(self) -> str | None:
        """Why nothing can be written at the moment; None if it can. Writes nothing itself."""
        try:
            with self.write(durable=False):
                return None
        except TuningforkError as error:
            return error.message
        except SQLAlchemyError as error:
            return f"the database cannot be written ({type(error).__name__})"

    def version(self) -> int | None:
        """A number that changes with every commit by any process; getting it takes microseconds and never waits.

        Data that were read after this call are up to date as long as later calls return the same number. None: the
        database has no such number.
        """
        return None if self._watching is None else self._watching.version()

    def close(self) -> None:
        """Close all connections."""
        if self._watching is not None:
            self._watching.close()
        self._engine.dispose()

    def _check_revision(self) -> None:
        with self.read() as connection:
            found = migrating.revision_of(connection)
        if found != (newest := migrating.newest_revision()):
            raise FailedPrecondition(
                f"The tables of {self._engine.url.render_as_string()} are those of another version of Tuningfork "
                f"(revision {found}, this one has {newest}). Use that version, or start a server of this one first."
            )

    def _migrate(self) -> None:
        # Both databases have transactional DDL: if the process is killed during the migration, the old tables remain.
        with self._write({}, _foreign_keys_unenforced) as connection:
            if not self._is_sqlite:
                # Another server may migrate for long.
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            try:
                if migrating.upgrade(connection) and self._is_sqlite:
                    _check_foreign_keys(connection)
            except migrating.RevisionUnknown as error:
                raise FailedPrecondition(
                    f"The database {self._engine.url.render_as_string()} was written by a newer version of Tuningfork "
                    f"({error}). Install that version or newer, or use another data directory."
                ) from error


class _Watch:
    """A connection to a SQLite file that only checks whether other connections have changed it."""

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def version(self) -> int | None:
        # In memory, every connection would be a separate database.
        if not self._file or self._file == ":memory:" or self._file.startswith("file:"):
            return None
        with self._lock:
            if self._connection is None:
                self._connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
            try:
                number: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            except sqlite3.Error:
                # For example, the file cannot be read at the moment; the next query will report that.
                return None
        return number

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def sqlite_file(url: str) -> Path | None:
    """The file of the SQLite database of this URL; None for another database, one in memory, and a URL of none."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    file = parsed.database if parsed.get_backend_name() == "sqlite" else None
    return Path(file) if file and file != ":memory:" and not file.startswith("file:") else None


def shown(url: str) -> str:
    """The URL without its password."""
    return make_url(url).render_as_string()


def lock_name(connection: Transaction, name: str) -> None:
    """Lock this name until the transaction ends: another transaction that locks the same name waits until then.

    Only PostgreSQL needs the lock, since its transactions write in parallel. SQLite has one writer at a time.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def is_duplicate(error: IntegrityError, table: str) -> bool:
    """Whether the error is a duplicate primary key or unique value of this table."""
    message = str(error.orig)
    sqlite = f"UNIQUE constraint failed: {table}."
    postgresql = ("duplicate key value violates unique constraint", f"_{table}")
    return sqlite in message or all(part in message for part in postgresql)


def _unusable(url: str, reason: BaseException | None) -> FailedPrecondition:
    return FailedPrecondition(
        f"The database {make_url(url).render_as_string()} cannot be used ({reason}). Make a new data "
        "directory of a backup with `tuningfork restore`, or use another one."
    )


def _no_database(error: Exception) -> FailedPrecondition:
    """The error for an invalid database URL. The URL is not printed, since it may contain a password."""
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
        engine = create_engine(
            parsed,
            pool_pre_ping=True,
            hide_parameters=True,
            pool_size=_POSTGRESQL_CONNECTIONS // 4,
            max_overflow=_POSTGRESQL_CONNECTIONS - _POSTGRESQL_CONNECTIONS // 4,
            pool_timeout=OF_REQUESTS.seconds,
        )
        event.listen(engine, "begin", _begin_postgresql)
        return engine
    _create_private(parsed.database)
    # The pool has more connections than there are request threads, since a connection costs little and a thread that
    # waits for one does not.
    engine = create_engine(
        parsed,
        # Errors are logged without parameters, which may be secret: hashes of keys, and people's texts.
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "isolation_level": None},
        pool_size=16,
        max_overflow=64,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _create_private(file: str | None) -> None:
    """Create the file before SQLite does, which would make it readable by all users.

    SQLite's other files get the same permissions.
    """
    if file and file != ":memory:" and not file.startswith("file:"):
        Path(file).touch(mode=0o600)


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    _switch_to_wal(connection)
    connection.execute("PRAGMA foreign_keys = ON")


@contextmanager
def _foreign_keys_unenforced(connection: Connection) -> Iterator[None]:
    """Do not enforce foreign keys in SQLite within the context, so that tables can be written anew by a migration.

    To be entered before the transaction begins, since SQLite ignores the pragma within one.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    # By a cursor of the driver: executing it on `connection` would begin a transaction, in which SQLite ignores it.
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        cursor.execute("PRAGMA foreign_keys = ON")


def _check_foreign_keys(connection: Connection) -> None:
    """Check that every row of a migrated SQLite database still has the row that it refers to.

    Raises:
        FailedPrecondition: one has not. The transaction must be rolled back.

    """
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise FailedPrecondition(
            f"The database was not migrated: a row of its table {broken[0]} refers to a row of {broken[2]} that is not "
            "there. Restore it from a backup, or go on with the version that wrote it."
        )


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL mode; the mode is stored in the file, so only the first connection does so.

    If two processes create a new file at once, both try, and SQLite answers "database is locked" without waiting for
    `busy_timeout`, although a moment later it would succeed.
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
    # With `isolation_level` None the driver begins no transactions itself; it would always begin DEFERRED ones.
    options = connection.get_execution_options()
    patience_seconds = options.get(_PATIENCE, BUSY_TIMEOUT_SECONDS)
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(1000 * patience_seconds)}")
    connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if options.get(_DURABLE, True) else 'NORMAL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES, False) else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get(_DURABLE, True):
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
    if options.get(_WRITES, False):
        # How long one statement waits for a lock that another transaction holds.
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(1000 * options[_PATIENCE])}")
