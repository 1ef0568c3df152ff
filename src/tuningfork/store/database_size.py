"""How large a database is."""

from pathlib import Path

from sqlalchemy import text

from tuningfork.store.database import Database, sqlite_file


def size_of(database: Database, url: str) -> int | None:
    """The size of the database at this URL in bytes, with what SQLite keeps beside it; None if it does not tell."""
    file = sqlite_file(url)
    if file is not None:
        return sum(_size(file.with_name(f"{file.name}{suffix}")) for suffix in ("", "-wal", "-shm"))
    with database.read() as connection:
        if connection.dialect.name != "postgresql":
            return None
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
