"""Copies one state of a database to a SQLite file, and a SQLite file to an empty database.

The database may be SQLite or PostgreSQL. From SQLite, pages are copied by its backup API; otherwise rows are copied,
table by table, in one transaction on each side. Other connections can read and write meanwhile.
"""

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, func, inspect, literal, select, text

from tuningfork.artifacts.durable import sync
from tuningfork.domain.errors import FailedPrecondition
from tuningfork.store.database import BUSY_TIMEOUT_SECONDS, Database, shown, sqlite_file
from tuningfork.store.database_id import DatabaseId, known_id
from tuningfork.store.metadata import metadata
from tuningfork.store.schema import database_identity

_ROWS_AT_A_TIME = 1_000
_LOGS = ("-wal", "-shm", "-journal")
"""What SQLite appends to a database's name for its logs and their index (sqlite.org/tempfiles.html)."""


def copy_out(url: str, file: Path) -> None:
    """Write one state of the database to a new SQLite file with this version's tables, readable by its user only.

    Raises:
        FailedPrecondition: there is no such database, it is damaged, or its tables are those of another version.

    """
    file.touch(mode=0o600, exist_ok=False)
    origin = sqlite_file(url)
    if origin is not None:
        _copy_pages(origin, file)
        # The copy is migrated. The original must not be migrated, since an earlier version may use it.
        Database.open(f"sqlite:///{file}").close()
        return
    source = Database.open(url, migrate=False)
    try:
        copy = Database.open(f"sqlite:///{file}")
        try:
            with source.read() as reading, copy.write() as writing:
                copy_rows(reading, writing)
        finally:
            copy.close()
    finally:
        source.close()


def takes_content(url: str, origin: DatabaseId | None) -> bool:
    """Whether a backup's content is to be copied into the database, since it is empty; it is migrated then.

    False: the database has rows and the id `origin`, so that the backup is one of its former states. It is not changed.

    Raises:
        FailedPrecondition: it has rows and another id, or it cannot be used.

    """
    file = sqlite_file(url)
    if file is not None and not (file.exists() and file.stat().st_size):
        _check_nothing_left(file)
        return True
    known, is_empty = (id_in_file(file), False) if file is not None else _found_at(url)
    if is_empty:
        # Refuses tables of a newer version.
        Database.open(url).close()
        return True
    if known is None or known != origin:
        raise _taken(url)
    return False


def id_in_file(file: Path, *, frozen: bool = False) -> DatabaseId | None:
    """The id of the database in this SQLite file, which is not changed or migrated; None if it has none.

    `frozen`: nobody writes to the file, so that SQLite needs no log and no index beside it.
    """
    address = f"file:{quote(str(file.absolute()))}?mode=ro{'&immutable=1' if frozen else ''}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_SECONDS)) as connection:
            row = connection.execute("SELECT id FROM database_identity").fetchone()
    except sqlite3.Error:
        # No database of Tuningfork, or one of a version before there were ids.
        return None
    return None if row is None else DatabaseId(row[0])


def copy_in(file: Path, url: str) -> None:
    """Copy the content of the SQLite file to an empty database. If the database has this content already, do nothing.

    Raises:
        FailedPrecondition: the database has other content, or it cannot be used.

    """
    target = sqlite_file(url)
    if target is not None:
        if target.exists() and target.stat().st_size:
            if target.read_bytes() != file.read_bytes():
                raise _taken(url)
            return
        _check_nothing_left(target)
        aside = target.with_name(f"{target.name}.aside")
        aside.unlink(missing_ok=True)
        aside.touch(mode=0o600)
        aside.write_bytes(file.read_bytes())
        sync(aside)
        aside.rename(target)
        sync(target.parent)
        return
    source, database = Database.open(f"sqlite:///{file}"), Database.open(url)
    try:
        with source.read() as reading, database.write() as writing:
            if _is_empty(writing):
                writing.execute(database_identity.delete())
                copy_rows(reading, writing)
            elif known_id(writing) != known_id(reading):
                raise _taken(url)
    finally:
        source.close()
        database.close()


def copy_rows(source: Connection, destination: Connection) -> None:
    """Copy all rows of all tables, in an order that foreign keys allow."""
    for table in metadata.sorted_tables:
        query = select(table).execution_options(yield_per=_ROWS_AT_A_TIME)
        for rows in source.execute(query).mappings().partitions():
            destination.execute(table.insert(), [dict(row) for row in rows])
        numbered = table.autoincrement_column
        if numbered is not None and destination.dialect.name == "postgresql":
            # Inserting rows with ids does not advance the sequence of ids, so it is set here.
            highest = destination.execute(select(func.max(numbered))).scalar_one()
            if highest is not None:
                advance = text("SELECT setval(pg_get_serial_sequence(:table, :column), :highest)")
                values = {"table": table.name, "column": numbered.name, "highest": highest}
                destination.execute(advance, values)


def _copy_pages(origin: Path, file: Path) -> None:
    address = f"file:{quote(str(origin.absolute()))}?mode=rw"
    try:
        with (
            closing(sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_SECONDS)) as source,
            closing(sqlite3.connect(file)) as copy,
        ):
            # In one step, so that all pages are of one state.
            source.backup(copy)
            [found] = copy.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        raise FailedPrecondition(f"the database {origin} cannot be copied: {error}") from error
    if found != "ok":
        raise FailedPrecondition(f"the database {origin} is damaged: {found}")


def _check_nothing_left(file: Path) -> None:
    """Check that no log of another database is beside this place: SQLite would write it into the file that comes here.

    Raises:
        FailedPrecondition: there is one.

    """
    for suffix in _LOGS:
        left = file.with_name(f"{file.name}{suffix}")
        if left.exists():
            raise FailedPrecondition(
                f"{left} is left of another database, and SQLite would apply it to the restored one. Move it away if "
                "nobody needs it, or name another database with TUNINGFORK_DATABASE_URL"
            )


def _found_at(url: str) -> tuple[DatabaseId | None, bool]:
    """The id of a database that is not SQLite, and whether it is empty; its tables stay as they are."""
    database = Database.open(url, migrate=None)
    try:
        with database.read() as connection:
            there = set(inspect(connection).get_table_names())
            known = known_id(connection) if database_identity.name in there else None
            return known, _is_empty(connection, there)
    finally:
        database.close()


def _is_empty(connection: Connection, there: Collection[str] | None = None) -> bool:
    """Whether no table has rows, except that of the database's id, which the first start writes.

    `there`: the names of the tables that exist; None: all.
    """
    tables = (table for table in metadata.sorted_tables if table is not database_identity)
    looked_at = (table for table in tables if there is None or table.name in there)
    # An earlier version's table may lack columns, so none is named.
    return all(
        connection.execute(select(literal(1)).select_from(table).limit(1)).first() is None for table in looked_at
    )


def _taken(url: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the database {shown(url)} holds something already, and nothing is overwritten; name an empty one with "
        "TUNINGFORK_DATABASE_URL, or another --data-dir"
    )
