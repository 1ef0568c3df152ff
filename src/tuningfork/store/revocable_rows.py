"""Rows of tables whose rows end when they are revoked: refresh tokens and service accounts, each made for an API key.

Such a table has the columns `id`, `key_id`, `create_time` and `revoke_time`.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, RowMapping, Table, select

from tuningfork.domain.permission import Email
from tuningfork.store.access import is_of_person


def of_person(connection: Connection, table: Table, email: Email, *, keyless: bool) -> Sequence[RowMapping]:
    """The rows of all keys of a person, revoked ones too, the oldest first. `keyless`: also those made for no key."""
    query = select(table).where(is_of_person(table.c.key_id, email, keyless=keyless))
    return connection.execute(query.order_by(table.c.create_time, table.c.id)).mappings().all()


def forget(connection: Connection, table: Table, ids: Sequence[str]) -> None:
    """Delete these rows."""
    connection.execute(table.delete().where(table.c.id.in_(ids)))


def revoke(connection: Connection, table: Table, row_id: str, email: Email, time: datetime, *, keyless: bool) -> None:
    """Revoke a person's row, if there is one; the time of one that is revoked already stays."""
    theirs = is_of_person(table.c.key_id, email, keyless=keyless)
    change = table.update().where(table.c.id == row_id, theirs, table.c.revoke_time.is_(None))
    connection.execute(change.values(revoke_time=time))
