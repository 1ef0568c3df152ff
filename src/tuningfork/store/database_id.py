"""The id of a database, and the file in a data directory that records which database the directory belongs to.

A copy of a database has the same id. Several data directories may belong to one database.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NewType

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from tuningfork.artifacts.durable import write_aside
from tuningfork.domain.ids import ID_BITS, random_id
from tuningfork.store.schema import database_identity

DatabaseId = NewType("DatabaseId", str)

FILE = "database-id"


def database_id(connection: Connection, entropy: Callable[[int], int]) -> DatabaseId:
    """The id of the database, which the first call makes and which never changes.

    The connection is that of a write transaction. `entropy` returns an integer of that many random bits.
    """
    known = known_id(connection)
    if known is not None:
        return known
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    made = dialect.insert(database_identity).values(number=1, id=random_id(entropy(ID_BITS)))
    # Another server may have made an id at the same moment; then that one stays.
    connection.execute(made.on_conflict_do_nothing())
    return DatabaseId(connection.execute(select(database_identity.c.id)).scalar_one())


def known_id(connection: Connection) -> DatabaseId | None:
    """The id of the database; None if it has none yet."""
    found = connection.execute(select(database_identity.c.id)).scalar_one_or_none()
    return None if found is None else DatabaseId(found)


def remembered(data_directory: Path) -> DatabaseId | None:
    """The id of the database that this data directory belongs to; None if that is not recorded yet."""
    try:
        return DatabaseId((data_directory / FILE).read_text(encoding="ascii").strip()) or None
    except FileNotFoundError:
        return None


def remember(data_directory: Path, database: DatabaseId) -> None:
    """Record that the data directory belongs to this database; on return this has reached the disk."""
    write_aside(data_directory / FILE, f"{database}\n".encode())
