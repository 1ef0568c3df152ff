"""Brings tables to the revision of this version. Alembic is imported only where there is something to migrate."""

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect, text

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_TABLE = "alembic_version"


class RevisionUnknown(Exception):
    """The tables are of a revision that this version does not know."""


@cache
def newest_revision() -> str:
    """The revision of this version's tables: the number in the name of the last migration."""
    return max(path.stem[1:].partition("_")[0] for path in _VERSIONS.glob("r*.py"))


def revision_of(connection: Connection) -> str | None:
    """The revision of a database's tables; None: it has none."""
    if not inspect(connection).has_table(_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {_TABLE}")).scalar()  # noqa: S608 - ours
    return found


def upgrade(connection: Connection) -> bool:
    """Migrate the tables, within the connection's transaction. Returns whether there was anything to migrate.

    Raises:
        RevisionUnknown: a newer version of Tuningfork has changed them.

    """
    if revision_of(connection) == newest_revision():
        return False
    from alembic import command  # noqa: PLC0415 - a tenth of a second, which most starts need not spend
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "tuningfork.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise RevisionUnknown(str(error)) from error
    return True
